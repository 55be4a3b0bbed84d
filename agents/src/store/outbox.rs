//! The durable queue out.
//!
//! A row in `outbox` is a mail that was decided on; when it is released, each recipient gets a row in
//! `deliveries`, which is what is claimed, sent and settled. Everything the rendered bytes depend on
//! is in the row by then, so they can be made once and never differ.
//!
//! States of a delivery: queued, sending, sent, deferred, bounced, failed, uncertain, cancelled. They
//! are true at every moment: a crash after the final dot leaves `uncertain`, never a guess.

use super::{Lane, Result, StagedBlob, Store, StoreError, Tx, Wake, accept, blobs, timestamp};
use crate::{AgentId, BlobId, ConversationId, DeliveryId, MessageId, OutboxId, Reference};
use jiff::Timestamp;
use rusqlite::OptionalExtension;

/// A delivery to make now.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub delivery: DeliveryId,
    pub recipient: String,
    /// 1 the first time.
    pub attempt: u32,
    pub mail: OutgoingMail,
}

/// Everything that decides the bytes of an outgoing mail.
#[derive(Debug, Clone)]
pub struct OutgoingMail {
    pub outbox: OutboxId,
    pub agent: AgentId,
    pub conversation: ConversationId,
    pub reference: Reference,
    /// The thread name of the conversation, for the first entry of References.
    pub thread: String,
    pub from: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    pub attachments: Vec<RenderedPart>,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    /// Whether it answers a mail, as against starting a conversation.
    pub is_reply: bool,
    /// An answer to it decides about something: what the address to answer to carries instead.
    pub decides: Option<Reference>,
    /// Whether it leaves without a person having read it.
    pub automatic: bool,
    pub released_at: Timestamp,
    /// The bytes, if they were rendered before.
    pub rendered: Option<BlobId>,
}

/// A file inside an outgoing mail.
#[derive(Debug, Clone)]
pub struct RenderedPart {
    pub name: String,
    pub media_type: String,
    pub content: BlobId,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// Accepted, with the peer's words (or where it was captured).
    Sent { response: String },
    /// Not now; try again then.
    Deferred { response: String, next_at: Timestamp },
    /// Refused for good by the peer.
    Bounced { response: String },
    /// Given up by us.
    Failed { response: String },
    /// The final dot left and no answer came.
    Uncertain { response: String },
}

/// Releases a mail: it leaves with the next claim, and those it goes to become members.
pub(super) fn release(tx: &mut Tx<'_>, message: MessageId, automatic: bool) -> Result<()> {
    let released: Option<(OutboxId, AgentId, ConversationId, String, String)> = tx.find(
        "UPDATE outbox SET state = 'released', why = '', released_at = ?2, automatic = ?3
         WHERE message_id = ?1 AND state = 'held'
         RETURNING id, agent_id, conversation_id, to_list, cc_list",
        (message, tx.now, automatic),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
    )?;
    let (outbox, agent, conversation, to, cc) = released
        .ok_or_else(|| StoreError::Conflict(format!("message {message} is not a held draft")))?;
    tx.run("UPDATE messages SET status = 'admitted', status_why = '' WHERE id = ?1", (message,))?;
    let mut everyone: Vec<String> = serde_json::from_str(&to)?;
    everyone.extend(serde_json::from_str::<Vec<String>>(&cc)?);
    everyone.sort_unstable();
    everyone.dedup();
    for recipient in &everyone {
        tx.run(
            "INSERT INTO deliveries (outbox_id, recipient, state, next_at)
             VALUES (?1, ?2, 'queued', ?3)",
            (outbox, recipient, tx.now),
        )?;
        accept::add_participant(tx, conversation, recipient, true, None)?;
        if automatic {
            tx.count("auto_to", recipient)?;
        }
    }
    if automatic {
        tx.count("auto_agent", &agent.0.to_string())?;
    }
    tx.run(
        "UPDATE conversations SET auto_since_human = auto_since_human + ?2, last_sent_at = ?3
         WHERE id = ?1",
        (conversation, automatic, tx.now),
    )?;
    tx.wake(Wake::Outbox);
    Ok(())
}

