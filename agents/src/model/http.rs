//! Requests over HTTP.
//!
//! What always holds: redirects are not followed, so a key stays with its provider; proxies of the environment
//! are not used; the key is marked so that no `Debug` shows it; errors carry no address.

use super::{ErrorKind, Secret, wire::Wire};
use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::BoxFuture,
    stream::{BoxStream, StreamExt as _, try_unfold},
};
use reqwest::{
    Client, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use std::{error::Error as _, io, time::Duration};

/// An answer whose head has come.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: BoxStream<'static, Result<Bytes, ErrorKind>>,
}

/// Where requests of one provider go. Tests of what waits put something without sockets here.
pub(super) trait Post: Send + Sync {
    fn post(&self, body: Bytes) -> BoxFuture<'static, Result<Reply, ErrorKind>>;
}

/// A provider's address.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// What is wrong with an address or key.
pub(super) enum BadEndpoint {
    Url(&'static str),
    Key,
    Tls,
}

impl Endpoint {
    pub fn new(
        base_url: &str,
        wire: Wire,
        key: Option<&Secret>,
        connect: Duration,
    ) -> Result<Self, BadEndpoint> {
        let url = format!("{}{}", base_url.trim_end_matches('/'), wire.path());
        let url = Url::parse(&url).map_err(|_| BadEndpoint::Url("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(BadEndpoint::Url("does not begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadEndpoint::Url("has a user or password in it; set the key instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadEndpoint::Url("has a ? or # in it"));
        }
        let mut headers = wire.headers(key).ok_or(BadEndpoint::Key)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        install_crypto();
        let mut client = Client::builder()
            .connect_timeout(connect)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Dropping an answer closes its connection, which a busy server notices soonest.
            .http1_only()
            .referer(false)
            .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            // No certificate is needed, and a machine without any must still reach a local model.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|_| BadEndpoint::Tls)?;
        Ok(Self { client, url, headers })
    }

    /// The host, for what is said about this provider.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether requests are readable on their way to another machine.
    pub fn is_exposed(&self) -> bool {
        let local = self.url.host_str().is_some_and(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        });
        self.url.scheme() == "http" && !local
    }
}

impl Post for Endpoint {
    fn post(&self, body: Bytes) -> BoxFuture<'static, Result<Reply, ErrorKind>> {
        let request =
            self.client.post(self.url.clone()).headers(self.headers.clone()).body(body).send();
        async move {
            let mut response = request.await.map_err(|error| broken(&error))?;
            let status = response.status().as_u16();
            let headers = std::mem::take(response.headers_mut());
            let body = try_unfold(response, |mut response| async move {
                match response.chunk().await {
                    Ok(Some(bytes)) => Ok(Some((bytes, response))),
                    Ok(None) => Ok(None),
                    Err(_) => Err(ErrorKind::HalfClosed),
                }
            });
            Ok(Reply { status, headers, body: body.boxed() })
        }
        .boxed()
    }
}

/// TLS has no provider by default in this workspace; ring is what everything else uses.
fn install_crypto() {
    // Somebody else may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn broken(error: &reqwest::Error) -> ErrorKind {
    if !error.is_connect() {
        return ErrorKind::HalfClosed;
    }
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let what = if error.is_timeout() {
        "the server does not answer in time"
    } else if error.is_dns() {
        "its name is not known"
    } else {
        causes.find_map(cause).unwrap_or("the connection failed")
    };
    ErrorKind::Connect { what }
}

/// What a link in the chain of causes says, if it is one that says something to an operator.
fn cause(link: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if link.is::<rustls::Error>() {
        return Some("TLS failed: it does not speak TLS, or its certificate is not trusted here");
    }
    let error = link.downcast_ref::<io::Error>()?;
    // What an io::Error wraps is no link of the chain, and may be one itself.
    if let Some(inner) = error.get_ref()
        && let Some(what) = cause(inner)
    {
        return Some(what);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some("nothing listens there"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            Some("there is no way to it")
        }
        _ => None,
    }
}
