//! Sound, from the wire to the ear and back.
//!
//! One sample format runs through the whole crate: **mono, signed 16 bit, linear**. It is what G.711
//! expands to, what browsers and synthesisers send, half the memory of `f32`, and equal on every machine.
//! Only the inside of a filter is `f32`.
//!
//! - [`Rate`], [`Pcm`], [`Frame`]: how much sound, at which rate; a frame is 20 ms;
//! - [`Framer`]: chunks of any size to frames of one size;
//! - [`Resampler`]: one rate to another, filtered and stateful;
//! - [`g711`]: mu-law and A-law;
//! - [`Vad`]: when somebody speaks;
//! - [`LevelMeter`]: how loud;
//! - [`StereoMixer`]: caller left, agent right, for a recording.
//!
//! What always holds: nothing here allocates after it has started except where a caller's `Vec` must
//! grow; the same samples give the same result however they are cut into chunks; and no stream drifts.
//!
//! Left out: echo cancellation (browsers and the telephone network do it; the voice threshold is raised
//! while the agent speaks instead), noise suppression, more than one channel, Opus.

mod frame;
pub mod g711;
mod kernel;
mod level;
mod rate;
mod resample;
mod stereo;
mod vad;
pub(crate) mod wav;

pub use frame::{Frame, Framer, Pcm};
pub use level::LevelMeter;
pub use rate::{FRAME_MS, Rate, VAD_WINDOW};
pub use resample::Resampler;
pub use stereo::{Channel, StereoMixer};
pub use vad::{Activity, Earshot, SpeechScore, Vad, VadConfig};

/// What can be wrong with sound handed in from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The rate is none of those in [`Rate::ALL`].
    #[error("a sample rate of {0} Hz is not supported")]
    UnsupportedRate(u32),
    /// A frame holds exactly 20 ms.
    #[error("a frame at {rate} holds {expected} samples, not {got}")]
    FrameLength {
        /// The rate of the frame.
        rate: Rate,
        /// How many samples 20 ms are at that rate.
        expected: usize,
        /// How many there were.
        got: usize,
    },
    /// Sixteen-bit samples come in pairs of bytes.
    #[error("sixteen-bit sound has an even number of bytes, not {0}")]
    OddBytes(usize),
}
