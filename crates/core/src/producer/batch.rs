//! A batch's bytes, from the first record to the last attempt.
//!
//! Always holds: the body never changes once it is stamped, and a stamp belongs to its bytes for ever (rule 1). The
//! header lies apart from the body and its checksum is combined, so stamping never touches the body.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::{self, Attributes, BatchHeader, Compression, Encoding};

use super::account::{Account, Full};
use super::completion::{BatchCompletion, Dropped};
use super::packing::{Cut, PackDone, PackJob, PackOrder, PackTicket, Packed, PackedBody, give_back, retained};
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

    pub(super) fn checksum(&self) -> u32 {
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
    pub(super) body: Arc<Body>,
    /// What the body is compressed with.
    pub(super) codec: Compression,
    /// Bytes of its records.
    pub(super) raw_len: usize,
    /// Absent until a lane has packed the batch.
    pub(super) body_crc: Option<u32>,
    pub(super) packing: Packing,
    /// It lost records after it was packed, and was packed once more.
    pub(super) is_repacked: bool,
    /// Records that had withdrawn when it was packed; they are not in the body.
    pub(super) removed: Dropped,
    pub(super) count: u32,
    /// Records that it was sealed with.
    pub(super) appended: u32,
    pub(super) base_timestamp: i64,
    /// Of the records that it was sealed with.
    pub(super) min_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) opened_at: Moment,
    /// The wall clock then, in milliseconds: how old its timestamps are when it is claimed.
    pub(super) opened_wall: i64,
    /// When its last caller is released.
    pub(super) last_due: Tick,
    /// Why it stopped filling.
    pub reason: SealReason,
}

/// How far a batch is on its way to the bytes that are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Nothing was done, or it must be done again.
    Open,
    /// Somebody works on it.
    InWork {
        ticket: PackTicket,
        /// These will not be in it.
        withdrawn: Dropped,
    },
    /// It is as it will be sent.
    Done,
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

    /// Whether it could be stale once some of its records have left it.
    pub(super) fn may_become_stale(&self, now: Moment, horizon: Duration) -> bool {
        is_older(now, (self.opened_at, self.opened_wall), self.min_timestamp, horizon)
    }

    /// Whether work on it can begin. As long as nobody wants it compressed, and it is not, there is none.
    pub(super) fn may_be_packed(&self, encoding: Option<Encoding>) -> bool {
        let is_work = encoding.is_some() || self.codec != Compression::None;
        is_work && self.packing == Packing::Open
    }

    /// Those that have withdrawn by now are left out.
    pub(super) fn pack_job(&mut self, order: PackOrder) -> PackJob {
        let withdrawn = self.completion.withdrawn();
        let in_body = (0..self.appended).filter(|index| !self.removed.contains(*index)).zip(0..);
        let gone: Vec<u32> = in_body.filter(|(index, _)| withdrawn.contains(*index)).map(|(_, place)| place).collect();
        let cut = if gone.is_empty() { Cut::Nothing } else { Cut::Drop(gone) };
        self.packing = Packing::InWork { ticket: order.ticket, withdrawn };
        PackJob { order, body: Arc::clone(&self.body), codec: self.codec, raw_len: self.raw_len, cut }
    }

    /// What came of that work.
    pub(super) fn take_packed(&mut self, done: PackDone, chunks: &(impl ChunkSource + ?Sized)) {
        let Packing::InWork { withdrawn, .. } = std::mem::replace(&mut self.packing, Packing::Done) else {
            unreachable!("whoever is given work waits for it")
        };
        // The body itself is still held here.
        drop(done.source);
        match done.packed {
            Packed::Same { crc } => self.body_crc = Some(crc),
            Packed::One(packed) => self.replace_body(packed, withdrawn, chunks),
            Packed::Two(..) => unreachable!("what was never sent is not split"),
        }
    }

    /// Whether it was packed and lost records since: then it is packed once more, off the write path. The second time it is
    /// not worth the wait.
    pub(super) fn must_be_repacked(&self) -> bool {
        let withdrawn = || self.completion.withdrawn().len();
        let is_worth_it = self.codec != Compression::None && !self.is_repacked;
        is_worth_it && (self.removed.len() + 1..self.appended).contains(&withdrawn())
    }

    /// Takes withdrawn records out in one rewrite; what is left is not compressed.
    pub(super) fn drop_records(&mut self, dropped: &Dropped, chunks: &(impl ChunkSource + ?Sized)) {
        let mut in_body = (0..self.appended).filter(|index| !self.removed.contains(*index));
        let mut is_left = |_| !dropped.contains(in_body.next().expect("the body has no more records than are left"));
        let left = PackedBody::raw(retained(&self.body, self.codec, self.raw_len, &mut is_left));
        drop(in_body);
        self.replace_body(left, dropped.clone(), chunks);
    }

    fn replace_body(&mut self, packed: PackedBody, removed: Dropped, chunks: &(impl ChunkSource + ?Sized)) {
        if let Some(cut) = packed.cut {
            self.count = cut.record_count;
            // Wraps as the deltas do: a caller may set the largest and the smallest timestamp in one batch.
            self.max_timestamp = self.base_timestamp.wrapping_add(cut.max_timestamp_delta);
        }
        (self.codec, self.raw_len, self.body_crc) = (packed.codec, packed.raw_len, Some(packed.crc));
        (self.packing, self.removed) = (Packing::Done, removed);
        let body = self.body.replaced_by(packed.bytes, chunks);
        give_back(std::mem::replace(&mut self.body, Arc::new(body)), chunks);
    }

    /// The claim: from here on the batch goes under one stamp.
    pub(super) fn claimed(mut self, is_stale: bool, stamp: Stamp) -> StampedBatch {
        self.pack();
        let facts = Facts {
            count: self.count,
            base_timestamp: self.base_timestamp,
            min_timestamp: self.min_timestamp,
            max_timestamp: self.max_timestamp,
            codec: self.codec,
            raw_len: self.raw_len,
            body_crc: self.body_crc.expect("it was just packed"),
        };
        StampedBatch {
            header: facts.header(stamp, self.body.len()),
            stamp,
            facts,
            body: self.body,
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
            cutting: None,
        }
    }
}

