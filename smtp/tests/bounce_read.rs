//! Bounces and complaints as mail systems write them.

#![allow(clippy::unwrap_used)]

use frontdesk_smtp::bounce::suppress::{Weight, weigh};
use frontdesk_smtp::bounce::{self, Action, Complaint, Delivery, Form, Kind, Report};
use proptest::prelude::*;

fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

fn read(text: &str) -> Option<Report> {
    bounce::read(&crlf(text)).unwrap()
}

fn delivery(text: &str) -> Delivery {
    match read(text) {
        Some(Report::Delivery(delivery)) => delivery,
        other => panic!("{other:?}\n{text}"),
    }
}

fn complaint(text: &str) -> Complaint {
    match read(text) {
        Some(Report::Complaint(complaint)) => complaint,
        other => panic!("{other:?}\n{text}"),
    }
}

/// A report with this status part, and this original.
fn report(status_type: &str, status: &str, original_type: &str, original: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example\nTo: support+b0@desk.example\nSubject: Undelivered\n\
         MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=rr\n\
         \n--rr\n\nIt did not work.\n--rr\nContent-Type: {status_type}\n\n{status}\n--rr\n\
         Content-Type: {original_type}\n\n{original}\n--rr--\n"
    )
}

const ORIGINAL: &str = "Return-Path: <support+btoken@desk.example>\nReceived: from x\n\tby y\n\
                        From: support@desk.example\nTo: Ann <ann@there.example>\n\
                        Message-ID:\n <m1@desk.example>\nSubject: Your order\n\nHello.";

fn standard(status: &str) -> Delivery {
    delivery(&report("message/delivery-status", status, "message/rfc822", ORIGINAL))
}

#[test]
fn a_standard_report_says_who_what_why_and_about_which_mail() {
    let found = standard(
        "Reporting-MTA: dns; mx.example\nOriginal-Envelope-Id: e1\nArrival-Date: x\n\n\
         Original-Recipient: rfc822;ann@there.example\nFinal-Recipient: RFC822; <ann@inner.example>\n\
         Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx2.example\n\
         Diagnostic-Code: smtp; 550 5.1.1 <ann@inner.example>:\n    Recipient address rejected",
    );
    assert_eq!(found.form, Form::Report);
    assert!(found.changes_state());
    assert_eq!(found.reporting_mta.as_deref(), Some("mx.example"));
    assert_eq!(found.envelope_id.as_deref(), Some("e1"));
    assert_eq!(found.original.message_id.as_deref(), Some("m1@desk.example"));
    assert_eq!(found.original.reverse_path.as_deref(), Some("support+btoken@desk.example"));
    assert_eq!(found.original.to.as_deref(), Some("ann@there.example"));
    let [recipient] = found.recipients.as_slice() else { panic!() };
    assert_eq!(recipient.address.as_deref(), Some("ann@inner.example"));
    assert_eq!(recipient.original.as_deref(), Some("ann@there.example"));
    assert_eq!(recipient.action, Action::Failed);
    assert_eq!(recipient.status.unwrap().to_string(), "5.1.1");
    assert_eq!(recipient.remote_mta.as_deref(), Some("mx2.example"));
    let words = "550 5.1.1 <ann@inner.example>: Recipient address rejected";
    assert_eq!(recipient.diagnostic, words);
    assert_eq!(weigh(recipient.action, recipient.status), Weight::NoSuchAddress);
}

#[test]
fn several_recipients_have_their_own_fates() {
    let found = standard(
        "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@x.example\nAction: failed\n\
         Status: 5.2.2\n\nFinal-Recipient: rfc822; b@x.example\nAction: delayed\nStatus: 4.4.1\n\
         Will-Retry-Until: x\n\nFinal-Recipient: rfc822; c@x.example\nAction: delivered\n\
         Status: 2.0.0",
    );
    let fates: Vec<(Action, Weight)> =
        found.recipients.iter().map(|one| (one.action, weigh(one.action, one.status))).collect();
    assert_eq!(
        fates,
        [
            (Action::Failed, Weight::Counts),
            (Action::Delayed, Weight::Nothing),
            (Action::Delivered, Weight::Nothing)
        ]
    );
}

#[test]
fn sloppy_reports_are_understood() {
    let one = |status: &str| {
        let found = standard(status);
        let recipient = found.recipients[0].clone();
        (recipient.action, recipient.status.map(|status| status.to_string()))
    };
    let failed = |code: &str| (Action::Failed, Some(code.to_owned()));
    // All in one group.
    let text = "Reporting-MTA: dns; x\nFinal-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1";
    assert_eq!(one(text), failed("5.1.1"));
    // A vague status, and a telling diagnostic as Exchange writes it.
    let text = "A: b\n\nFinal-Recipient: rfc822;a@x.example\nAction: Failed\nStatus: 5.0.0\n\
                Diagnostic-Code: smtp;550 #5.1.0 Address rejected";
    assert_eq!(one(text), failed("5.1.0"));
    // No action, no status, words of its own.
    let text = "A: b\n\nFinal-Recipient: rfc822; a@x.example\nDiagnostic-Code: smtp; 550-5.7.1 no";
    assert_eq!(one(text), failed("5.7.1"));
    let text = "A: b\n\nFinal-Recipient: rfc822; a@x.example\nAction: failure (user unknown)\nStatus: #5.1.1";
    assert_eq!(one(text), failed("5.1.1"));
    // Nothing to be known of it is no report.
    let text =
        report("message/delivery-status", "A: b\n\nFinal-Recipient: rfc822; a@x", "text/plain", "");
    assert_eq!(read(&text), None);
}

