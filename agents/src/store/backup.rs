//! Online backup.
//!
//! It runs on the writer's own connection: SQLite restarts a backup whenever another connection
//! writes, but carries along what its own connection writes. So the writer copies a slice of
//! pages, does a round of its ordinary work, and goes on.

use super::{Result, Store, StoreError};
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

/// Pages of 8 KiB a slice: 4 MB, a few milliseconds.
const SLICE: i32 = 512;

pub(crate) struct Request {
    target: PathBuf,
    done: oneshot::Sender<Result<()>>,
}

impl Store {
    /// Copies the database into a new directory while work goes on, with the large blobs beside it. Fails
    /// if the directory exists and is not empty.
    pub async fn back_up(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to).map_err(StoreError::io(to))?;
        let occupied = std::fs::read_dir(to).map_err(StoreError::io(to))?.next().is_some();
        if occupied {
            return Err(StoreError::Conflict(format!(
                "{} is not empty: name a directory that does not exist yet",
                to.display()
            )));
        }
        let (done, outcome) = oneshot::channel();
        self.0.writer.back_up(Request { target: to.join("frontdesk.db"), done });
        outcome.await.unwrap_or(Err(StoreError::Closed))?;
        // Blob files are never changed once written, and one that is newer than the copied rows does
        // no harm, so they are copied after the database.
        let (from, to) = (self.dir().join("blobs"), to.join("blobs"));
        tokio::task::spawn_blocking(move || copy_tree(&from, &to))
            .await
            .unwrap_or(Err(StoreError::Closed))
    }
}

pub(super) fn run(connection: &Connection, request: Request, mut work: impl FnMut()) {
    let copied = (|| -> Result<()> {
        let mut target = Connection::open(&request.target)?;
        let backup = Backup::new(connection, &mut target)?;
        loop {
            match backup.step(SLICE)? {
                StepResult::Done => return Ok(()),
                _ => work(),
            }
        }
    })();
    let synced = copied.and_then(|()| {
        std::fs::File::open(&request.target)
            .and_then(|file| file.sync_all())
            .map_err(StoreError::io(&request.target))
    });
    // Whoever asked may have gone; the copy is there all the same.
    let _ = request.done.send(synced);
}

/// Copies a folder of files, durably, and nothing but files and folders.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(StoreError::io(to))?;
    for entry in std::fs::read_dir(from).map_err(StoreError::io(from))? {
        let entry = entry.map_err(StoreError::io(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(StoreError::io(&source))?;
        // Half-written files start with a dot.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            std::fs::copy(&source, &target).map_err(StoreError::io(&target))?;
            std::fs::File::open(&target)
                .and_then(|file| file.sync_all())
                .map_err(StoreError::io(&target))?;
        }
    }
    Ok(())
}
