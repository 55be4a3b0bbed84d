//! The loop that drives deliveries from a spool through a transport.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, warn};

use super::pump::{Pump, pause};
use super::{Claimed, Clock, DataMark, DeliveryId, Outcome, Priority, Spool, Switch, Transport};

/// How [`run`] works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Deliveries under way at once, at least 1. Each holds its message in memory.
    pub concurrency: usize,
    /// How many of them may be bulk, at least 1; fewer than all, and answers never wait for bulk mail.
    pub bulk: usize,
    /// Holds all sending.
    pub switch: Switch,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 16, bulk: 8, switch: Switch::default() }
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
    let Options { concurrency, bulk, switch } = options;
    let mut pump = Pump::new(concurrency, bulk);
    let mut tasks = Tasks { set: JoinSet::new(), known: HashMap::new() };
    tokio::pin!(shutdown);
    loop {
        let held = switch.is_held();
        let now = clock.now();
        if let Some(room) = pump.wants(now).filter(|_| !held) {
            match spool.claim(now, room).await {
                Ok(claims) => {
                    let is_bulk = |delivery: &&Claimed| delivery.priority == Priority::Bulk;
                    let bulk = claims.deliveries.iter().filter(is_bulk).count();
                    pump.claimed(now, room, claims.deliveries.len(), bulk, claims.next_due);
                    for delivery in claims.deliveries {
                        let known = (delivery.id.clone(), delivery.priority);
                        let (spool, transport) = (spool.clone(), transport.clone());
                        let (clock, switch) = (clock.clone(), switch.clone());
                        let handle = tasks.set.spawn(async move {
                            let outcome =
                                carry(&*spool, &*transport, &*clock, &switch, &delivery).await;
                            settle(&*spool, &*clock, &delivery.id, outcome).await;
                        });
                        tasks.known.insert(handle.id(), known);
                    }
                }
                Err(failure) => {
                    warn!(error = %failure, "could not claim deliveries");
                    pump.failed(now);
                }
            }
        }
        // While sending is held nothing is claimed, so nothing that is due wakes this.
        let wake_at = if held { None } else { pump.wake_at() };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(done) = tasks.set.join_next_with_id() => {
                pump.finished(tasks.finish(done, &spool, &clock).await);
                // What else has ended by now frees its slot as well, so that one claim fills them all: a
                // claim is a commit and waits for its signatures.
                while let Some(done) = tasks.set.try_join_next_with_id() {
                    pump.finished(tasks.finish(done, &spool, &clock).await);
                }
            }
            () = spool.changed() => pump.changed(),
            () = switch.until(!held) => {}
            () = sleep(&*clock, wake_at) => {}
        }
    }
    while let Some(done) = tasks.set.join_next_with_id().await {
        tasks.finish(done, &spool, &clock).await;
    }
}

/// Carries one delivery, unless sending is held before its mark.
async fn carry<S: Spool, T: Transport, C: Clock>(
    spool: &S,
    transport: &T,
    clock: &C,
    switch: &Switch,
    delivery: &Claimed,
) -> Outcome {
    let mark = DataMark::under(spool, &delivery.id, switch);
    let held = async {
        switch.until(true).await;
        if mark.has_begun() {
            // Past the mark it is finished, whatever the switch says.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        outcome = transport.deliver(delivery, clock.now(), &mark) => outcome,
        () = held => {
            let reason = "all sending is held".to_owned();
            Outcome::Deferred { until: clock.now(), reason }
        }
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
    known: HashMap<Id, (DeliveryId, Priority)>,
}

impl Tasks {
    /// Forgets a finished task and says which kind it was. One that panicked has not settled, and may
    /// have sent: that is uncertain.
    async fn finish<S: Spool, C: Clock>(
        &mut self,
        done: Result<(Id, ()), JoinError>,
        spool: &Arc<S>,
        clock: &Arc<C>,
    ) -> Priority {
        let task = match &done {
            Ok((task, ())) => *task,
            Err(failure) => failure.id(),
        };
        let Some((id, priority)) = self.known.remove(&task) else { return Priority::default() };
        if done.is_err() {
            error!(delivery = %id, "a delivery stopped by a bug");
            let reason = "the delivery stopped by a bug in the transport".to_owned();
            settle(&**spool, &**clock, &id, Outcome::Uncertain { reason }).await;
        }
        priority
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
