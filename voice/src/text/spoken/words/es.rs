//! Spanish.

use super::{Currency, Date, Gender, Half, Lexicon, Time, Unit, Words};
use crate::text::Lang;

const SMALL: [&str; 30] = [
    "cero",
    "uno",
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
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
];
const TENS: [&str; 10] =
    ["", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"];
const HUNDREDS: [&str; 10] = [
    "",
    "ciento",
    "doscientos",
    "trescientos",
    "cuatrocientos",
    "quinientos",
    "seiscientos",
    "setecientos",
    "ochocientos",
    "novecientos",
];
const MONTHS: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

fn cardinal(n: u64) -> String {
    match n {
        0..30 => SMALL[n as usize].to_owned(),
        30..100 => {
            let tens = TENS[(n / 10) as usize];
            if n.is_multiple_of(10) {
                tens.to_owned()
            } else {
                format!("{tens} y {}", SMALL[(n % 10) as usize])
            }
        }
        100 => "cien".to_owned(),
        101..1000 => with_rest(HUNDREDS[(n / 100) as usize].to_owned(), n % 100),
        1000..1_000_000 => {
            let head = match n / 1000 {
                1 => "mil".to_owned(),
                count => format!("{} mil", masculine(count)),
            };
            with_rest(head, n % 1000)
        }
        // The long scale: a thousand million, then the billón.
        1_000_000..1_000_000_000_000 => scaled(n, 1_000_000, "millón", "millones"),
        _ => scaled(n, 1_000_000_000_000, "billón", "billones"),
    }
}

fn scaled(n: u64, unit: u64, one: &str, many: &str) -> String {
    let head = match n / unit {
        1 => format!("un {one}"),
        count => format!("{} {many}", masculine(count)),
    };
    with_rest(head, n % unit)
}

fn with_rest(head: String, rest: u64) -> String {
    if rest == 0 { head } else { format!("{head} {}", cardinal(rest)) }
}

/// A final "uno" before a masculine noun.
fn masculine(n: u64) -> String {
    let words = cardinal(n);
    if let Some(head) = words.strip_suffix("veintiuno") {
        format!("{head}veintiún")
    } else if let Some(head) = words.strip_suffix("uno") {
        format!("{head}un")
    } else {
        words
    }
}

fn counted(n: u64, gender: Gender) -> String {
    if gender != Gender::F {
        return masculine(n);
    }
    let words = cardinal(n);
    let words = match words.strip_suffix("uno") {
        Some(head) => format!("{head}una"),
        None => words,
    };
    words.replace("cientos", "cientas").replace("quinientos", "quinientas")
}

fn ordinal(n: u64, before: &str) -> String {
    let feminine = matches!(before.to_lowercase().as_str(), "la" | "una" | "primera" | "esta");
    let masculine = match n {
        1 => "primero",
        2 => "segundo",
        3 => "tercero",
        4 => "cuarto",
        5 => "quinto",
        6 => "sexto",
        7 => "séptimo",
        8 => "octavo",
        9 => "noveno",
        10 => "décimo",
        // Beyond ten, speech uses the cardinal.
        _ => return cardinal(n),
    };
    if feminine { format!("{}a", masculine.trim_end_matches('o')) } else { masculine.to_owned() }
}

fn regnal(n: u64) -> String {
    ordinal(n, "")
}

fn fraction(n: u64, d: u64) -> Option<String> {
    if n == 0 || n >= d {
        return None;
    }
    let part = match d {
        2 => "medio".to_owned(),
        3 => "tercio".to_owned(),
        4..=10 => ordinal(d, ""),
        _ => return None,
    };
    Some(format!("{} {part}{}", masculine(n), if n > 1 { "s" } else { "" }))
}

fn date(date: &Date, _: &str) -> String {
    let day = if date.day == 1 { "primero".to_owned() } else { cardinal(date.day) };
    let spoken = format!("{day} de {}", MONTHS[date.month - 1]);
    match date.year {
        Some(n) => format!("{spoken} de {}", cardinal(n)),
        None => spoken,
    }
}

fn time(time: &Time) -> String {
    let mut spoken = counted(time.hour, Gender::F);
    if let Some(minute @ 1..) = time.minute {
        let zero = if minute < 10 { "cero " } else { "" };
        spoken.push_str(&format!(" {zero}{}", cardinal(minute)));
    } else if time.half.is_none() {
        spoken.push_str(" en punto");
    }
    if let Some(second) = time.second {
        let unit = if second == 1 { "segundo" } else { "segundos" };
        spoken.push_str(&format!(" y {} {unit}", masculine(second)));
    }
    match time.half {
        Some(Half::Am) => spoken.push_str(" de la mañana"),
        Some(Half::Pm) => spoken.push_str(" de la tarde"),
        None => {}
    }
    spoken
}

const M: Gender = Gender::M;
const F: Gender = Gender::F;

pub(super) const WORDS: Words = Words {
    lang: Lang::Es,
    decimal_comma: true,
    decimals_by_digit: false,
    cardinal,
    counted,
    ordinal,
    regnal,
    year: cardinal,
    digits: ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"],
    fraction,
    date,
    time,
    months: &[
        ("enero", 1),
        ("febrero", 2),
        ("marzo", 3),
        ("abril", 4),
        ("mayo", 5),
        ("junio", 6),
        ("julio", 7),
        ("agosto", 8),
        ("septiembre", 9),
        ("setiembre", 9),
        ("octubre", 10),
        ("noviembre", 11),
        ("diciembre", 12),
    ],
    of: &["de", "del"],
    units: &[
        Unit("km/h", "kilómetro por hora", "kilómetros por hora", M),
        Unit("m/s", "metro por segundo", "metros por segundo", M),
        Unit("km²", "kilómetro cuadrado", "kilómetros cuadrados", M),
        Unit("m²", "metro cuadrado", "metros cuadrados", M),
        Unit("m³", "metro cúbico", "metros cúbicos", M),
        Unit("km", "kilómetro", "kilómetros", M),
        Unit("cm", "centímetro", "centímetros", M),
        Unit("mm", "milímetro", "milímetros", M),
        Unit("m", "metro", "metros", M),
        Unit("kg", "kilo", "kilos", M),
        Unit("mg", "miligramo", "miligramos", M),
        Unit("g", "gramo", "gramos", M),
        Unit("l", "litro", "litros", M),
        Unit("ml", "mililitro", "mililitros", M),
        Unit("°C", "grado", "grados", M),
        Unit("°", "grado", "grados", M),
        Unit("kWh", "kilovatio hora", "kilovatios hora", M),
        Unit("kW", "kilovatio", "kilovatios", M),
        Unit("W", "vatio", "vatios", M),
        Unit("Hz", "hercio", "hercios", M),
        Unit("GHz", "gigahercio", "gigahercios", M),
        Unit("KB", "kilobyte", "kilobytes", M),
        Unit("MB", "megabyte", "megabytes", M),
        Unit("GB", "gigabyte", "gigabytes", M),
        Unit("TB", "terabyte", "terabytes", M),
        Unit("h", "hora", "horas", F),
        Unit("min", "minuto", "minutos", M),
        Unit("s", "segundo", "segundos", M),
        Unit("ms", "milisegundo", "milisegundos", M),
    ],
    currencies: &[
        Currency {
            written: &["€", "EUR"],
            one: "euro",
            many: "euros",
            cent: "céntimo",
            cents: "céntimos",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["$", "US$", "USD"],
            one: "dólar",
            many: "dólares",
            cent: "centavo",
            cents: "centavos",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["£", "GBP"],
            one: "libra",
            many: "libras",
            cent: "penique",
            cents: "peniques",
            gender: F,
            cent_gender: M,
        },
        Currency {
            written: &["¥", "JPY"],
            one: "yen",
            many: "yenes",
            cent: "sen",
            cents: "senes",
            gender: M,
            cent_gender: M,
        },
        Currency {
            written: &["MXN"],
            one: "peso",
            many: "pesos",
            cent: "centavo",
            cents: "centavos",
            gender: M,
            cent_gender: M,
        },
    ],
    scales: &[
        ("mil", "mil"),
        ("millón", "millón de"),
        ("millones", "millones de"),
        ("M", "millones de"),
    ],
    abbreviations: &[
        ("Sr.", "señor"),
        ("Sra.", "señora"),
        ("Srta.", "señorita"),
        ("Sres.", "señores"),
        ("Dr.", "doctor"),
        ("Dra.", "doctora"),
        ("D.", "don"),
        ("Dña.", "doña"),
        ("Ud.", "usted"),
        ("Uds.", "ustedes"),
        ("etc.", "etcétera"),
        ("p. ej.", "por ejemplo"),
        ("p.ej.", "por ejemplo"),
        ("aprox.", "aproximadamente"),
        ("núm.", "número"),
        ("n.º", "número"),
        ("N.º", "Número"),
        ("nº", "número"),
        ("Nº", "Número"),
        ("tel.", "teléfono"),
        ("Tel.", "Teléfono"),
        ("pág.", "página"),
        ("págs.", "páginas"),
        ("Avda.", "Avenida"),
        ("Av.", "Avenida"),
        ("EE. UU.", "Estados Unidos"),
        ("EE.UU.", "Estados Unidos"),
        ("a. C.", "antes de Cristo"),
        ("d. C.", "después de Cristo"),
        ("Prof.", "profesor"),
        ("izq.", "izquierda"),
        ("dcha.", "derecha"),
        ("C++", "C más más"),
        ("vs.", "versus"),
    ],
    id_words: &[
        "pedido",
        "código",
        "pin",
        "número",
        "referencia",
        "cuenta",
        "factura",
        "ticket",
        "cliente",
        "postal",
        "seguimiento",
        "reserva",
        "expediente",
    ],
    rulers: &[
        "Felipe",
        "Carlos",
        "Alfonso",
        "Fernando",
        "Isabel",
        "Juan",
        "Enrique",
        "Luis",
        "Jorge",
        "Pablo",
        "Pío",
        "Benedicto",
        "Pedro",
        "Catalina",
        "Napoleón",
        "Jaime",
        "Sancho",
        "León",
        "Gregorio",
        "Guillermo",
    ],
    chapters: &[
        "capítulo",
        "tomo",
        "parte",
        "volumen",
        "acto",
        "libro",
        "artículo",
        "tipo",
        "fase",
        "clase",
        "siglo",
    ],
    emoji: &[
        ('😀', "cara sonriente"),
        ('😂', "risa"),
        ('😊', "sonrisa"),
        ('🙂', "sonrisa"),
        ('😉', "guiño"),
        ('❤', "corazón"),
        ('👍', "pulgar arriba"),
        ('👎', "pulgar abajo"),
        ('🎉', "fiesta"),
        ('🔥', "fuego"),
        ('✅', "marca de verificación"),
        ('❌', "cruz"),
        ('⚠', "atención"),
        ('🚀', "cohete"),
        ('🙏', "gracias"),
        ('⭐', "estrella"),
    ],
    say: Lexicon {
        point: "coma",
        minus: "menos",
        plus: "más",
        percent: "por ciento",
        per_mille: "por mil",
        and: "y",
        at: "arroba",
        dot: "punto",
        dash: "guion",
        underscore: "guion bajo",
        slash: "barra",
        backslash: "contrabarra",
        colon: "dos puntos",
        to: "a",
        ratio: "a",
        equals: "igual a",
        times: "por",
        by: "por",
        over: "sobre",
        divided: "dividido entre",
        number: "número",
        hashtag: "hashtag",
        degrees: "grados",
        less: "menor que",
        greater: "mayor que",
        plus_minus: "más o menos",
        about: "aproximadamente",
        section: "sección",
        code: "código",
        code_block: "El texto contiene un bloque de código.",
    },
};
