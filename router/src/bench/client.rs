//! A lean sending server: connections that pipeline MAIL, RCPT and DATA, then send the message.
//!
//! It runs on a thread of its own, so that its work is not counted as the server's and so that the
//! server's tasks do not hold up its clock.

use super::{machine, mails, mails::Ready, stats::Samples};
use anyhow::{Context as _, bail};
use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

/// How to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) connections: usize,
    /// Messages a second on a schedule that does not wait for answers; as fast as answers come
    /// without.
    pub(super) rate: Option<f64>,
    /// No message is begun after this long.
    pub(super) limit: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// From the end of the final dot's write to the 250.
    pub(super) dot_to_250: Samples,
    /// From the moment the message was due to the 250: what a sender on a schedule sees. Counts the
    /// envelope and every wait for a free connection.
    pub(super) due_to_250: Samples,
    /// The ids in the 250s, and when each was read.
    pub(super) accepted: Vec<(i64, Instant)>,
    /// First and last moment.
    pub(super) elapsed: Duration,
    /// Processor time of the generator.
    pub(super) processor: Duration,
}

/// Sends a range of mails and reports. Any answer but 250 is an error: nothing here deserves one.
pub(super) async fn send(
    server: SocketAddr,
    mails: Arc<Vec<Ready>>,
    range: Range<usize>,
    plan: Plan,
) -> anyhow::Result<Sent> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
        let sent = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the load generator")
            .and_then(|runtime| runtime.block_on(generate(server, mails, range, plan)));
        // Whoever asked may have gone.
        let _ = done.send(sent);
    })?;
    let sent = outcome.await.context("the load generator ended early")?;
    thread.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))?;
    sent
}

async fn generate(
    server: SocketAddr,
    mails: Arc<Vec<Ready>>,
    range: Range<usize>,
    plan: Plan,
) -> anyhow::Result<Sent> {
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(Connection::open(server).await?);
    }
    let next = Arc::new(AtomicUsize::new(range.start));
    let processor = machine::thread_time();
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for mut connection in connections {
        let (next, mails, end) = (next.clone(), mails.clone(), range.end);
        let first = range.start;
        workers.spawn(async move {
            let mut sent = Sent::default();
            while started.elapsed() < plan.limit {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    break;
                }
                let due = match plan.rate {
                    Some(rate) => {
                        let due = started + Duration::from_secs_f64((number - first) as f64 / rate);
                        tokio::time::sleep_until(due.into()).await;
                        due
                    }
                    None => Instant::now(),
                };
                let (id, dot, answered) = connection.mail(&mails[number]).await?;
                sent.accepted.push((id, answered));
                sent.dot_to_250.add(answered - dot);
                sent.due_to_250.add(answered - due);
            }
            connection.quit().await?;
            anyhow::Ok(sent)
        });
    }
    let mut all = Sent::default();
    while let Some(sent) = workers.join_next().await {
        let sent = sent??;
        all.dot_to_250.extend(sent.dot_to_250);
        all.due_to_250.extend(sent.due_to_250);
        all.accepted.extend(sent.accepted);
    }
    let last = all.accepted.iter().map(|(_, at)| *at).max().unwrap_or(started);
    all.elapsed = last - started;
    all.processor = machine::thread_time() - processor;
    Ok(all)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.context("connect")?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, buffer: Vec::with_capacity(1024) };
        connection.expect(220).await?;
        connection.write(format!("EHLO {}\r\n", mails::HELO).as_bytes()).await?;
        connection.expect(250).await?;
        Ok(connection)
    }

    /// Sends one mail. Returns its id, when the dot had been written, and when the 250 was read.
    async fn mail(&mut self, mail: &Ready) -> anyhow::Result<(i64, Instant, Instant)> {
        let envelope = format!(
            "MAIL FROM:<{}> SIZE={}\r\nRCPT TO:<{}>\r\nDATA\r\n",
            mail.reverse_path,
            mail.data.len(),
            mails::RECIPIENT
        );
        self.write(envelope.as_bytes()).await?;
        self.expect(250).await?;
        self.expect(250).await?;
        self.expect(354).await?;
        self.write(&mail.data).await?;
        let dot = Instant::now();
        let line = self.expect(250).await?;
        let answered = Instant::now();
        let id = line.rsplit_once("Accepted as ").and_then(|(_, id)| id.trim().parse().ok());
        Ok((id.with_context(|| format!("an unexpected answer: {line}"))?, dot, answered))
    }

    async fn quit(&mut self) -> anyhow::Result<()> {
        self.write(b"QUIT\r\n").await?;
        self.expect(221).await?;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("the server hung up")
    }

    /// Reads one reply and returns its last line.
    async fn expect(&mut self, code: u16) -> anyhow::Result<String> {
        loop {
            while let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.get(3) == Some(&b'-') {
                    continue;
                }
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if line.get(..3).and_then(|text| text.parse().ok()) != Some(code) {
                    bail!("the server said {line:?} where {code} was due");
                }
                return Ok(line);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server hung up");
            }
        }
    }
}
