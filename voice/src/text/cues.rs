//! What a partial transcript says about the end of a turn.
//!
//! A pause alone does not tell a caller who is done from one who is thinking, or reading a number off
//! a card. The words help: "my number is five five" is not over, "no, thanks" is. These are cues, not
//! verdicts: they move the wait between its minimum and its maximum, and the maximum always ends it.
//!
//! What always holds: pure functions of the text and the language. Transcribers put a full stop after
//! anything, so a stop proves little after a word that wants more. English, German, French and Spanish
//! have tables; elsewhere only punctuation counts.

use super::Lang;
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

/// Signs of listening in any language.
const BACKCHANNELS: &[&str] = &[
    "mhm", "mm", "mmm", "mm-hmm", "mmhmm", "mm-hm", "hm", "hmm", "uh-huh", "uhuh", "uhhuh", "aha",
    "ah", "oh", "ok", "okay", "k", "m", "hmhm", "eh",
];

struct Tables {
    /// Words that want another after them, whatever the transcriber's punctuation says: conjunctions,
    /// articles, possessives, fillers.
    dangling: &'static [&'static str],
    /// Words that usually do, but may end a question or a relative clause.
    prepositions: &'static [&'static str],
    /// Words that begin a question.
    questions: &'static [&'static str],
    /// Answers that stand alone.
    standalone: &'static [&'static str],
    backchannels: &'static [&'static str],
    /// Digits by name, then the teens and tens used in dictation.
    digits: &'static [&'static str],
    single_digits: usize,
    /// Words that announce another digit.
    repeats: &'static [&'static str],
    phone_words: &'static [&'static str],
    number_words: &'static [&'static str],
    copulas: &'static [&'static str],
    email_words: &'static [&'static str],
    at_words: &'static [&'static str],
    dot_words: &'static [&'static str],
    sign_words: &'static [&'static str],
}

fn tables(lang: Lang) -> Option<&'static Tables> {
    match lang {
        Lang::En => Some(&EN),
        Lang::De => Some(&DE),
        Lang::Fr => Some(&FR),
        Lang::Es => Some(&ES),
        _ => None,
    }
}

const EN: Tables = Tables {
    dangling: &[
        "and",
        "or",
        "but",
        "so",
        "because",
        "if",
        "when",
        "while",
        "although",
        "though",
        "unless",
        "until",
        "since",
        "whether",
        "then",
        "than",
        "that's",
        "which",
        "um",
        "uh",
        "er",
        "erm",
        "like",
        "well",
        "the",
        "a",
        "an",
        "my",
        "your",
        "our",
        "their",
        "his",
        "its",
        "i",
        "i'm",
        "we",
        "is",
        "are",
        "was",
        "were",
        "am",
        "it's",
        "i'd",
        "i'll",
        "very",
        "really",
        "also",
        "plus",
        "maybe",
        "actually",
        "basically",
        "let's",
        "can",
        "could",
        "would",
        "should",
        "will",
        "gonna",
        "wanna",
        "every",
        "some",
        "any",
        "these",
        "between",
        "during",
        "the-",
        "as",
        "not",
        "just",
    ],
    prepositions: &[
        "to", "for", "with", "from", "of", "about", "at", "by", "into", "onto", "without",
        "through", "under", "near", "against", "towards", "among", "behind", "beyond", "upon",
        "via",
    ],
    questions: &[
        "who", "what", "what's", "where", "where's", "when", "why", "how", "how's", "which",
        "whose", "can", "could", "would", "will", "do", "does", "did", "is", "are", "was", "were",
        "have", "has", "may", "should", "who's",
    ],
    standalone: &[
        "yes",
        "no",
        "yeah",
        "nope",
        "yep",
        "sure",
        "thanks",
        "thank you",
        "please",
        "bye",
        "goodbye",
        "hello",
        "hi",
        "ok",
        "okay",
        "correct",
        "right",
        "exactly",
        "stop",
        "no thanks",
        "no thank you",
        "yes please",
        "that's all",
        "that's it",
        "that is all",
        "nothing else",
        "all good",
        "never mind",
        "of course",
        "good morning",
        "help",
        "that's right",
        "not really",
        "i think so",
        "i am",
        "i do",
        "i can",
        "i will",
        "yes i am",
        "so be it",
    ],
    backchannels: &[
        "yeah",
        "yep",
        "yes",
        "right",
        "sure",
        "i see",
        "got it",
        "all right",
        "alright",
        "great",
        "cool",
        "wow",
        "exactly",
        "true",
        "really",
        "nice",
        "good",
        "fine",
        "of course",
        "makes sense",
        "go on",
        "uh huh",
        "mm hmm",
        "i know",
        "interesting",
        "absolutely",
        "perfect",
    ],
    digits: &[
        "zero",
        "oh",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "eighty",
        "ninety",
        "hundred",
    ],
    single_digits: 11,
    repeats: &["double", "triple", "plus", "dash", "hyphen"],
    phone_words: &["phone", "telephone", "mobile", "cell", "reach", "call", "callback", "landline"],
    number_words: &[
        "number",
        "code",
        "pin",
        "order",
        "account",
        "reference",
        "ticket",
        "invoice",
        "customer",
        "booking",
        "zip",
        "postcode",
        "card",
        "serial",
        "tracking",
    ],
    copulas: &["is", "it's", "that's", "number", "are"],
    email_words: &["email", "e-mail", "mail", "address", "gmail", "outlook"],
    at_words: &["at", "@"],
    dot_words: &["dot", "period"],
    sign_words: &["underscore", "dash", "hyphen", "plus", "minus"],
};

