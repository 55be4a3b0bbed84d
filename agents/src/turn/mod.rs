//! Turns: a model with tools answers something, durably.
//!
//! - [`step`]: the entries of a turn's log; [`fold`]: what a turn knows and does next, computed from them;
//!   [`log`]: where they are kept;
//! - [`material`], [`context`] and `prompt`: what the model is shown, and whose words that is;
//!   [`media`]: the files it is shown;
//! - [`engine`]: the shell that asks the model, makes the calls and waits;
//! - [`request`] and [`mind`]: what starts a turn, and with what it is taken.
//!
//! What always holds: a turn that goes on after a crash does what it would have done; every call ends in
//! exactly one recorded result; a turn that waits holds nothing but its row.

pub mod context;
pub mod engine;
pub mod fold;
pub mod log;
pub mod material;
pub mod media;
pub mod mind;
pub mod prompt;
pub mod request;
pub mod step;

pub use fold::{Limits, Turn};
pub use log::{MemoryLog, StepLog, StoredLog};
pub use mind::{DailyBudget, Mind, TurnSink};
pub use request::{AgentAnswer, AgentQuestion, Cause, Exchange, TurnRequest};
pub use step::{CallEnd, CallId, CallResult, Entry, Foreign, ForeignKind, Outcome, Step};
