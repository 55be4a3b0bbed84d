//! Whole mails as they leave, one file each under `golden/`.
//!
//! After a wanted change: `UPDATE_GOLDEN=1 cargo nextest run -p frontdesk-smtp golden`, then read the
//! difference.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use frontdesk_smtp::render::{
    AddrSpec, Attachment, AutoSubmitted, Error, HeaderName, HeaderText, Html, LinkUrl,
    ListUnsubscribe, MAX_REFERENCES, Mailbox, MediaType, MessageId, Outgoing, html_from_text,
    quote_answered, render, reply_subject,
};
use jiff::Zoned;

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox { name: HeaderText::new(name).unwrap(), address: AddrSpec::parse(address).unwrap() }
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn date() -> Zoned {
    "2026-11-21T09:05:03+01:00[+01:00]".parse().unwrap()
}

const TOKEN: &str = "dajdukz4jvpg66ucrmxx3lvbyopq4wamn";

fn answer() -> Outgoing {
    Outgoing {
        from: mailbox("Example Support", "support@desk.example"),
        to: vec![mailbox("Ann Smith", "ann@there.example")],
        cc: Vec::new(),
        reply_to: Some(Mailbox::bare(
            AddrSpec::parse(&format!("support+r{TOKEN}@desk.example")).unwrap(),
        )),
        subject: reply_subject("Printer on fire"),
        text: "Hello Ann,\n\nwe are on our way: https://desk.example/t/7?a=1&b=2.\n\n\
               -- \nSupport <support@desk.example>\n"
            .to_owned(),
        html: Html::FromText,
        attachments: Vec::new(),
        message_id: id(&format!("<{TOKEN}@desk.example>")),
        thread_id: id("<daxyqaaaaaaaaaabpqh7777aaaaaaaaa@desk.example>"),
        in_reply_to: Some(id("<CAF=abc123+XYZ@mail.there.example>")),
        references: vec![
            id("<first@there.example>"),
            id("<daxyqaaaaaaaaaabpqh7777aaaaaaaaa@desk.example>"),
            id("<CAF=abc123+XYZ@mail.there.example>"),
        ],
        date: date(),
        auto_submitted: Some(AutoSubmitted::Replied),
        list_unsubscribe: None,
        extra: Vec::new(),
    }
}

fn check(name: &str, mail: &Outgoing) {
    let bytes = render(mail).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &bytes).unwrap();
    }
    let expected = std::fs::read(&path).unwrap_or_default();
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&expected),
        "{} differs",
        path.display()
    );
}

#[test]
fn golden_answer_to_a_mail() {
    check("answer.eml", &answer());
}

#[test]
fn golden_plain_text_only() {
    check("plain.eml", &Outgoing { html: Html::Omit, auto_submitted: None, ..answer() });
}

#[test]
fn golden_every_header_outside_ascii() {
    let mut mail = answer();
    mail.from = mailbox(
        "Beratung für Kundinnen und Kunden der Größenordnung „Ü“",
        "beratung@bücher.example",
    );
    mail.to = vec![
        mailbox("山田太郎", "yamada@there.example"),
        mailbox("O'Neil, \"Bob\" \\ Co.", "bob..o@carrier.example"),
        mailbox("", "plain@[192.0.2.7]"),
    ];
    mail.cc = vec![mailbox("=?utf-8?q?not_encoded?=", "trick@there.example")];
    mail.subject = reply_subject("回复：关于您的订单的问题以及一个非常长的主题行，它必须被折叠 👩‍👩‍👧");
    mail.text = "こんにちは。\n\n本文です。\n".to_owned();
    mail.extra = vec![(HeaderName::new("X-Ticket").unwrap(), HeaderText::new("№ 7").unwrap())];
    check("outside_ascii.eml", &mail);
}

#[test]
fn golden_attachments_and_unsubscribe() {
    let mut mail = answer();
    let attachment = |name: &str, kind: &str, content: &'static [u8]| Attachment {
        name: HeaderText::new(name).unwrap(),
        media_type: MediaType::new(kind).unwrap(),
        content: Bytes::from_static(content),
    };
    mail.attachments = vec![
        attachment(
            "report.pdf",
            "application/pdf",
            b"%PDF-1.7 and some more bytes than fit one line of base64, really",
        ),
        attachment(
            "../etc/Übersicht der Bestellungen im vierten Quartal 2026 (vorläufig).csv",
            "text/csv",
            "a;ü\r\n".as_bytes(),
        ),
        attachment("original.eml", "message/rfc822", b"Subject: inner\r\n\r\nbody\r\n"),
        attachment("eight-bit.eml", "message/rfc822", "Subject: ü\r\n\r\nbody\r\n".as_bytes()),
        attachment("", "multipart/mixed", b""),
    ];
    mail.list_unsubscribe = Some(ListUnsubscribe {
        https: Some(LinkUrl::new(&format!("https://desk.example/unsubscribe/{TOKEN}")).unwrap()),
        mailto: Some(LinkUrl::new(&format!("mailto:support+u{TOKEN}@desk.example")).unwrap()),
    });
    mail.auto_submitted = Some(AutoSubmitted::Generated);
    check("attachments.eml", &mail);
}

