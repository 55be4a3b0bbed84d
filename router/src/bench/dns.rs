//! A name server on loopback that knows the sender of the benchmark, and nobody else.
//!
//! It answers from records in memory over UDP, so that the resolver of the server is the real one;
//! after the first message the resolver's cache answers, which is what "warm DNS" means.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{net::UdpSocket, task::JoinHandle};

/// Seconds for which answers are valid.
const TTL: u32 = 3600;

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;

/// Name, type, and the data as it stands on the wire.
type Records = HashMap<(String, u16), Vec<u8>>;

/// Records to answer from.
#[derive(Default)]
pub(super) struct Zone(Records);

impl Zone {
    pub(super) fn txt(mut self, name: &str, text: &str) -> Self {
        // Strings of at most 255 octets, each after its length (RFC 1035 section 3.3.14).
        let strings = text.as_bytes().chunks(255);
        let data = strings.flat_map(|part| [&[part.len() as u8], part].concat()).collect();
        self.0.insert((name.to_owned(), TXT), data);
        self
    }

    pub(super) fn a(mut self, name: &str, ip: Ipv4Addr) -> Self {
        self.0.insert((name.to_owned(), A), ip.octets().to_vec());
        self
    }

    pub(super) fn ptr(mut self, name: &str, host: &str) -> Self {
        self.0.insert((name.to_owned(), PTR), wire_name(host));
        self
    }
}

/// The running server; stops when dropped.
pub(super) struct NameServer {
    pub(super) addr: SocketAddr,
    task: JoinHandle<()>,
}

impl NameServer {
    pub(super) async fn start(zone: Zone) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = socket.local_addr()?;
        let records = Arc::new(zone.0);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length], &records) {
                    // A resolver that has gone away is its own business.
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        Ok(Self { addr, task })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a request with one question (RFC 1035 section 4).
fn answer(request: &[u8], records: &Records) -> Option<Vec<u8>> {
    let (name, end) = question_name(request)?;
    let kind = u16::from_be_bytes(request.get(end..end + 2)?.try_into().ok()?);
    let question = request.get(12..end + 4)?;
    let found = records.get(&(name.clone(), kind));
    let exists = || {
        let below = format!(".{name}");
        records.keys().any(|(known, _)| *known == name || known.ends_with(&below))
    };
    // QR, AA and RD; RA; and NXDOMAIN for what does not exist.
    let code = if found.is_some() || exists() { 0x80 } else { 0x83 };
    let mut answer = vec![request[0], request[1], 0x85, code, 0, 1];
    answer.extend([0, u8::from(found.is_some()), 0, u8::from(found.is_none()), 0, 0]);
    answer.extend(question);
    match found {
        Some(data) => {
            // The name of the question, which starts at octet 12.
            answer.extend([0xc0, 12]);
            record(&mut answer, kind, data);
        }
        None => {
            // Without SOA a resolver does not cache that there is nothing (RFC 2308 section 5).
            answer.push(0);
            let mut soa = vec![0, 0];
            [1, TTL, TTL, TTL, TTL].iter().for_each(|n| soa.extend(n.to_be_bytes()));
            record(&mut answer, 6, &soa);
        }
    }
    Some(answer)
}

fn record(answer: &mut Vec<u8>, kind: u16, data: &[u8]) {
    answer.extend(kind.to_be_bytes());
    answer.extend([0, 1]);
    answer.extend(TTL.to_be_bytes());
    answer.extend((data.len() as u16).to_be_bytes());
    answer.extend(data);
}

/// The name asked for in lower case, and where its type stands.
fn question_name(request: &[u8]) -> Option<(String, usize)> {
    let mut at = 12;
    let mut name = String::new();
    loop {
        let length = usize::from(*request.get(at)?);
        let label = request.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            return Some((name, at));
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|octet| char::from(octet.to_ascii_lowercase())));
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.');
    labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect()
}
