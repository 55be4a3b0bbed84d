//! Calls and live text: where a person's voice or words reach an agent.
//!
//! - [`access`]: who may talk to which agent, and as whom;
//! - [`link`]: signed links that let somebody in without an account;
//! - [`host`]: the agent and the history behind a call;
//! - [`socket`]: one browser's WebSocket;
//! - [`client`]: a caller without a browser;
//! - [`pages`]: the talk page, and the page to sign in on the way to it;
//! - `start`: what it takes to begin a call;
//! - `text`: text outside of calls, which outlives a dropped connection.
//!
//! [`Calls`] is what they share: the engines, the calls that are open, and the limits on them.

pub mod access;
pub mod client;
mod host;
pub mod link;
mod pages;
mod socket;
pub(crate) mod start;
mod text;

use crate::{desk::Desk, engines::Engines};
use axum::{Router, routing::any, routing::get};
use frontdesk_agents::{
    CallId, InstanceId,
    live::{Directive, Wanted},
    runtime::Live,
};
use frontdesk_voice::{
    browser::{View, reply},
    call::{Input, Line},
    shell::{Event, Handle},
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{broadcast, mpsc};

/// How long calls get to hear a farewell when the server stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// Everything about calls that outlives a single one.
pub struct Calls {
    pub(crate) engines: Engines,
    pub(crate) live: Live,
    /// Where sounds that are said again and again are kept.
    cache: PathBuf,
    /// Where recordings are written while their calls last.
    recordings: PathBuf,
    open: Mutex<HashMap<CallId, Open>>,
    /// Calls whose connection dropped, by the token that gets them back.
    parked: Mutex<HashMap<String, Parked>>,
    /// Text outside of calls, by the token that gets it back.
    texts: Mutex<HashMap<String, Arc<text::TextSession>>>,
    /// Calls that are being started or are open, by whom.
    taken: Mutex<HashMap<String, u32>>,
    stopping: AtomicBool,
}

/// An open call.
struct Open {
    instance: InstanceId,
    handle: Handle,
}

/// A call that waits for its client.
pub(crate) struct Parked {
    pub handle: Handle,
    pub events: mpsc::Receiver<Event>,
    pub view: View,
    pub call: CallId,
    /// Its place among the calls, which says who may have it back.
    pub place: Place,
}

/// A place among the calls that are allowed at once; given back when dropped.
pub(crate) struct Place {
    calls: Arc<Calls>,
    identity: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.calls.taken);
        if let Some(count) = taken.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.identity);
            }
        }
        let open: u32 = taken.values().sum();
        metrics::gauge!("calls_open").set(f64::from(open));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Calls {
    /// With no call yet.
    pub(crate) fn new(desk: &Desk, live: Live) -> Arc<Self> {
        let data = &desk.config.server.data;
        let calls = Arc::new(Self {
            engines: desk.engines.clone(),
            live,
            cache: data.join("cache").join("speech"),
            recordings: data.join("tmp").join("recordings"),
            open: Mutex::default(),
            parked: Mutex::default(),
            texts: Mutex::default(),
            taken: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        tokio::spawn(direct(Arc::downgrade(&calls), desk.store.directives()));
        calls
    }

    /// A place for another call of this person, or why there is none.
    fn place(self: &Arc<Self>, desk: &Desk, identity: &str) -> Result<Place, String> {
        if self.stopping.load(Ordering::Acquire) {
            return Err("The server is restarting. Please try again in a moment.".into());
        }
        let voice = &desk.config.voice;
        let mut taken = lock(&self.taken);
        let all: u32 = taken.values().sum();
        if all >= voice.max_calls {
            metrics::counter!("calls_refused_total", "why" => "busy").increment(1);
            return Err("All lines are busy. Please try again in a few minutes.".into());
        }
        let own = taken.entry(identity.to_owned()).or_default();
        if *own >= voice.max_calls_per_user {
            metrics::counter!("calls_refused_total", "why" => "too_many_of_one").increment(1);
            return Err("You are in a call already. Please end it first.".into());
        }
        *own += 1;
        metrics::gauge!("calls_open").set(f64::from(all + 1));
        Ok(Place { calls: self.clone(), identity: identity.to_owned() })
    }

    fn opened(&self, call: CallId, instance: InstanceId, handle: Handle) {
        lock(&self.open).insert(call, Open { instance, handle });
    }

    fn closed(&self, call: CallId) {
        lock(&self.open).remove(&call);
    }

    /// Keeps a call whose connection dropped until its client is back or the call gives up.
    fn park(self: &Arc<Self>, token: String, parked: Parked) {
        let (calls, handle) = (self.clone(), parked.handle.clone());
        lock(&self.parked).insert(token.clone(), parked);
        tokio::spawn(async move {
            handle.over().await;
            lock(&calls.parked).remove(&token);
        });
    }

    fn unpark(&self, token: &str, identity: &str) -> Option<Parked> {
        let mut parked = lock(&self.parked);
        let is_theirs = parked.get(token).is_some_and(|call| call.place.identity == identity);
        if is_theirs { parked.remove(token) } else { None }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends all calls: callers are told, and what was said is kept.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // What is being answered is finished, or goes on at the next start.
        lock(&self.texts).clear();
        let open: Vec<Handle> = lock(&self.open).values().map(|open| open.handle.clone()).collect();
        for handle in &open {
            let farewell =
                "I have to hang up now, because the server is restarting. Please call again.";
            handle.input(Input::End { farewell: Some(farewell.into()) });
        }
        let over = async {
            for handle in &open {
                handle.over().await;
            }
        };
        if tokio::time::timeout(FAREWELL, over).await.is_err() {
            for handle in &open {
                handle.input(Input::HungUp);
            }
        }
        // The history of the last one is written by its own task, which leaves the map when it is done.
        let written = async {
            while !lock(&self.open).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(FAREWELL, written).await.is_err() {
            tracing::warn!("some calls did not end in time; the next start ends them");
        }
    }
}

/// Brings what agents want of their calls to those calls.
async fn direct(calls: Weak<Calls>, mut directives: broadcast::Receiver<Arc<Directive>>) {
    loop {
        match directives.recv().await {
            // This task keeps no calls, and with them no store, from being dropped.
            Ok(directive) => match calls.upgrade() {
                Some(calls) => calls.carry_out(&directive),
                None => return,
            },
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::error!(missed, "what agents wanted of calls came faster than it was done");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

impl Calls {
    fn carry_out(&self, directive: &Directive) {
        let open = lock(&self.open);
        let wanted = open.iter().filter(|(id, open)| match directive.call {
            Some(call) => **id == call,
            None => open.instance == directive.instance,
        });
        for (call, open) in wanted {
            let input = match &directive.what {
                Wanted::Speak(text) => {
                    Input::Say { line: Line { text: text.clone(), interruptible: true } }
                }
                Wanted::HangUp { farewell } => Input::End { farewell: farewell.clone() },
                Wanted::Message(body) => {
                    if reply::custom(body).is_none() {
                        tracing::warn!(
                            %call,
                            "an agent's message is no JSON object, or has a type of the protocol's own"
                        );
                    } else if !open.handle.message(body.clone()) {
                        tracing::warn!(%call, "a call took no message of its agent");
                    }
                    continue;
                }
                Wanted::Transfer { .. } => {
                    tracing::warn!(%call, "a call in the browser cannot be transferred");
                    let text = "I cannot connect you to anybody from here.".into();
                    Input::Say { line: Line { text, interruptible: true } }
                }
            };
            if !open.handle.input(input) {
                tracing::warn!(%call, "a call took no more of what its agent wanted");
            }
        }
    }
}

/// The routes of live voice and text.
pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/agents/{agent}/{instance}", any(socket::upgrade))
        .route("/talk/{agent}", get(pages::talk))
        .route("/signin", get(pages::signin))
        .route("/talk/favicon.svg", get(pages::favicon))
        .route("/talk/assets/{file}", get(pages::asset))
}
