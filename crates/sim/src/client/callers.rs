//! The application's side of the producer: partitioning and appending, with the notices that appending gives.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use milena_core::ids::PartitionId;
use milena_core::producer::batch::SealReason;
use milena_core::producer::front::{AppendError, Appended, Due, Notice, RecordRef, Reply, Value, WhenFull};
use milena_core::time::Tick;
use milena_wire::murmur2::partition_for_key;
use milena_wire::records::RecordHeader;

use super::Client;
use crate::faults::{Fault, Scope};
use crate::history::{Acceptance, RecordId, Via};
use crate::stage::{Event, Stage};
use crate::workload::Workload;

/// What became of an offered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Accepted,
    /// To be offered again.
    Later,
    /// The producer takes nothing any more.
    Closed,
}

impl Client {
    pub(crate) fn offer(&mut self, stage: &mut Stage, id: RecordId) -> Offered {
        if self.is_closed {
            return Offered::Closed;
        }
        let record = stage.history.record(id);
        let topic = &mut self.topics[record.topic];
        if topic.partitions.is_empty() {
            return Offered::Later;
        }
        let count = topic.partitions.len();
        let among = NonZeroU32::new(count as u32).expect("the topic was just seen to have partitions");
        let keyed = record.content.key.as_ref().map(|key| partition_for_key(key, among));
        let Some(chosen) = keyed else {
            let partition = topic.partitions[topic.sticky];
            let when_full = self.dice.pick(&[WhenFull::Refuse, WhenFull::OnlyOpen]);
            match self.append(stage, id, partition, when_full) {
                Err(AppendError::BatchFull(_)) => {}
                other => return self.offered(stage, other),
            }
            let topic = &mut self.topics[stage.history.record(id).topic];
            topic.sticky = self.dice.below(count as u64) as usize;
            let partition = topic.partitions[topic.sticky];
            let appended = self.append(stage, id, partition, WhenFull::OpenNext);
            return self.offered(stage, appended);
        };
        let partition = topic.partitions[chosen as usize];
        let appended = self.append(stage, id, partition, WhenFull::OpenNext);
        self.offered(stage, appended)
    }

    /// A record for every partition.
    pub(crate) fn trickle(&mut self, stage: &mut Stage) {
        if self.is_closed {
            return;
        }
        let partitions: Vec<(PartitionId, usize)> = self.fronts.iter().map(|(id, seat)| (*id, seat.place.0)).collect();
        for (partition, topic) in partitions {
            let next = RecordId(stage.history.records.len() as u32);
            let id = stage.history.plan(topic, Workload::trickle(next), Via::Post);
            let appended = self.append(stage, id, partition, WhenFull::OpenNext);
            // A partition that is gone takes nothing any more.
            if appended != Err(AppendError::Closed) {
                self.offered(stage, appended);
            }
        }
    }

    fn append(
        &mut self,
        stage: &mut Stage,
        id: RecordId,
        partition: PartitionId,
        when_full: WhenFull,
    ) -> Result<(), AppendError> {
        let now = stage.clock();
        let seat = self.fronts.get_mut(&partition).expect("a topic's partitions have fronts");
        let record = stage.history.record(id);
        let (via, content) = (record.via, &record.content);
        let headers: Vec<RecordHeader<'_>> =
            content.headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
        let value = match &content.value {
            None => Value::Null,
            Some(bytes) if id.0.is_multiple_of(2) => Value::Shared(bytes),
            Some(bytes) => Value::Borrowed(bytes),
        };
        let (timestamp, deadline) = (content.timestamp, content.deadline);
        let due = deadline.map_or(Due::Configured, |deadline| Due::Own(now.moment + deadline));
        let record = RecordRef {
            key: content.key.as_deref(),
            value,
            headers: &headers,
            timestamp,
            due,
            after_deadline: content.after_deadline,
        };
        let reply = if via == Via::Post { Reply::Report(u64::from(id.0)) } else { Reply::Handle };
        let result = seat.front.append(now, &self.memory, record, reply, when_full).map(|appended| {
            let delivery = (reply == Reply::Handle).then(|| appended.delivery());
            let Appended { completion, notice, must_watch, .. } = appended;
            (delivery, must_watch.then(|| Arc::clone(completion)), notice)
        });
        let place = seat.place;
        let (notice, result) = match result {
            Ok((delivery, watched, notice)) => {
                let deadline = deadline.unwrap_or(stage.scenario.front.deadline);
                let due = Tick::not_before(now.moment + deadline).moment();
                let timestamp = timestamp.unwrap_or(now.wall_millis);
                let acceptance = Acceptance { place, at: stage.now, due, number: 0, timestamp };
                stage.note(format_args!("record {} into {place:?}", id.0));
                stage.history.accepted(id, acceptance, delivery);
                if let Some(completion) = watched {
                    self.expiry.register(partition, completion);
                }
                (notice, Ok(()))
            }
            Err(
                error @ (AppendError::BatchFull(notice)
                | AppendError::BufferFull(notice)
                | AppendError::ShareFull(notice, _)),
            ) => (notice, Err(error)),
            Err(error) => (Notice::Nothing, Err(error)),
        };
        self.pass_on(stage, partition, notice);
        result
    }

    fn pass_on(&mut self, stage: &mut Stage, partition: PartitionId, notice: Notice) {
        match notice {
            Notice::Nothing => {}
            Notice::Sealed => {
                let delay = stage.mail_delay();
                stage.after(delay, Event::Collect(partition));
            }
            Notice::LingerStarts(ends) => {
                // The lane may sleep until then, but it may also be awake.
                let wait = self.dice.duration(Duration::ZERO, ends.since(stage.now));
                stage.after(wait, Event::Collect(partition));
            }
        }
    }

    fn offered(&mut self, stage: &mut Stage, appended: Result<(), AppendError>) -> Offered {
        match appended {
            Ok(()) => {
                let now = stage.now;
                self.full_since.take().into_iter().for_each(|full| stage.faults.strikes.close(full, now));
                Offered::Accepted
            }
            Err(AppendError::Closed) => Offered::Closed,
            Err(AppendError::BufferFull(_) | AppendError::ShareFull(..)) => {
                stage.history.refused_by_buffer += 1;
                let now = stage.now;
                let strikes = &mut stage.faults.strikes;
                self.full_since.get_or_insert_with(|| strikes.open(Fault::BufferFull, Scope::Everything, now));
                self.seal_all(stage);
                Offered::Later
            }
            Err(
                error @ (AppendError::TooLarge { .. }
                | AppendError::BatchFull(_)
                | AppendError::WithdrawNeedsIdempotence),
            ) => {
                stage.history.blame(format!("a record that fits was refused: {error}"));
                Offered::Closed
            }
        }
    }

    /// A caller waits for room: open batches must not be what holds it.
    fn seal_all(&mut self, stage: &mut Stage) {
        for (partition, seat) in &mut self.fronts {
            if seat.front.seal(SealReason::Memory) {
                stage.after(Duration::ZERO, Event::Collect(*partition));
            }
        }
    }
}
