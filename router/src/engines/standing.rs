//! Whether the engines of a configuration can work on this machine, without loading a model for it.

use crate::config::{Config, Talk};
use crate::models::{FAMILY as WHISPER, Presence, presence};
use frontdesk_voice::engine::{EngineName, Job, Registry, State};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The first octets of a whisper.cpp model: "ggml" as a little-endian number.
const MODEL_MAGIC: &[u8; 4] = b"lmgg";

/// What is said of an engine whose model is there.
const NOT_LOADED: &str = "its model is here, and is loaded at the first call";

/// How an engine of the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which engine.
    pub name: EngineName,
    /// What it is for.
    pub job: Job,
    /// Whether it can.
    pub state: State,
    /// What hears calls in the meantime, if this one cannot and that one can.
    pub stand_in: Option<EngineName>,
    /// Whether people from outside are meant to depend on it: an agent they may talk to uses it.
    pub public: bool,
}

/// How the engines that calls may use stand; none where nobody can call. **Blocks** for up to a second.
#[must_use]
pub fn standings(config: &Config) -> Vec<Standing> {
    let registry = Registry::new(config.engine_settings());
    let state = |name: &EngineName, job| state(config, &registry, name, job);

    // What each agent needs, and what could stand in for it.
    let mut needed: BTreeMap<(Job, EngineName), (Option<EngineName>, bool)> = BTreeMap::new();
    for agent in config.agents.iter().filter(|agent| agent.talk != Talk::Off) {
        let public = matches!(agent.talk, Talk::Link | Talk::Public);
        let calls = config.voice.calls_of(agent);
        let stt = needed.entry((Job::Listen, calls.stt)).or_default();
        *stt = (stt.0.take().or(calls.stt_fallback), stt.1 || public);
        needed.entry((Job::Speak, calls.tts)).or_default().1 |= public;
    }
    let choices = [(Job::Listen, &config.voice.allow_stt), (Job::Speak, &config.voice.allow_tts)];
    if !needed.is_empty() {
        for (job, name) in choices.iter().flat_map(|(job, all)| all.iter().map(|one| (*job, one))) {
            needed.entry((job, name.clone())).or_default();
        }
    }
    let standing = |((job, name), (stand_in, public)): ((Job, EngineName), (Option<_>, bool))| {
        let state = state(&name, job);
        let lacking = matches!(state, State::Lacking { .. });
        let stand_in = stand_in.filter(|other| {
            lacking && matches!(self::state(config, &registry, other, job), State::Ready { .. })
        });
        Standing { name, job, state, stand_in, public }
    };
    needed.into_iter().map(standing).collect()
}

fn state(config: &Config, registry: &Registry, name: &EngineName, job: Job) -> State {
    if name.family() == WHISPER && cfg!(feature = "whisper") {
        let file = model_file(config, name.model());
        if file.exists() {
            return model_state(config, name, &file);
        }
    }
    registry.check(name, job).state
}

/// The file of a Whisper model: the operator's own, or where a pull puts it.
fn model_file(config: &Config, model: &str) -> PathBuf {
    let own = config.voice.engines.whisper.files.get(model).cloned();
    own.unwrap_or_else(|| config.models_dir().join(format!("ggml-{model}.bin")))
}

fn model_state(config: &Config, name: &EngineName, file: &Path) -> State {
    let own = config.voice.engines.whisper.files.contains_key(name.model());
    let fix = if own {
        "name a model file of whisper.cpp under [voice.whisper] files".to_owned()
    } else {
        format!("frontdesk models pull {name}")
    };
    let known = config.voice.models.get(name.model()).filter(|_| !own);
    if known.is_some_and(|model| presence(model, file) != Presence::Here) {
        let what = format!("{} is damaged or not whole", file.display());
        return State::Lacking { what, fix };
    }
    let mut magic = [0; MODEL_MAGIC.len()];
    match File::open(file).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if &magic == MODEL_MAGIC => State::Ready { note: NOT_LOADED },
        Ok(()) => {
            State::Lacking { what: format!("{} is no whisper.cpp model", file.display()), fix }
        }
        Err(error) => {
            State::Lacking { what: format!("{} cannot be read: {error}", file.display()), fix }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, folder: &Path) -> Config {
        // There are no speech libraries in this folder, whatever the machine has.
        let text = format!("[voice]\nlibrary_dir = \".\"\nespeak = \"./none\"\n{text}");
        Config::parse(&text, Path::new("f"), folder, &[], &|_| None).unwrap()
    }

    fn lacking(standing: &Standing) -> (&str, &str) {
        match &standing.state {
            State::Lacking { what, fix } => (what, fix),
            State::Ready { .. } => panic!("{standing:?}"),
        }
    }

    #[test]
    fn what_is_missing_comes_with_its_fix() {
        let folder = tempfile::tempdir().unwrap();
        let all = standings(&config("allow_tts = [\"espeak:de\"]\n", folder.path()));
        let names: Vec<_> = all.iter().map(|standing| standing.name.to_string()).collect();
        assert_eq!(names, ["whisper:base.en", "espeak:de", "flite:slt"]);
        assert!(all.iter().all(|standing| standing.stand_in.is_none() && !standing.public));
        let fix = if cfg!(feature = "whisper") {
            "frontdesk models pull whisper:base.en"
        } else {
            "cargo build --features whisper"
        };
        assert_eq!(lacking(&all[0]).1, fix);
        assert_eq!(lacking(&all[1]).1, "apt install espeak-ng");
        assert!(lacking(&all[2]).1.contains("libflite1"), "{:?}", all[2]);
    }

    #[test]
    fn nothing_is_needed_where_nobody_can_call() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[[agent]]\nname = \"a\"\ntalk = \"off\"\n";
        assert_eq!(standings(&config(text, folder.path())), []);
    }

    #[test]
    fn an_engine_that_outsiders_are_heard_by_is_told_from_one_for_staff() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[[agent]]\nname = \"a\"\ntalk = \"public\"\nstt = \"deepgram:nova-3\"\n\
                    [[agent]]\nname = \"b\"\n";
        let all = standings(&config(text, folder.path()));
        let public = |name: &str| {
            all.iter().find(|standing| standing.name.to_string() == name).unwrap().public
        };
        assert!(public("deepgram:nova-3") && public("flite:slt"));
        assert!(!public("whisper:base.en"));
    }

    #[cfg(feature = "whisper")]
    #[test]
    fn a_model_is_looked_at_and_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(
            "stt = \"whisper:mine\"\nallow_stt = [\"whisper:tiny.en\"]\n[voice.whisper]\n\
             files = { mine = \"mine.bin\" }\nmodels_dir = \".\"\n",
            folder.path(),
        );
        let [mine, tiny] = ["mine.bin", "ggml-tiny.en.bin"].map(|name| folder.path().join(name));
        let check = || standings(&config)[..2].to_vec();

        // Neither could be loaded: one has nothing after its first octets, the other is all zeros.
        std::fs::write(&mine, MODEL_MAGIC).unwrap();
        std::fs::write(&tiny, MODEL_MAGIC).unwrap();
        let [own, known] = &check()[..] else { panic!("two engines") };
        assert_eq!(own.state, State::Ready { note: NOT_LOADED });
        assert!(lacking(known).0.ends_with("is damaged or not whole"), "{known:?}");
        assert_eq!(lacking(known).1, "frontdesk models pull whisper:tiny.en");

        std::fs::write(&mine, "RIFF").unwrap();
        assert!(lacking(&check()[0]).0.ends_with("is no whisper.cpp model"));
    }
}
