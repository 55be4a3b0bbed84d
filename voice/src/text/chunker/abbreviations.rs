//! Words that end in a full stop without ending a sentence, and words that begin sentences.
//!
//! Three kinds of abbreviation, because they fail differently: a title is always followed by a name
//! in upper case, a reference abbreviates only before a number ("no. 5", but "He said no."), and the
//! rest may well be the last word of a sentence. Entries are lower case without the final stop.

use crate::text::Lang;

/// What an abbreviation says about the full stop after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abbreviation {
    /// Never the end: "Dr.", "z. B.".
    Never,
    /// Not the end if a number follows: "Fig. 3".
    BeforeNumber,
    /// The end if what follows begins a sentence: "etc.", "p.m.", "Inc.".
    MayEnd,
}

struct Table {
    never: &'static [&'static str],
    before_number: &'static [&'static str],
    may_end: &'static [&'static str],
    starters: &'static [&'static str],
}

/// The longest entry of any table, in characters; a longer token is not looked up.
const LONGEST: usize = 12;

/// Looks a token up: in the language's own table, then in the one shared by all.
pub(super) fn abbreviation(lang: Lang, token: &str) -> Option<Abbreviation> {
    if token.is_empty() || token.chars().count() > LONGEST {
        return None;
    }
    let token = token.to_lowercase();
    [table(lang), &SHARED].into_iter().find_map(|table| {
        let has = |list: &[&str]| list.contains(&token.as_str());
        if has(table.never) {
            Some(Abbreviation::Never)
        } else if has(table.before_number) {
            Some(Abbreviation::BeforeNumber)
        } else if has(table.may_end) {
            Some(Abbreviation::MayEnd)
        } else {
            None
        }
    })
}

/// Whether a capitalised word is one that begins sentences rather than a name or, in German, any
/// noun.
pub(super) fn is_starter(lang: Lang, word: &str) -> bool {
    if word.chars().count() > LONGEST {
        return false;
    }
    let word = word.to_lowercase();
    table(lang).starters.contains(&word.as_str())
}

/// Whether a word names a month or a weekday, or a time zone after "p.m.": then the stop before it
/// belongs to a date or time.
pub(super) fn continues_date(word: &str) -> bool {
    DATE_WORDS.contains(&word.to_lowercase().as_str())
}

fn table(lang: Lang) -> &'static Table {
    match lang {
        Lang::En => &EN,
        Lang::De => &DE,
        Lang::Fr => &FR,
        Lang::Es => &ES,
        Lang::It => &IT,
        Lang::Pt => &PT,
        Lang::Nl => &NL,
        Lang::Other => &NONE,
    }
}

const DATE_WORDS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "januar",
    "jänner",
    "februar",
    "märz",
    "mai",
    "juni",
    "juli",
    "oktober",
    "dezember",
    "jan",
    "feb",
    "mär",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "sept",
    "okt",
    "oct",
    "nov",
    "dez",
    "dec",
    "montag",
    "dienstag",
    "mittwoch",
    "donnerstag",
    "freitag",
    "samstag",
    "sonntag",
    "est",
    "edt",
    "cst",
    "cdt",
    "mst",
    "mdt",
    "pst",
    "pdt",
    "gmt",
    "utc",
    "cet",
    "cest",
    "bst",
    "eastern",
    "central",
    "pacific",
    "mountain",
];

const NONE: Table = Table { never: &[], before_number: &[], may_end: &[], starters: &[] };

const SHARED: Table = Table {
    never: &[
        "mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "mt", "gen", "col", "lt",
        "sgt", "capt", "rev", "hon", "pres", "gov", "sen", "rep", "ph", "messrs", "mme", "mlle",
    ],
    before_number: &[
        "no", "nr", "vol", "fig", "p", "pp", "ch", "art", "sec", "ver", "v", "tel", "ext",
    ],
    may_end: &[
        "etc", "jr", "sr", "inc", "ltd", "co", "corp", "bros", "a.m", "p.m", "u.s", "u.k", "ph.d",
    ],
    starters: &[],
};

