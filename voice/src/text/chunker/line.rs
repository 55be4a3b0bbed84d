//! What a line of markdown begins as.

use super::look::{Look, NeedMore};

/// The part a line plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing but white space.
    Blank,
    /// Running text.
    Prose,
    /// `# Title`.
    Heading,
    /// `- item`, `3. item`.
    Item,
    /// `> quoted`.
    Quote,
    /// `| a | b |`.
    Table,
    /// Three or more backticks or tildes: the mark and how many.
    Fence(char, usize),
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Line,
    /// Bytes of its indentation and marker, which the sentence rules must not look at ("3." is no
    /// sentence).
    pub(super) marker: usize,
    /// Its text begins in lower case.
    pub(super) lower: bool,
}

/// Classifies the line at the start of the view.
pub(super) fn classify(look: &Look<'_>) -> Result<Head, NeedMore> {
    let indent = look.run(0, |c| c == ' ' || c == '\t')?;
    let Some(first) = look.at(indent)? else {
        return Ok(Head { kind: Line::Blank, marker: indent, lower: false });
    };
    let (kind, marker) = kind(look, indent, first)?;
    let lower = if kind == Line::Quote {
        let text = look.run(marker, |c| matches!(c, ' ' | '\t' | '>'))?;
        look.at(text)?.is_some_and(char::is_lowercase)
    } else {
        first.is_lowercase()
    };
    Ok(Head { kind, marker, lower })
}

fn kind(look: &Look<'_>, indent: usize, first: char) -> Result<(Line, usize), NeedMore> {
    let spaced = |at: usize| Ok(look.at(at)?.is_none_or(char::is_whitespace));
    match first {
        '\n' | '\r' => Ok((Line::Blank, indent)),
        '|' => Ok((Line::Table, indent)),
        '>' => Ok((Line::Quote, indent + 1)),
        '`' | '~' => {
            let end = look.run(indent, |c| c == first)?;
            if end - indent >= 3 {
                Ok((Line::Fence(first, end - indent), end))
            } else {
                Ok((Line::Prose, indent))
            }
        }
        '#' => {
            let end = look.run(indent, |c| c == '#')?;
            if end - indent <= 6 && spaced(end)? {
                Ok((Line::Heading, end))
            } else {
                Ok((Line::Prose, indent))
            }
        }
        '-' | '*' | '+' | '•' | '‣' | '◦' => {
            let end = indent + first.len_utf8();
            if spaced(end)? { Ok((Line::Item, end)) } else { Ok((Line::Prose, indent)) }
        }
        '0'..='9' => {
            let mut digits = 0;
            let end = look.run(indent, |c| {
                digits += 1;
                c.is_ascii_digit() && digits <= 4
            })?;
            let marker = match look.at(end)? {
                Some('.') if look.at(end + 1)? == Some(')') => 2,
                Some('.' | ')') => 1,
                _ => return Ok((Line::Prose, indent)),
            };
            // "3.5 litres" and "2) b" differ by the space; "2024. A year" is too long for a list.
            if end - indent <= 3 && spaced(end + marker)? {
                Ok((Line::Item, end + marker))
            } else {
                Ok((Line::Prose, indent))
            }
        }
        _ => Ok((Line::Prose, indent)),
    }
}
