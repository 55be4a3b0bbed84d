//! Delivery to the world: the recipient's domain says where.
//!
//! `route` orders the hosts of a domain and their addresses, [`super::sts`] says what the domain's
//! MTA-STS policy asks for, and the shared client goes through the hosts.
//!
//! What always holds: nothing is sent to a domain with a null MX, to ourselves, or, unless allowed, to
//! an address outside the public network; under a policy that is enforced, nothing is sent to a host
//! that the policy does not name or whose certificate does not prove it.
//!
//! Left out: DANE, which needs a resolver that validates.

mod route;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use self::route::Route;
pub use self::route::is_public;
use super::client::{Client, Job, Manners};
use super::connection::{Hop, Security, Tls};
use super::schedule::seed;
use super::sts::{Mode, Policies, Policy, PolicyFetch};
use super::{Claimed, DataMark, Outcome, Spool, Transport};
use crate::auth::dns::{Lookup, RecordKind, Recorder, Resolver};

/// The port that mail servers listen on.
pub const PORT: u16 = 25;
/// Hosts of one domain that are looked at; their addresses are looked up.
const HOSTS: usize = 10;

/// What may be reached, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectConfig {
    /// The port that mail servers listen on: 25, but in tests.
    pub port: u16,
    /// Also reaches private, local and loopback addresses, for domains that live there.
    pub private_networks: bool,
    /// Uses IPv6 addresses. Off where the machine has none: each would cost a failing try.
    pub ipv6: bool,
}

impl Default for DirectConfig {
    fn default() -> Self {
        Self { port: PORT, private_networks: false, ipv6: true }
    }
}

/// Delivers each mail to a host of its recipient's domain.
pub struct Direct<F> {
    client: Client,
    config: DirectConfig,
    resolver: Resolver,
    policies: Arc<Policies<F>>,
}

impl<F: PolicyFetch> Direct<F> {
    /// Asks and connects nothing yet.
    pub fn new(
        config: DirectConfig,
        tls: Tls,
        manners: Manners,
        resolver: Resolver,
        policies: Arc<Policies<F>>,
    ) -> Self {
        Self { client: Client::new(tls, manners), config, resolver, policies }
    }

    /// The places to try, or why there are none.
    async fn hops(&self, domain: &str, seed: u64, now: Timestamp) -> Result<Vec<Hop>, Nowhere> {
        let hop = |host: &str, ip: IpAddr, security| Hop {
            host: host.to_owned(),
            address: SocketAddr::new(ip, self.config.port),
            security,
            login: None,
        };
        if let Some(ip) = literal(domain) {
            return if self.may_reach(ip) {
                Ok(vec![hop(&ip.to_string(), ip, Security::Opportunistic)])
            } else {
                Err(Nowhere::Never("5.4.4", format!("{ip} is not on the public network")))
            };
        }
        let dns = Recorder::new(&self.resolver, now);
        let mx = dns.lookup(domain, RecordKind::Mx).await;
        let hosts = match route::route(domain, &mx, &self.client.manners.hello, seed) {
            Route::Hosts(hosts) => hosts,
            Route::Null => {
                let why = format!("{domain} says that it takes no mail (null MX)");
                return Err(Nowhere::Never("5.1.10", why));
            }
            Route::NoDomain => {
                return Err(Nowhere::Never("5.1.2", format!("the domain {domain} does not exist")));
            }
            Route::Ourselves => {
                let why = format!(
                    "{domain} is delivered to this machine, which has no such domain; add it here or \
                     change its MX record"
                );
                return Err(Nowhere::Never("5.4.6", why));
            }
            Route::Unknown(why) => {
                return Err(Nowhere::Now(format!("the DNS does not say where {domain} is: {why}")));
            }
        };
        let policy = self.policies.policy(domain, &dns, now).await;
        let (hosts, security) = under(policy.as_ref(), domain, hosts)?;
        self.addresses(&dns, domain, &hosts, seed, |host, ip| hop(host, ip, security(host))).await
    }

