//! An answer as bytes.
//!
//! [`render`] turns an [`Outgoing`], an owned description with nothing left to decide, into a
//! message of RFC 5322 and RFC 2045. What always holds:
//!
//! - It is a pure function: equal input gives identical bytes. Boundaries come from a hash, the date
//!   and every identifier are in the input, and neither clock nor randomness is read.
//! - No header can be injected. Every value that reaches a header is a type that cannot hold a line
//!   break or another control character ([`HeaderText`], [`HeaderName`], [`AddrSpec`], [`MessageId`],
//!   [`MediaType`], [`LinkUrl`]).
//! - The bytes are 7-bit with CRLF line ends and no line over 998 octets, except that an address
//!   with a non-ASCII local part is written as it is (RFC 6532); [`Outgoing::needs_smtputf8`] says so.
//! - The body is empty or ends in exactly one CRLF with no blank or whitespace-only line before it,
//!   which every DKIM body canonicalisation treats alike.
//! - The first entry of References is the conversation's synthetic id and never this mail's own.
//!
//! Left out: `format=flowed`, inline images, and any opinion on who may be written to.

mod body;
mod field;
mod html;
mod quote;
mod subject;
mod types;

use bytes::Bytes;
use jiff::Zoned;
use sha2::{Digest, Sha256};

pub use self::html::html_from_text;
pub use self::quote::quote_answered;
pub use self::subject::reply_subject;
pub use self::types::{AddrSpec, HeaderName, HeaderText, LinkUrl, Mailbox, MediaType, MessageId};

use self::body::{Encoding, Prepared};
use self::field::Fields;

/// The most entries a References field is given. RFC 5322 sets no limit; at about 80 octets each
/// this stays near 1.6 KiB, while clients that thread look at the first and the last few.
pub const MAX_REFERENCES: usize = 20;

/// Why a description could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text holds a line break or another control character.
    #[error("control characters are not allowed in a header")]
    Control,
    /// The text is longer than the limit of its type.
    #[error("header value is longer than {limit} characters")]
    TooLong {
        /// The limit, in characters.
        limit: usize,
    },
    /// Not a field name, or one that rendering or signing writes itself.
    #[error("`{0}` cannot be set as an extra header")]
    HeaderName(String),
    /// Not an address that can be written in a header.
    #[error("not an email address")]
    Address,
    /// Not a message identifier.
    #[error("not a message identifier")]
    MessageId,
    /// Not a `type/subtype`.
    #[error("not a media type")]
    MediaType,
    /// Not an `https:` or `mailto:` address that fits a header.
    #[error("not an https or mailto address")]
    LinkUrl,
    /// `to` and `cc` are both empty.
    #[error("the mail has no recipient")]
    NoRecipient,
    /// The conversation's id equals the mail's own Message-ID.
    #[error("the thread id must differ from the Message-ID")]
    ThreadId,
    /// RFC 5322 cannot express the date (years before 1900 or after 9999).
    #[error("the date cannot be written in a mail")]
    Date,
}

/// Everything an outgoing mail says, with nothing left to decide.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The author.
    pub from: Mailbox,
    /// Primary recipients as shown; the envelope is separate.
    pub to: Vec<Mailbox>,
    /// Further recipients as shown.
    pub cc: Vec<Mailbox>,
    /// Where an answer goes; usually the signed sub-address.
    pub reply_to: Option<Mailbox>,
    /// The subject, already with its `Re:` (see [`reply_subject`]).
    pub subject: HeaderText,
    /// The plain text. Any line ends; they are normalised.
    pub text: String,
    /// The HTML alternative.
    pub html: Html,
    /// Files, in the order given.
    pub attachments: Vec<Attachment>,
    /// This mail's own identifier.
    pub message_id: MessageId,
    /// The conversation's synthetic identifier: the first entry of References.
    pub thread_id: MessageId,
    /// The identifier of the mail answered.
    pub in_reply_to: Option<MessageId>,
    /// References of the mail answered, oldest first.
    pub references: Vec<MessageId>,
    /// The Date field, with the offset to show.
    pub date: Zoned,
    /// Set on everything that no person sent (RFC 3834 section 5).
    pub auto_submitted: Option<AutoSubmitted>,
    /// How to unsubscribe (RFC 2369, RFC 8058).
    pub list_unsubscribe: Option<ListUnsubscribe>,
    /// Further fields, written in this order.
    pub extra: Vec<(HeaderName, HeaderText)>,
}

/// Message bodies do not reach logs: only the shape is shown.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("message_id", &self.message_id)
            .field("recipients", &(self.to.len() + self.cc.len()))
            .field("text_octets", &self.text.len())
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

