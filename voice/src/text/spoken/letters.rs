//! Words that are not read as they are spelled: abbreviations, initialisms, Roman numerals, and
//! letters mixed with digits.

use super::address::letters;
use super::context::{Cx, Hit, digit_run, skip_space, word_goes_on};
use super::number::digits;
use crate::text::Lang;

/// Capitals that are read as a word.
const READ_AS_WORDS: &[&str] = &[
    "NASA", "NATO", "UNESCO", "UNICEF", "COVID", "AIDS", "PIN", "SIM", "RAM", "ROM", "LAN", "WAN",
    "JPEG", "GIF", "OPEC", "FIFA", "UEFA", "IKEA", "LEGO", "JSON", "YAML", "TOML", "LASER",
    "RADAR", "DAX", "SEPA", "SWIFT", "NASDAQ", "OSHA", "FEMA", "NAFTA", "ASCII", "BIOS", "CAPTCHA",
    "GUI", "SCUBA", "SARS", "TASER", "ZIP", "BMX", "AMOK", "TÜV", "ELSTER", "OVNI", "SIDA", "ONU",
    "OTAN", "RENFE", "IVA",
];

/// Ordinary words, which in capitals are shouted and not spelled.
const SHOUTED: &[&str] = &[
    "THE", "AND", "NOT", "YES", "NO", "OK", "YOU", "ALL", "NEW", "FREE", "NOW", "ARE", "IS", "IT",
    "IN", "ON", "AT", "TO", "OF", "OR", "FOR", "BUT", "CAN", "DO", "DONT", "STOP", "GO", "HELP",
    "THIS", "THAT", "WE", "I", "A", "AN", "MY", "ME", "HE", "SHE", "WHO", "WHAT", "WHEN", "WHY",
    "HOW", "VERY", "MUST", "NEVER", "ONLY", "HERE", "READ", "CALL", "OPEN", "NOTE", "WARN",
    "ERROR", "FAIL", "PASS", "TRUE", "FALSE", "HELLO", "HI", "BYE", "BE", "BY", "IF", "SO", "UP",
    "WAS", "WITH", "FROM", "HAVE", "HAS", "WILL", "PLEASE", "SALE", "END", "OUT", "OFF", "BIG",
    "ONE", "TWO", "WAIT", "DER", "DIE", "DAS", "UND", "NICHT", "JA", "NEIN", "BITTE", "SIE", "IHR",
    "WIR", "ES", "EIN", "EINE", "HALLO", "NUR", "LE", "LA", "LES", "ET", "NON", "OUI", "EL", "LOS",
    "SÍ", "UN", "UNE", "UNA", "QUE", "PAS", "ICI", "AQUI", "MUY",
];

/// "e.g.", "Dr.", "C++", and what only a number after it makes an abbreviation.
pub(super) fn abbreviation(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let found = cx
        .words
        .abbreviations
        .iter()
        .filter(|(written, _)| rest.starts_with(written))
        .filter(|(written, _)| {
            let after = &rest[written.len()..];
            let goes_on = written.ends_with(char::is_alphabetic) && word_goes_on(after);
            !goes_on && !after.starts_with('@')
        })
        .max_by_key(|(written, _)| written.len());
    if let Some((written, said)) = found {
        // A stop that also ends the sentence stays.
        let stop = written.ends_with('.') && cx.ends_after(written.len());
        return Hit::new(written.len() - usize::from(stop), *said);
    }
    before_number(cx).or_else(|| saint_or_street(cx))
}

fn before_number(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let table: &[(&str, &str)] = match cx.words.lang {
        Lang::En => &[
            ("No.", "number"),
            ("no.", "number"),
            ("p.", "page"),
            ("ch.", "chapter"),
            ("Ch.", "Chapter"),
            ("ext.", "extension"),
            ("Ext.", "Extension"),
            ("Art.", "Article"),
            ("Sec.", "Section"),
            ("ca.", "circa"),
        ],
        Lang::De => &[("S.", "Seite"), ("Rn.", "Randnummer"), ("Ziff.", "Ziffer")],
        Lang::Fr => &[("p.", "page"), ("art.", "article"), ("chap.", "chapitre")],
        Lang::Es => &[("p.", "página"), ("art.", "artículo"), ("cap.", "capítulo")],
        _ => &[],
    };
    let (written, said) = table.iter().find(|(written, _)| rest.starts_with(written))?;
    let (after, _) = skip_space(&rest[written.len()..]);
    (digit_run(after) > 0).then(|| Hit::new(written.len(), *said)).flatten()
}

/// "St." before a name is a saint, after one a street.
fn saint_or_street(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    if cx.words.lang != Lang::En || !rest.starts_with("St.") {
        return None;
    }
    let (next, gap) = skip_space(&rest[3..]);
    let before = cx.word_before();
    let after_name =
        before.starts_with(char::is_uppercase) || before.starts_with(|c: char| c.is_ascii_digit());
    let directly = cx.behind().ends_with(' ')
        && cx.behind().trim_end().ends_with(before)
        && !before.is_empty();
    if after_name && directly {
        return Hit::new(3 - usize::from(cx.ends_after(3)), "Street");
    }
    (gap > 0 && next.starts_with(char::is_uppercase)).then(|| Hit::new(3, "Saint")).flatten()
}

/// `U.S.`, `a.m.`, `J.R.R.`: letters with stops.
pub(super) fn dotted(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let mut said = String::new();
    let mut at = 0;
    let mut chars = rest.chars();
    while let (Some(letter), Some('.')) = (chars.next(), chars.next()) {
        if !letter.is_alphabetic() {
            break;
        }
        said.extend(letter.to_uppercase());
        at += letter.len_utf8() + 1;
    }
    if said.chars().count() < 2 || word_goes_on(&rest[at..]) {
        return None;
    }
    Hit::new(at - usize::from(cx.ends_after(at)), letters(&said))
}

