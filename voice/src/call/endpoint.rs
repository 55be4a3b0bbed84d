//! How long a pause ends the caller's turn, by what was said before it.
//!
//! Two later refinements belong here and nowhere else: pauses learned from this caller replace `neutral`,
//! and an agent that expects digits, an address or a name replaces the cue.

use super::Ms;
use serde::{Deserialize, Serialize};

/// How long a pause ends a turn. All times count from the caller's last sound, never from a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpointing {
    /// After a complete sentence.
    pub shortest: Ms,
    /// After anything that says neither.
    pub neutral: Ms,
    /// After words that want more: "and", "um", half a number. People dictating pause for about 1.8 s.
    pub open: Ms,
    /// Whatever was said, and where the final text has not come: in call-centre audio 95 % of the
    /// pauses within a turn are below 2.5 s.
    pub longest: Ms,
    /// Sound goes on but the words do not: a turn with words ends despite the noise.
    pub despite_sound: Ms,
    /// Sound without any words is noise after so long.
    pub wordless: Ms,
}

impl Default for Endpointing {
    fn default() -> Self {
        Self {
            shortest: 500,
            neutral: 800,
            open: 2_000,
            longest: 3_000,
            despite_sound: 8_000,
            wordless: 30_000,
        }
    }
}

/// What the end of a text says about the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cue {
    /// A whole sentence, or a whole answer such as "yes".
    Complete,
    /// Neither.
    Neutral,
    /// More will come.
    Open,
}

impl Endpointing {
    /// How much quiet ends a turn that reads `text` so far.
    #[must_use]
    pub fn silence_after(&self, text: &str) -> Ms {
        let silence = match Cue::of(text) {
            Cue::Complete => self.shortest,
            Cue::Neutral => self.neutral,
            Cue::Open => self.open,
        };
        silence.min(self.longest)
    }
}

impl Cue {
    /// Reads the end of a text, in English, German, French, Spanish, Italian, Portuguese or Dutch; in other
    /// languages by its punctuation.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.trim_end();
        let words: Vec<String> = text
            .split_whitespace()
            .rev()
            .take(TAIL)
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
            .filter(|word| !word.is_empty())
            .collect();
        let last = words.first().map_or("", String::as_str);
        let trails_off =
            text.ends_with("...") || text.ends_with(['…', ',', ':', '-', '–', '、', '，']);
        if last.is_empty() {
            Self::Neutral
        } else if trails_off || WANTS_MORE.contains(&last) || half_a_number(&words) {
            Self::Open
        } else if text.ends_with(['.', '?', '!', '。', '？', '！', '।', '؟', '۔'])
            || words.len() == 1 && WHOLE_ANSWERS.contains(&last)
        {
            Self::Complete
        } else {
            Self::Neutral
        }
    }
}

/// How many words from the end are looked at.
const TAIL: usize = 16;

/// Conjunctions, articles, prepositions, possessives and hesitations: no sentence ends in one.
#[rustfmt::skip]
const WANTS_MORE: &[&str] = &[
    // English
    "and", "or", "but", "because", "so", "if", "then", "that", "the", "a", "an", "to", "of", "with", "my",
    "your", "for", "from", "at", "is", "are", "was", "uh", "um", "uhm", "er", "erm", "hmm", "like", "well",
    // German
    "und", "oder", "aber", "weil", "dass", "wenn", "also", "der", "die", "das", "ein", "eine", "mit", "von",
    "für", "mein", "meine", "äh", "ähm", "öh",
    // French
    "et", "ou", "mais", "parce", "que", "si", "donc", "le", "la", "les", "un", "une", "de", "du", "avec",
    "pour", "mon", "ma", "euh", "ben",
    // Spanish, Italian, Portuguese
    "y", "o", "pero", "porque", "entonces", "el", "los", "las", "con", "para", "mi", "eh", "este",
    "e", "ma", "perché", "quindi", "il", "lo", "gli", "di", "per", "mio", "mia", "ehm",
    "mas", "então", "os", "com", "meu", "minha", "hã",
    // Dutch
    "en", "maar", "omdat", "dus", "het", "een", "met", "van", "voor", "mijn",
];

/// Answers that are complete as one word.
#[rustfmt::skip]
const WHOLE_ANSWERS: &[&str] = &[
    "yes", "no", "yeah", "yep", "nope", "ok", "okay", "sure", "hello", "hi", "thanks", "goodbye", "bye", "stop",
    "ja", "nein", "doch", "hallo", "danke", "oui", "non", "merci", "bonjour", "sí", "gracias", "hola",
    "sì", "grazie", "ciao", "sim", "não", "obrigado", "obrigada", "nee", "bedankt",
];

/// Spoken digits.
#[rustfmt::skip]
const DIGITS: &[&str] = &[
    "zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "double",
    "null", "eins", "zwei", "zwo", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun",
    "zéro", "deux", "trois", "quatre", "cinq", "sept", "huit", "neuf",
    "cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve",
];

/// A run of three to nine digits at the end is part of a longer number more often than not: telephone and
/// card numbers are read in groups. One or two are a quantity, ten and more a whole number.
fn half_a_number(words_from_the_end: &[String]) -> bool {
    let mut digits = 0;
    for word in words_from_the_end {
        let plain = word.chars().filter(|c| !matches!(c, '-' | '.' | '/' | '+'));
        if DIGITS.contains(&word.as_str()) {
            digits += 1;
        } else if plain.clone().all(|c| c.is_ascii_digit()) {
            digits += plain.count();
        } else {
            break;
        }
    }
    (3..=9).contains(&digits)
}
