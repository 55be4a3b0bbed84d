//! A plain SMTP client, in clear or under TLS. It knows as much of the protocol as a test needs to
//! say what it means, and shows every reply.

use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer},
};

/// A reply: its code, and its lines without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub text: String,
}

impl Reply {
    pub fn is(&self, code: u16) -> bool {
        self.code == code
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub struct Client {
    wire: BufReader<Box<dyn Wire>>,
}

impl Client {
    /// Connects, reads the banner and says EHLO.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        let mut client = Self::open(to).await?;
        client.hello().await?;
        Ok(client)
    }

    /// Connects and reads the banner.
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { wire: BufReader::new(Box::new(stream)) };
        match client.reply().await? {
            banner if banner.is(220) => Ok(client),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    pub async fn hello(&mut self) -> io::Result<Reply> {
        self.say("EHLO client.test").await
    }

    /// Sends a line and reads the reply.
    pub async fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.wire.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.wire.flush().await?;
        self.reply().await
    }

    pub async fn reply(&mut self) -> io::Result<Reply> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.wire.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or_else(|| io::Error::other(format!("no reply: {line}")))?;
            text.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, text });
            }
            text.push('\n');
        }
    }

    /// A whole transaction. The first reply that is not positive ends it.
    pub async fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> io::Result<Reply> {
        let reply = self.say(&format!("MAIL FROM:<{from}>")).await?;
        if !reply.is(250) {
            return Ok(reply);
        }
        for to in to {
            let reply = self.say(&format!("RCPT TO:<{to}>")).await?;
            if !reply.is(250) {
                self.say("RSET").await?;
                return Ok(reply);
            }
        }
        let reply = self.say("DATA").await?;
        if !reply.is(354) {
            return Ok(reply);
        }
        let wire = stuffed(message);
        let written = async {
            self.wire.write_all(&wire).await?;
            self.wire.flush().await
        }
        .await;
        // A server that has had enough says why before it hangs up.
        match (written, self.reply().await) {
            (_, Ok(reply)) => Ok(reply),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error),
        }
    }

    /// MAIL, RCPT and DATA.
    pub async fn begin(&mut self, from: &str, to: &str) -> io::Result<()> {
        for line in [&format!("MAIL FROM:<{from}>"), &format!("RCPT TO:<{to}>"), "DATA"] {
            let reply = self.say(line).await?;
            assert!(reply.code < 400, "{line}: {reply:?}");
        }
        Ok(())
    }

    /// A piece of a message in which no line starts with a dot. A server that no longer listens is
    /// heard of in its reply.
    pub async fn write_part(&mut self, octets: &[u8]) {
        let _ = self.wire.write_all(octets).await;
        let _ = self.wire.flush().await;
    }

    /// The final dot, and the reply to it.
    pub async fn finish(&mut self) -> io::Result<Reply> {
        self.write_part(b".\r\n").await;
        self.reply().await
    }

    /// A whole transaction, and gone before the last reply.
    pub async fn send_and_vanish(mut self, from: &str, to: &str, message: &[u8]) -> io::Result<()> {
        self.begin(from, to).await?;
        self.wire.write_all(&stuffed(message)).await?;
        self.wire.shutdown().await
    }

    /// STARTTLS with a server whose certificate is `root`.
    pub async fn start_tls(
        mut self,
        name: &str,
        root: CertificateDer<'static>,
    ) -> io::Result<Self> {
        let reply = self.say("STARTTLS").await?;
        assert!(reply.is(220), "{reply:?}");
        let mut roots = RootCertStore::empty();
        roots.add(root).map_err(io::Error::other)?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = name.to_owned().try_into().map_err(io::Error::other)?;
        let stream =
            TlsConnector::from(Arc::new(config)).connect(name, self.wire.into_inner()).await?;
        let mut client = Self { wire: BufReader::new(Box::new(stream)) };
        client.hello().await?;
        Ok(client)
    }
}

/// A message as it goes over the wire: dots doubled, and the final one.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 1024);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// Sends one message over a connection of its own.
pub async fn send(server: SocketAddr, from: &str, to: &str, message: &[u8]) -> Reply {
    Client::connect(server).await.unwrap().send(from, &[to], message).await.unwrap()
}
