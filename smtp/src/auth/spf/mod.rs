//! SPF (RFC 7208): may this address send for this domain?
//!
//! The evaluator is pure over [`Lookup`], so that it runs against the live resolver, a recording, or
//! a zone in memory. What always holds: at most 10 terms that ask the DNS, 2 void lookups and 10
//! names for each `mx` and `ptr` (section 4.6.4); a record is checked whole before it is evaluated.
//! Left out: the SPF record type (section 3.1) and macros in the local policy.

mod macros;
mod record;

use std::{future::Future, net::IpAddr, pin::Pin};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::{
    macros::{MacroString, Place, Values},
    record::{Mechanism, Qualifier, Record},
};
use super::dns::{
    Answer, DnsAnswer, Lookup, Record as DnsRecord, RecordKind, is_domain_name, reverse_name,
};

/// Terms that ask the DNS (section 4.6.4).
const MAX_LOOKUPS: u8 = 10;
/// Lookups that find nothing (section 4.6.4).
const MAX_VOID: u8 = 2;
/// Names looked at for one `mx` or `ptr` (section 4.6.4).
const MAX_NAMES: usize = 10;
/// Longest explanation kept, in characters; it may be repeated in a reply.
const MAX_EXPLANATION: usize = 400;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct SpfQuery<'a> {
    /// Address of the peer.
    pub ip: IpAddr,
    /// The domain whose record is asked: of the reverse-path, or the HELO name.
    pub domain: &'a str,
    /// The sender for macros, `local@domain`; a missing local part is `postmaster` (section 4.3).
    pub sender: &'a str,
    /// The HELO name.
    pub helo: &'a str,
    /// Our own name, for `%{r}`.
    pub receiver: &'a str,
    /// The time for `%{t}`.
    pub now: Timestamp,
}

/// Results of section 2.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpfResult {
    /// No record, or no domain to ask.
    #[default]
    None,
    /// The domain says nothing about this address.
    Neutral,
    /// The address may send for the domain.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The DNS did not answer.
    TempError,
    /// The record is wrong.
    PermError,
}

impl SpfResult {
    /// The word of RFC 8601 section 2.7.2.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The outcome of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spf {
    /// The result.
    pub result: SpfResult,
    /// The domain checked, lower case.
    pub domain: String,
    /// The term that decided, as written in the record.
    pub mechanism: Option<String>,
    /// The domain's own words on a fail; untrusted text, printable ASCII.
    pub explanation: Option<String>,
    /// Why there was an error.
    pub reason: Option<String>,
}

/// Checks one identity.
pub async fn check_host(dns: &impl Lookup, query: SpfQuery<'_>) -> Spf {
    let domain = query.domain.strip_suffix('.').unwrap_or(query.domain);
    let mut spf = Spf { domain: domain.to_ascii_lowercase(), ..Spf::default() };
    // Section 4.3: not a name of at least two labels, nothing to check.
    if !is_domain_name(query.domain) || !domain.contains('.') || domain.starts_with('[') {
        return spf;
    }
    let (local_part, sender_domain) = query.sender.rsplit_once('@').unwrap_or(("", query.sender));
    let mut evaluation = Evaluation {
        dns,
        query: SpfQuery { ip: query.ip.to_canonical(), ..query },
        local_part: if local_part.is_empty() { "postmaster" } else { local_part },
        sender_domain: if sender_domain.is_empty() { domain } else { sender_domain },
        lookups: 0,
        voids: 0,
        validated_names: None,
    };
    match evaluation.check(domain.to_owned()).await {
        Ok(matched) => {
            if matched.result == SpfResult::Fail
                && let Some((explanation, domain)) = &matched.explanation
            {
                spf.explanation = evaluation.explain(explanation, domain).await;
            }
            spf.result = matched.result;
            spf.mechanism = matched.mechanism;
        }
        Err(Stop::Temp(reason)) => {
            spf.result = SpfResult::TempError;
            spf.reason = Some(reason);
        }
        Err(Stop::Perm(reason)) => {
            spf.result = SpfResult::PermError;
            spf.reason = Some(reason);
        }
    }
    spf
}

enum Stop {
    Temp(String),
    Perm(String),
}

struct Matched {
    result: SpfResult,
    mechanism: Option<String>,
    /// `exp` of the record that decided, and the domain it stood at.
    explanation: Option<(MacroString, String)>,
}

