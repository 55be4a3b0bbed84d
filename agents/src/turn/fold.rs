//! What a turn knows and what it does next, as functions of its log.
//!
//! [`Turn::of`] reads a log, entry by entry, and refuses one that could not have come about.
//! [`Turn::next`] says what to do at a time. Neither does anything, so a turn that goes on after a
//! crash runs through the same code as one that never stopped.

use super::step::{
    CallEnd, CallId, CallResult, Decided, Entry, Fingerprint, Foreign, Outcome, Said, Step,
};
use crate::{
    ApprovalId, MessageId, Trust,
    model::{StopReason, ToolCall, Usage},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bounds of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Answers of the model.
    pub rounds: u32,
    /// Calls in one answer. What is beyond is answered with an error.
    pub calls: u32,
    /// Tokens read and written by the model, all rounds together.
    pub tokens: u64,
    /// Time that passes while the turn is at work; what it waits for people does not count.
    pub busy: SignedDuration,
    /// Failed attempts to ask the model before a person must look.
    pub model_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rounds: 10,
            calls: 8,
            tokens: 200_000,
            busy: SignedDuration::from_mins(10),
            model_attempts: 3,
        }
    }
}

/// A log that could not have come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {at} of the turn's log ({step}) does not follow from those before it")]
pub struct IllegalStep {
    pub at: usize,
    pub step: String,
}

/// A turn as its log tells it.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The last message its context goes up to.
    pub through: Option<MessageId>,
    /// The context as last composed.
    pub context: Option<Fingerprint>,
    pub rounds: Vec<Round>,
    asking: Option<Asking>,
    pub stop: Option<Stop>,
    pub outcome: Option<Outcome>,
    pub usage: Usage,
    /// Milliseconds of model time.
    pub model_millis: u64,
    busy: SignedDuration,
    last_at: Option<Timestamp>,
    /// Entries read.
    pub entries: usize,
}

/// An answer of the model and what became of its calls.
#[derive(Debug, Clone)]
pub struct Round {
    pub said: Said,
    pub calls: Vec<Call>,
}

/// A call with where it stands.
#[derive(Debug, Clone)]
pub struct Call {
    pub id: CallId,
    pub asked: ToolCall,
    pub state: CallState,
    /// Arguments a person put in place of the model's.
    pub edited: Option<Value>,
    /// A person approved it.
    pub approved_by: Option<String>,
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq)]
pub enum CallState {
    /// The model asked for it.
    Asked,
    /// A person must decide.
    Held {
        approval: ApprovalId,
        expires_at: Timestamp,
    },
    /// A person approved it.
    Approved,
    /// It was begun, and nobody recorded how it ended.
    Begun,
    /// Somebody answers later.
    Awaited {
        until: Timestamp,
    },
    Ended(CallResult),
}

impl CallState {
    fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

/// Attempts to get the next answer.
#[derive(Debug, Clone, Copy)]
struct Asking {
    /// Attempts that were begun.
    attempts: u32,
    /// The last one failed; again at this time, or not at all.
    failed: Option<Option<Timestamp>>,
}

/// Why a turn comes to its end early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Cancelled(String),
    Interrupted,
    TimedOut,
    /// Asking the model failed for good.
    Failed(String),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Compose the context and record [`Step::Started`].
    Start,
    /// Ask the model for this round.
    Ask {
        round: u32,
    },
    /// Settle these calls: screen what was asked, make what was approved, look at what was begun.
    Calls(Vec<CallId>),
    /// Nobody decided about these in time.
    Expire(Vec<CallId>),
    /// End these without making them, for the turn is being stopped.
    Abandon(Vec<CallId>),
    /// Nothing to do before a person or another agent did something, or before this time.
    Wait {
        until: Timestamp,
        on: WaitsFor,
    },
    /// Record that the time is up.
    TimeOut,
    Finish(Outcome),
    Done,
}

/// What a parked turn waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    Approval,
    Answer,
    Retry,
}

impl WaitsFor {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Answer => "answer",
            Self::Retry => "retry",
        }
    }
}

