//! Who a request is from, and what they may do: the one place that decides.
//!
//! [`authenticate`] turns a request into a [`Principal`]: by a bearer token, by a browser's cookie, or as
//! nobody. Every route says what it needs ([`Need`]), and [`guard`] holds it to that before its handler
//! runs; queries are filtered by [`Principal::sight`]. The control socket stands for the local operator.
//!
//! A cookie is sent by whatever page a browser shows, so with one a write must come from a page of ours
//! (see [`Origins`](super::origin::Origins)) and carry the token that only such a page can read.

use super::{problem::Problem, secret};
use crate::desk::Desk;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use frontdesk_agents::{
    AgentId, SessionId, TokenId, UserId,
    gate::Actor,
    store::{Scope, Session, Sight, Thing, Token, UserRole, actor},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use subtle::ConstantTimeEq;

/// A session that nobody used for this long has ended.
pub const SESSION_IDLE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A session has ended after this long, however much it was used.
pub const SESSION_LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// "Last seen" is exact to this, so that reading does not write all the time.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

/// The header with the token that a page says beside its cookie.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The control socket, which the file system keeps for the local operator.
    Operator,
    /// A person in a browser.
    User { id: UserId, name: String, role: UserRole, session: SessionId },
    /// A program.
    Token { id: TokenId, name: String },
    /// Anybody.
    Nobody,
}

/// Who asks, what they may do, and whose conversations they see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub who: Who,
    scopes: Vec<Scope>,
    sight: Sight,
    /// For a browser, what its pages must say in [`CSRF_HEADER`].
    csrf: Option<String>,
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is for those who are not signed in yet.
    Nothing,
    /// To be somebody.
    SomeOne,
    /// To be a person in a browser.
    Browser,
    /// A scope.
    Scope(Scope),
    /// One of these scopes.
    AnyOf(&'static [Scope]),
}

impl Need {
    /// To write mail: whoever may draft and not send asks a person with it.
    pub const WRITE: Self = Self::AnyOf(&[Scope::Draft, Scope::Send]);

    /// What is needed, in words that go on from "needs".
    pub fn words(self) -> String {
        match self {
            Self::Nothing => "nothing".into(),
            Self::SomeOne => "to be signed in".into(),
            Self::Browser => "to be signed in with a browser".into(),
            Self::Scope(scope) => format!("the right to {}", scope.as_str()),
            Self::AnyOf(scopes) => {
                let words: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
                format!("the right to {}", words.join(" or to "))
            }
        }
    }
}

impl Principal {
    /// The local operator, who does everything.
    pub fn operator() -> Self {
        let scopes = Scope::ALL.to_vec();
        Self { who: Who::Operator, scopes, sight: Sight::All, csrf: None }
    }

    fn nobody() -> Self {
        Self { who: Who::Nobody, scopes: Vec::new(), sight: Sight::Only(Vec::new()), csrf: None }
    }

    /// A user who is signed in with this cookie.
    pub fn of_session(session: &Session, cookie: &str) -> Self {
        let user = &session.user;
        Self {
            who: Who::User {
                id: user.id,
                name: user.name.clone(),
                role: user.role,
                session: session.id,
            },
            scopes: user.role.scopes().to_vec(),
            sight: user.sight.clone(),
            csrf: Some(secret::csrf(cookie)),
        }
    }

    fn of_token(token: Token) -> Self {
        Self {
            who: Who::Token { id: token.id, name: token.name },
            scopes: token.scopes,
            sight: token.sight,
            csrf: None,
        }
    }

    /// Whether nobody has signed in.
    pub fn is_nobody(&self) -> bool {
        self.who == Who::Nobody
    }

    /// The name in the audit trail.
    pub fn name(&self) -> String {
        match &self.who {
            Who::Operator => "operator".into(),
            Who::User { name, .. } => actor(name),
            Who::Token { id, name } => format!("token:{id}:{name}"),
            Who::Nobody => "nobody".into(),
        }
    }

    /// How the gate sees them when they write for an agent: a person has read what leaves, a program has not,
    /// and whoever may not send only proposes.
    pub fn actor(&self, agent: &str) -> Actor {
        let name = self.name();
        match &self.who {
            _ if !self.scopes.contains(&Scope::Send) => {
                Actor::Writer { name, agent: agent.to_owned() }
            }
            Who::Token { .. } => Actor::Program { name },
            _ => Actor::Person { name },
        }
    }

    /// What they may do.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whose conversations they see.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Whether they see what belongs to this agent.
    pub fn sees(&self, agent: AgentId) -> bool {
        self.sight.includes(agent)
    }

