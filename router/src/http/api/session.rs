//! Signing in and out, and who one is.

use super::{
    Routes,
    ask::{Answer, Said},
    users::agent_names,
};
use crate::{
    desk::Desk,
    http::{
        access::{self, Need, Principal, SESSION_LONGEST, Who},
        idempotency::Secret,
        password,
        problem::Problem,
        secret,
    },
};
use axum::{
    Extension, Json,
    extract::{ConnectInfo, FromRequestParts, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use frontdesk_agents::store::{NewLink, Scope, Session};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .add(Need::SomeOne, routes!(who_am_i))
        .add(Need::Nothing, routes!(sign_in))
        .add(Need::Browser, routes!(sign_out))
        .add(Need::Browser, routes!(sign_out_everywhere))
        .add(Need::Nothing, routes!(look_at_link))
        .add(Need::Nothing, routes!(redeem_link))
        .add(Need::Browser, routes!(change_password))
}

/// Who asks, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// `user`, `token` or `operator`.
    kind: &'static str,
    name: String,
    /// Of a user: `owner`, `reviewer` or `viewer`.
    role: Option<&'static str>,
    /// What they may do: `read`, `draft`, `send`, `approve`, `admin`, `instances`.
    scopes: Vec<&'static str>,
    /// Whose conversations they see. Null: everybody's.
    agents: Option<Vec<String>>,
    /// What a browser says as `X-CSRF-Token` with every write.
    csrf: Option<String>,
}

impl SessionView {
    fn new(desk: &Desk, principal: &Principal) -> Self {
        let (kind, name, role) = match &principal.who {
            Who::Operator => ("operator", "operator".to_owned(), None),
            Who::User { name, role, .. } => ("user", name.clone(), Some(role.as_str())),
            Who::Token { name, .. } => ("token", name.clone(), None),
            Who::Nobody => ("nobody", String::new(), None),
        };
        Self {
            kind,
            name,
            role,
            scopes: principal.scopes().iter().map(|scope| Scope::as_str(*scope)).collect(),
            agents: agent_names(desk, principal.sight()),
            csrf: principal.csrf().map(str::to_owned),
        }
    }
}

/// Who you are.
#[utoipa::path(get, path = "/session", tag = "session",
    responses((status = 200, body = SessionView)))]
async fn who_am_i(State(desk): State<Arc<Desk>>, principal: Principal) -> Json<SessionView> {
    Json(SessionView::new(&desk, &principal))
}

/// A name or address, and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The user's name or email address.
    name: String,
    password: String,
}

/// The address of whoever asks, where there is one.
struct Peer(Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(peer.map(|ConnectInfo(address)| address.ip())))
    }
}

/// Sign in with a password. The answer sets the cookie.
#[utoipa::path(post, path = "/session", tag = "session", request_body = SignIn,
    responses((status = 200, body = SessionView)))]
async fn sign_in(
    State(desk): State<Arc<Desk>>,
    Peer(peer): Peer,
    Said(said): Said<SignIn>,
) -> Answer<Response> {
    let login = said.name.trim().to_lowercase();
    begin(&desk, &login, peer)?;
    let known = desk.store.credentials(login.clone()).await?;
    let (user, hash) = known.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
    let right = password::verify(said.password, hash).await?;
    let user = user
        .filter(|_| right)
        .ok_or_else(|| Problem::unauthorized("this name and password do not belong together"))?;
    desk.front.throttle().succeeded(&login, peer);
    let (cookie, session) = new_session(&desk)?;
    let session = desk.store.start_session(user, session).await?;
    signed_in(&desk, &session, &cookie)
}

fn begin(desk: &Desk, account: &str, peer: Option<IpAddr>) -> Answer<()> {
    desk.front.throttle().begin(account, peer, Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs().max(1);
        Problem::too_many(format!("too many attempts: try again in {seconds} s"), wait)
    })
}

fn new_session(desk: &Desk) -> Answer<(String, NewLink)> {
    let cookie = secret::new("").map_err(Problem::internal)?;
    let session = NewLink {
        hash: secret::hash(&cookie),
        expires_at: super::super::later(desk, SESSION_LONGEST),
    };
    Ok((cookie, session))
}

