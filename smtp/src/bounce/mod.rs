//! What comes back about mail that was sent: delivery reports and complaints.
//!
//! - [`read`]: a message as a [`Report`], if it is one;
//! - `delivery`: the standard form (RFC 3464, and its international version RFC 6533);
//! - `foreign`: what qmail, Exim and others write instead;
//! - `complaint`: feedback reports (RFC 5965);
//! - [`suppress`]: what a report means for mail to that recipient in future.
//!
//! What always holds: a message passes [`crate::guard::check`] before it is parsed; every text in a
//! report is one printable line of bounded length; nothing here is believed. Whose delivery a report is
//! about is said by the signed address that it came to, which is the caller's to check: the ids and
//! addresses in it are words of strangers, to be shown and compared.
//!
//! Left out: read receipts (RFC 8098), which change no delivery.

mod complaint;
mod delivery;
mod fields;
mod foreign;
pub mod suppress;

use mail_parser::{Message, MessageParser, MimeHeaders};
use serde::{Deserialize, Serialize};

use crate::guard::{self, Refusal};

pub use self::complaint::{Complaint, Kind};
pub use self::delivery::{Action, Delivery, Form, Recipient};
pub use crate::deliver::attempt::Status;

/// Recipients of one report that are read. A report about our mail has one.
pub const RECIPIENTS: usize = 50;
/// Octets of the reported message that are looked at, for its header.
const ORIGINAL: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// What became of a mail.
    Delivery(Delivery),
    /// What a recipient thinks of it.
    Complaint(Complaint),
}

/// What a report shows of the message that it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Its Message-ID, without brackets.
    pub message_id: Option<String>,
    /// Where bounces of it were to go, from its Return-Path.
    pub reverse_path: Option<String>,
    /// Whom its To field names first.
    pub to: Option<String>,
}

/// Reads a whole message as a report. `None` if it is something else, which any mail may be.
///
/// # Errors
///
/// The guard's [`Refusal`], for a message that no parser may see.
pub fn read(raw: &[u8]) -> Result<Option<Report>, Refusal> {
    guard::check(raw)?;
    let Some(message) = MessageParser::default().parse(raw).filter(|m| !m.parts.is_empty()) else {
        return Ok(None);
    };
    let original = original(&message, raw);
    if let Some(part) = parts(&message, raw, "message", &["feedback-report"]).next() {
        return Ok(Some(Report::Complaint(complaint::read(&part, original))));
    }
    let mut delivery = delivery::read(&message, raw);
    if delivery.is_none() {
        delivery = foreign::read(&message, raw);
    }
    Ok(delivery.map(|delivery| {
        let own = delivery.original;
        let original = Original {
            message_id: original.message_id.or(own.message_id),
            reverse_path: original.reverse_path.or(own.reverse_path),
            to: original.to.or(own.to),
        };
        Report::Delivery(Delivery { original, ..delivery })
    }))
}

/// Whether the message as a whole is a `multipart/report` (RFC 6522).
fn is_report(message: &Message<'_>) -> bool {
    message.content_type().is_some_and(|kind| is(kind, "multipart", &["report"]))
}

fn is(kind: &mail_parser::ContentType<'_>, main: &str, subtypes: &[&str]) -> bool {
    kind.ctype().eq_ignore_ascii_case(main)
        && kind
            .subtype()
            .is_some_and(|known| subtypes.iter().any(|sub| known.eq_ignore_ascii_case(sub)))
}

/// The decoded parts of a type. Parts of messages inside are not among them.
fn parts<'m>(
    message: &'m Message<'_>,
    raw: &'m [u8],
    main: &'m str,
    subtypes: &'m [&'m str],
) -> impl Iterator<Item = Vec<u8>> + 'm {
    message
        .parts
        .iter()
        .filter(move |part| part.content_type().is_some_and(|kind| is(kind, main, subtypes)))
        .map(move |part| {
            let range = part.offset_body as usize..part.offset_end as usize;
            let octets = raw.get(range).unwrap_or_default();
            fields::decode(octets, part.encoding)
        })
}

/// The message that came back, or its header, whichever is there.
fn original(message: &Message<'_>, raw: &[u8]) -> Original {
    let whole = parts(message, raw, "message", &["rfc822", "global", "global-headers"]);
    let header = parts(message, raw, "text", &["rfc822-headers", "rfc822-header"]);
    whole.chain(header).next().map(|octets| header_of(&octets)).unwrap_or_default()
}

/// What a header shows.
fn header_of(octets: &[u8]) -> Original {
    let octets = &octets[..octets.len().min(ORIGINAL)];
    let groups = fields::groups(octets, 1);
    let Some(header) = groups.first() else { return Original::default() };
    Original {
        message_id: header.get("message-id").and_then(fields::bracketed),
        reverse_path: header.get("return-path").and_then(fields::address),
        to: header.get("to").and_then(fields::address),
    }
}

/// Body of the fuzz target: any octets are read without harm, and every text is a bounded line.
///
/// # Panics
///
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz(raw: &[u8]) {
    if !guard::is_untangled(raw) {
        return;
    }
    let Ok(Some(report)) = read(raw) else { return };
    let texts = serde_json::to_value(&report).map_or_else(|_| Vec::new(), |value| lines(&value));
    for text in texts {
        assert!(text.chars().count() <= 1001, "a long text");
        assert!(!text.chars().any(char::is_control), "a control character");
    }
    if let Report::Delivery(delivery) = &report {
        assert!(delivery.recipients.len() <= RECIPIENTS);
        for recipient in &delivery.recipients {
            let _ = suppress::weigh(recipient.action, recipient.status);
        }
    }
}

fn lines(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(values) => values.iter().flat_map(lines).collect(),
        serde_json::Value::Object(values) => values.values().flat_map(lines).collect(),
        _ => Vec::new(),
    }
}
