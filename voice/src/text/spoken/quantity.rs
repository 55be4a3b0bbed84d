//! Money, percentages, units, ranges, fractions, ordinals, years and plain numbers.

use super::context::{Cx, Hit, digit_run, skip_space, word_goes_on};
use super::number::{Number, digits, digits_grouped, scan};
use super::words::{Currency, Gender, Unit};
use crate::text::Lang;

/// `$5`, `€3.50`, `USD 20`, `$5 million`, `$5-10`.
pub(super) fn money_before(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let (currency, written) = currency_at(cx, rest)?;
    let (after, gap) = skip_space(&rest[written..]);
    let number = scan(cx.words, after, true)?;
    let mut at = written + gap + number.len;
    let ranged = rest[at..].strip_prefix(['-', '–', '—']).and_then(|more| {
        let more = more.strip_prefix(['$', '€', '£', '¥', '₹']).unwrap_or(more);
        let second = scan(cx.words, more, true)?;
        Some((second, rest.len() - more.len()))
    });
    if let Some((second, from)) = ranged {
        at = from + second.len;
        let (scale, used) = scale_at(cx, &rest[at..]);
        if word_goes_on(&rest[at + used..]) {
            return None;
        }
        let amount = say_money(cx, currency, &second, scale);
        return Hit::new(
            at + used,
            format!("{} {} {amount}", number.say(cx.words), cx.words.say.to),
        );
    }
    let (scale, used) = scale_at(cx, &rest[at..]);
    at += used;
    if word_goes_on(&rest[at..]) {
        return None;
    }
    Hit::new(at, say_money(cx, currency, &number, scale))
}

/// `5 €`, `5,50 EUR`, `5 Mio. €`.
pub(super) fn money_after(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let number = scan(cx.words, rest, true)?;
    let (scale, used) = scale_at(cx, &rest[number.len..]);
    let at = number.len + used;
    let (after, gap) = skip_space(&rest[at..]);
    let (currency, written) = currency_at(cx, after)?;
    // "5 $10 notes": the sign belongs to what follows.
    if word_goes_on(&after[written..]) {
        return None;
    }
    Hit::new(at + gap + written, say_money(cx, currency, &number, scale))
}

fn currency_at<'a>(cx: &Cx<'a>, text: &str) -> Option<(&'static Currency, usize)> {
    cx.words
        .currencies
        .iter()
        .flat_map(|currency| {
            currency.written.iter().map(move |written| (currency, written.len(), *written))
        })
        .filter(|(_, _, written)| text.starts_with(written))
        .max_by_key(|(_, len, _)| *len)
        .map(|(currency, len, _)| (currency, len))
}

fn scale_at(cx: &Cx<'_>, text: &str) -> (Option<&'static str>, usize) {
    let (after, gap) = skip_space(text);
    cx.words
        .scales
        .iter()
        .filter(|(written, _)| after.starts_with(written))
        // A single letter stands directly after the number: "$5M", but "5 M ..." is something else.
        .filter(|(written, _)| gap == 0 || written.len() > 1 || cx.words.lang == Lang::Fr)
        .filter(|(written, _)| !word_goes_on(&after[written.len()..]))
        .max_by_key(|(written, _)| written.len())
        .map_or((None, 0), |(written, said)| (Some(*said), gap + written.len()))
}

fn say_money(cx: &Cx<'_>, currency: &Currency, number: &Number, scale: Option<&str>) -> String {
    let words = cx.words;
    if let Some(scale) = scale {
        let amount = if words.lang == Lang::De && number.is_one() {
            "eine".to_owned()
        } else {
            number.say_counted(words, Gender::M)
        };
        let joined = if scale.ends_with('\'') { "" } else { " " };
        let elides = currency.many.starts_with(['a', 'e', 'i', 'o', 'u', 'y']);
        let scale = match scale.strip_suffix(" d'") {
            Some(head) if !elides => return format!("{amount} {head} de {}", currency.many),
            _ => scale,
        };
        return format!("{amount} {scale}{joined}{}", currency.many);
    }
    let name = |one: bool| if one { currency.one } else { currency.many };
    let whole = Number { whole: number.whole.clone(), decimals: None, len: 0, grouped: false };
    let cents = match number.decimals.as_deref() {
        None => None,
        Some(decimals) if decimals.len() <= 2 && !currency.cent.is_empty() => {
            format!("{decimals:0<2}").parse::<u64>().ok()
        }
        Some(_) => {
            return format!("{} {}", number.say(words), currency.many);
        }
    };
    let amount = format!("{} {}", whole.say_counted(words, currency.gender), name(whole.is_one()));
    let Some(cents @ 1..) = cents else { return amount };
    let cent = if cents == 1 { currency.cent } else { currency.cents };
    if whole.value() == Some(0) {
        return format!("{} {cent}", (words.counted)(cents, currency.cent_gender));
    }
    match words.lang {
        Lang::De | Lang::Fr => format!("{amount} {}", (words.cardinal)(cents)),
        Lang::Es => format!("{amount} con {}", (words.cardinal)(cents)),
        _ => format!("{amount} and {} {cent}", (words.counted)(cents, currency.cent_gender)),
    }
}

