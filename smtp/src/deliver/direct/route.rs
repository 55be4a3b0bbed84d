//! The hosts of a domain in the order to try them: RFC 5321 section 5 as functions of DNS answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::auth::dns::{Answer, DnsAnswer, Record, is_domain_name};

/// Where mail for a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To these hosts, in this order.
    Hosts(Vec<String>),
    /// Nowhere: the domain says so (RFC 7505).
    Null,
    /// Nowhere: the domain does not exist.
    NoDomain,
    /// Back to us: we are its best host, or everything better has been left out.
    Ourselves,
    /// Unknown for now.
    Unknown(String),
}

/// The hosts that the answer to a question for MX records names. Lower preferences come first, equal
/// ones in an order that depends on `seed`. Without MX records the domain is its own host. If `ours` is
/// among the hosts, it and those of no better preference are left out (RFC 5321 section 5.1).
#[must_use]
pub fn route(domain: &str, answer: &DnsAnswer, ours: &str, seed: u64) -> Route {
    let records = match &answer.answer {
        Answer::TempError(why) => return Route::Unknown(why.clone()),
        Answer::NxDomain => return Route::NoDomain,
        Answer::NoData => return Route::Hosts(vec![domain.to_owned()]),
        Answer::Records { records, .. } => records,
    };
    let named: Vec<(u16, &str)> = records
        .iter()
        .filter_map(|record| match record {
            Record::Mx { preference, exchange } => Some((*preference, exchange.as_str())),
            _ => None,
        })
        .collect();
    // RFC 7505 section 3: alone, and the root. Beside others it means nothing.
    if let [(_, "" | ".")] = named.as_slice() {
        return Route::Null;
    }
    let own = named.iter().filter(|(_, host)| host.eq_ignore_ascii_case(ours));
    let own = own.map(|(preference, _)| *preference).min();
    let mut hosts: Vec<(u16, u64, &str)> = named
        .iter()
        .filter(|(preference, _)| own.is_none_or(|own| *preference < own))
        .filter(|(_, host)| is_domain_name(host) && host.parse::<IpAddr>().is_err())
        .enumerate()
        .map(|(at, (preference, host))| (*preference, mix(seed, at), *host))
        .collect();
    if hosts.is_empty() {
        return match own {
            Some(_) => Route::Ourselves,
            None => Route::Unknown("its MX records name no host".to_owned()),
        };
    }
    hosts.sort();
    let mut names: Vec<String> = Vec::with_capacity(hosts.len());
    for (_, _, host) in hosts {
        if !names.iter().any(|known| known == host) {
            names.push(host.to_owned());
        }
    }
    Route::Hosts(names)
}

/// The addresses of one host in the order to try them: each family in an order that depends on `seed`,
/// IPv6 and IPv4 in turn (RFC 8305 section 4), so that a broken family costs one try.
#[must_use]
pub fn in_turn(v6: &[Ipv6Addr], v4: &[Ipv4Addr], seed: u64) -> Vec<IpAddr> {
    fn shuffled<A: Copy>(addresses: &[A], seed: u64) -> Vec<A> {
        let mut order: Vec<(u64, A)> =
            addresses.iter().enumerate().map(|(at, address)| (mix(seed, at), *address)).collect();
        order.sort_by_key(|(key, _)| *key);
        order.into_iter().map(|(_, address)| address).collect()
    }
    let (v6, v4) = (shuffled(v6, seed), shuffled(v4, seed));
    let mut turns = Vec::with_capacity(v6.len() + v4.len());
    for at in 0..v6.len().max(v4.len()) {
        turns.extend(v6.get(at).map(|ip| IpAddr::V6(*ip)));
        turns.extend(v4.get(at).map(|ip| IpAddr::V4(*ip)));
    }
    turns
}

/// Whether an address belongs to the public network: mail for a domain of strangers must not reach
/// machines of our own network because their DNS says so.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || a == 0
                // RFC 6598, carriers' own; RFC 1112 section 4, reserved.
                || (a == 100 && b & 0xc0 == 64)
                || a >= 240)
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public(IpAddr::V4(ip)),
            // RFC 4291 section 2.4: 2000::/3 is all there is of global unicast.
            None => ip.segments()[0] & 0xe000 == 0x2000,
        },
    }
}

