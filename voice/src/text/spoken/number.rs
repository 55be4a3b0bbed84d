//! Reading and saying numbers as they are written: grouped, with decimals, in either notation.

use super::context::digit_run;
use super::words::{Gender, Words};

/// A number as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// The digits before the decimal mark, without grouping.
    pub(super) whole: String,
    /// Those after it.
    pub(super) decimals: Option<String>,
    /// Bytes it takes in the text.
    pub(super) len: usize,
    pub(super) grouped: bool,
}

/// Reads a number at the start of `text`, in the notation of the language; with `money`, in the other
/// notation too where two decimals make it clear.
pub(super) fn scan(words: &Words, text: &str, money: bool) -> Option<Number> {
    let (decimal, group) = if words.decimal_comma { (',', '.') } else { ('.', ',') };
    let first = digit_run(text);
    if first == 0 {
        return None;
    }
    let swapped = grouped(text, first, decimal).filter(|number| {
        decimals(&text[number.len..], group).is_some_and(|found| found.len() <= 2)
    });
    let (mut number, mark) = match swapped {
        Some(number) => (number, group),
        None => {
            let number = grouped(text, first, group)
                .or_else(|| {
                    ['\'', '’', '\u{a0}', '\u{202f}', '\u{2009}']
                        .iter()
                        .find_map(|&c| grouped(text, first, c))
                })
                .or_else(|| words.decimal_comma.then(|| grouped(text, first, ' ')).flatten())
                .unwrap_or_else(|| Number {
                    whole: text[..first].to_owned(),
                    decimals: None,
                    len: first,
                    grouped: false,
                });
            (number, decimal)
        }
    };
    let rest = &text[number.len..];
    let found = decimals(rest, mark).or_else(|| {
        decimals(rest, group).filter(|found| money && !number.grouped && found.len() <= 2)
    });
    if let Some(found) = found {
        number.len += 1 + found.len();
        number.decimals = Some(found.to_owned());
    }
    Some(number)
}

/// Groups of exactly three digits after a first of one to three that does not begin with zero.
fn grouped(text: &str, first: usize, mark: char) -> Option<Number> {
    if first > 3 || text.starts_with('0') {
        return None;
    }
    let mut whole = text[..first].to_owned();
    let mut len = first;
    while let Some(rest) = text[len..].strip_prefix(mark) {
        if digit_run(rest) != 3 {
            break;
        }
        whole.push_str(&rest[..3]);
        len += mark.len_utf8() + 3;
    }
    (len > first).then_some(Number { whole, decimals: None, len, grouped: true })
}

fn decimals(rest: &str, mark: char) -> Option<&str> {
    let rest = rest.strip_prefix(mark)?;
    let len = digit_run(rest);
    // "1.2.3" is a version, not a decimal.
    let version = rest[len..].strip_prefix(mark).is_some_and(|more| digit_run(more) > 0);
    (len > 0 && !version).then(|| &rest[..len])
}

impl Number {
    /// Its whole part, if it is a number words exist for.
    pub(super) fn value(&self) -> Option<u64> {
        // 10^15 is where the tables of words end.
        (self.whole.len() <= 15).then(|| self.whole.parse().ok()).flatten()
    }

    pub(super) fn is_one(&self) -> bool {
        self.decimals.is_none() && self.value() == Some(1)
    }

    /// The number in words.
    pub(super) fn say(&self, words: &Words) -> String {
        self.say_with(words, None)
    }

    /// The number in words before a noun of that gender.
    pub(super) fn say_counted(&self, words: &Words, gender: Gender) -> String {
        self.say_with(words, Some(gender))
    }

    fn say_with(&self, words: &Words, gender: Option<Gender>) -> String {
        let leading_zero = self.whole.len() > 1 && self.whole.starts_with('0');
        let whole = match (self.value(), gender) {
            (Some(value), Some(gender)) if !leading_zero && self.decimals.is_none() => {
                (words.counted)(value, gender)
            }
            (Some(value), _) if !leading_zero => (words.cardinal)(value),
            _ => digits(words, &self.whole),
        };
        match &self.decimals {
            Some(decimals) => {
                format!("{whole} {} {}", words.say.point, say_decimals(words, decimals))
            }
            None => whole,
        }
    }
}

fn say_decimals(words: &Words, decimals: &str) -> String {
    if words.decimals_by_digit || decimals.len() > 2 || decimals.starts_with('0') {
        return digits(words, decimals);
    }
    decimals.parse().map_or_else(|_| digits(words, decimals), |value| (words.cardinal)(value))
}

/// Digits one by one.
pub(super) fn digits(words: &Words, text: &str) -> String {
    let mut said = String::new();
    for digit in text.bytes().filter(u8::is_ascii_digit) {
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(words.digits[usize::from(digit - b'0')]);
    }
    said
}

/// Digits one by one, with a pause between groups of three or four.
pub(super) fn digits_grouped(words: &Words, text: &str) -> String {
    let len = text.len();
    let size = match len {
        0..=5 => len.max(1),
        _ if len.is_multiple_of(3) => 3,
        _ if len.is_multiple_of(4) => 4,
        _ => 3,
    };
    let mut groups = Vec::new();
    let mut at = 0;
    while at < len {
        // A last single digit joins its group: seven digits are three and four.
        let end = if len - at <= size + 1 { len } else { at + size };
        groups.push(digits(words, &text[at..end]));
        at = end;
    }
    groups.join(", ")
}
