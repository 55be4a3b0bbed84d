//! What the server asks of the rest of the program.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::address::{ForwardPath, ReversePath};
use crate::reply::{self, Reply};

use super::command::BodyType;

/// How the peer greeted. The name is printable ASCII without spaces, and says nothing that was
/// checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Helo {
    /// Not yet; a [`Backend`] never sees this.
    #[default]
    None,
    Helo(String),
    Ehlo(String),
}

impl Helo {
    /// The name given, empty before the greeting.
    pub fn name(&self) -> &str {
        match self {
            Self::None => "",
            Self::Helo(name) | Self::Ehlo(name) => name,
        }
    }

    pub fn is_esmtp(&self) -> bool {
        matches!(self, Self::Ehlo(_))
    }
}

/// The TLS connection under a session, for Received headers and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// For example `TLSv1_3`.
    pub version: String,
    /// For example `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    pub server_name: Option<String>,
}

/// Who is talking.
#[derive(Debug, Clone)]
pub struct Peer {
    pub addr: SocketAddr,
    pub local: SocketAddr,
    pub helo: Helo,
    pub tls: Option<TlsInfo>,
}

impl Peer {
    /// The protocol word of a Received header (RFC 3848, RFC 6531 section 4.3).
    pub fn with_protocol(&self, smtputf8: bool) -> &'static str {
        match (self.helo.is_esmtp(), smtputf8, self.tls.is_some()) {
            (_, true, true) => "UTF8SMTPS",
            (_, true, false) => "UTF8SMTP",
            (true, false, true) => "ESMTPS",
            (true, false, false) => "ESMTP",
            (false, false, _) => "SMTP",
        }
    }
}

/// A mail transaction that reached its end (RFC 5321 section 2.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub reverse_path: ReversePath,
    /// At least one, each accepted by [`Backend::recipient`], none twice.
    pub recipients: Vec<ForwardPath>,
    pub smtputf8: bool,
    pub body: BodyType,
    /// The SIZE parameter in octets, which nothing vouches for.
    pub declared_size: Option<u64>,
}

/// Recipients and durability. Both calls may run for many sessions at once.
pub trait Backend: Send + Sync + 'static {
    /// Whether mail for `to` is taken here; the error is the reply that refuses it, 4yz or 5yz.
    /// `postmaster` (with and without a domain) and `abuse` are the backend's to accept, and so is
    /// the answer that must not tell valid reply tokens from invalid ones.
    fn recipient(
        &self,
        peer: &Peer,
        from: &ReversePath,
        to: &ForwardPath,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Takes a message, with the transparency dots removed and otherwise byte for byte as sent. A 2yz
    /// reply is a promise and comes after the durable write only. The future is not dropped before
    /// it is done, except when the grace period of a shutdown has passed.
    fn message(
        &self,
        peer: &Peer,
        envelope: Envelope,
        message: Vec<u8>,
    ) -> impl Future<Output = Reply> + Send;
}

/// A message an [`InMemoryBackend`] holds. `Debug` leaves the content out.
#[derive(Clone)]
pub struct StoredMessage {
    pub peer: Peer,
    pub envelope: Envelope,
    pub message: Vec<u8>,
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMessage")
            .field("envelope", &self.envelope)
            .field("octets", &self.message.len())
            .finish_non_exhaustive()
    }
}

/// A backend for tests and trials: takes mail for a few domains and keeps it in memory.
#[derive(Debug, Default)]
pub struct InMemoryBackend {
    domains: HashSet<String>,
    unknown: HashSet<String>,
    messages: Mutex<Vec<StoredMessage>>,
}

impl InMemoryBackend {
    /// Takes mail for every address at `domains`.
    pub fn new(domains: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let domains = domains.into_iter().map(|d| d.as_ref().to_ascii_lowercase()).collect();
        Self { domains, ..Self::default() }
    }

    /// The same, except for these addresses (given as [`ForwardPath::key`] prints them).
    pub fn without(mut self, unknown: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.unknown.extend(unknown.into_iter().map(Into::into));
        self
    }

    /// What `recipient` answers.
    pub fn check(&self, to: &ForwardPath) -> Result<(), Reply> {
        let Some(mailbox) = to.mailbox() else { return Ok(()) };
        if !self.domains.contains(mailbox.domain().ascii()) {
            return Err(reply::relay_denied());
        }
        let always = ["postmaster", "abuse"];
        let known = always.iter().any(|name| mailbox.local().eq_ignore_ascii_case(name))
            || !self.unknown.contains(&mailbox.key());
        if known { Ok(()) } else { Err(reply::unknown_recipient()) }
    }

    /// Everything accepted so far, in order.
    pub fn messages(&self) -> Vec<StoredMessage> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Backend for InMemoryBackend {
    async fn recipient(&self, _: &Peer, _: &ReversePath, to: &ForwardPath) -> Result<(), Reply> {
        self.check(to)
    }

    async fn message(&self, peer: &Peer, envelope: Envelope, message: Vec<u8>) -> Reply {
        let stored = StoredMessage { peer: peer.clone(), envelope, message };
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(stored);
        reply::accepted()
    }
}
