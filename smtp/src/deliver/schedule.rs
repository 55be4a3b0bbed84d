//! When a delivery is tried again, and when no more: a pure function of its tries and its age.
//!
//! Waits grow from minutes to hours, as RFC 5321 section 4.5.4.1 asks. A delivery never waits longer
//! than it is old, so that one which was put off early for another reason (a full destination, a
//! stopped server) does not jump to the long waits. Each wait is spread by up to an eighth, from the
//! delivery's name, so that mails of one moment do not come back in one moment.

use jiff::{SignedDuration, Timestamp};

use super::{Claimed, DeliveryId, Outcome};

/// How deliveries are retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Waits after the first try, the second, and so on; the last one goes on. Without any, five
    /// minutes.
    pub waits: Vec<SignedDuration>,
    /// Age at which a delivery is given up. RFC 5321 section 4.5.4.1 asks for four to five days.
    pub expire_after: SignedDuration,
    /// Age from which whoever sent it is told that it is late. Sendmail's and Exim's customs are four
    /// hours and one day.
    pub notice_after: SignedDuration,
}

/// Minutes between tries. The first two are short for greylisting, which asks for one to five minutes.
const WAITS: [i64; 9] = [5, 10, 15, 30, 60, 60, 120, 240, 240];
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(5);

impl Default for Schedule {
    fn default() -> Self {
        Self {
            waits: WAITS.into_iter().map(SignedDuration::from_mins).collect(),
            expire_after: SignedDuration::from_hours(4 * 24),
            notice_after: SignedDuration::from_hours(4),
        }
    }
}

/// What comes after a try that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try at this time.
    Retry(Timestamp),
    /// It is too old.
    GiveUp,
}

impl Schedule {
    /// What follows a try at `now`, after `attempts` tries before it, of a delivery queued at
    /// `queued_at`. The last try is at the age of expiry.
    #[must_use]
    pub fn next(
        &self,
        id: &DeliveryId,
        attempts: u32,
        queued_at: Timestamp,
        now: Timestamp,
    ) -> Next {
        let age = now.duration_since(queued_at).max(SignedDuration::ZERO);
        if age >= self.expire_after {
            return Next::GiveUp;
        }
        let at = usize::try_from(attempts).unwrap_or(usize::MAX);
        let first = self.waits.first().copied().unwrap_or(FIRST_WAIT);
        let planned = self.waits.get(at).or(self.waits.last()).copied().unwrap_or(FIRST_WAIT);
        let wait = planned.min(age.max(first));
        let left = self.expire_after - age;
        Next::Retry(now + (wait + spread(id, attempts, wait)).min(left))
    }

    /// Whether a delivery that still waits at `now` is late: time for a notice in the history. It stays
    /// so; the notice is given once.
    #[must_use]
    pub fn is_late(&self, queued_at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(queued_at) >= self.notice_after
    }

    /// The outcome of a try that could not succeed now, not to be repeated before `not_before`.
    pub(super) fn later(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        not_before: Option<Timestamp>,
        reason: String,
    ) -> Outcome {
        match self.next(&delivery.id, delivery.attempts, delivery.queued_at, now) {
            Next::Retry(at) => {
                let until = not_before.map_or(at, |not_before| at.max(not_before));
                Outcome::Deferred { until, reason }
            }
            Next::GiveUp => {
                let hours = self.expire_after.as_hours();
                Outcome::Failed { reason: format!("given up after {hours} hours: {reason}") }
            }
        }
    }
}

/// Up to an eighth of the wait, the same each time it is asked for.
fn spread(id: &DeliveryId, attempts: u32, wait: SignedDuration) -> SignedDuration {
    let share = seed(id, u64::from(attempts)) % 1000;
    let millis = wait.as_millis().max(0) / 8 * i128::from(share) / 1000;
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0))
}

/// A number that depends on a delivery and a salt (FNV-1a): for spreading, not for secrets.
pub(super) fn seed(id: &DeliveryId, salt: u64) -> u64 {
    let octets = id.as_str().bytes().chain(salt.to_le_bytes());
    octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn id() -> DeliveryId {
        DeliveryId::from(7)
    }

    /// Minutes after the start at which a delivery that never succeeds is tried.
    fn tries(schedule: &Schedule) -> Vec<i64> {
        let (mut now, mut tries) = (start(), Vec::new());
        loop {
            tries.push(now.duration_since(start()).as_mins());
            let attempts = u32::try_from(tries.len()).unwrap() - 1;
            match schedule.next(&id(), attempts, start(), now) {
                Next::Retry(at) => now = at,
                Next::GiveUp => return tries,
            }
        }
    }

    #[test]
    fn waits_grow_and_the_last_try_is_at_expiry() {
        let tries = tries(&Schedule::default());
        assert_eq!(tries[0], 0);
        assert!((5..=6).contains(&tries[1]), "{tries:?}");
        assert_eq!(*tries.last().unwrap(), 4 * 24 * 60);
        assert!((20..40).contains(&tries.len()), "{tries:?}");
        let gaps: Vec<i64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap <= 270), "{gaps:?}");
        // RFC 5321 section 4.5.4.1: at least 30 minutes between tries, in the long run.
        assert!(gaps[5..gaps.len() - 1].iter().all(|gap| *gap >= 30), "{gaps:?}");
    }

    #[test]
    fn a_young_delivery_does_not_jump_to_the_long_waits() {
        let schedule = Schedule::default();
        let now = start() + SignedDuration::from_secs(30);
        let Next::Retry(at) = schedule.next(&id(), 40, start(), now) else { panic!() };
        assert!(at.duration_since(now) < SignedDuration::from_mins(6));
    }

    #[test]
    fn deliveries_of_one_moment_are_spread() {
        let schedule = Schedule::default();
        let mut times: Vec<Timestamp> = Vec::new();
        for number in 0..50 {
            match schedule.next(&DeliveryId::from(number), 0, start(), start()) {
                Next::Retry(at) => times.push(at),
                Next::GiveUp => panic!(),
            }
        }
        times.sort();
        times.dedup();
        assert!(times.len() > 30, "{}", times.len());
    }

    #[test]
    fn a_schedule_without_waits_and_a_clock_set_back_do_no_harm() {
        let schedule = Schedule { waits: Vec::new(), ..Schedule::default() };
        let before = start() - SignedDuration::from_hours(1);
        let Next::Retry(at) = schedule.next(&id(), 3, start(), before) else { panic!() };
        assert!(at > before);
    }

    #[test]
    fn lateness_begins_at_the_notice_point() {
        let schedule = Schedule::default();
        let at = |minutes| start() + SignedDuration::from_mins(minutes);
        assert!(!schedule.is_late(start(), at(239)));
        assert!(schedule.is_late(start(), at(240)));
    }
}
