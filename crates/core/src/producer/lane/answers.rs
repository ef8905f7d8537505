//! Answers, each to its partition, or after it.

use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::ProduceResponse;

use super::{Attempt, AttemptKey, Flight, Lane, LaneEvent, LaneReport, Link};
use crate::connection::Answer;
use crate::ids::PartitionId;
use crate::producer::back::{Effects, Ended, PartitionBack, Word};
use crate::producer::outcome::AttemptError;
use crate::producer::produce_request;
use crate::time::Moment;

/// What is heard of an attempt of a partition that has left the lane.
#[derive(Clone, Debug)]
pub struct StrayAnswer {
    pub(super) key: AttemptKey,
    pub(super) word: Word,
}

impl StrayAnswer {
    /// Tells the partition.
    pub(in crate::producer) fn tell(&self, now: Moment, back: &mut PartitionBack, ended: &mut Vec<Ended>) {
        back.hear(now, self.key, &self.word, ended);
    }

    /// A yes to the first attempt of the first batch.
    #[cfg(all(test, not(milena_model)))]
    pub(in crate::producer) fn for_test() -> Self {
        let answer = crate::producer::verdict::Answer {
            error: milena_wire::ErrorCode::NONE,
            base_offset: 0,
            log_append_time: -1,
            log_start_offset: 0,
            bad_records: Vec::new(),
        };
        Self { key: AttemptKey { ordinal: 0, number: 1 }, word: Word::Answer(answer) }
    }
}

/// Which row of the table an answer was, and where its batch stood; for the simulation.
#[cfg(feature = "plants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Of the batch.
    pub partition: PartitionId,
    /// Of the attempt's batch.
    pub ordinal: u64,
    /// What the answer was.
    pub row: crate::producer::verdict::Row,
    /// Where the batch stood.
    pub state: crate::producer::back::BatchState,
}

impl Lane {
    /// The read buffer has grown.
    pub fn handle_read(&mut self, now: Moment) {
        let Link::Up(connection) = &mut self.link else { return };
        if let Err(error) = connection.handle_read(now) {
            // What was answered before the fault counts.
            self.take_answers(now);
            return self.handle_disconnected(now, error);
        }
        self.take_answers(now);
    }

    fn take_answers(&mut self, now: Moment) {
        while let Link::Up(connection) = &mut self.link {
            if connection.is_ready() && !self.is_connected {
                let version = match connection.version_of::<ProduceRequest>() {
                    Ok(version) => version,
                    Err(error) => return self.handle_disconnected(now, error),
                };
                self.is_connected = true;
                self.failures = 0;
                self.events.push_back(LaneEvent::Report(LaneReport::Connected));
                self.meet_broker(version);
                continue;
            }
            // Not before all that was read is taken: what is left behind counts as unanswered.
            let Some(answer) = connection.poll_answer() else { return self.leave_what_is_asked_for_slow_ones(now) };
            self.suspects_at = None;
            self.take_answer(now, answer);
            self.watch_oldest(now);
        }
    }

    fn take_answer(&mut self, now: Moment, answer: Answer<Flight>) {
        match &answer.purpose {
            Flight::Batches(attempts) => self.take_produced(now, &answer, attempts),
            Flight::Ends(asked) => self.take_ends(now, &answer, asked),
            Flight::Log(asked) => self.take_log(now, &answer, asked),
        }
    }

    fn take_produced(&mut self, now: Moment, answer: &Answer<Flight>, attempts: &[Attempt]) {
        let response = match answer.decode::<ProduceRequest>() {
            Ok(response) => response,
            Err(error) => {
                attempts.iter().for_each(|attempt| self.lose_attempt(now, attempt, true));
                return self.handle_disconnected(now, error);
            }
        };
        self.take_throttle(now, response.throttle_time_ms);
        let is_alone = attempts.len() == 1;
        let is_late = answer.waited > self.slow_after();
        for attempt in attempts {
            let is_not_committed = self.take_partition_answer(now, attempt, &response, answer.version);
            self.take_pace(attempt, is_not_committed || is_alone && is_late, is_late);
        }
    }

    pub(super) fn take_throttle(&mut self, now: Moment, throttle_time_ms: i32) {
        if let Link::Up(connection) = &mut self.link {
            connection.handle_throttle(now, throttle_time_ms);
            self.throttle_ends = Some(connection.throttled_until()).filter(|ends| *ends > now);
        }
    }

    /// Whether the leader has it and its followers have not.
    fn take_partition_answer(
        &mut self,
        now: Moment,
        attempt: &Attempt,
        response: &ProduceResponse,
        version: i16,
    ) -> bool {
        if let Some(hint) = produce_request::leader_hint(response, version, &attempt.topic, attempt.index) {
            self.report(LaneReport::LeaderHint(attempt.partition, hint));
        }
        let Some(told) = produce_request::answer_for(response, version, &attempt.topic, attempt.index) else {
            // An answer that leaves a partition out says nothing about it.
            self.lose_attempt(now, attempt, true);
            return false;
        };
        let Some(held) = self.partitions.get_mut(&attempt.partition) else {
            let stray = StrayAnswer { key: attempt.key, word: Word::Answer(told) };
            self.report(LaneReport::Stray(attempt.partition, stray));
            return false;
        };
        match told.error.is_none() {
            true => held.back.trouble().clear(),
            false => held.back.trouble().note(Some(self.id.node), AttemptError::Kafka(told.error.into())),
        }
        let mut ended = std::mem::take(&mut self.ended);
        let effects = held.back.handle_answer(now, attempt.key, &told, &mut self.chance, &mut ended);
        self.publish(attempt.partition, ended.drain(..));
        self.ended = ended;
        #[cfg(feature = "plants")]
        self.covered.extend(effects.reached.map(|(row, state)| Covered {
            partition: attempt.partition,
            ordinal: attempt.key.ordinal,
            row,
            state,
        }));
        self.act(attempt.partition, effects);
        effects.is_slow
    }

    pub(super) fn act(&mut self, partition: PartitionId, effects: Effects) {
        if effects.refresh_metadata {
            self.report(LaneReport::NeedsMetadata(Some(partition)));
        }
        if let Some(producer_id) = effects.used_elsewhere {
            self.report(LaneReport::ProducerIdUsedElsewhere(producer_id));
        }
        self.touch(partition);
        self.release_if_idle(partition);
    }

    /// Rows that were reached since the last look.
    #[cfg(feature = "plants")]
    pub fn take_covered(&mut self) -> Vec<Covered> {
        std::mem::take(&mut self.covered)
    }
}
