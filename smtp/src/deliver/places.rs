//! How many deliveries go to one destination at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a delivery waits for a place before it lets deliveries to other destinations go on.
const PATIENCE: Duration = Duration::from_secs(2);
/// Destinations remembered before those without deliveries are forgotten.
const SWEEP: usize = 1024;

/// A counter for each destination that has deliveries under way.
#[derive(Debug)]
pub(super) struct Places {
    each: usize,
    known: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Places {
    /// With so many places at each destination, at least one.
    pub(super) fn new(each: usize) -> Self {
        Self { each: each.max(1), known: Mutex::default() }
    }

    /// A place at a destination, held until it is dropped; none if all were taken for some time.
    pub(super) async fn enter(&self, destination: &str) -> Option<OwnedSemaphorePermit> {
        let semaphore = self.semaphore(destination);
        let waiting = tokio::time::timeout(PATIENCE, semaphore.acquire_owned());
        waiting.await.ok()?.ok()
    }

    fn semaphore(&self, destination: &str) -> Arc<Semaphore> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = known.get(destination).and_then(Weak::upgrade) {
            return semaphore;
        }
        if known.len() >= SWEEP {
            known.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let semaphore = Arc::new(Semaphore::new(self.each));
        known.insert(destination.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}
