//! Everything through one smart host: a provider, or the mail server next door.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

use super::client::{Client, Job, Manners};
use super::connection::{Hop, Login, Security, Tls};
use super::{Claimed, DataMark, Error, Outcome, Spool, Transport};
use crate::render::AddrSpec;

/// The port for mail submission (RFC 6409), with STARTTLS.
pub const SUBMISSION: u16 = 587;
/// The port for mail submission under TLS from the start (RFC 8314).
pub const SUBMISSIONS: u16 = 465;

/// Where a relay is and what it wants.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Its name, which its certificate must have, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// [`Security::StartTls`] or [`Security::Implicit`]; anything less is for a relay without a login.
    pub security: Security,
    /// Who we are to it.
    pub login: Option<Login>,
    /// The only sender it lets us use. Bounces then go to that address and are not seen here.
    pub envelope_from: Option<AddrSpec>,
}

/// Hands every delivery to one relay.
pub struct Relay {
    client: Client,
    config: RelayConfig,
}

impl Relay {
    /// Does not connect yet.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a password would go over the network without TLS.
    pub fn new(config: RelayConfig, tls: Tls, manners: Manners) -> Result<Self, Error> {
        let safe = matches!(config.security, Security::StartTls | Security::Implicit);
        if config.login.is_some() && !safe && !is_here(&config.host) {
            return Err(Error::Config(format!(
                "the password for {} would go out unprotected; require TLS for the relay, or leave \
                 out the login",
                config.host
            )));
        }
        if config.host.is_empty() {
            return Err(Error::Config("the relay has no host".to_owned()));
        }
        Ok(Self { client: Client::new(tls, manners), config })
    }

    /// The relay's addresses, as this machine knows them.
    async fn hops(&self) -> std::io::Result<Vec<Hop>> {
        let RelayConfig { host, port, security, login, .. } = &self.config;
        let found = tokio::net::lookup_host((host.as_str(), *port)).await?;
        let hop = |address: SocketAddr| Hop {
            host: host.to_ascii_lowercase(),
            address,
            security: *security,
            login: login.clone(),
        };
        Ok(found.map(hop).collect())
    }
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Transport for Relay {
    async fn deliver<S: Spool>(
        &self,
        delivery: &Claimed,
        now: Timestamp,
        mark: &DataMark<'_, S>,
    ) -> Outcome {
        let fixed = self.config.envelope_from.as_ref();
        // The null sender stays: what has it must not be answered, whoever sends it on.
        let reverse_path = delivery.reverse_path.as_ref().map(|own| fixed.unwrap_or(own));
        let job = Job { delivery, reverse_path, now, mark };
        let Some(_place) = self.client.places.enter(&self.config.host).await else {
            return self.client.full(&job);
        };
        match self.hops().await {
            Ok(hops) if hops.is_empty() => {
                let reason = format!("the relay {} has no address", self.config.host);
                self.client.later(&job, None, reason)
            }
            Ok(hops) => self.client.deliver(&hops, &job).await,
            Err(error) => {
                let reason = format!("the relay {} was not found: {error}", self.config.host);
                self.client.later(&job, None, reason)
            }
        }
    }
}
