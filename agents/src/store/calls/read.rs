//! Calls as people see them.

use super::{CALL_COLUMN_COUNT, CALL_COLUMNS, TurnTimes, call_of};
use crate::{
    BlobId, CallId, ConversationId, InstanceId,
    live::{Call, EndReason, RecordingInfo},
    store::{Result, Store, StoreError, timestamp},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;

/// One line of a list of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallSummary {
    #[serde(flatten)]
    pub call: Call,
    pub agent: String,
    /// The instance that its conversation belongs to now.
    pub instance: InstanceId,
    /// None while it is open.
    pub ended_at: Option<Timestamp>,
    pub duration_ms: Option<i64>,
    pub reason: Option<EndReason>,
    pub recording: Option<RecordingInfo>,
}

/// A call with the times of its turns. What was said in it is in its conversation's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    #[serde(flatten)]
    pub summary: CallSummary,
    pub turns: Vec<TurnTimes>,
}

/// The longest page anybody gets.
const PAGE_MAX: usize = 200;

const SUMMARY_FROM: &str = "a.name, c.instance_id, k.ended_at, k.duration_ms, k.end_reason,
            k.recording_type, b.size
     FROM calls k JOIN agents a ON a.id = k.agent_id
     JOIN conversations c ON c.id = k.conversation_id
     LEFT JOIN blobs b ON b.id = k.recording";

fn summary(row: &Row<'_>) -> rusqlite::Result<CallSummary> {
    let after = CALL_COLUMN_COUNT;
    let media_type: Option<String> = row.get(after + 5)?;
    let size: Option<i64> = row.get(after + 6)?;
    Ok(CallSummary {
        call: call_of(row)?,
        agent: row.get(after)?,
        instance: row.get(after + 1)?,
        ended_at: row.get::<_, Option<i64>>(after + 2)?.map(timestamp),
        duration_ms: row.get(after + 3)?,
        reason: row.get(after + 4)?,
        recording: media_type
            .zip(size)
            .map(|(media_type, size)| RecordingInfo { media_type, size: size.cast_unsigned() }),
    })
}

pub(in crate::store) fn summary_of(conn: &Connection, id: CallId) -> Result<CallSummary> {
    conn.prepare_cached(&format!("SELECT {CALL_COLUMNS}, {SUMMARY_FROM} WHERE k.id = ?1"))?
        .query_row((id,), summary)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("there is no call {id}")))
}

impl Store {
    /// Calls, newest first: of one agent or of all, of one conversation or of all, open ones only or all.
    pub async fn calls(
        &self,
        agent: Option<String>,
        conversation: Option<ConversationId>,
        open_only: bool,
        limit: usize,
        before: Option<CallId>,
    ) -> Result<Vec<CallSummary>> {
        self.read_async(move |conn| {
            // Written out per case, so that each finds its index.
            let of_agent = match agent {
                Some(_) => "AND k.agent_id = (SELECT id FROM agents WHERE name = ?2)",
                None => "",
            };
            let of_conversation = match conversation {
                Some(_) => "AND k.conversation_id = ?3",
                None => "",
            };
            let open = if open_only { "AND k.ended_at IS NULL" } else { "" };
            let mut query = conn.prepare_cached(&format!(
                "SELECT {CALL_COLUMNS}, {SUMMARY_FROM}
                 WHERE k.id < ?1 {of_agent} {of_conversation} {open}
                 ORDER BY k.id DESC LIMIT ?4"
            ))?;
            let before = before.map_or(i64::MAX, |id| id.0);
            let rows = query
                .query_map((before, &agent, conversation, limit.clamp(1, PAGE_MAX)), summary)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// A call with the times of its turns.
    pub async fn call(&self, id: CallId) -> Result<CallRecord> {
        self.read_async(move |conn| {
            let summary = summary_of(conn, id)?;
            let mut query = conn.prepare_cached(
                "SELECT turn, generation, speech_end_ms, final_text_ms, turn_end_ms, first_text_ms,
                        first_audio_ms, end_ms, outcome
                 FROM call_turns WHERE call_id = ?1 ORDER BY turn, generation",
            )?;
            let turns = query
                .query_map((id,), |row| {
                    Ok(TurnTimes {
                        turn: row.get(0)?,
                        generation: row.get(1)?,
                        speech_end_ms: row.get(2)?,
                        final_text_ms: row.get(3)?,
                        turn_end_ms: row.get(4)?,
                        first_text_ms: row.get(5)?,
                        first_audio_ms: row.get(6)?,
                        end_ms: row.get(7)?,
                        outcome: row.get(8)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(CallRecord { summary, turns })
        })
        .await
    }

    /// The recording of a call with its media type, if there is one.
    pub async fn recording(&self, call: CallId) -> Result<Option<(String, Vec<u8>)>> {
        let found = self
            .read_async(move |conn| {
                let row: Option<(Option<String>, Option<BlobId>)> = conn
                    .prepare_cached("SELECT recording_type, recording FROM calls WHERE id = ?1")?
                    .query_row((call,), |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                row.ok_or_else(|| StoreError::NotFound(format!("there is no call {call}")))
            })
            .await?;
        let (Some(media_type), Some(blob)) = found else { return Ok(None) };
        let store = self.clone();
        let content = tokio::task::spawn_blocking(move || store.blob(blob))
            .await
            .unwrap_or(Err(StoreError::Closed))?;
        Ok(content.map(|content| (media_type, content)))
    }
}