impl Turn {
    /// Reads a log.
    pub fn of(log: &[Entry]) -> Result<Self, IllegalStep> {
        let mut turn = Self::default();
        for entry in log {
            turn.add(entry)?;
        }
        Ok(turn)
    }

    /// Reads one more entry.
    pub fn add(&mut self, entry: &Entry) -> Result<(), IllegalStep> {
        let illegal = IllegalStep { at: self.entries, step: entry.step.word().to_owned() };
        if self.outcome.is_some() {
            return Err(illegal);
        }
        self.count_time(entry);
        self.take(&entry.step).ok_or(illegal)?;
        self.entries += 1;
        Ok(())
    }

    /// Time between two entries counts as work unless the turn was waiting for somebody.
    fn count_time(&mut self, entry: &Entry) {
        let waited = self.waits_for().is_some();
        if let Some(last) = self.last_at.filter(|_| !waited) {
            self.busy += entry.at.duration_since(last).max(SignedDuration::ZERO);
        }
        self.last_at = Some(entry.at);
    }

    fn take(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Started { through, context } => {
                if self.context.is_some() {
                    return None;
                }
                self.through = Some(*through);
                self.context = Some(context.clone());
            }
            Step::Recomposed { context } => {
                let before = self.context.as_mut()?;
                // What was once in the context may have left its mark in what the model said since.
                let mut foreign = std::mem::take(&mut before.foreign);
                foreign.retain(|old| !context.foreign.contains(old));
                foreign.extend(context.foreign.iter().cloned());
                *before = Fingerprint {
                    hash: context.hash.clone(),
                    trust: before.trust.min(context.trust),
                    foreign,
                };
            }
            Step::ModelAsked { round } => {
                self.expects(*round)?;
                let asking = self.asking.get_or_insert(Asking { attempts: 0, failed: None });
                asking.attempts += 1;
                asking.failed = None;
            }
            Step::ModelSaid { round, said } => {
                self.expects(*round)?;
                self.asking.take()?;
                self.usage += said.usage;
                self.model_millis += said.millis;
                let calls = said.calls.iter().enumerate().map(|(index, call)| Call {
                    id: CallId { round: *round, index: index as u32 },
                    asked: call.clone(),
                    state: CallState::Asked,
                    edited: None,
                    approved_by: None,
                });
                let calls = calls.collect();
                self.rounds.push(Round { said: said.clone(), calls });
            }
            Step::ModelFailed { round, error, retry_at, usage } => {
                self.usage += *usage;
                self.expects(*round)?;
                self.asking.as_mut()?.failed = Some(*retry_at);
                if retry_at.is_none() && self.stop.is_none() {
                    self.stop = Some(Stop::Failed(error.clone()));
                }
            }
            Step::ApprovalAsked { call, approval, expires_at, .. } => {
                let call = self.call_mut(*call)?;
                matches!(call.state, CallState::Asked).then_some(())?;
                call.state = CallState::Held { approval: *approval, expires_at: *expires_at };
            }
            Step::ApprovalDecided { call, decision } => {
                let call = self.call_mut(*call)?;
                matches!(call.state, CallState::Held { .. }).then_some(())?;
                call.state = match decision {
                    Decided::Approved { by, arguments } => {
                        call.edited.clone_from(arguments);
                        call.approved_by = Some(by.clone());
                        CallState::Approved
                    }
                    Decided::Rejected { reason, .. } => CallState::Ended(CallResult::new(
                        CallEnd::Rejected,
                        if reason.is_empty() {
                            "A person rejected this call and gave no reason.".to_owned()
                        } else {
                            format!("A person rejected this call: {reason}")
                        },
                    )),
                    Decided::Expired => CallState::Ended(CallResult::new(
                        CallEnd::Expired,
                        "Nobody decided about this call in time, so it was not made.",
                    )),
                };
            }
            Step::CallBegun { call } => {
                let call = self.call_mut(*call)?;
                let fits =
                    matches!(call.state, CallState::Asked | CallState::Approved | CallState::Begun);
                fits.then_some(())?;
                call.state = CallState::Begun;
            }
            Step::CallAwaited { call, until } => {
                let call = self.call_mut(*call)?;
                matches!(call.state, CallState::Asked | CallState::Approved | CallState::Begun)
                    .then_some(())?;
                call.state = CallState::Awaited { until: *until };
            }
            Step::CallEnded { call, result } => {
                let call = self.call_mut(*call)?;
                (!call.state.is_ended()).then_some(())?;
                call.state = CallState::Ended(result.clone());
            }
            Step::Cancelled { why } => self.stop_for(Stop::Cancelled(why.clone()))?,
            Step::Interrupted { .. } => self.stop_for(Stop::Interrupted)?,
            Step::TimedOut => self.stop_for(Stop::TimedOut)?,
            Step::Finished { outcome } => {
                self.open_calls().next().is_none().then_some(())?;
                self.outcome = Some(outcome.clone());
            }
        }
        Some(())
    }

    /// The first reason to stop is the one that counts.
    fn stop_for(&mut self, why: Stop) -> Option<()> {
        self.stop.is_none().then_some(())?;
        self.stop = Some(why);
        Some(())
    }

    /// A round is only asked for when the one before is settled.
    fn expects(&self, round: u32) -> Option<()> {
        let fits = self.context.is_some()
            && self.rounds.len() == round as usize
            && self.open_calls().next().is_none();
        fits.then_some(())
    }

    fn call_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.rounds.get_mut(id.round as usize)?.calls.get_mut(id.index as usize)
    }

    /// A call by its id.
    pub fn call(&self, id: CallId) -> Option<&Call> {
        self.rounds.get(id.round as usize)?.calls.get(id.index as usize)
    }

    /// All calls, in the order they were asked.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.rounds.iter().flat_map(|round| &round.calls)
    }

    fn open_calls(&self) -> impl Iterator<Item = &Call> {
        // Only the last round can have any.
        self.rounds
            .last()
            .into_iter()
            .flat_map(|round| &round.calls)
            .filter(|call| !call.state.is_ended())
    }

    /// Everything foreign the model has been shown so far.
    pub fn foreign(&self) -> Vec<Foreign> {
        let mut all =
            self.context.as_ref().map(|context| context.foreign.clone()).unwrap_or_default();
        for call in self.calls() {
            if let CallState::Ended(result) = &call.state {
                for foreign in &result.foreign {
                    if !all.contains(foreign) {
                        all.push(foreign.clone());
                    }
                }
            }
        }
        all
    }

    /// The least trusted person whose words the model was shown.
    pub fn trust(&self) -> Trust {
        self.context.as_ref().map_or(Trust::Unproven, |context| context.trust)
    }

    /// Whether a tool of this name did what it does.
    pub fn did(&self, tool: &str) -> bool {
        self.calls().any(|call| {
            call.asked.name == tool
                && matches!(&call.state, CallState::Ended(result) if result.end == CallEnd::Done)
        })
    }

    /// Time at work up to `now`.
    pub fn busy_until(&self, now: Timestamp) -> SignedDuration {
        match self.last_at {
            Some(last) if self.waits_for().is_none() => {
                self.busy + now.duration_since(last).max(SignedDuration::ZERO)
            }
            _ => self.busy,
        }
    }

    /// What it waits for, with the time it waits until at most. Nothing while there is something to do.
    fn waits_for(&self) -> Option<(Timestamp, WaitsFor)> {
        if self.stop.is_some() {
            return None;
        }
        if let Some(Asking { failed: Some(Some(at)), .. }) = self.asking {
            return Some((at, WaitsFor::Retry));
        }
        let mut first: Option<(Timestamp, WaitsFor)> = None;
        for call in self.open_calls() {
            let (until, on) = match call.state {
                CallState::Held { expires_at, .. } => (expires_at, WaitsFor::Approval),
                CallState::Awaited { until } => (until, WaitsFor::Answer),
                _ => return None,
            };
            if first.is_none_or(|(earliest, _)| until < earliest) {
                first = Some((until, on));
            }
        }
        first
    }

    /// What to do now.
    pub fn next(&self, limits: &Limits, now: Timestamp) -> Action {
        if self.outcome.is_some() {
            return Action::Done;
        }
        if let Some(stop) = &self.stop {
            let open: Vec<_> = self.open_calls().map(|call| call.id).collect();
            return if open.is_empty() {
                Action::Finish(ending(stop))
            } else {
                Action::Abandon(open)
            };
        }
        if self.context.is_none() {
            return Action::Start;
        }
        if self.busy_until(now) >= limits.busy {
            return Action::TimeOut;
        }
        if self.open_calls().next().is_some() {
            return self.settle(now);
        }
        if let Some(round) = self.rounds.last()
            && round.calls.is_empty()
        {
            return Action::Finish(last_words(&round.said, self));
        }
        self.ask(limits, now)
    }

    fn settle(&self, now: Timestamp) -> Action {
        let (mut ready, mut late) = (Vec::new(), Vec::new());
        for call in self.open_calls() {
            match &call.state {
                CallState::Asked | CallState::Approved | CallState::Begun => ready.push(call.id),
                CallState::Held { expires_at: until, .. } | CallState::Awaited { until } => {
                    if *until <= now {
                        late.push(call.id);
                    }
                }
                CallState::Ended(_) => {}
            }
        }
        if !ready.is_empty() {
            Action::Calls(ready)
        } else if !late.is_empty() {
            Action::Expire(late)
        } else {
            let (until, on) = self.waits_for().unwrap_or((now, WaitsFor::Retry));
            Action::Wait { until, on }
        }
    }

    fn ask(&self, limits: &Limits, now: Timestamp) -> Action {
        let failed = |why: String| Action::Finish(Outcome::Failed { why });
        if let Some((until, on)) = self.waits_for()
            && until > now
        {
            return Action::Wait { until, on };
        }
        if self.asking.is_some_and(|asking| asking.attempts >= limits.model_attempts) {
            // Each of them ended with the process, or it would have been recorded otherwise.
            return failed(format!(
                "the model was asked {} times for one step and never answered",
                limits.model_attempts
            ));
        }
        if self.rounds.len() >= limits.rounds as usize {
            return failed(format!(
                "it took more than the {} steps a turn may take",
                limits.rounds
            ));
        }
        let used = self.usage.input.saturating_add(self.usage.output);
        if used >= limits.tokens {
            return failed(format!("it used {used} tokens, and a turn may use {}", limits.tokens));
        }
        Action::Ask { round: self.rounds.len() as u32 }
    }

    /// Failed attempts to get the next answer so far, this one included if it fails now.
    pub fn attempts(&self) -> u32 {
        self.asking.map_or(0, |asking| asking.attempts)
    }
}