const DE: Tables = Tables {
    dangling: &[
        "und",
        "oder",
        "aber",
        "also",
        "weil",
        "wenn",
        "dass",
        "ob",
        "denn",
        "sondern",
        "damit",
        "obwohl",
        "während",
        "bis",
        "äh",
        "ähm",
        "hm",
        "na",
        "halt",
        "der",
        "die",
        "das",
        "den",
        "dem",
        "des",
        "ein",
        "eine",
        "einen",
        "einem",
        "einer",
        "mein",
        "meine",
        "meinen",
        "unser",
        "unsere",
        "ihr",
        "ihre",
        "ich",
        "wir",
        "ist",
        "sind",
        "war",
        "bin",
        "sehr",
        "auch",
        "noch",
        "nur",
        "quasi",
        "sozusagen",
        "eigentlich",
        "vielleicht",
        "möchte",
        "kann",
        "könnte",
        "würde",
        "soll",
        "am",
        "im",
        "zum",
        "zur",
        "beim",
        "vom",
        "ins",
        "ans",
        "wie",
        "als",
        "jede",
        "jeden",
        "kein",
        "keine",
        "zwischen",
        "dieser",
        "diese",
    ],
    prepositions: &[
        "mit", "für", "von", "bei", "nach", "aus", "über", "unter", "ohne", "gegen", "seit",
        "wegen", "durch", "um", "in", "auf", "zu", "an", "vor",
    ],
    questions: &[
        "wer", "was", "wo", "wann", "warum", "wieso", "weshalb", "wie", "welche", "welcher",
        "welches", "woher", "wohin", "können", "kann", "könnten", "haben", "hat", "ist", "sind",
        "gibt", "darf", "möchten", "würden",
    ],
    standalone: &[
        "ja",
        "nein",
        "doch",
        "danke",
        "bitte",
        "danke schön",
        "vielen dank",
        "genau",
        "richtig",
        "stimmt",
        "tschüss",
        "auf wiederhören",
        "auf wiedersehen",
        "hallo",
        "guten tag",
        "guten morgen",
        "stopp",
        "halt",
        "okay",
        "ok",
        "gut",
        "nein danke",
        "ja bitte",
        "das war's",
        "das wars",
        "das ist alles",
        "das war alles",
        "natürlich",
        "klar",
        "gerne",
        "ja gerne",
        "passt",
        "hilfe",
        "sonst nichts",
        "ich auch",
        "ja das bin ich",
        "ich denke schon",
    ],
    backchannels: &[
        "ja",
        "genau",
        "klar",
        "gut",
        "stimmt",
        "richtig",
        "ach so",
        "achso",
        "aha",
        "verstehe",
        "ich verstehe",
        "alles klar",
        "jo",
        "jup",
        "mhm",
        "na klar",
        "super",
        "prima",
        "schön",
        "echt",
        "wirklich",
        "natürlich",
        "sicher",
        "eben",
        "doch",
        "tja",
        "toll",
        "interessant",
        "jawohl",
        "ja ja",
    ],
    digits: &[
        "null",
        "eins",
        "ein",
        "zwei",
        "zwo",
        "drei",
        "vier",
        "fünf",
        "sechs",
        "sieben",
        "acht",
        "neun",
        "zehn",
        "elf",
        "zwölf",
        "dreizehn",
        "vierzehn",
        "fünfzehn",
        "sechzehn",
        "siebzehn",
        "achtzehn",
        "neunzehn",
        "zwanzig",
        "dreißig",
        "vierzig",
        "fünfzig",
        "sechzig",
        "siebzig",
        "achtzig",
        "neunzig",
    ],
    single_digits: 12,
    repeats: &["doppel", "doppelt", "plus", "strich", "bindestrich"],
    phone_words: &[
        "telefonnummer",
        "handynummer",
        "rufnummer",
        "telefon",
        "handy",
        "mobil",
        "erreichbar",
        "festnetz",
    ],
    number_words: &[
        "nummer",
        "bestellnummer",
        "kundennummer",
        "rechnungsnummer",
        "auftragsnummer",
        "code",
        "pin",
        "postleitzahl",
        "aktenzeichen",
        "vorgangsnummer",
        "kontonummer",
        "ticketnummer",
        "iban",
        "sendungsnummer",
    ],
    copulas: &["ist", "lautet", "nummer", "die"],
    email_words: &[
        "email",
        "e-mail",
        "mail",
        "mailadresse",
        "e-mail-adresse",
        "emailadresse",
        "adresse",
    ],
    at_words: &["at", "@", "ät", "klammeraffe"],
    dot_words: &["punkt", "dot"],
    sign_words: &["unterstrich", "minus", "bindestrich", "strich", "plus"],
};

