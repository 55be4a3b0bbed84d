//! What people do to conversations without saying anything: archive, trash, snooze, assign, star, label,
//! read. Every change can be taken back once.

use super::{Lane, Result, Sight, Store, StoreError, Tx, effects, timestamp};
use crate::{ConversationId, MessageId, UndoId, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

/// Conversations changed at once, at most.
pub const TRIAGED_MAX: usize = 500;

/// How long a change can be taken back: a day, in milliseconds.
const UNDO_LASTS: i64 = 24 * 60 * 60 * 1000;

/// What becomes of conversations. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trashed: Option<bool>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub snoozed_until: Option<Option<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub assignee: Option<Option<UserId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starred: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
    /// `open` or `waiting`. Fails while something in it waits for a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_labels: Vec<String>,
}

/// Tells a null from what is left out.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// What people made of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    pub archived_at: Option<Timestamp>,
    pub trashed_at: Option<Timestamp>,
    pub snoozed_until: Option<Timestamp>,
    pub assignee: Option<String>,
    pub starred: bool,
    pub unread: bool,
    pub labels: Vec<String>,
}

/// A conversation as it was, for taking a change back.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    id: ConversationId,
    archived_at: Option<i64>,
    trashed_at: Option<i64>,
    snoozed_until: Option<i64>,
    assignee: Option<UserId>,
    starred: bool,
    unread: bool,
    queue: String,
    review_why: String,
    labels: Vec<String>,
    /// What was changed: only that goes back.
    change: Triage,
}

impl Store {
    /// Changes conversations, all of them or none. Answers what takes the change back.
    pub async fn triage(
        &self,
        sight: Sight,
        conversations: Vec<ConversationId>,
        change: Triage,
        by: String,
    ) -> Result<UndoId> {
        self.write(Lane::Turn, move |tx| {
            let mut before = Vec::new();
            for &id in &conversations {
                let was = load(tx, &sight, id, &change)?;
                apply(tx, id, &change)?;
                tx.audit(
                    &by,
                    "conversation.update",
                    &id.to_string(),
                    &serde_json::to_string(&change)?,
                )?;
                before.push(was);
            }
            tx.run("DELETE FROM undos WHERE created_at < ?1", (tx.now - UNDO_LASTS,))?;
            Ok(UndoId(tx.insert(
                "INSERT INTO undos (actor, before, created_at) VALUES (?1, ?2, ?3)",
                (&by, serde_json::to_string(&before)?, tx.now),
            )?))
        })
        .await
    }

    /// Takes a change back that the same person made. Answers the conversations.
    pub async fn undo(&self, undo: UndoId, by: String) -> Result<Vec<ConversationId>> {
        self.write(Lane::Turn, move |tx| {
            let before: Option<String> = tx.find(
                "DELETE FROM undos WHERE id = ?1 AND actor = ?2 AND created_at >= ?3 RETURNING before",
                (undo, &by, tx.now - UNDO_LASTS),
                |row| row.get(0),
            )?;
            let before = before.ok_or_else(|| {
                StoreError::NotFound(format!("there is nothing of yours to take back under {undo}"))
            })?;
            let before: Vec<Before> = serde_json::from_str(&before)?;
            let ids = before.iter().map(|was| was.id).collect();
            for was in before {
                restore(tx, &was)?;
                tx.audit(&by, "conversation.undo", &was.id.to_string(), "")?;
            }
            Ok(ids)
        })
        .await
    }

    /// Writes a note into a conversation, which nobody outside ever sees.
    pub async fn add_note(
        &self,
        conversation: ConversationId,
        text: String,
        by: String,
    ) -> Result<MessageId> {
        self.write(Lane::Turn, move |tx| {
            let instance = super::accept::instance_of(tx, conversation)?;
            let message = effects::note(tx, conversation, instance, &by, &text)?;
            tx.audit(&by, "note.create", &message.to_string(), "")?;
            Ok(message)
        })
        .await
    }

