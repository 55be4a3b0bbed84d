//! Text outside of calls: one person's messages, answered one after another, and what their page is shown of it.
//!
//! What always holds: an answer that was begun goes on to its end and into the history, whether anybody is
//! connected or not; what a page is shown is numbered, so that a page which lost its connection gets what came
//! after the last it has, and nothing is asked of the agent a second time.

use super::{Calls, access, access::Caller, lock};
use crate::desk::Desk;
use frontdesk_agents::{
    live::{CallChannel, Chat, ReplyPart, Speaker, Turn},
    store::{OpenCall, StoreError},
};
use frontdesk_voice::{
    browser::{RESUME_TEXT_WITHIN_MS, Wire, reply},
    call::Status,
};
use futures_util::StreamExt as _;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Messages of one person that may wait for their answers.
const TEXTS: usize = 8;

/// What is kept of what was shown, in octets: far more than one answer, and than a client that is there is behind.
const KEPT: usize = 1024 * 1024;

/// How long a conversation without a connection waits for its page.
const WAITS: Duration = Duration::from_millis(RESUME_TEXT_WITHIN_MS);

/// Conversations that wait for their pages: of one person, and in all.
const WAITING_OF_ONE: usize = 4;
const WAITING: usize = 2_048;

/// One person's text on one page, over any number of connections.
pub(super) struct TextSession {
    /// Gets it back after a drop.
    pub token: String,
    identity: String,
    agent: String,
    texts: mpsc::Sender<String>,
    shown: Mutex<Shown>,
    /// The number of the last that was shown.
    grown: watch::Sender<u64>,
}

#[derive(Default)]
struct Shown {
    /// The newest ones.
    messages: VecDeque<String>,
    octets: usize,
    /// The number of the last; the first ever is 1.
    last: u64,
    connections: usize,
    /// Grows with every connection that leaves.
    left: u64,
}

/// A connection to a session; it leaves when it is dropped.
pub(super) struct Reading {
    pub session: Arc<TextSession>,
    calls: Arc<Calls>,
    grown: watch::Receiver<u64>,
    /// The last that its page has.
    at: u64,
}

/// What was asked for is not kept any more.
#[derive(Debug)]
pub(super) struct Gone;

impl TextSession {
    /// A new one, with its first connection.
    pub fn begin(
        desk: &Arc<Desk>,
        calls: &Arc<Calls>,
        token: String,
        agent: &str,
        caller: &Caller,
        network: &str,
    ) -> Reading {
        let (texts, waiting) = mpsc::channel(TEXTS);
        let session = Arc::new(Self {
            token: token.clone(),
            identity: caller.identity.clone(),
            agent: agent.to_owned(),
            texts,
            shown: Mutex::default(),
            grown: watch::Sender::new(0),
        });
        let writer = Writer {
            desk: desk.clone(),
            calls: calls.clone(),
            caller: caller.clone(),
            network: network.to_owned(),
        };
        tokio::spawn(writer.run(Arc::downgrade(&session), waiting));
        lock(&calls.texts).insert(token, session.clone());
        Reading::of(session, calls, 0)
    }

    /// The session of this token, if it is this person's with this agent and what came after `at` is still kept.
    pub fn resume(
        calls: &Arc<Calls>,
        token: &str,
        agent: &str,
        caller: &Caller,
        at: u64,
    ) -> Result<Reading, &'static str> {
        let session = lock(&calls.texts).get(token).cloned();
        let session = session
            .filter(|session| session.identity == caller.identity && session.agent == agent)
            .ok_or("unknown")?;
        session.after(at).map_err(|Gone| "gone")?;
        Ok(Reading::of(session, calls, at))
    }

    /// Takes a message to be answered. Answers whether there was room.
    pub fn say(&self, text: String) -> bool {
        self.texts.try_send(text).is_ok()
    }

    fn show(&self, wire: Wire) {
        let Wire::Text(text) = wire else { return };
        let mut shown = lock(&self.shown);
        shown.octets += text.len();
        shown.messages.push_back(text);
        shown.last += 1;
        while shown.octets > KEPT {
            let Some(oldest) = shown.messages.pop_front() else { break };
            shown.octets -= oldest.len();
        }
        self.grown.send_replace(shown.last);
    }

    /// What came after a number, with numbers.
    fn after(&self, at: u64) -> Result<Vec<(u64, String)>, Gone> {
        let shown = lock(&self.shown);
        let first = shown.last - shown.messages.len() as u64 + 1;
        if at > shown.last || at + 1 < first {
            return Err(Gone);
        }
        let skipped = usize::try_from(at + 1 - first).unwrap_or(usize::MAX);
        Ok((at + 1..).zip(shown.messages.iter().skip(skipped).cloned()).collect())
    }
}

impl Reading {
    fn of(session: Arc<TextSession>, calls: &Arc<Calls>, at: u64) -> Self {
        lock(&session.shown).connections += 1;
        let mut grown = session.grown.subscribe();
        // What is there already is new to this connection.
        grown.mark_changed();
        Self { session, calls: calls.clone(), grown, at }
    }

