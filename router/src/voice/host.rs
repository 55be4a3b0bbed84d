//! The agent and the history behind a call.
//!
//! Speech never waits for a commit: what is to be kept goes to a task of the call's own that writes it in
//! order, and the end of the call last.

use super::Calls;
use frontdesk_agents::{
    AgentId, Store,
    live::{self, Call, EndReason, Interrupted, ReplyPart, Transcript, Turn},
    runtime::Hooks,
    store::{CallOutcome, Recording, Spoken, TurnTimes},
};
use frontdesk_voice::{
    call::{self, Message, Ms, TurnMetrics},
    shell::{Answer, Asked, Ended, Host, HostFuture},
};
use futures_util::StreamExt as _;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc;

/// One call's way to its agent and its history.
pub(super) struct AgentHost {
    calls: Arc<Calls>,
    store: Store,
    call: Call,
    hooks: Option<Hooks>,
    listens_only: bool,
    history: mpsc::UnboundedSender<Kept>,
}

/// What is to be kept.
enum Kept {
    Said(Message),
    Turn(TurnMetrics),
    End(Ended),
}

impl AgentHost {
    pub fn new(calls: Arc<Calls>, store: Store, call: Call, agent: AgentId) -> Arc<Self> {
        // Bounded by what a call can say: a few messages a turn, of at most 64 KiB.
        let (history, kept) = mpsc::unbounded_channel();
        tokio::spawn(keep(calls.clone(), store.clone(), call.id, kept));
        Arc::new(Self {
            hooks: calls.live.hooks(agent),
            listens_only: calls.live.listens_only(agent),
            calls,
            store,
            call,
            history,
        })
    }

    fn keep(&self, what: Kept) {
        if self.history.send(what).is_err() {
            tracing::error!(call = %self.call.id, "something said in a call came after its end");
        }
    }
}

impl Host for AgentHost {
    fn turn(&self, asked: Asked, answer: Answer) -> HostFuture {
        let (live, call) = (self.calls.live.clone(), self.call.clone());
        let (now, listens_only) = (self.store.clock().now(), self.listens_only);
        Box::pin(async move {
            if listens_only {
                let transcript = Transcript { text: asked.text, is_final: true };
                return live.transcript(call.id, transcript).await.map_err(|e| e.to_string());
            }
            let mut turn = Turn::in_call(&call, asked.turn, asked.text, via(asked.via), now);
            if let Some(cut) = asked.interrupted {
                let interrupted = Interrupted { said: cut.heard, unheard: cut.unheard };
                let told = live.interrupt(call.id, interrupted.clone()).await;
                if let Err(error) = told {
                    tracing::warn!(call = %call.id, %error, "the agent could not be told of an interruption");
                }
                turn = turn.interrupting(interrupted);
            }
            let reply = match turn.via {
                live::Via::Keypad => live.dtmf(turn).await,
                _ => live.turn(turn).await,
            };
            let mut reply = reply.map_err(|error| error.to_string())?;
            // Tools are numbered within a reply; the call wants numbers of its own.
            let tools = u64::from(asked.generation) << 32;
            let mut running = Running { answer: &answer, tools: HashMap::new() };
            while let Some(part) = reply.next().await {
                let goes_on = match part.map_err(|error| error.to_string())? {
                    ReplyPart::Text(text) => answer.text(text).await,
                    ReplyPart::ToolStarted(tool) => {
                        running.tools.insert(tool, tools | tool);
                        answer.tool_started(tools | tool).await
                    }
                    ReplyPart::ToolEnded(tool) => {
                        running.tools.remove(&tool);
                        answer.tool_ended(tools | tool).await
                    }
                };
                if !goes_on {
                    break;
                }
            }
            running.finish().await;
            Ok(())
        })
    }

    fn transcribed(&self, text: String) -> Option<String> {
        match &self.hooks {
            Some(hooks) => hooks.after_transcription(text),
            None => Some(text),
        }
    }

    fn before_speech(&self, text: String) -> Option<String> {
        match &self.hooks {
            Some(hooks) => hooks.before_synthesis(text),
            None => Some(text),
        }
    }

    fn after_speech(&self, sound: &mut Vec<i16>, rate: u32) {
        if let Some(hooks) = &self.hooks {
            hooks.after_synthesis(sound, rate);
        }
    }

    fn commit(&self, message: Message) {
        // What an agent that only listens hears is stored by its handler.
        if !self.listens_only {
            self.keep(Kept::Said(message));
        }
    }

    fn metrics(&self, metrics: TurnMetrics) {
        observe(&metrics);
        self.keep(Kept::Turn(metrics));
    }

    fn ended(&self, ended: Ended) {
        self.keep(Kept::End(ended));
    }
}

/// The tools of a reply that have not said how they ended.
struct Running<'a> {
    answer: &'a Answer,
    tools: HashMap<u64, u64>,
}

impl Running<'_> {
    /// A reply that is over has no tools that the caller waits for.
    async fn finish(self) {
        for tool in self.tools.into_values() {
            self.answer.tool_ended(tool).await;
        }
    }
}

