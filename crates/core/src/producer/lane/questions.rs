//! Questions of partitions about their logs, on the connection that carries their batches: they go where the partition is led,
//! and are asked again where it is led next.
//!
//! Always holds: one request with questions is unanswered at a time, and none of them waits at the broker for anything, so
//! they hold up the batches behind them no longer than it takes to read a piece of a log.

use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::{ErrorCode, Request, Uuid};

use super::link::Asked;
use super::{Flight, Lane, Link};
use crate::connection::Answer;
use crate::fault::ConnectionError;
use crate::ids::PartitionId;
use crate::producer::back::{LogAnswer, OffsetAnswer, Question};
use crate::producer::produce_request::Transmit;
use crate::time::Moment;

/// Partitions whose end is asked for at once.
const ENDS_ASKED_MAX: usize = 1_000;

/// A piece of a log, beside which a batch is soon sent; a broker gives at least one batch, however large.
const LOG_BYTES_MAX: i32 = 256 * 1024;

/// What consumers ask for who want the end of the log.
const LATEST: i64 = -1;

/// The first version that names topics by their ids.
const FETCH_TOPIC_IDS_FROM: i16 = 13;

impl Lane {
    /// The next request with questions, if there are any and none is unanswered.
    pub(super) fn poll_question(&mut self, now: Moment) -> Option<Transmit> {
        if self.curious.is_empty() {
            return None;
        }
        let Link::Up(connection) = &self.link else { return None };
        if connection.purposes().any(|flight| !flight.questions().is_empty()) {
            return None;
        }
        let mut ends = Vec::new();
        while let Some(id) = self.curious.first().copied() {
            let held = self.partitions.get_mut(&id).expect("whoever asks belongs to this lane");
            let question = if held.is_recalled { None } else { held.back.next_question(now) };
            match question {
                None => self.ask_later(id, now),
                Some(Question::End) if ends.len() == ENDS_ASKED_MAX => break,
                Some(Question::End) => ends.push(self.ask(id)),
                Some(Question::Log { .. }) if !ends.is_empty() => break,
                Some(Question::Log { offset }) => {
                    let asked = self.ask(id);
                    self.curious.remove(&id);
                    return self.ask_for_log(now, asked, offset);
                }
            }
            self.curious.remove(&id);
        }
        if ends.is_empty() { None } else { self.ask_for_ends(now, ends) }
    }

    /// What it wants to know is not to be asked before a pause is over.
    fn ask_later(&mut self, id: PartitionId, now: Moment) {
        let held = self.partitions.get_mut(&id).expect("whoever asks belongs to this lane");
        let due = held.back.asks_at().filter(|due| *due > now && !held.is_recalled);
        if let Some(due) = due {
            let timer = held.timer.map_or(due, |timer| timer.min(due));
            self.arm_timer(id, Some(timer));
        }
    }

    fn ask(&mut self, id: PartitionId) -> Asked {
        let back = &mut self.partitions.get_mut(&id).expect("whoever asks belongs to this lane").back;
        Asked { partition: id, topic: back.topic().clone(), index: back.index(), ticket: back.ask() }
    }

    fn ask_for_ends(&mut self, now: Moment, mut asked: Vec<Asked>) -> Option<Transmit> {
        asked.sort_by(|a, b| (&*a.topic.name, a.index).cmp(&(&*b.topic.name, b.index)));
        let partition = |asked: &Asked| ListOffsetsPartition {
            partition_index: asked.index.0,
            current_leader_epoch: -1,
            timestamp: LATEST,
            ..ListOffsetsPartition::default()
        };
        let topics = asked.chunk_by(|a, b| a.topic.name == b.topic.name).map(|of_topic| ListOffsetsTopic {
            name: (&*of_topic[0].topic.name).into(),
            partitions: of_topic.iter().map(partition).collect(),
            ..ListOffsetsTopic::default()
        });
        let request = ListOffsetsRequest { replica_id: -1, topics: topics.collect(), ..ListOffsetsRequest::default() };
        self.send_question(now, i16::MAX, &request, Flight::Ends(asked))
    }