#[test]
fn international_reports_are_read() {
    let text = report(
        "message/global-delivery-status",
        "Reporting-MTA: dns; x\n\nFinal-Recipient: utf-8; \\x{e4}nn@there.example\nAction: failed\n\
         Status: 5.6.7",
        "message/global-headers",
        ORIGINAL,
    );
    let found = delivery(&text);
    assert_eq!(found.recipients[0].address.as_deref(), Some("änn@there.example"));
    assert_eq!(found.original.message_id.as_deref(), Some("m1@desk.example"));
}

#[test]
fn encoded_parts_and_bare_headers_are_read() {
    let status = data_encoding::BASE64.encode(
        b"A: b\r\n\r\nFinal-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n",
    );
    let kind = "message/delivery-status\nContent-Transfer-Encoding: base64";
    let found = delivery(&report(kind, &status, "text/rfc822-headers", ORIGINAL));
    assert_eq!(found.recipients[0].address.as_deref(), Some("a@x.example"));
    assert_eq!(found.original.message_id.as_deref(), Some("m1@desk.example"));
}

#[test]
fn a_status_part_in_another_message_is_read_and_changes_nothing() {
    let status = "A: b\n\nFinal-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1";
    let text = report("message/delivery-status", status, "message/rfc822", ORIGINAL)
        .replace("multipart/report", "multipart/mixed");
    let found = delivery(&text);
    assert_eq!(found.form, Form::StatusPart);
    assert!(!found.changes_state());
}

#[test]
fn a_report_inside_a_forwarded_mail_is_not_one_itself() {
    let status = "A: b\n\nFinal-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1";
    let inner = report("message/delivery-status", status, "message/rfc822", ORIGINAL);
    let text = format!(
        "From: Ann <ann@there.example>\nSubject: Fwd: what is this?\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=out\n\n--out\n\nLook.\n--out\n\
         Content-Type: message/rfc822\n\n{inner}\n--out--\n"
    );
    assert_eq!(read(&text), None);
}

#[test]
fn foreign_bounces_are_read_and_change_nothing() {
    let qmail = "From: MAILER-DAEMON@mx.example\nSubject: failure notice\n\n\
                 Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to.\n\n\
                 <ann@there.example>:\n192.0.2.1 does not like recipient.\n\
                 Remote host said: 550 5.1.1 unknown\nGiving up on 192.0.2.1.\n\n\
                 <bob@there.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n\
                 --- Below this line is a copy of the message.\n\nReturn-Path: <support+btoken@desk.example>\n\
                 Message-ID: <m1@desk.example>\nFrom: support@desk.example\n\nHello <x@y.example>: you\n";
    let exim = "From: Mail Delivery System <Mailer-Daemon@mx.example>\n\
                X-Failed-Recipients: ann@there.example\nAuto-Submitted: auto-replied\n\
                Subject: Mail delivery failed: returning message to sender\n\n\
                This message was created automatically by mail delivery software.\n\n\
                The following address(es) failed:\n\n  ann@there.example\n    host mx [192.0.2.1]\n    \
                SMTP error from remote mail server after RCPT TO:<ann@there.example>:\n    \
                550 5.1.1 Unknown\n\n------ This is a copy of the message, including all the headers. ------\n\n\
                Return-path: <support+btoken@desk.example>\nMessage-Id: <m1@desk.example>\n\nHello\n";
    let text = "From: postmaster@mx.example\nSubject: Undeliverable\n\nSorry.\n\n\
                <ann@there.example>: mailbox is full 552 5.2.2\n\n--- Original message follows ---\n\
                Message-ID: <m1@desk.example>\n\nHello\n";
    for (text, form, code, count) in [
        (qmail, Form::Qmail, "5.1.1", 2),
        (exim, Form::Exim, "5.1.1", 1),
        (text, Form::Text, "5.2.2", 1),
    ] {
        let found = delivery(text);
        assert_eq!((found.form, found.recipients.len()), (form, count));
        assert!(!found.changes_state());
        assert_eq!(found.recipients[0].address.as_deref(), Some("ann@there.example"));
        assert_eq!(found.recipients[0].status.unwrap().to_string(), code);
        assert!(!found.recipients[0].diagnostic.is_empty());
        assert_eq!(found.original.message_id.as_deref(), Some("m1@desk.example"), "{form:?}");
    }
}