/// The HTML alternative of a mail.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Html {
    /// Made from the plain text by [`html_from_text`].
    #[default]
    FromText,
    /// Written as given. The caller vouches for it.
    Given(String),
    /// Plain text only.
    Omit,
}

impl std::fmt::Debug for Html {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FromText => f.write_str("FromText"),
            Self::Given(html) => write!(f, "Given({} octets)", html.len()),
            Self::Omit => f.write_str("Omit"),
        }
    }
}

/// A file sent with a mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file name as the sender knows it. Path separators become `_`.
    pub name: HeaderText,
    /// What it is. `multipart/*`, and `message/*` that is not plain 7-bit, go out as
    /// `application/octet-stream`, because RFC 2046 section 5.2.1 forbids encoding them.
    pub media_type: MediaType,
    /// The content.
    pub content: Bytes,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attachment({}, {} octets)", self.media_type.as_str(), self.content.len())
    }
}

/// Values of Auto-Submitted other than `no` (RFC 3834 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoSubmitted {
    /// An answer to one mail.
    Replied,
    /// Sent without a mail that caused it.
    Generated,
}

/// Ways to unsubscribe. With an `https` address the one-click field of RFC 8058 is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListUnsubscribe {
    /// An `https:` address that unsubscribes on POST.
    pub https: Option<LinkUrl>,
    /// A `mailto:` address that unsubscribes.
    pub mailto: Option<LinkUrl>,
}

impl Outgoing {
    /// Whether the header block holds UTF-8 and the next hop must offer SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        std::iter::once(&self.from)
            .chain(&self.to)
            .chain(&self.cc)
            .chain(&self.reply_to)
            .any(|mailbox| !mailbox.address.is_ascii())
    }
}

/// Renders a mail. Pure: equal input, equal bytes.
///
/// # Errors
///
/// Says which promise of the module documentation the description would break.
pub fn render(mail: &Outgoing) -> Result<Vec<u8>, Error> {
    if mail.to.is_empty() && mail.cc.is_empty() {
        return Err(Error::NoRecipient);
    }
    if mail.thread_id == mail.message_id {
        return Err(Error::ThreadId);
    }
    let parts = Parts::prepare(mail);
    let mut out = Vec::with_capacity(parts.estimate());
    let mut fields = Fields::new(&mut out);
    write_fields(mail, &mut fields)?;
    parts.write(&mail.message_id, &mut out);
    Ok(out)
}

fn write_fields(mail: &Outgoing, fields: &mut Fields<'_>) -> Result<(), Error> {
    fields.raw("Date", &jiff::fmt::rfc2822::to_string(&mail.date).map_err(|_| Error::Date)?);
    fields.mailboxes("From", std::slice::from_ref(&mail.from));
    if let Some(reply_to) = &mail.reply_to {
        fields.mailboxes("Reply-To", std::slice::from_ref(reply_to));
    }
    fields.mailboxes("To", &mail.to);
    fields.mailboxes("Cc", &mail.cc);
    fields.text("Subject", &mail.subject);
    fields.ids("Message-ID", [&mail.message_id]);
    if let Some(answered) = &mail.in_reply_to {
        fields.ids("In-Reply-To", [answered]);
    }
    fields.ids("References", references(mail));
    if let Some(kind) = mail.auto_submitted {
        fields.raw(
            "Auto-Submitted",
            match kind {
                AutoSubmitted::Replied => "auto-replied",
                AutoSubmitted::Generated => "auto-generated",
            },
        );
        // Exchange ignores Auto-Submitted for out-of-office notes. Non-delivery reports are not in
        // this list, because bounces are wanted (MS-OXCMAIL 2.1.3.2.19).
        fields.raw("X-Auto-Response-Suppress", "DR, RN, NRN, OOF, AutoReply");
    }
    if let Some(list) = &mail.list_unsubscribe {
        fields.links("List-Unsubscribe", list.https.iter().chain(&list.mailto));
        if list.https.is_some() {
            fields.raw("List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
        }
    }
    for (name, value) in &mail.extra {
        fields.text(name.as_str(), value);
    }
    fields.raw("MIME-Version", "1.0");
    Ok(())
}

/// The thread id first, then what the mail answered referred to, then that mail itself. When there
/// are too many, the conversation's root and the latest stay.
fn references(mail: &Outgoing) -> Vec<&MessageId> {
    let mut ids: Vec<&MessageId> = Vec::with_capacity(mail.references.len() + 2);
    ids.push(&mail.thread_id);
    let known = &mail.references;
    // Searching for repetitions is quadratic, and other people's mail decides the length.
    let recent = known.len().saturating_sub(10 * MAX_REFERENCES).max(1);
    for id in known.iter().take(1).chain(known.get(recent..).unwrap_or_default()) {
        let answered_later = mail.in_reply_to.as_ref() == Some(id);
        if *id == mail.message_id || *id == mail.thread_id || answered_later {
            continue;
        }
        // A reference seen twice keeps its last place: the end of the field is the nearest past.
        ids.retain(|known| *known != id);
        ids.push(id);
    }
    if let Some(answered) = &mail.in_reply_to
        && *answered != mail.message_id
        && *answered != mail.thread_id
    {
        ids.push(answered);
    }
    if ids.len() > MAX_REFERENCES {
        // The thread id and the root stay in front.
        ids.drain(2..ids.len() - (MAX_REFERENCES - 2));
    }
    ids
}

/// The bodies in their transfer encodings, before boundaries are chosen.
struct Parts<'a> {
    text: Prepared,
    html: Option<Prepared>,
    files: Vec<(&'a Attachment, body::File<'a>)>,
}

