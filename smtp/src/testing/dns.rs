//! A DNS server on loopback that answers from a zone in memory.
//!
//! It speaks real UDP and TCP, so that resolvers, truncation and timeouts are exercised as they are.
//! The same [`Zone`] also answers directly, without sockets, as a [`Lookup`]. Left out: DNSSEC,
//! wildcards and zone cuts.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{
        Name, RData, Record as WireRecord, RecordType,
        rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT},
    },
};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

use crate::auth::dns::{Answer, DnsAnswer, Lookup, Record, RecordKind, reverse_name};

/// Seconds for which answers are valid.
const TTL: u32 = 3600;
/// Largest UDP answer for a client that did not say more (RFC 1035 section 4.2.1).
const PLAIN_UDP: usize = 512;
/// Aliases followed in one answer.
const MAX_ALIASES: usize = 8;

/// What goes wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server says SERVFAIL.
    ServFail,
    /// Nothing comes back.
    Silence,
}

/// Records and faults by name.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: HashMap<String, Entry>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    records: Vec<Record>,
    alias: Option<String>,
    fault: Option<Fault>,
}

impl Zone {
    /// A zone in which no name exists.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads lines `name TYPE value`: A, AAAA, MX (`10 host`), TXT (the rest of the line), PTR, CNAME
    /// and the faults SERVFAIL and SILENCE. The name of a PTR line may be an address. Empty lines
    /// and lines that start with `#` are skipped.
    ///
    /// # Errors
    ///
    /// The first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut zone = Self::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            zone = zone.line(line).ok_or_else(|| format!("zone line: {line}"))?;
        }
        Ok(zone)
    }

    fn line(self, line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim_start();
        let (kind, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = value.trim();
        Some(match kind.to_ascii_uppercase().as_str() {
            "A" | "AAAA" => self.address(name, value.parse().ok()?),
            "MX" => {
                let (preference, host) = value.split_once(char::is_whitespace)?;
                self.mx(name, preference.parse().ok()?, host.trim())
            }
            "TXT" => self.txt(name, value),
            "PTR" => match name.parse() {
                Ok(ip) => self.ptr(ip, value),
                Err(_) => self.record(name, Record::Ptr(value.to_owned())),
            },
            "CNAME" => self.alias(name, value),
            "SERVFAIL" => self.fault(name, Fault::ServFail),
            "SILENCE" => self.fault(name, Fault::Silence),
            _ => return None,
        })
    }

    /// Adds a record.
    pub fn record(mut self, name: &str, record: Record) -> Self {
        self.entry(name).records.push(record);
        self
    }

    /// Adds an A or AAAA record.
    pub fn address(self, name: &str, ip: IpAddr) -> Self {
        let record = match ip {
            IpAddr::V4(ip) => Record::A(ip),
            IpAddr::V6(ip) => Record::Aaaa(ip),
        };
        self.record(name, record)
    }

    /// Adds an A record.
    pub fn a(self, name: &str, ip: Ipv4Addr) -> Self {
        self.record(name, Record::A(ip))
    }

    /// Adds an AAAA record.
    pub fn aaaa(self, name: &str, ip: Ipv6Addr) -> Self {
        self.record(name, Record::Aaaa(ip))
    }

    /// Adds an MX record.
    pub fn mx(self, name: &str, preference: u16, host: &str) -> Self {
        self.record(name, Record::Mx { preference, exchange: host.to_owned() })
    }

    /// Adds a TXT record; long ones are split into strings of 255 octets on the wire.
    pub fn txt(self, name: &str, text: &str) -> Self {
        self.txt_octets(name, text.as_bytes())
    }

    /// Adds a TXT record of any octets.
    pub fn txt_octets(self, name: &str, octets: &[u8]) -> Self {
        let text = octets.iter().map(|&octet| char::from(octet)).collect();
        self.record(name, Record::Txt(text))
    }

    /// Adds a PTR record for an address.
    pub fn ptr(self, ip: IpAddr, host: &str) -> Self {
        self.record(&reverse_name(ip), Record::Ptr(host.to_owned()))
    }

    /// Makes `name` an alias.
    pub fn alias(mut self, name: &str, target: &str) -> Self {
        self.entry(name).alias = Some(target.to_owned());
        self
    }

    /// Makes questions for `name` go wrong, except for types of which it has records.
    pub fn fault(mut self, name: &str, fault: Fault) -> Self {
        self.entry(name).fault = Some(fault);
        self
    }

    /// Adds everything in `other`.
    pub fn merge(mut self, other: Self) -> Self {
        for (name, entry) in other.names {
            let own = self.names.entry(name).or_default();
            own.records.extend(entry.records);
            own.alias = entry.alias.or(own.alias.take());
            own.fault = entry.fault.or(own.fault);
        }
        self
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.names.entry(key(name)).or_default()
    }

    fn find(&self, name: &str, kind: RecordKind) -> Found {
        let mut found = Found { aliases: Vec::new(), result: Ok(Vec::new()), exists: false };
        let mut name = key(name);
        for _ in 0..MAX_ALIASES {
            let below = format!(".{name}");
            found.exists = self.names.keys().any(|known| *known == name || known.ends_with(&below));
            let Some(entry) = self.names.get(&name) else { return found };
            let records: Vec<Record> =
                entry.records.iter().filter(|r| kind_of(r) == kind).cloned().collect();
            if let (true, Some(target)) = (records.is_empty(), &entry.alias) {
                found.aliases.push((name, target.clone()));
                name = key(target);
                continue;
            }
            found.result = match entry.fault {
                Some(fault) if records.is_empty() => Err(fault),
                _ => Ok(records),
            };
            return found;
        }
        found.result = Err(Fault::ServFail);
        found
    }
}

