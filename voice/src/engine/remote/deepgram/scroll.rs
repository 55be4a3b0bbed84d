//! What was sent and what came back, by utterance. Without socket or clock.

use super::{PIECE, text};
use crate::engine::{
    Error, Heard, LISTEN_RATE, MAX_UTTERANCE_SECS, Transcript, Utterance, transcriber::Command,
};
use serde::Deserialize;
use std::collections::VecDeque;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// How many ended utterances may wait for their last words; each waits for [`super::LAST_WORDS`] at most
/// while connected, so more of them means that the connection is gone.
const CLOSING: usize = 4;

/// A `Results` message.
#[derive(Deserialize)]
pub struct Results {
    /// Where in the stream it starts, in seconds.
    start: f64,
    /// How long it is, in seconds.
    duration: f64,
    #[serde(default)]
    is_final: bool,
    /// Its own detector says that the speaker has stopped.
    #[serde(default)]
    speech_final: bool,
    #[serde(default)]
    from_finalize: bool,
    channel: Channel,
}

#[derive(Deserialize)]
struct Channel {
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    #[serde(default)]
    transcript: String,
    #[serde(default)]
    confidence: Option<f32>,
}

/// What a command leads to.
#[derive(Default)]
pub struct Done {
    /// To send, if connected.
    pub send: Vec<Message>,
    /// To say.
    pub said: Option<Heard>,
}

/// The utterances without a final, oldest first; the last one may still be open.
pub struct Scroll {
    interims: bool,
    utterances: VecDeque<Speech>,
    /// Samples sent over this connection.
    sent: u64,
}

struct Speech {
    utterance: Utterance,
    /// Its sound, to be sent again over a new connection.
    sound: Vec<i16>,
    /// Where in the stream of this connection it starts.
    from: u64,
    /// When to stop waiting for its last words; set at its end.
    until: Option<Instant>,
    finals: Vec<String>,
    interim: String,
    confidence: Option<f32>,
    started: bool,
    truncated: bool,
}

impl Scroll {
    pub fn new(interims: bool) -> Self {
        Self { interims, utterances: VecDeque::new(), sent: 0 }
    }

    /// Takes what the call says. `until` is when an utterance that ends now stops waiting.
    pub fn command(&mut self, command: Command, until: Instant) -> Done {
        let mut done = Done::default();
        match command {
            Command::Begin(utterance) => {
                self.utterances.pop_back_if(|speech| speech.until.is_none());
                self.utterances.push_back(Speech::new(utterance, self.sent));
            }
            Command::Audio(samples) => {
                let Some(speech) = self.open() else { return done };
                let room = (LISTEN_RATE * MAX_UTTERANCE_SECS) as usize - speech.sound.len();
                speech.truncated |= samples.len() > room;
                let samples = &samples[..samples.len().min(room)];
                speech.sound.extend_from_slice(samples);
                self.sent += samples.len() as u64;
                done.send = pieces(samples);
            }
            // Words come as they are spoken.
            Command::Pause | Command::Resume | Command::Expect(_) => {}
            Command::End { lost } => {
                let Some(speech) = self.open() else { return done };
                speech.until = Some(until);
                done.send.push(text("Finalize"));
                let closing = self.utterances.len();
                let gone = if lost {
                    self.utterances.pop_back()
                } else {
                    (closing > CLOSING).then(|| self.utterances.pop_front()).flatten()
                };
                done.said = gone.map(|speech| speech.failed(Error::Behind));
            }
            Command::Abandon => self.utterances.clear(),
        }
        done
    }

    /// A new connection: everything without a final is sent again.
    pub fn reconnected(&mut self, until: Instant) -> Vec<Message> {
        let mut send = Vec::new();
        self.sent = 0;
        for speech in &mut self.utterances {
            speech.from = self.sent;
            speech.finals.clear();
            speech.interim.clear();
            speech.confidence = None;
            self.sent += speech.sound.len() as u64;
            send.extend(pieces(&speech.sound));
            if speech.until.is_some() {
                speech.until = Some(until);
                send.push(text("Finalize"));
            }
        }
        send
    }

