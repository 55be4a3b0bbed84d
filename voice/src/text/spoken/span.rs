//! The map between what is shown and what is spoken.

use std::ops::Range;

/// A stretch of the shown text and what is spoken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Bytes of the shown text.
    pub shown: Range<usize>,
    /// Bytes of the spoken text; empty where nothing is said.
    pub spoken: Range<usize>,
    /// Both sides are the same text, so positions inside correspond byte for byte.
    pub verbatim: bool,
}

/// Maps positions of the spoken text to the shown text and back.
///
/// What always holds: the spans cover both texts without gap or overlap, in order, so both maps are
/// monotone. Inside a replaced stretch a position maps to its beginning: "three doll|ars" has not yet
/// been heard as "$3".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanMap {
    spans: Vec<Span>,
}

impl SpanMap {
    /// The spans in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The byte position in the shown text up to which a listener has heard who has heard `spoken`
    /// bytes. Nothing heard is 0, everything heard is the whole shown text.
    pub fn shown_at(&self, spoken: usize) -> usize {
        if spoken >= self.spoken_len() {
            return self.shown_len();
        }
        if spoken == 0 {
            return 0;
        }
        let index = self.spans.partition_point(|span| span.spoken.end < spoken);
        match self.spans.get(index) {
            Some(span) if span.verbatim => span.shown.start + (spoken - span.spoken.start),
            Some(span) if span.spoken.end == spoken => span.shown.end,
            Some(span) => span.shown.start,
            None => self.shown_len(),
        }
    }

    /// The byte position in the spoken text where the shown byte `shown` is said, or would be.
    pub fn spoken_at(&self, shown: usize) -> usize {
        let index = self.spans.partition_point(|span| span.shown.end <= shown);
        match self.spans.get(index) {
            Some(span) if span.verbatim => span.spoken.start + (shown - span.shown.start),
            Some(span) => span.spoken.start,
            None => self.spoken_len(),
        }
    }

    /// The map of `shown` bytes of which nothing is said.
    pub(super) fn silent(shown: usize) -> Self {
        if shown == 0 {
            return Self::default();
        }
        Self { spans: vec![Span { shown: 0..shown, spoken: 0..0, verbatim: false }] }
    }

    fn shown_len(&self) -> usize {
        self.spans.last().map_or(0, |span| span.shown.end)
    }

    fn spoken_len(&self) -> usize {
        self.spans.last().map_or(0, |span| span.spoken.end)
    }
}

/// Builds the spoken text and its map together, span by span.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    spans: Vec<Span>,
    shown: usize,
    gap: Gap,
}

/// What separates the last thing said from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Gap {
    #[default]
    None,
    /// The last was words in place of something: a letter may not follow directly.
    Words,
    /// White space in the shown text.
    Space,
}

impl Writer {
    /// Says the next `shown` as it is.
    pub(super) fn verbatim(&mut self, shown: &str) {
        let Some(first) = shown.chars().next() else { return };
        let attaches = matches!(first, ')' | '!' | '?' | '.' | ',' | ';' | ':' | '-' | '\'' | '/');
        if self.gap == Gap::Space || self.gap == Gap::Words && !attaches {
            self.space_before();
        }
        self.gap = Gap::None;
        let from = self.text.len();
        self.text.push_str(shown);
        let end = self.shown + shown.len();
        match self.spans.last_mut() {
            Some(last) if last.verbatim => {
                last.shown.end = end;
                last.spoken.end = self.text.len();
            }
            _ => self.spans.push(Span {
                shown: self.shown..end,
                spoken: from..self.text.len(),
                verbatim: true,
            }),
        }
        self.shown = end;
    }

    /// Says `words` for the next `len` bytes.
    pub(super) fn words(&mut self, len: usize, words: &str) {
        let words = words.trim();
        if words.is_empty() {
            return self.silent(len);
        }
        let mut from = self.text.len();
        let after_letter = self
            .text
            .chars()
            .next_back()
            .is_some_and(|c| !matches!(c, '(' | ' ' | '-' | '/' | '\''));
        if self.gap != Gap::None || after_letter {
            self.gap = Gap::None;
            if self.spans.last().is_some_and(|last| !last.verbatim) {
                self.space_before();
                from = self.text.len();
            } else if !self.text.is_empty() {
                self.text.push(' ');
            }
        }
        self.text.push_str(words);
        self.replace(len, from);
        self.gap = Gap::Words;
    }

    /// Says nothing for the next `len` bytes.
    pub(super) fn silent(&mut self, len: usize) {
        self.replace(len, self.text.len());
    }

    /// The next `len` bytes are white space.
    pub(super) fn space(&mut self, len: usize) {
        self.silent(len);
        if !self.text.is_empty() {
            self.gap = Gap::Space;
        }
    }

    /// Says a pause for the next `len` bytes: `mark`, unless there is one already.
    pub(super) fn pause(&mut self, len: usize, mark: char) {
        let spoken = self.text.chars().next_back();
        let from = self.text.len();
        if spoken.is_some_and(|c| !matches!(c, ',' | ';' | ':' | '.' | '!' | '?' | '(')) {
            self.text.push(mark);
        }
        self.replace(len, from);
        if !self.text.is_empty() {
            self.gap = Gap::Space;
        }
    }

    /// Says a mark of the sentence for the next `len` bytes, close to what came before.
    pub(super) fn mark(&mut self, len: usize, mark: &str) {
        if self.text.is_empty() {
            return self.silent(len);
        }
        let from = self.text.len();
        if !self.text.ends_with(mark) || mark == "..." {
            self.text.push_str(mark);
        }
        self.replace(len, from);
        // What was a gap before the mark is one after it.
        if self.gap == Gap::Words {
            self.gap = Gap::None;
        }
    }

    pub(super) fn finish(self) -> (String, SpanMap) {
        (self.text, SpanMap { spans: self.spans })
    }

    fn replace(&mut self, len: usize, from: usize) {
        let end = self.shown + len;
        self.spans.push(Span {
            shown: self.shown..end,
            spoken: from..self.text.len(),
            verbatim: false,
        });
        self.shown = end;
    }

    /// A space before what is said next. It belongs to the replaced span before, which a gap implies.
    fn space_before(&mut self) {
        if let Some(last) = self.spans.last_mut()
            && !last.verbatim
            && !self.text.is_empty()
        {
            self.text.push(' ');
            last.spoken.end = self.text.len();
        }
    }
}