#[test]
fn golden_awkward_lines() {
    let mut mail = answer();
    mail.text = format!(
        ".\n..dots\nFrom the start\n=equals= and trailing space \n\ttab\nlong {}\r\nbare\rreturns\0 and\x07 bells\n\n \t\n",
        "word ".repeat(40)
    );
    mail.html = Html::Given(format!("<p>{}</p>\n", "x".repeat(1200)));
    check("awkward_lines.eml", &mail);
}

#[test]
fn references_keep_the_thread_id_the_root_and_the_latest() {
    let mut mail = answer();
    mail.references = (0..100).map(|n| id(&format!("<r{n}@x>"))).collect();
    mail.references.push(mail.message_id.clone());
    let bytes = render(&mail).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let unfolded = text.replace("\r\n ", " ");
    let line = unfolded.lines().find(|line| line.starts_with("References: ")).unwrap();
    let ids: Vec<&str> = line.split(' ').skip(1).collect();
    assert_eq!(ids.len(), MAX_REFERENCES);
    assert_eq!(ids[0], mail.thread_id.to_string());
    assert_eq!(ids[1], "<r0@x>");
    assert_eq!(ids[18], "<r99@x>");
    assert_eq!(ids[19], "<CAF=abc123+XYZ@mail.there.example>");
    assert!(!ids.contains(&mail.message_id.to_string().as_str()), "never the mail itself");
}

#[test]
fn a_thread_id_that_is_the_message_id_is_refused() {
    let mail = Outgoing { thread_id: answer().message_id, ..answer() };
    assert_eq!(render(&mail), Err(Error::ThreadId));
    let nobody = Outgoing { to: Vec::new(), ..answer() };
    assert_eq!(render(&nobody), Err(Error::NoRecipient));
}

#[test]
fn a_boundary_never_occurs_in_what_goes_out_as_it_is() {
    let first = String::from_utf8(render(&answer()).unwrap()).unwrap();
    let boundary = first.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let hostile = Outgoing { text: format!("--{boundary}--\n\nforged part\n"), ..answer() };
    let bytes = String::from_utf8(render(&hostile).unwrap()).unwrap();
    let chosen = bytes.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_ne!(chosen, boundary);
    assert_eq!(bytes.matches(&format!("--{chosen}")).count(), 3, "two parts and the end");
}

#[test]
fn header_values_cannot_hold_controls() {
    for bad in ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b", "a\tb", "a\x7fb", "a\u{85}b", "a\u{2028}b"] {
        assert_eq!(HeaderText::new(bad), Err(Error::Control), "{bad:?}");
        let lossy = HeaderText::lossy(bad);
        assert!(HeaderText::new(lossy.as_str()).is_ok(), "{bad:?}");
        assert!(MessageId::new(bad).is_err() && LinkUrl::new(&format!("https://{bad}")).is_err());
        assert!(AddrSpec::parse(&format!("{bad}@x.example")).is_err(), "{bad:?}");
        assert!(AddrSpec::parse(&format!("x@{bad}.example")).is_err(), "{bad:?}");
        assert!(MediaType::new(&format!("text/{bad}")).is_err(), "{bad:?}");
        assert!(HeaderName::new(&format!("X-{bad}")).is_err(), "{bad:?}");
    }
    assert!(HeaderText::new("x".repeat(1001)).is_err());
    assert_eq!(HeaderText::lossy(&"é ".repeat(5000)).as_str().chars().count(), 999);
}

#[test]
fn fields_written_elsewhere_cannot_be_extra() {
    for bad in ["From", "bcc", "DKIM-Signature", "Content-Type", "Resent-To", "a b", "a:b", "", "é"]
    {
        assert!(HeaderName::new(bad).is_err(), "{bad}");
    }
    assert!(HeaderName::new("X-Ticket").is_ok());
}

