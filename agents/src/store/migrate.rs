//! Bringing the schema up to date.
//!
//! Migrations are numbered files that are never edited once released; a database remembers the number
//! of the last one it has seen in `user_version`. Each runs in a transaction of its own, so a crash
//! leaves the version before or the version after.

use super::{Result, StoreError};
use rusqlite::Connection;

/// All migrations by number, oldest first. New columns are added; meanings are never changed.
const MIGRATIONS: &[(u32, &str, &str)] = &[
    (1, "history", include_str!("migrations/0001_history.sql")),
    (2, "calls", include_str!("migrations/0002_calls.sql")),
    (3, "turns", include_str!("migrations/0003_turns.sql")),
    (4, "users", include_str!("migrations/0004_users.sql")),
];

/// The number of the newest migration.
const NEWEST: u32 = MIGRATIONS[MIGRATIONS.len() - 1].0;

pub(super) fn run(connection: &mut Connection) -> Result<()> {
    run_to(connection, NEWEST)
}

fn run_to(connection: &mut Connection, target: u32) -> Result<()> {
    let seen: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if seen > NEWEST {
        return Err(StoreError::Corrupt(format!(
            "this database was written by a newer frontdesk (schema {seen}, this one knows {NEWEST}): \
             run the newer version, or restore a backup",
        )));
    }
    for (number, name, sql) in MIGRATIONS {
        if *number <= seen || *number > target {
            continue;
        }
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
        tracing::info!(number, name, "the database schema was brought up to date");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<String> {
        connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap()
            .query_map((), |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn every_earlier_version_arrives_at_the_same_schema() {
        let mut fresh = Connection::open_in_memory().unwrap();
        run(&mut fresh).unwrap();
        for start in std::iter::once(0).chain(MIGRATIONS.iter().map(|(number, ..)| *number)) {
            let mut old = Connection::open_in_memory().unwrap();
            run_to(&mut old, start).unwrap();
            run(&mut old).unwrap();
            assert_eq!(schema(&old), schema(&fresh), "from version {start}");
            let intact: String =
                old.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
            assert_eq!(intact, "ok");
        }
    }

    #[test]
    fn numbers_grow() {
        assert!(MIGRATIONS.is_sorted_by(|(a, ..), (b, ..)| a < b));
    }

    #[test]
    fn a_database_from_before_calls_keeps_what_is_in_it_and_takes_calls() {
        let mut old = Connection::open_in_memory().unwrap();
        run_to(&mut old, 1).unwrap();
        old.execute_batch(
            "INSERT INTO agents (id, name, kind, created_at) VALUES (1, 'support', 'receptionist', 5);
             INSERT INTO contacts VALUES (1, 'Ann', 'known', NULL, 5);
             INSERT INTO handles VALUES (1, 1, 'email', 'ann@a.test', 'dmarc', 5);
             INSERT INTO instances (id, agent_id, key, contact_id, proven, state, created_at)
             VALUES (1, 1, 'contact:1', 1, 1, '{\"n\":7}', 5);
             INSERT INTO conversations (id, agent_id, instance_id, channel, last_message_at, created_at)
             VALUES (1, 1, 1, 'mail', 6, 5);
             INSERT INTO participants VALUES (1, 'ann@a.test', 1, 1), (1, 'bob@b.test', 0, NULL);
             INSERT INTO messages (id, conversation_id, instance_id, channel, role, author, text,
                                   status, created_at)
             VALUES (9, 1, 1, 'mail', 'human', 'ann@a.test', 'an old question', 'admitted', 6);",
        )
        .unwrap();
        run(&mut old).unwrap();
        set_foreign_keys(&old);
        let kept: (String, String, i64) = old
            .query_row(
                "SELECT m.text, i.state, (SELECT count(*) FROM participants WHERE member = 1)
                 FROM messages m JOIN instances i ON i.id = m.instance_id WHERE m.id = 9",
                (),
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(kept, ("an old question".into(), "{\"n\":7}".into(), 1));
        old.execute_batch(
            "INSERT INTO calls (id, agent_id, conversation_id, channel, contact_id, trust, started_at)
             VALUES (1, 1, 1, 'browser', 1, 'known', 8);
             INSERT INTO spoken (message_id, call_id, speaker, origin, started_ms, sent, heard, outcome)
             VALUES (9, 1, 'caller', 'caller', 0, 1, 1, 'complete');",
        )
        .unwrap();
        let orphan = "INSERT INTO spoken (message_id, call_id, speaker, origin, started_ms, sent,
                                          heard, outcome)
                      VALUES (10, 1, 'caller', 'caller', 0, 1, 1, 'complete')";
        assert!(old.execute_batch(orphan).is_err(), "what was said belongs to a message");
    }

    fn set_foreign_keys(connection: &Connection) {
        connection.pragma_update(None, "foreign_keys", 1).unwrap();
        let mut broken = connection.prepare("PRAGMA foreign_key_check").unwrap();
        assert!(broken.query(()).unwrap().next().unwrap().is_none());
    }

    #[test]
    fn every_table_is_strict() {
        let mut fresh = Connection::open_in_memory().unwrap();
        run(&mut fresh).unwrap();
        let lax: Vec<String> = fresh
            .prepare(
                "SELECT name FROM pragma_table_list
                 WHERE type = 'table' AND strict = 0
                   AND name NOT LIKE 'sqlite_%'",
            )
            .unwrap()
            .query_map((), |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(lax, Vec::<String>::new());
    }

    #[test]
    fn a_newer_database_is_refused_with_the_fix() {
        let mut newer = Connection::open_in_memory().unwrap();
        newer.pragma_update(None, "user_version", 4_000).unwrap();
        let error = run(&mut newer).unwrap_err().to_string();
        assert!(error.contains("newer frontdesk"), "{error}");
    }
}
