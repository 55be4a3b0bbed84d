//! Mail on its way out: writing it, and what becomes of it.

use super::{
    Routes,
    agents::agent_in_sight,
    ask::{Answer, Ask, At, Page, Said, id_cursor, limit},
    views::OutboxView,
};
use crate::{
    desk::Desk,
    http::{
        access::{Need, Principal},
        problem::Problem,
    },
};
use axum::{Json, extract::State, http::StatusCode};
use data_encoding::BASE64;
use frontdesk_agents::{
    ConversationId, Draft, DraftAttachment, MessageId, OutboxId,
    store::{Compose, Scope, Thing},
};
use frontdesk_smtp::address::Mailbox;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .add(Need::WRITE, routes!(send))
        .read(routes!(list))
        .read(routes!(get))
        .scope(Scope::Send, routes!(retry))
        .scope(Scope::Send, routes!(cancel))
        .scope(Scope::Send, routes!(recall))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// `held`, `queued`, `sending`, `sent`, `deferred`, `bounced`, `failed`, `uncertain` or `cancelled`.
    state: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Outgoing mail, newest first.
#[utoipa::path(get, path = "/outbox", tag = "outbox", params(ListQuery),
    responses((status = 200, body = Page<OutboxView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<ListQuery>,
) -> Answer<Json<Page<OutboxView>>> {
    let limit = limit(q.limit);
    let before = OutboxId(id_cursor(q.cursor.as_deref())?.unwrap_or(i64::MAX));
    let items =
        desk.store.list_outbox(principal.sight().clone(), q.state, before, limit + 1).await?;
    Ok(Json(Page::cut(items, limit, |item| item.id.to_string()).map(Into::into)))
}

/// An outgoing mail.
#[utoipa::path(get, path = "/outbox/{id}", tag = "outbox", params(("id" = i64, Path)),
    responses((status = 200, body = OutboxView)))]
async fn get(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<OutboxView>> {
    principal.reach(&desk, Thing::Outgoing(OutboxId(id))).await?;
    Ok(Json(desk.store.outgoing(OutboxId(id)).await?.into()))
}

/// What became of a mail.
#[derive(Debug, Serialize, ToSchema)]
struct StateView {
    id: i64,
    state: &'static str,
}

/// Send again what was put off, has failed, bounced, or may not have arrived.
#[utoipa::path(post, path = "/outbox/{id}/retry", tag = "outbox", params(("id" = i64, Path)),
    responses((status = 200, body = StateView)))]
async fn retry(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<StateView>> {
    principal.reach(&desk, Thing::Outgoing(OutboxId(id))).await?;
    desk.store.retry_outbox(OutboxId(id), principal.name()).await?;
    Ok(Json(StateView { id, state: "queued" }))
}

/// Never send what has not been sent yet.
#[utoipa::path(post, path = "/outbox/{id}/cancel", tag = "outbox", params(("id" = i64, Path)),
    responses((status = 200, body = StateView)))]
async fn cancel(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<StateView>> {
    principal.reach(&desk, Thing::Outgoing(OutboxId(id))).await?;
    desk.store.cancel_outbox(OutboxId(id), principal.name()).await?;
    Ok(Json(StateView { id, state: "cancelled" }))
}

/// Take back what has not begun to leave: it is a held draft again and waits for a decision.
#[utoipa::path(post, path = "/outbox/{id}/recall", tag = "outbox", params(("id" = i64, Path)),
    responses((status = 200, body = StateView)))]
async fn recall(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<StateView>> {
    principal.reach(&desk, Thing::Outgoing(OutboxId(id))).await?;
    desk.store.recall(OutboxId(id), principal.name()).await?;
    Ok(Json(StateView { id, state: "held" }))
}

/// A mail to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEmail {
    /// Whom it is from.
    agent: String,
    /// May be left out with `answers`.
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    cc: Vec<String>,
    /// Left out with `answers`: `Re:` and the subject answered.
    #[serde(default)]
    subject: String,
    text: String,
    /// Left out: made from the text.
    html: Option<String>,
    #[serde(default)]
    attachments: Vec<NewAttachment>,
    /// Continue this conversation.
    conversation: Option<IdText>,
    /// Answer this message instead of starting something new.
    answers: Option<IdText>,
    /// It leaves then and not before.
    send_at: Option<Timestamp>,
    /// It can be taken back for this long (`POST /outbox/{id}/recall`): 0 to 60 s.
    undo_seconds: Option<u32>,
}

/// A file in a request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAttachment {
    name: String,
    media_type: Option<String>,
    content_base64: String,
}

impl NewAttachment {
    /// The file with its content.
    pub fn decode(self) -> Answer<DraftAttachment> {
        if self.name.trim().is_empty() || self.name.chars().count() > 255 {
            return Err(Problem::unprocessable("an attachment's name has 1 to 255 characters"));
        }
        let content = BASE64.decode(self.content_base64.as_bytes()).map_err(|e| {
            Problem::unprocessable(format!("attachment {:?} is not base64: {e}", self.name))
        })?;
        Ok(DraftAttachment {
            name: self.name,
            media_type: self.media_type.unwrap_or_else(|| "application/octet-stream".into()),
            content,
        })
    }
}

/// An id as a number or as the text of one, since shells have only text.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum IdText {
    Number(i64),
    Text(String),
}