    async fn addresses(
        &self,
        dns: &impl Lookup,
        domain: &str,
        hosts: &[String],
        seed: u64,
        hop: impl Fn(&str, IpAddr) -> Hop,
    ) -> Result<Vec<Hop>, Nowhere> {
        let (mut hops, mut unknown, mut unreachable) = (Vec::new(), None, None);
        for host in hosts.iter().take(HOSTS) {
            let v4 = dns.lookup(host, RecordKind::A).await;
            let mut found = (Vec::new(), Vec::new());
            let mut answers = vec![v4];
            if self.config.ipv6 {
                answers.push(dns.lookup(host, RecordKind::Aaaa).await);
            }
            for answer in &answers {
                if let Some(why) = answer.temp_error() {
                    unknown = Some(format!("{host}: {why}"));
                }
                for ip in answer.addresses() {
                    match ip {
                        ip if !self.may_reach(ip) => unreachable = Some(format!("{host}[{ip}]")),
                        IpAddr::V6(ip) => found.0.push(ip),
                        IpAddr::V4(ip) => found.1.push(ip),
                    }
                }
            }
            let addresses = route::in_turn(&found.0, &found.1, seed);
            hops.extend(addresses.into_iter().map(|ip| hop(host, ip)));
        }
        if !hops.is_empty() {
            return Ok(hops);
        }
        Err(match (unknown, unreachable) {
            (Some(why), _) => Nowhere::Now(format!("the DNS does not say where {why}")),
            (None, Some(host)) => Nowhere::Never(
                "5.4.4",
                format!("the mail server of {domain}, {host}, is not on the public network"),
            ),
            (None, None) => {
                Nowhere::Never("5.4.4", format!("the mail servers of {domain} have no address"))
            }
        })
    }

    fn may_reach(&self, ip: IpAddr) -> bool {
        self.config.private_networks || route::is_public(ip)
    }
}

/// Why there is nowhere to go.
#[derive(Debug, PartialEq, Eq)]
enum Nowhere {
    /// Not now.
    Now(String),
    /// Never, with the enhanced status code for it (RFC 3463).
    Never(&'static str, String),
}

/// The hosts that may be used under a domain's policy, and how safely.
fn under(
    policy: Option<&Policy>,
    domain: &str,
    mut hosts: Vec<String>,
) -> Result<(Vec<String>, impl Fn(&str) -> Security), Nowhere> {
    let mode = policy.map(|policy| policy.mode);
    if let (Some(policy), Some(Mode::Enforce)) = (policy, mode) {
        hosts.retain(|host| policy.names(host));
        if hosts.is_empty() {
            metrics::counter!("deliveries_sts_refused_total").increment(1);
            // RFC 8461 section 5.1: not for good, because the policy may be replaced.
            return Err(Nowhere::Now(format!(
                "the MTA-STS policy of {domain} names none of its mail servers"
            )));
        }
    }
    let strict: Vec<String> = match policy {
        Some(policy) => hosts.iter().filter(|host| policy.names(host)).cloned().collect(),
        None => Vec::new(),
    };
    if mode == Some(Mode::Testing) && strict.len() < hosts.len() {
        tracing::warn!(domain, "an MTA-STS policy in testing does not name every mail server");
        metrics::counter!("deliveries_sts_testing_total").increment(1);
    }
    Ok((hosts, move |host: &str| match mode {
        Some(Mode::Enforce) => Security::StartTls,
        Some(Mode::Testing) if strict.iter().any(|known| known == host) => Security::Testing,
        _ => Security::Opportunistic,
    }))
}

/// The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3).
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    let inner = match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &inner[5..],
        _ => inner,
    };
    inner.parse().ok()
}

impl<F: PolicyFetch> Transport for Direct<F> {
    async fn deliver<S: Spool>(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        mark: &DataMark<'_, S>,
    ) -> Outcome {
        let reverse_path = delivery.reverse_path.as_ref();
        let job = Job { delivery, reverse_path, now, mark };
        let domain = delivery.recipient.domain();
        let Some(_place) = self.client.places.enter(domain).await else {
            return self.client.full(&job);
        };
        let seed = seed(&delivery.id, now.as_second().cast_unsigned());
        match self.hops(domain, seed, now).await {
            Ok(hops) => self.client.deliver(&hops, &job).await,
            Err(Nowhere::Now(why)) => self.client.later(&job, None, why),
            Err(Nowhere::Never(status, response)) => {
                Outcome::Bounced { status: Some(status.to_owned()), response }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_literals_are_addresses() {
        assert_eq!(literal("[192.0.2.1]"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(literal("[IPv6:2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(literal("192.0.2.1"), None);
        assert_eq!(literal("[there.example]"), None);
    }
}
