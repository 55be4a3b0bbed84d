//! One SMTP connection: lettre's dialogue over a stream of our own.
//!
//! lettre's [`AsyncSmtpConnection`] writes commands, reads replies and encodes what AUTH wants. Around
//! it stand what it leaves open: `lines` gives its parser replies that it can read, `wire` shares the
//! stream so that contents go out apart from their final dot and nothing said in clear counts under
//! TLS, and `tls` says whose certificates are asked for. The extensions are read here, because lettre
//! compares them by case and forgets SIZE.

mod lines;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Auth;
use lettre::transport::smtp::extension::ClientId;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::attempt::{
    Heard, Offers, PeerReply, Stage, Timeouts, Trouble, Verdict, judge, timeouts,
};

pub use self::tls::Tls;

/// What a connection is to be encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// Never: for a relay on this machine.
    Clear,
    /// STARTTLS where it is offered, with any certificate.
    Opportunistic,
    /// A certificate for the host's name is asked for; if that fails it is counted, and the mail goes
    /// on as with [`Self::Opportunistic`].
    Testing,
    /// STARTTLS or nothing, with a certificate for the host's name.
    StartTls,
    /// TLS from the first octet (RFC 8314), with a certificate for the host's name.
    Implicit,
}

/// Name and password for a relay.
#[derive(Clone)]
pub struct Login {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Login {
    /// A name and its password.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { name: name.into(), password: password.into() }
    }
}

/// Neither reaches logs.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// One place to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// The name that its certificate must have, lower case, without a final dot.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    pub(crate) security: Security,
    pub(crate) login: Option<Login>,
}

impl Hop {
    /// For reasons: `mx.example[192.0.2.1]`.
    fn label(&self) -> String {
        format!("{}[{}]", self.host, self.address.ip())
    }
}

/// An open connection that greeted, and is as safe as it was asked to be.
pub(crate) struct Connection {
    smtp: AsyncSmtpConnection,
    wire: wire::Wire,
    label: String,
    offers: Offers,
    timeouts: Timeouts,
    encrypted: bool,
    transactions: u32,
    /// The last transaction has to be forgotten by RSET before the next.
    dirty: bool,
    broken: bool,
}

impl Connection {
    /// Connects, greets, encrypts and signs in. Opportunistic TLS that breaks is followed by a new
    /// connection in clear.
    pub(crate) async fn open(
        hop: &Hop,
        tls: &Tls,
        hello: &str,
        timeouts: Timeouts,
    ) -> Result<Self, Trouble> {
        let mut security = hop.security;
        let mut connection = loop {
            match Self::secured(hop, tls, hello, timeouts, security).await {
                Err(Trouble { stage: Stage::Tls, heard }) if security == Security::Testing => {
                    tracing::warn!(host = hop.host, why = ?heard, "a policy in testing would fail");
                    metrics::counter!("deliveries_sts_testing_total").increment(1);
                    security = Security::Opportunistic;
                }
                Err(Trouble { stage: Stage::Tls, heard })
                    if security == Security::Opportunistic =>
                {
                    tracing::info!(host = hop.host, why = ?heard, "no TLS; sending in clear");
                    metrics::counter!("deliveries_tls_broken_total").increment(1);
                    security = Security::Clear;
                }
                result => break result?,
            }
        };
        if let Some(login) = &hop.login {
            connection.sign_in(login).await?;
        }
        Ok(connection)
    }

    async fn secured(
        hop: &Hop,
        tls: &Tls,
        hello: &str,
        timeouts: Timeouts,
        security: Security,
    ) -> Result<Self, Trouble> {
        let mut connection = Self::connect(hop, timeouts).await?;
        if security == Security::Implicit {
            connection.handshake(&hop.host, tls.checked.clone()).await?;
        }
        let heard = connection.listen(timeouts.greeting).await;
        connection.positive(Stage::Greeting, heard)?;
        connection.hello(hello).await?;
        let (wanted, config) = match security {
            Security::Opportunistic => (connection.offers.starttls, &tls.unchecked),
            Security::StartTls | Security::Testing => (true, &tls.checked),
            Security::Clear | Security::Implicit => return Ok(connection),
        };
        if wanted {
            if !connection.offers.starttls {
                let heard = Heard::Lost("it does not offer STARTTLS, which is required".to_owned());
                return Err(Trouble { stage: Stage::Tls, heard });
            }
            let heard = connection.command("STARTTLS", timeouts.greeting).await;
            connection.positive(Stage::Tls, heard)?;
            connection.handshake(&hop.host, config.clone()).await?;
            // RFC 3207 section 4.2: what was offered in clear does not count.
            connection.hello(hello).await?;
        }
        Ok(connection)
    }

