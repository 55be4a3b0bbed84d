//! English.

use super::{Currency, Date, Gender, Half, Lexicon, Time, Unit, Words};
use crate::text::Lang;

const SMALL: [&str; 20] = [
    "zero",
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
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn cardinal(n: u64) -> String {
    match n {
        0..20 => SMALL[n as usize].to_owned(),
        20..100 => {
            let tens = TENS[(n / 10) as usize];
            if n.is_multiple_of(10) {
                tens.to_owned()
            } else {
                format!("{tens}-{}", SMALL[(n % 10) as usize])
            }
        }
        100..1000 => with_rest(format!("{} hundred", SMALL[(n / 100) as usize]), n % 100),
        1000..1_000_000 => with_rest(format!("{} thousand", cardinal(n / 1000)), n % 1000),
        1_000_000..1_000_000_000 => {
            with_rest(format!("{} million", cardinal(n / 1_000_000)), n % 1_000_000)
        }
        1_000_000_000..1_000_000_000_000 => {
            with_rest(format!("{} billion", cardinal(n / 1_000_000_000)), n % 1_000_000_000)
        }
        _ => with_rest(
            format!("{} trillion", cardinal(n / 1_000_000_000_000)),
            n % 1_000_000_000_000,
        ),
    }
}

fn with_rest(head: String, rest: u64) -> String {
    if rest == 0 { head } else { format!("{head} {}", cardinal(rest)) }
}

fn counted(n: u64, _: Gender) -> String {
    cardinal(n)
}

fn ordinal(n: u64, _: &str) -> String {
    let words = cardinal(n);
    let cut = words.rfind([' ', '-']).map_or(0, |at| at + 1);
    let (head, last) = words.split_at(cut);
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        other => match other.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{other}th"),
        },
    };
    format!("{head}{last}")
}

fn regnal(n: u64) -> String {
    format!("the {}", ordinal(n, ""))
}

fn year(n: u64) -> String {
    let (high, low) = (n / 100, n % 100);
    if !(1010..10_000).contains(&n) || (n % 1000) < 10 {
        return cardinal(n);
    }
    match low {
        0 => format!("{} hundred", cardinal(high)),
        1..10 => format!("{} o {}", cardinal(high), SMALL[low as usize]),
        _ => format!("{} {}", cardinal(high), cardinal(low)),
    }
}

fn fraction(n: u64, d: u64) -> Option<String> {
    if n == 0 || n >= d || d > 100 {
        return None;
    }
    let part = match d {
        2 => "half".to_owned(),
        4 => "quarter".to_owned(),
        3 | 5..=10 | 12 | 16 | 20 | 32 | 64 | 100 => ordinal(d, ""),
        _ => return None,
    };
    Some(if n == 1 { format!("one {part}") } else { format!("{} {part}s", cardinal(n)) })
}

fn date(date: &Date, before: &str) -> String {
    let month = MONTHS[date.month - 1];
    let day = ordinal(date.day, "");
    let spoken = match (date.month_first, before) {
        (true, _) => format!("{month} {day}"),
        (false, "the") => format!("{day} of {month}"),
        (false, _) => format!("the {day} of {month}"),
    };
    match date.year {
        Some(n) => format!("{spoken}, {}", year(n)),
        None => spoken,
    }
}

fn time(time: &Time) -> String {
    let mut spoken = cardinal(time.hour);
    match (time.minute, time.half) {
        (None | Some(0), Some(_)) | (None, None) => {}
        (Some(0), None) if time.hour > 12 || time.hour == 0 => spoken.push_str(" hundred"),
        (Some(0), None) => spoken.push_str(" o'clock"),
        (Some(minute @ 1..10), _) => spoken.push_str(&format!(" o {}", cardinal(minute))),
        (Some(minute), _) => spoken.push_str(&format!(" {}", cardinal(minute))),
    }
    if let Some(second) = time.second {
        spoken.push_str(&format!(
            " and {} second{}",
            cardinal(second),
            if second == 1 { "" } else { "s" }
        ));
    }
    match time.half {
        Some(Half::Am) => spoken.push_str(" A M"),
        Some(Half::Pm) => spoken.push_str(" P M"),
        None => {}
    }
    spoken
}