    /// Labels in use with the number of conversations in sight, by name.
    pub async fn labels(
        &self,
        sight: Sight,
        after: String,
        limit: usize,
    ) -> Result<Vec<(String, u64)>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT l.label, count(*) FROM conversation_labels l
                 JOIN conversations c ON c.id = l.conversation_id
                 WHERE l.label > ?2
                   AND (?1 IS NULL OR c.agent_id IN (SELECT value FROM json_each(?1)))
                 GROUP BY l.label ORDER BY l.label LIMIT ?3",
            )?;
            let rows = query.query_map((&sight, after, limit), |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Brings conversations back whose snooze is over. Answers how many.
    pub async fn wake_snoozed(&self) -> Result<usize> {
        self.write(Lane::Turn, |tx| {
            tx.run(
                "UPDATE conversations SET snoozed_until = NULL, unread = 1
                 WHERE id IN (SELECT id FROM conversations INDEXED BY conversations_snoozed
                              WHERE snoozed_until IS NOT NULL AND snoozed_until <= ?1 LIMIT 200)",
                (tx.now,),
            )
        })
        .await
    }

    /// When the next snooze is over.
    pub async fn next_snoozed(&self) -> Result<Option<Timestamp>> {
        self.read_async(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT min(snoozed_until) FROM conversations INDEXED BY conversations_snoozed
                     WHERE snoozed_until IS NOT NULL",
                )?
                .query_row((), |row| row.get::<_, Option<i64>>(0))?
                .map(timestamp))
        })
        .await
    }
}

fn load(tx: &Tx<'_>, sight: &Sight, id: ConversationId, change: &Triage) -> Result<Before> {
    let was = tx.find(
        "SELECT archived_at, trashed_at, snoozed_until, assignee_id, starred, unread, queue, review_why
         FROM conversations
         WHERE id = ?2 AND (?1 IS NULL OR agent_id IN (SELECT value FROM json_each(?1)))",
        (sight, id),
        |row| {
            Ok(Before {
                id,
                archived_at: row.get(0)?,
                trashed_at: row.get(1)?,
                snoozed_until: row.get(2)?,
                assignee: row.get(3)?,
                starred: row.get(4)?,
                unread: row.get(5)?,
                queue: row.get(6)?,
                review_why: row.get(7)?,
                labels: Vec::new(),
                change: change.clone(),
            })
        },
    )?;
    let mut was =
        was.ok_or_else(|| StoreError::NotFound(format!("there is no conversation {id}")))?;
    was.labels = labels(tx.conn, id)?;
    Ok(was)
}

fn apply(tx: &Tx<'_>, id: ConversationId, change: &Triage) -> Result<()> {
    let at = |wanted: bool| wanted.then_some(tx.now);
    if let Some(archived) = change.archived {
        tx.run("UPDATE conversations SET archived_at = ?2 WHERE id = ?1", (id, at(archived)))?;
    }
    if let Some(trashed) = change.trashed {
        tx.run("UPDATE conversations SET trashed_at = ?2 WHERE id = ?1", (id, at(trashed)))?;
    }
    if let Some(until) = change.snoozed_until {
        tx.run("UPDATE conversations SET snoozed_until = ?2 WHERE id = ?1", (id, until))?;
    }
    if let Some(assignee) = change.assignee {
        set_assignee(tx, id, assignee)?;
    }
    if let Some(starred) = change.starred {
        tx.run("UPDATE conversations SET starred = ?2 WHERE id = ?1", (id, starred))?;
    }
    if let Some(unread) = change.unread {
        tx.run("UPDATE conversations SET unread = ?2 WHERE id = ?1", (id, unread))?;
    }
    if let Some(queue) = &change.queue {
        let waits = tx.find(
            "SELECT 1 FROM approvals WHERE conversation_id = ?1 AND state = 'pending'",
            (id,),
            |_| Ok(()),
        )?;
        if waits.is_some() {
            return Err(StoreError::Conflict(format!(
                "something in conversation {id} waits to be approved or rejected"
            )));
        }
        tx.run("UPDATE conversations SET queue = ?2, review_why = '' WHERE id = ?1", (id, queue))?;
    }
    for label in &change.remove_labels {
        tx.run(
            "DELETE FROM conversation_labels WHERE conversation_id = ?1 AND label = ?2",
            (id, label),
        )?;
    }
    for label in &change.add_labels {
        add_label(tx, id, label)?;
    }
    Ok(())
}

