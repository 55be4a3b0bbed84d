//! Mail as agents see it, and what the mail side hands over to be stored.
//!
//! [`Arrival`] is one DATA as the router understood it; [`Mail`] is what a handler gets; [`Draft`] is
//! what a handler answers with. Headers of the message are evidence in an [`Arrival`], never
//! authority: decisions read the stored [`Verdict`].

use crate::{AgentId, CallId, ConversationId, MessageId, Reference, store::StagedBlob};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was proven about the domain in From.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// DMARC failed.
    Failed,
    /// Nothing was proven, nothing was disproven.
    Unverified,
    /// DMARC passed, or no policy exists and an aligned DKIM signature passed.
    Verified,
    /// Submitted from this machine to an installation whose only domain is `localhost` and that
    /// sends nothing. Counts as verified.
    Local,
}

impl Verdict {
    /// Whether the sender address may be believed.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::Verified | Self::Local)
    }

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unverified => "unverified",
            Self::Verified => "verified",
            Self::Local => "local",
        }
    }

    /// The inverse of [`Verdict::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "failed" => Self::Failed,
            "unverified" => Self::Unverified,
            "verified" => Self::Verified,
            "local" => Self::Local,
            _ => return None,
        })
    }
}

/// What a correspondent may cause. The verdict says who; this says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Nobody knows who this is.
    Unproven,
    /// The address is proven, the person is not known.
    Proven,
    /// Admitted by a person.
    Known,
    /// One of the people who run this installation.
    Staff,
}

impl Trust {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Proven => "proven",
            Self::Known => "known",
            Self::Staff => "staff",
        }
    }

    /// The inverse of [`Trust::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "unproven" => Self::Unproven,
            "proven" => Self::Proven,
            "known" => Self::Known,
            "staff" => Self::Staff,
            _ => return None,
        })
    }
}

/// One DATA, understood and ready to be stored for all its recipients in one transaction.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When the last byte arrived.
    pub received_at: Timestamp,
    /// The peer's network (/24 or /64), under which unproven newcomers are counted.
    pub network: String,
    /// The envelope sender, lower case; empty for the null reverse-path.
    pub reverse_path: String,
    /// The one address in From, lower case.
    pub from: String,
    /// The display name in From, decoded and stripped of control characters.
    pub from_name: Option<String>,
    /// Where Reply-To asks answers to go, lower case. Believed only in verified mail.
    pub reply_to: Option<String>,
    /// Addresses in To, lower case.
    pub to: Vec<String>,
    /// Addresses in Cc, lower case. They never become members by being here.
    pub cc: Vec<String>,
    /// The subject, decoded, one line.
    pub subject: String,
    /// Message-ID without angle brackets, if there is one.
    pub message_id: Option<String>,
    /// Ids in In-Reply-To and References, newest first, without angle brackets.
    pub references: Vec<String>,
    /// What authentication concluded.
    pub verdict: Verdict,
    /// The evidence behind the verdict, as JSON.
    pub evidence: String,
    /// SPF passed for an envelope sender equal to From: enough to answer, not to be believed.
    pub envelope_proven: bool,
    /// Why this is not from a person's hand, if it is not: an autoresponder, a list, a report.
    pub automatic: Option<String>,
    /// SHA-256 over the body, for recognising redelivery.
    pub body_hash: [u8; 32],
    /// Our Received and Authentication-Results lines; the raw message itself is never altered.
    pub prelude: String,
    /// The message byte for byte, compressed and, if large, already durable in its own file.
    pub raw: StagedBlob,
    /// Attachments, in order. Their bytes stay inside `raw`.
    pub attachments: Vec<ArrivalAttachment>,
    /// Things a reviewer should see: confusable sender names, hidden text.
    pub flags: Vec<String>,
    /// Why policy holds this for a person although it was accepted (DMARC quarantine), if it does.
    pub quarantine: Option<String>,
    /// Who it is for. At least one.
    pub recipients: Vec<ArrivalRecipient>,
}

