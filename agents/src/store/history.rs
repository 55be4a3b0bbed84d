//! Reading: conversations, timelines, the outbox and the review queue, as people see them.
//!
//! Lists go newest first and page by a cursor made of what they are sorted by, so that a page costs
//! the same wherever it lies.

use super::{CallSummary, Result, Store, StoreError, calls, handle, timestamp};
use crate::{
    ApprovalId, BlobId, CallId, ConversationId, DeliveryId, InstanceId, MessageId, OutboxId,
    TaskId,
    live::{Origin, Outcome, Speaker, Via},
    mail::Attachment,
    turn::Foreign,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;

/// One line of a list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConversationSummary {
    pub id: ConversationId,
    pub agent: String,
    pub instance: InstanceId,
    /// The key of the instance, such as `contact:12`.
    pub instance_key: String,
    pub subject: String,
    pub channel: String,
    /// `open`, `needs_review`, …
    pub queue: String,
    /// Why it needs review, if it does.
    pub review_why: String,
    /// What was proven about the sender of the newest received mail.
    pub verdict: Option<String>,
    /// Who else is in it.
    pub people: Vec<String>,
    pub messages: u32,
    /// The beginning of the newest message.
    pub snippet: String,
    pub linked_to: Option<ConversationId>,
    pub last_message_at: Timestamp,
}

/// A page of a list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConversationPage {
    pub items: Vec<ConversationSummary>,
    /// Pass it on to get the next page.
    pub next: Option<String>,
}

/// One entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConversationEntry {
    pub id: MessageId,
    pub parent: Option<MessageId>,
    pub channel: String,
    pub role: String,
    pub author: String,
    pub text: String,
    pub status: String,
    pub status_why: String,
    pub at: Timestamp,
    /// The received mail behind it, if there is one.
    pub mail: Option<EntryMail>,
    /// What became of it on its way out, if it is ours.
    pub outgoing: Option<EntryDelivery>,
    pub attachments: Vec<Attachment>,
    /// How it was said, if it was said in a call.
    pub spoken: Option<EntrySpoken>,
    /// The call that ended here, if this entry stands for the end of one.
    pub call: Option<CallSummary>,
}

/// How something was said in a call. Offsets are bytes of the entry's text: up to `heard` it was heard,
/// and what is beyond `sent` was never on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntrySpoken {
    pub call: CallId,
    pub speaker: Speaker,
    pub origin: Origin,
    pub via: Option<Via>,
    pub turn: Option<u32>,
    pub generation: Option<u32>,
    /// When it began, from the start of the call.
    pub at_ms: i64,
    pub sent: u64,
    pub heard: u64,
    pub outcome: Outcome,
}

/// What is known of a received mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryMail {
    pub from: String,
    pub from_name: Option<String>,
    pub to: String,
    pub subject: String,
    pub message_id: Option<String>,
    pub verdict: String,
    pub evidence: serde_json::Value,
    pub automatic: Option<String>,
    pub flags: Vec<String>,
    /// The layers of the text (new, quoted, signature, …), where there is more than new text.
    pub layers: Option<serde_json::Value>,
    /// Size of the raw message in bytes.
    pub size: u64,
}

/// What became of an outgoing mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryDelivery {
    pub outbox: OutboxId,
    pub subject: String,
    /// `held`, `released` or `cancelled`.
    pub state: String,
    pub why: String,
    pub automatic: bool,
    /// The pending review, if it waits for one.
    pub review: Option<ApprovalId>,
    pub deliveries: Vec<DeliverySummary>,
}

/// One recipient's delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliverySummary {
    pub id: DeliveryId,
    pub recipient: String,
    pub state: String,
    pub attempts: u32,
    /// The peer's words, or ours.
    pub response: String,
    pub next_at: Option<Timestamp>,
}

