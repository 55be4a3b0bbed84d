//! iprev (RFC 8601 section 3): does a name of the peer's address lead back to it?
//!
//! Evidence for people, never a ground to refuse.

use std::net::IpAddr;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::dns::{Answer, Lookup, Record, RecordKind, reverse_name};

/// PTR names confirmed; more than a few on one address is a misconfiguration.
const MAX_NAMES: usize = 4;

/// Results of RFC 8601 section 2.7.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IprevResult {
    /// A name leads back to the address.
    Pass,
    /// There are names, and none leads back.
    Fail,
    /// The DNS did not answer.
    TempError,
    /// The address has no name.
    #[default]
    PermError,
}

impl IprevResult {
    /// The word of RFC 8601.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iprev {
    /// The result.
    pub result: IprevResult,
    /// The name that leads back, or else the first one found.
    pub name: Option<String>,
}

/// Looks up the names of `ip` and their addresses.
pub(super) async fn check(dns: &impl Lookup, ip: IpAddr) -> Iprev {
    let ip = ip.to_canonical();
    let reverse = dns.lookup(&reverse_name(ip), RecordKind::Ptr).await;
    if matches!(reverse.answer, Answer::TempError(_)) {
        return Iprev { result: IprevResult::TempError, name: None };
    }
    let names: Vec<&str> = reverse
        .records()
        .iter()
        .filter_map(|record| match record {
            Record::Ptr(name) => Some(name.as_str()),
            _ => None,
        })
        .take(MAX_NAMES)
        .collect();
    let Some(first) = names.first() else { return Iprev::default() };
    let kind = if ip.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa };
    let answers = join_all(names.iter().map(|name| dns.lookup(name, kind))).await;
    let mut failed = false;
    for (name, answer) in names.iter().zip(&answers) {
        if answer.addresses().any(|address| address == ip) {
            return Iprev { result: IprevResult::Pass, name: Some((*name).to_owned()) };
        }
        failed |= answer.temp_error().is_some();
    }
    let result = if failed { IprevResult::TempError } else { IprevResult::Fail };
    Iprev { result, name: Some((*first).to_owned()) }
}
