//! Taking a turn: asks the model, makes the calls, waits.
//!
//! The loop does what [`Turn::next`] says and adds what came of it to the log, until the turn is over or
//! waits for somebody. It keeps nothing that is not in the log but the composed context, which it composes again
//! when it goes on later.

use super::{
    Cause, Mind, StepLog, TurnRequest, TurnSink,
    context::{self, Composed, Frame, Window},
    fold::{Action, CallState, IllegalStep, Turn, WaitsFor},
    log::{Batch, Hold, LogError, TurnTerms},
    material::{Material, Summary},
    step::{CallEnd, CallId, CallResult, Decided, Outcome, Said, Step},
};
use crate::{
    AgentId, InstanceId, MessageId, Store, TaskId,
    agent::{Effect, HandlerError},
    gate::{self, Decision, ToolRules},
    mail::{Draft, DraftAttachment},
    model::{Event, Message, Request, StopReason, ToolChoice, Usage},
    retry::RetryPolicy,
    store::StoreError,
    tool::{self, CallEffect, Inner, Tool, ToolContext, ToolOutput},
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Attempts to ask a model, beside those its client makes before the first token.
const MODEL_RETRIES: RetryPolicy = RetryPolicy {
    attempts: u32::MAX,
    base: SignedDuration::from_secs(10),
    cap: SignedDuration::from_mins(5),
};

/// Octets of a result that are kept. Nobody pages through more.
const RESULT_MAX: usize = 1024 * 1024;

/// A turn with what it is taken with.
pub struct Driver<'a> {
    pub store: &'a Store,
    pub mind: &'a Mind,
    pub agent: AgentId,
    pub agent_name: &'a str,
    pub turn: TaskId,
    pub instance: InstanceId,
    pub request: &'a TurnRequest,
    pub sink: &'a dyn TurnSink,
}

/// Why a run came to a stop.
#[derive(Debug, Clone, PartialEq)]
pub enum Pause {
    Finished(Outcome),
    Parked {
        until: Timestamp,
        on: WaitsFor,
    },
    /// A speculative turn came to a call it may not make; the real one goes on from here.
    NeedsToBeReal,
}

/// What stops a run that nobody asked to stop.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Illegal(#[from] IllegalStep),
}

/// What came of asking.
enum Heard {
    Said(Said),
    Failed { error: String, may_retry: bool, after: Option<Duration>, usage: Usage },
    Stopped,
}

