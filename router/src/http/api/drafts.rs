//! Mail that somebody has begun to write.

use super::{
    Routes,
    agents::agent_in_sight,
    ask::{Answer, Ask, At, Page, Said, given, id_cursor, limit},
    outbox::{NewAttachment, SentView, addresses, check_place, leaves_at},
    views::AttachmentView,
};
use crate::{
    desk::Desk,
    http::{
        access::{Need, Principal},
        problem::Problem,
    },
};
use axum::{Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    ConversationId, DraftId, MessageId,
    store::{DraftRow, DraftText, NewDraft, Scope, Thing},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .read(routes!(list))
        .scope(Scope::Draft, routes!(create))
        .read(routes!(get))
        .scope(Scope::Draft, routes!(update))
        .scope(Scope::Draft, routes!(delete))
        .scope(Scope::Draft, routes!(attach))
        .scope(Scope::Draft, routes!(detach))
        .add(Need::WRITE, routes!(send))
}

/// A draft.
#[derive(Debug, Serialize, ToSchema)]
struct DraftView {
    id: i64,
    agent: String,
    conversation: Option<i64>,
    answers: Option<i64>,
    author: String,
    to: Vec<String>,
    cc: Vec<String>,
    subject: String,
    text: String,
    html: Option<String>,
    attachments: Vec<AttachmentView>,
    /// Say it when you save or send, so that nobody's changes are lost.
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<DraftRow> for DraftView {
    fn from(draft: DraftRow) -> Self {
        let attachments = draft.attachments.into_iter().map(|file| AttachmentView {
            part: file.part,
            name: file.name,
            media_type: file.media_type,
            size: file.size,
            inline: false,
        });
        Self {
            id: draft.id.0,
            agent: draft.agent,
            conversation: draft.conversation.map(|id| id.0),
            answers: draft.answers.map(|id| id.0),
            author: draft.author,
            to: draft.text.to,
            cc: draft.text.cc,
            subject: draft.text.subject,
            text: draft.text.text,
            html: draft.text.html,
            attachments: attachments.collect(),
            version: draft.version,
            created_at: draft.created_at,
            updated_at: draft.updated_at,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    conversation: Option<i64>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Drafts, newest first.
#[utoipa::path(get, path = "/drafts", tag = "drafts", params(ListQuery),
    responses((status = 200, body = Page<DraftView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<ListQuery>,
) -> Answer<Json<Page<DraftView>>> {
    let limit = limit(q.limit);
    let before = DraftId(id_cursor(q.cursor.as_deref())?.unwrap_or(i64::MAX));
    let conversation = q.conversation.map(ConversationId);
    let sight = principal.sight().clone();
    let drafts = desk.store.list_drafts(sight, conversation, before, limit + 1).await?;
    Ok(Json(Page::cut(drafts, limit, |draft| draft.id.to_string()).map(Into::into)))
}

/// A draft to begin. Everything but the agent may still be missing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateDraft {
    agent: String,
    conversation: Option<i64>,
    answers: Option<i64>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    cc: Vec<String>,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    text: String,
    html: Option<String>,
}

/// Begin a draft.
#[utoipa::path(post, path = "/drafts", tag = "drafts", request_body = CreateDraft,
    responses((status = 201, body = DraftView)))]
async fn create(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(new): Said<CreateDraft>,
) -> Answer<(StatusCode, Json<DraftView>)> {
    let (agent, _) = agent_in_sight(&desk, &principal, &new.agent)?;
    let conversation = new.conversation.map(ConversationId);
    let answers = new.answers.map(MessageId);
    check_place(&desk, &principal, &new.agent, conversation, answers).await?;
    let conversation = match (conversation, answers) {
        (None, Some(answers)) => Some(desk.store.conversation_of(answers).await?),
        (conversation, _) => conversation,
    };
    // Half an address is still a draft: they are checked when it is sent.
    let text =
        DraftText { to: new.to, cc: new.cc, subject: new.subject, text: new.text, html: new.html };
    let draft = NewDraft { agent, conversation, answers, text };
    let draft = desk.store.create_draft(draft, principal.name()).await?;
    Ok((StatusCode::CREATED, Json(draft.into())))
}

/// A draft.
#[utoipa::path(get, path = "/drafts/{id}", tag = "drafts", params(("id" = i64, Path)),
    responses((status = 200, body = DraftView)))]
