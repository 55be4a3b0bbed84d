//! Turns of models as their users see them: a scripted model, a store in a temporary directory, no network.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail tests")]

#[path = "../agents/desk.rs"]
#[allow(dead_code, reason = "shared with the other binary, which uses more of it")]
mod desk;

mod asked;
mod builtin;
mod calls;
mod cuts;
mod heard;
mod history;
mod hours;
mod puppet;
mod safety;
mod slice;
mod wire;
mod work;
