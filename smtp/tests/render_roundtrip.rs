//! What we render, `mail-parser` reads back, whatever the content.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use frontdesk_smtp::render::{
    AddrSpec, Attachment, HeaderText, Html, Mailbox, MediaType, MessageId, Outgoing, render,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mail_parser::{HeaderValue, MessageParser, MimeHeaders as _};
use proptest::prelude::*;

fn text_strategy() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            4 => "[ -~]{0,90}",
            1 => "[ -~]{900,1100}",
            2 => "\\PC{0,60}",
            1 => "[\\.F\\-= \t>]{1,5}From [a-z]{0,3}",
            1 => "(日本語|Ünïcödé|👩‍👩‍👧|=_|--=_){1,30}",
        ],
        0..8,
    )
    .prop_flat_map(|lines| {
        prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n \n")]
            .prop_map(move |ending| lines.join(ending))
    })
}

fn name_strategy() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,120}",
        "\\PC{0,80}",
        "[A-Z][a-z]{1,12} [A-Z][a-z]{1,12}",
        "(ü|日|👍| |\"){1,60}"
    ]
}

prop_compose! {
    fn mailbox()(name in name_strategy(), local in "[a-z0-9][a-z0-9.+_-]{0,20}[a-z0-9]|[a-z]{1,3}\\.\\.[a-z]{1,3}", domain in "[a-z]{1,20}\\.(example|test)") -> Mailbox {
        Mailbox {
            name: HeaderText::lossy(&name),
            address: AddrSpec::parse(&format!("{local}@{domain}")).unwrap(),
        }
    }
}

fn id(left: &str) -> MessageId {
    MessageId::new(&format!("{left}@desk.example")).unwrap()
}

prop_compose! {
    fn attachment()(name in "[ -~]{1,80}|\\PC{1,60}", kind in prop_oneof![Just("application/pdf"), Just("image/png"), Just("application/zip")], content in prop::collection::vec(any::<u8>(), 0..400)) -> Attachment {
        let name: String = name.chars().filter(|c| !"/\\:".contains(*c)).collect();
        let name = HeaderText::lossy(name.trim_start_matches(['.', ' ']));
        let name = if name.as_str().is_empty() { HeaderText::lossy("a") } else { name };
        Attachment { name, media_type: MediaType::new(kind).unwrap(), content: Bytes::from(content) }
    }
}

prop_compose! {
    fn outgoing()(
        from in mailbox(),
        to in prop::collection::vec(mailbox(), 1..5),
        cc in prop::collection::vec(mailbox(), 0..3),
        reply_to in prop::option::of(mailbox()),
        subject in name_strategy(),
        text in text_strategy(),
        html in prop_oneof![Just(Html::FromText), Just(Html::Omit)],
        attachments in prop::collection::vec(attachment(), 0..3),
        references in 0usize..40,
        seconds in 0i64..4_000_000_000,
    ) -> Outgoing {
        Outgoing {
            from, to, cc, reply_to,
            subject: HeaderText::lossy(&subject),
            text, html, attachments,
            message_id: id("own"),
            thread_id: id("thread"),
            in_reply_to: (references > 0).then(|| id("answered")),
            references: (0..references).map(|n| id(&format!("r{n}"))).collect(),
            date: Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::UTC),
            auto_submitted: None,
            list_unsubscribe: None,
            extra: Vec::new(),
        }
    }
}

/// The text as a reader should see it: LF line ends, no controls, no blank end.
fn seen(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text: String =
        text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_ascii_control()).collect();
    text.trim_end_matches([' ', '\t', '\n']).to_owned()
}

