//! Calls: looked at, put before the gate, made, and ended.

use super::{Driver, EngineError, words_of};
use crate::{
    MessageId,
    agent::Effect,
    gate::{self, Decision, ToolRules},
    tool::{self, CallEffect, Inner, Tool, ToolContext, ToolOutput},
    turn::{
        StepLog,
        fold::{CallState, Turn},
        log::{Batch, Hold},
        prompt::{line, quote},
        step::{CallEnd, CallId, CallResult, Decided, Step},
    },
};
use futures_util::{FutureExt, future::join_all};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::{panic::AssertUnwindSafe, sync::Arc};
use tokio::sync::watch;

/// Octets of what a tool returns that are kept. Nobody pages through more.
const RESULT_MAX: usize = 1024 * 1024;

/// What is to be done with a call.
enum Screened {
    Ended(CallResult),
    Uncertain(CallResult),
    Hold(Hold),
    Run(Arc<dyn Tool>, Value),
}

impl Driver<'_> {
    /// Settles calls. Answers whether the turn can go on as it is: a speculative one may not do everything.
    pub(super) async fn calls(
        &self,
        log: &mut dyn StepLog,
        turn: &mut Turn,
        calls: &[CallId],
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, EngineError> {
        let mut settled = Batch::default();
        let (mut reads, mut acts) = (Vec::new(), Vec::new());
        self.mind.tools.ready(self.patience()).await;
        for id in calls {
            match self.screen(turn, *id) {
                Screened::Ended(result) => {
                    settled.steps.push(Step::CallEnded { call: *id, result });
                }
                Screened::Uncertain(result) => {
                    let why = format!("{} {}", name_of(turn, *id), result.text);
                    settled.steps.push(Step::CallEnded { call: *id, result });
                    settled.effects.push((
                        *id,
                        Effect::Review { conversation: self.request.conversation, why },
                    ));
                }
                Screened::Hold(hold) => settled.holds.push(hold),
                Screened::Run(tool, arguments) => {
                    let reads_only = tool.spec().effect == CallEffect::Read;
                    if reads_only {
                        reads.push((*id, tool, arguments))
                    } else {
                        acts.push((*id, tool, arguments))
                    }
                }
            }
        }
        if !log.is_real() && (!acts.is_empty() || !settled.holds.is_empty()) {
            return Ok(false);
        }
        if !reads.is_empty() {
            // Reading changes nothing, so all at once, and again after a crash.
            let so_far = Arc::new(turn.clone());
            let read = join_all(reads.iter().map(|(id, tool, arguments)| {
                let (tool, arguments) = (tool.clone(), arguments.clone());
                self.make(&so_far, *id, tool, arguments, stop.clone())
            }));
            for ((id, ..), (result, _, _)) in reads.iter().zip(read.await) {
                settled.steps.push(Step::CallEnded { call: *id, result });
            }
        }
        if !settled.steps.is_empty() || !settled.holds.is_empty() {
            self.append(log, turn, settled).await?;
        }
        for (id, tool, arguments) in acts {
            // What was read just now may have brought foreign text: what was allowed may not be any more.
            let still = matches!(self.screen(turn, id), Screened::Run(..));
            if !still || turn.stop.is_some() {
                return Ok(true);
            }
            if !self.act(log, turn, id, tool, arguments, stop).await? {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// Makes one call that has an effect, between its intent and its result.
    async fn act(
        &self,
        log: &mut dyn StepLog,
        turn: &mut Turn,
        id: CallId,
        tool: Arc<dyn Tool>,
        arguments: Value,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, EngineError> {
        let spec = tool.spec();
        if spec.background {
            let payload = json!({
                "tool": spec.name, "arguments": arguments, "request": self.request,
                "trust": turn.trust(), "foreign": turn.foreign(),
            });
            let effect = Effect::StartTask {
                name: format!("tool:{}", spec.name),
                key: format!("{}.{id}", self.turn),
                payload,
                deadline: None,
            };
            let text = "It was begun and goes on by itself. You will be told how it ended.";
            let result = CallResult::new(CallEnd::Done, text);
            let batch = Batch {
                steps: vec![Step::CallEnded { call: id, result }],
                effects: vec![(id, effect)],
                ..Batch::default()
            };
            return self.append(log, turn, batch).await;
        }
        if !spec.local && !self.append(log, turn, Batch::of(Step::CallBegun { call: id })).await? {
            return Ok(false);
        }
        let so_far = Arc::new(turn.clone());
        let (result, effects, awaited) =
            self.make(&so_far, id, tool.clone(), arguments, stop.clone()).await;
        let mut effects: Vec<_> = effects.into_iter().map(|effect| (id, effect)).collect();
        if result.end == CallEnd::Uncertain {
            let why = format!("{}: {}", spec.name, result.text);
            effects.push((id, Effect::Review { conversation: self.request.conversation, why }));
        }
        let step = match awaited {
            Some(until) if result.end == CallEnd::Done => Step::CallAwaited { call: id, until },
            _ => Step::CallEnded { call: id, result },
        };
        self.append(log, turn, Batch { steps: vec![step], effects, ..Batch::default() }).await
    }

    /// Runs a tool to its end or its timeout, or until the turn is withdrawn. What cannot be taken back is run to
    /// its end then, because what became of it must be known; so is what somebody heard of, who may
    /// have interrupted the words and not the work.
    async fn make(
        &self,
        so_far: &Arc<Turn>,
        id: CallId,
        tool: Arc<dyn Tool>,
        arguments: Value,
        mut stop: watch::Receiver<bool>,
    ) -> (CallResult, Vec<Effect>, Option<Timestamp>) {
        let spec = tool.spec();
        self.sink.tool_started(id, &spec.name);
        let clock = self.store.clock();
        let now = clock.now();
        let timeout = SignedDuration::try_from(spec.timeout).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(timeout).unwrap_or(Timestamp::MAX);
        let running = tool.run(arguments, self.context_of(so_far, id, now));
        let is_final = spec.effect == CallEffect::Final && !spec.local;
        let withdrawn = async {
            if is_final || self.sink.is_heard() {
                std::future::pending().await
            }
            super::ask::stopped(&mut stop).await;
        };
        let ended = tokio::select! {
            biased;
            ended = AssertUnwindSafe(running).catch_unwind() => Some(ended),
            () = clock.sleep_until(until) => None,
            () = withdrawn => {
                self.sink.tool_ended(id, &spec.name, false);
                let text = if spec.effect == CallEffect::Read {
                    "The turn was stopped before this was done."
                } else {
                    "The turn was stopped while this was under way. It may have taken effect."
                };
                return (CallResult::new(CallEnd::Cancelled, text), Vec::new(), None);
            }
        };
        let unknown = |why: String| {
            if is_final {
                let text =
                    format!("Nobody knows whether this took effect: {why}. A person will look.");
                CallResult::new(CallEnd::Uncertain, text)
            } else {
                CallResult::new(CallEnd::Failed, format!("It failed: {why}."))
            }
        };
        let (result, output) = match ended {
            Some(Ok(Ok(mut output))) => {
                output.text.truncate(output.text.floor_char_boundary(RESULT_MAX));
                let output = tool::mark(spec, output);
                let end = if output.failed { CallEnd::Failed } else { CallEnd::Done };
                let mut result = CallResult::new(end, output.text.clone());
                result.foreign = output.foreign.clone();
                result.files = output.files.clone();
                if spec.foreign && !output.ours {
                    result.text.clear();
                    line(
                        &mut result.text,
                        &[&format!("result of {}", spec.name), "nobody vouches for it"],
                    );
                    quote(&mut result.text, &output.text);
                }
                (result, output)
            }
            Some(Ok(Err(error))) => (unknown(words_of(&error)), ToolOutput::default()),
            Some(Err(_)) => (unknown("the tool broke down".into()), ToolOutput::default()),
            None if is_final => (unknown("it took too long".into()), ToolOutput::default()),
            None => {
                let text =
                    format!("It took longer than the {} s it may take.", spec.timeout.as_secs());
                (CallResult::new(CallEnd::TimedOut, text), ToolOutput::default())
            }
        };
        self.sink.tool_ended(id, &spec.name, result.end == CallEnd::Done);
        let effects = if result.end == CallEnd::Done { output.effects } else { Vec::new() };
        (result, effects, output.awaited_until)
    }

    fn context_of(&self, so_far: &Arc<Turn>, id: CallId, now: Timestamp) -> ToolContext {
        ToolContext {
            idempotency_key: format!("{}.{id}", self.turn),
            turn: self.turn,
            call: id,
            agent: self.agent_name.to_owned(),
            instance: self.instance,
            conversation: self.request.conversation,
            message: self.request.message(),
            trust: so_far.trust(),
            now,
            inner: Arc::new(Inner {
                store: self.store.clone(),
                files: self.mind.files.clone(),
                through: so_far.through.unwrap_or(MessageId(0)),
                asked_by: self.request.asked_by().to_vec(),
                takes: *self.mind.model.capabilities(),
                so_far: so_far.clone(),
            }),
        }
    }

    /// Decides what happens to a call: the tool and its arguments are looked at, then the gate is asked.
    fn screen(&self, turn: &Turn, id: CallId) -> Screened {
        let Some(call) = turn.call(id) else {
            return Screened::Ended(CallResult::new(CallEnd::Failed, "There is no such call."));
        };
        if id.index >= self.mind.limits.calls {
            let text =
                format!("The call was not made: at most {} at a time.", self.mind.limits.calls);
            return Screened::Ended(CallResult::new(CallEnd::NotAllowed, text));
        }
        let Some(tool) = self.mind.tools.get(&call.asked.name) else {
            if call.state == CallState::Begun {
                // What it did, and whether that can be done again, is known to nobody any more.
                let text = "Nobody knows whether this took effect: the program stopped while it was under \
                            way, and the tool is gone. A person will look.";
                return Screened::Uncertain(CallResult::new(CallEnd::Uncertain, text));
            }
            let text = "The call was not made: there is no tool of this name.";
            return Screened::Ended(CallResult::new(CallEnd::UnknownTool, text));
        };
        let arguments = match tool::arguments_of(tool.as_ref(), &call.asked, call.edited.as_ref()) {
            Ok(arguments) => arguments,
            Err(result) => return Screened::Ended(result),
        };
        let spec = tool.spec();
        if call.state == CallState::Begun && spec.effect == CallEffect::Final {
            let text = "Nobody knows whether this took effect: the program stopped while it was under way. \
                        A person will look.";
            return Screened::Uncertain(CallResult::new(CallEnd::Uncertain, text));
        }
        if matches!(call.state, CallState::Approved | CallState::Begun) {
            return Screened::Run(tool, arguments);
        }
        let rules = ToolRules {
            name: &spec.name,
            reads_only: spec.effect == CallEffect::Read,
            mails: spec.mails,
            least_trust: spec.least_trust,
            approval: self.mind.approval_of(spec),
        };
        let foreign = turn.foreign();
        match gate::decide_call(rules, turn.trust(), &foreign, self.store.rules().stopped) {
            Decision::Allow => Screened::Run(tool.clone(), arguments),
            Decision::Deny(why) => {
                let text = format!("The call was not made: {why}.");
                Screened::Ended(CallResult::new(CallEnd::NotAllowed, text))
            }
            Decision::Hold(why) => {
                let now = self.store.clock().now();
                Screened::Hold(Hold {
                    call: id,
                    tool: spec.name.clone(),
                    // serde_json orders members by name, so the same arguments are the same words.
                    arguments: arguments.to_string(),
                    effect: spec.effect,
                    why: why.to_string(),
                    foreign,
                    expires_at: now
                        .checked_add(self.mind.approval_expires)
                        .unwrap_or(Timestamp::MAX),
                })
            }
        }
    }

    pub(super) fn expire(&self, turn: &Turn, calls: &[CallId]) -> Batch {
        let steps = calls.iter().map(|id| match turn.call(*id).map(|call| &call.state) {
            Some(CallState::Held { .. }) => {
                Step::ApprovalDecided { call: *id, decision: Decided::Expired }
            }
            _ => {
                let text = "Nobody answered in time.";
                Step::CallEnded { call: *id, result: CallResult::new(CallEnd::TimedOut, text) }
            }
        });
        Batch { steps: steps.collect(), ..Batch::default() }
    }

    pub(super) fn abandon(&self, turn: &Turn, calls: &[CallId]) -> Batch {
        let mut batch = Batch::default();
        for id in calls {
            let begun = turn.call(*id).is_some_and(|call| call.state == CallState::Begun);
            let is_final = self
                .mind
                .tools
                .get(name_of(turn, *id))
                .is_none_or(|tool| tool.spec().effect == CallEffect::Final);
            let result = if begun && is_final {
                let why = format!("nobody knows whether {} took effect", name_of(turn, *id));
                batch.effects.push((
                    *id,
                    Effect::Review { conversation: self.request.conversation, why: why.clone() },
                ));
                CallResult::new(CallEnd::Uncertain, why)
            } else {
                CallResult::new(CallEnd::Cancelled, "The turn was stopped before this was done.")
            };
            batch.steps.push(Step::CallEnded { call: *id, result });
        }
        batch
    }
}

fn name_of(turn: &Turn, id: CallId) -> &str {
    turn.call(id).map_or("", |call| call.asked.name.as_str())
}
