//! What a completion says of its records: their states, their outcomes and what led to them. Nothing changes here.

use std::sync::Arc;

use super::{BatchCompletion, BatchEnd, Ended, Inner, RecordState};
use crate::producer::delivery::Fate;
use crate::producer::outcome::{Because, Cause, NotWritten, Outcome, Settlement, Tally, Written};
use crate::producer::roster::Standing;
use crate::sync::atomic::Ordering;

/// What became of the records of a batch that was written, where none of them stands apart: for all of them from one look.
/// It does not change any more.
#[derive(Clone, Copy, Debug)]
pub struct WrittenBatch {
    first: Written,
    /// Those before it had left already.
    from: u32,
}

impl WrittenBatch {
    /// The record's outcome, if it was written.
    #[inline]
    pub fn outcome(&self, index: u32) -> Option<Outcome> {
        (index >= self.from).then(|| Outcome::Written(self.first.after(index)))
    }
}

impl BatchCompletion {
    /// As [`Self::outcome`], for many.
    pub fn written_batch(&self) -> Option<WrittenBatch> {
        // As `state` does, in this order.
        let BatchEnd::Written { base_offset, log_append_time } = self.end()? else { return None };
        let left = [&self.withdrawn_below, &self.unknown_below].map(|below| below.load(Ordering::Acquire));
        let first = Written { partition: self.partition.0, offset: base_offset, timestamp: log_append_time };
        let is_regular = !self.is_irregular.load(Ordering::Acquire);
        is_regular.then(|| WrittenBatch { first, from: left[0].max(left[1]) })
    }

    /// The record's state as its caller sees it.
    pub fn state(&self, index: u32) -> RecordState {
        // Releases come before the end, and cancelling and dropping before the release or end that they bear on. Reading the
        // other way round, no answer misses what came before it.
        let regular = self.regular_state(index, self.end(), index);
        if self.is_irregular.load(Ordering::Acquire) {
            return self.state_locked(&self.inner.lock(), index);
        }
        regular
    }

    pub(in crate::producer) fn state_locked(&self, inner: &Inner, index: u32) -> RecordState {
        match inner.roster.standing(index) {
            Some(Standing::Expired) => RecordState::NotWritten(NotWritten::DeadlinePassed),
            Some(Standing::Cancelled) => RecordState::NotWritten(NotWritten::Cancelled),
            Some(Standing::Unknown) => RecordState::Unknown,
            Some(Standing::Waits | Standing::Ended) => self.part_state(inner, index),
            // One that had left with the prefix before its part ended keeps what it was told.
            None if inner.parts.is_told(index) => self.part_state(inner, index),
            None => self.regular_state(index, self.end(), self.rank(inner, index, 0)),
        }
    }

    /// As the record's part of the batch ended, or the batch.
    fn part_state(&self, inner: &Inner, index: u32) -> RecordState {
        if let Some((why, _)) = inner.parts.refused(index) {
            return RecordState::NotWritten(why);
        }
        let (end, first) = inner.parts.end_of(index).map_or((self.end(), 0), |(ended, first)| (Some(ended.end), first));
        self.ended_state(end, self.rank(inner, index, first))
    }

    /// The record's place among those that were sent from `first` on.
    fn rank(&self, inner: &Inner, index: u32, first: u32) -> u32 {
        let is_dropped = inner.dropped.contains(index);
        if is_dropped { index } else { inner.dropped.rank(index) - inner.dropped.rank(first) }
    }

    fn regular_state(&self, index: u32, end: Option<BatchEnd>, rank: u32) -> RecordState {
        if index < self.withdrawn_below.load(Ordering::Acquire) {
            return RecordState::NotWritten(NotWritten::DeadlinePassed);
        }
        if index < self.unknown_below.load(Ordering::Acquire) {
            return RecordState::Unknown;
        }
        self.ended_state(end, rank)
    }