fn mailboxes(list: Option<&mail_parser::Address<'_>>) -> Vec<(String, String)> {
    list.into_iter()
        .flat_map(|list| list.iter())
        .map(|addr| {
            (
                addr.name().unwrap_or_default().to_owned(),
                addr.address().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn described(list: &[Mailbox]) -> Vec<(String, String)> {
    list.iter().map(|m| (m.name.to_string(), m.address.to_string())).collect()
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    match value {
        HeaderValue::Text(text) => vec![text.to_string()],
        HeaderValue::TextList(list) => list.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_parser_reads_back_what_was_described(mail in outgoing()) {
        let bytes = render(&mail).unwrap();
        let parsed = MessageParser::default().parse(&bytes).unwrap();

        prop_assert_eq!(parsed.subject().unwrap_or_default(), mail.subject.as_str());
        prop_assert_eq!(mailboxes(parsed.from()), described(std::slice::from_ref(&mail.from)));
        prop_assert_eq!(mailboxes(parsed.to()), described(&mail.to));
        prop_assert_eq!(mailboxes(parsed.cc()), described(&mail.cc));
        let reply_to: Vec<Mailbox> = mail.reply_to.iter().cloned().collect();
        prop_assert_eq!(mailboxes(parsed.reply_to()), described(&reply_to));
        prop_assert_eq!(parsed.message_id(), Some("own@desk.example"));
        prop_assert_eq!(parsed.date().unwrap().to_timestamp(), mail.date.timestamp().as_second());
        let references = ids(parsed.references());
        prop_assert_eq!(references.first().map(String::as_str), Some("thread@desk.example"));
        if mail.in_reply_to.is_some() {
            prop_assert_eq!(references.last().map(String::as_str), Some("answered@desk.example"));
        }

        let text = parsed.body_text(0).unwrap_or_default().replace("\r\n", "\n");
        let text = text.trim_end_matches('\n');
        prop_assert_eq!(text, seen(&mail.text));

        prop_assert_eq!(parsed.attachment_count(), mail.attachments.len());
        for (got, want) in parsed.attachments().zip(&mail.attachments) {
            prop_assert_eq!(got.attachment_name().unwrap_or_default(), want.name.as_str());
            prop_assert_eq!(got.contents(), &want.content[..]);
        }
    }

    #[test]
    fn the_bytes_need_no_relay_to_change_them(mail in outgoing()) {
        let bytes = render(&mail).unwrap();
        prop_assert!(bytes.is_ascii());
        let text = std::str::from_utf8(&bytes).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        if !body.is_empty() {
            prop_assert!(body.ends_with("\r\n") && !body.ends_with("\r\n\r\n") && body != "\r\n");
        }
        for line in text.split("\r\n") {
            prop_assert!(line.len() <= 78, "{} octets: {line}", line.len());
            prop_assert!(!line.bytes().any(|b| b.is_ascii_control() && b != b'\t'));
        }
        for line in header.split("\r\n") {
            prop_assert!(!line.trim().is_empty(), "blank line in the header");
        }
        for line in body.split("\r\n") {
            prop_assert!(!line.starts_with('.') && !line.starts_with("From "), "{line:?}");
            prop_assert!(!line.ends_with([' ', '\t']), "{line:?}");
        }
    }

    #[test]
    fn equal_descriptions_give_equal_bytes(mail in outgoing()) {
        prop_assert_eq!(render(&mail).unwrap(), render(&mail.clone()).unwrap());
    }

    #[test]
    fn no_text_adds_a_header(subject in ".{0,200}", name in ".{0,200}") {
        let attack = "\r\nBcc: victim@example.org\r\n\r\nbody";
        let mut mail = minimal();
        mail.subject = HeaderText::lossy(&format!("{subject}{attack}"));
        mail.from.name = HeaderText::lossy(&format!("{name}{attack}"));
        let bytes = render(&mail).unwrap();
        let header = String::from_utf8(bytes).unwrap();
        let header = header.split_once("\r\n\r\n").unwrap().0.to_owned();
        let names: Vec<&str> = header
            .split("\r\n")
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split_once(':').unwrap().0)
            .collect();
        prop_assert_eq!(
            names,
            ["Date", "From", "To", "Subject", "Message-ID", "References", "MIME-Version", "Content-Type"]
        );
    }
}

fn minimal() -> Outgoing {
    Outgoing {
        from: Mailbox::bare(AddrSpec::parse("a@desk.example").unwrap()),
        to: vec![Mailbox::bare(AddrSpec::parse("b@there.example").unwrap())],
        cc: Vec::new(),
        reply_to: None,
        subject: HeaderText::default(),
        text: "hello".to_owned(),
        html: Html::FromText,
        attachments: Vec::new(),
        message_id: id("own"),
        thread_id: id("thread"),
        in_reply_to: None,
        references: Vec::new(),
        date: Timestamp::from_second(1_700_000_000).unwrap().to_zoned(TimeZone::UTC),
        auto_submitted: None,
        list_unsubscribe: None,
        extra: Vec::new(),
    }
}
