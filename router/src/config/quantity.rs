//! Sizes and durations as people write them.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 7] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("b", 1),
];

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `"35 MiB"`, `"512KB"`: octets.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// `"5m"`, `"30 s"`, `"2d"`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A size in the largest unit that divides it, for messages.
pub(super) fn show_size(octets: u64) -> String {
    match octets {
        0 => "0 B".into(),
        _ if octets.is_multiple_of(1 << 30) => format!("{} GiB", octets >> 30),
        _ if octets.is_multiple_of(1 << 20) => format!("{} MiB", octets >> 20),
        _ if octets.is_multiple_of(1 << 10) => format!("{} KiB", octets >> 10),
        _ => format!("{octets} B"),
    }
}

/// A duration in the largest unit that divides it, for messages.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".into();
    }
    let (name, factor) = DURATION_UNITS
        .iter()
        .rev()
        .find(|(_, factor)| millis.is_multiple_of(u128::from(*factor)))
        .unwrap_or(&DURATION_UNITS[0]);
    format!("{}{name}", millis / u128::from(*factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, octets) in [
            ("35 MiB", Some(35 << 20)),
            ("35mib", Some(35 << 20)),
            ("25 MB", Some(25_000_000)),
            ("10 B", Some(10)),
            ("35", None),
            ("MiB", None),
            ("-1 MiB", None),
            ("1.5 MiB", None),
            ("99999999999 GiB", None),
        ] {
            assert_eq!(parse_size(text), octets, "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_shown_alike() {
        for (text, seconds) in [("5m", 300), ("30s", 30), ("2d", 172_800), ("12h", 43_200)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)));
            assert_eq!(show_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(parse_duration("5 minutes"), None);
        assert_eq!(parse_duration("5"), None);
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_divides_them() {
        assert_eq!(show_size(35 << 20), "35 MiB");
        assert_eq!(show_size(1 << 30), "1 GiB");
        assert_eq!(show_size(1_000), "1000 B");
    }
}
