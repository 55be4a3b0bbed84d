//! When to claim, as a machine without I/O.
//!
//! A claim is a query on the writer's database, so it is made only when it can find something: at the
//! start, after a change, when something deferred is due, or when a slot comes free after a claim that
//! filled them all.

use jiff::{SignedDuration, Timestamp};

/// The first pause after the spool failed; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(200);
/// The longest pause after the spool failed.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pump {
    slots: usize,
    active: usize,
    /// A claim may find something.
    hungry: bool,
    due: Option<Timestamp>,
    failures: u32,
}

impl Pump {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: slots.max(1), active: 0, hungry: true, due: None, failures: 0 }
    }

    /// How many deliveries to ask for now, if a claim is worth it.
    pub(super) fn wants(&self, now: Timestamp) -> Option<usize> {
        let due = self.due.is_some_and(|due| due <= now);
        let free = self.slots.saturating_sub(self.active);
        let paused = self.failures > 0 && !due;
        (free > 0 && (self.hungry || due) && !paused).then_some(free)
    }

    /// A claim for `asked` returned `got`.
    pub(super) fn claimed(&mut self, asked: usize, got: usize, next_due: Option<Timestamp>) {
        self.active += got;
        self.hungry = got >= asked;
        self.due = next_due;
        self.failures = 0;
    }

    /// A claim failed. Changes do not shorten the pause.
    pub(super) fn failed(&mut self, now: Timestamp) {
        self.failures += 1;
        self.due = Some(now + pause(self.failures));
    }

    /// Something in the spool changed.
    pub(super) fn changed(&mut self) {
        self.hungry = true;
    }

    /// A delivery was settled.
    pub(super) fn finished(&mut self) {
        self.active = self.active.saturating_sub(1);
    }

    /// When to look at the clock again; `None` while only events matter.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        if self.active < self.slots { self.due } else { None }
    }
}

/// The pause after this many failures in a row.
pub(super) fn pause(failures: u32) -> SignedDuration {
    let doubled = FIRST_PAUSE.checked_mul(1 << failures.saturating_sub(1).min(10));
    doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_empty_claim_is_not_repeated_without_reason() {
        let mut pump = Pump::new(4);
        assert_eq!(pump.wants(at(0)), Some(4));
        pump.claimed(4, 0, None);
        assert_eq!(pump.wants(at(1000)), None);
        assert_eq!(pump.wake_at(), None);
        pump.changed();
        assert_eq!(pump.wants(at(1000)), Some(4));
    }

    #[test]
    fn full_slots_wait_for_one_to_come_free() {
        let mut pump = Pump::new(2);
        pump.claimed(2, 2, None);
        pump.changed();
        assert_eq!(pump.wants(at(0)), None);
        pump.finished();
        assert_eq!(pump.wants(at(0)), Some(1));
    }

    #[test]
    fn a_finished_delivery_alone_is_no_reason_to_claim() {
        let mut pump = Pump::new(4);
        pump.claimed(4, 2, None);
        pump.finished();
        assert_eq!(pump.wants(at(0)), None);
    }

    #[test]
    fn a_deferred_delivery_is_claimed_when_due_and_not_before() {
        let mut pump = Pump::new(4);
        pump.claimed(4, 0, Some(at(60)));
        assert_eq!(pump.wake_at(), Some(at(60)));
        assert_eq!(pump.wants(at(59)), None);
        assert_eq!(pump.wants(at(60)), Some(4));
    }

    #[test]
    fn a_failing_spool_is_asked_less_and_less() {
        let mut pump = Pump::new(4);
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(pump.wants(now), Some(4));
            pump.failed(now);
            pump.changed();
            assert_eq!(pump.wants(now), None, "a change must not shorten the pause");
            let wake = pump.wake_at().unwrap();
            pauses.push(wake.duration_since(now).as_millis());
            now = wake;
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    }
}
