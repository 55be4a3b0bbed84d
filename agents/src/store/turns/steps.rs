//! Entries are added to the log of a turn, with what they do.
//!
//! Entries are added with the number of those the writer of the entry has seen: of two who add at once one is
//! told to look again. What a call does to the database and its result are one transaction, and so are the
//! end of a turn and its answer.

use super::{
    Appended, people,
    used::{count, count_turn},
};
use crate::{
    AgentId, ConversationId, InstanceId, MessageId, TaskId,
    agent::Effect,
    gate::{Actor, foreign_text},
    model::Usage,
    store::{
        Result, Rules, StoreError, Tx, Wake,
        effects::{self, Terms},
        review, timestamp,
    },
    turn::{
        AgentAnswer, AgentQuestion, Cause, TurnRequest,
        fold::Turn,
        log::Batch,
        step::{CallEnd, CallId, CallResult, Decided, Entry, Foreign, ForeignKind, Outcome, Step},
    },
};
use rusqlite::Connection;

pub(super) fn log_of(conn: &Connection, turn: TaskId) -> Result<Vec<Entry>> {
    let mut query = conn.prepare_cached("SELECT body FROM steps WHERE turn_id = ?1 ORDER BY n")?;
    let mut rows = query.query((turn,))?;
    let mut log = Vec::new();
    while let Some(row) = rows.next()? {
        log.push(serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or_default())?);
    }
    Ok(log)
}

pub(super) fn length(tx: &Tx<'_>, turn: TaskId) -> Result<usize> {
    tx.row("SELECT coalesce(max(n) + 1, 0) FROM steps WHERE turn_id = ?1", (turn,), |row| {
        row.get(0)
    })
}

pub(super) fn add(tx: &Tx<'_>, turn: TaskId, at: usize, step: Step) -> Result<Entry> {
    let entry = Entry { at: timestamp(tx.now), step };
    tx.run(
        "INSERT INTO steps (turn_id, n, body) VALUES (?1, ?2, ?3)",
        (turn, at, serde_json::to_string(&entry)?),
    )?;
    Ok(entry)
}

/// What a turn belongs to.
pub(super) struct Owner {
    pub agent: AgentId,
    pub instance: InstanceId,
    pub conversation: ConversationId,
    pub request: TurnRequest,
}

pub(super) fn owner(tx: &Tx<'_>, turn: TaskId) -> Result<Owner> {
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
pub(super) fn append(
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
        let of_call = |call: &CallId| -> Vec<&Effect> {
            effects.iter().filter(|(id, _)| id == call).map(|(_, effect)| effect).collect()
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
            people::expire(tx, turn, *call, of.conversation)?;
        }
        if let Step::Finished { outcome } = &mut step {
            finish(tx, rules, &terms, turn, &of, &closing, outcome)?;
        }
        entries.push(add(tx, turn, at, step)?);
        at += 1;
    }
    for hold in holds {
        let step = people::ask(tx, rules, turn, &of, hold)?;
        entries.push(add(tx, turn, at, step)?);
        at += 1;
    }
    Ok(Appended::Done(entries))
}

/// Applies what a call does, all or nothing. What the rules or the state of things do not allow is its
/// result.
pub(super) fn perform(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    of: &Owner,
    effects: Vec<&Effect>,
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

pub(super) fn state_of(tx: &Tx<'_>, message: MessageId) -> Result<(String, String)> {
    tx.row("SELECT state, why FROM outbox WHERE message_id = ?1", (message,), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Marks a message that was written with foreign text before the model.
pub(in crate::store) fn taint(tx: &Tx<'_>, message: MessageId, foreign: &[Foreign]) -> Result<()> {
    tx.run(
        "INSERT INTO tainted (message_id, foreign_text) VALUES (?1, ?2)
         ON CONFLICT (message_id) DO NOTHING",
        (message, serde_json::to_string(foreign)?),
    )?;
    Ok(())
}

/// Ends a turn: what it says leaves through the gate, what failed goes before a person, and the next
/// turn of the conversation may begin.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    turn: TaskId,
    of: &Owner,
    closing: &[Effect],
    outcome: &mut Outcome,
) -> Result<()> {
    let mut result = CallResult::new(CallEnd::Done, "");
    perform(tx, rules, terms, of, closing.iter().collect(), &mut result)?;
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
    count_turn(tx, of.agent)?;
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
    if let Cause::Asked(question) = &of.request.cause {
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
pub(super) fn close_approvals(
    tx: &Tx<'_>,
    turn: TaskId,
    conversation: ConversationId,
) -> Result<()> {
    let closed = tx.run(
        "UPDATE approvals SET state = 'withdrawn', decided_at = ?2 WHERE turn_id = ?1 AND state = 'pending'",
        (turn, tx.now),
    )?;
    if closed > 0 {
        review::reopen(tx, conversation)?;
    }
    Ok(())
}

/// Ends the turns of an instance that is archived. One that runs notices.
pub(in crate::store) fn withdraw(tx: &Tx<'_>, instance: InstanceId) -> Result<()> {
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
pub(super) fn answer(
    tx: &mut Tx<'_>,
    rules: &Rules,
    terms: &Terms,
    of: &Owner,
    question: &AgentQuestion,
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
pub(in crate::store) fn resolve(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    answer: AgentAnswer,
) -> Result<()> {
    let waits = tx
        .find(
            "SELECT 1 FROM turns WHERE id = ?1 AND instance_id = ?2 AND kind = 'model' AND ended_at IS NULL",
            (answer.turn, instance),
            |_| Ok(()),
        )?
        .is_some();
    let Some(call) = CallId::parse(&answer.call).filter(|_| waits) else { return Ok(()) };
    let end = if answer.ok { CallEnd::Done } else { CallEnd::Failed };
    let result = CallResult { foreign: answer.foreign, ..CallResult::new(end, answer.answer) };
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
