//! A policy over HTTPS, as RFC 8461 section 3.3 wants it: a certificate for the policy host, no
//! redirects, a minute at most, 64 KiB at most.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::PolicyFetch;
use crate::auth::dns::{Lookup as _, RecordKind, Recorder, Resolver};
use crate::deliver::connection::Tls;
use crate::deliver::direct::is_public;

const TIME: Duration = Duration::from_mins(1);
const SIZE: usize = 64 * 1024;
/// Addresses of a policy host that are tried.
const ADDRESSES: usize = 4;

/// Fetches policies from the web.
pub struct HttpsFetch {
    resolver: Resolver,
    tls: Tls,
    port: u16,
    private_networks: bool,
}

impl HttpsFetch {
    /// Finds hosts by `resolver`, and believes the certificates that `tls` does.
    pub fn new(resolver: Resolver, tls: Tls) -> Self {
        Self { resolver, tls, port: 443, private_networks: false }
    }

    /// The same on another port, and also in private networks: for tests.
    #[must_use]
    pub fn at_port(self, port: u16) -> Self {
        Self { port, private_networks: true, ..self }
    }

    async fn get(&self, host: &str) -> Result<String, String> {
        let tcp = self.connect(host).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.tls.checked.clone());
        let tls = connector.connect(name, tcp).await.map_err(|error| format!("{host}: {error}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(in_words)?;
        let connection = tokio::spawn(connection);
        let answer = async {
            let request = Request::get("/.well-known/mta-sts.txt")
                .header(HOST, host)
                .header(USER_AGENT, "frontdesk")
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let response = sender.send_request(request).await.map_err(in_words)?;
            if response.status() != StatusCode::OK {
                return Err(format!("{host} answered {}", response.status()));
            }
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            if kind.is_some_and(|kind| !kind.trim_start().starts_with("text/plain")) {
                return Err(format!("{host} answered with something other than text/plain"));
            }
            let body = Limited::new(response.into_body(), SIZE).collect().await;
            let body = body.map_err(|error| format!("{host}: {error}"))?.to_bytes();
            String::from_utf8(body.to_vec()).map_err(|_| format!("{host} answered with no text"))
        }
        .await;
        connection.abort();
        answer
    }

    async fn connect(&self, host: &str) -> Result<TcpStream, String> {
        let dns = Recorder::new(&self.resolver, Timestamp::now());
        let (v4, v6) =
            tokio::join!(dns.lookup(host, RecordKind::A), dns.lookup(host, RecordKind::Aaaa));
        let reachable = |ip: &IpAddr| self.private_networks || is_public(*ip);
        let addresses = v4.addresses().chain(v6.addresses()).filter(reachable);
        let mut why = format!("{host} has no public address");
        for ip in addresses.take(ADDRESSES) {
            match TcpStream::connect(SocketAddr::new(ip, self.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = format!("{host}[{ip}]: {error}"),
            }
        }
        Err(why)
    }
}

fn in_words(error: hyper::Error) -> String {
    error.to_string()
}

impl PolicyFetch for HttpsFetch {
    async fn fetch(&self, domain: &str) -> Result<String, String> {
        let host = format!("mta-sts.{domain}");
        match tokio::time::timeout(TIME, self.get(&host)).await {
            Ok(result) => result,
            Err(_) => Err(format!("{host} did not answer in time")),
        }
    }
}