/// An attachment as found in a received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalAttachment {
    /// The part number by which the mail side finds the bytes again.
    pub part: u32,
    /// A name that is safe to write to disk.
    pub name: String,
    /// The declared media type, lower case.
    pub media_type: String,
    /// Decoded size in bytes.
    pub size: u64,
    /// Shown inside the message (by Content-ID) and not as a file.
    pub inline: bool,
}

/// One recipient of an [`Arrival`].
#[derive(Debug, Clone)]
pub struct ArrivalRecipient {
    /// The address in RCPT TO, lower case.
    pub address: String,
    /// The agent it belongs to.
    pub agent: AgentId,
    /// Our address to answer from: the agent's address without token.
    pub answer_from: String,
    /// What the address says about the conversation.
    pub route: AddressRoute,
    /// Verified references of our own Message-IDs found in In-Reply-To and References, newest first.
    pub own_references: Vec<Reference>,
    /// What the person wrote, quotes set apart; forwards and lines that are answered belong to it.
    pub new_text: String,
    /// Only what was typed now, and nothing where that is nothing: what counts as a person's words.
    pub own_words: String,
    /// The layers of the readable text as JSON, or `None` when new text is all there is.
    pub layers: Option<String>,
}

/// What a recipient address says about the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressRoute {
    /// The agent's plain address.
    Plain,
    /// A sub-address that picks the instance, for agents that allow it.
    Tag(String),
    /// A reply token that verified.
    Reply(Reference),
    /// A reply token that verified but has expired.
    ExpiredReply(Reference),
    /// A bounce token that verified: delivery reports about one outgoing mail.
    Bounce(Reference),
    /// A token that verified and answers a question to one of the installation's own people. Whether the
    /// answer counts is for the store to say, its time included.
    Decide(Reference),
    /// `postmaster` or `abuse`: kept for people.
    Role,
}

/// A stored mail, as a handler gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub id: MessageId,
    pub conversation: ConversationId,
    /// Whether this mail opened its conversation.
    pub is_first: bool,
    pub from: String,
    pub from_name: Option<String>,
    /// The address it was sent to.
    pub to: String,
    pub subject: String,
    /// What the person wrote, without quoted history.
    pub text: String,
    pub attachments: Vec<Attachment>,
    pub verdict: Verdict,
    pub trust: Trust,
    /// Why this is not from a person's hand, if it is not.
    pub automatic: Option<String>,
    pub received_at: Timestamp,
}

/// An attachment of a stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub part: u32,
    pub name: String,
    pub media_type: String,
    /// Decoded size in bytes.
    pub size: u64,
    pub inline: bool,
}

/// What an agent or a person wants to say by mail.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Empty: `Re:` and the subject answered.
    #[serde(default)]
    pub subject: String,
    pub text: String,
    /// Empty: made from the text.
    #[serde(default)]
    pub html: Option<String>,
    #[serde(default)]
    pub attachments: Vec<DraftAttachment>,
    /// Kept only for members of the conversation; anyone else holds the draft for review.
    #[serde(default)]
    pub cc: Vec<String>,
    /// Attaches the recordings of these calls, which must be of the instance that sends it.
    #[serde(default)]
    pub recordings: Vec<CallId>,
}

/// A file to send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftAttachment {
    pub name: String,
    pub media_type: String,
    pub content: Vec<u8>,
}

impl Draft {
    /// A draft of plain text; an HTML alternative is made from it when it is sent.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same with a subject of its own.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// The same with a file.
    #[must_use]
    pub fn attach(
        mut self,
        name: impl Into<String>,
        media_type: impl Into<String>,
        content: Vec<u8>,
    ) -> Self {
        self.attachments.push(DraftAttachment {
            name: name.into(),
            media_type: media_type.into(),
            content,
        });
        self
    }

    /// The same with the recording of a call, as far as one is kept and fits a mail.
    #[must_use]
    pub fn attach_recording(mut self, call: CallId) -> Self {
        self.recordings.push(call);
        self
    }
}

impl From<&str> for Draft {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Draft {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// Bodies do not reach logs.
impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("text_bytes", &self.text.len())
            .field("attachments", &self.attachments.len())
            .field("recordings", &self.recordings)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DraftAttachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DraftAttachment")
            .field("media_type", &self.media_type)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}
