//! One tag: its name, its attributes, and what kind of element it opens.

use memchr::memchr;

/// What an element does to the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Block,
    /// A block with space around it.
    Paragraph,
    Item,
    Cell,
    Inline,
    Break,
    Rule,
    Image,
    Void,
    /// Content that is no text for readers.
    Raw,
}

pub(super) fn classify(name: &str) -> Class {
    let mut buffer = [0u8; 16];
    let Some(lower) = buffer.get_mut(..name.len()) else { return Class::Inline };
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"div" | b"section" | b"article" | b"header" | b"footer" | b"main" | b"nav" | b"aside"
        | b"center" | b"form" | b"fieldset" | b"address" | b"figure" | b"table" | b"tbody"
        | b"thead" | b"tfoot" | b"tr" | b"caption" | b"body" | b"html" | b"ul" | b"ol" | b"dl"
        | b"dd" | b"dt" | b"details" | b"summary" | b"option" | b"legend" | b"o:p" => Class::Block,
        b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"pre" | b"blockquote" => {
            Class::Paragraph
        }
        b"li" => Class::Item,
        b"td" | b"th" => Class::Cell,
        b"br" => Class::Break,
        b"hr" => Class::Rule,
        b"img" => Class::Image,
        b"area" | b"base" | b"col" | b"embed" | b"input" | b"link" | b"meta" | b"param"
        | b"source" | b"track" | b"wbr" => Class::Void,
        b"script" | b"style" | b"title" | b"template" | b"textarea" | b"iframe" | b"noembed"
        | b"noframes" | b"xmp" | b"svg" | b"math" | b"object" => Class::Raw,
        _ => Class::Inline,
    }
}

/// Names are compared by hash (FNV-1a); a collision would only misplace a boundary.
pub(super) fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub(super) struct Tag<'h> {
    pub name: &'h str,
    pub closing: bool,
    attributes: &'h str,
}

impl<'h> Tag<'h> {
    /// Reads the tag whose `<` is at `pos`; gives it and the offset after it, or `None` where the
    /// input ends inside, which drops the rest as browsers do.
    pub fn parse(html: &'h str, pos: usize) -> Option<(Tag<'h>, usize)> {
        let bytes = html.as_bytes();
        let closing = bytes.get(pos + 1) == Some(&b'/');
        let start = pos + 1 + usize::from(closing);
        let mut at = start;
        while bytes.get(at).is_some_and(|b| !b.is_ascii_whitespace() && !matches!(b, b'>' | b'/')) {
            at += 1;
        }
        let name = &html[start..at];
        let attributes = at;
        // A quote counts only as the first octet of a value.
        let mut value = false;
        loop {
            match *bytes.get(at)? {
                b'>' => break,
                quote @ (b'"' | b'\'') if value => {
                    at += 1 + memchr(quote, &bytes[at + 1..])? + 1;
                    value = false;
                    continue;
                }
                b'=' => value = true,
                byte if byte.is_ascii_whitespace() => (),
                _ => value = false,
            }
            at += 1;
        }
        Some((Tag { name, closing, attributes: &html[attributes..at] }, at + 1))
    }

    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub fn hash(&self) -> u64 {
        hash(&self.name.to_ascii_lowercase())
    }

    /// The value of an attribute, as written; empty for one without a value.
    pub fn attribute(&self, wanted: &str) -> Option<&'h str> {
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if rest.is_empty() {
                return None;
            }
            let end = rest
                .find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '/'))
                .unwrap_or(rest.len());
            // "=" in front of a name belongs to it.
            let end = end.max(1);
            let name = rest.get(..end)?;
            rest = rest[end..].trim_start();
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                let after = after.trim_start();
                (value, rest) = match after.bytes().next() {
                    Some(quote @ (b'"' | b'\'')) => {
                        let inner = &after[1..];
                        let close = memchr(quote, inner.as_bytes()).unwrap_or(inner.len());
                        (&inner[..close], inner.get(close + 1..).unwrap_or_default())
                    }
                    _ => {
                        let end =
                            after.find(|c: char| c.is_ascii_whitespace()).unwrap_or(after.len());
                        (&after[..end], &after[end..])
                    }
                };
            }
            if name.eq_ignore_ascii_case(wanted) {
                return Some(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_in_every_quoting() {
        let html = r#"<A HREF = "x>y" id='q"' class=a/b hidden =z>"#;
        let (tag, end) = Tag::parse(html, 0).unwrap();
        assert_eq!(end, html.len());
        assert_eq!(tag.attribute("href"), Some("x>y"));
        assert_eq!(tag.attribute("id"), Some("q\""));
        assert_eq!(tag.attribute("class"), Some("a/b"));
        assert_eq!(tag.attribute("hidden"), Some("z"));
        assert_eq!(tag.attribute("style"), None);
    }
}
