//! The telephone's side of the server in this benchmark: Twilio's messages on a WebSocket, and the call behind
//! them.
//!
//! It stands in for the Twilio transport: the same JSON with the same base64 mu-law in it, without Twilio's
//! signature and its webhook. Everything behind it is the program's own: how a call starts, the driver, the
//! agent and the history.

use crate::{
    desk::Desk,
    http,
    voice::{
        access::Caller,
        start::{self, Started, Terms},
    },
};
use anyhow::Context as _;
use axum::{
    Router,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
    serve::ListenerExt as _,
};
use data_encoding::BASE64;
use frontdesk_agents::{CallId, store::Who};
use frontdesk_voice::{
    audio::{Frame, Pcm, Rate, g711::Law},
    browser::StartCall,
    call::{Input, Output},
    shell::{Event, Handle},
};
use futures_util::SinkExt as _;
use serde::Deserialize;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// Events taken together, and so messages in one write: what a reply's beginning sends at once.
const TOGETHER: usize = 32;

/// Room for one message and the head of the next; a message has 350 bytes.
const READ_BUFFER: usize = 4 * 1024;

/// Where callers are put through to an agent.
pub(super) struct Exchange {
    pub address: SocketAddr,
    serving: JoinHandle<()>,
    lines: Arc<Lines>,
}

struct Lines {
    desk: Arc<Desk>,
    agent: String,
    /// Which caller has which call.
    calls: Mutex<Vec<(usize, CallId)>>,
}

impl Exchange {
    /// Serves calls to this agent on loopback.
    pub(super) async fn open(desk: Arc<Desk>, agent: &str) -> anyhow::Result<Self> {
        let lines = Arc::new(Lines { desk, agent: agent.into(), calls: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(http::without_delay);
        let routes = Router::new().route("/stream", get(upgrade)).with_state(lines.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the exchange failed");
            }
        });
        Ok(Self { address, serving, lines })
    }

    /// Which caller had which call, since it was last asked.
    pub(super) fn take_calls(&self) -> Vec<(usize, CallId)> {
        let mut calls = self.lines.calls.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *calls)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn upgrade(State(lines): State<Arc<Lines>>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(0);
    upgrade.on_upgrade(move |socket| async move {
        if let Err(error) = serve(&lines, socket).await {
            tracing::error!(%error, "a line of the benchmark broke");
        }
    })
}

/// What Twilio sends.
#[derive(Deserialize)]
struct Told<'a> {
    event: &'a str,
    #[serde(borrow)]
    start: Option<Begun<'a>>,
    #[serde(borrow)]
    media: Option<Media<'a>>,
    #[serde(borrow)]
    mark: Option<Mark<'a>>,
}

#[derive(Deserialize)]
struct Begun<'a> {
    #[serde(rename = "callSid")]
    call: &'a str,
}

#[derive(Deserialize)]
struct Media<'a> {
    payload: &'a str,
}

#[derive(Deserialize)]
struct Mark<'a> {
    name: &'a str,
}

async fn serve(lines: &Lines, mut socket: WebSocket) -> anyhow::Result<()> {
    let caller = loop {
        let Some(Message::Text(text)) = socket.recv().await.transpose()? else { return Ok(()) };
        let told: Told = serde_json::from_str(&text).context("the caller's message")?;
        if let Some(begun) = told.start {
            break begun.call.parse().context("callSid is a caller's number")?;
        }
    };
    let Started { handle, mut events, call, place: _place, .. } =
        begin(lines, caller).await.map_err(anyhow::Error::msg)?;
    lines.calls.lock().unwrap_or_else(PoisonError::into_inner).push((caller, call));

    let mut some = Vec::with_capacity(TOGETHER);
    let mut codes = Vec::with_capacity(Rate::Hz8000.frame_len());
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => hear(&handle, &text)?,
                // A caller who is done drops the line.
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    handle.input(Input::HungUp);
                    return Ok(());
                }
                Some(Ok(_)) => {}
            },
            count = events.recv_many(&mut some, TOGETHER) => {
                if count == 0 {
                    return Ok(());
                }
                // A caller who is gone is noticed above.
                for event in some.drain(..) {
                    if let Some(text) = show(event, &mut codes) {
                        socket.feed(Message::Text(text.into())).await?;
                    }
                }
                socket.flush().await?;
            }
        }
    }
}

async fn begin(lines: &Lines, caller: usize) -> Result<Started, String> {
    let desk = &lines.desk;
    let calls = desk.calls.get().ok_or("the server does not run")?;
    let known = desk.directory.by_name(&lines.agent).ok_or("there is no such agent")?;
    let session = format!("phone:{caller}");
    let who = Caller {
        who: Who::Visitor { session: session.clone() },
        name: None,
        proof: String::new(),
        identity: session,
        may_pull: false,
    };
    let terms = Terms::telephone("+15550100");
    start::start(desk, calls, &known, &who, "bench", &StartCall::default(), terms).await
}

fn hear(handle: &Handle, text: &str) -> anyhow::Result<()> {
    let told: Told = serde_json::from_str(text).context("the caller's message")?;
    match (told.event, told.media, told.mark) {
        ("media", Some(media), _) => {
            let codes = BASE64.decode(media.payload.as_bytes()).context("the payload")?;
            let mut samples = Vec::with_capacity(codes.len());
            Law::Mu.decode_all(&codes, &mut samples);
            handle.input(Input::Audio { sound: Pcm::new(Rate::Hz8000, samples) });
        }
        ("mark", _, Some(mark)) => {
            let (stretch, samples) =
                mark.name.split_once(':').context("the mark is one of ours")?;
            let (stretch, samples) = (stretch.parse()?, samples.parse()?);
            handle.input(Input::Played { stretch, samples });
        }
        ("stop", ..) => {
            handle.input(Input::HungUp);
        }
        _ => {}
    }
    Ok(())
}

/// What Twilio is told, if it is.
fn show(event: Event, codes: &mut Vec<u8>) -> Option<String> {
    match event {
        Event::Call(Output::Audio { frame, .. }) => Some(media(&frame, codes)),
        Event::Call(Output::Mark { stretch, samples }) => Some(format!(
            r#"{{"event":"mark","streamSid":"MZ0","mark":{{"name":"{stretch}:{samples}"}}}}"#
        )),
        Event::Call(Output::Clear { .. }) => {
            Some(r#"{"event":"clear","streamSid":"MZ0"}"#.to_owned())
        }
        _ => None,
    }
}

fn media(frame: &Frame, codes: &mut Vec<u8>) -> String {
    codes.clear();
    Law::Mu.encode_all(frame.samples(), codes);
    let mut text = String::with_capacity(300);
    text.push_str(r#"{"event":"media","streamSid":"MZ0","media":{"payload":""#);
    BASE64.encode_append(codes, &mut text);
    text.push_str(r#""}}"#);
    text
}
