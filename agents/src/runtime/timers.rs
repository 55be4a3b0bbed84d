//! Schedules that are due become events.

use crate::store::{Store, Wake};
use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

/// Schedules fired per transaction, so that a million due at once do not hold up an accept.
const BATCH: usize = 100;

pub(super) async fn run(
    store: Store,
    mut wakes: broadcast::Receiver<Wake>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let next = match store.next_schedule() {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "cannot read the schedules");
                Some(later(&store))
            }
        };
        let due = async {
            match next {
                Some(at) => store.clock().sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = super::stopped(&mut stopped) => return,
            () = due => {
                if let Err(error) = store.fire_schedules(BATCH).await {
                    tracing::error!(%error, "cannot fire schedules; trying again in a moment");
                    store.clock().sleep_until(later(&store)).await;
                }
            }
            () = changed(&mut wakes, |wake| wake == Wake::Schedule) => {}
        }
    }
}

/// A moment from now, for trying again.
pub(super) fn later(store: &Store) -> Timestamp {
    let now = store.clock().now();
    now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(now)
}

/// Completes at the next wake of interest, or when some were missed.
pub(super) async fn changed(
    wakes: &mut broadcast::Receiver<Wake>,
    interests: impl Fn(Wake) -> bool,
) {
    loop {
        match wakes.recv().await {
            Ok(wake) if interests(wake) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