/// `5%`, `3,5 %`, `2‰`.
pub(super) fn percent(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let number = scan(cx.words, rest, true)?;
    let (after, gap) = skip_space(&rest[number.len..]);
    let (sign, name) = match after.chars().next()? {
        '%' | '％' => ('%', cx.words.say.percent),
        '‰' => ('‰', cx.words.say.per_mille),
        _ => return None,
    };
    let sign =
        if sign == '%' { after.chars().next().map_or(1, char::len_utf8) } else { sign.len_utf8() };
    let len = number.len + gap + sign;
    if word_goes_on(&rest[len..]) {
        return None;
    }
    Hit::new(len, format!("{} {name}", number.say(cx.words)))
}

/// `5 km`, `20°C`, `1h30`, `5'10"`, `1920x1080`.
pub(super) fn measure(cx: &Cx<'_>) -> Option<Hit> {
    duration(cx).or_else(|| feet(cx)).or_else(|| dimensions(cx)).or_else(|| unit(cx))
}

fn unit(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let number = scan(cx.words, rest, true)?;
    let (after, gap) = skip_space(&rest[number.len..]);
    let Unit(written, one, many, gender) = cx
        .words
        .units
        .iter()
        .filter(|unit| after.starts_with(unit.0) && !word_goes_on(&after[unit.0.len()..]))
        .filter(|unit| {
            // "4 in the morning", "2 x", "5 s": with a space, these are words.
            gap == 0
                || !matches!(unit.0, "in" | "x" | "t" | "V")
                || unit.0 == "t" && cx.words.lang == Lang::De
        })
        .max_by_key(|unit| unit.0.len())?;
    // "5 m/s" was longer; "5 l'eau" and "3 m²" are not this unit.
    let follows = after[written.len()..].chars().next();
    if matches!(follows, Some('\'' | '’' | '²' | '³' | '/')) {
        return None;
    }
    let mut len = number.len + gap + written.len();
    if written.ends_with('.') && cx.ends_after(len) {
        len -= 1;
    }
    let said = number.say_counted(cx.words, *gender);
    Hit::new(len, format!("{said} {}", if number.is_one() { one } else { many }))
}

/// `1h30`, `1h30m`, `2h 15min`.
fn duration(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let hours = digit_run(rest);
    let more = rest[hours..].strip_prefix('h')?;
    let (more, gap) = skip_space(more);
    let minutes = digit_run(more);
    if !(1..=2).contains(&minutes) || hours == 0 || hours > 3 {
        return None;
    }
    let mut len = hours + 1 + gap + minutes;
    let suffix = ["min", "m"].iter().find(|suffix| more[minutes..].starts_with(*suffix));
    len += suffix.map_or(0, |suffix| suffix.len());
    if word_goes_on(&rest[len..]) {
        return None;
    }
    let of = |symbol: &str, value: &str| {
        let Unit(_, one, many, gender) = cx.words.units.iter().find(|unit| unit.0 == symbol)?;
        let value: u64 = value.parse().ok()?;
        Some(format!(
            "{} {}",
            (cx.words.counted)(value, *gender),
            if value == 1 { one } else { many }
        ))
    };
    let say = format!("{} {}", of("h", &rest[..hours])?, of("min", &more[..minutes])?);
    Hit::new(len, say)
}

/// `5'10"`.
fn feet(cx: &Cx<'_>) -> Option<Hit> {
    if cx.words.lang != Lang::En {
        return None;
    }
    let rest = cx.rest();
    let feet = digit_run(rest);
    let more = rest[feet..].strip_prefix(['\'', '′', '’'])?;
    let inches = digit_run(more);
    let mark = more[inches..].chars().next().filter(|c| matches!(c, '"' | '″' | '”'))?;
    if !(1..=2).contains(&inches) || !(1..=2).contains(&feet) {
        return None;
    }
    let len = rest.len() - more.len() + inches + mark.len_utf8();
    let say = |value: &str| value.parse().map(cx.words.cardinal).unwrap_or_default();
    Hit::new(len, format!("{} foot {}", say(&rest[..feet]), say(&more[..inches])))
}

