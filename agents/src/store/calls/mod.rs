//! Calls and chats: they are opened, what is said in them is kept, and they end.
//!
//! - `open`: whose call it is, and which conversation it belongs to;
//! - `said`: what was said, and how much of it was heard;
//! - `end`: a call ends, and its agent is told in the same transaction;
//! - `live`: the snapshot a live handler runs on, and the commit of its effects;
//! - `wanted`: what agents want of calls;
//! - `read`: calls as people see them.
//!
//! Somebody who is not proven reaches an instance of their own and nothing else. What they say is in that
//! instance's history, because nobody else's is.

mod end;
mod live;
mod open;
mod read;
mod said;
mod wanted;

pub use end::{CallOutcome, Recording};
pub use open::{OpenCall, OpenedCall, Who};
pub use read::{CallRecord, CallSummary};
pub use said::{Spoken, TurnTimes};

pub(crate) use live::{Place, Seen};

pub(super) use end::load_ended;
pub(super) use read::summary_of;
pub(super) use said::heard_of;
pub(super) use wanted::{attach_recording, dictate, direct};

use super::{Result, StoreError, Tx, timestamp};
use crate::{
    CallId, Trust,
    live::{Call, CallerCard},
};
use rusqlite::{Connection, OptionalExtension, Row};

/// The columns [`call_of`] reads, from `calls k`.
const CALL_COLUMNS: &str =
    "k.id, k.conversation_id, k.channel, k.caller_name, k.caller_handle, k.trust,
     k.proof, k.called, k.parameters, k.hearing, k.started_at";

/// How many they are.
const CALL_COLUMN_COUNT: usize = 11;

fn call_of(row: &Row<'_>) -> rusqlite::Result<Call> {
    let (trust, parameters): (String, String) = (row.get(5)?, row.get(8)?);
    Ok(Call {
        id: row.get(0)?,
        conversation: row.get(1)?,
        channel: row.get(2)?,
        caller: CallerCard {
            name: row.get(3)?,
            handle: row.get(4)?,
            trust: Trust::parse(&trust).unwrap_or(Trust::Unproven),
            proof: row.get(6)?,
        },
        called: row.get(7)?,
        parameters: serde_json::from_str(&parameters).unwrap_or_default(),
        hearing: row.get(9)?,
        started_at: timestamp(row.get(10)?),
    })
}

pub(super) fn find_call(conn: &Connection, call: CallId) -> Result<Option<Call>> {
    Ok(conn
        .prepare_cached(&format!("SELECT {CALL_COLUMNS} FROM calls k WHERE k.id = ?1"))?
        .query_row((call,), call_of)
        .optional()?)
}

fn load_call(tx: &Tx<'_>, call: CallId) -> Result<Call> {
    find_call(tx.conn, call)?
        .ok_or_else(|| StoreError::NotFound(format!("there is no call {call}")))
}
