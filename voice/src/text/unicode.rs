//! Character classes shared by the chunker and the normaliser.
//!
//! Hand-kept ranges rather than a table of all of Unicode: a wrong guess about a rare character
//! costs a pause in the wrong place, never a lost or doubled character.

/// How a sentence mark behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminator {
    /// The full stop of scripts with case, which also abbreviates and divides numbers.
    Dot,
    /// A question or exclamation mark that needs white space after it.
    Mark,
    /// Three dots: an end only if what follows looks like a beginning.
    Ellipsis,
    /// A mark that ends a sentence whether or not white space follows.
    Wide,
}

/// The sentence mark `c` is, given the character before it.
pub(super) fn terminator(c: char, before: Option<char>) -> Option<Terminator> {
    Some(match c {
        '.' => Terminator::Dot,
        '!' | '?' | '‼' | '⁇' | '⁈' | '⁉' | '؟' | '\u{37e}' | '⸮' => Terminator::Mark,
        // Greek keyboards write the question mark as a semicolon.
        ';' if before.is_some_and(is_greek) => Terminator::Mark,
        '…' => Terminator::Ellipsis,
        '。' | '！' | '？' | '｡' | '।' | '॥' | '۔' | '։' | '።' | '፧' | '៕' | '។' | '။' | '།'
        | '᙮' => Terminator::Wide,
        _ => return None,
    })
}

/// A mark after which a long sentence may be cut, and whether white space must follow it.
pub(super) fn clause_mark(c: char) -> Option<bool> {
    Some(match c {
        ',' | ';' | ':' | '،' | '؛' | '—' | '–' => true,
        '、' | '，' | '；' | '：' | '､' => false,
        _ => return None,
    })
}

/// What may follow a sentence mark without white space and still belong to the sentence: closing
/// quotes in the habits of any language (German closes with `“`, Danish with `«`), closing brackets
/// and the markers of emphasis.
pub(super) fn is_closer(c: char) -> bool {
    is_closing_quote(c)
        || matches!(c, ')' | ']' | '}' | '）' | '】' | '》' | '〉' | '］' | '｝' | '*' | '_' | '~')
}

/// A quotation mark that may close.
pub(super) fn is_closing_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | '«' | '›' | '‹' | '“' | '‘' | '」' | '』')
}

/// What may stand before the first letter of a sentence.
pub(super) fn is_opener(c: char) -> bool {
    matches!(
        c,
        '(' | '['
            | '{'
            | '"'
            | '\''
            | '“'
            | '„'
            | '‚'
            | '‘'
            | '«'
            | '»'
            | '‹'
            | '›'
            | '「'
            | '『'
            | '（'
            | '【'
            | '《'
            | '*'
            | '_'
            | '~'
            | '¿'
            | '¡'
            | '>'
            | '`'
    )
}

/// Emoji and the characters that build them: pictographs, flags, keycaps, modifiers, joiners.
pub(super) fn is_emoji(c: char) -> bool {
    let code = c as u32;
    if code < 0x200d {
        return false;
    }
    matches!(code,
        0x1f000..=0x1faff
        | 0x2600..=0x27bf
        | 0x2b05..=0x2b07 | 0x2b1b | 0x2b1c | 0x2b50 | 0x2b55
        | 0x231a | 0x231b | 0x2328 | 0x23cf | 0x23e9..=0x23fa
        | 0x25aa | 0x25ab | 0x25b6 | 0x25c0 | 0x25fb..=0x25fe
        | 0x2934 | 0x2935 | 0x3030 | 0x303d | 0x3297 | 0x3299
        | 0x200d | 0x20e3 | 0xfe00..=0xfe0f | 0xe0020..=0xe007f)
}

/// A character that attaches to the one before it, so that no cut may come between.
pub(super) fn is_extender(c: char) -> bool {
    let code = c as u32;
    if code < 0x300 {
        return false;
    }
    matches!(code,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x670
        | 0x6d6..=0x6dc | 0x900..=0x903 | 0x93a..=0x94f | 0x962 | 0x963 | 0x981..=0x983 | 0x9bc..=0x9cd
        | 0xa01..=0xa03 | 0xa3c..=0xa4d | 0xb3c..=0xb4d | 0xbbe..=0xbcd | 0xc3e..=0xc4d | 0xcbc..=0xccd
        | 0xd3b..=0xd4d | 0xe30..=0xe3a | 0xe45..=0xe4e | 0xeb0..=0xebc | 0xec8..=0xece
        | 0x102b..=0x103e | 0x17b4..=0x17d3 | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff
        | 0x200c | 0x200d | 0x20d0..=0x20ff | 0x3099 | 0x309a | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f
        | 0x1f3fb..=0x1f3ff | 0xe0020..=0xe007f)
}

/// Scripts that write words without spaces between them.
pub(super) fn is_unspaced(c: char) -> bool {
    let code = c as u32;
    if code < 0xe00 {
        return false;
    }
    is_cjk(c) || is_thai_like(c) || matches!(code, 0xf00..=0xfff)
}

/// Chinese, Japanese and (spaced, but ended the same way) Korean letters and their marks.
pub(super) fn is_cjk(c: char) -> bool {
    let code = c as u32;
    if code < 0x1100 {
        return false;
    }
    matches!(code,
        0x1100..=0x11ff | 0x2e80..=0x2fdf | 0x3000..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff
        | 0xff00..=0xffef | 0x20000..=0x3ffff)
}

/// Thai, Lao, Khmer and Burmese, where a space separates clauses, not words.
pub(super) fn is_thai_like(c: char) -> bool {
    matches!(c as u32, 0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff)
}

/// Thai and Lao vowels that are written before the consonant they belong to.
pub(super) fn is_leading_vowel(c: char) -> bool {
    matches!(c as u32, 0xe40..=0xe44 | 0xec0..=0xec4)
}

/// The sign of a currency.
pub(super) fn is_currency(c: char) -> bool {
    matches!(c, '$' | '¢' | '£' | '¤' | '¥' | '\u{20a0}'..='\u{20cf}')
}

/// Characters that are neither seen nor spoken: controls, soft hyphens, directional marks, joiners,
/// byte order marks, noncharacters and private use.
pub(super) fn is_invisible(c: char) -> bool {
    let code = c as u32;
    (c.is_control() && !c.is_whitespace())
        || matches!(code,
            0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xe000..=0xf8ff
            | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xfffb | 0xfffe | 0xffff | 0xe0000..=0x10ffff)
}

fn is_greek(c: char) -> bool {
    matches!(c as u32, 0x370..=0x3ff | 0x1f00..=0x1fff) && c.is_alphabetic()
}
