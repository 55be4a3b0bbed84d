//! `/mcp` and the bridge to it as clients meet them, over sockets, with rmcp's own client.

#![allow(clippy::unwrap_used)]

mod bridge;
mod reading;
mod rights;
mod sending;
mod support;
