//! Dates and times.

use super::context::{Cx, Hit, digit_run, skip_space, word_goes_on};
use super::words::{Date, Half, Time, Words};
use crate::text::Lang;

/// `2025-03-04`, `2025-03-04T10:00:00Z`: ISO 8601.
pub(super) fn iso(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let bytes = rest.as_bytes();
    if digit_run(rest) != 4 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let year = number(rest.get(..4)?)?;
    let month = number(rest.get(5..7)?)?;
    let day = number(rest.get(8..10)?)?;
    let mut len = 10;
    let date = valid(day, month, Some(year), cx.settings.locale.month_first())?;
    let mut say = (cx.words.date)(&date, cx.word_before());
    if let Some(clock) = rest[10..].strip_prefix('T')
        && let Some((time, used)) = clock_time(clock)
    {
        len += 1 + used;
        say = format!("{say}, {}", (cx.words.time)(&time));
        len += zone(&rest[len..]);
    }
    if word_goes_on(&rest[len..]) || rest[len..].starts_with('-') {
        return None;
    }
    Hit::new(len, say)
}

/// The length of a zone after a time; it is not said.
fn zone(rest: &str) -> usize {
    let fraction = rest.strip_prefix('.').map_or(0, |more| 1 + digit_run(more));
    let after = &rest[fraction..];
    let offset = after.strip_prefix(['+', '-']).map_or(0, |more| {
        let hours = digit_run(more);
        1 + hours + more[hours..].strip_prefix(':').map_or(0, |minutes| 1 + digit_run(minutes))
    });
    fraction + if after.starts_with('Z') { 1 } else { offset }
}

/// `3/4/2025`, `04.03.2025`, `4.3.`, `04-03-2025`.
pub(super) fn numeric(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let first = digit_run(rest);
    let mark = rest[first..].chars().next().filter(|c| matches!(c, '/' | '.' | '-'))?;
    if !(1..=2).contains(&first) {
        return None;
    }
    let (second_text, gap) = dotted_gap(&rest[first + 1..], mark);
    let second = digit_run(second_text);
    if !(1..=2).contains(&second) {
        return None;
    }
    let second_at = first + 1 + gap;
    let after = &rest[second_at + second..];
    let a = number(&rest[..first])?;
    let b = number(&rest[second_at..second_at + second])?;
    let (mut len, mut year) = (second_at + second, None);
    let marked = after.strip_prefix(mark);
    if let Some(more) = marked {
        let (year_text, gap) = dotted_gap(more, mark);
        let digits = digit_run(year_text);
        if digits == 4 || digits == 2 && gap == 0 {
            let value = number(&year_text[..digits])?;
            year = Some(if digits == 2 { century(value) } else { value });
            len += 1 + gap + digits;
        }
    }
    if year.is_none() {
        // Without a year only German "3.5." is a date; "3/4" is a fraction and "3-4" a range.
        if mark != '.' || cx.words.lang != Lang::De || marked.is_none() {
            return None;
        }
        let abuts = marked.is_some_and(|more| digit_run(more) > 0);
        if abuts
            || cx.ends_after(len + 1)
                && !cx.behind().trim_end().ends_with(|c: char| c.is_alphabetic())
        {
            return None;
        }
        len += usize::from(!cx.ends_after(len + 1));
    }
    if word_goes_on(&rest[len..]) {
        return None;
    }
    let month_first = cx.settings.locale.month_first() && mark != '.';
    let (day, month) = if month_first { (b, a) } else { (a, b) };
    let date = valid(day, month, year, month_first)
        .or_else(|| valid(month, day, year, month_first).filter(|_| mark != '.'))?;
    Hit::new(len, (cx.words.date)(&date, cx.word_before()))
}

/// German writes "3. 5. 2025" too.
fn dotted_gap(text: &str, mark: char) -> (&str, usize) {
    if mark == '.' { skip_space(text) } else { (text, 0) }
}

