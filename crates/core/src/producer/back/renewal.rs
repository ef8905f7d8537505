//! New stamps for batches whose old ones are proven void, and the end of those whose are not (rules 2, 14 and 15).
//!
//! Always holds: a batch that may have been appended under its stamp never gets another, unless it is proven that it never
//! can be; what goes on keeps its order and stands before what was never claimed.

use super::{Mode, PartitionBack};
use crate::ids::{Epoch, Identity, Sequence};
use crate::producer::body::ChunkSource;
use crate::producer::ended::Ended;
use crate::producer::outcome::Undetermined;
use crate::producer::stamped::Surgery;
use crate::time::Moment;

/// Why and how a partition changes its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    pub(super) next: NextIdentity,
    /// What is doubtful ends so.
    pub(super) doubt: Undetermined,
    /// Even what went unanswered can never be appended: its predecessor never will be.
    pub(super) has_proof: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextIdentity {
    /// The next epoch of the same producer id: once its first batch is acknowledged, late copies are refused.
    Epoch,
    /// Another producer id, which fences nothing.
    ProducerId,
}

impl Renewal {
    pub(super) fn of_epoch(doubt: Undetermined) -> Self {
        Self { next: NextIdentity::Epoch, doubt, has_proof: false }
    }

    pub(super) fn of_producer_id(doubt: Undetermined) -> Self {
        Self { next: NextIdentity::ProducerId, doubt, has_proof: false }
    }

    /// Both at once.
    pub(super) fn and(self, other: Self) -> Self {
        let next = if other.next == NextIdentity::ProducerId { other.next } else { self.next };
        // What has a proof leaves no doubt, so the reason is that of the one that has none.
        let is_closed = !other.has_proof && !other.doubt.is_open_to_proof();
        let doubt = if self.has_proof || is_closed { other.doubt } else { self.doubt };
        Self { next, doubt, has_proof: self.has_proof && other.has_proof }
    }
}

/// Epochs above carry no records (rule 24): the last ones are kept for fences.
pub(super) const EPOCH_MAX: Epoch = Epoch(32_765);

/// The last one that this client uses, for a fence; the one above belongs to whoever settles what a process left behind.
const FENCE_EPOCH_MAX: Epoch = Epoch(32_766);

impl PartitionBack {
    /// Once nothing is on the wire: what is certain waits for a new stamp, what is not ends.
    pub(super) fn finish_renewal(&mut self, ended: &mut Vec<Ended>) {
        let Mode::Renewing(renewal) = self.mode else { return };
        if self.is_on_wire() {
            return;
        }
        #[cfg(feature = "plants")]
        let renewal = match self.config.plant {
            crate::plant::Plant::SecondStampWithoutProof | crate::plant::Plant::GapMeansAbsent => {
                Renewal { has_proof: true, ..renewal }
            }
            _ => renewal,
        };
        let place = self.place_to_take(renewal);
        let mut kept = std::collections::VecDeque::new();
        for mut batch in std::mem::take(&mut self.unsettled) {
            if batch.is_doubtful() && !renewal.has_proof {
                self.doubt_batch(batch, renewal.doubt, ended);
            } else {
                batch.forget_split();
                kept.push_back(batch);
            }
        }
        kept.append(&mut self.renewed);
        self.renewed = kept;
        if self.begin_squat(place) {
            return;
        }
        let is_fenced_off = self.doubts.is_unfenced() && renewal.doubt.is_open_to_proof();
        match renewal.next {
            NextIdentity::ProducerId if !is_fenced_off => {
                match renewal.doubt {
                    // What somebody else's epochs keep out, or do not, may be there all the same (rule 14).
                    Undetermined::ProducerIdUsedElsewhere => self.doubts.give_up_fence(),
                    why => self.doubts.end_unfenced(why, ended),
                }
                self.give_up_identity();
            }
            #[cfg(feature = "plants")]
            _ if self.config.plant == crate::plant::Plant::FreshIdFences => self.give_up_identity(),
            NextIdentity::Epoch | NextIdentity::ProducerId => self.raise_epoch(ended),
        }
    }

    /// The next epoch of the same producer id, from sequence 0 on, the first batch alone.
    pub(super) fn raise_epoch(&mut self, ended: &mut Vec<Ended>) {
        let epoch_max = if self.doubts.is_unfenced() { FENCE_EPOCH_MAX } else { EPOCH_MAX };
        match self.identity {
            Some(identity) if identity.epoch < epoch_max => {
                self.give_up_identity();
                self.abandoned = None;
                self.identity = Some(Identity { epoch: Epoch(identity.epoch.0 + 1), ..identity });
            }
            _ => {
                self.doubts.end_unfenced(Undetermined::NoFence, ended);
                self.give_up_identity();
            }
        }
    }

    /// The last fence of a producer id stands: only now may the partition take another one (rule 24).
    pub(super) fn leave_last_epoch(&mut self) {
        let is_last = self.identity.is_some_and(|identity| identity.epoch > EPOCH_MAX);
        let is_idle = self.unsettled.is_empty() && !matches!(self.mode, Mode::Renewing(_));
        if is_last && is_idle && self.anchor.is_some() && !self.doubts.is_unfenced() {
            self.give_up_identity();
        }
    }

    /// A fresh producer id starts at sequence 0 with its first batch alone; it fences nothing, so late copies of the
    /// old stamps remain possible.
    pub(super) fn give_up_identity(&mut self) {
        self.abandoned = self.identity.take().map(|identity| identity.producer_id).or(self.abandoned);
        self.next_sequence = Sequence::FIRST;
        (self.anchor, self.squat) = (None, None);
        self.mode = Mode::Streaming;
    }

    /// After a long pause brokers may have forgotten the producer, and then they take any sequence: a new epoch says which
    /// one comes first (rules 4 and 17).
    pub(super) fn leave_old_epoch(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        let is_old = self.anchor.is_some_and(|anchor| now.since(anchor.at) >= self.config.horizon);
        if is_old && self.unsettled.is_empty() {
            self.raise_epoch(ended);
        }
    }

    /// Gives the oldest batch that waits for it a new stamp.
    pub(super) fn restamp(&mut self, now: Moment, chunks: &(impl ChunkSource + ?Sized)) {
        let mut batch = self.renewed.pop_front().expect("a new stamp follows a look at those that wait for one");
        if let Surgery::Drop(places) = std::mem::take(&mut batch.surgery) {
            batch.drop_refused(&places, chunks);
        }
        batch.is_stale = self.has_become_stale(&batch, now);
        let stamp = self.next_stamp(batch.count());
        batch.restamp(stamp);
        self.unsettled.push_back(batch);
    }
}
