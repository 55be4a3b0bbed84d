//! Our signatures, verified by mail-auth and by hand.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use frontdesk_smtp::render::{
    AddrSpec, HeaderText, Html, LinkUrl, ListUnsubscribe, Mailbox, MessageId, Outgoing, render,
};
use frontdesk_smtp::sign::{
    DkimKey, DkimKeys, Error, KeyType, SIGNED_FIELDS, Signer, relaxed_body,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MX, MessageAuthenticator, Parameters, RecordSet,
    ResolverCache, Txt,
};
use sha2::{Digest as _, Sha256};

static KEYS: LazyLock<DkimKeys> = LazyLock::new(|| DkimKeys::generate().unwrap());

fn now() -> Timestamp {
    Timestamp::now()
}

fn signer() -> Signer {
    Signer::new("Desk.Example", "fd1", &KEYS).unwrap()
}

fn mail(text: &str, html: Html) -> Outgoing {
    let mailbox = |text| Mailbox::bare(AddrSpec::parse(text).unwrap());
    Outgoing {
        from: mailbox("support@desk.example"),
        to: vec![mailbox("ann@there.example"), mailbox("bob@there.example")],
        cc: Vec::new(),
        reply_to: Some(mailbox("support+rabc@desk.example")),
        subject: HeaderText::lossy(
            "Grüße und ein ziemlich langer Betreff, der gefaltet werden muss",
        ),
        text: text.to_owned(),
        html,
        attachments: Vec::new(),
        message_id: MessageId::new("<m@desk.example>").unwrap(),
        thread_id: MessageId::new("<t@desk.example>").unwrap(),
        in_reply_to: None,
        references: Vec::new(),
        date: Timestamp::from_second(1_800_000_000).unwrap().to_zoned(TimeZone::UTC),
        auto_submitted: None,
        list_unsubscribe: Some(ListUnsubscribe {
            https: Some(LinkUrl::new("https://desk.example/u/abc").unwrap()),
            mailto: None,
        }),
        extra: Vec::new(),
    }
}

/// Answers from memory, so that no test asks the network.
struct Cache<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Cache<K, V> {
    fn get<Q>(&self, name: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn remove<Q>(&self, name: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.lock().unwrap().remove(name)
    }

    fn insert(&self, key: K, value: V, _: Instant) {
        self.0.lock().unwrap().insert(key, value);
    }
}

/// What mail-auth says about each signature, topmost first.
async fn verdicts(message: &[u8]) -> Vec<bool> {
    let txt: Cache<Box<str>, Txt> = Cache::default();
    for record in KEYS.dns_records("fd1", "desk.example").unwrap() {
        let key = DomainKey::parse(record.value.as_bytes()).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        txt.insert(format!("{}.", record.name).into_boxed_str(), Txt::from(key), until);
    }
    let authenticator =
        MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).unwrap();
    let parsed = AuthenticatedMessage::parse(message).unwrap();
    let parameters = Parameters {
        params: &parsed,
        cache_txt: Some(&txt),
        cache_mx: None::<&Cache<Box<str>, RecordSet<MX>>>,
        cache_ptr: None::<&Cache<IpAddr, RecordSet<Box<str>>>>,
        cache_ipv4: None::<&Cache<Box<str>, RecordSet<Ipv4Addr>>>,
        cache_ipv6: None::<&Cache<Box<str>, RecordSet<Ipv6Addr>>>,
    };
    let outputs = authenticator.verify_dkim(parameters).await;
    outputs.iter().map(|output| matches!(output.result(), DkimResult::Pass)).collect()
}

