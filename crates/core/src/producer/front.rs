//! The callers' side of a partition: the batch that fills, and those that wait for a lane.
//!
//! Always holds: records leave in the order in which they were accepted; a sealed batch is never opened again; a record
//! that was refused left no trace. Records are encoded straight into pooled chunks, once.
//!
//! Left out: locks (the client puts one around it), stamps and sending (`back.rs`), waiting for room.

mod append;
mod open;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::records::{BATCH_HEADER_BYTES, RecordLayout};

use super::account::{Account, Full};
use super::batch::{SealReason, SealedBatch};
use super::body::ChunkSource;
use super::completion::BatchCompletion;
use super::trouble::Trouble;
use crate::ids::PartitionIndex;
use crate::time::{Moment, Now, Tick};

pub use append::{AfterDeadline, AppendError, Appended, Due, Notice, RecordRef, Reply, Value, WhenFull};
pub use open::LINK_BYTES_MIN;
use open::{Memory, OpenBatch, Room};

/// What a front needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct FrontConfig {
    /// A batch seals before it grows past this many bytes, header included.
    pub batch_size: usize,
    /// A single record, batch header included, may not be larger.
    pub max_request_size: usize,
    /// How long a batch may fill.
    pub linger: Duration,
    /// From acceptance to outcome.
    pub deadline: Duration,
    /// What becomes of a record that was sent and is not written by its deadline.
    pub after_deadline: AfterDeadline,
    /// Whether batches carry stamps, without which nothing keeps out what was given up.
    pub may_withdraw: bool,
}

/// The callers' half of a partition.
#[derive(Debug)]
pub struct PartitionFront {
    config: FrontConfig,
    partition: PartitionIndex,
    /// For the completions of its batches.
    trouble: Arc<Trouble>,
    /// For the memory of its batches.
    account: Arc<Account>,
    open: Option<OpenBatch>,
    sealed: VecDeque<SealedBatch>,
    /// The producer ends, or the partition is gone: nothing is accepted any more.
    is_closed: bool,
    /// Posted records of the batch before, so that the next list is allocated once.
    posted_expected: usize,
}

impl PartitionFront {
    /// An empty partition.
    pub fn new(partition: PartitionIndex, trouble: Arc<Trouble>, config: FrontConfig) -> Self {
        Self {
            config,
            partition,
            trouble,
            account: Arc::default(),
            open: None,
            sealed: VecDeque::new(),
            is_closed: false,
            posted_expected: 0,
        }
    }

    /// What the partition holds of the memory, until it is given back.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Whether a batch fills.
    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the linger of the batch that fills ends.
    pub fn linger_ends(&self) -> Option<Moment> {
        self.open.as_ref().map(|open| open.opened_at + self.config.linger)
    }

    /// Whether nothing waits here.
    pub fn is_empty(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty()
    }

