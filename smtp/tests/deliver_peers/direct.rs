//! The recipient's domain says where: several mail servers on loopback addresses, behind a DNS server
//! of the tests' own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use frontdesk_smtp::auth::dns::{DnsConfig, Resolver};
use frontdesk_smtp::deliver::sts::{Policies, PolicyFetch};
use frontdesk_smtp::deliver::{
    Direct, DirectConfig, Limits, Manners, MemorySpool, Options, Outcome, Schedule, State, Tls,
    VirtualClock, run,
};
use frontdesk_smtp::testing::dns::{Fault, TestDns, Zone};
use jiff::SignedDuration;
use tokio::sync::oneshot;

use super::peer::{Act, Encrypts, Peer, Script};
use super::{MESSAGE, addr, after, certificate, deferred, manners, send, start, trusting};

const TO: &str = "ann@there.example";

/// For domains without a policy.
pub struct NoPolicies;

impl PolicyFetch for NoPolicies {
    async fn fetch(&self, domain: &str) -> Result<String, String> {
        panic!("{domain} announces no policy")
    }
}

/// Peers on the same port of several addresses.
pub async fn peers<const N: usize>(scripts: [(&str, Script); N]) -> [Peer; N] {
    for _ in 0..50 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut started = Vec::new();
        for (ip, script) in &scripts {
            if let Ok(peer) = Peer::at(&format!("{ip}:{port}"), script.clone()).await {
                started.push(peer);
            }
        }
        if let Ok(all) = <[Peer; N]>::try_from(started) {
            return all;
        }
    }
    panic!("no port is free on all addresses");
}

pub fn resolver(dns: &TestDns) -> Resolver {
    let config = DnsConfig { servers: vec![dns.addr()], retries: 0, ..DnsConfig::default() };
    Resolver::new(&config).unwrap()
}

pub fn direct<F: PolicyFetch>(
    dns: &TestDns,
    port: u16,
    tls: Tls,
    policies: Policies<F>,
    manners: Manners,
) -> Direct<F> {
    let config = DirectConfig { port, private_networks: true, ipv6: true };
    Direct::new(config, tls, manners, resolver(dns), Arc::new(policies))
}

fn simple(dns: &TestDns, port: u16) -> Direct<NoPolicies> {
    direct(dns, port, trusting(&[]), Policies::new(NoPolicies), manners())
}

/// `there.example` with these hosts: preference, name, address.
pub fn zone(hosts: &[(u16, &str, &str)]) -> Zone {
    hosts.iter().fold(Zone::new(), |zone, (preference, name, ip)| {
        zone.mx("there.example", *preference, name).address(name, ip.parse::<IpAddr>().unwrap())
    })
}

fn sent() -> Outcome {
    Outcome::Sent { response: "250 2.0.0 queued as 7".to_owned() }
}

#[tokio::test]
async fn the_preferred_host_gets_the_mail_and_the_next_one_if_it_cannot() {
    let busy = Script::new().once("GREETING", Act::SayAndClose("421 busy"));
    let [first, second] = peers([("127.0.0.2", Script::new()), ("127.0.0.3", busy)]).await;
    let dns = TestDns::start(zone(&[
        (20, "b.there.example", "127.0.0.3"),
        (10, "a.there.example", "127.0.0.2"),
    ]))
    .await
    .unwrap();
    let mail = simple(&dns, first.address.port());
    for _ in 0..5 {
        assert_eq!(send(&mail, TO, start()).await, sent());
    }
    assert_eq!((first.seen.arrived().len(), second.seen.connections()), (5, 0));

    dns.set_zone(zone(&[
        (10, "b.other.example", "127.0.0.3"),
        (20, "a.other.example", "127.0.0.2"),
    ]));
    let mail = simple(&dns, first.address.port());
    assert_eq!(send(&mail, TO, start()).await, sent());
    assert_eq!((first.seen.arrived().len(), second.seen.connections()), (6, 1));
}

#[tokio::test]
async fn equal_hosts_share_the_mail() {
    let scripts = [("127.0.0.2", Script::new()), ("127.0.0.3", Script::new())];
    let [first, second] = peers(scripts).await;
    let hosts = [(10, "a.there.example", "127.0.0.2"), (10, "b.there.example", "127.0.0.3")];
    let dns = TestDns::start(zone(&hosts)).await.unwrap();
    let mail = simple(&dns, first.address.port());
    for second in 0..40 {
        assert_eq!(send(&mail, TO, after(second)).await, sent());
    }
    let shares = [first.seen.arrived().len(), second.seen.arrived().len()];
    assert!(shares.iter().all(|share| *share >= 8), "{shares:?}");
}

