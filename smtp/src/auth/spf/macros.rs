//! Macro strings of SPF records (RFC 7208 section 7): their syntax and what they expand to.

use std::net::IpAddr;

use jiff::Timestamp;

/// Longest name after expansion; labels are removed from the left until it fits (section 7.3).
const MAX_NAME: usize = 253;

/// A parsed macro string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `%%`, `%_` and `%-`: literal text that counts as a macro where a macro may end a domain.
    Escape(&'static str),
    Macro(Macro),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    letter: u8,
    url_escape: bool,
    /// How many parts from the right to keep; 0 keeps all.
    keep: usize,
    reverse: bool,
    delimiters: Vec<char>,
}

/// What the letters stand for.
pub(super) struct Values<'a> {
    pub ip: IpAddr,
    pub local_part: &'a str,
    pub sender_domain: &'a str,
    pub domain: &'a str,
    pub helo: &'a str,
    pub receiver: &'a str,
    pub now: Timestamp,
    /// Value of `%{p}`; only asked for when [`MacroString::needs_validated_name`].
    pub validated_name: &'a str,
}

/// Where a macro string stands, which decides what it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The target of a mechanism, `redirect` or `exp`: must end as a domain does.
    Domain,
    /// The value of a modifier that nobody knows.
    Unknown,
    /// The text that `exp` points at: spaces, and the letters c, r and t.
    Explanation,
}

impl MacroString {
    /// Parses `text`; `None` is a syntax error.
    pub(super) fn parse(text: &str, place: Place) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                '%' => match chars.next()? {
                    '%' => Piece::Escape("%"),
                    '_' => Piece::Escape(" "),
                    '-' => Piece::Escape("%20"),
                    '{' => {
                        let rest = chars.as_str();
                        let end = rest.find('}')?;
                        let parsed = Macro::parse(&rest[..end], place)?;
                        chars = rest[end + 1..].chars();
                        Piece::Macro(parsed)
                    }
                    _ => return None,
                },
                '\x21'..='\x7e' => {
                    literal.push(c);
                    continue;
                }
                ' ' if place == Place::Explanation => {
                    literal.push(c);
                    continue;
                }
                _ => return None,
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        if place == Place::Domain && !ends_as_domain(&pieces) {
            return None;
        }
        Some(Self(pieces))
    }

    /// Whether `%{p}` occurs, which costs DNS lookups.
    pub(super) fn needs_validated_name(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(parsed) if parsed.letter == b'p'))
    }

    /// The text with every macro replaced.
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Escape(escape) => text.push_str(escape),
                Piece::Macro(parsed) => parsed.expand(values, &mut text),
            }
        }
        text
    }

    /// The expansion as a name to ask for: without final dot, cut from the left to 253 octets.
    pub(super) fn expand_name(&self, values: &Values<'_>) -> String {
        let name = self.expand(values);
        let mut name = name.strip_suffix('.').unwrap_or(&name);
        while name.len() > MAX_NAME {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }
}

impl Macro {
    /// Parses what stands between the braces: letter, digits, `r`, delimiters.
    fn parse(text: &str, place: Place) -> Option<Self> {
        let mut chars = text.chars();
        let first = chars.next()?;
        let letter = u8::try_from(first.to_ascii_lowercase()).ok()?;
        match letter {
            b's' | b'l' | b'o' | b'd' | b'i' | b'p' | b'h' | b'v' => {}
            // Section 7.2: allowed only in explanations.
            b'c' | b'r' | b't' if place != Place::Domain => {}
            _ => return None,
        }
        let rest = chars.as_str();
        let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, rest) = rest.split_at(digits_end);
        let keep = match digits {
            "" => 0,
            // More parts than any name has means all of them.
            digits => match digits.parse::<usize>().unwrap_or(usize::MAX) {
                0 => return None,
                keep => keep,
            },
        };
        let (reverse, rest) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if !rest.chars().all(|c| matches!(c, '.' | '-' | '+' | ',' | '/' | '_' | '=')) {
            return None;
        }
        let delimiters = if rest.is_empty() { vec!['.'] } else { rest.chars().collect() };
        let url_escape = first.is_ascii_uppercase();
        Some(Self { letter, url_escape, keep, reverse, delimiters })
    }

    fn expand(&self, values: &Values<'_>, out: &mut String) {
        let value = match self.letter {
            b's' => format!("{}@{}", values.local_part, values.sender_domain),
            b'l' => values.local_part.to_owned(),
            b'o' => values.sender_domain.to_owned(),
            b'd' => values.domain.to_owned(),
            b'i' => dotted(values.ip),
            b'p' => values.validated_name.to_owned(),
            b'h' => values.helo.to_owned(),
            b'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            b'c' => values.ip.to_string(),
            b'r' => values.receiver.to_owned(),
            _ => values.now.as_second().to_string(),
        };
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.contains(&c)).collect();
        if self.reverse {
            parts.reverse();
        }
        if self.keep != 0 && self.keep < parts.len() {
            parts.drain(..parts.len() - self.keep);
        }
        let text = parts.join(".");
        if self.url_escape {
            for octet in text.bytes() {
                // RFC 3986 section 2.3: unreserved characters stay as they are.
                if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
                    out.push(char::from(octet));
                } else {
                    out.push_str(&format!("%{octet:02X}"));
                }
            }
        } else {
            out.push_str(&text);
        }
    }
}

/// `%{i}`: IPv6 addresses as 32 nibbles with dots (section 7.3), in upper case as the test suite has them.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let nibbles: Vec<String> = ip
                .octets()
                .iter()
                .flat_map(|octet| [octet >> 4, octet & 15])
                .map(|nibble| format!("{nibble:X}"))
                .collect();
            nibbles.join(".")
        }
    }
}

/// `domain-end = ( "." toplabel [ "." ] ) / macro-expand` (section 7.1).
fn ends_as_domain(pieces: &[Piece]) -> bool {
    match pieces.last() {
        None => false,
        Some(Piece::Macro(_) | Piece::Escape(_)) => true,
        Some(Piece::Literal(literal)) => {
            let literal = literal.strip_suffix('.').unwrap_or(literal);
            literal.rsplit_once('.').is_some_and(|(_, label)| is_toplabel(label))
        }
    }
}

fn is_toplabel(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.bytes().all(|b| b.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}
