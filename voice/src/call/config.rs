//! The settings of a call. All times are in milliseconds.

use super::{Endpointing, Ms};
use crate::audio::{Rate, VadConfig};
use serde::{Deserialize, Serialize};

/// The settings of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The rate of the agent's voice on the wire.
    pub playout_rate: Rate,
    /// How much unplayed sound the client may hold: 250 in a browser, 400 at Twilio, whose jitter is larger.
    pub playout_lead: Ms,
    /// Whether the client reports what it played. Then the end of a reply waits for its report, and
    /// goes by the clock only when that is `report_grace` late.
    pub playback_reports: bool,
    /// How long after its computed end a reply waits for the client's report.
    pub report_grace: Ms,
    /// Whether the caller can read what the agent writes. On the telephone, where they cannot, a lasting
    /// engine failure ends the call.
    pub screen: bool,

    /// When sound is speech.
    pub vad: VadConfig,
    /// Speech is over when a client that was sending stops sending for so long: a muted microphone.
    pub muted_after: Ms,
    /// When the caller's turn is over.
    pub endpointing: Endpointing,
    /// So many words by the caller interrupt the agent; "mhm" and the like do not count.
    pub interrupt_words: usize,
    /// After so long without words held playout goes on from where it was heard.
    pub resume_after: Ms,
    /// The same while the sound goes on without words: music, a machine.
    pub resume_despite_sound: Ms,
    /// In the last part of a reply "yes" answers it and is no backchannel.
    pub answer_zone: Ms,
    /// Keys belong together until none follows for so long, or `#`.
    pub key_gap: Ms,

    /// Silence of a thinking agent before a filler, and between fillers.
    pub filler_after: Ms,
    /// Silence between the end of one filler and the next.
    pub filler_every: Ms,
    /// How long the agent may go without new text.
    pub agent_limit: Ms,
    /// How long it may while a tool runs.
    pub tool_limit: Ms,
    /// How long a sentence may go without new sound.
    pub voice_limit: Ms,
    /// So many failed replies in a row end the call.
    pub failures: u32,

    /// When nobody says anything for so long, ask whether the caller is there.
    pub idle_prompt: Ms,
    /// When nobody says anything for so long, hang up.
    pub idle_hang_up: Ms,
    /// The longest a call may last; a farewell comes on top.
    pub longest: Ms,
    /// The longest a farewell may take, from asking for it to the last sample.
    pub farewell_limit: Ms,
    /// How long a lost connection may take to come back.
    pub reconnect: Ms,
    /// How long a call may wait to be answered.
    pub answer_limit: Ms,

    /// What to say when the agent does not.
    pub phrases: Phrases,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            playout_rate: Rate::Hz16000,
            playout_lead: 250,
            playback_reports: true,
            report_grace: 500,
            screen: true,
            vad: VadConfig::default(),
            muted_after: 1_000,
            endpointing: Endpointing::default(),
            interrupt_words: 1,
            resume_after: 2_000,
            resume_despite_sound: 6_000,
            answer_zone: 1_000,
            key_gap: 2_000,
            filler_after: 1_500,
            filler_every: 5_000,
            agent_limit: 20_000,
            tool_limit: 120_000,
            voice_limit: 4_000,
            failures: 3,
            idle_prompt: 10_000,
            idle_hang_up: 20_000,
            longest: 30 * 60_000,
            farewell_limit: 15_000,
            reconnect: 30_000,
            answer_limit: 60_000,
            phrases: Phrases::default(),
        }
    }
}

impl Config {
    /// A browser: the defaults.
    #[must_use]
    pub fn browser() -> Self {
        Self::default()
    }

    /// Twilio Media Streams: 8 kHz, marks, no screen.
    #[must_use]
    pub fn twilio() -> Self {
        Self { playout_rate: Rate::Hz8000, playout_lead: 400, screen: false, ..Self::default() }
    }
}

/// What to say when the agent does not. English unless set; an empty one is not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Phrases {
    /// The first words.
    pub greeting: String,
    /// While the agent thinks, in turn.
    pub fillers: Vec<String>,
    /// When nobody has spoken for a while.
    pub prompt: String,
    /// Before hanging up because nobody has.
    pub idle_farewell: String,
    /// Before hanging up because the call is too long.
    pub long_farewell: String,
    /// When the agent failed.
    pub agent_failed: String,
    /// When a sentence could not be spoken.
    pub voice_failed: String,
    /// When the caller cannot be understood any more.
    pub hearing_failed: String,
    /// Before hanging up because of failures.
    pub failed_farewell: String,
}

impl Phrases {
    /// Nothing is said.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            greeting: String::new(),
            fillers: Vec::new(),
            prompt: String::new(),
            idle_farewell: String::new(),
            long_farewell: String::new(),
            agent_failed: String::new(),
            voice_failed: String::new(),
            hearing_failed: String::new(),
            failed_farewell: String::new(),
        }
    }

    /// All of them but the fillers, which are spoken as they are written and are no text to be cut.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let Self {
            greeting,
            fillers: _,
            prompt,
            idle_farewell,
            long_farewell,
            agent_failed,
            voice_failed,
            hearing_failed,
            failed_farewell,
        } = self;
        let all = [
            greeting,
            prompt,
            idle_farewell,
            long_farewell,
            agent_failed,
            voice_failed,
            hearing_failed,
            failed_farewell,
        ];
        all.into_iter().map(String::as_str)
    }
}

impl Default for Phrases {
    fn default() -> Self {
        Self {
            greeting: String::new(),
            fillers: vec!["One moment, please.".into(), "I'm still on it.".into()],
            prompt: "Are you still there?".into(),
            idle_farewell: "I can't hear anyone, so I'll hang up now. Goodbye.".into(),
            long_farewell: "We've reached the longest time for a call. Goodbye.".into(),
            agent_failed: "Sorry, I couldn't work out an answer. Please try again.".into(),
            voice_failed: "Sorry, I lost my voice for a moment.".into(),
            hearing_failed: "Sorry, I can't hear you any more.".into(),
            failed_farewell: "Sorry, something is wrong on my side. Goodbye.".into(),
        }
    }
}
