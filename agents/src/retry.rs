//! When a failed attempt is made again: exponential back-off with full jitter.

use jiff::{SignedDuration, Timestamp};

/// How often and how soon a failure is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The upper bound of the first wait.
    pub base: SignedDuration,
    /// The upper bound of any wait.
    pub cap: SignedDuration,
}

impl RetryPolicy {
    /// Handlers do no outside I/O, so what fails is usually the database being full or a bug: a few
    /// quick attempts, then a person.
    pub const HANDLER: Self = Self {
        attempts: 5,
        base: SignedDuration::from_millis(200),
        cap: SignedDuration::from_secs(30),
    };
    /// Tasks wait for outside services, which are down for minutes.
    pub const TASK: Self = Self {
        attempts: 8,
        base: SignedDuration::from_secs(2),
        cap: SignedDuration::from_mins(10),
    };

    /// The time of the next attempt after `failed` attempts have failed, or `None` when they are used
    /// up. `random` is uniform in 0..=u64::MAX. Full jitter (uniform between nothing and the bound)
    /// keeps the retries of many instances that failed together apart.
    pub fn next(&self, failed: u32, now: Timestamp, random: u64) -> Option<Timestamp> {
        if failed >= self.attempts {
            return None;
        }
        let bound = self
            .base
            .checked_mul(1i32.checked_shl(failed.saturating_sub(1).min(30)).unwrap_or(i32::MAX))
            .unwrap_or(self.cap)
            .min(self.cap);
        let millis = bound.as_millis().max(0) as u128;
        let wait = (u128::from(random) * (millis + 1)) >> 64;
        now.checked_add(SignedDuration::from_millis(wait as i64)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn waits_double_up_to_the_cap_and_then_attempts_end() {
        let policy = RetryPolicy {
            attempts: 6,
            base: SignedDuration::from_millis(100),
            cap: SignedDuration::from_millis(500),
        };
        let longest: Vec<_> = (1..=6)
            .map(|failed| policy.next(failed, NOW, u64::MAX).map(|at| at.as_millisecond()))
            .collect();
        assert_eq!(longest, [Some(100), Some(200), Some(400), Some(500), Some(500), None]);
    }

    #[test]
    fn jitter_covers_the_whole_range_from_zero() {
        assert_eq!(RetryPolicy::TASK.next(1, NOW, 0), Some(NOW));
        let half = RetryPolicy::TASK.next(1, NOW, u64::MAX / 2).unwrap();
        assert_eq!(half.as_millisecond(), 1_000);
    }

    #[test]
    fn a_huge_count_of_failures_does_not_overflow() {
        let policy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::TASK };
        let at = policy.next(4_000_000, NOW, u64::MAX).unwrap();
        assert_eq!(at.as_millisecond(), 600_000);
    }
}
