//! Where a rule stands: the text, a position in it, and the tables.

use super::Settings;
use super::words::Words;

/// Bytes a rule may look ahead or behind. Bounded so that the whole stays linear; nothing that is
/// read as one thing is longer.
const WINDOW: usize = 1024;
const BEHIND: usize = 64;

/// What a rule sees.
#[derive(Clone, Copy)]
pub(super) struct Cx<'a> {
    pub(super) words: &'static Words,
    pub(super) settings: &'a Settings,
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Where white space comes next.
    pub(super) token_end: usize,
}

/// What a rule found: so many bytes, said like this.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) len: usize,
    pub(super) say: String,
}

impl Hit {
    pub(super) fn new(len: usize, say: impl Into<String>) -> Option<Self> {
        Some(Self { len, say: say.into() })
    }
}

impl<'a> Cx<'a> {
    /// The text from here on, as far as a rule may look.
    pub(super) fn rest(&self) -> &'a str {
        ahead(self.text, self.at)
    }

    /// The character before.
    pub(super) fn before(&self) -> Option<char> {
        self.text[..self.at].chars().next_back()
    }

    /// What stands up to a few words before.
    pub(super) fn behind(&self) -> &'a str {
        let from = self.text.floor_char_boundary(self.at.saturating_sub(BEHIND));
        &self.text[from..self.at]
    }

    /// The word before, without what separates it.
    pub(super) fn word_before(&self) -> &'a str {
        last_word(self.behind())
    }

    /// The rest up to white space.
    pub(super) fn token(&self) -> &'a str {
        let end = self.text.floor_char_boundary(self.token_end.min(self.at + WINDOW));
        &self.text[self.at..end]
    }

    /// Nothing but white space and closers follows `len` bytes on.
    pub(super) fn ends_after(&self, len: usize) -> bool {
        ahead(self.text, self.at + len)
            .chars()
            .all(|c| c.is_whitespace() || matches!(c, '*' | '_' | '"' | '”'))
    }
}

/// The text from `at` on, cut to the window.
pub(super) fn ahead(text: &str, at: usize) -> &str {
    let end = text.floor_char_boundary((at + WINDOW).min(text.len()));
    &text[at..end]
}

/// The last word of `text`, ignoring what may stand between it and what follows.
pub(super) fn last_word(text: &str) -> &str {
    let text = text.trim_end_matches(|c: char| {
        c.is_whitespace() || matches!(c, '*' | '_' | '"' | '(' | '.' | ':' | '#' | '“' | '„')
    });
    let start = text
        .char_indices()
        .rev()
        .find(|(_, c)| !(c.is_alphanumeric() || matches!(c, '°' | '\'' | '’')))
        .map_or(0, |(at, c)| at + c.len_utf8());
    &text[start..]
}

/// The length of the run of ASCII digits at the start.
pub(super) fn digit_run(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Whether a word goes on at the start of `text`.
pub(super) fn word_goes_on(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_alphanumeric)
}

/// `text` without one leading space of any width, and how long that was.
pub(super) fn skip_space(text: &str) -> (&str, usize) {
    match text.chars().next() {
        Some(c) if matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}') => {
            (&text[c.len_utf8()..], c.len_utf8())
        }
        _ => (text, 0),
    }
}
