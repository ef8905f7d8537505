//! How long to wait before the next attempt: exponential, bounded, spread by chance (KIP-580).

use std::time::Duration;

/// A range of waiting times.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Before the first retry.
    pub initial: Duration,
    /// Never more than this.
    pub max: Duration,
}

impl Backoff {
    /// `min(max, initial · 2^failures) · U(0.8, 1.2)`, so that clients that failed together do not return together.
    pub fn after(&self, failures: u32, chance: &mut Chance) -> Duration {
        let doubled = self.initial.saturating_mul(1u32 << failures.saturating_sub(1).min(20));
        doubled.min(self.max).mul_f64(0.8 + 0.4 * chance.fraction())
    }
}

/// Seeded randomness (SplitMix64): enough for jitter and for rotating through addresses, and the same in every replay.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };

    #[test]
    fn waits_double_up_to_the_maximum_and_spread_by_a_fifth() {
        let mut chance = Chance::new(7);
        for (failures, middle) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (60, 1000)] {
            for _ in 0..100 {
                let wait = RETRY.after(failures, &mut chance).as_millis();
                assert!((middle * 8 / 10..=middle * 12 / 10).contains(&wait), "{failures}: {wait} ms");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut chance = Chance::new(seed);
            [1, 2, 3].map(|n| RETRY.after(n, &mut chance))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
