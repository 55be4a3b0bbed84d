//! What a mail costs in the store, in figures that other programs on the machine do not disturb.
//!
//! `cargo run --release -p frontdesk-agents --example store_cost [messages] [directory] [at once]`
//!
//! Accepts mails of 10 KB without a runtime, so many at once (32) as sessions would offer, and prints what
//! each wrote to the write-ahead log, by table and index, and the processor time of the threads of the
//! writer and of the search index.

use frontdesk_agents::{
    AgentId, Store, SystemClock, Verdict,
    admission::InstancePolicy,
    gate::Approval,
    mail::{AddressRoute, Arrival, ArrivalRecipient},
    store::{AgentRules, Rules},
};
use futures_util::future::try_join_all;
use rusqlite::Connection;
use std::{collections::HashMap, path::Path, sync::Arc};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let messages: u64 = args.next().map_or(Ok(6_400), |count| count.parse())?;
    let dir = match args.next() {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let wave: usize = args.next().map_or(Ok(32), |count| count.parse())?;
    let store = Store::open(dir.path(), Arc::new(SystemClock))?;
    let agent = store.register_agents(vec![("hello".into(), "bench".into())]).await?[0];
    store.set_rules(rules(agent));

    // A reader that sees the beginning keeps the log from being begun anew, so that all of it is there.
    let database = dir.path().join("frontdesk.db");
    let reader = Connection::open(&database)?;
    reader.execute_batch("BEGIN")?;
    reader.query_row("SELECT count(*) FROM messages", (), |_| Ok(()))?;
    let log = dir.path().join("frontdesk.db-wal");
    let before = std::fs::metadata(&log)?.len();

    let mut arrivals = Vec::new();
    for n in 0..messages {
        arrivals.push(arrival(&store, agent, n)?);
    }
    let mut arrivals = arrivals.into_iter();
    let began = [thread_time("store-writer")?, thread_time("store-index")?];
    while arrivals.len() > 0 {
        try_join_all(arrivals.by_ref().take(wave).map(|mail| store.accept(mail))).await?;
    }
    store.settle().await?;
    let writer = thread_time("store-writer")? - began[0];
    let index = thread_time("store-index")? - began[1];

    println!("{messages} messages, of each:");
    println!("{:8.1} us of the writer", writer / messages as f64);
    println!("{:8.1} us of the search index", index / messages as f64);
    reader.execute_batch("COMMIT")?;
    let mut all: Vec<_> = pages_by_object(&reader, &log, before)?.into_iter().collect();
    all.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let per_message = |bytes: u64| bytes as f64 / 1024.0 / messages as f64;
    println!("{:8.2} KB of log", per_message(all.iter().map(|(_, bytes)| bytes).sum()));
    for (name, bytes) in all.iter().filter(|(_, bytes)| per_message(*bytes) >= 0.05) {
        println!("{:8.2} KB   {name}", per_message(*bytes));
    }
    store.close().await;
    Ok(())
}

/// Microseconds of processor time of a thread so far.
fn thread_time(name: &str) -> Result<f64, Error> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        if std::fs::read_to_string(thread.join("comm"))?.trim() == name {
            let times = std::fs::read_to_string(thread.join("schedstat"))?;
            let nanos = times.split(' ').next().ok_or("an empty schedstat")?;
            return Ok(nanos.parse::<f64>()? / 1e3);
        }
    }
    Err(format!("there is no thread {name}").into())
}

/// Bytes of the frames of a log by the table or index that their page belongs to now.
fn pages_by_object(
    connection: &Connection,
    log: &Path,
    from: u64,
) -> Result<HashMap<String, u64>, Error> {
    let mut owners: HashMap<u32, String> = HashMap::new();
    let mut query = connection.prepare("SELECT pageno, name FROM dbstat")?;
    let mut rows = query.query(())?;
    while let Some(row) = rows.next()? {
        owners.insert(row.get(0)?, row.get(1)?);
    }
    // https://www.sqlite.org/fileformat2.html#walformat: frames of a 24-byte header and a page follow a
    // header of 32 bytes, which names the page size.
    let log = std::fs::read(log)?;
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(log.get(at..at + 4)?.try_into().ok()?))
    };
    let frame = 24 + word(8).ok_or("an empty log")? as usize;
    let mut bytes = HashMap::new();
    let mut at = (from as usize).max(32);
    while at + frame <= log.len() {
        let page = word(at).ok_or("a cut frame")?;
        let owner = owners.get(&page).map_or("no longer used", String::as_str);
        *bytes.entry(owner.to_owned()).or_insert(0) += frame as u64;
        at += frame;
    }
    Ok(bytes)
}

fn arrival(store: &Store, agent: AgentId, n: u64) -> Result<Arrival, Error> {
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
    let raw = format!("From: {from}\r\nSubject: cost {n}\r\n\r\n{text}");
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
        subject: format!("cost {n}"),
        // As real ones: in no order.
        message_id: Some(format!("{:016x}.{n}@example.org", seed)),
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