const N: Gender = Gender::N;

pub(super) const WORDS: Words = Words {
    lang: Lang::En,
    decimal_comma: false,
    decimals_by_digit: true,
    cardinal,
    counted,
    ordinal,
    regnal,
    year,
    digits: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    fraction,
    date,
    time,
    months: &[
        ("january", 1),
        ("february", 2),
        ("march", 3),
        ("april", 4),
        ("may", 5),
        ("june", 6),
        ("july", 7),
        ("august", 8),
        ("september", 9),
        ("october", 10),
        ("november", 11),
        ("december", 12),
        ("jan", 1),
        ("feb", 2),
        ("mar", 3),
        ("apr", 4),
        ("jun", 6),
        ("jul", 7),
        ("aug", 8),
        ("sep", 9),
        ("sept", 9),
        ("oct", 10),
        ("nov", 11),
        ("dec", 12),
    ],
    of: &["of"],
    units: &[
        Unit("km/h", "kilometer per hour", "kilometers per hour", N),
        Unit("m/s", "meter per second", "meters per second", N),
        Unit("Mbit/s", "megabit per second", "megabits per second", N),
        Unit("Mbps", "megabit per second", "megabits per second", N),
        Unit("Gbps", "gigabit per second", "gigabits per second", N),
        Unit("MB/s", "megabyte per second", "megabytes per second", N),
        Unit("km²", "square kilometer", "square kilometers", N),
        Unit("m²", "square meter", "square meters", N),
        Unit("m2", "square meter", "square meters", N),
        Unit("m³", "cubic meter", "cubic meters", N),
        Unit("cm²", "square centimeter", "square centimeters", N),
        Unit("sqm", "square meter", "square meters", N),
        Unit("sq ft", "square foot", "square feet", N),
        Unit("km", "kilometer", "kilometers", N),
        Unit("cm", "centimeter", "centimeters", N),
        Unit("mm", "millimeter", "millimeters", N),
        Unit("µm", "micrometer", "micrometers", N),
        Unit("nm", "nanometer", "nanometers", N),
        Unit("m", "meter", "meters", N),
        Unit("mi", "mile", "miles", N),
        Unit("mph", "mile per hour", "miles per hour", N),
        Unit("ft", "foot", "feet", N),
        Unit("in", "inch", "inches", N),
        Unit("yd", "yard", "yards", N),
        Unit("kg", "kilogram", "kilograms", N),
        Unit("mg", "milligram", "milligrams", N),
        Unit("µg", "microgram", "micrograms", N),
        Unit("g", "gram", "grams", N),
        Unit("lb", "pound", "pounds", N),
        Unit("lbs", "pound", "pounds", N),
        Unit("oz", "ounce", "ounces", N),
        Unit("l", "liter", "liters", N),
        Unit("L", "liter", "liters", N),
        Unit("ml", "milliliter", "milliliters", N),
        Unit("mL", "milliliter", "milliliters", N),
        Unit("gal", "gallon", "gallons", N),
        Unit("°C", "degree Celsius", "degrees Celsius", N),
        Unit("°F", "degree Fahrenheit", "degrees Fahrenheit", N),
        Unit("°", "degree", "degrees", N),
        Unit("kWh", "kilowatt hour", "kilowatt hours", N),
        Unit("kW", "kilowatt", "kilowatts", N),
        Unit("MW", "megawatt", "megawatts", N),
        Unit("W", "watt", "watts", N),
        Unit("V", "volt", "volts", N),
        Unit("mAh", "milliamp hour", "milliamp hours", N),
        Unit("Hz", "hertz", "hertz", N),
        Unit("kHz", "kilohertz", "kilohertz", N),
        Unit("MHz", "megahertz", "megahertz", N),
        Unit("GHz", "gigahertz", "gigahertz", N),
        Unit("dB", "decibel", "decibels", N),
        Unit("KB", "kilobyte", "kilobytes", N),
        Unit("kB", "kilobyte", "kilobytes", N),
        Unit("MB", "megabyte", "megabytes", N),
        Unit("GB", "gigabyte", "gigabytes", N),
        Unit("TB", "terabyte", "terabytes", N),
        Unit("MiB", "mebibyte", "mebibytes", N),
        Unit("GiB", "gibibyte", "gibibytes", N),
        Unit("h", "hour", "hours", N),
        Unit("hr", "hour", "hours", N),
        Unit("hrs", "hour", "hours", N),
        Unit("min", "minute", "minutes", N),
        Unit("mins", "minute", "minutes", N),
        Unit("s", "second", "seconds", N),
        Unit("sec", "second", "seconds", N),
        Unit("secs", "second", "seconds", N),
        Unit("ms", "millisecond", "milliseconds", N),
        Unit("µs", "microsecond", "microseconds", N),
        Unit("px", "pixel", "pixels", N),
        Unit("x", "times", "times", N),
    ],
    currencies: &[
        Currency {
            written: &["$", "US$", "USD"],
            one: "dollar",
            many: "dollars",
            cent: "cent",
            cents: "cents",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["€", "EUR"],
            one: "euro",
            many: "euros",
            cent: "cent",
            cents: "cents",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["£", "GBP"],
            one: "pound",
            many: "pounds",
            cent: "penny",
            cents: "pence",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["¥", "JPY"],
            one: "yen",
            many: "yen",
            cent: "sen",
            cents: "sen",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["₹", "INR"],
            one: "rupee",
            many: "rupees",
            cent: "paisa",
            cents: "paise",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["CHF"],
            one: "Swiss franc",
            many: "Swiss francs",
            cent: "centime",
            cents: "centimes",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["C$", "CA$", "CAD"],
            one: "Canadian dollar",
            many: "Canadian dollars",
            cent: "cent",
            cents: "cents",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["A$", "AU$", "AUD"],
            one: "Australian dollar",
            many: "Australian dollars",
            cent: "cent",
            cents: "cents",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["CNY", "RMB"],
            one: "yuan",
            many: "yuan",
            cent: "fen",
            cents: "fen",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["₩", "KRW"],
            one: "won",
            many: "won",
            cent: "jeon",
            cents: "jeon",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["₽", "RUB"],
            one: "ruble",
            many: "rubles",
            cent: "kopeck",
            cents: "kopecks",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["SEK"],
            one: "Swedish krona",
            many: "Swedish kronor",
            cent: "öre",
            cents: "öre",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["PLN", "zł"],
            one: "zloty",
            many: "zlotys",
            cent: "grosz",
            cents: "groszy",
            gender: N,
            cent_gender: N,
        },
        Currency {
            written: &["¢"],
            one: "cent",
            many: "cents",
            cent: "",
            cents: "",
            gender: N,
            cent_gender: N,
        },
    ],
    scales: &[
        ("thousand", "thousand"),
        ("million", "million"),
        ("billion", "billion"),
        ("trillion", "trillion"),
        ("mn", "million"),
        ("bn", "billion"),
        ("tn", "trillion"),
        ("k", "thousand"),
        ("K", "thousand"),
        ("M", "million"),
        ("m", "million"),
        ("B", "billion"),
        ("b", "billion"),
        ("T", "trillion"),
    ],
    abbreviations: &[
        ("e.g.", "for example"),
        ("E.g.", "For example"),
        ("i.e.", "that is"),
        ("I.e.", "That is"),
        ("etc.", "et cetera"),
        ("vs.", "versus"),
        ("vs", "versus"),
        ("Dr.", "Doctor"),
        ("Mr.", "Mister"),
        ("Mrs.", "Missus"),
        ("Ms.", "Miz"),
        ("Prof.", "Professor"),
        ("Jr.", "Junior"),
        ("Sr.", "Senior"),
        ("approx.", "approximately"),
        ("Approx.", "Approximately"),
        ("dept.", "department"),
        ("Dept.", "Department"),
        ("Inc.", "Incorporated"),
        ("Ltd.", "Limited"),
        ("Corp.", "Corporation"),
        ("Ave.", "Avenue"),
        ("Blvd.", "Boulevard"),
        ("Rd.", "Road"),
        ("Gen.", "General"),
        ("Sgt.", "Sergeant"),
        ("Capt.", "Captain"),
        ("Gov.", "Governor"),
        ("Rev.", "Reverend"),
        ("a.k.a.", "also known as"),
        ("w/o", "without"),
        ("w/", "with"),
        ("Mt.", "Mount"),
        ("Ph.D.", "P H D"),
        ("PhD", "P H D"),
        ("C++", "C plus plus"),
        ("C#", "C sharp"),
        ("F#", "F sharp"),
        (".NET", "dot net"),
        ("Wi-Fi", "Wi-Fi"),
        ("cf.", "compare"),
        ("Est.", "Established"),
        ("Fig.", "Figure"),
        ("fig.", "figure"),
        ("Vol.", "Volume"),
        ("vol.", "volume"),
        ("pp.", "pages"),
        ("Nos.", "numbers"),
        ("N/A", "not applicable"),
        ("n/a", "not applicable"),
        ("c/o", "care of"),
        ("24/7", "twenty-four seven"),
    ],
    id_words: &[
        "order",
        "ticket",
        "account",
        "reference",
        "ref",
        "code",
        "pin",
        "id",
        "case",
        "invoice",
        "confirmation",
        "tracking",
        "zip",
        "extension",
        "ext",
        "serial",
        "booking",
        "customer",
        "passcode",
        "otp",
        "dial",
        "postcode",
    ],
    rulers: &[
        "Henry",
        "Louis",
        "Charles",
        "Elizabeth",
        "George",
        "William",
        "Edward",
        "Richard",
        "James",
        "John",
        "Paul",
        "Pius",
        "Benedict",
        "Francis",
        "Philip",
        "Alfonso",
        "Napoleon",
        "Leo",
        "Gregory",
        "Clement",
        "Nicholas",
        "Peter",
        "Catherine",
        "Frederick",
        "Innocent",
        "Alexander",
        "Ivan",
        "Ramesses",
        "Mary",
        "Urban",
        "Christian",
    ],
    chapters: &[
        "chapter", "part", "volume", "act", "war", "bowl", "type", "phase", "class", "article",
        "section", "book", "appendix", "title", "level", "stage", "episode",
    ],
    emoji: &[
        ('😀', "grinning face"),
        ('😂', "laughing"),
        ('😊', "smile"),
        ('🙂', "smile"),
        ('😉', "wink"),
        ('😢', "crying"),
        ('😡', "angry face"),
        ('❤', "heart"),
        ('👍', "thumbs up"),
        ('👎', "thumbs down"),
        ('🎉', "party popper"),
        ('🔥', "fire"),
        ('✅', "check mark"),
        ('❌', "cross mark"),
        ('⚠', "warning"),
        ('🚀', "rocket"),
        ('👋', "waving hand"),
        ('🙏', "folded hands"),
        ('☀', "sun"),
        ('📞', "telephone"),
        ('📧', "email"),
        ('📅', "calendar"),
        ('⭐', "star"),
    ],
    say: Lexicon {
        point: "point",
        minus: "minus",
        plus: "plus",
        percent: "percent",
        per_mille: "per mille",
        and: "and",
        at: "at",
        dot: "dot",
        dash: "dash",
        underscore: "underscore",
        slash: "slash",
        backslash: "backslash",
        colon: "colon",
        to: "to",
        ratio: "to",
        equals: "equals",
        times: "times",
        by: "by",
        over: "over",
        divided: "divided by",
        number: "number",
        hashtag: "hashtag",
        degrees: "degrees",
        less: "less than",
        greater: "greater than",
        plus_minus: "plus or minus",
        about: "about",
        section: "section",
        code: "some code",
        code_block: "There is a block of code in the text.",
    },
};
