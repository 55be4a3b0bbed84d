//! Speech to text: the trait, and the session of one call.
//!
//! ```text
//! call ── Session ── commands (bounded) ──> the engine's thread or task
//!             └───── events   (bounded) <──┘
//! ```
//!
//! The call decides where an utterance begins, pauses and ends; the engine says what it heard.

use super::{EngineName, Error, Grammar};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

/// The rate every transcriber listens at, in samples a second.
pub const LISTEN_RATE: u32 = 16_000;

/// Most samples taken in one push: a second. Pre-roll is half of that.
pub const MAX_PUSH: usize = LISTEN_RATE as usize;

/// Longest utterance, in seconds; sound after it is not listened to, and the transcript says so.
pub const MAX_UTTERANCE_SECS: u32 = 60;

/// How many pushes may wait for the engine: ten seconds of 20 ms frames. PocketSphinx fell 6.6 s behind
/// on a machine that was compiling; who is further behind than this answers too late to be of use.
const COMMANDS: usize = 500;

/// Of those, how many are kept for begin, pause, resume, end and abandon, so that a flood of sound
/// cannot keep an utterance from ending. A call that sends more of them than that unanswered is broken.
const RESERVED: usize = 32;

/// How many events may wait for the call. Interim text makes room by being left out, and there is one
/// final for each end, so only a call that has stopped reading can fill this.
const EVENTS: usize = 64;

/// Turns sound into text.
///
/// What every engine holds to: [`Transcriber::open`] returns at once and never blocks; every utterance
/// that was begun and not abandoned is answered, after its end, by exactly one [`Heard::Final`] or
/// [`Heard::Failed`]; nothing about an utterance follows its answer or is sent after it was abandoned
/// (but for what is already on its way); and dropping the [`Session`] frees what it held.
pub trait Transcriber: Send + Sync + fmt::Debug {
    /// Which engine this is.
    fn name(&self) -> &EngineName;

    /// Whether to trust its words only within a grammar. The receptionist then relies on the recording
    /// instead of reading back.
    fn is_basic(&self) -> bool {
        false
    }

    /// Whether a pause is answered by interim text that is settled, with the utterance still open. The others
    /// are ended at each pause.
    fn settles_at_pause(&self) -> bool {
        false
    }

    /// Opens a session for one call. Must be called on a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] where all slots are taken. Everything later comes out of the session.
    fn open(&self, options: SessionOptions) -> Result<Session, Error>;
}

/// How to listen.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The language, as a BCP 47 tag; without one the engine's own, or what the model detects.
    pub language: Option<String>,
    /// What the caller is expected to say first.
    pub expect: Expect,
    /// Whether to give interim text while the caller speaks. It costs engines of whole utterances a decode
    /// every second; the text at a pause comes in any case.
    pub interims: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { language: None, expect: Expect::Anything, interims: true }
    }
}

/// What the caller is expected to say next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    #[default]
    Anything,
    /// Something of this grammar. Engines without grammars listen for anything.
    Grammar(Grammar),
}

/// Which utterance of its session; they count up from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utterance(pub u64);

/// What an engine says.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// There is speech: the first word, or the engine's own detector. At most once for an utterance.
    SpeechStart {
        /// In which utterance.
        utterance: Utterance,
    },
    /// What it would be if it ended here; replaces the one before.
    Interim {
        /// Of which utterance.
        utterance: Utterance,
        /// What was heard so far.
        text: Words,
        /// Whether everything up to the pause is in it, so that the final will be the same unless speech
        /// resumes. A model may be asked ahead on it.
        settled: bool,
    },
    /// What was said. The last thing about this utterance.
    Final {
        /// Of which utterance.
        utterance: Utterance,
        /// What was said; possibly nothing.
        transcript: Transcript,
    },
    /// The utterance was lost. The last thing about it; the session goes on.
    Failed {
        /// Of which utterance.
        utterance: Utterance,
        /// Why.
        error: Error,
    },
    /// Something is wrong between utterances, and the engine is trying again.
    Trouble {
        /// What.
        error: Error,
    },
    /// The session cannot go on. The last event of all.
    Broken {
        /// Why.
        error: Error,
    },
}

/// What was said in an utterance.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Transcript {
    /// The words; empty where there were none.
    pub text: Words,
    /// How sure the engine is, 0 to 1, where it says.
    pub confidence: Option<f32>,
    /// Whether the utterance was longer than [`MAX_UTTERANCE_SECS`] and its rest was not listened to.
    pub truncated: bool,
    /// Why `text` is empty although the engine had words.
    pub dropped: Option<Dropped>,
}

/// Why words were not believed. Models say something even where nobody spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// There was too little sound to hold a word.
    TooShort,
    /// The model itself thought that nobody spoke.
    NoSpeech,
    /// A phrase models say over silence, said with little behind it.
    StockPhrase,
    /// The same words over and over.
    Repeats,
}

/// Words a person said. `Debug` shows only how many bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Words(pub String);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} bytes)", self.0.len())
    }
}

impl std::ops::Deref for Words {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Words {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// One call's way to its transcriber. Nothing here blocks. Dropping it closes the session.
#[derive(Debug)]
pub struct Session {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Heard>,
    abandoned: Arc<AtomicU64>,
    last: u64,
    open: bool,
    lost: bool,
}

impl Session {
    /// Begins an utterance. One that is still open is given up and never answered, though what was on its
    /// way may still come.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the engine is gone.
    pub fn begin(&mut self) -> Result<Utterance, Error> {
        let utterance = Utterance(self.last + 1);
        self.control(Command::Begin(utterance))?;
        self.last = utterance.0;
        self.open = true;
        self.lost = false;
        Ok(utterance)
    }

