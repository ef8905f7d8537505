//! A batch's bytes, from the first record to the last attempt.
//!
//! Always holds: the body never changes once it is stamped, and a stamp belongs to its bytes for ever (rule 1). The
//! header lies apart from the body and its checksum is combined, so stamping never touches the body.

use std::sync::Arc;

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::{self, BatchHeader};

use super::completion::{BatchCompletion, Dropped};
use crate::ids::{Identity, Sequence};
use crate::time::{Moment, Tick};

/// A piece of a batch's body.
#[derive(Debug)]
pub enum Chunk {
    /// From the pool; goes back there.
    Pooled(Vec<u8>),
    /// Made for one record that is larger than any pooled chunk.
    Large(Vec<u8>),
    /// The caller's own bytes, not copied.
    Linked(Bytes),
}

impl Chunk {
    /// The bytes of the piece.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Pooled(bytes) | Self::Large(bytes) => bytes,
            Self::Linked(bytes) => bytes,
        }
    }

    /// What the piece counts against `buffer_memory`.
    pub fn bytes_held(&self) -> usize {
        match self {
            Self::Pooled(bytes) | Self::Large(bytes) => bytes.capacity(),
            Self::Linked(bytes) => bytes.len(),
        }
    }
}

/// Where the memory of batches comes from and goes back to; what is held counts against `buffer_memory`.
pub trait ChunkSource {
    /// An empty pooled chunk with room for at least `bytes`, which is at most [`CHUNK_BYTES_MAX`]; none when the buffer is full.
    fn take(&self, bytes: usize) -> Option<Vec<u8>>;
    /// Counts memory that is not pooled: a large record, a linked value. False when the buffer is full.
    fn charge(&self, bytes: usize) -> bool;
    /// Counts memory that replaces some that was just given back; may pass the limit for a moment.
    fn charge_always(&self, bytes: usize);
    /// Takes a chunk back.
    fn give(&self, chunk: Chunk);
}

/// The largest pooled chunk.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The records of a batch as they go over the wire.
#[derive(Debug, Default)]
pub struct Body {
    chunks: Vec<Chunk>,
    len: usize,
}

impl Body {
    pub(super) fn new(chunks: Vec<Chunk>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
        Self { chunks, len }
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Chunk::as_slice)
    }

    #[cfg(all(test, not(milena_model)))]
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Ends the body and gives its memory back.
    pub fn give_back(self, source: &(impl ChunkSource + ?Sized)) {
        self.chunks.into_iter().for_each(|chunk| source.give(chunk));
    }

    fn checksum(&self) -> u32 {
        self.slices().fold(0, crc32c::append)
    }
}

/// Why a batch stopped filling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// The next record did not fit into `batch_size`.
    Size,
    /// `linger` was over, or nothing held it back any more.
    Linger,
    /// The caller asked, or the producer closes.
    Flush,
    /// A caller waits for room in the buffer.
    Memory,
    /// A record's deadline ended while it filled.
    Deadline,
}

/// A batch that no longer fills and is not stamped yet.
#[derive(Debug)]
pub struct SealedBatch {
    /// Shared with the callers.
    pub completion: Arc<BatchCompletion>,
    pub(super) body: Body,
    /// Absent until a lane has packed the batch.
    pub(super) body_crc: Option<u32>,
    pub(super) count: u32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) opened_at: Moment,
    /// When its last caller is released.
    pub(super) last_due: Tick,
    /// Why it stopped filling.
    pub reason: SealReason,
}

impl SealedBatch {
    /// Records in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of its body.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Bytes that it takes in a request if nothing of it was withdrawn.
    pub(super) fn wire_len(&self) -> usize {
        records::BATCH_HEADER_BYTES + self.body.len()
    }

    /// Computes what needs every byte, off the write path and outside every lock.
    pub(super) fn pack(&mut self) {
        if self.body_crc.is_none() {
            self.body_crc = Some(self.body.checksum());
        }
    }

    /// Takes withdrawn records out in one rewrite.
    pub(super) fn drop_records(&mut self, dropped: &Dropped, chunks: &(impl ChunkSource + ?Sized)) {
        let rewritten = records::retain(self.body.slices(), |index| !dropped.contains(index))
            .expect("the body was encoded by this client");
        self.count = rewritten.record_count;
        // Wraps as the deltas do: a caller may set the largest and the smallest timestamp in one batch.
        self.max_timestamp = self.base_timestamp.wrapping_add(rewritten.max_timestamp_delta);
        self.body_crc = None;
        let rewritten = Chunk::Large(rewritten.bytes);
        let charged = rewritten.bytes_held();
        std::mem::replace(&mut self.body, Body::new(vec![rewritten])).give_back(chunks);
        chunks.charge_always(charged);
        self.pack();
    }

    pub(super) fn stamp(mut self, stamp: Stamp) -> StampedBatch {
        self.pack();
        let header = self.header(stamp);
        StampedBatch {
            header,
            stamp,
            body: Arc::new(self.body),
            completion: self.completion,
            count: self.count,
            opened_at: self.opened_at,
            last_due: self.last_due,
            attempts: 0,
            is_ambiguous: false,
            flight: Flight::Waiting,
        }
    }

    fn header(&self, stamp: Stamp) -> [u8; records::BATCH_HEADER_BYTES] {
        let header = BatchHeader {
            last_offset_delta: self.count as i32 - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: stamp.identity.producer_id.0,
            producer_epoch: stamp.identity.epoch.0,
            base_sequence: stamp.sequence.value(),
            record_count: self.count as i32,
            ..BatchHeader::default()
        };
        header.seal(self.body.len(), self.body_crc.expect("packed before it is stamped"))
    }
}

/// What makes an attempt recognisable to the broker. Topic and partition are those of the back that stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Producer id and epoch.
    pub identity: Identity,
    /// Of the first record.
    pub sequence: Sequence,
    /// Counts the stamps of a partition, so that the window is a difference of two of them.
    pub ordinal: u64,
}

/// A batch that was claimed. A retry sends the same bytes under the same stamp.
#[derive(Debug)]
pub struct StampedBatch {
    pub(super) header: [u8; records::BATCH_HEADER_BYTES],
    pub(super) stamp: Stamp,
    pub(super) body: Arc<Body>,
    pub(super) completion: Arc<BatchCompletion>,
    pub(super) count: u32,
    pub(super) opened_at: Moment,
    pub(super) last_due: Tick,
    /// How often it was handed to a connection.
    pub(super) attempts: u32,
    /// Some attempt may have been appended: it went unanswered, or was answered with an ambiguous code (rule 11).
    pub(super) is_ambiguous: bool,
    pub(super) flight: Flight,
}

/// Where the newest attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flight {
    /// With the partition, to be sent again.
    Waiting,
    /// With a connection, not answered.
    OnWire,
}

impl StampedBatch {
    /// Bytes of the attempt, header included.
    pub(super) fn wire_len(&self) -> usize {
        records::BATCH_HEADER_BYTES + self.body.len()
    }

    /// The planted bug of rule 1: the same bytes under another stamp.
    #[cfg(feature = "plants")]
    pub(super) fn restamp(&mut self, stamp: Stamp) {
        let mut header = BatchHeader::read(&self.header).expect("the header was written by this client");
        header.base_sequence = stamp.sequence.value();
        self.header = header.seal(self.body.len(), self.body.checksum());
        self.stamp = stamp;
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
