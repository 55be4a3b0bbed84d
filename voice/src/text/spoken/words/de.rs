//! German. Case endings are guessed from the word before, which covers dates and articles.

use super::{Currency, Date, Gender, Half, Lexicon, Time, Unit, Words};
use crate::text::Lang;

const SMALL: [&str; 20] = [
    "null",
    "eins",
    "zwei",
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
];
const TENS: [&str; 10] = [
    "", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig",
];
const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

fn cardinal(n: u64) -> String {
    match n {
        0..1_000_000 => below_million(n),
        1_000_000..1_000_000_000 => scaled(n, 1_000_000, "Million", "Millionen"),
        1_000_000_000..1_000_000_000_000 => scaled(n, 1_000_000_000, "Milliarde", "Milliarden"),
        _ => scaled(n, 1_000_000_000_000, "Billion", "Billionen"),
    }
}

fn scaled(n: u64, unit: u64, one: &str, many: &str) -> String {
    let head = match n / unit {
        1 => format!("eine {one}"),
        count => format!("{} {many}", cardinal(count)),
    };
    if n.is_multiple_of(unit) { head } else { format!("{head} {}", cardinal(n % unit)) }
}

fn below_million(n: u64) -> String {
    match n {
        0..20 => SMALL[n as usize].to_owned(),
        20..100 => {
            let tens = TENS[(n / 10) as usize];
            if n.is_multiple_of(10) {
                tens.to_owned()
            } else {
                format!("{}und{tens}", compound(n % 10))
            }
        }
        100..1000 => joined(format!("{}hundert", compound(n / 100)), n % 100),
        _ => joined(format!("{}tausend", compound(n / 1000)), n % 1000),
    }
}

fn joined(head: String, rest: u64) -> String {
    if rest == 0 { head } else { head + &below_million(rest) }
}

/// A number in front of more of the same word: "ein", not "eins".
fn compound(n: u64) -> String {
    let words = below_million(n);
    match words.strip_suffix("eins") {
        Some(head) => format!("{head}ein"),
        None => words,
    }
}

fn counted(n: u64, gender: Gender) -> String {
    if n == 1 {
        return if gender == Gender::F { "eine" } else { "ein" }.to_owned();
    }
    cardinal(n)
}

fn stem(n: u64) -> String {
    match n {
        1 => "erst".to_owned(),
        3 => "dritt".to_owned(),
        7 => "siebt".to_owned(),
        8 => "acht".to_owned(),
        0..20 => format!("{}t", cardinal(n)),
        _ => match n % 100 {
            low @ 1..20 if n > 100 => format!("{}{}", cardinal(n - low), stem(low)),
            _ => format!("{}st", cardinal(n)),
        },
    }
}

/// The ending an ordinal takes after `before`, or none if nothing is known.
fn ending(before: &str) -> Option<&'static str> {
    match before.to_lowercase().as_str() {
        "der" | "die" | "das" | "diese" | "dieser" | "dieses" | "jede" => Some("e"),
        "am" | "im" | "vom" | "zum" | "zur" | "beim" | "dem" | "den" | "des" | "ab" | "bis"
        | "seit" | "einem" | "einen" | "einer" | "ihrem" | "ihren" | "unserem" | "unseren"
        | "meinem" | "meinen" => Some("en"),
        "montag" | "dienstag" | "mittwoch" | "donnerstag" | "freitag" | "samstag" | "sonntag" => {
            Some("e")
        }
        _ => None,
    }
}

fn ordinal(n: u64, before: &str) -> String {
    format!("{}{}", stem(n), ending(before).unwrap_or("e"))
}

