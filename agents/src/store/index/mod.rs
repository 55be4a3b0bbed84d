//! The search index: a database beside the store's, filled after commits by a thread of its own.
//!
//! It holds nothing that is not in the messages, so no commit waits for it, none of its own waits for the
//! disk, and a file that is missing or does not fit is made anew. That keeps it out of the writer's way:
//! indexing a mail takes as long as storing it does, and large batches, which cost half of what small ones
//! do, hold nobody up.
//!
//! What always holds: what is indexed and how far that is are written in one transaction, so after a crash
//! the index goes on where it was. The thread gives way to whoever else wants the processor.

use super::{
    BUSY_TIMEOUT, Result, Role, Store, StoreError, Tx, housekeeping::INDEXED, open_connection, set,
};
use rusqlite::{Connection, OptionalExtension, config::DbConfig};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::watch;

/// Messages of a batch at most, and bytes of their text. A batch of mails of 10 KB takes a
/// tenth of a second of processor time.
const ROWS: usize = 512;
const BYTES: usize = 8 << 20;

/// What was just committed waits this long for more of its kind, so that at a thousand mails a second a
/// batch is some hundreds.
const SHARED: Duration = Duration::from_millis(250);

/// After an error the index is left alone for this long.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Pages (4 KB) merged per batch, and per message of it. A message adds one or two, which are rewritten
/// once per level; this keeps ahead of that.
const MERGED: usize = 16;
const MERGED_PER_ROW: usize = 4;

/// The thread's nice value: about a tenth of what an ordinary thread gets where both want a core.
const NICE: i32 = 10;

/// The version of `schema.sql`.
const VERSION: i64 = 1;

/// How far the index has come: the last message, and the last row of `reindex`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    messages: i64,
    again: i64,
}

impl Position {
    fn reaches(self, target: Self) -> bool {
        self.messages >= target.messages && self.again >= target.again
    }
}

/// The handle of the index and its thread.
pub(super) struct Index {
    signal: Arc<Signal>,
    position: watch::Receiver<Position>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What tells the thread that there is something to do.
#[derive(Default)]
pub(super) struct Signal {
    /// Something was committed since the thread last looked.
    fresh: AtomicBool,
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Default)]
struct Asked {
    /// Somebody waits for the index.
    hurry: bool,
    stopping: bool,
}

