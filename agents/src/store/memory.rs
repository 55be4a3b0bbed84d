//! What an instance remembers, and what its conversations are classified as.

use super::{Result, Store, StoreError, Tx, timestamp, triage};
use crate::{ConversationId, InstanceId, mail::Trust};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

/// Octets of all facts of an instance together. The model reads all of them in every turn.
pub const MEMORY_MAX: usize = 8 * 1024;
/// The longest name of a fact or a label, in octets.
const NAME_MAX: usize = 64;
/// Labels of one conversation.
const LABELS_MAX: usize = 20;

/// One remembered fact.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub name: String,
    pub text: String,
    /// The least trusted person whose words led to it.
    pub trust: Trust,
    pub updated_at: Timestamp,
}

/// Texts do not reach logs.
impl std::fmt::Debug for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fact({} bytes)", self.name.len() + self.text.len())
    }
}

fn checked<'a>(what: &str, name: &'a str) -> Result<&'a str> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(StoreError::Conflict(format!("{what} has 1 to {NAME_MAX} octets in one line")));
    }
    Ok(name)
}

pub(super) fn remember(
    tx: &Tx<'_>,
    instance: InstanceId,
    name: &str,
    text: &str,
    trust: Trust,
) -> Result<()> {
    let name = checked("the name of a fact", name)?;
    let others: i64 = tx.row(
        "SELECT coalesce(sum(length(CAST(name AS BLOB)) + length(CAST(text AS BLOB))), 0)
         FROM memory WHERE instance_id = ?1 AND name <> ?2",
        (instance, name),
        |row| row.get(0),
    )?;
    let size = others.max(0) as usize + name.len() + text.len();
    if size > MEMORY_MAX {
        return Err(StoreError::Conflict(format!(
            "the memory would have {size} of {MEMORY_MAX} octets: forget something first, or be shorter"
        )));
    }
    tx.run(
        "INSERT INTO memory (instance_id, name, text, trust, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (instance_id, name) DO UPDATE
         SET text = excluded.text, trust = excluded.trust, updated_at = excluded.updated_at",
        (instance, name, text, trust.as_str(), tx.now),
    )?;
    Ok(())
}

pub(super) fn forget(tx: &Tx<'_>, instance: InstanceId, name: &str) -> Result<()> {
    let gone =
        tx.run("DELETE FROM memory WHERE instance_id = ?1 AND name = ?2", (instance, name.trim()))?;
    if gone == 0 {
        return Err(StoreError::NotFound(format!("there is no fact named {name:?}")));
    }
    Ok(())
}

pub(super) fn label(
    tx: &Tx<'_>,
    conversation: ConversationId,
    label: &str,
    author: &str,
) -> Result<()> {
    let label = checked("a label", label)?.to_lowercase();
    let count: usize = tx.row(
        "SELECT count(*) FROM conversation_labels WHERE conversation_id = ?1",
        (conversation,),
        |row| row.get(0),
    )?;
    if count >= LABELS_MAX {
        return Err(StoreError::Conflict(format!(
            "a conversation has at most {LABELS_MAX} labels"
        )));
    }
    triage::add_label(tx, conversation, &label)?;
    tx.audit(author, "conversation.label", &conversation.to_string(), &label)
}

/// All facts of an instance, by name.
pub(super) fn facts(conn: &Connection, instance: InstanceId) -> Result<Vec<Fact>> {
    let mut query = conn.prepare_cached(
        "SELECT name, text, trust, updated_at FROM memory WHERE instance_id = ?1 ORDER BY name",
    )?;
    let rows = query.query_map((instance,), |row| {
        let trust: String = row.get(2)?;
        Ok(Fact {
            name: row.get(0)?,
            text: row.get(1)?,
            trust: Trust::parse(&trust).unwrap_or(Trust::Unproven),
            updated_at: timestamp(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Store {
    /// What an instance remembers, by name.
    pub async fn facts(&self, instance: InstanceId) -> Result<Vec<Fact>> {
        self.read_async(move |conn| facts(conn, instance)).await
    }

    /// What a conversation was classified as.
    pub async fn labels_of(&self, conversation: ConversationId) -> Result<Vec<String>> {
        self.read_async(move |conn| triage::labels(conn, conversation)).await
    }
}
