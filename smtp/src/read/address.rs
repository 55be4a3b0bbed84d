//! Address fields as lists of mailboxes.

use std::fmt;

use mail_parser::{Address, HeaderName, HeaderValue, Message};
use serde::{Deserialize, Serialize};

use super::one_line;

/// Characters of a display name that are kept.
const NAME: usize = 200;

/// A mailbox of an address field (RFC 5322 section 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The display name, decoded, on one line, without invisible characters. Senders choose it
    /// freely: it proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `local@domain` with the local part as written and the domain in lower case with A-labels.
    /// Whatever stood there, where it is no address.
    pub address: String,
}

impl Mailbox {
    /// Local part and domain, if this is an address.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.address.rsplit_once('@').filter(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains(char::is_whitespace)
        })
    }

    /// The address in lower case, for comparing handles. Local parts differing only in case are
    /// one mailbox everywhere in practice.
    pub fn handle(&self) -> String {
        self.address.to_lowercase()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// Mailboxes of all fields of a name, groups opened.
pub(super) fn of(message: &Message<'_>, name: &HeaderName<'static>) -> Vec<Mailbox> {
    let fields = message.parts[0].headers.iter().filter(|header| header.name == *name);
    let mut list = Vec::new();
    for field in fields {
        let HeaderValue::Address(address) = &field.value else { continue };
        match address {
            Address::List(addresses) => list.extend(addresses.iter().filter_map(mailbox)),
            Address::Group(groups) => {
                list.extend(groups.iter().flat_map(|g| &g.addresses).filter_map(mailbox));
            }
        }
    }
    list
}

fn mailbox(addr: &mail_parser::Addr<'_>) -> Option<Mailbox> {
    let mut name = addr.name.as_deref().map(|name| one_line(name, NAME)).filter(|n| !n.is_empty());
    let mut address: String = addr
        .address
        .as_deref()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>'))
        .collect();
    // mail-parser takes a quoted local part for a name.
    if let (true, Some(local)) = (address.starts_with('@'), &name) {
        address = format!("{local}{address}");
        name = None;
    }
    if address.is_empty() && name.is_none() {
        return None;
    }
    Some(Mailbox { name, address: normalise(&address) })
}

fn normalise(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_string() };
    let domain = domain.trim_end_matches('.');
    let ascii = if domain.is_ascii() {
        domain.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())
    };
    format!("{local}@{ascii}")
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    #[test]
    fn address_fields_become_normalised_mailboxes() {
        let check = |field: &str, expected: &[&str]| {
            let raw = format!("From: {field}\r\n\r\n");
            let message = MessageParser::default().parse(raw.as_bytes()).unwrap();
            let list: Vec<_> =
                of(&message, &HeaderName::From).iter().map(ToString::to_string).collect();
            assert_eq!(list, expected, "{field}");
        };
        check("Ann Lee <Ann.Lee@EXAMPLE.com>", &["Ann Lee <Ann.Lee@example.com>"]);
        check("=?utf-8?q?J=C3=B6rg?= <j@x.example>", &["Jörg <j@x.example>"]);
        check(
            "\"Lee, Ann\" <a@x.example>, b@x.example",
            &["Lee, Ann <a@x.example>", "b@x.example"],
        );
        check("team: a@x.example, B <b@x.example>;", &["a@x.example", "B <b@x.example>"]);
        check("j@bücher.example", &["j@xn--bcher-kva.example"]);
        check("\"a\u{202e}b\u{200b}c\" <a@x.example>", &["abc <a@x.example>"]);
        check("a@x.example (Ann)", &["Ann <a@x.example>"]);
        check("undisclosed-recipients:;", &[]);
    }
}
