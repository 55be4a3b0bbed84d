//! When somebody speaks.
//!
//! A [`SpeechScore`] says of each window of 16 ms how much it sounds like speech; [`Vad`] makes starts and
//! ends of it. What always holds: starts and ends alternate, beginning with a start; both name the moment
//! in the sound, not the later moment of the decision.

use super::VAD_WINDOW;
use serde::{Deserialize, Serialize};

/// How long a window lasts, in milliseconds.
const WINDOW_MS: u64 = 16;

/// Judges windows of sound at 16 kHz.
pub trait SpeechScore: Send {
    /// How much this window sounds like speech, from 0 to 1. Windows come in order.
    fn score(&mut self, window: &[i16; VAD_WINDOW]) -> f32;

    /// Forgets the sound so far: another device or another stream follows.
    fn reset(&mut self);
}

/// The detector in use: a small recurrent network, 8 us a window.
pub struct Earshot(Box<earshot::Detector>);

impl Default for Earshot {
    fn default() -> Self {
        Self(earshot::Detector::default_boxed())
    }
}

impl SpeechScore for Earshot {
    fn score(&mut self, window: &[i16; VAD_WINDOW]) -> f32 {
        self.0.predict_i16(window)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// When scores become speech. Durations are in milliseconds and count in windows of 16 ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VadConfig {
    /// A window with at least this score may begin speech.
    pub start: f32,
    /// The same while the agent can be heard: its echo must not interrupt it.
    pub start_while_playing: f32,
    /// Speech lasts until scores stay below this. They fall slowly: from 0.9 to here within about 100 ms.
    pub end: f32,
    /// So much speech begins a stretch of it; shorter clicks do not.
    pub start_ms: u64,
    /// The same while the agent can be heard. Scores need about 100 ms to rise from silence, and an
    /// interruption may take 150 ms altogether: neither this nor the threshold can be raised much.
    pub start_while_playing_ms: u64,
    /// So much quiet ends it. Dips between syllables are shorter.
    pub hangover_ms: u64,
    /// Scores at the very beginning of a stream are not trusted: on loud white noise from
    /// the first sample on they need 270 ms to fall below `start`.
    pub ignore_ms: u64,
}

impl Default for VadConfig {
    fn default() -> Self {
        Self {
            start: 0.55,
            start_while_playing: 0.58,
            end: 0.42,
            start_ms: 48,
            start_while_playing_ms: 32,
            hangover_ms: 200,
            ignore_ms: 300,
        }
    }
}

/// A change between speech and quiet, and how long before the end of the last window it happened, in
/// milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Somebody began to speak.
    Started {
        /// How long ago.
        ago_ms: u64,
    },
    /// They paused.
    Ended {
        /// How long ago.
        ago_ms: u64,
    },
}

/// Turns scores into starts and ends of speech.
#[derive(Debug, Clone)]
pub struct Vad {
    config: VadConfig,
    /// Windows still to ignore.
    ignore: u64,
    speaking: bool,
    /// Windows that speak against the present state.
    against: u64,
    /// Windows since the first of those.
    since: u64,
}

impl Vad {
    /// Quiet, at the beginning of a stream.
    #[must_use]
    pub fn new(config: VadConfig) -> Self {
        let ignore = config.ignore_ms.div_ceil(WINDOW_MS);
        Self { config, ignore, speaking: false, against: 0, since: 0 }
    }

    /// Whether somebody speaks.
    #[must_use]
    pub fn speaking(&self) -> bool {
        self.speaking
    }

    /// Takes the next window's score. `playing` says whether the agent can be heard meanwhile.
    ///
    /// A score that is no number counts as quiet.
    pub fn push(&mut self, score: f32, playing: bool) -> Option<Activity> {
        if self.ignore > 0 {
            self.ignore -= 1;
            return None;
        }
        if self.speaking { self.push_speaking(score) } else { self.push_quiet(score, playing) }
    }

    /// Ends speech at once because the sound stopped coming, as when a caller mutes the microphone.
    pub fn stop(&mut self) -> Option<Activity> {
        self.against = 0;
        std::mem::take(&mut self.speaking).then_some(Activity::Ended { ago_ms: 0 })
    }

    fn push_quiet(&mut self, score: f32, playing: bool) -> Option<Activity> {
        let (threshold, enough) = if playing {
            (self.config.start_while_playing, self.config.start_while_playing_ms)
        } else {
            (self.config.start, self.config.start_ms)
        };
        if score >= threshold {
            self.since = if self.against == 0 { 1 } else { self.since + 1 };
            self.against += 1;
        } else {
            // One dip does not undo an onset, but clicks do not add up either.
            self.since += 1;
            self.against = self.against.saturating_sub(1);
        }
        if self.against * WINDOW_MS < enough || self.against == 0 {
            return None;
        }
        self.speaking = true;
        self.against = 0;
        Some(Activity::Started { ago_ms: self.since * WINDOW_MS })
    }

    fn push_speaking(&mut self, score: f32) -> Option<Activity> {
        if score >= self.config.end {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against * WINDOW_MS < self.config.hangover_ms {
            return None;
        }
        self.speaking = false;
        let ago_ms = std::mem::take(&mut self.against) * WINDOW_MS;
        Some(Activity::Ended { ago_ms })
    }
}
