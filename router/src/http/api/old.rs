//! `/api/v1`: each route is a few lines over one operation of the store.

use super::{
    super::problem::Problem,
    views::{
        AgentView, ConversationLine, ConversationView, HitView, MessageView, OutboxView, Page,
        ReviewView,
    },
};
use crate::{desk::Desk, directory::Known};
use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use data_encoding::BASE64;
use frontdesk_agents::{
    ApprovalId, ConversationId, Draft, DraftAttachment, EventId, MessageId, OutboxId,
    gate::Actor,
    store::{AgentSummary, Compose},
};
use frontdesk_smtp::{address::Mailbox, read};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::Write as _,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

type Answer<T = Json<Value>> = Result<T, Problem>;

/// The local operator, as the audit trail names them.
const OPERATOR: &str = "operator";

/// All routes, below `/api/v1`.
pub fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/conversations", get(conversations))
        .route("/conversations/{id}", get(conversation))
        .route("/messages/{id}/raw", get(raw))
        .route("/messages/{id}/attachments/{part}", get(attachment))
        .route("/search", get(search))
        .route("/reviews", get(reviews))
        .route("/reviews/{id}/approve", post(approve))
        .route("/reviews/{id}/reject", post(reject))
        .route("/agents", get(agents))
        .route("/agents/{name}", get(agent))
        .route("/outbox", get(outbox))
        .route("/outbox/{id}/retry", post(retry))
        .route("/outbox/{id}/cancel", post(cancel))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/{id}/retry", post(retry_dead_letter))
        .route("/schedules", get(schedules))
        .route("/emails", post(send))
        .route("/keys/rotate", post(rotate))
        .route("/backup", post(backup))
        .route("/export", post(export))
}

