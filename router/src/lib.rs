//! The only crate that knows mail, agents and (later) voice: it maps addresses to agents,
//! translates what arrives into agent events and what agents decide into mail, and serves.
//!
//! - [`config`]: the settings in `frontdesk.toml`;
//! - [`address`], [`token`], [`keys`]: the address grammar and what makes an address ours alone;
//! - [`directory`]: the configured agents, as addresses, rules and behaviour;
//! - [`engines`]: what hears and speaks in calls, and what stands in for it;
//! - [`mail`]: both directions of mail;
//! - [`own`]: what a program brings along;
//! - [`models`]: speech models, downloaded and checked;
//! - [`reload`]: a changed configuration, taken over while it runs;
//! - [`tools`]: tools of other servers, as assistants use them;
//! - [`http`]: the API, health and metrics;
//! - [`mcp`]: the API as tools, for models in other programs;
//! - [`desk`]: an open installation and [`desk::Desk::serve`], the wiring in reading order.

pub mod address;
pub mod assistants;
pub mod bench;

pub mod config;
pub mod desk;
pub mod directory;
pub mod engines;
pub mod http;
pub mod keys;
pub mod mail;
pub mod mcp;
pub mod models;
pub mod own;
pub mod reload;
pub mod token;
pub mod tools;
pub mod voice;

pub use desk::{Desk, Frontdesk, Running};
pub use frontdesk_agents as agents;
pub use reload::Source;
