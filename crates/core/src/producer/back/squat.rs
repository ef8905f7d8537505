//! The squat (rule 20): where the log may not be read, the next batch takes the place of those that were given up. If it is
//! appended there, they are not in the log and never will be.
//!
//! Always holds: it goes out once in an epoch, alone, with a number of records after which none of theirs begins or ends, so
//! that a broker takes it for none of them and takes none of them behind it; whatever comes of it, what follows goes
//! under the next epoch, which is the fence if the squat proved nothing.
//!
//! Left out on purpose: OUT_OF_ORDER_SEQUENCE_NUMBER, which says that the first of them is in that leader's log. It need not be
//! committed: the first one is appended and copied by nobody, the squat finds the gap, the leader dies, a follower without
//! the first one is elected and takes the fence. The same answers come where it was committed.

use super::renewal::{EPOCH_MAX, Renewal};
use super::{Mode, PartitionBack};
use crate::ids::{Epoch, Identity, Sequence};
use crate::producer::anchor::Acknowledged;
use crate::producer::ended::Ended;
use crate::producer::outcome::Undetermined;
use crate::producer::stamped::StampedBatch;
use milena_wire::ErrorCode;

/// A place that is to be taken.
#[derive(Debug)]
pub(super) struct Squat {
    /// Of the first batch that was given up.
    first: Sequence,
    /// After so many records one of them ends, and maybe the next one begins.
    boundaries: Vec<u32>,
    /// The batch that takes it, once it is stamped.
    ordinal: Option<u64>,
}

/// What an answer to a squat is worth depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// An earlier batch of the epoch was acknowledged, and neither before nor in this answer is a sign of lost memory:
    /// without memory a broker takes any sequence.
    is_anchored: bool,
    /// It was told where: without, such a sign would not show.
    has_offset: bool,
    /// Its timestamps make brokers forget the producer (rule 17).
    is_stale: bool,
}

/// The table: whether an answer proves that those whose place was asked for are absent for ever.
fn proves_absence(error: ErrorCode, standing: Standing) -> bool {
    match error {
        ErrorCode::NONE => standing.is_anchored && standing.has_offset && !standing.is_stale,
        // Somebody's bytes are there; and everything else speaks of the attempt, or of one leader only.
        _ => false,
    }
}

impl PartitionBack {
    /// The place of what is unsettled, if it can be taken: nobody may read, they are given up for want of time alone, and brokers
    /// know what stands before them.
    pub(super) fn place_to_take(&self, renewal: Renewal) -> Option<Squat> {
        let is_given_up = renewal == Renewal::of_epoch(Undetermined::NoFence);
        let is_first = self.squat.is_none() && !self.doubts.is_unfenced();
        let may_not_read = self.questions.may_not_read;
        // Few may not read in the simulation.
        #[cfg(feature = "plants")]
        let may_not_read = may_not_read || self.config.plant == crate::plant::Plant::SquatOnBoundary;
        let identity = self.identity.filter(|_| may_not_read && is_given_up && is_first)?;
        let head = self.unsettled.front().filter(|head| self.is_anchored(head))?;
        let is_usable = |batch: &StampedBatch| !batch.is_stale && batch.stamp.identity == Some(identity);
        let has_epoch = identity.epoch < EPOCH_MAX && self.anchor.is_some_and(|anchor| anchor.end_offset.is_some());
        if !has_epoch || !self.unsettled.iter().all(is_usable) {
            return None;
        }
        let first = head.stamp.sequence;
        let begins =
            |batch: &StampedBatch| (batch.stamp.sequence.value().wrapping_sub(first.value()) & i32::MAX) as u32;
        let ends = self.unsettled.iter().map(|batch| begins(batch).saturating_add(batch.count()));
        let boundaries = self.unsettled.iter().map(begins).chain(ends).collect();
        Some(Squat { first, boundaries, ordinal: None })
    }

    /// Whether the next batch takes that place.
    pub(super) fn begin_squat(&mut self, squat: Option<Squat>) -> bool {
        // What goes on under new stamps goes on in peace.
        let squat = squat.filter(|_| self.doubts.is_unfenced() && self.renewed.is_empty());
        if let Some(squat) = &squat {
            (self.next_sequence, self.mode) = (squat.first, Mode::Streaming);
        }
        let is_begun = squat.is_some();
        self.squat = squat.or(self.squat.take());
        is_begun
    }

    /// A batch is about to be stamped: it takes the place, or is the fence.
    pub(super) fn take_place(&mut self, count: u32, is_stale: bool, ended: &mut Vec<Ended>) {
        let ordinal = self.next_ordinal;
        let Some(squat) = &mut self.squat else { return };
        let is_boundary = squat.boundaries.contains(&count);
        #[cfg(feature = "plants")]
        let is_boundary = is_boundary && self.config.plant != crate::plant::Plant::SquatOnBoundary;
        match is_boundary || is_stale {
            true => self.raise_epoch(ended),
            false => squat.ordinal = Some(ordinal),
        }
    }

    /// Whether a batch that is acknowledged is the squat, and what that proves. To be asked once signs of loss were looked for.
    pub(super) fn squat_of(&self, batch: &StampedBatch, acknowledged: &Acknowledged, error: ErrorCode) -> Option<bool> {
        self.squat.as_ref().filter(|squat| squat.ordinal == Some(batch.stamp.ordinal))?;
        let standing = Standing {
            is_anchored: self.is_anchored(batch),
            has_offset: acknowledged.base_offset.is_some(),
            is_stale: batch.is_stale,
        };
        Some(proves_absence(error, standing))
    }

    /// The squat was acknowledged. Behind it a late copy of a later one could be taken, so what follows goes under the next
    /// epoch.
    pub(super) fn end_squat(&mut self, is_proof: Option<bool>, ended: &mut Vec<Ended>) {
        let Some(is_proof) = is_proof else { return };
        if is_proof {
            self.doubts.end_absent(ended);
        }
        match self.mode {
            // It goes on to new stamps by itself.
            Mode::Renewing(_) => self.squat = None,
            _ => self.raise_epoch(ended),
        }
    }

    /// As which a record would be sent that settles what was given up.
    pub(super) fn settling_identity(&self) -> Option<Identity> {
        let identity = self.identity?;
        let epoch = identity.epoch.0 + i16::from(self.squat.is_some());
        Some(Identity { epoch: Epoch(epoch), ..identity })
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    #[test]
    fn only_an_append_at_a_broker_that_remembers_proves_absence() {
        let good = Standing { is_anchored: true, has_offset: true, is_stale: false };
        assert!(proves_absence(ErrorCode::NONE, good));
        for bad in [
            Standing { is_anchored: false, ..good },
            Standing { has_offset: false, ..good },
            Standing { is_stale: true, ..good },
        ] {
            assert!(!proves_absence(ErrorCode::NONE, bad), "{bad:?}");
        }
        for code in (-1..200).filter(|code| *code != 0) {
            assert!(!proves_absence(ErrorCode(code), good), "{code}");
        }
    }
}
