//! The people we talk to: who they are, how that was proven, and what people decide about them.
//!
//! A merge moves handles, instances and open conversations to the survivor; messages keep the handle and
//! instance they came in under. What moved is kept, so that a split puts it back.

use super::{
    Lane, Result, Sight, Store, StoreError, Tx, Wake, rights::CONTACT_IN_SIGHT, timestamp,
};
use crate::{ContactId, ConversationId, HandleId, InstanceId, mail::Trust};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A person, known by handles that were proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    pub id: ContactId,
    pub name: String,
    pub trust: Trust,
    pub handles: Vec<Handle>,
    pub created_at: Timestamp,
    /// Those that were merged into this one and can be split off again.
    pub merged: Vec<ContactId>,
}

/// An address or number that was proven to be a contact's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    pub id: HandleId,
    /// `email`, `phone` or `browser`.
    pub channel: String,
    pub value: String,
    /// How it was proven.
    pub proof: String,
    pub proven_at: Timestamp,
    /// Mail from it is refused.
    pub blocked: bool,
}

/// What a merge moved, so that a split can move it back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Moved {
    handles: Vec<HandleId>,
    /// Instances that became the survivor's, with the key they had.
    rekeyed: Vec<(InstanceId, String)>,
    /// Instances whose conversations went to one of the survivor's, and which.
    archived: Vec<(InstanceId, Vec<ConversationId>)>,
}

