//! Mail that a person or program has begun to write. Nothing of it leaves before it is sent, through the
//! same gate as everything else.

use super::{
    Compose, Lane, Result, Sight, Store, StoreError, Tx, blobs, history, review, timestamp,
};
use crate::{
    AgentId, ConversationId, DraftId, MessageId,
    gate::Actor,
    mail::{Draft, DraftAttachment},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

/// What a draft says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftText {
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
}

/// A draft to be.
#[derive(Debug, Clone)]
pub struct NewDraft {
    pub agent: AgentId,
    pub conversation: Option<ConversationId>,
    pub answers: Option<MessageId>,
    pub text: DraftText,
}

/// A draft with everything but the content of its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftRow {
    pub id: DraftId,
    pub agent: String,
    pub conversation: Option<ConversationId>,
    pub answers: Option<MessageId>,
    pub author: String,
    pub text: DraftText,
    pub attachments: Vec<DraftFile>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A file of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftFile {
    pub part: i64,
    pub name: String,
    pub media_type: String,
    pub size: u64,
}

impl Store {
    /// Begins a draft.
    pub async fn create_draft(&self, draft: NewDraft, by: String) -> Result<DraftRow> {
        self.write(Lane::Turn, move |tx| {
            let text = &draft.text;
            let id = DraftId(tx.insert(
                "INSERT INTO drafts (agent_id, conversation_id, answers, author, to_list, cc_list, subject,
                                     text, html, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
                (
                    draft.agent,
                    draft.conversation,
                    draft.answers,
                    &by,
                    serde_json::to_string(&text.to)?,
                    serde_json::to_string(&text.cc)?,
                    &text.subject,
                    &text.text,
                    &text.html,
                    tx.now,
                ),
            )?);
            tx.audit(&by, "draft.create", &id.to_string(), "")?;
            load(tx.conn, id)
        })
        .await
    }

