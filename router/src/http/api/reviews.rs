//! What waits for a person.

use super::{
    Routes,
    ask::{Answer, Ask, At, Page, Said},
    outbox::leaves_at,
    users::PageQuery,
    views::ReviewView,
};
use crate::{desk::Desk, http::access::Principal};
use axum::{Json, extract::State};
use frontdesk_agents::{
    ApprovalId,
    store::{Reviewed, Scope, Thing},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .read(routes!(list))
        .scope(Scope::Approve, routes!(approve))
        .scope(Scope::Approve, routes!(reject))
}

/// What waits for a decision, oldest first.
#[utoipa::path(get, path = "/reviews", tag = "reviews", params(PageQuery),
    responses((status = 200, body = Page<ReviewView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<ReviewView>>> {
    let (limit, after) = q.of_ids()?;
    let after = ApprovalId(after.unwrap_or(0));
    let reviews =
        desk.store.list_reviews(principal.sight().clone(), None, after, limit + 1).await?;
    Ok(Json(Page::cut(reviews, limit, |review| review.id.to_string()).map(Into::into)))
}

/// How somebody decides.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approve {
    /// For people who read it later.
    #[serde(default)]
    reason: String,
    /// This text leaves instead.
    text: Option<String>,
    /// The tool is called with this instead, a JSON object.
    #[schema(value_type = Option<Object>)]
    arguments: Option<serde_json::Map<String, serde_json::Value>>,
    /// A draft leaves then and not before.
    send_at: Option<Timestamp>,
    /// A draft can be taken back for this long (`POST /outbox/{id}/recall`): 0 to 60 s.
    undo_seconds: Option<u32>,
}

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reject {
    /// The agent hears it.
    #[serde(default)]
    reason: String,
}

/// What a decision did.
#[derive(Debug, Serialize, ToSchema)]
struct DecisionView {
    review: i64,
    /// `queued`, `admitted` or, of a call, `approved`; `cancelled` or `rejected`.
    state: &'static str,
    reviewed: ReviewedView,
    /// The outgoing mail that this released, for `POST /outbox/{id}/recall`.
    outbox: Option<i64>,
}

/// What was decided on.
#[derive(Debug, Serialize, ToSchema)]
struct ReviewedView {
    approval: i64,
    conversation: i64,
    message: i64,
    /// `draft`, `message` or `tool`.
    kind: String,
    approved: bool,
}

impl From<Reviewed> for ReviewedView {
    fn from(reviewed: Reviewed) -> Self {
        Self {
            approval: reviewed.approval.0,
            conversation: reviewed.conversation.0,
            message: reviewed.message.0,
            kind: reviewed.kind,
            approved: reviewed.approved,
        }
    }
}

/// Approve: a draft leaves, perhaps with another text; a message is admitted and its sender is known; a
/// tool is called, perhaps with other arguments.
#[utoipa::path(post, path = "/reviews/{id}/approve", tag = "reviews", params(("id" = i64, Path)),
    request_body = Approve, responses((status = 200, body = DecisionView)))]
async fn approve(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(said): Said<Approve>,
) -> Answer<Json<DecisionView>> {
    principal.reach(&desk, Thing::Review(ApprovalId(id))).await?;
    let at = leaves_at(&desk, said.send_at, said.undo_seconds)?;
    let instead = said.arguments.map(|to| serde_json::Value::Object(to).to_string()).or(said.text);
    let by = principal.name();
    let reviewed = desk.store.approve_at(ApprovalId(id), by, instead, said.reason, at).await?;
    let is_draft = reviewed.kind == "draft";
    let outbox =
        if is_draft { Some(desk.store.outbox_of(reviewed.message).await?.0) } else { None };
    let state = match reviewed.kind.as_str() {
        "draft" => "queued",
        "tool" => "approved",
        _ => "admitted",
    };
    Ok(Json(DecisionView { review: id, state, reviewed: reviewed.into(), outbox }))
}

/// Reject: a draft is cancelled and its agent hears why; a message stays out of every history; a tool is
/// not called, and the model hears why.
#[utoipa::path(post, path = "/reviews/{id}/reject", tag = "reviews", params(("id" = i64, Path)),
    request_body = Reject, responses((status = 200, body = DecisionView)))]
async fn reject(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(said): Said<Reject>,
) -> Answer<Json<DecisionView>> {
    principal.reach(&desk, Thing::Review(ApprovalId(id))).await?;
    let reviewed = desk.store.reject(ApprovalId(id), principal.name(), said.reason).await?;
    let state = if reviewed.kind == "draft" { "cancelled" } else { "rejected" };
    Ok(Json(DecisionView { review: id, state, reviewed: reviewed.into(), outbox: None }))
}