/// `1920x1080`, `3 × 4`.
fn dimensions(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let first = digit_run(rest);
    let (after, gap) = skip_space(&rest[first..]);
    let mark = after.chars().next().filter(|c| matches!(c, 'x' | '×'))?;
    let (second, second_gap) = skip_space(&after[mark.len_utf8()..]);
    if digit_run(second) == 0 || gap != second_gap || first > 5 || rest.starts_with('0') {
        return None;
    }
    // Only this number and the sign; the next number says itself.
    let number = scan(cx.words, &rest[..first], false)?;
    let word = if mark == 'x' { cx.words.say.by } else { cx.words.say.times };
    Hit::new(first + gap + mark.len_utf8(), format!("{} {word}", number.say(cx.words)))
}

/// `3-5`, `1990–1995`, `10:00-11:30`: this end and the dash; the other end says itself.
pub(super) fn range(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let (len, say) = match super::calendar::time(cx) {
        Some(hit) => (hit.len, hit.say),
        None => {
            let number = scan(cx.words, rest, false)?;
            (number.len, plain(cx, &number))
        }
    };
    let (after, gap) = skip_space(&rest[len..]);
    let dash = after.chars().next().filter(|c| matches!(c, '-' | '–' | '—'))?;
    let (more, second_gap) = skip_space(&after[dash.len_utf8()..]);
    // "5 - 3" is a subtraction; "5 – 3" and "5-3" are ranges.
    if gap != second_gap || gap > 0 && dash == '-' || digit_run(more) == 0 {
        return None;
    }
    Hit::new(len + gap + dash.len_utf8(), format!("{say} {}", cx.words.say.to))
}

/// `3:1`, `16:9`: what is no time; this side and the colon, as with a range.
pub(super) fn ratio(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let first = digit_run(rest);
    let more = rest[first..].strip_prefix(':')?;
    let second = digit_run(more);
    if !(1..=3).contains(&first) || !(1..=3).contains(&second) || word_goes_on(&more[second..]) {
        return None;
    }
    let number = scan(cx.words, &rest[..first], false)?;
    Hit::new(first + 1, format!("{} {}", number.say(cx.words), cx.words.say.ratio))
}

/// `1/2`, `3/4`, `1 1/2`, `5/12`.
pub(super) fn fraction(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let first = digit_run(rest);
    if let (more, gap @ 1..) = skip_space(&rest[first..])
        && let Some((n, d, len)) = over(more)
        && first <= 4
    {
        let said = (cx.words.fraction)(n, d)?;
        let whole = (cx.words.cardinal)(rest[..first].parse().ok()?);
        return Hit::new(first + gap + len, format!("{whole} {} {said}", cx.words.say.and));
    }
    let (n, d, len) = over(rest)?;
    let said = (cx.words.fraction)(n, d).unwrap_or_else(|| {
        format!("{} {} {}", (cx.words.cardinal)(n), cx.words.say.over, (cx.words.cardinal)(d))
    });
    Hit::new(len, said)
}

fn over(text: &str) -> Option<(u64, u64, usize)> {
    let first = digit_run(text);
    let more = text[first..].strip_prefix('/')?;
    let second = digit_run(more);
    let rest = &more[second..];
    if !(1..=4).contains(&first)
        || !(1..=4).contains(&second)
        || word_goes_on(rest)
        || rest.starts_with('/')
    {
        return None;
    }
    Some((text[..first].parse().ok()?, more[..second].parse().ok()?, first + 1 + second))
}

/// `3rd`, `3.` before a word in German, `2e`, `1er`, `3.º`, `2ª`.
pub(super) fn ordinal(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let number = scan(cx.words, rest, false).filter(|number| number.decimals.is_none())?;
    let value = number.value().filter(|&value| value > 0)?;
    let after = &rest[number.len..];
    let before = cx.word_before();
    let (suffix, before) = match cx.words.lang {
        Lang::En => {
            (["st", "nd", "rd", "th"].into_iter().find(|suffix| after.starts_with(suffix))?, before)
        }
        Lang::De => {
            let (next, gap) = skip_space(after.strip_prefix('.')?);
            let line_start =
                cx.behind().trim_end_matches([' ', '\t']).rsplit('\n').next() == Some("");
            if gap == 0 || number.len > 3 || line_start || !next.starts_with(char::is_alphabetic) {
                return None;
            }
            (".", before)
        }
        Lang::Fr => {
            let suffix = ["ère", "ème", "ième", "er", "re", "e"]
                .into_iter()
                .find(|suffix| after.starts_with(suffix))?;
            (suffix, if matches!(suffix, "ère" | "re") { "la" } else { before })
        }
        Lang::Es => {
            let suffix = [".º", ".ª", "º", "ª", "er", "ro", "ra"]
                .into_iter()
                .find(|suffix| after.starts_with(suffix))?;
            let feminine = suffix.ends_with('ª') || suffix == "ra";
            if suffix == "er" && matches!(value, 1 | 3) {
                let said = if value == 1 { "primer" } else { "tercer" };
                return Hit::new(number.len + 2, said);
            }
            let noun = skip_space(&after[suffix.len()..]).0.starts_with(char::is_alphabetic);
            if !feminine && noun && matches!(value, 1 | 3) {
                let said = if value == 1 { "primer" } else { "tercer" };
                return Hit::new(number.len + suffix.len(), said);
            }
            (suffix, if feminine { "la" } else { before })
        }
        _ => return None,
    };
    if word_goes_on(&after[suffix.len()..]) {
        return None;
    }
    Hit::new(number.len + suffix.len(), (cx.words.ordinal)(value, before))
}

