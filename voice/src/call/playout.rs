//! What the client holds and what it has played: a model of it that runs with the clock and is
//! corrected by its reports. Pacing follows from it.
//!
//! A stretch is the sound between two clears. Counts are samples of the stretch, at the playout rate.

use super::Ms;
use crate::audio::{FRAME_MS, Rate};

pub(super) struct Playout {
    rate: Rate,
    lead: Ms,
    stretch: u32,
    sent: u64,
    /// Played, in thousandths of a sample so that milliseconds divide evenly at every rate.
    played: u64,
    /// The moment `played` is true for.
    at: Ms,
    /// When the client last ran dry.
    dry_since: Ms,
    /// The client's latest word in this stretch.
    reported: u64,
}

impl Playout {
    pub fn new(rate: Rate, lead: Ms) -> Self {
        let lead = lead.max(FRAME_MS);
        Self { rate, lead, stretch: 0, sent: 0, played: 0, at: 0, dry_since: 0, reported: 0 }
    }

    /// Lets the client play until `now`.
    pub fn advance(&mut self, now: Ms) {
        if !self.is_empty() {
            let dry = self.dry_at();
            if dry <= now {
                self.played = self.sent * 1_000;
                self.dry_since = dry;
            } else {
                self.played += (now - self.at) * u64::from(self.rate.hz());
            }
        }
        self.at = now;
    }

    /// Takes the client's word. Reports for another stretch, of more than was sent, or of less than
    /// before are not believed.
    pub fn report(&mut self, now: Ms, stretch: u32, samples: u64) {
        self.advance(now);
        if stretch != self.stretch || samples > self.sent || samples < self.reported {
            return;
        }
        self.reported = samples;
        if samples * 1_000 >= self.sent * 1_000 && !self.is_empty() {
            self.dry_since = now;
        }
        self.played = samples * 1_000;
    }

    /// Whether the client may be sent another frame.
    pub fn has_room(&self) -> bool {
        self.room_at() <= self.at
    }

    /// When it may be.
    pub fn room_at(&self) -> Ms {
        let after = (self.sent + self.rate.frame_len() as u64) * 1_000;
        let most = self.rate.samples(self.lead) * 1_000;
        let surplus = after.saturating_sub(most).saturating_sub(self.played);
        self.at + surplus.div_ceil(u64::from(self.rate.hz()))
    }

    /// Takes note of a frame, and gives the moment it will be played.
    pub fn send(&mut self) -> Ms {
        let play_at = self.dry_at().max(self.at);
        self.sent += self.rate.frame_len() as u64;
        play_at
    }

    /// The client drops what it has not played. Gives the number of the stretch that begins.
    pub fn clear(&mut self, now: Ms) -> u32 {
        self.advance(now);
        self.stretch = self.stretch.wrapping_add(1);
        (self.sent, self.played, self.reported, self.dry_since) = (0, 0, 0, now);
        self.stretch
    }

    /// Whether nothing sent is left to play.
    pub fn is_empty(&self) -> bool {
        self.played >= self.sent * 1_000
    }

    /// When everything sent will have been played, or since when it has been.
    pub fn dry_at(&self) -> Ms {
        if self.is_empty() {
            return self.dry_since;
        }
        self.at + (self.sent * 1_000 - self.played).div_ceil(u64::from(self.rate.hz()))
    }

    /// The silence of the client's own making begins anew.
    pub fn restart_silence(&mut self, now: Ms) {
        self.dry_since = self.dry_since.max(now);
    }

    /// Whether the client said that it played everything.
    pub fn confirmed(&self) -> bool {
        self.reported >= self.sent
    }

    pub fn stretch(&self) -> u32 {
        self.stretch
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn played(&self) -> u64 {
        self.played / 1_000
    }
}
