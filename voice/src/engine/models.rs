//! Models that can be downloaded: where from, how large, and what they must hash to.
//!
//! The sizes and SHA-256 sums are those of the files in the `ggerganov/whisper.cpp` repository on Hugging
//! Face at [`REVISION`] (there, the object ids of Git LFS). A file of another sum is not the model, whatever
//! mirror it came from. An operator can add models, or replace these, in a manifest of the same shape.

use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap, path::Path};

/// The revision of the model repository the sums were taken at.
pub const REVISION: &str = "5359861c739e955e79d9a303bcbc70fb988958b1";

/// Where models come from unless a mirror is set.
const SOURCE: &str = "https://huggingface.co/ggerganov/whisper.cpp/resolve";

/// A model that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its file name: no directories.
    pub file: Cow<'static, str>,
    /// Where it is.
    pub url: Cow<'static, str>,
    /// How many bytes it has.
    pub size: u64,
    /// SHA-256 of it, as 64 lower-case hexadecimal digits.
    pub sha256: Cow<'static, str>,
}

/// Models by the part after `whisper:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    models: BTreeMap<String, Known>,
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model manifest is not usable: {0}")]
pub struct BadManifest(String);

impl Default for Manifest {
    /// The models this version knows.
    fn default() -> Self {
        let models = BUILT_IN.iter().map(|(name, size, sha256)| {
            let file = format!("ggml-{name}.bin");
            let url = format!("{SOURCE}/{REVISION}/{file}");
            let known =
                Known { file: file.into(), url: url.into(), size: *size, sha256: (*sha256).into() };
            ((*name).to_owned(), known)
        });
        Self { models: models.collect() }
    }
}

impl Manifest {
    /// Adds the models of a JSON object from name to [`Known`], or replaces those of the same name.
    ///
    /// # Errors
    ///
    /// [`BadManifest`] where it is no such object, or an entry is not usable: a file with a directory in
    /// it, an address that is not HTTP, a sum that is none.
    pub fn extend_from_json(&mut self, json: &str) -> Result<(), BadManifest> {
        let more: BTreeMap<String, Known> =
            serde_json::from_str(json).map_err(|error| BadManifest(error.to_string()))?;
        for (name, model) in &more {
            let problem = model.problem().map(|problem| format!("{name}: {problem}"));
            if let Some(problem) = problem {
                return Err(BadManifest(problem));
            }
        }
        self.models.extend(more);
        Ok(())
    }

    /// The model of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.models.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.models.iter().map(|(name, known)| (name.as_str(), known))
    }
}

impl Known {
    /// Its address at a mirror: the mirror's own address followed by the file name.
    #[must_use]
    pub fn url_at(&self, mirror: Option<&str>) -> String {
        match mirror {
            Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), self.file),
            None => self.url.clone().into_owned(),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        let plain = Path::new(&*self.file).file_name().is_some_and(|name| name == &*self.file);
        let web = ["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme));
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !plain || self.file.contains('\\') {
            Some("the file is not a plain file name")
        } else if !web {
            Some("the url is not HTTP")
        } else if self.size == 0 {
            Some("the size is missing")
        } else if self.sha256.len() != 64 || !self.sha256.bytes().all(hex) {
            Some("the sha256 is not 64 lower-case hexadecimal digits")
        } else {
            None
        }
    }
}

/// Name, size in bytes, SHA-256.
const BUILT_IN: &[(&str, u64, &str)] = &[
    ("tiny", 77_691_713, "be07e048e1e599ad46341c8d2a135645097a538221678b7acdd1b1919c6e1b21"),
    ("tiny.en", 77_704_715, "921e4cf8686fdd993dcd081a5da5b6c365bfde1162e72b08d75ac75289920b1f"),
    ("base", 147_951_465, "60ed5bc3dd14eea856493d334349b405782ddcaf0028d4b5df4088345fba2efe"),
    ("base.en", 147_964_211, "a03779c86df3323075f5e796cb2ce5029f00ec8869eee3fdfb897afe36c6d002"),
    ("small", 487_601_967, "1be3a9b2063867b937e64e2ec7483364a79917e157fa98c5d94b5c1fffea987b"),
    ("small.en", 487_614_201, "c6138d6d58ecc8322097e0f987c32f1be8bb0a18532a3f88f734d1bbf9c41e5d"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_model_is_usable_and_pinned() {
        let manifest = Manifest::default();
        assert_eq!(manifest.iter().count(), BUILT_IN.len());
        for (name, known) in manifest.iter() {
            assert_eq!(known.problem(), None, "{name}");
            assert!(known.url.contains(REVISION) && known.url.ends_with(&*known.file));
        }
        let base = manifest.get("base.en").unwrap();
        assert_eq!(base.url_at(Some("http://mirror/m/")), "http://mirror/m/ggml-base.en.bin");
    }

    #[test]
    fn a_manifest_adds_models_and_a_bad_entry_adds_none() {
        let mut manifest = Manifest::default();
        let sum = "0".repeat(64);
        let entry = |file: &str, url: &str, sum: &str| {
            format!(
                r#"{{"own": {{"file": "{file}", "url": "{url}", "size": 7, "sha256": "{sum}"}}}}"#
            )
        };
        for (bad, hint) in [
            (entry("../x.bin", "https://h/x", &sum), "plain file name"),
            (entry("x.bin", "file:///x", &sum), "not HTTP"),
            (entry("x.bin", "https://h/x", "abc"), "sha256"),
            ("[]".to_owned(), "invalid type"),
        ] {
            let error = manifest.extend_from_json(&bad).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
            assert!(manifest.get("own").is_none());
        }
        manifest.extend_from_json(&entry("x.bin", "https://h/x", &sum)).unwrap();
        assert_eq!(manifest.get("own").unwrap().size, 7);
        assert!(manifest.get("base").is_some());
    }
}
