//! What a peer said: its code, its enhanced status code (RFC 3463) and its words.

use std::fmt;

use lettre::transport::smtp::Error as LettreError;
use lettre::transport::smtp::response::Response;

/// Characters of a peer's words that are kept: enough for the links that large providers add.
const WORDS: usize = 600;

/// An enhanced status code `class.subject.detail` (RFC 3463 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status {
    /// 2 done, 4 not now, 5 never.
    pub class: u8,
    /// What it is about: 1 the address, 2 the mailbox, 7 policy, and so on.
    pub subject: u16,
    /// Which case of the subject.
    pub detail: u16,
}

impl Status {
    /// Parses a code that `text` begins with, if it is one: `5.1.1`, also before a space or bracket.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let mut parts = text[..end].trim_end_matches('.').split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let number =
            |part: &str| (1..=3).contains(&part.len()).then(|| part.parse::<u16>().ok()).flatten();
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let status = Self { class, subject: number(subject)?, detail: number(detail)? };
        parts.next().is_none().then_some(status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReply {
    /// 200 to 599.
    pub code: u16,
    /// If its text begins with one of the reply's own class.
    pub status: Option<Status>,
    /// Its text on one line, printable and bounded, with the enhanced code if it has one.
    pub words: String,
}

impl PeerReply {
    /// A reply with this text.
    #[must_use]
    pub fn new(code: u16, text: &str) -> Self {
        let status = Status::parse(text).filter(|status| u16::from(status.class) == code / 100);
        Self { code, status, words: words(text) }
    }

    /// 2yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5yz.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for PeerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.words.is_empty() { Ok(()) } else { write!(f, " {}", self.words) }
    }
}

/// What came of waiting for a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A reply, of any code.
    Reply(PeerReply),
    /// The connection ended, or what came was no reply; the text says which.
    Lost(String),
    /// Nothing in the time for this step.
    Nothing,
}

impl Heard {
    /// From what lettre made of it.
    pub(crate) fn from_lettre(result: Result<Response, LettreError>) -> Self {
        match result {
            Ok(response) => {
                let text: Vec<&str> = response.message().collect();
                Self::Reply(PeerReply::new(response.code().into(), &text.join(" ")))
            }
            Err(error) => match error.status() {
                Some(code) => {
                    let text = std::error::Error::source(&error).map(ToString::to_string);
                    Self::Reply(PeerReply::new(code.into(), &text.unwrap_or_default()))
                }
                None => Self::Lost(lost(&error)),
            },
        }
    }
}

/// In plain words; lettre says "network error: …" of everything.
fn lost(error: &LettreError) -> String {
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(error) => words(&error.to_string()),
        // lettre's "incomplete response".
        None if error.is_response() => "the connection was closed".to_owned(),
        None => words(&error.to_string()),
    }
}

/// Text of others as one line of printable characters, at most `WORDS` of them.
pub(crate) fn words(text: &str) -> String {
    let mut line = String::new();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    for (count, c) in words
        .filter(|word| !word.is_empty())
        .flat_map(|word| std::iter::once(' ').chain(word.chars()))
        .skip(1)
        .enumerate()
    {
        if count == WORDS {
            line.push('…');
            break;
        }
        line.push(if is_invisible(c) { '?' } else { c });
    }
    line
}

/// Characters that change the order or look of the text around them without being seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_read_only_where_they_are_some() {
        let code = |text: &str| Status::parse(text).map(|status| status.to_string());
        assert_eq!(code("5.1.1 no such user"), Some("5.1.1".into()));
        assert_eq!(code(" 4.7.28 [192.0.2.1] slow down"), Some("4.7.28".into()));
        assert_eq!(code("5.1.1. Gone"), Some("5.1.1".into()));
        for no in ["", "no", "5.1", "3.1.1", "5.1.1.1", "5.1234.1", "192.0.2.1", "5..1"] {
            assert_eq!(code(no), None, "{no}");
        }
        assert_eq!(PeerReply::new(450, "5.1.1 mixed up").status, None);
    }

    #[test]
    fn words_are_one_printable_bounded_line() {
        assert_eq!(words("  a\r\n\tb\u{0}c \u{202e}d "), "a b c ?d");
        assert_eq!(words(&"x ".repeat(10_000)).chars().count(), WORDS + 1);
    }
}
