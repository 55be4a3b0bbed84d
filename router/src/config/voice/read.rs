//! From the sections `[voice]` and `[voice.…]` to settings.

use super::super::error::At;
use super::super::files::SecretKind;
use super::super::read::{Surroundings, secret};
use super::super::walk::Section;
use super::engines::{self, Named};
use super::{Talk, VoiceConfig};
use crate::models::Mirror;
use frontdesk_voice::engine::{
    DeepgramSettings, EngineName, Job, OpenAiSettings, Settings, SphinxSettings, WhisperSettings,
    models::Manifest,
};
use std::time::Duration;

/// The environment variables that hold the keys of services.
const OPENAI_KEY: &str = "FRONTDESK_OPENAI_KEY";
const DEEPGRAM_KEY: &str = "FRONTDESK_DEEPGRAM_KEY";

/// What fits on one line of a page, in characters.
const ABOUT_MAX: usize = 160;
/// About a minute of speech, in characters.
const GREETING_MAX: usize = 1_000;
/// A manifest is a few lines for each model.
const MANIFEST_MAX: u64 = 1024 * 1024;

pub fn voice(section: Section<'_, '_, '_>, around: &Surroundings<'_>) -> VoiceConfig {
    let default = VoiceConfig::default();
    let report = section.report();
    let engines = settings(&section, around);
    let models = manifest(&section, around);
    let known = Named { models: &models, whisper: &engines.whisper };

    let language = section.string("language", "\"en\"");
    let language = language.and_then(|at| engines::language(report, at));
    let spoken = language.map_or(default.language, |at| at.value);

    let engine = |key, job| {
        let at = section
            .string(key, if job == Job::Speak { "\"flite:slt\"" } else { "\"whisper:base.en\"" })?;
        Some(At::new(engines::name(report, key, &at, job, &known)?, at.span))
    };
    let stt = engine("stt", Job::Listen);
    let tts = engine("tts", Job::Speak);
    fits(&section, "stt", stt.as_ref(), &spoken);
    fits(&section, "tts", tts.as_ref(), &spoken);
    let list = |key, job, example| -> Vec<EngineName> {
        let written = section.strings(key, example).unwrap_or_default();
        written.iter().filter_map(|at| engines::name(report, key, at, job, &known)).collect()
    };

    let count = |key, default| section.integer(key, 1..=100_000, default).unwrap_or(default);
    let voice = VoiceConfig {
        stt: stt.map_or_else(|| engines::usual_stt(&spoken), |at| at.value),
        stt_fallback: fallback(&section, &known, &spoken),
        tts: tts.map_or_else(|| engines::usual_tts(&spoken), |at| at.value),
        allow_stt: list("allow_stt", Job::Listen, "[\"whisper:base\"]"),
        allow_tts: list("allow_tts", Job::Speak, "[\"flite:kal16\"]"),
        max_calls: count("max_calls", default.max_calls),
        max_calls_per_user: count("max_calls_per_user", default.max_calls_per_user),
        max_call_length: section
            .duration(
                "max_call_length",
                Duration::from_secs(10)..=Duration::from_secs(24 * 3600),
                default.max_call_length,
            )
            .unwrap_or(default.max_call_length),
        record: section.boolean("record").map_or(default.record, |at| at.value),
        announcement: announcement(&section).unwrap_or(default.announcement),
        models_mirror: mirror(&section, around),
        language: spoken,
        models,
        engines,
    };
    section.finish(&[]);
    voice
}

/// What an agent's own section says about its calls.
pub struct AgentCalls {
    pub talk: Option<Talk>,
    pub about: Option<String>,
    pub greeting: Option<String>,
    pub stt: Option<EngineName>,
    pub tts: Option<EngineName>,
    pub language: Option<String>,
    pub record: Option<bool>,
}

