//! A call that is over, as its agent hears of it.

use super::{Call, EndReason, Origin, Speaker, Via};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A call that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnded {
    pub call: Call,
    pub reason: EndReason,
    /// From answer to end. After a crash, up to the last thing known of it.
    pub duration_ms: i64,
    /// Everything said in it, in order.
    pub transcript: Vec<Line>,
    pub recording: Option<RecordingInfo>,
}

impl CallEnded {
    /// Whether the caller said, typed or pressed anything.
    pub fn has_words(&self) -> bool {
        self.transcript.iter().any(|line| line.speaker == Speaker::Caller && !line.text.is_empty())
    }
}

/// One thing said in a call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub speaker: Speaker,
    pub origin: Origin,
    pub via: Option<Via>,
    /// When it began, from the start of the call.
    pub at_ms: i64,
    /// What the other side heard of it.
    pub text: String,
    /// The rest, which nobody heard; an agent may send it by mail.
    pub unheard: String,
}

impl Line {
    /// Whether there was more that was not heard.
    pub fn is_cut_off(&self) -> bool {
        !self.unheard.trim().is_empty()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("speaker", &self.speaker)
            .field("at_ms", &self.at_ms)
            .field("text_bytes", &self.text.len())
            .field("unheard_bytes", &self.unheard.len())
            .finish_non_exhaustive()
    }
}

/// A recording that is kept of a call. It is attached with [`crate::Draft::attach_recording`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingInfo {
    /// Such as `audio/wav`.
    pub media_type: String,
    /// Size in bytes.
    pub size: u64,
}

impl RecordingInfo {
    /// Recordings above this are not mailed: base64 makes 25 MB of it, the most that large providers take.
    pub const MAILED_MAX: u64 = 18 * 1024 * 1024;

    /// Whether it is small enough to be mailed.
    pub fn fits_a_mail(&self) -> bool {
        self.size <= Self::MAILED_MAX
    }

    /// What a file of it is called after the dot.
    pub fn extension(&self) -> &'static str {
        match self.media_type.as_str() {
            "audio/wav" | "audio/x-wav" | "audio/vnd.wave" => "wav",
            "audio/ogg" => "ogg",
            "audio/flac" => "flac",
            "audio/mpeg" => "mp3",
            "audio/webm" => "webm",
            _ => "audio",
        }
    }
}
