//! The call: one state machine, whatever the transport.
//!
//! [`Call`] takes [`Input`]s and gives [`Output`]s; it has no clock, no socket and no engine. Whoever
//! drives it keeps one rule: **after every input carry out the outputs in order, then wait for one thing,
//! which is the next input or the moment [`Call::deadline`] names, and feed that.** A stored configuration
//! and the stored inputs with their times give the same outputs again, bit for bit ([`replay`]).
//!
//! Read [`Input`] and [`Output`] first; they are the specification. Then one idea a file:
//!
//! - `ear`: sound in; resampled for the transcriber, judged for speech;
//! - `caller`: the caller's turn, from the first sound to the text that is answered;
//! - `endpoint`: how long a pause ends it, by what was said;
//! - `backchannel`: "mhm" is not a turn;
//! - `keypad`: digits;
//! - `script`: what the agent says, as sentences ([`Splitter`]);
//! - `utterance`: those sentences on their way through synthesis, in order, two ahead;
//! - `track`: their sound, and which text each sample belongs to: the heard ledger;
//! - `playout`: what the client holds and has played; pacing;
//! - `talk`: the floor: who may speak, holding, resuming, interrupting;
//! - `ending`: how replies and calls end, and what is committed;
//! - `watch`: everything that happens because time passes.
//!
//! What always holds, and is tested over random orders of events:
//!
//! - an open call has a deadline, so nothing waits for ever for an engine, a client or a caller;
//! - sound of one generation at a time; what comes late for another changes nothing;
//! - playout held for the caller is resumed, or its reply is interrupted and the caller's turn goes on;
//! - an agent's message is committed once, with what was generated, sent and heard;
//! - every buffer has a bound.
//!
//! Left out, with its place: pauses learned from the caller and typed listening belong into
//! `endpoint`; starting the model before the turn is final begins where `caller` learns that speech
//! paused ([`Output::SpeechPaused`]) and ends where the turn does. Word times from synthesisers would
//! replace the interpolation in `track`.

mod backchannel;
mod caller;
mod config;
mod ear;
mod ending;
mod endpoint;
mod handle;
mod input;
mod keypad;
mod output;
mod playout;
mod script;
mod talk;
mod track;
mod utterance;
mod watch;

pub use config::{Config, Phrases};
pub use endpoint::{Cue, Endpointing};
pub use handle::{Call, Recorded, replay};
pub use input::{Input, Line};
pub use output::{
    EndReason, Message, Notice, Origin, Outcome, Output, Speaker, Status, TurnMetrics, Via, Wake,
};
pub use script::{PlainSplitter, Sentence, Splitter};

/// A time or a duration in milliseconds. Times count from [`Call::new`].
pub type Ms = u64;
