//! How long is waited for a provider, and how often it is asked.

use super::ErrorKind;
use std::time::Duration;

/// How long a provider may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// From sending the request to the first sign of the model, its thinking included.
    pub first_token: Duration,
    /// Between two signs of it.
    pub stall: Duration,
}

impl Default for Timeouts {
    /// For hosted models: a long request to a large one takes some tens of seconds to its first token.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_token: Duration::from_secs(60),
            stall: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// For models on one's own machine, which may first be read from disk, and then read a long request at
    /// some tens of tokens per second.
    pub const LOCAL: Self = Self {
        connect: Duration::from_secs(10),
        first_token: Duration::from_secs(300),
        stall: Duration::from_secs(60),
    };
}

/// How often a model is asked before the first token, and how long that may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The upper bound of the first wait.
    pub base: Duration,
    /// The upper bound of any wait that the provider did not ask for.
    pub cap: Duration,
    /// Longest wait the provider may ask for, and longest wait at its gate. Beyond, the error is reported
    /// with the time, and whoever asked comes back then.
    pub patience: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(8),
            patience: Duration::from_secs(20),
        }
    }
}

impl Retry {
    /// For a model that has another one to fall back on: a moment's hiccup is waited for, no more.
    pub(super) fn with_fallback(self) -> Self {
        Self {
            attempts: self.attempts.min(2),
            patience: self.patience.min(Duration::from_secs(2)),
            ..self
        }
    }

    /// How long to wait after the `failed`th failure, or `None` to give up. Full jitter: uniform between
    /// nothing and the bound, or after what the provider asked for. `random` is uniform in 0..=u64::MAX.
    pub(super) fn wait(&self, failed: u32, kind: &ErrorKind, random: u64) -> Option<Duration> {
        // Who waited a minute for nothing would wait another one.
        let slow = matches!(kind, ErrorKind::FirstTokenTimeout { .. } | ErrorKind::Busy);
        if failed >= self.attempts || !kind.may_retry() || slow {
            return None;
        }
        let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = self.base.saturating_mul(factor).min(self.cap);
        let nanos = (u128::from(random) * (bound.as_nanos() + 1)) >> 64;
        let jitter = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        match kind.retry_after() {
            Some(asked) if asked > self.patience => None,
            Some(asked) => Some(asked + jitter),
            None => Some(jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ErrorKind = ErrorKind::Server { status: 500, detail: String::new() };

    #[test]
    fn waits_double_up_to_the_cap_with_full_jitter() {
        let retry = Retry { attempts: 9, ..Retry::default() };
        let longest: Vec<_> = (1..=6)
            .map(|failed| retry.wait(failed, &SERVER, u64::MAX).map(|wait| wait.as_millis()))
            .collect();
        assert_eq!(longest, [500, 1_000, 2_000, 4_000, 8_000, 8_000].map(Some));
        assert_eq!(retry.wait(1, &SERVER, 0), Some(Duration::ZERO));
        let half = retry.wait(1, &SERVER, u64::MAX / 2).unwrap();
        assert_eq!(half.as_millis(), 250);
    }

    #[test]
    fn what_the_provider_asks_for_is_kept_and_beyond_patience_reported() {
        let retry = Retry::default();
        let limited =
            |secs| ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(secs)) };
        assert_eq!(retry.wait(1, &limited(7), 0), Some(Duration::from_secs(7)));
        assert!(retry.wait(1, &limited(7), u64::MAX) > Some(Duration::from_secs(7)));
        assert_eq!(retry.wait(1, &limited(21), 0), None);
        assert_eq!(retry.with_fallback().wait(1, &limited(7), 0), None);
    }

    #[test]
    fn what_does_not_help_is_not_done() {
        let retry = Retry::default();
        assert_eq!(retry.wait(3, &SERVER, 0), None);
        assert_eq!(retry.wait(1, &ErrorKind::NoCredit, 0), None);
        let slow = ErrorKind::FirstTokenTimeout { after: Duration::from_secs(60) };
        assert_eq!(retry.wait(1, &slow, 0), None);
    }
}