#[tokio::test]
async fn a_dead_host_is_not_tried_by_every_mail() {
    let dead = Script::new().always("GREETING", Act::SayAndClose("554 5.3.2 never again"));
    let [dead, good] = peers([("127.0.0.2", dead), ("127.0.0.3", Script::new())]).await;
    // The very first is not even listening.
    let hosts = [
        (5, "gone.there.example", "127.0.0.4"),
        (10, "dead.there.example", "127.0.0.2"),
        (20, "good.there.example", "127.0.0.3"),
    ];
    let dns = TestDns::start(zone(&hosts)).await.unwrap();
    let mail = simple(&dns, good.address.port());
    for second in 0..10 {
        assert_eq!(send(&mail, TO, after(second)).await, sent());
    }
    assert_eq!(dead.seen.connections(), 1);
    // After its time one mail asks again for all.
    for second in 60..70 {
        assert_eq!(send(&mail, TO, after(second)).await, sent());
    }
    assert_eq!(dead.seen.connections(), 2);

    drop((dead, good));
    let mail = simple(&dns, 9);
    let outcome = send(&mail, TO, start()).await;
    assert!(deferred(&outcome).contains("gone.there.example[127.0.0.4] when connecting"));
    let outcome = send(&mail, TO, after(1)).await;
    assert!(deferred(&outcome).contains("not tried, because a short time ago"), "{outcome:?}");
}

#[tokio::test]
async fn domains_that_take_no_mail_are_told_apart_from_those_that_cannot_now() {
    let never = |status: &str, words: &str, outcome: Outcome| match outcome {
        Outcome::Bounced { status: Some(code), response } => {
            assert_eq!(code, status);
            assert!(response.contains(words), "{response}");
        }
        other => panic!("{other:?}"),
    };
    let zone = Zone::new()
        .mx("null.example", 0, ".")
        .mx("ours.example", 10, "desk.example")
        .mx("homeless.example", 10, "mx.homeless.example")
        .a("mx.homeless.example", "127.0.0.1".parse().unwrap())
        .mx("nowhere.example", 10, "mx.nowhere.example")
        .fault("broken.example", Fault::ServFail)
        .mx("half.example", 10, "mx.half.example")
        .fault("mx.half.example", Fault::ServFail);
    let dns = TestDns::start(zone).await.unwrap();
    let mail = simple(&dns, 9);
    never("5.1.10", "null MX", send(&mail, "a@null.example", start()).await);
    never("5.1.2", "does not exist", send(&mail, "a@missing.example", start()).await);
    never("5.4.6", "this machine", send(&mail, "a@ours.example", start()).await);
    never("5.4.4", "have no address", send(&mail, "a@nowhere.example", start()).await);
    for domain in ["broken.example", "half.example"] {
        let outcome = send(&mail, &format!("a@{domain}"), start()).await;
        assert!(deferred(&outcome).contains("Server Failure"), "{outcome:?}");
    }
    // Strangers do not choose machines of our own network for us.
    let config = DirectConfig { port: 9, ..DirectConfig::default() };
    let policies = Arc::new(Policies::new(NoPolicies));
    let public = Direct::new(config, trusting(&[]), manners(), resolver(&dns), policies);
    never("5.4.4", "not on the public", send(&public, "a@homeless.example", start()).await);
}

#[tokio::test]
async fn a_domain_without_mx_and_an_ipv6_host_get_their_mail() {
    let [peer] = peers([("127.0.0.2", Script::new())]).await;
    let zone = Zone::new().a("there.example", "127.0.0.2".parse().unwrap());
    let dns = TestDns::start(zone).await.unwrap();
    assert_eq!(send(&simple(&dns, peer.address.port()), TO, start()).await, sent());

    let Ok(six) = Peer::at("[::1]:0", Script::new()).await else {
        println!("SKIPPED: this machine has no IPv6 loopback");
        return;
    };
    dns.set_zone(
        Zone::new()
            .mx("six.example", 10, "mx.six.example")
            .aaaa("mx.six.example", "::1".parse().unwrap()),
    );
    let mail = simple(&dns, six.address.port());
    assert_eq!(send(&mail, "a@six.example", start()).await, sent());
    assert_eq!(six.seen.arrived().len(), 1);
}

#[tokio::test]
async fn tls_is_used_where_it_works_and_mail_goes_in_clear_where_it_does_not() {
    let stranger = certificate(&["whoever.example"]);
    let starttls = Encrypts::StartTls(stranger.server.clone());
    for (encrypts, connections, encrypted) in
        [(starttls, 1, true), (Encrypts::Broken, 2, false), (Encrypts::No, 1, false)]
    {
        let script = Script::new().encrypts(encrypts);
        let [peer] = peers([("127.0.0.2", script)]).await;
        let dns = TestDns::start(zone(&[(10, "a.there.example", "127.0.0.2")])).await.unwrap();
        assert_eq!(send(&simple(&dns, peer.address.port()), TO, start()).await, sent());
        assert_eq!(peer.seen.connections(), connections);
        assert_eq!(peer.seen.arrived()[0].encrypted, encrypted);
    }
}

