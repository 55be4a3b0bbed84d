//! Whether a sentence mark ends the sentence.
//!
//! A decision reads the token before the mark, the marks and closers that follow it, and the first
//! character (at times the first word) of what comes next. It asks for more text only while the
//! answer can still change.

use super::abbreviations::{Abbreviation, abbreviation, continues_date, is_starter};
use super::look::{Look, NeedMore};
use crate::text::Lang;
use crate::text::unicode::{
    Terminator, is_cjk, is_closer, is_closing_quote, is_emoji, is_opener, terminator,
};

/// What a sentence mark turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    /// Part of the sentence; go on after this many bytes.
    Inside(usize),
    /// The sentence ends after this many bytes, closers and white space included. At `line_start`
    /// the next sentence begins a line.
    End { len: usize, line_start: bool },
}

/// Everything a decision may read.
pub(super) struct Context<'a> {
    pub(super) lang: Lang,
    /// The unbroken token before the mark.
    pub(super) token: &'a str,
    /// The chunk before that token.
    pub(super) earlier: &'a str,
    /// The text from the mark on.
    pub(super) look: Look<'a>,
    pub(super) kind: Terminator,
}

/// A run of marks longer than this is not scanned further; adversarial, and cut by length instead.
const LONGEST_RUN: usize = 64;

/// Decides about the mark at the start of `cx.look`.
pub(super) fn decide(cx: &Context<'_>) -> Result<Boundary, NeedMore> {
    let look = &cx.look;
    let mut marks = 0;
    let mut strong = false;
    let mut wide = false;
    let run = look.run(0, |c| match terminator(c, None) {
        Some(kind) if marks < LONGEST_RUN => {
            marks += 1;
            strong |= kind == Terminator::Mark;
            wide |= kind == Terminator::Wide;
            true
        }
        // The Greek question mark is known by the letter before it.
        None if marks == 0 => {
            marks += 1;
            strong = true;
            true
        }
        _ => false,
    })?;
    let kind = if wide {
        Terminator::Wide
    } else if strong {
        Terminator::Mark
    } else if marks > 1 {
        Terminator::Ellipsis
    } else {
        cx.kind
    };
    let inside = Ok(Boundary::Inside(run));

    let (closed, quoted) = closers(look, run, cx.lang)?;
    let space = Space::after(look, closed)?;
    let next = look.at(space.end)?;
    let end = space.boundary();

    let Some(next) = next else { return Ok(end) };
    if space.end == closed {
        // Nothing separates the mark from what follows: a decimal, a domain, a version, "p.m".
        let joined = kind == Terminator::Wide || (is_cjk(next) && kind != Terminator::Dot);
        return if joined { Ok(end) } else { inside };
    }
    if kind == Terminator::Wide || space.lines > 1 {
        return Ok(end);
    }
    let lower = continues(look, space.end, next)?;
    match kind {
        Terminator::Mark => {
            let brand = matches!(bare(cx.token), "Yahoo" | "Jeopardy");
            if lower && (quoted || closed > run || brand) { inside } else { Ok(end) }
        }
        Terminator::Ellipsis => {
            if lower {
                inside
            } else {
                Ok(end)
            }
        }
        _ if lower => inside,
        _ => {
            if ends_after(cx, look, space.end, next, closed > run)? {
                Ok(end)
            } else {
                inside
            }
        }
    }
}

/// White space after a mark, and emoji that belong to the sentence before it.
struct Space {
    end: usize,
    lines: usize,
    after_newline: Option<usize>,
}

impl Space {
    fn after(look: &Look<'_>, from: usize) -> Result<Self, NeedMore> {
        let mut space = Self { end: from, lines: 0, after_newline: None };
        let mut emoji = false;
        while let Some(c) = look.at(space.end)? {
            if c == '\n' {
                space.lines += 1;
                space.after_newline = Some(space.end + 1);
            } else if is_emoji(c) && space.lines == 0 && space.end > from {
                emoji = true;
            } else if !c.is_whitespace() {
                break;
            }
            space.end += c.len_utf8();
        }
        if emoji && !look.slice(from, space.end).ends_with(char::is_whitespace) {
            // "Done. 1️⃣First" or an emoji glued to a word: it belongs to what follows.
            let slice = look.slice(from, space.end);
            let kept = slice.trim_end_matches(|c: char| !c.is_whitespace()).len();
            if look.at(space.end)?.is_some() && kept > 0 {
                space.end = from + kept;
            }
        }
        Ok(space)
    }