/// SplitMix64 over a seed and an index: an order, not a secret.
fn mix(seed: u64, at: usize) -> u64 {
    let mut z = seed.wrapping_add((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::dns::RecordKind;
    use jiff::Timestamp;

    fn answer(answer: Answer) -> DnsAnswer {
        let name = "there.example".to_owned();
        DnsAnswer { name, kind: RecordKind::Mx, answer, ttl: 60, at: Timestamp::UNIX_EPOCH }
    }

    fn mx(hosts: &[(u16, &str)]) -> DnsAnswer {
        let record = |(preference, host): &(u16, &str)| Record::Mx {
            preference: *preference,
            exchange: (*host).to_owned(),
        };
        answer(Answer::Records { records: hosts.iter().map(record).collect(), omitted: 0 })
    }

    fn hosts(answer: &DnsAnswer, seed: u64) -> Vec<String> {
        match route("there.example", answer, "us.example", seed) {
            Route::Hosts(hosts) => hosts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lower_preferences_come_first_and_equals_take_turns() {
        let answer =
            mx(&[(20, "c.example"), (10, "a.example"), (10, "b.example"), (30, "d.example")]);
        let mut first = std::collections::BTreeMap::<String, u32>::new();
        for seed in 0..200 {
            let hosts = hosts(&answer, seed);
            assert_eq!(hosts[2..], ["c.example", "d.example"]);
            *first.entry(hosts[0].clone()).or_default() += 1;
        }
        assert_eq!(first.keys().collect::<Vec<_>>(), ["a.example", "b.example"]);
        assert!(first.values().all(|count| *count > 60), "{first:?}");
    }

    #[test]
    fn a_domain_without_mx_is_its_own_host_and_one_that_is_not_there_has_none() {
        assert_eq!(hosts(&answer(Answer::NoData), 1), ["there.example"]);
        let route = |answer| route("there.example", &answer, "us.example", 1);
        assert_eq!(route(answer(Answer::NxDomain)), Route::NoDomain);
        let unknown = route(answer(Answer::TempError("SERVFAIL".into())));
        assert_eq!(unknown, Route::Unknown("SERVFAIL".into()));
    }

    #[test]
    fn null_mx_counts_alone_only() {
        assert_eq!(route("x", &mx(&[(0, "")]), "us", 1), Route::Null);
        assert_eq!(hosts(&mx(&[(0, ""), (10, "a.example")]), 1), ["a.example"]);
        // An address is no host name.
        assert!(matches!(route("x", &mx(&[(0, "192.0.2.1")]), "us", 1), Route::Unknown(_)));
    }

    #[test]
    fn mail_does_not_come_back_to_us() {
        let backup = mx(&[(10, "a.example"), (20, "us.example"), (30, "b.example")]);
        assert_eq!(hosts(&backup, 1), ["a.example"]);
        let best = mx(&[(10, "us.example"), (10, "b.example")]);
        assert_eq!(route("x", &best, "US.example", 1), Route::Ourselves);
    }

    #[test]
    fn families_take_turns() {
        let v6 = ["2001:db8::1".parse().unwrap()];
        let v4 = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let turns = in_turn(&v6, &v4, 3);
        assert_eq!(turns.len(), 3);
        assert!(turns[0].is_ipv6() && turns[1].is_ipv4() && turns[2].is_ipv4());
    }

    #[test]
    fn networks_of_our_own_are_not_public() {
        for public in ["8.8.8.8", "192.0.2.1", "2001:4860::1", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        let own = "127.0.0.1 10.1.1.1 172.16.0.1 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 \
                   224.0.0.1 255.255.255.255 240.0.0.1 ::1 :: fe80::1 fd00::1 ff02::1 \
                   ::ffff:127.0.0.1 64:ff9b::7f00:1";
        for own in own.split(' ') {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
    }
}