const EN: Table = Table {
    never: &[
        "adm", "cmdr", "maj", "supt", "asst", "assoc", "atty", "fr", "hr", "ft", "approx", "esp",
        "incl", "viz", "al", "op", "ed", "eds", "trans", "resp",
    ],
    before_number: &[
        "nos", "figs", "chap", "sect", "para", "eq", "eqs", "ref", "refs", "apt", "rm", "bldg",
        "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "ca",
        "c", "est", "min", "max", "avg", "pt",
    ],
    may_end: &[
        "esq", "dept", "univ", "est", "ave", "blvd", "rd", "hwy", "mi", "oz", "lb", "lbs", "sq",
        "cu", "mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun", "b.c",
        "a.d", "b.sc", "m.sc", "b.a", "m.a", "m.d", "e.u", "u.n", "d.c", "l.a", "n.y", "u.s.a",
        "p.s", "min", "max",
    ],
    starters: &[
        "the", "a", "an", "it", "he", "she", "they", "we", "you", "i", "this", "that", "these",
        "those", "there", "then", "but", "and", "or", "so", "if", "when", "what", "who", "how",
        "why", "where", "which", "in", "on", "at", "for", "as", "to", "from", "with", "by",
        "please", "also", "however", "after", "before", "my", "your", "our", "his", "her", "its",
        "their", "let", "can", "could", "would", "will", "should", "do", "does", "did", "is",
        "are", "was", "were", "have", "has", "not", "no", "yes", "all", "some", "both", "each",
        "once", "while", "since", "because", "although", "now", "here", "just", "most", "many",
        "thanks", "sorry", "sure", "okay", "great", "well", "don't", "i'm", "i'll", "it's",
        "that's", "we'll", "you'll",
    ],
};

const DE: Table = Table {
    never: &[
        "hr", "fr", "frl", "ing", "dipl", "med", "jur", "phil", "rer", "nat", "mag", "abs", "bzw",
        "ca", "evtl", "ggf", "inkl", "exkl", "zzgl", "vgl", "sog", "max", "min", "mind", "bzgl",
        "gem", "lt", "z.b", "d.h", "u.a", "i.d.r", "o.ä", "v.a", "s.o", "s.u", "u.u", "z.t",
        "z.zt", "i.a", "o.g", "str", "tgl", "geb", "gest", "hl", "jh", "chr", "zw", "allg", "insb",
        "bes", "einschl", "ausschl", "entspr", "a.d", "dgl",
    ],
    before_number: &[
        "s", "bd", "kap", "abb", "tab", "ziff", "rn", "az", "hausnr", "plz", "mo", "di", "mi",
        "do", "sa", "so", "jan", "feb", "mär", "apr", "jun", "jul", "aug", "sep", "sept", "okt",
        "nov", "dez",
    ],
    may_end: &[
        "usw", "usf", "u.s.w", "mio", "mrd", "tsd", "std", "stk", "v.chr", "n.chr", "e.v", "gmbh",
        "co",
    ],
    starters: &[
        "der",
        "die",
        "das",
        "ein",
        "eine",
        "einen",
        "einem",
        "einer",
        "dem",
        "den",
        "des",
        "ich",
        "wir",
        "sie",
        "er",
        "es",
        "ihr",
        "du",
        "man",
        "und",
        "aber",
        "oder",
        "wenn",
        "dann",
        "danach",
        "so",
        "also",
        "auch",
        "noch",
        "nun",
        "jetzt",
        "hier",
        "dort",
        "heute",
        "morgen",
        "gestern",
        "bitte",
        "dieser",
        "diese",
        "dieses",
        "wie",
        "was",
        "wer",
        "wo",
        "warum",
        "wann",
        "mit",
        "für",
        "von",
        "bei",
        "nach",
        "in",
        "im",
        "am",
        "an",
        "auf",
        "aus",
        "zu",
        "zum",
        "zur",
        "um",
        "als",
        "da",
        "doch",
        "nur",
        "nicht",
        "kein",
        "keine",
        "ja",
        "nein",
        "viele",
        "danke",
        "mein",
        "meine",
        "unser",
        "unsere",
        "ihre",
        "sein",
        "seine",
        "falls",
        "sobald",
        "bis",
        "seit",
        "können",
        "möchten",
        "haben",
        "gibt",
        "sonst",
        "außerdem",
        "schreiben",
        "rufen",
        "welche",
    ],
};

const FR: Table = Table {
    never: &[
        "m", "mm", "mmes", "mlles", "me", "mgr", "cie", "p.ex", "c.-à-d", "c-à-d", "av", "bd",
        "boul", "env", "ex", "n.b", "réf",
    ],
    before_number: &[
        "chap", "art", "t", "n", "janv", "févr", "avr", "juil", "sept", "oct", "nov", "déc", "tél",
    ],
    may_end: &["s.a", "s.n.c.f", "j.-c", "apr", "s.v.p", "r.-v"],
    starters: &[
        "le", "la", "les", "un", "une", "des", "il", "elle", "ils", "elles", "on", "nous", "vous",
        "je", "tu", "ce", "cette", "ces", "cela", "c'est", "et", "mais", "ou", "donc", "si",
        "quand", "que", "qui", "où", "pourquoi", "comment", "dans", "en", "au", "aux", "à", "pour",
        "avec", "sans", "par", "sur", "puis", "ensuite", "merci", "oui", "non", "mon", "ma", "mes",
        "votre", "vos", "notre", "nos", "son", "sa", "ses", "est", "voici", "voilà", "alors",
        "après", "avant", "de", "du", "très",
    ],
};

