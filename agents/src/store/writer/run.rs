//! The writer's thread: rounds of operations, slices of housekeeping between them.

use super::{
    super::{BUSY_TIMEOUT, Result, StoreError, Wakes, backup, housekeeping},
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

/// Housekeeping gets a slice about this often, however busy the lanes are.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(50);

/// While the lanes are busy a slice is followed by this many times its length without one, so that
/// housekeeping takes a tenth of the writer at most. At full load the search index then falls behind and
/// catches up afterwards.
const HOUSEKEEPING_PAUSE: u32 = 9;

/// While the lanes are empty, what was just committed waits this long for more of its kind: a slice is a
/// commit of its own, and one for every few messages took as much of the disk as the messages.
const HOUSEKEEPING_SHARED: Duration = Duration::from_millis(20);

/// The state of the writer's thread.
pub(super) struct Writing {
    pub connection: Connection,
    pub clock: Arc<dyn Clock>,
    pub wakes: Arc<Wakes>,
    pub queue: Arc<Queue>,
    pub checkpoints: Arc<Checkpoints>,
    pub pace: housekeeping::Pace,
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
        let mut next_slice = Instant::now();
        let mut shared_slice = next_slice;
        // Whether the last slice left something, and whether something was committed since.
        let (mut more, mut fresh) = (true, true);
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
                    let wait = shared_slice.saturating_duration_since(Instant::now());
                    if more || fresh && wait.is_zero() {
                        drop(lanes);
                        let pause;
                        (more, pause) = self.tidy();
                        fresh = false;
                        next_slice = Instant::now() + pause;
                        shared_slice = Instant::now() + HOUSEKEEPING_SHARED;
                        lanes = self.queue.lock();
                        continue;
                    }
                    let changed = &self.queue.changed;
                    lanes = if fresh {
                        changed.wait_timeout(lanes, wait).unwrap_or_else(|p| p.into_inner()).0
                    } else {
                        changed.wait(lanes).unwrap_or_else(|p| p.into_inner())
                    };
                }
            };
            fresh = true;
            if let Some(request) = request {
                backup::run(&self.connection, request, || self.round());
                continue;
            }
            self.round();
            self.restart_log();
            if Instant::now() >= next_slice {
                let pause;
                (more, pause) = self.tidy();
                fresh = false;
                next_slice = Instant::now() + pause;
                shared_slice = Instant::now() + HOUSEKEEPING_SHARED;
            }
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
            self.wakes.send(&tx.wakes);
        }
        for end in ended {
            end(failure.clone());
        }
    }

    /// Runs operations, each in its savepoint. Answers an error if the transaction itself is gone, in which
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
            if let Err(error) = self.statement("SAVEPOINT job") {
                ended.push(job(Err(error.clone())).end);
                return Some(error);
            }
            let told = tx.wakes.len();
            let Ran { error, end } = job(Ok(tx));
            ended.push(end);
            let closed = match &error {
                None => self.statement("RELEASE job"),
                Some(_) if self.connection.is_autocommit() => Ok(()),
                Some(_) => {
                    self.statement("ROLLBACK TO job").and_then(|()| self.statement("RELEASE job"))
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

    /// One slice of housekeeping. Answers whether there is more, and how long to leave it while busy.
    fn tidy(&mut self) -> (bool, Duration) {
        let now = self.clock.now().as_millisecond();
        let started = Instant::now();
        let more = match housekeeping::slice(&self.connection, now, self.pace) {
            Ok((more, pace)) => {
                self.pace = pace;
                more
            }
            Err(error) => {
                tracing::error!(%error, "housekeeping failed and will be tried again");
                false
            }
        };
        (more, HOUSEKEEPING_EVERY.max(started.elapsed() * HOUSEKEEPING_PAUSE))
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
