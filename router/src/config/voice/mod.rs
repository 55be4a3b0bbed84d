//! `[voice]`: calls, and what hears and speaks in them.
//!
//! What always holds for loaded settings: every engine that is named exists in some build and does the
//! job it is named for, and none that knows only English is set for another language. Whether an engine
//! has what it needs on this machine is not asked here: a missing model never stops the server.

mod engines;
mod read;

pub(super) use read::{agent_calls, voice};

use super::settings::{AgentConfig, Config};
use crate::models::Mirror;
use frontdesk_voice::engine::{EngineName, Job, Settings, models::Manifest};
use std::{collections::BTreeSet, time::Duration};

/// Stands for a language where the engine is to find out which it is.
pub const ANY_LANGUAGE: &str = "auto";

/// `[voice]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceConfig {
    /// What hears callers. Default: `whisper:base.en`, or `whisper:base` where `language` is not English.
    pub stt: EngineName,
    /// What hears them while `stt` cannot work, for instance because its model is not downloaded yet;
    /// both the caller's page and the log say so. Default: `pocketsphinx:en-us` for English, else none.
    pub stt_fallback: Option<EngineName>,
    /// What speaks. Default: `flite:slt`, or `espeak:LANGUAGE` where `language` is not English.
    pub tts: EngineName,
    /// What a caller may ask to be heard by instead. Default: nothing.
    pub allow_stt: Vec<EngineName>,
    /// What a caller may ask to be spoken to by instead. Default: nothing.
    pub allow_tts: Vec<EngineName>,
    /// What is spoken, as a BCP 47 tag, or [`ANY_LANGUAGE`]. Default: `en`.
    pub language: String,
    /// Calls at once. Default: 100.
    pub max_calls: u32,
    /// Calls at once of one user, link or visitor. Default: 2, so that a second tab can take over.
    pub max_calls_per_user: u32,
    /// Longest call; a farewell comes on top. Default: 30 minutes.
    pub max_call_length: Duration,
    /// Whether calls are recorded. Default: false.
    pub record: bool,
    /// What is said at the beginning of a recorded call. Never empty.
    pub announcement: String,
    /// Where `frontdesk models pull` looks for models instead of where they are published. Default: none.
    pub models_mirror: Option<Mirror>,
    /// The models that can be pulled: those this version knows, and those of `models_manifest`.
    pub models: Manifest,
    /// What each engine is told. The folder of models is filled in by [`Config::engine_settings`].
    pub engines: Settings,
}

/// What is said at the beginning of a recorded call unless told otherwise.
pub const ANNOUNCEMENT: &str = "This call is recorded.";

impl Default for VoiceConfig {
    fn default() -> Self {
        let language = "en";
        Self {
            stt: engines::usual_stt(language),
            stt_fallback: engines::usual_fallback(language),
            tts: engines::usual_tts(language),
            allow_stt: Vec::new(),
            allow_tts: Vec::new(),
            language: language.into(),
            max_calls: 100,
            max_calls_per_user: 2,
            max_call_length: Duration::from_secs(30 * 60),
            record: false,
            announcement: ANNOUNCEMENT.into(),
            models_mirror: None,
            models: Manifest::default(),
            engines: Settings::default(),
        }
    }
}

/// Who may talk to an agent in the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// Nobody.
    Off,
    /// Whoever works here.
    Staff,
    /// Whoever has a signed link.
    Link,
    /// Anybody.
    Public,
}

impl Talk {
    /// As it is written in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Staff => "staff",
            Self::Link => "link",
            Self::Public => "public",
        }
    }
}

/// What holds for an agent's calls, when its own settings and those of `[voice]` are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSettings {
    /// What hears callers.
    pub stt: EngineName,
    /// What hears them while that cannot work.
    pub stt_fallback: Option<EngineName>,
    /// What speaks.
    pub tts: EngineName,
    /// What is spoken, as a BCP 47 tag; none where the engine is to find out.
    pub language: Option<String>,
    /// Whether calls are recorded.
    pub record: bool,
}

impl VoiceConfig {
    /// What holds for an agent's calls. Where the agent's language is one that the engines of `[voice]` do
    /// not know, it gets the usual ones for it.
    #[must_use]
    pub fn calls_of(&self, agent: &AgentConfig) -> CallSettings {
        let language = agent.language.as_deref().unwrap_or(&self.language);
        let stt = agent.stt.clone().unwrap_or_else(|| {
            if engines::hears(&self.stt, language) {
                self.stt.clone()
            } else {
                engines::usual_stt(language)
            }
        });
        let tts = agent.tts.clone().unwrap_or_else(|| {
            if engines::speaks(&self.tts, language) {
                self.tts.clone()
            } else {
                engines::usual_tts(language)
            }
        });
        CallSettings {
            stt_fallback: self
                .stt_fallback
                .clone()
                .filter(|name| *name != stt && engines::hears(name, language)),
            stt,
            tts,
            language: (language != ANY_LANGUAGE).then(|| language.to_owned()),
            record: agent.record.unwrap_or(self.record),
        }
    }
}

impl Config {
    /// What the engines are told, with the folder of models in the data unless another one is set.
    #[must_use]
    pub fn engine_settings(&self) -> Settings {
        let mut settings = self.voice.engines.clone();
        settings.whisper.models_dir.get_or_insert_with(|| self.server.data.join("models"));
        settings
    }

    /// Every engine that a call may use, by what it is for: none where nobody can call.
    pub fn engines_in_use(&self) -> impl Iterator<Item = (EngineName, Job)> {
        let mut engines = BTreeSet::new();
        let callable = self.agents.iter().filter(|agent| agent.talk != Talk::Off);
        for calls in callable.map(|agent| self.voice.calls_of(agent)) {
            engines.extend([(calls.stt, Job::Listen), (calls.tts, Job::Speak)]);
            engines.extend(calls.stt_fallback.map(|name| (name, Job::Listen)));
            engines.extend(self.voice.allow_stt.iter().cloned().map(|name| (name, Job::Listen)));
            engines.extend(self.voice.allow_tts.iter().cloned().map(|name| (name, Job::Speak)));
        }
        engines.into_iter()
    }

    /// Where pulled models are kept.
    #[must_use]
    pub fn models_dir(&self) -> std::path::PathBuf {
        let set = self.voice.engines.whisper.models_dir.clone();
        set.unwrap_or_else(|| self.server.data.join("models"))
    }
}
