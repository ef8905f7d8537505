//! The callers' side of a partition: the batch that fills, and those that wait for a lane.
//!
//! Always holds: records leave in the order in which they were accepted; a sealed batch is never opened again; a record
//! that was refused left no trace. Records are encoded straight into pooled chunks, once.
//!
//! Left out: locks (the client puts one around it), stamps and sending (`back.rs`), waiting for room.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::records::{BATCH_HEADER_BYTES, Compression, RecordHeader, RecordLayout};

use super::account::{Account, Full, Tight};
use super::batch::{Body, CHUNK_BYTES_MAX, Chunk, ChunkSource, Packing, SealReason, SealedBatch};
use super::completion::{BatchCompletion, Delivery, Dropped, Posted};
use super::trouble::Trouble;
use crate::ids::PartitionIndex;
use crate::time::{Moment, Now, Tick};

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
}

/// A record as the front takes it.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Decides the partition of keyed records and the fate of compacted ones.
    pub key: Option<&'a [u8]>,
    /// The payload.
    pub value: Value<'a>,
    /// In order; keys may repeat.
    pub headers: &'a [RecordHeader<'a>],
    /// `CreateTime` in milliseconds since the epoch; the clock's if absent.
    pub timestamp: Option<i64>,
    /// When its caller must have its outcome.
    pub due: Due,
}

/// When a record's caller must have its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The configured deadline from now on.
    Configured,
    /// The configured deadline from a call that has waited.
    Waited(Moment),
    /// A deadline of the record's own, shorter or longer. Costs some 50 bytes until the batch ends, and its batch's
    /// outcomes are read under a lock.
    Own(Moment),
}

/// A payload, copied or linked.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A tombstone.
    Null,
    /// Copied into the batch.
    Borrowed(&'a [u8]),
    /// Linked into the batch if it is large, else copied.
    Shared(&'a Bytes),
}

impl<'a> Value<'a> {
    /// The bytes, none for a tombstone.
    pub fn as_slice(self) -> Option<&'a [u8]> {
        match self {
            Self::Null => None,
            Self::Borrowed(bytes) => Some(bytes),
            Self::Shared(bytes) => Some(bytes),
        }
    }
}

/// How the caller learns what became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Through a [`Delivery`].
    Handle,
    /// Through a report that carries this tag.
    Report(u64),
}

/// What to do with a record that does not fit into the batch that fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Seal the batch and open the next one.
    OpenNext,
    /// Seal the batch and refuse, so that the caller can go to another partition.
    Refuse,
    /// As `Refuse`, and refuse too where no batch fills: the one before was sent, and the caller moves on.
    OnlyOpen,
}

/// What the appender must tell the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing.
    Nothing,
    /// A batch started to fill; its linger ends then.
    LingerStarts(Moment),
    /// A batch sealed; another one may have started to fill.
    Sealed,
}

/// An accepted record.
#[derive(Debug)]
pub struct Appended<'a> {
    /// Of the batch that took it.
    pub completion: &'a Arc<BatchCompletion>,
    /// Its place in that batch.
    pub index: u32,
    /// For the driver.
    pub notice: Notice,
    /// Whether the batch must be watched from now on, or earlier than before: see `expiry.rs`.
    pub must_watch: bool,
}

impl Appended<'_> {
    /// The caller's handle.
    pub fn delivery(&self) -> Delivery {
        Delivery::new(Arc::clone(self.completion), self.index)
    }
}

/// Why a record was not accepted; it left no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// No memory within `buffer_memory`. The notice may still say that a batch sealed.
    BufferFull(Notice),
    /// The partition holds its share of the memory. The notice may still say that a batch sealed.
    ShareFull(Notice, Tight),
    /// No batch fills that could take the record, and [`WhenFull`] does not let it open one. The notice may say that a
    /// full one sealed.
    BatchFull(Notice),
    /// The producer, or this partition, accepts nothing any more.
    Closed,
    /// The record alone is larger than `max_request_size`.
    TooLarge {
        /// Bytes of a batch with this record alone; the largest number when it cannot be encoded at all.
        size: usize,
        /// `max_request_size`.
        limit: usize,
    },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferFull(_) => f.write_str("buffer_memory is used up"),
            Self::ShareFull(..) => f.write_str("the partition holds its share of buffer_memory"),
            Self::Closed => f.write_str("nothing is accepted any more"),
            Self::BatchFull(_) => f.write_str("the partition's batch is full"),
            Self::TooLarge { size, limit } => write!(f, "record of {size} bytes exceeds max_request_size {limit}"),
        }
    }
}

impl std::error::Error for AppendError {}

/// Values from this size on are linked when the caller shares them and they would need memory of their own: below it,
/// copying is cheaper than another slice in every write.
pub const LINK_BYTES_MIN: usize = 8 * 1024;

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