#[test]
fn people_who_quote_a_bounce_send_no_bounce() {
    let text = "From: Ann <ann@there.example>\nSubject: Re: failure notice\n\n\
                Hi. This is the qmail-send program at mx.example.\n\n<bob@there.example>:\n550 5.1.1 no\n";
    assert_eq!(read(text), None);
    assert_eq!(read("From: a@b.example\nSubject: x\n\nHello.\n"), None);
    assert_eq!(bounce::read(b"").unwrap(), None);
}

#[test]
fn complaints_name_the_mail_and_what_they_are() {
    let feedback = |kind: &str| {
        format!(
            "From: fbl@provider.example\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=feedback-report; boundary=rr\n\n--rr\n\n\
             An abuse report.\n--rr\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\n\
             User-Agent: FBL/1.0\nVersion: 1\nOriginal-Mail-From: <support+btoken@desk.example>\n\
             Original-Rcpt-To: <ann@there.example>\n--rr\nContent-Type: message/rfc822\n\n{ORIGINAL}\n--rr--\n"
        )
    };
    let found = complaint(&feedback("abuse"));
    assert_eq!(found.kind, Kind::Abuse);
    assert_eq!(found.recipient.as_deref(), Some("ann@there.example"));
    assert_eq!(found.reverse_path.as_deref(), Some("support+btoken@desk.example"));
    assert_eq!(found.original.message_id.as_deref(), Some("m1@desk.example"));
    let suppresses = ["abuse", "fraud", "opt-out", "not-spam", "auth-failure", "virus", "else"]
        .map(|kind| complaint(&feedback(kind)).suppresses());
    assert_eq!(suppresses, [true, true, true, false, false, false, false]);
    // Providers that leave out who complained leave the return path.
    let short = feedback("abuse").replace("Original-", "X-");
    let found = complaint(&short);
    assert_eq!(found.recipient, None);
    assert_eq!(found.reverse_path.as_deref(), Some("support+btoken@desk.example"));
}

#[test]
fn hostile_reports_stay_small_and_printable() {
    let groups: String = (0..10_000)
        .map(|n| {
            format!("Final-Recipient: rfc822; a{n}@x.example\nAction: failed\nStatus: 5.1.1\n\n")
        })
        .collect();
    assert_eq!(standard(&format!("A: b\n\n{groups}")).recipients.len(), bounce::RECIPIENTS);
    let long = "x".repeat(500_000);
    let found = standard(&format!(
        "A: b\n\nFinal-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1\n\
         Diagnostic-Code: smtp; {long}\u{202e}\u{1b}[31m"
    ));
    assert!(found.recipients[0].diagnostic.chars().count() <= 601);
    let found = standard(
        "A: b\n\nFinal-Recipient: rfc822; a\u{1b}@x.example\nAction: failed\nStatus: 5.1.1\n\
         Diagnostic-Code: smtp; red\u{1b}[31m \u{202e}text",
    );
    assert!(!format!("{found:?}").contains(['\u{1b}', '\u{202e}']));
    // What the guard refuses is refused.
    let deep = "Content-Type: message/rfc822\n\n".repeat(100);
    assert!(bounce::read(&crlf(&deep)).is_err());
}

#[test]
fn reports_survive_being_stored() {
    let found =
        standard("A: b\n\nFinal-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1");
    let stored = serde_json::to_string(&Report::Delivery(found.clone())).unwrap();
    assert!(stored.contains("\"status\":\"5.1.1\""), "{stored}");
    assert_eq!(serde_json::from_str::<Report>(&stored).unwrap(), Report::Delivery(found));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Pieces of reports in any order, and cut anywhere.
    #[test]
    fn any_pieces_are_read_without_harm(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..30),
        cut in 0..4000usize,
    ) {
        let mut raw = pieces.concat().into_bytes();
        raw.truncate(cut);
        bounce::fuzz(&raw);
    }
}

const PIECES: [&str; 20] = [
    "From: MAILER-DAEMON@x.example\r\n",
    "Content-Type: multipart/report; boundary=rr\r\n",
    "Content-Type: message/delivery-status\r\n",
    "Content-Type: message/feedback-report\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/rfc822-headers\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "\r\n",
    "--rr\r\n",
    "--rr--\r\n",
    "Final-Recipient: rfc822; ann@there.example\r\n",
    "Final-Recipient: utf-8; \\x{e4}\\x{0}\\x{110000}@x\r\n",
    "Action: failed\r\nStatus: 5.1.1\r\n",
    "Diagnostic-Code: smtp; 550 5.1.1 \u{7f}\u{85}no\r\n",
    " folded \u{e4}\r\n",
    "Hi. This is the qmail-send program\r\n\r\n<a@b.example>:\r\nno (#5.1.1)\r\n\r\n",
    "X-Failed-Recipients: a@b.example,,c@d.example\r\n",
    "--- Below this line is a copy of the message.\r\n",
    "Message-ID: <m1@desk.example>\r\nReturn-Path: <>\r\n",
];