impl Store {
    /// Contacts in sight by id, after one, whose name or handle contains some text.
    pub async fn list_contacts(
        &self,
        sight: Sight,
        text: Option<String>,
        after: ContactId,
        limit: usize,
    ) -> Result<Vec<Contact>> {
        let pattern = text.map(|text| {
            let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            format!("%{escaped}%")
        });
        self.read_async(move |conn| {
            let sql = format!(
                "SELECT c.id FROM contacts c
                 WHERE c.merged_into IS NULL AND c.id > ?2 AND {CONTACT_IN_SIGHT}
                   AND (?3 IS NULL OR c.name LIKE ?3 ESCAPE '\\'
                        OR EXISTS (SELECT 1 FROM handles h WHERE h.contact_id = c.id
                                   AND h.value LIKE ?3 ESCAPE '\\'))
                 ORDER BY c.id LIMIT ?4"
            );
            let ids = conn
                .prepare_cached(&sql)?
                .query_map((&sight, after, pattern, limit), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<ContactId>>>()?;
            ids.into_iter().map(|id| load(conn, id)).collect()
        })
        .await
    }

    /// A contact.
    pub async fn contact(&self, id: ContactId) -> Result<Contact> {
        self.read_async(move |conn| load(conn, id)).await
    }

    /// Gives a contact another name.
    pub async fn rename_contact(&self, id: ContactId, name: String, by: String) -> Result<Contact> {
        self.write(Lane::Turn, move |tx| {
            live(tx, id)?;
            tx.run("UPDATE contacts SET name = ?2 WHERE id = ?1", (id, &name))?;
            tx.audit(&by, "contact.rename", &id.to_string(), "")?;
            load(tx.conn, id)
        })
        .await
    }

    /// A person vouches for a contact, or no longer does.
    pub async fn set_trust(&self, id: ContactId, trust: Trust, by: String) -> Result<Contact> {
        self.write(Lane::Turn, move |tx| {
            live(tx, id)?;
            tx.run("UPDATE contacts SET trust = ?2 WHERE id = ?1", (id, trust.as_str()))?;
            tx.audit(&by, "contact.trust", &id.to_string(), trust.as_str())?;
            load(tx.conn, id)
        })
        .await
    }

    /// Refuses mail from an address (lower case), or takes it again. Answers whether that changed anything.
    pub async fn block(&self, address: String, blocked: bool, by: String) -> Result<bool> {
        let named = address.clone();
        let changed = self
            .write(Lane::Turn, move |tx| {
                let changed = if blocked {
                    tx.run(
                        "INSERT OR IGNORE INTO blocked (address, created_by, created_at)
                         VALUES (?1, ?2, ?3)",
                        (&named, &by, tx.now),
                    )?
                } else {
                    tx.run("DELETE FROM blocked WHERE address = ?1", (&named,))?
                };
                let action = if blocked { "address.block" } else { "address.unblock" };
                tx.audit(&by, action, &named, "")?;
                Ok(changed > 0)
            })
            .await?;
        let mut all = self.0.blocked.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if blocked {
            all.insert(address);
        } else {
            all.remove(&address);
        }
        Ok(changed)
    }

    /// Whether mail from this address (lower case) is refused.
    pub fn is_blocked(&self, address: &str) -> bool {
        let all = self.0.blocked.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.contains(address)
    }

    /// Blocked addresses in order, after one: the address, who blocked it, and when.
    pub async fn blocked(
        &self,
        after: String,
        limit: usize,
    ) -> Result<Vec<(String, String, Timestamp)>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT address, created_by, created_at FROM blocked
                 WHERE address > ?1 ORDER BY address LIMIT ?2",
            )?;
            let rows = query.query_map((after, limit), |row| {
                Ok((row.get(0)?, row.get(1)?, timestamp(row.get(2)?)))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Two contacts are one person: everything of `other` goes to `survivor`.
    pub async fn merge_contacts(
        &self,
        survivor: ContactId,
        other: ContactId,
        by: String,
    ) -> Result<Contact> {
        self.write(Lane::Turn, move |tx| {
            if survivor == other {
                return Err(StoreError::Conflict("a contact cannot be merged with itself".into()));
            }
            live(tx, survivor)?;
            live(tx, other)?;
            let moved = merge(tx, survivor, other)?;
            tx.run("UPDATE contacts SET merged_into = ?2 WHERE id = ?1", (other, survivor))?;
            tx.run(
                "INSERT INTO merges (survivor, other, moved, created_at) VALUES (?1, ?2, ?3, ?4)",
                (survivor, other, serde_json::to_string(&moved)?, tx.now),
            )?;
            tx.audit(&by, "contact.merge", &survivor.to_string(), &format!("with {other}"))?;
            load(tx.conn, survivor)
        })
        .await
    }

    /// Two people after all: what `other` brought along goes back to it.
    pub async fn split_contact(
        &self,
        survivor: ContactId,
        other: ContactId,
        by: String,
    ) -> Result<Contact> {
        self.write(Lane::Turn, move |tx| {
            let found: Option<(i64, String)> = tx.find(
                "SELECT id, moved FROM merges
                 WHERE survivor = ?1 AND other = ?2 AND split_at IS NULL ORDER BY id DESC LIMIT 1",
                (survivor, other),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let (merge, moved) = found.ok_or_else(|| {
                StoreError::Conflict(format!("contact {other} was not merged into {survivor}"))
            })?;
            split(tx, other, &serde_json::from_str(&moved)?)?;
            tx.run("UPDATE contacts SET merged_into = NULL WHERE id = ?1", (other,))?;
            tx.run("UPDATE merges SET split_at = ?2 WHERE id = ?1", (merge, tx.now))?;
            tx.audit(&by, "contact.split", &survivor.to_string(), &format!("from {other}"))?;
            load(tx.conn, other)
        })
        .await
    }
}

/// All blocked addresses, at the start.
pub(super) fn load_blocked(conn: &Connection) -> Result<HashSet<String>> {
    Ok(conn
        .prepare("SELECT address FROM blocked")?
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// A contact that was merged into another is changed there.
fn live(tx: &Tx<'_>, id: ContactId) -> Result<()> {
    let merged: Option<Option<ContactId>> =
        tx.find("SELECT merged_into FROM contacts WHERE id = ?1", (id,), |row| row.get(0))?;
    match merged {
        None => Err(StoreError::NotFound(format!("there is no contact {id}"))),
        Some(Some(into)) => {
            Err(StoreError::Conflict(format!("contact {id} was merged into contact {into}")))
        }
        Some(None) => Ok(()),
    }
}

fn merge(tx: &mut Tx<'_>, survivor: ContactId, other: ContactId) -> Result<Moved> {
    let mut moved = Moved {
        handles: ids(tx, "SELECT id FROM handles WHERE contact_id = ?1 ORDER BY id", other.0)?
            .into_iter()
            .map(HandleId)
            .collect(),
        ..Moved::default()
    };
    tx.run("UPDATE handles SET contact_id = ?2 WHERE contact_id = ?1", (other, survivor))?;
    let instances = {
        let mut query = tx.conn.prepare_cached(
            "SELECT id, agent_id, key FROM instances WHERE contact_id = ?1 ORDER BY id",
        )?;
        query
            .query_map((other,), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<Vec<(InstanceId, i64, String)>>>()?
    };
    let (own_key, new_key) = (format!("contact:{other}"), format!("contact:{survivor}"));
    for (instance, agent, key) in instances {
        let there: Option<InstanceId> = if key == own_key {
            tx.find(
                "SELECT id FROM instances WHERE agent_id = ?1 AND key = ?2",
                (agent, &new_key),
                |row| row.get(0),
            )?
        } else {
            None
        };
        let Some(there) = there else {
            let key_now = if key == own_key { &new_key } else { &key };
            tx.run(
                "UPDATE instances SET contact_id = ?2, key = ?3 WHERE id = ?1",
                (instance, survivor, key_now),
            )?;
            moved.rekeyed.push((instance, key));
            continue;
        };
        let conversations: Vec<ConversationId> =
            ids(tx, "SELECT id FROM conversations WHERE instance_id = ?1 ORDER BY id", instance.0)?
                .into_iter()
                .map(ConversationId)
                .collect();
        move_work(tx, instance, there)?;
        tx.run("UPDATE instances SET archived_at = ?2 WHERE id = ?1", (instance, tx.now))?;
        moved.archived.push((instance, conversations));
    }
    Ok(moved)
}

/// Conversations and what waits for their instance go over. What it had planned on its own stops: it was
/// planned with a memory that is no longer spoken to.
fn move_work(tx: &mut Tx<'_>, from: InstanceId, to: InstanceId) -> Result<()> {
    tx.run("UPDATE conversations SET instance_id = ?2 WHERE instance_id = ?1", (from, to))?;
    tx.run("UPDATE events SET instance_id = ?2 WHERE instance_id = ?1", (from, to))?;
    tx.run("DELETE FROM schedules WHERE instance_id = ?1", (from,))?;
    tx.run(
        "UPDATE turns SET cancelled = 1, ended_at = CASE state WHEN 'ready' THEN ?2 END,
                          state = CASE state WHEN 'ready' THEN 'cancelled' ELSE state END
         WHERE instance_id = ?1 AND state IN ('ready', 'running')",
        (from, tx.now),
    )?;
    let waiting = {
        let mut query = tx.conn.prepare_cached(
            "SELECT id, due_at FROM events WHERE instance_id = ?1 AND state = 'ready' ORDER BY id",
        )?;
        query
            .query_map((to,), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()?
    };
    for (event, due_at) in waiting {
        tx.wake(Wake::Event(super::PendingEvent { event, instance: to, due_at }));
    }
    tx.wake(Wake::Task);
    tx.wake(Wake::Schedule);
    Ok(())
}

fn split(tx: &Tx<'_>, other: ContactId, moved: &Moved) -> Result<()> {
    for handle in &moved.handles {
        tx.run("UPDATE handles SET contact_id = ?2 WHERE id = ?1", (handle, other))?;
    }
    for (instance, key) in &moved.rekeyed {
        tx.run(
            "UPDATE instances SET contact_id = ?2, key = ?3 WHERE id = ?1",
            (instance, other, key),
        )?;
    }
    for (instance, conversations) in &moved.archived {
        tx.run("UPDATE instances SET archived_at = NULL WHERE id = ?1", (instance,))?;
        for conversation in conversations {
            tx.run(
                "UPDATE conversations SET instance_id = ?2 WHERE id = ?1",
                (conversation, instance),
            )?;
        }
    }
    Ok(())
}

fn ids(tx: &Tx<'_>, sql: &str, of: i64) -> Result<Vec<i64>> {
    Ok(tx
        .conn
        .prepare_cached(sql)?
        .query_map((of,), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

fn load(conn: &Connection, id: ContactId) -> Result<Contact> {
    let found = conn
        .prepare_cached("SELECT name, trust, created_at FROM contacts WHERE id = ?1")?
        .query_row((id,), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let (name, trust, created_at) =
        found.ok_or_else(|| StoreError::NotFound(format!("there is no contact {id}")))?;
    let handles = conn
        .prepare_cached(
            "SELECT h.id, h.channel, h.value, h.proof, h.proven_at,
                    h.channel = 'email' AND EXISTS (SELECT 1 FROM blocked b WHERE b.address = h.value)
             FROM handles h WHERE h.contact_id = ?1 ORDER BY h.id",
        )?
        .query_map((id,), handle)?
        .collect::<rusqlite::Result<_>>()?;
    let merged = conn
        .prepare_cached(
            "SELECT other FROM merges WHERE survivor = ?1 AND split_at IS NULL ORDER BY id",
        )?
        .query_map((id,), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Contact {
        id,
        name,
        // Trust that nobody can read is none.
        trust: Trust::parse(&trust).unwrap_or(Trust::Unproven),
        handles,
        created_at: timestamp(created_at),
        merged,
    })
}

fn handle(row: &Row<'_>) -> rusqlite::Result<Handle> {
    Ok(Handle {
        id: row.get(0)?,
        channel: row.get(1)?,
        value: row.get(2)?,
        proof: row.get(3)?,
        proven_at: timestamp(row.get(4)?),
        blocked: row.get(5)?,
    })
}
