//! The writer's thread: rounds of operations.

use super::{
    super::{
        BUSY_TIMEOUT, Result, StoreError, Wakes, backup, day_of, housekeeping, index,
        thread::ThreadKey,
    },
    Job, Lanes, Queue, Ran, Tx,
    checkpoint::{Checkpoints, checkpoint},
};
use crate::Clock;
use rusqlite::Connection;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Operations of one lane that share a transaction. Measured in facts/build.md: beyond 64 the
/// throughput gains a tenth and the slowest commit doubles.
const BATCH: usize = 64;

/// No new operation joins a transaction that has been open this long.
const ROUND: Duration = Duration::from_millis(5);

/// The state of the writer's thread.
pub(super) struct Writing {
    pub connection: Connection,
    pub clock: Arc<dyn Clock>,
    pub wakes: Arc<Wakes>,
    pub queue: Arc<Queue>,
    pub checkpoints: Arc<Checkpoints>,
    pub threads: ThreadKey,
    pub index: Arc<index::Signal>,
    /// The day on which old counters were last removed.
    pub tidied: i64,
}

impl Drop for Writing {
    /// However the thread ends, nobody is left waiting for it: dropped operations answer
    /// [`StoreError::Closed`], and later ones are turned away.
    fn drop(&mut self) {
        let left = {
            let mut lanes = self.queue.lock();
            lanes.stopping = true;
            let Lanes { accept, turn, backup, .. } = &mut *lanes;
            (std::mem::take(accept), std::mem::take(turn), std::mem::take(backup))
        };
        drop(left);
    }
}

impl Writing {
    pub fn run(mut self) {
        loop {
            let request = {
                let mut lanes = self.queue.lock();
                loop {
                    if !lanes.accept.is_empty() || !lanes.turn.is_empty() {
                        break None;
                    }
                    if let Some(request) = lanes.backup.pop_front() {
                        break Some(request);
                    }
                    if lanes.stopping {
                        drop(lanes);
                        self.finish();
                        return;
                    }
                    lanes = self.queue.changed.wait(lanes).unwrap_or_else(|p| p.into_inner());
                }
            };
            if let Some(request) = request {
                backup::run(&self.connection, request, || self.round());
                continue;
            }
            self.round();
            self.restart_log();
            self.tidy();
        }
    }

