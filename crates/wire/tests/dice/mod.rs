//! Chance for the tests of record batches.

/// Small and fixed, so that a failing seed is the whole story.
pub struct Dice(pub u64);

impl Dice {
    /// splitmix64.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        (0..self.below(len_max)).map(|_| self.roll() as u8).collect()
    }
}
