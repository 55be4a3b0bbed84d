//! Schedules and tasks.
//!
//! A schedule that is due becomes an event and moves to its next time in one transaction. A task is a
//! row that is claimed, checkpointed and ended; its outside calls are bracketed by an intent and a
//! result, so that after a crash it is known which happened, which did not, and which nobody knows.

use super::{Lane, Result, Store, StoreError, Tx, Wake, handle, timestamp};
use crate::{
    AgentId, InstanceId, ScheduleId, TaskId,
    agent::{Due, Event, Task, TaskEnd, TaskReport},
    schedule::When,
};
use jiff::Timestamp;
use rusqlite::Row;
use serde::Serialize;
use serde_json::Value;

/// A task to run now.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRun {
    pub agent: AgentId,
    pub task: Task,
    pub deadline: Option<Timestamp>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Ready,
    Running,
    Done,
    Failed,
    Cancelled,
    Uncertain,
}

impl TaskState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Uncertain => "uncertain",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "ready" => Self::Ready,
            "running" => Self::Running,
            "done" => Self::Done,
            "cancelled" => Self::Cancelled,
            "uncertain" => Self::Uncertain,
            _ => Self::Failed,
        }
    }
}

/// A task as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskRow {
    pub id: TaskId,
    pub instance: InstanceId,
    pub name: String,
    pub key: String,
    pub state: TaskState,
    pub attempts: u32,
    pub checkpoint: Value,
    pub result: Value,
    pub error: String,
    pub created_at: Timestamp,
}

/// A schedule as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleRow {
    pub id: ScheduleId,
    pub instance: InstanceId,
    pub agent: String,
    pub name: String,
    pub when: When,
    pub payload: Value,
    pub next_at: Timestamp,
}

/// What is known of an outside call.
#[derive(Debug, Clone, PartialEq)]
pub enum IntentState {
    /// Never begun: the intent is now recorded, go ahead.
    Fresh,
    /// Begun, and nobody recorded how it ended.
    Pending,
    /// Ended with this result.
    Settled(Value),
}

pub(super) fn set_schedule(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    name: &str,
    when: &When,
    payload: &Value,
) -> Result<()> {
    let next = when.first(timestamp(tx.now)).map_err(|e| StoreError::Conflict(e.to_string()))?;
    tx.run(
        "INSERT INTO schedules (instance_id, name, spec, payload, next_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (instance_id, name) DO UPDATE
         SET spec = excluded.spec, payload = excluded.payload, next_at = excluded.next_at",
        (
            instance,
            name,
            serde_json::to_string(when)?,
            payload.to_string(),
            next.as_millisecond(),
            tx.now,
        ),
    )?;
    tx.wake(Wake::Schedule);
    Ok(())
}

impl Store {
    /// When the next schedule is due.
    pub fn next_schedule(&self) -> Result<Option<Timestamp>> {
        self.read(|conn| {
            Ok(conn
                .prepare_cached("SELECT min(next_at) FROM schedules")?
                .query_row((), |row| row.get::<_, Option<i64>>(0))?
                .map(timestamp))
        })
    }

