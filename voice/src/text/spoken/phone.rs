//! Phone numbers and identifiers, digit by digit.

use super::context::{Cx, Hit, digit_run, last_word, word_goes_on};
use super::number::{digits, digits_grouped};
use crate::text::Lang;

/// The most digits a number in E.164 has.
const E164: usize = 15;
/// Fewer are no subscriber number.
const SHORTEST: usize = 7;

/// A phone number with its grouping.
pub(super) fn phone(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let plus = rest.starts_with('+');
    let mut at = usize::from(plus);
    let mut groups: Vec<&str> = Vec::new();
    let mut marks = String::new();
    let mut bracket = false;
    loop {
        let opens = rest[at..].starts_with('(') && !bracket;
        let from = at + usize::from(opens);
        let len = digit_run(&rest[from..]);
        if len == 0 || groups.len() > 8 {
            break;
        }
        let closes = opens && rest[from + len..].starts_with(')');
        if opens && !closes {
            break;
        }
        bracket |= closes;
        groups.push(&rest[from..from + len]);
        at = from + len + usize::from(closes);
        let mut next = rest[at..].chars();
        match (next.next(), next.next()) {
            (
                Some(mark @ (' ' | '-' | '.' | '/' | '\u{a0}' | '\u{202f}' | '\u{2011}')),
                Some(c),
            ) if c.is_ascii_digit() || c == '(' && !bracket => {
                marks.push(mark);
                at += mark.len_utf8();
            }
            // "(555)1234567" and "+49(30)123".
            (Some(c), _) if closes && c.is_ascii_digit() || c == '(' && !bracket => {}
            _ => break,
        }
    }
    // A separator before something that is no digit is not part of the number.
    while rest[..at].ends_with([' ', '-', '.', '/', '\u{a0}', '\u{202f}', '\u{2011}']) {
        at -= rest[..at].chars().next_back().map_or(1, char::len_utf8);
    }
    let total: usize = groups.iter().map(|group| group.len()).sum();
    if !(SHORTEST..=E164).contains(&total) || word_goes_on(&rest[at..]) {
        return None;
    }
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let named = is_phone_word(cx);
    let shaped = match lengths.as_slice() {
        [_] => named,
        // 555-0123, and 555-123-4567 with or without the country code.
        [3, 4] => marks == "-" || named,
        [3, 3, 4] | [1, 3, 3, 4] => true,
        [2, 2, 2, 2, 2] => true,
        _ => {
            let zero = groups[0].starts_with('0') && (groups[0].len() > 1 || groups.len() > 2);
            (zero || named) && !marks.contains('.')
        }
    };
    if !(plus || bracket || shaped) {
        return None;
    }
    let pairs = cx.words.lang == Lang::Fr
        && lengths.iter().filter(|&&len| len == 2).count() + 1 >= groups.len();
    let said: Vec<String> = groups
        .iter()
        .map(|group| match (pairs, group.len(), group.parse::<u64>()) {
            (true, 2, Ok(value)) if !group.starts_with('0') => (cx.words.cardinal)(value),
            _ => digits_grouped(cx.words, group),
        })
        .collect();
    let sign = if plus { format!("{} ", cx.words.say.plus) } else { String::new() };
    Hit::new(at, format!("{sign}{}", said.join(", ")))
}

fn is_phone_word(cx: &Cx<'_>) -> bool {
    let word = cx.word_before().to_lowercase();
    matches!(
        word.as_str(),
        "phone"
            | "call"
            | "tel"
            | "telephone"
            | "telefon"
            | "fax"
            | "mobile"
            | "cell"
            | "téléphone"
            | "tél"
            | "teléfono"
            | "telefonnummer"
            | "handy"
            | "mobil"
            | "móvil"
            | "whatsapp"
            | "dial"
            | "hotline"
    )
}

/// Digits that name something rather than count it: after "order", with a leading zero, or simply
/// many.
pub(super) fn identifier(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let len = digit_run(rest);
    if len < 2 || word_goes_on(&rest[len..]) || joins_number(&rest[len..]) {
        return None;
    }
    let leading_zero = rest.starts_with('0');
    let many = len >= SHORTEST && !rest[..len].ends_with("000");
    if !(leading_zero || many || len >= 3 && is_identifier_context(cx)) {
        return None;
    }
    let said = if len <= 5 {
        digits(cx.words, &rest[..len])
    } else {
        digits_grouped(cx.words, &rest[..len])
    };
    Hit::new(len, said)
}

fn joins_number(rest: &str) -> bool {
    rest.strip_prefix(['.', ',', ':', '/']).is_some_and(|more| digit_run(more) > 0)
}

/// Whether the words before say that this is an order number or the like: "order 123", "order
/// number 123", "your code is 123".
pub(super) fn is_identifier_context(cx: &Cx<'_>) -> bool {
    let mut behind = cx.behind();
    for _ in 0..3 {
        let word = last_word(behind);
        if word.is_empty() {
            return false;
        }
        let lower = word.to_lowercase();
        if cx.words.id_words.contains(&lower.as_str()) {
            return true;
        }
        let connects = matches!(
            lower.as_str(),
            "number"
                | "no"
                | "is"
                | "nr"
                | "nummer"
                | "numéro"
                | "n°"
                | "número"
                | "lautet"
                | "ist"
                | "est"
                | "es"
                | "de"
                | "the"
        );
        if !connects {
            return false;
        }
        behind = &behind[..behind.rfind(word).unwrap_or(0)];
    }
    false
}
