//! Bounded look-ahead that knows the difference between "the text ends here" and "not yet seen".

/// Bytes a decision may look ahead. Bounded so that retrying a decision after every character stays
/// linear; at the bound the text counts as ended, wherever the deltas were cut.
pub(super) const WINDOW: usize = 400;

/// More text is needed before this can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NeedMore;

/// A view of what follows, at most [`WINDOW`] bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    text: &'a str,
    closed: bool,
}

impl<'a> Look<'a> {
    /// Looks at `rest`, which is all there is if `ended`.
    pub(super) fn new(rest: &'a str, ended: bool) -> Self {
        if rest.len() < WINDOW {
            return Self { text: rest, closed: ended };
        }
        // A whole last character, so that the window depends on the text alone.
        let mut end = WINDOW;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        Self { text: &rest[..end], closed: true }
    }

    /// The character at byte `at` of the view, or `None` at the end of the text.
    pub(super) fn at(&self, at: usize) -> Result<Option<char>, NeedMore> {
        match self.text[at..].chars().next() {
            Some(c) => Ok(Some(c)),
            None if self.closed => Ok(None),
            None => Err(NeedMore),
        }
    }

    /// The byte position after the run of characters from `at` that `accept` takes.
    pub(super) fn run(
        &self,
        at: usize,
        mut accept: impl FnMut(char) -> bool,
    ) -> Result<usize, NeedMore> {
        match self.text[at..].find(|c| !accept(c)) {
            Some(offset) => Ok(at + offset),
            None if self.closed => Ok(self.text.len()),
            None => Err(NeedMore),
        }
    }

    /// The text of the view between two byte positions.
    pub(super) fn slice(&self, from: usize, to: usize) -> &'a str {
        &self.text[from..to]
    }
}
