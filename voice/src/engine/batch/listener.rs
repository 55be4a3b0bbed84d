//! The session of an engine that decodes whole utterances, as a state machine.

use super::{
    Purpose,
    gate::{Loudness, SHORTEST_MS, judge, loudness},
};
use crate::engine::{
    Dropped, Error, Heard, LISTEN_RATE, MAX_UTTERANCE_SECS, Transcript, Utterance,
    transcriber::Command,
};
use std::collections::VecDeque;

/// When the first interim text is asked for, in samples: as soon as there may be a few words, because they
/// decide whether a caller who talks over the agent interrupts it.
const FIRST_INTERIM: usize = LISTEN_RATE as usize * 7 / 10;

/// How much new sound makes another interim text worth its price.
const NEXT_INTERIM: usize = LISTEN_RATE as usize;

/// Where a long utterance may be cut, before the end of the window: the quietest place in these samples.
const CUT_WITHIN: usize = LISTEN_RATE as usize * 5;

/// How long that place is.
const CUT_QUIET: usize = LISTEN_RATE as usize / 10;

/// How many ended utterances may wait for their words. A turn is at least half a second of silence, so
/// whoever has five of them waiting is seconds behind; the oldest is given up.
const CLOSING: usize = 4;

/// Which decode of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked(u64);

/// What a decoder made of some sound.
#[derive(Clone, PartialEq, Default)]
pub struct Decoded {
    /// The words, not judged yet.
    pub text: String,
    /// How likely nobody spoke, 0 to 1, where the model says.
    pub no_speech: Option<f32>,
    /// The mean probability of the words, where the model says.
    pub confidence: Option<f32>,
}

/// What a caller said is private.
impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoded({} bytes, {:?}, {:?})", self.text.len(), self.no_speech, self.confidence)
    }
}

/// What the decoder can take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest sound it takes at once, in samples.
    pub window: usize,
    /// Whether interim text while the caller speaks is worth its price.
    pub interims: bool,
}

impl Limits {
    /// How many decodes a session may have asked for and not got back, cancelled ones included: an
    /// interim, a pause and its parts, and those of the utterances that are closing.
    pub const OUTSTANDING: usize = 16;
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// The call says something.
    Command(Command),
    /// A decode is done. Every one asked for comes back once.
    Decoded(Asked, Result<Decoded, Error>),
}

/// What a session wants done.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Decode this.
    Decode {
        /// Its number.
        asked: Asked,
        /// What for.
        purpose: Purpose,
        /// The sound.
        samples: Vec<i16>,
    },
    /// No longer wanted; what comes back is ignored.
    Cancel(Asked),
    /// Somebody waits for it now.
    Hurry(Asked),
    /// Tell the call.
    Say(Heard),
}

/// See the [module](super).
#[derive(Debug)]
pub struct Listener {
    limits: Limits,
    current: Option<Speech>,
    closing: VecDeque<Speech>,
    asked: u64,
    outstanding: usize,
    outputs: Vec<Output>,
}

/// One utterance.
#[derive(Debug)]
struct Speech {
    utterance: Utterance,
    /// Parts cut off its front because of the window.
    parts: Vec<Piece>,
    /// What is not in a part yet.
    tail: Vec<i16>,
    total: usize,
    truncated: bool,
    started: bool,
    shown: String,
    interim: Option<Asked>,
    next_interim: usize,
    /// The tail as decoded at the pause, or at the end.
    last: Option<Piece>,
}

/// Some of an utterance that is being decoded for its final.
#[derive(Debug)]
struct Piece {
    asked: Asked,
    sound: Loudness,
    result: Option<Result<Judged, Error>>,
}

#[derive(Debug, Clone)]
struct Judged {
    text: Result<String, Dropped>,
    confidence: Option<f32>,
}

