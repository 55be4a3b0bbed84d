//! A spool without a disk, for tests and for trying a transport. It keeps the same promises as a
//! durable one, including what a restart does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Claimed, Claims, DeliveryId, Error, Outcome, Priority, Room, Spool};
use crate::render::AddrSpec;

/// Where a delivery stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waiting, due from this time on.
    Queued {
        /// The earliest next try.
        due: Timestamp,
    },
    /// Held by a worker that has not marked the data.
    Sending,
    /// Held by a worker, past the mark.
    SendingData,
    /// Settled for good.
    Settled(Outcome),
}

/// Deliveries in memory.
#[derive(Debug, Default)]
pub struct MemorySpool {
    rows: Mutex<BTreeMap<u64, Row>>,
    changed: Notify,
}

#[derive(Debug)]
struct Row {
    delivery: Claimed,
    state: State,
}

impl MemorySpool {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a message for one recipient, as an answer.
    pub fn push(
        &self,
        recipient: AddrSpec,
        reverse_path: Option<AddrSpec>,
        bytes: Bytes,
        due: Timestamp,
    ) -> DeliveryId {
        self.push_as(Priority::Answer, recipient, reverse_path, bytes, due)
    }

    /// Queues a message for one recipient.
    pub fn push_as(
        &self,
        priority: Priority,
        recipient: AddrSpec,
        reverse_path: Option<AddrSpec>,
        bytes: Bytes,
        due: Timestamp,
    ) -> DeliveryId {
        let mut rows = self.rows();
        let number = rows.last_key_value().map_or(1, |(last, _)| last + 1);
        let id = DeliveryId::from(number);
        let delivery = Claimed {
            id: id.clone(),
            recipient,
            reverse_path,
            bytes,
            attempts: 0,
            queued_at: due,
            priority,
        };
        rows.insert(number, Row { delivery, state: State::Queued { due } });
        drop(rows);
        self.changed.notify_one();
        id
    }

    /// Where a delivery stands.
    #[must_use]
    pub fn state(&self, id: &DeliveryId) -> Option<State> {
        let rows = self.rows();
        rows.values().find(|row| row.delivery.id == *id).map(|row| row.state.clone())
    }

    /// What a restart does: what was held before the mark waits again, what was held after it is
    /// uncertain.
    pub fn restart(&self, now: Timestamp) {
        for row in self.rows().values_mut() {
            match row.state {
                State::Sending => row.state = State::Queued { due: now },
                State::SendingData => {
                    let reason = "the program stopped after the data was sent".to_owned();
                    row.state = State::Settled(Outcome::Uncertain { reason });
                }
                State::Queued { .. } | State::Settled(_) => {}
            }
        }
        self.changed.notify_one();
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<u64, Row>> {
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_row<R>(
        &self,
        id: &DeliveryId,
        change: impl FnOnce(&mut Row) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut rows = self.rows();
        match rows.values_mut().find(|row| row.delivery.id == *id) {
            Some(row) => change(row),
            None => Err(refused("no such delivery")),
        }
    }
}

fn refused(why: &str) -> Error {
    Error::Spool(why.into())
}

impl Spool for MemorySpool {
    async fn claim(&self, now: Timestamp, room: Room) -> Result<Claims, Error> {
        let mut claims = Claims::default();
        let mut rows = self.rows();
        for (priority, most) in [(Priority::Answer, room.any), (Priority::Bulk, room.bulk)] {
            let most = most.min(room.any - claims.deliveries.len());
            let before = claims.deliveries.len();
            for row in rows.values_mut().filter(|row| row.delivery.priority == priority) {
                let State::Queued { due } = row.state else { continue };
                if due <= now && claims.deliveries.len() - before < most {
                    row.state = State::Sending;
                    claims.deliveries.push(row.delivery.clone());
                } else {
                    claims.next_due = Some(claims.next_due.map_or(due, |known| known.min(due)));
                }
            }
        }
        Ok(claims)
    }

    async fn starting_data(&self, id: &DeliveryId) -> Result<(), Error> {
        self.with_row(id, |row| match row.state {
            State::Sending => {
                row.state = State::SendingData;
                Ok(())
            }
            _ => Err(refused("the delivery is not being sent")),
        })
    }

    async fn settle(&self, id: &DeliveryId, outcome: Outcome) -> Result<(), Error> {
        self.with_row(id, |row| match (&row.state, outcome) {
            (State::Settled(known), outcome) if *known == outcome => Ok(()),
            (State::Sending | State::SendingData, Outcome::Deferred { until, .. }) => {
                row.delivery.attempts += 1;
                row.state = State::Queued { due: until };
                Ok(())
            }
            (State::Sending | State::SendingData, outcome) => {
                row.state = State::Settled(outcome);
                Ok(())
            }
            _ => Err(refused("the delivery is not being sent")),
        })?;
        // A deferral has a due time that the worker has not seen.
        self.changed.notify_one();
        Ok(())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}
