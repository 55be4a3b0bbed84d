//! A changed configuration, taken over while the server runs.
//!
//! What always holds: either a configuration is good as a whole and all of it takes effect that can, or nothing
//! changes and every mistake is told. No connection, call or turn is cut off: what is under way ends with what it
//! began with, and what begins later has the new settings. What cannot be changed while the server runs is named.
//!
//! The file is read again when somebody asks for it (SIGHUP, `frontdesk reload`, the API), and when it, or a
//! file of instructions that it names, is another one than before.

use crate::{
    config::{Config, ConfigErrors, as_far_as_live, differences},
    desk::Desk,
    own::Kinds,
};
use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;

/// How often files are looked at. A change counts when it is the same at the next look, so that a file that is
/// being written is not read in the middle.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a configuration comes from.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    load: Arc<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>,
}

impl Source {
    /// A file, and how it is read: with the kinds of agent that the program has, and whatever its command line
    /// says.
    pub fn new(
        path: impl Into<PathBuf>,
        load: impl Fn() -> Result<Config, ConfigErrors> + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.into(), load: Arc::new(load) }
    }
}

/// What a desk needs to take over another configuration.
pub(crate) struct Reloads {
    pub source: Option<Source>,
    pub custom: Kinds,
    /// What runs. Held while it is replaced.
    pub running: Mutex<Config>,
}

/// What came of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What is different from now on, such as `agent support: instructions`.
    pub changed: Vec<String>,
    /// What is different in the file and stays as it was until the next start.
    pub needs_restart: Vec<String>,
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("this server was started without a config file, so there is nothing to read again")]
    NoFile,
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Desk {
    /// Reads the configuration again and takes over what can be changed now. `why` is for the log.
    pub async fn reload(&self, why: &str) -> Result<Reloaded, ReloadError> {
        let reloaded = self.try_reload().await;
        match &reloaded {
            Ok(Reloaded { changed, needs_restart }) => {
                tracing::info!(
                    why,
                    changed = changed.join(", "),
                    "the configuration was read again"
                );
                for what in needs_restart {
                    tracing::warn!(what, "this changed in the configuration and needs a restart");
                }
            }
            Err(error) => {
                tracing::error!(
                    "{why}: the configuration is not taken over, the old one stays:\n{error}"
                );
            }
        }
        reloaded
    }

    async fn try_reload(&self) -> Result<Reloaded, ReloadError> {
        let reloads = &self.reloads;
        let source = reloads.source.clone().ok_or(ReloadError::NoFile)?;
        let mut running = reloads.running.lock().await;
        let loaded = tokio::task::spawn_blocking(move || (source.load)()).await;
        let new = loaded.map_err(|error| ReloadError::Other(error.into()))??;
        let found = differences(&running, &new);
        let new = as_far_as_live(&running, new);
        let mut reloaded = Reloaded::default();
        for one in found {
            if one.live { &mut reloaded.changed } else { &mut reloaded.needs_restart }
                .push(one.what);
        }
        if !reloaded.changed.is_empty() {
            let mut tools = self.tools.lock().await;
            let servers = tools.with(&new.mcp);
            let Reloads { custom, .. } = reloads;
            self.directory.replace(&new, custom, &servers, &self.store, &self.registry).await?;
            *tools = servers;
            *running = new;
        }
        Ok(reloaded)
    }

    /// Takes over the configuration whenever its files change, until the future ends.
    pub(crate) async fn watch_files(&self, stopping: impl Future<Output = ()>) {
        let Some(source) = &self.reloads.source else { return };
        let watch = async {
            let mut taken = self.files(&source.path).await;
            let mut before = taken.clone();
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let now = self.files(&source.path).await;
                if now != taken && now == before {
                    // What went wrong was told; another change is another try.
                    let _ = self.reload("its files changed").await;
                    // As they were seen before, so that a change since then is seen next time.
                    let after = self.files(&source.path).await.into_iter();
                    taken = after
                        .map(|(path, print)| {
                            let print = now.get(&path).copied().unwrap_or(print);
                            (path, print)
                        })
                        .collect();
                }
                before = now;
            }
        };
        tokio::select! {
            () = watch => {}
            () = stopping => {}
        }
    }

    /// The files of what runs, and which they are.
    async fn files(&self, config: &Path) -> HashMap<PathBuf, Option<Fingerprint>> {
        let running = self.reloads.running.lock().await;
        let instructions =
            running.agents.iter().filter_map(|agent| agent.assistant.instructions_file.clone());
        let paths = instructions.chain([config.to_owned()]);
        paths.map(|path| (path.clone(), Fingerprint::of(&path))).collect()
    }
}

/// Whether a file is the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Fingerprint {
    /// Nothing where there is no file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}