fn set_assignee(tx: &Tx<'_>, id: ConversationId, assignee: Option<UserId>) -> Result<()> {
    if let Some(user) = assignee {
        let known = tx.find("SELECT 1 FROM users WHERE id = ?1", (user,), |_| Ok(()))?;
        known.ok_or_else(|| StoreError::NotFound(format!("there is no user {user}")))?;
    }
    tx.run("UPDATE conversations SET assignee_id = ?2 WHERE id = ?1", (id, assignee))?;
    Ok(())
}

pub(super) fn add_label(tx: &Tx<'_>, id: ConversationId, label: &str) -> Result<()> {
    tx.run(
        "INSERT OR IGNORE INTO conversation_labels (conversation_id, label) VALUES (?1, ?2)",
        (id, label),
    )?;
    Ok(())
}

/// Puts back what a change touched, and leaves what happened otherwise since.
fn restore(tx: &Tx<'_>, was: &Before) -> Result<()> {
    let id = was.id;
    let set = |column: &str, value: &dyn rusqlite::ToSql| {
        tx.run(&format!("UPDATE conversations SET {column} = ?2 WHERE id = ?1"), (id, value))
    };
    let change = &was.change;
    if change.archived.is_some() {
        set("archived_at", &was.archived_at)?;
    }
    if change.trashed.is_some() {
        set("trashed_at", &was.trashed_at)?;
    }
    if change.snoozed_until.is_some() {
        set("snoozed_until", &was.snoozed_until)?;
    }
    if change.assignee.is_some() {
        // Whoever it was may be gone since.
        let there = match was.assignee {
            Some(user) => {
                tx.find("SELECT id FROM users WHERE id = ?1", (user,), |row| row.get(0))?
            }
            None => None,
        };
        set_assignee(tx, id, there)?;
    }
    if change.starred.is_some() {
        set("starred", &was.starred)?;
    }
    if change.unread.is_some() {
        set("unread", &was.unread)?;
    }
    if change.queue.is_some() {
        tx.run(
            "UPDATE conversations SET queue = ?2, review_why = ?3 WHERE id = ?1 AND queue = ?4",
            (id, &was.queue, &was.review_why, &change.queue),
        )?;
    }
    for label in change.add_labels.iter().chain(&change.remove_labels) {
        if was.labels.contains(label) {
            add_label(tx, id, label)?;
        } else {
            tx.run(
                "DELETE FROM conversation_labels WHERE conversation_id = ?1 AND label = ?2",
                (id, label),
            )?;
        }
    }
    Ok(())
}

pub(super) fn labels(conn: &Connection, id: ConversationId) -> Result<Vec<String>> {
    Ok(conn
        .prepare_cached(
            "SELECT label FROM conversation_labels WHERE conversation_id = ?1 ORDER BY label",
        )?
        .query_map((id,), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// What people made of a conversation.
pub(super) fn handling(conn: &Connection, id: ConversationId) -> Result<Handling> {
    let found = conn
        .prepare_cached(
            "SELECT c.archived_at, c.trashed_at, c.snoozed_until, u.name, c.starred, c.unread
             FROM conversations c LEFT JOIN users u ON u.id = c.assignee_id WHERE c.id = ?1",
        )?
        .query_row((id,), |row| {
            let time = |i| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(i)?.map(timestamp));
            Ok(Handling {
                archived_at: time(0)?,
                trashed_at: time(1)?,
                snoozed_until: time(2)?,
                assignee: row.get(3)?,
                starred: row.get(4)?,
                unread: row.get(5)?,
                labels: Vec::new(),
            })
        })
        .optional()?;
    let mut handling = found.unwrap_or_default();
    handling.labels = labels(conn, id)?;
    Ok(handling)
}
