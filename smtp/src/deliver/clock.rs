//! Time as an argument.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

/// Where the worker takes its time from.
pub trait Clock: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Completes at or after `when`. Safe to drop.
    fn sleep_until(&self, when: Timestamp) -> impl Future<Output = ()> + Send;
}

/// The machine's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The longest one sleep, so that a clock that was set forward is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, when: Timestamp) {
        loop {
            let left = when.duration_since(Timestamp::now());
            match Duration::try_from(left) {
                Ok(left) if !left.is_zero() => tokio::time::sleep(left.min(LONGEST_SLEEP)).await,
                _ => return,
            }
        }
    }
}

/// Time that moves when told to, for tests.
#[derive(Debug)]
pub struct VirtualClock {
    now: watch::Sender<Timestamp>,
}

impl VirtualClock {
    /// Stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { now: watch::Sender::new(start) }
    }

    /// Moves to `when`; never back.
    pub fn set(&self, when: Timestamp) {
        self.now.send_modify(|now| *now = when.max(*now));
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, when: Timestamp) {
        let mut now = self.now.subscribe();
        // The sender lives in `self`, so waiting cannot fail; if it did, waking early is harmless.
        let _ = now.wait_for(|now| *now >= when).await;
    }
}
