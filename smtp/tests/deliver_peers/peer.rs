//! A mail server that does what a script says, on loopback.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What to do at a step, instead of the ordinary positive answer.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answer with this line, without its end.
    Say(&'static str),
    /// Answer with these octets as they are.
    Raw(&'static [u8]),
    /// Answer, then close.
    SayAndClose(&'static str),
    /// Close without a word.
    Close,
    /// Never answer.
    Silence,
}

/// How the peer does TLS.
#[derive(Clone, Default)]
pub enum Encrypts {
    /// Not at all.
    #[default]
    No,
    /// After STARTTLS, with these certificates.
    StartTls(Arc<rustls::ServerConfig>),
    /// From the first octet.
    Implicit(Arc<rustls::ServerConfig>),
    /// Says that it does, and then sends something else.
    Broken,
}

type OnDot = Arc<dyn Fn() + Send + Sync>;

/// A script. Steps are GREETING, the verbs, DOT for the end of a message and BODY for its first line.
#[derive(Clone, Default)]
pub struct Script {
    acts: HashMap<&'static str, VecDeque<Act>>,
    /// What a step does when its queue is empty.
    always: HashMap<&'static str, Act>,
    extensions: Vec<&'static str>,
    pub encrypts: Encrypts,
    on_dot: Option<OnDot>,
}

impl Script {
    pub fn new() -> Self {
        Self { extensions: vec!["SIZE 50000000", "8BITMIME"], ..Self::default() }
    }

    /// Does this at the next such step, in the order given.
    pub fn once(mut self, step: &'static str, act: Act) -> Self {
        self.acts.entry(step).or_default().push_back(act);
        self
    }

    /// Does this at every such step.
    pub fn always(mut self, step: &'static str, act: Act) -> Self {
        self.always.insert(step, act);
        self
    }

    pub fn extensions(mut self, lines: &[&'static str]) -> Self {
        self.extensions = lines.to_vec();
        self
    }

    pub fn encrypts(mut self, encrypts: Encrypts) -> Self {
        self.encrypts = encrypts;
        self
    }

    /// Is called when a final dot arrives, before it is answered.
    pub fn on_dot(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_dot = Some(Arc::new(call));
        self
    }

    fn act(&mut self, step: &str) -> Option<Act> {
        let next = self.acts.get_mut(step).and_then(VecDeque::pop_front);
        next.or_else(|| self.always.get(step).cloned())
    }
}

/// A message that arrived in full.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub from: String,
    pub to: String,
    /// With dots removed again.
    pub message: String,
    pub encrypted: bool,
}

/// What the peer saw.
#[derive(Default)]
pub struct Seen {
    pub arrived: Mutex<Vec<Arrived>>,
    /// Every command line, in order.
    pub commands: Mutex<Vec<String>>,
    pub connections: AtomicUsize,
    open: AtomicUsize,
    pub most_open: AtomicUsize,
}

impl Seen {
    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn said(&self, start: &str) -> usize {
        self.commands.lock().unwrap().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// The running peer; ends when dropped.
pub struct Peer {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// On a free port of 127.0.0.1.
    pub async fn start(script: Script) -> Self {
        Self::at("127.0.0.1:0", script).await.unwrap()
    }

    pub async fn at(address: &str, script: Script) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let script = Arc::new(Mutex::new(script));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (shared.clone(), script.clone());
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                seen.most_open.fetch_max(open, Ordering::SeqCst);
                sessions.spawn(async move {
                    let encrypts = script.lock().unwrap().encrypts.clone();
                    let implicit = matches!(encrypts, Encrypts::Implicit(_));
                    let session = Session { script, seen: seen.clone(), encrypted: implicit };
                    if let Encrypts::Implicit(config) = encrypts {
                        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                            session.run(stream, true).await;
                        }
                    } else if let Some(mut stream) = session.run(stream, true).await {
                        match encrypts {
                            Encrypts::StartTls(config) => {
                                if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                    let session = Session { encrypted: true, ..session };
                                    session.run(stream, false).await;
                                }
                            }
                            _ => {
                                let _ = stream.write_all(b"this is no TLS at all\r\n").await;
                            }
                        }
                    }
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { address, seen, task })
    }
}

struct Session {
    script: Arc<Mutex<Script>>,
    seen: Arc<Seen>,
    encrypted: bool,
}

impl Session {
    /// Speaks until the end, or until TLS is to begin: then the stream comes back.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, greets: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if greets && !self.answer(&mut stream, "GREETING", "220 peer ready").await {
            return None;
        }
        let (mut from, mut to) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            let line = line.trim_end().to_owned();
            self.seen.commands.lock().unwrap().push(line.clone());
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let ordinary = match verb.as_str() {
                "EHLO" => self.extensions(),
                "STARTTLS" => "220 go ahead".to_owned(),
                "AUTH" if line == "AUTH LOGIN" => "334 VXNlcm5hbWU6".to_owned(),
                "AUTH" => "235 2.7.0 welcome".to_owned(),
                "DATA" => "354 go ahead".to_owned(),
                "QUIT" => "221 bye".to_owned(),
                // The name and the password of AUTH LOGIN.
                word if word == data_encoding::BASE64.encode(b"desk").to_uppercase() => {
                    "334 UGFzc3dvcmQ6".to_owned()
                }
                word if word == data_encoding::BASE64.encode(b"secret").to_uppercase() => {
                    "235 2.7.0 welcome".to_owned()
                }
                _ => "250 2.0.0 ok".to_owned(),
            };
            match verb.as_str() {
                "MAIL" => from.clone_from(&line),
                "RCPT" => to.clone_from(&line),
                _ => {}
            }
            if !self.answer(&mut stream, &verb, &ordinary).await {
                return None;
            }
            let goes_on = match verb.as_str() {
                "STARTTLS" => return Some(stream.into_inner()),
                "DATA" => self.message(&mut stream, &from, &to).await,
                verb => verb != "QUIT",
            };
            if !goes_on {
                return None;
            }
        }
    }

    async fn message<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        from: &str,
        to: &str,
    ) -> bool {
        let mut message = Vec::new();
        let mut first = true;
        loop {
            let mut line = Vec::new();
            match stream.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
            if std::mem::take(&mut first) {
                let act = self.script.lock().unwrap().act("BODY");
                if let Some(act) = act
                    && !self.perform(stream, act).await
                {
                    return false;
                }
            }
            if line == b".\r\n" {
                break;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        let call = self.script.lock().unwrap().on_dot.clone();
        if let Some(call) = call {
            call();
        }
        let act = self.script.lock().unwrap().act("DOT");
        let taken = match &act {
            None => true,
            Some(Act::Say(line)) => line.starts_with('2'),
            Some(Act::Raw(octets)) => octets.starts_with(b"2"),
            Some(_) => true,
        };
        if taken {
            self.seen.arrived.lock().unwrap().push(Arrived {
                from: from.to_owned(),
                to: to.to_owned(),
                message: String::from_utf8(message).unwrap(),
                encrypted: self.encrypted,
            });
        }
        match act {
            Some(act) => self.perform(stream, act).await,
            None => self.perform(stream, Act::Say("250 2.0.0 queued as 7")).await,
        }
    }

    fn extensions(&self) -> String {
        let script = self.script.lock().unwrap();
        let mut lines = vec!["peer"];
        lines.extend(&script.extensions);
        if matches!(script.encrypts, Encrypts::StartTls(_) | Encrypts::Broken) && !self.encrypted {
            lines.push("STARTTLS");
        }
        let last = lines.len() - 1;
        let line =
            |(at, line): (usize, &&str)| format!("250{}{line}", if at == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect::<Vec<_>>().join("\r\n")
    }

    /// Answers a step as the script says, or as usual; whether the session goes on.
    async fn answer<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        step: &str,
        ordinary: &str,
    ) -> bool {
        let act = self.script.lock().unwrap().act(step);
        match act {
            Some(act) => self.perform(stream, act).await,
            None => stream.write_all(format!("{ordinary}\r\n").as_bytes()).await.is_ok(),
        }
    }

    async fn perform<S: AsyncWrite + Unpin>(&self, stream: &mut S, act: Act) -> bool {
        match act {
            Act::Say(line) => stream.write_all(format!("{line}\r\n").as_bytes()).await.is_ok(),
            Act::Raw(octets) => stream.write_all(octets).await.is_ok(),
            Act::SayAndClose(line) => {
                let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
                let _ = stream.shutdown().await;
                false
            }
            Act::Close => {
                let _ = stream.shutdown().await;
                false
            }
            Act::Silence => std::future::pending().await,
        }
    }
}
