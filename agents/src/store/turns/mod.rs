//! Turns of a model: their rows.
//!
//! A turn is a row of `turns` with kind `model`, claimed like a task and parked while it waits, so that
//! waiting costs nothing. Turns of one conversation run one after the other: those behind the first are
//! `queued`.
//!
//! - `steps`: entries are added to logs, with what they do;
//! - `people`: what people are asked about calls, and answer;
//! - `used`: what models used.

mod people;
mod steps;
mod used;

pub(super) use people::{Verdict, decided};
pub(super) use steps::{resolve, taint, withdraw};
pub use used::Used;

use super::{Lane, Result, Store, StoreError, Tx, Wake, accept, effects::Terms, timestamp};
use crate::{
    AgentId, ConversationId, InstanceId, MessageId, TaskId,
    gate::Actor,
    turn::{
        TurnRequest,
        fold::{Turn, WaitsFor},
        log::Batch,
        step::{Entry, Outcome, Step},
    },
};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row};
use serde::Serialize;
use steps::{add_outside, append, finish, length, log_of, owner};
use used::count;

/// A turn to go on with now.
#[derive(Debug, Clone)]
pub struct TurnRun {
    pub agent: AgentId,
    pub agent_name: String,
    pub turn: TaskId,
    pub instance: InstanceId,
    pub request: TurnRequest,
    pub log: Vec<Entry>,
}

/// A turn as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TurnRow {
    pub id: TaskId,
    pub agent: String,
    pub instance: InstanceId,
    pub conversation: ConversationId,
    /// What caused it, in a word.
    pub cause: String,
    /// `queued` behind another, `ready`, `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// `approval`, `answer` or `retry` while it is parked.
    pub waits_for: String,
    pub outcome: String,
    /// Why it failed or was cancelled.
    pub error: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// Millionths of a dollar.
    pub cost: u64,
    pub model_millis: u64,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// What became of entries that were to be added.
#[derive(Debug, Clone)]
pub enum Appended {
    /// They are in the log as here: with ids, and with what became of their effects.
    Done(Vec<Entry>),
    /// Somebody else added entries before; the whole log is this.
    Moved(Vec<Entry>),
}

/// Starts a turn, unless one with the same cause exists. Behind another of its conversation it waits.
pub(super) fn start(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    request: &TurnRequest,
) -> Result<Option<TaskId>> {
    let open = tx
        .find(
            "SELECT 1 FROM turns WHERE conversation_id = ?1 AND kind = 'model' AND ended_at IS NULL",
            (request.conversation,),
            |_| Ok(()),
        )?
        .is_some();
    let due = request.not_before.map_or(tx.now, |at| at.as_millisecond().max(tx.now));
    let turn = tx.find(
        "INSERT INTO turns (instance_id, conversation_id, kind, name, key, payload, state, due_at,
                            created_at)
         VALUES (?1, ?2, 'model', ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (instance_id, key) DO NOTHING RETURNING id",
        (
            instance,
            request.conversation,
            request.word(),
            request.key(),
            serde_json::to_string(request)?,
            if open { "queued" } else { "ready" },
            due,
            tx.now,
        ),
        |row| row.get(0),
    )?;
    tx.wake(Wake::Task);
    Ok(turn)
}