#[tokio::test]
async fn a_host_that_closes_after_data_has_not_taken_the_mail_and_the_next_one_gets_it() {
    let closing = Script::new().once("DATA", Act::SayAndClose("451 4.3.2 not me"));
    let [closing, good] = peers([("127.0.0.2", closing), ("127.0.0.3", Script::new())]).await;
    let hosts = [(10, "a.there.example", "127.0.0.2"), (20, "b.there.example", "127.0.0.3")];
    let dns = TestDns::start(zone(&hosts)).await.unwrap();
    assert_eq!(send(&simple(&dns, good.address.port()), TO, start()).await, sent());
    assert_eq!((closing.seen.arrived().len(), good.seen.arrived().len()), (0, 1));
}

#[tokio::test]
async fn a_greylisting_host_is_tried_again_on_schedule() {
    let grey = Act::Say("450 4.7.1 greylisted, come back");
    let script = Script::new().once("RCPT", grey.clone()).once("RCPT", grey);
    let [peer] = peers([("127.0.0.2", script)]).await;
    let dns = TestDns::start(zone(&[(10, "a.there.example", "127.0.0.2")])).await.unwrap();
    let mail = Arc::new(simple(&dns, peer.address.port()));
    let spool = Arc::new(MemorySpool::new());
    let clock = Arc::new(VirtualClock::new(start()));
    let id = spool.push(addr(TO), None, MESSAGE.into(), start());
    let (stop, stopped) = oneshot::channel::<()>();
    let worker =
        tokio::spawn(run(spool.clone(), mail, clock.clone(), Options::default(), async move {
            let _ = stopped.await;
        }));
    let mut tries = vec![start()];
    let mut now = start();
    loop {
        match spool.state(&id).unwrap() {
            State::Queued { due } if due > now => {
                // Nothing happens before its time.
                clock.set(due - SignedDuration::from_secs(1));
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(peer.seen.said("RCPT"), tries.len());
                tries.push(due);
                now = due;
                clock.set(due);
            }
            State::Settled(outcome) => {
                assert_eq!(outcome, sent());
                break;
            }
            _ => tokio::task::yield_now().await,
        }
    }
    stop.send(()).unwrap();
    worker.await.unwrap();
    assert_eq!(peer.seen.said("RCPT"), 3);
    let waits: Vec<i64> = tries.windows(2).map(|t| t[1].duration_since(t[0]).as_mins()).collect();
    assert!((5..=6).contains(&waits[0]) && (5..=7).contains(&waits[1]), "{waits:?}");
}

#[tokio::test]
async fn a_host_that_never_recovers_is_given_up_with_its_last_words() {
    let script = Script::new().always("RCPT", Act::Say("452 4.2.2 mailbox full"));
    let [peer] = peers([("127.0.0.2", script)]).await;
    let dns = TestDns::start(zone(&[(10, "a.there.example", "127.0.0.2")])).await.unwrap();
    let schedule = Schedule { expire_after: SignedDuration::from_hours(2), ..Schedule::default() };
    let manners = Manners { schedule, ..manners() };
    let policies = Policies::new(NoPolicies);
    let mail = direct(&dns, peer.address.port(), trusting(&[]), policies, manners);
    let spool = MemorySpool::new();
    let id = spool.push(addr(TO), None, MESSAGE.into(), start());
    let mut now = start();
    loop {
        match super::try_once(&mail, &spool, &id, now).await {
            Outcome::Deferred { until, .. } => now = until,
            Outcome::Failed { reason } => {
                assert!(reason.contains("after 2 hours"), "{reason}");
                assert!(reason.contains("452 4.2.2 mailbox full"), "{reason}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(now, after(2 * 3600));
}

#[tokio::test]
async fn a_destination_is_not_used_by_more_than_its_places_allow() {
    let [peer] = peers([("127.0.0.2", Script::new())]).await;
    let dns = TestDns::start(zone(&[(10, "a.there.example", "127.0.0.2")])).await.unwrap();
    let limits = Limits { concurrency: 2, messages_per_connection: 1, ..manners().limits };
    let policies = Policies::new(NoPolicies);
    let manners = Manners { limits, ..manners() };
    let mail = Arc::new(direct(&dns, peer.address.port(), trusting(&[]), policies, manners));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mail = mail.clone();
        tasks.spawn(async move { send(&*mail, TO, start()).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.unwrap(), sent());
    }
    // One per message; a connection that is saying goodbye may still be open beside two others.
    assert_eq!(peer.seen.connections(), 12);
    assert!(peer.seen.most_open.load(Ordering::SeqCst) <= 4);
}
