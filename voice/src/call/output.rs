//! What a call asks for.

use super::Ms;
use crate::audio::Frame;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing to do, in the order given.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Output {
    // For the client.
    /// Send 20 ms of the agent's voice now. They are paced: the client never holds more than the
    /// configured lead.
    Audio {
        /// The reply it belongs to.
        generation: u32,
        /// How many samples of this reply come before it. What an interruption that was none takes back is
        /// given again, with the same positions.
        position: u64,
        /// When the client is expected to play it; for a recording.
        play_at: Ms,
        /// The sound, at the playout rate.
        frame: Frame,
    },
    /// All of a reply's sound has been given. Comes again where the end of it was taken back and given anew.
    AudioEnd {
        /// The reply.
        generation: u32,
    },
    /// Ask to be told when everything sent so far has been played: a Twilio mark. Clients that report
    /// on their own need not be asked. The answer is [`Input::Played`](super::Input::Played) with these numbers.
    Mark {
        /// The current stretch.
        stretch: u32,
        /// Samples sent in it.
        samples: u64,
    },
    /// Drop everything not yet played. Sample counts of the new stretch begin at zero.
    Clear {
        /// The number of the stretch that begins.
        stretch: u32,
    },
    /// Show who has the floor. Only changes are told.
    Status {
        /// The new status.
        status: Status,
    },
    /// Show what the caller seems to be saying; replaces what was shown before. Empty: show nothing.
    Interim {
        /// The text.
        text: String,
    },
    /// Show a piece of the agent's reply as it is written.
    Reply {
        /// Its generation.
        generation: u32,
        /// The piece.
        text: String,
    },
    /// Explain in writing what went wrong.
    Notice {
        /// What.
        notice: Notice,
    },
    /// Hang up. The last output of a call.
    HangUp {
        /// Why.
        reason: EndReason,
    },

    // For the transcriber, which runs for the whole call and keeps its own half second of pre-roll.
    /// Listen to 20 ms of the caller, at 16 kHz.
    Transcribe {
        /// The sound.
        frame: Frame,
    },
    /// The caller began to speak.
    SpeechStarted {
        /// When, by the sound.
        at: Ms,
    },
    /// The caller paused. An engine that works on whole utterances decodes now; the turn may not be over.
    SpeechPaused {
        /// When, by the sound.
        at: Ms,
    },

    // For the agent.
    /// Answer this. Text comes back as [`Input::AgentDelta`](super::Input::AgentDelta) and so on.
    StartTurn {
        /// The number of the caller's turn.
        turn: u32,
        /// The generation of the reply.
        generation: u32,
        /// What the caller said.
        text: String,
        /// How.
        via: Via,
        /// The generation that this turn interrupted; its message says what was heard.
        interrupted: Option<u32>,
    },
    /// Stop generating. Tools in flight run on to their outcome and record it.
    AbortTurn {
        /// The reply.
        generation: u32,
    },

    // For the synthesiser.
    /// Speak a sentence. At most three are open at once, and sound may arrive for them in any order.
    Synthesise {
        /// The reply.
        generation: u32,
        /// Which of its sentences, from 0.
        sentence: u32,
        /// What to say, as prepared by the [`Splitter`](super::Splitter).
        text: String,
    },
    /// Stop all sentences of a reply.
    AbortVoice {
        /// The reply.
        generation: u32,
    },

    // For the history.
    /// Store a message of the caller's or the agent's.
    Commit {
        /// The message.
        message: Message,
    },
    /// Store and show the times of a turn.
    Metrics {
        /// The times.
        metrics: TurnMetrics,
    },
}

/// Who has the floor, in the words of the browser protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No call.
    Idle,
    /// The caller may speak.
    Listening,
    /// The agent prepares what to say.
    Thinking,
    /// The agent speaks.
    Speaking,
}

/// What went wrong, for a page to explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The agent could not answer.
    AgentFailed,
    /// The agent took too long.
    AgentSlow,
    /// The agent had nothing to say.
    NoReply,
    /// Speech could not be made; the rest of the reply can be read.
    VoiceFailed,
    /// The caller is not understood for the moment.
    HearingTrouble,
    /// The caller will not be understood for the rest of the call; they may type.
    HearingFailed,
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The caller hung up.
    CallerHungUp,
    /// The agent ended it.
    AgentEnded,
    /// Nobody said anything for too long.
    Idle,
    /// The longest permitted time is over.
    TooLong,
    /// The socket did not come back.
    Lost,
    /// An engine failed and the caller could not be told or helped otherwise.
    EngineFailed,
    /// It was never answered.
    NotAnswered,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The caller.
    Caller,
    /// The agent.
    Agent,
}

/// How the caller said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Spoken.
    Speech,
    /// Typed.
    Text,
    /// Pressed on the keypad.
    Keypad,
}

