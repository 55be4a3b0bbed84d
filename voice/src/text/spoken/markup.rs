//! What is markup and not text: markdown's markers, links, tags, entities' brackets.
//!
//! Tags are dropped whole, whatever they are called: what looks like SSML in a reply came from a
//! model or from a correspondent, and must be neither read aloud nor obeyed.

use super::context::ahead;

/// A tag longer than this is text with a `<` in it.
const LONGEST_TAG: usize = 512;

/// Remembers what has been opened.
#[derive(Debug)]
pub(super) struct Markup {
    table: bool,
    /// Where the text of a link ends, and where the link does.
    link: Option<(usize, usize)>,
}

impl Markup {
    pub(super) fn new(table: bool) -> Self {
        Self { table, link: None }
    }

    /// How many bytes at `at` are markup that is not said.
    pub(super) fn silent(&mut self, text: &str, at: usize) -> Option<usize> {
        if let Some((close, end)) = self.link
            && at >= close
        {
            self.link = None;
            if at == close {
                return Some(end - close);
            }
        }
        let first = *text.as_bytes().get(at)?;
        // Markup is ASCII, and most characters are none of it.
        if !first.is_ascii_punctuation() && !first.is_ascii_digit() && first != 0xe2 {
            return None;
        }
        let rest = ahead(text, at);
        let line =
            text[..at].bytes().rev().take_while(|&byte| byte == b' ' || byte == b'\t').count();
        let line_start = line == at || text.as_bytes()[at - line - 1] == b'\n';
        if line_start && let Some(len) = line_marker(rest) {
            return Some(len);
        }
        match first {
            b'<' => tag(rest),
            b'!' if rest.starts_with("![") => self.open_link(rest, at, 2),
            b'[' if rest.starts_with("[^") => {
                rest.find(']').filter(|&end| end < 32).map(|end| end + 1)
            }
            b'[' => self.open_link(rest, at, 1),
            b'\\' => {
                let escaped = rest[1..].chars().next().is_some_and(|c| c.is_ascii_punctuation());
                escaped.then_some(1)
            }
            b'|' if self.table && is_separator(rest) => Some(rest.trim_end().len()),
            _ => None,
        }
    }

    fn open_link(&mut self, rest: &str, at: usize, marker: usize) -> Option<usize> {
        let text_end = rest.find(']')?;
        let target = &rest[text_end + 1..];
        let close = match target.chars().next() {
            Some('(') => ')',
            Some('[') => ']',
            _ => return None,
        };
        // No line breaks in a target; a bracket may be nested once, as in some encyclopaedias' links.
        let mut depth = 0_i32;
        let open = if close == ')' { '(' } else { '[' };
        let end = target.char_indices().find_map(|(offset, c)| {
            if c == open {
                depth += 1;
            } else if c == close {
                depth -= 1;
            }
            (depth == 0 || c == '\n').then_some((offset, c))
        });
        let (end, _) = end.filter(|(_, c)| *c == close)?;
        self.link = Some((at + text_end, at + text_end + 1 + end + 1));
        Some(marker)
    }
}

/// The marker at the start of a line: heading, bullet, quote, task box, rule.
fn line_marker(rest: &str) -> Option<usize> {
    let line = rest.split('\n').next().unwrap_or(rest);
    let trimmed = line.trim_end();
    let first = trimmed.chars().next()?;
    if trimmed.len() >= 3
        && matches!(first, '-' | '*' | '_' | '=')
        && trimmed.chars().all(|c| c == first || c == ' ')
        && trimmed.chars().filter(|&c| c == first).count() >= 3
    {
        return Some(trimmed.len());
    }
    let spaced = |len: usize| line[len..].chars().next().is_none_or(char::is_whitespace);
    match first {
        '#' => {
            let len = line.bytes().take_while(|&byte| byte == b'#').count();
            (len <= 6 && spaced(len)).then_some(len)
        }
        '>' => Some(1),
        '-' | '*' | '+' | '•' | '‣' | '◦' if spaced(first.len_utf8()) => {
            let len = first.len_utf8();
            let item = &line[len..];
            let gap = item.len() - item.trim_start().len();
            let boxed =
                ["[ ]", "[x]", "[X]"].iter().any(|task| item.trim_start().starts_with(task));
            Some(if boxed { len + gap + 3 } else { len })
        }
        _ => None,
    }
}

fn tag(rest: &str) -> Option<usize> {
    if let Some(comment) = rest.strip_prefix("<!--") {
        return comment.find("-->").map(|end| end + 7);
    }
    let first = rest[1..].chars().next()?;
    if !(first.is_ascii_alphabetic() || matches!(first, '/' | '!' | '?')) {
        return None;
    }
    // An address in angle brackets is text; only its brackets are markup.
    let end = rest.find('>');
    let inside = &rest[1..end.unwrap_or(rest.len())];
    let address =
        !inside.contains(char::is_whitespace) && (inside.contains("://") || inside.contains('@'));
    match end {
        _ if address => Some(1),
        Some(end) if end < LONGEST_TAG => Some(end + 1),
        // Not closed: a tag cut short. Its name goes, which is all that certainly belongs to it.
        _ => Some(
            1 + inside
                .find(|c: char| {
                    !(c.is_ascii_alphanumeric() || matches!(c, '/' | '!' | '?' | '-' | ':'))
                })
                .unwrap_or(inside.len()),
        ),
    }
}

/// A row of dashes under a table's head.
fn is_separator(rest: &str) -> bool {
    let line = rest.split('\n').next().unwrap_or(rest);
    line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t' | '\r'))
}
