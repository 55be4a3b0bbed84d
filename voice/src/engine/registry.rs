//! Engines by name, and what each one lacks.

#[cfg(feature = "remote")]
use super::{Deepgram, OpenAiEar, OpenAiMouth};
#[cfg(feature = "whisper")]
use super::{Effort, Whisper};
use super::{
    EngineName, Error, Espeak, Flite, PocketSphinx, Secret, SphinxModel, Synthesiser, Transcriber,
    pocketsphinx,
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the operator says about engines. Everything has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the system's speech libraries are; the system's own search path if not given.
    pub library_dir: Option<PathBuf>,
    /// The espeak-ng program; `espeak-ng` on the path if not given.
    pub espeak: Option<PathBuf>,
    /// PocketSphinx.
    pub pocketsphinx: SphinxSettings,
    /// Whisper.
    pub whisper: WhisperSettings,
    /// OpenAI, or a server with its audio API.
    pub openai: OpenAiSettings,
    /// Deepgram.
    pub deepgram: DeepgramSettings,
}

/// What the operator says about PocketSphinx.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SphinxSettings {
    /// Where its models are; `/usr/share/pocketsphinx/model` if not given.
    pub model_dir: Option<PathBuf>,
    /// A language model instead of the general one.
    pub language_model: Option<PathBuf>,
    /// A dictionary instead of the general one.
    pub dictionary: Option<PathBuf>,
    /// Sessions at once; the number of cores, and at least two, if not given.
    pub sessions: Option<usize>,
}

/// What the operator says about Whisper.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhisperSettings {
    /// Where `frontdesk models pull` puts models; `models` in the data directory, as the program sets it.
    pub models_dir: Option<PathBuf>,
    /// Model files of the operator's own, by the part of the engine's name after `whisper:`.
    pub files: HashMap<String, PathBuf>,
    /// What is spoken, unless a call says otherwise; detected if not given.
    pub language: Option<String>,
    /// Threads for all decodes together; all cores but one if not given.
    pub threads: Option<usize>,
    /// Decodes at once; one for every four threads if not given.
    pub slots: Option<usize>,
}

/// What the operator says about OpenAI, or a server with its audio API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAiSettings {
    /// Its address, with the version; `https://api.openai.com/v1` if not given.
    pub base: Option<String>,
    /// Its key; a server of one's own may need none.
    pub key: Option<Secret>,
    /// The rate of its `pcm` format in samples a second; 24000 if not given.
    pub pcm_rate: Option<u32>,
}

/// What the operator says about Deepgram.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepgramSettings {
    /// Its address; `wss://api.deepgram.com/v1/listen` if not given.
    pub base: Option<String>,
    /// Its key.
    pub key: Option<Secret>,
}

/// What an engine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Speech to text.
    Listen,
    /// Text to speech.
    Speak,
}

impl Job {
    fn verb(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Speak => "speak",
        }
    }

    /// The families of engines that can do it.
    #[must_use]
    pub fn families(self) -> &'static [&'static str] {
        match self {
            Self::Listen => &["whisper", "pocketsphinx", "openai", "deepgram"],
            Self::Speak => &["flite", "espeak", "openai"],
        }
    }

    /// The same as words of a sentence.
    fn listed(self) -> &'static str {
        match self {
            Self::Listen => "whisper, pocketsphinx, openai and deepgram",
            Self::Speak => "flite, espeak and openai",
        }
    }
}

/// What `frontdesk check` says about an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which engine.
    pub name: EngineName,
    /// What it was to do.
    pub job: Job,
    /// Whether it can.
    pub state: State,
}

/// Whether an engine can do its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is loaded.
    Ready {
        /// What to know about it, in a sentence; empty where there is nothing.
        note: &'static str,
    },
    /// It cannot work yet.
    Lacking {
        /// What is wrong.
        what: String,
        /// What to do about it.
        fix: String,
    },
}

/// Loads engines when they are first asked for and keeps them. One for the process.
#[derive(Debug, Default)]
pub struct Registry {
    settings: Settings,
    transcribers: Loaded<dyn Transcriber>,
    synthesisers: Loaded<dyn Synthesiser>,
}

