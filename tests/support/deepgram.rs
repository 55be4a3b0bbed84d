//! A server with Deepgram's live protocol, as far as a call needs it. It hears what it is told to hear.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// What a connection does.
#[derive(Clone, Copy)]
pub enum Line {
    /// Hears this in every utterance.
    Hears(&'static str),
    /// Hears this in its first utterance, and breaks off in the middle of the second.
    BreaksAfter(&'static str),
    /// Is refused: the key is no longer good.
    Refused,
}

/// Starts it, with what each connection does in turn; gives its address.
pub async fn start(lines: impl IntoIterator<Item = Line>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}/v1/listen", listener.local_addr().unwrap());
    let lines: Vec<Line> = lines.into_iter().collect();
    tokio::spawn(async move {
        for line in lines {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, line));
        }
    });
    base
}

/// Half a second of sound, in bytes.
const HALF_A_SECOND: usize = 16_000;

async fn serve(stream: TcpStream, line: Line) {
    // The shape of the callback is the library's.
    #[allow(clippy::result_large_err)]
    let check = |_: &Request, response: Response| -> Result<Response, ErrorResponse> {
        if !matches!(line, Line::Refused) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(Some("{}".into()));
        *refusal.status_mut() = 401.try_into().unwrap();
        Err(refusal)
    };
    let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
    let (text, breaks) = match line {
        Line::Hears(text) => (text, false),
        Line::BreaksAfter(text) => (text, true),
        Line::Refused => return,
    };
    let (mut received, mut answered, mut utterances) = (0, 0, 0);
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(sound) => received += sound.len(),
            Message::Text(control) => {
                let control: Value = serde_json::from_str(&control).unwrap();
                if control["type"] == "Finalize" {
                    utterances += 1;
                    let seconds = |bytes: usize| bytes as f64 / 32_000.0;
                    let results = json!({
                        "type": "Results", "is_final": true, "from_finalize": true,
                        "start": seconds(answered), "duration": seconds(received - answered),
                        "channel": { "alternatives": [{ "transcript": text, "confidence": 0.9 }] },
                    });
                    answered = received;
                    let _ = socket.send(Message::text(results.to_string())).await;
                }
            }
            _ => {}
        }
        if breaks && utterances == 1 && received - answered > HALF_A_SECOND {
            return;
        }
    }
}
