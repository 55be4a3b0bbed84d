//! `deepgram:nova-3`: Deepgram's live transcription (`/v1/listen`), or a server that speaks its protocol.
//!
//! ```text
//! to it     binary: 16-bit samples   {"type":"Finalize"}   {"type":"KeepAlive"}   {"type":"CloseStream"}
//! from it   {"type":"Results", start, duration, is_final, from_finalize, channel}   {"type":"SpeechStarted"}
//! ```
//!
//! One connection for a session, opened with it. Where it breaks, a new one is made, and the sound of the
//! utterances that have no final yet is sent again, so nothing is lost but time. What belongs to which
//! utterance is told by the place in the stream that a result names, because the answer to `Finalize` is
//! not always marked and may be late.

mod scroll;

use super::{CONNECT, install_crypto, refused, unavailable};
use crate::engine::{
    EngineName, Error, Heard, LISTEN_RATE, Secret, Session, SessionOptions, Transcriber,
    transcriber::{Ear, session},
};
use futures_util::{SinkExt as _, StreamExt as _};
use scroll::{Results, Scroll};
use serde::Deserialize;
use std::{fmt, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self, Message, client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig,
    },
};

/// Where Deepgram is.
const BASE: &str = "wss://api.deepgram.com/v1/listen";

/// Silence of ours after which it is told that we are still there; it hangs up after ten seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// How long an ended utterance waits for its last words. Finals come within 0.35 s for 99 of 100.
const LAST_WORDS: Duration = Duration::from_millis(1_500);

/// How long the socket may refuse what we send.
const SEND: Duration = Duration::from_secs(5);

/// Before each new attempt to connect; after the last one the session is broken.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// How long a connection must last for the attempts to be counted anew.
const STABLE: Duration = Duration::from_secs(10);

/// Largest message taken; results have some kilobytes.
const LARGEST: usize = 256 * 1024;

/// Most samples in one message: 100 ms.
const PIECE: usize = LISTEN_RATE as usize / 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Deepgram with one model.
#[derive(Clone)]
pub struct Deepgram {
    name: EngineName,
    base: String,
    key: Secret,
}

impl fmt::Debug for Deepgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.base)
    }
}

impl Deepgram {
    /// With the model that `name` names; at `wss://api.deepgram.com/v1/listen` unless another address is
    /// given.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the address is no WebSocket's.
    pub fn new(name: EngineName, base: Option<&str>, key: Secret) -> Result<Self, Error> {
        let base = base.unwrap_or(BASE).trim_end_matches('/').to_owned();
        if !base.starts_with("ws://") && !base.starts_with("wss://") {
            return Err(Error::Invalid(format!(
                "{name}: the address of its server is not ws or wss"
            )));
        }
        install_crypto();
        Ok(Self { name, base, key })
    }

    async fn connect(&self, language: Option<&str>) -> Result<Socket, Error> {
        // Names hold nothing that would have to be escaped but a slash and a plus.
        let model = self.name.model().replace('/', "%2F").replace('+', "%2B");
        let mut address = format!(
            "{}?model={model}&encoding=linear16&sample_rate={LISTEN_RATE}&channels=1\
             &interim_results=true&vad_events=true&smart_format=true",
            self.base
        );
        if let Some(language) = language {
            address.push_str("&language=");
            address.push_str(language);
        }
        let mut request = address
            .into_client_request()
            .map_err(|_| Error::Invalid(format!("{}: its server's address is odd", self.name)))?;
        let mut key = HeaderValue::from_str(&format!("Token {}", self.key.reveal()))
            .map_err(|_| Error::Invalid(format!("{}: its key has odd characters", self.name)))?;
        key.set_sensitive(true);
        request.headers_mut().insert("authorization", key);
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST))
            .max_frame_size(Some(LARGEST));
        let connected =
            timeout(CONNECT, connect_async_with_config(request, Some(config), true)).await;
        match connected {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(refused(&self.name, response.status().as_u16(), body))
            }
            Ok(Err(_)) => Err(unavailable(&self.name, "it cannot be reached")),
            Err(_) => Err(unavailable(&self.name, "it did not answer in time")),
        }
    }
}

impl Transcriber for Deepgram {
    fn name(&self) -> &EngineName {
        &self.name
    }

    fn open(&self, options: SessionOptions) -> Result<Session, Error> {
        if let Some(language) = &options.language
            && !language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(Error::Invalid(format!("{language:?} is no language tag")));
        }
        let (session, ear) = session();
        tokio::spawn(listen(self.clone(), options, ear));
        Ok(session)
    }
}

