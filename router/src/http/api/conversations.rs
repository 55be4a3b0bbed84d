//! Conversations: lists and counts, one with its timeline, and what people do to them.

use super::{
    Routes,
    agents::agent_in_sight,
    ask::{Answer, Ask, At, Page, Said, given, id_cursor, limit},
    users::PageQuery,
    views::{ConversationLine, ConversationView, HitView, MessageView},
};
use crate::{
    desk::Desk,
    http::{access::Principal, problem::Problem},
};
use axum::{Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    ApprovalId, ContactId, ConversationId, MessageId, UndoId, UserId,
    store::{ConversationFilter, Queue, Scope, TRIAGED_MAX, Thing, Triage, conversation_cursor},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .read(routes!(list))
        .read(routes!(counts))
        .read(routes!(get))
        .scope(Scope::Draft, routes!(update))
        .scope(Scope::Draft, routes!(update_many))
        .scope(Scope::Draft, routes!(undo))
        .scope(Scope::Draft, routes!(add_note))
        .read(routes!(assignees))
        .read(routes!(labels))
        .read(routes!(search))
}

/// Which conversations.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// `needs_review`, `open`, `waiting`, `snoozed`, `scheduled`, `sent`, `drafts`, `quarantine`,
    /// `failed`, `starred`, `archive`, `trash` or `calls`.
    queue: Option<String>,
    agent: Option<String>,
    label: Option<String>,
    /// A user's name, or `me`.
    assignee: Option<String>,
    contact: Option<i64>,
    channel: Option<String>,
    unread: Option<bool>,
    /// Items at most; 50 unless given, 200 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

fn queue_of(text: &str) -> Answer<Queue> {
    Queue::parse(text).ok_or_else(|| {
        let all = Queue::ALL.map(Queue::as_str).join(", ");
        Problem::bad_request(format!("{text:?} is no queue: {all} are"))
    })
}

/// Conversations, those that moved last first.
#[utoipa::path(get, path = "/conversations", tag = "conversations", params(ListQuery),
    responses((status = 200, body = Page<ConversationLine>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<ListQuery>,
) -> Answer<Json<Page<ConversationLine>>> {
    let limit = limit(q.limit);
    let agent = q.agent.as_deref().map(|name| agent_in_sight(&desk, &principal, name));
    let assignee = match q.assignee.as_deref() {
        Some("me") => Some(principal.user().ok_or_else(|| {
            Problem::bad_request("nothing is assigned to programs: name a user instead of `me`")
        })?),
        Some(name) => Some(desk.store.user_named(Some(name.to_owned())).await?.id),
        None => None,
    };
    let filter = ConversationFilter {
        queue: q.queue.as_deref().map(queue_of).transpose()?,
        agent: agent.transpose()?.map(|known| known.0),
        label: q.label,
        assignee,
        contact: q.contact.map(ContactId),
        channel: q.channel,
        unread: q.unread,
    };
    let sight = principal.sight().clone();
    super::ask::time_cursor(q.cursor.as_deref())?;
    let items = desk.store.list_conversations(sight, filter, limit + 1, q.cursor).await?;
    Ok(Json(Page::cut(items, limit, conversation_cursor).map(Into::into)))
}

/// How many conversations are in a queue.
#[derive(Debug, Serialize, ToSchema)]
struct CountView {
    queue: &'static str,
    conversations: u64,
    unread: u64,
}

/// Counts of all queues.
#[derive(Debug, Serialize, ToSchema)]
struct CountsView {
    queues: Vec<CountView>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CountsQuery {
    agent: Option<String>,
}

/// How many conversations are in each queue.
#[utoipa::path(get, path = "/conversations/counts", tag = "conversations", params(CountsQuery),
    responses((status = 200, body = CountsView)))]
async fn counts(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<CountsQuery>,
) -> Answer<Json<CountsView>> {
    let agent = q.agent.as_deref().map(|name| agent_in_sight(&desk, &principal, name));
    let agent = agent.transpose()?.map(|known| known.0);
    let counts = desk.store.count_conversations(principal.sight().clone(), agent).await?;
    let queues = counts.into_iter().map(|(queue, conversations, unread)| CountView {
        queue: queue.as_str(),
        conversations,
        unread,
    });
    Ok(Json(CountsView { queues: queues.collect() }))
}

/// How much of a timeline.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TimelineQuery {
    /// The newest entries at most, up to 200. Default: all.
    limit: Option<u32>,
    /// `earlier` of the page before: the entries before those.
    cursor: Option<String>,
}

/// A conversation with its timeline, or the newest part of it.
#[utoipa::path(get, path = "/conversations/{id}", tag = "conversations",
    params(("id" = i64, Path), TimelineQuery),
    responses((status = 200, body = ConversationView)))]
