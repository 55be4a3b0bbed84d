//! What people decide: a draft that wants to leave, a message that wants in, and what they write
//! themselves.
//!
//! An approval is claimed once: of two people who decide at the same time one wins, and the other is
//! told who and what. Every decision is in the audit trail.

use super::{
    Lane, MessageStatus, Result, Rules, Store, StoreError, Tx, Wake, accept, effects, handle,
    housekeeping, outbox, turns,
};
use crate::{
    AgentId, ApprovalId, ContactId, ConversationId, InstanceId, MessageId, OutboxId,
    agent::{Event, ReviewDecision},
    gate::Actor,
    mail::{Draft, Trust},
};
use jiff::Timestamp;

/// What a decision did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reviewed {
    pub approval: ApprovalId,
    pub conversation: ConversationId,
    pub message: MessageId,
    /// `draft`, `message` or `tool`.
    pub kind: String,
    pub approved: bool,
}

/// A mail a person or program writes.
#[derive(Debug, Clone)]
pub struct Compose {
    pub agent: AgentId,
    /// Continue this conversation, or start one.
    pub conversation: Option<ConversationId>,
    /// Answer this mail; `to` may then be empty.
    pub answers: Option<MessageId>,
    pub to: Vec<String>,
    pub draft: Draft,
}

impl Store {
    /// Approves: a draft leaves, perhaps with another text; a message is admitted, and its sender becomes known;
    /// a call is made, perhaps with other arguments, which are then given as JSON.
    pub async fn approve(
        &self,
        approval: ApprovalId,
        by: String,
        edited_text: Option<String>,
    ) -> Result<Reviewed> {
        self.approve_at(approval, by, edited_text, String::new(), None).await
    }

    /// The same with a reason for those who read it later, and for a draft that leaves at a time.
    pub async fn approve_at(
        &self,
        approval: ApprovalId,
        by: String,
        edited_text: Option<String>,
        reason: String,
        at: Option<Timestamp>,
    ) -> Result<Reviewed> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| {
            self::approve(tx, &rules, approval, &by, edited_text.as_deref(), &reason, at)
        })
        .await
    }

    /// Rejects: a draft is cancelled and its agent hears why; a message stays where it is, out of every history.
    pub async fn reject(
        &self,
        approval: ApprovalId,
        by: String,
        reason: String,
    ) -> Result<Reviewed> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| self::reject(tx, &rules, approval, &by, &reason)).await
    }

    /// Takes a conversation that an agent filed for review out of the queue: a person has seen it. What
    /// waits for a decision in it stays.
    pub async fn mark_reviewed(&self, conversation: ConversationId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let why: Option<String> = tx.find(
                "SELECT review_why FROM conversations WHERE id = ?1",
                (conversation,),
                |row| row.get(0),
            )?;
            let why = why.ok_or_else(|| {
                StoreError::NotFound(format!("there is no conversation {conversation}"))
            })?;
            let waits = tx
                .find(
                    "SELECT 1 FROM approvals WHERE conversation_id = ?1 AND state = 'pending'",
                    (conversation,),
                    |_| Ok(()),
                )?
                .is_some();
            if waits {
                return Err(StoreError::Conflict(
                    "something in this conversation waits to be approved or rejected".into(),
                ));
            }
            reopen(tx, conversation)?;
            tx.audit(&by, "review.seen", &conversation.to_string(), &why)
        })
        .await
    }

    /// Sends what a person or program wrote, through the same gate and outbox as everything else. Answers the
    /// message and whether it was released, or else why not.
    pub async fn compose(
        &self,
        actor: Actor,
        compose: Compose,
    ) -> Result<(MessageId, Option<String>)> {
        self.compose_at(actor, compose, None).await
    }

    /// The same, to leave at a time.
    pub async fn compose_at(
        &self,
        actor: Actor,
        compose: Compose,
        at: Option<Timestamp>,
    ) -> Result<(MessageId, Option<String>)> {
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| post(tx, &rules, actor.clone(), &compose, at)).await
    }
}

