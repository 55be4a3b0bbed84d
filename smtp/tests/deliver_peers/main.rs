//! Relay and direct delivery against scripted mail servers on loopback: what is said of each outcome,
//! and what the servers saw.

#![allow(clippy::unwrap_used)]

mod direct;
mod peer;
mod postfix;
mod relay;
mod sts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_smtp::deliver::{
    DataMark, DeliveryId, Limits, Manners, MemorySpool, Outcome, Room, Schedule, Spool, Timeouts,
    Tls, Transport,
};
use frontdesk_smtp::render::AddrSpec;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};

/// Long enough for every answer that comes, short enough for those that do not.
const PATIENCE: Duration = Duration::from_secs(20);
/// For steps that a test knows to stay without an answer.
const IMPATIENCE: Duration = Duration::from_millis(200);

const MESSAGE: &str =
    "From: support@desk.example\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n..dots\r\n";

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn addr(text: &str) -> AddrSpec {
    AddrSpec::parse(text).unwrap()
}

fn manners() -> Manners {
    Manners {
        hello: "desk.example".to_owned(),
        schedule: Schedule::default(),
        limits: Limits { idle: PATIENCE, ..Limits::default() },
        timeouts: Timeouts::all(PATIENCE),
    }
}

/// A certificate for these names that signs itself, for a server and for those who trust it.
struct Certificate {
    server: Arc<ServerConfig>,
    root: rustls::pki_types::CertificateDer<'static>,
}

fn certificate(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let root = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    Certificate { server: Arc::new(server), root }
}

fn trusting(certificates: &[&Certificate]) -> Tls {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.root.clone()).unwrap();
    }
    Tls::new(roots).unwrap()
}

/// One try of one message, settled.
async fn send_bytes(
    transport: &impl Transport,
    spool: &MemorySpool,
    to: &str,
    bytes: Bytes,
    now: Timestamp,
) -> Outcome {
    let id = spool.push(addr(to), Some(addr("support+bx@desk.example")), bytes, now);
    try_once(transport, spool, &id, now).await
}

async fn send(transport: &impl Transport, to: &str, now: Timestamp) -> Outcome {
    send_bytes(transport, &MemorySpool::new(), to, Bytes::from(MESSAGE), now).await
}

async fn try_once(
    transport: &impl Transport,
    spool: &MemorySpool,
    id: &DeliveryId,
    now: Timestamp,
) -> Outcome {
    let room = Room { any: 100, bulk: 100 };
    let claims = spool.claim(now, room).await.unwrap();
    let delivery = claims.deliveries.into_iter().find(|delivery| delivery.id == *id).unwrap();
    let outcome = transport.deliver(&delivery, now, &DataMark::new(spool, id)).await;
    spool.settle(id, outcome.clone()).await.unwrap();
    outcome
}

/// The reason of a deferral.
fn deferred(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Deferred { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}
