//! What a program that uses Frontdesk as a library brings along: agents of its own, and assistants with tools of its
//! own.

use crate::config::OwnKind;
use frontdesk_agents::{
    HandlerError,
    gate::Approval,
    runtime::BoxedAgent,
    tool::{CallEffect, ToolContext, ToolOutput, Tools},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, future::Future};

/// A kind of agent.
#[derive(Clone)]
pub enum Kind {
    /// Written as code.
    Agent(BoxedAgent),
    /// A language model, with what the program gives it.
    Assistant(Assistant),
}

impl From<BoxedAgent> for Kind {
    fn from(agent: BoxedAgent) -> Self {
        Self::Agent(agent)
    }
}

/// The kinds of a program, by name.
pub type Kinds = HashMap<String, Kind>;

/// The kinds as the configuration has to know them, by name.
pub fn known(kinds: &Kinds) -> Vec<OwnKind> {
    let mut known: Vec<_> = kinds
        .iter()
        .map(|(name, kind)| match kind {
            Kind::Agent(_) => OwnKind::agent(name),
            Kind::Assistant(assistant) => assistant.known_as(name),
        })
        .collect();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    known
}

/// An assistant with tools of the program's own. The configuration can change everything else about it: its model,
/// instructions, budgets, approvals, and the built-in tools and servers it may use.
#[derive(Debug, Clone)]
pub struct Assistant {
    pub(crate) instructions: String,
    pub(crate) tools: Tools,
    approval: Approval,
}

impl Assistant {
    /// An assistant that is told this about who it is and what it does. Every mail it writes waits for a person.
    pub fn new(instructions: impl Into<String>) -> Self {
        Self { instructions: instructions.into(), tools: Tools::new(), approval: Approval::All }
    }

    /// Adds a function as a tool. What the model may give it is its argument type, whose doc comments the model
    /// reads; `effect` decides whether a person must approve calls of it.
    #[must_use]
    pub fn tool<A, F, R, O>(self, name: &str, what: &str, effect: CallEffect, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(A, ToolContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, HandlerError>> + Send + 'static,
        O: Into<ToolOutput> + 'static,
    {
        Self { tools: self.tools.add(name, what, effect, run), ..self }
    }

    /// Adds a tool that asks another agent and waits for its answer. What the model gives is the question, which
    /// the other agent reads as the same type in its `on_question`.
    #[must_use]
    pub fn asks<Q>(self, name: &str, what: &str, agent: &'static str) -> Self
    where
        Q: DeserializeOwned + Serialize + JsonSchema + Send + 'static,
    {
        Self { tools: self.tools.asks::<Q>(name, what, agent), ..self }
    }

    /// Adds tools with settings of their own.
    ///
    /// # Panics
    ///
    /// If two tools have the same name, which is a mistake in the program.
    #[must_use]
    pub fn tools(mut self, tools: Tools) -> Self {
        if let Err(error) = self.tools.merge(tools) {
            panic!("{error}");
        }
        self
    }

    /// Lets what it writes leave without a person, within the limits that hold for all automatic mail.
    #[must_use]
    pub fn without_review(self) -> Self {
        Self { approval: Approval::None, ..self }
    }

    fn known_as(&self, name: &str) -> OwnKind {
        let tools = self.tools.iter().map(|tool| tool.spec().name.clone()).collect();
        OwnKind { name: name.to_owned(), tools: Some(tools), approval: Some(self.approval) }
    }
}
