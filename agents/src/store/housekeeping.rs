//! What happens after commits, in slices: the search index, and counters nobody reads any more.

use super::{Result, Tx, day_of};
use crate::MessageId;
use rusqlite::Connection;
use std::time::{Duration, Instant};

/// At most this many rows a slice (DESIGN section 5).
const ROWS: usize = 200;

/// At most this long a slice (DESIGN section 5), the wait for the disk apart.
const TIME: Duration = Duration::from_millis(5);

/// How many rows fit into a slice. Most of the time goes into sorting and merging what was added, after the
/// last row, so it is learned from how long the last slices took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(usize);

impl Default for Pace {
    fn default() -> Self {
        Self(16)
    }
}

impl Pace {
    /// The pace after a slice that took this long.
    pub fn after(self, took: Duration) -> Self {
        if took > TIME {
            Self((self.0 / 2).max(1))
        } else if took < TIME / 2 {
            Self((self.0 * 2).min(ROWS))
        } else {
            self
        }
    }
}

/// Pages of the search index (4 KB) merged per slice, and per message added in it. A message adds one to
/// three pages, which are rewritten about once per level of the index; this keeps ahead of that.
const MERGED: usize = 16;
const MERGED_PER_ROW: usize = 12;

/// Text indexed per message, in bytes. Longer texts are logs and dumps, whose tail nobody searches for.
const INDEXED: usize = 64 * 1024;

/// Daily counters are kept this many days, for people who ask what happened.
const TALLY_DAYS: i64 = 14;

/// Does one slice. Returns whether there is more to do, and the pace of the next.
pub(super) fn slice(conn: &Connection, now: i64, pace: Pace) -> Result<(bool, Pace)> {
    if backlog(conn)? == 0 {
        return Ok((false, pace));
    }
    let started = Instant::now();
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = index_some(conn, started, pace.0).and_then(|more| {
        // What was added is sorted and written here and not within the commit, so that it can be timed.
        conn.prepare_cached("INSERT INTO message_search (message_search) VALUES ('flush')")?
            .execute(())?;
        conn.prepare_cached(
            "INSERT INTO message_search (message_search, rank) VALUES ('merge', ?1)",
        )?
        .execute((MERGED + MERGED_PER_ROW * pace.0,))?;
        conn.prepare_cached("DELETE FROM tallies WHERE day < ?1")?
            .execute((day_of(now) - TALLY_DAYS,))?;
        Ok(more)
    });
    match done {
        Ok(more) => {
            let worked = started.elapsed();
            conn.execute_batch("COMMIT")?;
            Ok((more, if more { pace.after(worked) } else { pace }))
        }
        Err(error) => {
            // The error that matters is the first one.
            let _ = conn.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// How many message ids the search index is behind.
pub(super) fn backlog(conn: &Connection) -> Result<i64> {
    Ok(conn
        .prepare_cached(
            "SELECT coalesce((SELECT max(id) FROM messages), 0)
                  - (SELECT value FROM meta WHERE key = 'searched_up_to')",
        )?
        .query_row((), |row| row.get(0))?)
}

fn index_some(conn: &Connection, started: Instant, limit: usize) -> Result<bool> {
    let mut from: i64 = conn
        .prepare_cached("SELECT value FROM meta WHERE key = 'searched_up_to'")?
        .query_row((), |row| row.get(0))?;
    let mut next = conn.prepare_cached(
        "SELECT m.id, coalesce(l.subject, o.subject, ''), m.author, m.text
         FROM messages m
         LEFT JOIN mails l ON l.message_id = m.id
         LEFT JOIN outbox o ON o.message_id = m.id
         WHERE m.id > ?1 ORDER BY m.id LIMIT ?2",
    )?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO message_search (rowid, subject, author, text) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut rows = next.query((from, limit))?;
    let mut count = 0;
    let mut cut = false;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let text = row.get_ref(3)?.as_str().unwrap_or_default();
        let text = &text[..text.floor_char_boundary(INDEXED)];
        let subject = row.get_ref(1)?.as_str().unwrap_or_default();
        let author = row.get_ref(2)?.as_str().unwrap_or_default();
        insert.execute((id, subject, author, text))?;
        from = id;
        count += 1;
        if started.elapsed() >= TIME {
            cut = true;
            break;
        }
    }
    drop(rows);
    conn.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'searched_up_to'")?
        .execute((from,))?;
    Ok(cut || count == limit)
}

/// Puts a message whose text changed into the index anew, if it is there already.
pub(super) fn index_again(tx: &Tx<'_>, message: MessageId) -> Result<()> {
    let there = tx.run("DELETE FROM message_search WHERE rowid = ?1", (message,))?;
    if there == 0 {
        return Ok(());
    }
    tx.run(
        "INSERT INTO message_search (rowid, subject, author, text)
         SELECT m.id, coalesce(l.subject, o.subject, ''), m.author, substr(m.text, 1, ?2)
         FROM messages m LEFT JOIN mails l ON l.message_id = m.id
         LEFT JOIN outbox o ON o.message_id = m.id WHERE m.id = ?1",
        (message, INDEXED),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_disk_between_one_row_and_the_limit() {
        let pace = (0..20).fold(Pace::default(), |pace, _| pace.after(TIME * 2));
        assert_eq!(pace.0, 1);
        let pace = (0..20).fold(pace, |pace, _| pace.after(TIME / 3));
        assert_eq!(pace.0, ROWS);
        assert_eq!(pace.after(TIME).0, ROWS);
    }
}