fn ending(stop: &Stop) -> Outcome {
    match stop {
        Stop::Cancelled(why) => Outcome::Cancelled { why: why.clone() },
        Stop::Interrupted => Outcome::Interrupted,
        Stop::TimedOut => Outcome::Failed { why: "its time was up before it was done".into() },
        Stop::Failed(error) => Outcome::Failed { why: error.clone() },
    }
}

/// What an answer without calls comes to.
fn last_words(said: &Said, turn: &Turn) -> Outcome {
    let handed = turn.calls().find(|call| {
        call.asked.name == crate::tool::HAND_TO_PERSON
            && matches!(&call.state, CallState::Ended(result) if result.end == CallEnd::Done)
    });
    if let Some(call) = handed {
        let why = call
            .asked
            .arguments
            .to_object()
            .get("why")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        return Outcome::HandedOver { why };
    }
    match &said.stop {
        StopReason::Refused => {
            Outcome::Failed { why: "the model's provider refused to go on".into() }
        }
        StopReason::MaxTokens => {
            Outcome::Failed { why: "the model's answer was cut off at its longest".into() }
        }
        _ if said.text.trim().is_empty() || turn.did(crate::tool::REPLY) => Outcome::Silent,
        _ => Outcome::Answered { text: said.text.trim().to_owned() },
    }
}
