//! Time as an argument.
//!
//! Everything in this crate that waits or stamps asks a [`Clock`], so a test moves days in
//! microseconds and never sleeps.

use jiff::{SignedDuration, Timestamp};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::watch;

/// A source of wall-clock time that can also be waited on.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// Completes when [`Clock::now`] is at or after `at`.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // Slept in slices of a minute, so that a clock set by NTP after start is noticed soon.
        Box::pin(async move {
            loop {
                let left = at.duration_since(Timestamp::now());
                if left <= SignedDuration::ZERO {
                    return;
                }
                tokio::time::sleep(left.unsigned_abs().min(Duration::from_secs(60))).await;
            }
        })
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(now)))
    }

    /// Moves the clock forward and wakes whoever waits for a time now reached.
    pub fn advance(&self, by: SignedDuration) {
        self.0.send_modify(|now| {
            *now = now.checked_add(by).expect("a test stays within the range of Timestamp");
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut changed = self.0.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, which this future borrows, so waiting cannot fail.
            let _ = changed.wait_for(|now| *now >= at).await;
        })
    }
}
