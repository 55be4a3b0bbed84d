//! The other end: as many callers as wanted, on one thread of their own, as Twilio would send and play them.
//!
//! Each sends a frame every 20 ms of its own call, plays what it gets in real time, and echoes a mark when
//! what was sent before it was played, or at once when it is told to clear. It is written close to the
//! sockets, because whatever it costs is missing from the server on the same cores.

use super::script::{FRAME, Script};
use anyhow::{Context as _, bail, ensure};
use rustix::event::{Timespec, epoll};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

/// How a load is run.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub exchange: SocketAddr,
    pub callers: usize,
    /// The calls begin one after another within this time.
    pub within: Duration,
    pub script: Arc<Script>,
}

/// What one caller saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// From the start of the call to the first sound.
    pub greeting: Option<Duration>,
    /// When the first sample of each utterance was sent.
    pub onsets: Vec<Instant>,
    /// When the frame was sent in which its pause is noticed, and when the first sound after that came.
    pub pauses: Vec<(Instant, Option<Instant>)>,
    /// When the first order to be quiet after each onset came.
    pub cleared: Vec<Option<Instant>>,
    /// How much sound came.
    pub frames: u64,
    /// Silence within an answer, because the next frame came late.
    pub gaps: u32,
    /// When frames were sent, after they were due, at the worst.
    pub late: Duration,
}

/// How long after a caller's last frame is waited for what may still come.
const TAIL: Duration = Duration::from_millis(1_000);

/// No frame comes so late that sound after it belongs to something else.
const GAP: Duration = Duration::from_millis(500);

/// Runs the load. **Blocks** until it is over; `began` is called when every call has begun.
pub(super) fn run(load: &Load, began: impl FnOnce()) -> anyhow::Result<Vec<Seen>> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut lines = Vec::with_capacity(load.callers);
    for number in 0..load.callers {
        let line = Line::connect(load, number).context("connect a caller")?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, &line.socket, data, epoll::EventFlags::IN)?;
        lines.push(line);
    }
    let start = Instant::now() + Duration::from_millis(20);
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    for (number, line) in lines.iter_mut().enumerate() {
        // The golden ratio spreads the frames of any number of calls over their 20 ms.
        let phase = Duration::from_millis(20).mul_f64(number as f64 * 0.618_034 % 1.0);
        line.begins = start + load.within.mul_f64(number as f64 / load.callers as f64) + phase;
        due.push(Reverse((line.begins, number)));
    }

    let all_began = start + load.within + Duration::from_millis(20);
    let mut began = Some(began);
    let mut ready = Vec::with_capacity(256);
    let mut read = vec![0; 64 * 1024];
    while let Some(Reverse((next, number))) = due.peek().copied() {
        let now = Instant::now();
        if now >= all_began
            && let Some(began) = began.take()
        {
            began();
        }
        if next <= now {
            due.pop();
            match lines[number].tick(&load.script, next)? {
                Some(next) => due.push(Reverse((next, number))),
                None => epoll::delete(&poll, &lines[number].socket)?,
            }
            continue;
        }
        let wait = Timespec::try_from(next - now)?;
        ready.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &ready {
            lines[event.data.u64() as usize].receive(&mut read)?;
        }
    }
    Ok(lines.into_iter().map(|line| line.seen).collect())
}

struct Line {
    number: usize,
    socket: TcpStream,
    begins: Instant,
    /// The next frame of the script to send.
    frame: usize,
    /// It said that it stops: the server may close as it likes.
    stopped: bool,
    /// Bytes received that are no whole message yet.
    held: Vec<u8>,
    /// Bytes that the socket did not take.
    unsent: Vec<u8>,
    /// Until when what came so far is heard.
    plays_until: Option<Instant>,
    /// Marks, and when what came before them has been played.
    marks: VecDeque<(Instant, String)>,
    message: String,
    seen: Seen,
}

