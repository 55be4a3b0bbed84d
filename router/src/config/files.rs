//! The files a config names: are they there, and who else can read them.

use std::fs::Metadata;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::At;
use super::quantity::show_size;
use super::settings::Secret;
use super::walk::Report;

/// Anyone on the machine may read it.
const WORLD_READABLE: u32 = 0o004;
/// Fewer characters than this can be guessed.
const SECRET_MIN: usize = 16;
/// Larger than any secret; a secret file is read whole.
const SECRET_FILE_MAX: u64 = 64 * 1024;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretKind {
    /// Ours to choose, so that nobody else can guess it.
    Token,
    /// Somebody else's, of whatever length they gave it.
    Key,
}

/// Looks at files relative to the folder of the config file.
pub(super) struct Files<'a> {
    pub base: &'a Path,
}

impl Files<'_> {
    /// The path as the process can open it.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// A file that everyone may read, such as a certificate.
    pub fn readable(&self, report: &Report<'_>, key: &str, at: &At<PathBuf>) -> PathBuf {
        let path = self.resolve(&at.value);
        match metadata(&path).and_then(|_| std::fs::File::open(&path)) {
            Ok(_) => {}
            Err(error) => not_there(report, &at.span, key, &path, &error),
        }
        path
    }

    /// A file that only its owner and group may read, such as a private key.
    pub fn private(&self, report: &Report<'_>, key: &str, at: &At<PathBuf>) -> PathBuf {
        let path = self.readable(report, key, at);
        if let Ok(metadata) = metadata(&path) {
            self.warn_if_world_readable(report, key, &at.span, &path, &metadata);
        }
        path
    }

    /// A secret kept in a file of its own: its text without surrounding white space.
    pub fn secret(
        &self,
        report: &Report<'_>,
        key: &str,
        at: &At<PathBuf>,
        kind: SecretKind,
    ) -> Option<Secret> {
        let path = self.resolve(&at.value);
        if let Ok(metadata) = metadata(&path) {
            self.warn_if_world_readable(report, key, &at.span, &path, &metadata);
        }
        let text = self.text(report, key, at, SECRET_FILE_MAX)?;
        secret(&text, kind)
            .map_err(|why| {
                report.problem(&at.span, format!("`{key}`: the secret in {} {why}", show(&path)));
            })
            .ok()
    }

    /// The text of a file of at most `max` octets.
    pub fn text(
        &self,
        report: &Report<'_>,
        key: &str,
        at: &At<PathBuf>,
        max: u64,
    ) -> Option<String> {
        let path = self.resolve(&at.value);
        let text = match metadata(&path) {
            Ok(metadata) if metadata.len() > max => {
                let allowed = show_size(max);
                report.problem(
                    &at.span,
                    format!("`{key}`: {} is larger than {allowed}.", show(&path)),
                );
                return None;
            }
            Ok(_) => std::fs::read_to_string(&path),
            Err(error) => Err(error),
        };
        text.map_err(|error| not_there(report, &at.span, key, &path, &error)).ok()
    }

    fn warn_if_world_readable(
        &self,
        report: &Report<'_>,
        key: &str,
        span: &Range<usize>,
        path: &Path,
        metadata: &Metadata,
    ) {
        if metadata.mode() & WORLD_READABLE != 0 {
            report.problem(
                span,
                format!(
                    "`{key}`: everyone on this machine can read {path}. Run: chmod o-rwx {path}",
                    path = show(path)
                ),
            );
        }
    }
}

/// A secret's text, or the end of a sentence about it that does not give it away.
pub(super) fn secret(text: &str, kind: SecretKind) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty.".into());
    }
    if kind == SecretKind::Token && text.chars().count() < SECRET_MIN {
        return Err(format!(
            "has fewer than {SECRET_MIN} characters. Make one with: openssl rand -hex 32"
        ));
    }
    if text.contains(char::is_whitespace) || text.contains(char::is_control) {
        return Err("has white space inside. Keep it on one line.".into());
    }
    Ok(Secret::new(text.to_owned()))
}

fn metadata(path: &Path) -> io::Result<Metadata> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(metadata)
}

fn not_there(report: &Report<'_>, span: &Range<usize>, key: &str, path: &Path, error: &io::Error) {
    let path = show(path);
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("`{key}`: there is no file {path}."),
        io::ErrorKind::PermissionDenied => {
            format!("`{key}`: the user who runs Frontdesk may not read {path}.")
        }
        io::ErrorKind::IsADirectory => format!("`{key}`: {path} is a folder, not a file."),
        _ => format!("`{key}`: cannot read {path}: {error}."),
    };
    report.problem(span, message);
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
