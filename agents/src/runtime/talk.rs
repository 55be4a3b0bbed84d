//! Turns of models that are heard as they are taken: in calls and chats.
//!
//! The words go to the caller as the model says them and wait for no commit; calls with an effect wait for
//! theirs, as in every turn. Whoever stops listening stops the turn. A turn that has to wait, for a person for
//! instance, is parked like any other and goes on without the caller.

use crate::{
    AgentId, MessageId, Store,
    agent::HandlerError,
    live::{Reply, ReplyPart, Turn},
    store::StoreError,
    turn::{
        CallId, Cause, Mind, Outcome, StepLog, StoredLog, TurnRequest, TurnSink,
        engine::{Driver, EngineError, Pause},
        fold::WaitsFor,
    },
};
use futures_util::{FutureExt, stream};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// How long the words of a turn may take to the disk: the model reads them there.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// Said last where a person is to decide first.
const ASKED_A_PERSON: &str = "I have to ask somebody about this. They will look at it.";
/// Said last where a person takes over.
const HANDED_OVER: &str = "Somebody here will take care of this.";

/// A turn somebody waits to hear.
pub(super) struct Talk {
    pub store: Store,
    pub mind: Arc<Mind>,
    pub agent: AgentId,
    pub name: Arc<str>,
    pub turn: Turn,
}

type Part = Result<ReplyPart, HandlerError>;

/// Where the words go.
struct Words {
    to: mpsc::UnboundedSender<Part>,
    /// Whether what comes next needs a space before it.
    needs_space: AtomicBool,
}

impl TurnSink for Words {
    fn text(&self, delta: &str) {
        if let Some(last) = delta.chars().last() {
            self.needs_space.store(!last.is_whitespace(), Ordering::Relaxed);
        }
        self.say(ReplyPart::Text(delta.to_owned()));
    }

    fn tool_started(&self, call: CallId, _: &str) {
        self.say(ReplyPart::ToolStarted(number(call)));
    }

    fn tool_ended(&self, call: CallId, _: &str, _: bool) {
        self.say(ReplyPart::ToolEnded(number(call)));
    }
}

impl Words {
    /// A sentence of ours after the model's.
    fn add(&self, sentence: &str) {
        if self.needs_space.load(Ordering::Relaxed) {
            self.text(" ");
        }
        self.text(sentence);
    }

    fn say(&self, part: ReplyPart) {
        // Nobody listens any more: the turn is told in another way.
        let _ = self.to.send(Ok(part));
    }
}

/// Unique within a reply.
fn number(call: CallId) -> u64 {
    u64::from(call.round) << 32 | u64::from(call.index)
}

impl Talk {
    /// The words of the turn, as they come.
    pub fn reply(self) -> Reply {
        // Bounded by what a model may answer in one turn.
        let (words, heard) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let sink = Words { to: words.clone(), needs_space: AtomicBool::new(false) };
            let taken = AssertUnwindSafe(self.take(&sink, stopped)).catch_unwind().await;
            let problem = match taken {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => "the turn broke down".into(),
            };
            tracing::warn!(agent = %self.name, error = %problem, "a caller got no whole answer");
            let _ = words.send(Err(problem));
        });
        let stop = StopOnDrop(stop);
        Reply::stream(stream::unfold((heard, stop), |(mut heard, stop)| async move {
            heard.recv().await.map(|part| (part, (heard, stop)))
        }))
    }

    async fn take(
        &self,
        sink: &Words,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), HandlerError> {
        let message = self.stored().await?;
        let conversation = self.turn.conversation;
        let request =
            TurnRequest { conversation, cause: Cause::Said { message }, not_before: None };
        let Some((turn, instance)) = self.store.begin_heard_turn(request.clone()).await? else {
            return Ok(());
        };
        let mut log = StoredLog::new(self.store.clone(), turn, Vec::new());
        loop {
            let driver = Driver {
                store: &self.store,
                mind: &self.mind,
                agent: self.agent,
                agent_name: &self.name,
                turn,
                instance,
                request: &request,
                sink,
            };
            match driver.run(&mut log, &mut stopped).await {
                Ok(Pause::Finished(outcome)) => return ended(sink, outcome),
                Ok(Pause::Parked { until, on }) => {
                    let seen = log.entries().len();
                    match self.store.park_turn(turn, seen, until, on).await? {
                        None if on == WaitsFor::Retry => {
                            return Err("the model cannot be asked just now".into());
                        }
                        None => {
                            sink.add(ASKED_A_PERSON);
                            return Ok(());
                        }
                        Some(entries) => log.moved(entries),
                    }
                }
                Ok(Pause::NeedsToBeReal) => return Err("its log is not its own".into()),
                Err(error) => {
                    let why = error.to_string();
                    // What the store could not take now is gone on with at the next start.
                    if !matches!(&error, EngineError::Store(error) if error.is_transient()) {
                        self.store.break_turn(turn, why.clone()).await?;
                    }
                    return Err(why.into());
                }
            }
        }
    }

    /// The message with the words of the turn. In a call they are stored while the agent is asked.
    async fn stored(&self) -> Result<MessageId, HandlerError> {
        if let Some(message) = self.turn.message {
            return Ok(message);
        }
        let call = self.turn.call.ok_or("there is nothing to answer")?;
        let mut commits = self.store.commits();
        let stored = async {
            loop {
                commits.mark_unchanged();
                if let Some(message) = self.store.said_in(call, self.turn.number).await? {
                    return Ok(message);
                }
                commits.changed().await.map_err(|_| StoreError::Closed)?;
            }
        };
        let stored = tokio::time::timeout(STORED_WITHIN, stored).await;
        stored.unwrap_or_else(|_| Err("the words were not stored in time".into()))
    }
}

fn ended(sink: &Words, outcome: Outcome) -> Result<(), HandlerError> {
    match outcome {
        Outcome::HandedOver { .. } => sink.add(HANDED_OVER),
        Outcome::Failed { why } => return Err(why.into()),
        Outcome::Answered { .. }
        | Outcome::Silent
        | Outcome::Cancelled { .. }
        | Outcome::Interrupted => {}
    }
    Ok(())
}

/// Whoever drops the reply has stopped listening.
struct StopOnDrop(watch::Sender<bool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
