//! One connection: a session, its socket, and the backend it asks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::reply::{self, Reply};

use super::super::backend::{Backend, Peer, TlsInfo};
use super::super::limits::Penalty;
use super::super::session::{CloseReason, Input, Message, Output, Session};
use super::{Place, Shared, count_refusal, now};

/// Octets per read. A message of the usual 10 KB fits; an idle connection costs little more.
const READ_SIZE: usize = 16 * 1024;
/// How long a peer may take to read a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a waiting session looks whether the server has come under stress.
const STRESS_CHECK: Duration = Duration::from_secs(5);
/// How long to read on after the last reply: closing with unread input makes the kernel reset the
/// connection, and the peer may lose the reply that says why.
const LINGER: Duration = Duration::from_secs(1);
/// Octets to read on after the last reply.
const LINGER_MAX: usize = 256 * 1024;

/// The bytes of a connection, in clear or under TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a handshake has the socket, and after one that failed.
    Gone,
}

impl Stream {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn run<B: Backend>(
    stream: TcpStream,
    place: Place<B>,
    mut stopping: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let shared = Arc::clone(&place.shared);
    let peer = Peer { addr: place.addr, local, helo: Default::default(), tls: None };
    let tls = shared.tls.as_ref().and_then(|source| source.borrow().clone());
    let session = Session::new(
        Arc::clone(&shared.session),
        Arc::clone(&shared.budget),
        peer,
        tls.is_some(),
        now(),
    );
    let mut connection =
        Connection { stream: Stream::Plain(stream), session, shared, tls, counted_octets: 0 };
    let reason = connection.talk(&mut stopping).await;
    connection.log_end(reason);
    connection.linger().await;
    drop(place);
}

struct Connection<B> {
    stream: Stream,
    session: Session,
    shared: Arc<Shared<B>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Octets of the session's sum that the limits know of.
    counted_octets: u64,
}

impl<B: Backend> Connection<B> {
    async fn talk(&mut self, stopping: &mut watch::Receiver<bool>) -> CloseReason {
        let mut buffer = vec![0; READ_SIZE];
        // Marks the current value as seen only if it is told to the session.
        let mut told = false;
        loop {
            while let Some(output) = self.session.poll() {
                if let Some(reason) = self.perform(output).await {
                    return reason;
                }
            }
            if !told && *stopping.borrow_and_update() {
                told = true;
                self.session.handle(Input::Shutdown, now());
                continue;
            }
            self.session.set_stressed(self.shared.stressed());
            let look_again = now() + STRESS_CHECK;
            let wake = self.session.deadline().map_or(look_again, |at| at.min(look_again));
            tokio::select! {
                // Reading first, so that a peer who talked before the banner is noticed.
                biased;
                read = self.stream.read(&mut buffer), if self.session.wants_input() => {
                    let input = match &read {
                        Ok(0) | Err(_) => Input::Eof,
                        Ok(octets) => Input::Bytes(&buffer[..*octets]),
                    };
                    self.session.handle(input, now());
                    self.count();
                }
                // An error means that the server is gone, and this task with it.
                Ok(()) = stopping.changed(), if !told => {
                    told = true;
                    self.session.handle(Input::Shutdown, now());
                }
                () = sleep_until(wake.into()) => self.session.handle(Input::Timeout, now()),
            }
        }
    }

