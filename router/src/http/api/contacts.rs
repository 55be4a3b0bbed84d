//! The people we talk to.

use super::{
    Routes,
    ask::{Answer, Ask, At, Page, Said, id_cursor, limit},
    outbox::addresses,
};
use crate::{
    desk::Desk,
    http::{access::Principal, problem::Problem},
};
use axum::{Json, extract::State, http::StatusCode};
use frontdesk_agents::{
    ContactId, Trust,
    store::{Contact, Scope, Thing},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .read(routes!(list))
        .read(routes!(get))
        .scope(Scope::Draft, routes!(update))
        .scope(Scope::Approve, routes!(admit))
        .scope(Scope::Approve, routes!(dismiss))
        .scope(Scope::Approve, routes!(merge))
        .scope(Scope::Approve, routes!(split))
        .read(routes!(blocked))
        .scope(Scope::Approve, routes!(block))
        .scope(Scope::Approve, routes!(unblock))
}

/// A person, known by handles that were proven.
#[derive(Debug, Serialize, ToSchema)]
struct ContactView {
    id: i64,
    name: String,
    /// `unproven`, `proven`, `known` (a person vouched for them) or `staff`.
    trust: &'static str,
    handles: Vec<HandleView>,
    created_at: Timestamp,
    /// Contacts that were merged into this one and can be split off again.
    merged: Vec<i64>,
}

/// An address or number that was proven to be theirs.
#[derive(Debug, Serialize, ToSchema)]
struct HandleView {
    id: i64,
    /// `email`, `phone` or `browser`.
    channel: String,
    value: String,
    /// How it was proven.
    proof: String,
    proven_at: Timestamp,
    /// Mail from it is refused.
    blocked: bool,
}

impl From<Contact> for ContactView {
    fn from(contact: Contact) -> Self {
        let handles = contact.handles.into_iter().map(|handle| HandleView {
            id: handle.id.0,
            channel: handle.channel,
            value: handle.value,
            proof: handle.proof,
            proven_at: handle.proven_at,
            blocked: handle.blocked,
        });
        Self {
            id: contact.id.0,
            name: contact.name,
            trust: contact.trust.as_str(),
            handles: handles.collect(),
            created_at: contact.created_at,
            merged: contact.merged.iter().map(|id| id.0).collect(),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// A part of a name or handle.
    q: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Contacts in the order they were met.
#[utoipa::path(get, path = "/contacts", tag = "contacts", params(ListQuery),
    responses((status = 200, body = Page<ContactView>)))]
async fn list(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<ListQuery>,
) -> Answer<Json<Page<ContactView>>> {
    let limit = limit(q.limit);
    let after = ContactId(id_cursor(q.cursor.as_deref())?.unwrap_or(0));
    let sight = principal.sight().clone();
    let contacts = desk.store.list_contacts(sight, q.q, after, limit + 1).await?;
    Ok(Json(Page::cut(contacts, limit, |contact| contact.id.to_string()).map(Into::into)))
}

/// A contact. Their conversations: `GET /conversations?contact={id}`.
#[utoipa::path(get, path = "/contacts/{id}", tag = "contacts", params(("id" = i64, Path)),
    responses((status = 200, body = ContactView)))]
async fn get(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<ContactView>> {
    let id = reach(&desk, &principal, id).await?;
    Ok(Json(desk.store.contact(id).await?.into()))
}

async fn reach(desk: &Desk, principal: &Principal, id: i64) -> Answer<ContactId> {
    principal.reach(desk, Thing::Contact(ContactId(id))).await?;
    Ok(ContactId(id))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateContact {
    /// At most 200 characters.
    name: String,
}

/// Give a contact another name.
#[utoipa::path(patch, path = "/contacts/{id}", tag = "contacts", params(("id" = i64, Path)),
    request_body = UpdateContact, responses((status = 200, body = ContactView)))]
async fn update(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(update): Said<UpdateContact>,
) -> Answer<Json<ContactView>> {
    let id = reach(&desk, &principal, id).await?;
    if update.name.chars().count() > 200 || update.name.chars().any(char::is_control) {
        return Err(Problem::unprocessable("a name has at most 200 characters on one line"));
    }
    let name = update.name.trim().to_owned();
    Ok(Json(desk.store.rename_contact(id, name, principal.name()).await?.into()))
}

/// Vouch for a contact: they are known from now on.
#[utoipa::path(post, path = "/contacts/{id}/admit", tag = "contacts", params(("id" = i64, Path)),
    responses((status = 200, body = ContactView)))]
