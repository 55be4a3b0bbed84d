//! Writes that are asked for twice and done once.
//!
//! A key is claimed before its request runs and gets the answer after it. A request of which nobody knows
//! how it ended (the process died between) is not run again: at most once.

use super::{Lane, Result, Store};
use rusqlite::OptionalExtension;

/// What is known of a request with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeated {
    /// It is the first: run it, then [`Store::keep_answer`] or [`Store::forget_key`].
    First,
    /// It was answered with this.
    Answered { status: u16, body: Vec<u8> },
    /// It is under way, or nobody knows how it ended.
    Unfinished,
    /// The key was used for another request.
    Other,
}

impl Store {
    /// Claims a key for a request.
    pub async fn claim_key(
        &self,
        actor: String,
        key: String,
        request: [u8; 32],
    ) -> Result<Repeated> {
        self.write(Lane::Turn, move |tx| {
            let day_ago = tx.now - 24 * 60 * 60 * 1000;
            let known = tx
                .conn
                .prepare_cached(
                    "SELECT request, status, body FROM idempotency
                     WHERE actor = ?1 AND key = ?2 AND created_at >= ?3",
                )?
                .query_row((&actor, &key, day_ago), |row| {
                    let request: Vec<u8> = row.get(0)?;
                    let status: Option<u16> = row.get(1)?;
                    let body: Option<Vec<u8>> = row.get(2)?;
                    Ok((request, status, body))
                })
                .optional()?;
            let Some((earlier, status, body)) = known else {
                tx.run(
                    "INSERT OR REPLACE INTO idempotency (actor, key, request, created_at)
                     VALUES (?1, ?2, ?3, ?4)",
                    (&actor, &key, request, tx.now),
                )?;
                return Ok(Repeated::First);
            };
            Ok(match status {
                _ if earlier != request => Repeated::Other,
                Some(status) => Repeated::Answered { status, body: body.unwrap_or_default() },
                None => Repeated::Unfinished,
            })
        })
        .await
    }

    /// Keeps the answer to a request for whoever repeats it.
    pub async fn keep_answer(
        &self,
        actor: String,
        key: String,
        status: u16,
        body: Vec<u8>,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "UPDATE idempotency SET status = ?3, body = ?4 WHERE actor = ?1 AND key = ?2",
                (&actor, &key, status, &body),
            )?;
            Ok(())
        })
        .await
    }

    /// A request had no effect: its key can be used again.
    pub async fn forget_key(&self, actor: String, key: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run("DELETE FROM idempotency WHERE actor = ?1 AND key = ?2", (&actor, &key))?;
            Ok(())
        })
        .await
    }
}
