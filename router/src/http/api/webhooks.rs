//! Addresses that are told what happens.

use super::{
    Routes,
    ask::{Answer, Ask, At, Page, Said},
    users::PageQuery,
};
use crate::{
    desk::Desk,
    http::{access::Principal, idempotency::Secret, problem::Problem, secret, webhook},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    WebhookDeliveryId, WebhookId,
    store::{WEBHOOK_EVENTS, Webhook, WebhookDelivery},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .admin(routes!(list))
        .admin(routes!(create))
        .admin(routes!(get))
        .admin(routes!(update))
        .admin(routes!(delete))
        .admin(routes!(deliveries))
        .admin(routes!(replay))
}

/// An address that is told.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookView {
    id: i64,
    url: String,
    /// `mail.received`, `review.needed`, `delivery.sent`, `delivery.failed`, `call.ended`,
    /// `turn.finished`.
    events: Vec<String>,
    active: bool,
    created_by: String,
    created_at: Timestamp,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id.0,
            url: webhook.url,
            events: webhook.events,
            active: webhook.active,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
        }
    }
}

/// A webhook with its secret.
#[derive(Debug, Serialize, ToSchema)]
struct NewWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// Shown only here. `Frontdesk-Signature: t=SECONDS,v1=HEX` is HMAC-SHA256 with it over
    /// `SECONDS.BODY`.
    secret: String,
}

/// All webhooks.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", params(PageQuery),
    responses((status = 200, body = Page<WebhookView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<WebhookView>>> {
    let (limit, after) = q.of_ids()?;
    let webhooks = desk.store.webhooks(WebhookId(after.unwrap_or(0)), limit + 1).await?;
    Ok(Json(Page::cut(webhooks, limit, |webhook| webhook.id.to_string()).map(Into::into)))
}

/// An address to be told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateWebhook {
    /// `https://`, or `http://` for addresses that `http.webhook_networks` allows.
    url: String,
    events: Vec<String>,
}

fn url_of(desk: &Desk, url: &str) -> Answer<String> {
    webhook::check_url(url, &desk.config.http.webhook_networks).map_err(Problem::unprocessable)
}

fn events_of(mut events: Vec<String>) -> Answer<Vec<String>> {
    events.sort_unstable();
    events.dedup();
    let unknown = events.iter().find(|event| !WEBHOOK_EVENTS.contains(&event.as_str()));
    match unknown {
        _ if events.is_empty() => Err(Problem::unprocessable("name at least one event")),
        Some(unknown) => Err(Problem::unprocessable(format!(
            "{unknown:?} is no event: {} are",
            WEBHOOK_EVENTS.join(", ")
        ))),
        None => Ok(events),
    }
}

/// Have an address told what happens from now on.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = CreateWebhook,
    responses((status = 201, body = NewWebhookView)))]
async fn create(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(new): Said<CreateWebhook>,
) -> Answer<(StatusCode, Extension<Secret>, Json<NewWebhookView>)> {
    let (url, events) = (url_of(&desk, &new.url)?, events_of(new.events)?);
    let secret = secret::new("whsec_").map_err(Problem::internal)?;
    let kept = secret.clone().into_bytes();
    let webhook = desk.store.create_webhook(url, events, kept, principal.name()).await?;
    Ok((
        StatusCode::CREATED,
        Extension(Secret),
        Json(NewWebhookView { webhook: webhook.into(), secret }),
    ))
}

/// A webhook.
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path)),
    responses((status = 200, body = WebhookView)))]
async fn get(State(desk): State<Arc<Desk>>, At(id): At<i64>) -> Answer<Json<WebhookView>> {
    Ok(Json(desk.store.webhook(WebhookId(id)).await?.into()))
}

/// What becomes of a webhook. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateWebhook {
    url: Option<String>,
    events: Option<Vec<String>>,
    active: Option<bool>,
}

/// Change a webhook, or switch it off and on.
#[utoipa::path(patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path)),
    request_body = UpdateWebhook, responses((status = 200, body = WebhookView)))]
async fn update(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(said): Said<UpdateWebhook>,
) -> Answer<Json<WebhookView>> {
    let url = said.url.as_deref().map(|url| url_of(&desk, url)).transpose()?;
    let events = said.events.map(events_of).transpose()?;
    let by = principal.name();
    let webhook = desk.store.change_webhook(WebhookId(id), url, events, said.active, by).await?;
    Ok(Json(webhook.into()))
}

/// Remove a webhook with what it was still to be told.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path)),
    responses((status = 204)))]
async fn delete(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<StatusCode> {
    desk.store.delete_webhook(WebhookId(id), principal.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One event for a webhook.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookDeliveryView {
    id: i64,
    event: String,
    /// `queued`, `sent` or `dead`.
    state: String,
    attempts: u32,
    /// What the receiver answered last, or why it could not be reached.
    answer: String,
    next_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<WebhookDelivery> for WebhookDeliveryView {
    fn from(delivery: WebhookDelivery) -> Self {
        Self {
            id: delivery.id.0,
            event: delivery.event,
            state: delivery.state,
            attempts: delivery.attempts,
            answer: delivery.answer,
            next_at: delivery.next_at,
            created_at: delivery.created_at,
        }
    }
}

/// What a webhook was told and is to be told, newest first.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = i64, Path), PageQuery), responses((status = 200, body = Page<WebhookDeliveryView>)))]
async fn deliveries(
    State(desk): State<Arc<Desk>>,
    At(id): At<i64>,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<WebhookDeliveryView>>> {
    let (limit, before) = q.of_ids()?;
    let before = WebhookDeliveryId(before.unwrap_or(i64::MAX));
    let rows = desk.store.webhook_deliveries(WebhookId(id), before, limit + 1).await?;
    Ok(Json(Page::cut(rows, limit, |row| row.id.to_string()).map(Into::into)))
}

/// Tell it again.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/replay", tag = "webhooks",
    params(("id" = i64, Path), ("delivery" = i64, Path)),
    responses((status = 200, body = WebhookDeliveryView)))]
async fn replay(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At((id, delivery)): At<(i64, i64)>,
) -> Answer<Json<WebhookDeliveryView>> {
    let (id, delivery) = (WebhookId(id), WebhookDeliveryId(delivery));
    Ok(Json(desk.store.replay_webhook(id, delivery, principal.name()).await?.into()))
}
