//! Assistants of the configuration: a model, tools and instructions put together.
//!
//! A model that cannot be asked, because its key is missing for instance, stops no start and no mail: every
//! question to it is answered with what is wrong, and so its turns go before a person with that.

use crate::{
    config::{AgentConfig, ModelsConfig},
    own,
    tools::ToolServers,
};
use anyhow::Context as _;
use frontdesk_agents::{
    HandlerError,
    builtin::{Assistant, AssistantOptions},
    model::{Capabilities, Error, ErrorKind, EventStream, Model, Request},
    tool::Attachments,
    turn::DailyBudget,
};
use frontdesk_smtp::read;
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// The assistant that an `[[agent]]` describes.
pub fn assistant(
    agent: &AgentConfig,
    models: &ModelsConfig,
    servers: &ToolServers,
    own: Option<&own::Assistant>,
) -> anyhow::Result<Assistant> {
    let given = &agent.assistant;
    let names = names(agent, models);
    let model = models.open(&names).unwrap_or_else(|error| {
        tracing::error!(agent = agent.name, %error, "this assistant cannot ask its model");
        Arc::new(Unusable { name: names.join(", "), why: error.to_string() })
    });
    let usual = AssistantOptions::default();
    let instructions = given.instructions.clone();
    let instructions = instructions.or_else(|| own.map(|own| own.instructions.clone()));
    let mut tools = servers.of(given);
    let mut wanted = given.tools.clone();
    if let Some(own) = own {
        if !wanted.is_empty() {
            // What the configuration names are built-in ones; its own come with the program.
            wanted.extend(own.tools.iter().map(|tool| tool.spec().name.clone()));
        }
        tools.merge(own.tools.clone())?;
    }
    let options = AssistantOptions {
        instructions: instructions.unwrap_or_else(|| usual.instructions.clone()),
        models: names,
        tools: wanted,
        approvals: given.tool_approval.clone(),
        shows_files: given.show_attachments,
        budget: DailyBudget {
            tokens: given.tokens_per_day,
            cost: given.cost_per_day,
            turns: given.turns_per_day,
            ..usual.budget
        },
        send: given.send.clone(),
        answers_unproven: given.answers_unproven,
        working_hours: given.working_hours.clone(),
        ..usual
    };
    let assistant = Assistant::new(options, model, tools)
        .with_context(|| format!("make the assistant {:?}", agent.name))?;
    Ok(assistant.with_files(Arc::new(Parts)))
}

/// The models an assistant asks, in order.
pub fn names(agent: &AgentConfig, models: &ModelsConfig) -> Vec<String> {
    if agent.assistant.models.is_empty() {
        models.default.clone()
    } else {
        agent.assistant.models.clone()
    }
}

/// Finds files inside raw mails.
struct Parts;

impl Attachments for Parts {
    fn read(&self, raw: &[u8], part: u32) -> Result<Vec<u8>, HandlerError> {
        let mail = read::read(raw);
        let wanted = usize::try_from(part)?;
        let found = mail.attachments.iter().find(|file| file.part == wanted);
        Ok(found.ok_or("the mail has no such part")?.decode(raw).into_owned())
    }
}

/// A model that cannot be asked.
struct Unusable {
    name: String,
    why: String,
}

impl Model for Unusable {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &Capabilities { context: 8_192, images: false, documents: false }
    }

    fn stream(&self, _: Request) -> EventStream {
        let kind = ErrorKind::Unusable { why: self.why.clone() };
        stream::iter([Err(Error::new(&self.name, kind))]).boxed()
    }
}
