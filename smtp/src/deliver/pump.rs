//! When to claim, as a machine without I/O.
//!
//! A claim is a query on the writer's database, so it is made only when it can find something: at the
//! start, after a change, when something deferred is due, or when a slot comes free after a claim that
//! filled them all. Bulk mail has a share of the slots, so that some are always left for answers.

use jiff::{SignedDuration, Timestamp};

use super::{Priority, Room};

/// The first pause after the spool failed; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(200);
/// The longest pause after the spool failed.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug)]
pub(super) struct Pump {
    slots: usize,
    bulk_slots: usize,
    active: usize,
    /// Those of `active` that are bulk.
    bulk: usize,
    /// A claim may find something.
    hungry: bool,
    /// A claim may find bulk mail, once its share has room.
    bulk_waits: bool,
    due: Option<Timestamp>,
    failures: u32,
}

impl Pump {
    pub(super) fn new(slots: usize, bulk_slots: usize) -> Self {
        let slots = slots.max(1);
        Self {
            slots,
            bulk_slots: bulk_slots.clamp(1, slots),
            active: 0,
            bulk: 0,
            hungry: true,
            bulk_waits: false,
            due: None,
            failures: 0,
        }
    }

    /// What to ask for now, if a claim is worth it.
    pub(super) fn wants(&self, now: Timestamp) -> Option<Room> {
        let due = self.due.is_some_and(|due| due <= now);
        let any = self.slots.saturating_sub(self.active);
        let bulk = self.bulk_slots.saturating_sub(self.bulk).min(any);
        let hungry = self.hungry || due || (self.bulk_waits && bulk > 0);
        let paused = self.failures > 0 && !due;
        (any > 0 && hungry && !paused).then_some(Room { any, bulk })
    }

    /// A claim at `now` returned `got` deliveries, `bulk` of them bulk.
    pub(super) fn claimed(
        &mut self,
        now: Timestamp,
        asked: Room,
        got: usize,
        bulk: usize,
        next_due: Option<Timestamp>,
    ) {
        self.active += got;
        self.bulk += bulk;
        self.hungry = got >= asked.any;
        self.bulk_waits = bulk >= asked.bulk;
        // What is due and was left behind for want of room waits for room, not for the clock.
        self.due = next_due.filter(|due| *due > now || !self.bulk_waits);
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
    pub(super) fn finished(&mut self, priority: Priority) {
        self.active = self.active.saturating_sub(1);
        if priority == Priority::Bulk {
            self.bulk = self.bulk.saturating_sub(1);
        }
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

    fn room(any: usize, bulk: usize) -> Room {
        Room { any, bulk }
    }

    #[test]
    fn an_empty_claim_is_not_repeated_without_reason() {
        let mut pump = Pump::new(4, 2);
        assert_eq!(pump.wants(at(0)), Some(room(4, 2)));
        pump.claimed(at(0), room(4, 2), 0, 0, None);
        assert_eq!(pump.wants(at(1000)), None);
        assert_eq!(pump.wake_at(), None);
        pump.changed();
        assert_eq!(pump.wants(at(1000)), Some(room(4, 2)));
    }

    #[test]
    fn full_slots_wait_for_one_to_come_free() {
        let mut pump = Pump::new(2, 2);
        pump.claimed(at(0), room(2, 2), 2, 0, None);
        pump.changed();
        assert_eq!(pump.wants(at(0)), None);
        pump.finished(Priority::Answer);
        assert_eq!(pump.wants(at(0)), Some(room(1, 1)));
    }

    #[test]
    fn a_finished_delivery_alone_is_no_reason_to_claim() {
        let mut pump = Pump::new(4, 4);
        pump.claimed(at(0), room(4, 4), 2, 0, None);
        pump.finished(Priority::Answer);
        assert_eq!(pump.wants(at(0)), None);
    }

    #[test]
    fn bulk_mail_leaves_room_for_answers_and_goes_on_when_its_share_has_room() {
        let mut pump = Pump::new(4, 1);
        // Two bulk mails are due; one is in the share.
        pump.claimed(at(0), room(4, 1), 1, 1, Some(at(0)));
        assert_eq!(pump.wants(at(0)), None, "asking again would find nothing");
        assert_eq!(pump.wake_at(), None);
        pump.changed();
        assert_eq!(pump.wants(at(0)), Some(room(3, 0)));
        pump.claimed(at(0), room(3, 0), 1, 0, Some(at(0)));
        assert_eq!(pump.wants(at(0)), None);
        pump.finished(Priority::Answer);
        assert_eq!(pump.wants(at(0)), None);
        pump.finished(Priority::Bulk);
        assert_eq!(pump.wants(at(0)), Some(room(4, 1)));
        pump.claimed(at(0), room(4, 1), 0, 0, None);
        assert_eq!(pump.wants(at(0)), None);
    }

    #[test]
    fn a_deferred_delivery_is_claimed_when_due_and_not_before() {
        let mut pump = Pump::new(4, 4);
        pump.claimed(at(0), room(4, 4), 0, 0, Some(at(60)));
        assert_eq!(pump.wake_at(), Some(at(60)));
        assert_eq!(pump.wants(at(59)), None);
        assert_eq!(pump.wants(at(60)), Some(room(4, 4)));
    }

    #[test]
    fn a_failing_spool_is_asked_less_and_less() {
        let mut pump = Pump::new(4, 4);
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(pump.wants(now), Some(room(4, 4)));
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
