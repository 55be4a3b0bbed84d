//! Mail that leaves through a relay, which is another desk: taken, refused, and gone for a while.

#![allow(clippy::unwrap_used)]

mod support;

use jiff::SignedDuration;
use serde_json::{Value, json};
use std::net::SocketAddr;
use support::{Desk, Setup, desk::zone, until};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

const AGENT: &str = "[[agent]]\nname = \"hello\"\n";

/// A desk for `desk.test` whose mail leaves through the one at this port.
async fn behind(relay: SocketAddr) -> Desk {
    let config = format!(
        "[mail]\ndomains = [\"desk.test\"]\nmode = \"relay\"\n\
         [relay]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\n{AGENT}",
        relay.port()
    );
    Desk::serve(Setup { config, zone: Some(zone()), ..Setup::default() }, |desk| desk).await
}

async fn send(desk: &Desk, to: &str, text: &str) -> Value {
    let email = json!({ "agent": "hello", "to": [to], "subject": "The lamps", "text": text });
    desk.api.post("/emails", email).await;
    desk.api.list("/outbox").await[0]["id"].clone()
}

/// The one delivery of a mail, once it is in this state.
async fn delivery(desk: &Desk, outbox: &Value, state: &str) -> Value {
    until(&format!("it is {state}"), async || {
        let shown = desk.api.get(&format!("/outbox/{outbox}")).await;
        let delivery = shown["deliveries"][0].clone();
        (delivery["state"] == state).then_some(delivery)
    })
    .await
}

#[tokio::test]
async fn a_mail_leaves_signed_with_an_address_for_its_bounces_and_is_answered() {
    let world = Desk::local().await;
    let desk = behind(world.smtp).await;
    let outbox = send(&desk, "hello@localhost", "They are ready.").await;
    let sent = delivery(&desk, &outbox, "sent").await;
    assert!(sent["response"].as_str().unwrap().starts_with("250"), "{sent}");

    let conversation = world.only_conversation().await;
    let message = &conversation["timeline"][0];
    assert_eq!(message["text"].as_str().unwrap().trim(), "They are ready.");
    let raw = world.api.bytes("GET", &format!("/messages/{}/raw", message["id"]), None).await.1;
    let raw = String::from_utf8(raw).unwrap();
    assert_eq!(raw.matches("DKIM-Signature:").count(), 2, "{raw}");
    assert!(raw.contains("\r\nReply-To: hello <hello+r"), "{raw}");
    let bounces_to: String = support::desk::database(&world.data)
        .query_row("SELECT reverse_path FROM mails", (), |row| row.get(0))
        .unwrap();
    assert!(
        bounces_to.starts_with("hello+b") && bounces_to.ends_with("@desk.test"),
        "{bounces_to}"
    );
    // The folder of captured mail stays empty.
    assert!(desk.captured().is_empty());
    desk.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_the_relay_refuses_is_shown_with_its_words() {
    let world = Desk::local().await;
    let desk = behind(world.smtp).await;
    let outbox = send(&desk, "nobody@localhost", "Is anybody there?").await;
    let bounced = delivery(&desk, &outbox, "bounced").await;
    let words = bounced["response"].as_str().unwrap();
    assert!(words.contains("550 5.1.1"), "{words}");
    desk.stop().await;
    world.stop().await;
}

/// A relay that wants its first client to come back later, and takes mail from the next.
async fn busy_relay(listener: TcpListener) {
    let (mut first, _) = listener.accept().await.unwrap();
    first.write_all(b"421 4.3.2 busy, come back later\r\n").await.unwrap();
    drop(first);
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 relay.test\r\n").await.unwrap();
    let mut in_data = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: &[u8] = match line.as_str() {
            "." if in_data => b"250 2.0.0 taken as 7\r\n",
            _ if in_data => continue,
            "DATA" => b"354 go ahead\r\n",
            _ => b"250 fine\r\n",
        };
        in_data = line == "DATA";
        write.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_leave_now_leaves_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = behind(listener.local_addr().unwrap()).await;
    let relay = tokio::spawn(busy_relay(listener));
    let outbox = send(&desk, "ann@example.org", "They are ready.").await;
    let waits = delivery(&desk, &outbox, "deferred").await;
    assert!(waits["response"].as_str().unwrap().contains("421 4.3.2 busy"), "{waits}");
    desk.clock.advance(SignedDuration::from_mins(10));
    let sent = delivery(&desk, &outbox, "sent").await;
    assert!(sent["response"].as_str().unwrap().contains("taken as 7"), "{sent}");
    desk.stop().await;
    relay.abort();
}
