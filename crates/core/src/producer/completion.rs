//! What the callers of one batch wait on: shared by callers, lane and reports.
//!
//! ```text
//! Filling ──claim()──▶ Claimed ──settle()──▶ ended
//!    └───────────────settle()──────────────────┘
//! ```
//!
//! Always holds: a record that was given an outcome keeps it. Released before the claim it is `NotWritten` and never
//! sent; released after the claim it is `Unknown`, and only its [`Fate`] learns the end. Every change of state happens
//! under the lock; reading an outcome takes the lock only where a record was cancelled, dropped or cut off.
//!
//! Left out: when to release and what the end is; see `expiry.rs` and `verdict.rs`.

mod parts;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::outcome::{Because, Cause, NotWritten, Outcome, Settlement, Tally, Undetermined, Written};
use super::trouble::Trouble;
use super::waiters::{WaiterKey, Waiters};
use crate::ids::PartitionIndex;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{Mutex, Once};
use crate::time::{Moment, Tick};
use parts::Parts;

/// How a whole batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// Its first record is at `base_offset`.
    Written {
        /// Absent where the broker confirmed without telling.
        base_offset: Option<i64>,
        /// The broker's clock, on topics with `LogAppendTime`.
        log_append_time: Option<i64>,
    },
    /// It is not in the log and never will be.
    NotWritten(NotWritten),
    /// Nobody can tell.
    Undetermined(Undetermined),
    /// It was cut, and each part ended in its own way.
    InParts,
}

/// One record as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// No outcome yet.
    Waiting,
    /// Ended as written.
    Written(Written),
    /// Ended as not written.
    NotWritten(NotWritten),
    /// Released in doubt.
    Unknown,
}

/// A record that was posted without a handle; its report carries the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The record's place in the batch as it was appended.
    pub index: u32,
    /// The caller's own number for it.
    pub tag: u64,
}

/// What [`BatchCompletion::release_due`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Posted records that were released now and must be reported.
    pub posted: Vec<Posted>,
    /// When the next record is due; absent when nobody waits any more.
    pub next_due: Option<Tick>,
    /// Records are due but the batch still fills: seal it and call again.
    pub needs_seal: bool,
    /// Nothing of this batch is wanted and nothing was sent: its memory can be given back now.
    pub is_dead: bool,
}

/// Which records of a batch were withdrawn before it was claimed; they are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    below: u32,
    /// At or above `below`, ascending.
    single: Vec<u32>,
}

impl Dropped {
    /// Whether every record is sent.
    pub fn is_empty(&self) -> bool {
        self.below == 0 && self.single.is_empty()
    }

    /// Whether this record is not sent.
    pub fn contains(&self, index: u32) -> bool {
        index < self.below || self.single.binary_search(&index).is_ok()
    }

    /// How many records are not sent.
    pub fn len(&self) -> u32 {
        self.below + self.single.len() as u32
    }

    /// The record's place among those that are sent; of one that is not, the place of the next.
    fn rank(&self, index: u32) -> u32 {
        let single = self.single.partition_point(|dropped| *dropped < index) as u32;
        index.max(self.below) - self.below - single
    }
}

/// One per batch.
#[derive(Debug)]
pub struct BatchCompletion {
    partition: PartitionIndex,
    /// Of the partition; told with every end and release that is not a success.
    trouble: Arc<Trouble>,
    /// Counted by whoever sends the batch. Informs and orders nothing.
    attempts: std::sync::atomic::AtomicU32,
    end: Once<Ended>,
    /// Default deadlines end as a prefix. Released before the claim: `NotWritten`, and not sent.
    withdrawn_below: AtomicU32,
    /// Released after the claim: `Unknown`.
    unknown_below: AtomicU32,
    /// Some record was cancelled or dropped, so an outcome needs the lock.
    is_irregular: AtomicBool,
    inner: Mutex<Inner>,
}

/// The end, with what led to it.
#[derive(Clone, Copy, Debug)]
struct Ended {
    end: BatchEnd,
    cause: Cause,
}

#[derive(Debug)]
struct Inner {
    is_claimed: bool,
    /// Known once the batch is sealed.
    count: Option<u32>,
    /// One entry per tick in which records with the same deadline arrived, ascending.
    runs: VecDeque<DeadlineRun>,
    cancelled: BTreeMap<u32, (RecordState, Cause)>,
    /// Why those below these indexes were released, ascending. A new entry only where the cause has changed.
    released: Vec<(u32, Cause)>,
    /// Set at the claim; records that the broker refused join it.
    dropped: Dropped,
    /// Parts that ended, and records that ended alone.
    parts: Parts,
    /// Set when the batch is sealed, taken when it is reported.
    posted: Vec<Posted>,
    waiters: Waiters,
}

