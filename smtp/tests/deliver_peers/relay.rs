//! One smart host: the transaction itself, TLS, signing in, and connections that are used again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use frontdesk_smtp::deliver::{
    Claimed, Claims, DataMark, DeliveryId, Error, Limits, Login, Manners, MemorySpool, Outcome,
    Relay, RelayConfig, Room, Security, Spool, State, Timeouts, Tls, Transport as _,
};
use jiff::Timestamp;

use super::peer::{Act, Encrypts, Peer, Script};
use super::{
    IMPATIENCE, MESSAGE, addr, after, certificate, deferred, manners, send, send_bytes, start,
    trusting,
};

const TO: &str = "ann@there.example";

fn config(peer: &Peer, security: Security) -> RelayConfig {
    RelayConfig {
        host: "127.0.0.1".to_owned(),
        port: peer.address.port(),
        security,
        login: None,
        envelope_from: None,
    }
}

fn plain(peer: &Peer) -> Relay {
    with(peer, manners())
}

fn with(peer: &Peer, manners: Manners) -> Relay {
    Relay::new(config(peer, Security::Clear), trusting(&[]), manners).unwrap()
}

fn sent() -> Outcome {
    Outcome::Sent { response: "250 2.0.0 queued as 7".to_owned() }
}

#[tokio::test]
async fn a_message_arrives_as_it_is_with_the_mark_before_its_dot() {
    let spool = Arc::new(MemorySpool::new());
    let at_dot = Arc::new(Mutex::new(None));
    let (seen_at_dot, watched) = (at_dot.clone(), spool.clone());
    let peer = Peer::start(Script::new().on_dot(move || {
        *seen_at_dot.lock().unwrap() = watched.state(&DeliveryId::from(1));
    }))
    .await;
    let relay = plain(&peer);
    let outcome = send_bytes(&relay, &spool, TO, Bytes::from(MESSAGE), start()).await;
    assert_eq!(outcome, sent());
    assert_eq!(*at_dot.lock().unwrap(), Some(State::SendingData));
    let arrived = peer.seen.arrived().remove(0);
    assert_eq!(arrived.message, MESSAGE);
    let size = MESSAGE.len();
    assert_eq!(arrived.from, format!("MAIL FROM:<support+bx@desk.example> SIZE={size}"));
    assert_eq!(arrived.to, "RCPT TO:<ann@there.example>");
}

#[tokio::test]
async fn each_answer_has_its_outcome() {
    let bounced = |status: Option<&str>, response: &str| Outcome::Bounced {
        status: status.map(str::to_owned),
        response: response.to_owned(),
    };
    for step in ["MAIL", "RCPT", "DATA", "DOT"] {
        let says = |line| Script::new().once(step, Act::Say(line));
        let peer = Peer::start(says("550 5.1.1 no such user")).await;
        let outcome = send(&plain(&peer), TO, start()).await;
        assert_eq!(outcome, bounced(Some("5.1.1"), "550 5.1.1 no such user"), "{step}");

        let peer = Peer::start(says("554-sorry\r\n554 no mail today")).await;
        let outcome = send(&plain(&peer), TO, start()).await;
        assert_eq!(outcome, bounced(None, "554 sorry no mail today"), "{step}");

        for line in ["450 4.7.1 greylisted", "421 4.3.2 going down", "451 4.3.0 later"] {
            let peer = Peer::start(says(line)).await;
            let outcome = send(&plain(&peer), TO, start()).await;
            assert!(deferred(&outcome).contains(line), "{step} {outcome:?}");
            assert!(peer.seen.arrived().is_empty());
        }
    }
    for (step, line) in [("GREETING", "554 5.7.1 not you"), ("EHLO", "421 busy")] {
        let peer = Peer::start(Script::new().once(step, Act::Say(line))).await;
        let outcome = send(&plain(&peer), TO, start()).await;
        assert!(deferred(&outcome).contains(line), "{step} {outcome:?}");
    }
}

