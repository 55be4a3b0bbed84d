//! From the text that is shown to the text an engine is given to speak.
//!
//! What always holds: the result maps back to the shown text at every position ([`SpanMap`]); it has
//! no control characters, and no `<`, `>` or `&`, so that no engine can take any of it for markup; it
//! is at most [`EXPANSION`] times as long as what was shown, plus [`SLACK`] bytes; no input panics.
//!
//! One pass from left to right: at each position the rules are asked in a fixed order and the first
//! that matches takes its text. The order is the meaning: tags and links before anything inside
//! them, email addresses before phone numbers before initialisms, dates before ranges before plain
//! numbers, units before initialisms ("5 MB" is no "M B").
//!
//! English is complete; German, French and Spanish as far as a table can be right (German endings
//! follow the article before a date, and guess otherwise). Other languages keep their words and lose
//! only markup and emoji. Left out: pronunciation of single words, which is the engine's.

mod address;
mod calendar;
mod context;
mod letters;
mod markup;
mod number;
mod phone;
mod quantity;
mod span;
mod symbol;
mod words;

use self::context::{Cx, Hit, ahead, digit_run};
use self::markup::Markup;
use self::span::Writer;
pub use self::span::{Span, SpanMap};
use self::words::Words;
use super::chunker::ChunkKind;
use super::lang::Locale;
use super::unicode::{is_currency, is_emoji, is_invisible};

/// The spoken text is at most this many times as long as the shown text, in bytes. The dearest are
/// single signs (`_` is "guion bajo") and single digits with a unit ("7h" is "sieben Stunden").
pub const EXPANSION: usize = 16;
/// ... plus this many bytes, for the announcement of a block of code.
pub const SLACK: usize = 64;

/// How to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// The language, and by its region the order of a slashed date.
    pub locale: Locale,
    /// Name common emoji instead of passing over them.
    pub name_emoji: bool,
    /// Say that there is a block of code instead of passing over it.
    pub announce_code: bool,
}

/// A text to speak.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoken {
    /// What to say; empty if there is nothing to say.
    pub text: String,
    /// Which part of it stands for which part of the shown text.
    pub map: SpanMap,
}

/// Turns shown text into spoken text.
#[derive(Debug, Clone, Copy)]
pub struct Normaliser {
    settings: Settings,
}

impl Normaliser {
    /// A normaliser with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// What to say for a chunk of that kind.
    pub fn speak(&self, shown: &str, kind: ChunkKind) -> Spoken {
        let words = words::table(self.settings.locale.lang);
        let mut writer = Writer::default();
        match kind {
            ChunkKind::Code => {
                // Only the piece that opens the fence speaks for a long block.
                let opens =
                    shown.trim_start().starts_with("```") || shown.trim_start().starts_with("~~~");
                match words {
                    Some(words) if self.settings.announce_code && opens => {
                        writer.words(shown.len(), words.say.code_block);
                    }
                    _ => writer.silent(shown.len()),
                }
            }
            ChunkKind::Prose | ChunkKind::Table => {
                let mut pass = Pass {
                    settings: &self.settings,
                    words,
                    text: shown,
                    at: 0,
                    token_end: 0,
                    markup: Markup::new(kind == ChunkKind::Table),
                    writer,
                };
                pass.run();
                writer = pass.writer;
            }
        }
        let (text, map) = writer.finish();
        // A mark without a word is nothing to say.
        if !text.chars().any(char::is_alphanumeric) {
            return Spoken { text: String::new(), map: SpanMap::silent(shown.len()) };
        }
        Spoken { text, map }
    }
}

/// One pass over a text.
struct Pass<'a> {
    settings: &'a Settings,
    words: Option<&'static Words>,
    text: &'a str,
    at: usize,
    /// Where white space comes next; found once per token, which keeps long tokens linear.
    token_end: usize,
    markup: Markup,
    writer: Writer,
}

/// A rule: what stands here, if it is what the rule reads.
type Rule = for<'a> fn(&Cx<'a>) -> Option<Hit>;

/// For what begins with a digit, in order.
const DIGIT_RULES: [Rule; 19] = [
    letters::abbreviation,
    address::address,
    calendar::iso,
    calendar::numeric,
    calendar::day_month,
    phone::phone,
    quantity::range,
    calendar::time,
    quantity::ratio,
    quantity::fraction,
    quantity::money_after,
    quantity::percent,
    quantity::decade,
    quantity::measure,
    quantity::ordinal,
    quantity::version,
    letters::mixed,
    phone::identifier,
    quantity::cardinal,
];

