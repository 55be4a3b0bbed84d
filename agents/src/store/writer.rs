//! The one writer.
//!
//! A thread owns the write connection. Operations wait in lanes; each round takes what is there, up
//! to a bound, runs every operation in its own savepoint inside one transaction, commits once, and
//! only then answers. So many mails share one fsync, one that fails takes nobody with it, and whoever
//! is told "done" is told after the disk was.
//!
//! Between rounds the thread does slices of housekeeping, small enough that no accept notices.

use super::{Result, StoreError, Wake, backup, housekeeping, open_connection};
use crate::Clock;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::broadcast;

/// Who waits for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A mail session waits for its 250.
    Accept,
    /// Handlers, deliveries and people.
    Turn,
}

/// Operations of one lane that share a transaction. Measured in facts/build.md: beyond 64 the
/// throughput gains a tenth and the slowest commit doubles.
const BATCH: usize = 64;

/// No new operation joins a transaction that has been open this long.
const ROUND: Duration = Duration::from_millis(5);

/// Housekeeping gets a slice at least this often, however busy the lanes are.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(50);

/// A write-ahead log larger than this (in pages of 8 KiB: 256 MB) is restarted by the writer itself,
/// for then the checkpointer alone cannot keep up.
const WAL_PAGES_MAX: i64 = 32_768;

/// A transaction, as operations see it.
pub(crate) struct Tx<'c> {
    pub conn: &'c Connection,
    /// Milliseconds since 1970.
    pub now: i64,
    wakes: Vec<Wake>,
}

impl Tx<'_> {
    /// Tells this after the commit.
    pub fn wake(&mut self, wake: Wake) {
        self.wakes.push(wake);
    }

    /// Runs a statement and returns how many rows it changed.
    pub fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// The one row of a query.
    pub fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read)?)
    }

    /// The first row of a query, if there is one.
    pub fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// Inserts a row and returns its id.
    pub fn insert(&self, sql: &str, params: impl Params) -> Result<i64> {
        Ok(self.conn.prepare_cached(sql)?.insert(params)?)
    }

    /// A daily counter.
    pub fn tally(&self, scope: &str, key: &str) -> Result<u32> {
        Ok(self
            .find(
                "SELECT n FROM tallies WHERE day = ?1 AND scope = ?2 AND key = ?3",
                (super::day_of(self.now), scope, key),
                |row| row.get(0),
            )?
            .unwrap_or(0))
    }

    /// Adds one to a daily counter and returns it.
    pub fn count(&self, scope: &str, key: &str) -> Result<u32> {
        self.row(
            "INSERT INTO tallies (day, scope, key, n) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (day, scope, key) DO UPDATE SET n = n + 1
             RETURNING n",
            (super::day_of(self.now), scope, key),
            |row| row.get(0),
        )
    }

    /// Records who did what.
    pub fn audit(&self, actor: &str, action: &str, subject: &str, detail: &str) -> Result<()> {
        self.run(
            "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
            (self.now, actor, action, subject, detail),
        )?;
        Ok(())
    }
}

/// What an operation left behind: work to keep or to undo, and whom to tell how it ended.
enum Ran {
    Keep(Box<dyn FnOnce(Option<StoreError>) + Send>),
    Undo(Box<dyn FnOnce() + Send>),
}

type Job = Box<dyn FnOnce(&mut Tx<'_>) -> Ran + Send>;

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
    accept: VecDeque<Job>,
    turn: VecDeque<Job>,
    backup: VecDeque<backup::Request>,
    stopping: bool,
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
        wakes: broadcast::Sender<Wake>,
    ) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let checkpoints = open_connection(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )?;
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(body).map_err(StoreError::io(&path))
        };
        let writing = Writing { connection, clock, wakes, queue: queue.clone() };
        let writer = spawn("store-writer", Box::new(move || writing.run()))?;
        let stop = queue.clone();
        let checkpointer = spawn(
            "store-checkpoint",
            Box::new(move || checkpoint_until_stopped(&checkpoints, &stop)),
        )?;
        Ok(Self { queue, threads: Mutex::new(vec![writer, checkpointer]) })
    }

    pub fn submit<T: Send + 'static>(
        &self,
        lane: Lane,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let done = Promise(Some(done), std::marker::PhantomData);
        let job: Job = Box::new(move |tx| match op(tx) {
            Ok(value) => Ran::Keep(Box::new(move |failure| {
                done.keep(match failure {
                    None => Ok(value),
                    Some(error) => Err(error),
                });
            })),
            Err(error) => Ran::Undo(Box::new(move || done.keep(Err(error)))),
        });
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
        self.queue.changed.notify_all();
    }

    pub fn back_up(&self, request: backup::Request) {
        let mut lanes = self.queue.lock();
        if !lanes.stopping {
            lanes.backup.push_back(request);
        }
        drop(lanes);
        self.queue.changed.notify_all();
    }

    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.queue.changed.notify_all();
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

/// The state of the writer's thread.
struct Writing {
    connection: Connection,
    clock: Arc<dyn Clock>,
    wakes: broadcast::Sender<Wake>,
    queue: Arc<Queue>,
}

