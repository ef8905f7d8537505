//! The batch that fills, and the memory for what does not fit behind the record before it.

use std::sync::Arc;

use bytes::Bytes;
use milena_wire::records::{BATCH_HEADER_BYTES, Compression, RecordLayout};

use super::{Reply, Value};
use crate::producer::account::{Account, Full};
use crate::producer::batch::{Packing, SealReason, SealedBatch};
use crate::producer::body::{Body, CHUNK_BYTES_MAX, Chunk, ChunkSource};
use crate::producer::completion::{BatchCompletion, Dropped, Posted};
use crate::time::{Moment, Now, Tick};

/// Values from this size on are linked when the caller shares them and they would need memory of their own: below it,
/// copying is cheaper than another slice in every write.
pub const LINK_BYTES_MIN: usize = 8 * 1024;

/// The batch that fills. What it does is decided by the front.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub completion: Arc<BatchCompletion>,
    chunks: Vec<Chunk>,
    tail: Vec<u8>,
    pub bytes: usize,
    pub count: u32,
    pub base_timestamp: i64,
    min_timestamp: i64,
    max_timestamp: i64,
    pub opened_at: Moment,
    opened_wall: i64,
    /// The tick of the newest deadline run, if there is one.
    run: Option<Tick>,
    /// The latest deadline of all.
    last_due: Tick,
    /// No record so far is to be written after its deadline.
    pub withdraws: bool,
    pub posted: Vec<Posted>,
}

impl OpenBatch {
    pub(super) fn new(completion: Arc<BatchCompletion>, now: Now, timestamp: i64, posted_expected: usize) -> Self {
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
            withdraws: true,
            posted: Vec::with_capacity(posted_expected),
        }
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes_held).sum::<usize>() + self.tail.capacity()
    }

    #[inline(always)]
    pub(super) fn fits(&self, total_len: usize, batch_size: usize) -> bool {
        self.count == 0 || self.bytes + total_len <= batch_size
    }

    /// Writes the record behind the one before it; false, and nothing written, if the chunk has no room.
    #[inline(always)]
    pub(super) fn encode_in_tail(&mut self, layout: &RecordLayout<'_>, value: Value<'_>) -> bool {
        if self.tail.capacity() - self.tail.len() < layout.total_len() {
            return false;
        }
        encode(&mut self.tail, layout, value);
        true
    }

    #[cold]
    pub(super) fn encode_in_room(&mut self, room: Room, layout: &RecordLayout<'_>, value: Value<'_>) {
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
    #[inline(always)]
    pub(super) fn take_in(&mut self, timestamp: i64, total_len: usize, reply: Reply) -> u32 {
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
    #[inline(always)]
    pub(super) fn wait_for(&mut self, index: u32, due: Tick, is_own: bool) -> bool {
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

    pub(super) fn seal(mut self, reason: SealReason, account: Arc<Account>) -> SealedBatch {
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
            withdraws: self.withdraws,
            reason,
        }
    }
}

/// Memory for one record that does not fit behind the one before it.
#[derive(Debug)]
pub(super) enum Room {
    /// A pooled chunk, for this record and others.
    Chunk(Vec<u8>),
    /// For this record alone.
    Large(Vec<u8>),
    /// The value is linked; its neighbours go before and after it.
    Linked { before: Vec<u8>, after: Vec<u8>, value: Bytes },
}

impl Room {
    /// Chunks grow with the batch (1, 4, 16, 64 KiB), so that many thin partitions hold little and a thick one has few pieces.
    pub(super) fn take(
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
pub(super) struct Memory<'a, C> {
    pub chunks: &'a C,
    pub account: &'a Account,
}

impl<C: ChunkSource> Memory<'_, C> {
    fn take(&self, bytes: usize) -> Result<Vec<u8>, Full> {
        self.chunks.take(self.account, bytes)
    }

    fn give(&self, chunk: Chunk) {
        self.chunks.give(self.account, chunk);
    }
}

#[inline(always)]
fn encode(into: &mut Vec<u8>, layout: &RecordLayout<'_>, value: Value<'_>) {
    layout.write_up_to_value(into);
    if let Some(bytes) = value.as_slice() {
        into.extend_from_slice(bytes);
    }
    layout.write_after_value(into);
}

/// A 1 MB batch: one each of 1, 4 and 16 KiB, then 64 KiB.
const CHUNKS_EXPECTED: usize = 19;