pub fn agent_calls(section: &Section<'_, '_, '_>, voice: &VoiceConfig) -> AgentCalls {
    let report = section.report();
    let known = Named { models: &voice.models, whisper: &voice.engines.whisper };
    let talk = section.choice(
        "talk",
        &[
            ("staff", Talk::Staff),
            ("off", Talk::Off),
            ("link", Talk::Link),
            ("public", Talk::Public),
        ],
    );
    let language = section.string("language", "\"en\"");
    let language = language.and_then(|at| engines::language(report, at)).map(|at| at.value);
    let spoken = language.as_deref().unwrap_or(&voice.language);
    let engine = |key, job, example| {
        let at = section.string(key, example)?;
        let named = At::new(engines::name(report, key, &at, job, &known)?, at.span);
        fits(section, key, Some(&named), spoken);
        Some(named.value)
    };
    AgentCalls {
        talk: talk.map(|at| at.value),
        about: short_text(section, "about", ABOUT_MAX, "\"Ask about orders and repairs\"")
            .filter(|about| !about.trim().is_empty()),
        greeting: greeting(section),
        stt: engine("stt", Job::Listen, "\"whisper:base.en\""),
        tts: engine("tts", Job::Speak, "\"flite:slt\""),
        record: section.boolean("record").map(|at| at.value),
        language,
    }
}

/// One line of text for a page.
fn short_text(
    section: &Section<'_, '_, '_>,
    key: &'static str,
    max: usize,
    example: &str,
) -> Option<String> {
    let at = section.string(key, example)?;
    let report = section.report();
    let length = at.value.chars().count();
    if at.value.chars().any(char::is_control) {
        report.problem(&at.span, format!("`{key}` has a line break or control character in it."));
    } else if length > max {
        report.problem(
            &at.span,
            format!("`{key}` has {length} characters; at most {max} fit on its line."),
        );
    } else {
        return Some(at.value);
    }
    None
}

/// What is said when a call begins: sentences, and no longer than anybody listens to.
fn greeting(section: &Section<'_, '_, '_>) -> Option<String> {
    let at = section.string("greeting", "\"Hello, how can I help?\"")?;
    let length = at.value.chars().count();
    if length > GREETING_MAX {
        section.report().problem(
            &at.span,
            format!(
                "`greeting` has {length} characters; nobody listens to more than {GREETING_MAX}."
            ),
        );
        return None;
    }
    Some(at.value.trim().to_owned())
}

/// An engine that knows only English is not set for another language.
fn fits(section: &Section<'_, '_, '_>, key: &str, engine: Option<&At<EngineName>>, language: &str) {
    let Some(At { value: name, span }) = engine else { return };
    let (fits, does, usual) = if key == "stt" {
        (engines::hears(name, language), "hears", engines::usual_stt(language))
    } else {
        let fits = !engines::speaks_only_english(name) || engines::speaks(name, language);
        (fits, "speaks", engines::usual_tts(language))
    };
    if !fits {
        section.report().problem(
            span,
            format!(
                "`{key}`: {name} {does} English only, but `language` is \"{language}\". Write {key} \
                 = \"{usual}\", or leave it out."
            ),
        );
    }
}

fn fallback(
    section: &Section<'_, '_, '_>,
    known: &Named<'_>,
    language: &str,
) -> Option<EngineName> {
    let Some(at) = section.string("stt_fallback", "\"none\"") else {
        return engines::usual_fallback(language);
    };
    if at.value == "none" {
        return None;
    }
    let name = engines::name(section.report(), "stt_fallback", &at, Job::Listen, known)?;
    if !engines::hears(&name, language) {
        section.report().problem(
            &at.span,
            format!(
                "`stt_fallback`: {name} hears English only, but `language` is \"{language}\". \
                 Write stt_fallback = \"none\"."
            ),
        );
    }
    Some(name)
}

fn announcement(section: &Section<'_, '_, '_>) -> Option<String> {
    let at = section.string("announcement", "\"This call is recorded.\"")?;
    if at.value.trim().is_empty() {
        section.report().problem(
            &at.span,
            "`announcement` is empty. Callers are told that they are recorded; write what they hear, \
             or leave the key out.",
        );
        return None;
    }
    Some(at.value)
}

fn mirror(section: &Section<'_, '_, '_>, around: &Surroundings<'_>) -> Option<Mirror> {
    let at = section.string("models_mirror", "\"https://mirror.example.org/models\"")?;
    match at.value.parse() {
        Ok(Mirror::Folder(path)) => Some(Mirror::Folder(around.files.resolve(&path))),
        Ok(mirror) => Some(mirror),
        Err(why) => {
            section.report().problem(&at.span, format!("`models_mirror`: {why}"));
            None
        }
    }
}

