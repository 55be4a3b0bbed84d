//! Bringing the schema up to date.
//!
//! Migrations are numbered files that are never edited once released; a database remembers how many
//! it has seen in `user_version`. Each runs in a transaction of its own, so a crash leaves the
//! version before or the version after.

use super::{Result, StoreError};
use rusqlite::Connection;

/// All migrations, oldest first. New columns are added; meanings are never changed.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_history", include_str!("migrations/0001_history.sql")),
    ("0003_turns", include_str!("migrations/0003_turns.sql")),
];

pub(super) fn run(connection: &mut Connection) -> Result<()> {
    run_to(connection, MIGRATIONS.len())
}

fn run_to(connection: &mut Connection, target: usize) -> Result<()> {
    let seen: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if seen > MIGRATIONS.len() {
        return Err(StoreError::Corrupt(format!(
            "this database was written by a newer frontdesk (schema {seen}, this one knows {}): \
             run the newer version, or restore a backup",
            MIGRATIONS.len()
        )));
    }
    for (number, (name, sql)) in MIGRATIONS.iter().enumerate().take(target).skip(seen) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number + 1)?;
        transaction.commit()?;
        tracing::info!(migration = name, "the database schema was brought up to date");
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
        for start in 0..=MIGRATIONS.len() {
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
    fn every_table_is_strict() {
        let mut fresh = Connection::open_in_memory().unwrap();
        run(&mut fresh).unwrap();
        let lax: Vec<String> = fresh
            .prepare(
                "SELECT name FROM pragma_table_list
                 WHERE type = 'table' AND strict = 0
                   AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'message_search%'",
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
