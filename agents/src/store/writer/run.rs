//! The writer's thread: rounds of operations.

use super::{
    super::{
        BUSY_TIMEOUT, Result, StoreError, Wakes, backup, day_of, housekeeping, index,
        thread::ThreadKey,
    },
    Job, Lanes, Queue, Tx,
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
        let mut ran = Vec::new();
        let lost = self.run_jobs(&mut tx, &mut ran, started);
        let failure = lost.or_else(|| self.statement("COMMIT").err());
        if let Some(error) = &failure {
            tracing::error!(%error, jobs = ran.len(), "a transaction failed; nothing of it took effect");
            if !self.connection.is_autocommit()
                && let Err(error) = self.statement("ROLLBACK")
            {
                tracing::error!(%error, "cannot roll back");
            }
        }
        metrics::histogram!("store_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("store_jobs_total").increment(ran.len() as u64);
        if failure.is_none() {
            self.checkpoints.commits.fetch_add(1, Ordering::Relaxed);
            self.index.committed();
            self.wakes.send(&tx.wakes);
        }
        for job in ran {
            job.end(failure.clone());
        }
    }

    /// Runs operations. Answers an error if the transaction itself is gone, in which case nothing that ran in
    /// it took effect.
    ///
    /// They run without savepoints, for each of which SQLite would copy every page that is changed: a fifth
    /// of the writer's time. Once one has failed, what ran before it runs again, and from there on each has a
    /// savepoint, so a round does its work at most twice, whatever fails.
    fn run_jobs(
        &self,
        tx: &mut Tx<'_>,
        ran: &mut Vec<Box<dyn Job>>,
        started: Instant,
    ) -> Option<StoreError> {
        let (mut accepts, mut turns) = (0, 0);
        let mut apart = false;
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
            let Some(mut job) = job else { break };
            let lost = if apart {
                self.run_apart(tx, &mut *job)
            } else if let Some(error) = job.run(tx) {
                apart = true;
                self.run_again(tx, ran, error)
            } else {
                self.lost(None)
            };
            ran.push(job);
            if lost.is_some() {
                return lost;
            }
        }
        None
    }

    /// Undoes everything, because of this error of the operation after these, and runs these again.
    fn run_again(
        &self,
        tx: &mut Tx<'_>,
        ran: &mut [Box<dyn Job>],
        error: StoreError,
    ) -> Option<StoreError> {
        if let Some(error) = self.lost(Some(error)) {
            return Some(error);
        }
        tx.wakes.clear();
        if let Err(error) =
            self.statement("ROLLBACK").and_then(|()| self.statement("BEGIN IMMEDIATE"))
        {
            return Some(error);
        }
        ran.iter_mut().find_map(|job| self.run_apart(tx, &mut **job))
    }

    /// Runs an operation so that it can be undone alone.
    fn run_apart(&self, tx: &mut Tx<'_>, job: &mut dyn Job) -> Option<StoreError> {
        if let Err(error) = self.statement("SAVEPOINT job") {
            return Some(error);
        }
        let told = tx.wakes.len();
        let error = job.run(tx);
        if let Some(error) = self.lost(error.clone()) {
            return Some(error);
        }
        if error.is_some() {
            tx.wakes.truncate(told);
            if let Err(error) = self.statement("ROLLBACK TO job") {
                return Some(error);
            }
        }
        self.statement("RELEASE job").err()
    }

    /// The error, if the transaction is gone. On some errors, a full disk among them, SQLite rolls back
    /// everything by itself; going on would run the next operation in a transaction of its own.
    fn lost(&self, error: Option<StoreError>) -> Option<StoreError> {
        self.connection.is_autocommit().then(|| {
            error.unwrap_or_else(|| {
                StoreError::Corrupt("the transaction ended before its commit".into())
            })
        })
    }

    /// BEGIN failed, so nothing that waits can run: tell everyone rather than let them hang.
    fn fail_all(&self, error: &StoreError) {
        tracing::error!(%error, "cannot begin a transaction");
        let jobs: Vec<_> = {
            let mut lanes = self.queue.lock();
            let Lanes { accept, turn, .. } = &mut *lanes;
            accept.drain(..).chain(turn.drain(..)).collect()
        };
        for job in jobs {
            job.end(Some(error.clone()));
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
