//! Messages made to break a server, through its front door: each is refused or survived in bounded
//! memory, and mail goes on.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;
use support::{Client, Letter, Server};

const HEAD: &str = "From: a@localhost\r\nTo: hello@localhost\r\nSubject: x\r\n";

type Attack = fn() -> Vec<u8>;

/// 60,000 messages inside each other. mail-parser alone overflows its stack on it.
fn nested_parts() -> Vec<u8> {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(60_000);
    format!("{HEAD}{nested}end\r\n").into_bytes()
}

/// 2,000,000 parts with nothing in them. mail-parser alone makes hundreds of megabytes of it.
fn empty_parts() -> Vec<u8> {
    let parts = "--b\r\n\r\n".repeat(2_000_000);
    format!("{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n").into_bytes()
}

fn headers() -> Vec<u8> {
    format!("{HEAD}{}\r\nbody\r\n", "X-A: b\r\n".repeat(1_000_000)).into_bytes()
}

fn addresses() -> Vec<u8> {
    let one = "a@b.example,\r\n ".repeat(400_000);
    format!("{HEAD}Cc: {one}z@b.example\r\n\r\nbody\r\n").into_bytes()
}

fn long_line() -> Vec<u8> {
    format!("{HEAD}\r\n{}\r\n", "x".repeat(30 << 20)).into_bytes()
}

/// Each makes a parser look for its end to the end of the field.
fn unclosed_encoded_words() -> Vec<u8> {
    format!("{HEAD}X-A:{}\r\n\r\nbody\r\n", "\r\n =?utf-8?q?x".repeat(15_000)).into_bytes()
}

/// As much of everything as the caps allow, which is to be survived and not refused.
fn just_within_the_caps() -> Vec<u8> {
    let mut text = HEAD.to_owned();
    text.push_str(&"X-A: b\r\n".repeat(900));
    text.push_str(&format!("Cc: {}z@b.example\r\n", "a@b.example,\r\n ".repeat(900)));
    text.push_str("Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for depth in 0..15 {
        text.push_str(&format!(
            "--b{}\r\n",
            if depth == 0 { String::new() } else { depth.to_string() }
        ));
        text.push_str(&format!("Content-Type: multipart/mixed; boundary=b{}\r\n\r\n", depth + 1));
    }
    text.push_str(&"--b15\r\nContent-Type: text/html\r\n\r\n<p>x\r\n".repeat(900));
    text.push_str("--b15--\r\n");
    text.into_bytes()
}

/// Memory that may come on top of the message itself, in KiB. A message may be held twice while it
/// is handed on; nothing may be built in proportion to what is in it.
const BEYOND_MESSAGE: u64 = 24 * 1024;

#[tokio::test]
async fn messages_made_to_break_a_server_are_refused_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "[server]\nlog_level = \"warn\"\n").await;
    let ordinary = Letter::new("ann@localhost", "hello@localhost", "Hello.").bytes();
    let mut client = Client::connect(server.smtp).await.unwrap();
    let reply = client.send("ann@localhost", &["hello@localhost"], &ordinary).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    server.api.settle().await;

    let attacks: [(&str, Attack); 6] = [
        ("60,000 nested parts", nested_parts),
        ("2,000,000 empty parts", empty_parts),
        ("1,000,000 headers", headers),
        ("400,000 addresses", addresses),
        ("a line of 30 MB", long_line),
        ("15,000 unclosed encoded words", unclosed_encoded_words),
    ];
    for (what, message) in attacks {
        let message = message();
        let before = server.resident();
        server.forget_peak();
        let began = Instant::now();
        let mut client = Client::connect(server.smtp).await.unwrap();
        let reply = client.send("a@localhost", &["hello@localhost"], &message).await.unwrap();
        let took = began.elapsed();
        let added = server.peak().saturating_sub(before);
        let size = message.len() as u64 / 1024;
        println!(
            "{what}: {} KiB, {} {} in {} ms, peak +{added} KiB",
            size,
            reply.code,
            reply.text,
            took.as_millis()
        );
        assert!(matches!(reply.code, 500..=599), "{what}: {reply:?}");
        assert!(added <= size + BEYOND_MESSAGE, "{what}: +{added} KiB for {size} KiB");
    }

    let before = server.resident();
    server.forget_peak();
    let message = just_within_the_caps();
    let mut client = Client::connect(server.smtp).await.unwrap();
    let reply = client.send("a@localhost", &["hello@localhost"], &message).await.unwrap();
    server.api.settle().await;
    let added = server.peak().saturating_sub(before);
    println!("just within the caps: {} KiB, {reply:?}, peak +{added} KiB", message.len() / 1024);
    assert!(reply.is(250), "{reply:?}");
    assert!(added <= BEYOND_MESSAGE, "+{added} KiB");

    // It still takes mail, and answers it.
    let before = support::captured(&server.data).len();
    let letter = Letter::new("ann@localhost", "hello@localhost", "Still there?").bytes();
    let mut client = Client::connect(server.smtp).await.unwrap();
    let reply = client.send("ann@localhost", &["hello@localhost"], &letter).await.unwrap();
    assert!(reply.is(250), "{reply:?}");
    server.api.settle().await;
    assert_eq!(support::captured(&server.data).len(), before + 1);
}
