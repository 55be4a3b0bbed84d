//! The RFC 7208 test suite as a scoreboard: in memory, and over real DNS on loopback.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::{net::IpAddr, time::Duration};

use frontdesk_smtp::{
    auth::{
        dns::{DnsConfig, Lookup, Recorder, Resolver},
        spf::{Spf, SpfQuery, SpfResult, check_host},
    },
    testing::dns::{Fault, TestDns, Zone},
};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_yaml_ng::Value;

const SUITE: &str = include_str!("rfc7208/rfc7208-tests.yml");
/// Cases in the suite, and those that must pass. Never lower the second number.
const CASES: usize = 203;
const RECORDED: usize = 203;

struct Scenario {
    zone: Zone,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    helo: String,
    host: IpAddr,
    mail_from: String,
    results: Vec<String>,
    explanation: Option<String>,
}

#[tokio::test]
async fn the_rfc_7208_suite_passes_in_memory() {
    let mut score = Score::default();
    for scenario in scenarios() {
        for case in &scenario.cases {
            score.add(case, &check(&scenario.zone, case).await);
        }
    }
    score.judge("in memory");
}

#[tokio::test]
async fn the_rfc_7208_suite_passes_over_dns() {
    let server = TestDns::start(Zone::new()).await.unwrap();
    let config = DnsConfig {
        servers: vec![server.addr()],
        // The server answers at once; time-outs of the suite are given as SERVFAIL.
        query_timeout: Duration::from_secs(20),
        retries: 0,
        ..DnsConfig::default()
    };
    let mut score = Score::default();
    for scenario in scenarios() {
        server.set_zone(scenario.zone);
        // Scenarios contradict each other, so each starts with an empty cache.
        let resolver = Resolver::new(&config).unwrap();
        for case in &scenario.cases {
            let recorder = Recorder::new(&resolver, Timestamp::UNIX_EPOCH);
            score.add(case, &check(&recorder, case).await);
        }
    }
    score.judge("over DNS");
}

async fn check(dns: &impl Lookup, case: &Case) -> Spf {
    let sender = if case.mail_from.is_empty() {
        format!("postmaster@{}", case.helo)
    } else {
        case.mail_from.clone()
    };
    let domain = sender.rsplit_once('@').map_or(sender.as_str(), |(_, domain)| domain);
    let query = SpfQuery {
        ip: case.host,
        domain,
        sender: &sender,
        helo: &case.helo,
        receiver: "unknown",
        now: Timestamp::UNIX_EPOCH,
    };
    check_host(dns, query).await
}

#[derive(Default)]
struct Score {
    passed: usize,
    failures: Vec<String>,
    wrong_passes: Vec<String>,
}

impl Score {
    fn add(&mut self, case: &Case, spf: &Spf) {
        let result = spf.result.as_str();
        let explanation = spf.explanation.as_deref().unwrap_or("DEFAULT");
        let as_expected = case.results.iter().any(|expected| expected == result);
        let explained = case.explanation.as_deref().is_none_or(|expected| expected == explanation);
        if as_expected && explained {
            self.passed += 1;
        } else {
            self.failures.push(format!(
                "{}: {result} ({explanation}, {:?}) instead of {:?} ({:?})",
                case.name, spf.reason, case.results, case.explanation
            ));
        }
        if spf.result == SpfResult::Pass && !case.results.iter().any(|r| r == "pass") {
            self.wrong_passes.push(case.name.clone());
        }
    }

    fn judge(&self, how: &str) {
        println!("SPF RFC 7208: passed {} of {CASES} ({how})", self.passed);
        assert_eq!(self.passed + self.failures.len(), CASES);
        assert!(self.wrong_passes.is_empty(), "must not pass: {:?}", self.wrong_passes);
        assert!(self.passed >= RECORDED, "fewer than {RECORDED}:\n{}", self.failures.join("\n"));
    }
}

fn scenarios() -> Vec<Scenario> {
    serde_yaml_ng::Deserializer::from_str(SUITE)
        .map(|document| Value::deserialize(document).unwrap())
        .map(|document| Scenario {
            zone: zone(&document["zonedata"]),
            cases: document["tests"].as_mapping().unwrap().iter().map(case).collect(),
        })
        .collect()
}

fn case((name, fields): (&Value, &Value)) -> Case {
    let text = |field: &str| fields[field].as_str().unwrap_or_default().to_owned();
    let results = match &fields["result"] {
        Value::Sequence(list) => list.iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    };
    Case {
        name: name.as_str().unwrap().to_owned(),
        helo: text("helo"),
        host: text("host").parse().unwrap(),
        mail_from: text("mailfrom"),
        results,
        explanation: fields["explanation"].as_str().map(str::to_owned),
    }
}

/// Record type SPF stands for TXT unless the name has a TXT entry, even one that says NONE.
fn zone(data: &Value) -> Zone {
    let mut zone = Zone::new();
    for (name, entries) in data.as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        let entries = entries.as_sequence().unwrap();
        let has_txt = entries.iter().any(|entry| !entry["TXT"].is_null());
        for entry in entries {
            if entry.as_str() == Some("TIMEOUT") {
                zone = zone.fault(name, Fault::ServFail);
                continue;
            }
            let (kind, value) = entry.as_mapping().unwrap().iter().next().unwrap();
            zone = match kind.as_str().unwrap() {
                _ if value.as_str() == Some("TIMEOUT") => zone.fault(name, Fault::ServFail),
                "TXT" if value.as_str() == Some("NONE") => zone,
                "TXT" => zone.txt_octets(name, &octets(value)),
                "SPF" if has_txt => zone,
                "SPF" => zone.txt_octets(name, &octets(value)),
                "A" | "AAAA" => zone.address(name, value.as_str().unwrap().parse().unwrap()),
                "MX" => {
                    let preference = value[0].as_u64().unwrap().try_into().unwrap();
                    zone.mx(name, preference, value[1].as_str().unwrap())
                }
                "PTR" => zone.record(
                    name,
                    frontdesk_smtp::auth::dns::Record::Ptr(value.as_str().unwrap().to_owned()),
                ),
                "CNAME" => zone.alias(name, value.as_str().unwrap()),
                other => panic!("record type {other}"),
            };
        }
    }
    zone
}

/// The strings of a TXT record, joined.
fn octets(value: &Value) -> Vec<u8> {
    match value {
        Value::Sequence(parts) => parts.iter().flat_map(octets).collect(),
        text => text.as_str().unwrap().as_bytes().to_vec(),
    }
}
