//! The store and the runtime as their users see them. One binary, so that SQLite is linked once.

mod accept;
mod breakers;
mod crash;
mod desk;
mod laws;
mod outbox;
mod review;
mod runtime;
mod store;
mod tasks;