const FR: Tables = Tables {
    dangling: &[
        "et",
        "ou",
        "mais",
        "donc",
        "or",
        "car",
        "parce",
        "que",
        "si",
        "quand",
        "lorsque",
        "comme",
        "puis",
        "alors",
        "euh",
        "heu",
        "ben",
        "bah",
        "le",
        "la",
        "les",
        "un",
        "une",
        "des",
        "du",
        "au",
        "aux",
        "mon",
        "ma",
        "mes",
        "votre",
        "vos",
        "notre",
        "nos",
        "son",
        "sa",
        "ses",
        "je",
        "j'ai",
        "nous",
        "est",
        "c'est",
        "suis",
        "sont",
        "très",
        "aussi",
        "plus",
        "peut-être",
        "en",
        "dans",
        "qui",
        "dont",
        "cette",
        "ce",
        "ces",
        "voudrais",
        "peux",
        "ne",
        "pas-",
    ],
    prepositions: &[
        "à", "de", "pour", "avec", "sans", "par", "sur", "sous", "chez", "vers", "entre", "contre",
        "depuis",
    ],
    questions: &[
        "qui",
        "que",
        "quoi",
        "où",
        "quand",
        "pourquoi",
        "comment",
        "combien",
        "quel",
        "quelle",
        "quels",
        "quelles",
        "est-ce",
        "pouvez-vous",
        "avez-vous",
        "est-il",
        "qu'est-ce",
        "puis-je",
        "y-a-t-il",
        "pourriez-vous",
    ],
    standalone: &[
        "oui",
        "non",
        "merci",
        "merci beaucoup",
        "d'accord",
        "bonjour",
        "bonsoir",
        "au revoir",
        "salut",
        "exactement",
        "ok",
        "okay",
        "bien sûr",
        "stop",
        "non merci",
        "oui merci",
        "c'est tout",
        "c'est ça",
        "voilà",
        "s'il vous plaît",
        "parfait",
        "très bien",
        "tout à fait",
        "rien d'autre",
        "je crois",
        "moi aussi",
        "oui c'est moi",
    ],
    backchannels: &[
        "oui",
        "ouais",
        "d'accord",
        "voilà",
        "exactement",
        "bien",
        "très bien",
        "ah bon",
        "je vois",
        "c'est ça",
        "super",
        "parfait",
        "bien sûr",
        "tout à fait",
        "entendu",
        "génial",
        "vraiment",
        "ah oui",
        "je comprends",
        "effectivement",
    ],
    digits: &[
        "zéro",
        "un",
        "deux",
        "trois",
        "quatre",
        "cinq",
        "six",
        "sept",
        "huit",
        "neuf",
        "dix",
        "onze",
        "douze",
        "treize",
        "quatorze",
        "quinze",
        "seize",
        "vingt",
        "trente",
        "quarante",
        "cinquante",
        "soixante",
        "soixante-dix",
        "quatre-vingt",
        "quatre-vingts",
        "quatre-vingt-dix",
    ],
    single_digits: 10,
    repeats: &["double", "triple", "plus", "tiret"],
    phone_words: &["téléphone", "portable", "mobile", "fixe", "joindre", "rappeler"],
    number_words: &[
        "numéro",
        "code",
        "commande",
        "référence",
        "compte",
        "dossier",
        "facture",
        "client",
        "postal",
        "pin",
    ],
    copulas: &["est", "c'est", "numéro", "le"],
    email_words: &["email", "e-mail", "mail", "courriel", "adresse"],
    at_words: &["arobase", "@", "at", "arobas"],
    dot_words: &["point"],
    sign_words: &["tiret", "underscore", "bas"],
};

