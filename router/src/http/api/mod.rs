//! `/api/v1`: each route is a few lines over one operation of the store.
//!
//! A route is added with what it needs ([`Routes::add`]), which is checked before its handler runs and
//! stands in the OpenAPI document; the document is made of the handlers themselves, so that there is no
//! route without a description and no description without a route.

mod agents;
mod ask;
mod audit;
mod contacts;
mod conversations;
mod drafts;
mod events;
mod messages;
mod models;
mod operations;
mod outbox;
mod reviews;
mod session;
mod tokens;
mod users;
mod views;
mod webhooks;

use super::{
    access::{self, Need},
    idempotency,
    problem::{Problem, ProblemBody},
};
use crate::desk::Desk;
use axum::{
    Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    http::header,
    middleware,
    response::{IntoResponse as _, Response},
};
use frontdesk_agents::store::Scope;
use serde_json::json;
use std::sync::{Arc, LazyLock};
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        self, ContentBuilder, Ref, ResponseBuilder,
        path::{Operation, ParameterBuilder, ParameterIn},
        security::{
            ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
        },
    },
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// A request body at most: 25 MB of attachments in base64, and the rest of a mail.
pub const BODY_MAX: usize = 40 * 1024 * 1024;

#[derive(OpenApi)]
#[openapi(info(
    title = "Frontdesk",
    version = "1",
    description = "Conversations of software agents with people, and what people and programs do about \
                   them. Lists are paged by `cursor`. Errors are problem+json (RFC 9457). Writes take an \
                   `Idempotency-Key`. Shapes change only by addition."
))]
struct Document;

/// Routes with what they need, and their description.
struct Routes(OpenApiRouter<Arc<Desk>>);

impl Routes {
    fn new() -> Self {
        Self(OpenApiRouter::with_openapi(Document::openapi()))
    }

    fn add(self, need: Need, (schemas, mut paths, methods): UtoipaMethodRouter<Arc<Desk>>) -> Self {
        for item in paths.paths.values_mut() {
            for (reads, operation) in [
                (true, &mut item.get),
                (false, &mut item.post),
                (false, &mut item.put),
                (false, &mut item.patch),
                (false, &mut item.delete),
            ] {
                if let Some(operation) = operation {
                    describe(operation, need, reads);
                }
            }
        }
        let methods = methods.route_layer(middleware::from_fn_with_state(need, access::guard));
        Self(self.0.routes((schemas, paths, methods)))
    }

    fn scope(self, scope: Scope, routes: UtoipaMethodRouter<Arc<Desk>>) -> Self {
        self.add(Need::Scope(scope), routes)
    }

    fn read(self, routes: UtoipaMethodRouter<Arc<Desk>>) -> Self {
        self.scope(Scope::Read, routes)
    }

    fn admin(self, routes: UtoipaMethodRouter<Arc<Desk>>) -> Self {
        self.scope(Scope::Admin, routes)
    }
}

/// What every operation may answer beside what its handler says, and a name of its own.
fn describe(operation: &mut Operation, need: Need, reads: bool) {
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(name)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{name}"));
    }
    // The first of everything is often there: whoever tries the API out finds something.
    for parameter in operation.parameters.iter_mut().flatten() {
        if parameter.parameter_in == ParameterIn::Path {
            let example = match parameter.name.as_str() {
                "name" => json!("hello"),
                "address" => json!("someone@example.org"),
                "part" => json!(0),
                _ => json!(1),
            };
            *parameter = ParameterBuilder::from(parameter.clone()).example(Some(example)).build();
        }
    }
    let mut problems = vec![
        ("400", "The request cannot be understood"),
        ("403", "Not with these rights, or not from this page"),
        ("404", "There is no such thing, or it is out of sight"),
        ("503", "Not now"),
    ];
    problems.push(("401", "Nobody has signed in, or the token is not good"));
    if !reads {
        problems.extend([
            ("409", "It does not fit the state things are in"),
            ("413", "The body is too large"),
            ("415", "The body is not JSON"),
            ("422", "The request is understood and cannot be followed"),
            ("429", "Too often"),
            ("507", "The disk is full"),
        ]);
    }
    for (status, words) in problems {
        let problem =
            ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
        let response = ResponseBuilder::new()
            .description(words)
            .content("application/problem+json", problem)
            .build();
        operation.responses.responses.entry(status.into()).or_insert(response.into());
    }
    if need != Need::Nothing {
        operation.security = Some(match need {
            Need::Browser => vec![cookie()],
            _ => vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", []), cookie()],
        });
    }
    let words = need.words();
    let description = operation.description.take().unwrap_or_default();
    operation.description =
        Some(format!("{description}\n\nNeeds {words}.").trim_start().to_owned());
}

fn cookie() -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>("cookie", [])
}

fn routes() -> Routes {
    let resources = [
        session::routes,
        conversations::routes,
        messages::routes,
        models::routes,
        reviews::routes,
        drafts::routes,
        outbox::routes,
        contacts::routes,
        agents::routes,
        events::routes,
        users::routes,
        tokens::routes,
        webhooks::routes,
        audit::routes,
        operations::routes,
    ];
    resources.into_iter().fold(Routes::new(), |routes, add| add(routes))
}

/// All routes, below `/api/v1`.
pub fn router(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    let (router, _) = routes().0.split_for_parts();
    router
        .route("/openapi.json", axum::routing::get(openapi_json))
        .fallback(|| async { Problem::not_found("there is no such path in this API") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(desk.clone(), idempotency::once))
        .layer(middleware::from_fn_with_state(desk.clone(), access::identify))
}

/// Made when it is first asked for: as objects it is megabytes.
async fn openapi_json() -> Response {
    static TEXT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone()).into_response()
}

/// The description of all routes.
pub fn document() -> openapi::OpenApi {
    let (_, mut document) = routes().0.split_for_parts();
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    components
        .add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(
        "cookie",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("frontdesk"))),
    );
    document.servers = Some(vec![openapi::Server::new("/api/v1")]);
    document
}
