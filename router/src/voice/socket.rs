//! One browser's WebSocket: frames in and out, a call perhaps, and text outside of calls.
//!
//! What always holds: a connection that sends nothing for a minute, or takes nothing for ten seconds, is
//! closed; a call whose connection drops is kept for its client if that can resume it, and hung up
//! otherwise.

use super::{
    Calls, Parked,
    access::{self, Caller, Refusal},
    start::{self, Started, Terms},
    text::{Reading, TextSession},
};
use crate::{
    desk::Desk,
    directory::Known,
    http::problem::Problem,
    models::{Progress, PullState},
};
use axum::{
    extract::{
        ConnectInfo, Path, Query, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::request::Parts,
    response::Response,
};
use frontdesk_agents::{CallId, live::ClientMessage};
use frontdesk_smtp::receive::limits::Network;
use frontdesk_voice::{
    browser::{Asked, Link, MAX_SOUND, MAX_TEXT, Refused, StartCall, View, Wire, reply},
    call::{Input, Status},
    shell::{Event, Handle},
};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Nothing at all from a client for so long means that it is gone; browsers answer our pings.
const SILENCE: Duration = Duration::from_secs(60);

/// How often a client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a client may take nothing. Sound comes in real time, so this is long.
const STUCK: Duration = Duration::from_secs(10);

/// What is read at once: several frames of a microphone. The library fills all of it with zeros before each
/// read, and would take 128 KiB for it.
const READ_BUFFER: usize = 4 * 1024;

/// The notice about a missing model, and its button.
const MODEL: &str = "model";
const PULL: &str = "pull";

/// Messages of downloads that may wait for a slow client.
const SHOWN: usize = 8;

/// How often a page is told how a download goes.
const PULL_SHOWN_EVERY: Duration = Duration::from_millis(250);

/// The longest text message, in bytes.
const LONGEST_TEXT: usize = 16 * 1024;

#[derive(Deserialize)]
pub(super) struct Query_ {
    token: Option<String>,
}

/// `GET /agents/{agent}/{instance}`.
pub(super) async fn upgrade(
    State(desk): State<Arc<Desk>>,
    Path((agent, _label)): Path<(String, String)>,
    Query(query): Query<Query_>,
    upgrade: WebSocketUpgrade,
    parts: Parts,
) -> Result<Response, Problem> {
    let calls = desk.calls.get().cloned();
    let calls = calls.ok_or_else(|| Problem::busy("the server is starting; try again soon"))?;
    let new = access::new_visitor()?;
    let admitted = match access::agent(&desk, &agent) {
        Some(known) => access::caller(&desk, &known, &parts, query.token.as_deref(), &new).await?,
        None => Err(Refusal::NotFound),
    };
    // The control socket has no address.
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let network = peer.map_or("local".into(), |ip| Network::of(ip).to_string());
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MAX_TEXT.max(MAX_SOUND))
        .max_frame_size(MAX_TEXT.max(MAX_SOUND));
    Ok(upgrade.on_upgrade(move |socket| async move {
        match admitted {
            Ok(caller) => Connection::new(desk, calls, agent, caller, network).serve(socket).await,
            // A browser tells its page nothing about a refused upgrade, so the reason comes in the close.
            Err(refusal) => close(socket, refusal.close_code(), &refusal.to_string()).await,
        }
    }))
}

async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    // RFC 6455 section 5.5.1: a close frame has room for 123 bytes of reason.
    let reason = &reason[..reason.floor_char_boundary(123)];
    let frame = CloseFrame { code, reason: reason.into() };
    // A client that is gone needs no reason.
    let _ = tokio::time::timeout(STUCK, async {
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        // RFC 6455 section 7.1.1: until the client has closed as well. Whoever hangs up on what is still
        // coming in, such as a microphone, makes the client's system throw the reason away.
        while let Some(Ok(_)) = socket.recv().await {}
    })
    .await;
}

/// The call of a connection.
struct InCall {
    id: CallId,
    handle: Handle,
    events: mpsc::Receiver<Event>,
    view: View,
    place: super::Place,
    /// Gets the call back after a drop.
    token: Option<String>,
}

struct Connection {
    desk: Arc<Desk>,
    calls: Arc<Calls>,
    agent: String,
    caller: Caller,
    network: String,
    link: Link,
    since: Instant,
    call: Option<InCall>,
    /// Text outside of calls, from the first message on.
    text: Option<Reading>,
    /// What tasks beside the connection have to show.
    out: mpsc::Sender<Wire>,
    shown: mpsc::Receiver<Wire>,
}

/// Why a connection ends.
enum End {
    /// It is gone, or takes nothing.
    Dropped,
    Refused(Refused),
    Stopping,
}