/// Approves, as [`Store::approve_at`] says.
pub(super) fn approve(
    tx: &mut Tx<'_>,
    rules: &Rules,
    approval: ApprovalId,
    by: &str,
    edited_text: Option<&str>,
    reason: &str,
    at: Option<Timestamp>,
) -> Result<Reviewed> {
    let (kind, conversation, message) = claim(tx, approval, by, "approved", reason)?;
    if kind == "draft" {
        effects::check_release(tx, rules, message, by)?;
        if let Some(text) = edited_text {
            tx.run("UPDATE messages SET text = ?2 WHERE id = ?1", (message, text))?;
            tx.run("UPDATE outbox SET html = NULL WHERE message_id = ?1", (message,))?;
            housekeeping::index_again(tx, message)?;
        }
        tell_agent(tx, rules, conversation, message, true, "")?;
        // What whoever wrote it wished holds unless the reviewer says otherwise.
        let wished = outbox::wished(tx, message)?;
        outbox::release(tx, message, false)?;
        if let Some(at) = at.or(wished) {
            outbox::put_off(tx, message, at)?;
        }
    } else if kind == "tool" {
        let arguments = edited_text.map(str::to_owned);
        turns::decided(tx, approval, by, turns::Verdict::Approved { arguments })?;
        tx.run(
            "UPDATE messages SET status = 'admitted', status_why = '' WHERE id = ?1",
            (message,),
        )?;
    } else {
        admit(tx, rules, message, by, "staff", Trust::Known)?;
    }
    tx.audit(by, "review.approve", &approval.to_string(), &kind)?;
    reopen(tx, conversation)?;
    Ok(Reviewed { approval, conversation, message, kind, approved: true })
}

/// Rejects, as [`Store::reject`] says.
pub(super) fn reject(
    tx: &mut Tx<'_>,
    rules: &Rules,
    approval: ApprovalId,
    by: &str,
    reason: &str,
) -> Result<Reviewed> {
    let (kind, conversation, message) = claim(tx, approval, by, "rejected", reason)?;
    tx.run(
        "UPDATE messages SET status = 'rejected', status_why = ?2 WHERE id = ?1",
        (message, reason),
    )?;
    if kind == "draft" {
        tx.run(
            "UPDATE outbox SET state = 'cancelled', why = ?2 WHERE message_id = ?1",
            (message, format!("rejected by {by}: {reason}")),
        )?;
        tell_agent(tx, rules, conversation, message, false, reason)?;
    }
    if kind == "tool" {
        let reason = reason.to_owned();
        turns::decided(tx, approval, by, turns::Verdict::Rejected { reason })?;
    }
    tx.audit(by, "review.reject", &approval.to_string(), reason)?;
    reopen(tx, conversation)?;
    Ok(Reviewed { approval, conversation, message, kind, approved: false })
}

/// What a person or program wrote, to leave now or at a time.
pub(super) fn post(
    tx: &mut Tx<'_>,
    rules: &Rules,
    actor: Actor,
    compose: &Compose,
    at: Option<Timestamp>,
) -> Result<(MessageId, Option<String>)> {
    let agent_rules = rules
        .agents
        .get(&compose.agent)
        .ok_or_else(|| StoreError::NotFound(format!("no agent with id {}", compose.agent)))?;
    let name = match &actor {
        Actor::Person { name } | Actor::Program { name } | Actor::Writer { name, .. } => {
            name.clone()
        }
        Actor::Agent { .. } => agent_rules.name.clone(),
    };
    let terms = effects::Terms::of(actor);
    let message = match compose.answers {
        Some(answers) => {
            effects::reply(tx, rules, &terms, compose.agent, None, answers, &compose.draft)?
        }
        None => {
            let conversation = match compose.conversation {
                Some(conversation) => conversation,
                None => open_for(tx, rules, compose)?,
            };
            effects::send(
                tx,
                rules,
                &terms,
                compose.agent,
                conversation,
                &compose.to,
                &compose.draft,
            )?
        }
    };
    if let Some(at) = at {
        outbox::put_off(tx, message, at)?;
    }
    let (state, why): (String, String) =
        tx.row("SELECT state, why FROM outbox WHERE message_id = ?1", (message,), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    tx.audit(&name, "email.send", &message.to_string(), &state)?;
    Ok((message, (state != "released").then_some(why)))
}

/// A conversation for a mail that a person starts. One to a single proven contact joins that contact's
/// instance; anything else gets an instance of its own.
fn open_for(tx: &Tx<'_>, rules: &Rules, compose: &Compose) -> Result<ConversationId> {
    let conversation = accept::next_conversation(tx)?;
    let policy = rules.agents.get(&compose.agent).map(|agent| agent.instance);
    let contact: Option<ContactId> = match compose.to.as_slice() {
        [only] => tx.find(
            "SELECT contact_id FROM handles WHERE channel = 'email' AND value = ?1",
            (only.to_lowercase(),),
            |row| row.get(0),
        )?,
        _ => None,
    };
    let instance = match (policy, contact) {
        (Some(policy), Some(contact)) => {
            accept::instance_for(tx, compose.agent, policy, contact, None, conversation)?
        }
        _ => accept::find_or_create_instance(
            tx,
            compose.agent,
            &format!("conversation:{conversation}"),
            None,
        )?,
    };
    tx.insert(
        "INSERT INTO conversations (id, agent_id, instance_id, channel, subject, last_message_at,
                                    created_at)
         VALUES (?1, ?2, ?3, 'mail', ?4, ?5, ?5)",
        (conversation, compose.agent, instance, &compose.draft.subject, tx.now),
    )?;
    Ok(conversation)
}

