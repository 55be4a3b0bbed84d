//! Where models are fetched from instead of where they are published.

use frontdesk_voice::engine::models::Known;
use std::{fmt, path::PathBuf, str::FromStr};

/// Where models are fetched from instead of where they are published: each by its file name below this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mirror {
    /// An address of a web server, without a slash at its end.
    Web(String),
    /// A folder of this machine; or, for one model, the file itself.
    Folder(PathBuf),
}

/// Where one model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// At an address of a web server.
    Web(String),
    /// In a file of this machine.
    File(PathBuf),
}

impl Source {
    /// Where a model is, at a mirror or as published.
    #[must_use]
    pub fn of(model: &Known, mirror: Option<&Mirror>) -> Self {
        match mirror {
            None => Self::Web(model.url.clone().into_owned()),
            Some(Mirror::Web(address)) => Self::Web(model.url_at(Some(address))),
            Some(Mirror::Folder(path)) if path.is_file() => Self::File(path.clone()),
            Some(Mirror::Folder(path)) => Self::File(path.join(&*model.file)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(address) => f.write_str(address),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for Mirror {
    type Err = String;

    /// `https://host/path`, `http://host/path`, `file:///folder` or a folder.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty. Write an address or a folder.".into());
        }
        if let Some(path) = text.strip_prefix("file://") {
            if !path.starts_with('/') {
                return Err(format!(
                    "\"{text}\" names another machine. Write file:// and a path that begins with a \
                     slash: \"file:///{path}\"."
                ));
            }
            return Ok(Self::Folder(path.into()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(format!(
                "\"{scheme}\" is not a way to fetch models. Write an address with https://, http:// or \
                 file://, or a folder."
            ));
        }
        let host = rest.split('/').next().unwrap_or_default();
        let is_host = host.parse::<axum::http::uri::Authority>().is_ok() && !host.contains('@');
        if !is_host || rest.contains(['?', '#']) || rest.contains(char::is_whitespace) {
            return Err(format!(
                "this address cannot be a mirror. Write a host and a path, such as \
                 \"{scheme}://mirror.example.org/models\"."
            ));
        }
        Ok(Self::Web(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frontdesk_voice::engine::models::Manifest;

    #[test]
    fn a_mirror_is_an_address_or_a_folder() {
        let source = |text: &str| {
            let manifest = Manifest::default();
            let model = manifest.get("base.en").unwrap();
            Source::of(model, Some(&text.parse().unwrap())).to_string()
        };
        for (mirror, expected) in [
            ("https://mirror.test/m/", "https://mirror.test/m/ggml-base.en.bin"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/ggml-base.en.bin"),
            ("file:///srv/models", "/srv/models/ggml-base.en.bin"),
            ("models/", "models/ggml-base.en.bin"),
        ] {
            assert_eq!(source(mirror), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_mirror_says_what_can() {
        for (text, hint) in [
            ("", "is empty"),
            ("ftp://host/models", "\"ftp\" is not a way"),
            ("file://models", "file:///models"),
            ("https://", "Write a host"),
            ("https://host/a?b=c", "Write a host"),
        ] {
            let why = text.parse::<Mirror>().unwrap_err();
            assert!(why.contains(hint), "{text}: {why}");
        }
        // What may hold a password is not repeated.
        let why = "https://me:secret@host/models".parse::<Mirror>().unwrap_err();
        assert!(!why.contains("secret"), "{why}");
    }
}