#[derive(Debug)]
struct OpenBatch {
    completion: Arc<BatchCompletion>,
    chunks: Vec<Chunk>,
    tail: Vec<u8>,
    bytes: usize,
    count: u32,
    base_timestamp: i64,
    min_timestamp: i64,
    max_timestamp: i64,
    opened_at: Moment,
    opened_wall: i64,
    /// The tick of the newest deadline run, if there is one.
    run: Option<Tick>,
    /// The latest deadline of all.
    last_due: Tick,
    posted: Vec<Posted>,
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
    #[inline]
    pub fn append(
        &mut self,
        now: Now,
        chunks: &impl ChunkSource,
        record: RecordRef<'_>,
        reply: Reply,
        when_full: WhenFull,
    ) -> Result<Appended<'_>, AppendError> {
        let timestamp = record.timestamp.unwrap_or(now.wall_millis);
        let (base, count) = self.open.as_ref().map_or((timestamp, 0), |open| (open.base_timestamp, open.count));
        let layout = self.layout(timestamp.wrapping_sub(base), count, &record)?;
        if BATCH_HEADER_BYTES + layout.total_len() > self.config.max_request_size {
            self.check_alone(&record)?;
        }
        let in_place = !self.is_closed
            && self.open.as_mut().is_some_and(|open| {
                open.fits(layout.total_len(), self.config.batch_size) && open.encode_in_tail(&layout, record.value)
            });
        let mut notice = Notice::Nothing;
        let mut total_len = layout.total_len();
        if !in_place {
            let placed = self.append_with_new_memory(now, chunks, timestamp, &record, when_full)?;
            (notice, total_len) = placed;
        }
        let due = match record.due {
            Due::Configured => now.moment + self.config.deadline,
            Due::Waited(due) | Due::Own(due) => due,
        };
        let open = self.open.as_mut().expect("the record lies in the open batch");
        let index = open.take_in(timestamp, total_len, reply);
        let must_watch = open.wait_for(index, Tick::not_before(due), matches!(record.due, Due::Own(_)));
        Ok(Appended { completion: &open.completion, index, notice, must_watch })
    }

    #[inline]
    fn layout<'a>(
        &self,
        timestamp_delta: i64,
        count: u32,
        record: &RecordRef<'a>,
    ) -> Result<RecordLayout<'a>, AppendError> {
        let value = record.value.as_slice().map(<[u8]>::len);
        RecordLayout::new(timestamp_delta, count as i32, record.key, value, record.headers)
            .map_err(|_| AppendError::TooLarge { size: usize::MAX, limit: self.config.max_request_size })
    }

    /// A record takes a few bytes more behind others than alone; what is in its way must not decide whether it may be sent.
    #[cold]
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
        if self.is_closed {
            return Err(AppendError::Closed);
        }
        let mut layout = self.layout(timestamp.wrapping_sub(base), count, record)?;
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

impl OpenBatch {
    fn new(completion: Arc<BatchCompletion>, now: Now, timestamp: i64, posted_expected: usize) -> Self {
        Self {
            completion,
            chunks: Vec::with_capacity(CHUNKS_EXPECTED),
            tail: Vec::new(),
            bytes: BATCH_HEADER_BYTES,
            count: 0,
            base_timestamp: timestamp,
            min_timestamp: timestamp,
            max_timestamp: timestamp,
            opened_at: now.moment,
            opened_wall: now.wall_millis,
            run: None,
            last_due: Tick::FIRST,
            posted: Vec::with_capacity(posted_expected),
        }
    }

