//! Giving up what was sent: when, and what becomes of it (rules 18, 19 and 23).
//!
//! Always holds: what is given up takes with it everything sent after it, and is given up only if nobody wants any of that
//! any more; from then on nothing goes out under its epoch; the partition's next batch goes under the next one and keeps
//! every late copy out, once it is acknowledged.
//!
//! Left out: reading the log afterwards; see `back/questions.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::renewal::Renewal;
use super::{Mode, PartitionBack};
use crate::producer::anchor::Acknowledged;
use crate::producer::completion::BatchEnd;
use crate::producer::doubt::Doubt;
use crate::producer::ended::Ended;
#[cfg(feature = "plants")]
use crate::producer::outcome::NotWritten;
use crate::producer::outcome::Undetermined;
use crate::producer::scan::{Base, Fence, Witness};
use crate::producer::stamped::StampedBatch;
use crate::time::Moment;

/// Between two withdrawals of a partition, each of which costs an epoch and a reading of the log: what is to be withdrawn
/// earlier is brought to its end instead, as with the other policy (rule 23).
pub const WITHDRAWAL_INTERVAL: Duration = Duration::from_secs(1);

impl PartitionBack {
    /// Gives up everything that was sent, if nobody wants any of it any more.
    pub(super) fn withdraw_if_unwanted(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        if self.gives_up_all_at().is_some_and(|due| due <= now) && self.may_withdraw() {
            self.withdraw(now, ended);
        }
    }

    /// As [`Self::withdraw_if_unwanted`], where something is about to go out: again, though nobody waits for it, or behind it, so
    /// that it would have to be completed. The tick that is left to callers who are released late is not waited for, if none is left.
    pub(super) fn withdraw_rather_than_send(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        let is_over = |batch: &StampedBatch| batch.withdraws && batch.last_due.moment() <= now;
        let is_sent = self.config.is_idempotent && !self.unsettled.is_empty();
        if is_sent && self.unsettled.iter().all(is_over) && self.may_withdraw() {
            self.withdraw(now, ended);
        }
    }

    fn may_withdraw(&self) -> bool {
        !matches!(self.mode, Mode::Renewing(_)) && !self.is_wanted()
    }

    /// Unless that is too soon after the last time.
    fn withdraw(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        let is_by_time = self.unsettled.iter().all(|batch| self.times_out_at(batch) <= now);
        let is_too_soon = self.withdrawn_at.is_some_and(|last| last + WITHDRAWAL_INTERVAL > now);
        if is_too_soon && !is_by_time {
            self.unsettled.iter_mut().for_each(|batch| batch.withdraws = false);
            return;
        }
        self.withdrawn_at = Some(now);
        self.renew(Renewal::of_epoch(Undetermined::NoFence));
        self.finish_at(now, ended);
    }

    /// Whether a caller waits for something that was sent.
    pub(super) fn is_wanted(&self) -> bool {
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::GivenUpWhileWanted {
            return self.unsettled.front().is_some_and(|batch| batch.completion.is_wanted());
        }
        self.unsettled.iter().any(|batch| batch.completion.is_wanted())
    }

    /// What went unanswered waits for a fence, if there is one to come and a place from which the log can be read.
    pub(super) fn doubt_batch(&mut self, batch: StampedBatch, why: Undetermined, ended: &mut Vec<Ended>) {
        let is_stale = batch.is_stale && why.is_open_to_proof();
        let why = if is_stale { Undetermined::StaleTimestamps } else { why };
        let is_open = why.is_open_to_proof() || why == Undetermined::ProducerIdUsedElsewhere;
        let (true, Some(_)) = (is_open, batch.stamp.identity) else {
            return ended.push(Ended::Stamped(batch, BatchEnd::Undetermined(why)));
        };
        let otherwise = (why != Undetermined::NoFence).then_some(why);
        let Some(base) = self.base else {
            let why = otherwise.unwrap_or(Undetermined::NoBase);
            return ended.push(Ended::Stamped(batch, BatchEnd::Undetermined(why)));
        };
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::AbsentWithoutFence {
            return ended.push(Ended::Stamped(batch, BatchEnd::NotWritten(NotWritten::Fenced)));
        }
        let mark = batch.mark();
        let size = batch.size();
        let StampedBatch { completion, records, body, .. } = batch;
        // Its bytes are never sent again: their memory goes back at once (rule 28).
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::PayloadKept {
            self.kept.push(Arc::clone(&body));
        }
        ended.push(Ended::Payload(Arc::clone(&completion), body));
        self.doubts.add(base, Doubt { mark, completion, records, otherwise, size, since: None });
    }

    /// What an acknowledgement means for later doubts and, as the fence, for earlier ones. Not to be asked for what may stand before
    /// an unsettled one.
    pub(super) fn take_base(&mut self, batch: &StampedBatch, acknowledged: &Acknowledged) {
        let Some(base_offset) = acknowledged.base_offset.filter(|_| self.config.is_idempotent) else { return };
        let mark = batch.mark();
        let last = base_offset.saturating_add(i64::from(mark.count)) - 1;
        self.base = Some(Base { offset: last, witness: Witness::Own(mark) });
        // Brokers forget a producer by its timestamps, and then they take an older epoch again (rule 17).
        if !batch.is_stale {
            let fence = Fence { mark, offset: base_offset };
            #[cfg(feature = "plants")]
            self.doubts.plant(self.config.plant, fence);
            self.doubts.raise_fence(fence);
        }
    }

    /// When everything that was sent may be given up, if nobody waits for it by then.
    pub(super) fn gives_up_all_at(&self) -> Option<Moment> {
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::GivenUpWhileWanted {
            return self.unsettled.front().map(|batch| self.gives_up_at(batch));
        }
        self.unsettled.iter().map(|batch| self.gives_up_at(batch)).max()
    }

    /// Ends doubts that had their time.
    pub(super) fn end_old_doubts(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        self.doubts.begin_to_wait(now);
        if self.doubts_end_at().is_some_and(|ends| ends <= now) {
            let patience = u64::try_from(self.config.settle_timeout.as_micros()).unwrap_or(u64::MAX);
            self.doubts.end_since(Moment::from_micros(now.as_micros().saturating_sub(patience)), ended);
        }
    }

    /// When a fence is to be asked for: nothing that is here can become one.
    pub(super) fn wants_fence_at(&self) -> Option<Moment> {
        let is_idle = self.is_empty() && !matches!(self.mode, Mode::Renewing(_));
        let identity = self.settling_identity().filter(|_| self.config.has_fence && is_idle)?;
        self.doubts.wants_fence_at(identity)
    }

    /// Whether a fence is asked for now. To be called when time has passed, after the doubts heard of it.
    pub(in crate::producer) fn ask_for_fence(&mut self, now: Moment) -> bool {
        let is_due = self.wants_fence_at().is_some_and(|due| due <= now);
        if is_due {
            self.doubts.note_fence_asked(now);
        }
        is_due
    }

    pub(super) fn doubts_end_at(&self) -> Option<Moment> {
        self.doubts.end_at(self.config.settle_timeout)
    }
}