/// `3 March 2025`, `3rd of March`, `3. März`, `1er mai`, `3 de mayo de 2025`.
pub(super) fn day_month(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let digits = digit_run(rest);
    if !(1..=2).contains(&digits) {
        return None;
    }
    let day = number(&rest[..digits])?;
    let mut at = digits;
    for suffix in ["st", "nd", "rd", "th", "er", "º", "."] {
        if rest[at..].starts_with(suffix) {
            at += suffix.len();
            break;
        }
    }
    at += required_space(&rest[at..])?;
    at += connecting(cx.words, &rest[at..]);
    let (month, used) = month_name(cx.words, &rest[at..])?;
    at += used;
    let (year, used) = year_after(cx.words, &rest[at..]);
    let date = valid(day, month, year, false)?;
    Hit::new(at + used, (cx.words.date)(&date, cx.word_before()))
}

/// `March 3, 2025`, `Mar. 3rd`.
pub(super) fn month_day(cx: &Cx<'_>) -> Option<Hit> {
    if cx.words.lang != Lang::En {
        return None;
    }
    let rest = cx.rest();
    let (month, mut at) = month_name(cx.words, rest)?;
    at += required_space(&rest[at..])?;
    let digits = digit_run(&rest[at..]);
    if !(1..=2).contains(&digits) {
        return None;
    }
    let day = number(&rest[at..at + digits])?;
    at += digits;
    if let Some(suffix) =
        ["st", "nd", "rd", "th"].iter().find(|suffix| rest[at..].starts_with(*suffix))
    {
        at += suffix.len();
    }
    if word_goes_on(&rest[at..]) || rest[at..].starts_with([':', '%', '/']) {
        return None;
    }
    let (year, used) = year_after(cx.words, &rest[at..]);
    let date = valid(day, month, year, true)?;
    Hit::new(at + used, (cx.words.date)(&date, cx.word_before()))
}

/// `10:30`, `10:30:15 pm`, `5 p.m.`, `10.30 Uhr`, `14h30`.
pub(super) fn time(cx: &Cx<'_>) -> Option<Hit> {
    let rest = cx.rest();
    let (mut time, mut at) = match clock_time(rest) {
        Some(found) => found,
        None => spoken_hour(cx, rest)?,
    };
    if let Some((half, used)) = half_of_day(&rest[at..]) {
        if time.hour == 0 || time.hour > 12 {
            // "13:00 pm": the half adds nothing.
            time.half = None;
        } else {
            time.half = Some(half);
        }
        let stop = rest[at..at + used].ends_with('.');
        at += used;
        if stop && cx.ends_after(at) {
            // The stop ends the sentence as well.
            at -= 1;
        }
    } else {
        let (after, gap) = skip_space(&rest[at..]);
        let hour_word = match cx.words.lang {
            Lang::De => ["Uhr", "uhr"].iter().find(|word| after.starts_with(*word)),
            Lang::Fr => ["heures", "h"].iter().find(|word| after.starts_with(*word)),
            _ => None,
        };
        if let Some(word) = hour_word
            && !word_goes_on(&after[word.len()..])
        {
            at += gap + word.len();
        }
    }
    if word_goes_on(&rest[at..]) {
        return None;
    }
    Hit::new(at, (cx.words.time)(&time))
}

/// `10:30` or `10:30:15`, without what follows.
fn clock_time(text: &str) -> Option<(Time, usize)> {
    let hours = digit_run(text);
    let hour = number(text.get(..hours)?).filter(|&hour| hours <= 2 && hour <= 24)?;
    let minute_text = text[hours..].strip_prefix(':')?;
    if digit_run(minute_text) != 2 {
        return None;
    }
    let minute = number(&minute_text[..2]).filter(|&minute| minute < 60)?;
    let mut time = Time { hour, minute: Some(minute), second: None, half: None };
    let mut at = hours + 3;
    if let Some(more) = text[at..].strip_prefix(':') {
        if digit_run(more) != 2 {
            return None;
        }
        time.second = Some(number(&more[..2]).filter(|&second| second < 60)?);
        at += 3;
    }
    Some((time, at))
}

