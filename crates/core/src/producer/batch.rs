//! A batch that no longer fills: what is packed, what has withdrawn from it, and how old it is.

use std::sync::Arc;
use std::time::Duration;

use milena_wire::records::{self, Compression, Encoding};

use super::body::{Body, ChunkSource};
use super::completion::{BatchCompletion, Dropped};
use super::packing::{Cut, PackDone, PackJob, PackOrder, PackTicket, Packed, PackedBody, give_back, retained};
use crate::time::{Moment, Tick};

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
    /// None of its records is to be written after its deadline.
    pub(super) withdraws: bool,
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
}

impl Packing {
    pub(super) fn is_in_work(&self, ticket: PackTicket) -> bool {
        matches!(self, Self::InWork { ticket: given, .. } if *given == ticket)
    }
}

/// Whether a timestamp is older than the horizon (rule 17); the wall clock of now is the opening's, moved on by the monotonic one.
pub(super) fn is_older(
    now: Moment,
    (opened_at, opened_wall): (Moment, i64),
    timestamp: i64,
    horizon: Duration,
) -> bool {
    let open_for = i64::try_from(now.since(opened_at).as_millis()).unwrap_or(i64::MAX);
    let age = opened_wall.saturating_add(open_for).saturating_sub(timestamp);
    age > i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(all(test, not(milena_model)))]
mod tests;