async fn get(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<DraftView>> {
    Ok(Json(reach(&desk, &principal, id).await?.into()))
}

async fn reach(desk: &Desk, principal: &Principal, id: i64) -> Answer<DraftRow> {
    principal.reach(desk, Thing::Draft(DraftId(id))).await?;
    Ok(desk.store.draft(DraftId(id)).await?)
}

/// What a draft says from now on. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateDraft {
    /// The version you changed.
    version: i64,
    to: Option<Vec<String>>,
    cc: Option<Vec<String>>,
    subject: Option<String>,
    text: Option<String>,
    /// Null: made from the text.
    #[serde(default, deserialize_with = "given")]
    html: Option<Option<String>>,
}

/// Save a draft. 409 if somebody else saved it since that version.
#[utoipa::path(patch, path = "/drafts/{id}", tag = "drafts", params(("id" = i64, Path)),
    request_body = UpdateDraft, responses((status = 200, body = DraftView)))]
async fn update(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(update): Said<UpdateDraft>,
) -> Answer<Json<DraftView>> {
    let is = reach(&desk, &principal, id).await?.text;
    let text = DraftText {
        to: update.to.unwrap_or(is.to),
        cc: update.cc.unwrap_or(is.cc),
        subject: update.subject.unwrap_or(is.subject),
        text: update.text.unwrap_or(is.text),
        html: update.html.unwrap_or(is.html),
    };
    let by = principal.name();
    Ok(Json(desk.store.save_draft(DraftId(id), update.version, text, by).await?.into()))
}

/// Throw a draft away.
#[utoipa::path(delete, path = "/drafts/{id}", tag = "drafts", params(("id" = i64, Path)),
    responses((status = 204)))]
async fn delete(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<StatusCode> {
    reach(&desk, &principal, id).await?;
    desk.store.delete_draft(DraftId(id), principal.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A mail with these would not get through anywhere.
const ATTACHMENTS_MAX: u64 = 25 * 1024 * 1024;

/// Attach a file: 25 MB in all.
#[utoipa::path(post, path = "/drafts/{id}/attachments", tag = "drafts", params(("id" = i64, Path)),
    request_body = NewAttachment, responses((status = 201, body = DraftView)))]
async fn attach(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(file): Said<NewAttachment>,
) -> Answer<(StatusCode, Json<DraftView>)> {
    let draft = reach(&desk, &principal, id).await?;
    let file = file.decode()?;
    let there: u64 = draft.attachments.iter().map(|file| file.size).sum();
    if there + file.content.len() as u64 > ATTACHMENTS_MAX {
        return Err(Problem::unprocessable("a mail's attachments have 25 MB in all at most"));
    }
    let draft = desk.store.attach_to_draft(DraftId(id), file, principal.name()).await?;
    Ok((StatusCode::CREATED, Json(draft.into())))
}

/// Take a file out.
#[utoipa::path(delete, path = "/drafts/{id}/attachments/{part}", tag = "drafts",
    params(("id" = i64, Path), ("part" = i64, Path)), responses((status = 200, body = DraftView)))]
async fn detach(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At((id, part)): At<(i64, i64)>,
) -> Answer<Json<DraftView>> {
    reach(&desk, &principal, id).await?;
    let draft = desk.store.detach_from_draft(DraftId(id), part, principal.name()).await?;
    Ok(Json(draft.into()))
}

/// Which version to send, and when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SendDraft {
    version: i64,
    /// It leaves then and not before.
    send_at: Option<Timestamp>,
    /// It can be taken back for this long (`POST /outbox/{id}/recall`): 0 to 60 s.
    undo_seconds: Option<u32>,
}

/// Send a draft: in one step the draft is gone and the mail is in the outbox. Of whoever may draft and not
/// send it is held there, and a person decides on `review`.
#[utoipa::path(post, path = "/drafts/{id}/send", tag = "drafts", params(("id" = i64, Path)),
    request_body = SendDraft, responses((status = 202, body = SentView)))]
async fn send(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(said): Said<SendDraft>,
) -> Answer<(StatusCode, Json<SentView>)> {
    let draft = reach(&desk, &principal, id).await?;
    let at = leaves_at(&desk, said.send_at, said.undo_seconds)?;
    addresses(&draft.text.to)?;
    addresses(&draft.text.cc)?;
    let actor = principal.actor(&draft.agent);
    let (message, held) = desk.store.send_draft(draft.id, said.version, actor, at).await?;
    Ok((StatusCode::ACCEPTED, Json(SentView::of(&desk, message, held, at).await?)))
}
