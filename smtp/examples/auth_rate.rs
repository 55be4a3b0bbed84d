//! How many messages one core can authenticate, with DNS answers in the cache.
//!
//! `cargo run --release -p frontdesk-smtp --example auth_rate --features testing`
//!
//! Each message is 10 KB, signed with RSA-2048, and gets everything that a real one gets: iprev, SPF
//! of HELO and reverse-path, DKIM, DMARC, ARC (no chain), with every DNS answer recorded.

use std::time::{Duration, Instant};

use frontdesk_smtp::{
    auth::{Authenticator, dns::DnsConfig, verdict},
    testing::{
        dns::{TestDns, Zone},
        sign::{DkimOptions, TestKey, dkim_sign},
    },
};
use jiff::Timestamp;

/// How long each figure is measured.
const RUN: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let zone = Zone::new()
        .txt("author.example", "v=spf1 ip4:192.0.2.0/24 -all")
        .txt("mail.author.example", "v=spf1 a -all")
        .a("mail.author.example", "192.0.2.10".parse().expect("an address"))
        .ptr("192.0.2.10".parse().expect("an address"), "mail.author.example")
        .txt("_dmarc.author.example", "v=DMARC1; p=reject")
        .txt("rsa._domainkey.author.example", &TestKey::rsa().record())
        .txt("ed._domainkey.author.example", &TestKey::ed25519().record());
    let dns = TestDns::start(zone).await.expect("a free port");
    let config = DnsConfig { servers: vec![dns.addr()], ..DnsConfig::default() };
    let authenticator = Authenticator::new(&config, "mx.desk.example").expect("a resolver");

    let plain = message(10 * 1024);
    let sign = |key, selector| {
        dkim_sign(plain.as_bytes(), key, "author.example", selector, &DkimOptions::default())
    };
    measure(&authenticator, "no signature", plain.as_bytes()).await;
    measure(&authenticator, "RSA-2048", &sign(TestKey::rsa(), "rsa")).await;
    measure(&authenticator, "Ed25519", &sign(TestKey::ed25519(), "ed")).await;
}

async fn measure(authenticator: &Authenticator, what: &str, message: &[u8]) {
    let peer = "192.0.2.10".parse().expect("an address");
    let once = async || {
        let path = Some("ann@author.example");
        let helo = "mail.author.example";
        authenticator.authenticate(peer, helo, path, message, Timestamp::now()).await
    };
    let warm = once().await;
    assert!(verdict(&warm).is_verified(), "{warm:?}");
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < RUN {
        for _ in 0..100 {
            once().await;
        }
        count += 100;
    }
    let each = start.elapsed() / count;
    println!(
        "{what}: {:.0} messages/s on one core, {each:?} each, {} octets, {} DNS answers from cache",
        f64::from(count) / start.elapsed().as_secs_f64(),
        message.len(),
        warm.dns.len(),
    );
}

fn message(size: usize) -> String {
    let mut text = "Received: from a.example by b.example; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
        From: Ann Author <ann@author.example>\r\n\
        To: support@desk.example\r\n\
        Subject: Printer on fire\r\n\
        Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\
        Message-ID: <1@author.example>\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        \r\n"
        .to_owned();
    while text.len() < size {
        text.push_str("The quick brown fox jumps over the lazy dog, and the printer burns on.\r\n");
    }
    text
}
