//! Engines: what turns sound into text and text into sound.
//!
//! - [`Transcriber`], [`Session`], [`Heard`]: speech to text, one session for a call;
//! - [`Synthesiser`], [`Say`], [`Speech`]: text to speech, one request for a sentence;
//! - [`Registry`]: engines by name, as [`EngineName`]s like `flite:slt`, and what each one lacks;
//! - [`models`]: model files that can be downloaded;
//! - [`own`]: what an engine of one's own answers calls with.
//!
//! | family | does | needs |
//! |---|---|---|
//! | `whisper` | listens | a model file; cargo feature `whisper` |
//! | `pocketsphinx` | listens, basic | system packages, opened at run time |
//! | `flite` | speaks English | a system package, opened at run time |
//! | `espeak` | speaks a hundred languages | a system program |
//! | `openai` | both, anything that speaks OpenAI's API | an address and a key; cargo feature `remote` |
//! | `deepgram` | listens, live | a key; cargo feature `remote` |
//!
//! What always holds: no call into here blocks the async runtime (what blocks has a thread of its own,
//! behind a channel with a bound); every buffer has a bound with its reason beside it; what fails says so
//! to the call it fails for; and words and sound do not reach `Debug` or the log.
//!
//! Left out: deciding when a caller has finished ([`Session`] is told), resampling, and the call itself.

#[cfg_attr(
    not(all(feature = "whisper", feature = "remote")),
    allow(dead_code, unused_imports, reason = "each of the engines behind features uses its part")
)]
mod batch;
mod error;
mod espeak;
mod ffi;
mod flite;
mod grammar;
pub mod models;
mod name;
mod pocketsphinx;
mod registry;
#[cfg(feature = "remote")]
mod remote;
mod secret;
mod synthesiser;
mod transcriber;
#[cfg(feature = "whisper")]
mod whisper;

pub use error::Error;
pub use espeak::Espeak;
pub use flite::Flite;
pub use grammar::Grammar;
pub use name::EngineName;
pub use pocketsphinx::{Model as SphinxModel, PocketSphinx};
pub use registry::{
    DeepgramSettings, Job, OpenAiSettings, Registry, Report, Settings, SphinxSettings, State,
    WhisperSettings,
};
#[cfg(feature = "remote")]
pub use remote::{Deepgram, OpenAiEar, OpenAiMouth};
pub use secret::Secret;
pub use synthesiser::{CHUNK_MS, Chunk, MAX_TEXT, Say, Speech, Synthesiser};
pub use transcriber::{
    Dropped, Expect, Heard, LISTEN_RATE, MAX_PUSH, MAX_UTTERANCE_SECS, Session, SessionOptions,
    Transcriber, Transcript, Utterance, Words,
};
#[cfg(feature = "whisper")]
pub use whisper::{Effort, Whisper, random as random_model};

/// The engine's side of a session, for engines that are written elsewhere. A [`Synthesiser`] of one's own
/// answers with [`Speech::whole`] or [`Speech::streamed`]; both are made known with [`Registry::add_transcriber`]
/// and [`Registry::add_synthesiser`].
pub mod own {
    pub use super::transcriber::{Command, Ear, Mouth, session};
}
