//! Models over real sockets, against the scripted server.
//!
//! What depends on time is tested without sockets, beside the client.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail tests")]

mod answers;
mod failures;
mod server;
mod support;