impl Signal {
    /// Something was committed.
    pub fn committed(&self) {
        if !self.fresh.swap(true, Ordering::AcqRel) {
            // With the lock, so that a thread about to wait has either seen it or is waiting.
            drop(self.lock());
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for work and answers whether to go on.
    fn wait(&self) -> bool {
        let idle = |asked: &mut Asked| {
            !asked.stopping && !asked.hurry && !self.fresh.load(Ordering::Acquire)
        };
        let waited = self.changed.wait_while(self.lock(), idle);
        let asked = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        let shared =
            self.changed.wait_timeout_while(asked, SHARED, |asked| !asked.stopping && !asked.hurry);
        let mut asked = shared.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        asked.hurry = false;
        self.fresh.store(false, Ordering::Release);
        !asked.stopping
    }

    /// Waits after an error and answers whether to go on.
    fn pause(&self) -> bool {
        let waited =
            self.changed.wait_timeout_while(self.lock(), AFTER_ERROR, |asked| !asked.stopping);
        !waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0.stopping
    }

    fn stopping(&self) -> bool {
        self.lock().stopping
    }
}

impl Index {
    /// Opens the index beside the database (which has its schema), or begins a new one, and starts its
    /// thread.
    pub fn start(database: &Path, signal: Arc<Signal>) -> Result<Self> {
        let messages = open_connection(database, Role::Reader)?;
        let path = path_beside(database);
        let index = open(&path, target(&messages)?)?;
        let (told, position) = watch::channel(position(&index)?);
        let indexing =
            Indexing { index, messages, path: path.clone(), signal: signal.clone(), told };
        // What a crash left unindexed does not wait for the next commit.
        signal.committed();
        let thread = std::thread::Builder::new()
            .name("store-index".into())
            .spawn(move || indexing.run())
            .map_err(StoreError::io(path))?;
        Ok(Self { signal, position, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until the index has come so far.
    async fn reach(&self, target: Position) -> Result<()> {
        self.signal.lock().hurry = true;
        self.signal.changed.notify_one();
        let mut position = self.position.clone();
        let reached = position.wait_for(|position| position.reaches(target)).await;
        reached.map(drop).map_err(|_| StoreError::Closed)
    }

    pub fn stop(&self) {
        self.signal.lock().stopping = true;
        self.signal.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(|p| p.into_inner()).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the search index panicked");
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Store {
    /// Waits until everything submitted so far is committed and the search index has caught up.
    pub async fn settle(&self) -> Result<()> {
        let target = self.write(super::Lane::Turn, |tx: &mut Tx<'_>| target(tx.conn)).await?;
        self.0.index.reach(target).await
    }
}

/// Where the index of a database is.
fn path_beside(database: &Path) -> PathBuf {
    database.with_file_name("search.db")
}

/// Lets a reader search. Its other tables are found without a prefix as well.
pub(super) fn attach(reader: &Connection, database: &Path) -> Result<()> {
    let path = path_beside(database);
    reader.execute("ATTACH DATABASE ?1 AS search", (path.to_string_lossy(),))?;
    Ok(())
}

/// Opens the index if it fits a database that has come to `end`, and begins anew otherwise.
fn open(path: &Path, end: Position) -> Result<Connection> {
    if path.exists() {
        match open_existing(path, end) {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {
                tracing::info!("the search index is made anew: it belongs to other messages")
            }
            Err(error) => {
                tracing::warn!(%error, "the search index cannot be read and is made anew")
            }
        }
        for end in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io(path)(error));
                }
                _ => {}
            }
        }
    }
    let index = connect(path)?;
    index.execute_batch(&format!("BEGIN; {} COMMIT;", include_str!("schema.sql")))?;
    Ok(index)
}

/// The index there is, unless it is of another version or of messages that are not there: of a database
/// that was replaced by an older copy.
fn open_existing(path: &Path, end: Position) -> Result<Option<Connection>> {
    let index = connect(path)?;
    let version: i64 = index.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(if version == VERSION && end.reaches(position(&index)?) { Some(index) } else { None })
}

fn connect(path: &Path) -> Result<Connection> {
    let index = Connection::open(path)?;
    index.busy_timeout(BUSY_TIMEOUT)?;
    index.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    index.pragma_update(None, "page_size", 8192)?;
    set(&index, "journal_mode", "WAL", "wal")?;
    // A crash may take the last batches, which are then made again.
    set(&index, "synchronous", "NORMAL", "1")?;
    set(&index, "temp_store", "MEMORY", "2")?;
    set(&index, "cache_size", "-8192", "-8192")?;
    Ok(index)
}

fn position(index: &Connection) -> Result<Position> {
    Ok(index
        .prepare_cached("SELECT messages, again FROM position WHERE id = 1")?
        .query_row((), |row| Ok(Position { messages: row.get(0)?, again: row.get(1)? }))?)
}

/// Where an index of these messages ends.
fn target(conn: &Connection) -> Result<Position> {
    Ok(conn
        .prepare_cached(
            "SELECT coalesce((SELECT max(id) FROM messages), 0),
                    coalesce((SELECT max(id) FROM reindex), 0)",
        )?
        .query_row((), |row| Ok(Position { messages: row.get(0)?, again: row.get(1)? }))?)
}

/// The state of the index's thread.
struct Indexing {
    index: Connection,
    messages: Connection,
    path: PathBuf,
    signal: Arc<Signal>,
    told: watch::Sender<Position>,
}

impl Indexing {
    fn run(self) {
        self.run_until_stopped();
        let truncated = self.index.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        if let Err(error) = truncated {
            tracing::debug!(%error, "the log of the search index is left for the next start");
        }
    }

    fn run_until_stopped(&self) {
        // Best effort: an index that is too eager is no reason to stop.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "the search index runs at ordinary priority");
        }
        while self.signal.wait() {
            loop {
                match self.batch() {
                    Ok(more) => {
                        if !more || self.signal.stopping() {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::error!(
                            %error, path = %self.path.display(),
                            "search does not find new messages; this will be tried again"
                        );
                        if !self.signal.pause() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// One transaction. Answers whether there is more.
    fn batch(&self) -> Result<bool> {
        let from = position(&self.index)?;
        let end = target(&self.messages)?;
        if from.reaches(end) {
            self.told.send_replace(from);
            return Ok(false);
        }
        self.index.execute_batch("BEGIN IMMEDIATE")?;
        let done = self.fill(from).and_then(|to| {
            self.index.execute_batch("COMMIT")?;
            Ok(to)
        });
        match done {
            Ok(to) => {
                self.told.send_replace(to);
                Ok(!to.reaches(end))
            }
            Err(error) => {
                // The error that matters is the first one.
                let _ = self.index.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }

    fn fill(&self, from: Position) -> Result<Position> {
        let again = self.fill_again(from)?;
        let (messages, rows) = self.fill_new(from)?;
        self.index
            .prepare_cached("UPDATE position SET messages = ?1, again = ?2 WHERE id = 1")?
            .execute((messages, again))?;
        self.index
            .prepare_cached("INSERT INTO message_search (message_search) VALUES ('flush')")?
            .execute(())?;
        self.index
            .prepare_cached(
                "INSERT INTO message_search (message_search, rank) VALUES ('merge', ?1)",
            )?
            .execute((MERGED + MERGED_PER_ROW * rows,))?;
        Ok(Position { messages, again })
    }

    /// Messages that are not in the index yet, in the order of their ids. Answers the last, and how many.
    fn fill_new(&self, from: Position) -> Result<(i64, usize)> {
        let mut next = self.messages.prepare_cached(
            "SELECT m.id, coalesce(l.subject, o.subject, ''), m.author, m.text
             FROM messages m
             LEFT JOIN mails l ON l.message_id = m.id
             LEFT JOIN outbox o ON o.message_id = m.id
             WHERE m.id > ?1 ORDER BY m.id LIMIT ?2",
        )?;
        let mut rows = next.query((from.messages, ROWS))?;
        let (mut last, mut count, mut bytes) = (from.messages, 0, 0);
        while bytes < BYTES
            && let Some(row) = rows.next()?
        {
            last = row.get(0)?;
            bytes += self.add(row)?;
            count += 1;
        }
        Ok((last, count))
    }

    /// Messages whose text changed after they came. Answers the last row looked at.
    fn fill_again(&self, from: Position) -> Result<i64> {
        let mut changed = self.messages.prepare_cached(
            "SELECT id, message_id FROM reindex WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = changed.query((from.again, ROWS))?;
        let mut last = from.again;
        while let Some(row) = rows.next()? {
            let message: i64 = row.get(1)?;
            last = row.get(0)?;
            // What is not there yet comes with its new text anyway.
            if message <= from.messages {
                self.index
                    .prepare_cached("DELETE FROM message_search WHERE rowid = ?1")?
                    .execute((message,))?;
                self.messages
                    .prepare_cached(
                        "SELECT m.id, coalesce(l.subject, o.subject, ''), m.author, m.text
                         FROM messages m LEFT JOIN mails l ON l.message_id = m.id
                         LEFT JOIN outbox o ON o.message_id = m.id WHERE m.id = ?1",
                    )?
                    .query_row((message,), |row| Ok(self.add(row)))
                    .optional()?
                    .transpose()?;
            }
        }
        Ok(last)
    }

    /// Adds a message and answers how many bytes of text that was.
    fn add(&self, row: &rusqlite::Row<'_>) -> Result<usize> {
        let text = row.get_ref(3)?.as_str().unwrap_or_default();
        let text = &text[..text.floor_char_boundary(INDEXED)];
        let subject = row.get_ref(1)?.as_str().unwrap_or_default();
        let author = row.get_ref(2)?.as_str().unwrap_or_default();
        self.index
            .prepare_cached(
                "INSERT INTO message_search (rowid, subject, author, text) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((row.get::<_, i64>(0)?, subject, author, text))?;
        Ok(text.len())
    }
}
