//! Calls that may wait: for the topic's partitions, then for room, until their deadlines.
//!
//! Always holds: callers are served in the order in which they came, and whoever does not wait overtakes none of them.
//!
//! Left out: an attempt itself; see `accepting.rs` and `permit.rs`.

use std::time::Duration;

use milena_core::producer::completion::Delivery;
use milena_core::producer::front::{Due, RecordRef, Reply};
use milena_core::time::{Moment, Now};

use super::Topic;
use super::accepting::{Attempt, Obstacle, Rights};
use super::aiming::Offer;
use crate::error::SendRefused;
use crate::partitioner::Aim;
use crate::record::Record;
use crate::shared::Relief;
use crate::waiting::{Refused, Turn};

/// A call that may wait: when it was made, and until when.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) called: Moment,
    pub(super) due: Moment,
}

impl Call {
    pub(super) fn new(called: Moment, deadline: Duration) -> Self {
        Self { called, due: called + deadline }
    }

    /// The same call, with this deadline if there is one.
    pub(super) fn until(self, deadline: Option<Duration>) -> Self {
        deadline.map_or(self, |deadline| Self::new(self.called, deadline))
    }

    /// A record whose deadline counts from the call, not from the end of its wait.
    pub(super) fn record<'r>(self, record: &'r Record<'_>) -> RecordRef<'r> {
        let due = match record.own_deadline() {
            Some(deadline) => Due::Own(self.called + deadline),
            None => Due::Waited(self.due),
        };
        RecordRef { due, ..record.at(self.called) }
    }
}

impl Topic {
    /// A record that could not be sent when the call was made.
    pub(super) async fn send_in_turn(
        &self,
        called: Moment,
        record: &Record<'_>,
        (obstacle, aim): (Obstacle, Aim<'_>),
    ) -> Result<Delivery, SendRefused> {
        let call = Call::new(called, self.shared().front.deadline).until(record.own_deadline());
        let offer = Offer { record: call.record(record), aim };
        let attempt = |now, rights| self.attempt_to_send(now, offer, rights);
        self.in_turn(call, aim, self.refused(obstacle, aim), attempt).await
    }

    pub(super) fn attempt_to_send(&self, now: Now, offer: Offer<'_>, rights: Rights) -> Result<Delivery, Refused> {
        let accepted = self.accept(&Attempt { now, offer, reply: Reply::Handle, rights }, &|new| new.delivery());
        accepted.map_err(|obstacle| self.refused(obstacle, offer.aim))
    }

    /// A record that could not be posted when the call was made.
    pub(super) async fn post_in_turn(
        &self,
        called: Moment,
        record: &Record<'_>,
        (obstacle, aim): (Obstacle, Aim<'_>),
    ) -> Result<(), SendRefused> {
        let call = Call::new(called, self.shared().front.deadline).until(record.own_deadline());
        let (offer, reply) = (Offer { record: call.record(record), aim }, self.reply_for(record));
        let attempt = |now, rights| {
            let accepted = self.accept(&Attempt { now, offer, reply, rights }, &|_| ());
            accepted.map_err(|obstacle| self.refused(obstacle, aim))
        };
        self.in_turn(call, aim, self.refused(obstacle, aim), attempt).await
    }

    /// After a first attempt that was refused: tries whenever it is this caller's turn, until an attempt does not have to
    /// wait or the call is due.
    pub(super) async fn in_turn<T>(
        &self,
        call: Call,
        aim: Aim<'_>,
        first: Refused,
        attempt: impl Fn(Now, Rights) -> Result<T, Refused>,
    ) -> Result<T, SendRefused> {
        let shared = self.shared();
        let mut decided = Err(first);
        // Partitions come first: who waits for a topic must not hold up those who wait for room.
        // Those who have waited for it stand before whoever comes when it is just known.
        let stands_behind = is_full(&decided) && self.shared.arrivals.has_waiters();
        let arrival = if is_pending(&decided) || stands_behind {
            let mut arrival = Turn::for_arrival(shared, &self.shared.arrivals, call.due);
            let attempt = |now| attempt(now, Rights::Arrival);
            decided = arrival.wait(attempt, is_pending, || self.why_behind()).await;
            Some(arrival)
        } else {
            None
        };
        if !is_full(&decided) {
            return decided.map_err(|refused| self.explain(refused.why, call.called));
        }
        // The place for room is taken before the other is left, so that nobody gets in between.
        let mut room = Turn::for_room(shared, self.target(aim), call.due);
        drop(arrival);
        let relief = Relief::new();
        let attempt = |now| self.attempt_with_room(now, aim, &relief, &attempt);
        let decided = room.wait(attempt, is_full, || SendRefused::BufferFull).await;
        decided.map_err(|refused| self.explain(refused.why, call.called))
    }

    pub(super) fn attempt_with_room<T>(
        &self,
        now: Now,
        aim: Aim<'_>,
        relief: &Relief,
        attempt: &impl Fn(Now, Rights) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let decided = attempt(now, Rights::Room);
        let Err(refused) = &decided else { return decided };
        match (&refused.why, self.aimed_at(aim, self.shared.partitions()).ok().flatten()) {
            // The next batch begins with a smaller chunk.
            (SendRefused::PartitionFull, Some(slot)) if slot.relieve_pressure() => attempt(now, Rights::Room),
            (SendRefused::PartitionFull, Some(_)) => decided,
            (SendRefused::PartitionFull | SendRefused::BufferFull, _) => {
                self.shared().relieve_pressure(relief);
                decided
            }
            _ => decided,
        }
    }

    pub(super) fn somebody_waits(&self) -> bool {
        self.shared.arrivals.has_waiters() || self.shared().pool.room.has_waiters()
    }

    /// Of a caller who stands behind others when its deadline ends.
    pub(super) fn why_behind(&self) -> SendRefused {
        if self.shared.partitions().is_empty() { SendRefused::MetadataPending } else { SendRefused::BufferFull }
    }
}

fn is_pending<T>(decided: &Result<T, Refused>) -> bool {
    decided.as_ref().is_err_and(Refused::is_pending)
}

fn is_full<T>(decided: &Result<T, Refused>) -> bool {
    decided.as_ref().is_err_and(Refused::is_full)
}
