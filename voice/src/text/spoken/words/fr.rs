//! French, counting as in France.

use super::{Currency, Date, Gender, Half, Lexicon, Time, Unit, Words};
use crate::text::Lang;

const SMALL: [&str; 17] = [
    "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze",
    "douze", "treize", "quatorze", "quinze", "seize",
];
const TENS: [&str; 7] = ["", "", "vingt", "trente", "quarante", "cinquante", "soixante"];
const MONTHS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];

fn cardinal(n: u64) -> String {
    match n {
        0..1000 => below_thousand(n, true),
        1000..1_000_000 => {
            let head = match n / 1000 {
                1 => "mille".to_owned(),
                count => format!("{} mille", below_thousand(count, false)),
            };
            with_rest(head, n % 1000)
        }
        1_000_000..1_000_000_000 => scaled(n, 1_000_000, "million"),
        1_000_000_000..1_000_000_000_000 => scaled(n, 1_000_000_000, "milliard"),
        _ => scaled(n, 1_000_000_000_000, "billion"),
    }
}

fn scaled(n: u64, unit: u64, name: &str) -> String {
    let count = n / unit;
    let plural = if count > 1 { "s" } else { "" };
    with_rest(format!("{} {name}{plural}", cardinal(count)), n % unit)
}

fn with_rest(head: String, rest: u64) -> String {
    if rest == 0 { head } else { format!("{head} {}", cardinal(rest)) }
}

/// `last`: nothing follows, so that "cents" and "quatre-vingts" take their s.
fn below_thousand(n: u64, last: bool) -> String {
    if n < 100 {
        return below_hundred(n, last);
    }
    let (hundreds, rest) = (n / 100, n % 100);
    let head = if hundreds == 1 {
        "cent".to_owned()
    } else {
        format!("{} cent", below_hundred(hundreds, false))
    };
    match rest {
        0 if hundreds > 1 && last => format!("{head}s"),
        0 => head,
        _ => format!("{head} {}", below_hundred(rest, last)),
    }
}

fn below_hundred(n: u64, last: bool) -> String {
    match n {
        0..17 => SMALL[n as usize].to_owned(),
        17..20 => format!("dix-{}", SMALL[(n - 10) as usize]),
        20..70 => {
            let tens = TENS[(n / 10) as usize];
            match n % 10 {
                0 => tens.to_owned(),
                1 => format!("{tens} et un"),
                ones => format!("{tens}-{}", SMALL[ones as usize]),
            }
        }
        71 => "soixante et onze".to_owned(),
        70..80 => format!("soixante-{}", below_hundred(n - 60, last)),
        80 if last => "quatre-vingts".to_owned(),
        80 => "quatre-vingt".to_owned(),
        _ => format!("quatre-vingt-{}", below_hundred(n - 80, last)),
    }
}

fn counted(n: u64, gender: Gender) -> String {
    let words = cardinal(n);
    let ends_in_one = n % 10 == 1 && n % 100 != 11 && n % 100 != 71 && n % 100 != 91;
    if gender == Gender::F && ends_in_one { format!("{words}e") } else { words }
}

fn ordinal(n: u64, before: &str) -> String {
    if n == 1 {
        return if before.eq_ignore_ascii_case("la") { "première" } else { "premier" }.to_owned();
    }
    let words = cardinal(n);
    let stem = words.strip_suffix('e').unwrap_or(&words);
    if let Some(head) = stem.strip_suffix("cinq") {
        format!("{head}cinquième")
    } else if let Some(head) = stem.strip_suffix("neuf") {
        format!("{head}neuvième")
    } else {
        format!(
            "{}ième",
            stem.strip_suffix("vingts").map_or(stem.to_owned(), |head| format!("{head}vingt"))
        )
    }
}

fn regnal(n: u64) -> String {
    if n == 1 { "premier".to_owned() } else { cardinal(n) }
}

fn fraction(n: u64, d: u64) -> Option<String> {
    if n == 0 || n >= d || d > 100 {
        return None;
    }
    let part = match d {
        2 => "demi".to_owned(),
        3 => "tiers".to_owned(),
        4 => "quart".to_owned(),
        5..=10 | 12 | 16 | 20 | 100 => ordinal(d, ""),
        _ => return None,
    };
    let plural = if n > 1 && !part.ends_with('s') { "s" } else { "" };
    Some(format!("{} {part}{plural}", cardinal(n)))
}

