//! The shell around a call: a task that connects the state machine to its engines, its agent and its
//! client.
//!
//! ```text
//! client ── Handle ──> driver ── Call (no clock, no socket) ──> outputs ──> client
//!                        │ └── listen: the transcriber, pre-roll
//!                        ├──── speak: the synthesiser, the cache
//!                        ├──── record: both sides as a file
//!                        └──── Host: the agent and the history
//! ```
//!
//! What always holds: the driver never waits for anybody while it holds the call (what may wait is a
//! task that sends an [`Input`] when it is done); a call ends exactly once, with [`Host::ended`]; and when
//! it has ended nothing of it is left running.
//!
//! Left out: the transports, which translate [`Event`]s for their clients and give [`Input`]s.

mod cache;
mod driver;
mod listen;
mod record;
mod speak;

pub use cache::Cache;
pub use record::Recording;

use crate::{
    call::{Config, EndReason, Input, Message, Ms, Output, TurnMetrics, Via},
    engine::{SessionOptions, Synthesiser, Transcriber},
    text::Locale,
};
use serde_json::Value;
use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};
use tokio::sync::mpsc;

/// A future of a [`Host`].
pub type HostFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What a call needs of the rest of the program. No method may block.
pub trait Host: Send + Sync + 'static {
    /// Answers the caller's turn. The future is dropped when the turn is aborted; what must not be lost
    /// then has a task of its own. An error is told to the caller as the agent's failure.
    fn turn(&self, asked: Asked, answer: Answer) -> HostFuture;

    /// What was heard, before it counts; nothing where it is to be ignored.
    fn transcribed(&self, text: String) -> Option<String> {
        Some(text)
    }

    /// A sentence about to be synthesised; nothing where it is not to be said.
    fn before_speech(&self, text: String) -> Option<String> {
        Some(text)
    }

    /// Sound about to be sent, at `rate` samples a second.
    fn after_speech(&self, _sound: &mut Vec<i16>, _rate: u32) {}

    /// A message for the history.
    fn commit(&self, message: Message);

    /// The times of a turn.
    fn metrics(&self, metrics: TurnMetrics);

    /// The call is over. Told once, last.
    fn ended(&self, ended: Ended);
}

/// What an agent is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// The caller's turn, from 1.
    pub turn: u32,
    /// The reply.
    pub generation: u32,
    /// What the caller said.
    pub text: String,
    /// How.
    pub via: Via,
    /// What the caller heard and did not hear of the reply they interrupted.
    pub interrupted: Option<Interrupted>,
}

/// A reply that was cut off.
#[derive(Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// What was heard of it.
    pub heard: String,
    /// What was not.
    pub unheard: String,
}

/// Shows nothing that anybody said.
impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Asked(turn {}, {} bytes, {:?})", self.turn, self.text.len(), self.via)
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// How long it lasted from the answer on, in milliseconds.
    pub duration: Ms,
    /// The recording, if one was made.
    pub recording: Option<Recording>,
}

/// Where the words of a reply go.
#[derive(Debug, Clone)]
pub struct Answer {
    generation: u32,
    inputs: mpsc::Sender<Input>,
}

impl Answer {
    /// More words of the reply. Waits while the call is busy; false where the call is over.
    pub async fn text(&self, text: impl Into<String>) -> bool {
        let generation = self.generation;
        self.send(Input::AgentDelta { generation, text: text.into() }).await
    }

    /// A tool began to run; `tool` is unique in the call.
    pub async fn tool_started(&self, tool: u64) -> bool {
        self.send(Input::ToolStarted { tool }).await
    }

    /// It has its outcome.
    pub async fn tool_ended(&self, tool: u64) -> bool {
        self.send(Input::ToolEnded { tool }).await
    }

    async fn send(&self, input: Input) -> bool {
        self.inputs.send(input).await.is_ok()
    }
}

/// What a call is made of.
pub struct Setup {
    /// Its settings, the greeting among the phrases.
    pub config: Config,
    /// What listens; without one the caller can only type.
    pub transcriber: Option<Arc<dyn Transcriber>>,
    /// How it listens.
    pub session: SessionOptions,
    /// What speaks.
    pub synthesiser: Arc<dyn Synthesiser>,
    /// Where sound that is said again and again is kept.
    pub cache: Option<Cache>,
    /// What will be said beside the phrases of `config`, and again in other calls.
    pub known_lines: Vec<String>,
    /// In which language is spoken.
    pub locale: Locale,
    /// Where to record the call, if it is recorded: a file that does not exist yet.
    pub record: Option<PathBuf>,
    /// The agent and the history.
    pub host: Arc<dyn Host>,
}

/// What a call tells its client.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What the state machine put out, as far as it is for a client.
    Call(Output),
    /// An engine's own words about what went wrong, fit for the caller's eyes.
    Problem(String),
    /// A message of the application's own.
    Message(AppMessage),
}

/// A message of the application's own, as JSON. `Debug` shows nothing of it.
#[derive(Clone, PartialEq)]
pub struct AppMessage(pub Value);

impl std::fmt::Debug for AppMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppMessage")
    }
}

/// What a client tells its call.
#[derive(Debug, Clone)]
pub(crate) enum Control {
    Input(Input),
    Pace(f32),
    /// For the client.
    Message(AppMessage),
}

/// A running call, for whoever gives it inputs. Dropping all of them hangs up.
#[derive(Debug, Clone)]
pub struct Handle {
    controls: mpsc::Sender<Control>,
}

/// Inputs that may wait for the driver: 5 s of frames in both directions. A driver that is further
/// behind has no processor time, and sound is worth less than that.
const CONTROLS: usize = 512;

/// Events that may wait for the client: 10 s of frames. A transport that is further behind gives up first.
const EVENTS: usize = 512;

impl Handle {
    /// Gives an input. False where the call is over, or so far behind that this input is lost.
    pub fn input(&self, input: Input) -> bool {
        self.controls.try_send(Control::Input(input)).is_ok()
    }

    /// Speech from the next sentence on at so many times the voice's own speed.
    pub fn pace(&self, pace: f32) -> bool {
        self.controls.try_send(Control::Pace(pace)).is_ok()
    }

    /// Brings a message of the application's own to the client, after what is on its way there. False as for
    /// [`Handle::input`].
    pub fn message(&self, message: Value) -> bool {
        self.controls.try_send(Control::Message(AppMessage(message))).is_ok()
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.controls.is_closed()
    }

    /// Completes when the call is over.
    pub async fn over(&self) {
        self.controls.closed().await;
    }
}

/// Starts a call that rings. Must be called on a tokio runtime. The receiver ends when the call is over.
#[must_use]
pub fn start(setup: Setup) -> (Handle, mpsc::Receiver<Event>) {
    let (controls, inputs) = mpsc::channel(CONTROLS);
    let (events, receiver) = mpsc::channel(EVENTS);
    tokio::spawn(driver::run(setup, inputs, events));
    (Handle { controls }, receiver)
}
