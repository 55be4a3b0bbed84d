//! What a benchmark asks of the database beside the store's own interface: it makes in seconds what
//! years of mail would make, and looks on while the server writes.
//!
//! The store knows nothing of this. It is the one place outside of it with SQL, and only benchmarks
//! call it; a schema that changes breaks their tests.

use super::stats::Samples;
use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// A query-only connection beside a running server.
pub(super) struct Reader(Connection);

impl Reader {
    pub(super) fn open(database: &Path) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(database, flags)
            .with_context(|| format!("open {}", database.display()))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        attach_search(&connection, database)?;
        Ok(Self(connection))
    }

    pub(super) fn sent_deliveries(&self) -> anyhow::Result<usize> {
        self.number("SELECT count(*) FROM deliveries WHERE state = 'sent'")
    }

    fn number(&self, sql: &str) -> anyhow::Result<usize> {
        let number: i64 = self.0.prepare_cached(sql)?.query_row((), |row| row.get(0))?;
        Ok(usize::try_from(number).unwrap_or(0))
    }

    /// How long ago the oldest message came in that search does not find yet.
    fn lag(&self) -> anyhow::Result<Duration> {
        let mut query = self.0.prepare_cached(
            "SELECT created_at FROM messages
             WHERE id > (SELECT messages FROM search.position) ORDER BY id LIMIT 1",
        )?;
        let mut rows = query.query(())?;
        let Some(row) = rows.next()? else { return Ok(Duration::ZERO) };
        let since: i64 = row.get(0)?;
        let now = jiff::Timestamp::now().as_millisecond();
        Ok(Duration::from_millis(u64::try_from(now - since).unwrap_or(0)))
    }
}

/// Received mails that were verified.
pub(super) fn verified_mails(database: &Path) -> anyhow::Result<usize> {
    Reader::open(database)?
        .number("SELECT count(*) FROM mails WHERE direction = 'in' AND verdict = 'verified'")
}

/// How the database is set up. What belongs to a connection the store sets and reads back.
pub(super) fn settings(database: &Path) -> anyhow::Result<String> {
    let Reader(connection) = Reader::open(database)?;
    let text = |name: &str| -> anyhow::Result<String> {
        let value: rusqlite::types::Value =
            connection.pragma_query_value(None, name, |row| row.get(0))?;
        Ok(match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        })
    };
    Ok(format!(
        "SQLite {}, journal_mode {}, synchronous FULL, page size {}",
        rusqlite::version(),
        text("journal_mode")?,
        text("page_size")?
    ))
}

/// Looks at the search index again and again.
pub(super) struct LagWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Samples>>,
}

impl LagWatch {
    pub(super) fn start(database: &Path) -> anyhow::Result<Self> {
        let reader = Reader::open(database)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut samples = Samples::default();
            while !stopped.load(Ordering::Relaxed) {
                samples.add(reader.lag()?);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(samples)
        });
        Ok(Self { stop, thread })
    }

    pub(super) fn stop(self) -> anyhow::Result<Samples> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch of the index panicked"))?
    }
}

/// The search index is a file beside the database.
fn attach_search(connection: &Connection, database: &Path) -> anyhow::Result<()> {
    let path = database.with_file_name("search.db");
    connection.execute("ATTACH DATABASE ?1 AS search", (path.to_string_lossy(),))?;
    Ok(())
}

fn writable(database: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(database)?;
    // Nothing here has to survive: it is made for one run.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    attach_search(&connection, database)?;
    Ok(connection)
}

/// Proven correspondents `person<N>@sleep.test`, each with an instance that ran before and sleeps.
/// The store must be closed.
pub(super) fn sleepers(database: &Path, agent: i64, count: usize) -> anyhow::Result<()> {
    let mut connection = writable(database)?;
    let tx = connection.transaction()?;
    let now = jiff::Timestamp::now().as_millisecond();
    let count = i64::try_from(count)?;
    let base: i64 =
        tx.query_row("SELECT coalesce(max(id), 0) FROM contacts", (), |row| row.get(0))?;
    const NUMBERS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)";
    tx.execute(
        &format!(
            "{NUMBERS} INSERT INTO contacts (id, name, created_at)
             SELECT ?2 + i, 'Person ' || i, ?3 FROM n"
        ),
        (count, base, now),
    )?;
    tx.execute(
        &format!(
            "{NUMBERS} INSERT INTO handles (contact_id, channel, value, proof, proven_at)
             SELECT ?2 + i, 'email', 'person' || i || '@sleep.test', 'dmarc', ?3 FROM n"
        ),
        (count, base, now),
    )?;
    tx.execute(
        &format!(
            "{NUMBERS} INSERT INTO instances
                 (agent_id, key, contact_id, proven, state, state_version, version, created_at)
             SELECT ?4, 'contact:' || (?2 + i), ?2 + i, 1, 'null', 1, 1, ?3 FROM n"
        ),
        (count, base, now, agent),
    )?;
    tx.commit()?;
    Ok(())
}

