//! The entries of a turn's log, in the order they happen.
//!
//! A log is only ever added to. What a turn knows, and what it does next, is computed from it, so
//! running on and going on after a crash are the same thing.

use crate::{
    ApprovalId, MessageId, Trust,
    model::{StopReason, ToolCall, Usage},
    tool::builtin::FileRef,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// An entry with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    #[serde(flatten)]
    pub step: Step,
}

/// What happened.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The context was composed. It is composed again from the same messages when the turn goes on
    /// later; the fingerprint tells whether it came out the same.
    Started { through: MessageId, context: Fingerprint },
    /// It came out differently: a message was set aside meanwhile, or the instructions changed.
    Recomposed { context: Fingerprint },
    /// The model is being asked. `round` counts its answers from 0.
    ModelAsked { round: u32 },
    /// The model answered.
    ModelSaid { round: u32, said: Said },
    /// It did not, and is asked again at a time or, without one, not any more. What it used counts.
    ModelFailed {
        round: u32,
        error: String,
        retry_at: Option<Timestamp>,
        #[serde(default)]
        usage: Usage,
    },
    /// A person must decide about a call.
    ApprovalAsked { call: CallId, approval: ApprovalId, why: String, expires_at: Timestamp },
    /// A person decided, or nobody did in time.
    ApprovalDecided { call: CallId, decision: Decided },
    /// The call is about to be made: from here on its effect may have happened.
    CallBegun { call: CallId },
    /// The call was handed to somebody who answers later, until a time.
    CallAwaited { call: CallId, until: Timestamp },
    /// The one result of a call.
    CallEnded { call: CallId, result: CallResult },
    /// Somebody ended the turn.
    Cancelled { why: String },
    /// The correspondent spoke while the answer was being given; this is what they heard of it.
    Interrupted { heard: String },
    /// The turn's time is up.
    TimedOut,
    /// Nothing follows.
    Finished { outcome: Outcome },
}

/// What a composed context was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// SHA-256 in hexadecimal digits over everything the model is shown.
    pub hash: String,
    /// The least trusted person whose words are in it.
    pub trust: Trust,
    /// Text in it that nobody vouches for.
    pub foreign: Vec<Foreign>,
}

/// Text in a turn's context that is not the proven, new words of an admitted person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    pub kind: ForeignKind,
    /// Where it comes from, in words for a reviewer.
    pub from: String,
    /// The beginning of it.
    pub excerpt: String,
}

/// Octets kept of a foreign text. Enough for a reviewer to see what it wants.
pub const EXCERPT: usize = 600;

impl Foreign {
    pub fn new(kind: ForeignKind, from: impl Into<String>, text: &str) -> Self {
        let excerpt = &text[..text.floor_char_boundary(EXCERPT)];
        Self { kind, from: from.into(), excerpt: excerpt.trim().to_owned() }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind.words(), self.from)
    }
}

/// Texts do not reach logs.
impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({:?}, {} bytes)", self.kind, self.excerpt.len())
    }
}

/// Why a text counts as foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKind {
    /// Nobody knows who wrote it.
    Unproven,
    /// Quoted or passed on, and not what we wrote.
    Quoted,
    /// The mail hid text from its reader.
    Hidden,
    /// From a file.
    Attachment,
    /// From a service that relays what others wrote.
    Service,
    /// From another agent that had foreign text before it.
    Agent,
}

impl ForeignKind {
    /// For reviewers.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unproven => "text from an unproven sender",
            Self::Quoted => "quoted or forwarded text",
            Self::Hidden => "a mail with hidden text",
            Self::Attachment => "text from an attachment",
            Self::Service => "text from an outside service",
            Self::Agent => "text from another agent",
        }
    }
}

/// A call, by the round it was asked in and its place there. The ids models give are not unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    pub round: u32,
    pub index: u32,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.index)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self})")
    }
}

