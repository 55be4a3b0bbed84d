//! Who answers where: the configuration's agents as the address table, the store's rules and the
//! runtime's registry, built together so that they cannot disagree.

use crate::{
    address::{self, AgentName, Resolution, Route, Table},
    assistants,
    config::{
        ASSISTANT, AgentConfig, Config, DICTATION, LOCAL_DOMAIN, Mode, ModelsConfig, RECEPTIONIST,
    },
    own::{Kind, Kinds},
    token::{Day, KeyRing},
    tools::ToolServers,
};
use anyhow::Context as _;
use frontdesk_agents::{
    AgentId, Store,
    admission::InstancePolicy,
    builtin::{Dictation, Receptionist, ReceptionistOptions},
    gate::Approval,
    runtime::{BoxedAgent, Registry},
    store::{AgentRules, Limits, Rules},
};
use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

/// The name under which role mail is kept. No configured agent can have it.
pub const POSTMASTER: &str = "postmaster";

/// What mail and calls need to know of agents, addresses and keys. Shared by all of them.
pub struct Directory {
    /// Keeps mail to `postmaster` and `abuse`.
    pub postmaster: AgentId,
    /// Replaced when keys rotate.
    keys: RwLock<Arc<KeyRing>>,
    /// Replaced as a whole when the configuration changes.
    listed: RwLock<Arc<Listed>>,
}

/// What a configuration says of who is here.
pub struct Listed {
    table: Arc<Table>,
    pub agents: HashMap<AgentName, Arc<Known>>,
    /// Our domains, the main one first.
    pub domains: Vec<String>,
    /// Domains whose ARC seal is believed.
    pub trusted_forwarders: Vec<String>,
    reply_token_days: u16,
    /// Mail from this machine is believed: the only domain is `localhost`, and nothing is sent.
    pub trusts_loopback: bool,
}

/// A configured agent.
pub struct Known {
    pub id: AgentId,
    pub config: AgentConfig,
}

impl Directory {
    /// Registers the agents of a configuration with the store and the runtime. `custom` are the kinds the
    /// program brings along.
    pub async fn build(
        config: &Config,
        custom: &Kinds,
        servers: &ToolServers,
        store: &Store,
        keys: KeyRing,
    ) -> anyhow::Result<(Self, Registry)> {
        let mut registry = Registry::default();
        let (listed, postmaster) = list(config, custom, servers, store, &mut registry).await?;
        let directory = Self {
            postmaster,
            keys: RwLock::new(Arc::new(keys)),
            listed: RwLock::new(Arc::new(listed)),
        };
        Ok((directory, registry))
    }

    /// Takes over the agents of another configuration, here, in the store and in `registry`; or nothing of it.
    pub async fn replace(
        &self,
        config: &Config,
        custom: &Kinds,
        servers: &ToolServers,
        store: &Store,
        registry: &Registry,
    ) -> anyhow::Result<()> {
        let mut others = Registry::default();
        let (listed, _) = list(config, custom, servers, store, &mut others).await?;
        registry.replace(&others);
        *self.listed.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(listed);
        Ok(())
    }