/// `1990s`, `90s`, `1990er`.
pub(super) fn decade(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let len = digit_run(rest);
    let suffix = match cx.words.lang {
        Lang::En => "s",
        Lang::De => "er",
        _ => return None,
    };
    let after = rest[len..].strip_prefix(suffix)?;
    if !(len == 2 || len == 4)
        || !rest[..len].ends_with('0')
        || word_goes_on(after)
        || rest.starts_with('0')
    {
        return None;
    }
    // "Wait 30s" are seconds, "the 90s" are years.
    let before = cx.word_before().to_lowercase();
    let named = matches!(before.as_str(), "the" | "early" | "late" | "mid" | "den")
        || cx.behind().ends_with(['\'', '’']);
    if len == 2 && !named || len == 4 && !(rest.starts_with('1') || rest.starts_with("20")) {
        return None;
    }
    let value: u64 = rest[..len].parse().ok()?;
    let words = if len == 4 { (cx.words.year)(value) } else { (cx.words.cardinal)(value) };
    let say = match (cx.words.lang, words.strip_suffix('y')) {
        (Lang::De, _) => format!("{words}er"),
        (_, Some(stem)) => format!("{stem}ies"),
        _ => format!("{words}s"),
    };
    Hit::new(len + suffix.len(), say)
}

/// `1.2.3`, `192.168.1.1`.
pub(super) fn version(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let len = digit_run(&rest[at..]);
        parts.push(&rest[at..at + len]);
        at += len;
        match rest[at..].strip_prefix('.') {
            Some(more) if digit_run(more) > 0 && parts.len() < 6 => at += 1,
            _ => break,
        }
    }
    let grouped = cx.words.decimal_comma && parts[1..].iter().all(|part| part.len() == 3);
    let lone = parts.len() == 2 && (!cx.words.decimal_comma || grouped);
    if parts.len() < 2
        || lone
        || grouped
        || parts.iter().any(|part| part.len() > 6)
        || word_goes_on(&rest[at..])
    {
        return None;
    }
    let dot =
        if cx.words.lang == Lang::En && parts.len() != 4 { "point" } else { cx.words.say.dot };
    let said: Vec<String> = parts
        .iter()
        .map(|part| match part.parse::<u64>() {
            Ok(value) if !(part.len() > 1 && part.starts_with('0')) => (cx.words.cardinal)(value),
            _ => digits(cx.words, part),
        })
        .collect();
    Hit::new(at, said.join(&format!(" {dot} ")))
}

/// A number that is nothing else.
pub(super) fn cardinal(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let number = scan(cx.words, rest, false)?;
    let mut say = plain(cx, &number);
    let mut len = number.len;
    if let Some(c) = rest[len..].chars().next()
        && let Some((n, d)) = vulgar(c)
        && number.decimals.is_none()
        && let Some(part) = (cx.words.fraction)(n, d)
    {
        say = format!("{say} {} {part}", cx.words.say.and);
        len += c.len_utf8();
    }
    Hit::new(len, say)
}

fn plain(cx: &Cx<'_>, number: &Number) -> String {
    match number.value() {
        Some(value)
            if number.decimals.is_none() && !number.grouped && is_year(cx, number, value) =>
        {
            (cx.words.year)(value)
        }
        None if number.decimals.is_none() => digits_grouped(cx.words, &number.whole),
        _ => number.say(cx.words),
    }
}

fn is_year(cx: &Cx<'_>, number: &Number, value: u64) -> bool {
    if number.whole.len() != 4 || !(1010..=2099).contains(&value) {
        return false;
    }
    if (1900..=2099).contains(&value) || cx.words.lang != Lang::En {
        return true;
    }
    let before = cx.word_before().to_lowercase();
    matches!(
        before.as_str(),
        "in" | "since"
            | "from"
            | "by"
            | "until"
            | "till"
            | "year"
            | "of"
            | "around"
            | "circa"
            | "early"
            | "late"
            | "to"
            | "between"
            | "and"
            | "before"
            | "after"
            | "during"
    ) || cx.words.months.iter().any(|(name, _)| *name == before)
}

/// The fraction a single character stands for.
pub(super) fn vulgar(c: char) -> Option<(u64, u64)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        _ => return None,
    })
}
