//! Agents, the runtime that drives them, and the one history they share.
//!
//! - [`agent`]: the [`Agent`] trait and the [`Context`] a handler works with;
//! - [`live`]: calls and live text as agents see them;
//! - [`model`]: language models, and what is said to them and by them;
//! - [`question`]: what agents ask each other;
//! - [`mail`]: mail as agents see it, and what the mail side hands over to be stored;
//! - [`admission`]: whether a message is from a member, a participant or a stranger, as a pure function;
//! - [`gate`]: the one decision that stands before everything that leaves;
//! - [`schedule`] and [`retry`]: when things happen next, as pure functions of the clock;
//! - [`runtime`]: durable events in order per instance, tasks, timers;
//! - [`store`]: SQLite, the only SQL of the program;
//! - [`turn`] and [`tool`]: durable turns of models, and what models can do in them;
//! - [`builtin`]: agents that need no code.
//!
//! What always holds: nothing here knows SMTP, MIME or audio. Whatever crosses into this crate is an
//! owned value; whatever must survive a crash is in the store before anybody is told of it.

pub mod admission;
pub mod agent;
pub mod builtin;
pub mod clock;
pub mod gate;
pub mod ids;
pub mod live;
pub mod mail;
pub mod model;
pub mod question;
pub mod retry;
pub mod runtime;
pub mod schedule;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tool;
pub mod turn;

pub use agent::{Admission, Agent, Context, HandlerError, Task, TaskContext};
pub use clock::{Clock, ManualClock, SystemClock};
pub use ids::*;
pub use live::{Call, CallEnded, Chat, Reply, ReplyPart, Turn};
pub use mail::{Attachment, Draft, DraftAttachment, Mail, Trust, Verdict};
pub use question::Question;
pub use runtime::{Live, Runtime, RuntimeConfig};
pub use store::{Store, StoreError};
