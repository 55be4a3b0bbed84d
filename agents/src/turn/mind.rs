//! With what turns are taken.

use super::{CallId, context::Window, fold::Limits};
use crate::{
    gate::{Approval, SendRules},
    model::Model,
    store::Used,
    tool::{Attachments, ToolSpec, Tools},
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// How long a person may take to decide about a call.
pub const APPROVAL_EXPIRES: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A model with what it is told and may do.
#[derive(Clone)]
pub struct Mind {
    pub model: Arc<dyn Model>,
    pub instructions: String,
    pub tools: Tools,
    /// Approval by the name of a tool, in place of what the tool says.
    pub approvals: BTreeMap<String, Approval>,
    /// To whom outside of the conversation mail may go.
    pub send: SendRules,
    pub limits: Limits,
    pub window: Window,
    /// Tokens of one answer.
    pub answer_tokens: u32,
    pub budget: DailyBudget,
    pub approval_expires: SignedDuration,
    /// Whether pictures and PDF of the mail a turn is about are before the model from the beginning.
    pub shows_files: bool,
    /// Finds the bytes of attachments.
    pub files: Option<Arc<dyn Attachments>>,
}

impl fmt::Debug for Mind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mind")
            .field("model", &self.model.name())
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

impl Mind {
    /// A mind with defaults for everything else.
    pub fn new(model: Arc<dyn Model>, instructions: impl Into<String>, tools: Tools) -> Self {
        Self {
            model,
            instructions: instructions.into(),
            tools,
            approvals: BTreeMap::new(),
            send: SendRules::default(),
            limits: Limits::default(),
            window: Window::default(),
            answer_tokens: 4_096,
            budget: DailyBudget::default(),
            approval_expires: APPROVAL_EXPIRES,
            shows_files: false,
            files: None,
        }
    }

    /// Which calls of a tool a person approves.
    pub fn approval_of(&self, spec: &ToolSpec) -> Approval {
        self.approvals.get(&spec.name).copied().unwrap_or_else(|| spec.approval())
    }
}

/// What an agent's models may use in a day (UTC). What is beyond goes before a person. `None`: as much as
/// it takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DailyBudget {
    pub tokens: Option<u64>,
    /// Millionths of a dollar.
    pub cost: Option<u64>,
    /// Seconds of waiting for models.
    pub seconds: Option<u64>,
    pub turns: Option<u64>,
}

impl DailyBudget {
    /// Why no more may be used, if so.
    pub fn exhausted(&self, used: &Used) -> Option<String> {
        let over = |cap: Option<u64>, used: u64| cap.filter(|cap| used >= *cap);
        if let Some(cap) = over(self.tokens, used.tokens) {
            return Some(format!(
                "today's budget of {cap} tokens is used up ({} used)",
                used.tokens
            ));
        }
        if let Some(cap) = over(self.cost, used.cost) {
            let dollars = |micros: u64| micros as f64 / 1_000_000.0;
            return Some(format!(
                "today's budget of ${:.2} is used up (${:.2} used)",
                dollars(cap),
                dollars(used.cost)
            ));
        }
        if let Some(cap) = over(self.seconds, used.millis / 1_000) {
            return Some(format!("today's budget of {cap} s of model time is used up"));
        }
        over(self.turns, used.turns).map(|cap| format!("today's budget of {cap} turns is used up"))
    }
}

/// Hears of a turn while it is taken: for people who listen or watch.
pub trait TurnSink: Send + Sync {
    /// Whether somebody listens. What nobody hears while it is said is left where they find it.
    fn is_heard(&self) -> bool {
        true
    }
    /// More of the answer. What is said before a call is part of it.
    fn text(&self, _delta: &str) {}
    fn tool_started(&self, _call: CallId, _tool: &str) {}
    fn tool_ended(&self, _call: CallId, _tool: &str, _done: bool) {}
}

/// Nobody listens.
impl TurnSink for () {
    fn is_heard(&self) -> bool {
        false
    }
}