#[derive(Clone, Copy, Debug)]
struct DeadlineRun {
    first_index: u32,
    due: Tick,
}

impl BatchCompletion {
    /// For a batch that starts to fill.
    pub fn new(partition: PartitionIndex, trouble: Arc<Trouble>) -> Arc<Self> {
        Arc::new(Self {
            partition,
            trouble,
            attempts: std::sync::atomic::AtomicU32::new(0),
            end: Once::new(),
            withdrawn_below: AtomicU32::new(0),
            unknown_below: AtomicU32::new(0),
            is_irregular: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                is_claimed: false,
                count: None,
                runs: VecDeque::new(),
                cancelled: BTreeMap::new(),
                released: Vec::new(),
                dropped: Dropped::default(),
                parts: Parts::default(),
                posted: Vec::new(),
                waiters: Waiters::default(),
            }),
        })
    }

    /// The partition of all its records.
    pub fn partition(&self) -> PartitionIndex {
        self.partition
    }

    /// How the batch ended, if it did.
    pub fn end(&self) -> Option<BatchEnd> {
        self.end.get().map(|ended| ended.end)
    }

    /// The batch is handed to a connection once more.
    pub fn count_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// What was tried so far, and what went wrong last.
    fn cause(&self) -> Cause {
        let (node, last_error) = self.trouble.last();
        Cause { attempts: self.attempts.load(Ordering::Relaxed), node: node.map(|node| node.0), last_error }
    }

    /// From `first_index` on, records are due at `due`.
    pub(super) fn start_deadline_run(&self, first_index: u32, due: Tick) {
        self.inner.lock().runs.push_back(DeadlineRun { first_index, due });
    }

    /// When the next record is due.
    pub fn next_due(&self) -> Option<Tick> {
        self.inner.lock().runs.front().map(|run| run.due)
    }

    pub(super) fn seal(&self, count: u32, posted: Vec<Posted>) {
        let mut inner = self.inner.lock();
        inner.count = Some(count);
        inner.posted = posted;
    }

    /// A connection is about to send the batch. From here on nobody can withdraw: who leaves now leaves in doubt.
    /// Gives the records that must not be sent.
    pub fn claim(&self) -> Dropped {
        let mut inner = self.inner.lock();
        inner.is_claimed = true;
        let below = self.withdrawn_below.load(Ordering::Relaxed);
        let single: Vec<u32> = inner.cancelled.range(below..).map(|(index, _)| *index).collect();
        inner.dropped = Dropped { below, single };
        if !inner.dropped.is_empty() {
            self.is_irregular.store(true, Ordering::Release);
        }
        inner.dropped.clone()
    }

    /// Ends the batch for everybody who was not released before; gives the posted records that must be reported.
    /// The first end stands.
    pub fn settle(&self, end: BatchEnd) -> Vec<Posted> {
        let mut inner = self.inner.lock();
        if !self.end.set(Ended { end, cause: self.cause() }) {
            return Vec::new();
        }
        let waiters = std::mem::take(&mut inner.waiters);
        let posted = std::mem::take(&mut inner.posted);
        drop(inner);
        waiters.wake_all();
        posted
    }

    /// Releases every record whose deadline has ended: before the claim as not written, after it as unknown.
    pub fn release_due(&self, now: Moment) -> Release {
        self.release(|due| due.moment() <= now)
    }

    /// Releases every record, due or not: the producer closes. The batch must be sealed.
    pub fn release_all(&self) -> Release {
        self.release(|_| true)
    }

    fn release(&self, is_due: impl Fn(Tick) -> bool) -> Release {
        let mut inner = self.inner.lock();
        if self.end.get().is_some() {
            return Release::default();
        }
        let due_runs = inner.runs.iter().take_while(|run| is_due(run.due)).count();
        if due_runs == 0 {
            return Release { next_due: inner.runs.front().map(|run| run.due), ..Release::default() };
        }
        let Some(count) = inner.count else {
            let next_due = inner.runs.front().map(|run| run.due);
            return Release { next_due, needs_seal: true, ..Release::default() };
        };
        inner.runs.drain(..due_runs);
        let next = inner.runs.front().copied();
        let below = next.map_or(count, |run| run.first_index);
        let released = if inner.is_claimed { &self.unknown_below } else { &self.withdrawn_below };
        inner.note_released(below, self.cause());
        released.store(below, Ordering::Release);
        let posted = inner.take_posted_below(below);
        let is_dead = !inner.is_claimed && below == count;
        let woken = inner.waiters.take_below(below);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        Release { posted, next_due: next.map(|run| run.due), needs_seal: false, is_dead }
    }

    /// Withdraws one record if its batch is not claimed, else releases its caller in doubt. Nothing else is touched.
    fn cancel(&self, index: u32) {
        let mut inner = self.inner.lock();
        if self.state_locked(&inner, index) != RecordState::Waiting {
            return;
        }
        let state =
            if inner.is_claimed { RecordState::Unknown } else { RecordState::NotWritten(NotWritten::Cancelled) };
        inner.cancelled.insert(index, (state, self.cause()));
        self.is_irregular.store(true, Ordering::Release);
        let woken = inner.waiters.take_one(index);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
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

    fn state_locked(&self, inner: &Inner, index: u32) -> RecordState {
        if let Some((state, _)) = inner.cancelled.get(&index) {
            return *state;
        }
        if index >= self.unknown_below.load(Ordering::Acquire)
            && let Some((why, _)) = inner.parts.refused(index)
        {
            return RecordState::NotWritten(why);
        }
        let (end, first) = inner.parts.end_of(index).map_or((self.end(), 0), |(ended, first)| (Some(ended.end), first));
        let is_dropped = inner.dropped.contains(index);
        let rank = if is_dropped { index } else { inner.dropped.rank(index) - inner.dropped.rank(first) };
        self.regular_state(index, end, rank)
    }

    fn regular_state(&self, index: u32, end: Option<BatchEnd>, rank: u32) -> RecordState {
        if index < self.withdrawn_below.load(Ordering::Acquire) {
            return RecordState::NotWritten(NotWritten::DeadlinePassed);
        }
        if index < self.unknown_below.load(Ordering::Acquire) {
            return RecordState::Unknown;
        }
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
        // A broker may claim any offset; one past the largest is none.
        let offset = base_offset.and_then(|base| base.checked_add(i64::from(rank)));
        Written { partition: self.partition.0, offset, timestamp }
    }

    /// What became of a record that was sent, once its batch, or its part of it, has ended.
    fn settlement(&self, index: u32) -> Option<Settlement> {
        self.settlement_locked(&self.inner.lock(), index)
    }

    fn settlement_locked(&self, inner: &Inner, index: u32) -> Option<Settlement> {
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
        if let Some((_, cause)) = inner.cancelled.get(&index) {
            return *cause;
        }
        let place = inner.released.partition_point(|(below, _)| *below <= index);
        let released = inner.released.get(place).map(|(_, cause)| *cause);
        released.unwrap_or_else(|| self.cause_of_end(&inner, index))
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
            RecordState::Unknown => Outcome::Unknown(Fate { batch: Arc::clone(self), index, waiter: WaiterKey::NONE }),
        })
    }

    /// Whether a caller still waits for some record of this batch.
    pub fn is_wanted(&self) -> bool {
        let inner = self.inner.lock();
        self.end.get().is_none() && !self.everybody_left(&inner)
    }

    fn everybody_left(&self, inner: &Inner) -> bool {
        let below = self.released_below();
        let Some(count) = inner.count else { return false };
        if !inner.parts.is_empty() {
            return (below..count).all(|index| self.state_locked(inner, index) != RecordState::Waiting);
        }
        below + inner.cancelled.range(below..).count() as u32 >= count
    }

    fn released_below(&self) -> u32 {
        self.withdrawn_below.load(Ordering::Acquire).max(self.unknown_below.load(Ordering::Acquire))
    }

    /// Ready when every record of the batch has its outcome: the batch ended, or everybody was released.
    pub fn poll_concluded(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if self.end.get().is_some() || self.everybody_left(&inner) {
            return Poll::Ready(());
        }
        inner.waiters.register_whole(cx.waker());
        Poll::Pending
    }

    /// Ready when the batch has ended, so that every fate is settled too.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if self.end.get().is_some() {
            return Poll::Ready(());
        }
        inner.waiters.register_whole(cx.waker());
        Poll::Pending
    }

    /// Counts the outcomes that were given; records that still wait are not counted. The batch must be sealed.
    pub fn tally(&self) -> Tally {
        let inner = self.inner.lock();
        let mut tally = Tally::default();
        for index in 0..inner.count.unwrap_or(0) {
            match self.state_locked(&inner, index) {
                RecordState::Waiting => {}
                RecordState::Written(_) => tally.written += 1,
                RecordState::NotWritten(_) => tally.not_written += 1,
                RecordState::Unknown => tally.unknown += 1,
            }
        }
        tally
    }

    fn poll_with<T>(
        &self,
        index: u32,
        key: &mut WaiterKey,
        cx: &mut Context<'_>,
        ready: impl Fn() -> Option<T>,
        locked_ready: impl Fn(&Inner) -> bool,
    ) -> Poll<T> {
        if let Some(value) = ready() {
            self.deregister(key);
            return Poll::Ready(value);
        }
        let mut inner = self.inner.lock();
        if !locked_ready(&inner) {
            let (held, renewed) = inner.waiters.register(*key, index, cx.waker());
            *key = held;
            drop(inner);
            drop(renewed);
            return Poll::Pending;
        }
        drop(inner);
        self.deregister(key);
        Poll::Ready(ready().expect("the state was seen under the lock and never goes back"))
    }

    fn deregister(&self, key: &mut WaiterKey) {
        let held = std::mem::replace(key, WaiterKey::NONE);
        if held == WaiterKey::NONE || self.end.get().is_some() {
            return;
        }
        let mut inner = self.inner.lock();
        // The end takes all waiters with it; a key is valid only before.
        let removed = if self.end.get().is_none() { inner.waiters.remove(held) } else { None };
        drop(inner);
        drop(removed);
    }
}

