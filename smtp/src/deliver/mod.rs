//! How rendered mail leaves.
//!
//! Three narrow seams: a [`Spool`] holds deliveries durably (the outbox; [`MemorySpool`] is the
//! version without a disk), a [`Transport`] carries one delivery, and [`run`] drives the one through
//! the other. The transports:
//!
//! - [`Capture`] writes it to a folder;
//! - [`Relay`] hands everything to one smart host;
//! - [`Direct`] finds the hosts of the recipient's domain ([`direct`]) and honours what they ask for
//!   ([`sts`]).
//!
//! The last two share the pieces below: [`attempt`] is one transaction and the judgement of its end,
//! [`connection`] is lettre's dialogue over a stream of ours, `client` tries one host after the other,
//! `pool` keeps connections, `hosts` remembers dead ones, `places` counts deliveries to a destination,
//! and [`Schedule`] says when to try again.
//!
//! What always holds:
//!
//! - One delivery is one message to one recipient. Its bytes are rendered and signed before it is
//!   spooled, and are never changed.
//! - A transport that cannot take a message back commits [`DataMark::starting_data`] before its final
//!   dot. After a crash, deliveries before the mark are claimed again, and those after it are
//!   [`Outcome::Uncertain`].
//! - Every claimed delivery is settled once, with what really happened.
//! - While the [`Switch`] is held, nothing is claimed and no final dot is sent.
//! - Bulk mail never takes the last places: answers find room beside it.

pub mod attempt;
mod capture;
mod client;
mod clock;
pub mod connection;
pub mod direct;
mod hosts;
mod memory;
mod places;
mod pool;
mod pump;
mod relay;
mod schedule;
pub mod sts;
mod switch;
mod worker;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use jiff::Timestamp;

use crate::render::AddrSpec;

pub use self::attempt::{Status, Timeouts};
pub use self::capture::Capture;
pub use self::client::{Limits, Manners};
pub use self::clock::{Clock, SystemClock, VirtualClock};
pub use self::connection::{Login, Security, Tls};
pub use self::direct::{Direct, DirectConfig};
pub use self::memory::{MemorySpool, State};
pub use self::relay::{Relay, RelayConfig, SUBMISSION, SUBMISSIONS};
pub use self::schedule::{Next, Schedule};
pub use self::switch::Switch;
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
    /// All sending is held by the [`Switch`].
    #[error("all sending is held")]
    Held,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// A setting that cannot be used; the text says what to change.
    #[error("{0}")]
    Config(String),
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

/// Which mail goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for it.
    #[default]
    Answer,
    /// One of many; it may wait.
    Bulk,
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
    /// Since when it is to leave; its age decides when it is given up.
    pub queued_at: Timestamp,
    /// Which mail goes first.
    pub priority: Priority,
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

/// What a claim may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Deliveries in all, at least 1.
    pub any: usize,
    /// How many of them may be [`Priority::Bulk`]; possibly none.
    pub bulk: usize,
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
        /// Its words, or those of its DNS.
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
    /// Takes deliveries that are due at `now`, as many as there is room for: answers before bulk, and
    /// the oldest of each first. None is handed out twice until it is settled, or the process restarts.
    fn claim(
        &self,
        now: Timestamp,
        room: Room,
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
        mark: &DataMark<'_, S>,
    ) -> impl Future<Output = Outcome> + Send;
}

/// The one way a transport speaks to the spool: the mark before the final dot.
pub struct DataMark<'a, S> {
    spool: &'a S,
    id: &'a DeliveryId,
    switch: Option<&'a Switch>,
    begun: AtomicBool,
}

impl<'a, S: Spool> DataMark<'a, S> {
    /// For the delivery named.
    pub fn new(spool: &'a S, id: &'a DeliveryId) -> Self {
        Self { spool, id, switch: None, begun: AtomicBool::new(false) }
    }

    /// The same, under a switch.
    pub(crate) fn under(spool: &'a S, id: &'a DeliveryId, switch: &'a Switch) -> Self {
        Self { switch: Some(switch), ..Self::new(spool, id) }
    }

    /// Commits the mark. The final dot may be sent only after this returned `Ok`.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`] and [`Error::Held`]: do not send the dot.
    pub async fn starting_data(&self) -> Result<(), Error> {
        if self.switch.is_some_and(Switch::is_held) {
            return Err(Error::Held);
        }
        self.begun.store(true, Ordering::SeqCst);
        self.spool.starting_data(self.id).await
    }

    /// Whether committing the mark has begun; until then the delivery can be dropped without loss.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }
}
