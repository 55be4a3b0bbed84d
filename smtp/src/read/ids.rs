//! Message ids in threading fields, read tolerantly: clients fold them in the middle, encode the
//! whole field (RFC 2047), forget a bracket, or join them with commas.

use mail_parser::{HeaderName, Message, parsers::MessageStream};

/// Ids kept of a field: the first, which names the thread, and the newest. Gmail keeps as many.
pub const IDS: usize = 100;
/// Octets of an id; longer ones are dropped. RFC 5322 section 2.1.1: a line has at most 998.
pub const ID_OCTETS: usize = 998;

/// Ids of all fields of a name, without brackets, each once, in order.
pub(super) fn of(message: &Message<'_>, raw: &[u8], name: &HeaderName<'static>) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for field in message.parts[0].headers.iter().filter(|header| header.name == *name) {
        let range = field.offset_start as usize..field.offset_end as usize;
        parse(raw.get(range).unwrap_or_default(), &mut ids);
    }
    if ids.len() > IDS {
        ids.drain(1..ids.len() - (IDS - 1));
    }
    ids
}

fn parse(value: &[u8], ids: &mut Vec<String>) {
    let decoded = if memchr::memmem::find(value, b"=?").is_some() {
        match MessageStream::new(value).parse_unstructured() {
            mail_parser::HeaderValue::Text(text) => text.into_owned(),
            _ => return,
        }
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    let mut rest = decoded.as_str();
    let bracketed = rest.contains('<');
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        // A forgotten bracket ends at the next id.
        let end = rest.find(['>', '<']).unwrap_or(rest.len());
        add(&rest[..end], ids);
        rest = &rest[end..];
    }
    if !bracketed {
        for token in decoded.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';')) {
            if token.contains('@') {
                add(token, ids);
            }
        }
    }
}

fn add(id: &str, ids: &mut Vec<String>) {
    let id: String = id
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '"'))
        .collect();
    // Looking back a little finds what clients repeat, and stays linear.
    let repeated = ids.iter().rev().take(IDS).any(|known| *known == id);
    if !id.is_empty() && id.len() <= ID_OCTETS && !repeated {
        ids.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_however_they_are_written() {
        let check = |value: &str, expected: &[&str]| {
            let mut ids = Vec::new();
            parse(value.as_bytes(), &mut ids);
            assert_eq!(ids, expected, "{value}");
        };
        check(" <a@x>\r\n\t<b@x>\r\n", &["a@x", "b@x"]);
        check(" <a-long-\r\n id@x.example>\r\n", &["a-long-id@x.example"]);
        check(" =?utf-8?q?=3Ca=40x=3E_=3Cb=40x=3E?=\r\n", &["a@x", "b@x"]);
        check(" a@x, b@x\r\n", &["a@x", "b@x"]);
        check(" <a@x <b@x>\r\n", &["a@x", "b@x"]);
        check(" <a@x><a@x>\r\n", &["a@x"]);
        check(" Your message of Monday\r\n", &[]);
        check(" <no-at-sign>\r\n", &["no-at-sign"]);
    }
}
