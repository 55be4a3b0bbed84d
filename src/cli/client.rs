//! The HTTP API as the commands use it: over the control socket, or in process.
//!
//! What always holds: an error that the API explains (`application/problem+json`, RFC 9457) reaches
//! the operator in the API's words; every other one says which step failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use frontdesk_router::Frontdesk;
use frontdesk_router::config::Config;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tower::ServiceExt;

use super::Kinds;

/// A server that has not answered by then hangs. Backups and exports have no such limit.
const PATIENCE: Duration = Duration::from_secs(30);
/// Larger than any list page or conversation. Protects the terminal, not the server.
const ANSWER_MAX: usize = 256 * 1024 * 1024;

/// Who answers.
#[derive(Debug)]
pub enum Client {
    /// A running server, on its control socket.
    Socket(PathBuf),
    /// The API on a database that this process has opened.
    InProcess(Router),
}

/// Finds who answers for an installation: the server that runs on its data, or else this process,
/// which opens the data itself.
pub async fn connect(config: &Config, kinds: &Kinds) -> Result<Client, ApiError> {
    let socket = config.server.control_socket();
    let error = match UnixStream::connect(&socket).await {
        Ok(_) => return Ok(Client::Socket(socket)),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
        io::ErrorKind::PermissionDenied => return Err(ApiError::NotOurs(socket)),
        _ => return Err(ApiError::step("connect to", &socket.display().to_string(), error)),
    }
    let data = config.server.data.clone();
    // A look at nothing must not leave an empty installation behind.
    if !data.join("frontdesk.db").exists() {
        return Err(ApiError::NoData(std::path::absolute(&data).unwrap_or(data)));
    }
    let desk = Frontdesk::new(config.clone()).kinds(kinds.clone()).open().await;
    let desk = desk.map_err(|error| ApiError::Step {
        step: format!("open the data in {}", data.display()),
        cause: format!("{error:#}"),
    })?;
    Ok(Client::InProcess(Arc::new(desk).api()))
}

impl Client {
    /// Asks and waits for the answer. An answer without a body is `null`.
    pub async fn ask(&self, call: Call) -> Result<Value, ApiError> {
        let patience = call.patience;
        let asked = async {
            match self {
                Self::Socket(path) => over_socket(path, call).await,
                Self::InProcess(router) => in_process(router.clone(), call).await,
            }
        };
        let (status, body) = match patience {
            Some(limit) => {
                tokio::time::timeout(limit, asked).await.map_err(|_| ApiError::Silent(limit))??
            }
            None => asked.await?,
        };
        interpret(status, &body)
    }
}

/// `GET` of a path over TCP: the status of the answer.
pub async fn probe(address: std::net::SocketAddr, path: &str) -> Result<StatusCode, ApiError> {
    let name = address.to_string();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| ApiError::step("connect to", &name, error))?;
    let request = Request::get(path)
        .header(HOST, &name)
        .body(Full::new(Bytes::new()))
        .map_err(|error| ApiError::step("ask", &name, error))?;
    Ok(exchange(stream, request, &name).await?.0)
}

/// One question to the API.
#[derive(Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<String>,
    body: Option<Value>,
    patience: Option<Duration>,
}

impl Call {
    /// `GET /api/v1/` and the segments, which may hold anything.
    pub fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// `POST /api/v1/` and the segments, which may hold anything.
    pub fn post(segments: &[&str]) -> Self {
        Self::new(Method::POST, segments)
    }

    /// `PATCH /api/v1/` and the segments, which may hold anything.
    pub fn patch(segments: &[&str]) -> Self {
        Self::new(Method::PATCH, segments)
    }

    /// `DELETE /api/v1/` and the segments, which may hold anything.
    pub fn delete(segments: &[&str]) -> Self {
        Self::new(Method::DELETE, segments)
    }

    fn new(method: Method, segments: &[&str]) -> Self {
        let mut path = "/api/v1".to_owned();
        for segment in segments {
            path.push('/');
            path.push_str(&percent_encode(segment));
        }
        Self { method, path, query: Vec::new(), body: None, patience: Some(PATIENCE) }
    }