fn manifest(section: &Section<'_, '_, '_>, around: &Surroundings<'_>) -> Manifest {
    let mut manifest = Manifest::default();
    let Some(at) = section.path("models_manifest", "\"models.json\"") else { return manifest };
    let report = section.report();
    if let Some(text) = around.files.text(report, "models_manifest", &at, MANIFEST_MAX)
        && let Err(error) = manifest.extend_from_json(&text)
    {
        report.problem(&at.span, format!("`models_manifest`: {error}"));
    }
    manifest
}

fn settings(voice: &Section<'_, '_, '_>, around: &Surroundings<'_>) -> Settings {
    let path = |section: &Section<'_, '_, '_>, key, example| {
        section.path(key, example).map(|at| around.files.resolve(&at.value))
    };
    Settings {
        library_dir: path(voice, "library_dir", "\"/opt/speech/lib\""),
        // A bare name is looked for on the path.
        espeak: voice.path("espeak", "\"/usr/bin/espeak-ng\"").map(|at| {
            if at.value.components().count() > 1 {
                around.files.resolve(&at.value)
            } else {
                at.value
            }
        }),
        pocketsphinx: {
            let section = voice.subsection("voice.pocketsphinx");
            let settings = SphinxSettings {
                model_dir: path(&section, "model_dir", "\"/usr/share/pocketsphinx/model\""),
                language_model: path(&section, "language_model", "\"words.lm\""),
                dictionary: path(&section, "dictionary", "\"words.dict\""),
                sessions: section.integer("sessions", 1..=1_000, 4).map(size),
            };
            section.finish(&[]);
            settings
        },
        whisper: {
            let section = voice.subsection("voice.whisper");
            let files = section.paths("files", "{ mine = \"/srv/models/mine.bin\" }");
            let settings = WhisperSettings {
                models_dir: path(&section, "models_dir", "\"/srv/models\""),
                files: files
                    .into_iter()
                    .map(|(name, at)| (name, around.files.resolve(&at.value)))
                    .collect(),
                language: None,
                threads: section.integer("threads", 1..=1_024, 1).map(size),
                slots: section.integer("slots", 1..=256, 1).map(size),
            };
            section.finish(&[]);
            settings
        },
        openai: {
            let section = voice.subsection("voice.openai");
            let settings = OpenAiSettings {
                base: address(&section, &["https://", "http://"], "https://api.openai.com/v1"),
                key: key(&section, around, OPENAI_KEY),
                pcm_rate: section.integer("pcm_rate", 8_000..=48_000, 24_000),
            };
            section.finish(&["key", "api_key"]);
            settings
        },
        deepgram: {
            let section = voice.subsection("voice.deepgram");
            let settings = DeepgramSettings {
                base: address(&section, &["wss://", "ws://"], "wss://api.deepgram.com/v1/listen"),
                key: key(&section, around, DEEPGRAM_KEY),
            };
            section.finish(&["key", "api_key"]);
            settings
        },
    }
}

/// The key of a service.
fn key(
    section: &Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    variable: &'static str,
) -> Option<frontdesk_voice::engine::Secret> {
    let found =
        secret(section, around, "key_file", "\"/run/secrets/key\"", variable, SecretKind::Key);
    for inline in ["key", "api_key"] {
        section.refuse(
            inline,
            &format!(
                "secrets do not stand in this file. Put it in {variable}, or in a file of its own and \
                 write key_file = \"/path\"."
            ),
        );
    }
    found.map(|secret| secret.expose().to_owned().into())
}

/// Where a service is.
fn address(section: &Section<'_, '_, '_>, schemes: &[&str], usual: &str) -> Option<String> {
    let at = section.string("base_url", &format!("\"{usual}\""))?;
    let text = at.value.trim_end_matches('/');
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let host = rest.and_then(|rest| rest.split('/').next());
    match host {
        Some(host) if host.parse::<axum::http::uri::Authority>().is_ok() && !host.contains('@') => {
            Some(text.to_owned())
        }
        _ => {
            section.report().problem(
                &at.span,
                format!(
                    "`base_url` is not the address of a service. It begins with {}, as in \"{usual}\".",
                    schemes.join(" or ")
                ),
            );
            None
        }
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
