//! Ends that no answer brings: time, a topic or cluster that is another one, the end of the producer.

use std::time::Duration;

use milena_wire::Uuid;

use super::renewal::Renewal;
use super::{Mode, PartitionBack};
use crate::ids::ProducerId;
use crate::producer::batch::SealedBatch;
use crate::producer::completion::BatchEnd;
use crate::producer::ended::Ended;
use crate::producer::outcome::{NotWritten, Undetermined};
use crate::producer::stamped::{Flight, StampedBatch};
use crate::time::{Moment, TICK};

/// Between two looks at a batch that is past `delivery_timeout` and still wanted.
pub(super) const GIVE_UP_AGAIN: Duration = Duration::from_millis(100);

impl PartitionBack {
    /// When the partition may have something to send, or to give up, without anything else happening.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let retry = match self.mode {
            Mode::Recovering { not_before } if !self.is_on_wire() && !self.unsettled.is_empty() => Some(not_before),
            _ => None,
        };
        retry.into_iter().chain(self.ends_at()).chain(self.wants_fence_at()).min()
    }

    /// As [`Self::poll_timeout`], once what is due now was done.
    pub(in crate::producer) fn poll_timeout_after(&self, now: Moment) -> Option<Moment> {
        let due = self.poll_timeout()?;
        if due > now {
            return Some(due);
        }
        // A retry that is due waits for its connection; a batch past its time is looked at until nobody wants it.
        let fence = self.wants_fence_at();
        self.ends_at().map(|ends| ends.max(now + GIVE_UP_AGAIN)).into_iter().chain(fence).min()
    }

    /// When something that was sent has had its time.
    fn ends_at(&self) -> Option<Moment> {
        let is_idle = !self.is_on_wire();
        // What is given up with stamps may be on the wire: nothing more goes out, and the answers are awaited.
        let may_be_given_up = is_idle || self.config.is_idempotent && !matches!(self.mode, Mode::Renewing(_));
        let unsettled = self.gives_up_all_at().filter(|_| may_be_given_up);
        let renewed = self.renewed.front().map(|batch| self.gives_up_at(batch));
        let horizon = self.horizon_ends().filter(|_| is_idle);
        [unsettled, renewed, horizon, self.doubts_end_at()].into_iter().flatten().min()
    }

    pub(super) fn gives_up_at(&self, batch: &StampedBatch) -> Moment {
        // A caller may be due a little later than the timeout; the batch is never given up under its eyes.
        let released = batch.last_due.moment() + TICK;
        if batch.withdraws && self.config.is_idempotent {
            return released;
        }
        self.times_out_at(batch).max(released)
    }

    pub(super) fn times_out_at(&self, batch: &StampedBatch) -> Moment {
        batch.opened_at + self.config.delivery_timeout
    }

    /// When brokers may have forgotten what the head's resend would be compared with (rule 17): half of their memory after
    /// the last acknowledgement, or after its own first attempt.
    fn horizon_ends(&self) -> Option<Moment> {
        let head = self.unsettled.front().filter(|_| self.config.is_idempotent)?;
        let known_at = if self.is_anchored(head) { self.anchor.map(|anchor| anchor.at) } else { head.first_sent_at };
        known_at.map(|at| at + self.config.horizon)
    }

    pub(super) fn is_past_horizon(&self, now: Moment) -> bool {
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::HorizonIgnored {
            return false;
        }
        self.horizon_ends().is_some_and(|ends| ends <= now)
    }

    /// Whether brokers would forget the producer too soon after this batch, by its timestamps.
    pub(super) fn is_stale(&self, batch: &SealedBatch, now: Moment) -> bool {
        self.is_by_create_time() && batch.is_stale(now, self.config.horizon)
    }

    /// As [`Self::is_stale`], for one that was claimed before.
    pub(super) fn has_become_stale(&self, batch: &StampedBatch, now: Moment) -> bool {
        self.is_by_create_time() && batch.is_stale_at(now, self.config.horizon)
    }

    /// Whether brokers measure a producer's age by the timestamps of its records, for all that is known.
    pub(super) fn is_by_create_time(&self) -> bool {
        self.config.is_idempotent && self.is_log_append_time != Some(true)
    }

    /// Gives up what is past `delivery_timeout`, if nothing sent is on the wire or still wanted (rule 18), and ends
    /// pending batches that nobody wants.
    pub(in crate::producer) fn handle_timeout(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        self.end_dead_pending(ended);
        self.end_dead_renewed(now, ended);
        self.end_old_doubts(now, ended);
        if self.config.is_idempotent {
            self.withdraw_if_unwanted(now, ended);
        }
        if self.is_on_wire() {
            return;
        }
        if self.is_past_horizon(now) {
            return self.begin_anew(Undetermined::ProducerStateExpired, ended);
        }
        if !self.config.is_idempotent && self.gives_up_all_at().is_some_and(|due| due <= now) && !self.is_wanted() {
            self.end_unstamped(ended);
        }
    }

    /// Without stamps nothing can be proven.
    fn end_unstamped(&mut self, ended: &mut Vec<Ended>) {
        self.end_unsettled(
            |batch| match batch.is_doubtful() {
                true => BatchEnd::Undetermined(Undetermined::LeaderOnly),
                false => BatchEnd::NotWritten(NotWritten::DeadlinePassed),
            },
            ended,
        );
        self.give_up_identity();
    }

    /// What waits for a new stamp was never appended, so it ends as what was never sent does.
    fn end_dead_renewed(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        while let Some(batch) = self.renewed.front()
            && self.gives_up_at(batch) <= now
            && !batch.completion.is_wanted()
        {
            let end = BatchEnd::NotWritten(NotWritten::DeadlinePassed);
            ended.extend(self.renewed.pop_front().map(|batch| Ended::Stamped(batch, end)));
        }
    }

    /// Ends the oldest pending batches that nobody wants any more, so that their memory goes back.
    pub(in crate::producer) fn end_dead_pending(&mut self, ended: &mut Vec<Ended>) {
        while self.pending.front().is_some_and(|batch| !batch.completion.is_wanted()) {
            let end = BatchEnd::NotWritten(NotWritten::DeadlinePassed);
            ended.extend(self.pending.pop_front().map(|batch| Ended::Sealed(batch, end)));
        }
    }

    fn end_unsettled(&mut self, end: impl Fn(&StampedBatch) -> BatchEnd, ended: &mut Vec<Ended>) {
        ended.extend(self.unsettled.drain(..).map(|batch| {
            let end = end(&batch);
            Ended::Stamped(batch, end)
        }));
    }

    fn end_renewed(&mut self, end: BatchEnd, ended: &mut Vec<Ended>) {
        ended.extend(self.renewed.drain(..).map(|batch| Ended::Stamped(batch, end)));
    }

    fn end_pending(&mut self, end: BatchEnd, ended: &mut Vec<Ended>) {
        ended.extend(self.pending.drain(..).map(|batch| Ended::Sealed(batch, end)));
    }

    /// The topic was deleted and created again. Old stamps are never sent to the new one (rule 25): what is in doubt once the
    /// answers on their way have come stays so, the rest goes to the new topic under fresh ones.
    pub(in crate::producer) fn handle_topic_recreated(&mut self, id: Uuid, ended: &mut Vec<Ended>) {
        self.topic.id = id;
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::OldStampsToNewTopic {
            return;
        }
        self.is_log_append_time = None;
        self.forget_log(Undetermined::TopicRecreated, ended);
        self.begin_anew(Undetermined::TopicRecreated, ended);
    }

    /// Another cluster answers. A producer id belongs to a cluster (rule 25).
    pub(in crate::producer) fn handle_cluster_changed(&mut self, ended: &mut Vec<Ended>) {
        self.forget_log(Undetermined::ClusterChanged, ended);
        self.begin_anew(Undetermined::ClusterChanged, ended);
    }

    /// Another log stands where that one was.
    fn forget_log(&mut self, why: Undetermined, ended: &mut Vec<Ended>) {
        self.base = None;
        self.forget_questions();
        self.doubts.end_all(why, ended);
    }

    fn begin_anew(&mut self, doubt: Undetermined, ended: &mut Vec<Ended>) {
        if !self.config.is_idempotent {
            self.end_in_doubt(doubt, ended);
        }
        self.renew(Renewal::of_producer_id(doubt));
        self.finish(ended);
    }

    /// Without stamps nothing keeps what is in doubt from being written again elsewhere.
    fn end_in_doubt(&mut self, doubt: Undetermined, ended: &mut Vec<Ended>) {
        for batch in std::mem::take(&mut self.unsettled) {
            if batch.is_doubtful() || batch.flight == Flight::OnWire {
                ended.push(Ended::Stamped(batch, BatchEnd::Undetermined(doubt)));
            } else {
                self.unsettled.push_back(batch);
            }
        }
    }

    /// Somebody else uses this producer id (rule 14).
    pub(in crate::producer) fn abandon(&mut self, producer_id: ProducerId, ended: &mut Vec<Ended>) {
        if self.identity.is_some_and(|identity| identity.producer_id == producer_id) {
            self.begin_anew(Undetermined::ProducerIdUsedElsewhere, ended);
        }
    }

    /// Ends everything: the producer is closed, or its driver is lost.
    pub fn end_all(&mut self, unclaimed: NotWritten, doubt: Undetermined, ended: &mut Vec<Ended>) {
        // Every attempt so far may have been refused, but one that is on the wire is in doubt.
        self.end_unsettled(
            |batch| match batch.is_doubtful() || batch.flight == Flight::OnWire {
                true => BatchEnd::Undetermined(doubt),
                false => BatchEnd::NotWritten(unclaimed),
            },
            ended,
        );
        self.end_renewed(BatchEnd::NotWritten(unclaimed), ended);
        self.end_pending(BatchEnd::NotWritten(unclaimed), ended);
        self.doubts.end_all(doubt, ended);
        // Its stamps are given up with the batches; what would still be added starts a sequence of its own.
        self.give_up_identity();
    }
}
