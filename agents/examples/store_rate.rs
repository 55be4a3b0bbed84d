//! How fast the store and the runtime are on this machine.
//!
//! `cargo run --release -p frontdesk-agents --example store_rate [directory]`
//!
//! Prints accepts per second through [`Store::accept`] (10 KB messages, 32 callers, each waiting for
//! its commit), events handled per second by an agent that does nothing, and at a steady rate the times
//! from commit to handler and how far search is behind. The directory decides which disk is measured; by default the temporary
//! one.

use frontdesk_agents::{
    Agent, AgentId, Context, HandlerError, Mail, MessageId, Runtime, RuntimeConfig, Store,
    SystemClock, Verdict,
    admission::InstancePolicy,
    gate::Approval,
    mail::{AddressRoute, Arrival, ArrivalRecipient},
    runtime::{BoxedAgent, Registry},
    store::{Accepted, AgentRules, Rules},
};
use rusqlite::OptionalExtension as _;
use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const CALLERS: u64 = 32;
/// Made before the clock starts: making and compressing one costs as much as storing it.
const MESSAGES: u64 = 9_600;
const STEADY_PER_SECOND: u64 = 1_000;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Notes when it runs and does nothing.
#[derive(Clone, Default)]
struct Idle {
    ran: Arc<AtomicU64>,
    /// When it ran for which message, of the steady ones.
    runs: Arc<Mutex<Vec<(MessageId, Instant)>>>,
}

impl Agent for Idle {
    type State = ();

    fn on_email(&self, _: &mut Context<'_, ()>, mail: &Mail) -> Result<(), HandlerError> {
        self.ran.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if mail.subject.starts_with("steady") {
            self.runs.lock().map_err(|_| "poisoned")?.push((mail.id, now));
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let dir = match std::env::args().nth(1) {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    println!("{} on {} cores", dir.path().display(), std::thread::available_parallelism()?);
    sync_times(dir.path())?;

    let store = Store::open(dir.path(), Arc::new(SystemClock))?;
    let agent = store.register_agents(vec![("hello".into(), "bench".into())]).await?[0];
    store.set_rules(rules(agent));

    let (rate, mut times) = accept_many(&store, agent, "alone").await?;
    report("accepts, store alone", rate, &mut times);

    let idle = Idle::default();
    let mut registry = Registry::default();
    registry.add(agent, "hello", BoxedAgent::new(idle.clone()));
    let started = Instant::now();
    let runtime = Runtime::start(store.clone(), registry, RuntimeConfig::default()).await?;
    until(|| idle.ran.load(Ordering::Relaxed) >= MESSAGES).await;
    let rate = MESSAGES as f64 / started.elapsed().as_secs_f64();
    println!("events from the table, no-op agent: {rate:.0}/s");

    let before = idle.ran.load(Ordering::Relaxed);
    let (rate, mut times) = accept_many(&store, agent, "handled").await?;
    report("accepts, agent handling them", rate, &mut times);
    let started = Instant::now();
    until(|| idle.ran.load(Ordering::Relaxed) >= before + MESSAGES).await;
    println!("  handled {:.0} ms after the last accept", started.elapsed().as_secs_f64() * 1e3);

    steady(&store, agent, &idle).await?;
    let started = Instant::now();
    store.settle().await?;
    println!("search index caught up {:.1} s later", started.elapsed().as_secs_f64());
    runtime.stop().await;
    store.close().await;
    Ok(())
}

/// The disk's own speed, which bounds everything else.
fn sync_times(dir: &std::path::Path) -> Result<(), Error> {
    let mut file = std::fs::File::create(dir.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 8192])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    println!("fdatasync of 8 KiB: {}", percentiles(&mut times));
    Ok(())
}

/// As many callers as sessions, each waiting for its commit before its next message.
async fn accept_many(
    store: &Store,
    agent: AgentId,
    subject: &'static str,
) -> Result<(f64, Vec<Duration>), Error> {
    let mut batches = Vec::new();
    for caller in 0..CALLERS {
        let batch: Result<Vec<_>, _> = (0..MESSAGES / CALLERS)
            .map(|n| arrival(store, agent, subject, caller * 1_000_000 + n))
            .collect();
        batches.push(batch?);
    }
    let started = Instant::now();
    let mut callers = Vec::new();
    for batch in batches {
        let store = store.clone();
        callers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for arrival in batch {
                let started = Instant::now();
                store.accept(arrival).await?;
                times.push(started.elapsed());
            }
            Ok::<_, Error>(times)
        }));
    }
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await??);
    }
    Ok((MESSAGES as f64 / started.elapsed().as_secs_f64(), times))
}

