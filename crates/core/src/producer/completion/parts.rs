//! Ends of a part of a batch: a batch that was too large goes in pieces, and refused records leave it (rule 15).
//!
//! Always holds: parts are ranges of the records as they were appended, they never overlap, and once they cover the batch
//! it has ended.

use std::collections::BTreeMap;
use std::ops::Range;
use std::task::Waker;

use super::{BatchCompletion, BatchEnd, Ended, Posted, RecordState};
use crate::producer::delivery::FATES;
use crate::producer::outcome::{Cause, NotWritten};
use crate::sync::atomic::Ordering;

/// What ended before the whole batch.
#[derive(Debug, Default)]
pub(super) struct Parts {
    ended: Vec<Part>,
    refused: BTreeMap<u32, Refused>,
}

#[derive(Debug)]
struct Part {
    records: Range<u32>,
    ended: Ended,
    /// Those below had left when it ended, but for those who stand apart.
    left_below: u32,
}

#[derive(Debug)]
struct Refused {
    why: NotWritten,
    cause: Cause,
    /// Its caller was still there.
    is_told: bool,
}

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.refused.is_empty()
    }

    /// Why a record was refused alone.
    pub(super) fn refused(&self, index: u32) -> Option<(NotWritten, Cause)> {
        self.refused.get(&index).map(|refused| (refused.why, refused.cause))
    }

    /// How the record's part ended, and the first record of that part.
    pub(super) fn end_of(&self, index: u32) -> Option<(Ended, u32)> {
        let part = self.part_of(index)?;
        Some((part.ended, part.records.start))
    }

    fn part_of(&self, index: u32) -> Option<&Part> {
        self.ended.iter().find(|part| part.records.contains(&index))
    }

    /// Whether the end of its part is what the record's caller was told, if it did not stand apart.
    pub(super) fn is_told(&self, index: u32) -> bool {
        match self.refused.get(&index) {
            Some(refused) => refused.is_told,
            None => self.part_of(index).is_some_and(|part| index >= part.left_below),
        }
    }

    fn records(&self) -> u32 {
        self.ended.iter().map(|part| part.records.len() as u32).sum()
    }
}

impl BatchCompletion {
    /// Ends these records of the batch, for everybody who was not released before; gives the posted ones that must be
    /// reported. The range that covers all of them is the batch.
    pub fn settle_part(&self, records: Range<u32>, end: BatchEnd) -> Vec<Posted> {
        let mut inner = self.inner.lock();
        let count = inner.roster.count().expect("a batch that was claimed is sealed");
        if inner.parts.ended.is_empty() && records == (0..count) {
            drop(inner);
            return self.settle(end);
        }
        let cause = self.cause();
        let left_below = inner.roster.below();
        inner.parts.ended.push(Part { records: records.clone(), ended: Ended { end, cause }, left_below });
        inner.roster.end(records.clone());
        self.is_irregular.store(true, Ordering::Release);
        if inner.parts.records() < count {
            let posted = inner.roster.take_posted_of(|index| records.contains(&index));
            let woken = inner.waiters.take_those(|index| records.contains(&index) || index == FATES);
            drop(inner);
            woken.into_iter().for_each(Waker::wake);
            return posted;
        }
        drop(inner);
        self.settle(BatchEnd::InParts)
    }

    /// The broker refused these records of a part, named by their place among those that are sent; the others go on without
    /// them. Gives the posted ones that must be reported.
    pub(in crate::producer) fn refuse(&self, records: Range<u32>, places: &[u32], why: NotWritten) -> Vec<Posted> {
        let mut inner = self.inner.lock();
        let sent: Vec<u32> = records.filter(|index| !inner.dropped.contains(*index)).collect();
        let refused: Vec<u32> = places.iter().filter_map(|place| sent.get(*place as usize).copied()).collect();
        let cause = self.cause();
        for index in &refused {
            let is_told = self.state_locked(&inner, *index) == RecordState::Waiting;
            inner.parts.refused.insert(*index, Refused { why, cause, is_told });
            inner.roster.end(*index..index + 1);
        }
        inner.dropped.add(&refused);
        self.is_irregular.store(true, Ordering::Release);
        let is_refused = |index: u32| refused.binary_search(&index).is_ok();
        let posted = inner.roster.take_posted_of(is_refused);
        let woken = inner.waiters.take_those(|index| is_refused(index) || index == FATES);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        posted
    }

