//! ListOffsets: where a log begins, ends, or reaches a time.
//!
//! Negative timestamps have meanings, each since a version; what a version does not know is refused per partition.

use milena_wire::ErrorCode;
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::list_offsets::response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::{AskedPartition, TopicRef};
use crate::cluster::Cluster;
use crate::ids::PartitionIndex;
use crate::log::{LookupError, PartitionLog, TimestampedOffset};

impl Cluster {
    pub(super) fn list_offsets(&self, request: &ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| self.list_topic(topic, version)).collect();
        ListOffsetsResponse { topics, ..Default::default() }
    }

    fn list_topic(&self, topic: &ListOffsetsTopic, version: i16) -> ListOffsetsTopicResponse {
        let list = |partition| match self.list_partition(&topic.name, partition, version) {
            Ok(found) => found,
            Err(code) => ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                error_code: code.0,
                ..Default::default()
            },
        };
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(list).collect(),
            ..Default::default()
        }
    }

    fn list_partition(
        &self,
        topic: &str,
        asked: &ListOffsetsPartition,
        version: i16,
    ) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
        let index = PartitionIndex(asked.partition_index);
        let partition = AskedPartition { index, leader_epoch: asked.current_leader_epoch };
        let partition = self.find_partition(TopicRef::Name(topic), partition)?;
        let question = Question::read(asked.timestamp, version).ok_or(ErrorCode::UNSUPPORTED_VERSION)?;
        let log = partition.log();
        let found = question.answer(log)?;
        Ok(ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            timestamp: found.map_or(-1, |found| found.timestamp),
            offset: found.map_or(-1, |found| found.offset),
            leader_epoch: match found {
                Some(found) if version >= EPOCHS_SINCE => log.epoch_at(found.offset),
                _ => -1,
            },
            ..Default::default()
        })
    }
}

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

    fn answer(&self, log: &PartitionLog) -> Result<Option<TimestampedOffset>, ErrorCode> {
        let without_time = |offset| Ok(Some(TimestampedOffset { offset, timestamp: -1 }));
        match self {
            Question::Latest => without_time(log.next_offset()),
            Question::Earliest => without_time(log.start_offset()),
            Question::Newest => log.newest().map_err(code_of),
            Question::Tiered => Ok(None),
            Question::Since(timestamp) => log.first_since(*timestamp).map_err(code_of),
        }
    }
}

fn code_of(error: LookupError) -> ErrorCode {
    match error {
        LookupError::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        LookupError::Compressed => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        LookupError::Damaged(_) => ErrorCode::CORRUPT_MESSAGE,
    }
}