impl Registry {
    /// With nothing loaded yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// The transcriber of this name. **Blocks** while that one loads: milliseconds for a library, up to
    /// seconds for a model; on an async runtime, call it from a blocking thread. What failed is tried again
    /// at the next call, so installing a package is enough.
    ///
    /// # Errors
    ///
    /// What is missing and how to fix it.
    pub fn transcriber(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        self.transcribers.get(name, || match name.family() {
            "pocketsphinx" => Ok(Arc::new(self.pocketsphinx(name)?)),
            "whisper" => self.whisper(name),
            "openai" => self.openai_ear(name),
            "deepgram" => self.deepgram(name),
            _ => Err(unknown(name, Job::Listen)),
        })
    }

    /// The synthesiser of this name. **Blocks** while it loads, like [`Registry::transcriber`].
    ///
    /// # Errors
    ///
    /// What is missing and how to fix it.
    pub fn synthesiser(&self, name: &EngineName) -> Result<Arc<dyn Synthesiser>, Error> {
        self.synthesisers.get(name, || match name.family() {
            "flite" => {
                let dir = self.settings.library_dir.as_deref();
                Ok(Arc::new(Flite::open(name.clone(), dir)?))
            }
            "espeak" => Ok(Arc::new(Espeak::open(name.clone(), self.settings.espeak.clone())?)),
            "openai" => self.openai_mouth(name),
            _ => Err(unknown(name, Job::Speak)),
        })
    }

    /// Adds an engine of one's own under its own name, in place of what that name meant before.
    pub fn add_transcriber(&self, engine: Arc<dyn Transcriber>) {
        self.transcribers.put(engine.name().clone(), engine);
    }

    /// The same for one that speaks.
    pub fn add_synthesiser(&self, engine: Arc<dyn Synthesiser>) {
        self.synthesisers.put(engine.name().clone(), engine);
    }

    /// Loads an engine, if it is not loaded, and says how that went. **Blocks** like loading.
    #[must_use]
    pub fn check(&self, name: &EngineName, job: Job) -> Report {
        let ready = match job {
            Job::Listen => self.transcriber(name).map(|engine| engine.is_basic()),
            Job::Speak => self.synthesiser(name).map(|_| false),
        };
        let state = match ready {
            Ok(true) => State::Ready {
                note: "basic: rely on its words only within a grammar such as digits or yes and no",
            },
            Ok(false) => State::Ready { note: "" },
            Err(Error::Missing { what, fix }) => State::Lacking { what, fix },
            Err(Error::NotBuilt { feature, .. }) => State::Lacking {
                what: "it is not in this build".into(),
                fix: format!("cargo build --features {feature}"),
            },
            Err(error @ Error::Unknown { .. }) => State::Lacking {
                what: error.to_string(),
                fix: format!("name one that can {}", job.verb()),
            },
            Err(error) => {
                State::Lacking { what: error.to_string(), fix: "correct the setting".into() }
            }
        };
        Report { name: name.clone(), job, state }
    }

    fn pocketsphinx(&self, name: &EngineName) -> Result<PocketSphinx, Error> {
        let settings = &self.settings.pocketsphinx;
        let dir = settings.model_dir.clone();
        let dir = dir.unwrap_or_else(|| "/usr/share/pocketsphinx/model".into());
        let mut model = SphinxModel::installed(&dir, name.model());
        if let Some(file) = &settings.language_model {
            model.language_model.clone_from(file);
        }
        if let Some(file) = &settings.dictionary {
            model.dictionary.clone_from(file);
        }
        let sessions = settings.sessions.unwrap_or_else(pocketsphinx::default_sessions);
        PocketSphinx::open(name.clone(), model, sessions, self.settings.library_dir.as_deref())
    }
}

/// Engines that are loaded, or loading.
#[derive(Debug)]
struct Loaded<T: ?Sized>(Mutex<HashMap<EngineName, Place<T>>>);

/// Where an engine is, or will be; locked while it loads.
type Place<T> = Arc<Mutex<Option<Arc<T>>>>;

