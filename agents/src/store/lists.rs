//! Lists as the API shows them: filtered, counted, and only what is in sight.
//!
//! Newest first unless said otherwise, paged by what they are sorted by. Each answers one item more than
//! asked for where there is one, so that the caller knows whether there is a next page.

use super::{
    ConversationEntry, ConversationSummary, DeadLetter, OutboxItem, PendingReview, Result,
    ScheduleRow, SearchHit, Sight, Store, StoreError,
    history::{self, REVIEW, review},
    search, timestamp,
    triage::{self, Handling},
};
use crate::{AgentId, ApprovalId, ContactId, ConversationId, EventId, MessageId, OutboxId, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, ToSql};

/// A part of the inbox that people work through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Something waits for a person's decision, or an agent asked for one.
    NeedsReview,
    Open,
    /// Waits for the correspondent.
    Waiting,
    Snoozed,
    /// A mail is to leave later.
    Scheduled,
    /// Something of ours has left.
    Sent,
    /// Somebody has begun to write.
    Drafts,
    /// A message wants in.
    Quarantine,
    /// A mail did not arrive, or nobody knows.
    Failed,
    Starred,
    Archive,
    Trash,
    Calls,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 13] = [
        Self::NeedsReview,
        Self::Open,
        Self::Waiting,
        Self::Snoozed,
        Self::Scheduled,
        Self::Sent,
        Self::Drafts,
        Self::Quarantine,
        Self::Failed,
        Self::Starred,
        Self::Archive,
        Self::Trash,
        Self::Calls,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeedsReview => "needs_review",
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Snoozed => "snoozed",
            Self::Scheduled => "scheduled",
            Self::Sent => "sent",
            Self::Drafts => "drafts",
            Self::Quarantine => "quarantine",
            Self::Failed => "failed",
            Self::Starred => "starred",
            Self::Archive => "archive",
            Self::Trash => "trash",
            Self::Calls => "calls",
        }
    }

    /// The inverse of [`Queue::as_str`]; `review` is what people say for `needs_review`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = if text == "review" { "needs_review" } else { text };
        Self::ALL.into_iter().find(|queue| queue.as_str() == text)
    }

    /// The condition on `conversations c`. Parameter 2 is now.
    fn condition(self) -> &'static str {
        macro_rules! at_hand {
            ($queue:literal) => {
                concat!(
                    "c.queue = '",
                    $queue,
                    "' AND c.archived_at IS NULL AND c.trashed_at IS NULL
                     AND (c.snoozed_until IS NULL OR c.snoozed_until <= ?2)"
                )
            };
        }
        match self {
            Self::NeedsReview => at_hand!("needs_review"),
            Self::Open => at_hand!("open"),
            Self::Waiting => at_hand!("waiting"),
            Self::Snoozed => {
                "c.snoozed_until IS NOT NULL AND c.snoozed_until > ?2 AND c.trashed_at IS NULL"
            }
            Self::Scheduled => {
                "c.id IN (SELECT o.conversation_id
                          FROM deliveries d INDEXED BY deliveries_due JOIN outbox o ON o.id = d.outbox_id
                          WHERE d.state IN ('queued', 'deferred') AND d.next_at > ?2 AND d.attempts = 0)"
            }
            Self::Sent => "c.last_sent_at IS NOT NULL AND c.trashed_at IS NULL",
            Self::Drafts => {
                "c.id IN (SELECT conversation_id FROM drafts WHERE conversation_id IS NOT NULL)"
            }
            Self::Quarantine => {
                "c.id IN (SELECT conversation_id FROM approvals
                          WHERE state = 'pending' AND kind = 'message')"
            }
            Self::Failed => {
                "c.id IN (SELECT o.conversation_id
                          FROM deliveries d JOIN outbox o ON o.id = d.outbox_id
                          WHERE d.state IN ('bounced', 'failed', 'uncertain'))"
            }
            Self::Starred => "c.starred = 1 AND c.trashed_at IS NULL",
            Self::Archive => "c.archived_at IS NOT NULL AND c.trashed_at IS NULL",
            Self::Trash => "c.trashed_at IS NOT NULL",
            Self::Calls => "c.channel = 'call' AND c.trashed_at IS NULL",
        }
    }
}