#[test]
fn addresses_are_those_of_rfc_5322_and_6531() {
    for (input, written) in [
        ("a@b", "a@b"),
        ("A.b+c@Desk.Example", "A.b+c@desk.example"),
        ("x@bücher.example", "x@xn--bcher-kva.example"),
        ("用户@例子.example", "用户@xn--fsqu00a.example"),
        ("a..b@c.example", "\"a..b\"@c.example"),
        ("\"a.b\"@c.example", "a.b@c.example"),
        ("x@[IPv6:2001:db8::1]", "x@[IPv6:2001:db8::1]"),
    ] {
        assert_eq!(AddrSpec::parse(input).unwrap().to_string(), written);
    }
    for bad in [
        "",
        "@",
        "a@",
        "@b",
        "a b@c",
        "\"a b\"@c",
        "a@b c",
        "a@b>",
        "<a@b>",
        "a@b,c@d",
        "a@b@c d",
        "a@-b",
        "a@b..c",
        "a@[1.2.3]",
        "a\"b@c",
        "a\\b@c",
        "a(b)@c",
    ] {
        assert!(AddrSpec::parse(bad).is_err(), "{bad}");
    }
    assert!(AddrSpec::parse(&format!("{}@x", "a".repeat(65))).is_err());
    let mail = Outgoing { to: vec![mailbox("", "用户@例子.example")], ..answer() };
    assert!(mail.needs_smtputf8() && !answer().needs_smtputf8());
    assert!(
        String::from_utf8(render(&mail).unwrap())
            .unwrap()
            .contains("To: 用户@xn--fsqu00a.example\r\n")
    );
}

#[test]
fn reply_subjects_have_one_prefix() {
    for (subject, expected) in [
        ("Hello", "Re: Hello"),
        ("Re: Hello", "Re: Hello"),
        ("RE: re:AW: Antw: SV: Hello", "Re: Hello"),
        ("Re[2]: Re(3): Re^4: Hello", "Re: Hello"),
        ("回复：回复: 你好", "Re: 你好"),
        ("Ответ: Привет", "Re: Привет"),
        ("Fwd: Re: Hello", "Re: Fwd: Re: Hello"),
        ("", "Re:"),
        ("  ", "Re:"),
        ("Re:", "Re:"),
        ("Re: Re:", "Re:"),
        ("Report: all fine", "Re: Report: all fine"),
        ("R: a language", "Re: R: a language"),
        ("Reset 2: done", "Re: Reset 2: done"),
        ("x\r\nBcc: y", "Re: x Bcc: y"),
    ] {
        assert_eq!(reply_subject(subject).as_str(), expected, "{subject:?}");
    }
}

#[test]
fn html_from_text_cannot_become_markup() {
    for (text, part) in [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("a\nb\n\nc", "<p>a<br>\nb</p>\n<p>c</p>"),
        (
            "see (https://a.example/x_(y)).",
            "(<a href=\"https://a.example/x_(y)\">https://a.example/x_(y)</a>).",
        ),
        (
            "https://a.example/?q=1&r=\"><img",
            "<a href=\"https://a.example/?q=1&amp;r=\">https://a.example/?q=1&amp;r=</a>&quot;&gt;&lt;img",
        ),
        ("javascript:alert(1)", "<p>javascript:alert(1)</p>"),
        ("https://bank.example@evil.example/", "<p>https://bank.example@evil.example/</p>"),
        ("https://", "<p>https://</p>"),
        ("xhttp://a.example", "<p>xhttp://a.example</p>"),
        ("  indented", "<p>&nbsp;&nbsp;indented</p>"),
    ] {
        let html = html_from_text(text);
        assert!(html.contains(part), "{text:?} gave {html}");
    }
    let quoted = html_from_text("new\n> old\n> > older\n>\nnew again");
    assert_eq!(quoted.matches("<blockquote").count(), 2);
    assert_eq!(quoted.matches("</blockquote>").count(), 2);
    let deep = html_from_text(&">".repeat(100_000));
    assert!(deep.len() < 2000, "depth is bounded");
    let endless = html_from_text(&format!("https://a.example/{}", ")".repeat(1_000_000)));
    assert!(!endless.contains("<a "), "length is bounded");
}

#[test]
fn quoting_marks_every_line_and_every_cut() {
    let quoted = quote_answered("Yes.\n", "On Monday, Ann wrote:", "one\n> two\n\nthree\nfour", 4);
    assert_eq!(quoted, "Yes.\n\nOn Monday, Ann wrote:\n> one\n>> two\n>\n> three\n> [...]\n");
}