fn signed_in(desk: &Desk, session: &Session, cookie: &str) -> Answer<Response> {
    let principal = Principal::of_session(session, cookie);
    let cookie = access::set_cookie(Some(cookie), desk.origins().is_secure())?;
    let body = Json(SessionView::new(desk, &principal));
    Ok((Extension(Secret), [(header::SET_COOKIE, cookie)], body).into_response())
}

fn signed_out(desk: &Desk) -> Answer<Response> {
    let cookie = access::set_cookie(None, desk.origins().is_secure())?;
    // RFC 9110 and the Clear-Site-Data draft: nothing of this person stays in the browser's cache.
    let clear =
        (header::HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie), clear]).into_response())
}

/// Sign out here.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204)))]
async fn sign_out(State(desk): State<Arc<Desk>>, principal: Principal) -> Answer<Response> {
    if let Who::User { session, .. } = principal.who {
        desk.store.end_session(session, principal.name()).await?;
    }
    signed_out(&desk)
}

/// Sign out everywhere, here included.
#[utoipa::path(delete, path = "/session/all", tag = "session", responses((status = 204)))]
async fn sign_out_everywhere(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
) -> Answer<Response> {
    if let Who::User { id, .. } = principal.who {
        desk.store.end_sessions(id, principal.name()).await?;
    }
    signed_out(&desk)
}

/// The part of a sign-in link behind its `#`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    token: String,
}

/// Whose link it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkView {
    name: String,
    role: &'static str,
}

fn no_link() -> Problem {
    Problem::not_found(
        "this link was used or has expired: ask for another one, or run `frontdesk users link`",
    )
}

/// Whose link this is, without using it up.
#[utoipa::path(post, path = "/session/link/look", tag = "session", request_body = Link,
    responses((status = 200, body = LinkView)))]
async fn look_at_link(
    State(desk): State<Arc<Desk>>,
    Said(link): Said<Link>,
) -> Answer<Json<LinkView>> {
    let user = desk.store.link_user(secret::hash(&link.token)).await?.ok_or_else(no_link)?;
    Ok(Json(LinkView { name: user.name, role: user.role.as_str() }))
}

/// A sign-in link and the password from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    token: String,
    /// 10 to 256 characters.
    password: String,
}

/// Use a sign-in link up: choose a password and be signed in. The answer sets the cookie.
#[utoipa::path(post, path = "/session/link", tag = "session", request_body = Redeem,
    responses((status = 200, body = SessionView)))]
async fn redeem_link(State(desk): State<Arc<Desk>>, Said(said): Said<Redeem>) -> Answer<Response> {
    let link = secret::hash(&said.token);
    // Nobody makes us work for a link that is none.
    desk.store.link_user(link).await?.ok_or_else(no_link)?;
    let hash = password::hash(said.password).await?;
    let (cookie, session) = new_session(&desk)?;
    let session = desk.store.redeem_link(link, hash, session).await?.ok_or_else(no_link)?;
    signed_in(&desk, &session, &cookie)
}

/// The password until now and the one from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    current: String,
    /// 10 to 256 characters.
    new: String,
}

/// Choose another password. Every other browser is signed out; the answer sets a new cookie.
#[utoipa::path(put, path = "/session/password", tag = "session", request_body = ChangePassword,
    responses((status = 200, body = SessionView)))]
async fn change_password(
    State(desk): State<Arc<Desk>>,
    Peer(peer): Peer,
    principal: Principal,
    Said(said): Said<ChangePassword>,
) -> Answer<Response> {
    let Who::User { id, name, .. } = &principal.who else {
        return Err(Problem::forbidden("only a user has a password"));
    };
    begin(&desk, name, peer)?;
    let known = desk.store.credentials(name.clone()).await?.map(|(_, hash)| hash);
    if !password::verify(said.current, known).await? {
        return Err(Problem::forbidden("this is not your password"));
    }
    desk.front.throttle().succeeded(name, peer);
    let hash = password::hash(said.new).await?;
    let (cookie, session) = new_session(&desk)?;
    let session = desk.store.change_password(*id, hash, session).await?;
    signed_in(&desk, &session, &cookie)
}
