//! Delivery status notifications: RFC 3464, RFC 6533, and how they come in practice.

use mail_parser::Message;
use serde::{Deserialize, Serialize};

use super::fields::{self, Group};
use super::{Original, RECIPIENTS, is_report, parts};
use crate::deliver::attempt::{Status, words};

/// What became of a mail, as somebody says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// In which form it was said.
    pub form: Form,
    /// The server that says so.
    pub reporting_mta: Option<String>,
    /// Our ENVID, if it was given one.
    pub envelope_id: Option<String>,
    /// For whom; at least one.
    pub recipients: Vec<Recipient>,
    /// The message it is about.
    pub original: Original,
}

impl Delivery {
    /// Whether it may change the state of a delivery. Everything else is a note: text that happens to
    /// look like a bounce is what anybody can write, a vacation message included.
    #[must_use]
    pub fn changes_state(&self) -> bool {
        self.form == Form::Report
    }
}

/// In which form a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `multipart/report` with a delivery status.
    Report,
    /// A delivery status in some other message.
    StatusPart,
    /// qmail's text (QSBMF).
    Qmail,
    /// Exim's text.
    Exim,
    /// Another mail system's text.
    Text,
}

/// What became of it for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Who did not get it, or did: perhaps an address that ours was forwarded to.
    pub address: Option<String>,
    /// The address that we wrote to, if it says so.
    pub original: Option<String>,
    /// What happened.
    pub action: Action,
    /// The enhanced status code.
    #[serde(with = "status_text")]
    pub status: Option<Status>,
    /// The words of the server that refused, on one line.
    pub diagnostic: String,
    /// The server that refused.
    pub remote_mta: Option<String>,
}

/// What happened (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Given up.
    Failed,
    /// Still tried.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a system that reports nothing.
    Relayed,
    /// Handed on to several.
    Expanded,
}

pub(super) fn read(message: &Message<'_>, raw: &[u8]) -> Option<Delivery> {
    let kinds = &["delivery-status", "global-delivery-status"];
    let mut delivery = Delivery {
        form: if is_report(message) { Form::Report } else { Form::StatusPart },
        reporting_mta: None,
        envelope_id: None,
        recipients: Vec::new(),
        original: Original::default(),
    };
    // Some servers send a status part for each recipient.
    for part in parts(message, raw, "message", kinds) {
        for group in fields::groups(&part, RECIPIENTS + 1) {
            if delivery.reporting_mta.is_none() {
                delivery.reporting_mta =
                    group.get("reporting-mta").map(|mta| words(fields::typed(mta).1));
            }
            if delivery.envelope_id.is_none() {
                delivery.envelope_id = group.get("original-envelope-id").map(words);
            }
            if delivery.recipients.len() < RECIPIENTS {
                delivery.recipients.extend(recipient(&group));
            }
        }
    }
    (!delivery.recipients.is_empty()).then_some(delivery)
}

/// A group about a recipient. The fields about the whole message stand in a group of their own, but not
/// everywhere.
fn recipient(group: &Group) -> Option<Recipient> {
    let names = ["final-recipient", "original-recipient", "action", "status"];
    names.iter().find_map(|name| group.get(name))?;
    let diagnostic = group.get("diagnostic-code").map(|code| fields::typed(code).1);
    let status = best(group.get("status").and_then(loose), diagnostic.and_then(find_status));
    let action = group.get("action").and_then(action).or_else(|| from_class(status))?;
    Some(Recipient {
        address: group.get("final-recipient").and_then(fields::address),
        original: group.get("original-recipient").and_then(fields::address),
        action,
        status,
        diagnostic: diagnostic.map(words).unwrap_or_default(),
        remote_mta: group.get("remote-mta").map(|mta| words(fields::typed(mta).1)),
    })
}

fn action(value: &str) -> Option<Action> {
    let value = value.to_ascii_lowercase();
    let starts = [
        ("fail", Action::Failed),
        ("delay", Action::Delayed),
        ("deliver", Action::Delivered),
        ("relay", Action::Relayed),
        ("expand", Action::Expanded),
    ];
    starts.into_iter().find(|(start, _)| value.starts_with(start)).map(|(_, action)| action)
}

fn from_class(status: Option<Status>) -> Option<Action> {
    Some(match status?.class {
        5 => Action::Failed,
        4 => Action::Delayed,
        _ => Action::Delivered,
    })
}

/// A status that may have a `#` in front, as Exchange writes it.
fn loose(text: &str) -> Option<Status> {
    Status::parse(text.trim_start().trim_start_matches('#'))
}

/// The more telling of two: `5.0.0` says only that it failed.
fn best(stated: Option<Status>, found: Option<Status>) -> Option<Status> {
    match (stated, found) {
        (Some(stated), Some(found))
            if stated.subject == 0 && stated.class == found.class && found.subject != 0 =>
        {
            Some(found)
        }
        (Some(stated), _) => Some(stated),
        (None, found) => found,
    }
}

/// The first enhanced status code among words, such as `550 #5.1.1 no` or `550-5.1.1 no`. Addresses of
/// hosts are none.
pub(super) fn find_status(text: &str) -> Option<Status> {
    let text = &text[..text.floor_char_boundary(4096)];
    text.split(|c: char| c.is_whitespace() || matches!(c, '#' | '(' | ')' | '-' | ':' | ',' | '<'))
        .find_map(|word| {
            let word = word.trim_end_matches(['.', ';', ']']);
            let whole = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let status = whole.then(|| Status::parse(word)).flatten()?;
            matches!(status.class, 4 | 5).then_some(status)
        })
}

/// Statuses as text, `5.1.1`.
mod status_text {
    use super::Status;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        status: &Option<Status>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match status {
            Some(status) => serializer.collect_str(status),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Status>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| Status::parse(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_found_among_words() {
        let found = |text: &str| find_status(text).map(|status| status.to_string());
        assert_eq!(found("550 5.1.1 <ann@x>: no"), Some("5.1.1".into()));
        assert_eq!(found("550-5.1.1 The email account"), Some("5.1.1".into()));
        assert_eq!(found("host mx[192.0.2.1] said: 550 #5.1.0 no"), Some("5.1.0".into()));
        assert_eq!(found("(#5.1.2)"), Some("5.1.2".into()));
        assert_eq!(found("4.4.7. Expired"), Some("4.4.7".into()));
        for no in ["", "550 no", "192.0.2.1", "2.0.0 fine", "version 5.1"] {
            assert_eq!(found(no), None, "{no}");
        }
    }

    #[test]
    fn a_vague_status_gives_way_to_a_telling_one() {
        let status = |text: &str| Status::parse(text);
        assert_eq!(best(status("5.0.0"), status("5.1.1")), status("5.1.1"));
        assert_eq!(best(status("5.2.2"), status("5.1.1")), status("5.2.2"));
        assert_eq!(best(status("4.0.0"), status("5.1.1")), status("4.0.0"));
        assert_eq!(best(None, status("5.1.1")), status("5.1.1"));
    }
}
