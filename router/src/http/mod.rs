//! HTTP: the API, health and metrics.
//!
//! [`local`] is served on the control socket, which the file system keeps for the local operator (mode
//! 0600): whoever asks there is that operator. [`public`] is what any listener serves: the same API for
//! people and programs who say who they are, health, readiness, and metrics for loopback or a token.
//!
//! - [`access`] says who a request is from, and what they may do;
//! - [`origin`] says which names and pages are ours;
//! - `secret`, `password`, `throttle`: what they show, and the brakes on guessing;
//! - `headers`: what stands on every answer; `idempotency`: what is asked for twice is done once;
//! - [`keeper`] and [`webhook`]: what happens behind it without anybody asking;
//! - `api`: the resources, one file each, and the OpenAPI document;
//! - [`tls`] loads certificates.

pub mod access;
pub(crate) mod api;
mod headers;
mod idempotency;
pub mod keeper;
pub mod origin;
pub mod pages;
mod password;
pub mod problem;
pub(crate) mod secret;
mod throttle;
pub mod tls;
pub mod webhook;

use crate::{config::HttpConfig, desk::Desk};
use access::Principal;
use anyhow::Context as _;
use axum::{
    Extension, Router,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use frontdesk_agents::store::NewLink;
use jiff::{SignedDuration, Timestamp};
use origin::Origins;
use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};
use subtle::ConstantTimeEq;
use throttle::Throttle;
use tokio::{net::UnixListener, sync::Semaphore};

/// Programs and browsers that listen to events at once. Each is a small task that mostly sleeps.
const STREAMS: usize = 512;

/// What HTTP remembers between requests.
pub struct Front {
    /// Known once the listeners are.
    listening: OnceLock<Vec<SocketAddr>>,
    throttle: Mutex<Throttle>,
    streams: Arc<Semaphore>,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            listening: OnceLock::new(),
            throttle: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl Front {
    /// Says which addresses are in fact listened on.
    pub fn listens_on(&self, addresses: &[SocketAddr]) {
        // A desk is served once.
        let _ = self.listening.set(addresses.to_vec());
    }

    /// The names and pages that are ours.
    pub fn origins(&self, config: &HttpConfig) -> Origins {
        Origins::new(config, self.listening.get().unwrap_or(&config.listen))
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A link signs somebody in once, within a day.
pub const LINK_LASTS: SignedDuration = SignedDuration::from_hours(24);

/// A link that signs somebody in: what is shown once, and what is kept.
fn new_link(desk: &Desk) -> anyhow::Result<(String, NewLink)> {
    let secret = secret::new("").context("make a sign-in link")?;
    let link = NewLink { hash: secret::hash(&secret), expires_at: later(desk, LINK_LASTS) };
    // Behind the `#`, where it is in no request, no log and no Referer.
    Ok((format!("{}/signin#{secret}", desk.origins().main()), link))
}

fn later(desk: &Desk, by: SignedDuration) -> Timestamp {
    desk.store.clock().now().checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Makes the first owner when there is no user yet, and answers the link that lets them in.
pub async fn first_owner(desk: &Desk) -> anyhow::Result<Option<String>> {
    let (url, link) = new_link(desk)?;
    let user = desk.store.found("owner".into(), link).await.context("make the first user")?;
    Ok(user.map(|_| url))
}

/// Everything, for the local operator.
pub fn local(desk: Arc<Desk>) -> Router {
    Router::new()
        .nest("/api/v1", api::router(&desk))
        .route("/metrics", get(metrics_text))
        .merge(crate::voice::routes())
        .merge(crate::mcp::routes(&desk))
        .merge(health())
        .layer(Extension(Principal::operator()))
        .layer(middleware::from_fn_with_state(desk.clone(), headers::set))
        .with_state(desk)
}

/// Small frames leave at once: otherwise each would wait until the one before has arrived (RFC 896), and sound
/// comes in small frames.
pub(crate) fn without_delay(stream: &mut tokio::net::TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its small writes back");
    }
}

/// What any listener serves.
pub fn public(desk: Arc<Desk>) -> Router {
    Router::new()
        .nest("/api/v1", api::router(&desk))
        .route("/metrics", get(metrics))
        .merge(crate::voice::routes())
        .merge(crate::mcp::routes(&desk))
        .merge(health())
        .layer(middleware::from_fn_with_state(desk.clone(), headers::set))
        .with_state(desk)
}

fn health() -> Router<Arc<Desk>> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The store answers as well: mail can be taken.
async fn readyz(State(desk): State<Arc<Desk>>) -> Response {
    match desk.store.queue_depths().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let admitted = match (&desk.config.http.metrics_token, token) {
        (Some(secret), Some(token)) => {
            bool::from(secret.expose().as_bytes().ct_eq(token.as_bytes()))
        }
        _ => peer.ip().to_canonical().is_loopback(),
    };
    if admitted {
        return metrics_text(State(desk)).await;
    }
    (StatusCode::FORBIDDEN, "metrics are for loopback or the bearer token of http.metrics_token\n")
        .into_response()
}

async fn metrics_text(State(desk): State<Arc<Desk>>) -> Response {
    match desk.store.queue_depths().await {
        Ok([ready, dead, outgoing, reviews]) => {
            metrics::gauge!("events_waiting").set(ready as f64);
            metrics::gauge!("events_dead").set(dead as f64);
            metrics::gauge!("deliveries_waiting").set(outgoing as f64);
            metrics::gauge!("reviews_waiting").set(reviews as f64);
        }
        Err(error) => tracing::warn!(%error, "the queues could not be counted"),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], desk.metrics.render()).into_response()
}

/// Opens the control socket for its owner alone. One that a crash left behind is replaced: the lock on
/// the data says that nobody else serves it.
pub fn bind_control(path: &Path) -> anyhow::Result<UnixListener> {
    let bound = || -> std::io::Result<UnixListener> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bound().with_context(|| {
        format!(
            "cannot open the control socket {} (a socket's path is at most 107 bytes: use a shorter --data)",
            path.display()
        )
    })
}