impl Inner {
    fn note_released(&mut self, below: u32, cause: Cause) {
        match self.released.last_mut() {
            Some((last, known)) if *known == cause => *last = below,
            _ => self.released.push((below, cause)),
        }
    }

    fn take_posted_below(&mut self, below: u32) -> Vec<Posted> {
        let released = self.posted.partition_point(|posted| posted.index < below);
        self.posted.drain(..released).collect()
    }
}

/// The handle of one record: a future of its [`Outcome`].
///
/// Dropping it cancels nothing: the record is delivered all the same. Polling is cancel safe.
#[derive(Debug)]
#[must_use = "a dropped Delivery delivers its record but nobody learns the outcome"]
pub struct Delivery {
    batch: Arc<BatchCompletion>,
    index: u32,
    waiter: WaiterKey,
}

impl Delivery {
    pub(super) fn new(batch: Arc<BatchCompletion>, index: u32) -> Self {
        Self { batch, index, waiter: WaiterKey::NONE }
    }

    /// Withdraws the record. If no connection has claimed its batch it is not sent and ends as
    /// `NotWritten(Cancelled)`, else it ends as `Unknown`; other records of the batch are not touched. An outcome that
    /// was already given stays. The outcome is still read by awaiting.
    pub fn cancel(&self) {
        self.batch.cancel(self.index);
    }

