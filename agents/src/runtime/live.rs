//! Live handlers: what happens in a call or chat is brought to its agent at once.
//!
//! A handler runs on a snapshot, off the async threads. Its reply goes back to the caller as soon as it
//! returns; its effects are committed meanwhile. If the commit finds that the instance changed, the
//! handler runs again on the newer snapshot for its effects alone, a bounded number of times, and then
//! the conversation is put before a person with the reason.
//!
//! Events of one call or chat are handled in the order in which they came: the next waits for the
//! commit of the one before, though no longer than [`PATIENCE`], for a caller waits with it.

use super::{Registered, Registry, dispatch::words_of, talk::Talk};
use crate::{
    AgentId, CallId,
    agent::{AnyAgent, Effect, Handled, HandlerError, History},
    live::{ClientMessage, Interrupted, LiveEvent, LiveSnapshot, Reply, Transcript, Turn},
    store::{HandleOutcome, Place, Seen, Store, StoreError},
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};

/// Events under way at the same time, their commits included. Far above the calls one machine carries.
const UNDER_WAY: u32 = 4_096;

/// Handlers that run at the same time. Each holds one of the store's four read connections while it runs,
/// which is less than a millisecond; one stays for everybody else even if these three are slow.
const RUNNING: usize = 3;

/// How long an event waits for the commit of the one before it.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often a handler runs for its effects when the instance keeps changing under it.
const ATTEMPTS: u32 = 8;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The handler failed or panicked. Its conversation was put before a person.
    #[error("the agent failed: {0}")]
    Handler(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the server is stopping")]
    Stopped,
}

/// Brings what happens in calls and chats to agents. Cheap to clone, and independent of the
/// [`super::Runtime`] it came from, except that it answers [`LiveError::Stopped`] once that is stopped.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    store: Store,
    registry: Arc<Registry>,
    under_way: Arc<Semaphore>,
    running: Semaphore,
    lines: Mutex<HashMap<Place, Weak<AsyncMutex<()>>>>,
}

/// One agent's hooks around speech. They are quick and called where they stand; one that panics has changed
/// nothing.
#[derive(Clone)]
pub struct Hooks {
    name: Arc<str>,
    agent: Arc<dyn AnyAgent>,
}

impl Live {
    pub(super) fn new(store: Store, registry: Arc<Registry>) -> Self {
        Self(Arc::new(Inner {
            store,
            registry,
            under_way: Arc::new(Semaphore::new(UNDER_WAY as usize)),
            running: Semaphore::new(RUNNING),
            lines: Mutex::default(),
        }))
    }

    /// A call was answered. The reply is the greeting; if it is silent, the operator's is said.
    pub async fn start(&self, call: CallId) -> Result<Reply, LiveError> {
        self.run(Place::Call(call), LiveEvent::Start).await
    }

    /// It is the agent's turn.
    pub async fn turn(&self, turn: Turn) -> Result<Reply, LiveError> {
        self.run(place_of(&turn), LiveEvent::Turn(turn)).await
    }

    /// Somebody wrote outside of a call.
    pub async fn text(&self, text: Turn) -> Result<Reply, LiveError> {
        self.run(place_of(&text), LiveEvent::Text(text)).await
    }

    /// The caller pressed keys.
    pub async fn dtmf(&self, keys: Turn) -> Result<Reply, LiveError> {
        self.run(place_of(&keys), LiveEvent::Keys(keys)).await
    }

    /// The caller cut a reply off.
    pub async fn interrupt(&self, call: CallId, interrupted: Interrupted) -> Result<(), LiveError> {
        self.run(Place::Call(call), LiveEvent::Interrupt(interrupted)).await.map(drop)
    }

    /// Something was understood. For an agent that only listens, a final one is stored as a message of the
    /// caller's, and this answers after the commit.
    pub async fn transcript(&self, call: CallId, transcript: Transcript) -> Result<(), LiveError> {
        self.run(Place::Call(call), LiveEvent::Transcript(transcript)).await.map(drop)
    }

    /// The client of a call sent a message of the application's own. Answers after the commit.
    pub async fn client_message(&self, message: ClientMessage) -> Result<(), LiveError> {
        self.run(Place::Call(message.call), LiveEvent::Client(message)).await.map(drop)
    }

    /// Whether an agent only writes down what is said.
    pub fn listens_only(&self, agent: AgentId) -> bool {
        self.0.registry.get(agent).is_some_and(|registered| registered.agent.listens_only())
    }