    /// Whether they see every agent's.
    pub fn sees_all(&self) -> bool {
        self.sight == Sight::All
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<UserId> {
        match self.who {
            Who::User { id, .. } => Some(id),
            _ => None,
        }
    }

    /// What pages of this browser must say beside the cookie.
    pub fn csrf(&self) -> Option<&str> {
        self.csrf.as_deref()
    }

    /// Says no, and why, to whoever lacks what is needed.
    pub fn may(&self, need: Need) -> Result<(), Problem> {
        let sign_in =
            || Problem::unauthorized("sign in first, or send a token: Authorization: Bearer fd_…");
        match (need, &self.who) {
            (Need::Nothing, _) => Ok(()),
            (_, Who::Nobody) => Err(sign_in()),
            (Need::SomeOne, _) | (Need::Browser, Who::User { .. }) => Ok(()),
            (Need::Browser, _) => {
                Err(Problem::forbidden("this is for people who signed in with a browser"))
            }
            (Need::Scope(scope), _) if self.scopes.contains(&scope) => Ok(()),
            (Need::AnyOf(scopes), _) if scopes.iter().any(|s| self.scopes.contains(s)) => Ok(()),
            (Need::Scope(_) | Need::AnyOf(_), _) => Err(Problem::forbidden(format!(
                "{} may not do this: it needs {}",
                self.name(),
                need.words()
            ))),
        }
    }

    /// The same for a scope.
    pub fn may_use(&self, scope: Scope) -> Result<(), Problem> {
        self.may(Need::Scope(scope))
    }

    /// Says 404 of what is out of sight, as of what does not exist.
    pub async fn reach(&self, desk: &Desk, thing: Thing) -> Result<(), Problem> {
        Ok(desk.store.in_sight(&self.sight, thing).await?)
    }
}

/// Who a request is from. `Host` and `Origin` must be ours, a token must be good, and a write with a
/// cookie must come from a page of ours; a cookie that is no longer good is nobody.
pub async fn authenticate(desk: &Desk, parts: &Parts) -> Result<Principal, Problem> {
    let (principal, used) = look(desk, parts).await?;
    match used {
        Some(Used::Session(id)) => desk.store.touch_session(id).await?,
        Some(Used::Token(id)) => desk.store.touch_token(id).await?,
        None => {}
    }
    Ok(principal)
}

/// Who still listens at the other end of a long answer, by the head of its request; nothing if they may
/// no longer read. Being asked is not being there, so it counts as no use.
pub async fn still(desk: &Desk, head: &Parts, was: &Principal) -> Option<Principal> {
    if was.who == Who::Operator {
        return Some(was.clone());
    }
    let mut head = head.clone();
    head.extensions.remove::<Principal>();
    let (principal, _) = look(desk, &head).await.ok()?;
    principal.may_use(Scope::Read).is_ok().then_some(principal)
}

/// What was used after a while without.
enum Used {
    Session(SessionId),
    Token(TokenId),
}

async fn look(desk: &Desk, parts: &Parts) -> Result<(Principal, Option<Used>), Problem> {
    // Whoever came through the control socket was known before there were headers.
    if let Some(principal) = parts.extensions.get::<Principal>() {
        return Ok((principal.clone(), None));
    }
    let origins = desk.origins();
    origins.check(&parts.headers).map_err(Problem::forbidden)?;
    let now = desk.store.clock().now();
    let stale = |at: Timestamp| now.duration_since(at) > TOUCH;
    if let Some(shown) = parts.headers.get(header::AUTHORIZATION) {
        let token = token(desk, shown).await?;
        let used = token.last_used_at.is_none_or(stale).then_some(Used::Token(token.id));
        return Ok((Principal::of_token(token), used));
    }
    let nobody = (Principal::nobody(), None);
    let Some(cookie) = session_cookie(&parts.headers, origins.is_secure()) else {
        return Ok(nobody);
    };
    let idle_since = now.checked_sub(SESSION_IDLE).unwrap_or(Timestamp::MIN);
    let session = desk.store.session(secret::hash(cookie), idle_since).await?;
    let Some(session) = session else { return Ok(nobody) };
    let principal = Principal::of_session(&session, cookie);
    if !is_safe(&parts.method) {
        check_page(desk, &principal, &parts.headers)?;
    }
    let used = stale(session.seen_at).then_some(Used::Session(session.id));
    Ok((principal, used))
}

async fn token(desk: &Desk, shown: &HeaderValue) -> Result<Token, Problem> {
    let no = || Problem::unauthorized("this token is not known, was revoked or has expired");
    let text = shown.to_str().map_err(|_| no())?;
    // RFC 9110 section 11.1: the name of a scheme has no case.
    let (scheme, token) = text.split_once(' ').ok_or_else(no)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || !token.starts_with(secret::TOKEN_PREFIX) {
        return Err(no());
    }
    desk.store.token_by_hash(secret::hash(token)).await?.ok_or_else(no)
}

fn check_page(desk: &Desk, principal: &Principal, headers: &HeaderMap) -> Result<(), Problem> {
    let said = headers.get(CSRF_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
    let expected = principal.csrf().unwrap_or_default().as_bytes();
    if desk.origins().is_from_own_page(headers) && bool::from(said.ct_eq(expected)) {
        return Ok(());
    }
    Err(Problem::forbidden(format!(
        "a browser's writes must come from a page of {} and carry {CSRF_HEADER} (GET /api/v1/session \
         tells it); programs use tokens",
        desk.origins().main()
    )))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// RFC 6265bis section 4.1.3: a browser takes a `__Host-` cookie only from us, under TLS, for all paths.
fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-frontdesk" } else { "frontdesk" }
}

fn session_cookie(headers: &HeaderMap, secure: bool) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == cookie_name(secure))
        .map(|(_, value)| value)
}

/// The `Set-Cookie` that signs a browser in; without a secret, the one that signs it out.
pub fn set_cookie(secret: Option<&str>, secure: bool) -> Result<HeaderValue, Problem> {
    let seconds = if secret.is_some() { SESSION_LONGEST.as_secs() } else { 0 };
    let cookie = format!(
        "{}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{}",
        cookie_name(secure),
        secret.unwrap_or_default(),
        if secure { "; Secure" } else { "" }
    );
    HeaderValue::try_from(cookie).map_err(Problem::internal)
}

/// The address a request came from, if it came over the network.
pub fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// Before everything: notes who asks.
pub async fn identify(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match authenticate(&desk, &parts).await {
        Ok(principal) => {
            parts.extensions.insert(principal);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Before a handler: holds whoever asks to what the route needs.
pub async fn guard(
    State(need): State<Need>,
    principal: Principal,
    request: Request,
    next: Next,
) -> Response {
    match principal.may(need) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// For handlers. A route that [`identify`] does not stand before lets nobody in.
impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::nobody))
    }
}
