//! Signs: those with a name, and those that are only layout.

use super::address;
use super::context::{Cx, Hit, digit_run, skip_space};
use super::number::scan;
use super::quantity::vulgar;
use crate::text::Lang;
use crate::text::unicode::is_currency;

/// A sign and what surrounds it.
pub(super) struct Around<'a> {
    pub(super) rest: &'a str,
    pub(super) before: Option<char>,
}

/// What becomes of a sign that has no name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Silent(usize),
    Space(usize),
    Pause(usize),
    Mark(usize, &'static str),
    Verbatim(usize),
}

/// Signs with a name in the language.
pub(super) fn spoken(cx: &Cx<'_>, c: char) -> Option<Hit> {
    let rest = cx.rest();
    let after = &rest[c.len_utf8()..];
    let next = after.chars().next();
    let before = cx.before();
    let say = &cx.words.say;
    let digit_next = next.is_some_and(|c| c.is_ascii_digit());
    let opens = before
        .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“' | '*' | '_' | '|'));
    let spaced = before.is_some_and(char::is_whitespace) && next.is_some_and(char::is_whitespace);
    let number_before =
        || cx.behind().trim_end().ends_with(|c: char| c.is_ascii_digit() || c == ')');
    let number_after = || after.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '(');
    let len = c.len_utf8();
    match c {
        '`' => {
            let ticks = rest.bytes().take_while(|&byte| byte == b'`').count();
            // A longer run is a fence gone astray, not a span.
            if ticks > 3 {
                return Hit::new(ticks, "");
            }
            let inside = &rest[ticks..];
            let end = inside.find(&rest[..ticks]).filter(|&end| end > 0)?;
            let said = address::code(cx.words, &inside[..end]);
            Hit::new(ticks + end + ticks, said)
        }
        '&' => {
            let (entity, said) = [
                ("&amp;", say.and),
                ("&lt;", say.less),
                ("&gt;", say.greater),
                ("&nbsp;", ""),
                ("&quot;", ""),
                ("&#39;", ""),
                ("&apos;", ""),
            ]
            .into_iter()
            .find(|(entity, _)| rest.starts_with(entity))
            .unwrap_or(("&", say.and));
            Hit::new(entity.len(), said)
        }
        '@' => Hit::new(1, say.at),
        '#' if digit_next => {
            let digits = digit_run(after);
            // A reference is read as a number; a long one digit by digit, as identifiers are.
            let said = match after[..digits].parse() {
                Ok(value) if digits <= 3 => (cx.words.cardinal)(value),
                _ => super::number::digits_grouped(cx.words, &after[..digits]),
            };
            let plain = !after[digits..].chars().next().is_some_and(char::is_alphanumeric);
            if plain {
                Hit::new(1 + digits, format!("{} {said}", say.number))
            } else {
                Hit::new(1, say.number)
            }
        }
        '#' if opens && next.is_some_and(char::is_alphabetic) => Hit::new(1, say.hashtag),
        '+' if !(opens && next.is_none_or(char::is_whitespace)) || spaced => Hit::new(1, say.plus),
        '-' | '−' if opens && (digit_next || next.is_some_and(is_currency)) => {
            Hit::new(len, say.minus)
        }
        '-' | '−' if opens && next == Some('.') && digit_run(&after[1..]) > 0 => {
            Hit::new(len, say.minus)
        }
        '-' | '−' if spaced && number_before() && number_after() => Hit::new(len, say.minus),
        '−' => Hit::new(len, say.minus),
        '.' | ',' if digit_next && opens && (c == '.') => {
            let digits = digit_run(after);
            Hit::new(
                1 + digits,
                format!("{} {}", say.point, super::number::digits(cx.words, &after[..digits])),
            )
        }
        '=' if next == Some('>') => None,
        '=' => {
            let run = rest.bytes().take_while(|&byte| byte == b'=').count();
            (run <= 3).then(|| Hit::new(run, say.equals)).flatten()
        }
        '<' if next == Some('=') => Hit::new(2, say.less),
        '<' if !matches!(next, Some('-' | '3')) && (spaced || digit_next || next == Some(' ')) => {
            Hit::new(1, say.less)
        }
        '>' if next == Some('=') => Hit::new(2, say.greater),
        '>' if (spaced || digit_next && before.is_none_or(|c| c != '-' && c != '='))
            && !after.is_empty() =>
        {
            Hit::new(1, say.greater)
        }
        '≤' => Hit::new(len, say.less),
        '≥' => Hit::new(len, say.greater),
        '%' => Hit::new(1, say.percent),
        '°' => Hit::new(len, say.degrees),
        '§' => Hit::new(
            len + after.bytes().take_while(|&b| b == 0xc2 || b == 0xa7).count() / 2 * 2,
            say.section,
        ),
        '×' => Hit::new(len, say.times),
        '*' if spaced && number_before() && number_after() => Hit::new(len, say.times),
        '÷' => Hit::new(len, say.divided),
        '/' if spaced && number_before() && number_after() => Hit::new(len, say.divided),
        '/' if opens && next.is_some_and(char::is_alphanumeric) => {
            let token = cx.token().trim_end_matches(['.', ',', '!', '?', ':', ';', ')']);
            // A path, if it is one at all: letters, digits and slashes.
            let path = token.len() > 1
                && token.len() <= 64
                && token.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'));
            path.then(|| Hit::new(token.len(), address::spell(cx.words, token))).flatten()
        }
        '±' => Hit::new(len, say.plus_minus),
        '≈' => Hit::new(len, say.about),
        '~' if digit_next && opens => Hit::new(1, say.about),
        '–' if opens && digit_next && !spaced => Hit::new(len, say.minus),
        '\'' | '’'
            if opens
                && digit_next
                && cx.words.lang == Lang::En
                && after[digit_run(after)..].starts_with('s') =>
        {
            // "'90s".
            let shifted = Cx { at: cx.at + len, ..*cx };
            let hit = super::quantity::decade(&shifted)?;
            Hit::new(len + hit.len, hit.say)
        }
        _ if is_currency(c) => {
            let name =
                cx.words.currencies.iter().find(|currency| {
                    currency.written.iter().any(|written| written.chars().eq([c]))
                })?;
            // "5 $" and the like were read already; a lone sign is named.
            let (more, _) = skip_space(after);
            if scan(cx.words, more, true).is_some() {
                return None;
            }
            Hit::new(len, name.many)
        }
        _ => {
            let (n, d) = vulgar(c)?;
            Hit::new(len, (cx.words.fraction)(n, d)?)
        }
    }
}

