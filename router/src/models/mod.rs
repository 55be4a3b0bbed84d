//! Speech models: which there are, which are here, and how one gets to this machine.
//!
//! - [`Mirror`] and [`Source`]: where a model comes from;
//! - [`Pull`]: fetching one, which `frontdesk models pull` and the server share;
//! - [`Pulls`]: those that the server makes;
//! - [`list`]: what `frontdesk models list` shows.
//!
//! What always holds: a model is under its own name only when it has the published checksum; until then
//! it is a `.part` file beside that name, which the next try goes on with. Two who fetch the same model do
//! not meet: the second waits, and finds it there.

mod fetch;
mod mirror;
mod progress;
mod pull;
mod pulls;

pub use mirror::{Mirror, Source};
pub use progress::{Progress, PullError};
pub use pull::{Pull, Pulled};
pub use pulls::{PullState, Pulls};

use crate::config::Config;
use frontdesk_voice::engine::models::Known;
use serde::Serialize;
use std::path::PathBuf;

/// The family of engines whose models these are.
pub const FAMILY: &str = "whisper";

/// A model, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// As engines are named: `whisper:base.en`.
    pub name: String,
    /// Its size in octets, where it is known.
    pub size: Option<u64>,
    /// Whether it is here.
    pub state: Presence,
    /// Where it is, or would be.
    pub file: PathBuf,
    /// Whether the configuration names it.
    pub used: bool,
}

/// Whether a model is here. Told by its size: checksums are compared when it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is.
    Here,
    /// Some of it is.
    Partly,
    /// There is a file in its place that is not it.
    Wrong,
    /// It is not.
    Absent,
}

/// Every model that can be fetched, and the operator's own files, by name.
#[must_use]
pub fn list(config: &Config) -> Vec<Listed> {
    let folder = config.models_dir();
    let used: Vec<String> = config.engines_in_use().map(|(name, _)| name.to_string()).collect();
    let own = &config.voice.engines.whisper.files;
    let known = config.voice.models.iter().filter(|(name, _)| !own.contains_key(*name));
    let known = known.map(|(name, model)| {
        let file = folder.join(&*model.file);
        (name, Some(model.size), presence(model, &file), file)
    });
    let own = own.iter().map(|(name, file)| {
        let state = if file.is_file() { Presence::Here } else { Presence::Absent };
        (name.as_str(), file.metadata().ok().map(|data| data.len()), state, file.clone())
    });
    let mut all: Vec<Listed> = known
        .chain(own)
        .map(|(name, size, state, file)| {
            let name = format!("{FAMILY}:{name}");
            Listed { used: used.contains(&name), name, size, state, file }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Whether a file is this model, as far as its size tells.
pub(crate) fn presence(model: &Known, file: &std::path::Path) -> Presence {
    match file.metadata() {
        Ok(data) if data.is_file() && data.len() == model.size => Presence::Here,
        Ok(_) => Presence::Wrong,
        Err(_) if pull::part_of(file).is_file() => Presence::Partly,
        Err(_) => Presence::Absent,
    }
}
