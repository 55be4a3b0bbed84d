//! A transport that keeps mail at home: each delivery becomes one file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

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
    names: Arc<SharedSync>,
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
            Ok(()) => Ok(Self { dir, next_temporary: AtomicU64::new(0), names: Arc::default() }),
            Err(source) => Err(Error::Folder { path: dir, source }),
        }
    }

    /// Where the files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The folder of files that are not complete yet, inside the other, so that they can be renamed and that
/// nobody has to look through all messages for them.
const UNFINISHED: &str = ".unfinished";

fn prepare(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
    }
    let unfinished = dir.join(UNFINISHED);
    DirBuilder::new().recursive(true).mode(0o700).create(&unfinished)?;
    for entry in fs::read_dir(unfinished)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// A sync that those who need one at the same time share: each gets one that began after it asked.
#[derive(Debug, Default)]
struct SharedSync {
    state: Mutex<Syncs>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Syncs {
    running: bool,
    /// How many have begun, which is the number of the last one.
    begun: u64,
    /// The last one that succeeded.
    succeeded: u64,
}

impl SharedSync {
    fn lock(&self) -> MutexGuard<'_, Syncs> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Runs `sync`, or waits for somebody else's that begins after this was called. One that failed counts
    /// for him who ran it alone; the others try again.
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        let enough = state.begun + 1;
        while state.running && state.succeeded < enough {
            state = self.ended.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if state.succeeded >= enough {
            return Ok(());
        }
        state.running = true;
        state.begun += 1;
        let number = state.begun;
        drop(state);
        let result = sync();
        let mut state = self.lock();
        state.running = false;
        if result.is_ok() {
            state.succeeded = number;
        }
        drop(state);
        self.ended.notify_all();
        result
    }
}

fn envelope(delivery: &Claimed) -> String {
    let reverse_path = delivery.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("Return-Path: <{reverse_path}>\r\nDelivered-To: {}\r\n", delivery.recipient)
}

/// Writes one delivery. Blocks on the disk.
fn write(
    dir: &Path,
    names: &SharedSync,
    temporary: &Path,
    delivery: &Claimed,
) -> io::Result<Outcome> {
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
    names.sync(|| File::open(dir)?.sync_all())?;
    Ok(Outcome::Sent { response: format!("250 2.0.0 captured as {name}") })
}

/// How long a full or failing disk is left alone.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

impl Transport for Capture {
    async fn deliver<S: Spool>(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        _mark: &DataMark<'_, S>,
    ) -> Outcome {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(UNFINISHED).join(format!("{}.{number}", delivery.id));
        let (dir, names, delivery) = (self.dir.clone(), self.names.clone(), delivery.clone());
        let written = tokio::task::spawn_blocking(move || {
            let result = write(&dir, &names, &temporary, &delivery);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn everybody_gets_a_sync_that_began_after_they_asked_and_failures_are_not_shared() {
        const CALLERS: u64 = 8;
        const ROUNDS: u64 = 200;
        let shared = SharedSync::default();
        let (begun, succeeded) = (AtomicU64::new(0), AtomicU64::new(0));
        let barrier = Barrier::new(CALLERS as usize);
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        barrier.wait();
                        let before = begun.load(Ordering::SeqCst);
                        let synced = shared.sync(|| {
                            let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                            std::thread::yield_now();
                            if number.is_multiple_of(3) {
                                return Err(io::ErrorKind::StorageFull.into());
                            }
                            succeeded.store(number, Ordering::SeqCst);
                            Ok(())
                        });
                        if synced.is_ok() {
                            assert!(succeeded.load(Ordering::SeqCst) > before);
                        }
                    }
                });
            }
        });
        let begun = begun.into_inner();
        assert!((ROUNDS..CALLERS * ROUNDS).contains(&begun), "{begun} syncs");
    }
}
