//! Mails of many clients, languages and kinds (`tests/mails/*.eml`), each with what must be read
//! from it in a `.json` beside it.
//!
//! Keys of the expectation, each optional but `category`: `ours` (texts of mails we sent),
//! `new_text`, `own_words`, `kinds` (of the segments, in order), `tampered`, `of_ours`, `subject`,
//! `from`, `to`, `reply_to`, `message_id`, `in_reply_to`, `references`, `date`, `source`, `text`,
//! `text_has`, `text_has_not`, `automatic`, `is_report`, `hidden` (kinds), `hidden_has`,
//! `attachments` (name, type, size, inline).

// Helpers of tests are not tests to the lint.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use frontdesk_smtp::{
    guard,
    read::{Kind, ReadMail, read},
};
use serde_json::{Value, json};

#[test]
fn every_mail_is_read_as_its_expectation_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mails");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    paths.sort();
    let mut board: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for path in &paths {
        let raw = std::fs::read(path).unwrap();
        let expected = std::fs::read(path.with_extension("json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let wrong = check(&raw, &expected);
        let category = expected["category"].as_str().unwrap().to_string();
        let (passed, all) = board.entry(category).or_default();
        *all += 1;
        *passed += usize::from(wrong.is_empty());
        if !wrong.is_empty() {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            failures.push(format!("{name}: {}", wrong.join("\n    ")));
        }
    }
    for (category, (passed, all)) in &board {
        println!("{category}: {passed}/{all}");
    }
    println!("all: {}/{}", paths.len() - failures.len(), paths.len());
    assert!(paths.len() >= 60, "{} mails", paths.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn check(raw: &[u8], expected: &Value) -> Vec<String> {
    guard::check(raw).unwrap();
    let mail = read(raw);
    let mut wrong = Vec::new();
    let ours: Vec<&str> = expected["ours"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let layers = mail.layers(&ours);
    let joined: String = layers.iter().map(|(_, text)| text).collect();
    if joined != mail.text {
        wrong.push("the segments are not the text".to_string());
    }
    for (key, value) in expected.as_object().unwrap() {
        let found = match key.as_str() {
            "category" | "ours" => continue,
            "text_has" | "text_has_not" => {
                let has = key == "text_has";
                for part in value.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if mail.text.contains(part) != has {
                        wrong.push(format!("{key} {part:?} in {:?}", mail.text));
                    }
                }
                continue;
            }
            "hidden_has" => {
                let part = value.as_str().unwrap();
                if !mail.hidden.iter().any(|hidden| hidden.text.contains(part)) {
                    wrong.push(format!("{part:?} is not among what is hidden"));
                }
                continue;
            }
            "new_text" => json!(layers.new_text()),
            "own_words" => json!(layers.own_words()),
            "tampered" => json!(layers.is_tampered()),
            "of_ours" => json!(layers.segments().iter().any(|segment| matches!(
                segment.kind,
                Kind::Quoted { of_ours: true, .. } | Kind::Answered { of_ours: true, .. }
            ))),
            "kinds" => json!(layers.iter().map(|(kind, _)| kind_name(kind)).collect::<Vec<_>>()),
            key => field(&mail, key),
        };
        if found != *value {
            wrong.push(format!("{key}: expected {value}\n      found {found}"));
        }
    }
    wrong
}

fn field(mail: &ReadMail, key: &str) -> Value {
    let list = |boxes: &[frontdesk_smtp::read::Mailbox]| {
        json!(boxes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    match key {
        "subject" => json!(mail.subject),
        "from" => list(&mail.from),
        "to" => list(&mail.to),
        "cc" => list(&mail.cc),
        "reply_to" => list(&mail.reply_to),
        "message_id" => json!(mail.message_id),
        "in_reply_to" => json!(mail.in_reply_to),
        "references" => json!(mail.references),
        "date" => json!(mail.date.map(|date| date.to_string())),
        "source" => json!(mail.source),
        "text" => json!(mail.text),
        "is_report" => json!(mail.is_report),
        "automatic" => json!(mail.automatic.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "hidden" => json!(mail.hidden.iter().map(|hidden| hidden.how).collect::<Vec<_>>()),
        "attachments" => json!(
            mail.attachments
                .iter()
                .map(|a| json!([a.name, a.media_type, a.size, a.inline]))
                .collect::<Vec<_>>()
        ),
        other => panic!("unknown key {other}"),
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::New => "new",
        Kind::Answered { .. } => "answered",
        Kind::Answer => "answer",
        Kind::Quoted { .. } => "quoted",
        Kind::Attribution => "attribution",
        Kind::Signature => "signature",
        Kind::Forwarded => "forwarded",
    }
}

#[test]
fn attachments_decode_from_the_raw_message_when_asked() {
    let raw = include_bytes!("mails/attachments_only.eml");
    let mail = read(raw);
    let bytes: Vec<_> = mail.attachments.iter().map(|a| a.decode(raw).into_owned()).collect();
    assert_eq!(bytes[0], b"%PDF-1.4 minimal\n");
    for (attachment, bytes) in mail.attachments.iter().zip(&bytes) {
        assert_eq!(attachment.size, bytes.len(), "{}", attachment.name);
    }
    // Another message gives nothing, not a panic.
    assert_eq!(mail.attachments[0].decode(b"").len(), 0);
}

#[test]
fn a_message_body_does_not_reach_debug() {
    let mail = read(b"Subject: x\r\n\r\nsecret words\r\n");
    assert!(!format!("{mail:?}").contains("secret"));
}
