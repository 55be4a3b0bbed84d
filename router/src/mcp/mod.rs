//! `/mcp`: what a model in another program may do here, over the Model Context Protocol.
//!
//! - [`api`] asks the HTTP API in this process, in the name of whoever called;
//! - [`tool`] is what a tool is, and `tools` has them, a file for each thing they are about;
//! - [`marked`] shows what others wrote as the data it is, with whose words they are;
//! - [`server`] answers the protocol; [`bridge`] carries it from standard input and output to a server.
//!
//! What always holds: a tool does nothing but ask the API, so nobody can do more here than there, and scopes,
//! sight, audit and idempotency are the same code. There are no sessions: every request shows its token, so one
//! that was revoked ends at once, and a restart of the server goes unnoticed.
//!
//! Left out: resources, prompts, and whatever a server asks of its client. Sending files along takes the API.

pub mod api;
pub mod bridge;
pub mod marked;
pub mod server;
pub mod tool;
pub mod tools;

use crate::{
    desk::Desk,
    http::{
        access::{self, Principal, Who},
        problem::Problem,
    },
};
use axum::{
    Router,
    extract::{Request, State},
    http::request::Parts,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use server::Server;
use std::sync::{Arc, OnceLock};

/// Where it is served.
pub const PATH: &str = "/mcp";

/// The endpoint, for programs with a token and for the local operator.
pub fn routes(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    // Made when it is first asked for: a desk that no model visits does without.
    let (server, of) = (OnceLock::new(), desk.clone());
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        // `access` has looked at Host and Origin, as everywhere.
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let sessions = Arc::new(NeverSessionManager::default());
    let server = move || Ok(server.get_or_init(|| Server::new(api::Api::new(&of))).clone());
    let service = StreamableHttpService::new(server, sessions, config);
    Router::new()
        .route_service(PATH, service)
        .layer(middleware::from_fn_with_state(desk.clone(), admit))
}

async fn admit(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match program(&desk, &parts).await {
        Ok(principal) => {
            parts.extensions.insert(principal);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Whoever may come in: a page in a browser has the API, and no business here.
async fn program(desk: &Desk, parts: &Parts) -> Result<Principal, Problem> {
    let principal = access::authenticate(desk, parts).await?;
    match principal.who {
        Who::Operator | Who::Token { .. } => Ok(principal),
        Who::User { .. } => Err(Problem::forbidden(
            "this is for programs: make a token with `frontdesk tokens create`, and send it as \
             Authorization: Bearer fd_…",
        )),
        Who::Nobody => Err(Problem::unauthorized(
            "send a token: Authorization: Bearer fd_…; `frontdesk tokens create` makes one",
        )),
    }
}
