//! Sample rates, and the numbers that follow from them.

use super::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a frame lasts, in milliseconds. RTP audio, Twilio Media Streams and our browser client all
/// use 20 ms, and it is a whole number of samples at every rate in [`Rate`].
pub const FRAME_MS: u64 = 20;

/// How many samples at 16 kHz the voice detector takes at a time: 16 ms.
pub const VAD_WINDOW: usize = 256;

/// A sample rate that transports and engines use. Stored as its number of hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Rate {
    /// The telephone.
    Hz8000,
    /// Speech engines; the voice detector.
    Hz16000,
    /// Several synthesisers.
    Hz22050,
    /// Several synthesisers.
    Hz24000,
    /// Sound cards.
    Hz44100,
    /// Sound cards; Opus.
    Hz48000,
}

impl Rate {
    /// Every rate, lowest first.
    pub const ALL: [Self; 6] =
        [Self::Hz8000, Self::Hz16000, Self::Hz22050, Self::Hz24000, Self::Hz44100, Self::Hz48000];

    /// Samples in a second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz22050 => 22_050,
            Self::Hz24000 => 24_000,
            Self::Hz44100 => 44_100,
            Self::Hz48000 => 48_000,
        }
    }

    /// Samples in a frame of [`FRAME_MS`]; exact at every rate.
    #[must_use]
    pub const fn frame_len(self) -> usize {
        (self.hz() as u64 * FRAME_MS / 1_000) as usize
    }

    /// How long `samples` last, in milliseconds, rounded down.
    #[must_use]
    pub const fn ms(self, samples: u64) -> u64 {
        samples.saturating_mul(1_000) / self.hz() as u64
    }

    /// How many whole samples fit into `ms` milliseconds.
    #[must_use]
    pub const fn samples(self, ms: u64) -> u64 {
        ms.saturating_mul(self.hz() as u64) / 1_000
    }
}

impl TryFrom<u32> for Rate {
    type Error = Error;

    fn try_from(hz: u32) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|rate| rate.hz() == hz).ok_or(Error::UnsupportedRate(hz))
    }
}

impl From<Rate> for u32 {
    fn from(rate: Rate) -> Self {
        rate.hz()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.hz())
    }
}