impl Store {
    /// Claims turns that are due, with their logs.
    pub async fn claim_turns(&self, max: usize) -> Result<Vec<TurnRun>> {
        self.write(Lane::Turn, move |tx| {
            let mut query = tx.conn.prepare_cached(
                "UPDATE turns SET state = 'running', waits_for = '', attempts = attempts + 1
                 WHERE id IN (SELECT id FROM turns
                              WHERE state = 'ready' AND kind = 'model' AND due_at <= ?1
                              ORDER BY due_at, id LIMIT ?2)
                 RETURNING id, instance_id, payload,
                           (SELECT agent_id FROM instances i WHERE i.id = instance_id),
                           (SELECT a.name FROM instances i JOIN agents a ON a.id = i.agent_id
                            WHERE i.id = instance_id)",
            )?;
            let mut rows = query.query((tx.now, max))?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                runs.push(TurnRun {
                    turn: row.get(0)?,
                    instance: row.get(1)?,
                    request: serde_json::from_str(row.get_ref(2)?.as_str().unwrap_or_default())?,
                    agent: row.get(3)?,
                    agent_name: row.get(4)?,
                    log: Vec::new(),
                });
            }
            drop(rows);
            for run in &mut runs {
                run.log = log_of(tx.conn, run.turn)?;
            }
            Ok(runs)
        })
        .await
    }

    /// Starts a turn that its caller takes at once, because somebody listens: it waits for no other. Answers it
    /// with its instance, or nothing if there is one with the same cause.
    pub(crate) async fn begin_heard_turn(
        &self,
        request: TurnRequest,
    ) -> Result<Option<(TaskId, InstanceId)>> {
        self.write(Lane::Turn, move |tx| {
            let instance = accept::instance_of(tx, request.conversation)?;
            let Some(turn) = start(tx, instance, &request)? else { return Ok(None) };
            tx.run("UPDATE turns SET state = 'running', attempts = 1 WHERE id = ?1", (turn,))?;
            Ok(Some((turn, instance)))
        })
        .await
    }

    /// The message that holds the words of a caller's turn, once it is stored.
    pub(crate) async fn said_in(
        &self,
        call: crate::CallId,
        turn: u32,
    ) -> Result<Option<MessageId>> {
        self.read_async(move |conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT message_id FROM spoken
                     WHERE call_id = ?1 AND turn = ?2 AND speaker = 'caller'
                     ORDER BY message_id DESC LIMIT 1",
                )?
                .query_row((call, turn), |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// When the next turn is due.
    pub(crate) fn next_turn(&self) -> Result<Option<Timestamp>> {
        self.read(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT min(due_at) FROM turns WHERE state = 'ready' AND kind = 'model'",
                )?
                .query_row((), |row| row.get::<_, Option<i64>>(0))?
                .map(timestamp))
        })
    }

    /// Running turns that were to be cancelled.
    pub(crate) fn cancelled_turns(&self) -> Result<Vec<TaskId>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached(
                "SELECT id FROM turns WHERE state = 'running' AND cancelled = 1 AND kind = 'model'",
            )?;
            Ok(query.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Adds entries to a turn's log, with what they do, if nobody added any after the first `seen`.
    pub async fn append_steps(&self, turn: TaskId, seen: usize, batch: Batch) -> Result<Appended> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| append(tx, &rules, turn, seen, batch.clone())).await
    }

    /// Parks a turn until a time, or until somebody adds to its log. Answers the log instead if somebody has.
    pub async fn park_turn(
        &self,
        turn: TaskId,
        seen: usize,
        until: Timestamp,
        on: WaitsFor,
    ) -> Result<Option<Vec<Entry>>> {
        self.write(Lane::Turn, move |tx| {
            if length(tx, turn)? != seen {
                return Ok(Some(log_of(tx.conn, turn)?));
            }
            tx.run(
                "UPDATE turns SET state = 'ready', due_at = ?2, waits_for = ?3
                 WHERE id = ?1 AND state = 'running'",
                (turn, until.as_millisecond(), on.as_str()),
            )?;
            tx.wake(Wake::Task);
            Ok(None)
        })
        .await
    }

    /// Ends a turn whose log cannot be gone on with.
    pub(crate) async fn break_turn(&self, turn: TaskId, why: String) -> Result<()> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| {
            let of = owner(tx, turn)?;
            let terms = Terms::of(Actor::Agent { approval: crate::gate::Approval::All });
            let mut outcome = Outcome::Failed { why: why.clone() };
            finish(tx, &rules, &terms, turn, &of, &[], &mut outcome)
        })
        .await
    }

    /// Records that the correspondent spoke while a turn's answer was being given, and what they heard of it. The
    /// turn ends; calls under way end as they do.
    pub async fn interrupt_turn(&self, turn: TaskId, heard: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            owner(tx, turn)?;
            add_outside(tx, turn, Step::Interrupted { heard: heard.clone() })?;
            tx.run("UPDATE turns SET cancelled = 1 WHERE id = ?1", (turn,))?;
            Ok(())
        })
        .await
    }

    /// Cancels a turn: calls that wait are not made, one under way ends as it does.
    pub async fn cancel_turn(&self, turn: TaskId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            owner(tx, turn)?;
            add_outside(tx, turn, Step::Cancelled { why: format!("cancelled by {by}") })?;
            tx.run(
                "UPDATE turns SET cancelled = 1, due_at = ?2,
                                  state = CASE state WHEN 'queued' THEN 'ready' ELSE state END
                 WHERE id = ?1",
                (turn, tx.now),
            )?;
            tx.audit(&by, "turn.cancel", &turn.to_string(), "")
        })
        .await
    }

    /// Stores a speculative turn that turned out to be wanted, with all its entries, as one.
    pub async fn adopt_turn(
        &self,
        instance: InstanceId,
        request: TurnRequest,
        entries: Vec<Entry>,
    ) -> Result<Option<TaskId>> {
        self.write(Lane::Turn, move |tx| {
            Turn::of(&entries).map_err(|error| StoreError::Conflict(error.to_string()))?;
            let Some(turn) = start(tx, instance, &request)? else { return Ok(None) };
            let of = owner(tx, turn)?;
            for (at, entry) in entries.iter().enumerate() {
                if let Step::ModelSaid { said, .. } = &entry.step {
                    count(tx, turn, of.agent, said.usage, said.millis)?;
                }
                tx.run(
                    "INSERT INTO steps (turn_id, n, body) VALUES (?1, ?2, ?3)",
                    (turn, at, serde_json::to_string(entry)?),
                )?;
            }
            Ok(Some(turn))
        })
        .await
    }

    /// Turns, newest first, of one conversation or of all.
    pub async fn turns(
        &self,
        conversation: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<TurnRow>> {
        self.read_async(move |conn| {
            let of = if conversation.is_some() {
                "AND t.conversation_id = ?1"
            } else {
                "AND ?1 IS NULL"
            };
            let mut query = conn.prepare_cached(&format!(
                "SELECT {TURN_COLUMNS} WHERE t.kind = 'model' {of} ORDER BY t.id DESC LIMIT ?2"
            ))?;
            Ok(query
                .query_map((conversation, limit.clamp(1, 200)), turn_row)?
                .collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// A turn and its log.
    pub async fn turn(&self, turn: TaskId) -> Result<(TurnRow, Vec<Entry>)> {
        self.read_async(move |conn| {
            let row = conn
                .prepare_cached(&format!(
                    "SELECT {TURN_COLUMNS} WHERE t.kind = 'model' AND t.id = ?1"
                ))?
                .query_row((turn,), turn_row)
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no turn {turn}")))?;
            Ok((row, log_of(conn, turn)?))
        })
        .await
    }
}

const TURN_COLUMNS: &str = "t.id, a.name, t.instance_id, t.conversation_id, t.name, t.state,
    t.waits_for, t.outcome, t.error, t.tokens_in, t.tokens_out, t.cost, t.model_millis, t.created_at,
    t.ended_at
    FROM turns t JOIN instances i ON i.id = t.instance_id JOIN agents a ON a.id = i.agent_id";

fn turn_row(row: &Row<'_>) -> rusqlite::Result<TurnRow> {
    let count = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
    Ok(TurnRow {
        id: row.get(0)?,
        agent: row.get(1)?,
        instance: row.get(2)?,
        conversation: row.get(3)?,
        cause: row.get(4)?,
        state: row.get(5)?,
        waits_for: row.get(6)?,
        outcome: row.get(7)?,
        error: row.get(8)?,
        tokens_in: count(9)?,
        tokens_out: count(10)?,
        cost: count(11)?,
        model_millis: count(12)?,
        created_at: timestamp(row.get(13)?),
        ended_at: row.get::<_, Option<i64>>(14)?.map(timestamp),
    })
}
