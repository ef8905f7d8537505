//! The numbers of Kafka as types, so that an epoch is never taken for a sequence.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A broker's id in its cluster.
    NodeId(i32)
}
id! {
    /// A partition's number within its topic.
    PartitionIndex(i32)
}
id! {
    /// One partition of one topic, numbered by this client; dense, never reused.
    PartitionId(u32)
}
id! {
    /// A topic, numbered by this client in the order in which it was first asked for.
    TopicIndex(u32)
}
id! {
    /// What InitProducerId gave; together with an epoch the first part of a stamp.
    ProducerId(i64)
}
id! {
    /// The generation of a producer id; a higher one makes brokers refuse the lower ones on a partition.
    Epoch(i16)
}
id! {
    /// The generation of a partition's leadership; compares only within one topic id.
    LeaderEpoch(i32)
}

/// The number of a record among those of one producer id and epoch on one partition. Wraps from 2^31 − 1 to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(i32);

impl Sequence {
    /// Where every epoch starts.
    pub const FIRST: Self = Self(0);

    /// A sequence as it stands in a batch header; negative ones belong to no producer id.
    pub fn new(sequence: i32) -> Option<Self> {
        (sequence >= 0).then_some(Self(sequence))
    }

    /// The number for the wire.
    pub const fn value(self) -> i32 {
        self.0
    }

    /// The sequence after a batch of `count` records that starts here.
    #[must_use]
    pub const fn next(self, count: u32) -> Self {
        Self(((self.0 as i64 + count as i64) & i32::MAX as i64) as i32)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who stamps: one producer id in one of its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// From InitProducerId.
    pub producer_id: ProducerId,
    /// 0 for a fresh id.
    pub epoch: Epoch,
}

/// One road to a broker: the fast one, or the slow one for partitions whose answers are late (rule 27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The broker.
    pub node: NodeId,
    /// Brokers serve one request per connection at a time, so who is slow has a connection of its own.
    pub is_slow: bool,
}

impl LaneId {
    /// The broker's lane for partitions that are answered in time.
    pub const fn fast(node: NodeId) -> Self {
        Self { node, is_slow: false }
    }

    /// The broker's lane for partitions that are not.
    pub const fn slow(node: NodeId) -> Self {
        Self { node, is_slow: true }
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.node, if self.is_slow { " slow" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_wraps_to_zero_after_the_largest_number() {
        let last = Sequence::new(i32::MAX).expect("not negative");
        assert_eq!(last.next(1), Sequence::FIRST);
        assert_eq!(last.next(11), Sequence(10));
        assert_eq!(Sequence::FIRST.next(7), Sequence(7));
        assert_eq!(Sequence::new(-1), None);
    }

    #[test]
    fn a_slow_lane_says_so() {
        let lanes = [LaneId::fast(NodeId(3)), LaneId::slow(NodeId(3))];
        assert_eq!(lanes.map(|lane| lane.to_string()), ["3", "3 slow"]);
    }
}
