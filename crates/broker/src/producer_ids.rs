//! Producer ids: handed out once, also across restarts.
//!
//! A block is reserved in the catalogue before its first id is given away; a restart goes on after the last reserved block. What
//! was reserved and not used is lost, which costs nothing: there are 2^63 of them.

use crate::ids::ProducerId;

/// The next producer id, and how far the catalogue allows to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIds {
    next: i64,
    reserved: i64,
}

impl ProducerIds {
    /// After a start: every id below `reserved` may have been given away.
    pub(crate) fn after(reserved: i64) -> ProducerIds {
        ProducerIds { next: reserved, reserved }
    }

    pub(crate) fn reserved(&self) -> i64 {
        self.reserved
    }

    /// How far to reserve before the next id can be taken; none if there is one left.
    pub(crate) fn reservation(&self) -> Option<i64> {
        (self.next == self.reserved).then(|| self.reserved + BLOCK)
    }

    /// The catalogue has it now.
    pub(crate) fn reserve(&mut self, reserved: i64) {
        self.reserved = reserved;
    }

    pub(crate) fn take(&mut self) -> ProducerId {
        assert!(self.next < self.reserved, "an id is taken from a reserved block");
        let id = ProducerId(self.next);
        self.next += 1;
        id
    }
}

/// Kafka's controller gives brokers blocks of this size.
const BLOCK: i64 = 1_000;
