//! Engines on other machines.
//!
//! - [`openai`]: anything that speaks OpenAI's audio API, both ways;
//! - [`deepgram`]: transcription over a WebSocket, word by word.
//!
//! What always holds: keys do not reach `Debug`, the log or an error; every wait has a limit; what a server
//! sends is bounded before it is read; and a connection that is refused for good is told from one to be
//! tried again.

mod deepgram;
mod openai;

pub use deepgram::Deepgram;
pub use openai::{OpenAiEar, OpenAiMouth};

use super::{EngineName, Error};
use std::{fmt, time::Duration};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Most of a server's own message that is passed on, in characters.
const MESSAGE: usize = 200;

/// TLS has no default in this workspace; ring is what everything else uses.
fn install_crypto() {
    // Somebody else may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn unavailable(engine: &EngineName, what: impl fmt::Display) -> Error {
    Error::Unavailable { engine: engine.clone(), what: what.to_string() }
}

/// What a status other than success means, with the server's own words where it has some.
fn refused(engine: &EngineName, status: u16, body: &[u8]) -> Error {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    // Where the services have it: OpenAI, its imitators, Deepgram.
    let said = ["/error/message", "/error", "/err_msg", "/message", "/detail"]
        .iter()
        .find_map(|place| body.pointer(place).and_then(|text| text.as_str()));
    let said: String = said.unwrap_or_default().chars().take(MESSAGE).collect();
    let what =
        if said.is_empty() { format!("status {status}") } else { format!("{said} ({status})") };
    // Timeouts, too many requests, and the server's own faults pass.
    if matches!(status, 408 | 425 | 429) || status >= 500 {
        unavailable(engine, what)
    } else {
        Error::Refused { engine: engine.clone(), what }
    }
}