    /// Does one thing and feeds its result back. Returns the reason once the session has ended.
    async fn perform(&mut self, output: Output) -> Option<CloseReason> {
        match output {
            Output::Write(bytes) => {
                let written = timeout(WRITE_TIMEOUT, self.stream.write(&bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    self.session.handle(Input::Eof, now());
                }
            }
            Output::AskMail => self.ask_mail(),
            Output::AskRecipient { from, to } => {
                let check = self.shared.backend.recipient(self.session.peer(), &from, &to);
                let answer = timeout(self.shared.recipient_timeout, check)
                    .await
                    .unwrap_or_else(|_| Err(reply::local_error()));
                let penalty = self.penalty(&answer);
                self.session.handle(Input::Recipient(answer, penalty), now());
            }
            Output::Message(message) => self.store(message).await,
            Output::StartTls => self.handshake().await,
            Output::Close(reason) => return Some(reason),
        }
        None
    }

    fn ask_mail(&mut self) {
        let now = now();
        let ip = self.session.peer().addr.ip();
        let answer = self.shared.limits().start_mail(ip, now).map_err(|refusal| {
            count_refusal(refusal.reason());
            reply::too_fast()
        });
        self.session.handle(Input::Mail(answer), now);
    }

    fn penalty(&self, answer: &Result<(), Reply>) -> Penalty {
        let Err(reply) = answer else {
            metrics::counter!("smtp_recipients_total", "outcome" => "accepted").increment(1);
            return Penalty::None;
        };
        metrics::counter!("smtp_recipients_total", "outcome" => "refused").increment(1);
        // X.1.z is about the address (RFC 3463 section 3.2): somebody may be guessing.
        if !matches!(reply.enhanced(), Some((5, 1, _))) {
            return Penalty::None;
        }
        let ip = self.session.peer().addr.ip();
        let penalty = self.shared.limits().unknown_recipient(ip, now());
        if penalty != Penalty::None {
            count_refusal("unknown_recipients");
        }
        penalty
    }

    async fn store(&mut self, message: Message) {
        let Message { envelope, bytes, reservation } = message;
        let octets = bytes.len();
        let from = envelope.reverse_path.to_string();
        let recipients = envelope.recipients.len();
        let peer = self.session.peer();
        let reply = self.shared.backend.message(peer, envelope, bytes).await;
        drop(reservation);
        let outcome = match reply.code() / 100 {
            2 => "accepted",
            4 => "deferred",
            _ => "refused",
        };
        metrics::counter!("smtp_messages_total", "outcome" => outcome).increment(1);
        tracing::info!(
            peer = %peer.addr,
            helo = peer.helo.name(),
            from,
            recipients,
            octets,
            code = reply.code(),
            "message {outcome}"
        );
        if reply.is_positive() {
            self.shared.limits().accepted(peer.addr.ip(), now());
        }
        self.session.handle(Input::Message(reply), now());
    }

    async fn handshake(&mut self) {
        let Some(config) = self.tls.clone() else {
            return self.session.handle(Input::Eof, now());
        };
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return self.session.handle(Input::Eof, now());
        };
        self.session.set_stressed(self.shared.stressed());
        let deadline = self.session.deadline().unwrap_or_else(now);
        let accept = TlsAcceptor::from(config).accept(stream);
        match tokio::time::timeout_at(deadline.into(), accept).await {
            Ok(Ok(stream)) => {
                let info = tls_info(stream.get_ref().1);
                self.stream = Stream::Tls(Box::new(stream));
                self.session.handle(Input::TlsStarted(info), now());
            }
            Ok(Err(error)) => {
                count_refusal("tls_handshake");
                tracing::info!(peer = %self.session.peer().addr, %error, "TLS handshake failed");
                self.session.handle(Input::Eof, now());
            }
            Err(_) => {
                count_refusal("tls_handshake");
                self.session.handle(Input::Timeout, now());
            }
        }
    }

    /// Tells the limits and the metrics what the last input brought.
    fn count(&mut self) {
        for refusal in self.session.take_refusals() {
            count_refusal(refusal.reason());
            let peer = self.session.peer();
            tracing::info!(
                peer = %peer.addr,
                helo = peer.helo.name(),
                reason = refusal.reason(),
                "refused"
            );
        }
        let octets = self.session.summary().octets;
        let new = octets - self.counted_octets;
        if new > 0 {
            self.counted_octets = octets;
            let ip = self.session.peer().addr.ip();
            self.shared.limits().received(ip, new, now());
        }
    }

    fn log_end(&mut self, reason: CloseReason) {
        self.count();
        if reason.is_refusal() {
            count_refusal(reason.reason());
        }
        let summary = self.session.summary();
        let peer = self.session.peer();
        tracing::info!(
            peer = %peer.addr,
            helo = peer.helo.name(),
            tls = peer.tls.as_ref().map_or("none", |tls| tls.version.as_str()),
            reason = reason.reason(),
            commands = summary.commands,
            errors = summary.errors,
            recipients = summary.recipients_accepted,
            recipients_refused = summary.recipients_refused,
            messages = summary.messages_accepted,
            messages_refused = summary.messages_refused,
            octets = summary.octets,
            "session ended"
        );
    }

    async fn linger(&mut self) {
        let read_on = async {
            self.stream.close().await?;
            let mut buffer = [0; 4096];
            let mut octets = 0;
            while octets < LINGER_MAX {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    read => octets += read,
                }
            }
            io::Result::Ok(())
        };
        // However this ends, the connection is over.
        let _ = timeout(LINGER, read_on).await;
    }
}

fn tls_info(connection: &rustls::ServerConnection) -> TlsInfo {
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsInfo {
        version: version.unwrap_or("unknown").to_owned(),
        cipher: cipher.unwrap_or("unknown").to_owned(),
        server_name: connection.server_name().map(str::to_owned),
    }
}
