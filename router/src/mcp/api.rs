//! The HTTP API as tools ask it: in this process, in the name of whoever called the tool.

use crate::{
    desk::Desk,
    http::{access::Principal, api},
};
use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use reqwest::Url;
use serde_json::Value;
use std::{fmt, sync::Arc};
use tower::ServiceExt;

/// The header under which a write that is asked for twice is done once.
const ONCE: &str = "idempotency-key";
/// Larger than any answer there is: mail is at most 35 MB.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Who answers.
#[derive(Clone)]
pub struct Api {
    router: Router,
}

/// Whoever called a tool, who asks.
#[derive(Clone)]
pub struct Caller {
    api: Api,
    principal: Principal,
}

/// Why there is no answer, in the words of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub title: String,
    pub detail: String,
}

impl Refusal {
    /// What was asked cannot be followed; the text says what would be right.
    pub fn wrong(detail: impl Into<String>) -> Self {
        Self { status: 422, title: "Unprocessable Content".into(), detail: detail.into() }
    }

    fn failed(what: &'static str, error: impl fmt::Display) -> Self {
        tracing::error!(%error, what, "a tool could not ask the API");
        Self { status: 500, title: String::new(), detail: String::new() }
    }

    fn of(status: StatusCode, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        Self { status: status.as_u16(), title: text("title"), detail: text("detail") }
    }
}

impl fmt::Display for Refusal {
    /// Cause and fix. What failed in here is for the server's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail.trim_end_matches('.');
        match self.status {
            500 => write!(f, "The server failed; its log says why. Trying again may help."),
            401 | 403 => write!(
                f,
                "{detail}. Ask whoever runs this server for a token with that right \
                 (`frontdesk tokens create`)."
            ),
            404 => write!(f, "{detail}. It does not exist, or this token does not see it."),
            409 => write!(f, "{detail}. Look at how things stand, and then decide anew."),
            _ => write!(f, "{detail}."),
        }
    }
}

impl Api {
    /// The API of a desk.
    pub fn new(desk: &Arc<Desk>) -> Self {
        let router = Router::new().nest("/api/v1", api::router(desk)).with_state(desk.clone());
        Self { router }
    }

    /// The API as somebody uses it.
    pub fn caller(&self, principal: Principal) -> Caller {
        Caller { api: self.clone(), principal }
    }
}

impl Caller {
    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Reads.
    pub async fn get(&self, path: &str, query: &[(&str, Option<String>)]) -> Answer {
        json(&self.ask(Method::GET, path, query, None, None).await?)
    }

    /// Reads octets.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        self.ask(Method::GET, path, &[], None, None).await
    }

    /// Writes.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        json(&self.ask(Method::POST, path, &[], Some(body), None).await?)
    }

    /// Writes once, however often it is asked for with this key.
    pub async fn post_once(&self, path: &str, body: Value, key: Option<&str>) -> Answer {
        json(&self.ask(Method::POST, path, &[], Some(body), key).await?)
    }

    /// Changes.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        json(&self.ask(Method::PATCH, path, &[], Some(body), None).await?)
    }

    /// Removes.
    pub async fn delete(&self, path: &str) -> Answer {
        json(&self.ask(Method::DELETE, path, &[], None, None).await?)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<String>)],
        body: Option<Value>,
        once: Option<&str>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut request = Request::builder().method(method).uri(target(path, query)?);
        if let Some(key) = once {
            request = request.header(ONCE, key);
        }
        let body = match body {
            None => Body::empty(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        // A key is the one part that could be no header.
        let mut request = request
            .body(body)
            .map_err(|_| Refusal::wrong("an idempotency_key is 1 to 255 characters of ASCII"))?;
        request.extensions_mut().insert(self.principal.clone());
        let response = match self.api.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), ANSWER_MAX)
            .await
            .map_err(|error| Refusal::failed("read an answer", error))?;
        if status.is_success() { Ok(body.into()) } else { Err(Refusal::of(status, &body)) }
    }
}

/// What the API answers.
pub type Answer = Result<Value, Refusal>;

fn json(body: &[u8]) -> Answer {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| Refusal::failed("understand an answer", error))
}

/// The target of a request, its query encoded.
fn target(path: &str, query: &[(&str, Option<String>)]) -> Result<String, Refusal> {
    let given = query.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
    let mut url = Url::parse("http://desk/api/v1")
        .map_err(|error| Refusal::failed("name what is asked", error))?;
    url.set_path(&format!("/api/v1{path}"));
    url.query_pairs_mut().extend_pairs(given);
    let query = url.query().filter(|query| !query.is_empty());
    Ok(query.map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded_and_what_is_not_given_is_left_out() {
        assert_eq!(target("/agents", &[]).unwrap(), "/api/v1/agents");
        let query = [("q", Some("a&b=c d".to_owned())), ("cursor", None)];
        assert_eq!(target("/search", &query).unwrap(), "/api/v1/search?q=a%26b%3Dc+d");
    }

    #[test]
    fn a_refusal_names_cause_and_fix_and_no_insides() {
        let refusal = |status: u16, detail: &str| {
            let body = serde_json::json!({ "title": "No", "detail": detail }).to_string();
            Refusal::of(StatusCode::from_u16(status).unwrap(), body.as_bytes()).to_string()
        };
        assert!(refusal(404, "there is no agent \"x\"").contains("does not see it"));
        assert!(refusal(403, "it needs the right to approve").contains("tokens create"));
        let insides = refusal(500, "no such table: approvals at /srv/data");
        assert!(!insides.contains("table") && !insides.contains("/srv"), "{insides}");
    }
}
