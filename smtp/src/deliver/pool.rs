//! Connections kept open for the next mail to the same place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::{Connection, Hop, Security};

/// A place, and how safely it was reached: a connection made for one policy does not serve another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    host: String,
    address: SocketAddr,
    security: Security,
    login: Option<String>,
}

impl From<&Hop> for Place {
    fn from(hop: &Hop) -> Self {
        Self {
            host: hop.host.clone(),
            address: hop.address,
            security: hop.security,
            login: hop.login.as_ref().map(|login| login.name.clone()),
        }
    }
}

type Idle = HashMap<Place, Vec<(u64, Connection)>>;

/// Idle connections. Each is closed with QUIT after its time. Clones are the same pool.
#[derive(Clone, Default)]
pub(super) struct Pool {
    idle: Arc<Mutex<Idle>>,
    next: Arc<AtomicU64>,
}

impl Pool {
    /// The connection to this place that was used last.
    pub(super) fn take(&self, place: &Place) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        let parked = idle.get_mut(place)?;
        let taken = parked.pop().map(|(_, connection)| connection);
        if parked.is_empty() {
            idle.remove(place);
        }
        taken
    }

    /// Keeps a connection for `time`.
    pub(super) fn park(&self, place: Place, connection: Connection, time: Duration) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.idle).entry(place.clone()).or_default().push((number, connection));
        let idle = self.idle.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let expired = remove(&mut lock(&idle), &place, number);
            if let Some(connection) = expired {
                connection.quit().await;
            }
        });
    }
}

fn remove(idle: &mut Idle, place: &Place, number: u64) -> Option<Connection> {
    let parked = idle.get_mut(place)?;
    let at = parked.iter().position(|(known, _)| *known == number)?;
    let (_, connection) = parked.remove(at);
    if parked.is_empty() {
        idle.remove(place);
    }
    Some(connection)
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    // Every change is one insertion or removal, so a panic elsewhere leaves nothing half done.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
