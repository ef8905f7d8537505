//! Which records of a batch are not sent, and where that leaves the others.

/// Which records of a batch were withdrawn before it was claimed; they are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    below: u32,
    /// At or above `below`, ascending.
    single: Vec<u32>,
}

impl Dropped {
    pub(in crate::producer) fn new(below: u32, single: Vec<u32>) -> Self {
        Self { below, single }
    }

    /// These, none of which is among them yet, are not sent either.
    pub(super) fn add(&mut self, refused: &[u32]) {
        self.single.extend(refused);
        self.single.sort_unstable();
    }

    /// Whether every record is sent.
    pub fn is_empty(&self) -> bool {
        self.below == 0 && self.single.is_empty()
    }

    /// Whether this record is not sent.
    pub fn contains(&self, index: u32) -> bool {
        index < self.below || self.single.binary_search(&index).is_ok()
    }

    /// How many records are not sent.
    pub fn len(&self) -> u32 {
        self.below + self.single.len() as u32
    }

    /// The record's place among those that are sent; of one that is not, the place of the next.
    pub(super) fn rank(&self, index: u32) -> u32 {
        let single = self.single.partition_point(|dropped| *dropped < index) as u32;
        index.max(self.below) - self.below - single
    }
}
