//! The server is killed with SIGKILL at random moments, under load from several connections, many
//! times over. What got a 250 is there once, took effect once, and was answered once.
//!
//! KILL_ROUNDS and KILL_SEED choose how often and where; the seed of a run is printed.

#![allow(clippy::unwrap_used)]

mod support;

use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{Client, Letter, Server, captured, desk::database};

/// Connections that send at the same time.
const SENDERS: usize = 6;
/// Correspondents, few enough that their mails meet in the same instances.
const CORRESPONDENTS: u64 = 40;

/// Mail comes in faster than it is answered. So often the server may catch up before it is killed again, or
/// the last start of a long run would have minutes of answers to send.
const SETTLED_EVERY: u64 = 25;

/// Every brake that would hold back an answer is off: all of them must leave.
const CONFIG: &str = "[server]\nlog_level = \"warn\"\n[limits]\nreplies_per_conversation = 1000000\n\
    replies_per_correspondent_per_day = 1000000\nreplies_per_agent_per_day = 1000000\n";

/// What the senders know: which messages were acknowledged, and which nobody can tell.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
    /// The connection broke before an answer came. Some are sent again, some are given up.
    open: Mutex<Vec<u64>>,
    given_up: Mutex<BTreeSet<u64>>,
    sent_again: AtomicU64,
    /// Those of them that were known: the connection broke after the commit.
    known: AtomicU64,
}

fn letter(number: u64) -> (String, Letter) {
    let author = format!("sender{}@localhost", number % CORRESPONDENTS);
    let mut letter = Letter::new(&author, "hello@localhost", &format!("Message number {number}."));
    letter.message_id = format!("{number}@load.test");
    // Some are large enough for files of their own, some cross several pages of the database.
    let lines = match number {
        number if number % 50 == 7 => 8_000,
        number if number.is_multiple_of(5) => 200,
        _ => 1,
    };
    letter.text.push_str(&format!("\nLine of message {number}, made longer.").repeat(lines));
    (author, letter)
}

/// Sends until the server goes away.
async fn load(server: SocketAddr, ledger: &Ledger) {
    let Ok(mut client) = Client::connect(server).await else { return };
    loop {
        let again = ledger.open.lock().unwrap().pop();
        if again.is_some() {
            ledger.sent_again.fetch_add(1, Ordering::Relaxed);
        }
        let number = again.unwrap_or_else(|| ledger.next.fetch_add(1, Ordering::Relaxed));
        let (author, letter) = letter(number);
        match client.send(&author, &["hello@localhost"], &letter.bytes()).await {
            Ok(reply) if reply.is(250) => {
                ledger.known.fetch_add(u64::from(reply.text.contains("again")), Ordering::Relaxed);
                ledger.acknowledged.lock().unwrap().insert(number);
            }
            Ok(reply) => panic!("message {number} was refused: {reply:?}"),
            Err(_) if number.is_multiple_of(3) => {
                ledger.given_up.lock().unwrap().insert(number);
                return;
            }
            Err(_) => {
                ledger.open.lock().unwrap().push(number);
                return;
            }
        }
    }
}

/// A small generator (xorshift64*), so that a run can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

async fn kill_again_and_again(rounds: u64) {
    let seed = number_from("KILL_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64 | 1
    });
    println!("KILL_SEED={seed} KILL_ROUNDS={rounds}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::default());
    let began = Instant::now();
    for round in 1..=rounds {
        let mut server = Server::start(folder.path(), CONFIG).await;
        if round.is_multiple_of(SETTLED_EVERY) {
            server.api.settle().await;
        }
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (ledger, smtp) = (ledger.clone(), server.smtp);
                tokio::spawn(async move { load(smtp, &ledger).await })
            })
            .collect();
        // Any moment will do, also one in the middle of recovering from the last kill.
        tokio::time::sleep(Duration::from_micros(random.below(1_500_000))).await;
        server.process.kill().await;
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let loaded = began.elapsed();

    // The last start: senders have what is open taken, then everything settles.
    let server = Server::start(folder.path(), CONFIG).await;
    let mut client = Client::connect(server.smtp).await.unwrap();
    let open = std::mem::take(&mut *ledger.open.lock().unwrap());
    for number in open {
        let (author, letter) = letter(number);
        let reply = client.send(&author, &["hello@localhost"], &letter.bytes()).await.unwrap();
        assert!(reply.is(250), "{reply:?}");
        ledger.known.fetch_add(u64::from(reply.text.contains("again")), Ordering::Relaxed);
        ledger.acknowledged.lock().unwrap().insert(number);
    }
    server.api.settle().await;
    let acknowledged = std::mem::take(&mut *ledger.acknowledged.lock().unwrap());
    let given_up = std::mem::take(&mut *ledger.given_up.lock().unwrap());
    check(&server.data, &acknowledged, &given_up);
    println!(
        "{rounds} kills in {:.1} s: {} messages acknowledged, {} given up, {} sent again after a \
         lost connection, {} of them known already; last start {} ms",
        loaded.as_secs_f64(),
        acknowledged.len(),
        given_up.len(),
        ledger.sent_again.load(Ordering::Relaxed),
        ledger.known.load(Ordering::Relaxed),
        server.start_time.as_millis(),
    );
    assert!(acknowledged.len() as u64 > rounds, "hardly any load");
}