    /// The record that so many sent ones precede, counted from `first` on.
    pub(in crate::producer) fn nth_sent(&self, first: u32, nth: u32) -> u32 {
        let inner = self.inner.lock();
        let count = inner.roster.count().expect("a batch that was claimed is sealed");
        let mut sent = (first..count).filter(|index| !inner.dropped.contains(*index));
        sent.nth(nth as usize).unwrap_or(count)
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::producer::completion::{Delivery, RecordState};
    use crate::producer::outcome::{Outcome, Settlement, Written};
    use crate::producer::testbed::{Wakes, poll, ticks};
    use crate::time::Tick;

    const REFUSED: NotWritten = NotWritten::Cancelled;

    fn written(base_offset: i64) -> BatchEnd {
        BatchEnd::Written { base_offset: Some(base_offset), log_append_time: None }
    }

    /// A claimed batch of six records, of which the third was withdrawn before the claim; posted with their index as tag.
    fn claimed() -> Arc<BatchCompletion> {
        let batch = BatchCompletion::new(crate::ids::PartitionIndex(4), crate::producer::trouble::Trouble::new());
        batch.start_deadline_run(0, Tick::not_before(ticks(3)));
        batch.seal(6, (0..6).map(|index| Posted { index, tag: u64::from(index) }).collect());
        Delivery::new(Arc::clone(&batch), 2).cancel();
        assert_eq!(batch.claim().len(), 1);
        batch
    }

    fn tags(posted: Vec<Posted>) -> Vec<u64> {
        posted.into_iter().map(|posted| posted.tag).collect()
    }

    fn offset(batch: &BatchCompletion, index: u32) -> Option<i64> {
        match batch.state(index) {
            RecordState::Written(Written { offset, .. }) => offset,
            other => panic!("record {index} is {other:?}"),
        }
    }

    #[test]
    fn each_part_tells_its_own_records_and_the_last_one_ends_the_batch() {
        let batch = claimed();
        let wakes: [Arc<Wakes>; 2] = Default::default();
        let mut deliveries = [0, 4].map(|index| Delivery::new(Arc::clone(&batch), index));
        for (delivery, wakes) in deliveries.iter_mut().zip(&wakes) {
            assert!(poll(delivery, wakes).is_pending());
        }
        assert_eq!(tags(batch.settle_part(3..6, written(50))), [3, 4, 5]);
        assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [0, 1]);
        assert_eq!([3, 4, 5].map(|index| offset(&batch, index)), [50, 51, 52].map(Some));
        assert_eq!((batch.state(0), batch.end()), (RecordState::Waiting, None));
        assert!(batch.is_wanted());
        assert_eq!(tags(batch.settle_part(0..3, written(10))), [0, 1, 2], "one that was withdrawn is reported too");
        assert_eq!([0, 1].map(|index| offset(&batch, index)), [10, 11].map(Some));
        assert_eq!(batch.state(2), RecordState::NotWritten(NotWritten::Cancelled));
        assert_eq!((batch.end(), batch.tally().written), (Some(BatchEnd::InParts), 5));
        assert!(poll(&mut deliveries[0], &wakes[0]).is_ready() && !batch.is_wanted());
    }

    #[test]
    fn the_part_that_is_the_whole_is_the_batch() {
        let batch = claimed();
        batch.settle_part(0..6, written(10));
        assert_eq!(batch.end(), Some(written(10)));
        assert_eq!([0, 1, 3, 5].map(|index| offset(&batch, index)), [10, 11, 12, 14].map(Some));
    }

    #[test]
    fn refused_records_are_told_at_once_and_the_others_close_up() {
        let batch = claimed();
        // Of those that are sent (0, 1, 3, 4, 5) the second and the fourth.
        assert_eq!(tags(batch.refuse(0..6, &[1, 3], REFUSED)), [1, 4]);
        assert_eq!([1, 4].map(|index| batch.state(index)), [RecordState::NotWritten(REFUSED); 2]);
        assert_eq!(batch.state(3), RecordState::Waiting);
        assert_eq!(tags(batch.settle_part(0..6, written(10))), [0, 2, 3, 5]);
        assert_eq!([0, 3, 5].map(|index| offset(&batch, index)), [10, 11, 12].map(Some));
        assert_eq!([1, 4].map(|index| batch.state(index)), [RecordState::NotWritten(REFUSED); 2]);
        assert_eq!(batch.tally().not_written, 3);
    }

    /// A place that the part does not have is nobody's.
    #[test]
    fn records_are_named_within_their_part() {
        let batch = claimed();
        assert_eq!(tags(batch.refuse(3..6, &[0, 7], REFUSED)), [3]);
        assert_eq!(batch.nth_sent(0, 2), 4, "the third that is sent");
        assert_eq!(batch.nth_sent(0, 9), 6);
    }

    #[test]
    fn who_was_released_before_stays_in_doubt_and_the_fate_learns_the_part() {
        let batch = claimed();
        batch.release_due(ticks(3));
        let fate = |index| match batch.outcome(index) {
            Some(Outcome::Unknown(fate)) => fate,
            other => panic!("{other:?}"),
        };
        let (mut refused, mut first, mut second) = (fate(1), fate(0), fate(5));
        let wakes = Arc::new(Wakes::default());
        assert!(poll(&mut refused, &wakes).is_pending() && poll(&mut second, &wakes).is_pending());
        assert_eq!(tags(batch.refuse(0..6, &[1], REFUSED)), [] as [u64; 0], "they were reported at their deadline");
        assert!(wakes.count() > 0);
        assert_eq!(batch.state(1), RecordState::Unknown);
        assert!(
            matches!(poll(&mut refused, &wakes), std::task::Poll::Ready(Settlement::NotWritten(why)) if why.reason == REFUSED)
        );
        batch.settle_part(0..3, written(7));
        assert!(
            matches!(poll(&mut first, &wakes), std::task::Poll::Ready(Settlement::Written(at)) if at.offset == Some(7))
        );
        assert!(poll(&mut second, &wakes).is_pending());
        let doubt = crate::producer::outcome::Undetermined::NoFence;
        batch.settle_part(3..6, BatchEnd::Undetermined(doubt));
        assert!(
            matches!(poll(&mut second, &wakes), std::task::Poll::Ready(Settlement::Undetermined(why)) if why.reason == doubt)
        );
        assert!(!batch.is_wanted());
    }
}
