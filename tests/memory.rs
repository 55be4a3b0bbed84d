//! Memory stays flat: idle, with large messages, with many of them at once, and with a million
//! instances asleep. Measured from outside, on the real server; figures are printed.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Client, Letter, Server};

const QUIET: &str = "[server]\nlog_level = \"warn\"\n";
const MB: usize = 1024 * 1024;
/// DESIGN section 10, in KiB: an idle server, and what a message of 25 MB may add.
const IDLE: u64 = 60 * 1024;
const LARGE_MESSAGE: u64 = 60 * 1024;

/// A mail with an attachment that makes it this long, in base64 as clients send it.
fn large(number: usize, size: usize) -> Vec<u8> {
    let mut message = format!(
        "From: ann@localhost\r\nTo: hello@localhost\r\nSubject: The file\r\n\
         Message-ID: <large-{number}@localhost>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nSee the file, copy {number}.\r\n\
         --b\r\nContent-Type: application/octet-stream; name=\"file.bin\"\r\n\
         Content-Disposition: attachment; filename=\"file.bin\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n"
    )
    .into_bytes();
    // A piece that does not compress, again and again: a debug build makes it in a moment.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = number as u64 * 2 + 1;
    let mut piece = Vec::with_capacity(78 * 8_192);
    for octet in 0..78 * 8_192 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        piece.push(match octet % 78 {
            76 => b'\r',
            77 => b'\n',
            _ => ALPHABET[(state >> 58) as usize],
        });
    }
    while message.len() < size {
        message.extend_from_slice(&piece);
    }
    message.extend_from_slice(b"--b--\r\n");
    message
}

async fn send(server: &Server, message: &[u8]) -> support::Reply {
    let mut client = Client::connect(server.smtp).await.unwrap();
    client.send("ann@localhost", &["hello@localhost"], message).await.unwrap()
}

#[tokio::test]
async fn an_idle_server_is_small_and_a_message_of_25_mb_adds_little() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), QUIET).await;
    // An unoptimised program has three times the code, whose pages are the file's and not the server's.
    let figure = if cfg!(debug_assertions) { "RssAnon" } else { "VmRSS" };
    let idle = server.memory(figure);
    println!("idle: {figure} {idle} KiB ({} build)", build());
    assert!(idle <= IDLE, "idle: {idle} KiB");

    // Whatever is made once (connections to the database, keys, caches) is not the message's.
    let small = Letter::new("ann@localhost", "hello@localhost", "Hello.").bytes();
    assert!(send(&server, &small).await.is(250));
    server.api.settle().await;
    let before = server.resident();
    server.forget_peak();
    let message = large(1, 25 * MB);
    let reply = send(&server, &message).await;
    assert!(reply.is(250), "{reply:?}");
    server.api.settle().await;
    let added = server.peak().saturating_sub(before);
    let kept = server.resident().saturating_sub(before);
    println!("25 MB: peak +{added} KiB, afterwards +{kept} KiB");
    assert!(added <= LARGE_MESSAGE, "a message of 25 MB added {added} KiB");

    // More of them do not add up: what they needed is given back.
    for number in 2..=5 {
        assert!(send(&server, &large(number, 25 * MB)).await.is(250));
    }
    server.api.settle().await;
    let peak = server.peak().saturating_sub(before);
    let kept = server.resident().saturating_sub(before);
    println!("five of them, one after the other: peak +{peak} KiB, afterwards +{kept} KiB");
    assert!(peak <= LARGE_MESSAGE, "five messages of 25 MB added {peak} KiB");
    assert!(kept <= 12 * 1024, "five messages of 25 MB left {kept} KiB behind");
}

