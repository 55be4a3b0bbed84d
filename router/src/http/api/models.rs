//! Speech models: which there are, and getting one to this server.

use super::{Routes, ask::Answer};
use crate::{
    desk::Desk,
    http::{access::Principal, problem::Problem},
    models::{self, Listed, Presence, Progress, PullError, PullState},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use frontdesk_agents::store::Scope;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes.read(routes!(list)).read(routes!(get)).scope(Scope::Approve, routes!(pull))
}

/// A speech model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelView {
    /// As engines are named: `whisper:base.en`.
    name: String,
    /// Its size in octets, where it is known.
    size: Option<u64>,
    /// `here`, `partly`, `wrong` (another file is in its place) or `absent`.
    state: &'static str,
    /// Whether the configuration names it.
    used: bool,
    /// How its download stands, if the server made one since it started.
    pull: Option<PullView>,
}

/// A download.
#[derive(Debug, Serialize, ToSchema)]
struct PullView {
    /// `running`, `done` or `failed`.
    state: &'static str,
    /// Octets that are here.
    have: Option<u64>,
    /// Why it failed, or why it waits.
    why: Option<String>,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
struct ModelList {
    items: Vec<ModelView>,
}

impl ModelView {
    fn of(listed: Listed, pull: Option<PullState>) -> Self {
        let state = match listed.state {
            Presence::Here => "here",
            Presence::Partly => "partly",
            Presence::Wrong => "wrong",
            Presence::Absent => "absent",
        };
        let Listed { name, size, used, .. } = listed;
        Self { name, size, state, used, pull: pull.map(Into::into) }
    }
}

impl From<PullState> for PullView {
    fn from(state: PullState) -> Self {
        let running = |have, why| Self { state: "running", have, why };
        match state {
            PullState::Running(Progress::Fetching { have, .. }) => running(Some(have), None),
            PullState::Running(Progress::Checking) => running(None, None),
            PullState::Running(Progress::Waiting) => {
                running(None, Some("another program is downloading it".into()))
            }
            PullState::Running(Progress::Interrupted { why, .. }) => running(None, Some(why)),
            PullState::Done => Self { state: "done", have: None, why: None },
            PullState::Failed(why) => Self { state: "failed", have: None, why: Some(why) },
        }
    }
}

fn views(desk: &Desk) -> Vec<ModelView> {
    let listed = models::list(&desk.config);
    listed
        .into_iter()
        .map(|one| {
            let pull = desk.pulls.state(&one.name);
            ModelView::of(one, pull)
        })
        .collect()
}

fn view(desk: &Desk, name: &str) -> Answer<ModelView> {
    let whole = format!("{}:{name}", models::FAMILY);
    let found = views(desk).into_iter().find(|view| view.name == name || view.name == whole);
    found.ok_or_else(|| Problem::not_found(format!("there is no model \"{name}\"")))
}

/// The speech models there are, and which of them are here.
#[utoipa::path(get, path = "/models", tag = "models", responses((status = 200, body = ModelList)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<ModelList> {
    Json(ModelList { items: views(&desk) })
}

/// One speech model, and how its download stands.
#[utoipa::path(get, path = "/models/{name}", tag = "models",
    params(("name" = String, Path, description = "`whisper:base.en`, or `base.en`")),
    responses((status = 200, body = ModelView)))]
async fn get(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Answer<Json<ModelView>> {
    view(&desk, &name).map(Json)
}

/// Download a speech model to the server, unless it is here. Ask for the model to see how it gets on.
#[utoipa::path(post, path = "/models/{name}/pull", tag = "models",
    params(("name" = String, Path, description = "`whisper:base.en`, or `base.en`")),
    responses((status = 202, body = ModelView)))]
async fn pull(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Path(name): Path<String>,
) -> Answer<(StatusCode, Json<ModelView>)> {
    let known = view(&desk, &name)?;
    desk.pulls.start(&desk.config, &known.name).map_err(|error| match error {
        // One of the operator's own files is a model, and is nothing to pull.
        PullError::Unknown { .. } => Problem::conflict(error.to_string()),
        other => Problem::internal(other),
    })?;
    desk.store.note_audit(principal.name(), "models.pull", known.name.clone()).await?;
    Ok((StatusCode::ACCEPTED, Json(view(&desk, &name)?)))
}
