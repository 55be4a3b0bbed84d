//! DNS for authentication: one resolver, and a record of every answer that a verdict rests on.
//!
//! What always holds: each question of one message is asked once, every answer is kept with its time
//! and TTL, and an evaluator cannot tell a live resolver from a recording. A verdict can therefore be
//! recomputed later from the stored answers alone. Left out: DNSSEC, and a cache of our own (the
//! resolver's serves all messages).

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest TXT record that is looked at, in octets. RFC 7208 section 3.4 asks for records that fit
/// 512 octets; a DKIM key of 8,192 bits needs about 1,400.
const MAX_TXT: usize = 4096;
/// Most records kept of one answer. More than any evaluator reads (RFC 7208 section 4.6.4 stops at 10).
const MAX_RECORDS: usize = 64;
/// Most questions asked for one message: SPF twice with every limit used up, keys, policies, iprev.
const MAX_QUESTIONS: usize = 400;
/// Entries of the shared cache; an entry of typical size takes about 500 octets.
const CACHE_ENTRIES: u64 = 16_384;
/// Longest an answer is believed, whatever its TTL says.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// Longest a missing name is believed to be missing (RFC 2308 section 5 suggests one to three hours).
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(3600);

/// Where and how long to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Addresses and ports of name servers, those of the system's configuration if there are none. The
    /// resolver asks the quickest first and goes on to others when it gets no answer.
    pub servers: Vec<SocketAddr>,
    /// Time for one try of one question.
    pub query_timeout: Duration,
    /// Tries beyond the first.
    pub retries: usize,
    /// Time for one SPF evaluation (RFC 7208 section 4.6.4: at least 20 s).
    pub spf_deadline: Duration,
    /// Time for each of DKIM keys, ARC keys, DMARC policy and iprev.
    pub step_deadline: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            query_timeout: Duration::from_secs(4),
            retries: 1,
            spf_deadline: Duration::from_secs(20),
            step_deadline: Duration::from_secs(15),
        }
    }
}

/// The record types that authentication asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Mail exchanger.
    Mx,
    /// Text.
    Txt,
    /// Reverse name.
    Ptr,
}

/// One record. Names are lower case without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// Mail exchanger.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// Host name.
        exchange: String,
    },
    /// The strings of one TXT record, joined; each octet is the character of the same number, so that
    /// nothing is lost and ASCII stays readable.
    Txt(String),
    /// Host name.
    Ptr(String),
}

/// What the DNS said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// At least one record of the type.
    Records {
        /// The records that were read.
        records: Vec<Record>,
        /// Records left out: too long, too many, or TXT records of no mail protocol.
        omitted: u32,
    },
    /// The name exists without records of the type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// No answer, or an answer that says to try later; the text says which.
    TempError(String),
}

/// One question of one message, with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// The name asked for, lower case, without a final dot.
    pub name: String,
    /// The type asked for.
    pub kind: RecordKind,
    /// What came back.
    pub answer: Answer,
    /// Seconds for which the answer was still valid.
    pub ttl: u32,
    /// When it was used.
    pub at: Timestamp,
}

impl DnsAnswer {
    /// The records; empty for every negative answer.
    pub fn records(&self) -> &[Record] {
        match &self.answer {
            Answer::Records { records, .. } => records,
            _ => &[],
        }
    }

    /// The TXT records as text of octets.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.records().iter().filter_map(|record| match record {
            Record::Txt(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records().iter().filter_map(|record| match record {
            Record::A(ip) => Some(IpAddr::V4(*ip)),
            Record::Aaaa(ip) => Some(IpAddr::V6(*ip)),
            _ => None,
        })
    }

    /// Why there is no answer, if there is none.
    pub fn temp_error(&self) -> Option<&str> {
        match &self.answer {
            Answer::TempError(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Anything that answers DNS questions: the recorder over a resolver, a recording, a zone in a test.
pub trait Lookup: Sync {
    /// Answers one question. Never fails: failure is an answer.
    fn lookup(&self, name: &str, kind: RecordKind) -> impl Future<Output = Arc<DnsAnswer>> + Send;
}

/// Whether `name` can be asked for at all (RFC 1035 section 2.3.4): labels of 1 to 63 octets, 253 in
/// all. A final dot is allowed.
pub fn is_domain_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// The name under which the PTR records of `ip` are found (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let mut name = String::with_capacity(72);
            for octet in ip.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    name.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                    name.push('.');
                }
            }
            name.push_str("ip6.arpa");
            name
        }
    }
}

/// The resolver shared by all messages.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
}

impl Resolver {
    /// Builds a resolver. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// If no servers are given and the system's configuration cannot be read.
    pub fn new(config: &DnsConfig) -> Result<Self, super::Error> {
        let builder = if config.servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let servers = config.servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let mut builder = builder.map_err(|error| super::Error::Resolver(error.to_string()))?;
        let options = builder.options_mut();
        options.timeout = config.query_timeout;
        options.attempts = config.retries;
        options.cache_size = CACHE_ENTRIES;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        // A line in /etc/hosts says nothing about who sent a mail.
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = false;
        options.edns0 = true;
        let inner = builder.build().map_err(|error| super::Error::Resolver(error.to_string()))?;
        Ok(Self { inner })
    }

    /// The underlying resolver, for other users of the same cache.
    pub fn tokio_resolver(&self) -> &TokioResolver {
        &self.inner
    }

