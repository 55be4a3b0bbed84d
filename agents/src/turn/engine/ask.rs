//! Asking the model, within budgets and time.

use super::{Driver, EngineError};
use crate::{
    MessageId,
    model::{Event, Message, Request, StopReason, ToolChoice, Usage},
    retry::RetryPolicy,
    tool::{self, builtin::FileRef},
    turn::{
        DailyBudget, StepLog, TurnSink,
        context::{self, Composed},
        fold::Turn,
        log::Batch,
        material::{Material, Summary},
        media::{self, Shown},
        prompt::RULES,
        step::{Said, Step},
    },
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch;

/// How long a turn waits for tools: long enough to start a server of tools, as their authors advise clients.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where somebody waits for the first word.
const HEARD_PATIENCE: Duration = Duration::from_secs(1);

/// Attempts to ask a model, beside those its client makes before the first token.
const MODEL_RETRIES: RetryPolicy = RetryPolicy {
    attempts: u32::MAX,
    base: SignedDuration::from_secs(10),
    cap: SignedDuration::from_mins(5),
};

/// Completes when the turn is to stop. Whoever could say so may be gone; then nobody says so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// What came of asking.
enum Heard {
    Said(Said),
    Failed { error: String, may_retry: bool, after: Option<Duration>, usage: Usage },
    Stopped,
}

impl Driver<'_> {
    /// Has the model write what stands for a stretch of messages. Without it they are left out.
    pub(super) async fn summarise(
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
            system: vec![RULES.to_owned()],
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

    /// How long the turn waits for tools of other servers before it goes on without them.
    pub(super) fn patience(&self) -> Duration {
        if self.sink.is_heard() { HEARD_PATIENCE } else { PATIENCE }
    }

    pub(super) async fn over_budget(&self) -> Result<Option<String>, EngineError> {
        if self.mind.budget == DailyBudget::default() {
            return Ok(None);
        }
        Ok(self.mind.budget.exhausted(&self.store.used_today(self.agent).await?))
    }

    /// Asks the model for the next round.
    pub(super) async fn ask(
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
        tokio::select! {
            biased;
            () = stopped(stop) => return Ok(None),
            () = self.mind.tools.ready(self.patience()) => {}
        }
        let last = turn.rounds.len() + 1 >= self.mind.limits.rounds as usize;
        let shown = self.files(turn, &context.files).await;
        let mut opening = context.opening.clone();
        opening.parts.extend(context.files.iter().flat_map(|file| shown.parts_of(*file)));
        let mut messages = vec![opening];
        messages.extend(context::rounds(turn, &shown));
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
            () = stopped(stop) => Heard::Stopped,
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

    /// The files of a question. One that is gone, or that the model does not take any more, is left out: what the
    /// turn said of it is all there is.
    async fn files(&self, turn: &Turn, opening: &[FileRef]) -> Shown {
        let mut shown = Shown::default();
        for file in media::wanted(turn, opening) {
            let files = self.mind.files.as_deref();
            match tool::builtin::load(self.store, files, file).await {
                Ok(loaded) => {
                    let takes = self.mind.model.capabilities();
                    shown.add(file, &loaded.name, loaded.content, takes);
                }
                Err(error) => tracing::warn!(turn = %self.turn, %error, "a file cannot be shown"),
            }
        }
        shown
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
        let mut calls = BTreeMap::new();
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
}
