//! Ending what a part of the driver holds when it stops.
//!
//! Always holds: a partition that is on its way between two tasks ends when its message is dropped, wherever that happens.
//! On a runtime with several threads both tasks may be dropped at the same time, and neither could look after the other's
//! mail.

use std::fmt;
use std::sync::Arc;

use milena_core::producer::back::PartitionBack;
use milena_core::producer::outcome::{NotWritten, Undetermined};

use super::Surroundings;
use crate::report::Reporter;
use crate::shared::Shared;

/// What a batch that was sent ends with when an unsent one ends so.
pub(super) fn doubt_for(unclaimed: NotWritten) -> Undetermined {
    match unclaimed {
        NotWritten::DriverLost => Undetermined::DriverLost,
        _ => Undetermined::ClosedBeforeProof,
    }
}

/// A message that may carry a partition.
pub(super) trait Carrier {
    fn into_back(self) -> Option<Box<PartitionBack>>;
}

/// A message between two tasks. Dropped unopened it ends the partition that it carries: whoever should have it is gone.
pub(super) struct Parcel<M: Carrier> {
    /// Taken when it is opened.
    message: Option<M>,
    surroundings: Surroundings,
}

impl<M: Carrier> Parcel<M> {
    pub(super) fn new(message: M, surroundings: &Surroundings) -> Self {
        Self { message: Some(message), surroundings: surroundings.clone() }
    }

    /// To be looked at and left to end.
    pub(super) fn message(&self) -> &M {
        self.message.as_ref().expect("it is not opened")
    }

    pub(super) fn open(mut self) -> M {
        self.message.take().expect("it is opened once")
    }
}

impl<M: Carrier> Drop for Parcel<M> {
    fn drop(&mut self) {
        if let Some(back) = self.message.take().and_then(M::into_back) {
            let Surroundings { shared, reporter, .. } = &self.surroundings;
            end_back(*back, self.surroundings.last_reason(), shared, reporter);
        }
    }
}

impl<M: Carrier + fmt::Debug> fmt::Debug for Parcel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parcel").field(&self.message).finish()
    }
}

/// Ends a partition that nobody will lead.
pub(super) fn end_back(mut back: PartitionBack, unclaimed: NotWritten, shared: &Arc<Shared>, reporter: &Reporter) {
    let mut ended = Vec::new();
    back.end_all(unclaimed, doubt_for(unclaimed), &mut ended);
    // One that callers were not told of yet has no batches, and no slot.
    ended.into_iter().for_each(|ended| shared.conclude(&shared.slot(back.id()), ended, reporter));
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use milena_core::ids::{PartitionId, PartitionIndex};
    use milena_core::producer::back::{BackConfig, TopicRef};
    use milena_core::producer::batch::SealReason;
    use milena_core::producer::control::NewPartition;
    use milena_core::producer::front::{PartitionFront, Reply, WhenFull};
    use milena_core::producer::lane::LaneOrder;
    use milena_core::producer::trouble::Trouble;
    use milena_wire::Uuid;
    use tokio::sync::{mpsc, watch};

    use super::super::lane_task::ToLane;
    use super::super::packers::Packers;
    use super::*;
    use crate::config::Settings;
    use crate::gate::Gate;
    use crate::pool::ChunkPool;
    use crate::slot::PartitionSlot;
    use crate::{Outcome, ProducerConfig, Record};

    fn surroundings() -> (Surroundings, Settings, Arc<ChunkPool>) {
        let settings = ProducerConfig::new("a:1").check().expect("fits");
        let pool = Arc::new(ChunkPool::new(settings.buffer_memory, settings.memory_share));
        let shared = Arc::new(Shared::new(&settings, None, Arc::clone(&pool), mpsc::unbounded_channel().0));
        let (reporter, _) = Reporter::new(Arc::clone(&pool), None);
        let (_, stop) = watch::channel(None);
        let (packers, connect_timeout) = (Packers::none(), settings.connect_timeout);
        (Surroundings { shared, reporter, packers, connect_timeout, stop }, settings, pool)
    }

    fn new_back(new: &NewPartition, settings: &Settings) -> PartitionBack {
        let topic = TopicRef { name: "orders".into(), id: Uuid::ZERO };
        PartitionBack::new(new, topic, BackConfig::new(settings.front.deadline, settings.control.retry))
    }

    /// A producer that ended while partitions of a large topic appeared took the process with it: the driver panicked, and
    /// again while it was cleaned up.
    #[test]
    fn a_partition_that_no_caller_was_told_of_ends() {
        let (Surroundings { shared, reporter, .. }, settings, _) = surroundings();
        let new = NewPartition { id: PartitionId(7), index: PartitionIndex(7), trouble: Trouble::new() };
        end_back(new_back(&new, &settings), NotWritten::Closed, &shared, &reporter);
    }

    /// A lane was dropped between the look at its mail and the end of its channel, and what came meanwhile waited for ever.
    #[test]
    fn a_partition_whose_message_nobody_opens_ends() {
        let (surroundings, settings, pool) = surroundings();
        let shared = Arc::clone(&surroundings.shared);
        let new = NewPartition { id: PartitionId(0), index: PartitionIndex(0), trouble: Trouble::new() };
        let front = PartitionFront::new(new.index, Arc::clone(&new.trouble), settings.front);
        let watch = Arc::clone(&shared.watch);
        let slot = Arc::new(PartitionSlot::new(new.id, "orders".into(), front, Arc::new(Gate::new()), watch));
        shared.add_slot(Arc::clone(&slot));
        let mut back = new_back(&new, &settings);
        let (now, record) = (shared.clock.now(), Record::value("v"));
        let delivery = slot
            .append(now, &*pool, record.at(now.moment), Reply::Handle, WhenFull::OpenNext, |new| new.delivery())
            .expect("there is room");
        slot.with_front(|front| {
            front.seal(SealReason::Flush);
            front.take_sealed().for_each(|batch| back.add_sealed(batch));
        });
        let (orders, lane) = mpsc::unbounded_channel();
        let order = ToLane::Order(LaneOrder::Adopt(Box::new(back)));
        assert!(orders.send(Parcel::new(order, &surroundings)).is_ok());
        assert!(delivery.try_outcome().is_none(), "it is on its way");
        drop(lane);
        let outcome = delivery.try_outcome();
        let Some(Outcome::NotWritten(why)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(why.reason, NotWritten::DriverLost);
        assert_eq!(pool.held(), 0);
    }
}
