use std::time::{Duration, Instant};

use frontdesk_smtp::{
    auth::{
        Authentication, Authenticator, Verdict, disposition,
        dkim::DkimResult,
        dmarc::DmarcResult,
        dns::{Answer, DnsConfig, RecordKind},
        spf::SpfResult,
        verdict,
    },
    testing::{
        dns::{Fault, TestDns, Zone},
        sign::{DkimOptions, TestKey, dkim_sign},
    },
};
use jiff::Timestamp;

use crate::{BAD, GOOD, MESSAGE, World, check, with_dmarc, zone};

fn signed() -> Vec<u8> {
    dkim_sign(MESSAGE.as_bytes(), TestKey::rsa(), "author.example", "rsa", &DkimOptions::default())
}

#[tokio::test]
async fn every_answer_is_kept_and_the_verdict_can_be_recomputed_from_them() {
    let world = World::new(with_dmarc("v=DMARC1; p=reject")).await;
    let message = signed();
    let a = world.check(GOOD, &message).await;
    let asked = |name: &str, kind| a.dns.iter().any(|d| d.name == name && d.kind == kind);
    assert!(asked("author.example", RecordKind::Txt));
    assert!(asked("_dmarc.author.example", RecordKind::Txt));
    assert!(asked("rsa._domainkey.author.example", RecordKind::Txt));
    assert!(asked("10.2.0.192.in-addr.arpa", RecordKind::Ptr));
    assert!(asked("mail.author.example", RecordKind::A));
    let missing = a.dns.iter().find(|d| d.name == "_dmarc.example").unwrap();
    assert_eq!(missing.answer, Answer::NxDomain);
    assert!(a.dns.iter().all(|d| d.ttl > 0 && d.ttl <= 3600 && d.at == a.at), "{:?}", a.dns);

    // The zone is gone; the stored evidence still proves the verdict.
    let json = serde_json::to_string(&a).unwrap();
    let stored: Authentication = serde_json::from_str(&json).unwrap();
    assert_eq!(stored, a);
    world.dns.set_zone(Zone::new());
    let before = world.dns.queries();
    let again = world.authenticator.recompute(&stored, &message).await;
    assert_eq!(again, a);
    assert_eq!(world.dns.queries(), before, "recomputing asks nobody");

    // It proves it for this message only.
    let tampered = String::from_utf8(message).unwrap().replace("warm", "cold");
    let again = world.authenticator.recompute(&stored, tampered.as_bytes()).await;
    assert_ne!(again.dkim, a.dkim);
}

#[tokio::test]
async fn answers_are_cached_across_messages_even_negative_ones() {
    let world = World::new(with_dmarc("v=DMARC1; p=reject")).await;
    let message = signed();
    world.check(GOOD, &message).await;
    let warm = world.dns.queries();
    let a = world.check(GOOD, &message).await;
    assert!(verdict(&a).is_verified());
    assert_eq!(world.dns.queries(), warm);
}

#[tokio::test]
async fn long_records_come_over_tcp() {
    let padding = "ip4:192.0.2.1 ".repeat(220);
    let zone = Zone::new().txt("author.example", &format!("v=spf1 {padding}ip4:198.51.100.9 -all"));
    let world = World::new(zone).await;
    let a = world.check(BAD, MESSAGE).await;
    assert_eq!(a.spf_mail_from.result, SpfResult::Pass);
    assert!(world.dns.tcp_queries() > 0);
}

#[tokio::test]
async fn oversize_and_unrelated_records_are_left_out() {
    let zone = Zone::new()
        .txt("author.example", &format!("v=spf1 {}+all", "ip4:192.0.2.1 ".repeat(400)))
        .txt("author.example", "site-verification=abc")
        .txt("author.example", "v=spf1 ip4:198.51.100.9 -all");
    let a = check(zone, BAD, MESSAGE).await;
    assert_eq!(a.spf_mail_from.result, SpfResult::Pass);
    let kept = a.dns.iter().find(|d| d.name == "author.example").unwrap();
    assert_eq!(kept.records().len(), 1);
    assert!(matches!(kept.answer, Answer::Records { omitted: 2, .. }), "{kept:?}");
}

