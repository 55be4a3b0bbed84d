use frontdesk_smtp::auth::{
    Authentication, Disposition, Verdict, authentication_results,
    author::{Malformed, NameFlag, name_flags},
    disposition, verdict,
};
use jiff::Timestamp;

use crate::{BAD, GOOD, MESSAGE, World, check, with_dmarc, zone};

fn with_from(from: &str) -> String {
    let (_, rest) = MESSAGE.split_once("\r\n").unwrap();
    format!("{from}\r\n{rest}")
}

#[tokio::test]
async fn ambiguous_authors_are_refused() {
    let cases = [
        ("From: a@author.example\r\nFrom: b@author.example", Malformed::SeveralFromFields),
        ("From: a@author.example\r\nfrom: b@other.example", Malformed::SeveralFromFields),
        ("From: a@author.example, b@other.example", Malformed::DifferentDomains),
        ("From: Us: a@author.example, b@other.example;", Malformed::DifferentDomains),
        ("From: a@author.example, nobody", Malformed::DifferentDomains),
        ("From : a@author.example", Malformed::StrangeFromField),
    ];
    for (from, expected) in cases {
        let a = check(zone(), GOOD, with_from(from)).await;
        assert_eq!(a.malformed, Some(expected), "{from}");
        let Disposition::Refuse { reply } = disposition(&a, &[]) else { panic!("{from}") };
        assert!(reply.starts_with("550 5.6.0 "), "{reply}");
        assert_eq!(verdict(&a), Verdict::Failed);
    }
}

#[tokio::test]
async fn authors_of_one_domain_are_allowed_and_flagged() {
    let a = check(zone(), GOOD, with_from("From: a@author.example, b@AUTHOR.example")).await;
    let author = a.from.unwrap();
    assert_eq!(author.address, "a@author.example");
    assert_eq!(author.flags, [NameFlag::SeveralAuthors]);
}

#[tokio::test]
async fn a_message_without_readable_author_is_held_and_never_verified() {
    for from in ["X-From: a@author.example", "From: ", "From: nobody", "From: <>", "From: a@b..c"] {
        let a = check(with_dmarc("v=DMARC1; p=reject"), GOOD, with_from(from)).await;
        assert!(matches!(disposition(&a, &[]), Disposition::Quarantine { .. }), "{from}: {a:?}");
        assert_eq!(verdict(&a), Verdict::Unverified, "{from}");
    }
    let a = check(zone(), GOOD, "no header at all").await;
    assert!(matches!(disposition(&a, &[]), Disposition::Quarantine { .. }));
    let a = check(zone(), GOOD, "").await;
    assert!(matches!(disposition(&a, &[]), Disposition::Quarantine { .. }));
}

#[tokio::test]
async fn the_shown_author_is_the_judged_author() {
    // The display name carries an address; the one in angle brackets counts.
    let from = "From: \"ann@author.example\" <eve@stranger.example>";
    let a = check(with_dmarc("v=DMARC1; p=reject"), GOOD, with_from(from)).await;
    assert_eq!(a.dmarc.domain, "stranger.example");
    let author = a.from.clone().unwrap();
    assert_eq!(author.address, "eve@stranger.example");
    assert_eq!(author.flags, [NameFlag::OtherAddress]);
    assert_eq!(verdict(&a), Verdict::Unverified);
}

#[tokio::test]
async fn international_domains_are_judged_as_a_labels() {
    let zone = zone()
        .txt("_dmarc.xn--bcher-kva.example", "v=DMARC1; p=reject")
        .txt("xn--bcher-kva.example", "v=spf1 ip4:192.0.2.10 -all");
    let world = World::new(zone).await;
    let message = with_from("From: Buch <buch@Bücher.example>");
    let a = world.check_from(GOOD, Some("x@bücher.example"), &message).await;
    assert_eq!(a.from.as_ref().unwrap().address, "buch@xn--bcher-kva.example");
    assert!(verdict(&a).is_verified(), "{a:?}");
}

