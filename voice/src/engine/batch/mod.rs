//! What engines share that decode an utterance as a whole, instead of word by word as it comes in:
//! Whisper here, and services behind an HTTP request.
//!
//! ```text
//! Ear ─> Listener (pure: which sound to decode when, what to say) ─> Decoder (slots, or requests)
//!          └── gate: whether to believe what came back
//! ```
//!
//! - [`Listener`]: the session as a state machine without clock, thread or socket;
//! - [`gate`]: words that a model says although nobody spoke;
//! - [`Queue`]: what waits for a slot, by deadline;
//! - [`drive`]: the task around a listener.

pub mod gate;
mod listener;
mod queue;

pub use listener::{Asked, Decoded, Input, Limits, Listener, Output};
pub use queue::{Purpose, Queue, Ticket};

use super::{Error, transcriber::Ear};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc;

/// Something to decode.
#[derive(Debug)]
pub struct Work {
    /// The sound, at [`super::LISTEN_RATE`].
    pub samples: Vec<i16>,
    /// The language, where the session named one.
    pub language: Option<Arc<str>>,
    /// What it is for, and whether it is still wanted.
    pub ticket: Arc<Ticket>,
    /// Where the result goes.
    pub reply: Reply,
}

/// Where a result goes. Dropping it answers that the work was given up.
#[derive(Debug)]
pub struct Reply {
    asked: Asked,
    to: Option<mpsc::Sender<(Asked, Result<Decoded, Error>)>>,
}

impl Reply {
    /// Answers.
    pub fn send(mut self, result: Result<Decoded, Error>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<Decoded, Error>) {
        if let Some(to) = self.to.take() {
            // There is room for all that a listener asks for at once; a closed session does not care.
            let _ = to.try_send((self.asked, result));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.answer(Err(Error::Behind));
    }
}

/// Takes work and answers each piece exactly once. Must not block.
pub trait Decoder: Send + 'static {
    /// Starts, queues, or refuses a piece of work (by answering, or dropping its reply).
    fn take(&mut self, work: Work);
}

/// Runs a session until it is closed.
pub async fn drive(
    mut ear: Ear,
    mut listener: Listener,
    language: Option<String>,
    mut decoder: impl Decoder,
) {
    let language: Option<Arc<str>> = language.map(Into::into);
    let (reply, mut replies) = mpsc::channel(Limits::OUTSTANDING);
    let mut tickets: HashMap<Asked, Arc<Ticket>> = HashMap::new();
    loop {
        let input = tokio::select! {
            command = ear.commands.recv() => match command {
                Some(command) => Input::Command(command),
                None => break,
            },
            Some((asked, result)) = replies.recv() => {
                tickets.remove(&asked);
                Input::Decoded(asked, result)
            }
        };
        for output in listener.handle(input) {
            match output {
                Output::Decode { asked, purpose, samples } => {
                    let ticket = Arc::new(Ticket::new(purpose));
                    tickets.insert(asked, Arc::clone(&ticket));
                    let reply = Reply { asked, to: Some(reply.clone()) };
                    decoder.take(Work { samples, language: language.clone(), ticket, reply });
                }
                Output::Cancel(asked) => {
                    if let Some(ticket) = tickets.get(&asked) {
                        ticket.cancel();
                    }
                }
                Output::Hurry(asked) => {
                    if let Some(ticket) = tickets.get(&asked) {
                        ticket.hurry();
                    }
                }
                Output::Say(heard) => {
                    if !ear.mouth.say(heard) {
                        // The call has stopped reading; closing is what it will see.
                        tickets.values().for_each(|ticket| ticket.cancel());
                        return;
                    }
                }
            }
        }
    }
    tickets.values().for_each(|ticket| ticket.cancel());
}
