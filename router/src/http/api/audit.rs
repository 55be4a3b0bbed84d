//! Who did what.

use super::{
    Routes,
    ask::{Answer, Ask, Page, id_cursor, limit},
};
use crate::desk::Desk;
use axum::{Json, extract::State};
use frontdesk_agents::store::AuditEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes.admin(routes!(list))
}

/// One thing that somebody did.
#[derive(Debug, Serialize, ToSchema)]
struct AuditView {
    id: i64,
    at: Timestamp,
    /// `operator`, `user:NAME` or `token:ID:NAME`.
    actor: String,
    /// Such as `review.approve` or `user.create`.
    action: String,
    /// The id or name of what it was done to.
    subject: String,
    detail: String,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    actor: Option<String>,
    action: Option<String>,
    subject: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The audit trail, newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = Page<AuditView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    Ask(q): Ask<AuditQuery>,
) -> Answer<Json<Page<AuditView>>> {
    let limit = limit(q.limit);
    let before = id_cursor(q.cursor.as_deref())?.unwrap_or(i64::MAX);
    let entries = desk.store.audit(q.actor, q.action, q.subject, before, limit + 1).await?;
    Ok(Json(Page::cut(entries, limit, |entry| entry.id.to_string()).map(Into::into)))
}
