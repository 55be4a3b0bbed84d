//! What programs show to be let in.

use super::{
    Routes,
    ask::{Answer, Ask, At, Page, Said},
    users::{PageQuery, agent_names, sight_of},
};
use crate::{
    desk::Desk,
    http::{access::Principal, idempotency::Secret, problem::Problem, secret},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    TokenId,
    store::{NewToken, Scope, Sight, Token},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes.admin(routes!(list)).admin(routes!(create)).admin(routes!(get)).admin(routes!(delete))
}

/// A program's token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    id: i64,
    name: String,
    /// What it may do: `read`, `draft`, `send`, `approve`, `admin`, `instances`.
    scopes: Vec<&'static str>,
    /// Whose conversations it sees. Null: everybody's.
    agents: Option<Vec<String>>,
    created_by: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// Exact to a minute.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl TokenView {
    fn new(desk: &Desk, token: Token) -> Self {
        Self {
            id: token.id.0,
            agents: agent_names(desk, &token.sight),
            name: token.name,
            scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_by: token.created_by,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A token with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewTokenView {
    #[serde(flatten)]
    token: TokenView,
    /// `fd_…`: shown only here. Send it as `Authorization: Bearer fd_…`.
    secret: String,
}

/// All tokens, the newest first; revoked ones too.
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<TokenView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<TokenView>>> {
    let (limit, before) = q.of_ids()?;
    let tokens = desk.store.tokens(TokenId(before.unwrap_or(i64::MAX)), limit + 1).await?;
    let page = Page::cut(tokens, limit, |token| token.id.to_string());
    Ok(Json(page.map(|token| TokenView::new(&desk, token))))
}

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    name: String,
    /// What it may do: `read`, `draft`, `send`, `approve`, `admin`, `instances`.
    scopes: Vec<String>,
    /// Whose conversations it sees. Left out or null: everybody's.
    agents: Option<Vec<String>>,
    /// When it stops working. Left out: never.
    expires_at: Option<Timestamp>,
}

/// Make a token. Its secret is shown once.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = CreateToken,
    responses((status = 201, body = NewTokenView)))]
async fn create(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(new): Said<CreateToken>,
) -> Answer<(StatusCode, Extension<Secret>, Json<NewTokenView>)> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(Problem::unprocessable("a token's name has 1 to 64 characters"));
    }
    let mut scopes = Vec::new();
    for text in &new.scopes {
        let scope = Scope::parse(text).ok_or_else(|| {
            let all = Scope::ALL.map(Scope::as_str).join(", ");
            Problem::unprocessable(format!("{text:?} is no scope: {all} are"))
        })?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Err(Problem::unprocessable("a token needs a scope, such as read"));
    }
    let sight = sight_of(&desk, new.agents.as_deref())?;
    if scopes.contains(&Scope::Admin) && sight != Sight::All {
        return Err(Problem::unprocessable(
            "the scope admin is for all agents: leave `agents` out, or the scope",
        ));
    }
    if new.expires_at.is_some_and(|at| at <= desk.store.clock().now()) {
        return Err(Problem::unprocessable("`expires_at` is in the past"));
    }
    let secret = secret::new(secret::TOKEN_PREFIX).map_err(Problem::internal)?;
    let token =
        NewToken { name, hash: secret::hash(&secret), scopes, sight, expires_at: new.expires_at };
    let token = desk.store.create_token(token, principal.name()).await?;
    let view = NewTokenView { token: TokenView::new(&desk, token), secret };
    Ok((StatusCode::CREATED, Extension(Secret), Json(view)))
}

/// A token.
#[utoipa::path(get, path = "/tokens/{id}", tag = "tokens", params(("id" = i64, Path)),
    responses((status = 200, body = TokenView)))]
async fn get(State(desk): State<Arc<Desk>>, At(id): At<i64>) -> Answer<Json<TokenView>> {
    Ok(Json(TokenView::new(&desk, desk.store.token(TokenId(id)).await?)))
}

/// Revoke a token: it stops working at once.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", params(("id" = i64, Path)),
    responses((status = 204)))]
async fn delete(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<StatusCode> {
    desk.store.revoke_token(TokenId(id), principal.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}
