//! What is left to do after commits: messages to index anew, and counters nobody reads any more.

use super::{Result, Tx, day_of};
use crate::MessageId;
use rusqlite::Connection;

/// Text indexed per message, in bytes. Longer texts are logs and dumps, whose tail nobody searches for.
pub(super) const INDEXED: usize = 64 * 1024;

/// Daily counters are kept this many days, for people who ask what happened.
const TALLY_DAYS: i64 = 14;

/// Removes the counters of days long past. For once a day.
pub(super) fn forget_old(conn: &Connection, now: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM tallies WHERE day < ?1")?
        .execute((day_of(now) - TALLY_DAYS,))?;
    Ok(())
}

/// Has a message whose text changed indexed anew.
pub(super) fn index_again(tx: &Tx<'_>, message: MessageId) -> Result<()> {
    tx.run("INSERT INTO reindex (message_id) VALUES (?1)", (message,))?;
    Ok(())
}
