//! A language model that does as it is told: an HTTP server on loopback that speaks OpenAI's chat completions
//! and Anthropic's messages byte for byte as the providers do.
//!
//! What it answers is decided by a [`Behaviour`]: a list of [`Script`]s, one per request, or a function of
//! what was [`Asked`], which makes an obedient model. Scripts hold an answer back until a test lets it go on,
//! break it off, or fail as providers fail. Left out: HTTP/2, TLS and answers that are not streamed.

mod anthropic;
mod asked;
mod http;
mod openai;
mod script;

pub use asked::{Asked, Protocol, Said};
pub use script::{Hold, Script};

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What a model does when it is asked.
pub trait Behaviour: Send + Sync + 'static {
    /// The answer to a request.
    fn respond(&self, asked: &Asked) -> Script;

    /// Whoever asked closed the connection before the answer had ended.
    fn cancelled(&self, _asked: &Asked) {}
}

impl<F: Fn(&Asked) -> Script + Send + Sync + 'static> Behaviour for F {
    fn respond(&self, asked: &Asked) -> Script {
        self(asked)
    }
}

/// Serves until it is dropped.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve(listener: TcpListener, behaviour: Arc<dyn Behaviour>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, number, Arc::clone(&behaviour)));
    }
    Ok(())
}

async fn connection(mut stream: TcpStream, number: u64, behaviour: Arc<dyn Behaviour>) {
    // Each event is to arrive when it is written.
    let _ = stream.set_nodelay(true);
    // An error here is the client's: it went away, or sent no HTTP.
    while let Ok(Some(asked)) = http::read(&mut stream, number).await {
        let script = match asked.protocol {
            Some(_) => behaviour.respond(&asked),
            None => Script::not_here(),
        };
        match script.play(&asked, &mut stream).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => {
                behaviour.cancelled(&asked);
                return;
            }
        }
    }
}

/// A model server that runs until it is dropped, and remembers what it was asked.
pub struct ModelServer {
    address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<io::Result<()>>,
}

struct Log {
    behaviour: Box<dyn Behaviour>,
    asked: watch::Sender<Vec<Asked>>,
    cancelled: watch::Sender<usize>,
}

impl Behaviour for Log {
    fn respond(&self, asked: &Asked) -> Script {
        self.asked.send_modify(|all| all.push(asked.clone()));
        self.behaviour.respond(asked)
    }

    fn cancelled(&self, asked: &Asked) {
        self.behaviour.cancelled(asked);
        self.cancelled.send_modify(|count| *count += 1);
    }
}

/// One script per request, in order. A request too many is answered with status 500.
struct Scripts(Mutex<VecDeque<Script>>);

impl Behaviour for Scripts {
    fn respond(&self, _asked: &Asked) -> Script {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.pop_front().unwrap_or_else(Script::server_error)
    }
}

impl ModelServer {
    /// Starts a server on a free port of loopback.
    pub async fn start(behaviour: impl Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let log = Arc::new(Log {
            behaviour: Box::new(behaviour),
            asked: watch::Sender::default(),
            cancelled: watch::Sender::default(),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&log) as _));
        Self { address, log, task }
    }

    /// Starts a server that answers with one script after the other.
    pub async fn scripted(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::start(Scripts(Mutex::new(scripts.into_iter().collect()))).await
    }

    /// What to set as `base_url`, of either protocol.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.asked.borrow().clone()
    }

    /// Waits until `count` requests have come, and returns all of them.
    pub async fn wait_asked(&self, count: usize) -> Vec<Asked> {
        let mut asked = self.log.asked.subscribe();
        let asked = asked.wait_for(|asked| asked.len() >= count).await;
        asked.expect("the sender lives in self").clone()
    }

    /// Waits until `count` answers have been broken off by whoever asked.
    pub async fn wait_cancelled(&self, count: usize) {
        let mut cancelled = self.log.cancelled.subscribe();
        let cancelled = cancelled.wait_for(|cancelled| *cancelled >= count).await;
        cancelled.expect("the sender lives in self");
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
