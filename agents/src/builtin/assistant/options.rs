//! How an assistant behaves, as configuration says it.

use crate::{
    gate::{Approval, SendRules},
    turn::{DailyBudget, Limits, context::Window},
};
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How an assistant behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssistantOptions {
    /// What it is told about who it is and what it does. The only instructions it has.
    pub instructions: String,
    /// Names of models, the first that answers is used. Opened by whoever builds the assistant.
    pub models: Vec<String>,
    /// Tools it may use, by name. Empty: the usual built-in ones and all that were added.
    pub tools: BTreeSet<String>,
    /// Which calls of a tool a person approves, by name: `all`, `unknown` or `none`.
    pub approvals: BTreeMap<String, Approval>,
    /// To whom outside of a conversation it may write without a person.
    pub send: SendRules,
    pub budget: DailyBudget,
    pub limits: Limits,
    pub window: Window,
    /// Whether pictures and PDF of the mail it answers are before it from the beginning, and not only when it asks
    /// for them. They are text of strangers like every attachment: calls with an effect are held then.
    pub shows_files: bool,
    /// Whether it takes turns about mail whose sender is not proven, before a person has admitted it. What it
    /// writes and does then is held, so this prepares drafts for whoever reviews.
    pub answers_unproven: bool,
    /// When it answers; at other times what comes waits. `None`: always.
    pub working_hours: Option<WorkingHours>,
}

impl Default for AssistantOptions {
    fn default() -> Self {
        Self {
            instructions: INSTRUCTIONS.to_owned(),
            models: Vec::new(),
            tools: BTreeSet::new(),
            approvals: BTreeMap::new(),
            send: SendRules::default(),
            budget: DailyBudget::default(),
            limits: Limits::default(),
            window: Window::default(),
            shows_files: false,
            answers_unproven: false,
            working_hours: None,
        }
    }
}

/// What an assistant is told where nobody wrote anything better.
const INSTRUCTIONS: &str = "You answer mail for the people who run this installation. Be brief, friendly and \
exact, in the language you are written to. Say only what you know from these conversations; if you cannot help, \
say that a person will look at it and use hand_to_person.";

/// The hours of a week in which an assistant answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkingHours {
    /// An IANA name such as Europe/Berlin.
    pub time_zone: String,
    /// 1 is Monday, 7 is Sunday.
    pub days: BTreeSet<i8>,
    pub from: civil::Time,
    /// After `from`.
    pub to: civil::Time,
}

impl WorkingHours {
    /// What is wrong with them, if anything is.
    pub fn check(&self) -> Result<(), String> {
        TimeZone::get(&self.time_zone).map_err(|_| {
            format!(
                "unknown time zone {:?}: use an IANA name such as Europe/Berlin",
                self.time_zone
            )
        })?;
        if self.days.is_empty() || self.days.iter().any(|day| !(1..=7).contains(day)) {
            return Err("days are numbers from 1 (Monday) to 7 (Sunday), at least one".into());
        }
        if self.from >= self.to {
            return Err(format!(
                "working hours end ({}) before they begin ({})",
                self.to, self.from
            ));
        }
        Ok(())
    }

    /// A time as people here say it: "on Monday at 9:00 (Europe/Berlin)".
    pub fn words(&self, at: Timestamp) -> String {
        let zone = TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC);
        format!("{} ({})", at.to_zoned(zone).strftime("on %A at %-H:%M"), self.time_zone)
    }

    /// The time from which work goes on, or `None` while it does.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        // Hours that were not checked keep nobody waiting.
        let zone = TimeZone::get(&self.time_zone).ok()?;
        self.check().ok()?;
        let here = zone.to_datetime(now);
        let works = |date: civil::Date| self.days.contains(&date.weekday().to_monday_one_offset());
        if works(here.date()) && (self.from..self.to).contains(&here.time()) {
            return None;
        }
        let mut date = here.date();
        if here.time() >= self.from {
            date = date.tomorrow().ok()?;
        }
        while !works(date) {
            date = date.tomorrow().ok()?;
        }
        zone.to_ambiguous_timestamp(date.to_datetime(self.from)).compatible().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours() -> WorkingHours {
        WorkingHours {
            time_zone: "Europe/Berlin".into(),
            days: (1..=5).collect(),
            from: civil::time(9, 0, 0, 0),
            to: civil::time(17, 0, 0, 0),
        }
    }

    #[test]
    fn work_goes_on_with_the_next_opening_in_its_own_zone() {
        let opens = |now: &str| hours().opens_at(now.parse().unwrap()).map(|at| at.to_string());
        // Friday, 16:59 and 17:00 in Berlin's winter.
        assert_eq!(opens("2026-01-16T15:59:00Z"), None);
        assert_eq!(opens("2026-01-16T16:00:00Z").as_deref(), Some("2026-01-19T08:00:00Z"));
        assert_eq!(opens("2026-01-19T07:59:59Z").as_deref(), Some("2026-01-19T08:00:00Z"));
        let monday = "2026-01-19T08:00:00Z".parse().unwrap();
        assert_eq!(hours().words(monday), "on Monday at 9:00 (Europe/Berlin)");
        // Over the change of the clock.
        assert_eq!(opens("2026-03-28T12:00:00Z").as_deref(), Some("2026-03-30T07:00:00Z"));
    }

    #[test]
    fn hours_that_never_come_are_refused() {
        assert!(hours().check().is_ok());
        for (broken, complaint) in [
            (WorkingHours { time_zone: "Mars".into(), ..hours() }, "IANA"),
            (WorkingHours { days: BTreeSet::new(), ..hours() }, "at least one"),
            (WorkingHours { days: [8].into(), ..hours() }, "1 (Monday)"),
            (WorkingHours { to: civil::time(8, 0, 0, 0), ..hours() }, "before they begin"),
        ] {
            let error = broken.check().unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