impl Connection {
    fn new(
        desk: Arc<Desk>,
        calls: Arc<Calls>,
        agent: String,
        caller: Caller,
        network: String,
    ) -> Self {
        let since = Instant::now();
        let link = Link::new(0);
        let (out, shown) = mpsc::channel(SHOWN);
        Self {
            desk,
            calls,
            agent,
            caller,
            network,
            link,
            since,
            call: None,
            text: None,
            out,
            shown,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn known(&self) -> Option<Arc<Known>> {
        access::agent(&self.desk, &self.agent)
    }

    async fn serve(mut self, mut socket: WebSocket) {
        let end = match self.run(&mut socket).await {
            Ok(()) => return,
            Err(end) => end,
        };
        self.leave_call();
        match end {
            End::Dropped => {}
            End::Refused(Refused { code, reason }) => close(socket, code, reason).await,
            // RFC 6455 section 7.4.2 and the registry: 1012 is "service restart"; clients come back.
            End::Stopping => close(socket, 1012, "The server is restarting.").await,
        }
    }

    /// Serves until the client leaves. The call, if there is one, is still there then.
    async fn run(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        send(socket, reply::welcome()).await?;
        send(socket, reply::status(Status::Idle)).await?;
        let mut pings =
            tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        let mut heard = Instant::now();
        loop {
            let event = async {
                match &mut self.call {
                    Some(call) => call.events.recv().await,
                    None => std::future::pending().await,
                }
            };
            let written = async {
                match &mut self.text {
                    Some(text) => text.more().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = socket.recv() => {
                    heard = Instant::now();
                    match frame {
                        Some(Ok(Message::Text(text))) => {
                            let now = self.now();
                            let asked = self.link.text(now, &text).map_err(End::Refused)?;
                            self.asked(socket, asked).await?;
                        }
                        Some(Ok(Message::Binary(bytes))) => self.sound(&bytes)?,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(frame))) => {
                            // RFC 6455 section 7.4.1: 1000 and 1001 mean that somebody is done or left the page.
                            // A client that only wants a fresh connection closes without a code.
                            let code = frame.map_or(1005, |frame| frame.code);
                            if !matches!(code, 1000 | 1001) {
                                return Err(End::Dropped);
                            }
                            if let Some(call) = self.call.take() {
                                call.handle.input(Input::HungUp);
                            }
                            return Ok(());
                        }
                        Some(Err(_)) | None => return Err(End::Dropped),
                    }
                }
                event = event => match event {
                    Some(event) => self.show(socket, event).await?,
                    None => {
                        self.call = None;
                        if self.calls.is_stopping() {
                            return Err(End::Stopping);
                        }
                    }
                },
                () = written => self.show_text(socket).await?,
                Some(wire) = self.shown.recv() => send(socket, wire).await?,
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(End::Dropped);
                    }
                    if self.calls.is_stopping() && self.call.is_none() {
                        return Err(End::Stopping);
                    }
                    deliver(socket, Message::Ping(bytes::Bytes::new())).await?;
                }
            }
        }
    }

    fn sound(&mut self, bytes: &[u8]) -> Result<(), End> {
        let now = self.now();
        let input = self.link.sound(now, bytes).map_err(End::Refused)?;
        // Sound outside of a call is a client that is a moment behind.
        if let Some(call) = &self.call {
            call.handle.input(input);
        }
        Ok(())
    }

    async fn show(&mut self, socket: &mut WebSocket, event: Event) -> Result<(), End> {
        let Some(call) = &mut self.call else { return Ok(()) };
        for wire in call.view.show(event) {
            send(socket, wire).await?;
        }
        Ok(())
    }

    async fn asked(&mut self, socket: &mut WebSocket, asked: Asked) -> Result<(), End> {
        match asked {
            Asked::Hello { .. } | Asked::SpeechHint => {}
            Asked::Ping(id) => send(socket, reply::pong(id)).await?,
            Asked::Malformed(what) => send(socket, reply::error(what)).await?,
            Asked::Start(start) => self.start(socket, start).await?,
            Asked::Resume { token, received, .. } => self.resume(socket, &token, received).await?,
            Asked::ResumeText { token, at } => self.resume_text(socket, &token, at).await?,
            Asked::Text(text) => self.text(socket, text).await?,
            Asked::NoticeAction(id) if id == PULL => {
                if let Err(why) = self.pull() {
                    send(socket, reply::error(&why)).await?;
                }
            }
            Asked::NoticeAction(_) => {}
            Asked::Custom(body) => match &self.call {
                Some(call) => self.message(ClientMessage { call: call.id, body }),
                None => {
                    let why = "Messages of the page's own reach the agent during a call only.";
                    send(socket, reply::error(why)).await?;
                }
            },
            Asked::End => match &self.call {
                Some(call) => {
                    call.handle.input(Input::HungUp);
                }
                // The client waits for this before it shows that it is ready.
                None => send(socket, reply::status(Status::Idle)).await?,
            },
            Asked::Interrupt(position) => {
                if let Some(call) = &self.call {
                    if let Some(played) = position.and_then(|position| call.view.played(position)) {
                        call.handle.input(played);
                    }
                    call.handle.input(Input::Interrupt);
                }
            }
            Asked::Played(position) => {
                if let Some(call) = &self.call
                    && let Some(played) = call.view.played(position)
                {
                    call.handle.input(played);
                }
            }
            Asked::Pace(rate) => {
                if let Some(call) = &self.call {
                    call.handle.pace(rate);
                }
            }
        }
        Ok(())
    }

    // Calls.

    async fn start(&mut self, socket: &mut WebSocket, asked: StartCall) -> Result<(), End> {
        if self.call.is_some() {
            return send(socket, reply::error("A call is under way already.")).await;
        }
        let features = self.link.features();
        let started = match self.known() {
            Some(known) => {
                let (caller, network) = (&self.caller, &self.network);
                let terms = Terms::browser(&known.config.name, features);
                start::start(&self.desk, &self.calls, &known, caller, network, &asked, terms).await
            }
            None => Err("This agent is not here any more.".into()),
        };
        let Started { call: id, handle, events, rate, place, notice, offer } = match started {
            Ok(started) => started,
            Err(why) => {
                send(socket, reply::error(&why)).await?;
                return send(socket, reply::status(Status::Idle)).await;
            }
        };
        let dictation = self.known().is_some_and(|known| self.calls.live.listens_only(known.id));
        let view = View::new(rate, features, dictation);
        let token = features.resume.then(access::new_visitor).and_then(Result::ok);
        self.call = Some(InCall { id, handle, events, view, place, token: token.clone() });
        if !dictation {
            send(socket, reply::audio_config(rate)).await?;
        }
        if let Some(token) = &token {
            send(socket, reply::call_started(token)).await?;
        }
        let offer = offer.filter(|_| features.notice);
        if let Some(notice) = notice.filter(|_| offer.is_none()) {
            let wire = if features.notice {
                reply::notice("hearing", true, &notice, None, false)
            } else {
                reply::error(&notice)
            };
            send(socket, wire).await?;
        }
        if let Some(model) = offer {
            let text = format!(
                "You are heard by a basic recogniser, because {model} is not on this server yet."
            );
            send(socket, reply::offer(MODEL, &text, PULL, "Download it")).await?;
        }
        Ok(())
    }

    /// Tells the agent what the page has to say. The agent's word is not waited for.
    fn message(&self, message: ClientMessage) {
        let live = self.calls.live.clone();
        tokio::spawn(async move {
            let call = message.call;
            if let Err(error) = live.client_message(message).await {
                tracing::warn!(%call, %error, "an agent could not take a message of its page");
            }
        });
    }

    /// Downloads the model that hears this agent's callers, and shows how that goes.
    fn pull(&self) -> Result<(), String> {
        if !self.caller.may_pull {
            return Err("Only staff who decide may download models.".into());
        }
        let known = self.known().ok_or("This agent is not here any more.")?;
        let name = self.desk.config.voice.calls_of(&known.config).stt.to_string();
        let state = self.desk.pulls.start(&self.desk.config, &name);
        let state = state.map_err(|error| error.to_string())?;
        tokio::spawn(show_pull(name, state, self.out.clone()));
        Ok(())
    }

    async fn resume(
        &mut self,
        socket: &mut WebSocket,
        token: &str,
        received: frontdesk_voice::browser::Position,
    ) -> Result<(), End> {
        if self.call.is_some() {
            return send(socket, reply::call_resume_failed("busy")).await;
        }
        let Some(mut parked) = self.calls.unpark(token, &self.caller.identity) else {
            return send(socket, reply::call_resume_failed("unknown")).await;
        };
        let token = match access::new_visitor() {
            Ok(token) if !parked.handle.is_over() => token,
            _ => return send(socket, reply::call_resume_failed("over")).await,
        };
        send(socket, reply::call_resumed(&token)).await?;
        // What could not be delivered meanwhile, then what the call says to the return.
        while let Ok(event) = parked.events.try_recv() {
            for wire in parked.view.while_away(event) {
                send(socket, wire).await?;
            }
        }
        parked.view.back(self.link.features(), received);
        parked.handle.input(Input::Back);
        let Parked { handle, events, view, call, place } = parked;
        self.call = Some(InCall { id: call, handle, events, view, place, token: Some(token) });
        Ok(())
    }

    /// The connection is gone: the call waits for its client, or ends.
    fn leave_call(&mut self) {
        let Some(InCall { id, handle, events, view, place, token }) = self.call.take() else {
            return;
        };
        match token {
            Some(token) if !handle.is_over() && !self.calls.is_stopping() => {
                handle.input(Input::Lost);
                self.calls.park(token, Parked { handle, events, view, call: id, place });
            }
            _ => {
                handle.input(Input::HungUp);
            }
        }
    }

    // Text outside of calls.

    async fn text(&mut self, socket: &mut WebSocket, text: String) -> Result<(), End> {
        if text.len() > LONGEST_TEXT {
            let why =
                format!("A message may have {LONGEST_TEXT} bytes; this one has {}.", text.len());
            return send(socket, reply::error(&why)).await;
        }
        if text.trim().is_empty() {
            return Ok(());
        }
        if let Some(call) = &self.call {
            call.handle.input(Input::Text { text });
            return Ok(());
        }
        if self.text.is_none() {
            let Ok(token) = access::new_visitor() else {
                return send(socket, reply::error("Please try again in a moment.")).await;
            };
            if self.link.features().resume_text {
                send(socket, reply::text_started(&token)).await?;
            }
            let (desk, calls) = (&self.desk, &self.calls);
            let reading =
                TextSession::begin(desk, calls, token, &self.agent, &self.caller, &self.network);
            self.text = Some(reading);
        }
        let Some(reading) = &self.text else { return Ok(()) };
        if !reading.session.say(text) {
            let why = "Your earlier messages are still being answered. Please wait a moment.";
            send(socket, reply::error(why)).await?;
        }
        Ok(())
    }

    /// What is new of the text, to the client.
    async fn show_text(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let Some(reading) = &mut self.text else { return Ok(()) };
        // A client that is so far behind gets it anew, from the history.
        let new = reading.take().map_err(|_| End::Dropped)?;
        let numbered = self.link.features().resume_text;
        for (at, message) in new {
            let wire = if numbered { reply::numbered(at, &message) } else { Wire::Text(message) };
            send(socket, wire).await?;
        }
        Ok(())
    }

    async fn resume_text(
        &mut self,
        socket: &mut WebSocket,
        token: &str,
        at: u64,
    ) -> Result<(), End> {
        if self.text.is_some() {
            return send(socket, reply::text_resume_failed("busy")).await;
        }
        match TextSession::resume(&self.calls, token, &self.agent, &self.caller, at) {
            Ok(reading) => {
                self.text = Some(reading);
                send(socket, reply::text_resumed()).await?;
                self.show_text(socket).await
            }
            Err(reason) => send(socket, reply::text_resume_failed(reason)).await,
        }
    }
}

