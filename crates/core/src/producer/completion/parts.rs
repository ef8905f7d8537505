//! Ends of a part of a batch: a batch that was too large goes in pieces, and refused records leave it (rule 15).
//!
//! Always holds: parts are ranges of the records as they were appended, they never overlap, and once they cover the batch
//! it has ended.

use std::collections::BTreeMap;
use std::ops::Range;
use std::task::Waker;

use super::{BatchCompletion, BatchEnd, Ended, FATES, Inner, Posted};
use crate::producer::outcome::{Cause, NotWritten};
use crate::sync::atomic::Ordering;

/// What ended before the whole batch.
#[derive(Debug, Default)]
pub(super) struct Parts {
    ended: Vec<(Range<u32>, Ended)>,
    refused: BTreeMap<u32, (NotWritten, Cause)>,
}

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.refused.is_empty()
    }

    /// Why a record was refused alone.
    pub(super) fn refused(&self, index: u32) -> Option<(NotWritten, Cause)> {
        self.refused.get(&index).copied()
    }

    /// How the record's part ended, and the first record of that part.
    pub(super) fn end_of(&self, index: u32) -> Option<(Ended, u32)> {
        let (records, ended) = self.ended.iter().find(|(records, _)| records.contains(&index))?;
        Some((*ended, records.start))
    }

    fn records(&self) -> u32 {
        self.ended.iter().map(|(records, _)| records.len() as u32).sum()
    }
}

impl BatchCompletion {
    /// Ends these records of the batch, for everybody who was not released before; gives the posted ones that must be
    /// reported. The range that covers all of them is the batch.
    pub fn settle_part(&self, records: Range<u32>, end: BatchEnd) -> Vec<Posted> {
        let mut inner = self.inner.lock();
        let count = inner.count.expect("a batch that was claimed is sealed");
        if inner.parts.ended.is_empty() && records == (0..count) {
            drop(inner);
            return self.settle(end);
        }
        let cause = self.cause();
        inner.parts.ended.push((records.clone(), Ended { end, cause }));
        self.is_irregular.store(true, Ordering::Release);
        if inner.parts.records() < count {
            let posted = inner.take_posted_in(&records);
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
        inner.parts.refused.extend(refused.iter().map(|index| (*index, (why, cause))));
        inner.dropped.single.extend(&refused);
        inner.dropped.single.sort_unstable();
        self.is_irregular.store(true, Ordering::Release);
        let is_refused = |index: u32| refused.binary_search(&index).is_ok();
        let (posted, rest) = std::mem::take(&mut inner.posted).into_iter().partition(|posted| is_refused(posted.index));
        inner.posted = rest;
        let woken = inner.waiters.take_those(|index| is_refused(index) || index == FATES);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        posted
    }

    /// The record that so many sent ones precede, counted from `first` on.
    pub(in crate::producer) fn nth_sent(&self, first: u32, nth: u32) -> u32 {
        let inner = self.inner.lock();
        let count = inner.count.expect("a batch that was claimed is sealed");
        let mut sent = (first..count).filter(|index| !inner.dropped.contains(*index));
        sent.nth(nth as usize).unwrap_or(count)
    }
}

impl Inner {
    fn take_posted_in(&mut self, records: &Range<u32>) -> Vec<Posted> {
        let start = self.posted.partition_point(|posted| posted.index < records.start);
        let end = self.posted.partition_point(|posted| posted.index < records.end);
        self.posted.drain(start..end).collect()
    }
}
