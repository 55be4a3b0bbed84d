//! The agents, what they have planned, and what they failed on.

use super::{
    Routes,
    ask::{Answer, Ask, At, Page, Said, limit, time_cursor},
    users::PageQuery,
    views::AgentView,
};
use crate::{
    config::Talk,
    desk::Desk,
    directory::Known,
    http::{access::Principal, problem::Problem},
    voice::link,
};
use axum::{Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    AgentId, EventId, ScheduleId,
    store::{AgentSummary, DeadLetter, ScheduleRow, Scope, Thing, schedule_cursor},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .read(routes!(list))
        .read(routes!(get))
        .read(routes!(schedules))
        .scope(Scope::Approve, routes!(cancel_schedule))
        .read(routes!(dead_letters))
        .scope(Scope::Approve, routes!(retry))
        .scope(Scope::Approve, routes!(link))
}

/// A configured agent that somebody sees, by name.
pub fn agent_in_sight(
    desk: &Desk,
    principal: &Principal,
    name: &str,
) -> Answer<(AgentId, Arc<Known>)> {
    let found = desk.directory.by_name(name).filter(|known| principal.sees(known.id));
    found.map(|known| (known.id, known)).ok_or_else(|| {
        let listed = desk.directory.listed();
        let mut names: Vec<&str> = listed
            .agents
            .values()
            .filter(|known| principal.sees(known.id))
            .map(|known| known.config.name.as_str())
            .collect();
        names.sort_unstable();
        Problem::not_found(format!("there is no agent {name:?}; there are: {}", names.join(", ")))
    })
}

fn view(known: &Known, summaries: &[AgentSummary]) -> Option<AgentView> {
    let config = &known.config;
    let summary = summaries.iter().find(|summary| summary.name == config.name)?;
    Some(AgentView::new(config, config.effective_approval().as_str(), summary))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The agents, by name.
#[utoipa::path(get, path = "/agents", tag = "agents", params(ListQuery),
    responses((status = 200, body = Page<AgentView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<ListQuery>,
) -> Answer<Json<Page<AgentView>>> {
    let summaries = desk.store.agents().await?;
    let after = q.cursor.unwrap_or_default();
    let listed = desk.directory.listed();
    let mut items: Vec<AgentView> = listed
        .agents
        .values()
        .filter(|known| principal.sees(known.id) && known.config.name > after)
        .filter_map(|known| view(known, &summaries))
        .collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Page::cut(items, limit(q.limit), |agent| agent.name.clone())))
}

/// An agent.
#[utoipa::path(get, path = "/agents/{name}", tag = "agents", params(("name" = String, Path)),
    responses((status = 200, body = AgentView)))]
async fn get(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(name): At<String>,
) -> Answer<Json<AgentView>> {
    let (_, known) = agent_in_sight(&desk, &principal, &name)?;
    let summaries = desk.store.agents().await?;
    view(&known, &summaries)
        .map(Json)
        .ok_or_else(|| Problem::not_found("this agent is not registered"))
}

/// A link to talk to an agent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct NewTalkLink {
    /// The email address of the contact it is for: whoever holds the link is then taken for them, so send it
    /// to that address only. Without one the holder is a stranger.
    contact: Option<String>,
    /// How many hours it is good, at most 720. Default: 24.
    hours: Option<u32>,
}

/// A link that was made. It cannot be shown again.
#[derive(Debug, Serialize, ToSchema)]
struct TalkLinkView {
    url: String,
    expires_at: Timestamp,
}

/// Make a link to talk to an agent.
#[utoipa::path(post, path = "/agents/{name}/links", tag = "agents", params(("name" = String, Path)),
    request_body = NewTalkLink, responses((status = 201, body = TalkLinkView)))]