#[tokio::test]
async fn what_is_lost_before_the_dot_is_tried_again_and_after_it_is_uncertain() {
    let timeouts = Timeouts { mail: IMPATIENCE, dot: IMPATIENCE, ..manners().timeouts };
    let impatient = || Manners { timeouts, ..manners() };
    for step in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"] {
        let peer = Peer::start(Script::new().once(step, Act::Close)).await;
        let outcome = send(&with(&peer, impatient()), TO, start()).await;
        assert!(deferred(&outcome).contains("closed"), "{step} {outcome:?}");
    }
    let peer = Peer::start(Script::new().once("MAIL", Act::Silence)).await;
    let outcome = send(&with(&peer, impatient()), TO, start()).await;
    assert!(deferred(&outcome).contains("to MAIL FROM: no answer in time"), "{outcome:?}");

    for act in [Act::Close, Act::Silence, Act::SayAndClose("354 what?"), Act::Raw(b"2\r\n")] {
        let peer = Peer::start(Script::new().once("DOT", act.clone())).await;
        let spool = MemorySpool::new();
        let relay = with(&peer, impatient());
        let outcome = send_bytes(&relay, &spool, TO, Bytes::from(MESSAGE), start()).await;
        assert!(matches!(outcome, Outcome::Uncertain { .. }), "{act:?} {outcome:?}");
        // It stays so: nothing sends it again.
        let again = spool.claim(after(1_000_000), Room { any: 9, bulk: 9 }).await.unwrap();
        assert!(again.deliveries.is_empty());
    }
}

#[tokio::test]
async fn a_crash_at_any_step_makes_no_second_copy() {
    for step in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT"] {
        let peer = Peer::start(Script::new().once(step, Act::Silence)).await;
        let spool = Arc::new(MemorySpool::new());
        let id = spool.push(addr(TO), None, Bytes::from(MESSAGE), start());
        let relay = Arc::new(plain(&peer));
        let stuck = {
            let (spool, relay, id) = (spool.clone(), relay.clone(), id.clone());
            tokio::spawn(async move { super::try_once(&*relay, &spool, &id, start()).await })
        };
        // It stands at the step; the process dies there.
        let reached = || match step {
            "GREETING" => peer.seen.connections() == 1,
            "DOT" => peer.seen.arrived().len() == 1,
            verb => peer.seen.said(verb) == 1,
        };
        while !reached() {
            tokio::task::yield_now().await;
        }
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        spool.restart(after(1));
        let room = Room { any: 1, bulk: 1 };
        for delivery in spool.claim(after(1), room).await.unwrap().deliveries {
            let mark = DataMark::new(&*spool, &id);
            let outcome = relay.deliver(&delivery, after(1), &mark).await;
            spool.settle(&id, outcome).await.unwrap();
        }
        assert_eq!(peer.seen.arrived().len(), 1, "{step}");
        let Some(State::Settled(outcome)) = spool.state(&id) else { panic!("{step}") };
        let uncertain = matches!(outcome, Outcome::Uncertain { .. });
        assert_eq!(uncertain, step == "DOT", "{step} {outcome:?}");
    }
}

#[tokio::test]
async fn a_peer_that_goes_in_the_middle_of_the_message_has_not_taken_it() {
    let body = "0123456789abcdef\r\n".repeat(500_000);
    let bytes = Bytes::from(format!("Subject: long\r\n\r\n{body}"));
    for act in [Act::Close, Act::SayAndClose("421 4.3.2 shutting down")] {
        for step in ["DATA", "BODY"] {
            let act = match (step, &act) {
                ("DATA", _) => Act::SayAndClose("354 go on"),
                (_, act) => act.clone(),
            };
            let peer = Peer::start(Script::new().once(step, act)).await;
            let spool = MemorySpool::new();
            let outcome = send_bytes(&plain(&peer), &spool, TO, bytes.clone(), start()).await;
            deferred(&outcome);
        }
    }
    // One that refuses early is heard.
    let script = Script::new().once("BODY", Act::SayAndClose("552 5.3.4 too big"));
    let peer = Peer::start(script).await;
    let outcome = send_bytes(&plain(&peer), &MemorySpool::new(), TO, bytes, start()).await;
    assert!(
        matches!(&outcome, Outcome::Bounced { status: Some(status), .. } if status == "5.3.4")
            || matches!(&outcome, Outcome::Deferred { .. }),
        "the answer may be lost with the connection, but never the truth: {outcome:?}"
    );
}

