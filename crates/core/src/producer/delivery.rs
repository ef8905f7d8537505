//! The handles of one record: its outcome, and the fate of an unknown one.
//!
//! Left out: what they wait on; see `completion.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::completion::{BatchCompletion, RecordState};
use super::outcome::{Cause, Outcome, Settlement};
use super::waiters::WaiterKey;
use crate::blocking::block_on;

/// The handle of one record: a future of its [`Outcome`], ready by the record's deadline, whatever brokers, network and
/// other records do.
///
/// What it says is certain and never changes, as long as committed data is not lost:
/// - `Written`: the record is in the log, once, and committed.
/// - `NotWritten`: no copy is in the log and none will ever come; it is safe to send it again.
/// - `Unknown`: it was handed to a connection and nothing conclusive came in time. It may be written already, later or
///   never; only its [`Fate`] tells, and to send it again before that may write it twice.
///
/// Cancel safe: dropping it, or a future that awaits it (`&mut delivery` in a `select!`), loses the news and nothing else;
/// the record is delivered all the same. Only [`Self::cancel`] withdraws. Polled again once it was ready, it says the same.
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

    /// Withdraws the record, at any moment. If no connection has claimed its batch it is not sent and ends as
    /// `NotWritten(Cancelled)`, which is certain. Else it ends as `Unknown` at once: its batch may be sent again, and its
    /// fate goes on. Other records of the batch are not touched. An outcome that was already given stays. The outcome is
    /// read by awaiting; the memory comes back when the batch ends.
    pub fn cancel(&self) {
        self.batch.cancel(self.index);
    }

    /// Waits for the outcome on this thread, at most until the record's deadline. Inside a runtime it holds up the thread
    /// that calls it and no deadline: those have a thread of their own.
    pub fn blocking_wait(self) -> Outcome {
        block_on(self)
    }

    /// The outcome, if there is one already.
    pub fn try_outcome(&self) -> Option<Outcome> {
        self.batch.outcome(self.index)
    }
}

/// Where the record goes and what is known of it; a batch holds many records, so the rest is left out.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.try_outcome();
        f.debug_struct("Delivery").field("partition", &self.batch.partition().0).field("outcome", &outcome).finish()
    }
}

impl Future for Delivery {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Self { batch, index, waiter } = self.get_mut();
        let is_ready = |batch: &BatchCompletion, inner: &_| batch.state_locked(inner, *index) != RecordState::Waiting;
        batch.poll_with(*index, waiter, cx, || batch.outcome(*index), is_ready)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.batch.deregister(self.index, &mut self.waiter);
    }
}

/// What becomes of a record whose outcome was `Unknown`: a future of its [`Settlement`].
///
/// It always ends: with a conclusive answer to a later attempt under the same stamp, or as `Undetermined` with the reason
/// when the batch is given up at `delivery_timeout`, when the producer is closed, or when asking again proves nothing.
/// `Written` and `NotWritten` are as certain as in an outcome; `Undetermined` says that a copy may be in the log or still
/// arrive.
///
/// Cancel safe: a dropped fate is settled all the same. Clones wait for the same record. Polled again once it was ready, it
/// says the same.
pub struct Fate {
    batch: Arc<BatchCompletion>,
    index: u32,
    waiter: WaiterKey,
}

/// The place of all who wait for a fate: behind every record, so that no release takes their wakers.
pub(super) const FATES: u32 = u32::MAX;

impl Fate {
    pub(super) fn new(batch: Arc<BatchCompletion>, index: u32) -> Self {
        Self { batch, index, waiter: WaiterKey::NONE }
    }

    /// Waits for the settlement on this thread. Not to be called on a runtime that serves the producer: it would hold up
    /// what settles the fate.
    pub fn blocking_wait(self) -> Settlement {
        block_on(self)
    }

    /// The settlement, if there is one already.
    pub fn try_settlement(&self) -> Option<Settlement> {
        self.batch.settlement(self.index)
    }

    /// What was tried and what went wrong last: until the fate is settled as of now, then as of its end.
    pub fn cause(&self) -> Cause {
        self.batch.newest_cause(self.index)
    }
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settlement = self.try_settlement();
        f.debug_struct("Fate").field("partition", &self.batch.partition().0).field("settlement", &settlement).finish()
    }
}

impl Clone for Fate {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.batch), self.index)
    }
}

impl Future for Fate {
    type Output = Settlement;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Settlement> {
        let Self { batch, index, waiter } = self.get_mut();
        let is_ready = |batch: &BatchCompletion, inner: &_| batch.settlement_locked(inner, *index).is_some();
        batch.poll_with(FATES, waiter, cx, || batch.settlement(*index), is_ready)
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        self.batch.deregister(FATES, &mut self.waiter);
    }
}
