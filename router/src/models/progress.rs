//! How a pull is getting on, and why one fails.

use std::{io, path::PathBuf, time::Duration};

/// How a pull is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Somebody else is fetching the same model.
    Waiting,
    /// It comes in.
    Fetching {
        /// How much of it is here, in octets.
        have: u64,
        /// How much it is in all.
        size: u64,
    },
    /// The connection broke; it goes on after a pause.
    Interrupted {
        /// What happened.
        why: String,
        /// How long the pause is.
        pause: Duration,
    },
    /// All of it is here, and its checksum is computed.
    Checking,
}

/// Why a model was not pulled: the cause, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// There is no such model.
    #[error("there is no model \"{name}\" to pull. {fix}")]
    Unknown {
        /// As it was asked for.
        name: String,
        /// What there is.
        fix: String,
    },
    /// It is not where it should be.
    #[error("there is no model at {at}. {fix}")]
    NotThere {
        /// Where it was looked for.
        at: String,
        /// What to do.
        fix: String,
    },
    /// A server says no, and would again.
    #[error("{at} answers {status}. {fix}")]
    Refused {
        /// Its address.
        at: String,
        /// Its answer.
        status: u16,
        /// What to do.
        fix: &'static str,
    },
    /// A server cannot be reached, or keeps breaking off.
    #[error(
        "{why} ({at}). Run the same again: what has arrived is kept. Without a way to the \
             internet, copy the file to this machine and name its folder with --mirror."
    )]
    Unreachable {
        /// Its address.
        at: String,
        /// What happened.
        why: String,
    },
    /// The server's certificate is not one this machine trusts.
    #[error(
        "this machine cannot tell whether {at} is who it says: {why}. Install the usual \
             certificates (apt install ca-certificates), or name another place with --mirror: http:// \
             and folders will do, because the checksum is compared in any case."
    )]
    Untrusted {
        /// Its address.
        at: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// What came is another file.
    #[error(
        "what {at} holds is not this model: {why}. Nothing was kept of it. Whoever put it there \
             has another version; pull without the mirror, or from another one."
    )]
    Wrong {
        /// Where it came from.
        at: String,
        /// How it differs.
        why: String,
    },
    /// There is no room for it.
    #[error("there is no room in {}: {needed} MB are needed{}. Make room, or set models_dir under \
             [voice.whisper] to a folder on another disk.", folder.display(), free_words(*free))]
    Full {
        /// Where it was to go.
        folder: PathBuf,
        /// What is still to come, in megabytes.
        needed: u64,
        /// What there is, in megabytes, where it is known.
        free: Option<u64>,
    },
    /// The folder or a file in it cannot be used.
    #[error("cannot {doing} {}: {error}", path.display())]
    Folder {
        /// What was to be done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

fn free_words(free: Option<u64>) -> String {
    free.map(|free| format!(", {free} MB are free")).unwrap_or_default()
}

/// Octets as megabytes, rounded up.
pub fn megabytes(octets: u64) -> u64 {
    octets.div_ceil(1_000_000)
}

impl PullError {
    /// What the system said about a file, with "no room" told apart.
    pub(super) fn file(
        doing: &'static str,
        path: &std::path::Path,
        missing: u64,
    ) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                folder: path.parent().unwrap_or(&path).to_owned(),
                needed: megabytes(missing),
                free: None,
            },
            _ => Self::Folder { doing, path: path.clone(), error },
        }
    }
}
