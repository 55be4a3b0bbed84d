//! Calls and live text, as agents see them.
//!
//! A [`Call`] is one connection by voice, a [`Chat`] is live text without one. Both are part of a
//! conversation, as mails are. What a person says is a [`Turn`]; what a handler answers with is a
//! [`Reply`], which is spoken while it is made. How turns are told apart and how a reply becomes sound
//! is not known here.
//!
//! Nothing that was said reaches `Debug`.

mod context;
mod end;
mod reply;
mod words;

pub use end::{CallEnded, Line, RecordingInfo};
pub use reply::{Reply, ReplyPart};
pub use words::{CallChannel, EndReason, Hearing, Origin, Outcome, Speaker, Via};

use crate::{CallId, ConversationId, InstanceId, MessageId, Trust};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerCard {
    /// What they are called. Below [`Trust::Proven`] it is what they say they are called.
    pub name: Option<String>,
    /// An address or number. Below [`Trust::Proven`] it is only claimed, as caller ID is.
    pub handle: Option<String>,
    pub trust: Trust,
    /// How they were proven, in words for people: "a link sent by mail", "a PIN". Empty where they were not.
    #[serde(default)]
    pub proof: String,
}

impl CallerCard {
    /// The name that stands beside what they say: name, else handle, else "caller".
    pub fn label(&self) -> &str {
        let given = |text: &&String| !text.trim().is_empty();
        let name = self.name.as_ref().filter(given).or(self.handle.as_ref().filter(given));
        name.map_or("caller", String::as_str)
    }
}

/// A call, from the moment it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub id: CallId,
    /// Where it is kept, with the mails of the same person.
    pub conversation: ConversationId,
    pub channel: CallChannel,
    pub caller: CallerCard,
    /// The number or page that was called.
    pub called: Option<String>,
    /// What the transport passed along, such as the parameters of a Twilio stream.
    pub parameters: BTreeMap<String, String>,
    /// How far what is understood can be relied on.
    pub hearing: Hearing,
    pub started_at: Timestamp,
}

/// Live text without a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    pub conversation: ConversationId,
    pub instance: InstanceId,
    pub caller: CallerCard,
    /// Whether the conversation was opened for it.
    pub is_new: bool,
}

/// What a person said before it was the agent's turn.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The call it belongs to; none in a chat.
    pub call: Option<CallId>,
    pub conversation: ConversationId,
    pub caller: CallerCard,
    /// Counts the person's turns of a call, from 1.
    pub number: u32,
    pub text: String,
    pub via: Via,
    /// The reply of ours that this turn cut off, if it did.
    pub interrupted: Option<Interrupted>,
    /// The message as stored, where it was stored before the handler ran.
    #[serde(default)]
    pub message: Option<MessageId>,
    pub at: Timestamp,
}

impl Turn {
    /// A turn of a call.
    pub fn in_call(
        call: &Call,
        number: u32,
        text: impl Into<String>,
        via: Via,
        at: Timestamp,
    ) -> Self {
        Self {
            call: Some(call.id),
            conversation: call.conversation,
            caller: call.caller.clone(),
            number,
            text: text.into(),
            via,
            interrupted: None,
            message: None,
            at,
        }
    }

    /// A text of a chat, stored before as `message`.
    pub fn in_chat(
        chat: &Chat,
        number: u32,
        text: impl Into<String>,
        message: MessageId,
        at: Timestamp,
    ) -> Self {
        Self {
            call: None,
            conversation: chat.conversation,
            caller: chat.caller.clone(),
            number,
            text: text.into(),
            via: Via::Text,
            interrupted: None,
            message: Some(message),
            at,
        }
    }

    /// The same, having cut off a reply.
    #[must_use]
    pub fn interrupting(mut self, interrupted: Interrupted) -> Self {
        self.interrupted = Some(interrupted);
        self
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("call", &self.call)
            .field("conversation", &self.conversation)
            .field("number", &self.number)
            .field("via", &self.via)
            .field("text_bytes", &self.text.len())
            .field("interrupted", &self.interrupted)
            .finish_non_exhaustive()
    }
}

/// A reply that was cut off.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// What of it was heard.
    pub said: String,
    /// What of it was not.
    pub unheard: String,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupted")
            .field("said_bytes", &self.said.len())
            .field("unheard_bytes", &self.unheard.len())
            .finish()
    }
}

/// What was understood so far, outside of turns.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    pub text: String,
    /// Whether it will not change any more.
    pub is_final: bool,
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript")
            .field("text_bytes", &self.text.len())
            .field("is_final", &self.is_final)
            .finish()
    }
}

/// A message of the application's own from the client of a call, as JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientMessage {
    pub call: CallId,
    pub body: Value,
}

/// What is in it is the application's and its people's.
impl fmt::Debug for ClientMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientMessage({})", self.call)
    }
}

/// What an agent wants of a call, told after the commit of what wanted it.
#[derive(Clone, PartialEq, Eq)]
pub struct Directive {
    /// The instance that wants it.
    pub instance: InstanceId,
    /// The call it is for; none means every open call of the instance.
    pub call: Option<CallId>,
    pub what: Wanted,
}

/// The things an agent can want of a call.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Say this when the floor is free.
    Speak(String),
    /// End the call when what is being said, and the farewell, have been heard.
    HangUp { farewell: Option<String> },
    /// Connect the caller to somebody else. A wish: whoever carries it out checks `to` against what the
    /// operator allows.
    Transfer { to: String },
    /// Bring this to the client, as a message of the application's own.
    Message(Value),
}

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Wanted::Speak(_) => "speak",
            Wanted::HangUp { .. } => "hang_up",
            Wanted::Transfer { .. } => "transfer",
            Wanted::Message(_) => "message",
        };
        f.debug_struct("Directive")
            .field("instance", &self.instance)
            .field("call", &self.call)
            .field("what", &what)
            .finish()
    }
}

/// Something that happens while a call or chat is open, on its way to a handler.
#[derive(Debug, Clone)]
pub(crate) enum LiveEvent {
    Start,
    Turn(Turn),
    Text(Turn),
    Keys(Turn),
    Interrupt(Interrupted),
    Transcript(Transcript),
    Client(ClientMessage),
}

impl LiveEvent {
    /// A word for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start => "call_start",
            Self::Turn(_) => "turn",
            Self::Text(_) => "text",
            Self::Keys(_) => "dtmf",
            Self::Interrupt(_) => "interrupt",
            Self::Transcript(_) => "transcript",
            Self::Client(_) => "client_message",
        }
    }

    /// The turn among it.
    pub fn turn(&self) -> Option<&Turn> {
        match self {
            Self::Turn(turn) | Self::Text(turn) | Self::Keys(turn) => Some(turn),
            Self::Start | Self::Interrupt(_) | Self::Transcript(_) | Self::Client(_) => None,
        }
    }
}

/// The instance a live handler runs for, as of one moment.
#[derive(Debug, Clone)]
pub(crate) struct LiveSnapshot {
    pub instance: InstanceId,
    pub key: String,
    pub version: i64,
    pub state: String,
    pub state_version: u32,
    pub conversation: ConversationId,
    pub call: Option<Call>,
}
