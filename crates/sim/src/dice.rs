//! Every random choice of a run, each from a stream of its own so that one part's choices do not shift another's.

use std::time::Duration;

use milena_core::backoff::Chance;

#[derive(Debug)]
pub(crate) struct Dice(Chance);

impl Dice {
    /// Streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mix = Chance::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ stream);
        Self(Chance::new(mix.bits()))
    }

    /// A number in `0..n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.bits() % n }
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.fraction() < probability
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_micros(self.between(low.as_micros() as u64, high.as_micros() as u64))
    }

    /// Small ones as often as large ones: the logarithm is evenly spread.
    pub(crate) fn spread(&mut self, low: Duration, high: Duration) -> Duration {
        let ratio = high.as_secs_f64() / low.as_secs_f64();
        low.mul_f64(ratio.powf(self.0.fraction()))
    }

    pub(crate) fn fraction(&mut self) -> f64 {
        self.0.fraction()
    }
}
