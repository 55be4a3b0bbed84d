//! The one writer.
//!
//! A thread owns the write connection. Operations wait in lanes; each round takes what is there, up
//! to a bound, runs every operation in its own savepoint inside one transaction, commits once, and
//! only then answers. So many mails share one fsync, one that fails takes nobody with it, and whoever
//! is told "done" is told after the disk was.
//!
//! Between rounds the thread does slices of housekeeping, small enough that no accept notices.

use super::{
    BUSY_TIMEOUT, Result, Role, StoreError, Wake, Wakes, backup, housekeeping, open_connection,
};
use crate::Clock;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

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

/// Housekeeping gets a slice about this often, however busy the lanes are.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(50);

/// While the lanes are busy a slice is followed by this many times its length without one, so that
/// housekeeping takes a tenth of the writer at most. At full load the search index then falls behind and
/// catches up afterwards.
const HOUSEKEEPING_PAUSE: u32 = 9;

/// While the lanes are empty, what was just committed waits this long for more of its kind: a slice is a
/// commit of its own, and one for every few messages took as much of the disk as the messages.
const HOUSEKEEPING_SHARED: Duration = Duration::from_millis(20);

/// How often the write-ahead log is copied into the database file.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// A write-ahead log with more pages of 8 KiB than this (64 MB) is begun anew as soon as it can be.
const WAL_PAGES: i64 = 8_192;

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

/// How an operation ended inside its savepoint.
struct Ran {
    /// Why its writes must be undone, if they must.
    error: Option<StoreError>,
    /// Tells whoever waits. `None` means it was committed.
    end: Box<dyn FnOnce(Option<StoreError>) + Send>,
}

