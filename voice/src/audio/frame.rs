//! Chunks and frames of sound, and cutting one into the other.

use super::{Error, Rate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Some sound: any number of mono 16-bit samples at one rate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pcm {
    /// Samples in a second.
    pub rate: Rate,
    /// The samples. Stored as base64 of their little-endian bytes.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub samples: Vec<i16>,
}

impl Pcm {
    /// Sound at `rate`.
    #[must_use]
    pub fn new(rate: Rate, samples: Vec<i16>) -> Self {
        Self { rate, samples }
    }

    /// Reads little-endian 16-bit samples, as WebSocket clients send them.
    ///
    /// # Errors
    ///
    /// [`Error::OddBytes`] where half a sample is left over.
    pub fn from_le_bytes(rate: Rate, bytes: &[u8]) -> Result<Self, Error> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Error::OddBytes(bytes.len()));
        }
        Ok(Self::new(rate, pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect()))
    }
}

/// Sound is a person's voice: only its size is shown.
impl fmt::Debug for Pcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pcm({} samples at {})", self.samples.len(), self.rate)
    }
}

/// Exactly 20 ms of sound.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Pcm", into = "Pcm")]
pub struct Frame(Pcm);

impl Frame {
    /// A frame from its samples.
    ///
    /// # Errors
    ///
    /// [`Error::FrameLength`] unless there are exactly [`Rate::frame_len`] of them.
    pub fn new(rate: Rate, samples: Vec<i16>) -> Result<Self, Error> {
        Self::try_from(Pcm::new(rate, samples))
    }

    /// 20 ms of nothing.
    #[must_use]
    pub fn silence(rate: Rate) -> Self {
        Self(Pcm::new(rate, vec![0; rate.frame_len()]))
    }

    /// Samples in a second.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.0.rate
    }

    /// The samples; always [`Rate::frame_len`] of them.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        &self.0.samples
    }

    /// The samples as little-endian bytes.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        le_bytes(self.samples())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({})", self.0.rate)
    }
}

impl TryFrom<Pcm> for Frame {
    type Error = Error;

    fn try_from(pcm: Pcm) -> Result<Self, Error> {
        let (rate, expected, got) = (pcm.rate, pcm.rate.frame_len(), pcm.samples.len());
        if expected != got {
            return Err(Error::FrameLength { rate, expected, got });
        }
        Ok(Self(pcm))
    }
}

impl From<Frame> for Pcm {
    fn from(frame: Frame) -> Self {
        frame.0
    }
}

/// Collects samples until there are `len` of them, whatever the size of the chunks they come in.
///
/// Holds at most `len - 1` samples between calls.
#[derive(Debug, Clone)]
pub struct Framer {
    len: usize,
    held: Vec<i16>,
}

impl Framer {
    /// Cuts into pieces of `len` samples; at least one.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let len = len.max(1);
        Self { len, held: Vec::with_capacity(len) }
    }

    /// Takes samples and hands every full piece to `each`, in order.
    pub fn push(&mut self, mut samples: &[i16], mut each: impl FnMut(&[i16])) {
        if !self.held.is_empty() {
            let wanted = (self.len - self.held.len()).min(samples.len());
            let (now, later) = samples.split_at(wanted);
            self.held.extend_from_slice(now);
            samples = later;
            if self.held.len() < self.len {
                return;
            }
            each(&self.held);
            self.held.clear();
        }
        let mut pieces = samples.chunks_exact(self.len);
        for piece in pieces.by_ref() {
            each(piece);
        }
        self.held.extend_from_slice(pieces.remainder());
    }

    /// How many samples wait for the rest of their piece.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.held.clear();
    }
}

fn le_bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn to_base64<S: Serializer>(samples: &[i16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&data_encoding::BASE64.encode(&le_bytes(samples)))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i16>, D::Error> {
    use serde::de::Error as _;
    let text = String::deserialize(deserializer)?;
    let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
    // The rate plays no part in reading bytes.
    Pcm::from_le_bytes(Rate::Hz8000, &bytes).map(|pcm| pcm.samples).map_err(D::Error::custom)
}
