//! One attempt to accept a record now: into its partition's batch, or into that of the visit.
//!
//! Always holds: nobody who waits is overtaken, and a record that was refused left no trace.
//!
//! Left out: waiting; see `calls.rs`.

use std::sync::Arc;

use milena_core::producer::account::Tight;
use milena_core::producer::front::{AppendError, Appended, Notice, RecordRef, Reply, WhenFull};
use milena_core::time::{Moment, Now};

use super::Topic;
use super::aiming::{NoSuchPartition, Offer};
use crate::error::{SendError, SendRefused};
use crate::partitioner::Aim;
use crate::record::Record;
use crate::room::{Ahead, Gauge};
use crate::slot::PartitionSlot;
use crate::waiting::Refused;

/// Whom a record may overtake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Nobody who waits.
    None,
    /// Its caller is the first of those who wait for the topic.
    Arrival,
    /// Its caller is the first of those who wait for room.
    Room,
}

/// One attempt to accept a record.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'r> {
    pub(super) now: Now,
    pub(super) offer: Offer<'r>,
    pub(super) reply: Reply,
    pub(super) rights: Rights,
}

/// What is in the way of a record now. What its caller is told is made of it apart: a record that is accepted, as nearly all
/// are, must not carry room for that from function to function.
#[derive(Clone, Copy)]
pub(super) enum Obstacle {
    /// The topic's partitions are not known.
    Pending,
    /// It is for none of them.
    NoSuchPartition(NoSuchPartition),
    /// Somebody waits whom it would overtake.
    Behind(Ahead),
    /// Its partition refused it, or all that it tried did.
    Refused(AppendError),
}

