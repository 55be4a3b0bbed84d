//! The machinery: one writer, one lock, blobs, backup, search, memory.

use crate::desk::{Change as _, Desk, Script, open_when_free, soon};
use frontdesk_agents::{
    AgentId, BlobId, ManualClock, Store, StoreError, SystemClock, Verdict,
    mail::ArrivalRecipient,
    store::{Accepted, INLINE_LIMIT},
};
use std::{io::BufRead, process::Command, sync::Arc};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_fails_takes_nobody_with_it() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let mut calls = Vec::new();
    for n in 0..100 {
        let mut arrival = desk.mail(support, &format!("p{n}@a.test"), "hi");
        if n % 10 == 3 {
            // Fails after it has written its blob.
            arrival.recipients[0].agent = AgentId(99);
        }
        let store = desk.store.clone();
        calls.push(tokio::spawn(async move { store.accept(arrival).await }));
    }
    let mut failed = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(accepted) => assert!(matches!(accepted[0], Accepted::Stored { .. })),
            Err(StoreError::NotFound(_)) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(failed, 10);
    assert_eq!(desk.count("SELECT count(*) FROM messages"), 90);
    assert_eq!(desk.count("SELECT count(*) FROM events"), 90);
    assert_eq!(desk.count("SELECT count(*) FROM blobs"), 90, "what failed left nothing");
}

#[tokio::test]
async fn a_directory_has_one_store_at_a_time() {
    let desk = Desk::new();
    let second = Store::open(desk.dir.path(), Arc::new(SystemClock));
    let Err(StoreError::Locked(dir)) = second else { panic!("it opened twice") };
    assert_eq!(dir, desk.dir.path());
    desk.crash().await;
}

#[tokio::test]
async fn the_file_is_what_the_design_says() {
    let desk = Desk::new();
    let database = desk.database();
    let pragma = |name: &str| -> String {
        database
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(n) => n.to_string(),
                other => format!("{other:?}"),
            })
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("page_size"), "8192");
}

#[tokio::test]
async fn content_is_kept_inline_or_in_a_file_and_once() {
    let desk = Desk::new();
    let store = &desk.store;
    let support = store.register_agents(vec![("support".into(), "t".into())]).await.unwrap()[0];
    let mut desk = desk;
    let id = desk.agent("support", Script::default()).await;
    assert_eq!(id, support, "an agent keeps its id");
    for size in [0, 1, INLINE_LIMIT, INLINE_LIMIT + 1, 3_000_000] {
        let content: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
        let staged = desk.store.stage(&content).unwrap();
        let mut arrival = desk.mail(id, "ann@a.test", &format!("{size} bytes"));
        arrival.raw = staged.clone();
        arrival.message_id = Some(format!("{size}@a.test"));
        let first = desk.accept(arrival.clone()).await;
        let copy = desk.accept(arrival.clone()).await;
        assert!(matches!(copy, Accepted::Duplicate { .. }), "{copy:?}");
        // Another message with the same bytes shares their file.
        arrival.message_id = None;
        let other = desk.accept(arrival).await;
        for accepted in [first, other] {
            let id = raw_of(&desk, &accepted).await;
            assert_eq!(desk.store.blob(id).unwrap().as_deref(), Some(content.as_slice()));
        }
    }
    assert_eq!(desk.count("SELECT count(*) FROM blobs WHERE data IS NULL"), 2);
    assert_eq!(desk.count("SELECT count(*) FROM blobs"), 2 + 2 * 3);
    assert_eq!(desk.store.blob(BlobId(99)).unwrap(), None);
    let files = std::fs::read_dir(desk.dir.path().join("blobs"))
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .count();
    assert_eq!(files, 2, "and nothing half-written beside them");
}

