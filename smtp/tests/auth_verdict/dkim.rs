use frontdesk_smtp::{
    auth::{
        Disposition, Verdict, VerifiedBy, disposition,
        dkim::{DkimResult, MAX_SIGNATURES},
        verdict,
    },
    testing::{
        dns::{Fault, Zone},
        sign::{DkimOptions, TestKey, dkim_sign},
    },
};

use crate::{BAD, MESSAGE, World, check, with_dmarc, zone};

fn signed(message: &str) -> Vec<u8> {
    dkim_sign(message.as_bytes(), TestKey::rsa(), "author.example", "rsa", &DkimOptions::default())
}

fn signed_with(options: &DkimOptions) -> Vec<u8> {
    dkim_sign(MESSAGE.as_bytes(), TestKey::rsa(), "author.example", "rsa", options)
}

fn replaced(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(message.to_vec()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// The result and reason of the only signature, from an address without SPF, so that nothing else
/// can verify the message.
async fn only(zone: Zone, message: impl AsRef<[u8]>) -> (DkimResult, String, Verdict) {
    let a = check(zone, BAD, message).await;
    assert_eq!(a.dkim.len(), 1, "{:?}", a.dkim);
    let verdict = verdict(&a);
    (a.dkim[0].result, a.dkim[0].reason.clone().unwrap_or_default(), verdict)
}

fn by_dkim() -> Verdict {
    Verdict::Verified { by: VerifiedBy::Dkim("author.example".into()) }
}

#[tokio::test]
async fn a_good_signature_verifies_in_both_forms_and_with_both_key_types() {
    for simple in [false, true] {
        let options = DkimOptions { simple, ..DkimOptions::default() };
        assert_eq!(
            only(zone(), signed_with(&options)).await,
            (DkimResult::Pass, String::new(), by_dkim())
        );
    }
    let ed = dkim_sign(
        MESSAGE.as_bytes(),
        TestKey::ed25519(),
        "author.example",
        "ed",
        &DkimOptions::default(),
    );
    let a = check(zone(), BAD, ed).await;
    assert_eq!(a.dkim[0].algorithm, "ed25519-sha256");
    assert_eq!(a.dkim[0].result, DkimResult::Pass);
    assert_eq!(verdict(&a), by_dkim());
}

#[tokio::test]
async fn a_tampered_body_or_header_does_not_verify() {
    let (result, reason, verdict) =
        only(zone(), replaced(&signed(MESSAGE), "It is warm", "Send money")).await;
    assert_eq!((result, reason.as_str()), (DkimResult::Fail, "body hash does not match"));
    assert_eq!(verdict, Verdict::Unverified);

    let (result, reason, _) =
        only(zone(), replaced(&signed(MESSAGE), "Printer on fire", "Invoice")).await;
    assert_eq!((result, reason.as_str()), (DkimResult::Fail, "signature does not match"));

    let (result, ..) =
        only(zone(), replaced(&signed(MESSAGE), "<ann@author", "<boss@author")).await;
    assert_eq!(result, DkimResult::Fail);
}

#[tokio::test]
async fn a_wrong_revoked_missing_or_unfetchable_key_does_not_verify() {
    let name = "rsa._domainkey.author.example";
    let cases = [
        (Zone::new().txt(name, &TestKey::other_rsa().record()), DkimResult::Fail),
        (Zone::new().txt(name, &TestKey::ed25519().record()), DkimResult::Fail),
        (Zone::new().txt(name, "v=DKIM1; p="), DkimResult::PermError),
        (Zone::new().txt(name, "hello"), DkimResult::PermError),
        (Zone::new(), DkimResult::PermError),
        (Zone::new().fault(name, Fault::ServFail), DkimResult::TempError),
    ];
    for (zone, expected) in cases {
        let (result, reason, verdict) = only(zone, signed(MESSAGE)).await;
        assert_eq!(result, expected, "{reason}");
        assert_eq!(verdict, Verdict::Unverified);
    }
}

#[tokio::test]
async fn a_key_may_stand_beside_other_records_and_without_a_version() {
    let key = TestKey::rsa().record();
    let bare = key.strip_prefix("v=DKIM1; ").unwrap();
    let zone = Zone::new()
        .txt("rsa._domainkey.author.example", "google-site-verification=x")
        .txt("rsa._domainkey.author.example", bare);
    assert_eq!(only(zone, signed(MESSAGE)).await.0, DkimResult::Pass);
}

#[tokio::test]
async fn an_expired_signature_does_not_verify() {
    let options = DkimOptions { expires_in: 3600, ..DkimOptions::default() };
    let message = signed_with(&options);
    let world = World::new(zone()).await;
    let now = jiff::Timestamp::now();
    for (later, expected) in [(0, DkimResult::Pass), (3700, DkimResult::Neutral)] {
        let at = now + jiff::SignedDuration::from_secs(later);
        let a = world
            .authenticator
            .authenticate(BAD.parse().unwrap(), "x.example", Some("a@x.example"), &message, at)
            .await;
        assert_eq!(a.dkim[0].result, expected, "{later} s later");
    }
}

#[tokio::test]
async fn a_signature_over_part_of_the_body_does_not_count() {
    let options = DkimOptions { body_length: true, ..DkimOptions::default() };
    let message = signed_with(&options);
    let (result, reason, verdict) = only(zone(), &message).await;
    assert_eq!((result, reason.as_str()), (DkimResult::Policy, "covers only a part of the body"));
    assert_eq!(verdict, Verdict::Unverified);

    let mut longer = message;
    longer.extend_from_slice(b"and something else\r\n");
    assert_eq!(only(zone(), longer).await.0, DkimResult::Policy);
}

#[tokio::test]
async fn sha1_and_short_rsa_keys_do_not_count() {
    let sha1 = replaced(&signed(MESSAGE), "a=rsa-sha256", "a=rsa-sha1");
    let (result, reason, verdict) = only(zone(), sha1).await;
    assert_eq!((result, reason.as_str()), (DkimResult::Policy, "rsa-sha1 is not accepted"));
    assert_eq!(verdict, Verdict::Unverified);

    for (key, expected) in
        [(TestKey::rsa_512(), DkimResult::Policy), (TestKey::rsa_1024(), DkimResult::Pass)]
    {
        let zone = Zone::new().txt("k._domainkey.author.example", &key.record());
        let message =
            dkim_sign(MESSAGE.as_bytes(), key, "author.example", "k", &DkimOptions::default());
        assert_eq!(only(zone, message).await.0, expected);
    }
}

#[tokio::test]
async fn a_signature_that_does_not_cover_from_does_not_count() {
    let options = DkimOptions { headers: vec!["To", "Subject"], ..DkimOptions::default() };
    let (result, reason, _) = only(zone(), signed_with(&options)).await;
    assert_eq!((result, reason.as_str()), (DkimResult::PermError, "From is not signed"));
}

#[tokio::test]
async fn a_body_that_ends_in_blank_lines_verifies() {
    // The relaxed form ignores these lines, so the signature made before they are there is good.
    for tail in [" \r\n", "\t\r\n \t \r\n", " \r\n\r\n", "\r\n \r\n", "\r\n\r\n", "\r\n\r\n  "] {
        let mut message = signed(MESSAGE);
        message.extend_from_slice(tail.as_bytes());
        let (result, reason, verdict) = only(zone(), message).await;
        assert_eq!((result, verdict), (DkimResult::Pass, by_dkim()), "{tail:?}: {reason}");
    }
    // Signers with the same mistake as the library are not turned away.
    let (result, ..) = only(zone(), signed(&format!("{MESSAGE} \r\n"))).await;
    assert_eq!(result, DkimResult::Pass);
    // A body of blank lines only is an empty one.
    let empty = MESSAGE.split_once("\r\n\r\n").unwrap().0.to_owned() + "\r\n\r\n";
    let mut message = signed(&empty);
    message.extend_from_slice(b" \r\n\t\r\n");
    assert_eq!(only(zone(), message).await.0, DkimResult::Pass);
}

#[tokio::test]
async fn visible_text_after_blank_lines_is_still_tampering() {
    for tail in [" \r\nmore\r\n", "\r\n.\r\n", "\t\r\n\u{b}\r\n"] {
        let mut message = signed(MESSAGE);
        message.extend_from_slice(tail.as_bytes());
        assert_eq!(only(zone(), message).await.0, DkimResult::Fail, "{tail:?}");
    }
    // In the simple form blank lines count.
    let mut message = signed_with(&DkimOptions { simple: true, ..DkimOptions::default() });
    message.extend_from_slice(b" \r\n");
    assert_eq!(only(zone(), message).await.0, DkimResult::Fail);
}

#[tokio::test]
async fn each_of_several_signatures_is_judged_in_order() {
    let zone = zone().txt("k._domainkey.list.example", &TestKey::other_rsa().record());
    let message = dkim_sign(
        &signed(MESSAGE),
        TestKey::other_rsa(),
        "list.example",
        "k",
        &DkimOptions::default(),
    );
    let message = dkim_sign(
        &message,
        TestKey::ed25519(),
        "author.example",
        "missing",
        &DkimOptions::default(),
    );
    let a = check(zone, BAD, message).await;
    let rows: Vec<_> = a.dkim.iter().map(|d| (d.domain.as_str(), d.result, d.aligned)).collect();
    assert_eq!(
        rows,
        [
            ("author.example", DkimResult::PermError, true),
            ("list.example", DkimResult::Pass, false),
            ("author.example", DkimResult::Pass, true),
        ]
    );
    assert_eq!(verdict(&a), by_dkim());
}

#[tokio::test]
async fn only_the_first_signatures_are_looked_at() {
    let mut message = signed(MESSAGE);
    for _ in 0..MAX_SIGNATURES {
        message = dkim_sign(
            &message,
            TestKey::ed25519(),
            "stranger.example",
            "x",
            &DkimOptions::default(),
        );
    }
    let a = check(zone(), BAD, message).await;
    assert_eq!((a.dkim.len(), a.dkim_ignored), (MAX_SIGNATURES, 1));
    assert_eq!(verdict(&a), Verdict::Unverified);
}

#[tokio::test]
async fn without_a_dmarc_record_only_the_domain_or_its_parent_may_sign() {
    let from_sub = MESSAGE.replace("ann@author.example", "ann@sub.author.example");
    let sign = |message: &str, domain: &str| {
        dkim_sign(message.as_bytes(), TestKey::rsa(), domain, "k", &DkimOptions::default())
    };
    let zone =
        |domain: &str| Zone::new().txt(&format!("k._domainkey.{domain}"), &TestKey::rsa().record());
    let cases = [
        (from_sub.as_str(), "author.example", true),
        (from_sub.as_str(), "sub.author.example", true),
        // A child may belong to somebody else, and so may a sibling.
        (MESSAGE, "sub.author.example", false),
        (from_sub.as_str(), "other.author.example", false),
        // A public suffix speaks for nobody.
        (from_sub.as_str(), "example", false),
        (MESSAGE, "thor.example", false),
    ];
    for (message, domain, expected) in cases {
        let a = check(zone(domain), BAD, sign(message, domain)).await;
        assert_eq!(a.dkim[0].result, DkimResult::Pass, "{domain}");
        assert_eq!(verdict(&a).is_verified(), expected, "{domain}");
    }
}

#[tokio::test]
async fn replay_under_another_from_is_caught() {
    // The signed From goes below a new one: two From fields are malformed.
    let mut message = b"From: Eve <eve@evil.example>\r\n".to_vec();
    message.extend_from_slice(&signed(MESSAGE));
    let a = check(with_dmarc("v=DMARC1; p=none"), BAD, message).await;
    assert!(matches!(disposition(&a, &[]), Disposition::Refuse { .. }));
    assert_eq!(verdict(&a), Verdict::Failed);
    // The same with names that only some programs take for From.
    for name in ["From :", "F rom:", ":From:", "fRoM\t:"] {
        let mut message = format!("{name} Eve <eve@evil.example>\r\n").into_bytes();
        message.extend_from_slice(&signed(MESSAGE));
        let a = check(zone(), BAD, message).await;
        assert!(matches!(disposition(&a, &[]), Disposition::Refuse { .. }), "{name}");
    }
}

#[tokio::test]
async fn a_signature_that_names_thousands_of_fields_is_not_computed() {
    let names: String = (0..100_000).map(|i| format!("x{i}:")).collect();
    let message = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=author.example; s=rsa; h=from:{names}to; bh=AA==; b=AA==\r\n{MESSAGE}"
    );
    let (result, reason, _) = only(zone(), message).await;
    assert_eq!((result, reason.as_str()), (DkimResult::Policy, "names too many header fields"));
}