/// Releases a mail to one of the installation's own people: they become no member of its conversation, and it
/// counts against no agent's budget.
pub(super) fn release_to_staff(tx: &mut Tx<'_>, message: MessageId) -> Result<()> {
    let (outbox, to): (OutboxId, String) = tx.row(
        "UPDATE outbox SET state = 'released', released_at = ?2 WHERE message_id = ?1
         RETURNING id, to_list",
        (message, tx.now),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for recipient in serde_json::from_str::<Vec<String>>(&to)? {
        tx.run(
            "INSERT INTO deliveries (outbox_id, recipient, state, next_at)
             VALUES (?1, ?2, 'queued', ?3)",
            (outbox, recipient, tx.now),
        )?;
    }
    tx.wake(Wake::Outbox);
    Ok(())
}

/// A mail that was just released leaves at a time and not before. That is its date. One that is held keeps
/// the time for whoever releases it.
pub(super) fn put_off(tx: &Tx<'_>, message: MessageId, at: Timestamp) -> Result<()> {
    let at = at.as_millisecond().max(tx.now);
    tx.run(
        "UPDATE deliveries SET next_at = ?2
         WHERE state = 'queued' AND outbox_id = (SELECT id FROM outbox WHERE message_id = ?1)",
        (message, at),
    )?;
    tx.run(
        "UPDATE outbox SET released_at = CASE state WHEN 'released' THEN ?2 END,
                           send_at = CASE state WHEN 'held' THEN ?2 END
         WHERE message_id = ?1",
        (message, at),
    )?;
    Ok(())
}

/// When the writer of a held mail wants it to leave, if that is still to come.
pub(super) fn wished(tx: &Tx<'_>, message: MessageId) -> Result<Option<Timestamp>> {
    let at: Option<i64> = tx.find(
        "SELECT send_at FROM outbox WHERE message_id = ?1 AND send_at > ?2",
        (message, tx.now),
        |row| row.get(0),
    )?;
    Ok(at.map(timestamp))
}

impl Store {
    /// Takes back what is released and has not begun to leave: it is a held draft again, and waits for a
    /// person.
    pub async fn recall(&self, outbox: OutboxId, by: String) -> Result<MessageId> {
        self.write(Lane::Turn, move |tx| {
            let taken: Option<(MessageId, ConversationId)> = tx.find(
                "UPDATE outbox SET state = 'held', why = ?2, released_at = NULL
                 WHERE id = ?1 AND state = 'released' AND NOT EXISTS (
                     SELECT 1 FROM deliveries
                     WHERE outbox_id = ?1 AND (state <> 'queued' OR attempts > 0))
                 RETURNING message_id, conversation_id",
                (outbox, format!("taken back by {by}")),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let Some((message, conversation)) = taken else {
                return Err(nothing_to(tx, outbox, "take back")?);
            };
            tx.run("DELETE FROM deliveries WHERE outbox_id = ?1", (outbox,))?;
            let why = format!("taken back by {by}");
            tx.run(
                "UPDATE messages SET status = 'held', status_why = ?2 WHERE id = ?1",
                (message, &why),
            )?;
            // Whoever took it back knows, so nobody is told by mail.
            accept::put_before_people(tx, conversation, message, "draft", &why)?;
            tx.audit(&by, "outbox.recall", &outbox.to_string(), "")?;
            Ok(message)
        })
        .await
    }

    /// Puts right what a crash left: deliveries that had not reached the final dot go again, those beyond
    /// it become uncertain. With a transport that may safely repeat itself (capture), all go again.
    pub async fn recover_deliveries(&self, repeatable: bool) -> Result<usize> {
        self.write(Lane::Turn, move |tx| {
            let again = tx.run(
                "UPDATE deliveries SET state = 'queued', started_at = NULL
                 WHERE state = 'sending' AND (started_at IS NULL OR ?1)",
                (repeatable,),
            )?;
            tx.run(
                "UPDATE deliveries
                 SET state = 'uncertain', settled_at = ?1,
                     response = 'the server stopped after the message was sent and before it was answered'
                 WHERE state = 'sending'",
                (tx.now,),
            )?;
            Ok(again)
        })
        .await
    }

    /// Claims deliveries that are due, oldest first, and marks them as sending.
    pub async fn claim_deliveries(&self, max: usize) -> Result<Vec<Claimed>> {
        let claimed = self
            .write(Lane::Turn, move |tx| {
                let due = {
                    let mut query = tx.conn.prepare_cached(
                        // Named, for the planner prefers to sort everything that waits.
                        "SELECT id FROM deliveries INDEXED BY deliveries_due
                         WHERE state IN ('queued', 'deferred') AND next_at <= ?1
                         ORDER BY next_at, id LIMIT ?2",
                    )?;
                    query
                        .query_map((tx.now, max), |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<DeliveryId>>>()?
                };
                due.into_iter().map(|delivery| claim(tx, delivery)).collect::<Result<Vec<_>>>()
            })
            .await?;
        Ok(claimed)
    }

    /// When the next delivery is due, if any waits.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        self.read_async(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT min(next_at) FROM deliveries INDEXED BY deliveries_due
                     WHERE state IN ('queued', 'deferred')",
                )?
                .query_row((), |row| row.get::<_, Option<i64>>(0))?
                .map(timestamp))
        })
        .await
    }

    /// Keeps rendered bytes. Bytes that are there already stay: what was rendered first is what is sent.
    pub async fn keep_rendered(&self, rendered: Vec<(OutboxId, StagedBlob)>) -> Result<()> {
        if rendered.is_empty() {
            return Ok(());
        }
        self.write(Lane::Turn, move |tx| {
            for (outbox, blob) in &rendered {
                let missing = tx.find(
                    "SELECT 1 FROM outbox WHERE id = ?1 AND rendered IS NULL",
                    (outbox,),
                    |_| Ok(()),
                )?;
                if missing.is_some() {
                    let id = blobs::insert(tx, blob)?;
                    tx.run("UPDATE outbox SET rendered = ?2 WHERE id = ?1", (outbox, id))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Records that the final dot is about to leave.
    pub async fn start_data(&self, delivery: DeliveryId) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let started = tx.run(
                "UPDATE deliveries SET started_at = ?2 WHERE id = ?1 AND state = 'sending'",
                (delivery, tx.now),
            )?;
            if started == 0 {
                return Err(StoreError::Conflict(format!("delivery {delivery} is not being sent")));
            }
            Ok(())
        })
        .await
    }

    /// Records what became of an attempt.
    pub async fn settle_delivery(
        &self,
        delivery: DeliveryId,
        outcome: DeliveryOutcome,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let (state, response, next_at) = match &outcome {
                DeliveryOutcome::Sent { response } => ("sent", response, None),
                DeliveryOutcome::Deferred { response, next_at } => {
                    ("deferred", response, Some(next_at.as_millisecond()))
                }
                DeliveryOutcome::Bounced { response } => ("bounced", response, None),
                DeliveryOutcome::Failed { response } => ("failed", response, None),
                DeliveryOutcome::Uncertain { response } => ("uncertain", response, None),
            };
            let settled = tx.run(
                "UPDATE deliveries
                 SET state = ?2, response = ?3, settled_at = ?4, next_at = coalesce(?5, next_at),
                     started_at = CASE WHEN ?2 = 'deferred' THEN NULL ELSE started_at END
                 WHERE id = ?1 AND state = 'sending'",
                (delivery, state, response, tx.now, next_at),
            )?;
            if settled == 0 {
                return Err(StoreError::Conflict(format!("delivery {delivery} is not being sent")));
            }
            if state == "deferred" {
                tx.wake(Wake::Outbox);
            }
            Ok(())
        })
        .await
    }

    /// Sends again what is deferred, failed, bounced or uncertain. The bytes are the same.
    pub async fn retry_outbox(&self, outbox: OutboxId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let again = tx.run(
                "UPDATE deliveries SET state = 'queued', next_at = ?2, started_at = NULL, settled_at = NULL
                 WHERE outbox_id = ?1 AND state IN ('deferred', 'failed', 'bounced', 'uncertain')",
                (outbox, tx.now),
            )?;
            if again == 0 {
                return Err(nothing_to(tx, outbox, "retry")?);
            }
            tx.audit(&by, "outbox.retry", &outbox.to_string(), "")?;
            tx.wake(Wake::Outbox);
            Ok(())
        })
        .await
    }

    /// Cancels what has not been sent.
    pub async fn cancel_outbox(&self, outbox: OutboxId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let deliveries = tx.run(
                "UPDATE deliveries SET state = 'cancelled', settled_at = ?2
                 WHERE outbox_id = ?1 AND state IN ('queued', 'deferred', 'uncertain')",
                (outbox, tx.now),
            )?;
            let held = tx.run(
                "UPDATE outbox SET state = 'cancelled', why = ?2 WHERE id = ?1 AND state = 'held'",
                (outbox, format!("cancelled by {by}")),
            )?;
            if deliveries + held == 0 {
                return Err(nothing_to(tx, outbox, "cancel")?);
            }
            if held > 0 {
                super::review::close_draft(tx, outbox, "rejected", &by, "cancelled")?;
            }
            tx.audit(&by, "outbox.cancel", &outbox.to_string(), "")
        })
        .await
    }
}

