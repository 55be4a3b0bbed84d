//! The people who sign in.

use super::ask::Said;
use super::{
    Routes,
    ask::{Answer, Ask, At, Page, given, id_cursor, limit},
};
use crate::{
    desk::Desk,
    http::{access::Principal, idempotency::Secret, problem::Problem},
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    UserId,
    store::{Sight, User, UserChange, UserRole},
};
use frontdesk_smtp::address::Mailbox;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .admin(routes!(list))
        .admin(routes!(create))
        .admin(routes!(get))
        .admin(routes!(update))
        .admin(routes!(delete))
        .admin(routes!(link))
        .admin(routes!(sign_out))
}

/// A person who may sign in.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    id: i64,
    name: String,
    email: Option<String>,
    /// `owner`, `reviewer` or `viewer`.
    role: &'static str,
    /// Whose conversations they see. Null: everybody's.
    agents: Option<Vec<String>>,
    /// Whether they have signed in by their link and chosen a password.
    has_password: bool,
    /// Whether they are told by mail of what waits for them, and may decide by answering.
    review_mail: bool,
    /// Browsers they are signed in with.
    sessions: u32,
    created_at: Timestamp,
}

impl UserView {
    fn new(desk: &Desk, user: User) -> Self {
        Self {
            id: user.id.0,
            agents: agent_names(desk, &user.sight),
            name: user.name,
            email: user.email,
            role: user.role.as_str(),
            has_password: user.has_password,
            review_mail: user.review_mail,
            sessions: user.sessions,
            created_at: user.created_at,
        }
    }
}

/// A user with the link that signs them in once.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvitedView {
    #[serde(flatten)]
    user: UserView,
    /// Works once, for 24 hours, and is shown only here.
    link: String,
}

/// The names of agents in sight; none for all of them.
pub fn agent_names(desk: &Desk, sight: &Sight) -> Option<Vec<String>> {
    let Sight::Only(agents) = sight else { return None };
    let mut names: Vec<String> = agents
        .iter()
        .filter_map(|id| desk.directory.by_id(*id).map(|known| known.config.name.clone()))
        .collect();
    names.sort_unstable();
    Some(names)
}

/// Agents by name, as somebody writes them.
pub fn sight_of(desk: &Desk, agents: Option<&[String]>) -> Answer<Sight> {
    let Some(names) = agents else { return Ok(Sight::All) };
    let ids = names.iter().map(|name| match desk.directory.by_name(name) {
        Some(known) => Ok(known.id),
        None => Err(Problem::unprocessable(format!("there is no agent {name:?}"))),
    });
    Ok(Sight::Only(ids.collect::<Answer<_>>()?))
}

fn role_of(text: &str) -> Answer<UserRole> {
    UserRole::parse(text).ok_or_else(|| {
        Problem::unprocessable(format!("{text:?} is no role: owner, reviewer and viewer are"))
    })
}

fn owners_see_all(role: UserRole, sight: &Sight) -> Answer<()> {
    if role == UserRole::Owner && *sight != Sight::All {
        return Err(Problem::unprocessable("an owner sees all agents: leave `agents` out"));
    }
    Ok(())
}

/// Letters, digits and some marks, so that a name can stand in an audit line.
fn name_of(text: &str) -> Answer<String> {
    let name = text.trim().to_lowercase();
    let fits = |c: char| c.is_alphanumeric() || "._-@+".contains(c);
    if name.is_empty() || name.chars().count() > 64 || !name.chars().all(fits) {
        return Err(Problem::unprocessable(
            "a name has 1 to 64 letters, digits, dots, hyphens, underscores, plus or at signs",
        ));
    }
    Ok(name)
}

fn email_of(text: &str) -> Answer<String> {
    Mailbox::parse(text)
        .map(|mailbox| mailbox.key())
        .map_err(|e| Problem::unprocessable(format!("{text:?} is no address: {e}")))
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items at most; 50 unless given, 200 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    /// How many items, and after or before which id.
    pub fn of_ids(&self) -> Answer<(usize, Option<i64>)> {
        Ok((limit(self.limit), id_cursor(self.cursor.as_deref())?))
    }
}

