//! Sockets, clocks and TLS around the [`Session`](super::session::Session).
//!
//! The loop of a connection is: drain the session, then wait for input, the deadline or shutdown.
//! While the backend is asked nothing is read, so a slow backend slows its own peer only.
//!
//! What always holds: a message given to the backend is answered or the grace period of a shutdown
//! has passed; a peer that does not read its replies is dropped; logs carry the peer, its greeting,
//! paths and counts, never content.

mod connection;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::reply::{self, Reply};

use super::backend::Backend;
use super::budget::MemoryBudget;
use super::limits::{Limits, LimitsConfig, Refusal};
use super::session::SessionConfig;

/// How long to wait after an `accept` that failed, for example because no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The current TLS configuration, asked at every new connection, so that a new certificate is
/// used from the next connection on. While it holds nothing, STARTTLS is not offered.
pub type TlsSource = watch::Receiver<Option<Arc<rustls::ServerConfig>>>;

/// Configuration of a [`Server`].
#[derive(Debug, Clone)]
pub struct Config {
    pub session: SessionConfig,
    pub limits: LimitsConfig,
    /// Octets that all messages in flight may take together.
    pub memory_budget: usize,
    /// How long a stop waits for messages in flight.
    pub shutdown_grace: Duration,
    /// How long a recipient check may take before it is answered with 451.
    pub recipient_timeout: Duration,
}

impl Config {
    /// The defaults, for a server that calls itself `hostname`.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            session: SessionConfig::new(hostname),
            limits: LimitsConfig::default(),
            memory_budget: 256 << 20,
            shutdown_grace: Duration::from_secs(30),
            recipient_timeout: Duration::from_secs(60),
        }
    }
}

/// An SMTP server for incoming mail. One server may serve several listeners.
#[derive(Debug)]
pub struct Server<B> {
    shared: Arc<Shared<B>>,
}

/// What all connections of a server have in common.
#[derive(Debug)]
struct Shared<B> {
    session: Arc<SessionConfig>,
    recipient_timeout: Duration,
    shutdown_grace: Duration,
    backend: Arc<B>,
    tls: Option<TlsSource>,
    budget: Arc<MemoryBudget>,
    limits: Mutex<Limits>,
}

impl<B> Shared<B> {
    fn limits(&self) -> MutexGuard<'_, Limits> {
        // Nothing panics while it holds the counters, and counters have no broken state.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Near capacity in connections, or with three quarters of the message memory taken: then a
    /// peer that holds either for long is the problem.
    fn stressed(&self) -> bool {
        self.budget.free() < self.budget.used() / 3 || self.limits().stressed()
    }
}

impl<B: Backend> Server<B> {
    pub fn new(config: Config, backend: Arc<B>, tls: Option<TlsSource>) -> Self {
        let shared = Shared {
            session: Arc::new(config.session),
            recipient_timeout: config.recipient_timeout,
            shutdown_grace: config.shutdown_grace,
            backend,
            tls,
            budget: MemoryBudget::new(config.memory_budget),
            limits: Mutex::new(Limits::new(config.limits)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.shared.limits().open()
    }

    /// Octets reserved by messages in flight.
    pub fn memory_in_flight(&self) -> usize {
        self.shared.budget.used()
    }

    /// Accepts connections until `shutdown` is done. Then idle sessions end with 421, messages in
    /// flight are finished within the grace period, and the rest is cut off.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopping) = watch::channel(false);
        let mut sessions = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = sessions.join_next() => log_panic(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, addr)) => self.admit(stream, addr, &mut sessions, &stopping),
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        // There is no receiver if there is no session.
        stop.send_replace(true);
        let finished = timeout(self.shared.shutdown_grace, async {
            while let Some(ended) = sessions.join_next().await {
                log_panic(ended);
            }
        });
        if finished.await.is_err() {
            tracing::warn!(sessions = sessions.len(), "sessions cut off after the grace period");
            sessions.shutdown().await;
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        sessions: &mut JoinSet<()>,
        stopping: &watch::Receiver<bool>,
    ) {
        metrics::counter!("smtp_connections_total").increment(1);
        let admitted = self.shared.limits().connect(addr.ip(), now());
        if let Err(refusal) = admitted {
            return turn_away(&stream, addr, refusal);
        }
        let place = Place { shared: Arc::clone(&self.shared), addr };
        metrics::gauge!("smtp_connections_open").increment(1.0);
        sessions.spawn(connection::run(stream, place, stopping.clone()));
    }
}

/// A counted connection; dropping it makes room for another, also after a panic.
struct Place<B> {
    shared: Arc<Shared<B>>,
    addr: SocketAddr,
}

impl<B> Drop for Place<B> {
    fn drop(&mut self) {
        self.shared.limits().disconnect(self.addr.ip());
        metrics::gauge!("smtp_connections_open").decrement(1.0);
    }
}

/// The clock of the runtime, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn count_refusal(reason: &'static str) {
    metrics::counter!("smtp_refused_total", "reason" => reason).increment(1);
}

/// Says why in one line, if the socket takes it at once: somebody who is refused costs no task.
fn turn_away(stream: &TcpStream, addr: SocketAddr, refusal: Refusal) {
    count_refusal(refusal.reason());
    tracing::info!(peer = %addr, reason = refusal.reason(), "connection refused");
    let reply: Reply = match refusal {
        Refusal::ConnectionRate => {
            Reply::new(421, (7, 0), "too many connections from your network")
        }
        _ => reply::too_many_connections(),
    };
    // A fresh socket has room; a peer for which it has none sees the connection close.
    if let Err(error) = stream.try_write(&reply.to_bytes()) {
        tracing::debug!(peer = %addr, %error, "refusal not delivered");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        metrics::counter!("smtp_session_panics_total").increment(1);
        tracing::error!(%error, "a session ended in a panic");
    }
}
