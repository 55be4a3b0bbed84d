//! The talk page, the sign-in page, and their files.

use super::access::{self, Refusal, VISITOR_COOKIE};
use crate::{
    config::Talk,
    desk::Desk,
    http::pages::{self, TalkPage},
    http::problem::Problem,
};
use axum::{
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::sync::Arc;

/// How long a browser remembers which visitor it is: 30 days.
const VISITOR_LASTS: u32 = 30 * 86_400;

#[derive(Deserialize)]
pub(super) struct Asked {
    token: Option<String>,
}

/// The page of an agent. It says nothing that the agent's public name does not; who may talk is decided
/// when it connects.
pub(super) async fn talk(
    State(desk): State<Arc<Desk>>,
    Path(agent): Path<String>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let known = access::agent(&desk, &agent)
        .ok_or_else(|| Problem::not_found(Refusal::NotFound.to_string()))?;
    let new = access::new_visitor()?;
    let caller = access::caller(&desk, &known, &parts, asked.token.as_deref(), &new).await?;
    if let Err(Refusal::SignIn) = caller
        && asked.token.is_none()
    {
        // Back here once they are in. The name is one of ours, so it needs no escaping.
        let place = format!("/signin?next=/talk/{}", known.config.name);
        return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response());
    }
    let calls = desk.config.voice.calls_of(&known.config);
    let about = [
        known.config.about.clone().unwrap_or_default(),
        if calls.record { desk.config.voice.announcement.clone() } else { String::new() },
    ];
    let about = about.join(" ");
    let mut page = pages::talk_page(&TalkPage {
        agent: &known.config.name,
        agent_name: &known.config.display_name,
        about: about.trim(),
        instance: "",
        token: asked.token.as_deref().unwrap_or_default(),
    });
    let is_visitor = caller.as_ref().is_ok_and(|caller| caller.identity.starts_with("visitor:"));
    if known.config.talk == Talk::Public && is_visitor && access::visitor(&parts.headers).is_none()
    {
        let secure = if desk.origins().is_secure() { "; Secure" } else { "" };
        let cookie = format!(
            "{VISITOR_COOKIE}={new}; Path=/; Max-Age={VISITOR_LASTS}; HttpOnly; SameSite=Lax{secure}"
        );
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            page.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(page)
}

/// The sign-in page. Whoever is in already gets it too: a link may be for another user.
pub(super) async fn signin() -> Response {
    pages::signin_page()
}

pub(super) async fn favicon(headers: HeaderMap) -> Response {
    pages::asset("favicon.svg", &headers)
}

pub(super) async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Response {
    pages::asset(&format!("assets/{file}"), &headers)
}
