//! The only crate that knows mail, agents and (later) voice: it maps addresses to agents,
//! translates what arrives into agent events and what agents decide into mail, and serves.

pub mod address;
pub mod config;
pub mod keys;
pub mod token;
