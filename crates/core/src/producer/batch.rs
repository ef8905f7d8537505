//! A batch's bytes, from the first record to the last attempt.
//!
//! Always holds: the body never changes once it is stamped, and a stamp belongs to its bytes for ever (rule 1). The
//! header lies apart from the body and its checksum is combined, so stamping never touches the body.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::{self, BatchHeader, RewrittenBody};

use super::account::{Account, Full};
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
    /// An empty pooled chunk with room for at least `bytes`, which is at most [`CHUNK_BYTES_MAX`], for this partition.
    fn take(&self, account: &Account, bytes: usize) -> Result<Vec<u8>, Full>;
    /// Counts memory that is not pooled: a large record, a linked value.
    fn charge(&self, account: &Account, bytes: usize) -> Result<(), Full>;
    /// Counts memory that replaces some that was just given back; may pass the limit for a moment.
    fn charge_always(&self, account: &Account, bytes: usize);
    /// Takes a chunk back from the partition that it was given to.
    fn give(&self, account: &Account, chunk: Chunk);
    /// As [`Self::give`], for many.
    fn give_all(&self, account: &Account, chunks: Vec<Chunk>) {
        chunks.into_iter().for_each(|chunk| self.give(account, chunk));
    }
}

/// The largest pooled chunk.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The records of a batch as they go over the wire.
#[derive(Debug)]
pub struct Body {
    chunks: Vec<Chunk>,
    len: usize,
    /// Of the partition that holds the memory.
    account: Arc<Account>,
}

impl Body {
    pub(super) fn new(chunks: Vec<Chunk>, account: Arc<Account>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
        Self { chunks, len, account }
    }

    /// One piece instead, counted for the same partition.
    fn replaced_by(&self, bytes: Vec<u8>, source: &(impl ChunkSource + ?Sized)) -> Self {
        let chunk = Chunk::Large(bytes);
        source.charge_always(&self.account, chunk.bytes_held());
        Self::new(vec![chunk], Arc::clone(&self.account))
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
        source.give_all(&self.account, self.chunks);
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
    /// Records that it was sealed with.
    pub(super) appended: u32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) opened_at: Moment,
    /// The wall clock then, in milliseconds: how old its timestamps are when it is claimed.
    pub(super) opened_wall: i64,
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

    /// Whether every record's timestamp is older than the horizon (rule 17). The wall clock of now is that of the opening,
    /// moved on by the monotonic one.
    pub(super) fn is_stale(&self, now: Moment, horizon: Duration) -> bool {
        is_older(now, (self.opened_at, self.opened_wall), self.max_timestamp, horizon)
    }

    /// Takes withdrawn records out in one rewrite.
    pub(super) fn drop_records(&mut self, dropped: &Dropped, chunks: &(impl ChunkSource + ?Sized)) {
        let rewritten = retained(&self.body, |index| !dropped.contains(index));
        self.count = rewritten.record_count;
        // Wraps as the deltas do: a caller may set the largest and the smallest timestamp in one batch.
        self.max_timestamp = self.base_timestamp.wrapping_add(rewritten.max_timestamp_delta);
        self.body_crc = None;
        let rewritten = self.body.replaced_by(rewritten.bytes, chunks);
        std::mem::replace(&mut self.body, rewritten).give_back(chunks);
        self.pack();
    }

    /// The claim: from here on the batch goes under one stamp.
    pub(super) fn claimed(mut self, is_stale: bool, stamp: Stamp) -> StampedBatch {
        self.pack();
        let facts = Facts {
            count: self.count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            body_crc: self.body_crc.expect("it was just packed"),
        };
        StampedBatch {
            header: facts.header(stamp, self.body.len()),
            stamp,
            facts,
            body: Arc::new(self.body),
            completion: self.completion,
            records: 0..self.appended,
            opened_at: self.opened_at,
            opened_wall: self.opened_wall,
            last_due: self.last_due,
            attempts: 0,
            attempts_of_stamp: 0,
            first_sent_at: None,
            is_stale,
            is_ambiguous: false,
            left: Vec::new(),
            flight: Flight::Waiting,
            surgery: Surgery::None,
        }
    }
}

fn is_older(now: Moment, (opened_at, opened_wall): (Moment, i64), max_timestamp: i64, horizon: Duration) -> bool {
    let open_for = i64::try_from(now.since(opened_at).as_millis()).unwrap_or(i64::MAX);
    let age = opened_wall.saturating_add(open_for).saturating_sub(max_timestamp);
    age > i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX)
}

fn retained(body: &Body, keep: impl FnMut(u32) -> bool) -> RewrittenBody {
    records::retain(body.slices(), keep).expect("the body was encoded by this client")
}

/// What the header of a batch needs to know of its body.
#[derive(Clone, Copy, Debug)]
struct Facts {
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    body_crc: u32,
}

impl Facts {
    fn header(&self, stamp: Stamp, body_len: usize) -> [u8; records::BATCH_HEADER_BYTES] {
        // Negative numbers say that the batch is not idempotent.
        let (producer_id, producer_epoch, base_sequence) = match stamp.identity {
            Some(identity) => (identity.producer_id.0, identity.epoch.0, stamp.sequence.value()),
            None => (-1, -1, -1),
        };
        let header = BatchHeader {
            last_offset_delta: self.count as i32 - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.count as i32,
            ..BatchHeader::default()
        };
        header.seal(body_len, self.body_crc)
    }
}

