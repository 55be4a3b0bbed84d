//! A desk with two agents, and whoever asks it.

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, header},
};
use frontdesk_router::{
    Desk, Frontdesk,
    agents::{
        ConversationId, Draft, ManualClock, MessageId,
        gate::{Actor, Approval},
        store::{Compose, Scope},
    },
    config::Config,
    http,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};
use tower::ServiceExt;

/// What the desk listens on, as far as requests say.
pub const HOST: &str = "127.0.0.1:8080";
pub const ORIGIN: &str = "http://127.0.0.1:8080";

pub struct Installation {
    pub desk: Arc<Desk>,
    pub clock: ManualClock,
    pub public: Router,
    pub local: Router,
    pub folder: tempfile::TempDir,
}

/// Two agents, `sales` and `help`, that never run.
pub async fn installation() -> Installation {
    installation_with("").await
}

pub async fn installation_with(more: &str) -> Installation {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{more}[[agent]]\nname = \"sales\"\napproval = \"all\"\n[[agent]]\nname = \"help\"\n"
    );
    let file = folder.path().join("frontdesk.toml");
    let mut config = Config::parse(&text, &file, folder.path(), &[], &|_| None)
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    config.server.data = folder.path().join("data");
    let clock = ManualClock::new("2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap());
    let desk = Frontdesk::new(config).clock(Arc::new(clock.clone())).open().await.unwrap();
    let desk = Arc::new(desk);
    let (public, local) = (http::public(desk.clone()), http::local(desk.clone()));
    Installation { desk, clock, public, local, folder }
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Client {
    router: Router,
    headers: HeaderMap,
    peer: SocketAddr,
}

/// What they were answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The JSON of an answer that must be good.
    pub fn good(self) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        assert!((200..300).contains(&self.status), "{} {text}", self.status);
        self.json()
    }
}

impl Installation {
    /// Nobody in particular, at the listener.
    pub fn nobody(&self) -> Client {
        let headers = HeaderMap::from_iter([(header::HOST, HOST.parse().unwrap())]);
        Client { router: self.public.clone(), headers, peer: "192.0.2.1:4711".parse().unwrap() }
    }

    /// The local operator, at the control socket.
    pub fn operator(&self) -> Client {
        Client { router: self.local.clone(), headers: HeaderMap::new(), ..self.nobody() }
    }

    /// A program with a token that may do this, for these agents or all.
    pub async fn program(&self, scopes: &[Scope], agents: Option<&[&str]>) -> Client {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let body = json!({ "name": "test", "scopes": scopes, "agents": agents });
        let answer = self.operator().post("/tokens", body).await.good();
        self.nobody()
            .with("authorization", &format!("Bearer {}", answer["secret"].as_str().unwrap()))
    }

    /// A user who signed in by their link, in a browser.
    pub async fn user(&self, name: &str, role: &str, agents: Option<&[&str]>) -> Client {
        let body = json!({ "name": name, "role": role, "agents": agents });
        let invited = self.operator().post("/users", body).await.good();
        self.sign_in_by(invited["link"].as_str().unwrap()).await
    }

    pub async fn sign_in_by(&self, link: &str) -> Client {
        let token = link.split_once('#').unwrap().1;
        let body = json!({ "token": token, "password": PASSWORD });
        let answer = self.nobody().post("/session/link", body).await;
        self.browser(answer)
    }

    /// The browser that this answer signed in.
    pub fn browser(&self, answer: Answer) -> Client {
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let csrf = answer.good()["csrf"].as_str().unwrap().to_owned();
        self.nobody().with("cookie", &cookie).with("origin", ORIGIN).with("x-csrf-token", &csrf)
    }

    /// A conversation of an agent with somebody: a mail of ours. Answers the conversation and the message.
    pub async fn conversation(&self, agent: &str, to: &str, text: &str) -> (i64, i64) {
        let (conversation, message) = self.compose(agent, to, text, person()).await;
        (conversation.0, message.0)
    }

    /// The same with a draft of the agent that waits for a person. Answers the review too.
    pub async fn held(&self, agent: &str, to: &str, text: &str) -> (i64, i64, i64) {
        let actor = Actor::Agent { approval: Approval::All };
        let (conversation, message) = self.compose(agent, to, text, actor).await;
        let reviews = self.desk.store.pending_reviews(Some(conversation), 10).await.unwrap();
        (conversation.0, message.0, reviews[0].id.0)
    }

    async fn compose(
        &self,
        agent: &str,
        to: &str,
        text: &str,
        actor: Actor,
    ) -> (ConversationId, MessageId) {
        let compose = Compose {
            agent: self.desk.directory.by_name(agent).unwrap().id,
            conversation: None,
            answers: None,
            to: vec![to.to_owned()],
            draft: Draft::text(text).subject(format!("About {text}")),
        };
        let store = &self.desk.store;
        let (message, _) = store.compose(actor, compose).await.unwrap();
        (store.conversation_of(message).await.unwrap(), message)
    }
}

pub const PASSWORD: &str = "a password that is long";

pub fn person() -> Actor {
    Actor::Person { name: "test".into() }
}

impl Client {
    /// The same with a header, which replaces one of its name.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    pub fn from(mut self, address: &str) -> Self {
        self.peer = SocketAddr::new(address.parse().unwrap(), 4711);
        self
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let response = self.raw(method, path, body).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec();
        if status >= 400 {
            let kind = headers[header::CONTENT_TYPE].to_str().unwrap();
            assert_eq!(kind, "application/problem+json", "{path}: {status}");
            let problem: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(problem["status"], status, "{path}: {problem}");
        }
        Answer { status, headers, bytes }
    }

    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        *request.headers_mut().unwrap() = self.headers.clone();
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None).await
    }

    /// The ids of a list that must be readable.
    pub async fn ids(&self, path: &str) -> Vec<i64> {
        let page = self.get(path).await.good();
        page["items"].as_array().unwrap().iter().filter_map(|item| item["id"].as_i64()).collect()
    }
}

impl Installation {
    /// Whole days since it was opened.
    pub fn clock_days(&self) -> i64 {
        use frontdesk_router::agents::Clock as _;
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        self.clock.now().duration_since(start).as_hours() / 24
    }
}
