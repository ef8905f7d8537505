//! The ids of the broker's side. Each is a type, so that a partition is never taken for a node.
//!
//! Numbers are Kafka's own; wrap-around of sequences lives in [`Sequence::advance`], once.

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
    /// A broker of the cluster.
    NodeId(i32)
}
impl From<i32> for NodeId {
    fn from(id: i32) -> NodeId {
        NodeId(id)
    }
}

impl From<i32> for PartitionIndex {
    fn from(index: i32) -> PartitionIndex {
        PartitionIndex(index)
    }
}

id! {
    /// A client's connection to one node; never reused within a cluster's life.
    ConnectionId(u64)
}
id! {
    /// A partition within its topic, counted from 0.
    PartitionIndex(i32)
}
id! {
    /// A producer, as handed out by InitProducerId.
    ProducerId(i64)
}
id! {
    /// A producer's epoch; a higher one fences all lower ones on the partitions that saw it.
    Epoch(i16)
}
id! {
    /// A record's place in its producer's row on one partition; 0 follows `i32::MAX`.
    Sequence(i32)
}

impl Sequence {
    /// The sequence `count` places later. Kafka counts through 0 after `i32::MAX`, also inside a batch.
    pub fn advance(self, count: i32) -> Sequence {
        Sequence(self.0.wrapping_add(count) & i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_counts_through_zero_after_the_largest() {
        assert_eq!(Sequence(i32::MAX).advance(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).advance(4), Sequence(2));
        assert_eq!(Sequence(5).advance(0), Sequence(5));
    }
}