    async fn connect(hop: &Hop, timeouts: Timeouts) -> Result<Self, Trouble> {
        let failed = |heard| Trouble { stage: Stage::Connect, heard };
        let stream = match timeout(timeouts.connect, TcpStream::connect(hop.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(Heard::Lost(error.to_string()))),
            Err(_) => return Err(failed(Heard::Nothing)),
        };
        // Commands are small and wait for answers; an error here costs time only.
        let _ = stream.set_nodelay(true);
        let wire = wire::Wire::new(stream, hop.address);
        let hello = ClientId::Domain(String::new());
        let smtp =
            AsyncSmtpConnection::connect_with_transport(Box::new(wire.clone()), &hello).await;
        let smtp = smtp.map_err(|error| failed(Heard::Lost(error.to_string())))?;
        wire.begin();
        Ok(Self {
            smtp,
            wire,
            label: hop.label(),
            offers: Offers::default(),
            timeouts,
            encrypted: false,
            transactions: 0,
            dirty: false,
            broken: false,
        })
    }

    async fn handshake(&mut self, host: &str, config: Arc<ClientConfig>) -> Result<(), Trouble> {
        let failed = |heard| Trouble { stage: Stage::Tls, heard };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failed(Heard::Lost("the host's name is no domain name".to_owned())))?;
        match timeout(self.timeouts.handshake, self.wire.start_tls(config, name)).await {
            Ok(Ok(())) => {
                self.encrypted = true;
                Ok(())
            }
            Ok(Err(error)) => Err(failed(Heard::Lost(super::attempt::words(&error.to_string())))),
            Err(_) => Err(failed(Heard::Nothing)),
        }
    }

    /// EHLO, and HELO for those who do not know it (RFC 5321 section 3.2).
    async fn hello(&mut self, name: &str) -> Result<(), Trouble> {
        let time = self.timeouts.greeting;
        let answered = match timeout(time, self.smtp.command(format!("EHLO {name}\r\n"))).await {
            Err(_) => Err(Heard::Nothing),
            Ok(Ok(response)) => {
                self.offers = Offers::read(response.message());
                return Ok(());
            }
            Ok(Err(error)) => Err(Heard::from_lettre(Err(error))),
        };
        self.offers = Offers::default();
        match answered {
            Err(Heard::Reply(reply)) if reply.is_permanent() => {
                let heard = self.command(&format!("HELO {name}"), time).await;
                self.positive(Stage::Hello, heard).map(drop)
            }
            Err(heard) => Err(Trouble { stage: Stage::Hello, heard }),
            Ok(()) => Ok(()),
        }
    }

    /// AUTH PLAIN (RFC 4616) or LOGIN, as the peer offers.
    async fn sign_in(&mut self, login: &Login) -> Result<(), Trouble> {
        let failed = |heard| Trouble { stage: Stage::Auth, heard };
        let mechanism = if self.offers.auth_plain {
            Mechanism::Plain
        } else if self.offers.auth_login {
            Mechanism::Login
        } else {
            let why = "it offers neither AUTH PLAIN nor AUTH LOGIN".to_owned();
            return Err(failed(Heard::Lost(why)));
        };
        let credentials = Credentials::new(login.name.clone(), login.password.clone());
        let ours = |error: lettre::transport::smtp::Error| failed(Heard::Lost(error.to_string()));
        let mut command = Auth::new(mechanism, credentials.clone(), None).map_err(ours)?;
        // LOGIN asks twice; PLAIN, where the first response is not taken with the command, once.
        for _ in 0..3 {
            let time = self.timeouts.greeting;
            let response = match timeout(time, self.smtp.command(command)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(failed(Heard::from_lettre(Err(error)))),
                Err(_) => return Err(failed(Heard::Nothing)),
            };
            if !response.has_code(334) {
                let heard = Heard::from_lettre(Ok(response));
                return self.positive(Stage::Auth, heard).map(drop);
            }
            command = Auth::new_from_response(mechanism, credentials.clone(), &response)
                .map_err(|_| failed(Heard::Lost("it asks for something unknown".to_owned())))?;
        }
        Err(failed(Heard::Lost("it asks without end".to_owned())))
    }

    /// Sends a line and waits for its reply.
    pub(crate) async fn command(&mut self, line: &str, time: Duration) -> Heard {
        match timeout(time, self.smtp.command(format!("{line}\r\n"))).await {
            Ok(result) => Heard::from_lettre(result),
            Err(_) => Heard::Nothing,
        }
    }

    async fn listen(&mut self, time: Duration) -> Heard {
        match timeout(time, self.smtp.read_response()).await {
            Ok(result) => Heard::from_lettre(result),
            Err(_) => Heard::Nothing,
        }
    }

    fn positive(&mut self, stage: Stage, heard: Heard) -> Result<PeerReply, Trouble> {
        match heard {
            Heard::Reply(reply) if reply.is_positive() => Ok(reply),
            heard => Err(Trouble { stage, heard }),
        }
    }

    /// Sends octets of a message.
    pub(crate) async fn send(&mut self, octets: &[u8], time: Duration) -> Result<(), Heard> {
        match timeout(time, self.wire.send(octets)).await {
            Ok(Ok(())) => Ok(()),
            // What it said before it went says more than that it went.
            Ok(Err(error)) => Err(match self.glance().await {
                Some(Heard::Reply(reply)) => Heard::Reply(reply),
                _ => Heard::Lost(error.to_string()),
            }),
            Err(_) => Err(Heard::Nothing),
        }
    }

    /// What the peer said without being asked, or that it has gone.
    pub(crate) async fn glance(&mut self) -> Option<Heard> {
        match self.wire.glance().await {
            Ok(None) => None,
            // It is there already.
            Ok(Some(_)) => Some(self.listen(timeouts::QUIT).await),
            Err(_) => Some(Heard::Lost("the connection was closed".to_owned())),
        }
    }

    /// The verdict on what ended a transaction.
    pub(crate) fn end(&mut self, stage: Stage, heard: &Heard) -> Verdict {
        match heard {
            Heard::Reply(reply) => {
                self.dirty = stage != Stage::Dot;
                // After a refusal inside the message the peer waits for its end, or has gone.
                self.broken |= matches!(reply.code, 221 | 421 | 521)
                    || matches!(stage, Stage::Content | Stage::Data);
            }
            Heard::Lost(_) | Heard::Nothing => self.broken = true,
        }
        judge(stage, heard, &self.label)
    }

    /// Marks it as of no further use.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Counts a transaction; whether there was one before.
    pub(crate) fn begin_transaction(&mut self) -> bool {
        self.transactions += 1;
        self.transactions > 1
    }

    /// Whether it can have another transaction after `most` at most; if it is [`Self::is_dirty`], only
    /// after [`Self::reset`].
    pub(crate) fn is_usable(&self, most: u32) -> bool {
        !self.broken && self.transactions < most
    }

    /// Whether the peer still has the last transaction in mind.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Has the peer forget the last transaction; whether it did.
    pub(crate) async fn reset(&mut self) -> bool {
        self.dirty = false;
        let heard = self.command("RSET", timeouts::QUIT).await;
        self.broken = !matches!(heard, Heard::Reply(reply) if reply.is_positive());
        !self.broken
    }

    /// Says goodbye.
    pub(crate) async fn quit(mut self) {
        if !self.broken {
            let _ = self.command("QUIT", timeouts::QUIT).await;
        }
    }

    pub(crate) fn offers(&self) -> &Offers {
        &self.offers
    }

    pub(crate) fn host(&self) -> &str {
        &self.label
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}
