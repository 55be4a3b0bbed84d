//! Samples and their percentiles.

use std::time::Duration;

/// Durations, all of them kept: percentiles of what happened, not of a model of it.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Percentiles in milliseconds, in the order asked for; nothing was sampled gives zeros.
    pub(super) fn millis<const N: usize>(mut self, percentiles: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        percentiles.map(|p| {
            // Less a hair, so that 99.9 % of a thousand is not the 1000th for a rounding error.
            let rank = (p / 100.0 * self.0.len() as f64 - 1e-9).ceil() as usize;
            self.0.get(rank.saturating_sub(1)).map_or(0.0, |d| d.as_secs_f64() * 1e3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_that_happened() {
        let mut samples = Samples::default();
        for millis in (1..=1000).rev() {
            samples.add(Duration::from_millis(millis));
        }
        assert_eq!(samples.millis([50.0, 99.0, 99.9, 100.0]), [500.0, 990.0, 999.0, 1000.0]);
        assert_eq!(Samples::default().millis([50.0]), [0.0]);
    }
}
