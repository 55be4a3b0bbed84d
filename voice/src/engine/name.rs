//! `family:model`, the name of an engine.

use super::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longest name taken; the longest real ones are model names of remote services, of some 60 characters.
const MAX_LEN: usize = 128;

/// The name of an engine: a family and what it loads or asks for, as in `whisper:base.en`.
///
/// The family is lower-case letters and digits. The model is letters, digits and `. _ - / +`, and starts
/// with a letter or digit, so that neither an option of a command nor a path upwards can be one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineName {
    family: String,
    model: String,
}

impl EngineName {
    /// Which kind of engine: `whisper`, `pocketsphinx`, `flite`, `espeak`, `openai`, `deepgram`.
    #[must_use]
    pub fn family(&self) -> &str {
        &self.family
    }

    /// What of it: a model, a voice, a language.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl FromStr for EngineName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadName(text.chars().take(MAX_LEN).collect());
        let (family, model) = text.split_once(':').ok_or_else(bad)?;
        let family_ok = !family.is_empty()
            && family.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let model_ok = model.starts_with(|first: char| first.is_ascii_alphanumeric())
            && model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/+".contains(&byte))
            && !model.contains("..");
        if text.len() > MAX_LEN || !family_ok || !model_ok {
            return Err(bad());
        }
        Ok(Self { family: family.to_owned(), model: model.to_owned() })
    }
}

impl TryFrom<String> for EngineName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<EngineName> for String {
    fn from(name: EngineName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_the_same() {
        for name in ["whisper:base.en", "flite:slt", "espeak:de", "openai:gpt-4o-mini-tts/alloy"] {
            assert_eq!(name.parse::<EngineName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn options_paths_and_half_names_are_not_names() {
        for name in ["", "flite", ":slt", "flite:", "espeak:-f/etc/passwd", "Flite:slt"] {
            assert!(name.parse::<EngineName>().is_err(), "{name}");
        }
        for name in ["whisper:../../etc", "whisper:a/../b", "espeak:de en", "espeak:de\n"] {
            assert!(name.parse::<EngineName>().is_err(), "{name}");
        }
        assert!(format!("flite:{}", "a".repeat(200)).parse::<EngineName>().is_err());
    }
}
