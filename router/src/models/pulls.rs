//! The downloads that the server makes: one for each model, whoever asked for it, and how each stands.

use super::{FAMILY, Progress, Pull, PullError};
use crate::config::Config;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// How a download stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    /// Under way.
    Running(Progress),
    /// The model is here.
    Done,
    /// Why it is not, in words for whoever asked.
    Failed(String),
}

impl PullState {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Running(_))
    }
}

/// The downloads of a server. The last outcome of each model is kept.
#[derive(Debug, Default)]
pub struct Pulls {
    states: Mutex<HashMap<String, watch::Receiver<PullState>>>,
}

impl Pulls {
    /// Starts to get a model unless that is under way; gives how it stands from now on. Must be called on a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// [`PullError::Unknown`].
    pub fn start(
        self: &Arc<Self>,
        config: &Config,
        name: &str,
    ) -> Result<watch::Receiver<PullState>, PullError> {
        let pull = Pull::new(config, name, None)?;
        let key = key(name);
        let mut states = self.lock();
        if let Some(state) = states.get(&key)
            && !state.borrow().is_over()
        {
            return Ok(state.clone());
        }
        let beginning = Progress::Fetching { have: 0, size: pull.size() };
        let (state, receiver) = watch::channel(PullState::Running(beginning));
        states.insert(key, receiver.clone());
        tokio::spawn(run(pull, name.to_owned(), state));
        Ok(receiver)
    }

    /// How the download of a model stands, if there was one.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<PullState> {
        self.lock().get(&key(name)).map(|state| state.borrow().clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<PullState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same for `whisper:base.en` and `base.en`.
fn key(name: &str) -> String {
    name.strip_prefix(FAMILY).and_then(|rest| rest.strip_prefix(':')).unwrap_or(name).to_owned()
}

async fn run(pull: Pull, name: String, state: watch::Sender<PullState>) {
    tracing::info!(model = name, from = %pull.source(), "a model is being downloaded");
    let (progress, mut heard) = watch::channel(Progress::Checking);
    let ended = async {
        let ended = pull.run(&progress).await;
        drop(progress);
        ended
    };
    let told = async {
        while heard.changed().await.is_ok() {
            state.send_replace(PullState::Running(heard.borrow_and_update().clone()));
        }
    };
    let (ended, ()) = tokio::join!(ended, told);
    state.send_replace(match ended {
        Ok(pulled) => {
            tracing::info!(model = name, file = %pulled.file.display(), "a model is here");
            PullState::Done
        }
        Err(error) => {
            tracing::error!(model = name, %error, "a model could not be downloaded");
            PullState::Failed(error.to_string())
        }
    });
}
