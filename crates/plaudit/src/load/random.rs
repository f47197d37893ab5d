//! Random numbers that are the same on every machine and in every release.
//!
//! SplitMix64: 64 bits of state, one multiplication or two a number. Not for keys.
//! A crate's generator may change between versions, and then a seed would no longer
//! name the same events.

use std::time::Duration;

/// A stream of numbers.
pub(crate) struct Random(u64);

impl Random {
    /// The stream of one item: any two items of one seed are unrelated.
    pub(crate) fn new(seed: u64, item: u64) -> Self {
        // An odd factor, so that distinct items have distinct states.
        Self(seed.wrapping_add(item.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // The high half of the product: no division, and the bias is below 2^-32.
        let product = (self.next() >> 32) * u64::from(bound);
        u32::try_from(product >> 32).unwrap_or(0)
    }

    /// A time below `bound`.
    pub(crate) fn below_duration(&mut self, bound: Duration) -> Duration {
        bound * self.below(1000) / 1000
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A number below `bound`, the low ones far more often: of 100 000, the first alone
    /// is drawn in 2 % of all cases.
    pub(crate) fn hot_below(&mut self, bound: u32) -> u32 {
        let even = f64::from(self.below(u32::MAX)) / f64::from(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the fraction is 0 to 1, so the product is 0 to the bound"
        )]
        let drawn = (f64::from(bound) * even * even * even) as u32;
        drawn.min(bound.saturating_sub(1))
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T; 4]) -> T {
        let [a, b, c, d] = *list;
        match self.next() & 3 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }
}
