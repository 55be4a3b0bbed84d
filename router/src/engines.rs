//! What hears and speaks in calls: engines by the names in the configuration, and what stands in where
//! one cannot work.
//!
//! What always holds: loading never blocks the runtime; an engine is loaded once for the process; and
//! whoever is heard by a stand-in can be told so, and why.

mod standing;

pub use frontdesk_voice::engine::{Job, State};
pub use standing::{Standing, standings};

use crate::config::{CallSettings, Config};
use frontdesk_voice::engine::{EngineName, Error, Registry, Synthesiser, Transcriber};
use std::sync::Arc;

/// The engines of an installation. Loads none before it is asked for.
#[derive(Debug, Clone)]
pub struct Engines {
    registry: Arc<Registry>,
}

/// What hears a caller.
#[derive(Debug, Clone)]
pub struct Ear {
    /// The engine. [`Transcriber::is_basic`] says whether its words can be relied on.
    pub engine: Arc<dyn Transcriber>,
    /// The engine that was wanted, and why it cannot work.
    pub instead_of: Option<(EngineName, Error)>,
}

impl Engines {
    /// The engines of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { registry: Arc::new(Registry::new(config.engine_settings())) }
    }

    /// Adds an engine that hears, under its own name.
    pub fn add_transcriber(&self, engine: Arc<dyn Transcriber>) {
        self.registry.add_transcriber(engine);
    }

    /// Adds an engine that speaks, under its own name.
    pub fn add_synthesiser(&self, engine: Arc<dyn Synthesiser>) {
        self.registry.add_synthesiser(engine);
    }

    /// What hears a call: its own engine, or the stand-in where that cannot work. Takes milliseconds, or
    /// seconds when a model is loaded for the first time.
    ///
    /// # Errors
    ///
    /// What is missing for the call's own engine, where nothing can stand in.
    pub async fn ear(&self, calls: &CallSettings) -> Result<Ear, Error> {
        let wanted = calls.stt.clone();
        let error = match self.transcriber(wanted.clone()).await {
            Ok(engine) => return Ok(Ear { engine, instead_of: None }),
            Err(error) => error,
        };
        let Some(stand_in) = calls.stt_fallback.clone() else { return Err(error) };
        match self.transcriber(stand_in.clone()).await {
            Ok(engine) => {
                tracing::warn!(%wanted, %stand_in, %error, "a call is heard by a stand-in");
                Ok(Ear { engine, instead_of: Some((wanted, error)) })
            }
            Err(other) => {
                tracing::warn!(%stand_in, error = %other, "the stand-in cannot work either");
                Err(error)
            }
        }
    }

    /// What speaks in a call.
    ///
    /// # Errors
    ///
    /// What is missing and how to fix it.
    pub async fn mouth(&self, calls: &CallSettings) -> Result<Arc<dyn Synthesiser>, Error> {
        let name = calls.tts.clone();
        self.load(name, |registry, name| registry.synthesiser(name)).await
    }

    async fn transcriber(&self, name: EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        self.load(name, |registry, name| registry.transcriber(name)).await
    }

    async fn load<T: Send + 'static>(
        &self,
        name: EngineName,
        load: impl FnOnce(&Registry, &EngineName) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (registry, engine) = (self.registry.clone(), name.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&registry, &engine)).await;
        loaded.unwrap_or_else(|_| Err(Error::Failed { engine: name, what: "it panicked".into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A call's settings from the text of a `[voice]` section.
    fn calls(text: &str, folder: &Path) -> (Engines, CallSettings) {
        let config = Config::parse(text, Path::new("f"), folder, &[], &|_| None).unwrap();
        (Engines::new(&config), config.voice.calls_of(&config.agents[0]))
    }

    #[tokio::test]
    async fn where_nothing_can_stand_in_the_error_is_about_the_engine_that_was_wanted() {
        let folder = tempfile::tempdir().unwrap();
        // There are no libraries and no models in this folder.
        for fallback in ["", "stt_fallback = \"none\"\n"] {
            let text = format!("[voice]\nlibrary_dir = \".\"\n{fallback}");
            let (engines, calls) = calls(&text, folder.path());
            let error = engines.ear(&calls).await.unwrap_err();
            assert!(error.to_string().contains("whisper:base.en"), "{error}");
            assert!(matches!(engines.mouth(&calls).await, Err(Error::Missing { .. })));
        }
    }

    #[tokio::test]
    async fn a_call_whose_engine_lacks_its_model_is_heard_by_the_basic_one_and_can_be_told() {
        let folder = tempfile::tempdir().unwrap();
        let (engines, calls) = calls("", folder.path());
        let sphinx = engines.transcriber("pocketsphinx:en-us".parse().unwrap()).await;
        if let Err(error) = sphinx {
            let required = std::env::var("FRONTDESK_PEERS").is_ok_and(|peers| peers == "required");
            assert!(!required, "{error}");
            eprintln!("skipped: {error}");
            return;
        }
        let ear = engines.ear(&calls).await.unwrap();
        assert_eq!(ear.engine.name().to_string(), "pocketsphinx:en-us");
        assert!(ear.engine.is_basic());
        let (wanted, why) = ear.instead_of.unwrap();
        assert_eq!(wanted.to_string(), "whisper:base.en");
        assert!(why.to_string().contains("whisper:base.en") && why.is_setup(), "{why}");
    }
}