/// Why something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// By the caller.
    Caller,
    /// The first words of the agent.
    Greeting,
    /// An answer.
    Reply,
    /// Asked for with [`Input::Say`](super::Input::Say).
    Announcement,
    /// "Are you still there?"
    Prompt,
    /// What went wrong.
    Explanation,
    /// The last words of the agent.
    Farewell,
}

/// How a message came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was heard in full.
    Complete,
    /// The caller cut it off.
    Interrupted,
    /// An engine failed.
    Failed,
    /// The call ended.
    HungUp,
}

/// A message for the history. Offsets are bytes of `text`, on character boundaries;
/// `heard <= sent <= generated`, and `heard` ends between words.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who.
    pub speaker: Speaker,
    /// Why.
    pub origin: Origin,
    /// How, where it is the caller's.
    pub via: Option<Via>,
    /// The caller's turn it belongs to.
    pub turn: Option<u32>,
    /// The reply's generation, where it is the agent's.
    pub generation: Option<u32>,
    /// When it began.
    pub at: Ms,
    /// The whole text. Fillers ("one moment") are no part of it.
    pub text: String,
    /// How much of it was written: all.
    pub generated: usize,
    /// How much of it was on its way to the caller as sound.
    pub sent: usize,
    /// How much of it the caller heard.
    pub heard: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// When the steps of one turn happened, as times of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnMetrics {
    /// The caller's turn.
    pub turn: u32,
    /// The reply.
    pub generation: u32,
    /// The caller's last sound; none where they typed.
    pub speech_end: Option<Ms>,
    /// The last final text arrived.
    pub final_text: Option<Ms>,
    /// The turn was over and the agent was asked.
    pub turn_end: Ms,
    /// The agent's first text.
    pub first_text: Option<Ms>,
    /// The reply's first sound was sent; fillers do not count.
    pub first_audio: Option<Ms>,
    /// The reply was over.
    pub end: Ms,
    /// How.
    pub outcome: Outcome,
}

/// Why a call wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// It should be answered.
    Answer,
    /// The next frame is due.
    Pace,
    /// What was sent should have been played.
    Played,
    /// The caller's pause is long enough.
    EndOfTurn,
    /// No key for a while.
    Keypad,
    /// Held playout may go on.
    Resume,
    /// The microphone sends nothing although somebody speaks.
    Muted,
    /// The silence needs a filler.
    Filler,
    /// The agent had its time.
    AgentSlow,
    /// A sentence had its time.
    VoiceSlow,
    /// A tool had its time.
    ToolSlow,
    /// Nobody spoke for a while.
    Idle,
    /// The call has lasted long enough.
    TooLong,
    /// The farewell had its time.
    Farewell,
    /// The socket had its time to come back.
    Lost,
}

/// Shows what is asked and how much, but nothing that anybody said.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audio { generation, position, play_at, .. } => {
                write!(f, "Audio({generation}, {position}, {play_at})")
            }
            Self::AudioEnd { generation } => write!(f, "AudioEnd({generation})"),
            Self::Mark { stretch, samples } => write!(f, "Mark({stretch}, {samples})"),
            Self::Clear { stretch } => write!(f, "Clear({stretch})"),
            Self::Status { status } => write!(f, "Status({status:?})"),
            Self::Interim { text } => write!(f, "Interim({} bytes)", text.len()),
            Self::Reply { generation, text } => {
                write!(f, "Reply({generation}, {} bytes)", text.len())
            }
            Self::Notice { notice } => write!(f, "Notice({notice:?})"),
            Self::HangUp { reason } => write!(f, "HangUp({reason:?})"),
            Self::Transcribe { .. } => write!(f, "Transcribe"),
            Self::SpeechStarted { at } => write!(f, "SpeechStarted({at})"),
            Self::SpeechPaused { at } => write!(f, "SpeechPaused({at})"),
            Self::StartTurn { turn, generation, text, via, interrupted } => write!(
                f,
                "StartTurn({turn}, {generation}, {} bytes, {via:?}, {interrupted:?})",
                text.len()
            ),
            Self::AbortTurn { generation } => write!(f, "AbortTurn({generation})"),
            Self::Synthesise { generation, sentence, text } => {
                write!(f, "Synthesise({generation}, {sentence}, {} bytes)", text.len())
            }
            Self::AbortVoice { generation } => write!(f, "AbortVoice({generation})"),
            Self::Commit { message } => write!(f, "Commit({message:?})"),
            Self::Metrics { metrics } => write!(f, "Metrics({metrics:?})"),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Message({:?} {:?} {:?} turn {:?}, {:?}: heard {} of {} sent of {} bytes)",
            self.speaker,
            self.origin,
            self.generation,
            self.turn,
            self.outcome,
            self.heard,
            self.sent,
            self.generated
        )
    }
}