impl IdText {
    fn id(&self) -> Answer<i64> {
        match self {
            Self::Number(id) => Ok(*id),
            Self::Text(text) => {
                text.parse().map_err(|_| Problem::unprocessable(format!("{text:?} is not an id")))
            }
        }
    }
}

/// Addresses as people write them, one each.
pub fn addresses(list: &[String]) -> Answer<Vec<String>> {
    list.iter()
        .map(|address| {
            Mailbox::parse(address)
                .map(|mailbox| mailbox.key())
                .map_err(|e| Problem::unprocessable(format!("{address:?} is no address: {e}")))
        })
        .collect()
}

/// The longest that a mail can be taken back in.
const UNDO_LONGEST: u32 = 60;
/// The latest that a mail can leave: a reply token must still be good when it is answered.
const LATEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// When a mail leaves, if not at once.
pub fn leaves_at(
    desk: &Desk,
    send_at: Option<Timestamp>,
    undo_seconds: Option<u32>,
) -> Answer<Option<Timestamp>> {
    let now = desk.store.clock().now();
    let undo = undo_seconds.filter(|seconds| *seconds > 0);
    if undo.is_some_and(|seconds| seconds > UNDO_LONGEST) {
        return Err(Problem::unprocessable(format!("`undo_seconds` is at most {UNDO_LONGEST}")));
    }
    if let Some(at) = send_at {
        if at < now {
            return Err(Problem::unprocessable("`send_at` is in the past"));
        }
        if at.duration_since(now) > LATEST {
            return Err(Problem::unprocessable("`send_at` is more than a year ahead"));
        }
    }
    let undo = undo.and_then(|s| now.checked_add(SignedDuration::from_secs(s.into())).ok());
    Ok(send_at.max(undo))
}

/// Says no unless a conversation and a message answered are in sight and the agent's own.
pub async fn check_place(
    desk: &Desk,
    principal: &Principal,
    agent: &str,
    conversation: Option<ConversationId>,
    answers: Option<MessageId>,
) -> Answer<()> {
    if let Some(id) = conversation {
        principal.reach(desk, Thing::Conversation(id)).await?;
    }
    let answered = match answers {
        None => None,
        Some(id) => {
            principal.reach(desk, Thing::Message(id)).await?;
            Some(desk.store.conversation_of(id).await?)
        }
    };
    if let (Some(one), Some(other)) = (conversation, answered)
        && one != other
    {
        return Err(Problem::unprocessable(format!(
            "the message answered is in conversation {other}, not in {one}"
        )));
    }
    if let Some(id) = conversation.or(answered) {
        let (listed, _) = desk.store.open_conversation(principal.sight().clone(), id).await?;
        if listed.summary.agent != agent {
            return Err(Problem::unprocessable(format!(
                "conversation {id} belongs to agent {:?}, not to {agent:?}",
                listed.summary.agent
            )));
        }
    }
    Ok(())
}

/// What became of a mail that was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct SentView {
    /// In the outbox.
    id: i64,
    message: i64,
    /// `queued`, `held` or `cancelled`.
    state: &'static str,
    /// Why it is held or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Of a held mail: what a person approves or rejects.
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<i64>,
    /// When it leaves, if not at once.
    leaves_at: Option<Timestamp>,
}

impl SentView {
    /// From what the store said of a composed mail.
    pub async fn of(
        desk: &Desk,
        message: MessageId,
        held: Option<String>,
        leaves_at: Option<Timestamp>,
    ) -> Answer<Self> {
        let id = desk.store.outbox_of(message).await?.0;
        let state = match &held {
            None => "queued",
            Some(why) if why.starts_with("not sent") => "cancelled",
            Some(_) => "held",
        };
        let review = match state {
            "held" => desk.store.review_of(message).await?.map(|review| review.0),
            _ => None,
        };
        let leaves_at = leaves_at.filter(|_| held.is_none());
        Ok(Self { id, message: message.0, state, why: held, review, leaves_at })
    }
}

/// Send a mail as an agent, through the same gate as everything else. Of whoever may draft and not send it
/// is held, and a person decides on `review`.
#[utoipa::path(post, path = "/emails", tag = "outbox", request_body = NewEmail,
    responses((status = 202, body = SentView)))]
async fn send(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(email): Said<NewEmail>,
) -> Answer<(StatusCode, Json<SentView>)> {
    let (agent, _) = agent_in_sight(&desk, &principal, &email.agent)?;
    let conversation = email.conversation.as_ref().map(IdText::id).transpose()?.map(ConversationId);
    let answers = email.answers.as_ref().map(IdText::id).transpose()?.map(MessageId);
    let at = leaves_at(&desk, email.send_at, email.undo_seconds)?;
    let (to, cc) = (addresses(&email.to)?, addresses(&email.cc)?);
    let attachments: Answer<Vec<_>> =
        email.attachments.into_iter().map(NewAttachment::decode).collect();
    check_place(&desk, &principal, &email.agent, conversation, answers).await?;
    let compose = Compose {
        agent,
        conversation,
        answers,
        to,
        draft: Draft {
            subject: email.subject,
            text: email.text,
            html: email.html,
            attachments: attachments?,
            cc,
            ..Draft::default()
        },
    };
    let actor = principal.actor(&email.agent);
    let (message, held) = desk.store.compose_at(actor, compose, at).await?;
    Ok((StatusCode::ACCEPTED, Json(SentView::of(&desk, message, held, at).await?)))
}
