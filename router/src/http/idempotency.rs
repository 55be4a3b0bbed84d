//! Writes that are asked for twice and done once: the `Idempotency-Key` header.
//!
//! The answer to the first request is kept for a day and given again to the same request; the same key with
//! another request is a mistake (422). A request that had no effect (4xx) frees its key. One of which nobody
//! knows how it ended is not run again (409), and neither is one whose answer held a secret, which is kept
//! nowhere.

use super::{access::Principal, problem::Problem};
use crate::desk::Desk;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use frontdesk_agents::store::Repeated;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The header with the key.
pub const HEADER: &str = "idempotency-key";
/// Keys are a few words or a UUID.
const KEY_MAX: usize = 255;
/// Answers to writes are small; a larger one is not kept.
const ANSWER_MAX: usize = 1024 * 1024;

/// Marks an answer that holds a secret.
#[derive(Debug, Clone, Copy)]
pub struct Secret;

/// Before the routes: runs a write with a key once.
pub async fn once(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let key = request.headers().get(HEADER).cloned();
    match key {
        Some(key) if !reads && !principal.is_nobody() => {
            run(&desk, &principal, &key, request, next).await.unwrap_or_else(Problem::into_response)
        }
        _ => next.run(request).await,
    }
}

async fn run(
    desk: &Desk,
    principal: &Principal,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
    let key = key
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "an Idempotency-Key is 1 to {KEY_MAX} characters of ASCII"
            ))
        })?
        .to_owned();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, super::api::BODY_MAX)
        .await
        .map_err(|_| Problem::too_large("the body is too large, or did not arrive"))?;
    let mut hash = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let actor = principal.name();
    match desk.store.claim_key(actor.clone(), key.clone(), hash.finalize().into()).await? {
        Repeated::First => {}
        Repeated::Answered { status, body } => return Ok(repeated(status, body)),
        Repeated::Unfinished => {
            return Err(Problem::conflict(
                "a request with this Idempotency-Key is under way, or its answer was lost or held a \
                 secret: look at what it did, and use another key",
            ));
        }
        Repeated::Other => {
            return Err(Problem::unprocessable(
                "this Idempotency-Key was used for another request within the last day",
            ));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let status = response.status();
    if status.is_client_error() {
        desk.store.forget_key(actor, key).await?;
        return Ok(response);
    }
    if !status.is_success() || response.extensions().get::<Secret>().is_some() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, ANSWER_MAX).await.map_err(Problem::internal)?;
    desk.store.keep_answer(actor, key, status.as_u16(), body.to_vec()).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn repeated(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, Body::from(body)).into_response();
    let headers = response.headers_mut();
    if status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
