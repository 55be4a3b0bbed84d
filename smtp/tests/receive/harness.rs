//! Runs a dialogue script against the session, without sockets and with its own clock.
//!
//! A script is read line by line:
//!
//! ```text
//! # a comment
//! set: recipients_max 3     changes the configuration before the session begins
//! pieces: one               the client's lines between two answers arrive together
//! c: text                   the client sends a line; \r \n \0 \\ and \xNN are escapes
//! r: text                   the same without CR LF at its end
//! s: text                   the server sends a line
//! b: from <a> to <b> <c>    the backend gets a message, and its lines:
//! b| text
//! t: 300                    so many seconds pass
//! tls: / eof: / shutdown:   the handshake ends, the client closes, the server stops
//! x: reason                 the session ends
//! ```
//!
//! Recipients: everything at example.org and bücher.example exists, except `nobody`; `later` is
//! refused for now, `tarpit` and `probe` are unknown and cost a delay or the session.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use frontdesk_smtp::address::ForwardPath;
use frontdesk_smtp::receive::budget::MemoryBudget;
use frontdesk_smtp::receive::framer::BareLf;
use frontdesk_smtp::receive::limits::Penalty;
use frontdesk_smtp::receive::session::{Input, Output, Session, SessionConfig};
use frontdesk_smtp::receive::{Helo, InMemoryBackend, Peer, TlsInfo};
use frontdesk_smtp::reply;

/// A step of a script: something the outside does, and what the server must do then.
struct Step {
    action: Action,
    expected: String,
}

enum Action {
    Start,
    Send(Vec<u8>),
    Pass(Duration),
    Tls,
    Eof,
    Shutdown,
}

pub struct Script {
    config: SessionConfig,
    tls: bool,
    in_one_piece: bool,
    steps: Vec<Step>,
}

impl Script {
    pub fn parse(text: &str) -> Self {
        let mut script = Self {
            config: SessionConfig::new("mx.example.org"),
            tls: false,
            in_one_piece: false,
            steps: vec![Step { action: Action::Start, expected: String::new() }],
        };
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (kind, rest) = line.split_at(2);
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match kind {
                "c:" => script.send([unescape(rest), b"\r\n".to_vec()].concat()),
                "r:" => script.send(unescape(rest)),
                "s:" | "b:" | "b|" | "x:" => {
                    let step = script.steps.last_mut().unwrap();
                    writeln!(step.expected, "{kind} {rest}").unwrap();
                }
                "t:" => script.step(Action::Pass(Duration::from_secs(rest.parse().unwrap()))),
                _ => match line.split_once(':').unwrap() {
                    ("set", setting) => script.set(setting.trim()),
                    ("pieces", _) => script.in_one_piece = true,
                    ("tls", _) => script.step(Action::Tls),
                    ("eof", _) => script.step(Action::Eof),
                    ("shutdown", _) => script.step(Action::Shutdown),
                    _ => panic!("unknown line: {line}"),
                },
            }
        }
        script
    }

    fn set(&mut self, setting: &str) {
        let (name, value) = setting.split_once(' ').unwrap_or((setting, "0"));
        let number: u64 = value.parse().unwrap();
        let config = &mut self.config;
        match name {
            "tls" => self.tls = true,
            "size_max" => config.size_max = number as usize,
            "recipients_max" => config.recipients_max = number as usize,
            "messages_max" => config.messages_max = Some(number as u32),
            "errors_max" => config.errors_max = number as u32,
            "junk_max" => config.junk_max = number as u32,
            "hops_max" => config.hops_max = number as usize,
            "greet_delay" => config.greet_delay = Duration::from_secs(number),
            "normalise_bare_lf" => config.data.bare_lf = BareLf::Normalise,
            _ => panic!("unknown setting: {name}"),
        }
    }

    fn send(&mut self, octets: Vec<u8>) {
        match self.steps.last_mut() {
            Some(Step { action: Action::Send(group), expected }) if expected.is_empty() => {
                group.extend(octets);
            }
            _ => self.step(Action::Send(octets)),
        }
    }

    fn step(&mut self, action: Action) {
        self.steps.push(Step { action, expected: String::new() });
    }

    /// Octets the client sends in all.
    pub fn octets(&self) -> usize {
        let group = |step: &Step| match &step.action {
            Action::Send(octets) => octets.len(),
            _ => 0,
        };
        self.steps.iter().map(group).sum()
    }

    pub fn in_one_piece(&self) -> bool {
        self.in_one_piece
    }

    /// Plays the script; what the client sends is cut after its n-th octet where `cut(n)`.
    pub fn play(&self, name: &str, cut: impl Fn(usize) -> bool) {
        let mut stage = Stage::new(self);
        let mut sent = 0;
        for step in &self.steps {
            match &step.action {
                Action::Start => stage.input(Input::Timeout),
                Action::Send(octets) => {
                    let mut from = 0;
                    for to in 1..=octets.len() {
                        sent += 1;
                        if to == octets.len() || cut(sent) {
                            stage.input(Input::Bytes(&octets[from..to]));
                            from = to;
                        }
                    }
                }
                Action::Pass(time) => {
                    stage.now += *time;
                    stage.input(Input::Timeout);
                }
                Action::Tls => stage.input(Input::TlsStarted(TlsInfo {
                    version: "TLSv1_3".to_owned(),
                    cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
                    server_name: None,
                })),
                Action::Eof => stage.input(Input::Eof),
                Action::Shutdown => stage.input(Input::Shutdown),
            }
            let seen = stage.take_transcript();
            assert_eq!(seen, step.expected, "{name}, after {sent} octets from the client");
        }
        assert!(stage.ended, "{name}: the script does not say how the session ends");
        drop(stage.session);
        assert_eq!(stage.budget.used(), 0, "{name}: memory of a message is still reserved");
    }
}

