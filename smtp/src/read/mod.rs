//! What a message says: its threading headers, people, readable text, attachments, and the marks
//! of automatic mail.
//!
//! [`read`] parses once with mail-parser and gives owned values. It is for messages that
//! [`crate::guard::check`] has passed: the guard's caps keep the parser within stack and memory.
//!
//! What always holds: nothing is judged here. Automatic marks, hidden text and quotes are facts
//! with a place for them; who may be believed is the verdict's business. The readable text has LF
//! line ends, no control characters but tab, and none of the text reported as hidden. Message
//! bodies do not reach `Debug`.
//!
//! Left out: the null envelope sender as an automatic mark (the caller knows the envelope),
//! TNEF (`winmail.dat` stays an attachment), uuencoded text, and encrypted content.

mod address;
mod attachment;
mod automatic;
mod flowed;
pub mod hidden;
pub(crate) mod html;
mod ids;
pub mod quotes;
mod text;

use std::fmt;

use jiff::Timestamp;
use mail_parser::{HeaderName, Message, MessageParser};
use serde::{Deserialize, Serialize};

use self::html::Mark;
pub use self::{
    address::Mailbox,
    attachment::{Attachment, NAME_OCTETS, safe_name},
    automatic::Automatic,
    hidden::{Hidden, Hiding},
    ids::{ID_OCTETS, IDS},
    quotes::{Kind, Layers, Segment},
    text::{Source, TEXT_KEPT},
};

/// Characters of a subject that are kept; RFC 5322 section 2.1.1 limits a line to 998.
pub const SUBJECT: usize = 998;

/// A message as read. See the module documentation for what is guaranteed of each field.
#[derive(Clone, Serialize, Deserialize)]
pub struct ReadMail {
    /// The Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// Ids of In-Reply-To, at most [`IDS`].
    pub in_reply_to: Vec<String>,
    /// Ids of References in their order, at most [`IDS`]: the first one and the newest.
    pub references: Vec<String>,
    pub from: Vec<Mailbox>,
    pub sender: Option<Mailbox>,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    pub reply_to: Vec<Mailbox>,
    /// Decoded, on one line.
    pub subject: String,
    /// The Date field, if it is a date.
    pub date: Option<Timestamp>,
    /// The readable text: the plain version where there is one that says something, else made from
    /// the HTML.
    pub text: String,
    /// What `text` was made from.
    pub source: Source,
    /// The HTML version as sent, in UTF-8, not sanitised.
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    /// Every sign that no person sent this.
    pub automatic: Vec<Automatic>,
    /// Whether this is a `multipart/report` (RFC 6522): a bounce, a receipt, a complaint.
    pub is_report: bool,
    /// Text that readers do not see.
    pub hidden: Vec<Hidden>,
    /// Whether text or HTML was longer than [`TEXT_KEPT`] and is not all here.
    pub cut: bool,
    #[serde(skip)]
    marks: Vec<Mark>,
}

impl ReadMail {
    /// The text in layers: what is new, what is quoted, from whom. `ours` are the texts of mails we
    /// sent in this conversation. Reports, and what mail systems write, are not taken apart.
    pub fn layers(&self, ours: &[&str]) -> Layers<'_> {
        let system = self.automatic.iter().any(|mark| matches!(mark, Automatic::MailSystem(_)));
        if self.is_report || system {
            return Layers::whole(&self.text);
        }
        quotes::split_marked(&self.text, &self.subject, &self.marks, ours)
    }
}

impl fmt::Debug for ReadMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMail")
            .field("message_id", &self.message_id)
            .field("text_octets", &self.text.len())
            .field("html_octets", &self.html.as_deref().map(str::len))
            .field("attachments", &self.attachments.len())
            .field("automatic", &self.automatic)
            .field("is_report", &self.is_report)
            .finish_non_exhaustive()
    }
}

/// Reads a whole message. A message without any header field is all text.
pub fn read(raw: &[u8]) -> ReadMail {
    let Some(message) = MessageParser::default().parse(raw).filter(|m| !m.parts.is_empty()) else {
        return bare(raw);
    };
    let body = text::body(&message, raw);
    let attachments = attachment::list(&message);
    ReadMail {
        message_id: ids::of(&message, raw, &HeaderName::MessageId).into_iter().next(),
        in_reply_to: ids::of(&message, raw, &HeaderName::InReplyTo),
        references: ids::of(&message, raw, &HeaderName::References),
        from: address::of(&message, &HeaderName::From),
        sender: address::of(&message, &HeaderName::Sender).into_iter().next(),
        to: address::of(&message, &HeaderName::To),
        cc: address::of(&message, &HeaderName::Cc),
        reply_to: address::of(&message, &HeaderName::ReplyTo),
        subject: one_line(message.subject().unwrap_or_default(), SUBJECT),
        date: message
            .date()
            .filter(|date| date.is_valid())
            .and_then(|date| Timestamp::from_second(date.to_timestamp()).ok()),
        text: body.text,
        source: body.source,
        html: body.html,
        attachments,
        automatic: automatic::marks(&message, raw),
        is_report: is_report(&message),
        hidden: body.hidden,
        cut: body.cut,
        marks: body.marks,
    }
}

fn is_report(message: &Message<'_>) -> bool {
    use mail_parser::MimeHeaders;
    message.content_type().is_some_and(|value| {
        value.ctype() == "multipart"
            && value.subtype().is_some_and(|sub| sub.eq_ignore_ascii_case("report"))
    })
}

fn bare(raw: &[u8]) -> ReadMail {
    let mut hidden = Vec::new();
    let kept = &raw[..raw.len().min(TEXT_KEPT)];
    let text = text::clean(&String::from_utf8_lossy(kept), &mut hidden);
    ReadMail {
        message_id: None,
        in_reply_to: Vec::new(),
        references: Vec::new(),
        from: Vec::new(),
        sender: None,
        to: Vec::new(),
        cc: Vec::new(),
        reply_to: Vec::new(),
        subject: String::new(),
        date: None,
        text,
        source: Source::Plain,
        html: None,
        attachments: Vec::new(),
        automatic: Vec::new(),
        is_report: false,
        hidden,
        cut: kept.len() < raw.len(),
        marks: Vec::new(),
    }
}

/// Text for one line: blanks collapsed, invisible and control characters left out, cut at `most`
/// characters.
fn one_line(text: &str, most: usize) -> String {
    let mut scrubber = hidden::Scrubber::default();
    let mut line = String::with_capacity(text.len().min(most));
    for c in text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).take(4 * most) {
        if scrubber.keep(c)
            && !is_bidi(c)
            && !(c == ' ' && (line.is_empty() || line.ends_with(' ')))
        {
            line.push(c);
        }
    }
    let line = line.trim_end();
    line.chars().take(most).collect()
}

/// Explicit bidirectional formatting (Unicode Standard Annex 9): never needed in names.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}