struct Evaluation<'a, L> {
    dns: &'a L,
    query: SpfQuery<'a>,
    local_part: &'a str,
    sender_domain: &'a str,
    lookups: u8,
    voids: u8,
    /// Names of the peer that resolve back to it (section 5.5), asked for once.
    validated_names: Option<Vec<String>>,
}

impl<L: Lookup> Evaluation<'_, L> {
    /// `check_host` of section 4 for the first domain and each `include`; boxed as it calls itself.
    fn check<'s>(
        &'s mut self,
        domain: String,
    ) -> Pin<Box<dyn Future<Output = Result<Matched, Stop>> + Send + 's>> {
        Box::pin(async move {
            let mut domain = domain;
            let mut redirected = false;
            loop {
                let Some(record) = self.fetch(&domain).await? else {
                    if redirected {
                        return Err(Stop::Perm(format!(
                            "redirect to {domain}, which has no record"
                        )));
                    }
                    let result = SpfResult::None;
                    return Ok(Matched { result, mechanism: None, explanation: None });
                };
                for directive in &record.directives {
                    if self.matches(&directive.mechanism, &domain).await? {
                        let result = match directive.qualifier {
                            Qualifier::Pass => SpfResult::Pass,
                            Qualifier::Fail => SpfResult::Fail,
                            Qualifier::SoftFail => SpfResult::SoftFail,
                            Qualifier::Neutral => SpfResult::Neutral,
                        };
                        let explanation = record.explanation.map(|exp| (exp, domain));
                        let mechanism = Some(directive.text.clone());
                        return Ok(Matched { result, mechanism, explanation });
                    }
                }
                let Some(redirect) = record.redirect else {
                    let result = SpfResult::Neutral;
                    return Ok(Matched { result, mechanism: None, explanation: None });
                };
                self.count_lookup()?;
                domain = self.expand(&redirect, &domain).await;
                redirected = true;
            }
        })
    }

    async fn fetch(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        if !is_domain_name(domain) {
            return Ok(None);
        }
        let answer = self.dns.lookup(domain, RecordKind::Txt).await;
        if let Some(reason) = answer.temp_error() {
            return Err(Stop::Temp(format!("TXT {domain}: {reason}")));
        }
        let mut records = answer.texts().filter(|text| record::is_spf(text));
        let Some(text) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(Stop::Perm(format!("{domain} has several SPF records")));
        }
        let record =
            Record::parse(text).map_err(|error| Stop::Perm(format!("{domain}: {error}")))?;
        Ok(Some(record))
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4 { network, length } => {
                Ok(in_network(self.query.ip, IpAddr::V4(*network), *length))
            }
            Mechanism::Ip6 { network, length } => {
                Ok(in_network(self.query.ip, IpAddr::V6(*network), *length))
            }
            Mechanism::Include(target) => {
                self.count_lookup()?;
                let target = self.expand(target, domain).await;
                match self.check(target.clone()).await?.result {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    _ => Err(Stop::Perm(format!("include of {target}, which has no record"))),
                }
            }
            Mechanism::A { target, prefix } => {
                self.count_lookup()?;
                let target = self.target(target.as_ref(), domain).await;
                let length = self.length(prefix.v4, prefix.v6);
                self.address_matches(&target, length).await
            }
            Mechanism::Mx { target, prefix } => {
                self.count_lookup()?;
                let target = self.target(target.as_ref(), domain).await;
                let length = self.length(prefix.v4, prefix.v6);
                let answer = self.ask(&target, RecordKind::Mx).await?;
                for (index, record) in answer.records().iter().enumerate() {
                    if index == MAX_NAMES {
                        return Err(Stop::Perm(format!("{target} has more than {MAX_NAMES} MX")));
                    }
                    let DnsRecord::Mx { exchange, .. } = record else { continue };
                    if self.address_matches(exchange, length).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr { target } => {
                self.count_lookup()?;
                let target = self.target(target.as_ref(), domain).await;
                let names = self.validated_names().await;
                Ok(names.iter().any(|name| is_same_or_below(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count_lookup()?;
                let target = self.expand(target, domain).await;
                // Section 5.7: A, whatever the family of the connection.
                let answer = self.ask(&target, RecordKind::A).await?;
                Ok(matches!(answer.answer, Answer::Records { .. }))
            }
        }
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > MAX_LOOKUPS {
            return Err(Stop::Perm(format!("more than {MAX_LOOKUPS} terms ask the DNS")));
        }
        Ok(())
    }

    fn length(&self, v4: u8, v6: u8) -> u8 {
        if self.query.ip.is_ipv4() { v4 } else { v6 }
    }

    /// One lookup of a term; counts those that find nothing.
    async fn ask(
        &mut self,
        name: &str,
        kind: RecordKind,
    ) -> Result<std::sync::Arc<DnsAnswer>, Stop> {
        let answer = self.dns.lookup(name, kind).await;
        match &answer.answer {
            Answer::Records { .. } => {}
            Answer::TempError(reason) => return Err(Stop::Temp(format!("{name}: {reason}"))),
            Answer::NoData | Answer::NxDomain => {
                self.voids += 1;
                if self.voids > MAX_VOID {
                    return Err(Stop::Perm(format!("more than {MAX_VOID} lookups find nothing")));
                }
            }
        }
        Ok(answer)
    }

    async fn address_matches(&mut self, name: &str, length: u8) -> Result<bool, Stop> {
        let kind = address_kind(self.query.ip);
        let answer = self.ask(name, kind).await?;
        Ok(answer.addresses().any(|address| in_network(self.query.ip, address, length)))
    }

    async fn target(&mut self, target: Option<&MacroString>, domain: &str) -> String {
        match target {
            Some(target) => self.expand(target, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&mut self, text: &MacroString, domain: &str) -> String {
        let validated_name = self.validated_name(text, domain).await;
        text.expand_name(&self.values(domain, &validated_name))
    }

    fn values<'v>(&'v self, domain: &'v str, validated_name: &'v str) -> Values<'v> {
        Values {
            ip: self.query.ip,
            local_part: self.local_part,
            sender_domain: self.sender_domain,
            domain,
            helo: self.query.helo,
            receiver: self.query.receiver,
            now: self.query.now,
            validated_name,
        }
    }

    /// `%{p}`: the domain itself if it is a validated name, else one below it, else any (section 7.3).
    async fn validated_name(&mut self, text: &MacroString, domain: &str) -> String {
        if !text.needs_validated_name() {
            return String::new();
        }
        let names = self.validated_names().await;
        names
            .iter()
            .find(|name| name.eq_ignore_ascii_case(domain))
            .or_else(|| names.iter().find(|name| is_same_or_below(name, domain)))
            .or_else(|| names.first())
            .map_or_else(|| "unknown".to_owned(), String::clone)
    }

    /// Names that the peer's PTR records give and whose addresses include it (section 5.5). A DNS
    /// error means no name, never an error of the check.
    async fn validated_names(&mut self) -> &[String] {
        if self.validated_names.is_none() {
            let ip = self.query.ip;
            let reverse = self.dns.lookup(&reverse_name(ip), RecordKind::Ptr).await;
            let mut names = Vec::new();
            for record in reverse.records().iter().take(MAX_NAMES) {
                let DnsRecord::Ptr(name) = record else { continue };
                let forward = self.dns.lookup(name, address_kind(ip)).await;
                if forward.addresses().any(|address| address == ip) {
                    names.push(name.clone());
                }
            }
            self.validated_names = Some(names);
        }
        self.validated_names.as_deref().unwrap_or_default()
    }

    /// The text behind `exp` (section 6.2). Any problem means no explanation.
    async fn explain(&mut self, target: &MacroString, domain: &str) -> Option<String> {
        let name = self.expand(target, domain).await;
        let answer = self.dns.lookup(&name, RecordKind::Txt).await;
        let Answer::Records { records, omitted: 0 } = &answer.answer else { return None };
        let [DnsRecord::Txt(text)] = records.as_slice() else { return None };
        let text = MacroString::parse(text, Place::Explanation)?;
        let validated_name = self.validated_name(&text, domain).await;
        let text = text.expand(&self.values(domain, &validated_name));
        let plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        (plain && text.len() <= MAX_EXPLANATION).then_some(text)
    }
}

fn address_kind(ip: IpAddr) -> RecordKind {
    if ip.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa }
}

fn in_network(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            (ip.to_bits() ^ network.to_bits()) & mask == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            (ip.to_bits() ^ network.to_bits()) & mask == 0
        }
        _ => false,
    }
}

fn is_same_or_below(name: &str, domain: &str) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else { return false };
    let Some((above, tail)) = name.split_at_checked(start) else { return false };
    tail.eq_ignore_ascii_case(domain) && (above.is_empty() || above.ends_with('.'))
}
