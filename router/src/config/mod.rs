//! `frontdesk.toml`: what an operator can set, checked before anything starts.
//!
//! - [`settings`](Config) holds the typed result, with the meaning and default of every key;
//! - `walk` goes over the parsed file with getters that note mistakes and go on;
//! - `read` turns sections into settings, `names`, `quantity` and `files` check single values;
//! - `models` and `assistant` are all of that for language models and who uses them;
//! - `mcp` is all of that for servers whose tools assistants use;
//! - `voice` is all of that for `[voice]` and what an agent's calls need;
//! - `check` compares values with each other, `changes` one configuration with another.
//!
//! What always holds: either a complete [`Config`] or every mistake at once, each with its place,
//! cause and fix. Secrets come from the environment or from files of their own, never from this
//! file. No file at all is a valid config, [`Config::default`]. Relative paths start at the folder
//! of the config file.
//!
//! Left out: anything that needs the network to check.

mod assistant;
mod changes;
mod check;
mod error;
mod files;
mod mcp;
mod models;
mod names;
mod network;
mod quantity;
mod read;
mod relay;
mod settings;
mod suggest;
mod voice;
mod walk;

use frontdesk_agents::gate::Approval;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use assistant::AssistantConfig;
pub use changes::{Difference, as_far_as_live, differences};
pub use error::{ConfigErrors, Place, Problem};
pub use frontdesk_voice::engine::EngineName;
pub use mcp::{ALL as ALL_TOOLS, McpServer, McpUse, Reach};
pub use models::ModelsConfig;
pub use network::Network;
pub use relay::{RelaySecurity, RelaySettings};
pub use settings::{
    ASSISTANT, AgentConfig, Config, DICTATION, DnsConfig, HttpConfig, LOCAL_DOMAIN, Limits,
    LogFormat, MailConfig, Mode, RECEPTIONIST, RECEPTIONIST_REPLY, REPLY_PLACEHOLDERS, Secret,
    ServerConfig, SmtpConfig, TlsFiles, reachable,
};
pub use voice::{ANNOUNCEMENT, ANY_LANGUAGE, CallSettings, Talk, VoiceConfig};

pub(crate) use suggest::nearest;

use files::Files;
use read::Surroundings;
use walk::Report;

/// The environment variable that overrides `[server] data`.
pub const DATA_VARIABLE: &str = "FRONTDESK_DATA";

impl Config {
    /// Reads a config file with the built-in kinds of agent, and the environment. Without a path,
    /// the defaults and the environment.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigErrors> {
        Self::load_with(path, &[])
    }

    /// As [`Config::load`], for a program that registers its own kinds of agent beside the
    /// built-in ones.
    pub fn load_with(path: Option<&Path>, kinds: &[&str]) -> Result<Self, ConfigErrors> {
        Self::load_from(path, kinds, &|name| std::env::var(name).ok())
    }

    /// As [`Config::load`], for a program with agents and assistants of its own.
    pub fn load_own(path: Option<&Path>, kinds: &[OwnKind]) -> Result<Self, ConfigErrors> {
        Self::load_kinds(path, kinds, &|name| std::env::var(name).ok())
    }

    /// As [`Config::load_with`], with a given environment instead of the process's.
    pub fn load_from(
        path: Option<&Path>,
        kinds: &[&str],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let kinds: Vec<_> = kinds.iter().copied().map(OwnKind::agent).collect();
        Self::load_kinds(path, &kinds, env)
    }

    fn load_kinds(
        path: Option<&Path>,
        kinds: &[OwnKind],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let file = path.unwrap_or(Path::new("environment"));
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read(path)
                .map_err(|error| ConfigErrors::whole_file(path, unreadable(&error)))
                .and_then(|bytes| {
                    String::from_utf8(bytes).map_err(|error| {
                        let line = 1 + newlines(error.as_bytes(), error.utf8_error().valid_up_to());
                        let message = format!("line {line} is not UTF-8. Save the file as UTF-8.");
                        ConfigErrors::whole_file(path, message)
                    })
                })?,
        };
        let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let mut config = Self::parse_kinds(&text, file, base, kinds, env)?;
        if config.models.default.is_empty()
            && let Some(model) = config.models.of_keys()
        {
            // A file says what there is; without one, a key is reason enough for an assistant.
            match path {
                None => config.use_model(model),
                Some(_) => config.models.default = vec![model],
            }
        }
        if let Some(data) = env(DATA_VARIABLE).filter(|data| !data.is_empty()) {
            config.server.data = PathBuf::from(data);
        }
        Ok(config)
    }

    /// Has assistants use this model that name none. An agent that is there only because none is configured
    /// becomes an assistant.
    pub fn use_model(&mut self, model: String) {
        self.models.default = vec![model];
        if let [hello] = &mut self.agents[..]
            && *hello == AgentConfig::hello(&self.mail.domains)
        {
            hello.kind = ASSISTANT.into();
        }
    }

    /// Reads the text of a config file. `file` is what errors call it, `base` is where relative
    /// paths start. `FRONTDESK_DATA` is not applied.
    pub fn parse(
        text: &str,
        file: &Path,
        base: &Path,
        kinds: &[&str],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let kinds: Vec<_> = kinds.iter().copied().map(OwnKind::agent).collect();
        Self::parse_kinds(text, file, base, &kinds, env)
    }

    fn parse_kinds(
        text: &str,
        file: &Path,
        base: &Path,
        kinds: &[OwnKind],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        let report = Report::new(text, syntax_errors);
        let around = Surroundings { files: Files { base }, env, kinds };
        let (config, places) = read::config(&report, root.get_ref(), &around);
        if report.is_toml() {
            check::together(&report, &config, &places);
        }
        let problems = report.into_problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors { file: file.to_owned(), problems })
        }
    }
}

/// A kind of agent that a program brings along, as the configuration has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKind {
    pub name: String,
    /// If it is an assistant, its own tools.
    pub tools: Option<BTreeSet<String>>,
    /// What is reviewed of its mail unless the file says otherwise.
    pub approval: Option<Approval>,
}

impl OwnKind {
    /// An agent written as code.
    pub fn agent(name: &str) -> Self {
        Self { name: name.to_owned(), tools: None, approval: None }
    }
}

/// Every key that a config file may have, as (section, key).
pub fn known_keys() -> Vec<(&'static str, &'static str)> {
    let (root, _) = DeTable::parse_recoverable("[[agent]]\nname = \"hello\"\n");
    let report = Report::new("", Vec::new());
    let around = Surroundings { files: Files { base: Path::new("") }, env: &|_| None, kinds: &[] };
    read::config(&report, root.get_ref(), &around);
    report.known()
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file. Copy frontdesk.example.toml, or start without a config.".into()
        }
        std::io::ErrorKind::PermissionDenied => {
            "the user who runs Frontdesk may not read it.".into()
        }
        _ => format!("cannot be read: {error}."),
    }
}

fn newlines(bytes: &[u8], before: usize) -> usize {
    bytes.iter().take(before).filter(|byte| **byte == b'\n').count()
}