    fn boundary(&self) -> Boundary {
        match self.after_newline {
            Some(len) => Boundary::End { len, line_start: true },
            None => Boundary::End { len: self.end, line_start: false },
        }
    }
}

/// The end of the closers after the marks, and whether a quotation mark was among them. A footnote
/// reference (`[12]`) counts as a closer, and so does an emoji.
fn closers(look: &Look<'_>, from: usize, lang: Lang) -> Result<(usize, bool), NeedMore> {
    let mut at = from;
    let mut quoted = false;
    while let Some(c) = look.at(at)? {
        if is_closer(c) || is_emoji(c) || terminator(c, None).is_some() {
            quoted |= is_closing_quote(c);
            at += c.len_utf8();
        } else if lang == Lang::Fr && c.is_whitespace() && c != '\n' {
            // French sets a space before the closing guillemet.
            let mark = at + c.len_utf8();
            if look.at(mark)? != Some('»') {
                break;
            }
            quoted = true;
            at = mark + '»'.len_utf8();
        } else if c == '[' {
            let digits = look.run(at + 1, |c| c.is_ascii_digit() || c == '^')?;
            if digits > at + 1 && look.at(digits)? == Some(']') {
                at = digits + 1;
            } else {
                break;
            }
        } else {
            break;
        }
    }
    Ok((at, quoted))
}

/// Whether what follows goes on with the sentence: it begins in lower case. A name such as "iPhone"
/// does not count, nor does what stands behind an opening bracket or quote.
fn continues(look: &Look<'_>, at: usize, next: char) -> Result<bool, NeedMore> {
    if matches!(next, ',' | ';' | ':' | ')' | '-' | '–' | '—' | '=' | '/') {
        return Ok(next != '-' && next != '–' && next != '—');
    }
    let first = look.run(at, is_opener)?;
    let Some(c) = look.at(first)? else { return Ok(false) };
    if !c.is_lowercase() {
        return Ok(false);
    }
    let second = look.at(first + c.len_utf8())?;
    Ok(!second.is_some_and(char::is_uppercase))
}

/// Whether a single full stop, followed by white space and no lower case letter, ends the sentence.
fn ends_after(
    cx: &Context<'_>,
    look: &Look<'_>,
    at: usize,
    next: char,
    closed: bool,
) -> Result<bool, NeedMore> {
    let token = bare(cx.token);
    if closed && token.chars().count() > 1 && abbreviation(cx.lang, token).is_none() {
        return Ok(true);
    }
    if token.contains(['/', '@', '\\']) {
        return Ok(true);
    }
    let mut letters = token.chars();
    if let (Some(only), None) = (letters.next(), letters.next())
        && only.is_alphabetic()
        && !is_cjk(only)
    {
        return single_letter(cx, only, look, at, next);
    }
    if token.bytes().all(|byte| byte.is_ascii_digit()) && !token.is_empty() {
        return number(cx.lang, token, look, at, next);
    }
    match abbreviation(cx.lang, token) {
        Some(Abbreviation::Never) => return Ok(false),
        Some(Abbreviation::BeforeNumber) => {
            if next.is_ascii_digit() || roman(look, at)? {
                return Ok(false);
            }
            // "Jan. Monday" does not happen; "no. Then" does.
            return Ok(abbreviation_may_end(token));
        }
        Some(Abbreviation::MayEnd) => return begins_sentence(cx.lang, look, at, next),
        None => {}
    }
    if is_initials(token) {
        return Ok(!next.is_ascii_digit() && begins_known(cx.lang, look, at)?);
    }
    let ordinal = cx.lang == Lang::De
        && (token.len() > 1 && token.bytes().all(|byte| b"IVXLC".contains(&byte))
            || is_day_month(token));
    if ordinal {
        return Ok(!next.is_ascii_digit() && begins_known(cx.lang, look, at)?);
    }
    Ok(true)
}

