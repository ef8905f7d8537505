//! ListOffsets: where a log begins, ends, or reaches a time.
//!
//! Negative timestamps have meanings, each since a version; what a version does not know is refused per partition. A consumer is told about
//! what is committed, and by the leader only; the replica id of Kafka's debugging tools, −2, is told about the whole log, by any replica.

use std::collections::{BTreeMap, BTreeSet};

use milena_wire::ErrorCode;
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest};
use milena_wire::messages::list_offsets::response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::{AskedPartition, TopicRef};
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::log::{LookupError, PartitionLog, TimestampedOffset};

impl Cluster {
    pub(super) fn list_offsets(&self, node: NodeId, request: &ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
        let from = From { node, whole_log: request.replica_id == DEBUGGING_REPLICA, version };
        let mut topics: Vec<ListOffsetsTopicResponse> = Vec::with_capacity(request.topics.len());
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let times = times_asked(request);
        let mut answered = BTreeSet::new();
        for topic in &request.topics {
            let place = *places.entry(&topic.name).or_insert(topics.len());
            if place == topics.len() {
                topics.push(ListOffsetsTopicResponse { name: topic.name.clone(), ..Default::default() });
            }
            for partition in &topic.partitions {
                let asked = (&*topic.name, partition.partition_index);
                if answered.insert(asked) {
                    topics[place].partitions.push(self.list(from, &topic.name, partition, times[&asked]));
                }
            }
        }
        ListOffsetsResponse { topics, ..Default::default() }
    }

    /// A partition that is asked for twice is answered once, with an error.
    fn list(
        &self,
        from: From,
        topic: &str,
        partition: &ListOffsetsPartition,
        times: usize,
    ) -> ListOffsetsPartitionResponse {
        let listed = match times {
            1 => self.list_partition(from, topic, partition),
            _ => Err(ErrorCode::INVALID_REQUEST),
        };
        listed.unwrap_or_else(|code| ListOffsetsPartitionResponse {
            partition_index: partition.partition_index,
            error_code: code.0,
            ..Default::default()
        })
    }

    fn list_partition(
        &self,
        from: From,
        topic: &str,
        asked: &ListOffsetsPartition,
    ) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
        let From { node, whole_log, version } = from;
        let question = Question::read(asked.timestamp, version).ok_or(ErrorCode::UNSUPPORTED_VERSION)?;
        let index = PartitionIndex(asked.partition_index);
        let partition = AskedPartition { index, leader_epoch: asked.current_leader_epoch };
        let replica = match whole_log {
            true => self.find_replica(node, TopicRef::Name(topic), partition)?,
            false => self.find_led(node, TopicRef::Name(topic), partition)?,
        };
        let log = &replica.log;
        let end = if whole_log { replica.end() } else { replica.high_watermark };
        let found = question.answer(log, end)?;
        let is_at_end = found.is_none_or(|found| found.offset >= end);
        if is_at_end && !whole_log && end < replica.epoch_start && question.is_about_the_end() {
            // A new leader does not know yet how much of what it has is committed (KIP-207).
            return Err(not_yet(version));
        }
        Ok(ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            timestamp: found.map_or(-1, |found| found.timestamp),
            offset: found.map_or(-1, |found| found.offset),
            leader_epoch: match found {
                Some(found) if version >= EPOCHS_SINCE => found.leader_epoch,
                _ => -1,
            },
            ..Default::default()
        })
    }
}

/// Who asks, and where.
#[derive(Clone, Copy)]
struct From {
    node: NodeId,
    /// Whether what is not committed counts too, and followers may answer.
    whole_log: bool,
    version: i16,
}

/// How often each partition is asked for.
fn times_asked(request: &ListOffsetsRequest) -> BTreeMap<(&str, i32), usize> {
    let mut times = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times.entry((&*topic.name, partition.partition_index)).or_default() += 1;
        }
    }
    times
}

fn not_yet(version: i16) -> ErrorCode {
    if version >= NOT_YET_SINCE { ErrorCode::OFFSET_NOT_AVAILABLE } else { ErrorCode::LEADER_NOT_AVAILABLE }
}

const DEBUGGING_REPLICA: i32 = -2;
/// The first version that knows OFFSET_NOT_AVAILABLE.
const NOT_YET_SINCE: i16 = 5;
/// The first version that tells leader epochs (KIP-320).
const EPOCHS_SINCE: i16 = 4;

/// What a timestamp asks for.
enum Question {
    Latest,
    Earliest,
    /// The record with the largest timestamp.
    Newest,
    /// About storage that this broker does not have.
    Tiered,
    Since(i64),
}

impl Question {
    fn read(timestamp: i64, version: i16) -> Option<Question> {
        let since = |first: i16, question| (version >= first).then_some(question);
        match timestamp {
            -1 => Some(Question::Latest),
            -2 => Some(Question::Earliest),
            -3 => since(7, Question::Newest),
            // The earliest that is not in tiered storage: without any, simply the earliest.
            -4 => since(8, Question::Earliest),
            -5 => since(9, Question::Tiered),
            -6 => since(11, Question::Tiered),
            negative if negative < 0 => None,
            timestamp => Some(Question::Since(timestamp)),
        }
    }

    /// Whether the answer may change as soon as more is known to be committed.
    fn is_about_the_end(&self) -> bool {
        matches!(self, Question::Latest | Question::Newest | Question::Since(_))
    }

    /// As if the log ended at `end`.
    fn answer(&self, log: &PartitionLog, end: i64) -> Result<Option<TimestampedOffset>, ErrorCode> {
        let without_time =
            |offset| Ok(Some(TimestampedOffset { offset, timestamp: -1, leader_epoch: log.epoch_at(offset) }));
        let before_end = |found: Option<TimestampedOffset>| found.filter(|found| found.offset < end);
        match self {
            Question::Latest => without_time(end),
            Question::Earliest => without_time(log.start_offset()),
            Question::Newest => log.newest().map_err(code_of).map(before_end),
            Question::Tiered => Ok(None),
            Question::Since(timestamp) => log.first_since(*timestamp).map_err(code_of).map(before_end),
        }
    }
}

fn code_of(error: LookupError) -> ErrorCode {
    match error {
        LookupError::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        LookupError::Damaged(_) => ErrorCode::CORRUPT_MESSAGE,
    }
}