/// Signs without a name, in any language.
pub(super) fn written(cx: &Around<'_>, c: char) -> Said {
    let len = c.len_utf8();
    let rest = cx.rest;
    let next = rest[len..].chars().next();
    let inside =
        cx.before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric);
    if let Some(face) = emoticon(cx) {
        return Said::Silent(face);
    }
    match c {
        '.' => {
            let run = rest.bytes().take_while(|&byte| byte == b'.').count();
            if run > 1 { Said::Mark(run, "...") } else { Said::Mark(1, ".") }
        }
        '…' => Said::Mark(len, "..."),
        '!' | '?' => {
            let run = rest.bytes().take_while(|byte| matches!(byte, b'!' | b'?')).count();
            Said::Mark(run, if rest[..run].contains('?') { "?" } else { "!" })
        }
        ',' | ';' | ':' => {
            let run = rest.chars().take_while(|&other| other == c).count();
            Said::Mark(
                run,
                match c {
                    ',' => ",",
                    ';' => ";",
                    _ => ":",
                },
            )
        }
        '\'' | '’' | '‘' if inside => Said::Mark(len, "'"),
        '-' if rest.starts_with("--") => {
            Said::Pause(rest.bytes().take_while(|&byte| byte == b'-').count())
        }
        '-' if rest.starts_with("->") => Said::Pause(2),
        '=' if rest.starts_with("=>") => Said::Pause(2),
        '-' if inside => Said::Verbatim(1),
        '-' if cx.before.is_some_and(char::is_whitespace)
            && next.is_some_and(char::is_whitespace) =>
        {
            Said::Pause(1)
        }
        '-' if cx.before.is_some_and(char::is_alphanumeric) => Said::Space(1),
        '\u{2010}' | '\u{2011}' if inside => Said::Mark(len, "-"),
        '–' | '—' | '―' | '→' | '←' | '⇒' | '•' | '·' | '|' => Said::Pause(len),
        '/' if inside => Said::Space(1),
        '_' if inside => Said::Space(1),
        '(' => Said::Verbatim(1),
        ')' => Said::Mark(1, ")"),
        '¿' | '¡' => Said::Verbatim(len),
        _ if c.is_ascii() => Said::Silent(1),
        '“' | '”' | '„' | '‚' | '‘' | '’' | '«' | '»' | '‹' | '›' | '©' | '®' | '™' | '¦' | '¬'
        | '¶' => Said::Silent(len),
        // Punctuation, arrows, mathematics, boxes and shapes.
        '\u{2000}'..='\u{2bff}' if !is_currency(c) => Said::Silent(len),
        // Marks of other scripts, which their engines know.
        _ => Said::Verbatim(len),
    }
}

/// A face made of signs, which is passed over.
fn emoticon(cx: &Around<'_>) -> Option<usize> {
    if cx.before.is_some_and(|c| !c.is_whitespace()) {
        return None;
    }
    let len = cx.rest.find(char::is_whitespace).unwrap_or(cx.rest.len());
    let token = cx.rest[..len].trim_end_matches(['.', ',', '!']);
    const FACES: [&str; 16] = [
        ":)", ":-)", ";)", ";-)", ":(", ":-(", ":D", ":-D", ":P", ":-P", ":p", ":/", ":-/", ":'(",
        "<3", "^^",
    ];
    FACES.contains(&token).then_some(token.len())
}
