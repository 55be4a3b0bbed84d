//! What happens, as it happens (server-sent events).
//!
//! Every event has the id of its change, so that a browser that comes back names the last one it saw and
//! misses nothing; if that is too long ago it is told to look at everything anew (`reset`). Only what is
//! in sight is told. A stream ends when whoever listens may no longer listen.

use super::{
    Routes,
    ask::{Answer, Ask},
};
use crate::{
    desk::Desk,
    http::{
        access::{self, Need, Principal},
        problem::Problem,
    },
};
use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use frontdesk_agents::store::{Change, Scope};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use utoipa::IntoParams;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes.add(Need::Scope(Scope::Read), routes!(events))
}

/// Proxies take a connection for dead after half a minute of silence. It is also how soon a stream ends
/// whose listener was signed out.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Commits within this time are told together: at full load a listener asks twenty times a second.
const GATHER: Duration = Duration::from_millis(50);
/// Changes looked at in one step.
const STEP: usize = 200;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// The last event seen, where `Last-Event-ID` cannot be set.
    after: Option<i64>,
}

/// The head of the request, to ask again who listens.
struct Head(Parts);

impl<S: Send + Sync> FromRequestParts<S> for Head {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.clone()))
    }
}

struct Listening {
    desk: Arc<Desk>,
    head: Parts,
    principal: Principal,
    commits: watch::Receiver<bool>,
    after: i64,
    /// When it was last known that whoever listens may.
    checked: Instant,
    ready: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

/// What happens from now on, or from an event on: `ready` first, then `mail.received`, `message.added`,
/// `message.changed`, `conversation.changed`, `review.needed`, `review.decided`, `outbox.changed`,
/// `delivery.sent`, `delivery.failed`, `delivery.changed`, each with its ids; `reset` when some were missed.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn events(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Head(head): Head,
    Ask(q): Ask<EventsQuery>,
) -> Answer<Response> {
    let place = desk.front.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("too many programs listen already"))?;
    let last_seen = match head.headers.get("last-event-id") {
        Some(id) => Some(
            id.to_str()
                .ok()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| Problem::bad_request("Last-Event-ID is not an id of ours"))?,
        ),
        None => q.after,
    };
    // Before the table is looked at, so that no commit falls between.
    let commits = desk.store.commits();
    let (first, last) = desk.store.changes_kept().await?;
    let missed = last_seen.is_some_and(|seen| seen > last || seen + 1 < first);
    let (name, after) = match last_seen {
        Some(seen) if !missed => ("ready", seen),
        Some(_) => ("reset", last),
        None => ("ready", last),
    };
    let greeting = Event::default().event(name).id(after.to_string()).data("{}");
    let listening = Listening {
        desk,
        head,
        principal,
        commits,
        after,
        checked: Instant::now(),
        ready: VecDeque::from([greeting]),
        _place: place,
    };
    let stream = stream::unfold(listening, |mut listening| async move {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(event), listening))
    });
    Ok(Sse::new(stream).into_response())
}

impl Listening {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if *self.commits.borrow_and_update() {
                return None;
            }
            if self.checked.elapsed() >= HEARTBEAT {
                self.principal = access::still(&self.desk, &self.head, &self.principal).await?;
                self.checked = Instant::now();
                return Some(Event::default().comment("still here"));
            }
            let sight = self.principal.sight().clone();
            let (changes, last) = self.desk.store.changes(sight, self.after, STEP).await.ok()?;
            if last > self.after {
                self.after = last;
                self.ready.extend(changes.iter().map(event));
                continue;
            }
            match tokio::time::timeout_at(self.checked + HEARTBEAT, self.commits.changed()).await {
                Ok(Ok(())) => tokio::time::sleep(GATHER).await,
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
    }
}

fn event(change: &Change) -> Event {
    let data = json!({
        "id": change.id,
        "type": change.kind,
        "agent": change.agent,
        "conversation": change.conversation,
        "subject": change.subject,
    });
    Event::default().event(&change.kind).id(change.id.to_string()).data(data.to_string())
}