fn claim(
    tx: &Tx<'_>,
    approval: ApprovalId,
    by: &str,
    state: &str,
    reason: &str,
) -> Result<(String, ConversationId, MessageId)> {
    let claimed = tx.find(
        "UPDATE approvals SET state = ?2, decided_by = ?3, reason = ?4, decided_at = ?5
         WHERE id = ?1 AND state = 'pending' AND coalesce(expires_at > ?5, 1)
         RETURNING kind, conversation_id, message_id",
        (approval, state, by, reason, tx.now),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if let Some(claimed) = claimed {
        return Ok(claimed);
    }
    Err(match standing(tx, approval)? {
        None => StoreError::NotFound(format!("there is no review {approval}")),
        Some(standing) => StoreError::Conflict(standing),
    })
}

/// Why nobody can decide about this any more, in words; nothing where somebody can, or where it never was.
pub(super) fn standing(tx: &Tx<'_>, approval: ApprovalId) -> Result<Option<String>> {
    let found: Option<(String, String, bool)> = tx.find(
        "SELECT state, decided_by, coalesce(expires_at > ?2, 1) FROM approvals WHERE id = ?1",
        (approval, tx.now),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    Ok(match found {
        None => None,
        Some((state, _, true)) if state == "pending" => None,
        Some((state, _, false)) if state == "pending" => {
            Some(format!("review {approval} expired: nobody decided in time"))
        }
        Some((state, by, _)) if by.is_empty() => Some(format!("review {approval} is {state}")),
        Some((state, by, _)) => Some(format!("review {approval} was already {state} by {by}")),
    })
}

/// Takes a conversation out of the review queue when nothing in it waits any more.
pub(super) fn reopen(tx: &Tx<'_>, conversation: ConversationId) -> Result<()> {
    tx.run(
        "UPDATE conversations SET queue = 'open', review_why = ''
         WHERE id = ?1 AND queue = 'needs_review' AND NOT EXISTS (
             SELECT 1 FROM approvals WHERE conversation_id = ?1 AND state = 'pending')",
        (conversation,),
    )?;
    Ok(())
}

/// Tells an agent what was decided about its draft. What a person or program wrote is not its business.
fn tell_agent(
    tx: &mut Tx<'_>,
    rules: &Rules,
    conversation: ConversationId,
    message: MessageId,
    approved: bool,
    reason: &str,
) -> Result<()> {
    let (agent, by_agent): (AgentId, bool) = tx.row(
        "SELECT agent_id, automatic FROM outbox WHERE message_id = ?1",
        (message,),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if !by_agent || !rules.agents.get(&agent).is_some_and(|agent| agent.runs) {
        return Ok(());
    }
    let instance = accept::instance_of(tx, conversation)?;
    let decision = ReviewDecision { message, conversation, approved, reason: reason.to_owned() };
    let now = tx.now;
    handle::enqueue(tx, instance, &Event::Approval(decision), now)?;
    Ok(())
}

/// Closes the pending review of a draft that went another way.
pub(super) fn close_draft(
    tx: &Tx<'_>,
    outbox: OutboxId,
    state: &str,
    by: &str,
    reason: &str,
) -> Result<()> {
    let conversation: Option<ConversationId> = tx.find(
        "UPDATE approvals SET state = ?2, decided_by = ?3, reason = ?4, decided_at = ?5
         WHERE kind = 'draft' AND state = 'pending'
           AND message_id = (SELECT message_id FROM outbox WHERE id = ?1)
         RETURNING conversation_id",
        (outbox, state, by, reason, tx.now),
        |row| row.get(0),
    )?;
    tx.run(
        "UPDATE messages SET status = 'rejected', status_why = ?2
         WHERE id = (SELECT message_id FROM outbox WHERE id = ?1)",
        (outbox, reason),
    )?;
    match conversation {
        Some(conversation) => reopen(tx, conversation),
        None => Ok(()),
    }
}

/// Admits a held or unproven message: its sender's address counts as proven from now on, and the agent hears
/// of it. A conversation that was kept apart moves to the instance its sender belongs to; what the agent
/// had drafted there, without memory, is withdrawn.
pub(super) fn admit(
    tx: &mut Tx<'_>,
    rules: &Rules,
    message: MessageId,
    by: &str,
    proof: &str,
    trust: Trust,
) -> Result<()> {
    let (conversation, instance, agent, from, name, proven) = tx.row(
        "SELECT c.id, c.instance_id, c.agent_id, l.from_address, l.from_name, i.proven
         FROM messages m JOIN mails l ON l.message_id = m.id
         JOIN conversations c ON c.id = m.conversation_id
         JOIN instances i ON i.id = c.instance_id
         WHERE m.id = ?1",
        (message,),
        |row| {
            let conversation: ConversationId = row.get(0)?;
            let instance: InstanceId = row.get(1)?;
            let agent: AgentId = row.get(2)?;
            let from: String = row.get(3)?;
            let name: Option<String> = row.get(4)?;
            let proven: bool = row.get(5)?;
            Ok((conversation, instance, agent, from, name, proven))
        },
    )?;
    let (handle, _) = accept::prove(tx, &from, name.as_deref(), proof, trust)?;
    let runs = rules.agents.get(&agent).is_some_and(|agent| agent.runs);
    let home = bring_home(tx, rules, conversation, &from)?;
    if home != instance {
        withdraw_drafts(tx, conversation, by)?;
    }
    accept::add_participant(tx, conversation, &from, true, Some(handle))?;
    // The other messages of the same sender in a conversation that was kept apart come along.
    tx.run(
        "UPDATE messages SET status = ?3, status_why = '', handle_id = ?4
         WHERE id = ?1 OR (?5 AND conversation_id = ?2 AND status = 'unproven' AND author = ?6)",
        (message, conversation, MessageStatus::Admitted.as_str(), handle, !proven, &from),
    )?;
    tx.run(
        "UPDATE approvals SET state = 'approved', decided_by = ?2, decided_at = ?3
         WHERE message_id = ?1 AND kind = 'message' AND state = 'pending'",
        (message, by, tx.now),
    )?;
    tx.run("UPDATE conversations SET auto_since_human = 0 WHERE id = ?1", (conversation,))?;
    tracing::info!(%message, %conversation, from_instance = %instance, "a message was admitted");
    if runs {
        let now = tx.now;
        handle::enqueue(tx, home, &Event::Email { message }, now)?;
    }
    Ok(())
}

/// The instance a conversation belongs to now that its correspondent's address is proven. One that was
/// kept apart moves to the instance of that contact; what it was kept in is archived with all that it
/// had planned, since none of that knew who it was talking to.
pub(super) fn bring_home(
    tx: &mut Tx<'_>,
    rules: &Rules,
    conversation: ConversationId,
    from: &str,
) -> Result<InstanceId> {
    let (instance, agent, proven): (InstanceId, AgentId, bool) = tx.row(
        "SELECT c.instance_id, c.agent_id, i.proven
         FROM conversations c JOIN instances i ON i.id = c.instance_id WHERE c.id = ?1",
        (conversation,),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let agent_rules = rules.agents.get(&agent).filter(|agent| agent.runs && !proven);
    let Some(agent_rules) = agent_rules else { return Ok(instance) };
    let contact: Option<ContactId> = tx.find(
        "SELECT contact_id FROM handles WHERE channel = 'email' AND value = ?1",
        (from,),
        |row| row.get(0),
    )?;
    let Some(contact) = contact else { return Ok(instance) };
    let tag: Option<String> = tx.find(
        "SELECT l.tag FROM messages m JOIN mails l ON l.message_id = m.id
         WHERE m.conversation_id = ?1 AND l.tag IS NOT NULL ORDER BY m.id LIMIT 1",
        (conversation,),
        |row| row.get(0),
    )?;
    let policy = agent_rules.instance;
    let home = accept::instance_for(tx, agent, policy, contact, tag.as_deref(), conversation)?;
    tx.run("UPDATE conversations SET instance_id = ?2 WHERE id = ?1", (conversation, home))?;
    tx.run("UPDATE instances SET archived_at = ?2 WHERE id = ?1", (instance, tx.now))?;
    tx.run("DELETE FROM schedules WHERE instance_id = ?1", (instance,))?;
    tx.run("DELETE FROM events WHERE instance_id = ?1", (instance,))?;
    tx.run(
        "UPDATE turns SET cancelled = 1, ended_at = CASE state WHEN 'ready' THEN ?2 END,
                          state = CASE state WHEN 'ready' THEN 'cancelled' ELSE state END
         WHERE instance_id = ?1 AND state IN ('ready', 'running')",
        (instance, tx.now),
    )?;
    turns::withdraw(tx, instance)?;
    tx.wake(Wake::Task);
    tx.wake(Wake::Schedule);
    Ok(home)
}

fn withdraw_drafts(tx: &Tx<'_>, conversation: ConversationId, by: &str) -> Result<()> {
    let held = {
        let mut query = tx.conn.prepare_cached(
            "SELECT id FROM outbox WHERE conversation_id = ?1 AND state = 'held'",
        )?;
        query
            .query_map((conversation,), |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<OutboxId>>>()?
    };
    for outbox in held {
        let why = "withdrawn: the sender was admitted and the agent answers anew";
        tx.run("UPDATE outbox SET state = 'cancelled', why = ?2 WHERE id = ?1", (outbox, why))?;
        close_draft(tx, outbox, "rejected", by, why)?;
    }
    Ok(())
}
