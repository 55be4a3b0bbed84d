//! Engines on other machines, against servers on loopback that speak their protocols.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![cfg(feature = "remote")]

mod deepgram;
mod fake_deepgram;
mod fake_openai;
mod openai;

use frontdesk_voice::engine::{Error, Heard, Session, Transcript, Utterance};
use std::time::Duration;
use tokio::time::timeout;

/// Nothing here takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sound that has a voice in it, as far as loudness tells.
fn voice(ms: usize) -> Vec<i16> {
    (0..ms * 16).map(|n| ((n as f32 * 0.3).sin() * 6_000.0) as i16).collect()
}

fn hear(session: &mut Session, samples: &[i16]) {
    for frame in samples.chunks(320) {
        session.audio(frame).unwrap();
    }
}

async fn next(session: &mut Session) -> Option<Heard> {
    timeout(PATIENCE, session.next()).await.unwrap()
}

/// What is said about an utterance up to its answer, and that.
async fn answer(
    session: &mut Session,
    wanted: Utterance,
) -> (Vec<Heard>, Result<Transcript, Error>) {
    let mut before = Vec::new();
    loop {
        match next(session).await.expect("the session is open") {
            Heard::Final { utterance, transcript } => {
                assert_eq!(utterance, wanted);
                return (before, Ok(transcript));
            }
            Heard::Failed { utterance, error } => {
                assert_eq!(utterance, wanted);
                return (before, Err(error));
            }
            other => before.push(other),
        }
    }
}
