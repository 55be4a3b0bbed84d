//! The stream below lettre's connection, in two hands: lettre writes commands and reads replies
//! through it, and we send contents, begin TLS, and look whether the peer has gone.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::lines::ReplyLines;

/// What lettre's constructor reads instead of a greeting and an EHLO response. It asks for them in one
/// go and keeps neither words nor limits; the real ones are read afterwards, each with its own time.
const FEIGNED: &[u8] = b"220 \r\n250 -\r\n";

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Under a handshake, or lost in one.
    Gone,
}

struct Shared {
    stream: Stream,
    lines: ReplyLines,
    /// What lettre writes while it is feigned to goes nowhere.
    feigning: bool,
    peer: SocketAddr,
}

/// See the module documentation. Clones are the same stream.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Shared>>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// A stream that greets lettre by itself, until [`Self::begin`].
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let mut lines = ReplyLines::default();
        // Two short lines are within every bound.
        let _ = lines.feed(FEIGNED);
        let stream = Stream::Tcp(stream);
        Self(Arc::new(Mutex::new(Shared { stream, lines, feigning: true, peer })))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on lettre speaks to the peer.
    pub(super) fn begin(&self) {
        let mut shared = self.lock();
        shared.feigning = false;
        shared.lines = ReplyLines::default();
    }

    /// Begins TLS. The certificate is checked as `config` says.
    ///
    /// # Errors
    ///
    /// Whatever the handshake fails with, and octets that came before it in clear.
    pub(super) async fn start_tls(
        &self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let stream = {
            let mut shared = self.lock();
            if shared.lines.has_more() {
                return Err(io::Error::other("the peer spoke in clear before the handshake"));
            }
            std::mem::replace(&mut shared.stream, Stream::Gone)
        };
        let Stream::Tcp(tcp) = stream else {
            return Err(io::Error::other("TLS has begun already"));
        };
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        self.lock().stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    /// Sends octets as they are.
    pub(super) async fn send(&self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            let written = poll_fn(|cx| self.lock().poll_write(cx, octets)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            octets = &octets[written..];
        }
        poll_fn(|cx| self.lock().poll_flush(cx)).await
    }

    /// What has come from the peer by now, without waiting: the code of a reply nobody asked for, or
    /// an error if the connection has ended.
    pub(super) async fn glance(&self) -> io::Result<Option<u16>> {
        poll_fn(|cx| {
            let mut shared = self.lock();
            loop {
                match shared.poll_fill(cx) {
                    Poll::Pending => return Poll::Ready(Ok(shared.lines.waiting_code())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(match shared.lines.waiting_code() {
                            Some(code) => Ok(Some(code)),
                            None => Err(io::ErrorKind::UnexpectedEof.into()),
                        });
                    }
                    Poll::Ready(Ok(_)) => {}
                }
            }
        })
        .await
    }
}

impl Shared {
    /// Reads once from the peer; 0 is its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut octets = [0; 4096];
        let mut buffer = ReadBuf::new(&mut octets);
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buffer),
            Stream::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        std::task::ready!(polled)?;
        let count = buffer.filled().len();
        self.lines.feed(buffer.filled()).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.feigning {
            return Poll::Ready(Ok(octets.len()));
        }
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, octets),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, octets),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Stream::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        while shared.lines.is_empty() {
            if std::task::ready!(shared.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        into.put_slice(&shared.lines.read(into.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Stream::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.lock().peer)
    }
}