fn date(date: &Date, _: &str) -> String {
    let day = if date.day == 1 { "premier".to_owned() } else { cardinal(date.day) };
    let spoken = format!("{day} {}", MONTHS[date.month - 1]);
    match date.year {
        Some(n) => format!("{spoken} {}", cardinal(n)),
        None => spoken,
    }
}

fn time(time: &Time) -> String {
    let hour = match (time.half, time.hour) {
        (Some(Half::Pm), hour @ 1..12) => hour + 12,
        (Some(Half::Am), 12) => 0,
        (_, hour) => hour,
    };
    let plural = if hour > 1 { "s" } else { "" };
    let mut spoken = format!("{} heure{plural}", counted(hour, Gender::F));
    if let Some(minute @ 1..) = time.minute {
        spoken.push_str(&format!(" {}", counted(minute, Gender::F)));
    }
    if let Some(second) = time.second {
        let plural = if second > 1 { "s" } else { "" };
        spoken.push_str(&format!(" et {} seconde{plural}", counted(second, Gender::F)));
    }
    spoken
}

const M: Gender = Gender::M;
const F: Gender = Gender::F;

pub(super) const WORDS: Words = Words {
    lang: Lang::Fr,
    decimal_comma: true,
    decimals_by_digit: false,
    cardinal,
    counted,
    ordinal,
    regnal,
    year: cardinal,
    digits: ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"],
    fraction,
    date,
    time,
    months: &[
        ("janvier", 1),
        ("février", 2),
        ("mars", 3),
        ("avril", 4),
        ("mai", 5),
        ("juin", 6),
        ("juillet", 7),
        ("août", 8),
        ("septembre", 9),
        ("octobre", 10),
        ("novembre", 11),
        ("décembre", 12),
        ("janv", 1),
        ("févr", 2),
        ("avr", 4),
        ("juil", 7),
        ("sept", 9),
        ("oct", 10),
        ("nov", 11),
        ("déc", 12),
    ],
    of: &[],
    units: &[
        Unit("km/h", "kilomètre par heure", "kilomètres par heure", M),
        Unit("m/s", "mètre par seconde", "mètres par seconde", M),
        Unit("km²", "kilomètre carré", "kilomètres carrés", M),
        Unit("m²", "mètre carré", "mètres carrés", M),
        Unit("m³", "mètre cube", "mètres cubes", M),
        Unit("km", "kilomètre", "kilomètres", M),
        Unit("cm", "centimètre", "centimètres", M),
        Unit("mm", "millimètre", "millimètres", M),
        Unit("m", "mètre", "mètres", M),
        Unit("kg", "kilo", "kilos", M),
        Unit("mg", "milligramme", "milligrammes", M),
        Unit("g", "gramme", "grammes", M),
        Unit("l", "litre", "litres", M),
        Unit("L", "litre", "litres", M),
        Unit("ml", "millilitre", "millilitres", M),
        Unit("°C", "degré", "degrés", M),
        Unit("°", "degré", "degrés", M),
        Unit("kWh", "kilowattheure", "kilowattheures", M),
        Unit("kW", "kilowatt", "kilowatts", M),
        Unit("W", "watt", "watts", M),
        Unit("Hz", "hertz", "hertz", M),
        Unit("kHz", "kilohertz", "kilohertz", M),
        Unit("GHz", "gigahertz", "gigahertz", M),
        Unit("ko", "kilo-octet", "kilo-octets", M),
        Unit("Mo", "mégaoctet", "mégaoctets", M),
        Unit("Go", "gigaoctet", "gigaoctets", M),
        Unit("To", "téraoctet", "téraoctets", M),
        Unit("MB", "mégaoctet", "mégaoctets", M),
        Unit("GB", "gigaoctet", "gigaoctets", M),
        Unit("h", "heure", "heures", F),
        Unit("min", "minute", "minutes", F),
        Unit("s", "seconde", "secondes", F),
        Unit("ms", "milliseconde", "millisecondes", F),
    ],
    currencies: &[
        Currency {
            written: &["€", "EUR"],
            one: "euro",
            many: "euros",
            cent: "centime",
            cents: "centimes",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["$", "US$", "USD"],
            one: "dollar",
            many: "dollars",
            cent: "cent",
            cents: "cents",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["£", "GBP"],
            one: "livre",
            many: "livres",
            cent: "penny",
            cents: "pence",
            gender: F,
            cent_gender: M,
        },
        Currency {
            written: &["¥", "JPY"],
            one: "yen",
            many: "yens",
            cent: "sen",
            cents: "sens",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["CHF"],
            one: "franc suisse",
            many: "francs suisses",
            cent: "centime",
            cents: "centimes",
            gender: M,
            cent_gender: M,
        },
    ],
    scales: &[
        ("mille", "mille"),
        ("million", "million d'"),
        ("millions", "millions d'"),
        ("milliard", "milliard d'"),
        ("milliards", "milliards d'"),
        ("M", "millions d'"),
        ("Md", "milliards d'"),
        ("k", "mille"),
    ],
    abbreviations: &[
        ("M.", "monsieur"),
        ("Mme", "madame"),
        ("Mmes", "mesdames"),
        ("Mlle", "mademoiselle"),
        ("MM.", "messieurs"),
        ("Dr", "docteur"),
        ("Dr.", "docteur"),
        ("Me", "maître"),
        ("Pr", "professeur"),
        ("etc.", "et cetera"),
        ("p. ex.", "par exemple"),
        ("p.ex.", "par exemple"),
        ("c.-à-d.", "c'est-à-dire"),
        ("c-à-d", "c'est-à-dire"),
        ("env.", "environ"),
        ("av.", "avenue"),
        ("bd", "boulevard"),
        ("n°", "numéro"),
        ("N°", "Numéro"),
        ("tél.", "téléphone"),
        ("Tél.", "Téléphone"),
        ("réf.", "référence"),
        ("svp", "s'il vous plaît"),
        ("SVP", "s'il vous plaît"),
        ("s.v.p.", "s'il vous plaît"),
        ("St", "Saint"),
        ("Ste", "Sainte"),
        ("av. J.-C.", "avant Jésus-Christ"),
        ("rdv", "rendez-vous"),
        ("RDV", "rendez-vous"),
        ("C++", "C plus plus"),
        ("vs", "versus"),
    ],
    id_words: &[
        "commande",
        "code",
        "pin",
        "numéro",
        "n°",
        "référence",
        "réf",
        "compte",
        "dossier",
        "facture",
        "ticket",
        "client",
        "postal",
        "suivi",
    ],
    rulers: &[
        "Louis",
        "Henri",
        "Charles",
        "François",
        "Philippe",
        "Napoléon",
        "Élisabeth",
        "Elizabeth",
        "Georges",
        "Jean",
        "Paul",
        "Pie",
        "Benoît",
        "Léon",
        "Grégoire",
        "Guillaume",
        "Édouard",
        "Richard",
        "Nicolas",
        "Pierre",
        "Catherine",
        "Frédéric",
        "Alexandre",
    ],
    chapters: &[
        "chapitre", "tome", "partie", "volume", "acte", "livre", "article", "type", "phase",
        "classe", "annexe",
    ],
    emoji: &[
        ('😀', "visage souriant"),
        ('😂', "rire"),
        ('😊', "sourire"),
        ('🙂', "sourire"),
        ('😉', "clin d'œil"),
        ('❤', "cœur"),
        ('👍', "pouce levé"),
        ('👎', "pouce baissé"),
        ('🎉', "confettis"),
        ('🔥', "feu"),
        ('✅', "coche"),
        ('❌', "croix"),
        ('⚠', "attention"),
        ('🚀', "fusée"),
        ('🙏', "merci"),
        ('⭐', "étoile"),
    ],
    say: Lexicon {
        point: "virgule",
        minus: "moins",
        plus: "plus",
        percent: "pour cent",
        per_mille: "pour mille",
        and: "et",
        at: "arobase",
        dot: "point",
        dash: "tiret",
        underscore: "tiret bas",
        slash: "slash",
        backslash: "antislash",
        colon: "deux-points",
        to: "à",
        ratio: "contre",
        equals: "égal",
        times: "fois",
        by: "sur",
        over: "sur",
        divided: "divisé par",
        number: "numéro",
        hashtag: "hashtag",
        degrees: "degrés",
        less: "inférieur à",
        greater: "supérieur à",
        plus_minus: "plus ou moins",
        about: "environ",
        section: "paragraphe",
        code: "du code",
        code_block: "Le texte contient un bloc de code.",
    },
};
