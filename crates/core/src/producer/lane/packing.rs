//! Work on bytes: handed out partition by partition, in turn, and never more at a time than keeps those busy who do it.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Lane;
use crate::ids::PartitionId;
use crate::producer::body::ChunkSource;
use crate::producer::packing::{PackDone, PackJob, PackTicket};

/// More than there are threads that do it, so that none waits for the lane; few enough that a partition with a long queue
/// does not stand before the others.
const IN_WORK_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Work {
    /// Partitions that may have some.
    pub(super) open: BTreeSet<PartitionId>,
    /// After which one the next turn begins.
    last: PartitionId,
    /// Handed out and not done.
    out: BTreeSet<(PartitionId, PackTicket)>,
    /// Of the broker; the newest there is, while it has not told.
    pub(super) produce_version: i16,
}

impl Default for Work {
    fn default() -> Self {
        Self { open: BTreeSet::new(), last: PartitionId(0), out: BTreeSet::new(), produce_version: i16::MAX }
    }
}

impl Work {
    /// The partition leaves.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.open.remove(&partition);
        self.out.retain(|(of, _)| *of != partition);
    }
}

impl Lane {
    /// Work on a batch's bytes, to be done by whoever has the time and told with [`Self::handle_packed`], or given back with
    /// [`PackJob::give_back`] if the lane ends. To be asked after everything that may have brought some.
    pub fn poll_pack(&mut self) -> Option<PackJob> {
        while self.work.out.len() < IN_WORK_MAX {
            let after = (Bound::Excluded(self.work.last), Bound::Unbounded);
            let next = self.work.open.range(after).chain(&self.work.open).next().copied()?;
            let held = self.partitions.get_mut(&next).expect("open work is that of partitions of this lane");
            self.work.last = next;
            match held.back.poll_pack() {
                Some(job) => {
                    self.work.out.insert((next, job.order.ticket));
                    return Some(job);
                }
                None => drop(self.work.open.remove(&next)),
            }
        }
        None
    }

    /// Work is done.
    pub fn handle_packed(&mut self, done: PackDone, chunks: &(impl ChunkSource + ?Sized)) {
        let (partition, ticket) = (done.order.partition, done.order.ticket);
        self.work.out.remove(&(partition, ticket));
        match self.partitions.get_mut(&partition) {
            Some(held) => {
                held.back.handle_packed(done, chunks);
                self.touch(partition);
            }
            None => done.give_back(chunks),
        }
    }

    /// The broker has told what it speaks.
    pub(super) fn meet_broker(&mut self, produce_version: i16) {
        self.work.produce_version = produce_version;
        let packing = self.partitions.iter_mut().filter(|(_, held)| held.back.is_packing());
        let met: Vec<PartitionId> = packing
            .map(|(id, held)| {
                held.back.meet_broker(produce_version);
                *id
            })
            .collect();
        met.into_iter().for_each(|id| self.touch(id));
    }
}
