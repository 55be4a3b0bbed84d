//! Bounces without a delivery status: qmail's and Exim's, and text of other mail systems.
//!
//! They are read so that a person sees what happened. They change nothing by themselves (see
//! [`super::Delivery::changes_state`]).

use mail_parser::Message;

use super::delivery::{Action, Delivery, Form, Recipient, find_status};
use super::{RECIPIENTS, fields, header_of};
use crate::deliver::attempt::{Status, words};

/// Octets of text that are looked at.
const TEXT: usize = 64 * 1024;

/// Lines that a returned message follows, without their dashes.
const COPIES: [&str; 6] = [
    "below this line is a copy of the message",
    "this is a copy of the message, including all the headers",
    "this is a copy of your message",
    "original message follows",
    "the original message was attached",
    "unsent message below",
];

pub(super) fn read(message: &Message<'_>, raw: &[u8]) -> Option<Delivery> {
    let header = super::fields::groups(raw, 1).into_iter().next()?;
    let failed = header.get("x-failed-recipients");
    if failed.is_none() && !is_mail_system(header.get("from").unwrap_or_default()) {
        return None;
    }
    let text = message.body_text(0)?;
    let text = &text[..text.floor_char_boundary(TEXT)];
    let (said, copy) = split(text);
    let (form, mut recipients) = if said.trim_start().starts_with("Hi. This is the") {
        (Form::Qmail, paragraphs(said))
    } else if let Some(failed) = failed {
        (Form::Exim, exim(failed, said))
    } else {
        (Form::Text, paragraphs(said))
    };
    recipients.truncate(RECIPIENTS);
    if recipients.is_empty() {
        return None;
    }
    let original = copy.map(|copy| header_of(copy.as_bytes())).unwrap_or_default();
    Some(Delivery { form, reporting_mta: None, envelope_id: None, recipients, original })
}

fn is_mail_system(from: &str) -> bool {
    let from = fields::address(from).unwrap_or_default().to_ascii_lowercase();
    let local = from.split('@').next().unwrap_or_default();
    matches!(local, "mailer-daemon" | "mailerdaemon" | "mail-daemon" | "postmaster")
}

/// What the system says, and the copy of the message behind it.
fn split(text: &str) -> (&str, Option<&str>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let plain = line.trim().trim_matches('-').trim().to_ascii_lowercase();
        let plain = plain.trim_end_matches(['.', ':']);
        if COPIES.contains(&plain) {
            return (&text[..at], Some(text[at + line.len()..].trim_start()));
        }
        at += line.len();
    }
    (text, None)
}

/// Paragraphs that begin with `<address>:`, each with its reason.
fn paragraphs(said: &str) -> Vec<Recipient> {
    let said = said.replace("\r\n", "\n");
    let mut recipients = Vec::new();
    for paragraph in said.split("\n\n") {
        let paragraph = paragraph.trim_start();
        let Some((address, reason)) =
            paragraph.strip_prefix('<').and_then(|rest| rest.split_once(">:"))
        else {
            continue;
        };
        if let Some(address) = fields::address(address) {
            recipients.push(recipient(address, reason));
        }
        if recipients.len() == RECIPIENTS {
            break;
        }
    }
    recipients
}

/// Addresses of the field, each with what the text says of it: in Exim's text the address stands
/// alone on a line, and its reason is indented deeper below it.
fn exim(failed: &str, said: &str) -> Vec<Recipient> {
    let addresses = failed.split(',').take(RECIPIENTS).filter_map(fields::address);
    addresses
        .map(|address| {
            let lines = said.lines().skip_while(|line| line.trim() != address).skip(1);
            let reason = lines.take_while(|line| !line.trim().is_empty());
            let reason: Vec<&str> = reason.map(str::trim).take(20).collect();
            recipient(address, &reason.join(" "))
        })
        .collect()
}

fn recipient(address: String, reason: &str) -> Recipient {
    let status = find_status(reason);
    // Without a word on it, a bounce is a failure: delays are reported in the standard form.
    let action = match status {
        Some(Status { class: 4, .. }) => Action::Delayed,
        _ => Action::Failed,
    };
    Recipient {
        address: Some(address),
        original: None,
        action,
        status,
        diagnostic: words(reason),
        remote_mta: None,
    }
}
