//! How the servers of tools stand, for `check`: each is connected to, asked what it has, and left alone again.

use super::connect::open_within;
use super::name::for_model;
use super::offer::List;
use crate::config::{Config, McpServer, Reach, nearest};
use frontdesk_agents::tool::CallEffect;
use std::time::Duration;

/// How long one may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// How one server stands.
#[derive(Debug)]
pub struct Standing {
    pub server: String,
    /// Its tools, or the end of a sentence why it has none.
    pub tools: Result<Vec<Has>, String>,
    /// Tools that assistants name and it does not have: the assistant, the tool, and a tool it may mean.
    pub missing: Vec<(String, String, Option<String>)>,
    /// Variables it was to be given and that are not set.
    pub unset: Vec<String>,
    /// Assistants that may use something of it.
    pub used_by: Vec<String>,
}

/// A tool of a server.
#[derive(Debug)]
pub struct Has {
    /// The name models know it by.
    pub name: String,
    pub effect: CallEffect,
}

impl Standing {
    /// What to do about a server that is not there.
    pub fn fix(config: &McpServer) -> String {
        match &config.reach {
            Reach::Program { command, .. } => format!(
                "Run {} by hand to see what it says, and look at [mcp.{}]: command, args, env.",
                command.display(),
                config.name
            ),
            Reach::Http { url, .. } => format!(
                "Look at [mcp.{}]: is there a server at {url}, and is its token right?",
                config.name
            ),
        }
    }
}

/// Asks every server at once.
pub async fn standings(config: &Config) -> Vec<Standing> {
    crate::desk::install_crypto();
    futures_util::future::join_all(config.mcp.values().map(|server| standing(config, server))).await
}

async fn standing(config: &Config, server: &McpServer) -> Standing {
    let uses = config
        .agents
        .iter()
        .filter_map(|agent| Some((agent, agent.assistant.mcp.get(&server.name)?)));
    let uses: Vec<_> = uses.collect();
    let unset = match &server.reach {
        Reach::Program { unset, .. } => unset.clone(),
        Reach::Http { .. } => Vec::new(),
    };
    let mut standing = Standing {
        server: server.name.clone(),
        tools: Ok(Vec::new()),
        missing: Vec::new(),
        unset,
        used_by: uses.iter().map(|(agent, _)| agent.name.clone()).collect(),
    };
    let list = match open_within(server, PATIENCE).await {
        Ok((connection, tools)) => {
            connection.close().await;
            List::new(server, tools)
        }
        Err(why) => {
            standing.tools = Err(why);
            return standing;
        }
    };
    for (agent, uses) in uses {
        let named = uses.tools.iter().chain(uses.approval.keys());
        for tool in named.filter(|tool| *tool != crate::config::ALL_TOOLS) {
            if !list.tools.contains_key(tool) {
                let near = nearest(tool, list.tools.keys().map(String::as_str));
                let missing = (agent.name.clone(), tool.clone(), near.map(str::to_owned));
                if !standing.missing.contains(&missing) {
                    standing.missing.push(missing);
                }
            }
        }
    }
    let has = list
        .tools
        .iter()
        .map(|(tool, listed)| Has { name: for_model(&server.name, tool), effect: listed.effect });
    standing.tools = Ok(has.collect());
    standing
}