/// axum's extractors with our errors.
struct Ask<T>(T);
struct Said<T>(T);
struct Id(i64);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(q)| Self(q)).map_err(|e| Problem::bad_request(e.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = Json::<T>::from_request(request, state).await;
        json.map(|Json(body)| Self(body)).map_err(|e| Problem::bad_request(e.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let text = id.map_err(|e| Problem::bad_request(e.body_text()))?.remove("id");
        let text = text.unwrap_or_default();
        text.parse()
            .map(Self)
            .map_err(|_| Problem::bad_request(format!("{text:?} is not an id: ids are numbers")))
    }
}

#[derive(Deserialize)]
struct ListQuery {
    queue: Option<String>,
    agent: Option<String>,
    state: Option<String>,
    q: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

const PAGE: usize = 50;

async fn conversations(State(desk): State<Arc<Desk>>, Ask(q): Ask<ListQuery>) -> Answer<Response> {
    // "review" is what people say; the queue is named by what its conversations need.
    let queue = q.queue.map(|queue| if queue == "review" { "needs_review".into() } else { queue });
    let page = desk.store.conversations(queue, q.agent, q.limit.unwrap_or(PAGE), q.cursor).await?;
    let items: Vec<ConversationLine> = page.items.into_iter().map(Into::into).collect();
    Ok(Json(Page { items, next: page.next }).into_response())
}

async fn conversation(State(desk): State<Arc<Desk>>, Id(id): Id) -> Answer<Response> {
    let id = ConversationId(id);
    let (summary, entries) = desk.store.conversation(id).await?;
    let reviews: HashMap<MessageId, i64> = desk
        .store
        .pending_reviews(Some(id), 200)
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
    Ok(Json(ConversationView { line: summary.into(), timeline }).into_response())
}

/// The message as it arrived, or as it left, byte for byte.
async fn raw(State(desk): State<Arc<Desk>>, Id(id): Id) -> Answer<Response> {
    let content = raw_bytes(&desk, MessageId(id)).await?;
    let headers = [
        // Never as a page of ours: mail is text that others wrote.
        (header::CONTENT_TYPE, "message/rfc822"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"message.eml\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from(content)).into_response())
}

async fn raw_bytes(desk: &Arc<Desk>, message: MessageId) -> Answer<Vec<u8>> {
    let raw = desk.store.raw_mail(message).await?;
    let blob = raw
        .blob
        .ok_or_else(|| Problem::not_found("this mail has no bytes yet: it was not sent"))?;
    let store = desk.store.clone();
    let content = tokio::task::spawn_blocking(move || store.blob(blob))
        .await
        .map_err(Problem::internal)??;
    content.ok_or_else(|| Problem::internal("the bytes of this mail are missing"))
}

async fn attachment(
    State(desk): State<Arc<Desk>>,
    Path((id, part)): Path<(i64, usize)>,
) -> Answer<Response> {
    let content = raw_bytes(&desk, MessageId(id)).await?;
    let found = tokio::task::spawn_blocking(move || {
        let mail = read::read(&content);
        mail.attachments
            .iter()
            .find(|attachment| attachment.part == part)
            .map(|attachment| (attachment.name.clone(), attachment.decode(&content).into_owned()))
    })
    .await
    .map_err(Problem::internal)?;
    let (name, bytes) =
        found.ok_or_else(|| Problem::not_found(format!("this mail has no attachment {part}")))?;
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' })
        .collect();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{ascii}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

async fn search(State(desk): State<Arc<Desk>>, Ask(q): Ask<ListQuery>) -> Answer<Response> {
    let before = id_cursor(q.cursor.as_deref())?.map(MessageId);
    let limit = q.limit.unwrap_or(PAGE).clamp(1, 200);
    let hits = desk.store.search(&q.q.unwrap_or_default(), limit, before).await?;
    let next =
        (hits.len() == limit).then(|| hits.last().map(|hit| hit.message.to_string())).flatten();
    let items: Vec<HitView> = hits.into_iter().map(Into::into).collect();
    Ok(Json(Page { items, next }).into_response())
}

fn id_cursor(cursor: Option<&str>) -> Answer<Option<i64>> {
    cursor
        .map(|c| {
            c.parse().map_err(|_| Problem::bad_request(format!("{c:?} is no cursor of this list")))
        })
        .transpose()
}

async fn reviews(State(desk): State<Arc<Desk>>, Ask(q): Ask<ListQuery>) -> Answer<Response> {
    let reviews = desk.store.pending_reviews(None, q.limit.unwrap_or(PAGE)).await?;
    let items: Vec<ReviewView> = reviews.into_iter().map(Into::into).collect();
    Ok(Json(Page { items, next: None }).into_response())
}

#[derive(Deserialize, Default)]
struct Verdict {
    #[serde(default)]
    reason: String,
    /// With `approve`: this text leaves instead.
    text: Option<String>,
}

async fn approve(
    State(desk): State<Arc<Desk>>,
    Id(id): Id,
    Said(verdict): Said<Verdict>,
) -> Answer {
    let reviewed = desk.store.approve(ApprovalId(id), OPERATOR.into(), verdict.text).await?;
    let state = if reviewed.kind == "draft" { "queued" } else { "admitted" };
    Ok(Json(json!({ "review": id, "state": state, "reviewed": reviewed })))
}

async fn reject(State(desk): State<Arc<Desk>>, Id(id): Id, Said(verdict): Said<Verdict>) -> Answer {
    let reviewed = desk.store.reject(ApprovalId(id), OPERATOR.into(), verdict.reason).await?;
    let state = if reviewed.kind == "draft" { "cancelled" } else { "rejected" };
    Ok(Json(json!({ "review": id, "state": state, "reviewed": reviewed })))
}

fn view(known: &Known, summaries: &[AgentSummary]) -> Option<AgentView> {
    let config = &known.config;
    let summary = summaries.iter().find(|summary| summary.name == config.name)?;
    Some(AgentView::new(config, config.effective_approval().as_str(), summary))
}

async fn agents(State(desk): State<Arc<Desk>>) -> Answer<Response> {
    let summaries = desk.store.agents().await?;
    let mut items: Vec<AgentView> =
        desk.directory.agents.values().filter_map(|known| view(known, &summaries)).collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Page { items, next: None }).into_response())
}

async fn agent(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Answer<Response> {
    let summaries = desk.store.agents().await?;
    let found = desk.directory.by_name(&name).and_then(|known| view(known, &summaries));
    let found = found.ok_or_else(|| no_agent(&desk, &name))?;
    Ok(Json(found).into_response())
}

fn no_agent(desk: &Desk, name: &str) -> Problem {
    let mut names: Vec<&str> =
        desk.directory.agents.values().map(|known| known.config.name.as_str()).collect();
    names.sort_unstable();
    Problem::not_found(format!("there is no agent {name:?}; there are: {}", names.join(", ")))
}

async fn outbox(State(desk): State<Arc<Desk>>, Ask(q): Ask<ListQuery>) -> Answer<Response> {
    let before = id_cursor(q.cursor.as_deref())?.map(OutboxId);
    let limit = q.limit.unwrap_or(PAGE).clamp(1, 200);
    let items = desk.store.outbox(q.state, limit, before).await?;
    let next =
        (items.len() == limit).then(|| items.last().map(|item| item.id.to_string())).flatten();
    let items: Vec<OutboxView> = items.into_iter().map(Into::into).collect();
    Ok(Json(Page { items, next }).into_response())
}

async fn retry(State(desk): State<Arc<Desk>>, Id(id): Id) -> Answer {
    desk.store.retry_outbox(OutboxId(id), OPERATOR.into()).await?;
    Ok(Json(json!({ "id": id, "state": "queued" })))
}

async fn cancel(State(desk): State<Arc<Desk>>, Id(id): Id) -> Answer {
    desk.store.cancel_outbox(OutboxId(id), OPERATOR.into()).await?;
    Ok(Json(json!({ "id": id, "state": "cancelled" })))
}

async fn dead_letters(State(desk): State<Arc<Desk>>, Ask(q): Ask<ListQuery>) -> Answer<Response> {
    let items = desk.store.dead_letters(q.limit.unwrap_or(PAGE)).await?;
    Ok(Json(Page { items, next: None }).into_response())
}

async fn retry_dead_letter(State(desk): State<Arc<Desk>>, Id(id): Id) -> Answer {
    desk.store.retry_dead_letter(EventId(id), OPERATOR.into()).await?;
    Ok(Json(json!({ "id": id, "state": "ready" })))
}

async fn schedules(State(desk): State<Arc<Desk>>, Ask(q): Ask<ListQuery>) -> Answer<Response> {
    let items = desk.store.schedules(q.limit.unwrap_or(PAGE)).await?;
    Ok(Json(Page { items, next: None }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEmail {
    agent: String,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    cc: Vec<String>,
    #[serde(default)]
    subject: String,
    text: String,
    html: Option<String>,
    #[serde(default)]
    attachments: Vec<NewAttachment>,
    conversation: Option<IdText>,
    /// Answer this message instead of starting something new.
    answers: Option<IdText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAttachment {
    name: String,
    media_type: Option<String>,
    content_base64: String,
}

/// An id as a number or as the text of one, since shells have only text.
#[derive(Deserialize)]
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
                text.parse().map_err(|_| Problem::bad_request(format!("{text:?} is not an id")))
            }
        }
    }
}

async fn send(State(desk): State<Arc<Desk>>, Said(email): Said<NewEmail>) -> Answer<Response> {
    let known =
        desk.directory.by_name(&email.agent).ok_or_else(|| no_agent(&desk, &email.agent))?;
    let addresses = |list: &[String]| -> Answer<Vec<String>> {
        list.iter()
            .map(|address| {
                Mailbox::parse(address)
                    .map(|mailbox| mailbox.key())
                    .map_err(|e| Problem::bad_request(format!("{address:?} is no address: {e}")))
            })
            .collect()
    };
    let mut attachments = Vec::new();
    for attachment in email.attachments {
        let content = BASE64.decode(attachment.content_base64.as_bytes()).map_err(|e| {
            Problem::bad_request(format!("attachment {:?} is not base64: {e}", attachment.name))
        })?;
        attachments.push(DraftAttachment {
            name: attachment.name,
            media_type: attachment.media_type.unwrap_or_else(|| "application/octet-stream".into()),
            content,
        });
    }
    let conversation = email.conversation.as_ref().map(IdText::id).transpose()?.map(ConversationId);
    if let Some(id) = conversation {
        let (summary, _) = desk.store.conversation(id).await?;
        if summary.agent != email.agent {
            return Err(Problem::bad_request(format!(
                "conversation {id} belongs to agent {:?}, not to {:?}",
                summary.agent, email.agent
            )));
        }
    }
    let compose = Compose {
        agent: known.id,
        conversation,
        answers: email.answers.as_ref().map(IdText::id).transpose()?.map(MessageId),
        to: addresses(&email.to)?,
        draft: Draft {
            subject: email.subject,
            text: email.text,
            html: email.html,
            attachments,
            cc: addresses(&email.cc)?,
            ..Draft::default()
        },
    };
    let actor = Actor::Person { name: OPERATOR.into() };
    let (message, held) = desk.store.compose(actor, compose).await?;
    let outbox = desk.store.outbox_of(message).await?;
    let body = match held {
        None => json!({ "id": outbox, "message": message, "state": "queued" }),
        Some(why) if why.starts_with("not sent") => {
            json!({ "id": outbox, "message": message, "state": "cancelled", "why": why })
        }
        Some(why) => json!({ "id": outbox, "message": message, "state": "held", "why": why }),
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

async fn rotate(State(desk): State<Arc<Desk>>) -> Answer {
    let (keys, now) = (desk.keys.clone(), desk.store.clock().now());
    let ring = tokio::task::spawn_blocking(move || keys.rotate_tokens(now))
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)?;
    let key_id = ring.signing_id().get();
    desk.directory.set_keys(ring);
    Ok(Json(json!({ "key_id": key_id })))
}

#[derive(Deserialize)]
struct BackupTo {
    to: PathBuf,
}

async fn backup(State(desk): State<Arc<Desk>>, Said(body): Said<BackupTo>) -> Answer {
    desk.store.back_up(&body.to).await?;
    let (from, to) = (desk.config.server.data.join("keys"), body.to.clone());
    let bytes = tokio::task::spawn_blocking(move || -> std::io::Result<u64> {
        copy_private(&from, &to.join("keys"))?;
        size_of(&to)
    })
    .await
    .map_err(Problem::internal)?
    .map_err(|e| Problem::internal(format!("copy the keys: {e}")))?;
    Ok(Json(json!({ "to": body.to, "bytes": bytes })))
}

/// Copies keys so that only their owner can read the copy.
fn copy_private(from: &FilePath, to: &FilePath) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_private(&entry.path(), &target)?;
        } else {
            let mut file =
                std::fs::File::options().write(true).create_new(true).mode(0o600).open(&target)?;
            std::io::copy(&mut std::fs::File::open(entry.path())?, &mut file)?;
            file.sync_all()?;
        }
    }
    std::fs::File::open(to)?.sync_all()
}

fn size_of(dir: &FilePath) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            size_of(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

#[derive(Deserialize)]
struct ExportTo {
    out: PathBuf,
}

/// Writes every mail into one mbox per direction of time (mboxrd) and every conversation as a line of
/// JSON.
async fn export(State(desk): State<Arc<Desk>>, Said(body): Said<ExportTo>) -> Answer {
    use std::os::unix::fs::DirBuilderExt;
    let step = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| Problem::internal(format!("{what}: {e}"))
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&body.out)
        .map_err(step("create the export folder"))?;
    let new = |name: &str| {
        let path = body.out.join(name);
        std::fs::File::options().write(true).create_new(true).open(&path).map_err(|e| {
            Problem::bad_request(format!(
                "{}: {e}: name a folder without an export in it",
                path.display()
            ))
        })
    };
    let mut mbox = std::io::BufWriter::new(new("mail.mbox")?);
    let mut lines = std::io::BufWriter::new(new("conversations.jsonl")?);
    let (mut messages, mut after) = (0u64, MessageId(0));
    loop {
        let page = desk.store.mails_after(after, 100).await?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        for (_, sender, at, raw) in &page {
            let Some(blob) = raw.blob else { continue };
            let content = desk.store.blob(blob)?.unwrap_or_default();
            write_mbox(&mut mbox, sender, *at, &raw.prelude, &content)
                .map_err(step("write the mbox"))?;
            messages += 1;
        }
    }
    let mut cursor = None;
    loop {
        let page = desk.store.conversations(None, None, 100, cursor).await?;
        for summary in page.items {
            let (summary, entries) = desk.store.conversation(summary.id).await?;
            let line = ConversationView {
                line: summary.into(),
                timeline: entries.into_iter().map(|e| MessageView::new(e, None)).collect(),
            };
            let line = serde_json::to_string(&line).map_err(Problem::internal)?;
            writeln!(lines, "{line}").map_err(step("write the conversations"))?;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    for file in [mbox, lines] {
        let file = file.into_inner().map_err(|e| step("write the export")(e.into_error()))?;
        file.sync_all().map_err(step("write the export to the disk"))?;
    }
    Ok(Json(json!({ "out": body.out, "messages": messages })))
}

/// One mail in mboxrd: lines that begin with any number of `>` and `From ` get one more `>`.
fn write_mbox(
    out: &mut impl std::io::Write,
    sender: &str,
    at: jiff::Timestamp,
    prelude: &str,
    content: &[u8],
) -> std::io::Result<()> {
    let sender = if sender.is_empty() { "MAILER-DAEMON" } else { sender };
    writeln!(out, "From {sender} {}", at.strftime("%a %b %e %H:%M:%S %Y"))?;
    for line in prelude
        .as_bytes()
        .split_inclusive(|b| *b == b'\n')
        .chain(content.split_inclusive(|b| *b == b'\n'))
    {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let quotes = line.iter().take_while(|b| **b == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}
