//! How a connection to a server comes about, and how it ends.

use crate::config::{McpServer, Reach};
use futures_util::future::BoxFuture;
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, Tool},
    service::{NotificationContext, Peer, QuitReason, RunningServiceCancellationToken},
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, Command},
    sync::Notify,
    task::JoinHandle,
};

/// What a program sees of our environment without being given it.
const USUAL: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// How long a program may take to end once its input has.
const GRACE: Duration = Duration::from_secs(2);
/// Octets kept of what a program that does not start says about that.
const COMPLAINT: usize = 400;
/// Tools of one server, and pages of its list, that are looked at. More than a model can choose from.
const TOOLS_MAX: usize = 256;
const PAGES_MAX: usize = 32;

/// A server that answers.
pub(super) struct Connection {
    pub peer: Peer<RoleClient>,
    /// Told of when the server says that its tools have changed.
    pub changed: Arc<Notify>,
    /// Completes when the connection has ended.
    pub ended: JoinHandle<()>,
    stop: Option<RunningServiceCancellationToken>,
    program: Option<Program>,
}

impl Connection {
    /// Connects and says hello. The error is the end of a sentence.
    pub async fn open(config: &McpServer) -> Result<Self, String> {
        let changed = Arc::new(Notify::new());
        let client = Client { changed: changed.clone() };
        let (service, program) = match &config.reach {
            Reach::Program { .. } => {
                let (mut program, pipes) = Program::start(&config.reach)?;
                match client.serve(pipes).await {
                    Ok(service) => {
                        program.started.store(true, Ordering::Relaxed);
                        (service, Some(program))
                    }
                    Err(error) => {
                        tracing::debug!(server = config.name, %error, "no hello from a server of tools");
                        return Err(program.why_not().await);
                    }
                }
            }
            Reach::Http { url, token } => {
                let mut http = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                if let Some(token) = token {
                    http = http.auth_header(token.expose());
                }
                let client_of_http = reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::none())
                    .pool_max_idle_per_host(0)
                    .build()
                    .map_err(|error| format!("there is no HTTP client: {error}"))?;
                let transport = StreamableHttpClientTransport::with_client(client_of_http, http);
                let service = client.serve(transport).await.map_err(|error| {
                    tracing::debug!(server = config.name, %error, "no hello from a server of tools");
                    no_hello(&error.to_string())
                })?;
                (service, None)
            }
        };
        let (peer, stop) = (service.peer().clone(), service.cancellation_token());
        let ended = tokio::spawn(async move {
            if let Ok(QuitReason::JoinError(error)) | Err(error) = service.waiting().await {
                tracing::error!(%error, "a connection to a server of tools broke down");
            }
        });
        Ok(Self { peer, changed, ended, stop: Some(stop), program })
    }

    /// What the server offers.
    pub async fn list(&self) -> Result<Vec<Tool>, String> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self
                .peer
                .list_tools(Some(page))
                .await
                .map_err(|_| "it does not say which tools it has".to_owned())?;
            tools.extend(page.tools);
            cursor = page.next_cursor;
            if cursor.is_none() || tools.len() >= TOOLS_MAX {
                break;
            }
        }
        tools.truncate(TOOLS_MAX);
        Ok(tools)
    }

    /// Ends the connection. A program gets the time to end by itself.
    pub async fn close(mut self) {
        if let Some(stop) = self.stop.take() {
            stop.cancel();
        }
        if !self.ended.is_finished() {
            let _ = tokio::time::timeout(GRACE, &mut self.ended).await;
        }
        if let Some(program) = self.program.take() {
            program.end().await;
        }
    }
}

/// A connection that nobody ends in order ends all the same.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.cancel();
        }
    }
}

/// What kept an HTTP server from saying hello, without its words.
fn no_hello(error: &str) -> String {
    if error.contains("Auth required") || error.contains("Insufficient scope") {
        "it wants another token".to_owned()
    } else if error.contains("error sending request") || error.contains("Connection") {
        "nobody answers at its address".to_owned()
    } else {
        "it does not speak the Model Context Protocol at its address".to_owned()
    }
}

/// What servers may ask of us: nothing.
struct Client {
    changed: Arc<Notify>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("frontdesk", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

/// A program that was started, with everything it starts in turn.
struct Program {
    child: Child,
    group: Option<Pid>,
    /// Set once it has said hello. What it says to standard error from then on may be about mail.
    started: Arc<AtomicBool>,
    complaint: Arc<Mutex<Vec<u8>>>,
}

type Pipes = (tokio::process::ChildStdout, tokio::process::ChildStdin);

impl Program {
    fn start(reach: &Reach) -> Result<(Self, Pipes), String> {
        let Reach::Program { command: path, args, env, secrets, .. } = reach else {
            return Err("it is no program".to_owned());
        };
        let mut command = Command::new(path);
        command.args(args).env_clear();
        for name in USUAL {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .envs(env)
            .envs(secrets.iter().map(|(name, secret)| (name, secret.expose())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("there is no program {}", path.display()),
            io::ErrorKind::PermissionDenied => {
                format!("{} may not be run by this user", path.display())
            }
            _ => format!("{} cannot be started: {error}", path.display()),
        })?;
        let pipes = child.stdout.take().zip(child.stdin.take());
        let pipes = pipes.ok_or("it has no standard input and output")?;
        let started = Arc::new(AtomicBool::new(false));
        let complaint = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(drain(stderr, started.clone(), complaint.clone()));
        }
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok((Self { child, group, started, complaint }, pipes))
    }

    /// Why it did not say hello.
    async fn why_not(&mut self) -> String {
        let ended = tokio::time::timeout(GRACE, self.child.wait()).await;
        let how = match ended {
            Ok(Ok(status)) => format!("it ended at once ({status})"),
            _ => "it does not speak the Model Context Protocol".to_owned(),
        };
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&complaint);
        match said.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{how} and said: {}", line.trim().escape_debug()),
            None => how,
        }
    }

    /// Its input has ended. It ends by itself, or it is ended.
    async fn end(mut self) {
        let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it started is in its group and ends with it; nobody is left if it ended in order.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Keeps the last words of a program that does not start, and lets no program wait to be heard.
async fn drain(mut from: ChildStderr, started: Arc<AtomicBool>, into: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
        if started.load(Ordering::Relaxed) {
            kept.clear();
            continue;
        }
        kept.extend_from_slice(&buffer[..count]);
        let over = kept.len().saturating_sub(COMPLAINT);
        kept.drain(..over);
    }
}

/// Opens within a time. The error is the end of a sentence.
pub(super) fn open_within(
    config: &McpServer,
    limit: Duration,
) -> BoxFuture<'_, Result<(Connection, Vec<Tool>), String>> {
    Box::pin(async move {
        let opened = tokio::time::timeout(limit, async {
            let connection = Connection::open(config).await?;
            match connection.list().await {
                Ok(tools) => Ok((connection, tools)),
                Err(why) => {
                    connection.close().await;
                    Err(why)
                }
            }
        });
        match opened.await {
            Ok(opened) => opened,
            Err(_) => Err(format!("it does not say hello within {} s", limit.as_secs())),
        }
    })
}
