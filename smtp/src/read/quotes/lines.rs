//! Lines of a text and their quote marks.

use std::ops::Range;

/// A line, its end included.
pub(super) struct Line {
    pub start: usize,
    pub end: usize,
    /// `>` marks before it.
    pub depth: usize,
    /// What is left without marks and blanks around it.
    pub content: Range<usize>,
    pub blank: bool,
}

/// Marks counted before a line.
const DEPTH: usize = 100;

/// The first `most` lines within `octets`, and the offset after them.
pub(super) fn lines(text: &str, most: usize, octets: usize) -> (Vec<Line>, usize) {
    let mut list = Vec::new();
    let mut start = 0;
    for raw in text.split_inclusive('\n').take(most) {
        let end = start + raw.len();
        if end > octets {
            break;
        }
        let (depth, marks) = marks(raw);
        let body = &raw[marks..];
        let trimmed = body.trim();
        let from = start + marks + (body.len() - body.trim_start().len());
        let content = from..from + trimmed.len();
        list.push(Line { start, end, depth, blank: trimmed.is_empty(), content });
        start = end;
    }
    (list, start)
}

/// Quote marks at the start of a line, and the octets they take.
fn marks(line: &str) -> (usize, usize) {
    // Mail stores write ">From" for a line that begins with "From" (RFC 4155).
    if line.starts_with(">From ") {
        return (0, 0);
    }
    let bytes = line.as_bytes();
    let (mut depth, mut at) = (0, 0);
    while depth < DEPTH {
        let blank = usize::from(matches!(bytes.get(at), Some(b' ')));
        if bytes.get(at + blank) != Some(&b'>') {
            break;
        }
        at += blank + 1;
        depth += 1;
    }
    (depth, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_marks_are_counted_however_they_are_spaced() {
        let check = |line: &str, depth: usize, content: &str| {
            let (list, _) = lines(line, 1, 100);
            assert_eq!((list[0].depth, &line[list[0].content.clone()]), (depth, content));
        };
        check("> a\n", 1, "a");
        check(">> a\n", 2, "a");
        check("> > >a", 3, "a");
        check(" > a", 1, "a");
        check("  > a", 0, "> a");
        check(">From here\n", 0, ">From here");
        check("->a", 0, "->a");
    }
}
