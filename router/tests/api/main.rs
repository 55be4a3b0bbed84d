//! The HTTP API as people and programs meet it, at the listener's router, without a socket.

#![allow(clippy::unwrap_used)]

mod contacts;
mod events;
mod inbox;
mod models;
mod openapi;
mod rights;
mod signin;
mod support;
mod twice;
mod webhooks;