impl Packing {
    pub(super) fn is_in_work(&self, ticket: PackTicket) -> bool {
        matches!(self, Self::InWork { ticket: given, .. } if *given == ticket)
    }
}

fn is_older(now: Moment, (opened_at, opened_wall): (Moment, i64), timestamp: i64, horizon: Duration) -> bool {
    let open_for = i64::try_from(now.since(opened_at).as_millis()).unwrap_or(i64::MAX);
    let age = opened_wall.saturating_add(open_for).saturating_sub(timestamp);
    age > i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX)
}

/// What the header of a batch needs to know of its body.
#[derive(Clone, Copy, Debug)]
struct Facts {
    count: u32,
    base_timestamp: i64,
    /// Of the records that the batch was sealed with; some may have left it.
    min_timestamp: i64,
    max_timestamp: i64,
    codec: Compression,
    /// Bytes of its records.
    raw_len: usize,
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
            attributes: Attributes::default().with_compression(self.codec),
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
    /// Somebody works on the surgery; cleared with it.
    pub(super) cutting: Option<PackTicket>,
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

    /// As [`SealedBatch::may_become_stale`].
    pub(super) fn may_become_stale(&self, now: Moment, horizon: Duration) -> bool {
        is_older(now, (self.opened_at, self.opened_wall), self.facts.min_timestamp, horizon)
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

    /// Bytes of its records, before they were compressed.
    pub fn raw_len(&self) -> usize {
        self.facts.raw_len
    }

    /// Whether it must go through surgery that is done off the write path, because it is compressed.
    pub(super) fn awaits_cut(&self) -> bool {
        self.facts.codec != Compression::None && self.surgery != Surgery::None
    }

    /// Whether that can begin.
    pub(super) fn may_be_cut(&self) -> bool {
        self.awaits_cut() && self.cutting.is_none()
    }

    /// Whether it is too large shows once it is sent under its next stamp.
    pub(super) fn forget_split(&mut self) {
        if self.surgery == Surgery::Split {
            (self.surgery, self.cutting) = (Surgery::None, None);
        }
    }

    /// The surgery, to be done.
    pub(super) fn cut_job(&mut self, order: PackOrder) -> PackJob {
        let cut = match &self.surgery {
            Surgery::None => Cut::Nothing,
            Surgery::Split => Cut::Split(self.half()),
            Surgery::Drop(places) => Cut::Drop(places.clone()),
        };
        self.cutting = Some(order.ticket);
        let Facts { codec, raw_len, .. } = self.facts;
        PackJob { order, body: Arc::clone(&self.body), codec, raw_len, cut }
    }

    /// What came of it; gives the second half of a batch that was split, as [`Self::split`] does.
    pub(super) fn take_cut(&mut self, done: PackDone, chunks: &(impl ChunkSource + ?Sized)) -> Option<StampedBatch> {
        (self.surgery, self.cutting) = (Surgery::None, None);
        // The body itself is still held here.
        drop(done.source);
        match done.packed {
            Packed::Same { .. } => unreachable!("no cut leaves a body as it is"),
            Packed::One(left) => {
                self.replace_body(left, chunks);
                None
            }
            Packed::Two(first, second) => Some(self.split_into(first, second, chunks)),
        }
    }

    /// Takes the refused records out. Their numbers go to those behind them, so it needs a new stamp.
    pub(super) fn drop_refused(&mut self, places: &[u32], chunks: &(impl ChunkSource + ?Sized)) {
        let left = self.retained(|place| places.binary_search(&place).is_err());
        self.replace_body(left, chunks);
    }

    fn retained(&self, keep: impl FnMut(u32) -> bool) -> PackedBody {
        PackedBody::raw(retained(&self.body, self.facts.codec, self.facts.raw_len, keep))
    }

    fn replace_body(&mut self, packed: PackedBody, chunks: &(impl ChunkSource + ?Sized)) {
        if let Some(cut) = packed.cut {
            self.facts.count = cut.record_count;
            self.facts.max_timestamp = self.facts.base_timestamp.wrapping_add(cut.max_timestamp_delta);
        }
        self.facts = Facts { codec: packed.codec, raw_len: packed.raw_len, body_crc: packed.crc, ..self.facts };
        let body = self.body.replaced_by(packed.bytes, chunks);
        self.header = self.facts.header(self.stamp, body.len());
        // A request that is still being written gives the old body's memory back itself.
        give_back(std::mem::replace(&mut self.body, Arc::new(body)), chunks);
    }

    fn half(&self) -> u32 {
        self.count() / 2
    }

    /// Cuts it in two (rule 15): the first half stays here, the second is returned. Together they have the sequences that
    /// the whole had, so what was sent behind it keeps its stamps; both are numbered anew by the caller.
    pub(super) fn split(&mut self, chunks: &(impl ChunkSource + ?Sized)) -> StampedBatch {
        let half = self.half();
        let (first, second) = (self.retained(|place| place < half), self.retained(|place| place >= half));
        self.split_into(first, second, chunks)
    }

    fn split_into(
        &mut self,
        first: PackedBody,
        second: PackedBody,
        chunks: &(impl ChunkSource + ?Sized),
    ) -> StampedBatch {
        let half = self.half();
        let middle = self.completion.nth_sent(self.records.start, half);
        let mut rest = StampedBatch {
            header: self.header,
            stamp: Stamp { sequence: self.stamp.sequence.next(half), ..self.stamp },
            facts: self.facts,
            body: Arc::new(Body::new(Vec::new(), Arc::clone(&self.body.account))),
            completion: Arc::clone(&self.completion),
            records: middle..self.records.end,
            surgery: Surgery::None,
            cutting: None,
            left: Vec::new(),
            attempts_of_stamp: 0,
            first_sent_at: None,
            ..*self
        };
        self.attempts_of_stamp = 0;
        self.first_sent_at = None;
        rest.replace_body(second, chunks);
        self.records.end = middle;
        self.replace_body(first, chunks);
        rest
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
