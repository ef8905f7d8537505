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
use super::aiming::Offer;
use crate::error::SendRefused;
use crate::partitioner::Aim;
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

impl Topic {
    #[inline]
    pub(super) fn accept<T>(
        &self,
        now: Now,
        offer: Offer<'_>,
        reply: Reply,
        rights: Rights,
        take: impl FnOnce(&Appended<'_>) -> T,
    ) -> Result<T, Refused> {
        let mut take = Some(take);
        let mut once = |appended: &Appended<'_>| (take.take().expect("a record is accepted once"))(appended);
        loop {
            match self.accept_now(now, offer, reply, rights, &mut once)? {
                Ok(taken) => return Ok(taken),
                // Its partition is gone, and the topic's others were known before its front was closed.
                Err(AppendError::Closed) if self.shared().closed().is_none() => {}
                Err(error) => return Err(self.refusal(error, offer.aim)),
            }
        }
    }

    #[inline]
    pub(super) fn accept_now<T>(
        &self,
        now: Now,
        Offer { record, aim }: Offer<'_>,
        reply: Reply,
        rights: Rights,
        once: &mut impl FnMut(&Appended<'_>) -> T,
    ) -> Result<Result<T, AppendError>, Refused> {
        let partitions = self.shared.partitions();
        if partitions.is_empty() {
            return Err(SendRefused::MetadataPending.into());
        }
        let aimed_at = self.aimed_at(aim)?;
        let pool = &self.shared().pool;
        self.check_rights(rights, aimed_at)?;
        Ok(match aimed_at {
            Some(slot) => slot.append(now, &**pool, record, reply, WhenFull::OpenNext, once),
            None => self.append_sticky(now, partitions, record, reply, rights, once),
        })
    }

    /// Whether nobody is overtaken.
    #[inline]
    pub(super) fn check_rights(&self, rights: Rights, keyed: Option<&Arc<PartitionSlot>>) -> Result<(), Refused> {
        let pool = &self.shared().pool;
        if rights == Rights::None && self.shared.arrivals.has_waiters() {
            return Err(self.refused_behind(Ahead::Room));
        }
        if rights != Rights::Room
            && let Some(ahead) = pool.room.must_wait(keyed.map(|slot| slot.id()), &**pool)
        {
            return Err(self.refused_behind(ahead));
        }
        Ok(())
    }

    #[cold]
    pub(super) fn refused_behind(&self, ahead: Ahead) -> Refused {
        let why = match (self.shared().closed(), ahead) {
            (Some(why), _) => SendRefused::by_close(why),
            (None, Ahead::Room) => SendRefused::BufferFull,
            (None, Ahead::Partition) => SendRefused::PartitionFull,
        };
        why.into()
    }

    /// The partition of this visit, or of the next one. A batch that is full ends a visit, instead of leaving a thin batch
    /// behind on its partition. So does a partition that holds its share of the memory, or that somebody waits for.
    #[inline]
    pub(super) fn append_sticky<T>(
        &self,
        now: Now,
        partitions: &[Arc<PartitionSlot>],
        record: RecordRef<'_>,
        reply: Reply,
        rights: Rights,
        once: &mut impl FnMut(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let (pool, front) = (&self.shared().pool, &self.shared().front);
        let count = partitions.len();
        let sticky = self.sticky();
        let is_new = count > 1 && sticky.is_over(now.moment);
        let first = match is_new && sticky.has_begun() {
            true => sticky.next(partitions, front.batch_size),
            false => sticky.place(count),
        };
        let mut when_full = if count == 1 { WhenFull::OpenNext } else { WhenFull::Refuse };
        // If every partition has somebody who waits for it, only their leaving helps.
        let mut tight = Tight { wanted: usize::MAX, room: 0, free: pool.room(None) };
        let tries = if rights == Rights::Room { count } else { count.min(TRIES_MAX) };
        let mut from = first;
        for step in 0..=tries {
            if step == 1 {
                when_full = WhenFull::OpenNext;
                from = sticky.next(partitions, front.batch_size);
            }
            let place = (from + step) % count;
            let slot = &partitions[place];
            if pool.room.waits_for(slot.id()) {
                continue;
            }
            match slot.append(now, &**pool, record, reply, when_full, &mut *once) {
                Err(AppendError::BatchFull(_)) => {}
                Err(AppendError::ShareFull(_, found)) => tight = tight.looser(found),
                Err(error) => return Err(error),
                Ok(taken) => {
                    if is_new || step > 0 {
                        sticky.begin(place, now.moment, front.linger, front.batch_size);
                    }
                    sticky.count(size_of_record(&record));
                    return Ok(taken);
                }
            }
        }
        Err(AppendError::ShareFull(Notice::Nothing, tight))
    }

    /// What it means that partitions were not known since `called` is found out when nobody waits any more.
    #[cold]
    pub(super) fn explain(&self, refused: Refused, called: Moment) -> SendRefused {
        match refused.why {
            SendRefused::MetadataPending => self.shared().why_no_partitions(&self.shared, called),
            why => why,
        }
    }

    #[cold]
    pub(super) fn refusal(&self, error: AppendError, aim: Aim<'_>) -> Refused {
        let why = match error {
            AppendError::TooLarge { size, limit } => SendRefused::RecordTooLarge { size, limit },
            AppendError::WithdrawNeedsIdempotence => SendRefused::WithdrawNeedsIdempotence,
            AppendError::Closed => self.shared().closed().map_or(SendRefused::Closed, SendRefused::by_close),
            AppendError::BufferFull(_) | AppendError::BatchFull(_) => SendRefused::BufferFull,
            AppendError::ShareFull(_, tight) => {
                return Refused { why: SendRefused::PartitionFull, tight: Some((self.target(aim), tight)) };
            }
        };
        why.into()
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