impl<'a> Parts<'a> {
    fn prepare(mail: &'a Outgoing) -> Self {
        let html = match &mail.html {
            Html::FromText => Some(Prepared::text(&html_from_text(&mail.text))),
            Html::Given(html) => Some(Prepared::text(html)),
            Html::Omit => None,
        };
        Self {
            text: Prepared::text(&mail.text),
            html,
            files: mail.attachments.iter().map(|file| (file, body::File::prepare(file))).collect(),
        }
    }

    fn estimate(&self) -> usize {
        let files: usize = self.files.iter().map(|(_, file)| file.encoded_len() + 512).sum();
        let html = self.html.as_ref().map_or(0, |html| html.encoded.len() + 256);
        2048 + self.text.encoded.len() + html + files
    }

    fn write(&self, id: &MessageId, out: &mut Vec<u8>) {
        if self.files.is_empty() {
            self.write_readable(id, out);
            return;
        }
        let boundary = self.boundary(id, "mixed");
        Fields::new(out).multipart("multipart/mixed", &boundary);
        out.extend_from_slice(b"\r\n");
        delimiter(out, &boundary);
        self.write_readable(id, out);
        for (attachment, file) in &self.files {
            delimiter(out, &boundary);
            file.write(attachment, out);
        }
        close(out, &boundary);
    }

    /// The text, with its HTML alternative if there is one: headers, blank line, body, CRLF.
    fn write_readable(&self, id: &MessageId, out: &mut Vec<u8>) {
        let Some(html) = &self.html else {
            self.text.write("plain", out);
            if self.files.is_empty() && self.text.encoded.is_empty() {
                // An empty body, rather than one blank line.
                out.truncate(out.len() - 2);
            }
            return;
        };
        let boundary = self.boundary(id, "alternative");
        Fields::new(out).multipart("multipart/alternative", &boundary);
        out.extend_from_slice(b"\r\n");
        delimiter(out, &boundary);
        self.text.write("plain", out);
        delimiter(out, &boundary);
        html.write("html", out);
        close(out, &boundary);
    }

    /// A delimiter that occurs in no part. `=_` cannot occur in quoted-printable or base64, so only
    /// bodies that go out as they are need a look.
    fn boundary(&self, id: &MessageId, level: &str) -> String {
        let verbatim = std::iter::once(&self.text)
            .chain(&self.html)
            .filter(|part| part.encoding == Encoding::SevenBit)
            .map(|part| part.encoded.as_slice())
            .chain(self.files.iter().filter_map(|(_, file)| file.verbatim()));
        let verbatim: Vec<&[u8]> = verbatim.collect();
        let mut attempt = 0u32;
        loop {
            let mut hash = Sha256::new();
            hash.update(b"frontdesk boundary 1\0");
            hash.update(level.as_bytes());
            hash.update([0]);
            hash.update(id.as_str().as_bytes());
            hash.update(attempt.to_be_bytes());
            let name = data_encoding::HEXLOWER.encode(&hash.finalize()[..12]);
            let boundary = format!("=_{name}");
            if !verbatim
                .iter()
                .any(|part| memchr::memmem::find(part, boundary.as_bytes()).is_some())
            {
                return boundary;
            }
            attempt += 1;
        }
    }
}

fn delimiter(out: &mut Vec<u8>, boundary: &str) {
    out.extend_from_slice(b"--");
    out.extend_from_slice(boundary.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn close(out: &mut Vec<u8>, boundary: &str) {
    out.extend_from_slice(b"--");
    out.extend_from_slice(boundary.as_bytes());
    out.extend_from_slice(b"--\r\n");
}
