//! Getting one model: whose turn it is, whether it is here already, and the file's way to its own name.

use super::fetch::{Partial, Patience, fetch};
use super::progress::megabytes;
use super::{FAMILY, Mirror, Progress, PullError, Source};
use crate::{
    config::{Config, nearest},
    desk::make_private,
};
use data_encoding::HEXLOWER;
use frontdesk_voice::engine::models::Known;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::watch;

/// How often to look whether whoever fetches the same model has finished.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Read at once while a checksum is computed.
const BLOCK: usize = 1024 * 1024;

/// One model to get.
#[derive(Debug, Clone)]
pub struct Pull {
    model: Known,
    source: Source,
    folder: PathBuf,
    /// The data, if the folder is in it: only its owner looks inside.
    data: Option<PathBuf>,
    patience: Patience,
}

/// A model that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Where it is.
    pub file: PathBuf,
    /// Its size in octets.
    pub size: u64,
    /// Whether it was here before.
    pub already: bool,
}

impl Pull {
    /// What getting a model of a configuration takes. `name` is an engine's, `whisper:base.en`, or the part
    /// after the colon. `mirror` goes before the configured one.
    ///
    /// # Errors
    ///
    /// [`PullError::Unknown`].
    pub fn new(config: &Config, name: &str, mirror: Option<Mirror>) -> Result<Self, PullError> {
        let unknown = |fix: String| PullError::Unknown { name: name.to_owned(), fix };
        let (family, short) = name.split_once(':').unwrap_or((FAMILY, name));
        if family != FAMILY {
            return Err(unknown(format!(
                "Only {FAMILY} has models to pull, such as {FAMILY}:base.en."
            )));
        }
        if let Some(file) = config.voice.engines.whisper.files.get(short) {
            return Err(unknown(format!("It is a file of your own: {}.", file.display())));
        }
        let models = &config.voice.models;
        let model = models.get(short).ok_or_else(|| {
            unknown(match nearest(short, models.iter().map(|(name, _)| name)) {
                Some(near) => format!("Did you mean {FAMILY}:{near}?"),
                None => "See which there are: frontdesk models list".into(),
            })
        })?;
        let mirror = mirror.or_else(|| config.voice.models_mirror.clone());
        let folder = config.models_dir();
        let data = Some(config.server.data.clone()).filter(|data| folder.starts_with(data));
        Ok(Self { data, ..Self::of(model.clone(), mirror.as_ref(), folder) })
    }

    /// A model to be fetched into a folder.
    #[must_use]
    pub fn of(model: Known, mirror: Option<&Mirror>, folder: PathBuf) -> Self {
        let source = Source::of(&model, mirror);
        Self { model, source, folder, data: None, patience: Patience::default() }
    }

    /// With other pauses after the connection broke than a few seconds; as many tries as pauses and one.
    #[must_use]
    pub fn pauses(mut self, pauses: &[Duration]) -> Self {
        self.patience = Patience::of(pauses);
        self
    }

    /// Where the model comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where it will be.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(&*self.model.file)
    }

    /// Its size in octets.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.model.size
    }

    /// Gets the model, unless it is here. Dropping this stops it; what has arrived is kept.
    ///
    /// # Errors
    ///
    /// What is wrong and what to do about it.
    pub async fn run(&self, progress: &watch::Sender<Progress>) -> Result<Pulled, PullError> {
        let file = self.file();
        let (data, folder) = (self.data.clone(), self.folder.clone());
        blocking(move || {
            let data = data.map_or(Ok(()), |data| make_private(&data));
            let made = data.and_then(|()| fs::create_dir_all(&folder));
            made.map_err(PullError::file("make the folder", &folder, 0))
        })
        .await?;
        // Held until this returns.
        let _turn = self.turn(progress).await?;
        let pulled = |already| Pulled { file: file.clone(), size: self.model.size, already };
        let part = part_of(&file);
        if self.is_good(&file, progress).await? {
            Partial::forget(&part);
            return Ok(pulled(true));
        }
        self.has_room(&part)?;

        let mut resumed = fs::metadata(&part).is_ok_and(|data| data.len() > 0);
        loop {
            fetch(&self.model, &self.source, &part, &self.patience, progress).await?;
            if self.is_good(&part, progress).await? {
                break;
            }
            Partial::forget(&part);
            if !resumed {
                return Err(PullError::Wrong {
                    at: self.source.to_string(),
                    why: "its checksum is another".into(),
                });
            }
            // What an earlier try left may be to blame; once more from the beginning.
            resumed = false;
        }
        let target = file.clone();
        blocking(move || {
            into_place(&part, &target).map_err(PullError::file("put in place", &target, 0))
        })
        .await?;
        Ok(pulled(false))
    }

    /// Waits until nobody else fetches this model. The system gives the lock back when a process ends, however
    /// it ends. The file stays: whoever waits for it must find the same one.
    async fn turn(&self, progress: &watch::Sender<Progress>) -> Result<File, PullError> {
        let path = self.folder.join(format!(".{}.lock", self.model.file));
        let failed = PullError::file("lock", &path, 0);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = open.map_err(&failed)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {
                    progress.send_replace(Progress::Waiting);
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Whether a file is there and is the model.
    async fn is_good(
        &self,
        file: &Path,
        progress: &watch::Sender<Progress>,
    ) -> Result<bool, PullError> {
        if !fs::metadata(file).is_ok_and(|data| data.is_file() && data.len() == self.model.size) {
            return Ok(false);
        }
        progress.send_replace(Progress::Checking);
        let (path, expected) = (file.to_owned(), self.model.sha256.clone().into_owned());
        blocking(move || {
            let sum = checksum(&path).map_err(PullError::file("read", &path, 0))?;
            Ok(sum == expected)
        })
        .await
    }

    /// Whether the disk takes the rest of the model.
    fn has_room(&self, part: &Path) -> Result<(), PullError> {
        let have = fs::metadata(part).map_or(0, |data| data.len());
        let missing = self.model.size.saturating_sub(have);
        // Where the system does not say, writing will tell.
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= missing {
            return Ok(());
        }
        Err(PullError::Full {
            folder: self.folder.clone(),
            needed: megabytes(missing),
            free: Some(megabytes(free)),
        })
    }
}

/// Where a model is until it is whole.
pub(super) fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Gives a whole model its own name, so that it is there after a crash as well.
fn into_place(part: &Path, file: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, file)?;
    Partial::forget(part);
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn checksum(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut block = vec![0; BLOCK];
    let mut sum = Sha256::new();
    loop {
        match file.read(&mut block)? {
            0 => return Ok(HEXLOWER.encode(&sum.finalize())),
            read => sum.update(&block[..read]),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let error = io::Error::other(error);
        Err(PullError::Folder { doing: "work on", path: PathBuf::from("a model"), error })
    })
}
