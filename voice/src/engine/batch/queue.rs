//! What waits for a decode slot. Pure: time is an argument.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What a piece of sound is decoded for. The later ones in this list are shed before the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The caller has finished: somebody is waiting in silence.
    Final,
    /// The caller has paused, and may have finished.
    Pause,
    /// The first part of an utterance too long for one window.
    Part,
    /// Text to show while the caller speaks.
    Interim,
}

impl Purpose {
    /// How soon it should be started. A turn ends after half a second of silence at the least, so a pause
    /// that starts within that costs nothing; interim text after a second is old.
    fn patience(self) -> Duration {
        Duration::from_millis(match self {
            Self::Final => 0,
            Self::Pause => 300,
            Self::Interim => 700,
            Self::Part => 2_000,
        })
    }
}

/// Whether a piece of work is still wanted, shared by who asked and who does it.
#[derive(Debug)]
pub struct Ticket {
    purpose: Purpose,
    cancelled: AtomicBool,
    hurried: AtomicBool,
    told: Notify,
}

impl Ticket {
    /// Wanted for `purpose`.
    pub fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            cancelled: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            told: Notify::new(),
        }
    }

    /// What it is wanted for: what was asked, or a final since it was hurried.
    pub fn purpose(&self) -> Purpose {
        if self.hurried.load(Ordering::Relaxed) { Purpose::Final } else { self.purpose }
    }

    /// No longer wanted.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }

    /// Somebody waits for it now.
    pub fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    /// The flag behind [`Ticket::cancel`], to be looked at while working.
    pub fn cancelled(&self) -> &AtomicBool {
        &self.cancelled
    }

    /// Comes back when it is cancelled. For one waiter.
    pub async fn until_cancelled(&self) {
        while !self.cancelled.load(Ordering::Relaxed) {
            self.told.notified().await;
        }
    }
}

/// Work that waits, soonest deadline first; never more than its limit.
#[derive(Debug)]
pub struct Queue<T> {
    limit: usize,
    waiting: Vec<(Instant, T)>,
}

impl<T: AsRef<Ticket>> Queue<T> {
    /// For at most `limit` pieces.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), waiting: Vec::new() }
    }

    /// Adds a piece of work; returns the one that had to go for it, if any: what is cancelled, else what is
    /// worth least, the latest of those. It may be the new one itself.
    #[must_use = "what is shed must be answered"]
    pub fn push(&mut self, work: T, now: Instant) -> Option<T> {
        let deadline = now + work.as_ref().purpose().patience();
        self.waiting.push((deadline, work));
        if self.waiting.len() <= self.limit {
            return None;
        }
        let worst = self.waiting.iter().enumerate().max_by_key(|(_, (deadline, work))| {
            let ticket = work.as_ref();
            (ticket.cancelled.load(Ordering::Relaxed), ticket.purpose(), *deadline)
        });
        worst.map(|(at, _)| at).map(|at| self.waiting.remove(at).1)
    }

    /// The piece to do next. What is cancelled and interim text past its time goes to `shed` on the way.
    pub fn pop(&mut self, now: Instant, shed: &mut Vec<T>) -> Option<T> {
        let gone = |deadline: Instant, work: &T| {
            let ticket = work.as_ref();
            ticket.cancelled.load(Ordering::Relaxed)
                || (ticket.purpose() == Purpose::Interim && deadline < now)
        };
        shed.extend(
            self.waiting.extract_if(.., |(at, work)| gone(*at, work)).map(|(_, work)| work),
        );
        let next = self.waiting.iter().enumerate().min_by_key(|(_, (deadline, work))| {
            // What was hurried after it was queued is due, whatever it was queued for.
            let hurried = work.as_ref().hurried.load(Ordering::Relaxed);
            if hurried { (*deadline).min(now) } else { *deadline }
        });
        next.map(|(at, _)| at).map(|at| self.waiting.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Job(&'static str, Arc<Ticket>);

    impl AsRef<Ticket> for Job {
        fn as_ref(&self) -> &Ticket {
            &self.1
        }
    }

    fn job(name: &'static str, purpose: Purpose) -> Job {
        Job(name, Arc::new(Ticket::new(purpose)))
    }

    fn drain(queue: &mut Queue<Job>, now: Instant) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut shed = Vec::new();
        let mut done = Vec::new();
        while let Some(next) = queue.pop(now, &mut shed) {
            done.push(next.0);
        }
        (done, shed.iter().map(|job| job.0).collect())
    }

    #[test]
    fn who_waits_in_silence_goes_first_and_what_has_waited_long_overtakes() {
        let start = Instant::now();
        let mut queue = Queue::new(8);
        for (name, purpose) in
            [("part", Purpose::Part), ("interim", Purpose::Interim), ("pause", Purpose::Pause)]
        {
            assert!(queue.push(job(name, purpose), start).is_none());
        }
        let later = start + Duration::from_millis(400);
        assert!(queue.push(job("final", Purpose::Final), later).is_none());
        // The pause was due 100 ms before the final was asked for.
        let (done, shed) = drain(&mut queue, later);
        assert_eq!(done, ["pause", "final", "interim", "part"]);
        assert!(shed.is_empty());
    }

    #[test]
    fn a_full_queue_sheds_interim_text_first_and_finals_last() {
        let now = Instant::now();
        let mut queue = Queue::new(2);
        assert!(queue.push(job("interim", Purpose::Interim), now).is_none());
        assert!(queue.push(job("pause", Purpose::Pause), now).is_none());
        assert_eq!(queue.push(job("final", Purpose::Final), now).unwrap().0, "interim");
        assert_eq!(queue.push(job("final 2", Purpose::Final), now).unwrap().0, "pause");
        assert_eq!(queue.push(job("late", Purpose::Interim), now).unwrap().0, "late");
        let later = now + Duration::from_millis(1);
        assert_eq!(queue.push(job("final 3", Purpose::Final), later).unwrap().0, "final 3");
        assert_eq!(drain(&mut queue, now).0, ["final", "final 2"]);
    }

    #[test]
    fn old_interim_text_and_cancelled_work_are_shed_and_hurried_work_is_due() {
        let start = Instant::now();
        let mut queue = Queue::new(8);
        let (cancelled, hurried) = (job("cancelled", Purpose::Final), job("part", Purpose::Part));
        let (cancel, hurry) = (Arc::clone(&cancelled.1), Arc::clone(&hurried.1));
        for job in [cancelled, hurried, job("interim", Purpose::Interim)] {
            assert!(queue.push(job, start).is_none());
        }
        cancel.cancel();
        hurry.hurry();
        let later = start + Duration::from_millis(800);
        assert!(queue.push(job("pause", Purpose::Pause), later).is_none());
        let (done, shed) = drain(&mut queue, later);
        assert_eq!(done, ["part", "pause"]);
        assert_eq!(shed, ["cancelled", "interim"]);
        assert_eq!(hurry.purpose(), Purpose::Final);
    }
}
