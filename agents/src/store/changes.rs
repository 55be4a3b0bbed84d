//! What happened, for those who follow: a bounded feed in commit order, written by triggers.

use super::{Lane, Result, Sight, Store, timestamp};
use crate::ConversationId;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

/// Changes that stay for those who come back after a while: about a day of a busy installation.
pub const CHANGES_KEPT: i64 = 100_000;

/// A day in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Kinds of changes that webhooks can be told of.
pub const WEBHOOK_EVENTS: [&str; 6] = [
    "mail.received",
    "review.needed",
    "delivery.sent",
    "delivery.failed",
    "call.ended",
    "turn.finished",
];

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub id: i64,
    /// `mail.received`, `conversation.changed`, `review.needed`, …
    pub kind: String,
    pub conversation: Option<ConversationId>,
    pub agent: Option<String>,
    /// The id of the message, conversation, review, outgoing mail or delivery, by kind.
    pub subject: i64,
}

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: String,
}

impl Store {
    /// Marked as changed after every commit. True when the store is closed.
    pub fn commits(&self) -> watch::Receiver<bool> {
        self.0.wakes.commits.subscribe()
    }

    /// Changes in sight after one, oldest first, and the last one that was looked at, in sight or not.
    pub async fn changes(
        &self,
        sight: Sight,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<Change>, i64)> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT x.id, x.kind, x.conversation_id, a.name, x.subject_id,
                        ?1 IS NULL OR c.agent_id IN (SELECT value FROM json_each(?1))
                 FROM changes x LEFT JOIN conversations c ON c.id = x.conversation_id
                 LEFT JOIN agents a ON a.id = c.agent_id
                 WHERE x.id > ?2 ORDER BY x.id LIMIT ?3",
            )?;
            let mut rows = query.query((&sight, after, limit))?;
            let (mut changes, mut last) = (Vec::new(), after);
            while let Some(row) = rows.next()? {
                last = row.get(0)?;
                if row.get::<_, Option<bool>>(5)? == Some(true) {
                    changes.push(Change {
                        id: last,
                        kind: row.get(1)?,
                        conversation: row.get(2)?,
                        agent: row.get(3)?,
                        subject: row.get(4)?,
                    });
                }
            }
            Ok((changes, last))
        })
        .await
    }

    /// The first and the last change that are kept; both 0 where nothing has happened.
    pub async fn changes_kept(&self) -> Result<(i64, i64)> {
        self.read_async(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT coalesce((SELECT min(id) FROM changes), 0),
                            coalesce((SELECT max(id) FROM changes), 0)",
                )?
                .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
    }

    /// Whether there is something for [`Store::prune`].
    pub async fn has_old(&self) -> Result<bool> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT (SELECT coalesce(max(id) - min(id), 0) FROM changes) > ?1 + 1000
                         OR EXISTS (SELECT 1 FROM idempotency WHERE created_at < ?2)
                         OR (SELECT min(created_at) FROM webhook_deliveries
                             WHERE id = (SELECT min(id) FROM webhook_deliveries)) < ?3",
                )?
                .query_row((CHANGES_KEPT, now - DAY, now - 30 * DAY), |row| {
                    Ok(row.get::<_, Option<bool>>(0)? == Some(true))
                })?)
        })
        .await
    }

    /// Records what was done outside of the store.
    pub async fn note_audit(
        &self,
        actor: String,
        action: &'static str,
        subject: String,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| tx.audit(&actor, action, &subject, "")).await
    }

    /// Forgets old changes, old answers to repeated requests, and old webhook deliveries, some at a time.
    /// Answers whether there is more.
    pub async fn prune(&self) -> Result<bool> {
        self.write(Lane::Turn, |tx| {
            const SLICE: usize = 200;
            let changes = tx.run(
                "DELETE FROM changes WHERE id IN (
                     SELECT id FROM changes
                     WHERE id <= (SELECT max(id) FROM changes) - ?1 ORDER BY id LIMIT ?2)",
                (CHANGES_KEPT, SLICE),
            )?;
            let day_ago = tx.now - DAY;
            let answers = tx.run(
                "DELETE FROM idempotency WHERE (actor, key) IN (
                     SELECT actor, key FROM idempotency WHERE created_at < ?1
                     ORDER BY created_at LIMIT ?2)",
                (day_ago, SLICE),
            )?;
            let month_ago = tx.now - 30 * DAY;
            let deliveries = tx.run(
                "DELETE FROM webhook_deliveries WHERE id IN (
                     SELECT id FROM webhook_deliveries
                     WHERE id < (SELECT coalesce(min(id), 0) + ?2 FROM webhook_deliveries)
                       AND state <> 'queued' AND created_at < ?1)",
                (month_ago, SLICE),
            )?;
            Ok([changes, answers, deliveries].contains(&SLICE))
        })
        .await
    }

    /// The audit trail, newest first, below an entry: all of it, or of one actor, action or subject.
    pub async fn audit(
        &self,
        actor: Option<String>,
        action: Option<String>,
        subject: Option<String>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT id, at, actor, action, subject, detail FROM audit
                 WHERE id < ?4 AND (?1 IS NULL OR actor = ?1) AND (?2 IS NULL OR action = ?2)
                   AND (?3 IS NULL OR subject = ?3)
                 ORDER BY id DESC LIMIT ?5",
            )?;
            let rows = query.query_map((actor, action, subject, before, limit), |row| {
                Ok(AuditEntry {
                    id: row.get(0)?,
                    at: timestamp(row.get(1)?),
                    actor: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                    detail: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
