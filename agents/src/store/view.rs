//! What a turn may see of the history.
//!
//! What always holds: a turn sees its own conversation, and of its instance's other conversations those in
//! which everybody it answers to was already. So a correspondent cannot have an agent read to them what
//! others wrote, whatever they tell it. An instance that belongs to one contact is theirs: where nobody
//! else is a member, all of it is visible. Held, rejected and set-aside messages are in nobody's view.

use super::{Lane, Result, Store, StoreError, calls, handle, memory, timestamp};
use crate::{
    BlobId, ConversationId, InstanceId, MessageId,
    agent::{ContactCard, Said},
    mail::Trust,
    turn::{
        material::{Layer, Material, Piece, Summary},
        step::{Foreign, ForeignKind},
    },
};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

/// Messages of the conversation that are read at most. Older ones are in summaries.
const PIECES: usize = 500;
/// Messages of other conversations that a context begins with.
const ELSEWHERE: usize = 6;
/// Nothing older than this many milliseconds (30 days) is brought up from other conversations.
const ELSEWHERE_AGE: i64 = 30 * 86_400_000;

/// The conversation `c` is visible to a turn of instance `:instance` in conversation `:here`.
const VISIBLE: &str = "(c.id = :here OR c.instance_id = :instance AND (
    -- The instance is one contact's, and nobody else is a member here.
    (SELECT i.contact_id IS NOT NULL AND i.proven = 1 FROM instances i WHERE i.id = :instance)
    AND NOT EXISTS (
        SELECT 1 FROM participants p
        LEFT JOIN handles h ON h.channel = 'email' AND h.value = p.address
        WHERE p.conversation_id = :here AND p.member = 1
          AND h.contact_id IS NOT (SELECT contact_id FROM instances WHERE id = :instance))
    -- Or everybody who is a member here is one there, under this address or another of theirs.
    OR EXISTS (SELECT 1 FROM participants p WHERE p.conversation_id = :here AND p.member = 1)
    AND NOT EXISTS (
        SELECT 1 FROM participants p
        LEFT JOIN handles h ON h.channel = 'email' AND h.value = p.address
        WHERE p.conversation_id = :here AND p.member = 1 AND NOT EXISTS (
            SELECT 1 FROM participants q
            LEFT JOIN handles k ON k.channel = 'email' AND k.value = q.address
            WHERE q.conversation_id = c.id AND q.member = 1
              AND (q.address = p.address OR k.contact_id = h.contact_id)))))";

const PIECE: &str = "m.id, m.conversation_id, m.channel, m.role, m.author, l.from_name,
    coalesce(l.subject, o.subject, c.subject), m.text, l.layers, l.flags, m.status, m.status_why, l.verdict,
    -- In a call it is what was proven of the caller.
    coalesce(
        (SELECT k.trust FROM handles h JOIN contacts k ON k.id = h.contact_id WHERE h.id = m.handle_id),
        (SELECT k.trust FROM spoken s JOIN calls k ON k.id = s.call_id
         WHERE s.message_id = m.id AND s.speaker = 'caller')),
    m.created_at, (SELECT foreign_text FROM tainted t WHERE t.message_id = m.id),
    (SELECT heard FROM spoken s WHERE s.message_id = m.id)
    FROM messages m JOIN conversations c ON c.id = m.conversation_id
    LEFT JOIN mails l ON l.message_id = m.id LEFT JOIN outbox o ON o.message_id = m.id";