    /// Turns schedules that are due into events, at most `max` of them. Answers how many.
    pub async fn fire_schedules(&self, max: usize) -> Result<usize> {
        self.write(Lane::Turn, move |tx| {
            type Row = (ScheduleId, InstanceId, String, String, String, i64);
            let due: Vec<Row> = {
                let mut query = tx.conn.prepare_cached(
                    "SELECT id, instance_id, name, spec, payload, next_at FROM schedules
                     WHERE next_at <= ?1 ORDER BY next_at, id LIMIT ?2",
                )?;
                query
                    .query_map((tx.now, max), |row| {
                        Ok((
                            row.get(0)?,
                            row.get(1)?,
                            row.get(2)?,
                            row.get(3)?,
                            row.get(4)?,
                            row.get(5)?,
                        ))
                    })?
                    .collect::<rusqlite::Result<_>>()?
            };
            let count = due.len();
            for (schedule, instance, name, spec, payload, next_at) in due {
                let when: When = serde_json::from_str(&spec)?;
                let event = Event::Schedule(Due {
                    schedule,
                    name,
                    payload: serde_json::from_str(&payload)?,
                    due_at: timestamp(next_at),
                });
                let now = tx.now;
                handle::enqueue(tx, instance, &event, now)?;
                match when.after(timestamp(next_at), timestamp(now)) {
                    Ok(Some(next)) => tx.run(
                        "UPDATE schedules SET next_at = ?2 WHERE id = ?1",
                        (schedule, next.as_millisecond()),
                    )?,
                    Ok(None) => tx.run("DELETE FROM schedules WHERE id = ?1", (schedule,))?,
                    Err(error) => {
                        // A zone or pattern that was good when it was stored: the zone database changed.
                        tracing::error!(%schedule, %error, "a schedule can no longer fire and was removed");
                        tx.run("DELETE FROM schedules WHERE id = ?1", (schedule,))?
                    }
                };
            }
            Ok(count)
        })
        .await
    }

