//! A served desk with two agents, mail for them, and programs that call tools.

use frontdesk_router::{Frontdesk, Running, agents::store::Scope, config::Config};
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ClientConfig, Tool},
    service::{ClientInitializeError, RunningService},
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use std::{
    future::Future,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
};

/// How long anything that should happen at once may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub const ALL: &[Scope] = &[Scope::Read, Scope::Draft, Scope::Send, Scope::Approve];
pub const WRITER: &[Scope] = &[Scope::Read, Scope::Draft];

pub struct Desk {
    pub running: Running,
    pub folder: tempfile::TempDir,
}

/// `sales` and `help`, receptionists whose every mail is reviewed.
pub async fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let running = serve(folder.path()).await;
    Desk { running, folder }
}

pub async fn serve(folder: &Path) -> Running {
    let text = "[http]\nlisten = [\"127.0.0.1:0\"]\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n\
                [[agent]]\nname = \"sales\"\napproval = \"all\"\n\
                [[agent]]\nname = \"help\"\napproval = \"all\"\n";
    let file = folder.join("frontdesk.toml");
    let mut config = Config::parse(text, &file, folder, &[], &|_| None).unwrap();
    config.server.data = folder.join("data");
    Frontdesk::new(config).serve().await.unwrap()
}

/// Asks again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Desk {
    pub fn url(&self) -> String {
        format!("http://{}", self.running.http[0])
    }

    /// The API as the local operator asks it, on the control socket.
    pub async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let socket = self.folder.path().join("data/control.sock");
        let stream = UnixStream::connect(socket).await.unwrap();
        let head = format!("{method} /api/v1{path} HTTP/1.0\r\nHost: localhost\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, _, bytes) = exchange(stream, &head, &body).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A token: its id and its secret.
    pub async fn token(
        &self,
        name: &str,
        scopes: &[Scope],
        agents: Option<&[&str]>,
    ) -> (i64, String) {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let body = json!({ "name": name, "scopes": scopes, "agents": agents });
        let (status, made) = self.ask("POST", "/tokens", body).await;
        assert_eq!(status, 201, "{made}");
        (made["id"].as_i64().unwrap(), made["secret"].as_str().unwrap().to_owned())
    }

    /// A program with a token.
    pub async fn program(&self, scopes: &[Scope], agents: Option<&[&str]>) -> Program {
        let (_, secret) = self.token("test", scopes, agents).await;
        Program::connect(&self.url(), &secret).await.unwrap()
    }

    /// Mail from somebody on this machine, and the number of its message once its agent has drafted an answer.
    pub async fn mail(&self, agent: &str, subject: &str, rest: &str) -> i64 {
        let mail = format!(
            "From: Ann <ann@localhost>\r\nTo: {agent}@localhost\r\nSubject: {subject}\r\n\
             Message-ID: <{subject}@localhost>\r\nMIME-Version: 1.0\r\n{rest}"
        );
        let mut stream = BufReader::new(TcpStream::connect(self.running.smtp[0]).await.unwrap());
        let envelope = [
            "".to_owned(),
            "EHLO localhost\r\n".into(),
            "MAIL FROM:<ann@localhost>\r\n".into(),
            format!("RCPT TO:<{agent}@localhost>\r\n"),
            "DATA\r\n".into(),
            format!("{mail}\r\n.\r\n"),
        ];
        for said in envelope {
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut line = String::new();
            loop {
                line.clear();
                stream.read_line(&mut line).await.unwrap();
                assert!(line.starts_with(['2', '3']), "{said:.100}: {line}");
                if line.as_bytes()[3] == b' ' {
                    break;
                }
            }
        }
        until("the agent drafts an answer", || async {
            let found = self.get("/reviews").await;
            let review =
                found["items"].as_array()?.iter().find(|r| r["subject"] == subject)?.clone();
            let conversation =
                self.get(&format!("/conversations/{}", review["conversation"])).await;
            conversation["timeline"][0]["id"].as_i64()
        })
        .await
    }
}

/// One request over a connection of its own: status, head and body.
pub async fn exchange<S>(stream: S, head: &str, body: &str) -> (u16, String, Vec<u8>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut stream = stream;
    let request = format!(
        "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer.split_off(end + 4))
}

/// A program that calls tools.
pub struct Program {
    pub client: RunningService<RoleClient, ClientConfig>,
}

/// What a tool answered.
pub struct Said {
    pub text: String,
    pub data: Value,
    pub result: CallToolResult,
}

impl Program {
    pub async fn connect(url: &str, token: &str) -> Result<Self, Box<ClientInitializeError>> {
        let config =
            StreamableHttpClientTransportConfig::with_uri(format!("{url}/mcp")).auth_header(token);
        let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let client = ClientConfig::default().serve(transport).await.map_err(Box::new)?;
        Ok(Self { client })
    }

    pub async fn tools(&self) -> Vec<Tool> {
        self.client.list_all_tools().await.unwrap()
    }

    pub async fn names(&self) -> Vec<String> {
        self.tools().await.into_iter().map(|tool| tool.name.into_owned()).collect()
    }

    /// What a tool answers, whatever that is.
    pub async fn call(&self, tool: &'static str, arguments: Value) -> Said {
        let mut call = CallToolRequestParams::new(tool);
        call.arguments = arguments.as_object().cloned();
        let result = self.client.call_tool(call).await.unwrap();
        let text = result.content[0].as_text().unwrap().text.clone();
        Said { text, data: result.structured_content.clone().unwrap(), result }
    }

    /// What a tool answers that must do what it was asked.
    pub async fn done(&self, tool: &'static str, arguments: Value) -> Said {
        let said = self.call(tool, arguments).await;
        assert_eq!(said.result.is_error, Some(false), "{tool}: {}", said.text);
        said
    }

    /// The words of a tool that must refuse.
    pub async fn refused(&self, tool: &'static str, arguments: Value) -> String {
        let said = self.call(tool, arguments).await;
        assert_eq!(said.result.is_error, Some(true), "{tool}: {}", said.text);
        said.text
    }
}