    fn ended_state(&self, end: Option<BatchEnd>, rank: u32) -> RecordState {
        match end {
            None => RecordState::Waiting,
            Some(BatchEnd::Written { base_offset, log_append_time }) => {
                RecordState::Written(self.written(base_offset, log_append_time, rank))
            }
            Some(BatchEnd::NotWritten(why)) => RecordState::NotWritten(why),
            Some(BatchEnd::Undetermined(_)) => RecordState::Unknown,
            // Seen only by a look that is repeated under the lock, where the parts are.
            Some(BatchEnd::InParts) => RecordState::Waiting,
        }
    }

    fn written(&self, base_offset: Option<i64>, timestamp: Option<i64>, rank: u32) -> Written {
        Written { partition: self.partition.0, offset: base_offset, timestamp }.after(rank)
    }

    /// What became of a record that was sent, once its batch, or its part of it, has ended.
    pub(in crate::producer) fn settlement(&self, index: u32) -> Option<Settlement> {
        self.settlement_locked(&self.inner.lock(), index)
    }

    pub(in crate::producer) fn settlement_locked(&self, inner: &Inner, index: u32) -> Option<Settlement> {
        if let Some((reason, cause)) = inner.parts.refused(index) {
            return Some(Settlement::NotWritten(Because { reason, cause }));
        }
        let (Ended { end, cause }, first) = inner.parts.end_of(index).or_else(|| Some((self.end.get()?, 0)))?;
        Some(match end {
            BatchEnd::Written { base_offset, log_append_time } => {
                let rank = inner.dropped.rank(index) - inner.dropped.rank(first);
                Settlement::Written(self.written(base_offset, log_append_time, rank))
            }
            BatchEnd::NotWritten(reason) => Settlement::NotWritten(Because { reason, cause }),
            BatchEnd::Undetermined(reason) => Settlement::Undetermined(Because { reason, cause }),
            BatchEnd::InParts => unreachable!("once a batch has ended in parts, every record belongs to one"),
        })
    }

    /// What led to the outcome that a record was given, or to the end of its batch.
    fn cause_of(&self, index: u32) -> Cause {
        let inner = self.inner.lock();
        inner.roster.cause_of(index).unwrap_or_else(|| self.cause_of_end(&inner, index))
    }

    /// As of the record's end, or as of now.
    pub(in crate::producer) fn newest_cause(&self, index: u32) -> Cause {
        self.cause_of_end(&self.inner.lock(), index)
    }

    fn cause_of_end(&self, inner: &Inner, index: u32) -> Cause {
        let refused = inner.parts.refused(index).map(|(_, cause)| cause);
        let part = || inner.parts.end_of(index).map(|(ended, _)| ended.cause);
        refused.or_else(part).or_else(|| self.end.get().map(|ended| ended.cause)).unwrap_or_else(|| self.cause())
    }

    /// The outcome of a record that has one.
    pub fn outcome(self: &Arc<Self>, index: u32) -> Option<Outcome> {
        Some(match self.state(index) {
            RecordState::Waiting => return None,
            RecordState::Written(at) => Outcome::Written(at),
            RecordState::NotWritten(reason) => Outcome::NotWritten(Because { reason, cause: self.cause_of(index) }),
            RecordState::Unknown => Outcome::Unknown(Fate::new(Arc::clone(self), index)),
        })
    }

    /// Counts the outcomes that were given; records that still wait are not counted. The batch must be sealed.
    pub fn tally(&self) -> Tally {
        let inner = self.inner.lock();
        let mut tally = Tally::default();
        for index in 0..inner.roster.count().unwrap_or(0) {
            match self.state_locked(&inner, index) {
                RecordState::Waiting => {}
                RecordState::Written(_) => tally.written += 1,
                RecordState::NotWritten(_) => tally.not_written += 1,
                RecordState::Unknown => tally.unknown += 1,
            }
        }
        tally
    }
}
