//! The server over loopback sockets.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_smtp::address::{ForwardPath, ReversePath};
use frontdesk_smtp::receive::limits::Rate;
use frontdesk_smtp::receive::{Backend, Config, Envelope, InMemoryBackend, Peer, Server};
use frontdesk_smtp::reply::{self, Reply};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const NAME: &str = "mx.example.org";

trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Octets for T {}

struct Running<B> {
    addr: SocketAddr,
    server: Arc<Server<B>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl<B: Backend> Running<B> {
    async fn start(config: Config, backend: Arc<B>, tls: Option<watch::Receiver<Tls>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Arc::new(Server::new(config, backend, tls));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&server);
        let task = tokio::spawn(async move {
            serving.serve(listener, async { drop(stopped.await) }).await;
        });
        Self { addr, server, stop, task }
    }

    async fn client(&self) -> Client {
        Client { stream: Box::new(TcpStream::connect(self.addr).await.unwrap()) }
    }

    /// A client past EHLO.
    async fn greeted(&self) -> Client {
        let mut client = self.client().await;
        client.expect("220 mx.example.org ESMTP Frontdesk\r\n").await;
        client.ehlo().await;
        client
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

type Tls = Option<Arc<rustls::ServerConfig>>;

struct Client {
    stream: Box<dyn Octets>,
}

impl Client {
    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads exactly as much as is expected, and compares.
    async fn expect(&mut self, text: &str) {
        let mut got = vec![0; text.len()];
        let mut have = 0;
        while have < got.len() {
            match self.stream.read(&mut got[have..]).await.unwrap() {
                0 => break,
                octets => have += octets,
            }
            if !text.as_bytes().starts_with(&got[..have]) {
                break;
            }
        }
        assert_eq!(String::from_utf8_lossy(&got[..have]), text);
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Says EHLO and returns the extensions.
    async fn ehlo(&mut self) -> String {
        self.send("EHLO client.example.net\r\n").await;
        let mut got = String::new();
        while !got.lines().any(|line| line.starts_with("250 ")) || !got.ends_with("\r\n") {
            got.push(char::from(self.stream.read_u8().await.unwrap()));
        }
        got
    }

    /// Up to and including the 354.
    async fn begin_message(&mut self) {
        self.send("MAIL FROM:<ann@example.net>\r\nRCPT TO:<support@example.org>\r\nDATA\r\n").await;
        self.expect("250 2.1.0 sender OK\r\n250 2.1.5 recipient OK\r\n").await;
        self.expect("354 end with <CR><LF>.<CR><LF>\r\n").await;
    }

    async fn starttls(mut self, certificate: &CertificateDer<'static>) -> Client {
        self.send("STARTTLS\r\n").await;
        self.expect("220 2.0.0 start TLS\r\n").await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, self.stream).await.unwrap();
        Client { stream: Box::new(stream) }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificate() -> (CertificateDer<'static>, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    (certificate, Arc::new(config))
}

fn backend() -> Arc<InMemoryBackend> {
    Arc::new(InMemoryBackend::new(["example.org"]).without(["nobody@example.org"]))
}

/// Stores a message only when the test says so.
struct Gated {
    inner: InMemoryBackend,
    entered: watch::Sender<u32>,
    open: watch::Receiver<bool>,
}

impl Backend for Gated {
    async fn recipient(
        &self,
        peer: &Peer,
        from: &ReversePath,
        to: &ForwardPath,
    ) -> Result<(), Reply> {
        self.inner.recipient(peer, from, to).await
    }

    async fn message(&self, peer: &Peer, envelope: Envelope, message: Vec<u8>) -> Reply {
        self.entered.send_modify(|count| *count += 1);
        let mut open = self.open.clone();
        open.wait_for(|open| *open).await.unwrap();
        self.inner.message(peer, envelope, message).await
    }
}

/// The backend, a watch over how many messages it was given, and the gate.
fn gated() -> (Arc<Gated>, watch::Receiver<u32>, watch::Sender<bool>) {
    let (entered, seen) = watch::channel(0);
    let (gate, open) = watch::channel(false);
    let inner = InMemoryBackend::new(["example.org"]);
    (Arc::new(Gated { inner, entered, open }), seen, gate)
}

#[tokio::test]
async fn a_pipelined_mail_arrives_byte_for_byte() {
    let backend = backend();
    let running = Running::start(Config::new(NAME), Arc::clone(&backend), None).await;
    let mut client = running.greeted().await;
    client.begin_message().await;
    client.send("Subject: x\r\n\r\n..dot\r\n\t caf\u{e9} \r\n.\r\nQUIT\r\n").await;
    client.expect("250 2.0.0 message accepted\r\n221 2.0.0 bye\r\n").await;
    client.expect_end().await;

    let stored = backend.messages();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].message, "Subject: x\r\n\r\n.dot\r\n\t caf\u{e9} \r\n".as_bytes());
    assert_eq!(stored[0].peer.helo.name(), "client.example.net");
    assert_eq!(stored[0].peer.with_protocol(false), "ESMTP");
    drop(client);
    running.stop().await;
}

#[tokio::test]
async fn mail_after_starttls_is_marked_as_such() {
    let (certificate, config) = certificate();
    let (_source, tls) = watch::channel(Some(config));
    let backend = backend();
    let running = Running::start(Config::new(NAME), Arc::clone(&backend), Some(tls)).await;
    let mut client = running.client().await;
    client.expect("220 mx.example.org ESMTP Frontdesk\r\n").await;
    assert!(client.ehlo().await.contains("250 STARTTLS\r\n"));

    let mut client = client.starttls(&certificate).await;
    // Nothing from before the handshake counts.
    client.send("MAIL FROM:<ann@example.net>\r\n").await;
    client.expect("503 5.5.1 say EHLO first\r\n").await;
    assert!(!client.ehlo().await.contains("STARTTLS"));
    client.begin_message().await;
    client.send("secret\r\n.\r\nQUIT\r\n").await;
    client.expect("250 2.0.0 message accepted\r\n221 2.0.0 bye\r\n").await;

    let stored = backend.messages();
    let tls = stored[0].peer.tls.clone().unwrap();
    assert_eq!((tls.version.as_str(), tls.server_name.as_deref()), ("TLSv1_3", Some(NAME)));
    assert_eq!(stored[0].peer.with_protocol(false), "ESMTPS");
    drop(client);
    running.stop().await;
}

#[tokio::test]
async fn a_command_injected_before_the_handshake_ends_the_session() {
    let (_, config) = certificate();
    let (_source, tls) = watch::channel(Some(config));
    let running = Running::start(Config::new(NAME), backend(), Some(tls)).await;
    let mut client = running.greeted().await;
    client.send("STARTTLS\r\nMAIL FROM:<eve@example.net>\r\n").await;
    client.expect("554 5.5.1 you talked before it was your turn\r\n").await;
    client.expect_end().await;
    drop(client);
    running.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_used_from_the_next_connection_on() {
    let (source, tls) = watch::channel(None);
    let running = Running::start(Config::new(NAME), backend(), Some(tls)).await;
    let mut before = running.client().await;
    before.expect("220 mx.example.org ESMTP Frontdesk\r\n").await;
    assert!(!before.ehlo().await.contains("STARTTLS"));

    for _ in 0..2 {
        let (certificate, config) = certificate();
        source.send(Some(config)).unwrap();
        let mut client = running.greeted().await.starttls(&certificate).await;
        client.ehlo().await;
    }
    drop(before);
    running.stop().await;
}

#[tokio::test]
async fn a_stop_tells_idle_sessions_and_finishes_the_message_in_flight() {
    let (backend, mut entered, gate) = gated();
    let running = Running::start(Config::new(NAME), Arc::clone(&backend), None).await;
    let mut idle = running.greeted().await;
    let mut busy = running.greeted().await;
    busy.begin_message().await;
    busy.send("text\r\n.\r\n").await;
    entered.wait_for(|count| *count == 1).await.unwrap();

    let stopping = tokio::spawn(running.stop());
    idle.expect("421 4.3.2 the server is restarting, try again\r\n").await;
    idle.expect_end().await;
    drop(idle);
    assert!(backend.inner.messages().is_empty());
    gate.send(true).unwrap();
    busy.expect("250 2.0.0 message accepted\r\n").await;
    busy.expect("421 4.3.2 the server is restarting, try again\r\n").await;
    drop(busy);
    stopping.await.unwrap();
    assert_eq!(backend.inner.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_off_what_outlives_the_grace_period_and_says_nothing_false() {
    let (backend, mut entered, _gate) = gated();
    let running = Running::start(Config::new(NAME), Arc::clone(&backend), None).await;
    let mut client = running.greeted().await;
    client.begin_message().await;
    client.send("text\r\n.\r\n").await;
    entered.wait_for(|count| *count == 1).await.unwrap();
    running.stop().await;
    // No 250 for a message that was not stored.
    client.expect_end().await;
}

#[tokio::test]
async fn messages_in_flight_share_a_memory_budget() {
    let (backend, mut entered, gate) = gated();
    let config = Config { memory_budget: 100 * 1024, ..Config::new(NAME) };
    let running = Running::start(config, Arc::clone(&backend), None).await;
    let text = format!("{}\r\n", "x".repeat(98)).repeat(700);

    let mut first = running.greeted().await;
    first.begin_message().await;
    first.send(format!("{text}.\r\n")).await;
    entered.wait_for(|count| *count == 1).await.unwrap();
    let held = running.server.memory_in_flight();
    assert!((text.len()..=100 * 1024).contains(&held), "{held}");

    // The first is still being stored; the second is told to come back, and stays in step.
    let mut second = running.greeted().await;
    second.begin_message().await;
    second.send(format!("{text}.\r\nNOOP\r\n")).await;
    second.expect("452 4.3.1 too many messages in flight, try again later\r\n").await;
    second.expect("250 2.0.0 OK\r\n").await;

    gate.send(true).unwrap();
    first.expect("250 2.0.0 message accepted\r\n").await;
    second.begin_message().await;
    second.send(format!("{text}.\r\n")).await;
    second.expect("250 2.0.0 message accepted\r\n").await;
    assert_eq!(running.server.memory_in_flight(), 0);
    drop((first, second));
    running.stop().await;
}

#[tokio::test]
async fn a_hundred_recipients_are_taken_and_the_next_is_told_to_come_again() {
    let backend = backend();
    let running = Running::start(Config::new(NAME), Arc::clone(&backend), None).await;
    let mut client = running.greeted().await;
    let mut group = "MAIL FROM:<ann@example.net>\r\n".to_owned();
    for n in 0..101 {
        group.push_str(&format!("RCPT TO:<r{n}@example.org>\r\n"));
    }
    client.send(group + "DATA\r\n").await;
    client.expect("250 2.1.0 sender OK\r\n").await;
    client.expect(&"250 2.1.5 recipient OK\r\n".repeat(100)).await;
    client.expect("452 4.5.3 too many recipients, send the rest in another transaction\r\n").await;
    client.expect("354 end with <CR><LF>.<CR><LF>\r\n").await;
    client.send("text\r\n.\r\n").await;
    client.expect("250 2.0.0 message accepted\r\n").await;
    let recipients: Vec<_> =
        backend.messages()[0].envelope.recipients.iter().map(ToString::to_string).collect();
    let expected: Vec<_> = (0..100).map(|n| format!("<r{n}@example.org>")).collect();
    assert_eq!(recipients, expected);
}

#[tokio::test]
async fn one_address_may_hold_only_so_many_connections() {
    let mut config = Config::new(NAME);
    config.limits.exempt_loopback = false;
    config.limits.per_address.open = 2;
    let running = Running::start(config, backend(), None).await;
    let first = running.greeted().await;
    let _second = running.greeted().await;
    let mut third = running.client().await;
    third.expect("421 4.7.0 too many connections, try again later\r\n").await;
    third.expect_end().await;
    assert_eq!(running.server.connections(), 2);

    // The place is free again once the first has ended.
    let mut first = first;
    first.send("QUIT\r\n").await;
    first.expect("221 2.0.0 bye\r\n").await;
    first.expect_end().await;
    drop(first);
    while running.server.connections() > 1 {
        tokio::task::yield_now().await;
    }
    running.greeted().await;
}

#[tokio::test]
async fn a_network_that_sends_too_much_is_told_to_slow_down() {
    let mut config = Config::new(NAME);
    config.limits.exempt_loopback = false;
    config.limits.per_address.messages = Rate::per_minute(1);
    let running = Running::start(config, backend(), None).await;
    let mut client = running.greeted().await;
    client.begin_message().await;
    client.send("text\r\n.\r\n").await;
    client.expect("250 2.0.0 message accepted\r\n").await;
    client.send("MAIL FROM:<ann@example.net>\r\n").await;
    client.expect("450 4.7.0 too much mail from your network, try again later\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn guessing_recipients_meets_the_tarpit_and_then_the_door() {
    let mut config = Config::new(NAME);
    config.limits.exempt_loopback = false;
    config.limits.unknown_before_tarpit = Rate::per_minute(1);
    config.limits.unknown_before_hangup = Rate::per_minute(2);
    let running = Running::start(config, backend(), None).await;
    let mut client = running.greeted().await;
    client.send("MAIL FROM:<eve@example.net>\r\n").await;
    client.expect("250 2.1.0 sender OK\r\n").await;
    let start = tokio::time::Instant::now();
    client.send("RCPT TO:<nobody@example.org>\r\n").await;
    client.expect("550 5.1.1 no such recipient here\r\n").await;
    assert!(start.elapsed() < Duration::from_secs(1));
    client.send("RCPT TO:<nobody@example.org>\r\n").await;
    client.expect("550 5.1.1 no such recipient here\r\n").await;
    assert!(start.elapsed() >= Duration::from_secs(5));
    client.send("RCPT TO:<nobody@example.org>\r\n").await;
    client.expect("421 4.7.0 too many unknown recipients\r\n").await;
    client.expect_end().await;
}

#[tokio::test]
async fn who_talks_before_the_banner_is_turned_away() {
    let mut config = Config::new(NAME);
    config.session.greet_delay = Duration::from_secs(3600);
    let running = Running::start(config, backend(), None).await;
    let mut client = running.client().await;
    client.send("EHLO client.example.net\r\n").await;
    client.expect("554 5.5.1 you talked before it was your turn\r\n").await;
    client.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_stops_in_mid_message_is_dropped() {
    let running = Running::start(Config::new(NAME), backend(), None).await;
    let mut client = running.greeted().await;
    client.begin_message().await;
    let start = tokio::time::Instant::now();
    client.send("the first line\r\n").await;
    client.expect("421 4.4.2 the message arrived too slowly\r\n").await;
    client.expect_end().await;
    let waited = start.elapsed();
    assert!((120..130).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(running.server.memory_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn timeouts_are_short_near_capacity_and_long_otherwise() {
    for (connections_max, seconds) in [(1, 10), (100, 300)] {
        let mut config = Config::new(NAME);
        config.limits.connections_max = connections_max;
        let running = Running::start(config, backend(), None).await;
        let mut client = running.greeted().await;
        let start = tokio::time::Instant::now();
        client.expect("421 4.4.2 waited too long for a command\r\n").await;
        let waited = start.elapsed().as_secs();
        assert!((seconds..seconds + 10).contains(&waited), "{waited} s of {seconds} s");
    }
}

/// Panics on the first message.
struct Panicking;

impl Backend for Panicking {
    async fn recipient(&self, _: &Peer, _: &ReversePath, _: &ForwardPath) -> Result<(), Reply> {
        Ok(())
    }

    async fn message(&self, _: &Peer, _: Envelope, _: Vec<u8>) -> Reply {
        panic!("a defect in the backend")
    }
}

#[tokio::test]
async fn a_panic_of_the_backend_ends_one_session_and_leaks_nothing() {
    let running = Running::start(Config::new(NAME), Arc::new(Panicking), None).await;
    let mut client = running.greeted().await;
    client.begin_message().await;
    client.send("text\r\n.\r\n").await;
    client.expect_end().await;
    let mut other = running.greeted().await;
    assert_eq!(running.server.memory_in_flight(), 0);
    other.send("QUIT\r\n").await;
    other.expect("221 2.0.0 bye\r\n").await;
    drop((client, other));
    running.stop().await;
}

/// Answers what no backend should.
struct Confused;

impl Backend for Confused {
    async fn recipient(&self, _: &Peer, _: &ReversePath, to: &ForwardPath) -> Result<(), Reply> {
        match to.key().starts_with("fine") {
            true => Ok(()),
            false => Err(reply::ok()),
        }
    }

    async fn message(&self, _: &Peer, _: Envelope, _: Vec<u8>) -> Reply {
        Reply::plain(354, ["go on"])
    }
}

#[tokio::test]
async fn a_reply_that_makes_no_sense_there_becomes_a_temporary_failure() {
    let running = Running::start(Config::new(NAME), Arc::new(Confused), None).await;
    let mut client = running.greeted().await;
    client
        .send("MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<fine@example.org>\r\nDATA\r\n")
        .await;
    client.expect("250 2.1.0 sender OK\r\n451 4.3.0 temporary failure, try again later\r\n").await;
    client.expect("250 2.1.5 recipient OK\r\n354 end with <CR><LF>.<CR><LF>\r\n").await;
    client.send("text\r\n.\r\n").await;
    client.expect("451 4.3.0 temporary failure, try again later\r\n").await;
}
