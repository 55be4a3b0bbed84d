//! What a partial transcript says about the end of a turn.
//!
//! A pause alone does not tell a caller who is done from one who is thinking, or reading a number off
//! a card. The words help: "my number is five five" is not over, "no, thanks" is. These are cues, not
//! verdicts: they move the wait between its minimum and its maximum, and the maximum always ends it.
//!
//! What always holds: pure functions of the text and the language. Transcribers put a full stop after
//! anything, so a stop proves little after a word that wants more. English, German, French and Spanish
//! have tables; elsewhere only punctuation counts.

mod tables;

use self::tables::{BACKCHANNELS, Tables, tables};
use super::lang::Locale;

/// What the words so far suggest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cue {
    /// Nothing was said.
    Empty,
    /// A sentence, or an answer that stands alone ("yes", "no, thanks"). The wait may be short.
    Complete,
    /// A question. The wait may be short.
    Question,
    /// Nothing either way.
    Open,
    /// A conjunction, preposition, article or filler at the end. The wait should be long.
    Trailing,
    /// A number of which digits are still missing. The wait should be longest.
    HalfNumber,
    /// An email address of which parts are still missing. The wait should be longest.
    HalfAddress,
}

impl Cue {
    /// The caller has most likely finished.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Complete | Self::Question)
    }

    /// The caller has most likely more to say.
    pub fn wants_more(self) -> bool {
        matches!(self, Self::Trailing | Self::HalfNumber | Self::HalfAddress)
    }
}

/// A telephone number has at least this many digits, without its area code (E.164 leaves the rest to
/// the country).
const PHONE_DIGITS: usize = 7;
/// With this many, a dictated number is taken to be whole.
const WHOLE_DIGITS: usize = 10;
/// After "number", "code" or "PIN", fewer digits than this are half of one.
const CODE_DIGITS: usize = 3;
/// A bare run of this many digits is dictation.
const DICTATED_DIGITS: usize = 3;

/// What `transcript`, as far as it goes, says about the end of the turn.
pub fn end_of_turn(locale: Locale, transcript: &str) -> Cue {
    let text = transcript.trim();
    let tables = tables(locale.lang);
    let words = words_of(text);
    let Some(last) = words.last().map(String::as_str) else { return Cue::Empty };
    let mark = text.trim_end_matches(['"', '\'', '”', '’', '»', ')', ' ']).chars().next_back();
    let asked = matches!(mark, Some('?' | '？' | '؟'));

    if let Some(tables) = tables {
        if let Some(cue) =
            half_address(tables, text, &words).or_else(|| half_number(tables, &words))
        {
            return cue;
        }
        if asked {
            return Cue::Question;
        }
        if text.ends_with("...") || text.ends_with('…') || text.ends_with([',', '-', '–', '—', ':'])
        {
            return Cue::Trailing;
        }
        if is_standalone(tables, &words) {
            return Cue::Complete;
        }
        let question = words.len() > 2 && tables.questions.contains(&words[0].as_str());
        if tables.dangling.contains(&last) {
            return Cue::Trailing;
        }
        if tables.prepositions.contains(&last) {
            // "Where are you from" is over, "I come from" is not; a stop leaves it open.
            return match (question, mark) {
                (true, _) => Cue::Question,
                (false, Some('.' | '!')) => Cue::Open,
                _ => Cue::Trailing,
            };
        }
        if question {
            return Cue::Question;
        }
    } else if asked {
        return Cue::Question;
    } else if text.ends_with("...") || text.ends_with(['…', ',', '、', '，']) {
        return Cue::Trailing;
    }
    match mark {
        Some('.' | '!' | '。' | '！' | '।' | '۔' | '։') => Cue::Complete,
        _ => Cue::Open,
    }
}

/// Whether a transcript is only a sign of listening ("mhm", "okay", "genau"), which must not stop a
/// reply that is being spoken.
pub fn is_backchannel(locale: Locale, transcript: &str) -> bool {
    let words = words_of(transcript);
    // Four signs in a row are somebody trying to get a word in.
    if words.is_empty() || words.len() > 3 {
        return false;
    }
    let own = tables(locale.lang).map_or(&[][..], |tables| tables.backchannels);
    let known = |text: &str| BACKCHANNELS.contains(&text) || own.contains(&text);
    known(&words.join(" ")) || words.iter().all(|word| known(word))
}