    /// The outcome, if there is one already.
    pub fn try_outcome(&self) -> Option<Outcome> {
        self.batch.outcome(self.index)
    }
}

impl Future for Delivery {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Self { batch, index, waiter } = self.get_mut();
        let is_ready = |inner: &Inner| batch.state_locked(inner, *index) != RecordState::Waiting;
        batch.poll_with(*index, waiter, cx, || batch.outcome(*index), is_ready)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.batch.deregister(&mut self.waiter);
    }
}

/// What becomes of a record whose outcome was `Unknown`: a future of its [`Settlement`].
///
/// A dropped fate is settled all the same. Clones wait for the same record. Polling is cancel safe.
#[derive(Debug)]
pub struct Fate {
    batch: Arc<BatchCompletion>,
    index: u32,
    waiter: WaiterKey,
}

impl Fate {
    /// The settlement, if there is one already.
    pub fn try_settlement(&self) -> Option<Settlement> {
        self.batch.settlement(self.index)
    }

    /// What was tried and what went wrong last: until the fate is settled as of now, then as of its end.
    pub fn cause(&self) -> Cause {
        self.batch.cause_of_end(&self.batch.inner.lock(), self.index)
    }
}

impl Clone for Fate {
    fn clone(&self) -> Self {
        Self { batch: Arc::clone(&self.batch), index: self.index, waiter: WaiterKey::NONE }
    }
}

impl Future for Fate {
    type Output = Settlement;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Settlement> {
        let Self { batch, index, waiter } = self.get_mut();
        let is_ready = |inner: &Inner| batch.settlement_locked(inner, *index).is_some();
        // A fate is woken by ends alone: its slot stands above every record, so that no release takes its waker.
        batch.poll_with(FATES, waiter, cx, || batch.settlement(*index), is_ready)
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        self.batch.deregister(&mut self.waiter);
    }
}

/// The slot of all who wait for a fate.
const FATES: u32 = u32::MAX;

#[cfg(all(test, milena_model))]
mod loom_models;
#[cfg(all(test, not(milena_model)))]
mod tests;