impl<T: ?Sized> Default for Loaded<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: ?Sized> Loaded<T> {
    /// The engine of this name, loaded now if it is not. An engine is never loaded twice, and whoever wants
    /// another one does not wait for it.
    fn get(
        &self,
        name: &EngineName,
        load: impl FnOnce() -> Result<Arc<T>, Error>,
    ) -> Result<Arc<T>, Error> {
        let place = Arc::clone(self.lock().entry(name.clone()).or_default());
        let mut engine = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(Arc::clone(engine));
        }
        match load() {
            Ok(loaded) => Ok(Arc::clone(engine.insert(loaded))),
            Err(error) => {
                drop(engine);
                // Names that fail do not pile up. Whoever waited for this place tries in it, too.
                let mut places = self.lock();
                if places.get(name).is_some_and(|now| Arc::ptr_eq(now, &place)) {
                    places.remove(name);
                }
                Err(error)
            }
        }
    }

    fn put(&self, name: EngineName, engine: Arc<T>) {
        self.lock().insert(name, Arc::new(Mutex::new(Some(engine))));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EngineName, Place<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(not(feature = "whisper"))]
impl Registry {
    fn whisper(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        Err(Error::NotBuilt { name: name.clone(), feature: "whisper" })
    }
}

#[cfg(feature = "whisper")]
impl Registry {
    fn whisper(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        let settings = &self.settings.whisper;
        let file = match settings.files.get(name.model()) {
            Some(file) => file.clone(),
            // The model's name may have a slash in it, but not two dots.
            None => {
                let dir = settings.models_dir.clone().unwrap_or_else(|| "data/models".into());
                dir.join(format!("ggml-{}.bin", name.model()))
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut effort = settings.threads.map_or_else(
            || Effort::of_cores(cores),
            |threads| Effort::of_cores(threads.saturating_add(1)),
        );
        if let Some(slots) = settings.slots {
            let threads = effort.slots * effort.threads;
            effort = Effort { slots: slots.max(1), threads: (threads / slots.max(1)).max(1) };
        }
        let whisper = Whisper::open(name.clone(), &file, settings.language.clone(), effort)?;
        Ok(Arc::new(whisper))
    }
}

#[cfg(not(feature = "remote"))]
impl Registry {
    fn openai_ear(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        Err(Error::NotBuilt { name: name.clone(), feature: "remote" })
    }

    fn openai_mouth(&self, name: &EngineName) -> Result<Arc<dyn Synthesiser>, Error> {
        Err(Error::NotBuilt { name: name.clone(), feature: "remote" })
    }

    fn deepgram(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        Err(Error::NotBuilt { name: name.clone(), feature: "remote" })
    }
}

#[cfg(feature = "remote")]
impl Registry {
    fn openai_ear(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        let (base, key) = self.openai(name)?;
        Ok(Arc::new(OpenAiEar::new(name.clone(), base, key)?))
    }

    fn openai_mouth(&self, name: &EngineName) -> Result<Arc<dyn Synthesiser>, Error> {
        let (base, key) = self.openai(name)?;
        let rate = self.settings.openai.pcm_rate;
        Ok(Arc::new(OpenAiMouth::new(name.clone(), base, key, rate)?))
    }

    fn openai(&self, name: &EngineName) -> Result<(&str, Option<Secret>), Error> {
        let settings = &self.settings.openai;
        match (&settings.base, &settings.key) {
            (None, None) => Err(no_key(name, "OpenAI")),
            (None, key) => Ok(("https://api.openai.com/v1", key.clone())),
            (Some(base), key) => Ok((base, key.clone())),
        }
    }

    fn deepgram(&self, name: &EngineName) -> Result<Arc<dyn Transcriber>, Error> {
        let settings = &self.settings.deepgram;
        let key = settings.key.clone().ok_or_else(|| no_key(name, "Deepgram"))?;
        Ok(Arc::new(Deepgram::new(name.clone(), settings.base.as_deref(), key)?))
    }
}

#[cfg(feature = "remote")]
fn no_key(name: &EngineName, service: &str) -> Error {
    let family = name.family();
    Error::Missing {
        what: format!("there is no key for {service}"),
        fix: format!(
            "put it in a file and name that under [voice.{family}] as key_file, or set \
             FRONTDESK_{}_KEY",
            family.to_ascii_uppercase()
        ),
    }
}

fn unknown(name: &EngineName, job: Job) -> Error {
    Error::Unknown { name: name.clone(), job: job.verb(), known: job.listed() }
}