#[tokio::test]
async fn a_blob_file_that_was_damaged_is_an_error_and_not_an_empty_message() {
    let mut desk = Desk::new();
    let id = desk.agent("support", Script::default()).await;
    let staged = desk.store.stage(&vec![7; INLINE_LIMIT + 1]).unwrap();
    let mut arrival = desk.mail(id, "ann@a.test", "big");
    arrival.raw = staged.clone();
    let accepted = desk.accept(arrival).await;
    let id = raw_of(&desk, &accepted).await;
    let name = staged.hash().to_string();
    let path = desk.dir.path().join("blobs").join(&name[..2]).join(format!("{name}.zst"));
    std::fs::write(&path, zstd_of(b"short")).unwrap();
    assert!(matches!(desk.store.blob(id), Err(StoreError::Corrupt(_))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(desk.store.blob(id), Err(StoreError::Io { .. })));
}

/// Where the bytes of a stored message are.
async fn raw_of(desk: &Desk, accepted: &Accepted) -> BlobId {
    let Accepted::Stored { message, .. } = accepted else { panic!("{accepted:?}") };
    desk.store.raw_mail(*message).await.unwrap().blob.unwrap()
}

fn zstd_of(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_while_mail_arrives_is_whole() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let big = vec![9; INLINE_LIMIT + 1];
    let mut arrival = desk.mail(support, "ann@a.test", "big");
    arrival.raw = desk.store.stage(&big).unwrap();
    let accepted = desk.accept(arrival).await;
    let id = raw_of(&desk, &accepted).await;
    // Large enough for several slices.
    for n in 0..40 {
        let mut arrival = desk.mail(support, "ann@a.test", &format!("{n}"));
        let noise: Vec<u8> =
            (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761 + n) >> 13) as u8).collect();
        arrival.raw = desk.store.stage(&noise).unwrap();
        desk.accept(arrival).await;
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (store, done) = (desk.store.clone(), stop.clone());
    let mails: Vec<_> =
        (0..2_000).map(|n| desk.mail(support, "bob@b.test", &format!("during {n}"))).collect();
    let during = tokio::spawn(async move {
        let mut count = 0;
        for mail in mails {
            if done.load(std::sync::atomic::Ordering::SeqCst) {
                break;
            }
            store.accept(mail).await.unwrap();
            count += 1;
        }
        count
    });
    let target = tempfile::tempdir().unwrap();
    let copy = target.path().join("copy");
    desk.store.back_up(&copy).await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let during: i64 = during.await.unwrap();
    assert!(matches!(desk.store.back_up(&copy).await, Err(StoreError::Conflict(_))));

    let database = rusqlite::Connection::open(copy.join("frontdesk.db")).unwrap();
    let intact: String =
        database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let count = |sql: &str| -> i64 { database.query_row(sql, (), |row| row.get(0)).unwrap() };
    let copied = count("SELECT count(*) FROM messages");
    assert!((41..=41 + during).contains(&copied), "{copied} of {}", 41 + during);
    assert_eq!(count("SELECT count(*) FROM mails"), copied, "no message without its mail");
    drop(database);
    let restored = Store::open(&copy, desk.store.clock().clone()).unwrap();
    assert_eq!(restored.blob(id).unwrap().unwrap(), big);
    assert_eq!(restored.conversations(None, None, 10, None).await.unwrap().items.len(), 10);
}