impl Topic {
    /// Inlined by force, as is all that it calls where nothing is in the way: the record is then read where its caller has
    /// it, and left to the compiler it was copied from function to function. What is called where something is in the way
    /// gets a copy of the attempt, because one that others see cannot be held in registers. Together a third of what posting
    /// a small record takes.
    #[inline(always)]
    pub(super) fn accept<T>(&self, attempt: &Attempt<'_>, take: &impl Fn(&Appended<'_>) -> T) -> Result<T, Obstacle> {
        match self.accept_now(attempt, take) {
            Err(Obstacle::Refused(AppendError::Closed)) => self.accept_again(&{ *attempt }, take),
            decided => decided,
        }
    }

    /// Its partition is gone, and the topic's others were known before its front was closed; unless everything is closed.
    #[cold]
    fn accept_again<T>(&self, attempt: &Attempt<'_>, take: &impl Fn(&Appended<'_>) -> T) -> Result<T, Obstacle> {
        loop {
            if self.shared().closed().is_some() {
                return Err(Obstacle::Refused(AppendError::Closed));
            }
            match self.accept_now(attempt, take) {
                Err(Obstacle::Refused(AppendError::Closed)) => {}
                decided => return decided,
            }
        }
    }

    #[inline(always)]
    fn accept_now<T>(&self, attempt: &Attempt<'_>, take: &impl Fn(&Appended<'_>) -> T) -> Result<T, Obstacle> {
        let partitions = self.shared.partitions();
        if partitions.is_empty() {
            return Err(Obstacle::Pending);
        }
        let aimed_at = self.aimed_at(attempt.offer.aim, partitions).map_err(Obstacle::NoSuchPartition)?;
        if let Some(ahead) = self.ahead(attempt.rights, aimed_at) {
            return Err(Obstacle::Behind(ahead));
        }
        let decided = match aimed_at {
            Some(slot) => self.append(attempt, slot, WhenFull::OpenNext, take),
            None => self.append_sticky(attempt, partitions, take),
        };
        decided.map_err(Obstacle::Refused)
    }

    /// Whom the record would overtake.
    #[inline(always)]
    pub(super) fn ahead(&self, rights: Rights, aimed_at: Option<&Arc<PartitionSlot>>) -> Option<Ahead> {
        let may_overtake = rights == Rights::Room || !self.somebody_waits();
        if may_overtake { None } else { self.ahead_of_those_who_wait(rights, aimed_at) }
    }

    #[cold]
    fn ahead_of_those_who_wait(&self, rights: Rights, aimed_at: Option<&Arc<PartitionSlot>>) -> Option<Ahead> {
        if rights == Rights::None && self.shared.arrivals.has_waiters() {
            return Some(Ahead::Room);
        }
        let pool = &self.shared().pool;
        pool.room.must_wait(aimed_at.map(|slot| slot.id()), &**pool)
    }

    #[inline(always)]
    fn append<T>(
        &self,
        Attempt { now, offer, reply, .. }: &Attempt<'_>,
        slot: &Arc<PartitionSlot>,
        when_full: WhenFull,
        take: &impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        slot.append(*now, &*self.shared().pool, offer.record, *reply, when_full, take)
    }

    /// The partition of this visit, or of the next one. A batch that is full ends a visit, instead of leaving a thin batch
    /// behind on its partition. So does a partition that holds its share of the memory, or that somebody waits for.
    #[inline(always)]
    fn append_sticky<T>(
        &self,
        attempt: &Attempt<'_>,
        partitions: &[Arc<PartitionSlot>],
        take: &impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        if let [slot] = partitions {
            return self.append_in_passing(attempt, slot, WhenFull::OpenNext, take);
        }
        let sticky = self.sticky();
        if sticky.is_over(attempt.now.moment) {
            return self.append_in_next_visit(&{ *attempt }, partitions, take);
        }
        let slot = &partitions[sticky.place(partitions.len())];
        match self.append_in_passing(attempt, slot, WhenFull::Refuse, take) {
            Ok(taken) => {
                sticky.count(size_of_record(&attempt.offer.record));
                Ok(taken)
            }
            Err(error) => self.append_elsewhere(&{ *attempt }, partitions, error, take),
        }
    }

    /// Unless somebody waits for this partition; then only their leaving helps.
    #[inline(always)]
    fn append_in_passing<T>(
        &self,
        attempt: &Attempt<'_>,
        slot: &Arc<PartitionSlot>,
        when_full: WhenFull,
        take: &impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let pool = &self.shared().pool;
        if pool.room.waits_for(slot.id()) {
            let tight = Tight { wanted: usize::MAX, room: 0, free: pool.room(None) };
            return Err(AppendError::ShareFull(Notice::Nothing, tight));
        }
        self.append(attempt, slot, when_full, take)
    }

    /// The visit is over. The first one goes where the thread starts.
    #[cold]
    fn append_in_next_visit<T>(
        &self,
        attempt: &Attempt<'_>,
        partitions: &[Arc<PartitionSlot>],
        take: &impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let sticky = self.sticky();
        let place = match sticky.has_begun() {
            true => sticky.next(partitions, self.shared().front.batch_size),
            false => sticky.place(partitions.len()),
        };
        match self.append_in_passing(attempt, &partitions[place], WhenFull::Refuse, take) {
            Ok(taken) => {
                self.begin_visit(attempt, place);
                Ok(taken)
            }
            Err(error) => self.append_elsewhere(attempt, partitions, error, take),
        }
    }

    /// The partition where the record was tried first said this.
    #[cold]
    fn append_elsewhere<T>(
        &self,
        attempt: &Attempt<'_>,
        partitions: &[Arc<PartitionSlot>],
        first: AppendError,
        take: &impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let count = partitions.len();
        let mut tight = match first {
            AppendError::BatchFull(_) => Tight { wanted: usize::MAX, room: 0, free: self.shared().pool.room(None) },
            AppendError::ShareFull(_, found) => found,
            error => return Err(error),
        };
        let from = self.sticky().next(partitions, self.shared().front.batch_size);
        let tries = if attempt.rights == Rights::Room { count } else { count.min(TRIES_MAX) };
        for place in (0..tries).map(|step| (from + step) % count) {
            match self.append_in_passing(attempt, &partitions[place], WhenFull::OpenNext, take) {
                Err(AppendError::BatchFull(_)) => {}
                Err(AppendError::ShareFull(_, found)) => tight = tight.looser(found),
                Err(error) => return Err(error),
                Ok(taken) => {
                    self.begin_visit(attempt, place);
                    return Ok(taken);
                }
            }
        }
        Err(AppendError::ShareFull(Notice::Nothing, tight))
    }

    fn begin_visit(&self, attempt: &Attempt<'_>, place: usize) {
        let (sticky, front) = (self.sticky(), &self.shared().front);
        sticky.begin(place, attempt.now.moment, front.linger, front.batch_size);
        sticky.count(size_of_record(&attempt.offer.record));
    }

    /// What a caller who may wait is told.
    #[cold]
    pub(super) fn refused(&self, obstacle: Obstacle, aim: Aim<'_>) -> Refused {
        let tight = match obstacle {
            Obstacle::Refused(AppendError::ShareFull(_, tight)) => Some((self.target(aim), tight)),
            _ => None,
        };
        Refused { why: self.why(obstacle), tight }
    }

    fn why(&self, obstacle: Obstacle) -> SendRefused {
        let by_close = || self.shared().closed().map(SendRefused::by_close);
        match obstacle {
            Obstacle::Pending => SendRefused::MetadataPending,
            Obstacle::NoSuchPartition(none) => none.refused(),
            Obstacle::Behind(Ahead::Room) => by_close().unwrap_or(SendRefused::BufferFull),
            Obstacle::Behind(Ahead::Partition) => by_close().unwrap_or(SendRefused::PartitionFull),
            Obstacle::Refused(AppendError::TooLarge { size, limit }) => SendRefused::RecordTooLarge { size, limit },
            Obstacle::Refused(AppendError::WithdrawNeedsIdempotence) => SendRefused::WithdrawNeedsIdempotence,
            Obstacle::Refused(AppendError::Closed) => by_close().unwrap_or(SendRefused::Closed),
            Obstacle::Refused(AppendError::BufferFull(_) | AppendError::BatchFull(_)) => SendRefused::BufferFull,
            Obstacle::Refused(AppendError::ShareFull(..)) => SendRefused::PartitionFull,
        }
    }

    /// To a caller who does not wait.
    #[cold]
    #[inline(never)]
    pub(super) fn give_back<'a>(&self, obstacle: Obstacle, called: Moment, record: Record<'a>) -> SendError<'a> {
        SendError::new(&self.shared.name, self.explain(self.why(obstacle), called), record)
    }

    /// What it means that partitions were not known since `called` is found out when nobody waits any more.
    #[cold]
    pub(super) fn explain(&self, why: SendRefused, called: Moment) -> SendRefused {
        match why {
            SendRefused::MetadataPending => self.shared().why_no_partitions(&self.shared, called),
            why => why,
        }
    }
}

/// Partitions that a record without a key tries, for a caller who does not wait; one who waits tries all.
pub(super) const TRIES_MAX: usize = 64;

/// About as many bytes as it takes in its batch.
#[inline]
pub(super) fn size_of_record(record: &RecordRef<'_>) -> usize {
    RECORD_AROUND + record.key.map_or(0, <[u8]>::len) + record.value.as_slice().map_or(0, <[u8]>::len)
}

/// Lengths, deltas and attributes of a small record.
const RECORD_AROUND: usize = 8;
