//! Which names this server answers to, and which pages may ask it.
//!
//! A browser sends whatever another page makes it send, so what a request claims about where it comes
//! from is checked before anything else: `Host` must be a name of ours (a page elsewhere that rebinds
//! its own name to our address is turned away), and `Origin`, where there is one, must be a page of ours.

use crate::config::HttpConfig;
use axum::http::{HeaderMap, header};
use std::net::{IpAddr, SocketAddr};

/// Our own origins, such as `https://desk.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// The one that links to us begin with.
    main: String,
    all: Vec<String>,
}

impl Origins {
    /// From the settings and the addresses that are in fact listened on.
    pub fn new(config: &HttpConfig, listening: &[SocketAddr]) -> Self {
        let mut all: Vec<String> = config.public_origin.iter().cloned().collect();
        for address in listening {
            let port = address.port();
            // Numbers cannot be rebound, and `localhost` is this machine in every browser.
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => {
                    all.push(format!("http://127.0.0.1:{port}"))
                }
                IpAddr::V6(ip) if ip.is_unspecified() => {
                    all.push(format!("http://127.0.0.1:{port}"));
                    all.push(format!("http://[::1]:{port}"));
                }
                _ => all.push(format!("http://{address}")),
            }
            if address.ip().is_loopback() || address.ip().is_unspecified() {
                all.push(format!("http://localhost:{port}"));
            }
        }
        let main = all.first().cloned().unwrap_or_else(|| config.origin());
        Self { main, all }
    }

    /// The origin that links begin with: the public one, or else the first listener.
    pub fn main(&self) -> &str {
        &self.main
    }

    /// Whether people reach us under TLS, so that cookies may insist on it.
    pub fn is_secure(&self) -> bool {
        self.main.starts_with("https://")
    }

    /// Says why a request is turned away, if it is: another `Host`, or the page of another origin.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let host =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.all.iter().any(|origin| is_host_of(origin, host)) {
            return Err(format!(
                "this server is not {host:?}: use {}, or set http.public_origin to the name people use",
                self.main
            ));
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.is_own(origin.as_bytes()) => Err(format!(
                "requests from pages of another origin are not answered; ours is {}",
                self.main
            )),
            _ => Ok(()),
        }
    }

    /// Whether a browser says that a page of ours made this request: by `Origin`, or, where a browser sends
    /// none, by `Sec-Fetch-Site`.
    pub fn is_from_own_page(&self, headers: &HeaderMap) -> bool {
        match headers.get(header::ORIGIN) {
            Some(origin) => self.is_own(origin.as_bytes()),
            None => headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
        }
    }

    fn is_own(&self, origin: &[u8]) -> bool {
        self.all.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(origin))
    }
}

/// RFC 9110 section 7.2: a default port may stand in `Host` or be left out.
fn is_host_of(origin: &str, host: &str) -> bool {
    let Some((scheme, name)) = origin.split_once("://") else { return false };
    let default = if scheme == "https" { ":443" } else { ":80" };
    let bare = |name: &str| name.strip_suffix(default).unwrap_or(name).to_ascii_lowercase();
    !host.is_empty() && bare(name) == bare(host)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn origins(public: Option<&str>, listen: &str) -> Origins {
        let config = HttpConfig { public_origin: public.map(Into::into), ..HttpConfig::default() };
        Origins::new(&config, &[listen.parse().unwrap()])
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn names_of_ours_are_answered_and_others_are_not() {
        let local = origins(None, "127.0.0.1:8080");
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"] {
            assert_eq!(local.check(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1", "127.0.0.1:81", "127.0.0.1.evil.example:8080", ""]
        {
            assert!(local.check(&headers(&[("host", host)])).is_err(), "{host}");
        }
        let public = origins(Some("https://desk.example.org"), "0.0.0.0:8080");
        for host in ["desk.example.org", "desk.example.org:443", "127.0.0.1:8080"] {
            assert_eq!(public.check(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        assert!(public.check(&headers(&[("host", "desk.example.org:8080")])).is_err());
        assert!(public.is_secure() && !local.is_secure());
        assert_eq!(public.main(), "https://desk.example.org");
    }

    #[test]
    fn pages_of_other_origins_are_turned_away() {
        let local = origins(None, "127.0.0.1:8080");
        let from = |origin| headers(&[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(local.check(&from("http://localhost:8080")), Ok(()));
        for origin in
            ["null", "http://localhost:8081", "https://localhost:8080", "http://evil.example"]
        {
            assert!(local.check(&from(origin)).is_err(), "{origin}");
            assert!(!local.is_from_own_page(&from(origin)));
        }
        let site = |site| headers(&[("host", "localhost:8080"), ("sec-fetch-site", site)]);
        assert!(local.is_from_own_page(&site("same-origin")));
        assert!(!local.is_from_own_page(&site("cross-site")));
        assert!(!local.is_from_own_page(&site("none")));
        assert!(!local.is_from_own_page(&headers(&[("host", "localhost:8080")])));
    }
}