    /// Words.
    pub fn results(&mut self, results: Results) -> Vec<Heard> {
        let middle = (results.start + results.duration / 2.0).max(0.0) * f64::from(LISTEN_RATE);
        let Some(at) = self.utterances.iter().rposition(|speech| speech.from as f64 <= middle)
        else {
            return Vec::new();
        };
        let speech = &mut self.utterances[at];
        let alternative = results.channel.alternatives.into_iter().next();
        let (words, confidence) =
            alternative.map_or((String::new(), None), |best| (best.transcript, best.confidence));
        if results.is_final {
            speech.interim.clear();
            if !words.is_empty() {
                speech.finals.push(words);
                let least = |sure: f32| speech.confidence.map_or(sure, |least| least.min(sure));
                speech.confidence = confidence.map(least).or(speech.confidence);
            }
        } else {
            speech.interim = words;
        }
        let mut heard = Vec::new();
        let so_far = speech.text();
        if !so_far.is_empty() {
            heard.extend(speech.start());
            if self.interims {
                let utterance = speech.utterance;
                let settled = results.is_final && results.speech_final;
                heard.push(Heard::Interim { utterance, text: so_far.into(), settled });
            }
        }
        if results.from_finalize && speech.until.is_some() {
            // What is before it in the stream is done as well.
            heard.extend(self.utterances.drain(..=at).map(Speech::over));
        }
        heard
    }

    /// Its own detector hears speech.
    pub fn speech_started(&mut self) -> Option<Heard> {
        self.open().and_then(Speech::start)
    }

    /// When the first ended utterance stops waiting.
    pub fn due(&self) -> Option<Instant> {
        self.utterances.front().and_then(|speech| speech.until)
    }

    /// Answers those that have waited long enough with what there is.
    pub fn overdue(&mut self, now: Instant) -> Vec<Heard> {
        let mut heard = Vec::new();
        let is_due = |speech: &mut Speech| speech.until.is_some_and(|until| until <= now);
        while let Some(speech) = self.utterances.pop_front_if(is_due) {
            heard.push(speech.over());
        }
        heard
    }

    /// There will be no more words: what has ended fails.
    pub fn fail(&mut self, error: &Error) -> Vec<Heard> {
        let ended = self.utterances.drain(..).filter(|speech| speech.until.is_some());
        ended.map(|speech| speech.failed(error.clone())).collect()
    }

    fn open(&mut self) -> Option<&mut Speech> {
        self.utterances.back_mut().filter(|speech| speech.until.is_none())
    }
}

impl Speech {
    fn new(utterance: Utterance, from: u64) -> Self {
        Self {
            utterance,
            sound: Vec::new(),
            from,
            until: None,
            finals: Vec::new(),
            interim: String::new(),
            confidence: None,
            started: false,
            truncated: false,
        }
    }

    fn start(&mut self) -> Option<Heard> {
        let utterance = self.utterance;
        (!std::mem::replace(&mut self.started, true)).then_some(Heard::SpeechStart { utterance })
    }

    fn text(&self) -> String {
        let mut text = self.finals.join(" ");
        if !text.is_empty() && !self.interim.is_empty() {
            text.push(' ');
        }
        text.push_str(&self.interim);
        text
    }

    fn over(self) -> Heard {
        let text = self.text().into();
        let transcript = Transcript {
            text,
            confidence: self.confidence,
            truncated: self.truncated,
            dropped: None,
        };
        Heard::Final { utterance: self.utterance, transcript }
    }

    fn failed(self, error: Error) -> Heard {
        Heard::Failed { utterance: self.utterance, error }
    }
}

/// Samples as messages.
fn pieces(samples: &[i16]) -> Vec<Message> {
    samples
        .chunks(PIECE)
        .map(|piece| {
            let bytes: Vec<u8> = piece.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            Message::binary(bytes)
        })
        .collect()
}