/// Its disk is full at the mark.
struct NoMark(MemorySpool);

impl Spool for NoMark {
    async fn claim(&self, now: Timestamp, room: Room) -> Result<Claims, Error> {
        self.0.claim(now, room).await
    }
    async fn starting_data(&self, _id: &DeliveryId) -> Result<(), Error> {
        Err(Error::Spool("disk full".into()))
    }
    async fn settle(&self, id: &DeliveryId, outcome: Outcome) -> Result<(), Error> {
        self.0.settle(id, outcome).await
    }
    async fn changed(&self) {}
}

#[tokio::test]
async fn without_the_mark_there_is_no_dot() {
    let peer = Peer::start(Script::new()).await;
    let spool = NoMark(MemorySpool::new());
    let id = spool.0.push(addr(TO), None, Bytes::from(MESSAGE), start());
    let room = Room { any: 1, bulk: 1 };
    let delivery: Claimed = spool.claim(start(), room).await.unwrap().deliveries.remove(0);
    let mark = DataMark::new(&spool, &id);
    let outcome = plain(&peer).deliver(&delivery, start(), &mark).await;
    assert!(deferred(&outcome).contains("disk full"), "{outcome:?}");
    assert!(peer.seen.arrived().is_empty());
    assert_eq!(peer.seen.said("MAIL FROM:<>"), 1);
}

#[tokio::test]
async fn odd_replies_are_understood() {
    for reply in [b"250\r\n".as_slice(), b"250 ok\n", b"250-a\r\n250-b\r\n250 c\r\n"] {
        let reply: &'static [u8] = reply;
        let peer = Peer::start(Script::new().once("DOT", Act::Raw(reply))).await;
        let outcome = send(&plain(&peer), TO, start()).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{reply:?} {outcome:?}");
    }
    let latin = b"550 5.1.1 Empf\xe4nger unbekannt\r\n";
    let peer = Peer::start(Script::new().once("RCPT", Act::Raw(latin))).await;
    let outcome = send(&plain(&peer), TO, start()).await;
    let words = "550 5.1.1 Empf?nger unbekannt".to_owned();
    assert_eq!(outcome, Outcome::Bounced { status: Some("5.1.1".to_owned()), response: words });
    // Servers of RFC 821 know no EHLO.
    let peer = Peer::start(Script::new().once("EHLO", Act::Say("500 what?"))).await;
    assert_eq!(send(&plain(&peer), TO, start()).await, sent());
    assert_eq!(peer.seen.said("HELO desk.example"), 1);
    assert!(peer.seen.arrived()[0].from.ends_with("<support+bx@desk.example>"), "no parameters");
}

#[tokio::test]
async fn what_a_peer_cannot_take_is_not_sent_and_says_why() {
    let peer = Peer::start(Script::new().extensions(&["SIZE 20"])).await;
    let relay = plain(&peer);
    let spool = MemorySpool::new();
    let failing = [
        (TO, "A: b\r\n\r\nmore than that\r\n", "at most 20"),
        ("änn@there.example", "A: b\r\n\r\nc\r\n", "SMTPUTF8"),
        (TO, "A: b\r\n\r\nä\r\n", "8BITMIME"),
        (TO, "A: b\r\n\r\nc\n.\r\n", "ends no line"),
    ];
    for (to, message, why) in failing {
        let outcome = send_bytes(&relay, &spool, to, Bytes::from(message), start()).await;
        let Outcome::Failed { reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains(why), "{reason}");
    }
    assert_eq!(peer.seen.said("MAIL"), 0);
    let peer = Peer::start(Script::new().extensions(&["smtputf8", "8bitmime"])).await;
    let message = Bytes::from("A: b\r\n\r\nä\r\n");
    let to = "änn@bücher.example";
    assert_eq!(send_bytes(&plain(&peer), &spool, to, message, start()).await, sent());
    let arrived = peer.seen.arrived().remove(0);
    assert!(arrived.from.ends_with("> BODY=8BITMIME SMTPUTF8"), "{}", arrived.from);
    assert_eq!(arrived.to, "RCPT TO:<änn@xn--bcher-kva.example>");
}

