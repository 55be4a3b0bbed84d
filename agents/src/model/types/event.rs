//! What a model answers, piece by piece.

use super::{Failed, ToolCall, Usage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A piece of an answer.
///
/// What always holds: a stream is `Started`, then any number of deltas and calls, then at most one `Usage`,
/// then `Stop`, and nothing after it; or it ends with an error at any place, before which a `Usage` may say
/// what is known of its cost. A stream that ends without `Stop` and without an error does not exist: a
/// connection that breaks off is an error. Every `ToolCall`
/// follows its own `ToolCallStart` and has the same index.
#[derive(Clone, PartialEq)]
pub enum Event {
    /// This model answers; nothing has been said yet. From here on nothing is tried again.
    Started {
        /// The name it was opened by, as in `openai:gpt-5-mini`.
        model: String,
        /// Who was asked before in vain, in order.
        failed: Vec<Failed>,
    },
    /// More text.
    TextDelta(String),
    /// A call begins. Calls may be interleaved; `index` counts them from 0.
    ToolCallStart { index: usize, id: String, name: String },
    /// More of the arguments' JSON, only of use for showing it.
    ToolCallDelta { index: usize, json: String },
    /// A call is complete.
    ToolCall { index: usize, call: ToolCall },
    /// What the answer cost, or what is known of it when it breaks off.
    Usage(Usage),
    /// The end of the answer.
    Stop(StopReason),
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model has said what it wanted to.
    EndTurn,
    /// The model waits for the results of its calls.
    ToolUse,
    /// `max_tokens`, or the model's own limit. The last call may be malformed.
    MaxTokens,
    /// One of the request's `stop` came.
    StopSequence,
    /// The provider or the model broke the answer off: what was said before may be incomplete.
    Refused,
    /// A word of the provider that is not known here.
    Other(String),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { model, failed } => {
                f.debug_struct("Started").field("model", model).field("failed", failed).finish()
            }
            Self::TextDelta(text) => write!(f, "TextDelta({} bytes)", text.len()),
            Self::ToolCallStart { index, id, name } => {
                write!(f, "ToolCallStart({index}, {id}, {name})")
            }
            Self::ToolCallDelta { index, json } => {
                write!(f, "ToolCallDelta({index}, {} bytes)", json.len())
            }
            Self::ToolCall { index, call } => write!(f, "ToolCall({index}, {call:?})"),
            Self::Usage(usage) => usage.fmt(f),
            Self::Stop(reason) => write!(f, "Stop({reason:?})"),
        }
    }
}