/// Shows how a download goes, until it is over or the connection is gone.
async fn show_pull(name: String, mut state: watch::Receiver<PullState>, out: mpsc::Sender<Wire>) {
    loop {
        let now = state.borrow_and_update().clone();
        let wire = match &now {
            PullState::Running(Progress::Fetching { have, size }) => {
                let share = *have as f64 / (*size).max(1) as f64;
                let text = format!("Downloading {name}: {:.0} %.", share * 100.0);
                reply::notice(MODEL, false, &text, Some(share), false)
            }
            PullState::Running(Progress::Waiting) => {
                let text = format!("Another program is downloading {name}.");
                reply::notice(MODEL, false, &text, None, false)
            }
            PullState::Running(Progress::Interrupted { why, .. }) => {
                let text = format!("Downloading {name}: {why}; it goes on in a moment.");
                reply::notice(MODEL, true, &text, None, false)
            }
            PullState::Running(Progress::Checking) => {
                reply::notice(MODEL, false, &format!("Checking {name}."), Some(1.0), false)
            }
            PullState::Done => {
                let text = format!("{name} is here. The next call is heard by it.");
                reply::notice(MODEL, false, &text, None, false)
            }
            PullState::Failed(why) => {
                let text = format!("{name} could not be downloaded: {why}");
                reply::offer(MODEL, &text, PULL, "Try again")
            }
        };
        if out.send(wire).await.is_err() || now.is_over() {
            return;
        }
        // A page needs no more than a few of them a second.
        tokio::time::sleep(PULL_SHOWN_EVERY).await;
        if state.changed().await.is_err() {
            return;
        }
    }
}

async fn send(socket: &mut WebSocket, wire: Wire) -> Result<(), End> {
    let message = match wire {
        Wire::Text(text) => Message::Text(text.into()),
        Wire::Binary(bytes) => Message::Binary(bytes.into()),
    };
    deliver(socket, message).await
}

async fn deliver(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match tokio::time::timeout(STUCK, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Dropped),
    }
}
