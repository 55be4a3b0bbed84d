//! Signs that a message was not written by a person, each with its reason.
//!
//! An agent never answers a mail with one of these (RFC 3834 section 2; RFC 2919, RFC 2369 for
//! lists; X-Auto-Response-Suppress is described in MS-OXCMAIL 2.2.3.2.14). The null envelope
//! sender, the strongest sign, is the caller's to add.

use std::fmt;

use mail_parser::{Header, HeaderName, Message};
use serde::{Deserialize, Serialize};

use super::{address, one_line};

/// Why a message counts as automatic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// `Auto-Submitted` other than `no`.
    AutoSubmitted(String),
    /// `Precedence: bulk`, `junk`, `list` or `auto_reply`.
    Precedence(String),
    /// A list field, by name.
    List(String),
    /// `multipart/report`.
    Report,
    /// `X-Auto-Response-Suppress` other than `None`: the value `None` is a person's mail.
    ResponseSuppress(String),
    /// A field that autoresponders set, by name.
    Responder(String),
    /// Sent by a mail system: mailer-daemon or postmaster, or a null Return-Path.
    MailSystem(String),
    /// Sent from an address that reads no answers, such as noreply.
    NoReply(String),
}

impl fmt::Display for Automatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Automatic::AutoSubmitted(value) => write!(f, "Auto-Submitted: {value}"),
            Automatic::Precedence(value) => write!(f, "Precedence: {value}"),
            Automatic::List(name) => write!(f, "mailing list ({name})"),
            Automatic::Report => f.write_str("a report (multipart/report)"),
            Automatic::ResponseSuppress(value) => write!(f, "X-Auto-Response-Suppress: {value}"),
            Automatic::Responder(name) => write!(f, "autoresponder ({name})"),
            Automatic::MailSystem(who) => write!(f, "sent by the mail system ({who})"),
            Automatic::NoReply(who) => write!(f, "sent from {who}"),
        }
    }
}

pub(super) fn marks(message: &Message<'_>, raw: &[u8]) -> Vec<Automatic> {
    let mut marks = Vec::new();
    for header in &message.parts[0].headers {
        if let Some(mark) = field(header, raw)
            && !marks.contains(&mark)
        {
            marks.push(mark);
        }
    }
    if super::is_report(message) {
        marks.push(Automatic::Report);
    }
    let senders = [HeaderName::From, HeaderName::Sender];
    for mailbox in senders.iter().flat_map(|name| address::of(message, name)).take(16) {
        let Some((local, _)) = mailbox.parts() else { continue };
        let local = local.to_ascii_lowercase();
        let mark = if is_mail_system(&local) {
            Automatic::MailSystem(local)
        } else if is_no_reply(&local) {
            Automatic::NoReply(local)
        } else {
            continue;
        };
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    marks
}

fn field(header: &Header<'_>, raw: &[u8]) -> Option<Automatic> {
    let name = header.name();
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let value = || {
        let range = header.offset_start as usize..header.offset_end as usize;
        one_line(&String::from_utf8_lossy(raw.get(range).unwrap_or_default()), 100)
    };
    // The first word, without a comment or parameters.
    let word = |value: &str| {
        let end = value.find(|c: char| c.is_whitespace() || matches!(c, ';' | '(' | ','));
        value[..end.unwrap_or(value.len())].to_ascii_lowercase()
    };
    if is("auto-submitted") {
        let value = value();
        return (word(&value) != "no").then_some(Automatic::AutoSubmitted(value));
    }
    if is("precedence") || is("x-precedence") {
        let word = word(&value());
        return matches!(word.as_str(), "bulk" | "junk" | "list" | "auto_reply" | "auto-reply")
            .then_some(Automatic::Precedence(word));
    }
    if is("x-auto-response-suppress") {
        let value = value();
        return (!value.is_empty() && word(&value) != "none")
            .then_some(Automatic::ResponseSuppress(value));
    }
    let list = ["List-Id", "List-Unsubscribe", "List-Post", "List-Help", "List-Unsubscribe-Post"];
    if let Some(name) = list.into_iter().find(|name| is(name)) {
        return Some(Automatic::List(name.into()));
    }
    // Set by procmail and vacation programs, cPanel, Zimbra, and qmail-autoresponder.
    let responders =
        ["X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply", "X-Failed-Recipients"];
    if let Some(name) = responders.into_iter().find(|name| is(name)) {
        return (!value().eq_ignore_ascii_case("no")).then(|| Automatic::Responder(name.into()));
    }
    if is("return-path") && value() == "<>" {
        return Some(Automatic::MailSystem("null return path".into()));
    }
    None
}

fn is_mail_system(local: &str) -> bool {
    matches!(local, "mailer-daemon" | "mailerdaemon" | "postmaster" | "mail-daemon")
}

fn is_no_reply(local: &str) -> bool {
    // A suffix after the name (noreply-7f3@, no-reply+x@) is part of the custom.
    let plain: String = local.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect();
    plain.starts_with("noreply")
        || plain.starts_with("donotreply")
        || plain.starts_with("dontreply")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &str, expected: &[&str]) {
        let raw = format!("{fields}\r\n\r\nx\r\n");
        let message = mail_parser::MessageParser::default().parse(raw.as_bytes()).unwrap();
        let found: Vec<_> = marks(&message, raw.as_bytes()).iter().map(|m| m.to_string()).collect();
        assert_eq!(found, expected, "{fields}");
    }

    #[test]
    fn every_sign_of_automatic_mail_is_seen() {
        check(
            "Auto-Submitted: auto-replied (vacation)",
            &["Auto-Submitted: auto-replied (vacation)"],
        );
        check("Precedence: Bulk", &["Precedence: bulk"]);
        check("List-Id: <a.x.example>", &["mailing list (List-Id)"]);
        check("List-Unsubscribe: <https://x.example>", &["mailing list (List-Unsubscribe)"]);
        check(
            "X-Auto-Response-Suppress: OOF, AutoReply",
            &["X-Auto-Response-Suppress: OOF, AutoReply"],
        );
        check("X-Autoreply: yes", &["autoresponder (X-Autoreply)"]);
        check("Content-Type: multipart/report; boundary=x", &["a report (multipart/report)"]);
        check("From: MAILER-DAEMON@x.example", &["sent by the mail system (mailer-daemon)"]);
        check("From: No-Reply <no-reply+7@x.example>", &["sent from no-reply+7"]);
        check("Return-Path: <>", &["sent by the mail system (null return path)"]);
    }

    #[test]
    fn a_persons_mail_has_no_sign() {
        check("Auto-Submitted: no", &[]);
        check("Auto-Submitted: NO (really)", &[]);
        check("X-Auto-Response-Suppress: None", &[]);
        check("Precedence: first-class", &[]);
        check("From: nora.ply@x.example\r\nReturn-Path: <nora@x.example>", &[]);
    }
}
