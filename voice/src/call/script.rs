//! What the agent says, as sentences.

use std::ops::Range;

/// A sentence to synthesise, and where it stands in the reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Its bytes in the reply's text, with any markup and trailing space.
    pub span: Range<usize>,
    /// What to say: without markup, numbers as words. Empty where there is nothing to say.
    pub spoken: String,
    /// Pairs of a byte offset in `spoken` and the byte offset in the reply's text that has been said
    /// when speech has come so far. Ascending; empty where both run alike.
    pub anchors: Vec<(usize, usize)>,
}

/// Shows where, but not what.
impl std::fmt::Debug for Sentence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sentence({:?}, {} bytes)", self.span, self.spoken.len())
    }
}

/// Cuts the stream of a reply into sentences. Equal text gives equal sentences however it is cut into
/// deltas, or a call could not be replayed.
pub trait Splitter: Send {
    /// Takes more of the reply and appends the sentences that are now complete.
    fn push(&mut self, delta: &str, out: &mut Vec<Sentence>);

    /// The reply is complete: appends what is left and gets ready for another.
    fn finish(&mut self, out: &mut Vec<Sentence>);

    /// Forgets the reply so far.
    fn reset(&mut self);
}

/// The longest sentence of [`PlainSplitter`], in bytes.
const LONGEST: usize = 300;

/// A splitter without languages: a sentence ends at a mark followed by space, at a full-width mark, at a
/// line's end, or when it grows too long. Text is spoken as it is written.
#[derive(Debug, Default)]
pub struct PlainSplitter {
    text: String,
    /// Bytes of the reply before `text`.
    before: usize,
}

impl PlainSplitter {
    /// Where the first sentence of the held text ends.
    fn end(&self) -> Option<usize> {
        let mut previous = ' ';
        let mut last_space = None;
        for (at, c) in self.text.char_indices() {
            let end = at + c.len_utf8();
            if matches!(c, '\n' | '。' | '！' | '？') || previous_ends(previous, c) {
                return Some(end);
            }
            if c.is_whitespace() {
                last_space = Some(end);
            }
            if end > LONGEST {
                return Some(last_space.unwrap_or(end));
            }
            previous = c;
        }
        None
    }

    fn cut(&mut self, end: usize, out: &mut Vec<Sentence>) {
        let rest = self.text.split_off(end);
        let whole = std::mem::replace(&mut self.text, rest);
        let span = self.before..self.before + whole.len();
        self.before = span.end;
        out.push(Sentence { span, spoken: whole.trim().to_owned(), anchors: Vec::new() });
    }
}

fn previous_ends(previous: char, c: char) -> bool {
    matches!(previous, '.' | '!' | '?' | '…') && c.is_whitespace()
}

impl Splitter for PlainSplitter {
    fn push(&mut self, delta: &str, out: &mut Vec<Sentence>) {
        self.text.push_str(delta);
        while let Some(end) = self.end() {
            self.cut(end, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<Sentence>) {
        if !self.text.trim().is_empty() {
            self.cut(self.text.len(), out);
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.text.clear();
        self.before = 0;
    }
}
