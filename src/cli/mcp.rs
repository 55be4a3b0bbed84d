//! `frontdesk mcp`

use clap::Args;
use frontdesk_router::mcp::bridge::{self, Upstream};
use tokio::net::UnixStream;

use super::{Desk, Failure};

/// Offer the running server to a program that speaks MCP over standard input and output
///
/// Without --url it is the server on this machine, as its operator, who may do everything. To give a
/// program less, make a token and name the server.
#[derive(Debug, Args)]
pub struct Mcp {
    /// Another server, such as https://desk.example.org, or this one with fewer rights
    #[arg(long, value_name = "URL", requires = "token")]
    url: Option<String>,
    /// What `frontdesk tokens create` printed. In the environment nobody else on the machine sees it
    #[arg(long, value_name = "TOKEN", env = "FRONTDESK_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Mcp {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let upstream = match (self.url, self.token) {
            (Some(url), Some(token)) => Upstream::Url { url, token },
            (Some(_), None) => return Err(Failure::Usage("--url needs --token".into())),
            (None, Some(_)) => {
                return Err(Failure::Usage(
                    "a token needs --url: on the control socket everybody is the operator. For the server on \
                     this machine it is --url http://127.0.0.1:8080"
                        .into(),
                ));
            }
            (None, None) => {
                let socket = desk.config.server.control_socket();
                if let Err(error) = UnixStream::connect(&socket).await {
                    return Err(Failure::Other(format!(
                        "no server answers at {} ({error}). Start it with: frontdesk serve",
                        socket.display()
                    )));
                }
                Upstream::Socket(socket)
            }
        };
        let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
        bridge::run(upstream, input, output)
            .await
            .map_err(|error| Failure::Other(format!("{error:#}")))
    }
}