#[tokio::test]
async fn large_messages_at_once_share_the_memory_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let limits = format!("{QUIET}[limits]\nmessage_memory = \"64 MiB\"\n");
    let server = Server::start(folder.path(), &limits).await;
    let small = Letter::new("ann@localhost", "hello@localhost", "Hello.").bytes();
    assert!(send(&server, &small).await.is(250));
    server.api.settle().await;
    let before = server.resident();
    server.forget_peak();

    const MESSAGES: usize = 8;
    // All are in DATA before any may finish, so that they do compete.
    let messages: Vec<_> = (0..MESSAGES).map(|number| large(number, 20 * MB)).collect();
    let all_in = std::sync::Arc::new(tokio::sync::Barrier::new(MESSAGES));
    let sending: Vec<_> = messages
        .iter()
        .map(|message| {
            let (message, smtp, all_in) = (message.clone(), server.smtp, all_in.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(smtp).await.unwrap();
                client.begin("ann@localhost", "hello@localhost").await.unwrap();
                let (most, rest) = message.split_at(message.len() - 64 * 1024);
                client.write_part(most).await;
                all_in.wait().await;
                client.write_part(rest).await;
                client.finish().await.unwrap()
            })
        })
        .collect();
    let mut replies = Vec::new();
    for sending in sending {
        replies.push(sending.await.unwrap());
    }
    server.api.settle().await;
    let added = server.peak().saturating_sub(before);
    let taken = replies.iter().filter(|reply| reply.is(250)).count();
    let put_off = replies.iter().filter(|reply| reply.is(452)).count();
    println!(
        "{MESSAGES} of 20 MB at once within 64 MiB: {taken} taken, {put_off} put off, peak +{added} KiB"
    );
    assert_eq!(taken + put_off, MESSAGES, "{replies:?}");
    assert!(taken >= 1 && put_off >= 1, "{replies:?}");
    // The budget is for messages as they arrive. Beside it is what reading those takes that are read
    // at the same time, of which there are two: about three quarters of each.
    assert!(added <= (64 + 2 * 15 + 12) * 1024, "{added} KiB");

    // The memory is given back: what was put off is taken now.
    for (message, _) in messages.iter().zip(&replies).filter(|(_, reply)| reply.is(452)) {
        let reply = send(&server, message).await;
        assert!(reply.is(250), "{reply:?}");
    }
    server.api.settle().await;
    assert_eq!(server.api.conversations().await.len(), 1 + MESSAGES);
}

#[tokio::test]
async fn a_million_sleeping_instances_add_nothing() {
    let with = tempfile::tempdir().unwrap();
    let without = tempfile::tempdir().unwrap();
    for folder in [&with, &without] {
        // The first start makes the tables and the keys.
        let mut server = Server::start(folder.path(), QUIET).await;
        let ended = server.process.terminate().await;
        assert!(ended.success(), "{ended:?}");
    }
    // There is no interface that makes a million instances in seconds, so they are written as the
    // store would leave them: each with a contact, a state and a conversation-sized history behind it.
    let db = rusqlite::Connection::open(with.path().join("data/frontdesk.db")).unwrap();
    db.execute_batch(
        "PRAGMA synchronous = OFF;
         BEGIN;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
         INSERT INTO contacts (name, trust, created_at) SELECT 'Contact ' || i, 'proven', 0 FROM n;
         INSERT INTO instances (agent_id, key, contact_id, proven, state, state_version, version, created_at)
         SELECT (SELECT id FROM agents WHERE name = 'hello'), 'contact:' || id, id, 1,
                '{\"acknowledged\":3}', 1, 3, 0 FROM contacts;
         COMMIT;",
    )
    .unwrap();
    let count: u64 = db.query_row("SELECT count(*) FROM instances", (), |row| row.get(0)).unwrap();
    assert!(count >= 1_000_000);
    drop(db);

    let mut resident = Vec::new();
    let mut starts = Vec::new();
    for folder in [&without, &with] {
        let server = Server::start(folder.path(), QUIET).await;
        // One of them wakes, so that it is the runtime that is measured and not only a listener.
        let small = Letter::new("ann@localhost", "hello@localhost", "Hello.").bytes();
        assert!(send(&server, &small).await.is(250));
        // Not by asking how many instances there are, which would read them all.
        support::until("the answer has left", || async {
            server.api.list("/outbox?state=sent").await.pop()
        })
        .await;
        resident.push(server.resident());
        starts.push(server.start_time.as_millis());
    }
    println!(
        "none asleep: {} KiB, start {} ms; a million asleep: {} KiB, start {} ms ({} build)",
        resident[0],
        starts[0],
        resident[1],
        starts[1],
        build()
    );
    // A larger database fills more of SQLite's page caches, which have their own bound; up to 4 MiB is
    // seen. The smallest thing one could keep per instance, a map entry, would be 48 MiB.
    assert!(resident[1] <= resident[0] + 10 * 1024, "{resident:?}");
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
