//! Arbitrary input: nothing panics, and nothing verifies without an answer from the DNS.

use std::sync::LazyLock;

use frontdesk_smtp::{
    auth::{
        Authentication, Authenticator, authentication_results,
        author::name_flags,
        disposition,
        dns::DnsConfig,
        spf::{SpfQuery, check_host},
        verdict,
    },
    testing::dns::Zone,
};
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::{BAD, MESSAGE, check, zone};

/// Pieces that header parsers, signature parsers and address parsers care about, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "From: ",
        "from:",
        "From : a@b.example",
        "\"",
        "(",
        ")",
        "<",
        ">",
        "@",
        ",",
        ";",
        ":",
        "=",
        "a@author.example",
        "b@other.example",
        "=?utf-8?q?=61?=",
        "=?utf-8?b?",
        "?=",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\r\n\r\n",
        "DKIM-Signature: v=1; a=rsa-sha256; d=author.example; s=k; h=from;",
        " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA",
        "c=relaxed/simple;",
        "l=1;",
        "x=1;",
        "i=@author.example;",
        "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=f.example; s=k; b=AAAA\r\n",
        "ARC-Message-Signature: i=1; a=rsa-sha256; d=f.example; s=k; h=from; bh=AA==; b=AAAA\r\n",
        "ARC-Authentication-Results: i=1; f; dmarc=pass header.from=author.example\r\n",
    ]);
    prop_oneof![
        4 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Setting one up reads the system's certificates, so all cases share it. Never asks anybody.
static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let config =
        DnsConfig { servers: vec!["127.0.0.1:9".parse().unwrap()], ..DnsConfig::default() };
    let _entered = RUNTIME.enter();
    Authenticator::new(&config, "mx.desk.example").unwrap()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_message_panics_or_verifies_without_dns(message in message(), path in ".{0,40}") {
        let peer = BAD.parse().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let stored = Authentication {
            local: false,
            ..Authentication::local(peer, &path, Some(&path), &message, now)
        };
        // Nothing is recorded, so every lookup fails.
        let a = RUNTIME.block_on(AUTHENTICATOR.recompute(&stored, &message));
        prop_assert!(!verdict(&a).is_verified(), "{:?}", a);
        let trusted = ["f.example".to_owned()];
        let accepted = format!("{:?}", disposition(&a, &trusted));
        prop_assert!(!accepted.contains("Verified {"), "{}", accepted);
        let text = authentication_results(&a, "mx.desk.example");
        prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b) || b"\r\n\t".contains(&b)));
    }

    #[test]
    fn no_spf_record_panics(
        record in "v=spf1( [-+~?]?(a|mx|ptr|all|ip4|ip6|include|exists|exp|redirect|x)[:=/]?[ -~é]{0,16}){0,5}",
        sender in ".{0,20}@.{0,20}",
    ) {
        let zone = Zone::new()
            .txt("author.example", &record)
            .txt("why.author.example", "%{S} %{lr-} %{i3R.} %{c} %{t}");
        let query = SpfQuery {
            ip: BAD.parse().unwrap(),
            domain: "author.example",
            sender: &sender,
            helo: &sender,
            receiver: "mx",
            now: Timestamp::UNIX_EPOCH,
        };
        RUNTIME.block_on(check_host(&zone, query));
    }

    #[test]
    fn no_display_name_panics(name in ".{0,60}") {
        name_flags(&name, "ann@author.example");
    }
}

#[tokio::test]
async fn a_from_field_ends_at_its_line_whatever_it_holds() {
    let (_, rest) = MESSAGE.split_once("\r\n").unwrap();
    for from in
        ["\"ann", "(ann", "<ann", "ann <a@author.example", "=?utf-8?q?ann", "a@[", "a:b", "\\"]
    {
        // A parser that ran on would swallow the second From field and show the first.
        let message = format!("From: {from}\r\nFrom: eve@evil.example\r\n{rest}");
        let a = check(zone(), BAD, message).await;
        assert!(a.malformed.is_some(), "{from}: {:?}", a.from);
    }
}