impl Line {
    /// A WebSocket, the HTTP before it included.
    fn connect(load: &Load, number: usize) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(load.exchange)?;
        socket.set_nodelay(true)?;
        let host = load.exchange;
        socket.write_all(
            format!(
                "GET /stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "the server does not speak WebSocket");
        socket.set_nonblocking(true)?;
        Ok(Self {
            number,
            socket,
            begins: Instant::now(),
            frame: 0,
            stopped: false,
            held: Vec::new(),
            unsent: Vec::new(),
            plays_until: None,
            marks: VecDeque::new(),
            message: String::with_capacity(400),
            seen: Seen::default(),
        })
    }

    /// Does what is due, and says when to come again; nothing when the call is over.
    fn tick(&mut self, script: &Script, due: Instant) -> anyhow::Result<Option<Instant>> {
        let now = Instant::now();
        self.seen.late = self.seen.late.max(now - due);
        if self.frame == script.frames.len() + 1 {
            self.stopped = true;
            self.send(r#"{"event":"stop","streamSid":"MZ0"}"#)?;
            return Ok(None);
        }
        while self.marks.front().is_some_and(|(at, _)| *at <= now) {
            self.echo()?;
        }
        if self.frame == 0 {
            self.send(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#)?;
            let start = format!(
                r#"{{"event":"start","sequenceNumber":"1","streamSid":"MZ0","start":{{"streamSid":"MZ0","accountSid":"AC0","callSid":"{}","tracks":["inbound"],"customParameters":{{}},"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}}}}"#,
                self.number
            );
            self.begins = Instant::now();
            self.send(&start)?;
            self.frame = 1;
            return Ok(Some(due + Duration::from_millis(20)));
        }
        let number = self.frame - 1;
        let Some(payload) = script.frames.get(number) else {
            self.frame += 1;
            return Ok(Some(due + TAIL));
        };
        let message = media(std::mem::take(&mut self.message), number, payload);
        if script.onsets.get(self.seen.onsets.len()) == Some(&number) {
            self.seen.onsets.push(Instant::now());
            self.seen.cleared.push(None);
        }
        if script.pauses.get(self.seen.pauses.len()) == Some(&number) {
            self.seen.pauses.push((Instant::now(), None));
        }
        self.send(&message)?;
        self.message = message;
        self.frame += 1;
        let last = self.frame > script.frames.len();
        Ok(Some(due + if last { TAIL } else { Duration::from_millis(20) }))
    }

    /// A masked text frame (RFC 6455 section 5.2).
    fn send(&mut self, text: &str) -> io::Result<()> {
        const MASK: [u8; 4] = [0x1b, 0x2c, 0x3d, 0x4e];
        let mut bytes = std::mem::take(&mut self.unsent);
        bytes.push(0x81);
        match u8::try_from(text.len()) {
            Ok(short) if short < 126 => bytes.push(0x80 | short),
            _ => {
                bytes.push(0x80 | 126);
                bytes.extend((text.len() as u16).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(text.bytes().zip(MASK.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        match self.socket.write(&bytes) {
            Ok(sent) => drop(bytes.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.unsent = bytes;
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        if self.stopped {
            return Ok(());
        }
        loop {
            match self.socket.read(buffer) {
                Ok(0) => bail!("the server closed the line of caller {}", self.number),
                Ok(count) => self.held.extend(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let now = Instant::now();
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while let Some((payload, more)) = message(rest) {
            // A farewell of the WebSocket is no text.
            if let Ok(text) = std::str::from_utf8(payload) {
                self.told(now, text)?;
            }
            rest = more;
        }
        self.held = rest.to_vec();
        Ok(())
    }

    fn told(&mut self, now: Instant, text: &str) -> anyhow::Result<()> {
        let Some(rest) = text.strip_prefix(r#"{"event":""#) else { return Ok(()) };
        if rest.starts_with("media") {
            self.hear(now);
        } else if rest.starts_with("mark") {
            let name = rest.rsplit(r#""name":""#).next().unwrap_or_default();
            let name = name.split('"').next().unwrap_or_default().to_owned();
            self.marks.push_back((self.plays_until.unwrap_or(now).max(now), name));
        } else if rest.starts_with("clear") {
            if let Some(cleared @ None) = self.seen.cleared.last_mut() {
                *cleared = Some(now);
            }
            self.plays_until = None;
            while !self.marks.is_empty() {
                self.echo()?;
            }
        }
        Ok(())
    }

    /// 20 ms of the agent.
    fn hear(&mut self, now: Instant) {
        const FRAME_LASTS: Duration = Duration::from_millis(FRAME as u64 / 8);
        self.seen.frames += 1;
        if self.seen.greeting.is_none() {
            self.seen.greeting = Some(now - self.begins);
        }
        if let Some((_, answer @ None)) = self.seen.pauses.last_mut() {
            *answer = Some(now);
            self.plays_until = None;
        }
        let from = match self.plays_until {
            Some(until) if until >= now => until,
            Some(until) => {
                self.seen.gaps += u32::from(now - until < GAP);
                now
            }
            None => now,
        };
        self.plays_until = Some(from + FRAME_LASTS);
    }

    fn echo(&mut self) -> io::Result<()> {
        let Some((_, name)) = self.marks.pop_front() else { return Ok(()) };
        self.send(&format!(
            r#"{{"event":"mark","sequenceNumber":"4","streamSid":"MZ0","mark":{{"name":"{name}"}}}}"#
        ))
    }
}

/// A message with sound, as Twilio writes it.
fn media(mut text: String, number: usize, payload: &str) -> String {
    use std::fmt::Write as _;
    text.clear();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        r#"{{"event":"media","sequenceNumber":"{}","media":{{"track":"inbound","chunk":"{}","timestamp":"{}","payload":"{payload}"}},"streamSid":"MZ0"}}"#,
        number + 2,
        number + 1,
        number * 20
    );
    text
}

/// The first unmasked message of what was received, and the rest; nothing while it is not whole.
fn message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match head[1] & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_from_whatever_arrives() {
        let long = [b'x'; 300];
        let bytes = [&[0x81, 2][..], b"hi", &[0x81, 126, 1, 44], &long].concat();
        let (first, rest) = message(&bytes).unwrap();
        assert_eq!(first, b"hi");
        let (second, rest) = message(rest).unwrap();
        assert_eq!((second, rest), (&long[..], &[][..]));
        for cut in 0..bytes.len() {
            let whole = [4, bytes.len()].iter().filter(|end| **end <= cut).count();
            let mut rest = &bytes[..cut];
            let mut found = 0;
            while let Some((_, more)) = message(rest) {
                (rest, found) = (more, found + 1);
            }
            assert_eq!(found, whole, "{cut} bytes");
        }
    }
}