    /// Strikes out what an agent has planned.
    pub async fn cancel_schedule(&self, id: ScheduleId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let name: Option<String> =
                tx.find("DELETE FROM schedules WHERE id = ?1 RETURNING name", (id,), |row| {
                    row.get(0)
                })?;
            let none = || StoreError::NotFound(format!("there is no schedule {id}"));
            tx.audit(&by, "schedule.cancel", &id.to_string(), &name.ok_or_else(none)?)?;
            tx.wake(Wake::Schedule);
            Ok(())
        })
        .await
    }

    /// All schedules, soonest first.
    pub async fn schedules(&self, limit: usize) -> Result<Vec<ScheduleRow>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT s.id, s.instance_id, a.name, s.name, s.spec, s.payload, s.next_at
                 FROM schedules s JOIN instances i ON i.id = s.instance_id
                 JOIN agents a ON a.id = i.agent_id
                 ORDER BY s.next_at, s.id LIMIT ?1",
            )?;
            let mut rows = query.query((limit,))?;
            let mut schedules = Vec::new();
            while let Some(row) = rows.next()? {
                schedules.push(ScheduleRow {
                    id: row.get(0)?,
                    instance: row.get(1)?,
                    agent: row.get(2)?,
                    name: row.get(3)?,
                    when: serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?,
                    payload: serde_json::from_str(row.get_ref(5)?.as_str().unwrap_or_default())?,
                    next_at: timestamp(row.get(6)?),
                });
            }
            Ok(schedules)
        })
        .await
    }

    /// Tasks that ran when the process died run again, unless they were to be cancelled.
    pub async fn recover_tasks(&self) -> Result<usize> {
        self.write(Lane::Turn, |tx| {
            let cancelled = {
                let mut query = tx.conn.prepare_cached(
                    "SELECT id FROM turns WHERE state = 'running' AND cancelled = 1 AND kind = 'task'",
                )?;
                query.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<Vec<TaskId>>>()?
            };
            for task in cancelled {
                end_task(tx, task, TaskEnd::Cancelled)?;
            }
            tx.run("UPDATE turns SET state = 'ready' WHERE state = 'running'", ())
        })
        .await
    }

    /// Claims tasks that are due.
    pub async fn claim_tasks(&self, max: usize) -> Result<Vec<TaskRun>> {
        self.write(Lane::Turn, move |tx| {
            let mut query = tx.conn.prepare_cached(
                "UPDATE turns SET state = 'running', attempts = attempts + 1
                 WHERE id IN (SELECT id FROM turns
                              WHERE state = 'ready' AND kind = 'task' AND due_at <= ?1
                              ORDER BY due_at, id LIMIT ?2)
                 RETURNING id, instance_id, name, payload, checkpoint, attempts, deadline,
                           (SELECT agent_id FROM instances i WHERE i.id = instance_id)",
            )?;
            let mut rows = query.query((tx.now, max))?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                runs.push(TaskRun {
                    agent: row.get(7)?,
                    task: Task {
                        id: row.get(0)?,
                        instance: row.get(1)?,
                        name: row.get(2)?,
                        payload: serde_json::from_str(
                            row.get_ref(3)?.as_str().unwrap_or_default(),
                        )?,
                        checkpoint: serde_json::from_str(
                            row.get_ref(4)?.as_str().unwrap_or_default(),
                        )?,
                        attempt: row.get(5)?,
                    },
                    deadline: row.get::<_, Option<i64>>(6)?.map(timestamp),
                });
            }
            Ok(runs)
        })
        .await
    }

    /// When the next task is due.
    pub fn next_task(&self) -> Result<Option<Timestamp>> {
        self.read(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT min(due_at) FROM turns WHERE state = 'ready' AND kind = 'task'",
                )?
                .query_row((), |row| row.get::<_, Option<i64>>(0))?
                .map(timestamp))
        })
    }

    /// Running tasks whose cancellation was asked for.
    pub fn cancelled_tasks(&self) -> Result<Vec<TaskId>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached(
                "SELECT id FROM turns WHERE state = 'running' AND cancelled = 1 AND kind = 'task'",
            )?;
            Ok(query.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Keeps what a task knows so far. It survives a crash once this returns.
    pub async fn checkpoint_task(&self, task: TaskId, value: Value) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "UPDATE turns SET checkpoint = ?2 WHERE id = ?1 AND state = 'running'",
                (task, value.to_string()),
            )?;
            Ok(())
        })
        .await
    }

    /// Tries a failed task again later, though not beyond its deadline. One that was to be cancelled is.
    pub async fn retry_task(&self, task: TaskId, error: String, at: Timestamp) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let again = tx.run(
                "UPDATE turns SET state = 'ready', error = ?2, due_at = min(?3, coalesce(deadline, ?3))
                 WHERE id = ?1 AND state = 'running' AND cancelled = 0",
                (task, &error, at.as_millisecond()),
            )?;
            if again == 0 {
                return end_task(tx, task, TaskEnd::Cancelled);
            }
            tx.wake(Wake::Task);
            Ok(())
        })
        .await
    }

    /// Ends a task and tells its instance, in one transaction. One that left a call behind which cannot be
    /// taken back, and of which nobody knows how it ended, is uncertain whatever else it is.
    pub async fn end_task(&self, task: TaskId, end: TaskEnd) -> Result<()> {
        self.write(Lane::Turn, move |tx| end_task(tx, task, end.clone())).await
    }

    /// Tasks, newest first, of one state or of all.
    pub async fn tasks(&self, state: Option<TaskState>, limit: usize) -> Result<Vec<TaskRow>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {TASK_COLUMNS} FROM turns
                 WHERE kind = 'task' AND (?1 IS NULL OR state = ?1) ORDER BY id DESC LIMIT ?2"
            ))?;
            let mut rows = query.query((state.map(TaskState::as_str), limit))?;
            let mut tasks = Vec::new();
            while let Some(row) = rows.next()? {
                tasks.push(task_row(row)?);
            }
            Ok(tasks)
        })
        .await
    }

    /// A task by its id.
    pub async fn task(&self, task: TaskId) -> Result<TaskRow> {
        self.read_async(move |conn| {
            let mut query =
                conn.prepare_cached(&format!("SELECT {TASK_COLUMNS} FROM turns WHERE id = ?1"))?;
            let mut rows = query.query((task,))?;
            let row = rows
                .next()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no task {task}")))?;
            task_row(row)
        })
        .await
    }

    /// Records that an outside call is about to happen, or says what is known of it.
    pub async fn begin_call(
        &self,
        task: TaskId,
        call: String,
        effect: String,
    ) -> Result<IntentState> {
        self.write(Lane::Turn, move |tx| {
            let known: Option<(String, String)> = tx.find(
                "SELECT state, result FROM intents WHERE turn_id = ?1 AND call = ?2",
                (task, &call),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            match known {
                Some((state, result)) if state == "done" => {
                    Ok(IntentState::Settled(serde_json::from_str(&result)?))
                }
                Some(_) => Ok(IntentState::Pending),
                None => {
                    tx.run(
                        "INSERT INTO intents (turn_id, call, effect, state, created_at)
                         VALUES (?1, ?2, ?3, 'pending', ?4)",
                        (task, &call, &effect, tx.now),
                    )?;
                    Ok(IntentState::Fresh)
                }
            }
        })
        .await
    }

    /// Records how an outside call ended.
    pub async fn settle_call(&self, task: TaskId, call: String, result: Value) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "UPDATE intents SET state = 'done', result = ?3, settled_at = ?4
                 WHERE turn_id = ?1 AND call = ?2",
                (task, &call, result.to_string(), tx.now),
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets an intent whose call certainly did not happen, so that it can be made again.
    pub async fn abandon_call(&self, task: TaskId, call: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "DELETE FROM intents WHERE turn_id = ?1 AND call = ?2 AND state = 'pending'",
                (task, &call),
            )?;
            Ok(())
        })
        .await
    }
}