/// Writes what a call leaves behind, in order.
async fn keep(
    calls: Arc<Calls>,
    store: Store,
    call: frontdesk_agents::CallId,
    mut kept: mpsc::UnboundedReceiver<Kept>,
) {
    while let Some(what) = kept.recv().await {
        let (kept, last) = match what {
            Kept::Said(message) => {
                (store.commit_spoken(call, spoken(message)).await.map(drop), false)
            }
            Kept::Turn(metrics) => (store.record_turn(call, times(&metrics)).await, false),
            Kept::End(ended) => {
                let reason = match reason(ended.reason) {
                    // Whoever was told that the server stops did not hang up because of the agent.
                    EndReason::AgentEnded | EndReason::CallerHungUp if calls.is_stopping() => {
                        EndReason::ServerStopped
                    }
                    reason => reason,
                };
                metrics::counter!("calls_total", "reason" => reason.as_str()).increment(1);
                let recording = recording(&store, ended.recording).await;
                let duration_ms = i64::try_from(ended.duration).unwrap_or(i64::MAX);
                let outcome = CallOutcome { reason, duration_ms, recording };
                (store.end_call(call, outcome).await.map(drop), true)
            }
        };
        if let Err(error) = kept {
            // The next start ends the call with what was kept.
            tracing::error!(%call, %error, "a part of a call could not be kept");
        }
        if last {
            break;
        }
    }
    calls.closed(call);
}

/// Takes the file of a recording into the store.
async fn recording(
    store: &Store,
    made: Option<frontdesk_voice::shell::Recording>,
) -> Option<Recording> {
    let (made, store) = (made?, store.clone());
    let path = made.path.clone();
    let staged = tokio::task::spawn_blocking(move || {
        let staged = store.stage_file(&made.path).map_err(|error| error.to_string())?;
        std::fs::remove_file(&made.path).map_err(|error| error.to_string())?;
        Ok::<_, String>(staged)
    });
    let staged = staged.await.unwrap_or_else(|error| Err(error.to_string()));
    match staged {
        Ok(content) => Some(Recording { content, media_type: "audio/wav".into() }),
        Err(error) => {
            tracing::error!(path = %path.display(), error, "a recording was not kept; its file may still be there");
            None
        }
    }
}

/// What of a turn is watched: how long callers wait for what.
fn observe(metrics: &TurnMetrics) {
    let seconds = |name: &'static str, from: Option<Ms>, to: Option<Ms>| {
        if let (Some(from), Some(to)) = (from, to) {
            metrics::histogram!(name).record(to.saturating_sub(from) as f64 / 1_000.0);
        }
    };
    let asked = metrics.speech_end.or(Some(metrics.turn_end));
    seconds("call_transcription_seconds", metrics.speech_end, metrics.final_text);
    seconds("call_first_text_seconds", Some(metrics.turn_end), metrics.first_text);
    seconds("call_first_audio_seconds", asked, metrics.first_audio);
    let outcome = outcome(metrics.outcome);
    metrics::counter!("call_turns_total", "outcome" => outcome.as_str()).increment(1);
}

fn ms(at: Ms) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn spoken(message: Message) -> Spoken {
    Spoken {
        speaker: match message.speaker {
            call::Speaker::Caller => live::Speaker::Caller,
            call::Speaker::Agent => live::Speaker::Agent,
        },
        origin: match message.origin {
            call::Origin::Caller => live::Origin::Caller,
            call::Origin::Greeting => live::Origin::Greeting,
            call::Origin::Reply => live::Origin::Reply,
            call::Origin::Announcement => live::Origin::Announcement,
            call::Origin::Prompt => live::Origin::Prompt,
            call::Origin::Explanation => live::Origin::Explanation,
            call::Origin::Farewell => live::Origin::Farewell,
        },
        via: message.via.map(via),
        turn: message.turn,
        generation: message.generation,
        at_ms: ms(message.at),
        text: message.text,
        generated: message.generated,
        sent: message.sent,
        heard: message.heard,
        outcome: outcome(message.outcome),
    }
}

fn via(via: call::Via) -> live::Via {
    match via {
        call::Via::Speech => live::Via::Speech,
        call::Via::Text => live::Via::Text,
        call::Via::Keypad => live::Via::Keypad,
    }
}

fn outcome(outcome: call::Outcome) -> live::Outcome {
    match outcome {
        call::Outcome::Complete => live::Outcome::Complete,
        call::Outcome::Interrupted => live::Outcome::Interrupted,
        call::Outcome::Failed => live::Outcome::Failed,
        call::Outcome::HungUp => live::Outcome::HungUp,
    }
}

fn reason(reason: call::EndReason) -> EndReason {
    match reason {
        call::EndReason::CallerHungUp => EndReason::CallerHungUp,
        call::EndReason::AgentEnded => EndReason::AgentEnded,
        call::EndReason::Idle => EndReason::Idle,
        call::EndReason::TooLong => EndReason::TooLong,
        call::EndReason::Lost => EndReason::Lost,
        call::EndReason::EngineFailed => EndReason::EngineFailed,
        call::EndReason::NotAnswered => EndReason::NotAnswered,
    }
}

fn times(metrics: &TurnMetrics) -> TurnTimes {
    TurnTimes {
        turn: metrics.turn,
        generation: metrics.generation,
        speech_end_ms: metrics.speech_end.map(ms),
        final_text_ms: metrics.final_text.map(ms),
        turn_end_ms: ms(metrics.turn_end),
        first_text_ms: metrics.first_text.map(ms),
        first_audio_ms: metrics.first_audio.map(ms),
        end_ms: ms(metrics.end),
        outcome: outcome(metrics.outcome),
    }
}