#[test]
fn display_names_that_deceive_are_flagged() {
    let cases: [(&str, &[NameFlag]); 16] = [
        ("Ann Author", &[]),
        ("Зоя Кузнецова", &[]),
        ("山田太郎 Yamada", &[]),
        ("José Müller-Lüdenscheidt", &[]),
        ("Ann\u{7}", &[NameFlag::ControlCharacters]),
        ("Ann \u{202e}gnp.exe", &[NameFlag::BidiOverride]),
        ("می\u{200c}خواهم", &[]),
        ("A\u{200d}nn", &[NameFlag::Invisible]),
        ("A\u{200b}nn", &[NameFlag::Invisible]),
        ("Ann \u{e0041}\u{e0042}", &[NameFlag::Invisible]),
        ("P\u{430}yPal", &[NameFlag::MixedScripts, NameFlag::Confusable]),
        ("\u{430}\u{440}\u{440}\u{4cf}\u{435}", &[NameFlag::Confusable]),
        ("ann@author.example", &[]),
        ("ANN@author.example", &[]),
        ("boss@author.example via list", &[NameFlag::OtherAddress]),
        ("boss＠author.example", &[NameFlag::OtherAddress]),
    ];
    for (name, expected) in cases {
        assert_eq!(name_flags(name, "ann@author.example"), expected, "{name:?}");
    }
}

#[tokio::test]
async fn encoded_words_are_decoded_before_they_are_judged() {
    let from = "From: =?utf-8?q?P=D0=B0yPal?= <a@author.example>";
    let a = check(zone(), GOOD, with_from(from)).await;
    let author = a.from.unwrap();
    assert_eq!(author.display_name.as_deref(), Some("P\u{430}yPal"));
    assert!(author.flags.contains(&NameFlag::MixedScripts));
}

#[tokio::test]
async fn local_mail_is_verified_by_the_caller_but_still_well_formed() {
    let peer = "127.0.0.1".parse().unwrap();
    let a = Authentication::local(peer, "localhost", None, MESSAGE.as_bytes(), Timestamp::now());
    assert_eq!(verdict(&a), Verdict::Local);
    assert!(verdict(&a).is_verified());
    assert_eq!(disposition(&a, &[]), Disposition::Accept(Verdict::Local));
    assert_eq!(authentication_results(&a, "mx.desk.example"), "mx.desk.example; none");
    assert_eq!(a.from.unwrap().address, "ann@author.example");

    let twice = with_from("From: a@author.example\r\nFrom: b@author.example");
    let a = Authentication::local(peer, "localhost", None, twice.as_bytes(), Timestamp::now());
    assert!(matches!(disposition(&a, &[]), Disposition::Refuse { .. }));
}

#[tokio::test]
async fn results_are_written_for_people_and_other_filters() {
    let a = check(with_dmarc("v=DMARC1; p=reject"), GOOD, MESSAGE).await;
    assert_eq!(
        authentication_results(&a, "mx.desk.example"),
        "mx.desk.example;\r\n\t\
         iprev=pass policy.iprev=192.0.2.10 (mail.author.example);\r\n\t\
         spf=pass smtp.helo=mail.author.example;\r\n\t\
         spf=pass smtp.mailfrom=author.example;\r\n\t\
         dkim=none;\r\n\t\
         dmarc=pass (p=reject) header.from=author.example;\r\n\t\
         arc=none"
    );
}

#[tokio::test]
async fn nothing_from_outside_can_add_a_result() {
    let world = World::new(zone()).await;
    let helo = "x;\r\n dmarc=pass header.from=bank.example (\\\"";
    let path = Some("a;dmarc=pass@\"x\r\nX-Injected: y\"");
    let message = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=x\"(\\.example; s=\"q; dmarc=pass; h=from; bh=AA==; b=AA==\r\n{MESSAGE}"
    );
    let a = world
        .authenticator
        .authenticate(BAD.parse().unwrap(), helo, path, message.as_bytes(), Timestamp::now())
        .await;
    let text = authentication_results(&a, "mx.desk.example");
    assert!(!text.contains("X-Injected"), "{text}");
    assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b) || matches!(b, b'\r' | b'\n' | b'\t')));
    assert_eq!(text.matches("\r\n").count(), text.matches(";\r\n\t").count(), "{text}");
    // Outside quotes there is only our own result for DMARC.
    let mut quoted = false;
    let mut escaped = false;
    let plain: String = text
        .chars()
        .filter(|&c| {
            if escaped {
                escaped = false;
                return false;
            }
            escaped = quoted && c == '\\';
            if c == '"' {
                quoted = !quoted;
            }
            !quoted && c != '"'
        })
        .collect();
    assert!(!quoted, "{text}");
    assert_eq!(plain.matches("dmarc=").count(), 1, "{plain}");
    assert!(plain.contains("dmarc=none"), "{plain}");
}