fn regnal(n: u64) -> String {
    format!("der {}", capitalised(&format!("{}e", stem(n))))
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn year(n: u64) -> String {
    if (1100..2000).contains(&n) {
        let head = format!("{}hundert", cardinal(n / 100));
        return joined(head, n % 100);
    }
    cardinal(n)
}

fn fraction(n: u64, d: u64) -> Option<String> {
    if n == 0 || n >= d {
        return None;
    }
    Some(match (n, d) {
        (1, 2) => "ein halb".to_owned(),
        (_, 3..20) => format!("{} {}el", compound(n), capitalised(&stem(d))),
        (_, 20..=100) => format!("{} {}el", compound(n), capitalised(&stem(d))),
        _ => return None,
    })
}

fn date(date: &Date, before: &str) -> String {
    let spoken =
        format!("{}{} {}", stem(date.day), ending(before).unwrap_or("er"), MONTHS[date.month - 1]);
    match date.year {
        Some(n) => format!("{spoken} {}", year(n)),
        None => spoken,
    }
}

fn time(time: &Time) -> String {
    let hour = match (time.half, time.hour) {
        (Some(Half::Pm), hour @ 1..12) => hour + 12,
        (Some(Half::Am), 12) => 0,
        (_, hour) => hour,
    };
    let mut spoken = format!("{} Uhr", counted(hour, Gender::M));
    if let Some(minute @ 1..) = time.minute {
        spoken.push_str(&format!(" {}", cardinal(minute)));
    }
    if let Some(second) = time.second {
        let unit = if second == 1 { "Sekunde" } else { "Sekunden" };
        spoken.push_str(&format!(" und {} {unit}", counted(second, Gender::F)));
    }
    spoken
}

const M: Gender = Gender::M;
const F: Gender = Gender::F;
const N: Gender = Gender::N;

pub(super) const WORDS: Words = Words {
    lang: Lang::De,
    decimal_comma: true,
    decimals_by_digit: true,
    cardinal,
    counted,
    ordinal,
    regnal,
    year,
    digits: ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    fraction,
    date,
    time,
    months: &[
        ("januar", 1),
        ("jänner", 1),
        ("februar", 2),
        ("märz", 3),
        ("april", 4),
        ("mai", 5),
        ("juni", 6),
        ("juli", 7),
        ("august", 8),
        ("september", 9),
        ("oktober", 10),
        ("november", 11),
        ("dezember", 12),
        ("jan", 1),
        ("feb", 2),
        ("mär", 3),
        ("apr", 4),
        ("jun", 6),
        ("jul", 7),
        ("aug", 8),
        ("sep", 9),
        ("sept", 9),
        ("okt", 10),
        ("nov", 11),
        ("dez", 12),
    ],
    of: &[],
    units: &[
        Unit("km/h", "Kilometer pro Stunde", "Kilometer pro Stunde", M),
        Unit("m/s", "Meter pro Sekunde", "Meter pro Sekunde", M),
        Unit("Mbit/s", "Megabit pro Sekunde", "Megabit pro Sekunde", N),
        Unit("MB/s", "Megabyte pro Sekunde", "Megabyte pro Sekunde", N),
        Unit("km²", "Quadratkilometer", "Quadratkilometer", M),
        Unit("m²", "Quadratmeter", "Quadratmeter", M),
        Unit("qm", "Quadratmeter", "Quadratmeter", M),
        Unit("m³", "Kubikmeter", "Kubikmeter", M),
        Unit("km", "Kilometer", "Kilometer", M),
        Unit("cm", "Zentimeter", "Zentimeter", M),
        Unit("mm", "Millimeter", "Millimeter", M),
        Unit("m", "Meter", "Meter", M),
        Unit("kg", "Kilogramm", "Kilogramm", N),
        Unit("mg", "Milligramm", "Milligramm", N),
        Unit("g", "Gramm", "Gramm", N),
        Unit("t", "Tonne", "Tonnen", F),
        Unit("l", "Liter", "Liter", M),
        Unit("ml", "Milliliter", "Milliliter", M),
        Unit("°C", "Grad Celsius", "Grad Celsius", M),
        Unit("°F", "Grad Fahrenheit", "Grad Fahrenheit", M),
        Unit("°", "Grad", "Grad", M),
        Unit("kWh", "Kilowattstunde", "Kilowattstunden", F),
        Unit("kW", "Kilowatt", "Kilowatt", N),
        Unit("W", "Watt", "Watt", N),
        Unit("V", "Volt", "Volt", N),
        Unit("Hz", "Hertz", "Hertz", N),
        Unit("kHz", "Kilohertz", "Kilohertz", N),
        Unit("MHz", "Megahertz", "Megahertz", N),
        Unit("GHz", "Gigahertz", "Gigahertz", N),
        Unit("dB", "Dezibel", "Dezibel", N),
        Unit("KB", "Kilobyte", "Kilobyte", N),
        Unit("kB", "Kilobyte", "Kilobyte", N),
        Unit("MB", "Megabyte", "Megabyte", N),
        Unit("GB", "Gigabyte", "Gigabyte", N),
        Unit("TB", "Terabyte", "Terabyte", N),
        Unit("h", "Stunde", "Stunden", F),
        Unit("Std.", "Stunde", "Stunden", F),
        Unit("min", "Minute", "Minuten", F),
        Unit("Min.", "Minute", "Minuten", F),
        Unit("s", "Sekunde", "Sekunden", F),
        Unit("Sek.", "Sekunde", "Sekunden", F),
        Unit("ms", "Millisekunde", "Millisekunden", F),
        Unit("px", "Pixel", "Pixel", M),
    ],
    currencies: &[
        Currency {
            written: &["€", "EUR"],
            one: "Euro",
            many: "Euro",
            cent: "Cent",
            cents: "Cent",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["$", "US$", "USD"],
            one: "Dollar",
            many: "Dollar",
            cent: "Cent",
            cents: "Cent",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["£", "GBP"],
            one: "Pfund",
            many: "Pfund",
            cent: "Penny",
            cents: "Pence",
            gender: N,
            cent_gender: M,
        },
        Currency {
            written: &["¥", "JPY"],
            one: "Yen",
            many: "Yen",
            cent: "Sen",
            cents: "Sen",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["CHF", "Fr."],
            one: "Franken",
            many: "Franken",
            cent: "Rappen",
            cents: "Rappen",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["PLN", "zł"],
            one: "Zloty",
            many: "Zloty",
            cent: "Groschen",
            cents: "Groschen",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["₹", "INR"],
            one: "Rupie",
            many: "Rupien",
            cent: "Paisa",
            cents: "Paise",
            gender: F,
            cent_gender: M,
        },
    ],
    scales: &[
        ("Tausend", "tausend"),
        ("Million", "Million"),
        ("Millionen", "Millionen"),
        ("Mio.", "Millionen"),
        ("Mio", "Millionen"),
        ("Milliarde", "Milliarde"),
        ("Milliarden", "Milliarden"),
        ("Mrd.", "Milliarden"),
        ("Mrd", "Milliarden"),
        ("Tsd.", "tausend"),
    ],
    abbreviations: &[
        ("z. B.", "zum Beispiel"),
        ("z.B.", "zum Beispiel"),
        ("Z. B.", "Zum Beispiel"),
        ("Z.B.", "Zum Beispiel"),
        ("d. h.", "das heißt"),
        ("d.h.", "das heißt"),
        ("u. a.", "unter anderem"),
        ("u.a.", "unter anderem"),
        ("i. d. R.", "in der Regel"),
        ("i.d.R.", "in der Regel"),
        ("v. a.", "vor allem"),
        ("v.a.", "vor allem"),
        ("s. o.", "siehe oben"),
        ("s. u.", "siehe unten"),
        ("o. ä.", "oder ähnlich"),
        ("usw.", "und so weiter"),
        ("usf.", "und so fort"),
        ("etc.", "et cetera"),
        ("bzw.", "beziehungsweise"),
        ("ca.", "circa"),
        ("Ca.", "Circa"),
        ("ggf.", "gegebenenfalls"),
        ("evtl.", "eventuell"),
        ("inkl.", "inklusive"),
        ("exkl.", "exklusive"),
        ("zzgl.", "zuzüglich"),
        ("vgl.", "vergleiche"),
        ("Vgl.", "Vergleiche"),
        ("sog.", "sogenannt"),
        ("max.", "maximal"),
        ("min.", "minimal"),
        ("mind.", "mindestens"),
        ("bzgl.", "bezüglich"),
        ("Nr.", "Nummer"),
        ("Dr.", "Doktor"),
        ("Prof.", "Professor"),
        ("Hr.", "Herr"),
        ("Fr.", "Frau"),
        ("Str.", "Straße"),
        ("Tel.", "Telefon"),
        ("Abs.", "Absatz"),
        ("Art.", "Artikel"),
        ("Abb.", "Abbildung"),
        ("Kap.", "Kapitel"),
        ("Bd.", "Band"),
        ("Mio.", "Millionen"),
        ("Mrd.", "Milliarden"),
        ("Std.", "Stunden"),
        ("Min.", "Minuten"),
        ("geb.", "geboren"),
        ("St.", "Sankt"),
        ("v. Chr.", "vor Christus"),
        ("n. Chr.", "nach Christus"),
        ("C++", "C plus plus"),
        ("C#", "C sharp"),
    ],
    id_words: &[
        "bestellnummer",
        "kundennummer",
        "rechnungsnummer",
        "auftragsnummer",
        "ticket",
        "code",
        "pin",
        "plz",
        "postleitzahl",
        "aktenzeichen",
        "vorgangsnummer",
        "durchwahl",
        "konto",
        "kontonummer",
        "sendungsnummer",
        "tan",
        "ticketnummer",
        "telefonnummer",
        "nummer",
        "nr",
        "bestellung",
        "id",
    ],
    rulers: &[
        "Ludwig",
        "Friedrich",
        "Wilhelm",
        "Heinrich",
        "Karl",
        "Otto",
        "Elisabeth",
        "Georg",
        "Johannes",
        "Paul",
        "Pius",
        "Benedikt",
        "Franz",
        "Philipp",
        "Napoleon",
        "Leo",
        "Gregor",
        "Clemens",
        "Nikolaus",
        "Peter",
        "Katharina",
        "Charles",
        "Louis",
        "Alexander",
        "Konrad",
        "Maximilian",
        "Joseph",
        "Leopold",
        "Gustav",
        "Christian",
    ],
    chapters: &[
        "kapitel",
        "teil",
        "band",
        "akt",
        "weltkrieg",
        "typ",
        "phase",
        "klasse",
        "artikel",
        "stufe",
        "hartz",
    ],
    emoji: &[
        ('😀', "grinsendes Gesicht"),
        ('😂', "Lachen"),
        ('😊', "Lächeln"),
        ('🙂', "Lächeln"),
        ('😉', "Zwinkern"),
        ('😢', "Weinen"),
        ('❤', "Herz"),
        ('👍', "Daumen hoch"),
        ('👎', "Daumen runter"),
        ('🎉', "Konfetti"),
        ('🔥', "Feuer"),
        ('✅', "Häkchen"),
        ('❌', "Kreuz"),
        ('⚠', "Warnung"),
        ('🚀', "Rakete"),
        ('👋', "Winken"),
        ('🙏', "Dankeschön"),
        ('☀', "Sonne"),
        ('⭐', "Stern"),
    ],
    say: Lexicon {
        point: "Komma",
        minus: "minus",
        plus: "plus",
        percent: "Prozent",
        per_mille: "Promille",
        and: "und",
        at: "at",
        dot: "Punkt",
        dash: "Minus",
        underscore: "Unterstrich",
        slash: "Schrägstrich",
        backslash: "Backslash",
        colon: "Doppelpunkt",
        to: "bis",
        ratio: "zu",
        equals: "gleich",
        times: "mal",
        by: "mal",
        over: "durch",
        divided: "geteilt durch",
        number: "Nummer",
        hashtag: "Hashtag",
        degrees: "Grad",
        less: "kleiner als",
        greater: "größer als",
        plus_minus: "plus minus",
        about: "etwa",
        section: "Paragraf",
        code: "etwas Code",
        code_block: "Im Text steht ein Block mit Code.",
    },
};