/// Holds what is stored and what left against what was acknowledged. Reads the tables: an interface
/// that pages through thousands of rows could hide a double one.
fn check(data: &Path, acknowledged: &BTreeSet<u64>, given_up: &BTreeSet<u64>) {
    let db = database(data);
    let stored: Vec<(u64, i64, String)> = {
        let mut query = db
            .prepare(
                "SELECT l.rfc_message_id, m.id, l.from_address FROM mails l
                 JOIN messages m ON m.id = l.message_id WHERE l.direction = 'in'",
            )
            .unwrap();
        let rows = query.query_map((), |row| {
            let id: String = row.get(0)?;
            let number = id.strip_suffix("@load.test").unwrap().parse().unwrap();
            Ok((number, row.get(1)?, row.get(2)?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    // There once.
    let numbers: BTreeSet<u64> = stored.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers.len(), stored.len(), "a message is there twice");
    let missing: Vec<_> = acknowledged.difference(&numbers).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    let surplus: Vec<_> =
        numbers.iter().filter(|n| !acknowledged.contains(n) && !given_up.contains(n)).collect();
    assert!(surplus.is_empty(), "stored and never sent: {surplus:?}");

    // Took effect once: the event is gone, its reply is in the outbox, the state counted it.
    assert_eq!(count(&db, "SELECT count(*) FROM events"), 0);
    assert_eq!(
        count(&db, "SELECT count(*) FROM outbox WHERE state <> 'released'"),
        0,
        "an answer was held"
    );
    let answered =
        "SELECT count(*) FROM (SELECT answers FROM outbox GROUP BY answers HAVING count(*) = 1)";
    assert_eq!(count(&db, answered), stored.len() as u64);
    assert_eq!(count(&db, "SELECT count(*) FROM outbox"), stored.len() as u64);
    let sent = "SELECT count(*) FROM deliveries WHERE state = 'sent'";
    assert_eq!(count(&db, sent), stored.len() as u64);
    assert_eq!(count(&db, "SELECT count(*) FROM deliveries"), stored.len() as u64);
    let mut by_author: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, _, author) in &stored {
        *by_author.entry(author).or_default() += 1;
    }
    for (author, mails) in by_author {
        let remembered: u64 = db
            .query_row(
                "SELECT i.state ->> 'acknowledged' FROM instances i
                 JOIN handles h ON h.contact_id = i.contact_id WHERE h.value = ?1",
                (author,),
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(remembered, mails, "{author} wrote {mails} mails");
    }

    // Answered once, in files that are whole.
    let mut answers: BTreeMap<u64, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for mail in captured(data) {
        let answered = mail.header("In-Reply-To").unwrap();
        let number = answered.trim_matches(['<', '>']).strip_suffix("@load.test").unwrap();
        *answers.entry(number.parse().unwrap()).or_default() += 1;
        assert!(ids.insert(mail.id()), "{} left twice", mail.id());
        assert!(mail.raw.ends_with(b"--\r\n"), "{} is cut short", mail.delivery);
    }
    let twice: Vec<_> = answers.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "captured twice: {twice:?}");
    assert!(answers.keys().eq(&numbers), "not all were answered");

    let whole: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    assert_eq!(count(&db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

fn count(db: &Connection, sql: &str) -> u64 {
    db.query_row(sql, (), |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_loses_nothing_and_repeats_nothing() {
    kill_again_and_again(number_from("KILL_ROUNDS").unwrap_or(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long"]
async fn soak_killed_hundreds_of_times_it_loses_nothing_and_repeats_nothing() {
    kill_again_and_again(number_from("KILL_ROUNDS").unwrap_or(300)).await;
}

#[tokio::test]
async fn a_retry_after_an_answer_that_never_arrived_is_the_same_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), CONFIG).await;
    let (author, letter) = letter(1);
    // The client is gone before it can read the reply to its final dot.
    let client = Client::connect(server.smtp).await.unwrap();
    client.send_and_vanish(&author, "hello@localhost", &letter.bytes()).await.unwrap();
    support::until("the message is stored", || async {
        (!server.api.conversations().await.is_empty()).then_some(())
    })
    .await;
    server.process.kill().await;

    let server = Server::start(folder.path(), CONFIG).await;
    let mut client = Client::connect(server.smtp).await.unwrap();
    let reply = client.send(&author, &["hello@localhost"], &letter.bytes()).await.unwrap();
    assert!(reply.is(250) && reply.text.contains("again"), "{reply:?}");
    server.api.settle().await;
    check(&server.data, &BTreeSet::from([1]), &BTreeSet::new());
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_the_next_start_continues() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), CONFIG).await;
    let mut client = Client::connect(server.smtp).await.unwrap();
    let mut sent = BTreeSet::new();
    for number in 0..20 {
        let (author, letter) = letter(number);
        let reply = client.send(&author, &["hello@localhost"], &letter.bytes()).await.unwrap();
        assert!(reply.is(250), "{reply:?}");
        sent.insert(number);
    }
    assert!(server.process.terminate().await.success());
    let server = Server::start(folder.path(), CONFIG).await;
    server.api.settle().await;
    check(&server.data, &sent, &BTreeSet::new());
}
