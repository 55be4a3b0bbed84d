//! How loud a stream is.

/// A meter that rises at once and falls slowly, so that the gaps between syllables do not make it jump.
#[derive(Debug, Clone, Default)]
pub struct LevelMeter {
    /// Mean square, with full scale one.
    power: f64,
    peak: u16,
}

/// How much of the power is left after 20 ms of silence; 12 dB are lost in a little over half a second.
const FALL: f64 = 0.9;

/// What silence is called, in decibels.
const FLOOR_DB: f64 = -96.0;

impl LevelMeter {
    /// A meter at rest.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes 20 ms of sound. An empty slice changes nothing.
    pub fn push(&mut self, samples: &[i16]) {
        if samples.is_empty() {
            return;
        }
        let sum: f64 = samples.iter().map(|s| f64::from(i32::from(*s) * i32::from(*s))).sum();
        let now = sum / samples.len() as f64 / (32768.0 * 32768.0);
        self.power = now.max(self.power * FALL);
        let loudest = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.peak = loudest.max((f64::from(self.peak) * FALL) as u16);
    }

    /// The level in decibels below full scale: a full-scale square wave is 0, a sine -3, silence -96.
    #[must_use]
    pub fn dbfs(&self) -> f64 {
        if self.power <= 0.0 { FLOOR_DB } else { (10.0 * self.power.log10()).max(FLOOR_DB) }
    }

    /// The loudest recent sample as a share of full scale.
    #[must_use]
    pub fn peak(&self) -> f64 {
        f64::from(self.peak) / 32768.0
    }
}