    fn bytes_held(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes_held).sum::<usize>() + self.tail.capacity()
    }

    #[inline]
    fn fits(&self, total_len: usize, batch_size: usize) -> bool {
        self.count == 0 || self.bytes + total_len <= batch_size
    }

    /// Writes the record behind the one before it; false, and nothing written, if the chunk has no room.
    #[inline]
    fn encode_in_tail(&mut self, layout: &RecordLayout<'_>, value: Value<'_>) -> bool {
        if self.tail.capacity() - self.tail.len() < layout.total_len() {
            return false;
        }
        encode(&mut self.tail, layout, value);
        true
    }

    #[cold]
    fn encode_in_room(&mut self, room: Room, layout: &RecordLayout<'_>, value: Value<'_>) {
        match room {
            Room::Chunk(chunk) => {
                self.start_chunk(chunk);
                encode(&mut self.tail, layout, value);
            }
            Room::Large(mut large) => {
                encode(&mut large, layout, value);
                self.start_chunk(Vec::new());
                self.chunks.push(Chunk::Large(large));
            }
            Room::Linked { before, after, value } => {
                self.start_chunk(before);
                layout.write_up_to_value(&mut self.tail);
                self.start_chunk(after);
                self.chunks.push(Chunk::Linked(value));
                layout.write_after_value(&mut self.tail);
            }
        }
    }

    /// The tail so far becomes part of the body.
    fn start_chunk(&mut self, next: Vec<u8>) {
        let full = std::mem::replace(&mut self.tail, next);
        if full.capacity() > 0 {
            self.chunks.push(Chunk::Pooled(full));
        }
    }

    /// Counts a record whose bytes were written.
    #[inline]
    fn take_in(&mut self, timestamp: i64, total_len: usize, reply: Reply) -> u32 {
        let index = self.count;
        self.count += 1;
        self.bytes += total_len;
        self.min_timestamp = self.min_timestamp.min(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if let Reply::Report(tag) = reply {
            self.posted.push(Posted { index, tag });
        }
        index
    }

    /// Joins the newest run, starts the next one or stands alone; whether the clock must be told.
    #[inline]
    fn wait_for(&mut self, index: u32, due: Tick, is_own: bool) -> bool {
        if self.run == Some(due) {
            return false;
        }
        self.start_waiting(index, due, is_own)
    }

    #[cold]
    fn start_waiting(&mut self, index: u32, due: Tick, is_own: bool) -> bool {
        self.last_due = self.last_due.max(due);
        // Runs ascend. One that comes late with an early deadline has waited, or its clock was read before another's.
        if is_own || self.run.is_some_and(|run| due < run) {
            return self.completion.add_own_deadline(index, due);
        }
        self.run = Some(due);
        self.completion.start_deadline_run(index, due)
    }

    fn seal(mut self, reason: SealReason, account: Arc<Account>) -> SealedBatch {
        self.start_chunk(Vec::new());
        self.completion.seal(self.count, self.posted);
        let body = Body::new(self.chunks, account);
        SealedBatch {
            completion: self.completion,
            codec: Compression::None,
            raw_len: body.len(),
            body: Arc::new(body),
            body_crc: None,
            packing: Packing::Open,
            is_repacked: false,
            removed: Dropped::default(),
            count: self.count,
            appended: self.count,
            base_timestamp: self.base_timestamp,
            min_timestamp: self.min_timestamp,
            max_timestamp: self.max_timestamp,
            opened_at: self.opened_at,
            opened_wall: self.opened_wall,
            last_due: self.last_due,
            reason,
        }
    }
}

/// Memory for one record that does not fit behind the one before it.
#[derive(Debug)]
enum Room {
    /// A pooled chunk, for this record and others.
    Chunk(Vec<u8>),
    /// For this record alone.
    Large(Vec<u8>),
    /// The value is linked; its neighbours go before and after it.
    Linked { before: Vec<u8>, after: Vec<u8>, value: Bytes },
}

impl Room {
    /// Chunks grow with the batch (1, 4, 16, 64 KiB), so that many thin partitions hold little and a thick one has few pieces.
    fn take(
        memory: &Memory<'_, impl ChunkSource>,
        layout: &RecordLayout<'_>,
        value: Value<'_>,
        filled: usize,
    ) -> Result<Self, Full> {
        if let Value::Shared(shared) = value
            && shared.len() >= LINK_BYTES_MIN
            && layout.total_len() - shared.len() <= CHUNK_BYTES_MAX
        {
            return Self::link(memory, layout.total_len() - shared.len(), shared);
        }
        if layout.total_len() > CHUNK_BYTES_MAX {
            let large = Vec::with_capacity(layout.total_len());
            memory.chunks.charge(memory.account, large.capacity())?;
            return Ok(Self::Large(large));
        }
        memory.take(layout.total_len().max(filled.min(CHUNK_BYTES_MAX))).map(Self::Chunk)
    }

    fn link(memory: &Memory<'_, impl ChunkSource>, around: usize, value: &Bytes) -> Result<Self, Full> {
        memory.chunks.charge(memory.account, value.len())?;
        let value = value.clone();
        let before = match memory.take(around) {
            Ok(before) => before,
            Err(full) => {
                memory.give(Chunk::Linked(value));
                return Err(full);
            }
        };
        match memory.take(around) {
            Ok(after) => Ok(Self::Linked { before, after, value }),
            Err(full) => {
                memory.give(Chunk::Linked(value));
                memory.give(Chunk::Pooled(before));
                Err(full)
            }
        }
    }
}

/// Where memory comes from, and for whom.
struct Memory<'a, C> {
    chunks: &'a C,
    account: &'a Account,
}

impl<C: ChunkSource> Memory<'_, C> {
    fn take(&self, bytes: usize) -> Result<Vec<u8>, Full> {
        self.chunks.take(self.account, bytes)
    }

    fn give(&self, chunk: Chunk) {
        self.chunks.give(self.account, chunk);
    }
}

#[inline]
fn encode(into: &mut Vec<u8>, layout: &RecordLayout<'_>, value: Value<'_>) {
    layout.write_up_to_value(into);
    if let Some(bytes) = value.as_slice() {
        into.extend_from_slice(bytes);
    }
    layout.write_after_value(into);
}

/// A 1 MB batch: one each of 1, 4 and 16 KiB, then 64 KiB.
const CHUNKS_EXPECTED: usize = 19;

#[cfg(all(test, not(milena_model)))]
mod tests;
