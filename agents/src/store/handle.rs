//! The durable queue in: events wait for their instance, and a handler's run is committed.
//!
//! A row is deleted by the transaction that commits the effects of its handler, so an event takes
//! effect exactly once, however often the process dies. Events of one instance run in the order of
//! their ids; one that failed and waits for its next attempt holds back those behind it.

use super::{Lane, Result, Store, StoreError, Tx, Wake, calls, effects, timestamp};
use crate::{
    AgentId, CallId, EventId, InstanceId, Mail, MessageId,
    agent::{ContactCard, Event, Handled, History, Said, Snapshot},
    mail::{Attachment, Trust, Verdict},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

/// An event that waits, as the dispatcher keeps it in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingEvent {
    pub event: EventId,
    pub instance: InstanceId,
    /// Not before this time, in milliseconds since 1970.
    pub due_at: i64,
}

/// An event with what its handler needs.
#[derive(Debug, Clone)]
pub struct Queued {
    pub agent: AgentId,
    pub snapshot: Snapshot,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When the event came to be.
    pub created_at: Timestamp,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandleOutcome {
    Committed,
    /// The instance changed since the snapshot: run the handler again.
    Stale,
    /// The event was done already.
    Gone,
}

/// What to do about a handler that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    RetryAt(Timestamp),
    Dead,
}

/// An event whose attempts are used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    pub event: EventId,
    pub agent: String,
    pub instance: InstanceId,
    pub body: serde_json::Value,
    pub attempts: u32,
    pub error: String,
    pub created_at: Timestamp,
}

/// Adds an event to the queue of an instance.
pub(super) fn enqueue(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    event: &Event,
    due_at: i64,
) -> Result<EventId> {
    let id = EventId(tx.insert(
        "INSERT INTO events (instance_id, body, due_at, created_at) VALUES (?1, ?2, ?3, ?4)",
        (instance, serde_json::to_string(event)?, due_at, tx.now),
    )?);
    tx.wake(Wake::Event(PendingEvent { event: id, instance, due_at }));
    Ok(id)
}

/// The same for an instance that may have been archived, which hears no more.
pub(super) fn enqueue_unless_archived(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    event: &Event,
) -> Result<()> {
    let archived = tx
        .find(
            "SELECT 1 FROM instances WHERE id = ?1 AND archived_at IS NOT NULL",
            (instance,),
            |_| Ok(()),
        )?
        .is_some();
    if archived {
        tracing::info!(%instance, kind = event.kind(), "an event for an archived instance was dropped");
        return Ok(());
    }
    let now = tx.now;
    enqueue(tx, instance, event, now)?;
    Ok(())
}

