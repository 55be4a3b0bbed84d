//! A transport that keeps mail at home: each delivery becomes one file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::{Claimed, DataMark, Error, Outcome, Spool, Transport};

/// Writes `<delivery id>.eml` into a folder: the message as a peer would receive it, with its envelope
/// in front as Return-Path and Delivered-To, which no signature covers.
///
/// What always holds: a file is complete or absent, and on disk before the delivery counts as sent; a
/// delivery that is tried again after a crash finds its own file and changes nothing. That is why it
/// needs no mark before the data: nothing here can happen twice.
#[derive(Debug)]
pub struct Capture {
    dir: PathBuf,
    next_temporary: AtomicU64,
}

impl Capture {
    /// Uses a folder, making it (mode 0700) if it is absent, and removes what a crash left unfinished.
    /// One process at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        match prepare(&dir) {
            Ok(()) => Ok(Self { dir, next_temporary: AtomicU64::new(0) }),
            Err(source) => Err(Error::Folder { path: dir, source }),
        }
    }

    /// Where the files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Starts with a dot and does not end in `.eml`, so that no reader takes it for a message.
const TEMPORARY_SUFFIX: &str = ".part";

fn prepare(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn envelope(delivery: &Claimed) -> String {
    let reverse_path = delivery.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("Return-Path: <{reverse_path}>\r\nDelivered-To: {}\r\n", delivery.recipient)
}

/// Writes one delivery. Blocks on the disk.
fn write(dir: &Path, temporary: &Path, delivery: &Claimed) -> io::Result<Outcome> {
    let name = format!("{}.eml", delivery.id);
    let path = dir.join(&name);
    let envelope = envelope(delivery);
    match fs::read(&path) {
        Ok(found) => {
            let same = found
                .strip_prefix(envelope.as_bytes())
                .is_some_and(|message| message == delivery.bytes);
            if !same {
                let reason = format!("{name} exists with other content");
                return Ok(Outcome::Failed { reason });
            }
            // The crash may have come before the folder was synced.
            File::open(&path)?.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
            file.write_all(envelope.as_bytes())?;
            file.write_all(&delivery.bytes)?;
            file.sync_all()?;
            fs::rename(temporary, &path)?;
        }
        Err(error) => return Err(error),
    }
    File::open(dir)?.sync_all()?;
    Ok(Outcome::Sent { response: format!("250 2.0.0 captured as {name}") })
}

/// How long a full or failing disk is left alone.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

impl Transport for Capture {
    async fn deliver<S: Spool>(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        _mark: DataMark<'_, S>,
    ) -> Outcome {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!(".{}.{number}{TEMPORARY_SUFFIX}", delivery.id));
        let (dir, delivery) = (self.dir.clone(), delivery.clone());
        let written = tokio::task::spawn_blocking(move || {
            let result = write(&dir, &temporary, &delivery);
            if result.is_err() {
                // It may never have come to be.
                let _ = fs::remove_file(&temporary);
            }
            result
        })
        .await;
        let reason = match written {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(error)) => format!("could not write: {error}"),
            Err(_) => "could not write: the writing thread stopped".to_owned(),
        };
        Outcome::Deferred { until: now + RETRY, reason }
    }
}
