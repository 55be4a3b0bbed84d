//! When something happens next.
//!
//! A [`When`] is what an agent author writes; [`When::first`] and [`When::after`] are pure functions
//! of it and the clock, so a schedule survives a restart as three columns of a row.

use croner::Cron;
pub use jiff::SignedDuration;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The shortest interval between two firings. The timer's resolution is one second; below that an
/// interval is a busy loop.
pub const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum When {
    /// Once, this many milliseconds from now.
    In { millis: i64 },
    /// Once, at this time.
    At { at: Timestamp },
    /// Whenever the five-field (or six, with seconds) cron pattern matches the civil time of the zone.
    Cron { pattern: String, time_zone: String },
    /// Every so many milliseconds, counted from the last time it was due, skipping what was missed.
    Every { millis: i64 },
}

/// A schedule that can never fire or never stop firing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("cron pattern {pattern:?}: {why}. Five fields are minute, hour, day, month, weekday")]
    Pattern { pattern: String, why: String },
    #[error("unknown time zone {0:?}: use an IANA name such as Europe/Berlin, or UTC")]
    TimeZone(String),
    #[error("an interval of {0} ms is too short: the shortest is 1000 ms")]
    TooShort(i64),
    #[error("the time lies outside of the calendar")]
    OutOfRange,
}

impl When {
    /// Once, after a delay.
    pub fn after_delay(delay: SignedDuration) -> Self {
        Self::In { millis: delay.as_millis().clamp(0, i64::MAX as i128) as i64 }
    }

    /// By a cron pattern in a time zone.
    pub fn cron(pattern: impl Into<String>, time_zone: impl Into<String>) -> Self {
        Self::Cron { pattern: pattern.into(), time_zone: time_zone.into() }
    }

    /// At a fixed interval.
    pub fn every(interval: SignedDuration) -> Self {
        Self::Every { millis: interval.as_millis().clamp(0, i64::MAX as i128) as i64 }
    }

    /// The first time this fires after `now`. Errors where it never could.
    pub fn first(&self, now: Timestamp) -> Result<Timestamp, ScheduleError> {
        match self {
            Self::In { millis } => add(now, (*millis).max(0)),
            Self::At { at } => Ok(*at),
            Self::Cron { pattern, time_zone } => next_cron(pattern, time_zone, now),
            Self::Every { millis } => add(now, interval(*millis)?),
        }
    }

    /// The next time after it was due at `due` and fired at `now`, or `None` if it fires once.
    /// Firings missed while the server was down are not made up for: the next is after `now`.
    pub fn after(
        &self,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, ScheduleError> {
        match self {
            Self::In { .. } | Self::At { .. } => Ok(None),
            Self::Cron { pattern, time_zone } => {
                next_cron(pattern, time_zone, now.max(due)).map(Some)
            }
            Self::Every { millis } => {
                let millis = interval(*millis)?;
                let missed = (now.as_millisecond() - due.as_millisecond()).max(0) / millis;
                let steps = missed.saturating_add(1);
                add(due, millis.checked_mul(steps).ok_or(ScheduleError::OutOfRange)?).map(Some)
            }
        }
    }
}

fn interval(millis: i64) -> Result<i64, ScheduleError> {
    if i128::from(millis) < SHORTEST_INTERVAL.as_millis() {
        return Err(ScheduleError::TooShort(millis));
    }
    Ok(millis)
}

fn add(at: Timestamp, millis: i64) -> Result<Timestamp, ScheduleError> {
    at.checked_add(SignedDuration::from_millis(millis)).map_err(|_| ScheduleError::OutOfRange)
}

/// The cron crate counts on chrono's clock; the zone rules here are jiff's. The pattern is matched
/// against the zone's civil time (carried through chrono as if it were UTC) and the result put back
/// into the zone: a time the zone skips in spring fires right after the gap, and one it repeats in
/// autumn fires the first time only.
fn next_cron(pattern: &str, zone: &str, after: Timestamp) -> Result<Timestamp, ScheduleError> {
    let bad = |why: String| ScheduleError::Pattern { pattern: pattern.to_owned(), why };
    let cron = Cron::from_str(pattern).map_err(|e| bad(e.to_string()))?;
    let tz = TimeZone::get(zone).map_err(|_| ScheduleError::TimeZone(zone.to_owned()))?;
    let mut civil_after = tz.to_datetime(after);
    // At most a repeated hour of every-second matches lies between a civil time and the clock.
    for _ in 0..7_200 {
        let as_utc =
            chrono::DateTime::<chrono::Utc>::from_timestamp(civil_to_seconds(civil_after)?, 0)
                .ok_or(ScheduleError::OutOfRange)?;
        let next = cron.find_next_occurrence(&as_utc, false).map_err(|e| bad(e.to_string()))?;
        civil_after = TimeZone::UTC.to_datetime(
            Timestamp::from_second(next.timestamp()).map_err(|_| ScheduleError::OutOfRange)?,
        );
        let at = tz
            .to_ambiguous_timestamp(civil_after)
            .compatible()
            .map_err(|_| ScheduleError::OutOfRange)?;
        if at > after {
            return Ok(at);
        }
    }
    Err(bad("it never matches a time this zone has".to_owned()))
}

fn civil_to_seconds(at: civil::DateTime) -> Result<i64, ScheduleError> {
    TimeZone::UTC.to_timestamp(at).map(|t| t.as_second()).map_err(|_| ScheduleError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_delay_fires_once() {
        let when = When::after_delay(SignedDuration::from_secs(90));
        let due = when.first(at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(due, at("2026-01-01T00:01:30Z"));
        assert_eq!(when.after(due, due).unwrap(), None);
    }

    #[test]
    fn cron_follows_the_zone_through_both_changes_of_the_clock() {
        let when = When::cron("30 2 * * *", "Europe/Berlin");
        // 29 March 2026: 02:30 does not exist there, so it fires right after the gap, at 03:30.
        assert_eq!(when.first(at("2026-03-28T12:00:00Z")).unwrap(), at("2026-03-29T01:30:00Z"));
        // 25 October 2026: 02:30 comes twice and fires once.
        let first = when.first(at("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(first, at("2026-10-25T00:30:00Z"));
        assert_eq!(when.after(first, first).unwrap(), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn an_interval_skips_what_was_missed_and_keeps_its_phase() {
        let when = When::every(SignedDuration::from_secs(60));
        let due = at("2026-01-01T00:00:00Z");
        assert_eq!(
            when.after(due, at("2026-01-01T00:10:30Z")).unwrap(),
            Some(at("2026-01-01T00:11:00Z"))
        );
    }

    #[test]
    fn what_can_never_work_is_refused_with_the_fix() {
        let now = at("2026-01-01T00:00:00Z");
        let zone = When::cron("0 9 * * *", "Mars/Olympus").first(now).unwrap_err();
        assert!(zone.to_string().contains("IANA name"), "{zone}");
        let pattern = When::cron("61 * * * *", "UTC").first(now).unwrap_err();
        assert!(pattern.to_string().contains("61 * * * *"), "{pattern}");
        assert_eq!(
            When::every(SignedDuration::from_millis(10)).first(now),
            Err(ScheduleError::TooShort(10))
        );
        assert!(When::cron("0 0 30 2 *", "UTC").first(now).is_err());
    }
}
