//! What the callers of one batch wait on: shared by callers, lane and reports.
//!
//! ```text
//! Filling ──claim()──▶ Claimed ──settle()──▶ ended
//!    └───────────────settle()──────────────────┘
//! ```
//!
//! Always holds: a record that was given an outcome keeps it. Released before the claim it is `NotWritten` and never
//! sent; released after the claim it is `Unknown`, and only its [`Fate`] learns the end. Every change of state happens
//! under the lock; reading an outcome takes the lock only where a record stands apart: cancelled, dropped, cut off, or with a deadline of its own.
//!
//! What it says of its records is in `completion/reading.rs`. Left out: when to release and what the end is; see `expiry.rs` and `verdict.rs`.

mod dropped;
mod parts;
mod reading;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub use super::delivery::{Delivery, Fate};
use super::outcome::{Cause, NotWritten, Undetermined, Written};
use super::roster::{Roster, Standing};
use super::trouble::Trouble;
use super::waiters::{WaiterKey, Waiters};
use crate::ids::PartitionIndex;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{Mutex, MutexGuard, Once};
use crate::time::{Moment, Tick};
pub use dropped::Dropped;
use parts::Parts;
pub use reading::WrittenBatch;

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
    /// Records were released while the batch fills: seal it, then ask what is missing here.
    pub needs_seal: bool,
    /// Nothing of this batch is wanted and nothing was sent: its memory can be given back now.
    pub is_dead: bool,
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
    /// Configured deadlines end as a prefix. Released before the claim: `NotWritten`, and not sent.
    withdrawn_below: AtomicU32,
    /// Released after the claim: `Unknown`.
    unknown_below: AtomicU32,
    /// Some record stands apart or was dropped, so an outcome needs the lock.
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
pub(super) struct Inner {
    is_claimed: bool,
    roster: Roster,
    /// Set at the claim; records that the broker refused join it.
    dropped: Dropped,
    /// Parts that ended, and records that ended alone.
    parts: Parts,
    waiters: Waiters,
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
                roster: Roster::default(),
                dropped: Dropped::default(),
                parts: Parts::default(),
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

    /// From `first_index` on, records are due at `due`, later than those before. Says whether the clock must be told
    /// that the batch has somebody who is due so early.
    pub(super) fn start_deadline_run(&self, first_index: u32, due: Tick) -> bool {
        let mut inner = self.inner.lock();
        let must_tell = inner.roster.start_run(first_index, due);
        self.withdrawn_below.store(inner.roster.below(), Ordering::Release);
        must_tell
    }

    /// This record has a deadline of its own. Says whether the clock must be told, as above.
    pub(super) fn add_own_deadline(&self, index: u32, due: Tick) -> bool {
        let must_tell = self.inner.lock().roster.add_own(index, due);
        self.is_irregular.store(true, Ordering::Release);
        must_tell
    }

    /// When the next record is due.
    pub fn next_due(&self) -> Option<Tick> {
        self.inner.lock().roster.next_due()
    }

    /// The tick in which the clock must look at the batch next. What it was told of other ticks is out of date.
    pub(super) fn watched(&self) -> Option<Tick> {
        self.inner.lock().roster.watched()
    }

    pub(super) fn seal(&self, count: u32, posted: Vec<Posted>) {
        let mut inner = self.inner.lock();
        let below = inner.roster.seal(count, posted);
        self.withdrawn_below.store(below, Ordering::Release);
    }

    /// The records that have withdrawn by now. More may follow until the claim.
    pub(super) fn withdrawn(&self) -> Dropped {
        self.inner.lock().roster.dropped()
    }

    /// A connection is about to send the batch. From here on nobody can withdraw: who leaves now leaves in doubt.
    /// Gives the records that must not be sent.
    pub fn claim(&self) -> Dropped {
        let mut inner = self.inner.lock();
        inner.is_claimed = true;
        inner.dropped = inner.roster.dropped();
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
        let posted = inner.roster.take_posted();
        drop(inner);
        waiters.wake_all();
        posted
    }

    /// As [`Self::release_due`], if the batch is watched in this tick and not in another.
    pub(super) fn release_watched(&self, tick: Tick, now: Moment) -> Option<Release> {
        let inner = self.inner.lock();
        (inner.roster.watched() == Some(tick)).then(|| self.release_locked(inner, now))
    }

