//! What the record with a number holds: everything follows from the number, so that the log can be compared with what was
//! sent without keeping it.

use std::time::Duration;

/// Number of a record. The row of the table in the upper half, counted from 1.
pub type Id = u64;

/// The record with this number.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    pub key: Option<Vec<u8>>,
    /// Starts with the number.
    pub value: Vec<u8>,
}

impl Content {
    pub fn of(id: Id) -> Self {
        let mut dice = Dice(id);
        let key = (dice.below(4) > 0).then(|| format!("key {}", dice.below(KEYS)).into_bytes());
        // Most are small, some are large.
        let length = 100 + dice.below(30) * dice.below(30);
        let mut value = id.to_be_bytes().to_vec();
        while value.len() < length as usize {
            value.extend(dice.bits().to_be_bytes());
        }
        value.truncate(length as usize);
        Self { key, value }
    }

    /// The number that a value claims to have.
    pub fn id(value: &[u8]) -> Option<Id> {
        value.first_chunk().map(|bytes| Id::from_be_bytes(*bytes))
    }
}

/// One of these deadlines; drawn apart from the content.
pub fn deadline(id: Id, among: &[Duration]) -> Duration {
    let drawn = Dice(!id).below(among.len() as u64);
    among[drawn as usize]
}

/// When the caller changes its mind: one record in fifty is cancelled within a tenth of a second.
pub fn cancelled_after(id: Id) -> Option<Duration> {
    let mut dice = Dice(id.rotate_left(32));
    (dice.below(50) == 0).then(|| Duration::from_millis(dice.below(100)))
}

/// Whether it is withdrawn at its deadline, where some are. Long runs of records are, so that many batches have no other.
pub fn is_withdrawn(id: Id) -> bool {
    Dice((id >> 7).rotate_left(16)).below(4) > 0
}

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}

/// Enough that every partition has some.
const KEYS: u64 = 200;