#[tokio::test]
async fn both_signatures_pass_on_rendered_mail() {
    for (text, html) in [
        ("Hello,\n\nyours.\n", Html::FromText),
        ("trailing space lines\n \n\t\n   \n\n", Html::Omit),
        ("", Html::Omit),
        ("日本語の本文です。\n", Html::FromText),
        (".\n..\nFrom here\n", Html::Omit),
    ] {
        let rendered = render(&mail(text, html)).unwrap();
        let signed = signer().sign(&rendered, now()).unwrap();
        assert!(signed.ends_with(&rendered), "the message itself is not touched");
        assert_eq!(verdicts(&signed).await, [true, true], "{text:?}");
    }
}

#[tokio::test]
async fn any_change_to_a_signed_field_or_the_body_fails() {
    let rendered = render(&mail("Pay 10 EUR.\n", Html::Omit)).unwrap();
    let signed = String::from_utf8(signer().sign(&rendered, now()).unwrap()).unwrap();
    for (from, to) in [
        ("Pay 10", "Pay 99"),
        ("From: support", "From: sapport"),
        ("To: ann@", "To: eve@"),
        ("+rabc@", "+rabd@"),
        ("Message-ID: <m@", "Message-ID: <n@"),
        ("References: <t@", "References: <s@"),
        ("/u/abc", "/u/abd"),
        ("One-Click", "Two-Click"),
        ("charset=us-ascii", "charset=utf-16"),
        ("Date: Fri", "Date: Sat"),
    ] {
        assert!(signed.contains(from), "{from}");
        let changed = signed.replacen(from, to, 1);
        assert_eq!(verdicts(changed.as_bytes()).await, [false, false], "{from}");
    }
}

#[tokio::test]
async fn a_second_copy_of_any_signed_field_fails() {
    let rendered = render(&mail("Hello\n", Html::Omit)).unwrap();
    let signed = signer().sign(&rendered, now()).unwrap();
    for name in SIGNED_FIELDS {
        let forged = [format!("{name}: forged@evil.example\r\n").as_bytes(), &signed].concat();
        assert_eq!(verdicts(&forged).await, [false, false], "{name}");
    }
}