impl Listener {
    /// A new session.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            current: None,
            closing: VecDeque::new(),
            asked: 0,
            outstanding: 0,
            outputs: Vec::new(),
        }
    }

    /// Takes what happened and says what to do, in order.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Command(Command::Begin(utterance)) => {
                self.drop_current();
                self.current = Some(Speech::new(utterance));
            }
            Input::Command(Command::Audio(samples)) => self.audio(&samples),
            Input::Command(Command::Pause) => self.pause(),
            Input::Command(Command::Resume) => {
                if let Some(piece) = self.current.as_mut().and_then(|speech| speech.last.take()) {
                    self.cancel(&piece);
                }
            }
            Input::Command(Command::End { lost }) => self.end(lost),
            Input::Command(Command::Abandon) => {
                self.drop_current();
                for speech in std::mem::take(&mut self.closing) {
                    self.drop_speech(speech);
                }
            }
            // Nothing here has grammars.
            Input::Command(Command::Expect(_)) => {}
            Input::Decoded(asked, result) => {
                self.outstanding = self.outstanding.saturating_sub(1);
                self.decoded(asked, result);
            }
        }
        self.finish();
        std::mem::take(&mut self.outputs)
    }

    fn audio(&mut self, samples: &[i16]) {
        let Some(mut speech) = self.current.take() else { return };
        if speech.total + samples.len() > (LISTEN_RATE * MAX_UTTERANCE_SECS) as usize {
            speech.truncated = true;
            self.current = Some(speech);
            return;
        }
        speech.tail.extend_from_slice(samples);
        speech.total += samples.len();
        if speech.tail.len() > self.limits.window {
            self.cut(&mut speech);
        }
        let wanted = self.limits.interims
            && speech.interim.is_none()
            && speech.last.is_none()
            && speech.total >= speech.next_interim
            && self.outstanding < Limits::OUTSTANDING / 2;
        if wanted {
            speech.next_interim = speech.total + NEXT_INTERIM;
            speech.interim = self.ask(Purpose::Interim, speech.tail.clone());
        }
        self.current = Some(speech);
    }

    /// Hands the front of a long utterance over.
    fn cut(&mut self, speech: &mut Speech) {
        if let Some(piece) = speech.last.take() {
            self.cancel(&piece);
        }
        if let Some(asked) = speech.interim.take() {
            self.outputs.push(Output::Cancel(asked));
        }
        let at = quietest(&speech.tail);
        let rest = speech.tail.split_off(at);
        let front = std::mem::replace(&mut speech.tail, rest);
        let piece = self.piece(Purpose::Part, front);
        speech.parts.push(piece);
    }

    fn pause(&mut self) {
        let Some(mut speech) = self.current.take() else { return };
        if speech.last.is_none() && !speech.tail.is_empty() {
            if let Some(asked) = speech.interim.take() {
                self.outputs.push(Output::Cancel(asked));
            }
            speech.last = Some(self.piece(Purpose::Pause, speech.tail.clone()));
        }
        self.current = Some(speech);
    }

    fn end(&mut self, lost: bool) {
        let Some(mut speech) = self.current.take() else { return };
        if lost {
            let utterance = speech.utterance;
            self.drop_speech(speech);
            self.outputs.push(Output::Say(Heard::Failed { utterance, error: Error::Behind }));
            return;
        }
        if let Some(asked) = speech.interim.take() {
            self.outputs.push(Output::Cancel(asked));
        }
        // A pause that failed, because it was shed perhaps, has to be tried again.
        if speech.last.as_ref().is_some_and(|piece| matches!(piece.result, Some(Err(_)))) {
            speech.last = None;
        }
        let tail = std::mem::take(&mut speech.tail);
        if speech.last.is_none() {
            speech.last = Some(self.piece(Purpose::Final, tail));
        }
        for piece in speech.parts.iter().chain(&speech.last) {
            if piece.result.is_none() {
                self.outputs.push(Output::Hurry(piece.asked));
            }
        }
        self.closing.push_back(speech);
        if self.closing.len() > CLOSING
            && let Some(oldest) = self.closing.pop_front()
        {
            let utterance = oldest.utterance;
            self.drop_speech(oldest);
            self.outputs.push(Output::Say(Heard::Failed { utterance, error: Error::Behind }));
        }
    }

    fn decoded(&mut self, asked: Asked, result: Result<Decoded, Error>) {
        if let Some(speech) = &mut self.current {
            if speech.interim == Some(asked) {
                speech.interim = None;
                // One that failed or was shed is replaced by the next.
                if let Ok(decoded) = result {
                    let sound = loudness(&speech.tail);
                    let judged = Judged::new(&decoded, sound);
                    speech.show(judged.text.unwrap_or_default(), false, &mut self.outputs);
                }
                return;
            }
            if let Some(piece) = speech.last.as_mut().filter(|piece| piece.asked == asked) {
                piece.take(result);
                if let Some(Ok(judged)) = &piece.result {
                    let text = judged.text.clone().unwrap_or_default();
                    speech.show(text, true, &mut self.outputs);
                }
                return;
            }
        }
        let everywhere = self.closing.iter_mut().chain(&mut self.current);
        let mut pieces =
            everywhere.flat_map(|speech| speech.parts.iter_mut().chain(&mut speech.last));
        if let Some(piece) = pieces.find(|piece| piece.asked == asked) {
            piece.take(result);
        }
    }

    /// Answers what is complete, in the order it was said.
    fn finish(&mut self) {
        while let Some(speech) = self.closing.pop_front_if(|speech| speech.is_complete()) {
            let utterance = speech.utterance;
            let heard = match speech.transcript() {
                Ok(transcript) => Heard::Final { utterance, transcript },
                Err(error) => Heard::Failed { utterance, error },
            };
            self.outputs.push(Output::Say(heard));
        }
    }

    /// Asks for a piece of a final; sound without a voice in it is not worth asking about.
    fn piece(&mut self, purpose: Purpose, samples: Vec<i16>) -> Piece {
        let sound = loudness(&samples);
        if sound.voiced_ms < SHORTEST_MS {
            let silence = Judged { text: Ok(String::new()), confidence: None };
            return Piece { asked: self.number(), sound, result: Some(Ok(silence)) };
        }
        match self.ask(purpose, samples) {
            Some(asked) => Piece { asked, sound, result: None },
            None => Piece { asked: self.number(), sound, result: Some(Err(Error::Behind)) },
        }
    }

    fn ask(&mut self, purpose: Purpose, samples: Vec<i16>) -> Option<Asked> {
        if self.outstanding >= Limits::OUTSTANDING {
            return None;
        }
        self.outstanding += 1;
        let asked = self.number();
        self.outputs.push(Output::Decode { asked, purpose, samples });
        Some(asked)
    }

    fn number(&mut self) -> Asked {
        self.asked += 1;
        Asked(self.asked)
    }

    fn cancel(&mut self, piece: &Piece) {
        if piece.result.is_none() {
            self.outputs.push(Output::Cancel(piece.asked));
        }
    }

    fn drop_current(&mut self) {
        if let Some(speech) = self.current.take() {
            self.drop_speech(speech);
        }
    }

    fn drop_speech(&mut self, speech: Speech) {
        for piece in speech.parts.iter().chain(&speech.last) {
            self.cancel(piece);
        }
        if let Some(asked) = speech.interim {
            self.outputs.push(Output::Cancel(asked));
        }
    }
}

