//! MTA-STS: what an enforced policy prevents, what one in testing does not, and how policies come here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use frontdesk_smtp::deliver::sts::{HttpsFetch, Policies, PolicyFetch};
use frontdesk_smtp::deliver::{Direct, Tls};
use frontdesk_smtp::testing::dns::{TestDns, Zone};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::direct::{direct, peers, resolver, zone};
use super::peer::{Encrypts, Peer, Script};
use super::{after, certificate, deferred, manners, send, start, trusting};

const TO: &str = "ann@there.example";

/// Policies by domain, and how often they were asked for.
#[derive(Clone, Default)]
struct Web {
    policies: Arc<Mutex<HashMap<String, String>>>,
    fetches: Arc<AtomicUsize>,
}

impl Web {
    fn with(mode: &str, mx: &str) -> Self {
        let web = Self::default();
        web.set(mode, mx);
        web
    }

    fn set(&self, mode: &str, mx: &str) {
        let policy = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
        self.policies.lock().unwrap().insert("there.example".to_owned(), policy);
    }
}

impl PolicyFetch for Web {
    async fn fetch(&self, domain: &str) -> Result<String, String> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let known = self.policies.lock().unwrap().get(domain).cloned();
        known.ok_or_else(|| "404".to_owned())
    }
}

fn announced(zone: Zone, id: &str) -> Zone {
    zone.txt("_mta-sts.there.example", &format!("v=STSv1; id={id};"))
}

async fn one_host(script: Script) -> (Peer, TestDns) {
    let [peer] = peers([("127.0.0.2", script)]).await;
    let zone = announced(zone(&[(10, "mx.there.example", "127.0.0.2")]), "1");
    (peer, TestDns::start(zone).await.unwrap())
}

fn under(dns: &TestDns, peer: &Peer, tls: Tls, web: &Web) -> Direct<Web> {
    direct(dns, peer.address.port(), tls, Policies::new(web.clone()), manners())
}

#[tokio::test]
async fn an_enforced_policy_lets_mail_to_proven_hosts_only() {
    let good = certificate(&["mx.there.example"]);
    let wrong = certificate(&["elsewhere.example"]);
    let both = || trusting(&[&good, &wrong]);
    let starttls =
        |certificate: &super::Certificate| Encrypts::StartTls(certificate.server.clone());
    let cases = [
        (starttls(&good), both(), "mx.there.example", None),
        (starttls(&good), both(), "*.there.example", None),
        (starttls(&wrong), both(), "mx.there.example", Some("not valid for name")),
        (starttls(&good), trusting(&[&wrong]), "mx.there.example", Some("certificate")),
        (Encrypts::No, both(), "mx.there.example", Some("does not offer STARTTLS")),
        (Encrypts::Broken, both(), "mx.there.example", Some("to STARTTLS")),
        (starttls(&good), both(), "mx.other.example", Some("names none of its mail servers")),
    ];
    for (encrypts, tls, mx, expected) in cases {
        let (peer, dns) = one_host(Script::new().encrypts(encrypts)).await;
        let mail = under(&dns, &peer, tls, &Web::with("enforce", mx));
        let outcome = send(&mail, TO, start()).await;
        match expected {
            None => assert!(peer.seen.arrived()[0].encrypted, "{outcome:?}"),
            Some(why) => {
                assert!(deferred(&outcome).contains(why), "{outcome:?}");
                assert_eq!(peer.seen.said("MAIL"), 0);
            }
        }
    }
}

#[tokio::test]
async fn hosts_that_an_enforced_policy_does_not_name_are_passed_over() {
    let good = certificate(&["good.there.example", "evil.example"]);
    let script = Script::new().encrypts(Encrypts::StartTls(good.server.clone()));
    let [evil, host] = peers([("127.0.0.2", script.clone()), ("127.0.0.3", script)]).await;
    let hosts = [(1, "evil.example", "127.0.0.2"), (10, "good.there.example", "127.0.0.3")];
    let dns = TestDns::start(announced(zone(&hosts), "1")).await.unwrap();
    let web = Web::with("enforce", "*.there.example");
    let mail = under(&dns, &host, trusting(&[&good]), &web);
    send(&mail, TO, start()).await;
    assert_eq!((evil.seen.connections(), host.seen.arrived().len()), (0, 1));
}