impl Driver<'_> {
    /// Goes on with a turn until it is over or waits. `stop` ends it early.
    pub async fn run(
        &self,
        log: &mut dyn StepLog,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Pause, EngineError> {
        let mut turn = Turn::of(log.entries())?;
        let mut composed = None;
        loop {
            if *stop.borrow() && turn.stop.is_none() && turn.outcome.is_none() {
                let why = "it was withdrawn".to_owned();
                self.append(log, &mut turn, Batch::of(Step::Cancelled { why })).await?;
            }
            let now = self.store.clock().now();
            let batch = match turn.next(&self.mind.limits, now) {
                Action::Done => {
                    let outcome = turn.outcome.clone().unwrap_or(Outcome::Silent);
                    return Ok(Pause::Finished(outcome));
                }
                Action::Wait { until, on } => return Ok(Pause::Parked { until, on }),
                Action::Start => {
                    let (material, context) = self.compose(None, now).await?;
                    let step = Step::Started {
                        through: material.through,
                        context: context.fingerprint.clone(),
                    };
                    composed = Some(context);
                    Batch::of(step)
                }
                Action::Ask { round } => {
                    if !self.have_context(log, &mut turn, &mut composed, now).await? {
                        continue;
                    }
                    let Some(context) = &composed else { continue };
                    match self.ask(log, &mut turn, context, round, stop).await? {
                        Some(batch) => batch,
                        None => continue,
                    }
                }
                Action::Calls(calls) => {
                    if !self.calls(log, &mut turn, &calls).await? {
                        return Ok(Pause::NeedsToBeReal);
                    }
                    continue;
                }
                Action::Expire(calls) => self.expire(&turn, &calls),
                Action::Abandon(calls) => self.abandon(&turn, &calls),
                Action::TimeOut => Batch::of(Step::TimedOut),
                Action::Finish(_) if !log.is_real() => return Ok(Pause::NeedsToBeReal),
                Action::Finish(outcome) => self.closing(&turn, outcome).await?,
            };
            self.append(log, &mut turn, batch).await?;
        }
    }

    /// Adds to the log and reads what is new in it. If somebody else added first and the entries still fit,
    /// they are added after; if not, they are dropped, and the turn goes on from what it is now.
    async fn append(
        &self,
        log: &mut dyn StepLog,
        turn: &mut Turn,
        mut batch: Batch,
    ) -> Result<bool, EngineError> {
        if batch.has_effects() {
            batch.terms = TurnTerms {
                send: self.mind.send.clone(),
                trust: Some(turn.trust()),
                foreign: turn.foreign(),
            };
        }
        loop {
            let now = self.store.clock().now();
            let added = log.append(batch.clone(), now).await;
            for entry in &log.entries()[turn.entries..] {
                turn.add(entry)?;
            }
            match added {
                Ok(()) => return Ok(true),
                Err(LogError::Moved) => {
                    let mut ahead = turn.clone();
                    let fits = batch.steps.iter().all(|step| {
                        ahead.add(&super::Entry { at: now, step: step.clone() }).is_ok()
                    });
                    if !fits || !batch.holds.is_empty() {
                        return Ok(false);
                    }
                }
                Err(LogError::Speculative) => {
                    return Err(
                        StoreError::Conflict("a speculative turn had an effect".into()).into()
                    );
                }
                Err(LogError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// The context as of the turn's start, summarised where it was too long.
    async fn compose(
        &self,
        through: Option<MessageId>,
        started_at: Timestamp,
    ) -> Result<(Material, Composed), EngineError> {
        let here = self.request.conversation;
        let mut material = self.store.material(self.instance, here, through).await?;
        let mut composed = context::compose(&material, self.frame(started_at));
        if let Some((from, to)) = composed.too_long
            && through.is_none()
            && let Some(summary) = self.summarise(&material, from, to).await?
        {
            self.store.keep_summary(here, summary.clone()).await?;
            material.summaries.push(summary);
            composed = context::compose(&material, self.frame(started_at));
        }
        Ok((material, composed))
    }

    fn frame(&self, started_at: Timestamp) -> Frame<'_> {
        Frame {
            agent: self.agent_name,
            instructions: &self.mind.instructions,
            request: self.request,
            // A third of what the model takes is left to instructions and tools, another to the turn itself.
            window: Window {
                tail_tokens: self
                    .mind
                    .window
                    .tail_tokens
                    .min(self.mind.model.capabilities().context / 3),
                ..self.mind.window
            },
            started_at,
        }
    }

    /// Has the model write what stands for a stretch of messages. Without it they are left out.
    async fn summarise(
        &self,
        material: &Material,
        from: MessageId,
        to: MessageId,
    ) -> Result<Option<Summary>, EngineError> {
        if self.over_budget().await?.is_some() {
            return Ok(None);
        }
        let (text, behind) = context::summary_request(material, from, to);
        let request = Request {
            system: vec![super::prompt::RULES.to_owned()],
            messages: vec![Message::user(text)],
            max_tokens: Some(self.mind.answer_tokens),
            tool_choice: ToolChoice::None,
            ..Request::default()
        };
        match self.listen(request, &()).await {
            Heard::Said(said) => {
                self.store.count_model(self.agent, said.usage, said.millis).await?;
                let text = said.text.trim().to_owned();
                Ok((!text.is_empty()).then_some(Summary {
                    from,
                    to,
                    text,
                    trust: behind.trust,
                    foreign: behind.foreign,
                }))
            }
            Heard::Failed { error, usage, .. } => {
                self.store.count_model(self.agent, usage, 0).await?;
                tracing::warn!(turn = %self.turn, error, "a long history could not be summarised");
                Ok(None)
            }
            Heard::Stopped => Ok(None),
        }
    }

    /// Composes the context again where a run goes on, and records if it came out differently.
    async fn have_context(
        &self,
        log: &mut dyn StepLog,
        turn: &mut Turn,
        composed: &mut Option<Composed>,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        if composed.is_some() {
            return Ok(true);
        }
        let started_at = log.entries().first().map_or(now, |entry| entry.at);
        let (_, context) = self.compose(turn.through, started_at).await?;
        let same =
            turn.context.as_ref().is_some_and(|before| before.hash == context.fingerprint.hash);
        let fingerprint = context.fingerprint.clone();
        *composed = Some(context);
        if same {
            return Ok(true);
        }
        self.append(log, turn, Batch::of(Step::Recomposed { context: fingerprint })).await
    }

    async fn over_budget(&self) -> Result<Option<String>, EngineError> {
        if self.mind.budget == super::DailyBudget::default() {
            return Ok(None);
        }
        Ok(self.mind.budget.exhausted(&self.store.used_today(self.agent).await?))
    }

    /// Asks the model for the next round.
    async fn ask(
        &self,
        log: &mut dyn StepLog,
        turn: &mut Turn,
        context: &Composed,
        round: u32,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Batch>, EngineError> {
        if let Some(why) = self.over_budget().await? {
            // Recorded as a failure to ask, so that calls and answers so far stay what they are.
            let asked = Step::ModelAsked { round };
            let failed =
                Step::ModelFailed { round, error: why, retry_at: None, usage: Usage::default() };
            return Ok(Some(Batch { steps: vec![asked, failed], ..Batch::default() }));
        }
        if !self.append(log, turn, Batch::of(Step::ModelAsked { round })).await? {
            return Ok(None);
        }
        let last = turn.rounds.len() + 1 >= self.mind.limits.rounds as usize;
        let mut messages = vec![context.opening.clone()];
        messages.extend(context::rounds(turn));
        let request = Request {
            system: context.system.clone(),
            messages,
            tools: self.mind.tools.for_model(|_| true),
            // The last answer is one in words.
            tool_choice: if last { ToolChoice::None } else { ToolChoice::Auto },
            max_tokens: Some(self.mind.answer_tokens),
            ..Request::default()
        };
        let now = self.store.clock().now();
        let left = self.mind.limits.busy - turn.busy_until(now);
        let out_of_time = now.checked_add(left.max(SignedDuration::ZERO)).unwrap_or(Timestamp::MAX);
        let heard = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Heard::Stopped,
            heard = self.listen(request, self.sink) => heard,
            () = self.store.clock().sleep_until(out_of_time) => return Ok(Some(Batch::of(Step::TimedOut))),
        };
        Ok(match heard {
            Heard::Said(said) => Some(Batch::of(Step::ModelSaid { round, said })),
            // Who stopped it has said so in the log; the loop looks there.
            Heard::Stopped => None,
            Heard::Failed { error, may_retry, after, usage } => {
                let again = may_retry && turn.attempts() < self.mind.limits.model_attempts;
                let now = self.store.clock().now();
                let random = getrandom::u64().unwrap_or(u64::MAX / 2);
                let retry_at = MODEL_RETRIES.next(turn.attempts(), now, random).filter(|_| again);
                let asked = after.and_then(|after| now.checked_add(after).ok());
                let retry_at = retry_at.map(|at| asked.map_or(at, |asked| at.max(asked)));
                Some(Batch::of(Step::ModelFailed { round, error, retry_at, usage }))
            }
        })
    }

    /// Asks, and listens to the end.
    async fn listen(&self, request: Request, sink: &dyn TurnSink) -> Heard {
        let clock = self.store.clock();
        let begun = clock.now();
        let mut said = Said {
            model: self.mind.model.name().to_owned(),
            text: String::new(),
            calls: Vec::new(),
            usage: Usage::default(),
            stop: StopReason::EndTurn,
            millis: 0,
        };
        let mut calls = std::collections::BTreeMap::new();
        let mut events = self.mind.model.stream(request);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Started { model, .. }) => said.model = model,
                Ok(Event::TextDelta(delta)) => {
                    sink.text(&delta);
                    said.text.push_str(&delta);
                }
                Ok(Event::ToolCall { index, call }) => {
                    calls.insert(index, call);
                }
                Ok(Event::Usage(usage)) => said.usage = usage,
                Ok(Event::Stop(stop)) => said.stop = stop,
                Ok(Event::ToolCallStart { .. } | Event::ToolCallDelta { .. }) => {}
                Err(error) => {
                    return Heard::Failed {
                        may_retry: error.may_retry(),
                        after: error.retry_after(),
                        error: error.to_string(),
                        usage: said.usage,
                    };
                }
            }
        }
        said.calls = calls.into_values().collect();
        let took = clock.now().duration_since(begun).as_millis();
        said.millis = u64::try_from(took).unwrap_or_default();
        Heard::Said(said)
    }

    /// Settles calls. Answers whether the turn can go on as it is: a speculative one may not do everything.
    async fn calls(
        &self,
        log: &mut dyn StepLog,
        turn: &mut Turn,
        calls: &[CallId],
    ) -> Result<bool, EngineError> {
        let mut settled = Batch::default();
        let (mut reads, mut acts) = (Vec::new(), Vec::new());
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
                self.make(&so_far, *id, tool, arguments)
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
            if !self.act(log, turn, id, tool, arguments).await? {
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
        let (mut result, effects, awaited) = self.make(&so_far, id, tool.clone(), arguments).await;
        let mut effects: Vec<_> = effects.into_iter().map(|effect| (id, effect)).collect();
        if result.end == CallEnd::Uncertain {
            let why = format!("{}: {}", spec.name, result.text);
            effects.push((id, Effect::Review { conversation: self.request.conversation, why }));
        }
        let step = match awaited {
            Some(until) if result.end == CallEnd::Done => Step::CallAwaited { call: id, until },
            _ => {
                result.text.truncate(result.text.floor_char_boundary(RESULT_MAX));
                Step::CallEnded { call: id, result }
            }
        };
        self.append(log, turn, Batch { steps: vec![step], effects, ..Batch::default() }).await
    }

    /// Runs a tool to its end or its timeout.
    async fn make(
        &self,
        so_far: &Arc<Turn>,
        id: CallId,
        tool: Arc<dyn Tool>,
        arguments: Value,
    ) -> (CallResult, Vec<Effect>, Option<Timestamp>) {
        let spec = tool.spec();
        self.sink.tool_started(id, &spec.name);
        let clock = self.store.clock();
        let now = clock.now();
        let timeout = SignedDuration::try_from(spec.timeout).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(timeout).unwrap_or(Timestamp::MAX);
        let running = tool.run(arguments, self.context_of(so_far, id, now));
        let ended = tokio::select! {
            biased;
            ended = AssertUnwindSafe(running).catch_unwind() => Some(ended),
            () = clock.sleep_until(until) => None,
        };
        let is_final = spec.effect == CallEffect::Final && !spec.local;
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
            Some(Ok(Ok(output))) => {
                let output = tool::mark(spec, output);
                let end = if output.failed { CallEnd::Failed } else { CallEnd::Done };
                let mut result = CallResult::new(end, output.text.clone());
                result.foreign = output.foreign.clone();
                if spec.foreign {
                    result.text.clear();
                    super::prompt::line(
                        &mut result.text,
                        &[&format!("result of {}", spec.name), "nobody vouches for it"],
                    );
                    super::prompt::quote(&mut result.text, &output.text);
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
            return Screened::Run(tool.clone(), arguments);
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
                    why: why.to_string(),
                    foreign,
                    expires_at: now
                        .checked_add(self.mind.approval_expires)
                        .unwrap_or(Timestamp::MAX),
                })
            }
        }
    }

    fn expire(&self, turn: &Turn, calls: &[CallId]) -> Batch {
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

    fn abandon(&self, turn: &Turn, calls: &[CallId]) -> Batch {
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

    /// The end of the turn with what it does: the answer leaves through the gate.
    async fn closing(&self, turn: &Turn, outcome: Outcome) -> Result<Batch, EngineError> {
        let mut closing = Vec::new();
        if let Outcome::Answered { text } = &outcome {
            let mut draft = Draft::text(text.clone());
            match attached(self.store, self.mind.files.as_deref(), turn).await {
                Ok(files) => draft.attachments = files,
                Err(error) => {
                    let why =
                        format!("a file of its answer could not be read: {}", words_of(&error));
                    return Ok(Batch::of(Step::Finished { outcome: Outcome::Failed { why } }));
                }
            }
            let conversation = self.request.conversation;
            match (&self.request.cause, self.request.answers()) {
                (Cause::Asked(_) | Cause::Said { .. }, _) => {}
                (_, Some(answers)) => closing.push(Effect::Reply { answers, draft }),
                (_, None) => {
                    let members = self.store.members(conversation).await?;
                    closing.push(if members.is_empty() {
                        Effect::Note { conversation, text: text.clone() }
                    } else {
                        Effect::Send { conversation: Some(conversation), to: members, draft }
                    });
                }
            }
        }
        Ok(Batch { steps: vec![Step::Finished { outcome }], closing, ..Batch::default() })
    }
}

/// What is to be done with a call.
enum Screened {
    Ended(CallResult),
    Uncertain(CallResult),
    Hold(Hold),
    Run(Arc<dyn Tool>, Value),
}

fn name_of(turn: &Turn, id: CallId) -> &str {
    turn.call(id).map_or("", |call| call.asked.name.as_str())
}

/// The words of an error, as a sentence's end.
fn words_of(error: &HandlerError) -> String {
    error.to_string().trim_end_matches('.').to_owned()
}

/// The files a turn chose for its next mail.
pub(crate) async fn attached(
    store: &Store,
    files: Option<&dyn tool::Attachments>,
    turn: &Turn,
) -> Result<Vec<DraftAttachment>, HandlerError> {
    let mut chosen = Vec::new();
    for call in turn.calls() {
        if !matches!(&call.state, CallState::Ended(result) if result.end == CallEnd::Done) {
            continue;
        }
        if tool::builtin::MAILS.contains(&call.asked.name.as_str()) {
            // They left with that one.
            chosen.clear();
        } else if call.asked.name == tool::builtin::ATTACH {
            let arguments = Value::Object(call.asked.arguments.to_object());
            chosen.push(serde_json::from_value::<tool::builtin::FileRef>(arguments)?);
        }
    }
    let mut loaded = Vec::with_capacity(chosen.len());
    for file in chosen {
        loaded.push(tool::builtin::load(store, files, file).await?);
    }
    Ok(loaded)
}
