//! `frontdesk mcp`: the tools of a running server for programs that speak over standard input and output.
//!
//! It carries requests and answers and adds nothing: which tools there are, and what may be done with them,
//! the server decides. Over the control socket that is what the local operator may do, over a URL what the
//! token may. The server keeps no session, so a server that starts anew is found again at the next call.

use super::PATH;
use anyhow::{Context as _, bail};
use reqwest::{Url, redirect};
use rmcp::{
    ErrorData, Peer, RoleClient, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
        ContentBlock, Implementation, ListToolsResult, PaginatedRequestParams, ResultType,
        ServerCapabilities, ServerConfig,
    },
    service::{ClientInitializeError, RequestContext, RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport, UnixSocketHttpClient,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::json;
use std::{path::PathBuf, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};

/// A server that cannot be connected to within this is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// Which server, and as whom.
pub enum Upstream {
    /// The one on this machine, as its operator.
    Socket(PathBuf),
    /// The one at a URL, with a token.
    Url { url: String, token: String },
}

/// Tokens do not reach logs.
impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "Socket({})", path.display()),
            Self::Url { url, .. } => write!(f, "Url({url})"),
        }
    }
}

/// Carries until the input ends.
pub async fn run(
    upstream: Upstream,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> anyhow::Result<()> {
    let client = connect(&upstream).await?;
    let bridge = Bridge::new(&client, &upstream);
    let served = match bridge.serve((input, output)).await {
        Ok(served) => served,
        // Whoever started us has gone before they said anything.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => bail!("the program at the other end does not speak MCP: {error}"),
    };
    served.waiting().await.context("carry requests")?;
    // The connection to the server ends with us.
    let _ = client.cancel().await;
    Ok(())
}

type Client = RunningService<RoleClient, ClientConfig>;

async fn connect(upstream: &Upstream) -> anyhow::Result<Client> {
    let us = Implementation::new("frontdesk mcp", env!("CARGO_PKG_VERSION"));
    let us = ClientConfig::new(ClientCapabilities::default(), us);
    let connected = match upstream {
        Upstream::Socket(path) => {
            let uri = format!("http://localhost{PATH}");
            let client = UnixSocketHttpClient::new(&path.to_string_lossy(), &uri);
            let config = StreamableHttpClientTransportConfig::with_uri(uri);
            us.serve(StreamableHttpClientTransport::with_client(client, config)).await
        }
        Upstream::Url { url, token } => {
            let url = endpoint(url)?;
            let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                .auth_header(token.as_str());
            let client = http_client(&url)?;
            us.serve(StreamableHttpClientTransport::with_client(client, config)).await
        }
    };
    connected.map_err(|error| anyhow::anyhow!(no_connection(upstream, &error)))
}

/// The endpoint of a server, from its address as people know it.
fn endpoint(url: &str) -> anyhow::Result<Url> {
    let mut parsed = Url::parse(url)
        .with_context(|| format!("{url:?} is no URL such as https://desk.example.org"))?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        bail!("{url:?} does not begin with http:// or https://");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        bail!("the URL has a user or password in it: give the token instead");
    }
    if matches!(parsed.path(), "" | "/") {
        parsed.set_path(PATH);
    }
    Ok(parsed)
}

fn http_client(url: &Url) -> anyhow::Result<reqwest::Client> {
    // Somebody else may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        // A token is for the server that was named.
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")));
    if url.scheme() == "http" {
        // No certificate is needed, and a machine without any must still reach its own server.
        client = client.tls_certs_only([]);
    }
    client.build().context("prepare for TLS")
}

fn no_connection(upstream: &Upstream, error: &ClientInitializeError) -> String {
    match upstream {
        _ if error.is_authorization_required() => {
            "the server does not know this token: it is wrong, was revoked or has expired. \
             `frontdesk tokens create` on the server makes another"
                .into()
        }
        Upstream::Socket(path) => format!(
            "no server answers at {}: is it running? `frontdesk serve` starts it ({error})",
            path.display()
        ),
        Upstream::Url { url, .. } => {
            format!("{url} does not answer as a Frontdesk server: {error}")
        }
    }
}

/// Answers what it is asked with what the server answers.
struct Bridge {
    server: Peer<RoleClient>,
    info: ServerConfig,
    place: String,
}

impl Bridge {
    fn new(client: &Client, upstream: &Upstream) -> Self {
        let tools = ServerCapabilities::builder().enable_tools().build();
        let mut info = ServerConfig::new(tools);
        if let Some(said) = client.peer().peer_info() {
            if let Some(server) = said.server_info.clone() {
                info = info.with_server_info(server);
            }
            info.instructions.clone_from(&said.instructions);
        }
        let place = match upstream {
            Upstream::Socket(path) => path.display().to_string(),
            Upstream::Url { url, .. } => url.clone(),
        };
        Self { server: client.peer().clone(), info, place }
    }

    fn lost(&self, error: &ServiceError) -> String {
        format!("The server at {} does not answer: is it running? ({error})", self.place)
    }
}

impl ServerHandler for Bridge {
    fn get_info(&self) -> ServerConfig {
        self.info.clone()
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = page.and_then(|page| page.cursor);
        let page = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        match self.server.list_tools(page).await {
            Ok(answered) => {
                let mut tools = ListToolsResult::with_all_items(answered.tools);
                tools.next_cursor = answered.next_cursor;
                Ok(tools)
            }
            Err(ServiceError::McpError(error)) => Err(error),
            Err(error) => Err(ErrorData::internal_error(self.lost(&error), None)),
        }
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // What the request says of its own connection is not for the other one.
        let mut call = CallToolRequestParams::new(request.name);
        call.arguments = request.arguments;
        let answered = tokio::select! {
            answered = self.server.call_tool(call) => answered,
            () = context.ct.cancelled() => {
                return Err(ErrorData::internal_error("the call was cancelled", None));
            }
        };
        match answered {
            Ok(mut result) => {
                // The two connections may speak different versions, and not all of them have this word.
                result.result_type = Some(ResultType::COMPLETE);
                Ok(result.into())
            }
            Err(ServiceError::McpError(error)) => Err(error),
            Err(error) => {
                let words = self.lost(&error);
                let mut result = CallToolResult::error(vec![ContentBlock::text(words.clone())]);
                result.structured_content = Some(json!({ "error": { "problem": words } }));
                Ok(result.into())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_people_know_it_or_by_its_endpoint() {
        let of = |url| endpoint(url).map(String::from);
        assert_eq!(of("https://desk.example.org").unwrap(), "https://desk.example.org/mcp");
        assert_eq!(of("http://127.0.0.1:8080/").unwrap(), "http://127.0.0.1:8080/mcp");
        assert_eq!(of("https://x.example/desk/mcp").unwrap(), "https://x.example/desk/mcp");
        for wrong in ["desk.example.org", "ftp://x.example", "https://me:pw@x.example"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let shown = format!("{:?}", Upstream::Url { url: "u".into(), token: "fd_secret".into() });
        assert!(!shown.contains("fd_secret"));
    }
}
