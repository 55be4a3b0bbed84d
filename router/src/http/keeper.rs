//! What must happen behind the API without anybody asking: snoozed conversations come back, webhooks are
//! told, and what is kept for a while only is forgotten.

use super::webhook::Sender;
use crate::desk::Desk;
use frontdesk_agents::{StoreError, store::WebhookOutcome};
use futures_util::future::join_all;
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};

/// Commits within this time are looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// The longest without a look: clocks are set, and what is old is forgotten now and then.
const LONGEST: Duration = Duration::from_secs(60);
/// Webhooks told at once.
const AT_ONCE: usize = 8;

/// Runs until the future ends.
pub async fn run(desk: Arc<Desk>, sender: Sender, stopping: impl Future<Output = ()>) {
    tokio::select! {
        () = keep(&desk, &sender) => {}
        () = stopping => {}
    }
}

async fn keep(desk: &Desk, sender: &Sender) {
    let mut commits = desk.store.commits();
    loop {
        if *commits.borrow_and_update() {
            return;
        }
        let wait = match look(desk, sender).await {
            Ok(wait) => wait,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "snoozes, webhooks or old records wait");
                LONGEST
            }
        };
        // Whichever comes first; an error means that the store is gone.
        match tokio::time::timeout(wait, commits.changed()).await {
            Ok(Err(_)) => return,
            Ok(Ok(())) => tokio::time::sleep(GATHER).await,
            Err(_) => {}
        }
    }
}

/// Does what is due, and answers how long nothing more will be.
async fn look(desk: &Desk, sender: &Sender) -> Result<Duration, StoreError> {
    let store = &desk.store;
    let now = store.clock().now();
    if store.next_snoozed().await?.is_some_and(|at| at <= now) {
        store.wake_snoozed().await?;
    }
    while store.fill_webhooks().await? {}
    loop {
        let due = store.due_webhooks(AT_ONCE).await?;
        if due.is_empty() {
            break;
        }
        let now = store.clock().now();
        let outcomes = join_all(due.iter().map(|due| sender.deliver(due, now))).await;
        for (due, (outcome, answer)) in due.iter().zip(outcomes) {
            let word = match outcome {
                WebhookOutcome::Sent => "sent",
                WebhookOutcome::RetryAt(_) => "deferred",
                WebhookOutcome::Dead => "dead",
            };
            metrics::counter!("webhooks_total", "outcome" => word).increment(1);
            store.settle_webhook(due.id, outcome, answer).await?;
        }
    }
    if store.has_old().await? {
        while store.prune().await? {}
    }
    let next = [store.next_snoozed().await?, store.next_webhook().await?];
    Ok(next.into_iter().flatten().map(|at| until(at, store.clock().now())).min().unwrap_or(LONGEST))
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO).min(LONGEST)
}