/// For what begins with a letter, in order.
const LETTER_RULES: [Rule; 8] = [
    letters::abbreviation,
    address::address,
    calendar::month_day,
    quantity::money_before,
    letters::dotted,
    letters::roman,
    letters::mixed,
    letters::initialism,
];

impl Pass<'_> {
    fn run(&mut self) {
        while let Some(c) = self.text[self.at..].chars().next() {
            if let Some(len) = self.markup.silent(self.text, self.at) {
                self.silent(len);
            } else if c.is_whitespace() {
                self.white_space();
            } else if is_emoji(c) {
                self.emoji(c);
            } else if is_invisible(c) {
                self.silent(c.len_utf8());
            } else if self.written(c) {
            } else if c.is_alphanumeric() {
                self.word(c);
            } else {
                self.symbol(c);
            }
        }
    }

    /// Tries the rules of the language.
    fn written(&mut self, c: char) -> bool {
        let Some(words) = self.words else { return false };
        if self.at >= self.token_end {
            let rest = &self.text[self.at..];
            self.token_end = self.at + rest.find(char::is_whitespace).unwrap_or(rest.len());
        }
        let cx = Cx {
            words,
            settings: self.settings,
            text: self.text,
            at: self.at,
            token_end: self.token_end,
        };
        let rest = &self.text[self.at + c.len_utf8()..];
        let next = rest.chars().next();
        let hit = if c.is_ascii_digit() {
            DIGIT_RULES.iter().find_map(|rule| rule(&cx))
        } else if c.is_alphabetic() {
            LETTER_RULES.iter().find_map(|rule| rule(&cx))
        } else if is_currency(c) {
            quantity::money_before(&cx)
        } else if c == '+' || c == '(' {
            phone::phone(&cx).filter(|_| next.is_some_and(|c| c.is_ascii_digit()))
        } else {
            None
        };
        let hit = hit.or_else(|| symbol::spoken(&cx, c));
        let Some(hit) = hit else { return false };
        // A rule reads whole characters within the text by construction; a slip must not panic.
        let end = self.text.ceil_char_boundary((self.at + hit.len).min(self.text.len()));
        let len = (end - self.at).max(c.len_utf8());
        self.writer.words(len, &hit.say);
        self.at += len;
        true
    }

    /// Says a word as it is written.
    fn word(&mut self, c: char) {
        let rest = &self.text[self.at..];
        let digits = c.is_ascii_digit();
        let len = if digits && self.words.is_none() {
            digit_run(rest)
        } else {
            rest.find(|c: char| !c.is_alphanumeric() || c.is_ascii_digit()).unwrap_or(rest.len())
        };
        let len = len.max(c.len_utf8());
        self.writer.verbatim(&self.text[self.at..self.at + len]);
        self.at += len;
    }

    fn symbol(&mut self, c: char) {
        let cx = symbol::Around {
            rest: ahead(self.text, self.at),
            before: self.text[..self.at].chars().next_back(),
        };
        match symbol::written(&cx, c) {
            symbol::Said::Silent(len) => self.silent(len),
            symbol::Said::Space(len) => {
                self.writer.space(len);
                self.at += len;
            }
            symbol::Said::Pause(len) => {
                self.writer.pause(len, ',');
                self.at += len;
            }
            symbol::Said::Mark(len, mark) => {
                self.writer.mark(len, mark);
                self.at += len;
            }
            symbol::Said::Verbatim(len) => {
                self.writer.verbatim(&self.text[self.at..self.at + len]);
                self.at += len;
            }
        }
    }

    fn white_space(&mut self) {
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let lines = rest[..len].bytes().filter(|&byte| byte == b'\n').count();
        if lines > 1 && len < rest.len() {
            self.writer.pause(len, '.');
        } else {
            self.writer.space(len);
        }
        self.at += len;
    }

    /// A run of emoji, named or passed over.
    fn emoji(&mut self, c: char) {
        let named = self.words.filter(|_| self.settings.name_emoji);
        let name = named.and_then(|words| words.emoji.iter().find(|(emoji, _)| *emoji == c));
        match name {
            Some((_, name)) => {
                self.writer.words(c.len_utf8(), name);
                self.at += c.len_utf8();
            }
            None => self.silent(c.len_utf8()),
        }
    }

    fn silent(&mut self, len: usize) {
        self.writer.silent(len);
        self.at += len;
    }
}
