//! Tokens and money.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// What one answer used, as counted by the provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    pub input: u64,
    /// Of `input`, those read from the provider's cache.
    pub cached: u64,
    /// Of `input`, those newly put into the provider's cache.
    pub cache_written: u64,
    /// Tokens of the answer, those of reasoning included.
    pub output: u64,
    /// Millionths of a dollar; `None` if the model has no price. Sums with an unpriced answer are `None` only
    /// if nothing in them had a price.
    pub cost: Option<u64>,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.cache_written = self.cache_written.saturating_add(other.cache_written);
        self.output = self.output.saturating_add(other.output);
        self.cost = match (self.cost, other.cost) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Prices of a model, in millionths of a dollar per million tokens: 3 dollars per million are 3,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    /// Of tokens read from the cache; `None` if they cost what others do.
    pub cached: Option<u64>,
    /// Of tokens put into the cache; `None` if they cost what others do.
    pub cache_written: Option<u64>,
}

impl Price {
    /// What `usage` costs, in millionths of a dollar, rounded up.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let cached = usage.cached.min(usage.input);
        let written = usage.cache_written.min(usage.input - cached);
        let plain = usage.input - cached - written;
        let sum = [
            (plain, self.input),
            (cached, self.cached.unwrap_or(self.input)),
            (written, self.cache_written.unwrap_or(self.input)),
            (usage.output, self.output),
        ]
        .into_iter()
        .map(|(tokens, price)| u128::from(tokens) * u128::from(price))
        .sum::<u128>();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        input: 3_000_000,
        output: 15_000_000,
        cached: Some(300_000),
        cache_written: Some(3_750_000),
    };

    #[test]
    fn every_token_is_paid_once_at_its_own_price() {
        let usage =
            Usage { input: 1_000, cached: 600, cache_written: 100, output: 200, cost: None };
        // 300 x 3 + 600 x 0.3 + 100 x 3.75 + 200 x 15, in millionths.
        assert_eq!(PRICE.cost(&usage), 900 + 180 + 375 + 3_000);
    }

    #[test]
    fn fractions_are_rounded_up_and_nonsense_does_not_overflow() {
        assert_eq!(PRICE.cost(&Usage { cached: 1, input: 1, ..Usage::default() }), 1);
        let nonsense = Usage {
            input: 5,
            cached: u64::MAX,
            cache_written: u64::MAX,
            output: u64::MAX,
            cost: None,
        };
        assert_eq!(PRICE.cost(&nonsense), u64::MAX);
    }

    #[test]
    fn sums_keep_what_is_known() {
        let mut sum = Usage::default();
        sum += Usage { input: 1, cost: Some(5), ..Usage::default() };
        sum += Usage { input: 2, output: 3, cost: None, ..Usage::default() };
        assert_eq!(sum, Usage { input: 3, output: 3, cost: Some(5), ..Usage::default() });
    }
}