    /// Waits until there is more.
    pub async fn more(&mut self) {
        if self.grown.changed().await.is_err() {
            // Never: the session holds the other end.
            std::future::pending::<()>().await;
        }
    }

    /// What came since the last time, with numbers.
    pub fn take(&mut self) -> Result<Vec<(u64, String)>, Gone> {
        let new = self.session.after(self.at)?;
        if let Some((last, _)) = new.last() {
            self.at = *last;
        }
        Ok(new)
    }
}

impl Drop for Reading {
    /// Without a connection the session waits for its page, and not for ever.
    fn drop(&mut self) {
        let left = {
            let mut shown = lock(&self.session.shown);
            shown.connections -= 1;
            shown.left += 1;
            if shown.connections > 0 {
                return;
            }
            shown.left
        };
        let token = self.session.token.clone();
        if !self.calls.may_wait(&self.session) {
            lock(&self.calls.texts).remove(&token);
            return;
        }
        let calls = Arc::downgrade(&self.calls);
        tokio::spawn(async move {
            tokio::time::sleep(WAITS).await;
            let Some(calls) = calls.upgrade() else { return };
            let mut texts = lock(&calls.texts);
            let waits = texts.get(&token).is_some_and(|session| {
                let shown = lock(&session.shown);
                shown.connections == 0 && shown.left == left
            });
            if waits {
                texts.remove(&token);
            }
        });
    }
}

impl Calls {
    /// Whether there is room for another session that waits for its page.
    fn may_wait(&self, session: &TextSession) -> bool {
        if self.is_stopping() {
            return false;
        }
        let texts = lock(&self.texts);
        let waiting = || texts.values().filter(|other| lock(&other.shown).connections == 0);
        waiting().count() <= WAITING
            && waiting().filter(|other| other.identity == session.identity).count()
                <= WAITING_OF_ONE
    }
}

/// Answers the messages of one session, one after another.
struct Writer {
    desk: Arc<Desk>,
    calls: Arc<Calls>,
    caller: Caller,
    network: String,
}

impl Writer {
    async fn run(self, session: Weak<TextSession>, mut waiting: mpsc::Receiver<String>) {
        let mut chat: Option<Chat> = None;
        let mut number = 0;
        while let Some(text) = waiting.recv().await {
            // Held while the answer is made: it goes to its end though nobody waits for it any more.
            let Some(session) = session.upgrade() else { return };
            number += 1;
            if let Err(why) = self.answer(&session, &mut chat, number, text).await {
                session.show(reply::error(&why));
            }
            session.show(reply::status(Status::Idle));
        }
    }

    /// An error is in words for the person.
    async fn answer(
        &self,
        session: &TextSession,
        chat: &mut Option<Chat>,
        number: u32,
        text: String,
    ) -> Result<(), String> {
        let later = "The message could not be kept. Please try again later.";
        let failed = |error: StoreError| match error {
            StoreError::TooMany(why) => why,
            error => {
                tracing::error!(%error, "a text message could not be kept");
                later.to_owned()
            }
        };
        let known =
            access::agent(&self.desk, &session.agent).ok_or("This agent is not here any more.")?;
        let chat = match chat {
            Some(chat) => chat,
            None => {
                let open = OpenCall {
                    name: self.caller.name.clone(),
                    proof: self.caller.proof.clone(),
                    channel: CallChannel::Browser,
                    ..OpenCall::new(known.id, self.caller.who.clone(), &self.network)
                };
                chat.insert(self.desk.store.open_chat(open).await.map_err(failed)?)
            }
        };
        let message = self.desk.store.commit_text(chat, Speaker::Caller, text.clone());
        let message = message.await.map_err(failed)?;
        session.show(reply::status(Status::Thinking));
        session.show(reply::transcript("user", &text));

        let now = self.desk.store.clock().now();
        let turn = Turn::in_chat(chat, number, text, message, now);
        let mut words = self.calls.live.text(turn).await.map_err(|error| {
            tracing::warn!(%error, "the agent failed on a text message");
            "The agent could not answer. A person will see your message.".to_owned()
        })?;
        let mut whole = String::new();
        let mut failure = None;
        while let Some(part) = words.next().await {
            match part {
                Ok(ReplyPart::Text(text)) => {
                    if whole.is_empty() {
                        session.show(reply::transcript_start(None));
                    }
                    whole.push_str(&text);
                    session.show(reply::transcript_delta(&text));
                }
                Ok(ReplyPart::ToolStarted(_) | ReplyPart::ToolEnded(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "the agent failed in the middle of an answer");
                    failure = Some("The agent could not finish its answer.".to_owned());
                    break;
                }
            }
        }
        if !whole.is_empty() {
            session.show(reply::transcript_end(&whole));
            self.desk.store.commit_text(chat, Speaker::Agent, whole).await.map_err(failed)?;
        }
        failure.map_or(Ok(()), Err)
    }
}
