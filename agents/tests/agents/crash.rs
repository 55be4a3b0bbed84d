//! A process that is killed at random moments, again and again, on one directory.
//!
//! The child accepts mail and handles it in a loop and says of each message that it was accepted, as
//! a mail server says 250. Afterwards every message it said so of is there once, and every event took
//! effect once.

use crate::desk::{Change, Desk, Script};
use frontdesk_agents::{
    Agent, Context, EventId, HandlerError, Mail, ManualClock, Store, SystemClock,
    runtime::{BoxedAgent, Registry},
};
use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

const CHILD: &str = "FRONTDESK_TEST_CRASH";
const ROUNDS: u64 = 12;
const PEOPLE: u64 = 5;

/// Counts what it handles, and says something about each to the shared instance, which counts too.
struct Counting;

impl Agent for Counting {
    type State = crate::desk::Memory;

    fn on_email(&self, cx: &mut Context<'_, Self::State>, _: &Mail) -> Result<(), HandlerError> {
        cx.state.n += 1;
        cx.reply("Noted.");
        cx.tell("support", "shared", serde_json::json!("one more"));
        Ok(())
    }

    fn on_message(
        &self,
        cx: &mut Context<'_, Self::State>,
        _: &frontdesk_agents::agent::AgentMessage,
    ) -> Result<(), HandlerError> {
        cx.state.n += 1;
        Ok(())
    }
}

#[test]
fn child_accepts_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Store::open(dir.as_ref(), Arc::new(SystemClock)).unwrap();
        // A desk on the same store would be a second one: only its way of inventing mail is wanted.
        let mut desk = Desk::new();
        let support = desk.agent("support", Script::default()).await;
        let id = store.register_agents(vec![("support".into(), "test".into())]).await.unwrap()[0];
        assert_eq!(id, support);
        let mut rules = desk.rules.clone();
        rules.limits.auto_per_conversation = u32::MAX;
        rules.limits.auto_per_correspondent = u32::MAX;
        rules.limits.auto_per_agent = u32::MAX;
        store.set_rules(rules);
        let mut registry = Registry::default();
        registry.add(id, "support", BoxedAgent::new(Counting));
        let running =
            frontdesk_agents::Runtime::start(store.clone(), registry, crate::desk::config());
        let _running = running.await.unwrap();
        let round = std::process::id();
        let mut callers = Vec::new();
        for person in 0..PEOPLE {
            let mails: Vec<_> = (0..500)
                .map(|n| {
                    let id = format!("{round}.{person}.{n}@a.test");
                    (id.clone(), desk.mail(support, &format!("p{person}@a.test"), &id).id(&id))
                })
                .collect();
            let store = store.clone();
            callers.push(tokio::spawn(async move {
                for (id, mut mail) in mails {
                    mail.raw = store.stage(id.as_bytes()).unwrap();
                    store.accept(mail).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "250 {id}").unwrap();
                    out.flush().unwrap();
                }
            }));
        }
        println!("\nready");
        for caller in callers {
            caller.await.unwrap();
        }
        // Everything is accepted: wait to be killed.
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn killed_at_random_moments_it_loses_nothing_and_does_nothing_twice() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_accepts_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Random in what it has said by then: the kill falls anywhere between two of its answers.
        let mut entropy = [0; 1];
        getrandom::fill(&mut entropy).unwrap();
        let after = 20 + round * 7 + u64::from(entropy[0]) % 120;
        let mut said = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while said < after {
            let line = lines.next().expect("it runs until it is killed").unwrap();
            if let Some(id) = line.strip_prefix("250 ") {
                said += 1;
                assert!(acknowledged.insert(id.to_owned()));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between the decision and the kill counts as well.
        acknowledged.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("250 ").map(str::to_owned)),
        );
    }
    assert!(acknowledged.len() > 200, "{}", acknowledged.len());

    let clock = ManualClock::new(jiff::Timestamp::now());
    let store = Store::open(dir.path(), Arc::new(clock)).unwrap();
    let id = store.register_agents(vec![("support".into(), "test".into())]).await.unwrap()[0];
    let mut desk = Desk::new();
    desk.agent("support", Script::default()).await;
    store.set_rules(desk.rules.clone());
    let mut registry = Registry::default();
    registry.add(id, "support", BoxedAgent::new(Counting));
    let running = frontdesk_agents::Runtime::start(store.clone(), registry, crate::desk::config());
    let running = running.await.unwrap();
    let finished = tokio::time::timeout(Duration::from_secs(60), async {
        while !store.pending_events(EventId(0), 1).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    finished.await.expect("the rest is handled");
    running.stop().await;

    let database = rusqlite::Connection::open(dir.path().join("frontdesk.db")).unwrap();
    let intact: String =
        database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let stored: HashMap<String, i64> = database
        .prepare("SELECT rfc_message_id, count(*) FROM mails GROUP BY 1")
        .unwrap()
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(stored.values().all(|count| *count == 1));
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let number = |sql: &str| -> i64 { database.query_row(sql, (), |row| row.get(0)).unwrap() };
    let mails = number("SELECT count(*) FROM mails");
    let counted =
        |keys: &str| number(&format!("SELECT sum(state ->> 'n') FROM instances WHERE key {keys}"));
    assert_eq!(counted("LIKE 'contact:%'"), mails, "every mail was handled once");
    assert_eq!(counted("= 'shared'"), mails, "and every message between agents");
    assert_eq!(number("SELECT count(*) FROM outbox"), mails, "one answer each");
    assert_eq!(number("SELECT count(*) FROM events"), 0);
}