async fn get(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Ask(q): Ask<TimelineQuery>,
) -> Answer<Json<ConversationView>> {
    let id = ConversationId(id);
    let sight = principal.sight().clone();
    let before = MessageId(id_cursor(q.cursor.as_deref())?.unwrap_or(i64::MAX));
    let most = if q.limit.is_some() { limit(q.limit) } else { usize::MAX >> 2 };
    let found = desk.store.look_into_conversation(sight.clone(), id, before, most + 1).await?;
    let (listed, mut entries) = found;
    let earlier = if entries.len() > most {
        entries.remove(0);
        entries.first().map(|entry| entry.id.to_string())
    } else {
        None
    };
    let reviews: HashMap<MessageId, i64> = desk
        .store
        .list_reviews(sight, Some(id), ApprovalId(0), usize::MAX >> 1)
        .await?
        .into_iter()
        .map(|review| (review.message, review.id.0))
        .collect();
    let timeline = entries
        .into_iter()
        .map(|entry| {
            let review = reviews.get(&entry.id).copied();
            MessageView::new(entry, review)
        })
        .collect();
    Ok(Json(ConversationView { line: listed.into(), timeline, earlier }))
}

/// What becomes of conversations. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    archived: Option<bool>,
    trashed: Option<bool>,
    /// Until then it is out of the way. Null brings it back.
    #[serde(default, deserialize_with = "given")]
    snoozed_until: Option<Option<Timestamp>>,
    /// A user's name, or `me`. Null: nobody's.
    #[serde(default, deserialize_with = "given")]
    assignee: Option<Option<String>>,
    starred: Option<bool>,
    unread: Option<bool>,
    /// `open` or `waiting`; `open` also says that a person has seen what an agent filed for review.
    queue: Option<String>,
    #[serde(default)]
    add_labels: Vec<String>,
    #[serde(default)]
    remove_labels: Vec<String>,
}

async fn triage_of(desk: &Desk, principal: &Principal, update: Update) -> Answer<Triage> {
    let assignee = match update.assignee {
        None => None,
        Some(None) => Some(None),
        Some(Some(me)) if me == "me" => Some(Some(principal.user().ok_or_else(|| {
            Problem::unprocessable("nothing is assigned to programs: name a user instead of `me`")
        })?)),
        Some(Some(name)) => {
            let user = desk.store.user_named(Some(name.to_lowercase())).await?;
            Some(Some(user.id))
        }
    };
    if let Some(queue) = &update.queue
        && !["open", "waiting"].contains(&queue.as_str())
    {
        return Err(Problem::unprocessable(format!(
            "a conversation can be put into the queues open and waiting, not {queue:?}"
        )));
    }
    let now = desk.store.clock().now();
    if update.snoozed_until.flatten().is_some_and(|until| until <= now) {
        return Err(Problem::unprocessable("`snoozed_until` is in the past"));
    }
    let labels = |labels: Vec<String>| -> Answer<Vec<String>> {
        labels.iter().map(|l| label_of(l)).collect()
    };
    let change = Triage {
        archived: update.archived,
        trashed: update.trashed,
        snoozed_until: update.snoozed_until.map(|until| until.map(|at| at.as_millisecond())),
        assignee,
        starred: update.starred,
        unread: update.unread,
        queue: update.queue,
        add_labels: labels(update.add_labels)?,
        remove_labels: labels(update.remove_labels)?,
    };
    if change == Triage::default() {
        return Err(Problem::unprocessable("nothing is to change: name at least one field"));
    }
    Ok(change)
}

fn label_of(text: &str) -> Answer<String> {
    let label = text.trim();
    if label.is_empty() || label.chars().count() > 64 || label.chars().any(char::is_control) {
        return Err(Problem::unprocessable("a label has 1 to 64 characters on one line"));
    }
    Ok(label.to_owned())
}

/// What a change did.
#[derive(Debug, Serialize, ToSchema)]
struct ChangedView {
    conversations: Vec<i64>,
    /// `POST /undo/{undo}` takes the change back, once, for a day. Null: it cannot be.
    undo: Option<i64>,
}

async fn change(
    desk: &Desk,
    principal: &Principal,
    ids: Vec<i64>,
    update: Update,
) -> Answer<Json<ChangedView>> {
    let change = triage_of(desk, principal, update).await?;
    let conversations = ids.iter().copied().map(ConversationId).collect();
    let sight = principal.sight().clone();
    let undo = desk.store.triage(sight, conversations, change, principal.name()).await?;
    Ok(Json(ChangedView { conversations: ids, undo: Some(undo.0) }))
}

