//! What the headers of an answer say about the rate of requests.

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::HeaderMap;
use std::time::Duration;

/// No limit lasts longer than this; a header that says so is wrong.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What an answer says about the next request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The provider asks to wait this long. Meaningful with a failure only.
    pub retry_after: Option<Duration>,
    /// Requests or tokens are used up, and are counted anew after this long.
    pub exhausted: Option<Duration>,
}

impl Limits {
    /// Reads `Retry-After` and `retry-after-ms`, OpenAI's `x-ratelimit-*` (also of Groq, Azure, OpenRouter)
    /// and `anthropic-ratelimit-*`. Points in time are compared with the answer's own `Date` where it has
    /// one, so that a wrong clock on either side does no harm; else with `now`.
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let now = text("date").and_then(date).unwrap_or(now);
        let asked = text("retry-after-ms")
            .and_then(|text| seconds(text).map(|time| time / 1000))
            .or_else(|| text("retry-after").and_then(|text| wait(text, now)));
        let mut exhausted = None;
        let mut largest = None;
        for name in headers.keys().map(|name| name.as_str()) {
            let Some(remaining) = remaining(name) else { continue };
            let Some(reset) = text(name).and_then(|text| wait(text, now)) else { continue };
            largest = largest.max(Some(reset));
            if text(&remaining) == Some("0") {
                exhausted = exhausted.max(Some(reset));
            }
        }
        // Without anything at zero, it was the size of the request that did not fit: the limit that takes
        // longest to fill up is the one to wait for.
        Self { retry_after: asked.or(exhausted).or(largest), exhausted }
    }
}

/// The header that says how much is left, for one that says when it is counted anew.
fn remaining(reset: &str) -> Option<String> {
    if let Some(what) = reset.strip_prefix("x-ratelimit-reset") {
        return Some(format!("x-ratelimit-remaining{what}"));
    }
    let what = reset.strip_prefix("anthropic-ratelimit-")?.strip_suffix("-reset")?;
    Some(format!("anthropic-ratelimit-{what}-remaining"))
}

/// A time to wait in any of the ways providers write it: seconds, a duration like `6m0s` or `12ms`, seconds
/// or milliseconds since 1970, RFC 3339, or an HTTP date.
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    if let Some(time) = seconds(text) {
        // Nobody is asked to wait 30 years: that is a point in time.
        let at = match time.as_secs() {
            0..1_000_000_000 => return Some(time.min(LONGEST)),
            secs @ 1_000_000_000..100_000_000_000 => {
                Timestamp::from_second(secs.try_into().ok()?).ok()?
            }
            millis => Timestamp::from_millisecond(millis.try_into().ok()?).ok()?,
        };
        return Some(until(at, now));
    }
    if let Some(time) = go_duration(text) {
        return Some(time.min(LONGEST));
    }
    text.parse().ok().or_else(|| date(text)).map(|at| until(at, now))
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().min(LONGEST)
}

fn date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// `1h2m3.5s`, `12ms`: how Go writes durations, which is what OpenAI sends.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "ns" => 0.0,
            _ => return None,
        };
        let time = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()?;
        sum = sum.checked_add(time)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn limits(headers: &[(&'static str, &str)]) -> Limits {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        Limits::read(&headers, NOW)
    }

    fn asked(headers: &[(&'static str, &str)]) -> Option<f64> {
        limits(headers).retry_after.map(|time| time.as_secs_f64())
    }

    #[test]
    fn every_way_to_write_a_time_is_read() {
        for (text, expected) in [
            ("2", 2.0),
            ("0.5", 0.5),
            ("6m0s", 360.0),
            ("12ms", 0.012),
            ("1h2m3.5s", 3723.5),
            ("Thu, 01 Jan 1970 00:00:10 GMT", 10.0),
            ("1970-01-01T00:01:00Z", 60.0),
            ("99999999", 86_400.0),
        ] {
            assert_eq!(asked(&[("retry-after", text)]), Some(expected), "{text}");
        }
        for text in ["", "soon", "-1", "5x", "NaN", "s"] {
            assert_eq!(asked(&[("retry-after", text)]), None, "{text}");
        }
    }

    #[test]
    fn points_in_time_are_compared_with_the_servers_own_clock() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked(&[date, ("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")]), Some(3.0));
        assert_eq!(asked(&[date, ("x-ratelimit-reset", "784111780000")]), Some(3.0));
        assert_eq!(asked(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0.0));
    }

    #[test]
    fn milliseconds_go_before_seconds() {
        assert_eq!(asked(&[("retry-after-ms", "250"), ("retry-after", "1")]), Some(0.25));
    }

    #[test]
    fn what_is_used_up_is_waited_for() {
        let openai = limits(&[
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6s"),
        ]);
        assert_eq!(openai.exhausted, Some(Duration::from_secs(6)));
        let anthropic = limits(&[
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "1970-01-01T00:00:20Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "1000"),
            ("anthropic-ratelimit-input-tokens-reset", "1970-01-01T00:01:00Z"),
        ]);
        assert_eq!(anthropic.exhausted, Some(Duration::from_secs(20)));
        assert_eq!(anthropic.retry_after, Some(Duration::from_secs(20)));
        let router = limits(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3")]);
        assert_eq!(router.exhausted, Some(Duration::from_secs(3)));
    }

    #[test]
    fn with_enough_left_only_a_failure_waits() {
        let limits = limits(&[
            ("x-ratelimit-remaining-tokens", "120"),
            ("x-ratelimit-reset-tokens", "6s"),
            ("x-ratelimit-remaining-requests", "-1"),
            ("x-ratelimit-reset-requests", "0"),
        ]);
        assert_eq!(limits.exhausted, None);
        assert_eq!(limits.retry_after, Some(Duration::from_secs(6)));
        assert_eq!(limits_of_nothing(), Limits::default());
    }

    fn limits_of_nothing() -> Limits {
        limits(&[("content-type", "text/event-stream")])
    }
}
