//! The one writer.
//!
//! A thread owns the write connection. Operations wait in lanes; each round takes what is there, up
//! to a bound, runs every operation inside one transaction, commits once, and only then answers. So many
//! mails share one fsync, and whoever is told "done" is told after the disk was. One that fails takes nobody
//! with it: everything is rolled back, and the others run again without it. That is why operations are
//! functions that can be called twice.
//!
//! This file is the handle and its queue; the thread is in `run`, what operations are given in `tx`, and
//! the second thread, which copies the log into the database, in `checkpoint`.

mod checkpoint;
mod run;
mod tx;

pub(crate) use tx::Tx;

use super::{Result, Role, StoreError, Wakes, backup, index, open_connection, thread::ThreadKey};
use crate::Clock;
use checkpoint::Checkpoints;
use run::Writing;
use rusqlite::Connection;
use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
};

/// Who waits for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A mail session waits for its 250.
    Accept,
    /// Handlers, deliveries and people.
    Turn,
}

/// An operation that waits for its turn, with the callback of whoever waits for it.
trait Job: Send {
    /// Runs it, again if what it did before was rolled back. Answers why its writes must be undone, if they
    /// must.
    fn run(&mut self, tx: &mut Tx<'_>) -> Option<StoreError>;
    /// Tells whoever waits. `None` means that what it did was committed.
    fn end(self: Box<Self>, failure: Option<StoreError>);
}

struct Operation<T, O, F: FnOnce(Result<T>)> {
    run: O,
    /// Closed until it has run.
    outcome: Result<T>,
    done: Promise<T, F>,
}

impl<T, O, F> Job for Operation<T, O, F>
where
    T: Send,
    O: Fn(&mut Tx<'_>) -> Result<T> + Send,
    F: FnOnce(Result<T>) + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Option<StoreError> {
        // One operation with a bug is one failed operation, not the end of the writer.
        self.outcome = std::panic::catch_unwind(AssertUnwindSafe(|| (self.run)(tx)))
            .unwrap_or_else(|_| {
                Err(StoreError::Corrupt("an operation panicked; the log says where".into()))
            });
        self.outcome.as_ref().err().cloned()
    }

    fn end(self: Box<Self>, failure: Option<StoreError>) {
        let Self { outcome, done, .. } = *self;
        done.keep(match failure {
            // Why it failed is told even where everything else failed too.
            Some(failure) => outcome.and(Err(failure)),
            None => outcome,
        });
    }
}

/// A callback that is made exactly once: with the outcome, or with [`StoreError::Closed`] when the
/// operation is dropped unrun.
struct Promise<T, F: FnOnce(Result<T>)>(Option<F>, std::marker::PhantomData<fn(T)>);

impl<T, F: FnOnce(Result<T>)> Promise<T, F> {
    fn keep(mut self, outcome: Result<T>) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl<T, F: FnOnce(Result<T>)> Drop for Promise<T, F> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(StoreError::Closed));
        }
    }
}

/// The handle of the writer's thread.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    checkpoints: Arc<Checkpoints>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    lanes: Mutex<Lanes>,
    changed: Condvar,
}

/// What waits. The lanes have no bound of their own: everyone who submits waits for the answer and is
/// bounded at the door (sessions, handlers in flight, API requests).
#[derive(Default)]
struct Lanes {
    accept: VecDeque<Box<dyn Job>>,
    turn: VecDeque<Box<dyn Job>>,
    backup: VecDeque<backup::Request>,
    stopping: bool,
}

impl Lanes {
    fn is_empty(&self) -> bool {
        self.accept.is_empty() && self.turn.is_empty() && self.backup.is_empty()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Writer {
    pub fn start(
        connection: Connection,
        path: PathBuf,
        clock: Arc<dyn Clock>,
        wakes: Arc<Wakes>,
        index: Arc<index::Signal>,
    ) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let checkpoints = Arc::new(Checkpoints::default());
        let threads = ThreadKey::load(&connection)?;
        let copying = open_connection(&path, Role::Checkpointer)?;
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(body).map_err(StoreError::io(&path))
        };
        let writing = Writing {
            connection,
            clock,
            wakes,
            queue: queue.clone(),
            checkpoints: checkpoints.clone(),
            threads,
            index,
            tidied: 0,
        };
        let writer = spawn("store-writer", Box::new(move || writing.run()))?;
        let shared = checkpoints.clone();
        let checkpointer =
            spawn("store-checkpoint", Box::new(move || shared.copy_until_stopped(&copying)))?;
        Ok(Self { queue, checkpoints, threads: Mutex::new(vec![writer, checkpointer]) })
    }

    pub fn submit<T: Send + 'static>(
        &self,
        lane: Lane,
        op: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let done = Promise(Some(done), std::marker::PhantomData);
        let job = Box::new(Operation { run: op, outcome: Err(StoreError::Closed), done });
        let mut lanes = self.queue.lock();
        if lanes.stopping {
            drop(lanes);
            drop(job);
            return;
        }
        match lane {
            Lane::Accept => lanes.accept.push_back(job),
            Lane::Turn => lanes.turn.push_back(job),
        }
        drop(lanes);
        self.queue.changed.notify_one();
    }

    pub fn back_up(&self, request: backup::Request) {
        let mut lanes = self.queue.lock();
        if !lanes.stopping {
            lanes.backup.push_back(request);
        }
        drop(lanes);
        self.queue.changed.notify_one();
    }

    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.queue.changed.notify_all();
        *self.checkpoints.lock() = true;
        self.checkpoints.stopped.notify_all();
        let threads: Vec<_> =
            self.threads.lock().unwrap_or_else(|p| p.into_inner()).drain(..).collect();
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