    /// Sound at [`LISTEN_RATE`], at most [`MAX_PUSH`] samples. Between utterances, engines with a detector
    /// of their own listen to it and the others ignore it.
    ///
    /// # Errors
    ///
    /// [`Error::Behind`] where the engine is too far behind: this sound is lost, and the utterance will
    /// end in [`Heard::Failed`]. [`Error::Closed`] where the engine is gone.
    pub fn audio(&mut self, samples: &[i16]) -> Result<(), Error> {
        if samples.len() > MAX_PUSH {
            return Err(Error::Invalid(format!("at most {MAX_PUSH} samples at once")));
        }
        if self.commands.is_closed() {
            return Err(Error::Closed);
        }
        // This is the only sender, so what is free now is still free at the next line.
        if self.commands.capacity() <= RESERVED {
            self.lost = self.open;
            return Err(Error::Behind);
        }
        self.commands.try_send(Command::Audio(samples.to_vec())).map_err(|_| Error::Closed)
    }

    /// The caller has paused: a good moment to decode what there is.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the engine is gone.
    pub fn pause(&mut self) -> Result<(), Error> {
        if self.open { self.control(Command::Pause) } else { Ok(()) }
    }

    /// The caller goes on after a pause: what was decoded at it is not the whole.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the engine is gone.
    pub fn resume(&mut self) -> Result<(), Error> {
        if self.open { self.control(Command::Resume) } else { Ok(()) }
    }

    /// The utterance is over: the engine answers with its final.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the engine is gone.
    pub fn end(&mut self) -> Result<(), Error> {
        if !self.open {
            return Ok(());
        }
        self.control(Command::End { lost: self.lost })?;
        self.open = false;
        Ok(())
    }

    /// Forgets every utterance so far: work on them stops, and none is answered.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the engine is gone.
    pub fn abandon(&mut self) -> Result<(), Error> {
        self.abandoned.store(self.last, Ordering::Release);
        self.open = false;
        self.control(Command::Abandon)
    }

    /// What to expect from the next utterance on.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the engine is gone.
    pub fn expect(&mut self, expect: Expect) -> Result<(), Error> {
        self.control(Command::Expect(expect))
    }

    /// The next event; nothing when the session is over. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = self.events.recv().await?;
            let stale = match &heard {
                Heard::SpeechStart { utterance }
                | Heard::Interim { utterance, .. }
                | Heard::Final { utterance, .. }
                | Heard::Failed { utterance, .. } => {
                    utterance.0 <= self.abandoned.load(Ordering::Acquire)
                }
                Heard::Trouble { .. } | Heard::Broken { .. } => false,
            };
            if !stale {
                return Some(heard);
            }
        }
    }

    fn control(&mut self, command: Command) -> Result<(), Error> {
        self.commands.try_send(command).map_err(|_| {
            // Full means that even the reserve is used up; without its end an utterance would hang.
            Error::Closed
        })
    }
}

/// What the call tells the engine.
#[derive(Debug)]
pub enum Command {
    /// An utterance begins. One that is open is given up.
    Begin(Utterance),
    /// Sound at [`LISTEN_RATE`].
    Audio(Vec<i16>),
    /// The caller has paused.
    Pause,
    /// The caller goes on after a pause.
    Resume,
    /// The utterance is over, and its answer is waited for.
    End {
        /// Some of its sound never got here: it is answered with [`Heard::Failed`].
        lost: bool,
    },
    /// No utterance so far is wanted any more.
    Abandon,
    /// What the next utterance is expected to be.
    Expect(Expect),
}

/// The engine's side of a session.
#[derive(Debug)]
pub struct Ear {
    /// What the call says. Its end is the end of the session.
    pub commands: mpsc::Receiver<Command>,
    /// Where to answer.
    pub mouth: Mouth,
}

/// Where an engine says what it heard. Never blocks.
#[derive(Debug, Clone)]
pub struct Mouth {
    events: mpsc::Sender<Heard>,
    abandoned: Arc<AtomicU64>,
}

impl Mouth {
    /// Says something; interim text is left out where the call is slow to read.
    ///
    /// False where the session is over: closed, or the call has stopped reading.
    pub fn say(&self, heard: Heard) -> bool {
        let optional = matches!(heard, Heard::Interim { .. });
        if optional && self.events.capacity() < EVENTS / 2 {
            return !self.events.is_closed();
        }
        self.events.try_send(heard).is_ok()
    }

    /// Whether nobody wants to know about this utterance any more.
    #[must_use]
    pub fn is_stale(&self, utterance: Utterance) -> bool {
        self.events.is_closed() || utterance.0 <= self.abandoned.load(Ordering::Acquire)
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }
}

/// Both sides of a new session.
#[must_use]
pub fn session() -> (Session, Ear) {
    let (commands, received) = mpsc::channel(COMMANDS);
    let (answers, events) = mpsc::channel(EVENTS);
    let abandoned = Arc::new(AtomicU64::new(0));
    let mouth = Mouth { events: answers, abandoned: Arc::clone(&abandoned) };
    let session = Session { commands, events, abandoned, last: 0, open: false, lost: false };
    (session, Ear { commands: received, mouth })
}