/// One line of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxItem {
    pub id: OutboxId,
    pub agent: String,
    pub conversation: ConversationId,
    pub message: MessageId,
    pub to: Vec<String>,
    pub subject: String,
    /// `held`, `cancelled`, or the states of its deliveries.
    pub state: String,
    pub why: String,
    pub created_at: Timestamp,
    pub deliveries: Vec<DeliverySummary>,
}

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingReview {
    pub id: ApprovalId,
    /// `draft` wants to leave; `message` wants in; `tool` wants to be called.
    pub kind: String,
    pub agent: String,
    pub conversation: ConversationId,
    pub message: MessageId,
    pub subject: String,
    pub author: String,
    pub text: String,
    pub why: String,
    /// The call, if it is one.
    pub call: Option<PendingCall>,
    /// Text nobody vouches for that was before the model.
    pub foreign: Vec<Foreign>,
    /// Whom a draft would go to, Cc included.
    pub recipients: Vec<String>,
    /// When a draft would leave, if not at once.
    pub send_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A call that waits for a person: exactly what will happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingCall {
    pub turn: TaskId,
    pub tool: String,
    /// In canonical JSON.
    pub arguments: String,
    pub expires_at: Timestamp,
}

/// An agent with its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentSummary {
    pub name: String,
    pub kind: String,
    pub instances: u64,
    pub conversations: u64,
    pub waiting_events: u64,
    pub dead_letters: u64,
    /// Drafts and messages that wait for a person.
    pub needs_review: u64,
}

/// A received message byte for byte, and what we noted when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMail {
    /// Our Received and Authentication-Results lines.
    pub prelude: String,
    /// `None` for mail that is not received but ours and not rendered yet.
    pub blob: Option<BlobId>,
}

/// What [`summary`] reads, of conversations `c`.
pub(super) const SUMMARY: &str = "
    SELECT c.id, a.name, c.instance_id, i.key, c.subject, c.channel, c.queue,
           c.review_why, c.linked_to, c.last_message_at,
           (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id),
           (SELECT substr(m.text, 1, 160) FROM messages m
            WHERE m.conversation_id = c.id ORDER BY m.id DESC LIMIT 1),
           (SELECT l.verdict FROM messages m JOIN mails l ON l.message_id = m.id
            WHERE m.conversation_id = c.id ORDER BY m.id DESC LIMIT 1)
    FROM conversations c JOIN agents a ON a.id = c.agent_id JOIN instances i ON i.id = c.instance_id
";

/// The longest page anybody gets.
const PAGE_MAX: usize = 200;

impl Store {
    /// Conversations, newest first, of one queue and one agent or of all.
    pub async fn conversations(
        &self,
        queue: Option<String>,
        agent: Option<String>,
        limit: usize,
        cursor: Option<String>,
    ) -> Result<ConversationPage> {
        let limit = limit.clamp(1, PAGE_MAX);
        let (before_at, before_id) = parse_cursor(cursor.as_deref())?;
        self.read_async(move |conn| {
            // Written out per case, so that each finds its index.
            let of_queue = match queue.as_deref() {
                None => "",
                Some("open") => "AND c.queue = ?3",
                Some(_) => "AND c.queue = ?3 AND c.queue <> 'open'",
            };
            let of_agent = match agent {
                None => "",
                Some(_) => "AND c.agent_id = (SELECT id FROM agents WHERE name = ?4)",
            };
            let mut query = conn.prepare_cached(&format!(
                "{SUMMARY}
                 WHERE (c.last_message_at, c.id) < (?1, ?2) {of_queue} {of_agent}
                 ORDER BY c.last_message_at DESC, c.id DESC LIMIT ?5"
            ))?;
            let mut items = query
                .query_map((before_at, before_id, &queue, &agent, limit + 1), summary)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let next = (items.len() > limit).then(|| {
                items.truncate(limit);
                items
                    .last()
                    .map(|last| format!("{}.{}", last.last_message_at.as_millisecond(), last.id))
            });
            for item in &mut items {
                item.people = people(conn, item.id)?;
            }
            Ok(ConversationPage { items, next: next.flatten() })
        })
        .await
    }