/// An operation with its callback. Given an error instead of a transaction, it only passes it on.
type Job = Box<dyn FnOnce(Result<&mut Tx<'_>>) -> Ran + Send>;

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
    accept: VecDeque<Job>,
    turn: VecDeque<Job>,
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

/// What the writer and the checkpointer share.
#[derive(Default)]
struct Checkpoints {
    /// Commits so far. Nothing new, nothing to copy.
    commits: AtomicU64,
    /// The log is large and nearly all of it copied: the writer can begin it anew.
    restart: AtomicBool,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

impl Writer {
    pub fn start(
        connection: Connection,
        path: PathBuf,
        clock: Arc<dyn Clock>,
        wakes: Arc<Wakes>,
    ) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let checkpoints = Arc::new(Checkpoints::default());
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
            pace: housekeeping::Pace::default(),
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
        op: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let done = Promise(Some(done), std::marker::PhantomData);
        let job: Job = Box::new(move |tx| {
            let ran = tx.and_then(|tx| {
                // One operation with a bug is one failed operation, not the end of the writer.
                std::panic::catch_unwind(AssertUnwindSafe(|| op(tx))).unwrap_or_else(|_| {
                    Err(StoreError::Corrupt("an operation panicked; the log says where".into()))
                })
            });
            match ran {
                Ok(value) => Ran {
                    error: None,
                    end: Box::new(move |failure| done.keep(failure.map_or(Ok(value), Err))),
                },
                Err(error) => Ran {
                    error: Some(error.clone()),
                    end: Box::new(move |_| done.keep(Err(error))),
                },
            }
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

/// The state of the writer's thread.
struct Writing {
    connection: Connection,
    clock: Arc<dyn Clock>,
    wakes: Arc<Wakes>,
    queue: Arc<Queue>,
    checkpoints: Arc<Checkpoints>,
    pace: housekeeping::Pace,
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
    fn run(mut self) {
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

/// Answers how many pages the log has.
fn checkpoint(connection: &Connection, mode: &str) -> Result<i64> {
    Ok(connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |row| row.get(1))?)
}

impl Checkpoints {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.stopping.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn copy(&self, connection: &Connection) -> Result<()> {
        if checkpoint(connection, "PASSIVE")? > WAL_PAGES {
            // What came while the first was copying is little, and what comes during the second next to
            // nothing: that is left to the writer.
            checkpoint(connection, "PASSIVE")?;
            self.restart.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies the write-ahead log into the database file whenever it has grown, without ever holding up
    /// the writer: PASSIVE takes no lock that a writer needs.
    fn copy_until_stopped(&self, connection: &Connection) {
        let mut copied = 0;
        let mut stopping = self.lock();
        while !*stopping {
            stopping = self
                .stopped
                .wait_timeout(stopping, CHECKPOINT_EVERY)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
            let commits = self.commits.load(Ordering::Relaxed);
            if *stopping || commits == copied {
                continue;
            }
            drop(stopping);
            match self.copy(connection) {
                Ok(()) => copied = commits,
                Err(error) => tracing::warn!(%error, "a checkpoint failed and will be tried again"),
            }
            stopping = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        EventId, InstanceId, SystemClock,
        store::{PendingEvent, Store},
    };
    use futures_util::future::join_all;
    use std::sync::mpsc;

    fn open() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Arc::new(SystemClock)).unwrap();
        (dir, store)
    }

    /// Holds the writer inside a transaction until the sender is dropped, so that what is submitted
    /// meanwhile shares the next ones.
    fn hold(store: &Store) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (enter, entered) = mpsc::channel();
        store.submit(
            Lane::Turn,
            move |_| {
                let _ = enter.send(());
                let _ = released.recv();
                Ok(())
            },
            |_| (),
        );
        entered.recv().unwrap();
        release
    }

    fn put(tx: &Tx<'_>, key: &str, bytes: i64) -> Result<()> {
        tx.run("INSERT INTO meta (key, value) VALUES (?1, randomblob(?2))", (key, bytes))?;
        Ok(())
    }

    async fn kept(store: &Store) -> Vec<String> {
        store
            .write(Lane::Turn, |tx| {
                let mut query =
                    tx.conn.prepare("SELECT key FROM meta WHERE key LIKE 'k%' ORDER BY key")?;
                Ok(query.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_is_called_that_and_what_was_told_is_true() {
        let (_dir, store) = open();
        let limit = |pages: &'static str| {
            store.write(Lane::Turn, move |tx| {
                let sql = format!("PRAGMA max_page_count = {pages}");
                Ok(tx.conn.query_row(&sql, (), |row| row.get::<_, i64>(0))?)
            })
        };
        let pages = store
            .write(Lane::Turn, |tx| {
                Ok(tx.conn.query_row("PRAGMA page_count", (), |row| row.get::<_, i64>(0))?)
            })
            .await
            .unwrap();
        limit(Box::leak((pages + 30).to_string().into_boxed_str())).await.unwrap();
        let release = hold(&store);
        let calls: Vec<_> = (0..60)
            .map(|n| {
                let key = format!("k{n:02}");
                let lane = if n % 2 == 0 { Lane::Accept } else { Lane::Turn };
                let store = store.clone();
                async move {
                    let name = key.clone();
                    (key, store.write(lane, move |tx| put(tx, &name, 12_000)).await)
                }
            })
            .collect();
        // Submitted when first polled.
        let calls = tokio::spawn(join_all(calls));
        tokio::task::yield_now().await;
        drop(release);
        let mut told = Vec::new();
        for (key, outcome) in calls.await.unwrap() {
            match outcome {
                Ok(()) => told.push(key),
                Err(error) => assert!(matches!(error, StoreError::DiskFull), "{error:?}"),
            }
        }
        told.sort();
        assert!(told.len() < 60, "the disk was never full");
        assert_eq!(kept(&store).await, told);
        limit("1000000").await.unwrap();
        store.write(Lane::Accept, |tx| put(tx, "k99", 12_000)).await.unwrap();
        assert_eq!(kept(&store).await.len(), told.len() + 1, "and goes on when there is room");
    }

    #[tokio::test]
    async fn an_operation_that_panics_fails_alone() {
        let (_dir, store) = open();
        let release = hold(&store);
        let calling = store.clone();
        let calls = tokio::spawn(async move {
            let before = calling.write(Lane::Turn, |tx| put(tx, "k1", 10));
            let panics = calling.write(Lane::Turn, |tx| -> Result<()> {
                put(tx, "k2", 10)?;
                panic!("a bug")
            });
            let after = calling.write(Lane::Turn, |tx| put(tx, "k3", 10));
            tokio::join!(before, panics, after)
        });
        tokio::task::yield_now().await;
        drop(release);
        let (before, panics, after) = calls.await.unwrap();
        assert!(before.is_ok() && after.is_ok());
        assert!(matches!(panics, Err(StoreError::Corrupt(_))), "{panics:?}");
        assert_eq!(kept(&store).await, ["k1", "k3"]);
    }

    #[tokio::test]
    async fn only_what_was_committed_is_told_of() {
        let (_dir, store) = open();
        let mut wakes = store.wakes();
        let event =
            |n| Wake::Event(PendingEvent { event: EventId(n), instance: InstanceId(n), due_at: 0 });
        let _ = store
            .write(Lane::Turn, move |tx| {
                tx.wake(event(1));
                Err::<(), _>(StoreError::NotFound("undone".into()))
            })
            .await;
        store
            .write(Lane::Turn, move |tx| {
                tx.wake(event(2));
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(wakes.recv().await.unwrap(), event(2));
    }

    #[tokio::test]
    async fn a_flood_of_mail_does_not_keep_handlers_from_being_committed() {
        let (_dir, store) = open();
        let order = Arc::new(Mutex::new(Vec::new()));
        let release = hold(&store);
        for lane in [Lane::Accept, Lane::Turn] {
            for _ in 0..100 {
                let order = order.clone();
                store.submit(
                    lane,
                    move |_| {
                        order.lock().unwrap().push(lane);
                        Ok(())
                    },
                    |_| (),
                );
            }
        }
        drop(release);
        kept(&store).await;
        let order = order.lock().unwrap();
        let turns = order[..20].iter().filter(|lane| **lane == Lane::Turn).count();
        assert!((9..=11).contains(&turns), "{order:?}");
    }

    #[tokio::test]
    async fn what_comes_after_closing_is_turned_away_and_what_came_before_is_kept() {
        let (dir, store) = open();
        let release = hold(&store);
        let writing = tokio::spawn({
            let store = store.clone();
            async move { store.write(Lane::Turn, |tx| put(tx, "k1", 10)).await }
        });
        tokio::task::yield_now().await;
        drop(release);
        let (written, ()) = tokio::join!(writing, store.close());
        written.unwrap().unwrap();
        let late = store.write(Lane::Turn, |tx| put(tx, "k2", 10)).await;
        assert!(matches!(late, Err(StoreError::Closed)));
        drop(store);
        let again = Store::open(dir.path(), Arc::new(SystemClock)).unwrap();
        assert_eq!(kept(&again).await, ["k1"]);
    }
}
