//! A server with OpenAI's two audio endpoints. It is as strict as the real one, and does what it is told.

use axum::{
    Json, Router,
    body::Body,
    extract::{Multipart, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// What to do with the next request.
pub enum Act {
    /// Say this.
    Text(&'static str),
    /// This status, with a message.
    Status(u16, &'static str),
    /// Never answer.
    Hang,
    /// These pieces of sound, and then the end, or a broken connection.
    Sound(Vec<Vec<u8>>, End),
}

/// How sound ends.
pub enum End {
    Well,
    Broken,
    Never,
}

/// What the server saw.
#[derive(Debug, PartialEq)]
pub enum Saw {
    Transcription {
        fields: Vec<(String, String)>,
        wav: Vec<u8>,
    },
    Speech(Value),
    /// The client went away before the end.
    Gone,
}

#[derive(Clone)]
struct Script {
    acts: Arc<Mutex<VecDeque<Act>>>,
    saw: UnboundedSender<Saw>,
}

/// Starts it; returns its address and what it sees.
pub async fn start(acts: impl IntoIterator<Item = Act>) -> (String, UnboundedReceiver<Saw>) {
    let (saw, seen) = unbounded_channel();
    let script = Script { acts: Arc::new(Mutex::new(acts.into_iter().collect())), saw };
    let app = Router::new()
        .route("/v1/audio/transcriptions", post(transcriptions))
        .route("/v1/audio/speech", post(speech))
        .with_state(script);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, seen)
}

/// Tells when it is dropped before its work is done.
struct Guard(Option<UnboundedSender<Saw>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(saw) = self.0.take() {
            let _ = saw.send(Saw::Gone);
        }
    }
}

fn unauthorized(headers: &HeaderMap) -> Option<Response> {
    let key = headers.get("authorization").and_then(|value| value.to_str().ok());
    (key != Some("Bearer sk-test")).then(|| error(401, "Incorrect API key provided"))
}

fn error(status: u16, message: &str) -> Response {
    let kind = "invalid_request_error";
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

async fn act(script: &Script) -> Response {
    let act = script.acts.lock().unwrap().pop_front();
    match act.expect("a request nobody expected") {
        Act::Text(text) => Json(json!({
            "task": "transcribe",
            "language": "english",
            "duration": 1.0,
            "text": text,
            "segments": [
                {"id": 0, "text": text, "avg_logprob": -0.105, "no_speech_prob": 0.01},
            ],
        }))
        .into_response(),
        Act::Status(status, message) => error(status, message),
        Act::Hang => {
            let _guard = Guard(Some(script.saw.clone()));
            std::future::pending().await
        }
        Act::Sound(pieces, end) => {
            let state = (VecDeque::from(pieces), end, Guard(Some(script.saw.clone())));
            let body = stream::unfold(state, |(mut pieces, end, mut guard)| async move {
                // Each in a packet of its own.
                tokio::task::yield_now().await;
                if let Some(piece) = pieces.pop_front() {
                    return Some((Ok(piece), (pieces, end, guard)));
                }
                match end {
                    End::Well => {
                        drop(guard.0.take());
                        None
                    }
                    End::Never => std::future::pending().await,
                    End::Broken => {
                        Some((Err(std::io::Error::other("broken")), (pieces, End::Never, guard)))
                    }
                }
            });
            ([("content-type", "audio/pcm")], Body::from_stream(body)).into_response()
        }
    }
}

async fn transcriptions(
    State(script): State<Script>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Response {
    if let Some(response) = unauthorized(&headers) {
        return response;
    }
    let (mut fields, mut wav) = (Vec::new(), Vec::new());
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        if name == "file" {
            // The real one goes by the extension.
            assert_eq!(field.file_name(), Some("utterance.wav"));
            assert_eq!(field.content_type(), Some("audio/wav"));
            wav = field.bytes().await.unwrap().to_vec();
        } else {
            fields.push((name, field.text().await.unwrap()));
        }
    }
    fields.sort();
    script.saw.send(Saw::Transcription { fields, wav }).unwrap();
    act(&script).await
}

async fn speech(
    State(script): State<Script>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Some(response) = unauthorized(&headers) {
        return response;
    }
    script.saw.send(Saw::Speech(body)).unwrap();
    act(&script).await
}