struct Stage {
    session: Session,
    budget: Arc<MemoryBudget>,
    backend: InMemoryBackend,
    now: Instant,
    transcript: String,
    wire: Vec<u8>,
    ended: bool,
}

impl Stage {
    fn new(script: &Script) -> Self {
        let now = Instant::now();
        let addr = "192.0.2.1:40000".parse().unwrap();
        let local = "192.0.2.25:25".parse().unwrap();
        let peer = Peer { addr, local, helo: Helo::None, tls: None };
        let budget = MemoryBudget::new(1 << 20);
        let config = Arc::new(script.config.clone());
        Self {
            session: Session::new(config, Arc::clone(&budget), peer, script.tls, now),
            budget,
            backend: InMemoryBackend::new(["example.org", "xn--bcher-kva.example"]).without([
                "nobody@example.org",
                "tarpit@example.org",
                "probe@example.org",
            ]),
            now,
            transcript: String::new(),
            wire: Vec::new(),
            ended: false,
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
        while let Some(output) = self.session.poll() {
            match output {
                Output::Write(bytes) => self.wire.extend(bytes),
                Output::AskMail => {
                    self.session.handle(Input::Mail(Ok(Duration::ZERO)), self.now);
                }
                Output::AskRecipient { to, .. } => {
                    let (answer, penalty) = self.recipient(&to);
                    self.session.handle(Input::Recipient(answer, penalty), self.now);
                }
                Output::Message(message) => {
                    self.note_wire();
                    write!(self.transcript, "b: from {} to", message.envelope.reverse_path)
                        .unwrap();
                    for recipient in &message.envelope.recipients {
                        write!(self.transcript, " {recipient}").unwrap();
                    }
                    self.transcript.push('\n');
                    let text = String::from_utf8_lossy(&message.bytes).into_owned();
                    for line in text.split_terminator("\r\n") {
                        writeln!(self.transcript, "b| {line}").unwrap();
                    }
                    self.session.handle(Input::Message(reply::accepted()), self.now);
                }
                // Scripts say when the handshake ends.
                Output::StartTls => {}
                Output::Close(reason) => {
                    self.note_wire();
                    writeln!(self.transcript, "x: {}", reason.reason()).unwrap();
                    self.ended = true;
                }
            }
        }
    }

    fn recipient(&self, to: &ForwardPath) -> (Result<(), reply::Reply>, Penalty) {
        let penalty = match to.key().as_str() {
            "later@example.org" => return (Err(reply::local_error()), Penalty::None),
            "tarpit@example.org" => Penalty::Delay(Duration::from_secs(5)),
            "probe@example.org" => Penalty::HangUp,
            _ => Penalty::None,
        };
        (self.backend.check(to), penalty)
    }

    fn note_wire(&mut self) {
        let wire = String::from_utf8(std::mem::take(&mut self.wire)).unwrap();
        for line in wire.split_terminator("\r\n") {
            writeln!(self.transcript, "s: {line}").unwrap();
        }
    }

    fn take_transcript(&mut self) -> String {
        self.note_wire();
        std::mem::take(&mut self.transcript)
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        match chars.next().unwrap() {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            '0' => octets.push(0),
            '\\' => octets.push(b'\\'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                octets.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    octets
}
