//! What can happen to a call.

use crate::audio::Pcm;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that happened. Grouped by who it comes from.
///
/// Whatever carries a `generation` is ignored unless that generation is on the floor: what an
/// interrupted reply still produces is stale everywhere. Text is bounded on entry.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Input {
    // The transport.
    /// The call is answered; the caller hears us from now on. Before this nothing but
    /// [`Input::HungUp`] and [`Input::Timeout`] counts.
    Answered,
    /// Sound from the caller, in chunks of any size up to a second; more is cut off.
    Audio {
        /// The sound, at the client's rate.
        sound: Pcm,
    },
    /// The client has played this far: a playback report, or a mark that came back.
    Played {
        /// The number of the stretch, as last told by [`Output::Clear`](super::Output::Clear); it is 0
        /// before the first one. Reports for an earlier stretch are ignored.
        stretch: u32,
        /// Samples of this stretch played so far, at the playout rate.
        samples: u64,
    },
    /// A key of the telephone, `0`-`9`, `*`, `#`, `A`-`D`; others are ignored.
    Key {
        /// The key.
        key: char,
    },
    /// The caller typed a message. It interrupts the agent and is answered at once.
    Text {
        /// What they typed.
        text: String,
    },
    /// The caller asked for quiet, with a button or by their client's own detection.
    Interrupt,
    /// The socket broke. The call waits for it; sound and timers stand still.
    Lost,
    /// The socket is back, with empty buffers.
    Back,
    /// The caller hung up, or the transport gave up.
    HungUp,

    // The transcriber.
    /// It heard speech begin. Voice detection decides; this only keeps a turn from being closed as
    /// noise while words are on their way.
    SpeechStart,
    /// What it has understood of the current utterance; replaces the previous interim text.
    Interim {
        /// The text, possibly still to change.
        text: String,
        /// Whether everything up to the pause is in it, so that it only changes if they speak again. A
        /// pause after it counts as one after final text.
        #[serde(default)]
        settled: bool,
    },
    /// The final text of an utterance. **Empty where there were no words**: that settles a cough sooner.
    Final {
        /// The text.
        text: String,
    },
    /// Transcription failed.
    TranscriberFailed {
        /// Whether it is gone for the rest of this call. Otherwise it reconnects by itself.
        lasting: bool,
    },

    // The agent.
    /// More text of a reply.
    AgentDelta {
        /// The generation given by [`Output::StartTurn`](super::Output::StartTurn).
        generation: u32,
        /// The text.
        text: String,
    },
    /// The reply is complete. Without any text the agent chose to be silent.
    AgentEnd {
        /// Its generation.
        generation: u32,
    },
    /// There will be no (further) reply.
    AgentFailed {
        /// Its generation.
        generation: u32,
    },
    /// A tool began to run. While any runs, the caller is not asked whether they are still there.
    ToolStarted {
        /// A number for this use of the tool, unique in the call.
        tool: u64,
    },
    /// That tool has its outcome, also when its turn was interrupted meanwhile.
    ToolEnded {
        /// Its number.
        tool: u64,
    },
    /// Say this when the floor is free: an announcement, a reminder.
    Say {
        /// What, and how.
        line: Line,
    },
    /// End the call when what is being said has been heard.
    End {
        /// What to say before hanging up.
        farewell: Option<String>,
    },

    // The synthesiser.
    /// More sound of a sentence.
    Voice {
        /// The reply.
        generation: u32,
        /// Which of its sentences.
        sentence: u32,
        /// The sound, at the engine's rate.
        sound: Pcm,
    },
    /// A sentence is complete.
    VoiceEnd {
        /// The reply.
        generation: u32,
        /// Which of its sentences.
        sentence: u32,
    },
    /// A sentence cannot be spoken.
    VoiceFailed {
        /// The reply.
        generation: u32,
        /// Which of its sentences.
        sentence: u32,
    },

    // The clock.
    /// The deadline has passed. May also come at any other time.
    Timeout,
}

/// Something to say that is no reply.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The words.
    pub text: String,
    /// Whether the caller may interrupt it. A recording notice, for one, is heard in full.
    pub interruptible: bool,
}

/// Shows what happened and how much, but nothing that anybody said.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => write!(f, "Answered"),
            Self::Audio { sound } => write!(f, "Audio({sound:?})"),
            Self::Played { stretch, samples } => write!(f, "Played({stretch}, {samples})"),
            Self::Key { .. } => write!(f, "Key"),
            Self::Text { text } => write!(f, "Text({} bytes)", text.len()),
            Self::Interrupt => write!(f, "Interrupt"),
            Self::Lost => write!(f, "Lost"),
            Self::Back => write!(f, "Back"),
            Self::HungUp => write!(f, "HungUp"),
            Self::SpeechStart => write!(f, "SpeechStart"),
            Self::Interim { text, settled } => {
                write!(f, "Interim({} bytes, settled: {settled})", text.len())
            }
            Self::Final { text } => write!(f, "Final({} bytes)", text.len()),
            Self::TranscriberFailed { lasting } => write!(f, "TranscriberFailed({lasting})"),
            Self::AgentDelta { generation, text } => {
                write!(f, "AgentDelta({generation}, {} bytes)", text.len())
            }
            Self::AgentEnd { generation } => write!(f, "AgentEnd({generation})"),
            Self::AgentFailed { generation } => write!(f, "AgentFailed({generation})"),
            Self::ToolStarted { tool } => write!(f, "ToolStarted({tool})"),
            Self::ToolEnded { tool } => write!(f, "ToolEnded({tool})"),
            Self::Say { line } => write!(f, "Say({line:?})"),
            Self::End { farewell } => write!(f, "End({})", farewell.is_some()),
            Self::Voice { generation, sentence, sound } => {
                write!(f, "Voice({generation}, {sentence}, {sound:?})")
            }
            Self::VoiceEnd { generation, sentence } => {
                write!(f, "VoiceEnd({generation}, {sentence})")
            }
            Self::VoiceFailed { generation, sentence } => {
                write!(f, "VoiceFailed({generation}, {sentence})")
            }
            Self::Timeout => write!(f, "Timeout"),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} bytes, interruptible: {})", self.text.len(), self.interruptible)
    }
}
