//! A call ends, and its agent is told in the same transaction.

use super::{CALL_COLUMN_COUNT, CALL_COLUMNS, call_of, heard_of, load_call};
use crate::{
    AgentId, CallId, InstanceId, MessageId,
    agent::Event,
    live::{Call, CallEnded, EndReason, Line, RecordingInfo, Speaker},
    store::{Lane, Result, Rules, StagedBlob, Store, Tx, accept, blobs, effects, handle},
};
use rusqlite::{Connection, OptionalExtension};

/// A recording to keep, staged with [`Store::stage`].
#[derive(Debug, Clone)]
pub struct Recording {
    pub content: StagedBlob,
    /// Such as `audio/wav`.
    pub media_type: String,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct CallOutcome {
    pub reason: EndReason,
    /// From answer to end.
    pub duration_ms: i64,
    pub recording: Option<Recording>,
}

impl Store {
    /// Ends a call and tells its agent, durably and once. Answers whether it was this that ended it: a call
    /// that is over stays as it ended, except that a recording which comes late is kept.
    pub async fn end_call(&self, call: CallId, outcome: CallOutcome) -> Result<bool> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| {
            let call = load_call(tx, call)?;
            keep_recording(tx, call.id, outcome.recording.as_ref())?;
            end(tx, &rules, &call, outcome.reason, outcome.duration_ms.max(0))
        })
        .await
    }

    /// Ends calls that were open when the process died, as far as they are known, and tells their agents.
    /// For the start, before the first call is answered.
    pub async fn recover_calls(&self) -> Result<usize> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| {
            let open = {
                let mut query = tx.conn.prepare_cached(
                    "SELECT k.id, max(0, coalesce(
                            (SELECT max(m.created_at) FROM spoken s
                             JOIN messages m ON m.id = s.message_id WHERE s.call_id = k.id)
                            - k.started_at, 0))
                     FROM calls k WHERE k.ended_at IS NULL ORDER BY k.id",
                )?;
                query
                    .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<Vec<(CallId, i64)>>>()?
            };
            for (call, known_ms) in &open {
                let call = load_call(tx, *call)?;
                end(tx, &rules, &call, EndReason::ServerRestart, *known_ms)?;
            }
            Ok(open.len())
        })
        .await
    }
}

fn keep_recording(tx: &Tx<'_>, call: CallId, recording: Option<&Recording>) -> Result<()> {
    let Some(recording) = recording else { return Ok(()) };
    let blob = blobs::insert(tx, &recording.content)?;
    tx.run(
        "UPDATE calls SET recording = ?2, recording_type = ?3 WHERE id = ?1 AND recording IS NULL",
        (call, blob, &recording.media_type),
    )?;
    Ok(())
}

fn end(
    tx: &mut Tx<'_>,
    rules: &Rules,
    call: &Call,
    reason: EndReason,
    duration_ms: i64,
) -> Result<bool> {
    let ended: Option<AgentId> = tx.find(
        "UPDATE calls SET ended_at = ?2, duration_ms = ?3, end_reason = ?4
         WHERE id = ?1 AND ended_at IS NULL RETURNING agent_id",
        (call.id, tx.now, duration_ms, reason),
        |row| row.get(0),
    )?;
    let Some(agent) = ended else { return Ok(false) };
    let agent = rules.agents.get(&agent);
    let instance: InstanceId = accept::instance_of(tx, call.conversation)?;
    let words = format!("Call of {}: {}.", in_words(duration_ms), reason.in_words());
    let author = agent.map_or("calls", |agent| agent.name.as_str());
    let message: MessageId = effects::note(tx, call.conversation, instance, author, &words)?;
    tx.run("UPDATE messages SET channel = 'call' WHERE id = ?1", (message,))?;
    tx.run("UPDATE calls SET end_message_id = ?2 WHERE id = ?1", (call.id, message))?;
    if agent.is_some_and(|agent| agent.runs) {
        handle::enqueue_unless_archived(tx, instance, &Event::CallEnded { call: call.id })?;
    }
    metrics::counter!("calls_ended_total", "reason" => reason.as_str()).increment(1);
    Ok(true)
}

/// A length of time as people say it: "2 min 13 s".
fn in_words(ms: i64) -> String {
    let seconds = (ms + 500) / 1_000;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// What the agent of a call that is over hears of it.
pub(in crate::store) fn load_ended(conn: &Connection, call: CallId) -> Result<Option<CallEnded>> {
    let ended = conn
        .prepare_cached(&format!(
            "SELECT {CALL_COLUMNS}, k.end_reason, k.duration_ms, k.recording_type, b.size
             FROM calls k LEFT JOIN blobs b ON b.id = k.recording
             WHERE k.id = ?1 AND k.ended_at IS NOT NULL"
        ))?
        .query_row((call,), |row| {
            let after = CALL_COLUMN_COUNT;
            let media_type: Option<String> = row.get(after + 2)?;
            let size: Option<i64> = row.get(after + 3)?;
            Ok(CallEnded {
                call: call_of(row)?,
                reason: row.get(after)?,
                duration_ms: row.get(after + 1)?,
                transcript: Vec::new(),
                recording: media_type.zip(size).map(|(media_type, size)| RecordingInfo {
                    media_type,
                    size: size.cast_unsigned(),
                }),
            })
        })
        .optional()?;
    let Some(mut ended) = ended else { return Ok(None) };
    let mut query = conn.prepare_cached(
        "SELECT s.speaker, s.origin, s.via, s.started_ms, m.text, s.heard
         FROM spoken s JOIN messages m ON m.id = s.message_id
         WHERE s.call_id = ?1 ORDER BY s.started_ms, s.message_id",
    )?;
    ended.transcript = query
        .query_map((call,), |row| {
            let speaker: Speaker = row.get(0)?;
            let (text, unheard) = match speaker {
                Speaker::Caller => (row.get(4)?, String::new()),
                Speaker::Agent => {
                    let heard: i64 = row.get(5)?;
                    heard_of(row.get(4)?, usize::try_from(heard).unwrap_or(0))
                }
            };
            Ok(Line {
                speaker,
                origin: row.get(1)?,
                via: row.get(2)?,
                at_ms: row.get(3)?,
                text,
                unheard,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(ended))
}
