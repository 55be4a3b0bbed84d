//! Addresses that are told what happens: what each is still to be told, and how that went.

use super::{Lane, Result, Store, StoreError, Tx, timestamp};
use crate::{WebhookDeliveryId, WebhookId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

/// An address that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    /// Kinds of changes.
    pub events: Vec<String>,
    pub active: bool,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// One event for one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDelivery {
    pub id: WebhookDeliveryId,
    pub event: String,
    /// `queued`, `sent` or `dead`.
    pub state: String,
    pub attempts: u32,
    /// What the receiver answered last, or why it could not be reached.
    pub answer: String,
    pub next_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A delivery to make now.
#[derive(Clone)]
pub struct DueWebhook {
    pub id: WebhookDeliveryId,
    pub url: String,
    pub secret: Vec<u8>,
    pub body: String,
    /// 1 the first time.
    pub attempt: u32,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    Sent,
    RetryAt(Timestamp),
    /// Nobody tries again until a person does.
    Dead,
}

/// Changes looked at in one step.
const STEP: i64 = 500;

impl Store {
    /// Adds a webhook. It is told of what happens from now on.
    pub async fn create_webhook(
        &self,
        url: String,
        events: Vec<String>,
        secret: Vec<u8>,
        by: String,
    ) -> Result<Webhook> {
        self.write(Lane::Turn, move |tx| {
            let id = WebhookId(tx.insert(
                "INSERT INTO webhooks (url, events, secret, seen, created_by, created_at)
                 VALUES (?1, ?2, ?3, coalesce((SELECT max(id) FROM changes), 0), ?4, ?5)",
                (&url, serde_json::to_string(&events)?, &secret, &by, tx.now),
            )?);
            tx.audit(&by, "webhook.create", &id.to_string(), &url)?;
            load(tx.conn, id)
        })
        .await
    }

    /// Webhooks by id, after one.
    pub async fn webhooks(&self, after: WebhookId, limit: usize) -> Result<Vec<Webhook>> {
        self.read_async(move |conn| {
            let ids = conn
                .prepare_cached("SELECT id FROM webhooks WHERE id > ?1 ORDER BY id LIMIT ?2")?
                .query_map((after, limit), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<WebhookId>>>()?;
            ids.into_iter().map(|id| load(conn, id)).collect()
        })
        .await
    }

    /// A webhook.
    pub async fn webhook(&self, id: WebhookId) -> Result<Webhook> {
        self.read_async(move |conn| load(conn, id)).await
    }

    /// Changes a webhook; what is `None` stays. One that is switched on again is not told what it missed.
    pub async fn change_webhook(
        &self,
        id: WebhookId,
        url: Option<String>,
        events: Option<Vec<String>>,
        active: Option<bool>,
        by: String,
    ) -> Result<Webhook> {
        self.write(Lane::Turn, move |tx| {
            let is = load(tx.conn, id)?;
            let events = events.as_ref().map(serde_json::to_string).transpose()?;
            tx.run(
                "UPDATE webhooks SET url = coalesce(?2, url), events = coalesce(?3, events),
                                     active = coalesce(?4, active) WHERE id = ?1",
                (id, &url, events, active),
            )?;
            if active == Some(true) && !is.active {
                tx.run(
                    "UPDATE webhooks SET seen = coalesce((SELECT max(id) FROM changes), 0) WHERE id = ?1",
                    (id,),
                )?;
            }
            tx.audit(&by, "webhook.update", &id.to_string(), "")?;
            load(tx.conn, id)
        })
        .await
    }

    /// Removes a webhook with what it was still to be told.
    pub async fn delete_webhook(&self, id: WebhookId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let url = load(tx.conn, id)?.url;
            tx.run("DELETE FROM webhooks WHERE id = ?1", (id,))?;
            tx.audit(&by, "webhook.delete", &id.to_string(), &url)
        })
        .await
    }

    /// What a webhook was told and is to be told, newest first, below an id.
    pub async fn webhook_deliveries(
        &self,
        webhook: WebhookId,
        before: WebhookDeliveryId,
        limit: usize,
    ) -> Result<Vec<WebhookDelivery>> {
        self.read_async(move |conn| {
            load(conn, webhook)?;
            let mut query = conn.prepare_cached(&format!(
                "SELECT {DELIVERY} FROM webhook_deliveries
                 WHERE webhook_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ))?;
            let rows = query.query_map((webhook, before, limit), delivery)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Tells a webhook something again.
    pub async fn replay_webhook(
        &self,
        webhook: WebhookId,
        id: WebhookDeliveryId,
        by: String,
    ) -> Result<WebhookDelivery> {
        self.write(Lane::Turn, move |tx| {
            let again = tx.run(
                "UPDATE webhook_deliveries
                 SET state = 'queued', attempts = 0, next_at = ?3, settled_at = NULL
                 WHERE id = ?1 AND webhook_id = ?2 AND state <> 'queued'",
                (id, webhook, tx.now),
            )?;
            let found = tx
                .conn
                .prepare_cached(&format!(
                    "SELECT {DELIVERY} FROM webhook_deliveries WHERE id = ?1 AND webhook_id = ?2"
                ))?
                .query_row((id, webhook), delivery)
                .optional()?;
            let found = found.ok_or_else(|| {
                StoreError::NotFound(format!("webhook {webhook} has no delivery {id}"))
            })?;
            if again == 0 {
                return Err(StoreError::Conflict(format!("delivery {id} is on its way already")));
            }
            tx.audit(&by, "webhook.replay", &id.to_string(), "")?;
            Ok(found)
        })
        .await
    }

    /// Whether anybody is told anything.
    pub async fn has_webhooks(&self) -> Result<bool> {
        self.read_async(|conn| {
            Ok(conn.prepare_cached("SELECT 1 FROM webhooks WHERE active = 1 LIMIT 1")?.exists(())?)
        })
        .await
    }

    /// Queues what happened since the last look for those who want to know. Answers whether there is more.
    pub async fn fill_webhooks(&self) -> Result<bool> {
        let behind = self
            .read_async(|conn| {
                Ok(conn
                    .prepare_cached(
                        "SELECT 1 FROM webhooks WHERE active = 1
                         AND seen < (SELECT max(id) FROM changes)",
                    )?
                    .exists(())?)
            })
            .await?;
        if !behind {
            return Ok(false);
        }
        self.write(Lane::Turn, |tx| {
            let hooks = {
                let mut query = tx.conn.prepare_cached(
                    "SELECT id, events, seen FROM webhooks WHERE active = 1 ORDER BY id",
                )?;
                query
                    .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect::<rusqlite::Result<Vec<(WebhookId, String, i64)>>>()?
            };
            let mut more = false;
            for (id, events, seen) in hooks {
                more |= fill(tx, id, &events, seen)?;
            }
            Ok(more)
        })
        .await
    }

    /// Deliveries that are due. Nobody else makes them: there is one worker.
    pub async fn due_webhooks(&self, max: usize) -> Result<Vec<DueWebhook>> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT d.id, w.url, w.secret, d.body, d.attempts + 1
                 FROM webhook_deliveries d INDEXED BY webhook_deliveries_due
                 JOIN webhooks w ON w.id = d.webhook_id
                 WHERE d.state = 'queued' AND d.next_at <= ?1 AND w.active = 1
                 ORDER BY d.next_at, d.id LIMIT ?2",
            )?;
            let rows = query.query_map((now, max), |row| {
                Ok(DueWebhook {
                    id: row.get(0)?,
                    url: row.get(1)?,
                    secret: row.get(2)?,
                    body: row.get(3)?,
                    attempt: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// When the next delivery is due.
    pub async fn next_webhook(&self) -> Result<Option<Timestamp>> {
        self.read_async(|conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT min(d.next_at) FROM webhook_deliveries d
                     JOIN webhooks w ON w.id = d.webhook_id
                     WHERE d.state = 'queued' AND w.active = 1",
                )?
                .query_row((), |row| row.get::<_, Option<i64>>(0))?
                .map(timestamp))
        })
        .await
    }

    /// Records how an attempt went.
    pub async fn settle_webhook(
        &self,
        id: WebhookDeliveryId,
        outcome: WebhookOutcome,
        answer: String,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let (state, next_at) = match outcome {
                WebhookOutcome::Sent => ("sent", None),
                WebhookOutcome::RetryAt(at) => ("queued", Some(at.as_millisecond())),
                WebhookOutcome::Dead => ("dead", None),
            };
            tx.run(
                "UPDATE webhook_deliveries
                 SET state = ?2, answer = ?3, attempts = attempts + 1,
                     next_at = coalesce(?4, next_at),
                     settled_at = CASE WHEN ?2 = 'queued' THEN NULL ELSE ?5 END
                 WHERE id = ?1",
                (id, state, &answer, next_at, tx.now),
            )?;
            Ok(())
        })
        .await
    }
}

fn fill(tx: &Tx<'_>, hook: WebhookId, events: &str, seen: i64) -> Result<bool> {
    let mut query = tx.conn.prepare_cached(
        "SELECT x.id, x.kind, x.conversation_id, a.name, x.subject_id,
                x.kind IN (SELECT value FROM json_each(?2))
         FROM changes x LEFT JOIN conversations c ON c.id = x.conversation_id
         LEFT JOIN agents a ON a.id = c.agent_id
         WHERE x.id > ?1 ORDER BY x.id LIMIT ?3",
    )?;
    let mut rows = query.query((seen, events, STEP))?;
    let (mut last, mut count) = (seen, 0);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        count += 1;
        if !row.get::<_, bool>(5)? {
            continue;
        }
        let (kind, conversation, agent, subject): (String, Option<i64>, Option<String>, i64) =
            (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let body = json!({
            "id": last,
            "type": &kind,
            "created_at": timestamp(tx.now),
            "agent": agent,
            "conversation": conversation,
            "subject": subject,
        });
        tx.run(
            "INSERT INTO webhook_deliveries (webhook_id, event, body, next_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?4)",
            (hook, &kind, body.to_string(), tx.now),
        )?;
    }
    drop(rows);
    tx.run("UPDATE webhooks SET seen = ?2 WHERE id = ?1", (hook, last))?;
    Ok(count == STEP)
}

fn load(conn: &Connection, id: WebhookId) -> Result<Webhook> {
    let found = conn
        .prepare_cached(
            "SELECT url, events, active, created_by, created_at FROM webhooks WHERE id = ?1",
        )?
        .query_row((id,), |row| {
            let webhook = Webhook {
                id,
                url: row.get(0)?,
                events: Vec::new(),
                active: row.get(2)?,
                created_by: row.get(3)?,
                created_at: timestamp(row.get(4)?),
            };
            Ok((webhook, row.get::<_, String>(1)?))
        })
        .optional()?;
    let (mut webhook, events) =
        found.ok_or_else(|| StoreError::NotFound(format!("there is no webhook {id}")))?;
    webhook.events = serde_json::from_str(&events)?;
    Ok(webhook)
}

const DELIVERY: &str = "id, event, state, attempts, answer, next_at, created_at";

fn delivery(row: &Row<'_>) -> rusqlite::Result<WebhookDelivery> {
    let state: String = row.get(2)?;
    Ok(WebhookDelivery {
        id: row.get(0)?,
        event: row.get(1)?,
        next_at: if state == "queued" { Some(timestamp(row.get(5)?)) } else { None },
        state,
        attempts: row.get(3)?,
        answer: row.get(4)?,
        created_at: timestamp(row.get(6)?),
    })
}
