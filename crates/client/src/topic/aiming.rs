//! Which partition a record is for, as far as that is decided before it is accepted.
//!
//! Always holds: what is decided about a record is decided once for each call, however long the call waits.
//!
//! Left out: where records go that may go anywhere; see `sticky.rs` and `accepting.rs`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use milena_core::producer::front::{RecordRef, WhenFull};
use milena_core::time::Now;

use super::Topic;
use super::sticky::Sticky;
use crate::error::SendRefused;
use crate::partitioner::{Aim, CustomPartitioner, Partitioner, Partitioning};
use crate::record::Record;
use crate::room::Target;
use crate::slot::PartitionSlot;

/// A record, and what is decided of where it goes.
#[derive(Clone, Copy)]
pub(super) struct Offer<'r> {
    pub(super) record: RecordRef<'r>,
    pub(super) aim: Aim<'r>,
}

/// What a function chose.
#[derive(Clone, Copy)]
enum Choice {
    /// It was not asked: there are no partitions yet.
    None,
    Anywhere,
    Place(i32),
}

/// A partition that the topic does not have.
#[derive(Clone, Copy)]
pub(super) struct NoSuchPartition {
    pub(super) partition: i32,
    /// As many as it has.
    pub(super) count: usize,
}

impl NoSuchPartition {
    pub(super) fn refused(self) -> SendRefused {
        SendRefused::NoSuchPartition { partition: self.partition, count: self.count }
    }
}

impl Topic {
    /// What is decided about a record's partition is decided once for each call, however long it waits.
    #[inline(always)]
    pub(super) fn offer<'r>(&self, record: &'r Record<'_>, taken: RecordRef<'r>) -> Offer<'r> {
        Offer { record: taken, aim: self.aim(record) }
    }

    #[inline(always)]
    pub(super) fn aim<'r>(&self, record: &'r Record<'_>) -> Aim<'r> {
        let shared = self.shared();
        if let Some(partition) = record.own_partition() {
            return Aim::Place(partition);
        }
        if let Some((hash, key)) = shared.partitioner.hashed(record.key_bytes()) {
            return Aim::Key(hash, key);
        }
        match &shared.partitioner {
            Partitioner::RoundRobin => Aim::Turn(shared.turns.fetch_add(1, Ordering::Relaxed)),
            Partitioner::Custom(custom) => {
                let (key, value) = (record.key_bytes(), record.value_bytes());
                match self.ask(custom, key, value) {
                    Choice::None => Aim::Undecided { key, value },
                    Choice::Anywhere => Aim::Anywhere,
                    Choice::Place(place) => Aim::Place(place),
                }
            }
            _ => Aim::Anywhere,
        }
    }

    #[cold]
    #[inline(never)]
    fn ask(&self, custom: &CustomPartitioner, key: Option<&[u8]>, value: Option<&[u8]>) -> Choice {
        match self.shared.partitions().len() as i32 {
            0 => Choice::None,
            partitions => {
                let record = Partitioning { topic: self.name(), key, value, partitions };
                custom.choose(&record).map_or(Choice::Anywhere, Choice::Place)
            }
        }
    }

    /// The partition, of these, of a record that cannot go anywhere.
    #[inline(always)]
    pub(super) fn aimed_at<'s>(
        &self,
        aim: Aim<'_>,
        partitions: &'s [Arc<PartitionSlot>],
    ) -> Result<Option<&'s Arc<PartitionSlot>>, NoSuchPartition> {
        if let Aim::Anywhere = aim { Ok(None) } else { self.decided(aim, partitions) }
    }

    fn decided<'s>(
        &self,
        aim: Aim<'_>,
        partitions: &'s [Arc<PartitionSlot>],
    ) -> Result<Option<&'s Arc<PartitionSlot>>, NoSuchPartition> {
        let Some(count) = NonZeroU32::new(partitions.len() as u32) else { return Ok(None) };
        let aim = match (aim, &self.shared().partitioner) {
            (Aim::Undecided { key, value }, Partitioner::Custom(custom)) => match self.ask(custom, key, value) {
                Choice::Place(place) => Aim::Place(place),
                Choice::None | Choice::Anywhere => Aim::Anywhere,
            },
            _ => aim,
        };
        let Some(partition) = aim.place(count) else { return Ok(None) };
        let slot = usize::try_from(partition).ok().and_then(|place| partitions.get(place));
        slot.map(Some).ok_or(NoSuchPartition { partition, count: partitions.len() })
    }

    /// Where records go now that may go anywhere, of so many partitions.
    pub(super) fn sticky_place(&self, count: usize) -> usize {
        self.sticky().place(count)
    }

    /// Where this thread's records go that may go anywhere.
    #[inline]
    pub(super) fn sticky(&self) -> &Sticky {
        self.shared.visits.here()
    }

    /// Where this record would be tried first, and what to do there when it does not fit. Nowhere before partitions are
    /// known, and where that is asked anew for each record.
    pub(super) fn run_of(&self, now: Now, record: &Record<'_>) -> Option<(&Arc<PartitionSlot>, WhenFull)> {
        if matches!(self.shared().partitioner, Partitioner::RoundRobin | Partitioner::Custom(_)) {
            return None;
        }
        let aim = self.aim(record);
        let partitions = self.shared.partitions();
        match (self.aimed_at(aim, partitions).ok()?, partitions) {
            (Some(slot), _) => Some((slot, WhenFull::OpenNext)),
            (None, []) => None,
            (None, [slot]) => Some((slot, WhenFull::OpenNext)),
            // The way for single records begins a visit, and ends it.
            (None, _) if self.sticky().is_over(now.moment) => None,
            (None, partitions) => Some((&partitions[self.sticky_place(partitions.len())], WhenFull::Refuse)),
        }
    }

    pub(super) fn target(&self, aim: Aim<'_>) -> Target {
        let aimed_at = self.aimed_at(aim, self.shared.partitions()).ok().flatten();
        aimed_at.map(|slot| (slot.id(), Arc::clone(slot.account())))
    }
}
