//! Schedules that are due become events.

use crate::store::Store;
use jiff::Timestamp;
use tokio::sync::watch;

/// Schedules fired per transaction, so that a million due at once do not hold up an accept.
const BATCH: usize = 100;

pub(super) async fn run(
    store: Store,
    mut wakes: watch::Receiver<()>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut not_before = None;
    loop {
        let next = match store.next_schedule() {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "cannot read the schedules");
                Some(later(&store))
            }
        };
        let next = next.max(next.and(not_before.take()));
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
                    not_before = Some(later(&store));
                }
            }
            () = changed(&mut wakes) => {}
        }
    }
}

/// A moment from now, for trying again.
pub(super) fn later(store: &Store) -> Timestamp {
    let now = store.clock().now();
    now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(now)
}

/// Completes when something of interest was committed since the last time.
pub(super) async fn changed(wakes: &mut watch::Receiver<()>) {
    if wakes.changed().await.is_err() {
        // The store is gone, and so is whoever waits here, soon.
        std::future::pending().await
    }
}