    /// Drafts in sight, those changed last first, below an id.
    pub async fn list_drafts(
        &self,
        sight: Sight,
        conversation: Option<ConversationId>,
        before: DraftId,
        limit: usize,
    ) -> Result<Vec<DraftRow>> {
        self.read_async(move |conn| {
            let ids = conn
                .prepare_cached(
                    "SELECT id FROM drafts
                     WHERE id < ?2 AND (?3 IS NULL OR conversation_id = ?3)
                       AND (?1 IS NULL OR agent_id IN (SELECT value FROM json_each(?1)))
                     ORDER BY id DESC LIMIT ?4",
                )?
                .query_map((&sight, before, conversation, limit), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<DraftId>>>()?;
            ids.into_iter().map(|id| load(conn, id)).collect()
        })
        .await
    }

    /// A draft.
    pub async fn draft(&self, id: DraftId) -> Result<DraftRow> {
        self.read_async(move |conn| load(conn, id)).await
    }

    /// Saves a draft, if nobody else has saved it since `version`.
    pub async fn save_draft(
        &self,
        id: DraftId,
        version: i64,
        text: DraftText,
        by: String,
    ) -> Result<DraftRow> {
        self.write(Lane::Turn, move |tx| {
            touch(tx, id, Some(version))?;
            tx.run(
                "UPDATE drafts SET to_list = ?2, cc_list = ?3, subject = ?4, text = ?5, html = ?6
                 WHERE id = ?1",
                (
                    id,
                    serde_json::to_string(&text.to)?,
                    serde_json::to_string(&text.cc)?,
                    &text.subject,
                    &text.text,
                    &text.html,
                ),
            )?;
            tx.audit(&by, "draft.update", &id.to_string(), "")?;
            load(tx.conn, id)
        })
        .await
    }

    /// Throws a draft away.
    pub async fn delete_draft(&self, id: DraftId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let gone = tx.run("DELETE FROM drafts WHERE id = ?1", (id,))?;
            if gone == 0 {
                return Err(none(id));
            }
            tx.audit(&by, "draft.delete", &id.to_string(), "")
        })
        .await
    }

    /// Adds a file to a draft.
    pub async fn attach_to_draft(
        &self,
        id: DraftId,
        file: DraftAttachment,
        by: String,
    ) -> Result<DraftRow> {
        let store = self.clone();
        let (file, blob) = tokio::task::spawn_blocking(move || {
            let blob = store.stage(&file.content);
            blob.map(|blob| (file, blob))
        })
        .await
        .unwrap_or(Err(StoreError::Closed))?;
        self.write(Lane::Turn, move |tx| {
            touch(tx, id, None)?;
            let blob = blobs::insert(tx, &blob)?;
            tx.run(
                "INSERT INTO draft_attachments (draft_id, part, name, media_type, size, blob)
                 VALUES (?1, (SELECT coalesce(max(part), -1) + 1 FROM draft_attachments
                              WHERE draft_id = ?1), ?2, ?3, ?4, ?5)",
                (id, &file.name, &file.media_type, file.content.len(), blob),
            )?;
            tx.audit(&by, "draft.attach", &id.to_string(), "")?;
            load(tx.conn, id)
        })
        .await
    }

    /// Takes a file out of a draft.
    pub async fn detach_from_draft(&self, id: DraftId, part: i64, by: String) -> Result<DraftRow> {
        self.write(Lane::Turn, move |tx| {
            touch(tx, id, None)?;
            let gone = tx.run(
                "DELETE FROM draft_attachments WHERE draft_id = ?1 AND part = ?2",
                (id, part),
            )?;
            if gone == 0 {
                return Err(StoreError::NotFound(format!("draft {id} has no attachment {part}")));
            }
            tx.audit(&by, "draft.detach", &id.to_string(), "")?;
            load(tx.conn, id)
        })
        .await
    }

    /// Sends a draft, if nobody else has saved it since `version`: it is gone when the mail is there.
    /// Answers as [`Store::compose`] does.
    pub async fn send_draft(
        &self,
        id: DraftId,
        version: i64,
        actor: Actor,
        at: Option<Timestamp>,
    ) -> Result<(MessageId, Option<String>)> {
        // Blobs are read outside of the writer; the version says that they are still the right ones.
        let attachments = self.draft_contents(id).await?;
        let rules = self.rules();
        self.write(Lane::Turn, move |tx| {
            touch(tx, id, Some(version))?;
            let row = load(tx.conn, id)?;
            let agent =
                tx.row("SELECT agent_id FROM drafts WHERE id = ?1", (id,), |row| row.get(0))?;
            let compose = Compose {
                agent,
                conversation: row.conversation,
                answers: row.answers,
                to: row.text.to,
                draft: Draft {
                    subject: row.text.subject,
                    text: row.text.text,
                    html: row.text.html,
                    attachments: attachments.clone(),
                    cc: row.text.cc,
                    ..Draft::default()
                },
            };
            let posted = review::post(tx, &rules, actor.clone(), &compose, at)?;
            tx.run("DELETE FROM drafts WHERE id = ?1", (id,))?;
            Ok(posted)
        })
        .await
    }

    async fn draft_contents(&self, id: DraftId) -> Result<Vec<DraftAttachment>> {
        let files: Vec<(String, String, crate::BlobId)> = self
            .read_async(move |conn| {
                let mut query = conn.prepare_cached(
                    "SELECT name, media_type, blob FROM draft_attachments
                     WHERE draft_id = ?1 ORDER BY part",
                )?;
                let rows =
                    query.query_map((id,), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        let store = self.clone();
        tokio::task::spawn_blocking(move || {
            files
                .into_iter()
                .map(|(name, media_type, blob)| {
                    let content = store.blob(blob)?.ok_or_else(|| {
                        StoreError::Corrupt("the content of an attachment is missing".into())
                    })?;
                    Ok(DraftAttachment { name, media_type, content })
                })
                .collect()
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }
}

fn none(id: DraftId) -> StoreError {
    StoreError::NotFound(format!("there is no draft {id}"))
}

/// A draft changes: its version grows. With a version it must still be that one.
fn touch(tx: &Tx<'_>, id: DraftId, version: Option<i64>) -> Result<()> {
    let is: Option<i64> =
        tx.find("SELECT version FROM drafts WHERE id = ?1", (id,), |row| row.get(0))?;
    let is = is.ok_or_else(|| none(id))?;
    if version.is_some_and(|version| version != is) {
        return Err(StoreError::Conflict(format!(
            "draft {id} was changed meanwhile: it is at version {is}"
        )));
    }
    tx.run("UPDATE drafts SET version = version + 1, updated_at = ?2 WHERE id = ?1", (id, tx.now))?;
    Ok(())
}

fn load(conn: &Connection, id: DraftId) -> Result<DraftRow> {
    let mut query = conn.prepare_cached(
        "SELECT d.id, a.name, d.conversation_id, d.answers, d.author, d.to_list, d.cc_list, d.subject,
                d.text, d.html, d.version, d.created_at, d.updated_at
         FROM drafts d JOIN agents a ON a.id = d.agent_id WHERE d.id = ?1",
    )?;
    let mut rows = query.query((id,))?;
    let row = rows.next().optional()?.flatten().ok_or_else(|| none(id))?;
    let mut files = conn.prepare_cached(
        "SELECT part, name, media_type, size FROM draft_attachments WHERE draft_id = ?1 ORDER BY part",
    )?;
    let attachments = files
        .query_map((id,), |row| {
            Ok(DraftFile {
                part: row.get(0)?,
                name: row.get(1)?,
                media_type: row.get(2)?,
                size: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(DraftRow {
        id: row.get(0)?,
        agent: row.get(1)?,
        conversation: row.get(2)?,
        answers: row.get(3)?,
        author: row.get(4)?,
        text: DraftText {
            to: history::list(row, 5)?,
            cc: history::list(row, 6)?,
            subject: row.get(7)?,
            text: row.get(8)?,
            html: row.get(9)?,
        },
        attachments,
        version: row.get(10)?,
        created_at: timestamp(row.get(11)?),
        updated_at: timestamp(row.get(12)?),
    })
}
