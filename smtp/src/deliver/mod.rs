//! How rendered mail leaves.
//!
//! Three narrow seams: a [`Spool`] holds deliveries durably (the outbox; [`MemorySpool`] is the
//! version without a disk), a [`Transport`] carries one delivery ([`Capture`] writes it to a folder),
//! and [`run`] drives the one through the other. What always holds:
//!
//! - One delivery is one message to one recipient. Its bytes are rendered and signed before it is
//!   spooled, and are never changed.
//! - A transport that cannot take a message back commits [`DataMark::starting_data`] before its final
//!   dot. After a crash, deliveries before the mark are claimed again, and those after it are
//!   [`Outcome::Uncertain`].
//! - Every claimed delivery is settled once, with what really happened.
//!
//! Left out: retry schedules and MX lookup, which belong to the transport that needs them.

mod capture;
mod clock;
mod memory;
mod pump;
mod worker;

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use jiff::Timestamp;

use crate::render::AddrSpec;

pub use self::capture::Capture;
pub use self::clock::{Clock, SystemClock, VirtualClock};
pub use self::memory::{MemorySpool, State};
pub use self::worker::{Options, run};

/// What can go wrong beside a delivery itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spool could not read or commit; the caller tries again.
    #[error("the spool failed: {0}")]
    Spool(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not a delivery id.
    #[error("a delivery id is 1 to 64 letters, digits, `-` and `_`")]
    Id,
    /// The folder for captured mail cannot be used.
    #[error("{path}: {source}")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Names one delivery. Safe as a file name: 1 to 64 ASCII letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// # Errors
    ///
    /// [`Error::Id`].
    pub fn new(id: impl Into<String>) -> Result<Self, Error> {
        let id = id.into();
        let shaped = (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if shaped { Ok(Self(id)) } else { Err(Error::Id) }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<u64> for DeliveryId {
    fn from(id: u64) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A delivery that this process now holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its name.
    pub id: DeliveryId,
    /// Who gets it.
    pub recipient: AddrSpec,
    /// Where bounces go; `None` is the null reverse-path.
    pub reverse_path: Option<AddrSpec>,
    /// The signed message.
    pub bytes: Bytes,
    /// How often it was tried before.
    pub attempts: u32,
}

/// Message bodies do not reach logs.
impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("id", &self.id)
            .field("octets", &self.bytes.len())
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claims {
    /// The deliveries now held, at most as many as asked for.
    pub deliveries: Vec<Claimed>,
    /// When the earliest deferred delivery that was not claimed becomes due.
    pub next_due: Option<Timestamp>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer took responsibility.
    Sent {
        /// Its words.
        response: String,
    },
    /// Not now; to be claimed again from `until` on.
    Deferred {
        /// The next try.
        until: Timestamp,
        /// Why not now.
        reason: String,
    },
    /// The peer refused for good.
    Bounced {
        /// The enhanced status code (RFC 3463), if it gave one.
        status: Option<String>,
        /// Its words.
        response: String,
    },
    /// It could not be sent at all: a local reason that trying again does not mend.
    Failed {
        /// The reason.
        reason: String,
    },
    /// The final dot may have left, and no answer came.
    Uncertain {
        /// What was seen last.
        reason: String,
    },
}

/// The outgoing queue, as deliveries are driven through it. Methods commit before they return.
pub trait Spool: Send + Sync + 'static {
    /// Takes at most `max` deliveries that are due at `now`, oldest first. None is handed out twice
    /// until it is settled, or the process restarts.
    fn claim(
        &self,
        now: Timestamp,
        max: usize,
    ) -> impl Future<Output = Result<Claims, Error>> + Send;

    /// Marks that the end of the data may reach the peer from now on. Committed before the dot is
    /// sent: see the module documentation.
    fn starting_data(&self, id: &DeliveryId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Records what became of a claimed delivery. Settling twice with the same outcome is no error.
    fn settle(
        &self,
        id: &DeliveryId,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Completes when a claim may find more than the last one did. A change that happens before this
    /// is called, but after the last claim began, still completes it, as with a permit of
    /// [`tokio::sync::Notify::notify_one`]. May complete without reason. Safe to drop.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// Carries one delivery. Never panics over a peer's behaviour: whatever happens is an [`Outcome`].
pub trait Transport: Send + Sync + 'static {
    /// Tries once. `now` is when the try begins, for choosing the next one.
    fn deliver<S: Spool>(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        mark: DataMark<'_, S>,
    ) -> impl Future<Output = Outcome> + Send;
}

/// The one way a transport speaks to the spool: the mark before the final dot.
pub struct DataMark<'a, S> {
    spool: &'a S,
    id: &'a DeliveryId,
}

impl<'a, S: Spool> DataMark<'a, S> {
    /// For the delivery named.
    pub fn new(spool: &'a S, id: &'a DeliveryId) -> Self {
        Self { spool, id }
    }

    /// Commits the mark. The final dot may be sent only after this returned `Ok`.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`]: do not send the dot.
    pub async fn starting_data(self) -> Result<(), Error> {
        self.spool.starting_data(self.id).await
    }
}