/// Archive, trash, snooze, assign, star, label, mark as read or put into a queue.
#[utoipa::path(patch, path = "/conversations/{id}", tag = "conversations",
    params(("id" = i64, Path)), request_body = Update, responses((status = 200, body = ChangedView)))]
async fn update(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(update): Said<Update>,
) -> Answer<Json<ChangedView>> {
    change(&desk, &principal, vec![id], update).await
}

/// Conversations, and what becomes of all of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateMany {
    /// 1 to 500.
    ids: Vec<i64>,
    change: Update,
}

/// The same for many at once: all of them or none.
#[utoipa::path(post, path = "/conversations/bulk", tag = "conversations", request_body = UpdateMany,
    responses((status = 200, body = ChangedView)))]
async fn update_many(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(many): Said<UpdateMany>,
) -> Answer<Json<ChangedView>> {
    let mut ids = many.ids;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > TRIAGED_MAX {
        return Err(Problem::unprocessable(format!("name 1 to {TRIAGED_MAX} conversations")));
    }
    change(&desk, &principal, ids, many.change).await
}

/// Take a change of your own back.
#[utoipa::path(post, path = "/undo/{id}", tag = "conversations", params(("id" = i64, Path)),
    responses((status = 200, body = ChangedView)))]
async fn undo(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<ChangedView>> {
    let conversations = desk.store.undo(UndoId(id), principal.name()).await?;
    Ok(Json(ChangedView {
        conversations: conversations.iter().map(|id| id.0).collect(),
        undo: None,
    }))
}

/// Words for colleagues.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNote {
    /// 1 to 64,000 characters.
    text: String,
}

/// A note that was written.
#[derive(Debug, Serialize, ToSchema)]
struct NoteView {
    message: i64,
}

/// Write a note, which nobody outside ever sees.
#[utoipa::path(post, path = "/conversations/{id}/notes", tag = "conversations",
    params(("id" = i64, Path)), request_body = NewNote, responses((status = 201, body = NoteView)))]
async fn add_note(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(note): Said<NewNote>,
) -> Answer<(StatusCode, Json<NoteView>)> {
    let id = ConversationId(id);
    principal.reach(&desk, Thing::Conversation(id)).await?;
    if note.text.trim().is_empty() || note.text.chars().count() > 64_000 {
        return Err(Problem::unprocessable("a note has 1 to 64,000 characters"));
    }
    let message = desk.store.add_note(id, note.text, principal.name()).await?;
    Ok((StatusCode::CREATED, Json(NoteView { message: message.0 })))
}

/// Somebody who can take care of a conversation.
#[derive(Debug, Serialize, ToSchema)]
struct AssigneeView {
    name: String,
}

/// Whom conversations can be assigned to.
#[utoipa::path(get, path = "/assignees", tag = "conversations", params(PageQuery),
    responses((status = 200, body = Page<AssigneeView>)))]
async fn assignees(
    State(desk): State<Arc<Desk>>,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<AssigneeView>>> {
    let (limit, after) = q.of_ids()?;
    let users = desk.store.users(UserId(after.unwrap_or(0)), limit + 1).await?;
    let page = Page::cut(users, limit, |user| user.id.to_string());
    Ok(Json(page.map(|user| AssigneeView { name: user.name })))
}

/// A label in use.
#[derive(Debug, Serialize, ToSchema)]
struct LabelView {
    name: String,
    conversations: u64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LabelsQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Labels in use, by name.
#[utoipa::path(get, path = "/labels", tag = "conversations", params(LabelsQuery),
    responses((status = 200, body = Page<LabelView>)))]
async fn labels(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<LabelsQuery>,
) -> Answer<Json<Page<LabelView>>> {
    let limit = limit(q.limit);
    let after = q.cursor.unwrap_or_default();
    let labels = desk.store.labels(principal.sight().clone(), after, limit + 1).await?;
    let page = Page::cut(labels, limit, |(name, _)| name.clone());
    Ok(Json(page.map(|(name, conversations)| LabelView { name, conversations })))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// Words, all of which must be there; `"a phrase"`; `begin*`.
    #[serde(default)]
    q: String,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Messages that contain all the words, newest first.
#[utoipa::path(get, path = "/search", tag = "conversations", params(SearchQuery),
    responses((status = 200, body = Page<HitView>)))]
async fn search(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<SearchQuery>,
) -> Answer<Json<Page<HitView>>> {
    let limit = limit(q.limit);
    let before = id_cursor(q.cursor.as_deref())?.map(MessageId);
    let sight = principal.sight().clone();
    let hits = desk.store.search_in_sight(sight, &q.q, limit + 1, before).await?;
    Ok(Json(Page::cut(hits, limit, |hit| hit.message.to_string()).map(Into::into)))
}