    /// Adds `key=value` if there is a value.
    pub fn query(mut self, key: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.query.push(format!("{key}={}", percent_encode(&value.to_string())));
        }
        self
    }

    /// Sends a JSON body.
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Waits as long as it takes.
    pub fn patient(mut self) -> Self {
        self.patience = None;
        self
    }

    fn into_request(self) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut target = self.path;
        if !self.query.is_empty() {
            target = format!("{target}?{}", self.query.join("&"));
        }
        let body = self.body.map(|body| body.to_string()).unwrap_or_default();
        // RFC 9112 section 3.2: HTTP/1.1 has a Host. The socket has no name of its own.
        Request::builder()
            .method(self.method)
            .uri(&target)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ApiError::step("ask for", &target, error))
    }
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API said no, and why.
    #[error("{}", sentence(title, detail.as_deref(), *status))]
    Problem { title: String, detail: Option<String>, status: u16 },
    #[error("there is no data in {} yet, and no server runs on it. Start it with: frontdesk serve", .0.display())]
    NoData(PathBuf),
    #[error("{} belongs to another user. Run this as the user who runs the server.", .0.display())]
    NotOurs(PathBuf),
    #[error("the server has not answered in {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the server answered {status} with something that is not JSON")]
    NotJson { status: u16 },
    #[error("cannot {step}: {cause}")]
    Step { step: String, cause: String },
}

impl ApiError {
    fn step(step: &str, what: &str, cause: impl std::fmt::Display) -> Self {
        Self::Step { step: format!("{step} {what}"), cause: cause.to_string() }
    }
}

fn sentence(title: &str, detail: Option<&str>, status: u16) -> String {
    match (title, detail) {
        ("", None) => format!("the server answered {status}"),
        ("", Some(detail)) => detail.to_owned(),
        (title, None) => title.to_owned(),
        (title, Some(detail)) => format!("{title}: {detail}"),
    }
}

async fn over_socket(path: &Path, call: Call) -> Result<(StatusCode, Bytes), ApiError> {
    let name = path.display().to_string();
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| ApiError::step("connect to", &name, error))?;
    exchange(stream, call.into_request()?, &name).await
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    name: &str,
) -> Result<(StatusCode, Bytes), ApiError> {
    let failed = |error: hyper::Error| ApiError::step("talk to", name, error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Drives the connection until the answer is read; what goes wrong shows at `send_request`.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|error| ApiError::step("read the answer of", name, error))?;
    driver.abort();
    Ok((status, body.to_bytes()))
}

async fn in_process(router: Router, call: Call) -> Result<(StatusCode, Bytes), ApiError> {
    let request = call.into_request()?.map(Body::new);
    // A router never fails; it answers with a status.
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), ANSWER_MAX)
        .await
        .map_err(|error| ApiError::step("read", "the answer", error))?;
    Ok((status, body))
}

fn interpret(status: StatusCode, body: &[u8]) -> Result<Value, ApiError> {
    let json: Option<Value> =
        if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(body).ok() };
    let not_json = ApiError::NotJson { status: status.as_u16() };
    if status.is_success() {
        return json.ok_or(not_json);
    }
    let text = |key: &str| {
        let value = json.as_ref().and_then(|json| json.get(key));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    match (&json, text("title"), text("detail")) {
        (None, ..) => Err(not_json),
        (_, title, detail) => Err(ApiError::Problem {
            title: title
                .or_else(|| status.canonical_reason().map(str::to_owned))
                .unwrap_or_default(),
            detail,
            status: status.as_u16(),
        }),
    }
}

