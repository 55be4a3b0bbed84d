//! What a message is made of: its bytes and its files.
//!
//! All of it is text and data that others wrote, so nothing here is ever a page of ours: it is offered for
//! saving, under its own name made harmless; only images and PDFs keep their type, for a preview, and under
//! a policy that lets them do nothing.

use super::{
    Routes,
    ask::{Answer, At},
    views::MessageView,
};
use crate::{
    desk::Desk,
    http::{access::Principal, problem::Problem},
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use frontdesk_agents::{MessageId, store::Thing};
use frontdesk_smtp::read;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes.read(routes!(get)).read(routes!(raw)).read(routes!(attachment))
}

/// A message and where it stands.
#[derive(Debug, Serialize, ToSchema)]
struct PlacedMessageView {
    conversation: i64,
    agent: String,
    #[serde(flatten)]
    message: MessageView,
}

/// A message, as the timeline of its conversation has it.
#[utoipa::path(get, path = "/messages/{id}", tag = "messages", params(("id" = i64, Path)),
    responses((status = 200, body = PlacedMessageView)))]
async fn get(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<PlacedMessageView>> {
    let message = MessageId(id);
    principal.reach(&desk, Thing::Message(message)).await?;
    let conversation = desk.store.conversation_of(message).await?;
    let sight = principal.sight().clone();
    let (listed, entries) = desk.store.open_conversation(sight, conversation).await?;
    let none = || Problem::not_found(format!("there is no message {id}"));
    let entry = entries.into_iter().find(|entry| entry.id == message).ok_or_else(none)?;
    let review = desk.store.review_of(message).await?.map(|review| review.0);
    Ok(Json(PlacedMessageView {
        conversation: conversation.0,
        agent: listed.summary.agent,
        message: MessageView::new(entry, review),
    }))
}

/// Types that a browser shows without running anything.
const SHOWN: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];

/// The mail as it arrived, or as it left, byte for byte.
#[utoipa::path(get, path = "/messages/{id}/raw", tag = "messages", params(("id" = i64, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "message/rfc822")))]
async fn raw(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Response> {
    let message = MessageId(id);
    principal.reach(&desk, Thing::Message(message)).await?;
    let content = raw_bytes(&desk, message).await?;
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"message.eml\""),
    ];
    Ok((headers, Body::from(content)).into_response())
}

async fn raw_bytes(desk: &Arc<Desk>, message: MessageId) -> Answer<Vec<u8>> {
    let raw = desk.store.raw_mail(message).await?;
    let hash = raw
        .blob
        .ok_or_else(|| Problem::not_found("this mail has no bytes yet: it was not sent"))?;
    let store = desk.store.clone();
    let content = tokio::task::spawn_blocking(move || store.blob(hash))
        .await
        .map_err(Problem::internal)??;
    content.ok_or_else(|| Problem::internal("the bytes of this mail are missing"))
}

/// A file of a message.
#[utoipa::path(get, path = "/messages/{id}/attachments/{part}", tag = "messages",
    params(("id" = i64, Path), ("part" = i64, Path)),
    responses(
        (status = 200, content(
            (Vec<u8> = "application/octet-stream"), (Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"),
            (Vec<u8> = "image/gif"), (Vec<u8> = "image/webp"), (Vec<u8> = "application/pdf")))))]
async fn attachment(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At((id, part)): At<(i64, i64)>,
) -> Answer<Response> {
    let message = MessageId(id);
    principal.reach(&desk, Thing::Message(message)).await?;
    let none = || Problem::not_found(format!("this message has no attachment {part}"));
    let file = desk.store.attachment(message, part).await?.ok_or_else(none)?;
    let bytes = match file.blob {
        Some(hash) => {
            let store = desk.store.clone();
            let content = tokio::task::spawn_blocking(move || store.blob(hash)).await;
            content.map_err(Problem::internal)??.ok_or_else(none)?
        }
        None => {
            let content = raw_bytes(&desk, message).await?;
            let wanted = usize::try_from(part).map_err(|_| none())?;
            let found = tokio::task::spawn_blocking(move || {
                let mail = read::read(&content);
                let attachment = mail.attachments.iter().find(|file| file.part == wanted);
                attachment.map(|attachment| attachment.decode(&content).into_owned())
            });
            found.await.map_err(Problem::internal)?.ok_or_else(none)?
        }
    };
    let shown = SHOWN.into_iter().find(|shown| file.media_type.eq_ignore_ascii_case(shown));
    let disposition =
        disposition(if shown.is_some() { "inline" } else { "attachment" }, &file.name);
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(shown.unwrap_or("application/octet-stream")),
        ),
        (header::CONTENT_DISPOSITION, disposition),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'self'; sandbox"),
        ),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

/// RFC 6266: a name in ASCII for all, and the real one (RFC 8187) for those who can read it. What could
/// name a folder, hide an extension or end the header is not in either.
fn disposition(kind: &str, name: &str) -> HeaderValue {
    let name: String = name
        .chars()
        .filter(|c| {
            !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .map(|c| if "/\\:\"<>|?*".contains(c) { '_' } else { c })
        .take(120)
        .collect();
    let name =
        if name.trim_matches(['.', ' ', '_']).is_empty() { "attachment".into() } else { name };
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_ ()".contains(c) { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_do_no_harm() {
        let shown = |name| disposition("attachment", name).to_str().unwrap().to_owned();
        assert_eq!(
            shown("Grüße.pdf"),
            "attachment; filename=\"Gr__e.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf"
        );
        for name in ["../../etc/passwd", "a\"\r\nX: y", "\u{202e}fdp.exe", "..", ""] {
            let shown = shown(name);
            let named = shown.split_once("filename=\"").unwrap().1.split('"').next().unwrap();
            assert!(
                !named.is_empty() && !named.contains('/') && named != "..",
                "{name:?}: {shown}"
            );
            assert!(!shown.contains("%E2%80%AE"), "{shown}");
        }
    }
}
