//! Both sides of a call as one recording: the caller left, the agent right.
//!
//! The two sides are placed by time, not by arrival: the caller's sound when it came, the agent's when
//! the caller will hear it. That is some way ahead of now, and an interruption takes it back, so a window
//! of a few seconds stays open; what leaves it is final. A gap is written as silence, so whoever
//! records drains by the clock (once a second, say) and no single gap grows large.

use std::collections::VecDeque;

/// A side of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The caller.
    Left,
    /// The agent.
    Right,
}

/// Places two mono streams beside each other. Positions are samples since the recording began.
#[derive(Debug)]
pub struct StereoMixer {
    /// Left and right from position `base` on.
    window: VecDeque<[i16; 2]>,
    base: u64,
    limit: usize,
    late: u64,
}

impl StereoMixer {
    /// A mixer that keeps `limit` samples open; it never holds more.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { window: VecDeque::new(), base: 0, limit: limit.max(1), late: 0 }
    }

    /// Puts `samples` at `position`. What falls before the window is too late and is only counted. What
    /// falls behind its end pushes the oldest out: those are appended to `out`, left and right in turn.
    pub fn put(
        &mut self,
        channel: Channel,
        mut position: u64,
        samples: &[i16],
        out: &mut Vec<i16>,
    ) {
        let late = self.base.saturating_sub(position).min(samples.len() as u64) as usize;
        self.late += late as u64;
        position += late as u64;
        for piece in samples[late..].chunks(self.limit) {
            let end = position + piece.len() as u64;
            self.drain(end.saturating_sub(self.limit as u64), out);
            let start = (position - self.base) as usize;
            if self.window.len() < start + piece.len() {
                self.window.resize(start + piece.len(), [0, 0]);
            }
            for (slot, sample) in self.window.range_mut(start..).zip(piece) {
                slot[channel as usize] = *sample;
            }
            position = end;
        }
    }

    /// Takes back what was placed on `channel` from `position` on: it will not be heard.
    pub fn cut(&mut self, channel: Channel, position: u64) {
        let start = (position.saturating_sub(self.base) as usize).min(self.window.len());
        for slot in self.window.range_mut(start..) {
            slot[channel as usize] = 0;
        }
    }

    /// Everything before `position` is final and is appended to `out`, silence where nothing was put.
    pub fn drain(&mut self, position: u64, out: &mut Vec<i16>) {
        let wanted = position.saturating_sub(self.base) as usize;
        let held = wanted.min(self.window.len());
        out.reserve(wanted * 2);
        out.extend(self.window.drain(..held).flatten());
        out.resize(out.len() + (wanted - held) * 2, 0);
        self.base += wanted as u64;
    }

    /// Samples that came after their place had been written.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Samples in the window.
    #[must_use]
    pub fn held(&self) -> usize {
        self.window.len()
    }
}