struct Found {
    /// From the name asked for to the one that has the records.
    aliases: Vec<(String, String)>,
    result: Result<Vec<Record>, Fault>,
    exists: bool,
}

impl Lookup for Zone {
    async fn lookup(&self, name: &str, kind: RecordKind) -> Arc<DnsAnswer> {
        let found = self.find(name, kind);
        let answer = match found.result {
            Err(Fault::ServFail) => Answer::TempError("response code SERVFAIL".into()),
            Err(Fault::Silence) => Answer::TempError("no answer in time".into()),
            Ok(records) if !records.is_empty() => Answer::Records { records, omitted: 0 },
            Ok(_) if found.exists => Answer::NoData,
            Ok(_) => Answer::NxDomain,
        };
        Arc::new(DnsAnswer { name: key(name), kind, answer, ttl: TTL, at: Timestamp::UNIX_EPOCH })
    }
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn kind_of(record: &Record) -> RecordKind {
    match record {
        Record::A(_) => RecordKind::A,
        Record::Aaaa(_) => RecordKind::Aaaa,
        Record::Mx { .. } => RecordKind::Mx,
        Record::Txt(_) => RecordKind::Txt,
        Record::Ptr(_) => RecordKind::Ptr,
    }
}

/// The running server; stops when dropped.
pub struct TestDns {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    zone: RwLock<Zone>,
    queries: AtomicUsize,
    tcp_queries: AtomicUsize,
}

impl TestDns {
    /// Starts on a free port of 127.0.0.1, the same for UDP and TCP.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub async fn start(zone: Zone) -> io::Result<Self> {
        let (udp, tcp) = bind().await?;
        let addr = udp.local_addr()?;
        let shared = Arc::new(Shared {
            zone: RwLock::new(zone),
            queries: AtomicUsize::new(0),
            tcp_queries: AtomicUsize::new(0),
        });
        let tasks = [
            tokio::spawn(serve_udp(udp, Arc::clone(&shared))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&shared))),
        ];
        Ok(Self { addr, shared, tasks })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces the zone.
    pub fn set_zone(&self, zone: Zone) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    /// Questions received so far.
    pub fn queries(&self) -> usize {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// Those of them that came over TCP.
    pub fn tcp_queries(&self) -> usize {
        self.shared.tcp_queries.load(Ordering::Relaxed)
    }
}