#[tokio::test]
async fn search_finds_the_newest_first_once_it_is_indexed() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    for n in 0..450 {
        let text = if n % 3 == 0 { format!("zebra number{n}") } else { format!("Größe {n}") };
        desk.deliver(desk.mail(support, "ann@a.test", &text)).await;
    }
    desk.store.settle().await.unwrap();
    let found = desk.store.search("ZEBRA", 10, None).await.unwrap();
    assert_eq!(found.len(), 10);
    assert!(found.is_sorted_by(|a, b| a.message > b.message));
    assert!(found[0].snippet.contains("number447"), "{}", found[0].snippet);
    let next = desk.store.search("zebra", 10, Some(found[9].message)).await.unwrap();
    assert!(next[0].message < found[9].message);
    for (words, hits) in [
        ("grosse", 0),
        ("große", 200),
        ("groß*", 200),
        ("größe 1", 1),
        (r#""zebra number3""#, 1),
        ("zebra AND", 0),
        (r#"" - ""#, 0),
    ] {
        let found = desk.store.search(words, 200, None).await.unwrap();
        assert_eq!(found.len(), hits, "{words}");
    }
    // Without anybody asking, too.
    desk.deliver(desk.mail(support, "ann@a.test", "okapi")).await;
    soon("it is indexed", async || !desk.store.search("okapi", 1, None).await.unwrap().is_empty())
        .await;
}

#[tokio::test]
async fn a_search_index_that_is_missing_damaged_or_of_other_messages_is_made_anew() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    desk.deliver(desk.mail(support, "ann@a.test", "zebra")).await;
    let copy = desk.dir.path().join("copy");
    desk.store.back_up(&copy).await.unwrap();
    for n in 0..3 {
        desk.deliver(desk.mail(support, "ann@a.test", &format!("okapi {n}"))).await;
    }
    let hits = async |store: &Store, words: &str| {
        store.settle().await.unwrap();
        store.search(words, 10, None).await.unwrap().len()
    };
    assert_eq!((hits(&desk.store, "zebra").await, hits(&desk.store, "okapi").await), (1, 3));

    let Desk { dir, clock, store, .. } = desk;
    store.close().await;
    drop(store);
    let index = dir.path().join("search.db");
    assert!(index.is_file());
    let open = async || open_when_free(&dir, clock.clone()).await;
    for damage in [
        |path: &std::path::Path| std::fs::remove_file(path).unwrap(),
        |path: &std::path::Path| std::fs::write(path, [7; 20_000]).unwrap(),
        |path: &std::path::Path| {
            let index = rusqlite::Connection::open(path).unwrap();
            index.pragma_update(None, "user_version", 4_000).unwrap();
        },
    ] {
        damage(&index);
        let store = open().await;
        assert_eq!((hits(&store, "zebra").await, hits(&store, "okapi").await), (1, 3));
        store.close().await;
    }

    // An older copy of the database, under an index that knows of messages which are not in it.
    for file in ["frontdesk.db-wal", "frontdesk.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    std::fs::copy(copy.join("frontdesk.db"), dir.path().join("frontdesk.db")).unwrap();
    let store = open().await;
    assert_eq!((hits(&store, "zebra").await, hits(&store, "okapi").await), (1, 0));
    store.close().await;
}

#[tokio::test]
async fn lists_page_without_gaps_or_repeats() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let sales = desk.agent("sales", Script::default()).await;
    for n in 0..25 {
        let agent = if n % 5 == 0 { sales } else { support };
        desk.deliver(desk.mail(agent, "ann@a.test", &n.to_string())).await;
        if n % 2 == 0 {
            desk.advance(1);
        }
    }
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = desk.store.conversations(None, None, 10, cursor).await.unwrap();
        seen.extend(page.items.iter().map(|item| item.snippet.parse::<i32>().unwrap()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    let sales = desk.store.conversations(None, Some("sales".into()), 50, None).await.unwrap();
    assert_eq!(sales.items.len(), 5);
    let queue =
        desk.store.conversations(Some("needs_review".into()), None, 50, None).await.unwrap();
    assert!(queue.items.is_empty());
    let open = desk.store.conversations(Some("open".into()), None, 50, None).await.unwrap();
    assert_eq!(open.items.len(), 25);
    let bad = desk.store.conversations(None, None, 10, Some("nonsense".into())).await;
    assert!(matches!(bad, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn an_agents_numbers_are_those_of_its_rows() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::default()).await;
    let sales = desk.agent("sales", Script::default()).await;
    for n in 0..12 {
        let agent = if n % 3 == 0 { sales } else { support };
        let mail = desk.mail(agent, &format!("p{}@a.test", n / 2), &n.to_string());
        let mail = if n == 4 { mail.verdict(Verdict::Unverified) } else { mail };
        desk.deliver(mail).await;
    }
    // Undone as a whole, so that nothing of it is counted.
    let mut lost = desk.mail(support, "nobody@a.test", "lost");
    lost.recipients.push(ArrivalRecipient { agent: AgentId(99), ..lost.recipients[0].clone() });
    assert!(desk.store.accept(lost).await.is_err());

    let agents = desk.store.agents().await.unwrap();
    let names: Vec<_> = agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["sales", "support"]);
    for (agent, id) in agents.iter().zip([sales, support]) {
        let count = |table: &str| {
            desk.count(&format!("SELECT count(*) FROM {table} WHERE agent_id = {id}"))
                .cast_unsigned()
        };
        assert_eq!(agent.instances, count("instances"));
        assert_eq!(agent.conversations, count("conversations"));
    }
    assert_eq!((agents[0].conversations, agents[0].instances), (4, 4));
    assert_eq!((agents[1].conversations, agents[1].instances), (8, 7));
    assert_eq!((agents[0].needs_review, agents[1].needs_review), (0, 1));
    // Nobody runs here.
    assert_eq!((agents[0].waiting_events, agents[1].waiting_events), (4, 8));
    assert_eq!((agents[0].dead_letters, agents[1].dead_letters), (0, 0));
}

/// Names the directory whose store a child process opens, to have its memory measured from outside.
const CHILD: &str = "FRONTDESK_TEST_OPEN";

#[test]
fn child_opens_a_store() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = Store::open(dir.as_ref(), Arc::new(SystemClock)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let registry = frontdesk_agents::runtime::Registry::default();
        let running =
            frontdesk_agents::Runtime::start(store.clone(), registry, crate::desk::config());
        let running = running.await.unwrap();
        assert!(store.pending_events(frontdesk_agents::EventId(0), 1).unwrap().is_empty());
        println!("\nrss {}", resident());
        running.stop().await;
    });
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn memory_of_a_child(dir: &std::path::Path) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::child_opens_a_store", "--nocapture"])
        .env(CHILD, dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = output.stdout.lines().map_while(Result::ok).find(|line| line.starts_with("rss "));
    line.expect("the child says how large it is")[4..].parse().unwrap()
}

#[tokio::test]
async fn a_million_sleeping_instances_take_no_memory() {
    let mut desk = Desk::new();
    desk.agent("support", Script::default()).await;
    desk.store.close().await;
    let Desk { dir, store, .. } = desk;
    drop(store);
    drop(open_when_free(&dir, ManualClock::new(jiff::Timestamp::UNIX_EPOCH)).await);
    let empty = memory_of_a_child(dir.path());
    let mut database = rusqlite::Connection::open(dir.path().join("frontdesk.db")).unwrap();
    database.pragma_update(None, "synchronous", "OFF").unwrap();
    let transaction = database.transaction().unwrap();
    transaction
        .execute(
            r#"INSERT INTO instances (agent_id, key, proven, state, state_version, created_at)
               WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
               SELECT 1, 'contact:' || i, 1, '{"tickets":[]}', 1, 0 FROM n"#,
            (),
        )
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let full = memory_of_a_child(dir.path());
    assert!(full < empty + 2_048, "{empty} KiB empty, {full} KiB with a million");
}