const ES: Tables = Tables {
    dangling: &[
        "y", "e", "o", "u", "pero", "porque", "que", "si", "cuando", "mientras", "aunque", "como",
        "pues", "entonces", "este", "eh", "em", "el", "la", "los", "las", "un", "una", "unos",
        "unas", "mi", "mis", "su", "sus", "nuestro", "nuestra", "yo", "es", "son", "soy", "estoy",
        "está", "muy", "también", "además", "quizás", "del", "al", "quiero", "puedo", "quisiera",
        "más", "lo", "me", "se", "no-", "cada", "esta", "ese", "esa",
    ],
    prepositions: &[
        "a", "de", "para", "con", "sin", "por", "en", "sobre", "entre", "hasta", "desde", "hacia",
        "según", "contra",
    ],
    questions: &[
        "quién", "qué", "dónde", "cuándo", "cómo", "cuánto", "cuánta", "cuántos", "cuál", "cuáles",
        "puede", "puedo", "hay", "tiene", "tienen", "podría", "adónde",
    ],
    standalone: &[
        "sí",
        "si",
        "no",
        "gracias",
        "muchas gracias",
        "por favor",
        "hola",
        "adiós",
        "vale",
        "exacto",
        "correcto",
        "claro",
        "buenos días",
        "buenas tardes",
        "buenas noches",
        "no gracias",
        "sí gracias",
        "eso es todo",
        "nada más",
        "de acuerdo",
        "ok",
        "okay",
        "perfecto",
        "muy bien",
        "por supuesto",
        "hasta luego",
        "sí soy yo",
        "creo que sí",
        "yo también",
    ],
    backchannels: &[
        "sí",
        "si",
        "vale",
        "claro",
        "exacto",
        "ya",
        "bueno",
        "bien",
        "muy bien",
        "de acuerdo",
        "entiendo",
        "perfecto",
        "ajá",
        "ya veo",
        "por supuesto",
        "genial",
        "cierto",
        "correcto",
        "qué bien",
        "vaya",
        "eso es",
        "anda",
        "comprendo",
    ],
    digits: &[
        "cero",
        "uno",
        "un",
        "dos",
        "tres",
        "cuatro",
        "cinco",
        "seis",
        "siete",
        "ocho",
        "nueve",
        "diez",
        "once",
        "doce",
        "trece",
        "catorce",
        "quince",
        "dieciséis",
        "diecisiete",
        "dieciocho",
        "diecinueve",
        "veinte",
        "treinta",
        "cuarenta",
        "cincuenta",
        "sesenta",
        "setenta",
        "ochenta",
        "noventa",
    ],
    single_digits: 11,
    repeats: &["doble", "triple", "más", "guion", "guión"],
    phone_words: &["teléfono", "móvil", "celular", "fijo", "llamar", "localizar"],
    number_words: &[
        "número",
        "código",
        "pedido",
        "referencia",
        "cuenta",
        "factura",
        "cliente",
        "postal",
        "reserva",
        "pin",
    ],
    copulas: &["es", "número", "el"],
    email_words: &["email", "e-mail", "correo", "mail", "dirección"],
    at_words: &["arroba", "@"],
    dot_words: &["punto"],
    sign_words: &["guion", "guión", "bajo", "barra"],
};
