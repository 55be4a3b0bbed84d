//! What is said: from the text of a reply to sentences an engine can speak, and from what a caller
//! has said so far to whether they are likely to be done.
//!
//! - [`chunker`]: a stream of text deltas in, sentences with their byte ranges out;
//! - [`spoken`]: a sentence as shown in, words to speak and a map between the two out;
//! - [`cues`]: what a partial transcript says about the end of a turn;
//! - [`SpeechSplitter`]: both of them behind the call's [`Splitter`](crate::call::Splitter);
//! - [`cache`]: the name under which the audio of a sentence is kept.
//!
//! What always holds: everything is pure and runs in linear time; no input panics; every byte of the
//! shown text belongs to exactly one sentence, and every position of the spoken text maps to one in
//! the shown text, so what was heard can be told exactly.
//!
//! Left out: synthesis itself and the disk behind the cache.

pub mod cache;
pub mod chunker;
pub mod cues;
pub mod lang;
mod splitter;
pub mod spoken;
mod unicode;

pub use chunker::{Chunk, ChunkKind, Chunker, ChunkerOptions};
pub use lang::{Lang, Locale};
pub use splitter::SpeechSplitter;
pub use spoken::{Normaliser, Settings, SpanMap, Spoken};