const TASK_COLUMNS: &str =
    "id, instance_id, name, key, state, attempts, checkpoint, result, error, created_at";

fn task_row(row: &Row<'_>) -> Result<TaskRow> {
    Ok(TaskRow {
        id: row.get(0)?,
        instance: row.get(1)?,
        name: row.get(2)?,
        key: row.get(3)?,
        state: TaskState::parse(row.get_ref(4)?.as_str().unwrap_or_default()),
        attempts: row.get(5)?,
        checkpoint: serde_json::from_str(row.get_ref(6)?.as_str().unwrap_or_default())?,
        result: serde_json::from_str(row.get_ref(7)?.as_str().unwrap_or_default())?,
        error: row.get(8)?,
        created_at: timestamp(row.get(9)?),
    })
}

fn end_task(tx: &mut Tx<'_>, task: TaskId, end: TaskEnd) -> Result<()> {
    let unknown: Option<String> = tx.find(
        "SELECT call FROM intents
         WHERE turn_id = ?1 AND state = 'pending' AND effect = 'final' ORDER BY call LIMIT 1",
        (task,),
        |row| row.get(0),
    )?;
    let end = match unknown {
        Some(call) if !matches!(end, TaskEnd::Done { .. }) => TaskEnd::Uncertain { call },
        _ => end,
    };
    let (state, result, error) = match &end {
        TaskEnd::Done { result } => (TaskState::Done, result.to_string(), String::new()),
        TaskEnd::Failed { error } => (TaskState::Failed, "null".into(), error.clone()),
        TaskEnd::Cancelled => (TaskState::Cancelled, "null".into(), String::new()),
        TaskEnd::Uncertain { call } => (
            TaskState::Uncertain,
            "null".into(),
            format!("nobody knows whether the call {call:?} took effect"),
        ),
    };
    let ended: Option<(InstanceId, String)> = tx.find(
        "UPDATE turns SET state = ?2, result = ?3, error = ?4, ended_at = ?5
         WHERE id = ?1 AND state = 'running' RETURNING instance_id, name",
        (task, state.as_str(), result, &error, tx.now),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (instance, name) =
        ended.ok_or_else(|| StoreError::Conflict(format!("task {task} is not running")))?;
    if state == TaskState::Uncertain {
        // A person looks at what nobody knows: in the instance's newest conversation, if it has one.
        tx.run(
            "UPDATE conversations SET queue = 'needs_review', review_why = ?2
             WHERE id = (SELECT max(id) FROM conversations WHERE instance_id = ?1)",
            (instance, format!("task {name:?}: {error}")),
        )?;
    }
    handle::enqueue_unless_archived(tx, instance, &Event::Task(TaskReport { task, name, end }))
}
