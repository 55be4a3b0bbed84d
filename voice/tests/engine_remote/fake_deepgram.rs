//! A server with Deepgram's live protocol. Its words are the places in the stream, so that a test sees what
//! sound they were made of.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// What a connection does.
#[derive(Clone, Copy)]
pub enum Act {
    /// Its job.
    Serve,
    /// Its job, but it does not mark the answer to `Finalize`.
    Unmarked,
    /// Its job, answering `Finalize` only when there is this much sound after it, in milliseconds.
    Late(u64),
    /// Breaks the connection after this much sound, in milliseconds.
    Break(u64),
    /// Says that something is wrong at the first sound.
    Error,
    /// Answers the request with this status.
    Refuse(u16),
}

/// What the server saw.
#[derive(Debug, PartialEq)]
pub enum Saw {
    Connected {
        query: String,
        key: String,
    },
    Control(String),
    /// The connection ended after this much sound, in milliseconds.
    Ended(u64),
}

/// Starts it, with what each connection does; returns its address and what it sees.
pub async fn start(acts: impl IntoIterator<Item = Act>) -> (String, UnboundedReceiver<Saw>) {
    let (saw, seen) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}/v1/listen", listener.local_addr().unwrap());
    let acts: Vec<_> = acts.into_iter().collect();
    tokio::spawn(async move {
        for act in acts {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, act, saw.clone()));
        }
    });
    (base, seen)
}

async fn serve(stream: TcpStream, act: Act, saw: UnboundedSender<Saw>) {
    // The shape of the callback is the library's.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        if let Act::Refuse(status) = act {
            let body = json!({"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials.",
                "request_id": "0"});
            let mut refusal = ErrorResponse::new(Some(body.to_string()));
            *refusal.status_mut() = status.try_into().unwrap();
            return Err(refusal);
        }
        assert_eq!(request.uri().path(), "/v1/listen");
        let key = request.headers()["authorization"].to_str().unwrap().to_owned();
        let query = request.uri().query().unwrap().to_owned();
        let _ = saw.send(Saw::Connected { query, key });
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
    // In milliseconds: all sound, the end of the last final, the end of the last interim.
    let (mut at, mut final_to, mut shown_to) = (0_u64, 0_u64, 0_u64);
    let mut asked = None;
    while let Some(Ok(message)) = socket.next().await {
        let mut answers = Vec::new();
        match message {
            Message::Binary(sound) => {
                assert!(sound.len() % 2 == 0 && !sound.is_empty());
                if at == 0 {
                    answers
                        .push(json!({"type": "SpeechStarted", "channel": [0], "timestamp": 0.0}));
                }
                at += sound.len() as u64 / 32;
                match act {
                    Act::Break(after) if at >= after => break,
                    Act::Error => {
                        answers = vec![json!({"type": "Error", "description": "out of credit",
                            "message": "", "variant": ""})];
                    }
                    _ if at >= shown_to + 400 => {
                        shown_to = at;
                        answers.push(results(final_to, at, false, false));
                    }
                    _ => {}
                }
            }
            Message::Text(text) => {
                let control: Value = serde_json::from_str(&text).unwrap();
                let kind = control["type"].as_str().unwrap().to_owned();
                if kind == "Finalize" {
                    asked = Some(at);
                }
                let close = kind == "CloseStream";
                let _ = saw.send(Saw::Control(kind));
                if close {
                    break;
                }
            }
            _ => {}
        }
        let late = if let Act::Late(ms) = act { ms } else { 0 };
        if let Some(to) = asked.take_if(|to| at >= *to + late) {
            answers.push(results(final_to, to, true, !matches!(act, Act::Unmarked)));
            (final_to, shown_to) = (to, at);
        }
        for answer in answers {
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                break;
            }
        }
    }
    let _ = saw.send(Saw::Ended(at));
}

fn results(from: u64, to: u64, is_final: bool, from_finalize: bool) -> Value {
    json!({
        "type": "Results",
        "channel_index": [0, 1],
        "start": from as f64 / 1_000.0,
        "duration": (to - from) as f64 / 1_000.0,
        "is_final": is_final,
        "speech_final": is_final,
        "from_finalize": from_finalize,
        "channel": {"alternatives": [
            {"transcript": format!("{from} to {to}"), "confidence": 0.98, "words": []},
        ]},
        "metadata": {"request_id": "0", "model_uuid": "0"},
    })
}
