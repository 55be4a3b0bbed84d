//! Tools of other servers, over the Model Context Protocol, as assistants use them.
//!
//! - `server`: one server, connected to when its tools are first wanted and again after it ended;
//! - `connect`: how a connection comes about: a program's standard input and output, or HTTP;
//! - `offer`: what a server offers, as an assistant may use it;
//! - `name`: the names models know the tools by;
//! - `result`: what a call returned, as text;
//! - [`standing`]: what `check` says.
//!
//! What always holds: a server that does not start, hangs, ends or lies makes calls that fail with that as the reason,
//! and delays a turn by no more than its timeouts. Whether a tool may be used, and what its calls do, is what
//! the operator wrote, never what the server says, unless the operator wrote that too. What servers return
//! is text of strangers, unless the operator vouches for it.
//!
//! Left out: resources, prompts, sampling and elicitation of the protocol, and its OAuth.

mod connect;
mod name;
mod offer;
mod result;
mod server;
pub mod standing;

use crate::config::{AssistantConfig, McpServer};
use frontdesk_agents::tool::{ToolSource, Tools};
use offer::Offer;
use server::Server;
use std::{collections::BTreeMap, sync::Arc};

pub use name::for_model;

/// The servers of a configuration. Connections end when the last that uses them is gone.
#[derive(Default, Clone)]
pub struct ToolServers {
    servers: BTreeMap<String, Arc<Server>>,
}

impl ToolServers {
    /// None of them is connected to yet.
    pub fn new(servers: &BTreeMap<String, McpServer>) -> Self {
        let servers = servers
            .iter()
            .map(|(name, config)| (name.clone(), Server::new(config.clone())))
            .collect();
        Self { servers }
    }

    /// Those of another configuration. A server that is in both as it was keeps its connection.
    pub fn with(&self, servers: &BTreeMap<String, McpServer>) -> Self {
        let servers = servers
            .iter()
            .map(|(name, config)| {
                let kept = self.servers.get(name).filter(|server| server.config == *config);
                (name.clone(), kept.map_or_else(|| Server::new(config.clone()), Arc::clone))
            })
            .collect();
        Self { servers }
    }

    /// The tools of servers that an assistant may use.
    pub fn of(&self, assistant: &AssistantConfig) -> Tools {
        let mut tools = Tools::new();
        for (name, uses) in &assistant.mcp {
            if let Some(server) = self.servers.get(name) {
                let offer: Arc<dyn ToolSource> = Arc::new(Offer::new(server.clone(), uses.clone()));
                tools = tools.from_source(offer);
            }
        }
        tools
    }

    /// Ends every connection, and every program with it. Nothing is connected to afterwards.
    pub async fn stop(&self) {
        futures_util::future::join_all(self.servers.values().map(|server| server.stop())).await;
    }
}
