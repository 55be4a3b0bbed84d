//! Turns of a model: their rows, their logs, and what their steps do.
//!
//! A turn is a row of `turns` with kind `model`, claimed like a task and parked while it waits, so that
//! waiting costs nothing. Entries are added with the number of those the writer of the entry has seen:
//! of two who add at once one is told to look again. What a call does to the database and its result are
//! one transaction, and so are the end of a turn and its answer.

use super::{
    Lane, Result, Rules, Store, StoreError, Tx, Wake,
    effects::{self, Terms},
    timestamp,
};
use crate::{
    AgentId, ApprovalId, ConversationId, InstanceId, MessageId, TaskId,
    agent::Effect,
    gate::{Actor, foreign_text},
    model::Usage,
    turn::{
        AgentAnswer, TurnRequest,
        fold::{Turn, WaitsFor},
        log::{Batch, Hold},
        step::{CallEnd, CallId, CallResult, Decided, Entry, Foreign, ForeignKind, Outcome, Step},
    },
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;

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

/// What an agent's models have used today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    pub tokens: u64,
    /// Millionths of a dollar.
    pub cost: u64,
    pub millis: u64,
    pub turns: u64,
}

/// What became of entries that were to be added.
#[derive(Debug, Clone)]
pub enum Appended {
    /// They are in the log as here: with ids, and with what became of their effects.
    Done(Vec<Entry>),
    /// Somebody else added entries before; the whole log is this.
    Moved(Vec<Entry>),
}

const SCOPE_TOKENS: &str = "model_tokens";
const SCOPE_COST: &str = "model_cost";
const SCOPE_MILLIS: &str = "model_millis";
const SCOPE_TURNS: &str = "model_turns";

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

fn log_of(conn: &Connection, turn: TaskId) -> Result<Vec<Entry>> {
    let mut query = conn.prepare_cached("SELECT body FROM steps WHERE turn_id = ?1 ORDER BY n")?;
    let mut rows = query.query((turn,))?;
    let mut log = Vec::new();
    while let Some(row) = rows.next()? {
        log.push(serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or_default())?);
    }
    Ok(log)
}

fn length(tx: &Tx<'_>, turn: TaskId) -> Result<usize> {
    tx.row("SELECT coalesce(max(n) + 1, 0) FROM steps WHERE turn_id = ?1", (turn,), |row| {
        row.get(0)
    })
}

fn add(tx: &Tx<'_>, turn: TaskId, at: usize, step: Step) -> Result<Entry> {
    let entry = Entry { at: timestamp(tx.now), step };
    tx.run(
        "INSERT INTO steps (turn_id, n, body) VALUES (?1, ?2, ?3)",
        (turn, at, serde_json::to_string(&entry)?),
    )?;
    Ok(entry)
}

/// What a turn belongs to.
struct Owner {
    agent: AgentId,
    instance: InstanceId,
    conversation: ConversationId,
    request: TurnRequest,
}