fn piece(row: &Row<'_>) -> rusqlite::Result<Piece> {
    let (layers, flags): (Option<String>, Option<String>) = (row.get(8)?, row.get(9)?);
    let (status, trust): (String, Option<String>) = (row.get(10)?, row.get(13)?);
    // Trust belongs to who was proven, never to who was claimed.
    let trust = match (status.as_str(), trust) {
        ("admitted", Some(trust)) => Trust::parse(&trust).unwrap_or(Trust::Unproven),
        _ => Trust::Unproven,
    };
    let tainted: Option<String> = row.get(15)?;
    let flags: Vec<String> =
        flags.and_then(|flags| serde_json::from_str(&flags).ok()).unwrap_or_default();
    let text: String = row.get(7)?;
    let heard: Option<i64> = row.get(16)?;
    let heard = heard.map(|heard| {
        let (heard, unheard) = calls::heard_of(text.clone(), usize::try_from(heard).unwrap_or(0));
        if unheard.is_empty() { text.len() } else { heard.len() }
    });
    Ok(Piece {
        id: row.get(0)?,
        conversation: row.get(1)?,
        channel: row.get(2)?,
        role: row.get(3)?,
        author: row.get(4)?,
        author_name: row.get(5)?,
        subject: row.get(6)?,
        text,
        layers: layers.as_deref().map(Layer::parse).unwrap_or_default(),
        hidden: flags
            .iter()
            .filter_map(|flag| flag.strip_prefix("hidden text: ").map(str::to_owned))
            .collect(),
        status,
        status_why: row.get(11)?,
        verdict: row.get(12)?,
        trust,
        attachments: Vec::new(),
        // What cannot be read is no reason to take it for ours.
        foreign: tainted
            .map(|foreign| serde_json::from_str(&foreign).unwrap_or_else(|_| unread()))
            .unwrap_or_default(),
        heard,
        at: timestamp(row.get(14)?),
    })
}

fn unread() -> Vec<Foreign> {
    vec![Foreign::new(ForeignKind::Service, "an earlier turn", "")]
}

/// Messages with their attachments.
fn pieces(conn: &Connection, mut found: Vec<Piece>) -> Result<Vec<Piece>> {
    for piece in &mut found {
        piece.attachments = handle::attachments(conn, piece.id)?;
    }
    Ok(found)
}

/// A conversation's messages up to one, oldest first. One that was forked begins with those it shares.
fn told(conn: &Connection, conversation: ConversationId, through: MessageId) -> Result<Vec<Piece>> {
    let mut query = conn.prepare_cached(&format!(
        "WITH RECURSIVE line (conversation, up_to) AS (
             VALUES (?1, ?2)
             UNION ALL
             SELECT m.conversation_id, f.forked_from
             FROM line JOIN conversations f ON f.id = line.conversation
             JOIN messages m ON m.id = f.forked_from)
         SELECT {PIECE} JOIN line ON line.conversation = m.conversation_id AND m.id <= line.up_to
         WHERE m.status = 'admitted'
            -- Nobody else's words are in a conversation of the unproven but theirs.
            OR m.status = 'unproven' AND m.conversation_id = ?1
            -- What we wrote and a person still reads, or did not let go.
            OR m.role = 'agent' AND m.status IN ('held', 'rejected')
         ORDER BY m.id DESC LIMIT ?3"
    ))?;
    let mut found = query
        .query_map((conversation, through, PIECES), piece)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    found.reverse();
    pieces(conn, found)
}

fn elsewhere(
    conn: &Connection,
    instance: InstanceId,
    here: ConversationId,
    through: MessageId,
    now: i64,
) -> Result<Vec<Piece>> {
    let mut query = conn.prepare_cached(&format!(
        "SELECT {PIECE} WHERE c.id IN (
             SELECT c.id FROM conversations c
             WHERE c.instance_id = :instance AND c.id <> :here AND c.last_message_at >= :since
               AND {VISIBLE} ORDER BY c.last_message_at DESC LIMIT :limit)
           AND m.status = 'admitted' AND m.role <> 'note' AND m.id < :through
         ORDER BY m.id DESC LIMIT :limit"
    ))?;
    let mut found = query
        .query_map(
            named_params! {
                ":instance": instance, ":here": here, ":through": through,
                ":since": now - ELSEWHERE_AGE, ":limit": ELSEWHERE,
            },
            piece,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    found.reverse();
    pieces(conn, found)
}

fn summaries(conn: &Connection, here: ConversationId, through: MessageId) -> Result<Vec<Summary>> {
    let mut query = conn.prepare_cached(
        "SELECT from_message, to_message, text, trust, foreign_text FROM summaries
         WHERE conversation_id = ?1 AND to_message <= ?2 ORDER BY to_message",
    )?;
    let mut rows = query.query((here, through))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let trust: String = row.get(3)?;
        found.push(Summary {
            from: row.get(0)?,
            to: row.get(1)?,
            text: row.get(2)?,
            trust: Trust::parse(&trust).unwrap_or(Trust::Unproven),
            foreign: serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?,
        });
    }
    Ok(found)
}