/// Answered conversations until the file has about this many octets, 12 KB each: a mail of 10 KB that
/// does not compress, an answer, a delivery and the search index. The store must be closed.
pub(super) fn conversations(database: &Path, agent: i64, octets: u64) -> anyhow::Result<()> {
    let mut connection = writable(database)?;
    while database.metadata()?.len() < octets {
        let tx = connection.transaction()?;
        add_conversations(&tx, agent, 5_000)?;
        tx.commit()?;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    Ok(())
}

/// Leaves a write-ahead log of about this many octets behind, as a crash does.
pub(super) fn unfinished_log(database: &Path, agent: i64, octets: u64) -> anyhow::Result<u64> {
    let mut connection = writable(database)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let log = database.with_extension("db-wal");
    while log.metadata().map_or(0, |metadata| metadata.len()) < octets {
        let tx = connection.transaction()?;
        add_conversations(&tx, agent, 500)?;
        tx.commit()?;
    }
    drop(connection);
    Ok(log.metadata()?.len())
}

fn add_conversations(tx: &Connection, agent: i64, count: i64) -> anyhow::Result<()> {
    let now = jiff::Timestamp::now().as_millisecond();
    let last = |table: &str| -> rusqlite::Result<i64> {
        tx.query_row(&format!("SELECT coalesce(max(id), 0) FROM {table}"), (), |row| row.get(0))
    };
    let (instance, conversation, message) =
        (last("instances")?, last("conversations")?, last("messages")?);
    let add = |sql: &str| -> anyhow::Result<()> {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1),
             v(agent, instance, conversation, message, now) AS (SELECT ?2, ?3, ?4, ?5, ?6) {sql}"
        );
        tx.prepare_cached(&sql)?
            .execute((count, agent, instance, conversation, message, now))
            .map(drop)
            .with_context(|| format!("grow: {sql}"))
    };
    add("INSERT INTO instances (id, agent_id, key, proven, created_at)
         SELECT instance + i, agent, 'grown:' || (instance + i), 1, now FROM n, v")?;
    add("INSERT INTO conversations (id, agent_id, instance_id, channel, subject, last_message_at,
                                    created_at)
         SELECT conversation + i, agent, instance + i, 'mail', 'Request ' || i, now - i, now - i
         FROM n, v")?;
    // Odd ids are mails, even ids their answers.
    add("INSERT INTO messages (id, conversation_id, instance_id, channel, role, author, text, status,
                               created_at)
         SELECT message + 2 * i - 1, conversation + i, instance + i, 'mail', 'human',
                'person@grown.test', hex(randomblob(200)), 'admitted', now - i FROM n, v
         UNION ALL
         SELECT message + 2 * i, conversation + i, instance + i, 'mail', 'agent',
                'bench@desk.test', hex(randomblob(100)), 'admitted', now - i FROM n, v")?;
    add("INSERT INTO blobs (hash, size, data, created_at)
         SELECT randomblob(32), 10000, randomblob(10000), now FROM n, v")?;
    add("INSERT INTO mails (message_id, direction, rfc_message_id, recipient, answer_from,
                            reverse_path, from_address, to_list, cc_list, subject, refs, verdict,
                            envelope_proven, evidence, flags, prelude, body_hash, size)
         SELECT message + 2 * i - 1, 'in', hex(randomblob(12)) || '@grown.test', 'bench@desk.test',
                'bench@desk.test', 'person@grown.test', 'person@grown.test', '[]', '[]',
                'Request ' || i, '[]', 'verified', 1, hex(randomblob(300)), '[]',
                hex(randomblob(150)), randomblob(32), 10000 FROM n, v")?;
    add(
        "INSERT INTO outbox (id, agent_id, conversation_id, message_id, answers, reference, state,
                             from_address, to_list, cc_list, subject, refs, automatic, created_at,
                             released_at)
         SELECT conversation + i, agent, conversation + i, message + 2 * i, message + 2 * i - 1,
                -(conversation + i), 'released', 'bench@desk.test', '[]', '[]', 'Request', '[]', 1,
                now - i, now - i FROM n, v",
    )?;
    add("INSERT INTO deliveries (outbox_id, recipient, state, attempts, next_at, settled_at)
         SELECT conversation + i, 'person@grown.test', 'sent', 1, now - i, now - i FROM n, v")?;
    add("INSERT INTO search.message_search (rowid, subject, author, text)
         SELECT m.id, 'Request', m.author, m.text FROM messages m, v
         WHERE m.id > message AND m.id <= message + 2 * ?1")?;
    tx.execute("UPDATE search.position SET messages = ?1", (message + 2 * count,))?;
    Ok(())
}

/// Makes the system forget what it has read of a file, so that a start reads the disk.
pub(super) fn forget_cached(database: &Path) -> anyhow::Result<()> {
    let file = std::fs::File::open(database)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