impl Store {
    /// Waiting events after an id, oldest first.
    pub fn pending_events(&self, after: EventId, limit: usize) -> Result<Vec<PendingEvent>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached(
                "SELECT id, instance_id, due_at FROM events
                 WHERE id > ?1 AND state = 'ready' ORDER BY id LIMIT ?2",
            )?;
            let rows = query.query_map((after, limit), |row| {
                Ok(PendingEvent { event: row.get(0)?, instance: row.get(1)?, due_at: row.get(2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The first waiting events of one instance.
    pub(crate) fn pending_events_of(
        &self,
        instance: InstanceId,
        limit: usize,
    ) -> Result<Vec<PendingEvent>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached(
                "SELECT id, due_at FROM events
                 WHERE instance_id = ?1 AND state = 'ready' ORDER BY id LIMIT ?2",
            )?;
            let rows = query.query_map((instance, limit), |row| {
                Ok(PendingEvent { event: row.get(0)?, instance, due_at: row.get(1)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// An event with a snapshot of its instance, and the history its handler may read, from one
    /// consistent view. `None` if the event is done.
    pub(crate) fn with_event<T>(
        &self,
        event: EventId,
        run: impl FnOnce(&Queued, &dyn History) -> T,
    ) -> Result<Option<T>> {
        self.read(|conn| {
            conn.prepare_cached("BEGIN")?.execute(())?;
            let result = load(conn, event)
                .map(|queued| queued.map(|q| run(&q, &Looking { conn, being_said: None })));
            conn.prepare_cached("COMMIT")?.execute(())?;
            result
        })
    }

    /// Commits a handler's run: state, effects and "event done" together. The callback runs after the commit.
    pub(crate) fn commit_handled(
        &self,
        event: EventId,
        agent: AgentId,
        instance: InstanceId,
        version: i64,
        handled: Handled,
        done: impl FnOnce(Result<HandleOutcome>) + Send + 'static,
    ) {
        let rules = self.rules();
        self.submit(
            Lane::Turn,
            move |tx| {
                // Checked before anything is written: whoever sees either of these has nothing to undo.
                let current: Option<i64> = tx.find(
                    "SELECT i.version FROM events e JOIN instances i ON i.id = e.instance_id
                     WHERE e.id = ?1 AND e.state = 'ready'",
                    (event,),
                    |row| row.get(0),
                )?;
                match current {
                    None => return Ok(HandleOutcome::Gone),
                    Some(current) if current != version => return Ok(HandleOutcome::Stale),
                    Some(_) => {}
                }
                tx.run("DELETE FROM events WHERE id = ?1", (event,))?;
                if let Some((state, state_version)) = &handled.state {
                    tx.run(
                        "UPDATE instances SET state = ?2, state_version = ?3, version = version + 1
                         WHERE id = ?1",
                        (instance, state, state_version),
                    )?;
                }
                effects::apply(tx, &rules, agent, instance, &handled.effects)?;
                Ok(HandleOutcome::Committed)
            },
            done,
        );
    }

    /// Records that a handler failed.
    pub(crate) fn fail_event(
        &self,
        event: EventId,
        error: String,
        failure: Failure,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        self.submit(
            Lane::Turn,
            move |tx| {
                let (state, due_at) = match &failure {
                    Failure::RetryAt(at) => ("ready", at.as_millisecond()),
                    Failure::Dead => ("dead", tx.now),
                };
                tx.run(
                    "UPDATE events SET attempts = attempts + 1, error = ?2, state = ?3, due_at = ?4
                     WHERE id = ?1",
                    (event, &error, state, due_at),
                )?;
                if failure == Failure::Dead {
                    show_in_review(tx, event, &error)?;
                }
                Ok(())
            },
            done,
        );
    }

    /// Events whose attempts are used up, newest first.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT e.id, a.name, e.instance_id, e.body, e.attempts, e.error, e.created_at
                 FROM events e JOIN instances i ON i.id = e.instance_id
                 JOIN agents a ON a.id = i.agent_id
                 WHERE e.state = 'dead' ORDER BY e.id DESC LIMIT ?1",
            )?;
            let mut rows = query.query((limit,))?;
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

    /// Gives a dead letter a fresh set of attempts.
    pub async fn retry_dead_letter(&self, event: EventId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let instance: Option<InstanceId> = tx.find(
                "UPDATE events SET state = 'ready', attempts = 0, due_at = ?2
                 WHERE id = ?1 AND state = 'dead' RETURNING instance_id",
                (event, tx.now),
                |row| row.get(0),
            )?;
            let instance = instance.ok_or_else(|| {
                StoreError::NotFound(format!("event {event} is not a dead letter"))
            })?;
            tx.audit(&by, "event.retry", &event.to_string(), "")?;
            let due_at = tx.now;
            tx.wake(Wake::Event(PendingEvent { event, instance, due_at }));
            Ok(())
        })
        .await
    }
}

/// A dead letter about a mail or a call puts its conversation before a person.
fn show_in_review(tx: &Tx<'_>, event: EventId, error: &str) -> Result<()> {
    tx.run(
        "UPDATE conversations SET queue = 'needs_review', review_why = ?2
         WHERE id = (SELECT m.conversation_id FROM events e
                     JOIN messages m ON m.id = e.body ->> 'message'
                     WHERE e.id = ?1 AND e.body ->> 'kind' = 'email'
                     UNION ALL
                     SELECT k.conversation_id FROM events e JOIN calls k ON k.id = e.body ->> 'call'
                     WHERE e.id = ?1 AND e.body ->> 'kind' = 'call_ended')",
        (event, format!("the agent failed on this: {error}")),
    )?;
    Ok(())
}

fn load(conn: &Connection, event: EventId) -> Result<Option<Queued>> {
    let row = conn
        .prepare_cached(
            "SELECT e.body, e.attempts, e.created_at, i.id, i.agent_id, i.key, i.version, i.state,
                    i.state_version
             FROM events e JOIN instances i ON i.id = e.instance_id
             WHERE e.id = ?1 AND e.state = 'ready'",
        )?
        .query_row((event,), |row| {
            let body: String = row.get(0)?;
            Ok((
                body,
                Queued {
                    agent: row.get(4)?,
                    attempts: row.get(1)?,
                    created_at: timestamp(row.get(2)?),
                    snapshot: Snapshot {
                        instance: row.get(3)?,
                        key: row.get(5)?,
                        version: row.get(6)?,
                        state: row.get(7)?,
                        state_version: row.get(8)?,
                        event: Event::Email { message: MessageId(0) },
                        mail: None,
                        ended: None,
                    },
                },
            ))
        })
        .optional()?;
    let Some((body, mut queued)) = row else { return Ok(None) };
    queued.snapshot.event = serde_json::from_str(&body)?;
    match queued.snapshot.event {
        Event::Email { message } => queued.snapshot.mail = load_mail(conn, message)?,
        Event::CallEnded { call } => queued.snapshot.ended = calls::load_ended(conn, call)?,
        Event::Schedule(_) | Event::Message(_) | Event::Task(_) | Event::Approval(_) => {}
    }
    Ok(Some(queued))
}

fn load_mail(conn: &Connection, message: MessageId) -> Result<Option<Mail>> {
    let mail = conn
        .prepare_cached(
            "SELECT m.conversation_id, l.from_address, l.from_name, l.recipient, l.subject, m.text,
                    l.verdict, l.automatic, m.created_at, m.status, c.trust,
                    (SELECT min(id) FROM messages WHERE conversation_id = m.conversation_id) = m.id
             FROM messages m JOIN mails l ON l.message_id = m.id
             LEFT JOIN handles h ON h.id = m.handle_id
             LEFT JOIN contacts c ON c.id = h.contact_id
             WHERE m.id = ?1",
        )?
        .query_row((message,), |row| {
            let (verdict, status): (String, String) = (row.get(6)?, row.get(9)?);
            let trust: Option<String> = row.get(10)?;
            // Trust belongs to who was proven, never to who was claimed.
            let trust = match (status.as_str(), trust) {
                ("admitted", Some(trust)) => Trust::parse(&trust).unwrap_or(Trust::Unproven),
                _ => Trust::Unproven,
            };
            Ok(Mail {
                id: message,
                conversation: row.get(0)?,
                is_first: row.get(11)?,
                from: row.get(1)?,
                from_name: row.get(2)?,
                to: row.get(3)?,
                subject: row.get(4)?,
                text: row.get(5)?,
                attachments: Vec::new(),
                verdict: Verdict::parse(&verdict).unwrap_or(Verdict::Failed),
                trust,
                automatic: row.get(7)?,
                received_at: timestamp(row.get(8)?),
            })
        })
        .optional()?;
    let Some(mut mail) = mail else { return Ok(None) };
    mail.attachments = attachments(conn, message)?;
    Ok(Some(mail))
}

pub(super) fn attachments(conn: &Connection, message: MessageId) -> Result<Vec<Attachment>> {
    let mut query = conn.prepare_cached(
        "SELECT part, name, media_type, size, inline FROM attachments
         WHERE message_id = ?1 ORDER BY part",
    )?;
    let rows = query.query_map((message,), |row| {
        Ok(Attachment {
            part: row.get(0)?,
            name: row.get(1)?,
            media_type: row.get(2)?,
            size: row.get::<_, i64>(3)?.cast_unsigned(),
            inline: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Words that are being handled, which are no history yet, stored already or not.
pub(super) struct BeingSaid {
    pub call: Option<CallId>,
    pub turn: u32,
    pub message: Option<MessageId>,
}

/// The history a handler reads, within the transaction of its snapshot.
pub(super) struct Looking<'c> {
    pub conn: &'c Connection,
    pub being_said: Option<BeingSaid>,
}

impl Looking<'_> {
    fn or_nothing<T: Default>(&self, found: Result<T>) -> T {
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "a handler's look into the history failed");
            T::default()
        })
    }
}

impl History for Looking<'_> {
    fn recent(&self, instance: InstanceId, limit: usize) -> Vec<Said> {
        self.or_nothing((|| {
            let mut query = self.conn.prepare_cached(
                "SELECT m.id, m.channel, m.role, m.author, m.text, m.created_at, s.heard
                 FROM messages m
                 LEFT JOIN spoken s ON s.message_id = m.id
                 -- The newest n messages lie in the n conversations that moved last, so an instance with
                 -- a hundred thousand conversations reads few of them. One more, where words are left out.
                 WHERE m.conversation_id IN (
                     SELECT id FROM conversations WHERE instance_id = ?1
                     ORDER BY last_message_at DESC LIMIT ?2 + 1)
                   AND m.status = 'admitted'
                   AND m.id IS NOT ?3
                   AND NOT coalesce(s.speaker = 'caller' AND s.call_id = ?4 AND s.turn = ?5, 0)
                 ORDER BY m.id DESC LIMIT ?2",
            )?;
            let now = self.being_said.as_ref();
            let (message, call, turn) = (
                now.and_then(|now| now.message),
                now.and_then(|now| now.call),
                now.map(|now| now.turn),
            );
            let rows = query.query_map((instance, limit, message, call, turn), |row| {
                let heard: Option<i64> = row.get(6)?;
                let (text, unheard) = match heard {
                    None => (row.get(4)?, String::new()),
                    Some(heard) => {
                        calls::heard_of(row.get(4)?, usize::try_from(heard).unwrap_or(0))
                    }
                };
                Ok(Said {
                    message: row.get(0)?,
                    channel: row.get(1)?,
                    role: row.get(2)?,
                    author: row.get(3)?,
                    text,
                    interrupted: !unheard.is_empty(),
                    at: timestamp(row.get(5)?),
                })
            })?;
            let mut said = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            said.reverse();
            Ok(said)
        })())
    }

    fn attachments(&self, instance: InstanceId, message: MessageId) -> Vec<Attachment> {
        self.or_nothing((|| {
            let visible = self
                .conn
                .prepare_cached(
                    "SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id
                     WHERE m.id = ?1 AND c.instance_id = ?2 AND m.status = 'admitted'",
                )?
                .exists((message, instance))?;
            if visible { attachments(self.conn, message) } else { Ok(Vec::new()) }
        })())
    }

    fn contact(&self, instance: InstanceId) -> Option<ContactCard> {
        self.or_nothing((|| {
            let found: Option<(i64, String, String)> = self
                .conn
                .prepare_cached(
                    "SELECT c.id, c.name, c.trust FROM instances i JOIN contacts c ON c.id = i.contact_id
                     WHERE i.id = ?1 AND i.proven = 1",
                )?
                .query_row((instance,), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((id, name, trust)) = found else { return Ok(None) };
            let mut handles = self
                .conn
                .prepare_cached("SELECT value FROM handles WHERE contact_id = ?1 ORDER BY id")?;
            let handles = handles
                .query_map((id,), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()?;
            let trust = Trust::parse(&trust).unwrap_or(Trust::Unproven);
            Ok(Some(ContactCard { name, trust, handles }))
        })())
    }
}