    /// One transaction: everything that waits, up to a bound.
    fn round(&self) {
        if self.queue.lock().is_empty() {
            return;
        }
        let started = Instant::now();
        let mut tx = Tx {
            conn: &self.connection,
            now: self.clock.now().as_millisecond(),
            threads: self.threads,
            wakes: Vec::new(),
        };
        if let Err(error) = self.statement("BEGIN IMMEDIATE") {
            self.fail_all(&error);
            return;
        }
        let mut ended = Vec::new();
        let lost = self.run_jobs(&mut tx, &mut ended, started);
        let failure = lost.or_else(|| self.statement("COMMIT").err());
        if let Some(error) = &failure {
            tracing::error!(%error, jobs = ended.len(), "a transaction failed; nothing of it took effect");
            if !self.connection.is_autocommit()
                && let Err(error) = self.statement("ROLLBACK")
            {
                tracing::error!(%error, "cannot roll back");
            }
        }
        metrics::histogram!("store_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("store_jobs_total").increment(ended.len() as u64);
        if failure.is_none() {
            self.checkpoints.commits.fetch_add(1, Ordering::Relaxed);
            self.index.committed();
            self.wakes.send(&tx.wakes);
        }
        for end in ended {
            end(failure.clone());
        }
    }

    /// Runs operations, each but the first in a savepoint. Answers an error if the transaction itself is gone, in which
    /// case nothing that ran in it took effect.
    fn run_jobs(
        &self,
        tx: &mut Tx<'_>,
        ended: &mut Vec<Box<dyn FnOnce(Option<StoreError>) + Send>>,
        started: Instant,
    ) -> Option<StoreError> {
        let (mut accepts, mut turns) = (0, 0);
        while started.elapsed() < ROUND {
            let job = {
                let mut lanes = self.queue.lock();
                // By turns: a flood of mail must not keep its own handlers from being committed.
                let accept_next = accepts <= turns || lanes.turn.is_empty() || turns == BATCH;
                if accept_next && accepts < BATCH && !lanes.accept.is_empty() {
                    accepts += 1;
                    lanes.accept.pop_front()
                } else if turns < BATCH {
                    turns += 1;
                    lanes.turn.pop_front()
                } else {
                    None
                }
            };
            let Some(job) = job else { break };
            // The first needs none: there is nothing to lose but its own. With a savepoint SQLite keeps a copy
            // of every page that is changed.
            let savepoint = !ended.is_empty();
            if savepoint && let Err(error) = self.statement("SAVEPOINT job") {
                ended.push(job(Err(error.clone())).end);
                return Some(error);
            }
            let told = tx.wakes.len();
            let Ran { error, end } = job(Ok(tx));
            ended.push(end);
            let closed = match (&error, savepoint) {
                (None, true) => self.statement("RELEASE job"),
                (None, false) => Ok(()),
                (Some(_), _) if self.connection.is_autocommit() => Ok(()),
                (Some(_), true) => {
                    self.statement("ROLLBACK TO job").and_then(|()| self.statement("RELEASE job"))
                }
                (Some(_), false) => {
                    self.statement("ROLLBACK").and_then(|()| self.statement("BEGIN IMMEDIATE"))
                }
            };
            if error.is_some() {
                tx.wakes.truncate(told);
            }
            if let Err(error) = closed {
                return Some(error);
            }
            // On some errors, a full disk among them, SQLite rolls back everything by itself. Going on would
            // then run the next operation in a transaction of its own.
            if self.connection.is_autocommit() {
                return Some(error.unwrap_or_else(|| {
                    StoreError::Corrupt("the transaction ended before its commit".into())
                }));
            }
        }
        None
    }

    /// BEGIN failed, so nothing that waits can run: tell everyone rather than let them hang.
    fn fail_all(&self, error: &StoreError) {
        tracing::error!(%error, "cannot begin a transaction");
        let jobs: Vec<Job> = {
            let mut lanes = self.queue.lock();
            let Lanes { accept, turn, .. } = &mut *lanes;
            accept.drain(..).chain(turn.drain(..)).collect()
        };
        for job in jobs {
            (job(Err(error.clone())).end)(Some(error.clone()));
        }
    }

    /// Once a day, removes what nobody needs any more.
    fn tidy(&mut self) {
        let now = self.clock.now().as_millisecond();
        if day_of(now) == self.tidied {
            return;
        }
        self.tidied = day_of(now);
        if let Err(error) = housekeeping::forget_old(&self.connection, now) {
            tracing::warn!(%error, "old counters could not be removed; tomorrow again");
        }
    }

    /// Lets the write-ahead log begin anew when the checkpointer has copied all but its last pages. It
    /// cannot do that itself: while there is load, there are always pages it has not copied yet.
    fn restart_log(&self) {
        if !self.checkpoints.restart.swap(false, Ordering::Relaxed) {
            return;
        }
        // A reader in the middle of a query keeps the log from being restarted; no accept waits for it.
        let patience = |time| self.connection.busy_timeout(time).map_err(StoreError::from);
        let restarted = patience(Duration::from_millis(5))
            .and_then(|()| checkpoint(&self.connection, "RESTART"))
            .and(patience(BUSY_TIMEOUT));
        if let Err(error) = restarted {
            tracing::warn!(%error, "the write-ahead log could not be restarted and goes on growing");
        }
    }

    fn finish(&self) {
        if let Err(error) = checkpoint(&self.connection, "TRUNCATE") {
            tracing::warn!(%error, "the last checkpoint failed; the next start will catch up");
        }
    }

    fn statement(&self, sql: &str) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute(())?;
        Ok(())
    }
}