impl Writing {
    fn run(self) {
        let mut next_slice = Instant::now();
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
                    drop(lanes);
                    let more = self.tidy();
                    next_slice = Instant::now() + HOUSEKEEPING_EVERY;
                    lanes = self.queue.lock();
                    let idle = lanes.accept.is_empty()
                        && lanes.turn.is_empty()
                        && lanes.backup.is_empty()
                        && !lanes.stopping;
                    if idle && !more {
                        lanes = self
                            .queue
                            .changed
                            .wait(lanes)
                            .unwrap_or_else(|poisoned| poisoned.into_inner());
                    }
                }
            };
            if let Some(request) = request {
                backup::run(&self.connection, request, || self.round());
                continue;
            }
            self.round();
            if Instant::now() >= next_slice {
                self.tidy();
                next_slice = Instant::now() + HOUSEKEEPING_EVERY;
            }
        }
    }

    /// One transaction: everything that waits, up to a bound.
    fn round(&self) {
        let started = Instant::now();
        let mut tx = Tx {
            conn: &self.connection,
            now: self.clock.now().as_millisecond(),
            wakes: Vec::new(),
        };
        let mut ended = Vec::new();
        if let Err(error) = self.statement("BEGIN IMMEDIATE") {
            self.fail_all(&error);
            return;
        }
        let (mut accepts, mut turns) = (0, 0);
        while started.elapsed() < ROUND {
            let job = {
                let mut lanes = self.queue.lock();
                if accepts < BATCH && !lanes.accept.is_empty() {
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
            let told = tx.wakes.len();
            if let Err(error) = self.statement("SAVEPOINT job") {
                tracing::error!(%error, "cannot open a savepoint");
                break;
            }
            match job(&mut tx) {
                Ran::Keep(end) => {
                    // After an error such as a full disk SQLite may have rolled everything back; the
                    // commit below then fails and every caller is told.
                    if let Err(error) = self.statement("RELEASE job") {
                        tracing::error!(%error, "cannot release a savepoint");
                    }
                    ended.push(end);
                }
                Ran::Undo(end) => {
                    tx.wakes.truncate(told);
                    let undone = self
                        .statement("ROLLBACK TO job")
                        .and_then(|()| self.statement("RELEASE job"));
                    if let Err(error) = undone {
                        tracing::error!(%error, "cannot undo a savepoint");
                    }
                    end();
                }
            }
        }
        let failure = self.statement("COMMIT").err();
        if let Some(error) = &failure {
            tracing::error!(%error, jobs = ended.len(), "a commit failed; nothing of it took effect");
            // Fails where SQLite has rolled back by itself, which is what is wanted.
            let _ = self.statement("ROLLBACK");
        }
        metrics::histogram!("store_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::histogram!("store_commit_jobs").record(ended.len() as f64);
        for end in ended {
            end(failure.clone());
        }
        if failure.is_none() {
            for wake in tx.wakes {
                // No subscriber is fine: they look at the tables when they start.
                let _ = self.wakes.send(wake);
            }
        }
    }

    /// BEGIN failed, so nothing that waits can run: tell everyone rather than let them hang.
    fn fail_all(&self, error: &StoreError) {
        tracing::error!(%error, "cannot begin a transaction");
        let jobs: Vec<Job> = {
            let mut lanes = self.queue.lock();
            let Lanes { accept, turn, .. } = &mut *lanes;
            accept.drain(..).chain(turn.drain(..)).collect()
        };
        // Dropped jobs answer `Closed` to their callers, which is transient.
        drop(jobs);
    }

    fn tidy(&self) -> bool {
        let now = self.clock.now().as_millisecond();
        match housekeeping::slice(&self.connection, now) {
            Ok(more) => {
                self.bound_the_log();
                more
            }
            Err(error) => {
                tracing::error!(%error, "housekeeping failed and will be tried again");
                false
            }
        }
    }

    fn bound_the_log(&self) {
        let path = self.connection.path().map(|p| PathBuf::from(format!("{p}-wal")));
        let pages = path
            .and_then(|p| p.metadata().ok())
            .map_or(0, |m| i64::try_from(m.len() / 8192).unwrap_or(i64::MAX));
        if pages > WAL_PAGES_MAX
            && let Err(error) = checkpoint(&self.connection, "TRUNCATE")
        {
            tracing::warn!(%error, "the write-ahead log is large and could not be restarted");
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

fn checkpoint(connection: &Connection, mode: &str) -> Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |_| Ok(()))?;
    Ok(())
}

/// Copies the write-ahead log into the database file whenever it has grown, without ever holding up
/// the writer: PASSIVE takes no lock that a writer needs.
fn checkpoint_until_stopped(connection: &Connection, queue: &Queue) {
    let mut lanes = queue.lock();
    loop {
        if lanes.stopping {
            return;
        }
        // Woken early by every submission, so the time is what decides.
        let until = Instant::now() + Duration::from_millis(500);
        while !lanes.stopping && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            lanes = queue
                .changed
                .wait_timeout(lanes, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
        drop(lanes);
        if let Err(error) = checkpoint(connection, "PASSIVE") {
            tracing::warn!(%error, "a checkpoint failed and will be tried again");
        }
        lanes = queue.lock();
    }
}