/// An hour without minutes, or minutes after a point or an `h`, known by the word that follows.
fn spoken_hour(cx: &Cx<'_>, rest: &str) -> Option<(Time, usize)> {
    let hours = digit_run(rest);
    let hour = number(rest.get(..hours)?).filter(|&hour| hours <= 2 && hour <= 24)?;
    let plain = Time { hour, minute: None, second: None, half: None };
    let after = &rest[hours..];
    if half_of_day(after).is_some() && (1..=12).contains(&hour) {
        return Some((plain, hours));
    }
    match cx.words.lang {
        Lang::De => {
            let minutes = after.strip_prefix('.').filter(|more| digit_run(more) == 2);
            let used = hours + minutes.map_or(0, |_| 3);
            let (unit, _) = skip_space(&rest[used..]);
            if !unit.starts_with("Uhr") && !unit.starts_with("uhr") {
                return None;
            }
            let minute = minutes.and_then(|more| number(&more[..2])).filter(|&minute| minute < 60);
            Some((Time { minute, ..plain }, used))
        }
        Lang::Fr | Lang::Es => {
            let (unit, gap) = skip_space(after);
            let more = unit.strip_prefix('h')?;
            let (more, second_gap) = skip_space(more);
            if digit_run(more) == 2 {
                let minute = number(&more[..2]).filter(|&minute| minute < 60)?;
                return Some((
                    Time { minute: Some(minute), ..plain },
                    hours + gap + 1 + second_gap + 2,
                ));
            }
            None
        }
        _ => None,
    }
}

/// "am", "p.m.", with or without a space before.
fn half_of_day(text: &str) -> Option<(Half, usize)> {
    let (after, gap) = skip_space(text);
    let lower = after.get(..4).or(after.get(..2))?.to_ascii_lowercase();
    let (half, used) = if lower.starts_with("a.m.") {
        (Half::Am, 4)
    } else if lower.starts_with("p.m.") {
        (Half::Pm, 4)
    } else if lower.starts_with("am") {
        (Half::Am, 2)
    } else if lower.starts_with("pm") {
        (Half::Pm, 2)
    } else {
        return None;
    };
    // "I am": only directly after digits, or with a space and then no lower case word it could be.
    (!word_goes_on(&after[used..])).then_some((half, gap + used))
}

fn month_name(words: &Words, text: &str) -> Option<(u64, usize)> {
    let end = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
    let name = text.get(..end).filter(|name| (3..=12).contains(&name.len()))?;
    // English and German capitalise months, which keeps "may" and "mar" apart.
    if matches!(words.lang, Lang::En | Lang::De) && !name.starts_with(char::is_uppercase) {
        return None;
    }
    let lower = name.to_lowercase();
    let &(found, month) = words.months.iter().find(|(name, _)| *name == lower)?;
    let full = words.months.iter().position(|(name, _)| *name == found).is_some_and(|at| at < 12);
    let stop = !full && text[end..].starts_with('.');
    Some((month as u64, end + usize::from(stop)))
}

/// A year after a date: ", 2025", " 2025", " de 2025".
fn year_after(words: &Words, text: &str) -> (Option<u64>, usize) {
    let mut at = usize::from(text.starts_with(','));
    let Some(space) = required_space(&text[at..]) else { return (None, 0) };
    at += space;
    at += connecting(words, &text[at..]);
    let digits = digit_run(&text[at..]);
    let rest = &text[at + digits..];
    let other = word_goes_on(rest)
        || rest.starts_with([':', '-', '%'])
        || rest.starts_with(".") && digit_run(&rest[1..]) > 0;
    match number(&text[at..at + digits]) {
        Some(year) if digits == 4 && !other => (Some(year), at + digits),
        _ => (None, 0),
    }
}

fn connecting(words: &Words, text: &str) -> usize {
    words
        .of
        .iter()
        .find_map(|of| {
            let rest = text.strip_prefix(of)?;
            Some(of.len() + required_space(rest)?)
        })
        .unwrap_or(0)
}

fn required_space(text: &str) -> Option<usize> {
    match skip_space(text) {
        (_, 0) => None,
        (_, len) => Some(len),
    }
}

/// Two digits of a year: this century up to 2049, the last before.
fn century(value: u64) -> u64 {
    if value < 50 { 2000 + value } else { 1900 + value }
}

fn valid(day: u64, month: u64, year: Option<u64>, month_first: bool) -> Option<Date> {
    let ok = (1..=31).contains(&day) && (1..=12).contains(&month);
    ok.then_some(())?;
    Some(Date { day, month: usize::try_from(month).ok()?, year, month_first })
}

fn number(digits: &str) -> Option<u64> {
    digits.parse().ok()
}