/// RFC 3986 section 2.3: everything but unreserved characters is encoded, so an id is one segment
/// whatever it holds.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::extract::{Path as Segment, RawQuery};
    use axum::routing::{get, post};
    use serde_json::json;

    use super::*;

    fn api() -> Router {
        Router::new()
            .route(
                "/api/v1/agents/{name}",
                get(|Segment(name): Segment<String>| async move { Json(json!({ "name": name })) }),
            )
            .route(
                "/api/v1/search",
                get(|RawQuery(query): RawQuery| async move { Json(json!({ "query": query })) }),
            )
            .route("/api/v1/echo", post(|Json(body): Json<Value>| async move { Json(body) }))
            .route("/api/v1/empty", post(|| async { StatusCode::NO_CONTENT }))
            .route("/api/v1/page", get(|| async { "<html>" }))
            .route(
                "/api/v1/no",
                get(|| async {
                    let problem =
                        json!({ "title": "Not held", "detail": "It is sent.", "status": 409 });
                    (StatusCode::CONFLICT, Json(problem))
                }),
            )
    }

    fn config_in(folder: &Path) -> Config {
        let mut config = Config::default();
        config.server.data = folder.to_owned();
        config
    }

    /// The same API on a socket and in process: what holds for one must hold for the other.
    async fn both(folder: &Path) -> [Client; 2] {
        let config = config_in(folder);
        let in_process = Client::InProcess(api());
        let listener = tokio::net::UnixListener::bind(config.server.control_socket()).unwrap();
        tokio::spawn(async { axum::serve(listener, api()).await });
        let socket = connect(&config, &Kinds::new()).await.unwrap();
        assert!(matches!(socket, Client::Socket(_)), "a running server comes first");
        [in_process, socket]
    }

    #[tokio::test]
    async fn an_id_stays_one_segment_whatever_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        for client in both(folder.path()).await {
            let name = "../keys/rotate?x=1#\u{e9} %2F";
            let answer = client.ask(Call::get(&["agents", name])).await.unwrap();
            assert_eq!(answer["name"], name);
        }
    }

    #[tokio::test]
    async fn queries_are_encoded_and_absent_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for client in both(folder.path()).await {
            let call = Call::get(&["search"]).query("q", Some("a&b=c d")).query("x", None::<u32>);
            assert_eq!(client.ask(call).await.unwrap()["query"], "q=a%26b%3Dc%20d");
        }
    }

    #[tokio::test]
    async fn bodies_go_out_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        for client in both(folder.path()).await {
            let body = json!({ "to": ["a@example.org"], "text": "x".repeat(100_000) });
            assert_eq!(client.ask(Call::post(&["echo"]).body(body.clone())).await.unwrap(), body);
            assert_eq!(client.ask(Call::post(&["empty"])).await.unwrap(), Value::Null);
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_words_of_the_api() {
        let folder = tempfile::tempdir().unwrap();
        for client in both(folder.path()).await {
            let error = client.ask(Call::get(&["no"])).await.unwrap_err();
            assert_eq!(error.to_string(), "Not held: It is sent.");
            let error = client.ask(Call::get(&["nowhere"])).await.unwrap_err();
            assert_eq!(error.to_string(), "Not Found");
            let error = client.ask(Call::get(&["page"])).await.unwrap_err();
            assert!(matches!(error, ApiError::NotJson { status: 200 }), "{error}");
        }
    }

    #[tokio::test]
    async fn without_server_and_data_it_says_how_to_start_one_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        let error = connect(&config, &Kinds::new()).await.unwrap_err().to_string();
        assert!(error.ends_with("Start it with: frontdesk serve"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_socket_left_by_a_dead_server_does_not_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        drop(Frontdesk::new(config.clone()).open().await.unwrap());
        drop(std::os::unix::net::UnixListener::bind(config.server.control_socket()).unwrap());
        let client = connect(&config, &Kinds::new()).await.unwrap();
        assert!(matches!(client, Client::InProcess(_)));
        let agents = client.ask(Call::get(&["agents"])).await.unwrap();
        assert_eq!(agents["items"][0]["name"], "hello");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let api = Router::new()
            .route("/api/v1/agents", get(|| async { std::future::pending::<StatusCode>().await }));
        let client = Client::InProcess(api);
        let patience = Duration::from_millis(5);
        let call = Call { patience: Some(patience), ..Call::get(&["agents"]) };
        let error = client.ask(call).await.unwrap_err();
        assert!(matches!(error, ApiError::Silent(limit) if limit == patience), "{error}");
    }
}
