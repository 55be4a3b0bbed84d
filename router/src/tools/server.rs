//! One server: connected to when it is wanted, looked after while it is there, and connected to again after it
//! ended, each time a little later.
//!
//! A task of its own does that, so that a turn which is given up in the meantime breaks nothing off. What it
//! knows is in one place that everybody else only reads.

use super::connect::{Connection, open_within};
use super::offer::List;
use crate::config::McpServer;
use rmcp::{RoleClient, service::Peer};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// How long a server may take until it has said what it offers.
const START: Duration = Duration::from_secs(20);
/// How long one that somebody gave up on may take to show that it is alive.
const PROBE: Duration = Duration::from_secs(5);
/// A connection that lasted this long was a good one.
const STEADY: Duration = Duration::from_secs(60);
/// Lists are asked for no more often than this, whatever the server says has changed.
const BETWEEN_LISTS: Duration = Duration::from_secs(1);
/// The longest wait before a server is tried again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A configured server.
pub(super) struct Server {
    pub config: McpServer,
    shared: Arc<Shared>,
    task: OnceLock<JoinHandle<()>>,
}

struct Shared {
    state: watch::Sender<State>,
    /// Somebody wants it.
    wanted: Notify,
    /// Somebody gave up waiting for it.
    suspect: Notify,
    closing: watch::Sender<bool>,
}

/// What is known of a server.
#[derive(Clone, Default)]
struct State {
    status: Status,
    /// What it offered last, also after it ended.
    list: Option<Arc<List>>,
}

#[derive(Clone, Default)]
enum Status {
    #[default]
    Asleep,
    Connecting,
    Up(Peer<RoleClient>),
    /// The reason is the end of a sentence.
    Down {
        why: String,
        until: Instant,
    },
}

impl Server {
    pub fn new(config: McpServer) -> Arc<Self> {
        let shared = Shared {
            state: watch::Sender::default(),
            wanted: Notify::new(),
            suspect: Notify::new(),
            closing: watch::Sender::new(false),
        };
        Arc::new(Self { config, shared: Arc::new(shared), task: OnceLock::new() })
    }

    /// What it offered last.
    pub fn list(&self) -> Option<Arc<List>> {
        self.shared.state.borrow().list.clone()
    }

    /// Its connection, which is made if there is none. The error, the end of a sentence, is why there is none now.
    pub async fn up(&self, patience: Duration) -> Result<Peer<RoleClient>, String> {
        self.task.get_or_init(|| tokio::spawn(supervise(self.config.clone(), self.shared.clone())));
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state.subscribe();
        loop {
            if *self.shared.closing.borrow() {
                return Err("this program is stopping".to_owned());
            }
            match &state.borrow_and_update().status {
                Status::Up(peer) if !peer.is_transport_closed() => return Ok(peer.clone()),
                Status::Down { why, until } if Instant::now() < *until => return Err(why.clone()),
                Status::Asleep | Status::Down { .. } => self.shared.wanted.notify_one(),
                Status::Connecting | Status::Up(_) => {}
            }
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err("this program is stopping".to_owned()),
                Err(_) => return Err("it has not started yet".to_owned()),
            }
        }
    }

    /// Has the server looked at: a call of it was given up.
    pub fn suspect(&self) {
        self.shared.suspect.notify_one();
    }

    /// Ends the connection and waits until it has ended.
    pub async fn stop(&self) {
        self.shared.closing.send_replace(true);
        let mut state = self.shared.state.subscribe();
        if self.task.get().is_some() {
            // A task that is gone has ended its connection.
            let _ = timeout(START, state.wait_for(|state| matches!(state.status, Status::Asleep)))
                .await;
        }
    }
}

/// Whoever used it last has gone.
impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

/// How long to wait before the next attempt: the first comes at once, because servers are restarted.
fn wait_after(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        more => Duration::from_secs(1 << (more - 1).min(6)).min(WAIT_MAX),
    }
}

async fn until_closing(closing: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to want anything.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn supervise(config: McpServer, shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut failures: u32 = 0;
    loop {
        tokio::select! {
            () = until_closing(&mut closing) => break,
            () = shared.wanted.notified() => {}
        }
        // A wish that was granted meanwhile.
        let down_until = match &shared.state.borrow().status {
            Status::Down { until, .. } => Some(*until),
            _ => None,
        };
        if down_until.is_some_and(|until| Instant::now() < until) {
            continue;
        }
        shared.state.send_modify(|state| state.status = Status::Connecting);
        let opened = tokio::select! {
            () = until_closing(&mut closing) => break,
            opened = open_within(&config, START) => opened,
        };
        let (why, wait) = match opened {
            Ok((mut connection, tools)) => {
                let began = Instant::now();
                tracing::info!(
                    server = config.name,
                    tools = tools.len(),
                    "a server of tools is there"
                );
                let list = Arc::new(List::new(&config, tools));
                shared.state.send_modify(|state| {
                    state.list = Some(list);
                    state.status = Status::Up(connection.peer.clone());
                });
                let why = attend(&config, &shared, &mut connection, &mut closing).await;
                shared.state.send_modify(|state| state.status = Status::Connecting);
                connection.close().await;
                let Some(why) = why else { break };
                if began.elapsed() >= STEADY {
                    failures = 0;
                }
                (why, wait_after(failures))
            }
            Err(why) => (why, wait_after(failures.max(1))),
        };
        tracing::warn!(server = config.name, why, "a server of tools is not there");
        let until = Instant::now() + wait;
        failures = (failures + 1).min(16);
        shared.state.send_modify(|state| state.status = Status::Down { why, until });
    }
    shared.state.send_modify(|state| state.status = Status::Asleep);
}

/// Looks after a connection until it ends, and says why it did. `None`: because nobody wants it any more.
async fn attend(
    config: &McpServer,
    shared: &Shared,
    connection: &mut Connection,
    closing: &mut watch::Receiver<bool>,
) -> Option<String> {
    let mut not_before = Instant::now();
    loop {
        let limit = tokio::select! {
            () = until_closing(closing) => return None,
            _ = &mut connection.ended => return Some("it ended".to_owned()),
            () = shared.suspect.notified() => PROBE,
            () = connection.changed.notified() => {
                tokio::time::sleep_until(not_before).await;
                START
            }
        };
        // Asking what it offers shows that it is alive as well.
        not_before = Instant::now() + BETWEEN_LISTS;
        match timeout(limit, connection.list()).await {
            Ok(Ok(tools)) => {
                let list = Arc::new(List::new(config, tools));
                shared.state.send_modify(|state| state.list = Some(list));
            }
            Ok(Err(why)) => return Some(why),
            Err(_) => return Some("it does not answer".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_comes_at_once_and_later_ones_at_least_every_minute() {
        let waits: Vec<_> = (0..9).map(|failures| wait_after(failures).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