async fn admit(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<ContactView>> {
    let id = reach(&desk, &principal, id).await?;
    Ok(Json(desk.store.set_trust(id, Trust::Known, principal.name()).await?.into()))
}

/// No longer vouch for a contact: their handles stay proven.
#[utoipa::path(delete, path = "/contacts/{id}/admit", tag = "contacts", params(("id" = i64, Path)),
    responses((status = 200, body = ContactView)))]
async fn dismiss(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
) -> Answer<Json<ContactView>> {
    let id = reach(&desk, &principal, id).await?;
    Ok(Json(desk.store.set_trust(id, Trust::Proven, principal.name()).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OtherContact {
    /// The other contact.
    contact: i64,
}

/// Two contacts are one person: handles and open conversations of the other go to this one.
#[utoipa::path(post, path = "/contacts/{id}/merge", tag = "contacts", params(("id" = i64, Path)),
    request_body = OtherContact, responses((status = 200, body = ContactView)))]
async fn merge(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(other): Said<OtherContact>,
) -> Answer<Json<ContactView>> {
    everybody(&principal)?;
    let id = reach(&desk, &principal, id).await?;
    let other = reach(&desk, &principal, other.contact).await?;
    Ok(Json(desk.store.merge_contacts(id, other, principal.name()).await?.into()))
}

/// Two people after all: what the other brought along goes back. Answers the other.
#[utoipa::path(post, path = "/contacts/{id}/split", tag = "contacts", params(("id" = i64, Path)),
    request_body = OtherContact, responses((status = 200, body = ContactView)))]
async fn split(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(id): At<i64>,
    Said(other): Said<OtherContact>,
) -> Answer<Json<ContactView>> {
    everybody(&principal)?;
    let id = reach(&desk, &principal, id).await?;
    let other = ContactId(other.contact);
    Ok(Json(desk.store.split_contact(id, other, principal.name()).await?.into()))
}

/// Contacts are shared by all agents, so who joins them must see all of them.
fn everybody(principal: &Principal) -> Answer<()> {
    if principal.sees_all() {
        return Ok(());
    }
    Err(Problem::forbidden("this touches the memory of every agent, and you see only some of them"))
}

/// An address nobody here wants mail from.
#[derive(Debug, Serialize, ToSchema)]
struct BlockedView {
    address: String,
    blocked_by: String,
    blocked_at: Timestamp,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BlockedQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Addresses that mail is refused from, in order.
#[utoipa::path(get, path = "/blocked", tag = "contacts", params(BlockedQuery),
    responses((status = 200, body = Page<BlockedView>)))]
async fn blocked(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Ask(q): Ask<BlockedQuery>,
) -> Answer<Json<Page<BlockedView>>> {
    everybody(&principal)?;
    let limit = limit(q.limit);
    let rows = desk.store.blocked(q.cursor.unwrap_or_default(), limit + 1).await?;
    let page = Page::cut(rows, limit, |(address, ..)| address.clone());
    Ok(Json(page.map(|(address, blocked_by, blocked_at)| BlockedView {
        address,
        blocked_by,
        blocked_at,
    })))
}

/// An email address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Address {
    address: String,
}

/// What became of an address.
#[derive(Debug, Serialize, ToSchema)]
struct AddressView {
    address: String,
    blocked: bool,
}

async fn set_blocked(
    desk: &Desk,
    principal: &Principal,
    address: String,
    blocked: bool,
) -> Answer<AddressView> {
    everybody(principal)?;
    let address = addresses(&[address])?.remove(0);
    if blocked && (desk.store.rules().is_own)(&address) {
        return Err(Problem::unprocessable(format!("{address} is one of our own addresses")));
    }
    desk.store.block(address.clone(), blocked, principal.name()).await?;
    Ok(AddressView { address, blocked })
}

/// Refuse mail from an address from now on.
#[utoipa::path(post, path = "/blocked", tag = "contacts", request_body = Address,
    responses((status = 200, body = AddressView)))]
async fn block(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(said): Said<Address>,
) -> Answer<Json<AddressView>> {
    Ok(Json(set_blocked(&desk, &principal, said.address, true).await?))
}

/// Take mail from an address again.
#[utoipa::path(delete, path = "/blocked/{address}", tag = "contacts",
    params(("address" = String, Path)), responses((status = 204)))]
async fn unblock(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    At(address): At<String>,
) -> Answer<StatusCode> {
    set_blocked(&desk, &principal, address, false).await?;
    Ok(StatusCode::NO_CONTENT)
}
