//! Groups of `name: value` fields, as reports are made of them (RFC 3464 section 2.1.2).

use std::collections::HashMap;

use mail_parser::Encoding;
use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};

use crate::deliver::attempt::words;

/// Octets of a status part that are read.
const OCTETS: usize = 256 * 1024;
/// Fields of one group; message headers are read as groups too.
const FIELDS: usize = 200;
/// Octets of one value that are kept while it is unfolded.
const VALUE: usize = 4096;
/// Octets of an address (RFC 5321 section 4.5.3.1.3), twice over for the escapes of RFC 6533.
const ADDRESS: usize = 512;

/// The fields of one group, by their names in lower case. Of repeated ones the first counts.
#[derive(Debug, Default)]
pub(super) struct Group(HashMap<String, String>);

impl Group {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The content of a part.
pub(super) fn decode(octets: &[u8], encoding: Encoding) -> Vec<u8> {
    let decoded = match encoding {
        Encoding::None => None,
        Encoding::Base64 => base64_decode(octets),
        Encoding::QuotedPrintable => quoted_printable_decode(octets),
    };
    decoded.unwrap_or_else(|| octets.to_vec())
}

/// The first `most` groups, which blank lines separate. Lines that are no fields are passed over.
pub(super) fn groups(octets: &[u8], most: usize) -> Vec<Group> {
    let text = String::from_utf8_lossy(&octets[..octets.len().min(OCTETS)]);
    let mut groups: Vec<Group> = Vec::new();
    let mut group = Group::default();
    let mut last: Option<String> = None;
    for line in text.split('\n').map(|line| line.trim_end_matches('\r')) {
        if line.trim().is_empty() {
            if !group.0.is_empty() {
                groups.push(std::mem::take(&mut group));
            }
            if groups.len() == most {
                return groups;
            }
            last = None;
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| group.0.get_mut(name))
                && value.len() < VALUE
            {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim_end().to_ascii_lowercase();
            let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
            last = None;
            if named && group.0.len() < FIELDS && !group.0.contains_key(&name) {
                let value = value.trim();
                let end = value.floor_char_boundary(VALUE);
                group.0.insert(name.clone(), value[..end].to_owned());
                last = Some(name);
            }
        }
    }
    if !group.0.is_empty() {
        groups.push(group);
    }
    groups
}

/// The value behind its type: `rfc822; ann@example.org`, `smtp; 550 …`.
pub(super) fn typed(value: &str) -> (&str, &str) {
    match value.split_once(';') {
        Some((kind, rest)) if !kind.contains([' ', '@', '<']) => (kind.trim(), rest.trim()),
        _ => ("", value.trim()),
    }
}

/// An address: alone, in brackets, or behind a type, with the escapes of RFC 6533 section 3.
pub(super) fn address(value: &str) -> Option<String> {
    let (_, value) = typed(value);
    let inner = match (value.find('<'), value.rfind('>')) {
        (Some(open), Some(close)) if open < close => &value[open + 1..close],
        _ => value,
    };
    let inner = inner.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
    let inner = unescape(inner);
    let (local, domain) = inner.rsplit_once('@')?;
    let shaped = !local.is_empty() && !domain.is_empty() && inner.len() <= ADDRESS;
    shaped.then(|| words(&inner))
}

/// `\x{e4}` as a character (RFC 6533 section 3).
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 3..];
        let code = after.split_once('}').and_then(|(code, tail)| {
            let code = u32::from_str_radix(code, 16).ok()?;
            Some((char::from_u32(code).filter(|c| !c.is_control())?, tail))
        });
        match code {
            Some((c, tail)) => {
                plain.push(c);
                rest = tail;
            }
            None => {
                plain.push_str("\\x{");
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// What is in the first pair of angle brackets, or the first word: a message id.
pub(super) fn bracketed(value: &str) -> Option<String> {
    let inner = match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split_whitespace().next().unwrap_or_default(),
    };
    let id: String = inner.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let shaped = !id.is_empty() && id.len() <= crate::read::ID_OCTETS;
    shaped.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_unfolded_and_bounded() {
        let text = "A: one\r\n two\r\nnot a field\r\nb : 2\r\n\r\n\r\nA: other\nA: again\n";
        let groups = groups(text.as_bytes(), 9);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].get("a"), Some("one two"));
        assert_eq!(groups[0].get("b"), Some("2"));
        assert_eq!(groups[1].get("a"), Some("other"));
        assert_eq!(super::groups(b"A: 1\n\nB: 2\n\nC: 3\n", 2).len(), 2);
        let long = format!("A: {}\n", "ä".repeat(100_000));
        assert!(super::groups(long.as_bytes(), 1)[0].get("a").unwrap().len() <= VALUE);
    }

    #[test]
    fn addresses_are_found_in_their_wrappings() {
        let found = |text: &str| address(text);
        assert_eq!(found("rfc822; ann@there.example"), Some("ann@there.example".into()));
        assert_eq!(found("RFC822;<ann@there.example>"), Some("ann@there.example".into()));
        assert_eq!(found("utf-8; \\x{e4}nn@there.example"), Some("änn@there.example".into()));
        assert_eq!(found("Ann <ann@there.example> (x)"), Some("ann@there.example".into()));
        assert_eq!(found("\\x{0}\\x{zz}@x"), Some("\\x{0}\\x{zz}@x".into()));
        for no in ["", "rfc822;", "ann", "@there.example", "<>", "x500; /CN=Ann"] {
            assert_eq!(found(no), None, "{no}");
        }
    }
}