/// "no." and "so." are words; "fig." and "pp." are not.
fn abbreviation_may_end(token: &str) -> bool {
    let lower = token.to_lowercase();
    matches!(
        lower.as_str(),
        "no" | "so"
            | "art"
            | "ref"
            | "do"
            | "mi"
            | "di"
            | "ch"
            | "est"
            | "mei"
            | "c"
            | "v"
            | "min"
            | "max"
            | "mar"
            | "on"
            | "set"
            | "out"
            | "n"
            | "t"
            | "s"
            | "km"
            | "ext"
            | "pt"
            | "sept"
            | "gen"
            | "p"
    )
}

/// One letter and a stop: an initial, the head or tail of a spaced abbreviation ("z. B."), or the end
/// of "Plan B.".
fn single_letter(
    cx: &Context<'_>,
    letter: char,
    look: &Look<'_>,
    at: usize,
    next: char,
) -> Result<bool, NeedMore> {
    let mut before = cx.earlier.trim_end().chars().rev();
    let chained = before.next() == Some('.')
        && before.next().is_some_and(char::is_alphabetic)
        && before.next().is_none_or(|c| !c.is_alphanumeric());
    if letter.is_lowercase() {
        // "p. 5", "z. B.", "a. First"; but also "the letter a. Then".
        let single_word = matches!((cx.lang, letter), (Lang::Es, 'y' | 'e' | 'o' | 'u'));
        return Ok(
            single_word || (!chained && cx.lang == Lang::En && begins_known(cx.lang, look, at)?)
        );
    }
    if chained && cx.lang == Lang::De {
        return Ok(false);
    }
    if next.is_ascii_digit() {
        return Ok(false);
    }
    if letter == 'I' && cx.lang == Lang::En {
        return Ok(true);
    }
    begins_known(cx.lang, look, at)
}

/// A whole number and a stop: in German an ordinal unless a sentence clearly begins.
fn number(
    lang: Lang,
    token: &str,
    look: &Look<'_>,
    at: usize,
    next: char,
) -> Result<bool, NeedMore> {
    if lang != Lang::De || token.len() > 2 {
        return Ok(true);
    }
    if next.is_ascii_digit() {
        return Ok(false);
    }
    begins_known(lang, look, at)
}

/// For words that may end a sentence: does what follows begin one? In German every noun is
/// capitalised, so only known beginnings count there.
fn begins_sentence(lang: Lang, look: &Look<'_>, at: usize, next: char) -> Result<bool, NeedMore> {
    if next.is_ascii_digit() {
        return Ok(false);
    }
    if lang == Lang::De {
        return begins_known(lang, look, at);
    }
    let word = next_word(look, at)?;
    if continues_date(word) {
        return Ok(false);
    }
    Ok(true)
}

/// Whether the next word is in the language's list of sentence beginnings, or anything but a letter
/// or digit follows.
fn begins_known(lang: Lang, look: &Look<'_>, at: usize) -> Result<bool, NeedMore> {
    let word = next_word(look, at)?;
    Ok(word.is_empty() || is_starter(lang, word))
}

fn next_word<'a>(look: &Look<'a>, at: usize) -> Result<&'a str, NeedMore> {
    let start = look.run(at, is_opener)?;
    let mut count = 0;
    let end = look.run(start, |c| {
        count += 1;
        // A word longer than any table entry is not one of them, whatever follows.
        count <= 16 && (c.is_alphanumeric() || c == '\'' || c == '’')
    })?;
    Ok(look.slice(start, end))
}

/// Whether a Roman numeral follows ("Ch. IV").
fn roman(look: &Look<'_>, at: usize) -> Result<bool, NeedMore> {
    let word = next_word(look, at)?;
    Ok(!word.is_empty() && word.bytes().all(|byte| b"IVXLC".contains(&byte)))
}

/// "U.S", "p.m", "J.R.R": single letters with stops between them.
fn is_initials(token: &str) -> bool {
    token.contains('.')
        && token.split('.').all(|part| {
            let mut chars = part.chars();
            chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
        })
}

/// "3.5" before a stop in German: a date without its year.
fn is_day_month(token: &str) -> bool {
    token.split_once('.').is_some_and(|(day, month)| {
        [day, month].iter().all(|part| {
            (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}

/// The token without the brackets and quotes before it.
fn bare(token: &str) -> &str {
    token.trim_start_matches(is_opener)
}