#[tokio::test]
async fn a_silent_name_server_ends_in_a_delay_within_the_deadline() {
    let dns = TestDns::start(
        Zone::new()
            .fault("author.example", Fault::Silence)
            .fault("_dmarc.author.example", Fault::Silence)
            .fault("rsa._domainkey.author.example", Fault::Silence),
    )
    .await
    .unwrap();
    // Each try would take far longer than the deadlines allow.
    let config = DnsConfig {
        servers: vec![dns.addr()],
        query_timeout: Duration::from_secs(60),
        retries: 5,
        spf_deadline: Duration::from_millis(150),
        step_deadline: Duration::from_millis(150),
    };
    let authenticator = Authenticator::new(&config, "mx.desk.example").unwrap();
    let start = Instant::now();
    let a = authenticator
        .authenticate(
            GOOD.parse().unwrap(),
            "mail.author.example",
            Some("ann@author.example"),
            &signed(),
            Timestamp::now(),
        )
        .await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(a.spf_mail_from.result, SpfResult::TempError);
    assert_eq!(a.dkim[0].result, DkimResult::TempError);
    assert_eq!(a.dmarc.result, DmarcResult::TempError);
    assert_eq!(verdict(&a), Verdict::Unverified);
    assert!(matches!(disposition(&a, &[]), frontdesk_smtp::auth::Disposition::TempFail { .. }));
}

#[tokio::test]
async fn a_name_server_that_is_down_is_made_up_for_by_the_next() {
    let dns = TestDns::start(with_dmarc("v=DMARC1; p=reject")).await.unwrap();
    // Takes questions and never answers.
    let silent = tokio::net::UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let config = DnsConfig {
        servers: vec![silent.local_addr().unwrap(), dns.addr()],
        query_timeout: Duration::from_secs(20),
        retries: 0,
        ..DnsConfig::default()
    };
    let authenticator = Authenticator::new(&config, "mx.desk.example").unwrap();
    let a = authenticator
        .authenticate(
            GOOD.parse().unwrap(),
            "mail.author.example",
            Some("ann@author.example"),
            &signed(),
            Timestamp::now(),
        )
        .await;
    assert_eq!(a.spf_mail_from.result, SpfResult::Pass);
    assert_eq!(a.dmarc.result, DmarcResult::Pass);
}

#[tokio::test]
async fn a_hostile_spf_record_cannot_make_us_ask_without_end() {
    let mut zone = zone();
    let mut record = "v=spf1".to_owned();
    for i in 0..10 {
        record.push_str(&format!(" mx:m{i}.evil.example"));
        for j in 0..10 {
            zone = zone
                .mx(&format!("m{i}.evil.example"), 1, &format!("h{i}-{j}.evil.example"))
                .a(&format!("h{i}-{j}.evil.example"), "203.0.113.1".parse().unwrap());
        }
    }
    let zone = zone.txt("evil.example", &format!("{record} -all"));
    let world = World::new(zone).await;
    let a = world.check_from(BAD, Some("x@evil.example"), MESSAGE).await;
    assert_eq!(a.spf_mail_from.result, SpfResult::Fail);
    assert!(a.dns.len() < 130, "{}", a.dns.len());
    assert!(world.dns.queries() < 130);
}

#[test]
fn zones_can_be_written_as_text() {
    let zone = Zone::parse(
        "# a comment\n\
         a.example A 192.0.2.1\n\
         a.example AAAA 2001:db8::1\n\
         a.example MX 10 mx.a.example\n\
         a.example TXT v=spf1 mx -all\n\
         192.0.2.1 PTR a.example\n\
         www.a.example CNAME a.example\n\
         down.example SERVFAIL\n\
         mute.example SILENCE\n",
    );
    assert!(zone.is_ok());
    assert_eq!(Zone::parse("a.example WKS x").unwrap_err(), "zone line: a.example WKS x");
    assert_eq!(
        Zone::parse("a.example A 300.1.1.1").unwrap_err(),
        "zone line: a.example A 300.1.1.1"
    );
}
