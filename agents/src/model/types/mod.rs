//! What is said to a model and what comes back, in no provider's words.
//!
//! What always holds: the `Debug` of these types shows kinds, names and sizes, never what a message says,
//! and no type here holds a key.

mod error;
mod event;
mod message;
mod usage;

pub use error::{Error, ErrorKind, Failed};
pub use event::{Event, StopReason};
pub use message::{
    Arguments, Message, Part, Request, Role, ToolCall, ToolChoice, ToolResult, ToolSpec,
};
pub use usage::{Price, Usage};