/// From the answer to whoever waits for the commit to the handler running, at a steady rate.
async fn steady(store: &Store, agent: AgentId, idle: &Idle) -> Result<(), Error> {
    let before = idle.ran.load(Ordering::Relaxed);
    store.settle().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (dir, stopped) = (store.dir().to_owned(), stop.clone());
    let watching = std::thread::spawn(move || search_lags(&dir, &stopped));
    let mut accepted = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / STEADY_PER_SECOND));
    for n in 0..5 * STEADY_PER_SECOND {
        tick.tick().await;
        let arrival = arrival(store, agent, "steady", 900_000_000 + n)?;
        let store = store.clone();
        accepted.push(tokio::spawn(async move {
            let started = Instant::now();
            let accepted = store.accept(arrival).await?;
            Ok::<_, Error>((accepted, started, Instant::now()))
        }));
    }
    let mut done = std::collections::HashMap::new();
    let mut times = Vec::new();
    for task in accepted {
        let (accepted, started, ended) = task.await??;
        times.push(ended.duration_since(started));
        if let [Accepted::Stored { message, .. }] = accepted.as_slice() {
            done.insert(*message, ended);
        }
    }
    println!("accept at {STEADY_PER_SECOND}/s: {}", percentiles(&mut times));
    stop.store(true, Ordering::Relaxed);
    let mut lags = watching.join().map_err(|_| "the watch of the index panicked")??;
    println!("search behind at {STEADY_PER_SECOND}/s: {}", percentiles(&mut lags));
    until(|| idle.ran.load(Ordering::Relaxed) >= before + 5 * STEADY_PER_SECOND).await;
    let mut waits: Vec<Duration> = idle
        .runs
        .lock()
        .map_err(|_| "a handler panicked")?
        .iter()
        .filter_map(|(id, ran)| Some(ran.saturating_duration_since(*done.get(id)?)))
        .collect();
    println!("accepted to handler running: {}", percentiles(&mut waits));
    Ok(())
}

/// The age of the oldest message that search does not find yet, again and again.
fn search_lags(dir: &std::path::Path, stop: &AtomicBool) -> Result<Vec<Duration>, Error> {
    let reader = rusqlite::Connection::open(dir.join("frontdesk.db"))?;
    let index = dir.join("search.db");
    reader.execute("ATTACH DATABASE ?1 AS search", (index.to_string_lossy(),))?;
    let mut lags = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let oldest: Option<i64> = reader
            .prepare_cached(
                "SELECT created_at FROM messages
                 WHERE id > (SELECT messages FROM search.position) ORDER BY id LIMIT 1",
            )?
            .query_row((), |row| row.get(0))
            .optional()?;
        let now = jiff::Timestamp::now().as_millisecond();
        let lag = oldest.map_or(0, |oldest| now - oldest);
        lags.push(Duration::from_millis(u64::try_from(lag).unwrap_or(0)));
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(lags)
}

fn arrival(store: &Store, agent: AgentId, subject: &str, n: u64) -> Result<Arrival, Error> {
    // Words in no particular order, so that neither zstd nor the search index has it too easy.
    let mut text = String::with_capacity(10_240);
    let mut seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < 9_800 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        text.push_str(&format!("word{:03x} ", seed & 0xfff));
        if seed.is_multiple_of(13) {
            text.push_str("\r\n");
        }
    }
    let from = format!("person{}@example.org", n % 1_000);
    let raw = format!("From: {from}\r\nSubject: {subject} {n}\r\n\r\n{text}");
    let mut body_hash = [0; 32];
    body_hash[..8].copy_from_slice(&n.to_le_bytes());
    Ok(Arrival {
        received_at: jiff::Timestamp::now(),
        network: "192.0.2.0/24".into(),
        reverse_path: from.clone(),
        from,
        from_name: Some("A Person".into()),
        reply_to: None,
        to: vec!["hello@example.com".into()],
        cc: Vec::new(),
        subject: format!("{subject} {n}"),
        message_id: Some(format!("{subject}.{n}@example.org")),
        references: Vec::new(),
        verdict: Verdict::Verified,
        evidence: "{}".into(),
        envelope_proven: true,
        automatic: None,
        body_hash,
        prelude: "Received: from bench\r\n".into(),
        raw: store.stage(raw.as_bytes())?,
        attachments: Vec::new(),
        flags: Vec::new(),
        quarantine: None,
        recipients: vec![ArrivalRecipient {
            address: "hello@example.com".into(),
            agent,
            answer_from: "hello@example.com".into(),
            route: AddressRoute::Plain,
            own_references: Vec::new(),
            own_words: text.clone(),
            new_text: text,
            layers: None,
        }],
    })
}

fn rules(agent: AgentId) -> Rules {
    let mut rules = Rules::default();
    rules.agents.insert(
        agent,
        AgentRules {
            name: "hello".into(),
            instance: InstancePolicy::Contact,
            approval: Approval::None,
            runs: true,
            address: "hello@example.com".into(),
            owner: None,
        },
    );
    rules
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn report(what: &str, rate: f64, times: &mut [Duration]) {
    println!("{what}: {rate:.0}/s, each {}", percentiles(times));
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}