/// What makes an attempt recognisable to the broker. Topic and partition are those of the back that stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Producer id and epoch; none without idempotence.
    pub identity: Option<Identity>,
    /// Of the first record.
    pub sequence: Sequence,
    /// Counts the stamps of a partition, so that the window is a difference of two of them. Never given twice, so that a
    /// late answer never meets another batch.
    pub ordinal: u64,
}

/// A batch that was claimed. A retry sends the same bytes under the same stamp.
#[derive(Debug)]
pub struct StampedBatch {
    pub(super) header: [u8; records::BATCH_HEADER_BYTES],
    pub(super) stamp: Stamp,
    facts: Facts,
    pub(super) body: Arc<Body>,
    pub(super) completion: Arc<BatchCompletion>,
    /// Which records of the completion it carries, those counted that were dropped.
    pub(super) records: Range<u32>,
    pub(super) opened_at: Moment,
    opened_wall: i64,
    pub(super) last_due: Tick,
    /// How often it was handed to a connection.
    pub(super) attempts: u32,
    /// Those of them under its stamp.
    pub(super) attempts_of_stamp: u32,
    /// Under its stamp.
    pub(super) first_sent_at: Option<Moment>,
    /// Its timestamps are so old that brokers forget the producer too soon (rule 17).
    pub(super) is_stale: bool,
    /// Some attempt under its stamp may have been appended: it went unanswered, or was answered with an ambiguous code
    /// (rule 11).
    pub(super) is_ambiguous: bool,
    /// Its attempts on connections that the partition has left, whose answer may still come.
    pub(super) left: Vec<u32>,
    pub(super) flight: Flight,
    pub(super) surgery: Surgery,
}

/// What must be done to a batch before it is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Surgery {
    #[default]
    None,
    /// It was too large.
    Split,
    /// These records of it were refused; ascending places among those it carries.
    Drop(Vec<u32>),
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

    /// As [`SealedBatch::is_stale`]; it may have become so since it was claimed.
    pub(super) fn is_stale_at(&self, now: Moment, horizon: Duration) -> bool {
        is_older(now, (self.opened_at, self.opened_wall), self.facts.max_timestamp, horizon)
    }

    /// Records that it carries.
    pub fn count(&self) -> u32 {
        self.facts.count
    }

    /// Another stamp for the same bytes. Only with a proof that nothing under the one before can be appended any more
    /// (rule 2).
    pub(super) fn restamp(&mut self, stamp: Stamp) {
        self.header = self.facts.header(stamp, self.body.len());
        self.stamp = stamp;
        self.attempts_of_stamp = 0;
        self.first_sent_at = None;
        self.is_ambiguous = false;
        self.left.clear();
    }

    /// Whether some attempt under its stamp may have been appended for all that is known.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_ambiguous || !self.left.is_empty()
    }

    /// The connection of an attempt was left with its answer still to come.
    pub(super) fn leave_behind(&mut self) {
        self.left.push(self.attempts);
        self.flight = Flight::Waiting;
    }

    /// What became of an attempt that was left behind is known.
    pub(super) fn hear_of(&mut self, attempt: u32, is_ambiguous: bool) {
        let before = self.left.len();
        self.left.retain(|left| *left != attempt);
        self.is_ambiguous |= is_ambiguous && self.left.len() < before;
    }

    /// Another place among the stamps; the stamp that brokers see stays.
    pub(super) fn renumber(&mut self, ordinal: u64) {
        self.stamp.ordinal = ordinal;
    }

    /// Takes the refused records out. Their numbers go to those behind them, so it needs a new stamp.
    pub(super) fn drop_refused(&mut self, places: &[u32], chunks: &(impl ChunkSource + ?Sized)) {
        let kept = retained(&self.body, |place| places.binary_search(&place).is_err());
        self.replace_body(kept, chunks);
    }

    fn replace_body(&mut self, rewritten: RewrittenBody, chunks: &(impl ChunkSource + ?Sized)) {
        self.facts.count = rewritten.record_count;
        self.facts.max_timestamp = self.facts.base_timestamp.wrapping_add(rewritten.max_timestamp_delta);
        let body = self.body.replaced_by(rewritten.bytes, chunks);
        self.facts.body_crc = body.checksum();
        self.header = self.facts.header(self.stamp, body.len());
        // A request that is still being written gives the old body's memory back itself.
        if let Some(old) = Arc::into_inner(std::mem::replace(&mut self.body, Arc::new(body))) {
            old.give_back(chunks);
        }
    }

    /// Cuts it in two (rule 15): the first half stays here, the second is returned. Together they have the sequences that
    /// the whole had, so what was sent behind it keeps its stamps; both are numbered anew by the caller.
    pub(super) fn split(&mut self, chunks: &(impl ChunkSource + ?Sized)) -> StampedBatch {
        let half = self.count() / 2;
        let middle = self.completion.nth_sent(self.records.start, half);
        let whole = Arc::clone(&self.body);
        let first_part = retained(&whole, |place| place < half);
        let second_part = retained(&whole, |place| place >= half);
        let mut second = StampedBatch {
            header: self.header,
            stamp: Stamp { sequence: self.stamp.sequence.next(half), ..self.stamp },
            facts: self.facts,
            body: Arc::new(Body::new(Vec::new(), Arc::clone(&whole.account))),
            completion: Arc::clone(&self.completion),
            records: middle..self.records.end,
            surgery: Surgery::None,
            left: Vec::new(),
            attempts_of_stamp: 0,
            first_sent_at: None,
            ..*self
        };
        self.attempts_of_stamp = 0;
        self.first_sent_at = None;
        drop(whole);
        second.replace_body(second_part, chunks);
        self.records.end = middle;
        self.replace_body(first_part, chunks);
        second
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