/// Which conversations somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    pub queue: Option<Queue>,
    pub agent: Option<AgentId>,
    pub label: Option<String>,
    pub assignee: Option<UserId>,
    pub contact: Option<ContactId>,
    pub channel: Option<String>,
    pub unread: Option<bool>,
}

/// A line of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub summary: ConversationSummary,
    pub handling: Handling,
}

/// A file of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFile {
    pub name: String,
    pub media_type: String,
    /// The content of what we send. That of a received file is inside the raw message.
    pub blob: Option<crate::BlobId>,
}

const IN_SIGHT: &str = "(?1 IS NULL OR c.agent_id IN (SELECT value FROM json_each(?1)))";

impl Store {
    /// Conversations, those that moved last first.
    pub async fn list_conversations(
        &self,
        sight: Sight,
        filter: ConversationFilter,
        limit: usize,
        cursor: Option<String>,
    ) -> Result<Vec<Listed>> {
        let (at, id) = history::parse_cursor(cursor.as_deref())?;
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut params: Vec<&dyn ToSql> = vec![&sight, &now, &at, &id, &limit];
            // Every parameter has its number, whether a filter uses it or not.
            let mut conditions = vec![
                format!("?2 IS NOT NULL AND {IN_SIGHT}"),
                "(c.last_message_at, c.id) < (?3, ?4)".to_owned(),
            ];
            conditions.extend(filter.queue.map(|queue| queue.condition().to_owned()));
            let mut add = |sql: &str, value| {
                params.push(value);
                conditions.push(sql.replace("?x", &format!("?{}", params.len())));
            };
            if let Some(agent) = &filter.agent {
                add("c.agent_id = ?x", agent);
            }
            if let Some(label) = &filter.label {
                add("c.id IN (SELECT conversation_id FROM conversation_labels WHERE label = ?x)", label);
            }
            if let Some(assignee) = &filter.assignee {
                add("c.assignee_id = ?x", assignee);
            }
            if let Some(contact) = &filter.contact {
                add(
                    "c.id IN (SELECT v.id FROM instances n JOIN conversations v ON v.instance_id = n.id
                              WHERE n.contact_id = ?x
                              UNION SELECT p.conversation_id FROM handles h
                              JOIN participants p ON p.handle_id = h.id WHERE h.contact_id = ?x)",
                    contact,
                );
            }
            if let Some(channel) = &filter.channel {
                add("c.channel = ?x", channel);
            }
            if let Some(unread) = &filter.unread {
                add("c.unread = ?x", unread);
            }
            let mut query = conn.prepare_cached(&format!(
                "{} WHERE {} ORDER BY c.last_message_at DESC, c.id DESC LIMIT ?5",
                history::SUMMARY,
                conditions.join(" AND ")
            ))?;
            let items = query
                .query_map(params.as_slice(), history::summary)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            items.into_iter().map(|summary| listed(conn, summary)).collect()
        })
        .await
    }

    /// How many conversations are in each queue, and how many of them nobody has read.
    pub async fn count_conversations(
        &self,
        sight: Sight,
        agent: Option<AgentId>,
    ) -> Result<Vec<(Queue, u64, u64)>> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            Queue::ALL
                .into_iter()
                .map(|queue| {
                    let sql = format!(
                        "SELECT count(*), coalesce(sum(c.unread), 0) FROM conversations c
                         WHERE ?2 IS NOT NULL AND {IN_SIGHT} AND (?3 IS NULL OR c.agent_id = ?3)
                           AND {}",
                        queue.condition()
                    );
                    let counts: (i64, i64) = conn
                        .prepare_cached(&sql)?
                        .query_row((&sight, now, agent), |row| Ok((row.get(0)?, row.get(1)?)))?;
                    Ok((queue, counts.0.cast_unsigned(), counts.1.cast_unsigned()))
                })
                .collect()
        })
        .await
    }

    /// A conversation with its timeline, oldest first: the newest entries below a message, at most `limit`.
    pub async fn open_conversation(
        &self,
        sight: Sight,
        id: ConversationId,
    ) -> Result<(Listed, Vec<ConversationEntry>)> {
        self.look_into_conversation(sight, id, MessageId(i64::MAX), history::ALL).await
    }

    /// The same with only so many of its newest entries before one, oldest first.
    pub async fn look_into_conversation(
        &self,
        sight: Sight,
        id: ConversationId,
        before: MessageId,
        limit: usize,
    ) -> Result<(Listed, Vec<ConversationEntry>)> {
        self.read_async(move |conn| {
            let found = conn
                .prepare_cached(&format!("{} WHERE c.id = ?2 AND {IN_SIGHT}", history::SUMMARY))?
                .query_row((&sight, id), history::summary)
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no conversation {id}")))?;
            Ok((listed(conn, found)?, history::timeline(conn, id, before, limit)?))
        })
        .await
    }

    /// Messages in sight that contain all the words, newest first.
    pub async fn search_in_sight(
        &self,
        sight: Sight,
        words: &str,
        limit: usize,
        before: Option<MessageId>,
    ) -> Result<Vec<SearchHit>> {
        let expression = search::expression(words);
        if expression.is_empty() {
            return Ok(Vec::new());
        }
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "{} AND {IN_SIGHT} ORDER BY s.rowid DESC LIMIT ?4",
                search::HITS
            ))?;
            let before = before.map_or(i64::MAX, |id| id.0);
            let rows = query.query_map((&sight, expression, before, limit), search::hit)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// What waits for a person, oldest first, after a review.
    pub async fn list_reviews(
        &self,
        sight: Sight,
        conversation: Option<ConversationId>,
        after: ApprovalId,
        limit: usize,
    ) -> Result<Vec<PendingReview>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {REVIEW}
                 WHERE p.state = 'pending' AND p.id > ?2 AND {IN_SIGHT}
                   AND (?3 IS NULL OR p.conversation_id = ?3)
                 ORDER BY p.id LIMIT ?4"
            ))?;
            let rows = query.query_map((&sight, after, conversation, limit), review)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Outgoing mail, newest first, of one state or of all.
    pub async fn list_outbox(
        &self,
        sight: Sight,
        state: Option<String>,
        before: OutboxId,
        limit: usize,
    ) -> Result<Vec<OutboxItem>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT c.id FROM outbox c
                 WHERE c.id < ?2 AND {IN_SIGHT}
                   AND (?3 IS NULL OR c.state = ?3
                        OR EXISTS (SELECT 1 FROM deliveries d WHERE d.outbox_id = c.id AND d.state = ?3))
                 ORDER BY c.id DESC LIMIT ?4"
            ))?;
            let ids = query
                .query_map((&sight, before, &state, limit), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<OutboxId>>>()?;
            ids.into_iter().map(|id| outgoing(conn, id)).collect()
        })
        .await
    }

    /// One outgoing mail.
    pub async fn outgoing(&self, id: OutboxId) -> Result<OutboxItem> {
        self.read_async(move |conn| outgoing(conn, id)).await
    }

    /// A file of a message.
    pub async fn attachment(&self, message: MessageId, part: i64) -> Result<Option<MessageFile>> {
        self.read_async(move |conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT name, media_type, blob FROM attachments WHERE message_id = ?1 AND part = ?2",
                )?
                .query_row((message, part), |row| {
                    Ok(MessageFile {
                        name: row.get(0)?,
                        media_type: row.get(1)?,
                        blob: row.get(2)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    /// Events whose attempts are used up, newest first.
    pub async fn list_dead_letters(
        &self,
        sight: Sight,
        before: EventId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT e.id, a.name, e.instance_id, e.body, e.attempts, e.error, e.created_at
                 FROM events e JOIN instances i ON i.id = e.instance_id
                 JOIN agents a ON a.id = i.agent_id
                 WHERE e.state = 'dead' AND e.id < ?2
                   AND (?1 IS NULL OR i.agent_id IN (SELECT value FROM json_each(?1)))
                 ORDER BY e.id DESC LIMIT ?3",
            )?;
            let mut rows = query.query((&sight, before, limit))?;
            let mut letters = Vec::new();
            while let Some(row) = rows.next()? {
                letters.push(DeadLetter {
                    event: row.get(0)?,
                    agent: row.get(1)?,
                    instance: row.get(2)?,
                    body: serde_json::from_str(row.get_ref(3)?.as_str().unwrap_or_default())?,
                    attempts: row.get(4)?,
                    error: row.get(5)?,
                    created_at: timestamp(row.get(6)?),
                });
            }
            Ok(letters)
        })
        .await
    }

    /// Schedules, soonest first, after a time and id.
    pub async fn list_schedules(
        &self,
        sight: Sight,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<Vec<ScheduleRow>> {
        let (at, id) = match cursor {
            None => (i64::MIN, i64::MIN),
            Some(cursor) => history::parse_cursor(Some(&cursor))?,
        };
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT s.id, s.instance_id, a.name, s.name, s.spec, s.payload, s.next_at
                 FROM schedules s JOIN instances i ON i.id = s.instance_id
                 JOIN agents a ON a.id = i.agent_id
                 WHERE (s.next_at, s.id) > (?2, ?3)
                   AND (?1 IS NULL OR i.agent_id IN (SELECT value FROM json_each(?1)))
                 ORDER BY s.next_at, s.id LIMIT ?4",
            )?;
            let mut rows = query.query((&sight, at, id, limit))?;
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
}

fn listed(conn: &Connection, mut summary: ConversationSummary) -> Result<Listed> {
    summary.people = history::people(conn, summary.id)?;
    let handling = triage::handling(conn, summary.id)?;
    Ok(Listed { summary, handling })
}

fn outgoing(conn: &Connection, id: OutboxId) -> Result<OutboxItem> {
    let mut query = conn.prepare_cached(
        "SELECT o.id, a.name, o.conversation_id, o.message_id, o.to_list, o.subject, o.state, o.why,
                o.created_at
         FROM outbox o JOIN agents a ON a.id = o.agent_id WHERE o.id = ?1",
    )?;
    let mut rows = query.query((id,))?;
    let row = rows
        .next()?
        .ok_or_else(|| StoreError::NotFound(format!("there is no outgoing mail {id}")))?;
    let deliveries = history::deliveries(conn, id)?;
    let mut state: String = row.get(6)?;
    if state == "released" {
        let mut states: Vec<&str> = deliveries.iter().map(|d| d.state.as_str()).collect();
        states.sort_unstable();
        states.dedup();
        state = states.join(", ");
    }
    Ok(OutboxItem {
        id,
        agent: row.get(1)?,
        conversation: row.get(2)?,
        message: row.get(3)?,
        to: history::list(row, 4)?,
        subject: row.get(5)?,
        state,
        why: row.get(7)?,
        created_at: timestamp(row.get(8)?),
        deliveries,
    })
}

/// The cursor that goes on after this conversation.
pub fn conversation_cursor(listed: &Listed) -> String {
    format!("{}.{}", listed.summary.last_message_at.as_millisecond(), listed.summary.id)
}

/// The cursor that goes on after this schedule.
pub fn schedule_cursor(row: &ScheduleRow) -> String {
    let at: Timestamp = row.next_at;
    format!("{}.{}", at.as_millisecond(), row.id)
}
