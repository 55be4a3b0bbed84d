//! From a message and a zone on a loopback DNS server to a verdict.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod arc;
mod author;
mod dkim;
mod dmarc;
mod dns;
mod hostile;
mod spf;

use std::{net::IpAddr, time::Duration};

use frontdesk_smtp::{
    auth::{Authentication, Authenticator, dns::DnsConfig},
    testing::{
        dns::{TestDns, Zone},
        sign::TestKey,
    },
};
use jiff::Timestamp;

/// The address that may send for author.example.
pub const GOOD: &str = "192.0.2.10";
/// One that may not.
pub const BAD: &str = "198.51.100.9";

pub const MESSAGE: &str = "From: Ann Author <ann@author.example>\r\n\
    To: support@desk.example\r\n\
    Subject: Printer on fire\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@author.example>\r\n\
    \r\n\
    It is warm.\r\n\
    \r\n\
    Ann\r\n";

/// author.example with SPF, a reverse name and keys, but without a DMARC record.
pub fn zone() -> Zone {
    Zone::new()
        .txt("author.example", "v=spf1 ip4:192.0.2.0/24 -all")
        .a("mail.author.example", "192.0.2.10".parse().unwrap())
        .txt("mail.author.example", "v=spf1 a -all")
        .ptr(GOOD.parse().unwrap(), "mail.author.example")
        .txt("rsa._domainkey.author.example", &TestKey::rsa().record())
        .txt("ed._domainkey.author.example", &TestKey::ed25519().record())
}

pub fn with_dmarc(record: &str) -> Zone {
    zone().txt("_dmarc.author.example", record)
}

pub struct World {
    pub dns: TestDns,
    pub authenticator: Authenticator,
}

impl World {
    pub async fn new(zone: Zone) -> Self {
        let dns = TestDns::start(zone).await.unwrap();
        let config = DnsConfig {
            servers: vec![dns.addr()],
            // The server answers at once; a busy machine must not look like a broken name server.
            query_timeout: Duration::from_secs(20),
            retries: 0,
            ..DnsConfig::default()
        };
        let authenticator = Authenticator::new(&config, "mx.desk.example").unwrap();
        Self { dns, authenticator }
    }

    /// Checks a message from ann@author.example, sent by `peer` as mail.author.example.
    pub async fn check(&self, peer: &str, message: impl AsRef<[u8]>) -> Authentication {
        self.check_from(peer, Some("ann@author.example"), message).await
    }

    pub async fn check_from(
        &self,
        peer: &str,
        reverse_path: Option<&str>,
        message: impl AsRef<[u8]>,
    ) -> Authentication {
        let peer: IpAddr = peer.parse().unwrap();
        self.authenticator
            .authenticate(
                peer,
                "mail.author.example",
                reverse_path,
                message.as_ref(),
                Timestamp::now(),
            )
            .await
    }
}

/// One message, one zone.
pub async fn check(zone: Zone, peer: &str, message: impl AsRef<[u8]>) -> Authentication {
    World::new(zone).await.check(peer, message).await
}
