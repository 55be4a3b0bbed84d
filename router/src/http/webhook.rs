//! Telling addresses what happens: signed, again until it arrives, and never into our own network.
//!
//! A webhook's address is written by a person, but what answers at it is decided by a name server, so the
//! address that is in fact connected to is checked, after every lookup, and redirects are not followed.

use crate::config::Network;
use frontdesk_agents::store::{DueWebhook, WebhookOutcome};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Url, dns, header, redirect};
use sha2::Sha256;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Waits between attempts. After the last one it is given up: a day and a half in all.
const WAITS: [SignedDuration; 8] = [
    SignedDuration::from_secs(10),
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(12),
    SignedDuration::from_hours(18),
];
/// A receiver that has not answered by then is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest address.
const URL_MAX: usize = 2_000;

/// Whether we may connect there: it is in the public internet, or a person said so.
fn is_allowed(address: IpAddr, networks: &[Network]) -> bool {
    let address = address.to_canonical();
    is_public(address) || networks.iter().any(|network| network.contains(address))
}

/// The IANA special-purpose address registries (RFC 6890): what is not globally reachable.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_unspecified()
                || v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || (a, b & 0xc0) == (100, 64)
                || (a, b, c) == (192, 0, 0)
                || (a, b, c) == (192, 88, 99)
                || (a, b & 0xfe) == (198, 18)
                || a >= 240)
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Only 2000::/3 is given out, and parts of it carry other addresses or none.
            (a & 0xe000) == 0x2000
                && !((a, b) == (0x2001, 0x0db8)
                    || (a == 0x2001 && b < 0x0200)
                    || a == 0x2002
                    || a == 0x3fff)
        }
    }
}

/// Says what is wrong with a webhook's address, or how it is kept.
pub fn check_url(text: &str, networks: &[Network]) -> Result<String, String> {
    let url = Url::parse(text).map_err(|e| format!("{text:?} is no address: {e}"))?;
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if text.len() > URL_MAX {
        return Err(format!("an address has at most {URL_MAX} characters"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address has no name and password in it: deliveries are signed".into());
    }
    if let Some(address) = literal
        && !is_allowed(address, networks)
    {
        return Err(format!(
            "{address} is not a public address: list its network under http.webhook_networks to allow it"
        ));
    }
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if literal.is_some_and(|a| networks.iter().any(|n| n.contains(a))) => Ok(url.into()),
        "http" => Err("use https: plain http is for addresses in http.webhook_networks".into()),
        other => Err(format!("{other:?} is not the scheme of a webhook: use https")),
    }
}

/// Looks names up, and forgets the addresses that we may not connect to.
struct Resolver(Arc<[Network]>);

impl dns::Resolve for Resolver {
    fn resolve(&self, name: dns::Name) -> dns::Resolving {
        let networks = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| is_allowed(address.ip(), &networks)).collect();
            if allowed.is_empty() {
                return Err("it leads to no public address".into());
            }
            Ok(Box::new(allowed.into_iter()) as dns::Addrs)
        })
    }
}

/// Makes deliveries.
pub struct Sender {
    client: Client,
    networks: Arc<[Network]>,
}

impl Sender {
    /// For addresses in the public internet and in these networks.
    pub fn new(networks: &[Network]) -> anyhow::Result<Self> {
        let networks: Arc<[Network]> = networks.into();
        let client = Client::builder()
            .dns_resolver(Resolver(networks.clone()))
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .no_proxy()
            .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, networks })
    }

    /// Makes one, and says how it went.
    pub async fn deliver(&self, due: &DueWebhook, now: Timestamp) -> (WebhookOutcome, String) {
        let refused = match check_url(&due.url, &self.networks) {
            // What was allowed when it was written may not be any more.
            Err(why) => return (WebhookOutcome::Dead, why),
            Ok(_) => self.post(due, now).await,
        };
        match refused {
            Ok(status) if status.is_success() => (WebhookOutcome::Sent, status.to_string()),
            Ok(status) => (after(due.attempt, now), status.to_string()),
            Err(why) => (after(due.attempt, now), why),
        }
    }

    async fn post(&self, due: &DueWebhook, now: Timestamp) -> Result<reqwest::StatusCode, String> {
        let signature = sign(&due.secret, now, &due.body);
        let request = self
            .client
            .post(&due.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("frontdesk-delivery", due.id.to_string())
            .header("frontdesk-signature", signature)
            .body(due.body.clone());
        let answer = request.send().await.map_err(|error| {
            // The address may hold a secret of the receiver's; the reason does not.
            if error.is_timeout() {
                return format!("no answer in {} s", PATIENCE.as_secs());
            }
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            format!("cannot be reached: {cause}")
        })?;
        Ok(answer.status())
    }
}

fn after(attempt: u32, now: Timestamp) -> WebhookOutcome {
    let wait = WAITS.get((attempt as usize).saturating_sub(1));
    match wait.and_then(|wait| now.checked_add(*wait).ok()) {
        Some(at) => WebhookOutcome::RetryAt(at),
        None => WebhookOutcome::Dead,
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over `SECONDS.BODY`, so that neither can be changed or sent again later.
fn sign(secret: &[u8], now: Timestamp, body: &str) -> String {
    let seconds = now.as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{seconds}.{body}").as_bytes());
    let hex = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_connected_to() {
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_allowed(address.parse().unwrap(), &[]), "{address}");
        }
        for address in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_allowed(address.parse().unwrap(), &[]), "{address}");
        }
    }

    #[test]
    fn a_person_can_allow_a_network() {
        let networks = [Network::parse("10.0.0.0/8").unwrap(), Network::parse("::1").unwrap()];
        assert!(is_allowed("10.9.8.7".parse().unwrap(), &networks));
        assert!(is_allowed("::1".parse().unwrap(), &networks));
        assert!(!is_allowed("127.0.0.1".parse().unwrap(), &networks));
    }

    #[test]
    fn addresses_are_checked_when_they_are_written() {
        let local = [Network::parse("127.0.0.0/8").unwrap()];
        assert!(check_url("https://hooks.example.org/x?y=z", &[]).is_ok());
        assert!(check_url("http://127.0.0.1:9/x", &local).is_ok());
        for url in [
            "http://hooks.example.org/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "ftp://x.example/",
            "https://user:pass@x.example/",
            "https://0x7f000001/",
            "https://2130706433/",
            "nonsense",
            "http://127.0.0.1:9/x",
        ] {
            assert!(check_url(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn signatures_can_be_checked_and_waits_end() {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        // echo -n '1700000000.{}' | openssl dgst -sha256 -hmac key
        let signed = sign(b"key", at, "{}");
        assert!(signed.starts_with("t=1700000000,v1="), "{signed}");
        assert_ne!(signed, sign(b"key", at, "{ }"));
        assert_ne!(signed, sign(b"kez", at, "{}"));
        assert!(matches!(after(1, at), WebhookOutcome::RetryAt(next) if next > at));
        assert_eq!(after(9, at), WebhookOutcome::Dead);
    }
}