fn owner(tx: &Tx<'_>, turn: TaskId) -> Result<Owner> {
    let found: Option<(AgentId, InstanceId, ConversationId, String)> = tx.find(
        "SELECT i.agent_id, t.instance_id, t.conversation_id, t.payload
         FROM turns t JOIN instances i ON i.id = t.instance_id
         WHERE t.id = ?1 AND t.kind = 'model' AND t.ended_at IS NULL",
        (turn,),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let (agent, instance, conversation, request) =
        found.ok_or_else(|| StoreError::Conflict(format!("turn {turn} has ended")))?;
    Ok(Owner { agent, instance, conversation, request: serde_json::from_str(&request)? })
}

/// Adds the steps of a batch and does what they do.
fn append(
    tx: &mut Tx<'_>,
    rules: &Rules,
    turn: TaskId,
    seen: usize,
    batch: Batch,
) -> Result<Appended> {
    let of = owner(tx, turn)?;
    if length(tx, turn)? != seen {
        return Ok(Appended::Moved(log_of(tx.conn, turn)?));
    }
    let Batch { steps, effects, holds, closing, terms } = batch;
    let approval = effects::rules_of(rules, of.agent)?.approval;
    let terms = Terms {
        actor: Actor::Agent { approval },
        hold: foreign_text(&terms.foreign),
        send: terms.send,
        trust: terms.trust,
        foreign: terms.foreign,
    };
    let mut entries = Vec::with_capacity(steps.len() + holds.len());
    let mut at = seen;
    for mut step in steps {
        let of_call = |call: &CallId| -> Vec<Effect> {
            effects.iter().filter(|(id, _)| id == call).map(|(_, effect)| effect.clone()).collect()
        };
        match &mut step {
            Step::CallEnded { call, result } => {
                perform(tx, rules, &terms, &of, of_call(call), result)?;
            }
            Step::CallAwaited { call, .. } => {
                let mut result = CallResult::new(CallEnd::Done, "");
                perform(tx, rules, &terms, &of, of_call(call), &mut result)?;
                if result.end != CallEnd::Done {
                    step = Step::CallEnded { call: *call, result };
                }
            }
            _ => {}
        }
        match &step {
            Step::ModelSaid { said, .. } => count(tx, turn, of.agent, said.usage, said.millis)?,
            Step::ModelFailed { usage, .. } if *usage != Usage::default() => {
                count(tx, turn, of.agent, *usage, 0)?;
            }
            _ => {}
        }
        if let Step::ApprovalDecided { call, decision: Decided::Expired } = &step {
            expire(tx, turn, *call, of.conversation)?;
        }
        if let Step::Finished { outcome } = &mut step {
            finish(tx, rules, &terms, turn, &of, &closing, outcome)?;
        }
        entries.push(add(tx, turn, at, step)?);
        at += 1;
    }
    for hold in holds {
        let step = ask(tx, rules, turn, &of, hold)?;
        entries.push(add(tx, turn, at, step)?);
        at += 1;
    }
    Ok(Appended::Done(entries))
}

/// Applies what a call does, all or nothing. What the rules or the state of things do not allow is its
/// result.
fn perform(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    of: &Owner,
    effects: Vec<Effect>,
    result: &mut CallResult,
) -> Result<()> {
    if effects.is_empty() {
        return Ok(());
    }
    tx.conn.execute_batch("SAVEPOINT call")?;
    let mut written = Vec::new();
    let applied: Result<()> = effects.into_iter().try_for_each(|effect| {
        written.extend(effects::apply_one(tx, rules, terms, of.agent, of.instance, effect)?);
        Ok(())
    });
    match applied {
        Ok(()) => tx.conn.execute_batch("RELEASE call")?,
        Err(error) => {
            tx.conn.execute_batch("ROLLBACK TO call; RELEASE call")?;
            match error {
                StoreError::Conflict(why)
                | StoreError::NotFound(why)
                | StoreError::TooMany(why) => {
                    *result = CallResult::new(CallEnd::Failed, format!("Nothing was done: {why}."));
                    return Ok(());
                }
                other => return Err(other),
            }
        }
    }
    for message in written {
        let (state, why) = state_of(tx, message)?;
        result.text.push_str(&match state.as_str() {
            "released" => format!("\nMessage {message} is on its way."),
            "held" => format!("\nMessage {message} waits for a person's approval: {why}."),
            _ => {
                result.end = CallEnd::NotAllowed;
                format!("\nMessage {message} does not leave: {why}.")
            }
        });
    }
    Ok(())
}

fn state_of(tx: &Tx<'_>, message: MessageId) -> Result<(String, String)> {
    tx.row("SELECT state, why FROM outbox WHERE message_id = ?1", (message,), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

fn count(tx: &Tx<'_>, turn: TaskId, agent: AgentId, usage: Usage, millis: u64) -> Result<()> {
    tx.run(
        "UPDATE turns SET tokens_in = tokens_in + ?2, tokens_out = tokens_out + ?3,
                          cost = cost + ?4, model_millis = model_millis + ?5 WHERE id = ?1",
        (
            turn,
            usage.input.cast_signed(),
            usage.output.cast_signed(),
            usage.cost.unwrap_or_default().cast_signed(),
            millis.cast_signed(),
        ),
    )?;
    count_agent(tx, agent, usage, millis)
}

fn count_agent(tx: &Tx<'_>, agent: AgentId, usage: Usage, millis: u64) -> Result<()> {
    let tokens = usage.input.saturating_add(usage.output).cast_signed();
    let (cost, millis) = (usage.cost.unwrap_or_default().cast_signed(), millis.cast_signed());
    let agent = agent.0.to_string();
    for (scope, n) in [(SCOPE_TOKENS, tokens), (SCOPE_COST, cost), (SCOPE_MILLIS, millis)] {
        if n > 0 {
            tally(tx, scope, &agent, n)?;
        }
    }
    Ok(())
}

fn tally(tx: &Tx<'_>, scope: &str, key: &str, n: i64) -> Result<()> {
    tx.run(
        "INSERT INTO tallies (day, scope, key, n) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (day, scope, key) DO UPDATE SET n = n + excluded.n",
        (super::day_of(tx.now), scope, key, n),
    )?;
    Ok(())
}

/// Puts a call before a person.
fn ask(tx: &mut Tx<'_>, rules: &Rules, turn: TaskId, of: &Owner, hold: Hold) -> Result<Step> {
    let name = &effects::rules_of(rules, of.agent)?.name;
    let text = format!("{name} wants to call {} with {}", hold.tool, hold.arguments);
    let message = effects::note(tx, of.conversation, of.instance, name, &text)?;
    tx.run(
        "UPDATE messages SET status = 'held', status_why = ?2 WHERE id = ?1",
        (message, &hold.why),
    )?;
    let approval = ApprovalId(tx.insert(
        "INSERT INTO approvals (kind, conversation_id, message_id, why, turn_id, call, tool, arguments,
                                foreign_text, expires_at, created_at)
         VALUES ('tool', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            of.conversation,
            message,
            &hold.why,
            turn,
            hold.call.to_string(),
            &hold.tool,
            &hold.arguments,
            serde_json::to_string(&hold.foreign)?,
            hold.expires_at.as_millisecond(),
            tx.now,
        ),
    )?);
    tx.run(
        "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
        (of.conversation, format!("{}: {}", hold.tool, hold.why)),
    )?;
    Ok(Step::ApprovalAsked {
        call: hold.call,
        approval,
        why: hold.why,
        expires_at: hold.expires_at,
    })
}

fn expire(tx: &Tx<'_>, turn: TaskId, call: CallId, conversation: ConversationId) -> Result<()> {
    let message: Option<MessageId> = tx.find(
        "UPDATE approvals SET state = 'expired', decided_at = ?3
         WHERE turn_id = ?1 AND call = ?2 AND state = 'pending' RETURNING message_id",
        (turn, call.to_string(), tx.now),
        |row| row.get(0),
    )?;
    if let Some(message) = message {
        tx.run(
            "UPDATE messages SET status = 'rejected', status_why = 'nobody decided in time' WHERE id = ?1",
            (message,),
        )?;
        tx.audit("frontdesk", "review.expire", &turn.to_string(), &call.to_string())?;
    }
    super::review::reopen(tx, conversation)
}

/// What a person decided about a call, told to its turn.
pub(super) fn decided(
    tx: &mut Tx<'_>,
    approval: ApprovalId,
    by: &str,
    decision: Verdict,
) -> Result<()> {
    let (turn, call): (TaskId, String) =
        tx.row("SELECT turn_id, call FROM approvals WHERE id = ?1", (approval,), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let call = CallId::parse(&call)
        .ok_or_else(|| StoreError::Corrupt(format!("approval {approval} names no call")))?;
    let by = by.to_owned();
    let decision = match decision {
        Verdict::Approved { arguments: None } => Decided::Approved { by, arguments: None },
        Verdict::Approved { arguments: Some(text) } => {
            let arguments: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
                StoreError::Conflict(format!("the edited arguments are not JSON: {error}"))
            })?;
            if !arguments.is_object() {
                return Err(StoreError::Conflict(
                    "the edited arguments must be a JSON object".into(),
                ));
            }
            tx.run(
                "UPDATE approvals SET arguments = ?2 WHERE id = ?1",
                (approval, arguments.to_string()),
            )?;
            Decided::Approved { by, arguments: Some(arguments) }
        }
        Verdict::Rejected { reason } => Decided::Rejected { by, reason },
    };
    add_outside(tx, turn, Step::ApprovalDecided { call, decision })
}

/// What a person said of a call.
pub(super) enum Verdict {
    Approved { arguments: Option<String> },
    Rejected { reason: String },
}

/// Marks a message that was written with foreign text before the model.
pub(super) fn taint(tx: &Tx<'_>, message: MessageId, foreign: &[Foreign]) -> Result<()> {
    tx.run(
        "INSERT INTO tainted (message_id, foreign_text) VALUES (?1, ?2)
         ON CONFLICT (message_id) DO NOTHING",
        (message, serde_json::to_string(foreign)?),
    )?;
    Ok(())
}

/// Ends a turn: what it says leaves through the gate, what failed goes before a person, and the next
/// turn of the conversation may begin.
fn finish(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    turn: TaskId,
    of: &Owner,
    closing: &[Effect],
    outcome: &mut Outcome,
) -> Result<()> {
    let mut result = CallResult::new(CallEnd::Done, "");
    perform(tx, rules, terms, of, closing.to_vec(), &mut result)?;
    if result.end == CallEnd::Failed {
        *outcome =
            Outcome::Failed { why: format!("its answer could not be stored. {}", result.text) };
    }
    let (state, error) = match &*outcome {
        Outcome::Failed { why } => ("failed", why.as_str()),
        Outcome::Cancelled { why } => ("cancelled", why.as_str()),
        Outcome::HandedOver { why } => ("done", why.as_str()),
        Outcome::Answered { .. } | Outcome::Silent | Outcome::Interrupted => ("done", ""),
    };
    tx.run(
        "UPDATE turns SET state = ?2, outcome = ?3, error = ?4, waits_for = '', ended_at = ?5
         WHERE id = ?1",
        (turn, state, outcome.word(), error, tx.now),
    )?;
    tally(tx, SCOPE_TURNS, &of.agent.0.to_string(), 1)?;
    let review = match &*outcome {
        Outcome::Failed { why } => Some(format!("the agent could not finish: {why}")),
        Outcome::HandedOver { why } => Some(format!("the agent hands over to a person: {why}")),
        _ => None,
    };
    if let Some(why) = review {
        tx.run(
            "UPDATE conversations SET queue = 'needs_review', review_why = ?2 WHERE id = ?1",
            (of.conversation, why),
        )?;
    }
    close_approvals(tx, turn, of.conversation)?;
    if let crate::turn::Cause::Asked(question) = &of.request.cause {
        answer(tx, rules, terms, of, question, outcome)?;
    }
    let next: Option<TaskId> = tx.find(
        "SELECT id FROM turns WHERE conversation_id = ?1 AND kind = 'model' AND ended_at IS NULL
         ORDER BY id LIMIT 1",
        (of.conversation,),
        |row| row.get(0),
    )?;
    if let Some(next) = next {
        tx.run(
            "UPDATE turns SET state = 'ready', due_at = max(due_at, ?2) WHERE id = ?1 AND state = 'queued'",
            (next, tx.now),
        )?;
    }
    tx.wake(Wake::Task);
    Ok(())
}

/// Nobody needs to decide about calls of a turn that has ended.
fn close_approvals(tx: &Tx<'_>, turn: TaskId, conversation: ConversationId) -> Result<()> {
    let closed = tx.run(
        "UPDATE approvals SET state = 'withdrawn', decided_at = ?2 WHERE turn_id = ?1 AND state = 'pending'",
        (turn, tx.now),
    )?;
    if closed > 0 {
        super::review::reopen(tx, conversation)?;
    }
    Ok(())
}

/// Ends the turns of an instance that is archived. One that runs notices.
pub(super) fn withdraw(tx: &Tx<'_>, instance: InstanceId) -> Result<()> {
    tx.run(
        "UPDATE turns SET state = 'cancelled', cancelled = 1, ended_at = ?2
         WHERE instance_id = ?1 AND kind = 'model' AND state = 'queued'",
        (instance, tx.now),
    )?;
    tx.run(
        "UPDATE approvals SET state = 'withdrawn', decided_at = ?2
         WHERE state = 'pending'
           AND turn_id IN (SELECT id FROM turns WHERE instance_id = ?1 AND kind = 'model')",
        (instance, tx.now),
    )?;
    Ok(())
}

/// Tells the agent that asked what came of it.
fn answer(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    of: &Owner,
    question: &crate::turn::AgentQuestion,
    outcome: &Outcome,
) -> Result<()> {
    let (ok, text) = match outcome {
        Outcome::Answered { text } => (true, text.clone()),
        Outcome::Silent => (false, "it had nothing to say".to_owned()),
        Outcome::Failed { why } => (false, format!("it could not answer: {why}")),
        Outcome::HandedOver { why } => (false, format!("it handed over to a person: {why}")),
        Outcome::Cancelled { .. } | Outcome::Interrupted => (false, "it was stopped".to_owned()),
    };
    // What another agent says may come from anywhere: only what it was asked is known.
    let name = &effects::rules_of(rules, of.agent)?.name;
    let foreign = if terms.foreign.is_empty() {
        Vec::new()
    } else {
        vec![Foreign::new(ForeignKind::Agent, format!("the agent {name}"), &text)]
    };
    let reply =
        AgentAnswer { turn: question.turn, call: question.call.clone(), answer: text, ok, foreign };
    resolve(tx, question.from_instance, reply)
}

/// Records what another agent answered, where the turn that asked still waits for it.
pub(super) fn resolve(tx: &mut Tx<'_>, instance: InstanceId, answer: AgentAnswer) -> Result<()> {
    let waits = tx
        .find(
            "SELECT 1 FROM turns WHERE id = ?1 AND instance_id = ?2 AND kind = 'model' AND ended_at IS NULL",
            (answer.turn, instance),
            |_| Ok(()),
        )?
        .is_some();
    let Some(call) = CallId::parse(&answer.call).filter(|_| waits) else { return Ok(()) };
    let end = if answer.ok { CallEnd::Done } else { CallEnd::Failed };
    let result = CallResult { end, text: answer.answer, foreign: answer.foreign };
    add_outside(tx, answer.turn, Step::CallEnded { call, result })
}

/// Adds an entry from outside of the turn's own run and wakes it. One that no longer fits is left out: the
/// answer came too late.
pub(super) fn add_outside(tx: &mut Tx<'_>, turn: TaskId, step: Step) -> Result<()> {
    let log = log_of(tx.conn, turn)?;
    let mut folded =
        Turn::of(&log).map_err(|error| StoreError::Corrupt(format!("turn {turn}: {error}")))?;
    if folded.add(&Entry { at: timestamp(tx.now), step: step.clone() }).is_err() {
        tracing::info!(%turn, step = step.word(), "an entry came too late for its turn");
        return Ok(());
    }
    add(tx, turn, log.len(), step)?;
    // A running turn finds it when it adds its next entry; a parked one goes on now.
    tx.run(
        "UPDATE turns SET due_at = ?2, waits_for = '' WHERE id = ?1 AND state = 'ready'",
        (turn, tx.now),
    )?;
    tx.wake(Wake::Task);
    Ok(())
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
        self.write(Lane::Turn, move |tx| append(tx, &rules, turn, seen, batch)).await
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
            let mut outcome = Outcome::Failed { why };
            finish(tx, &rules, &terms, turn, &of, &[], &mut outcome)
        })
        .await
    }

    /// Records that the correspondent spoke while a turn's answer was being given, and what they heard of it. The
    /// turn ends; calls under way end as they do.
    pub async fn interrupt_turn(&self, turn: TaskId, heard: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            owner(tx, turn)?;
            add_outside(tx, turn, Step::Interrupted { heard })?;
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
            for (at, entry) in entries.into_iter().enumerate() {
                if let Step::ModelSaid { said, .. } = &entry.step {
                    count(tx, turn, of.agent, said.usage, said.millis)?;
                }
                tx.run(
                    "INSERT INTO steps (turn_id, n, body) VALUES (?1, ?2, ?3)",
                    (turn, at, serde_json::to_string(&entry)?),
                )?;
            }
            Ok(Some(turn))
        })
        .await
    }

    /// Counts what a model used outside of a turn's rounds.
    pub(crate) async fn count_model(
        &self,
        agent: AgentId,
        usage: Usage,
        millis: u64,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| count_agent(tx, agent, usage, millis)).await
    }

    /// What an agent's models have used today.
    pub(crate) async fn used_today(&self, agent: AgentId) -> Result<Used> {
        let day = super::day_of(self.clock().now().as_millisecond());
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT n FROM tallies WHERE day = ?1 AND scope = ?2 AND key = ?3",
            )?;
            let mut of = |scope: &str| -> Result<u64> {
                let n: Option<i64> = query
                    .query_row((day, scope, agent.0.to_string()), |row| row.get(0))
                    .optional()?;
                Ok(n.unwrap_or_default().cast_unsigned())
            };
            Ok(Used {
                tokens: of(SCOPE_TOKENS)?,
                cost: of(SCOPE_COST)?,
                millis: of(SCOPE_MILLIS)?,
                turns: of(SCOPE_TURNS)?,
            })
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