#[tokio::test]
async fn a_connection_is_used_again_and_forgets_what_was_refused() {
    let script = Script::new().once("RCPT", Act::Say("550 5.1.1 no"));
    let peer = Peer::start(script).await;
    let limits = Limits { messages_per_connection: 3, ..manners().limits };
    let relay = with(&peer, Manners { limits, ..manners() });
    assert!(matches!(send(&relay, TO, start()).await, Outcome::Bounced { .. }));
    while peer.seen.said("RSET") == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        assert_eq!(send(&relay, TO, start()).await, sent());
    }
    // Six messages at three to a connection; one more if the reset was not done in time.
    assert!((2..=3).contains(&peer.seen.connections()), "{}", peer.seen.connections());
    assert_eq!(peer.seen.said("RSET"), 1);
    while peer.seen.said("QUIT") == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_a_word() {
    let peer = Peer::start(Script::new()).await;
    let limits = Limits { idle: IMPATIENCE, ..manners().limits };
    let relay = with(&peer, Manners { limits, ..manners() });
    assert_eq!(send(&relay, TO, start()).await, sent());
    assert_eq!(peer.seen.said("QUIT"), 0);
    while peer.seen.said("QUIT") == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_nothing() {
    let first = Act::SayAndClose("250 2.0.0 queued as 7");
    let peer = Peer::start(Script::new().once("DOT", first)).await;
    let relay = plain(&peer);
    for _ in 0..2 {
        assert_eq!(send(&relay, TO, start()).await, sent());
    }
    assert_eq!(peer.seen.connections(), 2);
    assert_eq!(peer.seen.arrived().len(), 2);
}

#[tokio::test]
async fn a_required_starttls_is_required_with_the_right_certificate() {
    let good = certificate(&["127.0.0.1"]);
    let other = certificate(&["elsewhere.example"]);
    let starttls =
        |certificate: &super::Certificate| Encrypts::StartTls(certificate.server.clone());
    let cases = [
        (Encrypts::No, trusting(&[&good]), Some("does not offer STARTTLS")),
        (Encrypts::Broken, trusting(&[&good]), Some("to STARTTLS")),
        (starttls(&other), trusting(&[&good, &other]), Some("not valid for name")),
        (starttls(&good), trusting(&[&other]), Some("certificate")),
        (starttls(&good), trusting(&[&good]), None),
    ];
    for (encrypts, tls, expected) in cases {
        let peer = Peer::start(Script::new().encrypts(encrypts)).await;
        let relay = Relay::new(config(&peer, Security::StartTls), tls, manners()).unwrap();
        let outcome = send(&relay, TO, start()).await;
        match expected {
            Some(why) => {
                assert!(deferred(&outcome).contains(why), "{outcome:?}");
                assert_eq!(peer.seen.said("MAIL"), 0);
            }
            None => {
                assert_eq!(outcome, sent());
                assert!(peer.seen.arrived()[0].encrypted);
                assert_eq!(peer.seen.said("EHLO"), 2);
            }
        }
    }
}

#[tokio::test]
async fn words_in_clear_do_not_count_under_tls() {
    let good = certificate(&["127.0.0.1"]);
    let injected = b"220 go ahead\r\n250 injected\r\n250 injected\r\n250 injected\r\n";
    let script = Script::new()
        .encrypts(Encrypts::StartTls(good.server.clone()))
        .once("STARTTLS", Act::Raw(injected));
    let peer = Peer::start(script).await;
    let relay =
        Relay::new(config(&peer, Security::StartTls), trusting(&[&good]), manners()).unwrap();
    let outcome = send(&relay, TO, start()).await;
    assert!(deferred(&outcome).contains("in clear before the handshake"), "{outcome:?}");
}

#[tokio::test]
async fn signing_in_works_by_both_ways_and_under_tls_only() {
    let good = certificate(&["127.0.0.1"]);
    let ways = [("AUTH PLAIN LOGIN", "AUTH PLAIN AGRlc2sAc2VjcmV0"), ("AUTH LOGIN", "AUTH LOGIN")];
    for (offered, said) in ways {
        let script =
            Script::new().extensions(&[offered]).encrypts(Encrypts::Implicit(good.server.clone()));
        let peer = Peer::start(script).await;
        let config = RelayConfig {
            login: Some(Login::new("desk", "secret")),
            ..config(&peer, Security::Implicit)
        };
        let relay = Relay::new(config, trusting(&[&good]), manners()).unwrap();
        assert_eq!(send(&relay, TO, start()).await, sent());
        assert_eq!(peer.seen.said(said), 1, "{:?}", peer.seen.commands);
        assert!(peer.seen.arrived()[0].encrypted);
    }
    let unsafe_ones = [Security::Clear, Security::Opportunistic];
    for security in unsafe_ones {
        let config = RelayConfig {
            host: "relay.example".to_owned(),
            port: 25,
            security,
            login: Some(Login::new("desk", "secret")),
            envelope_from: None,
        };
        let refused = Relay::new(config, trusting(&[]), manners()).err().unwrap();
        assert!(refused.to_string().contains("require TLS"), "{refused}");
        assert!(!refused.to_string().contains("secret"));
    }
    assert!(!format!("{:?}", Login::new("desk", "secret")).contains("secret"));
}

#[tokio::test]
async fn a_sign_in_that_fails_bounces_nothing_and_is_not_tried_by_every_mail() {
    let script = Script::new()
        .extensions(&["AUTH PLAIN"])
        .always("AUTH", Act::Say("535 5.7.8 wrong password"));
    let peer = Peer::start(script).await;
    let config =
        RelayConfig { login: Some(Login::new("desk", "secret")), ..config(&peer, Security::Clear) };
    let relay = Relay::new(config, trusting(&[]), manners()).unwrap();
    let outcome = send(&relay, TO, start()).await;
    assert!(deferred(&outcome).contains("535 5.7.8 wrong password"), "{outcome:?}");
    assert!(!deferred(&outcome).contains("secret"));
    let outcome = send(&relay, TO, after(1)).await;
    assert!(deferred(&outcome).contains("not tried, because a short time ago"), "{outcome:?}");
    assert_eq!(peer.seen.connections(), 1);
    send(&relay, TO, after(60)).await;
    assert_eq!(peer.seen.connections(), 2);
}

#[tokio::test]
async fn a_fixed_sender_stands_for_ours_but_not_for_none() {
    let peer = Peer::start(Script::new().extensions(&[])).await;
    let fixed = Some(addr("desk@provider.example"));
    let config = RelayConfig { envelope_from: fixed, ..config(&peer, Security::Clear) };
    let relay = Relay::new(config, trusting(&[]), manners()).unwrap();
    assert_eq!(send(&relay, TO, start()).await, sent());
    let spool = MemorySpool::new();
    let id = spool.push(addr(TO), None, Bytes::from(MESSAGE), start());
    super::try_once(&relay, &spool, &id, start()).await;
    let from: Vec<String> = peer.seen.arrived().into_iter().map(|mail| mail.from).collect();
    assert_eq!(from, ["MAIL FROM:<desk@provider.example>", "MAIL FROM:<>"]);
}

#[tokio::test]
async fn a_relay_is_not_used_by_more_than_its_places_allow() {
    let peer = Peer::start(Script::new()).await;
    let limits = Limits { concurrency: 2, ..manners().limits };
    let relay = Arc::new(with(&peer, Manners { limits, ..manners() }));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let relay = relay.clone();
        tasks.spawn(async move { send(&*relay, TO, start()).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.unwrap(), sent());
    }
    assert_eq!(peer.seen.arrived().len(), 20);
    assert!(peer.seen.most_open.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_tried_later() {
    let config = RelayConfig {
        host: "relay.invalid".to_owned(),
        port: 25,
        security: Security::StartTls,
        login: None,
        envelope_from: None,
    };
    let relay = Relay::new(config, Tls::new(rustls::RootCertStore::empty()).unwrap(), manners());
    let outcome = send(&relay.unwrap(), TO, start()).await;
    assert!(deferred(&outcome).contains("relay.invalid was not found"), "{outcome:?}");
}
