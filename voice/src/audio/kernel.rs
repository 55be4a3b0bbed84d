//! The filters behind [`super::Resampler`]: one table for each pair of rates, shared by all calls.

use super::Rate;
use std::f64::consts::PI;
use std::sync::OnceLock;

/// Filter length, in samples of the lower of the two rates. With [`BETA`] this makes a transition band of
/// 15 % of the lower Nyquist frequency (Kaiser: `N = (A - 8) / (2.285 dw) + 1`, 58 taps for 70 dB).
const SPAN: f64 = 64.0;

/// Kaiser shape for a stop band of 70 dB: `0.1102 (A - 8.7)`.
const BETA: f64 = 6.76;

/// The middle of the transition band, as a share of the lower Nyquist frequency: sound passes up to 85 %
/// of it (3.4 kHz on the telephone, the upper edge of its band) and nothing is left above 100 %.
const CUTOFF: f64 = 0.925;

/// Dot products are summed in this many lanes. The order is fixed, so results are equal on machines with
/// and without wide registers.
pub(super) const LANES: usize = 16;

/// A polyphase filter from one rate to another: output `m` lies at input time `m * down / up`.
pub(super) struct Kernel {
    /// Output samples in the smallest common period.
    pub up: usize,
    /// Input samples in the smallest common period.
    pub down: usize,
    /// Coefficients of one phase; a multiple of [`LANES`].
    pub taps: usize,
    /// `up` phases of `taps` coefficients, each phase summing to one.
    phases: Vec<f32>,
}

impl Kernel {
    /// The filter between two different rates. It is computed at first use and kept for the process.
    pub fn between(from: Rate, to: Rate) -> &'static Self {
        static TABLES: [[OnceLock<Kernel>; 6]; 6] = [const { [const { OnceLock::new() }; 6] }; 6];
        TABLES[from as usize][to as usize].get_or_init(|| Self::design(from.hz(), to.hz()))
    }

    /// The coefficients for an output that lies `phase / up` after an input sample.
    pub fn phase(&self, phase: usize) -> &[f32] {
        &self.phases[phase * self.taps..][..self.taps]
    }

    /// Input samples that come before the filter's centre.
    pub fn lead(&self) -> usize {
        self.taps / 2 - 1
    }

    fn design(from: u32, to: u32) -> Self {
        let common = gcd(from, to);
        let (up, down) = ((to / common) as usize, (from / common) as usize);
        // Below one when the output cannot hold all of the input's band.
        let band = (f64::from(to) / f64::from(from)).min(1.0);
        let taps = ((SPAN / band).ceil() as usize).next_multiple_of(LANES);
        let half = taps as f64 / 2.0;

        let mut phases = Vec::with_capacity(up * taps);
        for phase in 0..up {
            let shift = phase as f64 / up as f64;
            let exact: Vec<f64> = (0..taps)
                .map(|tap| {
                    let time = tap as f64 - (half - 1.0) - shift;
                    sinc(CUTOFF * band * time) * kaiser(time / half)
                })
                .collect();
            let sum: f64 = exact.iter().sum();
            phases.extend(exact.iter().map(|value| (value / sum) as f32));
        }
        Self { up, down, taps, phases }
    }
}

/// The dot product of a phase and the input under it.
pub(super) fn dot(coefficients: &[f32], input: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (coefficients, _) = coefficients.as_chunks::<LANES>();
    let (input, _) = input.as_chunks::<LANES>();
    for (coefficients, input) in coefficients.iter().zip(input) {
        for ((lane, coefficient), sample) in lanes.iter_mut().zip(coefficients).zip(input) {
            *lane += coefficient * sample;
        }
    }
    lanes.iter().sum()
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window over `-1..=1`.
fn kaiser(x: f64) -> f64 {
    if x.abs() > 1.0 { 0.0 } else { bessel_i0(BETA * (1.0 - x * x).sqrt()) / bessel_i0(BETA) }
}

/// The modified Bessel function of order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
