//! HTTP: the API, health and metrics.
//!
//! [`local`] is the whole API and is served on the control socket only, which the file system keeps
//! for the local operator (mode 0600). [`public`] is what any listener serves: health, readiness, and
//! metrics for loopback or a token. The API gets a network side of its own once it has users.

mod api;
pub mod pages;
mod problem;
pub mod tls;
mod views;

use crate::desk::Desk;
use anyhow::Context as _;
use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc};
use subtle::ConstantTimeEq;
use tokio::net::UnixListener;

/// Everything, for the local operator.
pub fn local(desk: Arc<Desk>) -> Router {
    Router::new()
        .nest("/api/v1", api::router())
        .route("/metrics", get(metrics_text))
        .merge(health())
        .with_state(desk)
}

/// What any listener serves.
pub fn public(desk: Arc<Desk>) -> Router {
    Router::new().route("/metrics", get(metrics)).merge(health()).with_state(desk)
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