    /// Releases every record whose deadline has ended: before the claim as not written, after it as unknown.
    pub fn release_due(&self, now: Moment) -> Release {
        self.release_locked(self.inner.lock(), now)
    }

    fn release_locked(&self, mut inner: MutexGuard<'_, Inner>, now: Moment) -> Release {
        if self.end.get().is_some() {
            return Release::default();
        }
        let is_claimed = inner.is_claimed;
        let leaving = inner.roster.leave_due(now, is_claimed, self.cause());
        let next_due = inner.roster.next_due();
        if leaving.is_nobody() {
            return Release { next_due, ..Release::default() };
        }
        let mut woken = inner.waiters.take_whole();
        if let Some(below) = leaving.below {
            let released = if is_claimed { &self.unknown_below } else { &self.withdrawn_below };
            released.store(below, Ordering::Release);
            inner.waiters.take_below(below, &mut woken);
        }
        leaving.own.iter().for_each(|index| inner.waiters.take_one(*index, &mut woken));
        let release = inner.sealed_release(next_due);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        release
    }

    /// What [`Self::release_due`] could not tell while the batch filled. To be asked once it is sealed.
    pub(super) fn release_sealed(&self) -> Release {
        let mut inner = self.inner.lock();
        if self.end.get().is_some() {
            return Release::default();
        }
        let next_due = inner.roster.next_due();
        inner.sealed_release(next_due)
    }

    /// Withdraws one record if its batch is not claimed, else releases its caller in doubt. Nothing else is touched.
    pub(super) fn cancel(&self, index: u32) {
        let mut inner = self.inner.lock();
        if self.state_locked(&inner, index) != RecordState::Waiting {
            return;
        }
        let standing = if inner.is_claimed { Standing::Unknown } else { Standing::Cancelled };
        inner.roster.set_apart(index, standing, self.cause());
        self.is_irregular.store(true, Ordering::Release);
        let mut woken = inner.waiters.take_whole();
        inner.waiters.take_one(index, &mut woken);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether a caller still waits for some record of this batch.
    pub fn is_wanted(&self) -> bool {
        let inner = self.inner.lock();
        self.end.get().is_none() && !self.everybody_left(&inner)
    }

    fn everybody_left(&self, inner: &Inner) -> bool {
        if inner.parts.is_empty() {
            return inner.roster.is_empty();
        }
        let count = inner.roster.count().unwrap_or(0);
        (0..count).all(|index| self.state_locked(inner, index) != RecordState::Waiting)
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

    pub(super) fn poll_with<T>(
        &self,
        index: u32,
        key: &mut WaiterKey,
        cx: &mut Context<'_>,
        ready: impl Fn() -> Option<T>,
        locked_ready: impl Fn(&Self, &Inner) -> bool,
    ) -> Poll<T> {
        if let Some(value) = ready() {
            self.deregister(index, key);
            return Poll::Ready(value);
        }
        let mut inner = self.inner.lock();
        if !locked_ready(self, &inner) {
            let (held, renewed) = inner.waiters.register(*key, index, cx.waker());
            *key = held;
            drop(inner);
            drop(renewed);
            return Poll::Pending;
        }
        drop(inner);
        self.deregister(index, key);
        Poll::Ready(ready().expect("the state was seen under the lock and never goes back"))
    }

    pub(super) fn deregister(&self, index: u32, key: &mut WaiterKey) {
        let held = std::mem::replace(key, WaiterKey::NONE);
        if held == WaiterKey::NONE || self.end.get().is_some() {
            return;
        }
        let mut inner = self.inner.lock();
        // The end takes all waiters with it; a key is valid only before.
        let removed = if self.end.get().is_none() { inner.waiters.remove(held, index) } else { None };
        drop(inner);
        drop(removed);
    }
}

impl Inner {
    fn sealed_release(&mut self, next_due: Option<Tick>) -> Release {
        Release {
            posted: self.roster.take_left_posted(),
            next_due,
            needs_seal: self.roster.count().is_none(),
            is_dead: !self.is_claimed && self.roster.is_empty(),
        }
    }
}

#[cfg(all(test, milena_model))]
mod loom_models;
#[cfg(all(test, not(milena_model)))]
mod tests;
