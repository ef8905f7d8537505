//! Which bytes of a partition are to be worked on next, and what comes of the work.
//!
//! Always holds: batches leave in their order, whichever is packed first; what withdrew before its batch was packed is not
//! packed, what withdrew after it makes the batch go through once more, off the write path; the third time its records are
//! sent as they are, so that those that withdraw one by one hold up nobody.

use milena_wire::records::{Codec, Compression, Encoding};

use super::PartitionBack;
use crate::producer::batch::{Packing, SealedBatch};
use crate::producer::body::ChunkSource;
use crate::producer::packing::{PackDone, PackJob, PackOrder, PackTicket};
use crate::producer::stamped::{Flight, StampedBatch, Surgery};

impl PartitionBack {
    /// From now on batches go to a broker that speaks this version of Produce. What was packed by a codec that it does not
    /// take and never sent is packed anew.
    pub(in crate::producer) fn meet_broker(&mut self, produce_version: i16) {
        self.encoding = self.config.encodings.first_for(produce_version);
        if produce_version < Codec::Zstd.produce_version_min() {
            let unfit = self.pending.iter_mut().filter(|batch| batch.codec == Compression::Zstd);
            unfit.for_each(|batch| batch.packing = Packing::Open);
        }
    }

    /// Whether there may be work on its bytes.
    pub(in crate::producer) fn is_packing(&self) -> bool {
        !self.config.encodings.is_none()
    }

    /// Whether a batch can be claimed as it is.
    pub(super) fn is_packed(&self, batch: &SealedBatch) -> bool {
        match batch.packing {
            Packing::Done => true,
            Packing::InWork { .. } => false,
            Packing::Open => self.encoding.is_none() && batch.codec == Compression::None,
        }
    }

    /// The next piece of work, if there is any: what is to be sent again first, then the batches in their order.
    pub(in crate::producer) fn poll_pack(&mut self) -> Option<PackJob> {
        if self.config.encodings.is_none() {
            return None;
        }
        let order = PackOrder { partition: self.id, ticket: PackTicket(self.next_ticket), encoding: self.encoding };
        let job = match self.next_to_cut() {
            Some(batch) => batch.cut_job(order),
            None => self.next_to_pack(order.encoding)?.pack_job(order),
        };
        self.next_ticket += 1;
        Some(job)
    }

    /// What is behind a batch that is split is numbered anew, and must hear the answers to its old numbers first. Until it is
    /// split nothing behind it is sent.
    fn next_to_cut(&mut self) -> Option<&mut StampedBatch> {
        let on_wire = self.unsettled.iter().rposition(|batch| batch.flight == Flight::OnWire);
        let may_be_split = |place| on_wire.is_none_or(|on_wire| on_wire < place);
        let sent = self.unsettled.iter_mut().enumerate();
        let sent = sent.filter(|(place, batch)| batch.surgery != Surgery::Split || may_be_split(*place));
        sent.map(|(_, batch)| batch).chain(&mut self.renewed).find(|batch| batch.may_be_cut())
    }

    /// The oldest one, or the first behind all those that are packed: a long queue is not walked through for every batch.
    fn next_to_pack(&mut self, encoding: Option<Encoding>) -> Option<&mut SealedBatch> {
        let is_next = self.pending.front().is_some_and(|batch| batch.may_be_packed(encoding));
        let begun = self.pending.iter().rposition(|batch| batch.packing != Packing::Open);
        let from = if is_next { 0 } else { begun.map_or(0, |place| place + 1) };
        self.pending.range_mut(from..).find(|batch| batch.may_be_packed(encoding))
    }

    /// Work is done. What it was for may have ended, or be wanted otherwise.
    pub(in crate::producer) fn handle_packed(&mut self, done: PackDone, chunks: &(impl ChunkSource + ?Sized)) {
        let ticket = done.order.ticket;
        if let Some(batch) = self.pending.iter_mut().find(|batch| batch.packing.is_in_work(ticket)) {
            return batch.take_packed(done, chunks);
        }
        let is_it = |batch: &StampedBatch| batch.cutting == Some(ticket);
        if let Some(place) = self.unsettled.iter().position(is_it) {
            if let Some(second) = self.unsettled[place].take_cut(done, chunks) {
                self.insert_second(place, second);
            }
        } else if let Some(batch) = self.renewed.iter_mut().find(|batch| is_it(batch)) {
            let second = batch.take_cut(done, chunks);
            assert!(second.is_none(), "a batch that waits for another stamp is not split");
        } else {
            done.give_back(chunks);
        }
    }

    /// Nobody here will hear of the work that is under way.
    pub(in crate::producer) fn forget_work(&mut self) {
        for batch in &mut self.pending {
            if let Packing::InWork { .. } = batch.packing {
                batch.packing = Packing::Open;
            }
        }
        self.unsettled.iter_mut().chain(&mut self.renewed).for_each(|batch| batch.cutting = None);
    }
}