const ES: Table = Table {
    never: &[
        "sr", "sra", "srta", "dra", "d", "dña", "ud", "uds", "vd", "vds", "lic", "ing", "arq",
        "gral", "pdte", "avda", "av", "sta", "sto", "p.ej", "ej", "aprox", "srs", "sres", "c",
    ],
    before_number: &[
        "núm", "n", "pág", "págs", "cap", "art", "ene", "febr", "abr", "ago", "tfno", "tlf", "km",
    ],
    may_end: &["ee.uu", "s.a", "s.l", "a.c", "d.c", "cía", "izq", "dcha", "atte"],
    starters: &[
        "el", "la", "los", "las", "un", "una", "unos", "unas", "él", "ella", "ellos", "ellas",
        "yo", "tú", "usted", "nosotros", "este", "esta", "esto", "ese", "esa", "eso", "y", "pero",
        "o", "si", "cuando", "que", "qué", "quién", "cómo", "por", "para", "con", "sin", "en",
        "de", "a", "al", "del", "luego", "después", "entonces", "gracias", "sí", "no", "mi", "su",
        "sus", "nuestro", "nuestra", "hay", "es", "son", "ahora", "hoy", "también", "se", "le",
        "me", "nos",
    ],
};

const IT: Table = Table {
    never: &[
        "sig", "sigg", "dott", "avv", "ing", "on", "egr", "gent", "spett", "arch", "geom", "rag",
        "p.es", "es", "ca", "cfr", "c.a", "s.r",
    ],
    before_number: &[
        "n", "pag", "pagg", "cap", "art", "tel", "gen", "febbr", "ago", "sett", "ott", "dic",
    ],
    may_end: &["ecc", "s.p.a", "s.r.l", "a.c", "d.c"],
    starters: &[
        "il", "lo", "la", "i", "gli", "le", "un", "una", "uno", "è", "e", "ma", "o", "se",
        "quando", "che", "chi", "come", "dove", "perché", "in", "per", "con", "di", "da", "a",
        "su", "io", "tu", "lui", "lei", "noi", "voi", "loro", "questo", "questa", "poi", "dopo",
        "grazie", "sì", "no", "non", "ho", "ha",
    ],
};

const PT: Table = Table {
    never: &[
        "sr", "sra", "srta", "dra", "profa", "exmo", "exma", "eng", "arq", "av", "p.ex", "ex",
        "aprox", "d", "sto", "sta",
    ],
    before_number: &[
        "n", "núm", "pág", "págs", "cap", "art", "tel", "fev", "abr", "ago", "set", "out", "dez",
    ],
    may_end: &["ltda", "s.a", "cia", "a.c", "d.c", "e.u.a"],
    starters: &[
        "o", "a", "os", "as", "um", "uma", "ele", "ela", "eles", "elas", "eu", "você", "nós",
        "este", "esta", "isto", "esse", "isso", "e", "mas", "ou", "se", "quando", "que", "quem",
        "como", "onde", "por", "para", "com", "sem", "em", "no", "na", "de", "do", "da", "depois",
        "então", "obrigado", "sim", "não", "meu", "minha", "seu", "sua", "é", "há", "agora",
        "hoje", "também",
    ],
};

const NL: Table = Table {
    never: &[
        "dhr", "mevr", "mw", "mej", "ir", "ing", "drs", "bijv", "d.w.z", "o.a", "t.a.v", "m.b.t",
        "i.v.m", "incl", "excl", "resp", "ca", "z.o.z", "a.u.b",
    ],
    before_number: &["blz", "hfst", "afb", "art", "tel", "mrt", "mei", "okt"],
    may_end: &["enz", "b.v", "n.v", "e.d", "d.d", "v.chr", "n.chr", "s.v.p"],
    starters: &[
        "de", "het", "een", "ik", "jij", "je", "hij", "zij", "ze", "wij", "we", "jullie", "u",
        "dit", "dat", "deze", "die", "en", "maar", "of", "als", "toen", "dan", "dus", "wat", "wie",
        "waar", "hoe", "waarom", "wanneer", "in", "op", "aan", "met", "voor", "van", "bij", "naar",
        "om", "te", "na", "er", "daar", "hier", "nu", "ja", "nee", "niet", "geen", "mijn", "uw",
        "ons", "onze", "bedankt", "ook",
    ],
};