impl Drop for TestDns {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A UDP port whose TCP twin is free too.
async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = None;
    for _ in 0..32 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no port")))
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let Some(answer) = shared.answer(&buffer[..length], true) else { continue };
        // A client that has gone away is its own business.
        let _ = socket.send_to(&answer, peer).await;
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_stream(stream, Arc::clone(&shared)));
    }
}

async fn serve_stream(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    loop {
        let mut request = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut request).await?;
        shared.tcp_queries.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = shared.answer(&request, false) {
            stream.write_u16(u16::try_from(answer.len()).unwrap_or(u16::MAX)).await?;
            stream.write_all(&answer).await?;
        }
    }
}

impl Shared {
    /// The answer as octets; none for silence and for what is not a question.
    fn answer(&self, request: &[u8], udp: bool) -> Option<Vec<u8>> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let request = Message::from_vec(request).ok()?;
        let query = request.queries.first()?.clone();
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        let asked = query.name().clone();
        let kind = match query.query_type() {
            RecordType::A => Some(RecordKind::A),
            RecordType::AAAA => Some(RecordKind::Aaaa),
            RecordType::MX => Some(RecordKind::Mx),
            RecordType::TXT => Some(RecordKind::Txt),
            RecordType::PTR => Some(RecordKind::Ptr),
            _ => None,
        };
        response.add_query(query);
        let text = text_of(&asked);
        let found = kind
            .map(|kind| self.zone.read().unwrap_or_else(PoisonError::into_inner).find(&text, kind));
        match found {
            None => response.metadata.response_code = ResponseCode::NotImp,
            Some(found) => match found.result {
                Err(Fault::Silence) => return None,
                Err(Fault::ServFail) => response.metadata.response_code = ResponseCode::ServFail,
                Ok(records) => {
                    let mut owner = asked;
                    for (_, target) in &found.aliases {
                        let target = name_of(target)?;
                        let data = RData::CNAME(CNAME(target.clone()));
                        response.add_answer(WireRecord::from_rdata(owner, TTL, data));
                        owner = target;
                    }
                    if records.is_empty() {
                        if !found.exists {
                            response.metadata.response_code = ResponseCode::NXDomain;
                        }
                        // Without it, negative answers could not be cached (RFC 2308 section 5).
                        let root = Name::root();
                        let ttl = i32::try_from(TTL).unwrap_or(i32::MAX);
                        let soa = SOA::new(root.clone(), root.clone(), 1, ttl, ttl, ttl, TTL);
                        response.add_authority(WireRecord::from_rdata(root, TTL, RData::SOA(soa)));
                    }
                    for record in records {
                        let data = data_of(record)?;
                        response.add_answer(WireRecord::from_rdata(owner.clone(), TTL, data));
                    }
                }
            },
        }
        let room = request.edns.as_ref().map_or(PLAIN_UDP, |e| usize::from(e.max_payload()));
        if request.edns.is_some() {
            response.set_edns(Edns::new());
        }
        let octets = response.to_vec().ok()?;
        if udp && octets.len() > room.max(PLAIN_UDP) {
            let mut short = response.truncate();
            short.metadata.truncation = true;
            return short.to_vec().ok();
        }
        Some(octets)
    }
}

fn text_of(name: &Name) -> String {
    let labels: Vec<String> =
        name.iter().map(|label| label.iter().map(|&octet| char::from(octet)).collect()).collect();
    labels.join(".")
}

fn name_of(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    Name::from_labels(text.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).ok()
}

fn data_of(record: Record) -> Option<RData> {
    Some(match record {
        Record::A(ip) => RData::A(A(ip)),
        Record::Aaaa(ip) => RData::AAAA(AAAA(ip)),
        Record::Mx { preference, exchange } => RData::MX(MX::new(preference, name_of(&exchange)?)),
        Record::Ptr(host) => RData::PTR(PTR(name_of(&host)?)),
        Record::Txt(text) => {
            let octets: Vec<u8> = text.chars().map(|c| c as u8).collect();
            let strings =
                if octets.is_empty() { vec![&[][..]] } else { octets.chunks(255).collect() };
            RData::TXT(TXT::from_bytes(strings))
        }
    })
}