/// `FBI`, `PDFs`, but neither `NASA` nor `STOP`.
pub(super) fn initialism(cx: &Cx<'_>) -> Option<Hit> {
    let word = word(cx.rest());
    let (capitals, plural) = match word.strip_suffix('s') {
        Some(head) if head.len() >= 2 => (head, "s"),
        _ => (word, ""),
    };
    let count = capitals.chars().count();
    if !(2..=5).contains(&count)
        || !capitals.chars().all(char::is_uppercase)
        || READ_AS_WORDS.contains(&capitals)
    {
        return None;
    }
    let after = &cx.rest()[word.len()..];
    // "AT&T" is no shouted "at".
    if SHOUTED.contains(&capitals) && !(after.starts_with('&') && plural.is_empty()) {
        return None;
    }
    if is_shout(cx.word_before()) || is_shout(next_word(after)) {
        return None;
    }
    Hit::new(word.len(), format!("{}{plural}", letters(capitals)))
}

/// A neighbour that shows that capitals are used for loudness.
fn is_shout(word: &str) -> bool {
    let count = word.chars().count();
    count >= 2 && word.chars().all(char::is_uppercase) && (SHOUTED.contains(&word) || count > 5)
}

fn next_word(after: &str) -> &str {
    let (next, gap) = skip_space(after);
    if gap == 0 { "" } else { word(next) }
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len())]
}

/// `Henry VIII`, `Chapter IV`, `Ludwig XIV.`, `XXe siècle`: only where it cannot be anything else.
pub(super) fn roman(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let numeral = &rest[..rest.bytes().take_while(|byte| b"IVXLCDM".contains(byte)).count()];
    if numeral.is_empty() || numeral.len() > 8 {
        return None;
    }
    let after = &rest[numeral.len()..];
    let value = roman_value(numeral)?;
    if cx.words.lang == Lang::Fr
        && let Some(suffix) =
            ["ème", "e", "er"].into_iter().find(|suffix| after.starts_with(suffix))
        && !word_goes_on(&after[suffix.len()..])
        && (next_word(&after[suffix.len()..]).starts_with("siècle") || suffix == "er")
    {
        return Hit::new(numeral.len() + suffix.len(), (cx.words.ordinal)(value, ""));
    }
    if word_goes_on(after) || after.starts_with(['\'', '’']) {
        return None;
    }
    let before = cx.word_before();
    let adjacent = cx.behind().ends_with([' ', '\u{a0}']);
    let lower = before.to_lowercase();
    if !adjacent {
        return None;
    }
    // "I" after a name is mostly the pronoun.
    let alone = after.chars().find(|c| !c.is_whitespace()).is_none_or(|c| !c.is_alphanumeric());
    if numeral == "I" && !alone {
        return None;
    }
    if cx.words.rulers.contains(&before) && value <= 40 {
        let stop = cx.words.lang == Lang::De
            && after.starts_with('.')
            && !cx.ends_after(numeral.len() + 1);
        return Hit::new(numeral.len() + usize::from(stop), (cx.words.regnal)(value));
    }
    if cx.words.chapters.contains(&lower.as_str()) {
        return Hit::new(numeral.len(), (cx.words.cardinal)(value));
    }
    None
}

fn roman_value(numeral: &str) -> Option<u64> {
    let worth = |byte: u8| match byte {
        b'I' => 1,
        b'V' => 5,
        b'X' => 10,
        b'L' => 50,
        b'C' => 100,
        b'D' => 500,
        _ => 1000_u64,
    };
    let values: Vec<u64> = numeral.bytes().map(worth).collect();
    let mut total = 0;
    for (at, &value) in values.iter().enumerate() {
        if values.get(at + 1).is_some_and(|&next| next > value) {
            total -= value as i64
        } else {
            total += value as i64
        }
    }
    let total = u64::try_from(total).ok().filter(|&total| total > 0)?;
    // "IIX" adds up too; only the way it is properly written counts.
    (to_roman(total) == numeral).then_some(total)
}

fn to_roman(mut value: u64) -> String {
    const STEPS: [(u64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (step, letters) in STEPS {
        while value >= step {
            text.push_str(letters);
            value -= step;
        }
    }
    text
}

/// `MP3`, `B2B`, `4K`, `AB-1234`'s first half, `v1.2`: letters and digits in one word.
pub(super) fn mixed(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    let run = &rest[..end];
    if end > 64
        || !run.is_ascii()
        || !run.bytes().any(|byte| byte.is_ascii_digit())
        || !run.bytes().any(|b| b.is_ascii_alphabetic())
    {
        return None;
    }
    // A version: "v2" and "v1.2".
    if let Some(number) = run.strip_prefix(['v', 'V'])
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Hit::new(1, if cx.words.lang == Lang::Es { "versión" } else { "version" });
    }
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < end {
        let len = digit_run(&run[at..]);
        if len > 0 {
            let number = &run[at..at + len];
            let short = len <= 2 && !(len > 1 && number.starts_with('0'));
            parts.push(match number.parse() {
                Ok(value) if short => (cx.words.cardinal)(value),
                _ => digits(cx.words, number),
            });
            at += len;
        } else {
            let len = run[at..].bytes().take_while(u8::is_ascii_alphabetic).count();
            let part = &run[at..at + len];
            let spelled = len == 1
                || len <= 4
                    && part.bytes().all(|byte| byte.is_ascii_uppercase())
                    && !READ_AS_WORDS.contains(&part);
            parts.push(if spelled { letters(part) } else { part.to_owned() });
            at += len;
        }
    }
    Hit::new(end, parts.join(" "))
}
