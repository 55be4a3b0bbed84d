//! What the normaliser knows of a language: its number words, and tables of names.

mod de;
mod en;
mod es;
mod fr;

use crate::text::Lang;

/// The table of a language, if it has one.
pub(super) fn table(lang: Lang) -> Option<&'static Words> {
    match lang {
        Lang::En => Some(&en::WORDS),
        Lang::De => Some(&de::WORDS),
        Lang::Fr => Some(&fr::WORDS),
        Lang::Es => Some(&es::WORDS),
        _ => None,
    }
}

/// The grammatical gender of a counted noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gender {
    M,
    F,
    N,
}

/// A calendar date as far as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) day: u64,
    /// From 1.
    pub(super) month: usize,
    pub(super) year: Option<u64>,
    /// "March 3" rather than "3 March", where the language has both.
    pub(super) month_first: bool,
}

/// A time of day as far as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) hour: u64,
    pub(super) minute: Option<u64>,
    pub(super) second: Option<u64>,
    /// "am" or "pm".
    pub(super) half: Option<Half>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Am,
    Pm,
}

/// A unit of measurement: how it is written, and its name after one and after many.
pub(super) struct Unit(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Gender,
);

/// A currency: its sign or code, its name after one and after many, and its hundredth likewise.
pub(super) struct Currency {
    pub(super) written: &'static [&'static str],
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    pub(super) cent: &'static str,
    pub(super) cents: &'static str,
    pub(super) gender: Gender,
    pub(super) cent_gender: Gender,
}

/// Everything language-specific.
pub(super) struct Words {
    pub(super) lang: Lang,
    /// The decimal mark is a comma and the grouping mark a point or a space.
    pub(super) decimal_comma: bool,
    /// Digits after the decimal mark are read one by one, not as a number.
    pub(super) decimals_by_digit: bool,
    /// Below 10^15.
    pub(super) cardinal: fn(u64) -> String,
    /// A cardinal before a noun of that gender.
    pub(super) counted: fn(u64, Gender) -> String,
    /// An ordinal, given the word before it, which decides the ending in German.
    pub(super) ordinal: fn(u64, &str) -> String,
    /// The number of a ruler, after the name.
    pub(super) regnal: fn(u64) -> String,
    pub(super) year: fn(u64) -> String,
    pub(super) digits: [&'static str; 10],
    pub(super) fraction: fn(u64, u64) -> Option<String>,
    /// A date, given the word before it.
    pub(super) date: fn(&Date, &str) -> String,
    pub(super) time: fn(&Time) -> String,
    /// Names and abbreviations in lower case, without stops.
    pub(super) months: &'static [(&'static str, usize)],
    /// Words between a day and its month ("of", "de").
    pub(super) of: &'static [&'static str],
    pub(super) units: &'static [Unit],
    pub(super) currencies: &'static [Currency],
    /// What may stand between an amount and its currency ("5 million", "5M").
    pub(super) scales: &'static [(&'static str, &'static str)],
    /// With their stops, and matched with case.
    pub(super) abbreviations: &'static [(&'static str, &'static str)],
    /// What makes the digits after it an identifier to be read digit by digit, in lower case.
    pub(super) id_words: &'static [&'static str],
    /// Names after which a Roman numeral is certain.
    pub(super) rulers: &'static [&'static str],
    /// Nouns after which a Roman numeral counts.
    pub(super) chapters: &'static [&'static str],
    /// Names of common emoji, when they are to be named.
    pub(super) emoji: &'static [(char, &'static str)],
    pub(super) say: Lexicon,
}

/// Single words and signs.
pub(super) struct Lexicon {
    pub(super) point: &'static str,
    pub(super) minus: &'static str,
    pub(super) plus: &'static str,
    pub(super) percent: &'static str,
    pub(super) per_mille: &'static str,
    pub(super) and: &'static str,
    pub(super) at: &'static str,
    pub(super) dot: &'static str,
    pub(super) dash: &'static str,
    pub(super) underscore: &'static str,
    pub(super) slash: &'static str,
    pub(super) backslash: &'static str,
    pub(super) colon: &'static str,
    pub(super) to: &'static str,
    /// Between the sides of a ratio.
    pub(super) ratio: &'static str,
    pub(super) equals: &'static str,
    pub(super) times: &'static str,
    pub(super) by: &'static str,
    pub(super) over: &'static str,
    pub(super) divided: &'static str,
    pub(super) number: &'static str,
    pub(super) hashtag: &'static str,
    pub(super) degrees: &'static str,
    pub(super) less: &'static str,
    pub(super) greater: &'static str,
    pub(super) plus_minus: &'static str,
    pub(super) about: &'static str,
    pub(super) section: &'static str,
    pub(super) code: &'static str,
    pub(super) code_block: &'static str,
}
