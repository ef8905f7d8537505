//! A batch that was claimed: its stamp, its attempts, and what is cut out of it.
//!
//! Always holds: the body never changes under a stamp, and a stamp belongs to its bytes for ever (rule 1). The header lies
//! apart from the body and its checksum is combined, so stamping never touches the body.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::records::{self, Attributes, BatchHeader, Compression, TimestampType};

use super::batch::{SealedBatch, is_older};
use super::body::{Body, ChunkSource};
use super::completion::BatchCompletion;
use super::ended::EndedSize;
use super::packing::{Cut, PackDone, PackJob, PackOrder, PackTicket, Packed, PackedBody, give_back, retained};
use super::scan::Mark;
use crate::ids::{Identity, Sequence};
use crate::time::{Moment, Tick};

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
    /// None of its records is to be written after its deadline.
    pub(super) withdraws: bool,
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

impl SealedBatch {
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
            withdraws: self.withdraws,
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
    /// When its first record was accepted, in milliseconds of the wall clock.
    pub(super) fn opened_wall(&self) -> i64 {
        self.opened_wall
    }

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

    /// What it amounts to if it ends now.
    pub(super) fn size(&self) -> EndedSize {
        let (records, bytes, raw_bytes) = (self.count(), self.body.len(), self.raw_len());
        EndedSize { records, bytes, raw_bytes, attempts: self.attempts }
    }

    /// Records that it carries.
    pub fn count(&self) -> u32 {
        self.facts.count
    }

    /// By what it is known again in a log.
    pub(super) fn mark(&self) -> Mark {
        let print = Print { facts: self.facts, body_len: self.body.len() };
        Mark { stamp: self.stamp, count: self.count(), print }
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

/// The bytes of a batch by what is left of them once their memory is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    facts: Facts,
    body_len: usize,
}

impl Print {
    /// Of a batch that is known by its stamp alone.
    pub(super) const UNKNOWN: Self = Self {
        facts: Facts {
            count: 0,
            base_timestamp: 0,
            min_timestamp: 0,
            max_timestamp: 0,
            codec: Compression::None,
            raw_len: 0,
            body_crc: 0,
        },
        body_len: 0,
    };

    /// Whether a batch in a log has these bytes under this stamp: as many, and the checksum that they have with what brokers
    /// write into a batch, which is their time where the topic goes by it.
    pub(super) fn is_of(&self, stamp: Stamp, found: &BatchHeader) -> bool {
        let mut header = self.facts.unsealed(stamp);
        if found.attributes.timestamp_type() == TimestampType::LogAppendTime {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = found.max_timestamp;
        }
        let sealed = BatchHeader::read(&header.seal(self.body_len, self.facts.body_crc)).expect("it was just made");
        (found.batch_length, found.crc) == (sealed.batch_length, sealed.crc)
    }
}

/// What the header of a batch needs to know of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        self.unsealed(stamp).seal(body_len, self.body_crc)
    }

    fn unsealed(&self, stamp: Stamp) -> BatchHeader {
        // Negative numbers say that the batch is not idempotent.
        let (producer_id, producer_epoch, base_sequence) = match stamp.identity {
            Some(identity) => (identity.producer_id.0, identity.epoch.0, stamp.sequence.value()),
            None => (-1, -1, -1),
        };
        BatchHeader {
            attributes: Attributes::default().with_compression(self.codec),
            last_offset_delta: self.count as i32 - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.count as i32,
            ..BatchHeader::default()
        }
    }
}