    /// The hooks of an agent; none if it is not configured.
    pub fn hooks(&self, agent: AgentId) -> Option<Hooks> {
        let registered = self.0.registry.get(agent)?;
        Some(Hooks { name: registered.name, agent: registered.agent })
    }

    /// Turns new events away and waits for the commits under way.
    pub(super) async fn stop(&self) {
        let all = self.0.under_way.acquire_many(UNDER_WAY).await;
        self.0.under_way.close();
        drop(all);
    }
}

impl Live {
    async fn run(&self, place: Place, event: LiveEvent) -> Result<Reply, LiveError> {
        let under_way = self.0.under_way.clone();
        let permit = under_way.acquire_owned().await.map_err(|_| LiveError::Stopped)?;
        let (answer, reply) = oneshot::channel();
        let live = self.clone();
        // On its own, so that effects are committed though the caller has stopped waiting for words.
        tokio::spawn(async move {
            live.handle(place, event, answer).await;
            drop(permit);
        });
        reply.await.unwrap_or(Err(LiveError::Stopped))
    }

    /// Runs the handler and commits its effects, again as long as they are stale.
    async fn handle(&self, place: Place, event: LiveEvent, answer: Answer) {
        let _in_line = tokio::time::timeout(PATIENCE, self.line(place).lock_owned()).await.ok();
        let event = Arc::new(event);
        // Whoever waits for words gets them before the commit, everybody else gets their answer after it.
        let has_words = !matches!(
            *event,
            LiveEvent::Interrupt(_) | LiveEvent::Transcript(_) | LiveEvent::Client(_)
        );
        let mut answer = Some(answer);
        let mut tell = |reply: Result<Reply, LiveError>| {
            if let Some(answer) = answer.take() {
                // Whoever waited may have gone.
                let _ = answer.send(reply);
            }
        };
        let mut seen = None;
        for _ in 0..ATTEMPTS {
            let ran = match self.run_handler(place, event.clone()).await {
                Ok(ran) => ran,
                Err(error) => {
                    tracing::error!(kind = event.kind(), %error, "cannot load what a live event is for");
                    return tell(Err(error.into()));
                }
            };
            let Ran { agent, seen: seen_now, result } = ran;
            let (reply, handled) = match result {
                Ok(done) => done,
                Err(error) => {
                    tell(Err(LiveError::Handler(error.to_string())));
                    return self.failed(&event, seen_now, &error.to_string()).await;
                }
            };
            if has_words {
                tell(Ok(self.with_words(reply, agent, &event)));
            }
            match self.0.store.commit_live(agent, seen_now, handled).await {
                Ok(HandleOutcome::Stale) => seen = Some(seen_now),
                Ok(HandleOutcome::Committed | HandleOutcome::Gone) => {
                    return tell(Ok(Reply::silent()));
                }
                Err(error) => {
                    self.failed(&event, seen_now, &error.to_string()).await;
                    return tell(Err(error.into()));
                }
            }
            metrics::counter!("live_handlers_stale_total").increment(1);
        }
        let error =
            format!("its memory changed {ATTEMPTS} times while it ran, so nothing was kept");
        if let Some(seen) = seen {
            self.failed(&event, seen, &error).await;
        }
        tell(Err(LiveError::Handler(error)));
    }

    /// The reply, with the model's words where they are wanted.
    fn with_words(&self, reply: Reply, agent: AgentId, event: &LiveEvent) -> Reply {
        if !reply.is_by_model() {
            return reply;
        }
        let Some((registered, turn)) = self.0.registry.get(agent).zip(event.turn()) else {
            return Reply::silent();
        };
        let Some(mind) = registered.agent.mind() else {
            tracing::error!(agent = %registered.name, "this agent has no model to answer with");
            return Reply::silent();
        };
        let name = registered.name;
        Talk { store: self.0.store.clone(), mind, agent, name, turn: turn.clone() }.reply()
    }