fn contact(conn: &Connection, instance: InstanceId) -> Result<Option<ContactCard>> {
    let found: Option<(i64, String, String)> = conn
        .prepare_cached(
            "SELECT c.id, c.name, c.trust FROM instances i JOIN contacts c ON c.id = i.contact_id
             WHERE i.id = ?1 AND i.proven = 1",
        )?
        .query_row((instance,), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, name, trust)) = found else { return Ok(None) };
    let mut handles =
        conn.prepare_cached("SELECT value FROM handles WHERE contact_id = ?1 ORDER BY id")?;
    let handles =
        handles.query_map((id,), |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(Some(ContactCard { name, trust: Trust::parse(&trust).unwrap_or(Trust::Unproven), handles }))
}

fn members(conn: &Connection, here: ConversationId) -> Result<Vec<String>> {
    let mut query = conn.prepare_cached(
        "SELECT address FROM participants WHERE conversation_id = ?1 AND member = 1 ORDER BY address",
    )?;
    Ok(query.query_map((here,), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Where a turn looks from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewpoint {
    pub instance: InstanceId,
    pub here: ConversationId,
    /// Nothing newer than this.
    pub through: MessageId,
}

/// The bytes of an attachment, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileAt {
    /// Inside the raw message: the mail side finds them.
    Raw,
    Blob(BlobId),
}

impl Store {
    /// Everything the context of a turn is composed of, up to a message or to the newest.
    pub(crate) async fn material(
        &self,
        instance: InstanceId,
        here: ConversationId,
        through: Option<MessageId>,
    ) -> Result<Material> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            conn.execute_batch("BEGIN")?;
            let through = match through {
                Some(through) => through,
                None => conn
                    .prepare_cached(
                        "SELECT coalesce(max(id), (SELECT forked_from FROM conversations WHERE id = ?1), 0)
                         FROM messages WHERE conversation_id = ?1",
                    )?
                    .query_row((here,), |row| row.get(0))?,
            };
            let (subject, channel) = conn
                .prepare_cached("SELECT subject, channel FROM conversations WHERE id = ?1")?
                .query_row((here,), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?
                .ok_or_else(|| StoreError::NotFound(format!("there is no conversation {here}")))?;
            let members = members(conn, here)?;
            let material = Material {
                conversation: here,
                subject,
                channel,
                members,
                contact: contact(conn, instance)?,
                facts: memory::facts(conn, instance)?,
                summaries: summaries(conn, here, through)?,
                pieces: told(conn, here, through)?,
                elsewhere: elsewhere(conn, instance, here, through, now)?,
                through,
            };
            conn.execute_batch("COMMIT")?;
            Ok(material)
        })
        .await
    }

    /// The addresses of a conversation's members.
    pub(crate) async fn members(&self, here: ConversationId) -> Result<Vec<String>> {
        self.read_async(move |conn| members(conn, here)).await
    }

    /// Messages a turn may see that contain all the words, newest first.
    pub(crate) async fn search_visible(
        &self,
        at: Viewpoint,
        words: &str,
        limit: usize,
    ) -> Result<Vec<(ConversationId, Said)>> {
        let expression = super::search::expression(words);
        if expression.is_empty() {
            return Ok(Vec::new());
        }
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT m.id, m.channel, m.role, m.author, substr(m.text, 1, 400), m.created_at,
                        m.conversation_id,
                        (SELECT heard FROM spoken p WHERE p.message_id = m.id)
                 FROM message_search s JOIN messages m ON m.id = s.rowid
                 JOIN conversations c ON c.id = m.conversation_id
                 WHERE message_search MATCH :words AND s.rowid <= :through
                   AND m.status = 'admitted' AND m.role <> 'note' AND {VISIBLE}
                 ORDER BY s.rowid DESC LIMIT :limit"
            ))?;
            let rows = query.query_map(
                named_params! {
                    ":words": expression, ":through": at.through, ":instance": at.instance,
                    ":here": at.here, ":limit": limit,
                },
                |row| {
                    let (text, heard): (String, Option<i64>) = (row.get(4)?, row.get(7)?);
                    let heard = heard.map_or(text.len(), |at| usize::try_from(at).unwrap_or(0));
                    let (text, unheard) = calls::heard_of(text, heard);
                    let said = Said {
                        message: row.get(0)?,
                        channel: row.get(1)?,
                        role: row.get(2)?,
                        author: row.get(3)?,
                        text,
                        interrupted: !unheard.is_empty(),
                        at: timestamp(row.get(5)?),
                    };
                    Ok((row.get(6)?, said))
                },
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// A message a turn may see.
    pub(crate) async fn read_visible(&self, at: Viewpoint, message: MessageId) -> Result<Piece> {
        self.read_async(move |conn| {
            let found = conn
                .prepare_cached(&format!(
                    "SELECT {PIECE} WHERE m.id = :message AND m.id <= :through AND m.role <> 'note'
                       AND (m.status = 'admitted' OR m.status = 'unproven' AND c.id = :here) AND {VISIBLE}"
                ))?
                .query_row(
                    named_params! {
                        ":message": message, ":through": at.through, ":instance": at.instance,
                        ":here": at.here,
                    },
                    piece,
                )
                .optional()?;
            // The same words whether it does not exist or is not theirs to see.
            let found = found
                .ok_or_else(|| StoreError::NotFound(format!("there is no message {message} here")))?;
            Ok(pieces(conn, vec![found])?.remove(0))
        })
        .await
    }

    /// Where the bytes of an attachment are.
    pub(crate) async fn file_at(&self, message: MessageId, part: u32) -> Result<FileAt> {
        self.read_async(move |conn| {
            let blob: Option<Option<BlobId>> = conn
                .prepare_cached("SELECT blob FROM attachments WHERE message_id = ?1 AND part = ?2")?
                .query_row((message, part), |row| row.get(0))
                .optional()?;
            match blob {
                None => Err(StoreError::NotFound(format!("message {message} has no part {part}"))),
                Some(Some(blob)) => Ok(FileAt::Blob(blob)),
                Some(None) => Ok(FileAt::Raw),
            }
        })
        .await
    }

    /// The name and media type of an attachment.
    pub(crate) async fn file_name(
        &self,
        message: MessageId,
        part: u32,
    ) -> Result<(String, String)> {
        self.read_async(move |conn| {
            conn.prepare_cached(
                "SELECT name, media_type FROM attachments WHERE message_id = ?1 AND part = ?2",
            )?
            .query_row((message, part), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or_else(|| StoreError::NotFound(format!("message {message} has no part {part}")))
        })
        .await
    }

    /// Keeps a text that stands for messages of a conversation.
    pub(crate) async fn keep_summary(&self, here: ConversationId, summary: Summary) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run(
                "INSERT INTO summaries (conversation_id, from_message, to_message, text, trust,
                                        foreign_text, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    here,
                    summary.from,
                    summary.to,
                    &summary.text,
                    summary.trust.as_str(),
                    serde_json::to_string(&summary.foreign as &Vec<Foreign>)?,
                    tx.now,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// Opens a conversation that shares everything up to a message with the one the message is in, and goes its
    /// own way from there. Members come along.
    pub async fn fork(&self, message: MessageId, by: String) -> Result<ConversationId> {
        self.write(Lane::Turn, move |tx| {
            let of: Option<ConversationId> = tx.find(
                "SELECT conversation_id FROM messages WHERE id = ?1",
                (message,),
                |row| row.get(0),
            )?;
            let of = of
                .ok_or_else(|| StoreError::NotFound(format!("there is no message {message}")))?;
            let fork = ConversationId(tx.insert(
                "INSERT INTO conversations (agent_id, instance_id, channel, subject, linked_to,
                                            forked_from, last_message_at, created_at)
                 SELECT agent_id, instance_id, channel, subject, id, ?2, ?3, ?3
                 FROM conversations WHERE id = ?1",
                (of, message, tx.now),
            )?);
            tx.run(
                "INSERT INTO participants (conversation_id, address, member, handle_id)
                 SELECT ?2, address, member, handle_id FROM participants WHERE conversation_id = ?1",
                (of, fork),
            )?;
            tx.audit(&by, "conversation.fork", &of.to_string(), &format!("from {message} into {fork}"))?;
            Ok(fork)
        })
        .await
    }
}