#[tokio::test]
async fn a_policy_in_testing_prevents_nothing() {
    let wrong = certificate(&["elsewhere.example"]);
    let starttls = Encrypts::StartTls(wrong.server.clone());
    for (encrypts, mx, encrypted) in [
        (starttls.clone(), "mx.there.example", true),
        (starttls, "mx.other.example", true),
        (Encrypts::Broken, "mx.there.example", false),
        (Encrypts::No, "mx.there.example", false),
    ] {
        let (peer, dns) = one_host(Script::new().encrypts(encrypts)).await;
        let mail = under(&dns, &peer, trusting(&[&wrong]), &Web::with("testing", mx));
        send(&mail, TO, start()).await;
        assert_eq!(peer.seen.arrived()[0].encrypted, encrypted);
    }
}

#[tokio::test]
async fn a_policy_counts_while_it_is_kept_though_record_and_server_are_gone() {
    let (peer, dns) = one_host(Script::new()).await;
    let web = Web::with("enforce", "mx.there.example");
    let mail = under(&dns, &peer, trusting(&[]), &web);
    for second in [0, 60, 3600] {
        deferred(&send(&mail, TO, after(second)).await);
    }
    assert_eq!(web.fetches.load(Ordering::SeqCst), 1);
    web.policies.lock().unwrap().clear();
    dns.set_zone(zone(&[(10, "mx.there.example", "127.0.0.2")]));
    deferred(&send(&mail, TO, after(80_000)).await);
    assert!(peer.seen.arrived().is_empty());
}

#[tokio::test]
async fn a_policy_that_cannot_be_had_holds_nothing_and_is_not_asked_for_by_every_mail() {
    let (peer, dns) = one_host(Script::new()).await;
    let web = Web::default();
    let mail = under(&dns, &peer, trusting(&[]), &web);
    for second in 0..5 {
        send(&mail, TO, after(second)).await;
    }
    assert_eq!((peer.seen.arrived().len(), web.fetches.load(Ordering::SeqCst)), (5, 1));
    web.set("none", "mx.there.example");
    send(&mail, TO, after(300)).await;
    assert_eq!((peer.seen.arrived().len(), web.fetches.load(Ordering::SeqCst)), (6, 2));
}

/// A web server that answers every request alike.
async fn web_server(certificate: &super::Certificate, answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(certificate.server.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(octet) = stream.read_u8().await else { break };
                request.push(octet);
            }
            let request = String::from_utf8(request).unwrap();
            assert!(request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("host: mta-sts.there.example\r\n"), "{request}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn policies_come_over_https_and_only_so() {
    let good = certificate(&["mta-sts.there.example"]);
    let wrong = certificate(&["elsewhere.example"]);
    let zone = Zone::new().a("mta-sts.there.example", "127.0.0.1".parse().unwrap());
    let dns = TestDns::start(zone).await.unwrap();
    let answer = |status: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let policy = "version: STSv1\r\nmode: enforce\r\nmx: mx.there.example\r\nmax_age: 9\r\n";
    let long = "x".repeat(70_000);
    let cases = [
        (&good, answer("200 OK", "text/plain; charset=utf-8", policy), Ok(policy)),
        (&good, answer("301 Moved\r\nLocation: /x", "text/plain", ""), Err("301")),
        (&good, answer("404 Not Found", "text/plain", policy), Err("404")),
        (&good, answer("200 OK", "text/html", policy), Err("text/plain")),
        (&good, answer("200 OK", "text/plain", &long), Err("limit")),
        (&wrong, answer("200 OK", "text/plain", policy), Err("certificate")),
    ];
    for (certificate, answer, expected) in cases {
        let port = web_server(certificate, answer).await;
        let tls = trusting(&[&good, &wrong]);
        let fetch = HttpsFetch::new(resolver(&dns), tls).at_port(port);
        let fetched = fetch.fetch("there.example").await;
        match expected {
            Ok(text) => assert_eq!(fetched.unwrap(), text),
            Err(why) => {
                let error = fetched.unwrap_err();
                assert!(error.contains(why), "{error}");
            }
        }
    }
    // On the public web, machines of our own network are out of reach.
    let fetch = HttpsFetch::new(resolver(&dns), trusting(&[&good]));
    let error = fetch.fetch("there.example").await.unwrap_err();
    assert!(error.contains("no public address"), "{error}");
}