    /// One conversation with its timeline, oldest first.
    pub async fn conversation(
        &self,
        id: ConversationId,
    ) -> Result<(ConversationSummary, Vec<ConversationEntry>)> {
        self.read_async(move |conn| {
            let mut summary = conn
                .prepare_cached(
                    "SELECT c.id, a.name, c.instance_id, i.key, c.subject, c.channel, c.queue,
                            c.review_why, c.linked_to, c.last_message_at,
                            (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id), '',
                            (SELECT l.verdict FROM messages m JOIN mails l ON l.message_id = m.id
                             WHERE m.conversation_id = c.id ORDER BY m.id DESC LIMIT 1)
                     FROM conversations c JOIN agents a ON a.id = c.agent_id
                     JOIN instances i ON i.id = c.instance_id WHERE c.id = ?1",
                )?
                .query_row((id,), summary)
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no conversation {id}")))?;
            summary.people = people(conn, id)?;
            Ok((summary, timeline(conn, id, MessageId(i64::MAX), ALL)?))
        })
        .await
    }

    /// Which conversation a message belongs to.
    pub async fn conversation_of(&self, message: MessageId) -> Result<ConversationId> {
        self.read_async(move |conn| {
            conn.prepare_cached("SELECT conversation_id FROM messages WHERE id = ?1")?
                .query_row((message,), |row| row.get(0))
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no message {message}")))
        })
        .await
    }