impl Speech {
    fn new(utterance: Utterance) -> Self {
        Self {
            utterance,
            parts: Vec::new(),
            tail: Vec::new(),
            total: 0,
            truncated: false,
            started: false,
            shown: String::new(),
            interim: None,
            next_interim: FIRST_INTERIM,
            last: None,
        }
    }

    /// Shows the words so far: those of the parts, and of the tail.
    fn show(&mut self, tail: String, settled: bool, outputs: &mut Vec<Output>) {
        let parts = self.parts.iter().filter_map(|piece| match &piece.result {
            Some(Ok(judged)) => judged.text.clone().ok(),
            _ => None,
        });
        let settled = settled && self.parts.iter().all(|piece| piece.result.is_some());
        let text = joined(parts.chain([tail]));
        if text == self.shown && !settled {
            return;
        }
        let utterance = self.utterance;
        if !text.is_empty() && !std::mem::replace(&mut self.started, true) {
            outputs.push(Output::Say(Heard::SpeechStart { utterance }));
        }
        self.shown.clone_from(&text);
        outputs.push(Output::Say(Heard::Interim { utterance, text: text.into(), settled }));
    }

    fn is_complete(&self) -> bool {
        self.parts.iter().chain(&self.last).all(|piece| piece.result.is_some())
    }

    fn transcript(self) -> Result<Transcript, Error> {
        let mut texts = Vec::new();
        let mut dropped = None;
        let mut confidence: Option<f32> = None;
        for piece in self.parts.into_iter().chain(self.last) {
            let Some(result) = piece.result else { continue };
            let judged = result?;
            match judged.text {
                Ok(text) => texts.push(text),
                Err(why) => dropped = dropped.or(Some(why)),
            }
            // As sure as of the least sure part.
            confidence = match (confidence, judged.confidence) {
                (Some(least), Some(this)) => Some(least.min(this)),
                (one, other) => one.or(other),
            };
        }
        let text = joined(texts);
        let dropped = dropped.filter(|_| text.is_empty());
        Ok(Transcript { text: text.into(), confidence, truncated: self.truncated, dropped })
    }
}

impl Piece {
    fn take(&mut self, result: Result<Decoded, Error>) {
        self.result = Some(result.map(|decoded| Judged::new(&decoded, self.sound)));
    }
}

impl Judged {
    fn new(decoded: &Decoded, sound: Loudness) -> Self {
        let text = judge(&decoded.text, decoded.no_speech, decoded.confidence, sound);
        if let Err(why) = &text {
            tracing::debug!(?why, ?decoded, "words are not believed");
        }
        Self { text, confidence: decoded.confidence }
    }
}

fn joined(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The middle of the quietest place near the end; never the very start, so that a cut makes progress.
fn quietest(samples: &[i16]) -> usize {
    let from = samples.len().saturating_sub(CUT_WITHIN).max(1);
    let places = samples[from..].chunks_exact(CUT_QUIET).enumerate();
    let energy = |place: &[i16]| place.iter().map(|sample| i64::from(*sample).pow(2)).sum::<i64>();
    let quietest = places.min_by_key(|(_, place)| energy(place)).map_or(0, |(at, _)| at);
    (from + quietest * CUT_QUIET + CUT_QUIET / 2).min(samples.len())
}

#[cfg(test)]
mod tests;
