//! Copying the write-ahead log into the database file, beside the writer.

use super::super::Result;
use rusqlite::Connection;
use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often the write-ahead log is copied into the database file.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// A write-ahead log with more pages of 8 KiB than this (64 MB) is begun anew as soon as it can be.
const WAL_PAGES: i64 = 8_192;

/// What the writer and the checkpointer share.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// Commits so far. Nothing new, nothing to copy.
    pub commits: AtomicU64,
    /// The log is large and nearly all of it copied: the writer can begin it anew.
    pub restart: AtomicBool,
    pub stopping: Mutex<bool>,
    pub stopped: Condvar,
}

/// Answers how many pages the log has.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> Result<i64> {
    Ok(connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |row| row.get(1))?)
}

impl Checkpoints {
    pub fn lock(&self) -> MutexGuard<'_, bool> {
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
    pub fn copy_until_stopped(&self, connection: &Connection) {
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