/// Why a connection is over.
enum Over {
    /// The call has closed the session.
    Closed,
    /// It broke.
    Broke(Error),
}

/// A session, over as many connections as it takes.
async fn listen(engine: Deepgram, options: SessionOptions, mut ear: Ear) {
    let mut scroll = Scroll::new(options.interims);
    let mut attempt = 0;
    loop {
        let opened = Instant::now();
        let connecting = engine.connect(options.language.as_deref());
        let over = match connected(connecting, &mut ear, &mut scroll).await {
            Ok(socket) => converse(socket, &engine.name, &mut ear, &mut scroll).await,
            Err(over) => over,
        };
        let error = match over {
            Over::Closed => return,
            Over::Broke(error) => error,
        };
        if opened.elapsed() > STABLE {
            attempt = 0;
        }
        let wait = RETRIES.get(attempt).filter(|_| error.is_transient());
        attempt += 1;
        let Some(wait) = wait else {
            for heard in scroll.fail(&error) {
                ear.mouth.say(heard);
            }
            ear.mouth.say(Heard::Broken { error });
            return;
        };
        if !ear.mouth.say(Heard::Trouble { error }) {
            return;
        }
        // The call goes on meanwhile.
        let slept = async {
            sleep(*wait).await;
            Ok::<_, Error>(())
        };
        if let Err(Over::Closed) = connected(slept, &mut ear, &mut scroll).await {
            return;
        }
    }
}

/// Waits for something while taking what the call says.
async fn connected<T>(
    waiting: impl Future<Output = Result<T, Error>>,
    ear: &mut Ear,
    scroll: &mut Scroll,
) -> Result<T, Over> {
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            result = &mut waiting => return result.map_err(Over::Broke),
            command = ear.commands.recv() => {
                let Some(command) = command else { return Err(Over::Closed) };
                if let Some(heard) = scroll.command(command, Instant::now() + LAST_WORDS).said
                    && !ear.mouth.say(heard)
                {
                    return Err(Over::Closed);
                }
            }
        }
    }
}

/// One connection.
async fn converse(socket: Socket, name: &EngineName, ear: &mut Ear, scroll: &mut Scroll) -> Over {
    let (mut sink, mut stream) = socket.split();
    let broke = |what: &str| Over::Broke(unavailable(name, what));
    let mut to_send = scroll.reconnected(Instant::now() + LAST_WORDS);
    loop {
        if !to_send.is_empty() {
            let send = async {
                for message in to_send.drain(..) {
                    sink.feed(message).await?;
                }
                sink.flush().await
            };
            match timeout(SEND, send).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return broke("the connection broke off"),
                Err(_) => return broke("it stopped listening"),
            }
        }
        let now = Instant::now();
        let due = scroll.due();
        let heard = tokio::select! {
            command = ear.commands.recv() => {
                let Some(command) = command else {
                    // It answers with what is left, which nobody wants.
                    let _ = timeout(SEND, sink.send(text("CloseStream"))).await;
                    return Over::Closed;
                };
                let done = scroll.command(command, now + LAST_WORDS);
                to_send = done.send;
                done.said.into_iter().collect()
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(message))) => match serde_json::from_str(&message) {
                    Ok(From::Results(results)) => scroll.results(results),
                    Ok(From::SpeechStarted) => scroll.speech_started().into_iter().collect(),
                    Ok(From::Error { description }) => {
                        let what: String = description.chars().take(super::MESSAGE).collect();
                        return broke(&what);
                    }
                    // Metadata, and what later versions add.
                    Ok(From::Other) => Vec::new(),
                    Err(_) => return broke("it sent what is no JSON of its own"),
                },
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {
                    Vec::new()
                }
                Some(Ok(Message::Close(_))) | None => return broke("it closed the connection"),
                Some(Err(_)) => return broke("the connection broke off"),
            },
            () = sleep_until(due.unwrap_or(now + KEEP_ALIVE)), if due.is_some() => scroll.overdue(now),
            () = sleep(KEEP_ALIVE) => {
                to_send.push(text("KeepAlive"));
                Vec::new()
            }
        };
        for heard in heard {
            if !ear.mouth.say(heard) {
                return Over::Closed;
            }
        }
    }
}

fn text(kind: &str) -> Message {
    Message::text(serde_json::json!({ "type": kind }).to_string())
}

/// What Deepgram sends.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum From {
    Results(Results),
    SpeechStarted,
    Error {
        #[serde(default)]
        description: String,
    },
    #[serde(other)]
    Other,
}