/// Says what state an outbox row is in, for an operation it does not fit.
fn nothing_to(tx: &Tx<'_>, outbox: OutboxId, verb: &str) -> Result<StoreError> {
    let state: Option<String> = tx.find(
        "SELECT CASE WHEN o.state = 'released'
                     THEN coalesce((SELECT group_concat(DISTINCT d.state) FROM deliveries d
                                    WHERE d.outbox_id = o.id), 'released')
                     ELSE o.state END
         FROM outbox o WHERE o.id = ?1",
        (outbox,),
        |row| row.get(0),
    )?;
    Ok(match state {
        None => StoreError::NotFound(format!("there is no outgoing mail {outbox}")),
        Some(state) => {
            StoreError::Conflict(format!("there is nothing to {verb}: mail {outbox} is {state}"))
        }
    })
}

fn claim(tx: &Tx<'_>, delivery: DeliveryId) -> Result<Claimed> {
    let (outbox, recipient, attempt): (OutboxId, String, u32) = tx.row(
        "UPDATE deliveries SET state = 'sending', attempts = attempts + 1, started_at = NULL
         WHERE id = ?1 RETURNING outbox_id, recipient, attempts",
        (delivery,),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    Ok(Claimed { delivery, recipient, attempt, mail: load(tx, outbox)? })
}

fn load(tx: &Tx<'_>, outbox: OutboxId) -> Result<OutgoingMail> {
    let (mut mail, message, to, cc, refs) = tx
        .conn
        .prepare_cached(
            "SELECT o.id, o.agent_id, o.conversation_id, o.reference, o.from_address,
                    o.to_list, o.cc_list, o.subject, m.text, o.html, o.in_reply_to, o.refs,
                    o.answers IS NOT NULL, o.automatic, o.released_at, o.rendered, o.message_id, o.decides
             FROM outbox o JOIN messages m ON m.id = o.message_id
             WHERE o.id = ?1",
        )?
        .query_row((outbox,), |row| {
            let (to, cc, refs): (String, String, String) = (row.get(5)?, row.get(6)?, row.get(11)?);
            let conversation = row.get(2)?;
            let mail = OutgoingMail {
                outbox: row.get(0)?,
                agent: row.get(1)?,
                conversation,
                reference: row.get(3)?,
                thread: tx.threads.name(conversation),
                from: row.get(4)?,
                to: Vec::new(),
                cc: Vec::new(),
                subject: row.get(7)?,
                text: row.get(8)?,
                html: row.get(9)?,
                attachments: Vec::new(),
                in_reply_to: row.get(10)?,
                references: Vec::new(),
                is_reply: row.get(12)?,
                decides: row.get(17)?,
                automatic: row.get(13)?,
                released_at: timestamp(row.get(14)?),
                rendered: row.get(15)?,
            };
            let message: MessageId = row.get(16)?;
            Ok((mail, message, to, cc, refs))
        })
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("there is no outgoing mail {outbox}")))?;
    mail.to = serde_json::from_str(&to)?;
    mail.cc = serde_json::from_str(&cc)?;
    mail.references = serde_json::from_str(&refs)?;
    let mut query = tx.conn.prepare_cached(
        "SELECT name, media_type, blob FROM attachments WHERE message_id = ?1 ORDER BY part",
    )?;
    mail.attachments = query
        .query_map((message,), |row| {
            Ok(RenderedPart { name: row.get(0)?, media_type: row.get(1)?, content: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(mail)
}