async fn link(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(name): At<String>,
    Said(asked): Said<NewTalkLink>,
) -> Answer<(StatusCode, Json<TalkLinkView>)> {
    let (_, known) = agent_in_sight(&desk, &principal, &name)?;
    if !matches!(known.config.talk, Talk::Link | Talk::Public) {
        return Err(Problem::conflict(format!(
            "links to {name} let nobody in: set talk = \"link\" or \"public\" for it"
        )));
    }
    let contact = match &asked.contact {
        None => None,
        Some(address) => {
            let found = desk.store.contact_by_handle("email", address.trim()).await?;
            Some(found.ok_or_else(|| {
                Problem::unprocessable(format!(
                    "{address:?} is no contact: somebody becomes one when they write and are verified"
                ))
            })?)
        }
    };
    let lasts = asked.hours.map_or(link::LASTS, |hours| SignedDuration::from_hours(hours.into()));
    if lasts.is_zero() || lasts > link::LASTS_AT_MOST {
        return Err(Problem::unprocessable("a link is good for 1 to 720 hours"));
    }
    let expires_at = desk.store.clock().now().checked_add(lasts).map_err(Problem::internal)?;
    let nonce = getrandom::u64().map_err(Problem::internal)?;
    let made = link::Link { contact, nonce, expires_at };
    let token = link::mint(&desk.directory.keys(), &known.config.name, &made);
    let url = format!("{}/talk/{}?token={token}", desk.origins().main(), known.config.name);
    let whose = asked.contact.map(|address| format!(" for {address}")).unwrap_or_default();
    desk.store.note_audit(principal.name(), "talk.link", format!("{name}{whose}")).await?;
    Ok((StatusCode::CREATED, Json(TalkLinkView { url, expires_at })))
}

/// Something that happens later.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleView {
    id: i64,
    agent: String,
    instance: i64,
    name: String,
    #[schema(value_type = Object)]
    when: Value,
    payload: Value,
    next_at: Timestamp,
}

impl From<ScheduleRow> for ScheduleView {
    fn from(row: ScheduleRow) -> Self {
        Self {
            id: row.id.0,
            agent: row.agent,
            instance: row.instance.0,
            name: row.name,
            when: serde_json::to_value(&row.when).unwrap_or_default(),
            payload: row.payload,
            next_at: row.next_at,
        }
    }
}

/// What agents have planned, soonest first.
#[utoipa::path(get, path = "/schedules", tag = "agents", params(ListQuery),
    responses((status = 200, body = Page<ScheduleView>)))]
async fn schedules(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<ListQuery>,
) -> Answer<Json<Page<ScheduleView>>> {
    let limit = limit(q.limit);
    time_cursor(q.cursor.as_deref())?;
    let sight = principal.sight().clone();
    let rows = desk.store.list_schedules(sight, q.cursor, limit + 1).await?;
    Ok(Json(Page::cut(rows, limit, schedule_cursor).map(Into::into)))
}

/// Strike out what an agent has planned. It does not hear of it.
#[utoipa::path(delete, path = "/schedules/{id}", tag = "agents", params(("id" = i64, Path)),
    responses((status = 204)))]
async fn cancel_schedule(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<StatusCode> {
    principal.reach(&desk, Thing::Schedule(ScheduleId(id))).await?;
    desk.store.cancel_schedule(ScheduleId(id), principal.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An event that an agent failed on for good.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterView {
    event: i64,
    agent: String,
    instance: i64,
    body: Value,
    attempts: u32,
    error: String,
    created_at: Timestamp,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            event: letter.event.0,
            agent: letter.agent,
            instance: letter.instance.0,
            body: serde_json::to_value(&letter.body).unwrap_or_default(),
            attempts: letter.attempts,
            error: letter.error,
            created_at: letter.created_at,
        }
    }
}

/// What agents failed on for good, newest first.
#[utoipa::path(get, path = "/dead-letters", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<DeadLetterView>)))]
async fn dead_letters(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<DeadLetterView>>> {
    let (limit, before) = q.of_ids()?;
    let before = EventId(before.unwrap_or(i64::MAX));
    let sight = principal.sight().clone();
    let letters = desk.store.list_dead_letters(sight, before, limit + 1).await?;
    Ok(Json(Page::cut(letters, limit, |letter| letter.event.to_string()).map(Into::into)))
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
struct EventView {
    id: i64,
    state: &'static str,
}

/// Give an agent another try.
#[utoipa::path(post, path = "/dead-letters/{id}/retry", tag = "agents", params(("id" = i64, Path)),
    responses((status = 200, body = EventView)))]
async fn retry(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<EventView>> {
    principal.reach(&desk, Thing::DeadLetter(EventId(id))).await?;
    desk.store.retry_dead_letter(EventId(id), principal.name()).await?;
    Ok(Json(EventView { id, state: "ready" }))
}