    fn ask_for_log(&mut self, now: Moment, asked: Asked, offset: i64) -> Option<Transmit> {
        let partition = FetchPartition {
            partition: asked.index.0,
            current_leader_epoch: -1,
            fetch_offset: offset,
            last_fetched_epoch: -1,
            partition_max_bytes: LOG_BYTES_MAX,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: (&*asked.topic.name).into(),
            topic_id: asked.topic.id,
            partitions: vec![partition],
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: LOG_BYTES_MAX,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        // As with batches: a broker that gave no id speaks no version that needs one.
        let newest = if asked.topic.id == Uuid::ZERO { FETCH_TOPIC_IDS_FROM - 1 } else { i16::MAX };
        self.send_question(now, newest, &request, Flight::Log(asked))
    }

    fn send_question<R: Request>(&mut self, now: Moment, newest: i16, request: &R, flight: Flight) -> Option<Transmit> {
        let Link::Up(connection) = &mut self.link else { unreachable!("only a connected lane asks") };
        let Ok(version) = connection.version_of::<R>().map(|version| version.min(newest)) else {
            // A broker without this API will never tell.
            self.refuse_questions(now, &flight);
            return None;
        };
        let frame = connection.encode(version, request).expect("topic names came from this broker and fit");
        connection.register(now, R::KEY, version, frame.len(), flight);
        self.watch_oldest(now);
        Some(Transmit::whole(frame))
    }

    fn refuse_questions(&mut self, now: Moment, flight: &Flight) {
        let error = ErrorCode::UNSUPPORTED_VERSION;
        for asked in flight.questions() {
            match flight {
                Flight::Log(_) => {
                    let answer = LogAnswer { error, records: bytes::Bytes::new() };
                    self.tell_log(now, asked, &answer);
                }
                _ => self.tell_end_of_log(now, asked, &OffsetAnswer { error, end_offset: -1, leader_epoch: -1 }),
            }
        }
    }

    pub(super) fn lose_questions(&mut self, now: Moment, questions: &[Asked]) {
        for asked in questions {
            if let Some(held) = self.partitions.get_mut(&asked.partition) {
                held.back.handle_question_lost(now, asked.ticket, &mut self.chance);
                self.touch(asked.partition);
            }
        }
    }

    pub(super) fn take_ends(&mut self, now: Moment, answer: &Answer<Flight>, questions: &[Asked]) {
        let response = match answer.decode::<ListOffsetsRequest>() {
            Ok(response) => response,
            Err(error) => return self.misunderstand(now, questions, error),
        };
        self.take_throttle(now, response.throttle_time_ms);
        for asked in questions {
            let of_topic = response.topics.iter().filter(|topic| *topic.name == *asked.topic.name);
            let told = of_topic.flat_map(|topic| &topic.partitions).find(|told| told.partition_index == asked.index.0);
            match told {
                Some(told) => {
                    let (error, end_offset) = (ErrorCode(told.error_code), told.offset);
                    let answer = OffsetAnswer { error, end_offset, leader_epoch: told.leader_epoch };
                    self.tell_end_of_log(now, asked, &answer);
                }
                None => self.lose_questions(now, std::slice::from_ref(asked)),
            }
        }
    }

    pub(super) fn take_log(&mut self, now: Moment, answer: &Answer<Flight>, asked: &Asked) {
        let response = match answer.decode::<FetchRequest>() {
            Ok(response) => response,
            Err(error) => return self.misunderstand(now, std::slice::from_ref(asked), error),
        };
        self.take_throttle(now, response.throttle_time_ms);
        let is_by_id = answer.version >= FETCH_TOPIC_IDS_FROM;
        let of_topic = response.responses.iter().filter(|topic| match is_by_id {
            true => topic.topic_id == asked.topic.id,
            false => *topic.topic == *asked.topic.name,
        });
        let told = of_topic.flat_map(|topic| &topic.partitions).find(|told| told.partition_index == asked.index.0);
        let whole = ErrorCode(response.error_code);
        let answer = match told {
            Some(told) if whole.is_none() => {
                LogAnswer { error: ErrorCode(told.error_code), records: told.records.clone().unwrap_or_default() }
            }
            _ if !whole.is_none() => LogAnswer { error: whole, records: bytes::Bytes::new() },
            _ => return self.lose_questions(now, std::slice::from_ref(asked)),
        };
        self.tell_log(now, asked, &answer);
    }

    fn misunderstand(&mut self, now: Moment, questions: &[Asked], error: ConnectionError) {
        self.lose_questions(now, questions);
        self.handle_disconnected(now, error);
    }

    fn tell_end_of_log(&mut self, now: Moment, asked: &Asked, answer: &OffsetAnswer) {
        let Some(held) = self.partitions.get_mut(&asked.partition) else { return };
        let mut ended = std::mem::take(&mut self.ended);
        let is_elsewhere = held.back.handle_end(now, asked.ticket, answer, &mut self.chance, &mut ended);
        self.publish(asked.partition, ended.drain(..));
        self.ended = ended;
        self.follow_up(asked.partition, is_elsewhere);
    }

    fn tell_log(&mut self, now: Moment, asked: &Asked, answer: &LogAnswer) {
        let Some(held) = self.partitions.get_mut(&asked.partition) else { return };
        let mut ended = std::mem::take(&mut self.ended);
        let is_elsewhere = held.back.handle_log(now, asked.ticket, answer, &mut self.chance, &mut ended);
        self.publish(asked.partition, ended.drain(..));
        self.ended = ended;
        self.follow_up(asked.partition, is_elsewhere);
    }

    fn follow_up(&mut self, partition: PartitionId, is_elsewhere: bool) {
        if is_elsewhere {
            self.report(super::LaneReport::NeedsMetadata(Some(partition)));
        }
        self.touch(partition);
    }
}