    async fn run_handler(&self, place: Place, event: Arc<LiveEvent>) -> Result<Ran, StoreError> {
        let running = self.0.running.acquire().await;
        let inner = self.0.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let now = inner.store.clock().now();
            let started = Instant::now();
            let ran = inner.store.with_live(place, &event, |agent, snapshot, history| Ran {
                agent,
                seen: Seen::of(snapshot),
                result: inner.call_agent(agent, snapshot, &event, history, now),
            });
            metrics::histogram!("live_handler_seconds", "kind" => event.kind())
                .record(started.elapsed().as_secs_f64());
            ran
        });
        let ran = ran.await.unwrap_or(Err(StoreError::Closed));
        drop(running);
        ran
    }

    /// What was said stands, but what else the handler wanted did not happen: a person should know.
    async fn failed(&self, event: &LiveEvent, seen: Seen, error: &str) {
        let (conversation, kind) = (seen.conversation, event.kind());
        tracing::error!(%conversation, kind, error, "a live handler failed");
        metrics::counter!("live_handler_failures_total", "kind" => kind).increment(1);
        let shown = self.0.store.show_live_failure(conversation, error.to_owned()).await;
        if let Err(error) = shown {
            tracing::error!(%conversation, %error, "a failed live handler could not be put before a person");
        }
    }

    /// Where the events of a call or chat stand in line.
    fn line(&self, place: Place) -> Arc<AsyncMutex<()>> {
        let mut lines = self.0.lines.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(line) = lines.get(&place).and_then(Weak::upgrade) {
            return line;
        }
        if lines.len() >= UNDER_WAY as usize {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::new(AsyncMutex::new(()));
        lines.insert(place, Arc::downgrade(&line));
        line
    }
}

/// Where a reply is waited for.
type Answer = oneshot::Sender<Result<Reply, LiveError>>;

/// A run of a handler.
struct Ran {
    agent: AgentId,
    seen: Seen,
    result: Result<(Reply, Handled), HandlerError>,
}

impl Inner {
    fn call_agent(
        &self,
        id: AgentId,
        snapshot: &LiveSnapshot,
        event: &LiveEvent,
        history: &dyn History,
        now: Timestamp,
    ) -> Result<(Reply, Handled), HandlerError> {
        let Some(Registered { name, agent }) = self.registry.get(id) else {
            return Err("this agent is no longer configured".into());
        };
        let run = || agent.handle_live(&name, snapshot, event, history, now);
        let ran = std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            Err(format!("the handler panicked: {}", words_of(&*panic)).into())
        });
        let (LiveEvent::Transcript(transcript), Some(call)) = (event, &snapshot.call) else {
            return ran;
        };
        if !transcript.is_final || transcript.text.trim().is_empty() || !agent.listens_only() {
            return ran;
        }
        // The words are kept whatever the agent makes of them.
        let (reply, mut handled) = ran.unwrap_or_else(|error| {
            tracing::error!(agent = %name, call = %call.id, %error, "a live handler failed");
            let why = format!("the agent failed on this: {error}");
            let review = Effect::Review { conversation: snapshot.conversation, why };
            (Reply::silent(), Handled { state: None, effects: vec![review] })
        });
        let text = transcript.text.clone();
        handled.effects.insert(0, Effect::Dictated { call: call.id, text });
        Ok((reply, handled))
    }
}

fn place_of(turn: &Turn) -> Place {
    turn.call.map_or(Place::Conversation(turn.conversation), Place::Call)
}

impl Hooks {
    /// What is to be taken for said instead of what was understood; none drops it.
    pub fn after_transcription(&self, text: String) -> Option<String> {
        self.or_unchanged("after_transcription", text, |text| self.agent.after_transcription(text))
    }

    /// What is to be spoken instead of a sentence; none drops it.
    pub fn before_synthesis(&self, text: String) -> Option<String> {
        self.or_unchanged("before_synthesis", text, |text| self.agent.before_synthesis(text))
    }

    /// Changes the sound of a sentence. Emptied, it is not played.
    pub fn after_synthesis(&self, sound: &mut Vec<i16>, rate: u32) {
        let changed = self.or_unchanged("after_synthesis", std::mem::take(sound), |mut sound| {
            self.agent.after_synthesis(&mut sound, rate);
            Some(sound)
        });
        *sound = changed.unwrap_or_default();
    }

    fn or_unchanged<T: Clone>(
        &self,
        hook: &str,
        given: T,
        change: impl FnOnce(T) -> Option<T>,
    ) -> Option<T> {
        let kept = given.clone();
        std::panic::catch_unwind(AssertUnwindSafe(|| change(given))).unwrap_or_else(|_| {
            tracing::error!(agent = %self.name, hook, "a hook panicked and changed nothing");
            Some(kept)
        })
    }
}
