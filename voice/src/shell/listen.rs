//! The call's way to its transcriber: when an utterance begins, pauses and ends, and the half second
//! before it.
//!
//! Voice detection is late by its nature, so the sound before it is kept and goes first. An engine that
//! settles its text at a pause keeps the utterance open over it, because whole utterances are understood
//! better; the others are ended at every pause.

use crate::{
    audio::Frame,
    call::{Input, Ms},
    engine::{self, LISTEN_RATE, Session, SessionOptions, Transcriber},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Sound kept from before speech was detected: half a second (DESIGN section 4), in samples.
const PRE_ROLL: usize = LISTEN_RATE as usize / 2;

/// A pause that the call has not made into a turn after this long was followed by another utterance:
/// the longest wait of the endpointing is 3 s.
const ANOTHER_UTTERANCE: Ms = 3_500;

/// An engine that settles its text has so long for it after a pause; then the utterance is ended, and the
/// engine says what it heard or why it cannot. Half of the longest wait, so that its answer still counts.
const SETTLES_WITHIN: Duration = Duration::from_millis(1_500);

/// What to tell the call, and the caller.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub inputs: Vec<Input>,
    pub problem: Option<String>,
}

/// Listens for one call.
pub(super) struct Listener {
    transcriber: Option<Arc<dyn Transcriber>>,
    options: SessionOptions,
    session: Option<Session>,
    settles: bool,
    before: VecDeque<i16>,
    utterance: bool,
    speaking: bool,
    paused: Option<Ms>,
    /// The engine gave the whole text up to the pause.
    settled: bool,
    /// Until when it may.
    settles_by: Option<Instant>,
    lost: bool,
}

impl Listener {
    pub fn new(transcriber: Option<Arc<dyn Transcriber>>, options: SessionOptions) -> Self {
        Self {
            settles: transcriber.as_ref().is_some_and(|engine| engine.settles_at_pause()),
            transcriber,
            options,
            session: None,
            before: VecDeque::with_capacity(PRE_ROLL),
            utterance: false,
            speaking: false,
            paused: None,
            settled: false,
            settles_by: None,
            lost: false,
        }
    }

    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Opens the session; says what is wrong where that is not possible.
    pub fn open(&mut self) -> Option<String> {
        let Some(transcriber) = &self.transcriber else {
            return Some(
                "There is nothing here that understands speech. You can write instead.".into(),
            );
        };
        match transcriber.open(self.options.clone()) {
            Ok(session) => {
                self.session = Some(session);
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// 20 ms of the caller.
    pub fn frame(&mut self, frame: &Frame) {
        if self.utterance {
            if let Some(session) = &mut self.session {
                // An engine that is behind answers the utterance with a failure.
                let _ = session.audio(frame.samples());
            }
            return;
        }
        let over = (self.before.len() + frame.samples().len()).saturating_sub(PRE_ROLL);
        self.before.drain(..over.min(self.before.len()));
        self.before.extend(frame.samples());
    }

    /// The caller began to speak, or goes on.
    pub fn speech(&mut self, now: Ms) {
        self.speaking = true;
        let goes_on = self.utterance
            && self.paused.is_none_or(|paused| now.saturating_sub(paused) < ANOTHER_UTTERANCE);
        (self.paused, self.settles_by) = (None, None);
        let Some(session) = &mut self.session else { return };
        if goes_on {
            self.settled = false;
            let _ = session.resume();
            return;
        }
        if self.utterance {
            let _ = session.end();
        }
        self.begin();
    }

    fn begin(&mut self) {
        let Some(session) = &mut self.session else { return };
        if session.begin().is_err() {
            return;
        }
        (self.utterance, self.settled) = (true, false);
        let before: Vec<i16> = self.before.drain(..).collect();
        if !before.is_empty() {
            let _ = session.audio(&before);
        }
    }

    /// The caller paused.
    pub fn pause(&mut self, now: Ms) {
        self.speaking = false;
        self.paused = Some(now);
        let Some(session) = self.session.as_mut().filter(|_| self.utterance) else { return };
        if self.settles {
            let _ = session.pause();
            self.settles_by = Some(Instant::now() + SETTLES_WITHIN);
        } else {
            let _ = session.end();
            self.utterance = false;
        }
    }

    /// The turn that was being heard is over.
    pub fn turn_over(&mut self) {
        let Some(session) = self.session.as_mut().filter(|_| self.utterance) else { return };
        if self.settled && !self.speaking {
            let _ = session.abandon();
        } else {
            let _ = session.end();
        }
        (self.utterance, self.settles_by) = (false, None);
        if self.speaking {
            // Sound goes on although the turn is over: what is said in it belongs to the next.
            self.begin();
        }
    }

    /// The next thing heard. Never completes without a session. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Heard {
        let Some(session) = self.session.as_mut().filter(|_| !self.lost) else {
            return std::future::pending().await;
        };
        let settles_by = self.settles_by;
        let too_late = async {
            match settles_by {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = session.next() => self.understood(heard),
            () = too_late => {
                self.settles_by = None;
                if self.utterance {
                    let _ = session.end();
                    self.utterance = false;
                }
                Heard::default()
            }
        }
    }

    fn understood(&mut self, heard: Option<engine::Heard>) -> Heard {
        let one = |input| Heard { inputs: vec![input], problem: None };
        match heard {
            Some(engine::Heard::SpeechStart { .. }) => one(Input::SpeechStart),
            Some(engine::Heard::Interim { text, settled, .. }) => {
                // What was settled before speech went on is not any more.
                let settled = settled && !self.speaking && self.utterance;
                self.settled = settled;
                if settled {
                    self.settles_by = None;
                }
                if settled && text.trim().is_empty() {
                    // No words in it: the end of this utterance, not of the caller's patience.
                    if let Some(session) = &mut self.session {
                        let _ = session.abandon();
                    }
                    self.utterance = false;
                    return one(Input::Final { text: String::new() });
                }
                one(Input::Interim { text: text.0, settled })
            }
            Some(engine::Heard::Final { transcript, .. }) => {
                one(Input::Final { text: transcript.text.0 })
            }
            Some(engine::Heard::Failed { error, .. }) => Heard {
                inputs: vec![
                    Input::TranscriberFailed { lasting: false },
                    Input::Final { text: String::new() },
                ],
                problem: Some(error.to_string()),
            },
            Some(engine::Heard::Trouble { error }) => Heard {
                inputs: vec![Input::TranscriberFailed { lasting: false }],
                problem: Some(error.to_string()),
            },
            Some(engine::Heard::Broken { error }) => self.broken(error.to_string()),
            None => self.broken("The speech recogniser stopped.".into()),
        }
    }

    fn broken(&mut self, problem: String) -> Heard {
        (self.lost, self.utterance) = (true, false);
        Heard { inputs: vec![Input::TranscriberFailed { lasting: true }], problem: Some(problem) }
    }
}