/// All users.
#[utoipa::path(get, path = "/users", tag = "users", params(PageQuery),
    responses((status = 200, body = Page<UserView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    Ask(q): Ask<PageQuery>,
) -> Answer<Json<Page<UserView>>> {
    let (limit, after) = q.of_ids()?;
    let users = desk.store.users(UserId(after.unwrap_or(0)), limit + 1).await?;
    let page = Page::cut(users, limit, |user| user.id.to_string());
    Ok(Json(page.map(|user| UserView::new(&desk, user))))
}

/// A user to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What they sign in with.
    name: String,
    email: Option<String>,
    /// `owner`, `reviewer` or `viewer`.
    role: String,
    /// Whose conversations they see. Left out or null: everybody's.
    agents: Option<Vec<String>>,
}

/// Add a user. The answer has the link for their first sign-in.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser,
    responses((status = 201, body = InvitedView)))]
async fn create(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(new): Said<NewUser>,
) -> Answer<(StatusCode, Extension<Secret>, Json<InvitedView>)> {
    let (name, role) = (name_of(&new.name)?, role_of(&new.role)?);
    let email = new.email.as_deref().map(email_of).transpose()?;
    let sight = sight_of(&desk, new.agents.as_deref())?;
    owners_see_all(role, &sight)?;
    let (url, link) = super::super::new_link(&desk)?;
    let user = desk.store.create_user(name, email, role, sight, link, principal.name()).await?;
    let view = InvitedView { user: UserView::new(&desk, user), link: url };
    Ok((StatusCode::CREATED, Extension(Secret), Json(view)))
}

/// A user.
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = i64, Path)),
    responses((status = 200, body = UserView)))]
async fn get(State(desk): State<Arc<Desk>>, At(id): At<i64>) -> Answer<Json<UserView>> {
    Ok(Json(UserView::new(&desk, desk.store.user(UserId(id)).await?)))
}

/// What becomes of a user. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// Null takes it away.
    #[serde(default, deserialize_with = "given")]
    email: Option<Option<String>>,
    /// `owner`, `reviewer` or `viewer`.
    role: Option<String>,
    /// Whose conversations they see. Null: everybody's.
    #[serde(default, deserialize_with = "given")]
    agents: Option<Option<Vec<String>>>,
    /// Whether they are told by mail of what waits for them, and may decide by answering. Needs an address.
    review_mail: Option<bool>,
}

/// Change a user's role, agents or address.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(("id" = i64, Path)),
    request_body = UpdateUser, responses((status = 200, body = UserView)))]
async fn update(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(update): Said<UpdateUser>,
) -> Answer<Json<UserView>> {
    let user = desk.store.user(UserId(id)).await?;
    let change = UserChange {
        role: update.role.as_deref().map(role_of).transpose()?,
        sight: update.agents.map(|agents| sight_of(&desk, agents.as_deref())).transpose()?,
        email: match update.email {
            Some(Some(email)) => Some(Some(email_of(&email)?)),
            Some(None) => Some(None),
            None => None,
        },
        review_mail: update.review_mail,
    };
    owners_see_all(change.role.unwrap_or(user.role), change.sight.as_ref().unwrap_or(&user.sight))?;
    let user = desk.store.change_user(UserId(id), change, principal.name()).await?;
    Ok(Json(UserView::new(&desk, user)))
}

/// Remove a user and sign them out. The last owner stays.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = i64, Path)),
    responses((status = 204)))]
async fn delete(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<StatusCode> {
    desk.store.delete_user(UserId(id), principal.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new sign-in link, for a first sign-in or a forgotten password. Earlier links stop working.
#[utoipa::path(post, path = "/users/{id}/link", tag = "users", params(("id" = i64, Path)),
    responses((status = 201, body = InvitedView)))]
async fn link(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<(StatusCode, Extension<Secret>, Json<InvitedView>)> {
    let (url, link) = super::super::new_link(&desk)?;
    let user = desk.store.new_link(UserId(id), link, principal.name()).await?;
    let view = InvitedView { user: UserView::new(&desk, user), link: url };
    Ok((StatusCode::CREATED, Extension(Secret), Json(view)))
}

/// Sign a user out everywhere.
#[utoipa::path(delete, path = "/users/{id}/sessions", tag = "users", params(("id" = i64, Path)),
    responses((status = 204)))]
async fn sign_out(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<StatusCode> {
    desk.store.end_sessions(UserId(id), principal.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}