    /// Who is here now.
    pub fn listed(&self) -> Arc<Listed> {
        self.listed.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The keys in use.
    pub fn keys(&self) -> Arc<KeyRing> {
        self.keys.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Puts rotated keys to use.
    pub fn set_keys(&self, keys: KeyRing) {
        *self.keys.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(keys);
    }

    /// The last day of a token minted for a mail that was released on `day`.
    pub fn expiry(&self, released: Day) -> Day {
        released.plus(self.listed().reply_token_days)
    }

    /// An agent by id.
    pub fn by_id(&self, id: AgentId) -> Option<Arc<Known>> {
        self.listed().agents.values().find(|known| known.id == id).cloned()
    }

    /// An agent by name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Known>> {
        self.listed().agents.values().find(|known| known.config.name == name).cloned()
    }

    /// Where an address leads.
    pub fn resolve(&self, local: &str, domain: &str) -> Resolution {
        address::resolve(local, domain, &self.listed().table)
    }

    /// The agent's address that a mail came to, without its token or tag: what answers are from.
    pub fn answer_from(&self, route: &Route) -> String {
        let suffix = route.instance_tag().map(|tag| format!("+{}", tag.as_str()));
        format!("{}{}@{}", route.agent, suffix.unwrap_or_default(), route.domain)
    }
}

/// Registers the agents of a configuration with the store and adds them to a registry. What fails leaves the
/// rules in force as they were.
async fn list(
    config: &Config,
    custom: &Kinds,
    servers: &ToolServers,
    store: &Store,
    registry: &mut Registry,
) -> anyhow::Result<(Listed, AgentId)> {
    let mut names: Vec<(String, String)> =
        config.agents.iter().map(|agent| (agent.name.clone(), agent.kind.clone())).collect();
    names.push((POSTMASTER.to_owned(), "role".to_owned()));
    let ids = store.register_agents(names).await.context("register the agents")?;
    let (postmaster, ids) = ids.split_last().context("no agent was registered")?;

    let (mut agents, mut made) = (HashMap::new(), Vec::new());
    let mut rules = HashMap::new();
    for (agent, id) in config.agents.iter().zip(ids) {
        made.push((*id, &agent.name, behaviour(agent, &config.models, custom, servers)?));
        rules.insert(*id, rules_of(agent));
        let name = AgentName::new(&agent.name)?;
        agents.insert(name, Arc::new(Known { id: *id, config: agent.clone() }));
    }
    let main = config.mail.domains.first().context("no mail domain is configured")?;
    rules.insert(
        *postmaster,
        AgentRules {
            name: POSTMASTER.to_owned(),
            instance: InstancePolicy::Conversation,
            approval: Approval::All,
            runs: false,
            address: format!("{POSTMASTER}@{main}"),
            owner: None,
        },
    );
    let table = Arc::new(table_of(config)?);
    let own = table.clone();
    // From here on nothing fails.
    for (id, name, agent) in made {
        registry.add(id, name, agent);
    }
    store.set_rules(Rules {
        agents: rules,
        is_own: Arc::new(move |address| is_own(&own, address)),
        limits: limits_of(config),
        by_reply: config.mail.approve_by_reply,
        stopped: store.rules().stopped,
    });
    let listed = Listed {
        table,
        agents,
        domains: config.mail.domains.clone(),
        trusted_forwarders: config.mail.trusted_forwarders.clone(),
        reply_token_days: config.mail.reply_token_days,
        trusts_loopback: config.mail.mode == Mode::Capture && config.mail.domains == [LOCAL_DOMAIN],
    };
    Ok((listed, *postmaster))
}

fn is_own(table: &Table, address: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        !matches!(
            address::resolve(local, domain, table),
            Resolution::NotOurs | Resolution::UnknownUser
        )
    })
}

fn behaviour(
    agent: &AgentConfig,
    models: &ModelsConfig,
    custom: &Kinds,
    servers: &ToolServers,
) -> anyhow::Result<BoxedAgent> {
    match custom.get(&agent.kind) {
        Some(Kind::Agent(own)) => return Ok(own.clone()),
        Some(Kind::Assistant(own)) => {
            let assistant = assistants::assistant(agent, models, servers, Some(own))?;
            return Ok(BoxedAgent::new(assistant));
        }
        None => {}
    }
    if agent.kind == RECEPTIONIST {
        let answer = agent.reply.replace("{agent}", &agent.display_name);
        let name = agent.display_name.clone();
        let greeting = agent.greeting.clone();
        let options = ReceptionistOptions { answer, name, greeting };
        return Ok(BoxedAgent::new(Receptionist::new(options)));
    }
    if agent.kind == ASSISTANT {
        return Ok(BoxedAgent::new(assistants::assistant(agent, models, servers, None)?));
    }
    if agent.kind == DICTATION {
        return Ok(BoxedAgent::new(Dictation));
    }
    anyhow::bail!(
        "agent {:?} is of kind {:?}, which this program does not have",
        agent.name,
        agent.kind
    )
}

fn rules_of(agent: &AgentConfig) -> AgentRules {
    AgentRules {
        name: agent.name.clone(),
        instance: agent.instance,
        approval: agent.effective_approval(),
        runs: true,
        address: agent.addresses.first().cloned().unwrap_or_default(),
        owner: agent.owner.clone(),
    }
}

fn limits_of(config: &Config) -> Limits {
    let limits = &config.limits;
    Limits {
        auto_per_conversation: limits.replies_per_conversation,
        auto_per_correspondent: limits.replies_per_correspondent_per_day,
        auto_per_agent: limits.replies_per_agent_per_day,
        unproven_per_network: limits.new_instances_per_network_per_day,
        unproven_per_agent: limits.new_instances_per_agent_per_day,
    }
}

fn table_of(config: &Config) -> anyhow::Result<Table> {
    let mut table = Table::default();
    for domain in &config.mail.domains {
        table.add_domain(domain)?;
    }
    for agent in &config.agents {
        let name = AgentName::new(&agent.name)?;
        for address in &agent.addresses {
            let (local, domain) =
                address.rsplit_once('@').with_context(|| format!("{address} is no address"))?;
            table.add_agent(name.clone(), domain, agent.instance)?;
            if local != agent.name {
                table.add_alias(local, domain, &name)?;
            }
        }
        if config.mail.catch_all.as_deref() == Some(&agent.name) {
            for address in &agent.addresses {
                if let Some((_, domain)) = address.rsplit_once('@') {
                    table.set_catch_all(domain, &name)?;
                }
            }
        }
    }
    Ok(table)
}