    /// What waits for a person, oldest first.
    pub async fn pending_reviews(
        &self,
        conversation: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<PendingReview>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {REVIEW}
                 WHERE p.state = 'pending' AND (?1 IS NULL OR p.conversation_id = ?1)
                 ORDER BY p.id LIMIT ?2"
            ))?;
            let rows = query.query_map((conversation, limit.clamp(1, PAGE_MAX)), review)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Outgoing mail, newest first, of one state or of all.
    pub async fn outbox(
        &self,
        state: Option<String>,
        limit: usize,
        before: Option<OutboxId>,
    ) -> Result<Vec<OutboxItem>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT o.id, a.name, o.conversation_id, o.message_id, o.to_list, o.subject, o.state,
                        o.why, o.created_at
                 FROM outbox o JOIN agents a ON a.id = o.agent_id
                 WHERE o.id < ?1
                   AND (?2 IS NULL OR o.state = ?2
                        OR EXISTS (SELECT 1 FROM deliveries d WHERE d.outbox_id = o.id AND d.state = ?2))
                 ORDER BY o.id DESC LIMIT ?3",
            )?;
            let before = before.map_or(i64::MAX, |id| id.0);
            let mut rows = query.query((before, &state, limit.clamp(1, PAGE_MAX)))?;
            let mut items = Vec::new();
            while let Some(row) = rows.next()? {
                let id: OutboxId = row.get(0)?;
                let deliveries = deliveries(conn, id)?;
                let mut state: String = row.get(6)?;
                if state == "released" {
                    let mut states: Vec<&str> =
                        deliveries.iter().map(|d| d.state.as_str()).collect();
                    states.sort_unstable();
                    states.dedup();
                    state = states.join(", ");
                }
                items.push(OutboxItem {
                    id,
                    agent: row.get(1)?,
                    conversation: row.get(2)?,
                    message: row.get(3)?,
                    to: list(row, 4)?,
                    subject: row.get(5)?,
                    state,
                    why: row.get(7)?,
                    created_at: timestamp(row.get(8)?),
                    deliveries,
                });
            }
            Ok(items)
        })
        .await
    }

    /// All agents with their numbers.
    pub async fn agents(&self) -> Result<Vec<AgentSummary>> {
        self.read_async(|conn| {
            let mut query = conn.prepare_cached(
// CROSS JOIN: what waits is looked at first. The planner would go through all instances.
                "WITH waiting AS (
                     SELECT i.agent_id, sum(e.state = 'ready') AS ready, sum(e.state = 'dead') AS dead
                     FROM events e CROSS JOIN instances i ON i.id = e.instance_id
                     GROUP BY i.agent_id),
                 review AS (
                     SELECT c.agent_id, count(*) AS pending
                     FROM approvals p CROSS JOIN conversations c ON c.id = p.conversation_id
                     WHERE p.state = 'pending' GROUP BY c.agent_id)
                 SELECT a.name, a.kind, a.instances, a.conversations,
                        coalesce(w.ready, 0), coalesce(w.dead, 0), coalesce(r.pending, 0)
                 FROM agents a LEFT JOIN waiting w ON w.agent_id = a.id
                 LEFT JOIN review r ON r.agent_id = a.id ORDER BY a.name",
            )?;
            let rows = query.query_map((), |row| {
                let count = |i| row.get::<_, i64>(i).map(i64::cast_unsigned);
                Ok(AgentSummary {
                    name: row.get(0)?,
                    kind: row.get(1)?,
                    instances: count(2)?,
                    conversations: count(3)?,
                    waiting_events: count(4)?,
                    dead_letters: count(5)?,
                    needs_review: count(6)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The outbox row of a message of ours.
    pub async fn outbox_of(&self, message: MessageId) -> Result<OutboxId> {
        self.read_async(move |conn| {
            conn.prepare_cached("SELECT id FROM outbox WHERE message_id = ?1")?
                .query_row((message,), |row| row.get(0))
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("message {message} is not ours")))
        })
        .await
    }

    /// What waits for a person about a message, if something does.
    pub async fn review_of(&self, message: MessageId) -> Result<Option<ApprovalId>> {
        self.read_async(move |conn| {
            let pending = "SELECT id FROM approvals WHERE message_id = ?1 AND state = 'pending'
                           ORDER BY id LIMIT 1";
            let mut query = conn.prepare_cached(pending)?;
            Ok(query.query_row((message,), |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Where the bytes of a message are.
    pub async fn raw_mail(&self, message: MessageId) -> Result<RawMail> {
        self.read_async(move |conn| {
            conn.prepare_cached(
                "SELECT coalesce(l.prelude, ''), coalesce(l.raw, o.rendered)
                 FROM messages m LEFT JOIN mails l ON l.message_id = m.id
                 LEFT JOIN outbox o ON o.message_id = m.id
                 WHERE m.id = ?1 AND (l.message_id IS NOT NULL OR o.id IS NOT NULL)",
            )?
            .query_row((message,), |row| Ok(RawMail { prelude: row.get(0)?, blob: row.get(1)? }))
            .optional()?
            .ok_or_else(|| StoreError::NotFound(format!("message {message} is not a mail")))
        })
        .await
    }

    /// Messages that are mails, by id, for export: pass the last id seen.
    pub async fn mails_after(
        &self,
        after: MessageId,
        limit: usize,
    ) -> Result<Vec<(MessageId, String, Timestamp, RawMail)>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT m.id, coalesce(l.reverse_path, o.from_address), m.created_at,
                        coalesce(l.prelude, ''), coalesce(l.raw, o.rendered)
                 FROM messages m LEFT JOIN mails l ON l.message_id = m.id
                 LEFT JOIN outbox o ON o.message_id = m.id
                 WHERE m.id > ?1 AND coalesce(l.raw, o.rendered) IS NOT NULL
                 ORDER BY m.id LIMIT ?2",
            )?;
            let rows = query.query_map((after, limit), |row| {
                let raw = RawMail { prelude: row.get(3)?, blob: row.get(4)? };
                Ok((row.get(0)?, row.get(1)?, timestamp(row.get(2)?), raw))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The state of an instance as JSON, for people who look into an agent's memory.
    pub async fn instance_state(&self, instance: InstanceId) -> Result<serde_json::Value> {
        self.read_async(move |conn| {
            let state: String = conn
                .prepare_cached("SELECT state FROM instances WHERE id = ?1")?
                .query_row((instance,), |row| row.get(0))
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no instance {instance}")))?;
            if state.is_empty() {
                Ok(serde_json::Value::Null)
            } else {
                Ok(serde_json::from_str(&state)?)
            }
        })
        .await
    }

    /// How much waits: events ready, events dead, deliveries due or sending, reviews pending.
    pub async fn queue_depths(&self) -> Result<[u64; 4]> {
        self.read_async(|conn| {
            let count = |sql: &str| -> Result<u64> {
                Ok(conn
                    .prepare_cached(sql)?
                    .query_row((), |row| row.get::<_, i64>(0))?
                    .cast_unsigned())
            };
            Ok([
                count("SELECT count(*) FROM events WHERE state = 'ready'")?,
                count("SELECT count(*) FROM events WHERE state = 'dead'")?,
                count("SELECT count(*) FROM deliveries WHERE state IN ('queued', 'deferred', 'sending')")?,
                count("SELECT count(*) FROM approvals WHERE state = 'pending'")?,
            ])
        })
        .await
    }
}

pub(super) fn parse_cursor(cursor: Option<&str>) -> Result<(i64, i64)> {
    let Some(cursor) = cursor else { return Ok((i64::MAX, i64::MAX)) };
    cursor
        .split_once('.')
        .and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)))
        .ok_or_else(|| StoreError::Conflict(format!("{cursor:?} is not a cursor of this list")))
}

pub(super) fn summary(row: &Row<'_>) -> rusqlite::Result<ConversationSummary> {
    Ok(ConversationSummary {
        id: row.get(0)?,
        agent: row.get(1)?,
        instance: row.get(2)?,
        instance_key: row.get(3)?,
        subject: row.get(4)?,
        channel: row.get(5)?,
        queue: row.get(6)?,
        review_why: row.get(7)?,
        linked_to: row.get(8)?,
        last_message_at: timestamp(row.get(9)?),
        messages: row.get(10)?,
        snippet: row.get::<_, Option<String>>(11)?.unwrap_or_default(),
        verdict: row.get(12)?,
        people: Vec::new(),
    })
}

pub(super) fn people(conn: &Connection, conversation: ConversationId) -> Result<Vec<String>> {
    let mut query = conn.prepare_cached(
        "SELECT address FROM participants WHERE conversation_id = ?1 ORDER BY member DESC, address LIMIT 20",
    )?;
    Ok(query.query_map((conversation,), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn list(row: &Row<'_>, index: usize) -> Result<Vec<String>> {
    Ok(serde_json::from_str(row.get_ref(index)?.as_str().unwrap_or("[]"))?)
}

/// As many as there are.
pub(super) const ALL: usize = usize::MAX >> 1;

/// The newest entries before one, oldest first.
pub(super) fn timeline(
    conn: &Connection,
    conversation: ConversationId,
    before: MessageId,
    limit: usize,
) -> Result<Vec<ConversationEntry>> {
    let mut query = conn.prepare_cached(
        "SELECT m.id, m.parent_id, m.channel, m.role, m.author, m.text, m.status, m.status_why,
                m.created_at,
                l.from_address, l.from_name, l.recipient, l.subject, l.rfc_message_id, l.verdict,
                l.evidence, l.automatic, l.flags, l.layers, l.size,
                o.id, o.subject, o.state, o.why, o.automatic,
                (SELECT p.id FROM approvals p WHERE p.message_id = m.id AND p.state = 'pending'),
                s.call_id, s.speaker, s.origin, s.via, s.turn, s.generation, s.started_ms, s.sent,
                s.heard, s.outcome, k.id
         FROM messages m LEFT JOIN mails l ON l.message_id = m.id
         LEFT JOIN outbox o ON o.message_id = m.id
         LEFT JOIN spoken s ON s.message_id = m.id
         LEFT JOIN calls k ON k.end_message_id = m.id
         WHERE m.conversation_id = ?1 AND m.id < ?2 ORDER BY m.id DESC LIMIT ?3",
    )?;
    let mut rows = query.query((conversation, before, limit))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let id: MessageId = row.get(0)?;
        let mail = match row.get::<_, Option<String>>(9)? {
            None => None,
            Some(from) => Some(EntryMail {
                from,
                from_name: row.get(10)?,
                to: row.get(11)?,
                subject: row.get(12)?,
                message_id: row.get(13)?,
                verdict: row.get(14)?,
                evidence: serde_json::from_str(row.get_ref(15)?.as_str().unwrap_or("null"))?,
                automatic: row.get(16)?,
                flags: list(row, 17)?,
                layers: match row.get::<_, Option<String>>(18)? {
                    Some(layers) => Some(serde_json::from_str(&layers)?),
                    None => None,
                },
                size: row.get::<_, i64>(19)?.cast_unsigned(),
            }),
        };
        let outgoing = match row.get::<_, Option<OutboxId>>(20)? {
            None => None,
            Some(outbox) => Some(EntryDelivery {
                outbox,
                subject: row.get(21)?,
                state: row.get(22)?,
                why: row.get(23)?,
                automatic: row.get(24)?,
                review: row.get(25)?,
                deliveries: deliveries(conn, outbox)?,
            }),
        };
        let spoken = match row.get::<_, Option<CallId>>(26)? {
            None => None,
            Some(call) => Some(EntrySpoken {
                call,
                speaker: row.get(27)?,
                origin: row.get(28)?,
                via: row.get(29)?,
                turn: row.get(30)?,
                generation: row.get(31)?,
                at_ms: row.get(32)?,
                sent: row.get::<_, i64>(33)?.cast_unsigned(),
                heard: row.get::<_, i64>(34)?.cast_unsigned(),
                outcome: row.get(35)?,
            }),
        };
        let ended: Option<CallId> = row.get(36)?;
        entries.push(ConversationEntry {
            id,
            parent: row.get(1)?,
            channel: row.get(2)?,
            role: row.get(3)?,
            author: row.get(4)?,
            text: row.get(5)?,
            status: row.get(6)?,
            status_why: row.get(7)?,
            at: timestamp(row.get(8)?),
            mail,
            outgoing,
            attachments: handle::attachments(conn, id)?,
            spoken,
            call: ended.map(|call| calls::summary_of(conn, call)).transpose()?,
        });
    }
    entries.reverse();
    Ok(entries)
}

pub(super) fn deliveries(conn: &Connection, outbox: OutboxId) -> Result<Vec<DeliverySummary>> {
    let mut query = conn.prepare_cached(
        "SELECT id, recipient, state, attempts, response, next_at
         FROM deliveries WHERE outbox_id = ?1 ORDER BY id",
    )?;
    let rows = query.query_map((outbox,), |row| {
        let state: String = row.get(2)?;
        let waits = matches!(state.as_str(), "queued" | "deferred");
        Ok(DeliverySummary {
            id: row.get(0)?,
            recipient: row.get(1)?,
            next_at: if waits { Some(timestamp(row.get(5)?)) } else { None },
            state,
            attempts: row.get(3)?,
            response: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The columns of a review, for [`review`].
pub(super) const REVIEW: &str = "p.id, p.kind, a.name, p.conversation_id, p.message_id, c.subject,
    m.author, m.text, p.why, p.created_at, p.turn_id, p.tool, p.arguments, p.expires_at,
    coalesce(t.foreign_text, p.foreign_text), coalesce(o.to_list, '[]'), coalesce(o.cc_list, '[]'), o.send_at
    FROM approvals p JOIN conversations c ON c.id = p.conversation_id
    JOIN agents a ON a.id = c.agent_id JOIN messages m ON m.id = p.message_id
    LEFT JOIN tainted t ON t.message_id = p.message_id
    LEFT JOIN outbox o ON o.message_id = p.message_id";

pub(super) fn review(row: &Row<'_>) -> rusqlite::Result<PendingReview> {
    let (turn, expires_at): (Option<TaskId>, Option<i64>) = (row.get(10)?, row.get(13)?);
    let foreign: String = row.get(14)?;
    let call = match turn.zip(expires_at) {
        Some((turn, expires_at)) => Some(PendingCall {
            turn,
            tool: row.get(11)?,
            arguments: row.get(12)?,
            expires_at: timestamp(expires_at),
        }),
        None => None,
    };
    let (to, cc): (String, String) = (row.get(15)?, row.get(16)?);
    // Stored by us.
    let mut recipients: Vec<String> = serde_json::from_str(&to).unwrap_or_default();
    recipients.extend(serde_json::from_str::<Vec<String>>(&cc).unwrap_or_default());
    Ok(PendingReview {
        id: row.get(0)?,
        kind: row.get(1)?,
        agent: row.get(2)?,
        conversation: row.get(3)?,
        message: row.get(4)?,
        subject: row.get(5)?,
        author: row.get(6)?,
        text: row.get(7)?,
        why: row.get(8)?,
        call,
        foreign: serde_json::from_str(&foreign).unwrap_or_default(),
        recipients,
        send_at: row.get::<_, Option<i64>>(17)?.map(timestamp),
        created_at: timestamp(row.get(9)?),
    })
}