/// How many digits are dictated at the end of the transcript, spoken or written.
pub fn digits_at_end(locale: Locale, transcript: &str) -> usize {
    tables(locale.lang).map_or(0, |tables| dictated(tables, &words_of(transcript)).digits)
}

fn is_standalone(tables: &Tables, words: &[String]) -> bool {
    let whole = words.join(" ");
    tables.standalone.contains(&whole.as_str())
        || words.len() <= 3 && words.iter().all(|word| tables.standalone.contains(&word.as_str()))
}

struct Dictated {
    /// Digits in the last run.
    digits: usize,
    /// Words the run takes.
    words: usize,
    /// The run ends in a word that announces another digit: "double", "plus".
    open: bool,
}

fn dictated(tables: &Tables, words: &[String]) -> Dictated {
    let mut found = Dictated { digits: 0, words: 0, open: false };
    for (index, word) in words.iter().rev().enumerate() {
        if !word.is_empty()
            && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '/' | '.'))
        {
            found.digits += word.bytes().filter(u8::is_ascii_digit).count();
        } else if let Some(at) = tables.digits.iter().position(|digit| digit == word) {
            // The teens and tens of the table dictate two digits at once.
            found.digits += if at < tables.single_digits { 1 } else { 2 };
        } else if tables.repeats.contains(&word.as_str()) {
            found.open |= index == 0;
            found.digits += 1;
        } else {
            break;
        }
        found.words += 1;
    }
    found
}

fn half_number(tables: &Tables, words: &[String]) -> Option<Cue> {
    let run = dictated(tables, words);
    let before = &words[..words.len() - run.words];
    // The context is near: what was said about another number a minute ago does not count.
    let near = &before[before.len().saturating_sub(4)..];
    let has = |list: &[&str]| near.iter().any(|word| list.contains(&word.as_str()));
    let phone = has(tables.phone_words);
    let named = phone || has(tables.number_words);
    if run.open && (run.words > 1 || named) {
        return Some(Cue::HalfNumber);
    }
    if run.digits == 0 {
        // "My number is" announces it.
        let announces = before.last().is_some_and(|word| tables.copulas.contains(&word.as_str()));
        return (announces && named).then_some(Cue::HalfNumber);
    }
    if run.digits >= WHOLE_DIGITS {
        return Some(Cue::Complete);
    }
    let half = if phone {
        run.digits < PHONE_DIGITS
    } else if named {
        run.digits < CODE_DIGITS
    } else {
        run.words >= DICTATED_DIGITS && run.digits < PHONE_DIGITS
    };
    half.then_some(Cue::HalfNumber)
}

fn half_address(tables: &Tables, text: &str, words: &[String]) -> Option<Cue> {
    let near = &words[words.len().saturating_sub(10)..];
    let mentioned = near.iter().any(|word| tables.email_words.contains(&word.as_str()));
    let last = words.last()?;
    // What the transcriber wrote as an address already.
    let token = text.split_whitespace().next_back().unwrap_or_default();
    if let Some((_, domain)) = token.trim_end_matches(['.', ',', '!', '?']).rsplit_once('@') {
        let whole = domain.rsplit_once('.').is_some_and(|(_, ending)| ending.len() >= 2);
        return Some(if whole { Cue::Complete } else { Cue::HalfAddress });
    }
    let at = near.iter().rposition(|word| tables.at_words.contains(&word.as_str()));
    let dot = near.iter().rposition(|word| tables.dot_words.contains(&word.as_str()));
    let spelled = mentioned || matches!((at, dot), (Some(at), Some(dot)) if at < dot);
    if !spelled {
        return None;
    }
    let ends_in_sign = tables.at_words.contains(&last.as_str())
        || tables.dot_words.contains(&last.as_str())
        || tables.sign_words.contains(&last.as_str());
    if ends_in_sign || mentioned && tables.copulas.contains(&last.as_str()) {
        return Some(Cue::HalfAddress);
    }
    match (at, dot) {
        (Some(at), Some(dot)) if at < dot => Some(Cue::Complete),
        // "anna at example": the ending is missing. Only where the address itself is under way.
        (Some(at), _) if mentioned && near.len() - at <= 3 => Some(Cue::HalfAddress),
        _ => None,
    }
}

/// The words of a transcript in lower case, without punctuation around them.
fn words_of(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| {
            word.trim_matches(|c: char| !(c.is_alphanumeric() || c == '@' || c == '+'))
                .to_lowercase()
                .replace('’', "'")
        })
        .filter(|word| !word.is_empty())
        .collect()
}
