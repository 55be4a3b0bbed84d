//! The loop that drives deliveries from a spool through a transport.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, warn};

use super::pump::{Pump, pause};
use super::{Clock, DataMark, DeliveryId, Outcome, Spool, Transport};

/// How [`run`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Deliveries under way at once, at least 1. Each holds its message in memory.
    pub concurrency: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 16 }
    }
}

/// Delivers until `shutdown` completes, then finishes what is under way and returns. It waits for one
/// thing at a time and never asks the spool without a reason (see the pump).
pub async fn run<S: Spool, T: Transport, C: Clock>(
    spool: Arc<S>,
    transport: Arc<T>,
    clock: Arc<C>,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut pump = Pump::new(options.concurrency);
    let mut tasks = Tasks { set: JoinSet::new(), ids: HashMap::new() };
    tokio::pin!(shutdown);
    loop {
        if let Some(free) = pump.wants(clock.now()) {
            match spool.claim(clock.now(), free).await {
                Ok(claims) => {
                    pump.claimed(free, claims.deliveries.len(), claims.next_due);
                    for delivery in claims.deliveries {
                        let id = delivery.id.clone();
                        let (spool, transport) = (spool.clone(), transport.clone());
                        let clock = clock.clone();
                        let handle = tasks.set.spawn(async move {
                            let mark = DataMark::new(&*spool, &delivery.id);
                            let outcome = transport.deliver(&delivery, clock.now(), mark).await;
                            settle(&*spool, &*clock, &delivery.id, outcome).await;
                        });
                        tasks.ids.insert(handle.id(), id);
                    }
                }
                Err(failure) => {
                    warn!(error = %failure, "could not claim deliveries");
                    pump.failed(clock.now());
                }
            }
        }
        let wake_at = pump.wake_at();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(done) = tasks.set.join_next_with_id() => {
                tasks.finish(done, &spool, &clock).await;
                pump.finished();
                // What else has ended by now frees its slot as well, so that one claim fills them all: a
                // claim is a commit and waits for its signatures.
                while let Some(done) = tasks.set.try_join_next_with_id() {
                    tasks.finish(done, &spool, &clock).await;
                    pump.finished();
                }
            }
            () = spool.changed() => pump.changed(),
            () = sleep(&*clock, wake_at) => {}
        }
    }
    while let Some(done) = tasks.set.join_next_with_id().await {
        tasks.finish(done, &spool, &clock).await;
    }
}

async fn sleep<C: Clock>(clock: &C, wake_at: Option<jiff::Timestamp>) {
    match wake_at {
        Some(when) => clock.sleep_until(when).await,
        None => std::future::pending().await,
    }
}

struct Tasks {
    set: JoinSet<()>,
    ids: HashMap<Id, DeliveryId>,
}

impl Tasks {
    /// Forgets a finished task. One that panicked has not settled, and may have sent: that is
    /// uncertain.
    async fn finish<S: Spool, C: Clock>(
        &mut self,
        done: Result<(Id, ()), JoinError>,
        spool: &Arc<S>,
        clock: &Arc<C>,
    ) {
        match done {
            Ok((task, ())) => {
                self.ids.remove(&task);
            }
            Err(failure) => {
                let Some(id) = self.ids.remove(&failure.id()) else { return };
                error!(delivery = %id, "a delivery stopped by a bug");
                let reason = "the delivery stopped by a bug in the transport".to_owned();
                settle(&**spool, &**clock, &id, Outcome::Uncertain { reason }).await;
            }
        }
    }
}

/// How often a result is offered to a failing spool: with the pauses between, about four minutes.
/// After that the restart rule decides (see the module documentation), as after a crash.
const SETTLE_ATTEMPTS: u32 = 15;

async fn settle<S: Spool, C: Clock>(spool: &S, clock: &C, id: &DeliveryId, outcome: Outcome) {
    for attempt in 1..=SETTLE_ATTEMPTS {
        match spool.settle(id, outcome.clone()).await {
            Ok(()) => {
                debug!(delivery = %id, "settled");
                return;
            }
            Err(failure) => {
                warn!(delivery = %id, error = %failure, attempt, "could not record a delivery");
            }
        }
        clock.sleep_until(clock.now() + pause(attempt)).await;
    }
    error!(delivery = %id, "gave up recording a delivery; the next start will decide");
}