impl CallId {
    /// The inverse of its words.
    pub fn parse(text: &str) -> Option<Self> {
        let (round, index) = text.split_once('.')?;
        Some(Self { round: round.parse().ok()?, index: index.parse().ok()? })
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a call id is two numbers"))
    }
}

/// An answer of the model.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The model that said it, of those configured.
    pub model: String,
    pub text: String,
    pub calls: Vec<ToolCall>,
    pub usage: Usage,
    pub stop: StopReason,
    /// What it took, in milliseconds.
    pub millis: u64,
}

/// Texts do not reach logs.
impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said")
            .field("model", &self.model)
            .field("bytes", &self.text.len())
            .field("calls", &self.calls.iter().map(|call| &call.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What was decided about a call.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decided", rename_all = "snake_case")]
pub enum Decided {
    /// To be made, perhaps with other arguments.
    Approved {
        by: String,
        arguments: Option<Value>,
    },
    Rejected {
        by: String,
        reason: String,
    },
    Expired,
}

/// Arguments do not reach logs.
impl fmt::Debug for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approved { arguments: None, .. } => "Approved",
            Self::Approved { arguments: Some(_), .. } => "Approved with changes",
            Self::Rejected { .. } => "Rejected",
            Self::Expired => "Expired",
        })
    }
}

/// How a call ended. Every call has exactly one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    pub end: CallEnd,
    /// Whole; what the model sees of it may be cut.
    pub text: String,
    /// Foreign text in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<Foreign>,
    /// Files that the model is shown beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
}

impl CallResult {
    pub fn new(end: CallEnd, text: impl Into<String>) -> Self {
        Self { end, text: text.into(), foreign: Vec::new(), files: Vec::new() }
    }
}

/// Texts do not reach logs.
impl fmt::Debug for CallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallResult({:?}, {} bytes)", self.end, self.text.len())
    }
}

/// The ways a call can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    Done,
    /// It said why.
    Failed,
    /// There is no such tool here.
    UnknownTool,
    /// The arguments are no JSON.
    BadJson,
    /// They are, and not what the tool takes.
    BadArguments,
    /// This tool may not be used here.
    NotAllowed,
    TimedOut,
    Cancelled,
    /// A person said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Nobody knows whether it took effect.
    Uncertain,
}

/// How a turn ended.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// With words for the correspondent.
    Answered {
        text: String,
    },
    /// With nothing to say, or said by a tool.
    Silent,
    /// A person takes over.
    HandedOver {
        why: String,
    },
    /// A person must look.
    Failed {
        why: String,
    },
    Cancelled {
        why: String,
    },
    Interrupted,
}

impl Outcome {
    /// A word for lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Silent => "silent",
            Self::HandedOver { .. } => "handed_over",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Texts do not reach logs.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Step {
    /// A word for logs and lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Recomposed { .. } => "recomposed",
            Self::ModelAsked { .. } => "model asked",
            Self::ModelSaid { .. } => "model said",
            Self::ModelFailed { .. } => "model failed",
            Self::ApprovalAsked { .. } => "approval asked",
            Self::ApprovalDecided { .. } => "approval decided",
            Self::CallBegun { .. } => "call begun",
            Self::CallAwaited { .. } => "call awaited",
            Self::CallEnded { .. } => "call ended",
            Self::Cancelled { .. } => "cancelled",
            Self::Interrupted { .. } => "interrupted",
            Self::TimedOut => "timed out",
            Self::Finished { .. } => "finished",
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApprovalAsked { call, .. }
            | Self::ApprovalDecided { call, .. }
            | Self::CallBegun { call }
            | Self::CallAwaited { call, .. } => write!(f, "{} {call}", self.word()),
            Self::CallEnded { call, result } => {
                write!(f, "{} {call} {:?}", self.word(), result.end)
            }
            Self::Finished { outcome } => write!(f, "{} {outcome:?}", self.word()),
            _ => f.write_str(self.word()),
        }
    }
}