    async fn ask(&self, name: &str, kind: RecordKind) -> (Answer, u32) {
        let labels = name.split('.').map(str::as_bytes);
        let Ok(query) = Name::from_labels(labels) else {
            return (Answer::NxDomain, 0);
        };
        match self.inner.lookup(query, record_type(kind)).await {
            Ok(lookup) => {
                let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
                let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
                let records = lookup.answers().iter().map(|record| &record.data);
                (answer(name, kind, records), ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let ttl = none.negative_ttl.unwrap_or(0);
                match none.response_code {
                    ResponseCode::NXDomain => (Answer::NxDomain, ttl),
                    ResponseCode::NoError => (Answer::NoData, ttl),
                    code => (Answer::TempError(format!("response code {code}")), 0),
                }
            }
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                (Answer::TempError(format!("response code {code}")), 0)
            }
            Err(NetError::Timeout) => (Answer::TempError("no answer in time".into()), 0),
            Err(_) => (Answer::TempError("the name server cannot be reached".into()), 0),
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// The questions of one message: asks each once and keeps the answers.
pub struct Recorder<'a> {
    resolver: &'a Resolver,
    now: Timestamp,
    answers: Mutex<Vec<Arc<DnsAnswer>>>,
}

impl<'a> Recorder<'a> {
    /// A recorder with nothing asked yet; `now` is the time that answers are stored with.
    pub fn new(resolver: &'a Resolver, now: Timestamp) -> Self {
        Self { resolver, now, answers: Mutex::new(Vec::with_capacity(12)) }
    }

    /// Everything asked so far, in the order of the answers.
    pub fn finish(self) -> Vec<DnsAnswer> {
        let answers = self.answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        answers.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Arc<DnsAnswer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup for Recorder<'_> {
    async fn lookup(&self, name: &str, kind: RecordKind) -> Arc<DnsAnswer> {
        let name = canonical(name);
        {
            let answers = self.answers();
            if let Some(known) = find(&answers, &name, kind) {
                return known;
            }
            if answers.len() >= MAX_QUESTIONS {
                let answer = Answer::TempError("too many questions for one message".into());
                return Arc::new(DnsAnswer { name, kind, answer, ttl: 0, at: self.now });
            }
        }
        let (answer, ttl) = if is_domain_name(&name) {
            self.resolver.ask(&name, kind).await
        } else {
            (Answer::NxDomain, 0)
        };
        let mut answers = self.answers();
        // The same question may have been asked at the same moment by another step.
        if let Some(known) = find(&answers, &name, kind) {
            return known;
        }
        let answer = Arc::new(DnsAnswer { name, kind, answer, ttl, at: self.now });
        answers.push(Arc::clone(&answer));
        answer
    }
}

/// Answers from a recording; a question that was not recorded is a temporary failure.
pub struct Replay {
    answers: Vec<Arc<DnsAnswer>>,
}

impl Replay {
    /// Replays `answers`.
    pub fn new(answers: &[DnsAnswer]) -> Self {
        Self { answers: answers.iter().cloned().map(Arc::new).collect() }
    }
}

impl Lookup for Replay {
    async fn lookup(&self, name: &str, kind: RecordKind) -> Arc<DnsAnswer> {
        let name = canonical(name);
        find(&self.answers, &name, kind).unwrap_or_else(|| {
            let answer = Answer::TempError("not recorded".into());
            Arc::new(DnsAnswer { name, kind, answer, ttl: 0, at: Timestamp::UNIX_EPOCH })
        })
    }
}

fn find(answers: &[Arc<DnsAnswer>], name: &str, kind: RecordKind) -> Option<Arc<DnsAnswer>> {
    answers.iter().find(|known| known.kind == kind && known.name == name).map(Arc::clone)
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn record_type(kind: RecordKind) -> RecordType {
    match kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
        RecordKind::Mx => RecordType::MX,
        RecordKind::Txt => RecordType::TXT,
        RecordKind::Ptr => RecordType::PTR,
    }
}

fn answer<'r>(name: &str, kind: RecordKind, data: impl Iterator<Item = &'r RData>) -> Answer {
    let mut records = Vec::new();
    let mut omitted = 0;
    for data in data {
        let record = match (kind, data) {
            (RecordKind::A, RData::A(ip)) => Record::A(ip.0),
            (RecordKind::Aaaa, RData::AAAA(ip)) => Record::Aaaa(ip.0),
            (RecordKind::Mx, RData::MX(mx)) => {
                Record::Mx { preference: mx.preference, exchange: host_name(&mx.exchange) }
            }
            (RecordKind::Ptr, RData::PTR(ptr)) => Record::Ptr(host_name(&ptr.0)),
            (RecordKind::Txt, RData::TXT(txt)) => {
                let length: usize = txt.txt_data.iter().map(|part| part.len()).sum();
                if length > MAX_TXT {
                    omitted += 1;
                    continue;
                }
                Record::Txt(txt.txt_data.iter().flatten().map(|&octet| char::from(octet)).collect())
            }
            _ => continue,
        };
        if records.len() == MAX_RECORDS {
            omitted += 1;
        } else {
            records.push(record);
        }
    }
    // Large domains keep dozens of site verifications beside their SPF record: they prove nothing
    // about a mail and would be stored with every message. Keys may lack a version, so those stay.
    if kind == RecordKind::Txt && records.len() > 1 && !name.contains("._domainkey.") {
        let before = records.len();
        records.retain(|record| match record {
            Record::Txt(text) => text.get(..2).is_some_and(|v| v.eq_ignore_ascii_case("v=")),
            _ => true,
        });
        omitted += u32::try_from(before - records.len()).unwrap_or(u32::MAX);
    }
    if records.is_empty() && omitted == 0 {
        return Answer::NoData;
    }
    Answer::Records { records, omitted }
}

/// The labels as they are, without the escapes of presentation format, so that the name can be asked
/// for again.
fn host_name(name: &Name) -> String {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|octet| char::from(octet.to_ascii_lowercase())));
    }
    text
}
