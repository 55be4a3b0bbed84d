//! The store and the runtime as their users see them. One binary, so that SQLite is linked once.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail tests")]

mod accept;
mod breakers;
mod calls;
mod calls_builtin;
mod calls_live;
mod crash;
mod desk;
mod laws;
mod outbox;
mod review;
mod runtime;
mod store;
mod tasks;
