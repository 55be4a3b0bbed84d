//! Taking a turn: asks the model, makes the calls, waits.
//!
//! The loop does what [`Turn::next`] says and adds what came of it to the log, until the turn is over or
//! waits for somebody. It keeps nothing that is not in the log but the composed context, which it composes again
//! when it goes on later.
//!
//! - `ask`: the model is asked;
//! - `calls`: calls are looked at and made.

mod ask;
mod calls;

use super::{
    Cause, Mind, StepLog, TurnRequest, TurnSink,
    context::{self, Composed, Frame, Window},
    fold::{Action, CallState, IllegalStep, Turn, WaitsFor},
    log::{Batch, LogError, TurnTerms},
    material::Material,
    step::{CallEnd, Outcome, Step},
};
use crate::{
    AgentId, InstanceId, MessageId, Store, TaskId,
    agent::{Effect, HandlerError},
    mail::{Draft, DraftAttachment},
    store::StoreError,
    tool,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

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
                    if !self.calls(log, &mut turn, &calls, stop).await? {
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
            shows: self.mind.shows_files.then(|| *self.mind.model.capabilities()),
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
                (Cause::Asked(_), _) => {}
                (Cause::Said { .. }, _) if self.sink.is_heard() => {}
                // It took longer than anybody listened: said where they still are, and written down.
                (Cause::Said { .. }, _) => {
                    closing.push(Effect::Speak { call: None, text: text.clone() });
                    closing.push(Effect::Note { conversation, text: text.clone() });
                }
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
