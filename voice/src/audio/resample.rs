//! From one sample rate to another.
//!
//! A windowed-sinc polyphase filter with its history carried from chunk to chunk. The position of every
//! output is computed from integers, so a stream of any length neither gains nor loses a sample, and
//! since each output is one dot product over fixed inputs, chunk sizes cannot change a bit of it.

use super::Rate;
use super::kernel::{Kernel, dot};

/// Inputs taken in one go; bounds the work buffer.
const BLOCK: usize = 480;

/// A stream from one rate to another.
///
/// The stream is delayed by half the filter, which is 32 samples of the lower rate (4 ms at 8 kHz);
/// [`Resampler::finish`] brings out what is still inside, and the whole then has exactly
/// `ceil(inputs * to / from)` samples with no delay between input and output.
pub struct Resampler {
    from: Rate,
    to: Rate,
    /// None where the rates are equal and samples pass through untouched.
    filter: Option<Filter>,
}

struct Filter {
    kernel: &'static Kernel,
    /// Inputs not yet out of reach of the next output.
    window: Vec<f32>,
    /// Where in `window` the taps of the next output start; beyond its end when inputs can be skipped.
    start: usize,
    /// The next output's phase, below `kernel.up`.
    phase: usize,
    /// Samples taken and given since the stream began.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A new stream.
    #[must_use]
    pub fn new(from: Rate, to: Rate) -> Self {
        let filter = (from != to).then(|| Filter::new(Kernel::between(from, to)));
        Self { from, to, filter }
    }

    /// The rate of what goes in.
    #[must_use]
    pub fn from(&self) -> Rate {
        self.from
    }

    /// The rate of what comes out.
    #[must_use]
    pub fn to(&self) -> Rate {
        self.to
    }

    /// Takes samples and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        match &mut self.filter {
            None => out.extend_from_slice(samples),
            Some(filter) => {
                for block in samples.chunks(BLOCK) {
                    filter.taken += block.len() as u64;
                    filter.push(block.iter().map(|sample| f32::from(*sample)), out);
                }
            }
        }
    }

    /// Ends the stream: appends the rest to `out` and begins a new one.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        let Some(filter) = &mut self.filter else { return };
        let (up, down) = (filter.kernel.up as u64, filter.kernel.down as u64);
        let wanted = (filter.taken * up).div_ceil(down) - filter.given;
        let end = out.len() + wanted as usize;
        while out.len() < end {
            filter.push(std::iter::repeat_n(0.0, filter.kernel.taps.min(BLOCK)), out);
        }
        out.truncate(end);
        filter.reset();
    }

    /// Forgets the stream so far.
    pub fn reset(&mut self) {
        if let Some(filter) = &mut self.filter {
            filter.reset();
        }
    }
}

impl Filter {
    fn new(kernel: &'static Kernel) -> Self {
        let mut filter = Self {
            kernel,
            window: Vec::with_capacity(kernel.taps + BLOCK),
            start: 0,
            phase: 0,
            taken: 0,
            given: 0,
        };
        filter.reset();
        filter
    }

    fn reset(&mut self) {
        self.window.clear();
        self.window.resize(self.kernel.lead(), 0.0);
        (self.start, self.phase, self.taken, self.given) = (0, 0, 0, 0);
    }

    fn push(&mut self, samples: impl Iterator<Item = f32>, out: &mut Vec<i16>) {
        let Kernel { up, down, taps, .. } = *self.kernel;
        self.window.extend(samples);
        while let Some(input) = self.window.get(self.start..self.start + taps) {
            let value = dot(self.kernel.phase(self.phase), input);
            out.push(value.round().clamp(-32768.0, 32767.0) as i16);
            self.given += 1;
            self.phase += down;
            self.start += self.phase / up;
            self.phase %= up;
        }
        let gone = self.start.min(self.window.len());
        self.window.drain(..gone);
        self.start -= gone;
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resampler({} to {})", self.from, self.to)
    }
}