#[test]
fn every_field_is_listed_once_more_than_it_occurs() {
    let rendered = render(&mail("Hello\n", Html::Omit)).unwrap();
    let signed = String::from_utf8(signer().sign(&rendered, now()).unwrap()).unwrap();
    let field = signed.split("DKIM-Signature:").nth(1).unwrap();
    let h: String = field.split("h=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let names: Vec<&str> = h.split(':').map(str::trim).collect();
    let header = String::from_utf8(rendered).unwrap();
    let header = header.split("\r\n\r\n").next().unwrap().to_owned();
    for name in SIGNED_FIELDS {
        let present =
            header.split("\r\n").filter(|line| line.starts_with(&format!("{name}:"))).count();
        let listed = names.iter().filter(|known| *known == name).count();
        assert_eq!(listed, present + 1, "{name}");
    }
    assert_eq!(names.iter().filter(|name| **name == "Cc").count(), 1, "absent ones are listed too");
}

#[test]
fn signing_is_a_pure_function_of_key_message_and_time() {
    let rendered = render(&mail("Hello\n", Html::FromText)).unwrap();
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let first = signer().sign(&rendered, at).unwrap();
    assert_eq!(first, signer().sign(&rendered, at).unwrap());
    assert!(String::from_utf8_lossy(&first).contains("t=1800000000"));
    for line in first.split(|b| *b == b'\n') {
        assert!(line.len() <= 79, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn bytes_without_a_header_are_not_signed() {
    for bad in ["", "\r\n\r\n", "no colon\r\n\r\nbody", "Subject: x\r\n", "Subject: x\n\nbody"] {
        assert_eq!(signer().sign(bad.as_bytes(), now()), Err(Error::Message), "{bad:?}");
    }
}

fn relaxed(body: &str) -> String {
    let mut out = Vec::new();
    relaxed_body(body.as_bytes(), |bytes| out.extend_from_slice(bytes));
    String::from_utf8(out).unwrap()
}

#[test]
fn relaxed_bodies_are_those_of_rfc_6376() {
    // The example of section 3.4.5.
    assert_eq!(relaxed(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
    assert_eq!(relaxed(""), "");
    assert_eq!(relaxed("\r\n\r\n"), "");
    assert_eq!(relaxed("a"), "a\r\n");
    // What mail-auth 0.13.3 gets wrong.
    assert_eq!(relaxed("a\r\n \r\n\t \r\n"), "a\r\n");
    assert_eq!(relaxed(" \r\n"), "");
    assert_eq!(relaxed("a\r\n \r\nb\r\n"), "a\r\n\r\nb\r\n");
    assert_eq!(relaxed("\r\n a  b\t\r\n"), "\r\n a b\r\n");
}

/// RFC 6376 errata and common verifiers: the hash of an empty relaxed body.
#[test]
fn the_body_hash_is_in_the_signature() {
    let rendered = render(&mail("Hello\n", Html::Omit)).unwrap();
    let signed = String::from_utf8(signer().sign(&rendered, now()).unwrap()).unwrap();
    let expected = data_encoding::BASE64.encode(&Sha256::digest(b"Hello\r\n"));
    let unfolded = signed.replace("\r\n\t", "");
    assert_eq!(unfolded.matches(&format!("bh={expected};")).count(), 2);
}

#[test]
fn keys_survive_pem_and_keep_their_records() {
    let (rsa, ed25519) = (KEYS.rsa().to_pem().unwrap(), KEYS.ed25519().to_pem().unwrap());
    assert!(rsa.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let again = DkimKeys::from_pem(rsa.expose(), ed25519.expose()).unwrap();
    assert_eq!(
        again.dns_records("fd1", "desk.example").unwrap(),
        KEYS.dns_records("fd1", "desk.example").unwrap()
    );
    assert_eq!(
        format!("{rsa:?} {:?}", *KEYS),
        "SecretPem(..) DkimKeys { rsa: DkimKey(rsa), ed25519: DkimKey(ed25519) }"
    );
    assert!(matches!(DkimKey::from_pem(KeyType::Rsa, ed25519.expose()), Err(Error::Key(_))));
    assert!(matches!(DkimKey::from_pem(KeyType::Ed25519, rsa.expose()), Err(Error::Key(_))));
    assert!(matches!(DkimKey::from_pem(KeyType::Rsa, "garbage"), Err(Error::Key(_))));
}

/// Keys of RFC 8463 appendix A.2 (Ed25519, as PKCS#8 of its seed) give the record printed there.
#[test]
fn the_ed25519_record_is_that_of_rfc_8463() {
    let seed =
        data_encoding::BASE64.decode(b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let der =
        [&data_encoding::HEXLOWER.decode(b"302e020100300506032b657004220420").unwrap()[..], &seed]
            .concat();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        data_encoding::BASE64.encode(&der)
    );
    let key = DkimKey::from_pem(KeyType::Ed25519, &pem).unwrap();
    let record = key.dns_record("brisbane", "football.example.com").unwrap();
    assert_eq!(record.name, "brisbane-ed25519._domainkey.football.example.com");
    assert_eq!(
        record.value,
        "v=DKIM1; k=ed25519; h=sha256; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    );
}

#[test]
fn rsa_records_are_split_for_those_who_need_it() {
    let record = KEYS.rsa().dns_record("fd1", "desk.example").unwrap();
    let strings = record.strings();
    assert_eq!(strings.len(), 2);
    assert!(strings.iter().all(|string| string.len() <= 255));
    assert_eq!(strings.concat(), record.value);
    let shown = record.to_string();
    assert!(shown.contains(&record.value) && shown.contains("\" \""), "{shown}");
    assert!(matches!(KEYS.rsa().dns_record("a b", "desk.example"), Err(Error::Name(_))));
    assert!(matches!(KEYS.rsa().dns_record("a", "desk.example;x"), Err(Error::Name(_))));
}
