//! What can go wrong with an engine.

use super::EngineName;

/// What can go wrong with an engine. Never holds what was said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name is not `family:model`.
    #[error("{0:?} is not the name of an engine: write it as family:model, for example flite:slt")]
    BadName(String),
    /// No engine of this family does this job.
    #[error("{name} cannot {job}; {known} can")]
    Unknown {
        /// What was asked for.
        name: EngineName,
        /// "listen" or "speak".
        job: &'static str,
        /// The families that can, for the message.
        known: &'static str,
    },
    /// The program was built without this engine.
    #[error("{name} is not in this build: build with `--features {feature}`")]
    NotBuilt {
        /// What was asked for.
        name: EngineName,
        /// The cargo feature.
        feature: &'static str,
    },
    /// A library, program, file or setting the engine needs is not there.
    #[error("{what}. To fix it: {fix}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do about it, as one command or setting.
        fix: String,
    },
    /// A setting or an argument makes no sense to the engine.
    #[error("{0}")]
    Invalid(String),
    /// All the engine's slots are taken.
    #[error("{engine} is already busy with {limit} of {limit}")]
    Busy {
        /// Which engine.
        engine: EngineName,
        /// How many it takes at once.
        limit: usize,
    },
    /// Sound came faster than the engine could listen, so part of the utterance was not heard.
    #[error("the transcriber fell behind and did not hear all of it")]
    Behind,
    /// A service could not be reached, timed out or broke off; it may work the next time.
    #[error("{engine}: {what}")]
    Unavailable {
        /// Which engine.
        engine: EngineName,
        /// What happened.
        what: String,
    },
    /// A service answered, and said no: a wrong key, an unknown model, no credit left.
    #[error("{engine} refused: {what}")]
    Refused {
        /// Which engine.
        engine: EngineName,
        /// The status and the service's own message.
        what: String,
    },
    /// The engine itself failed.
    #[error("{engine} failed: {what}")]
    Failed {
        /// Which engine.
        engine: EngineName,
        /// What happened.
        what: String,
    },
    /// The session or the speech was closed.
    #[error("the session is closed")]
    Closed,
}

impl Error {
    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Behind | Self::Unavailable { .. })
    }

    /// Whether somebody has to install, configure or pay for something first.
    #[must_use]
    pub fn is_setup(&self) -> bool {
        matches!(
            self,
            Self::BadName(_)
                | Self::Unknown { .. }
                | Self::NotBuilt { .. }
                | Self::Missing { .. }
                | Self::Invalid(_)
                | Self::Refused { .. }
        )
    }
}
