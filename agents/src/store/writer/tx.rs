//! A transaction, as operations see it.

use super::super::{Result, Wake, day_of, thread::ThreadKey};
use rusqlite::{Connection, OptionalExtension, Params, Row};

/// A transaction, as operations see it.
pub(crate) struct Tx<'c> {
    pub conn: &'c Connection,
    /// Milliseconds since 1970.
    pub now: i64,
    pub threads: ThreadKey,
    pub(super) wakes: Vec<Wake>,
}

impl Tx<'_> {
    /// Tells this after the commit.
    pub fn wake(&mut self, wake: Wake) {
        self.wakes.push(wake);
    }

    /// Runs a statement and returns how many rows it changed.
    pub fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// The one row of a query.
    pub fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read)?)
    }

    /// The first row of a query, if there is one.
    pub fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// Inserts a row and returns its id.
    pub fn insert(&self, sql: &str, params: impl Params) -> Result<i64> {
        Ok(self.conn.prepare_cached(sql)?.insert(params)?)
    }

    /// A daily counter.
    pub fn tally(&self, scope: &str, key: &str) -> Result<u32> {
        Ok(self
            .find(
                "SELECT n FROM tallies WHERE day = ?1 AND scope = ?2 AND key = ?3",
                (day_of(self.now), scope, key),
                |row| row.get(0),
            )?
            .unwrap_or(0))
    }

    /// Adds one to a daily counter and returns it.
    pub fn count(&self, scope: &str, key: &str) -> Result<u32> {
        self.row(
            "INSERT INTO tallies (day, scope, key, n) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (day, scope, key) DO UPDATE SET n = n + 1
             RETURNING n",
            (day_of(self.now), scope, key),
            |row| row.get(0),
        )
    }

    /// Records who did what.
    pub fn audit(&self, actor: &str, action: &str, subject: &str, detail: &str) -> Result<()> {
        self.run(
            "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
            (self.now, actor, action, subject, detail),
        )?;
        Ok(())
    }
}