    /// Accepts a record, or refuses it without a trace.
    #[inline(always)]
    pub fn append(
        &mut self,
        now: Now,
        chunks: &impl ChunkSource,
        record: RecordRef<'_>,
        reply: Reply,
        when_full: WhenFull,
    ) -> Result<Appended<'_>, AppendError> {
        if record.after_deadline == Some(AfterDeadline::Withdraw) && !self.config.may_withdraw {
            return Err(AppendError::WithdrawNeedsIdempotence);
        }
        let timestamp = record.timestamp.unwrap_or(now.wall_millis);
        let (notice, total_len) = match self.encode_in_place(timestamp, &record) {
            Some(total_len) => (Notice::Nothing, total_len),
            None => self.append_with_new_memory(now, chunks, timestamp, &{ record }, when_full)?,
        };
        let due = match record.due {
            Due::Configured => now.moment + self.config.deadline,
            Due::Waited(due) | Due::Own(due) => due,
        };
        let after_deadline = record.after_deadline.unwrap_or(self.config.after_deadline);
        let open = self.open.as_mut().expect("the record lies in the open batch");
        open.withdraws &= after_deadline == AfterDeadline::Withdraw;
        let index = open.take_in(timestamp, total_len, reply);
        let must_watch = open.wait_for(index, Tick::not_before(due), matches!(record.due, Due::Own(_)));
        Ok(Appended { completion: &open.completion, index, notice, must_watch })
    }

    /// Writes the record behind the one before it, if the batch that fills has room: what nearly all records need. What is in
    /// the way of the others is found out apart. Gives its length.
    #[inline(always)]
    fn encode_in_place(&mut self, timestamp: i64, record: &RecordRef<'_>) -> Option<usize> {
        let open = self.open.as_mut().filter(|_| !self.is_closed)?;
        let value = record.value.as_slice().map(<[u8]>::len);
        let delta = timestamp.wrapping_sub(open.base_timestamp);
        let layout = RecordLayout::new(delta, open.count as i32, record.key, value, record.headers).ok()?;
        let total_len = layout.total_len();
        let may_be_sent = BATCH_HEADER_BYTES + total_len <= self.config.max_request_size;
        let is_in_place =
            may_be_sent && open.fits(total_len, self.config.batch_size) && open.encode_in_tail(&layout, record.value);
        is_in_place.then_some(total_len)
    }

    fn layout<'a>(
        &self,
        timestamp_delta: i64,
        count: u32,
        record: &RecordRef<'a>,
    ) -> Result<RecordLayout<'a>, AppendError> {
        let value = record.value.as_slice().map(<[u8]>::len);
        RecordLayout::new(timestamp_delta, count as i32, record.key, value, record.headers).map_err(|refused| {
            AppendError::TooLarge {
                size: refused.bytes.saturating_add(BATCH_HEADER_BYTES),
                limit: self.config.max_request_size,
            }
        })
    }

    /// A record takes a few bytes more behind others than alone; what is in its way must not decide whether it may be sent.
    fn check_alone(&self, record: &RecordRef<'_>) -> Result<(), AppendError> {
        let size = BATCH_HEADER_BYTES + self.layout(0, 0, record)?.total_len();
        let limit = self.config.max_request_size;
        if size > limit { Err(AppendError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// The record needs another chunk or another batch. Memory is taken before anything is opened, so that a refusal
    /// leaves nothing behind but a sealed batch.
    #[cold]
    fn append_with_new_memory(
        &mut self,
        now: Now,
        chunks: &impl ChunkSource,
        timestamp: i64,
        record: &RecordRef<'_>,
        when_full: WhenFull,
    ) -> Result<(Notice, usize), AppendError> {
        let (base, count) = self.open.as_ref().map_or((timestamp, 0), |open| (open.base_timestamp, open.count));
        let mut layout = self.layout(timestamp.wrapping_sub(base), count, record)?;
        if BATCH_HEADER_BYTES + layout.total_len() > self.config.max_request_size {
            self.check_alone(record)?;
        }
        if self.is_closed {
            return Err(AppendError::Closed);
        }
        let mut notice = Notice::Nothing;
        if self.open.as_ref().is_some_and(|open| !open.fits(layout.total_len(), self.config.batch_size)) {
            self.seal(SealReason::Size);
            notice = Notice::Sealed;
            layout = self.layout(0, 0, record)?;
        }
        let must_move_on = match when_full {
            WhenFull::OpenNext => false,
            WhenFull::Refuse => notice == Notice::Sealed,
            WhenFull::OnlyOpen => self.open.is_none(),
        };
        if must_move_on {
            return Err(AppendError::BatchFull(notice));
        }
        let filled = self.open.as_ref().map_or(0, |open| open.bytes);
        let memory = Memory { chunks, account: &self.account };
        let room = Room::take(&memory, &layout, record.value, filled).map_err(|full| match full {
            Full::Buffer => AppendError::BufferFull(notice),
            Full::Share(tight) => AppendError::ShareFull(notice, tight),
        })?;
        if self.open.is_none() && notice == Notice::Nothing {
            notice = Notice::LingerStarts(now.moment + self.config.linger);
        }
        let open = self.open.get_or_insert_with(|| {
            let completion = BatchCompletion::new(self.partition, Arc::clone(&self.trouble));
            OpenBatch::new(completion, now, timestamp, self.posted_expected)
        });
        open.encode_in_room(room, &layout, record.value);
        Ok((notice, layout.total_len()))
    }

    /// As [`Self::append`], of a record that is to be a fence: it goes alone and at once, also while nothing else is accepted any
    /// more. The batch is to be watched. None if there is no room, or something waits here that will do as well and goes instead.
    pub fn append_fence(
        &mut self,
        now: Now,
        chunks: &impl ChunkSource,
        record: RecordRef<'_>,
    ) -> Option<Arc<BatchCompletion>> {
        let is_closed = std::mem::replace(&mut self.is_closed, false);
        let is_needed = self.is_empty();
        let appended = is_needed.then(|| self.append(now, chunks, record, Reply::Handle, WhenFull::OpenNext));
        let completion = appended.and_then(Result::ok).map(|appended| Arc::clone(appended.completion));
        self.is_closed = is_closed;
        self.seal(SealReason::Flush);
        completion
    }

    /// Ends the batch that fills; false if none does. Moves pointers, touches no bytes.
    pub fn seal(&mut self, reason: SealReason) -> bool {
        let Some(open) = self.open.take() else { return false };
        self.posted_expected = open.posted.len() + open.posted.len() / 8;
        self.sealed.push_back(open.seal(reason, Arc::clone(&self.account)));
        true
    }

    /// Ends the batch that fills if it is this one; false if it was sealed before.
    pub fn seal_batch(&mut self, completion: &Arc<BatchCompletion>, reason: SealReason) -> bool {
        self.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.completion, completion)) && self.seal(reason)
    }

    /// Hands all sealed batches to the lane.
    pub fn take_sealed(&mut self) -> impl Iterator<Item = SealedBatch> + '_ {
        self.sealed.drain(..)
    }

    /// Accepts nothing from now on; what was accepted stays, and fills on until it is sealed.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Accepts again, after [`Self::close`].
    pub fn open_again(&mut self) {
        self.is_closed = false;
    }

    /// Memory of the batch that fills, to see who holds the buffer.
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenBatch::bytes_held)
    }

    /// Ends everything that waits here: the partition stopped, or the producer ends.
    pub fn drain(&mut self) -> impl Iterator<Item = SealedBatch> + '_ {
        self.seal(SealReason::Flush);
        self.sealed.drain(..)
    }

    /// Takes out the oldest batches that nobody wants any more.
    pub fn take_dead(&mut self) -> Vec<SealedBatch> {
        let dead = self.sealed.iter().take_while(|batch| !batch.completion.is_wanted()).count();
        self.sealed.drain(..dead).collect()
    }

    /// The completions of all batches here, oldest first.
    pub fn completions(&self) -> impl Iterator<Item = &Arc<BatchCompletion>> {
        self.sealed.iter().map(|batch| &batch.completion).chain(self.open.iter().map(|open| &open.completion))
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
