//! Requests that are about partitions, and have an error for each.

use bytes::Bytes;
use milena_wire::messages::alter_partition_reassignments::request::AlterPartitionReassignmentsRequest;
use milena_wire::messages::alter_partition_reassignments::response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_wire::messages::delete_records::request::DeleteRecordsRequest;
use milena_wire::messages::delete_records::response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use milena_wire::messages::describe_producers::request::DescribeProducersRequest;
use milena_wire::messages::describe_producers::response::{PartitionResponse, TopicResponse};
use milena_wire::messages::elect_leaders::request::ElectLeadersRequest;
use milena_wire::messages::elect_leaders::response::{
    ElectLeadersResponse, PartitionResult as ElectedPartition, ReplicaElectionResult,
};
use milena_wire::messages::fetch::request::{FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{FetchResponse, FetchableTopicResponse, PartitionData};
use milena_wire::messages::list_offsets::request::ListOffsetsRequest;
use milena_wire::messages::list_offsets::response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use milena_wire::messages::offset_for_leader_epoch::request::OffsetForLeaderEpochRequest;
use milena_wire::messages::offset_for_leader_epoch::response::{EpochEndOffset, OffsetForLeaderTopicResult};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};

use super::{Part, Parts, Refusable, entry};
use crate::faults::Refused;

/// Requests that only read, and are answered with a code for each partition.
macro_rules! reads_partitions {
    ($($request:ident { $topics:ident: $name:ident, $partitions:ident: $($index:ident)? }
        => $answers:ident: $topic_answer:ident { $answer_name:ident }, $partition_answer:ident { $answer_index:ident };)*) => {
        $(impl Refusable for $request {
            fn parts(&self, _version: i16) -> Parts {
                let mut parts = Vec::new();
                for topic in &self.$topics {
                    let index = topic.$partitions.iter().map(|partition| reads_partitions!(@index partition $($index)?));
                    parts.extend(index.map(|index| Part::of_partition(&topic.$name, index)));
                }
                Some(parts)
            }

            fn tell(response: &mut Self::Response, part: Option<&Part>, refused: Refused) {
                let Some(part) = part else { return };
                let name = part.name();
                let topic = entry(
                    &mut response.$answers,
                    |topic| topic.$answer_name == name,
                    || $topic_answer { $answer_name: name.clone(), ..Default::default() },
                );
                let partition = entry(
                    &mut topic.partitions,
                    |partition| partition.$answer_index == part.index(),
                    || $partition_answer { $answer_index: part.index(), ..Default::default() },
                );
                *partition = $partition_answer {
                    $answer_index: part.index(),
                    error_code: refused.code.0,
                    ..Default::default()
                };
            }
        })*
    };
    (@index $partition:ident $index:ident) => { $partition.$index };
    (@index $partition:ident) => { *$partition };
}

reads_partitions! {
    ListOffsetsRequest { topics: name, partitions: partition_index }
        => topics: ListOffsetsTopicResponse { name }, ListOffsetsPartitionResponse { partition_index };
    OffsetForLeaderEpochRequest { topics: topic, partitions: partition }
        => topics: OffsetForLeaderTopicResult { topic }, EpochEndOffset { partition };
    DescribeProducersRequest { topics: name, partition_indexes: }
        => topics: TopicResponse { name }, PartitionResponse { partition_index };
}

/// Requests that change partitions, and are answered with a code for each.
macro_rules! changes_partitions {
    ($($request:ident => $answers:ident: $topic_answer:ident, $partition_answer:ident;)*) => {
        $(impl Refusable for $request {
            const CHANGES: bool = true;

            fn parts(&self, _version: i16) -> Parts {
                let mut parts = Vec::new();
                for topic in &self.topics {
                    let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
                    parts.extend(indexes.map(|index| Part::of_partition(&topic.name, index)));
                }
                Some(parts)
            }

            fn leave_out(&mut self, refused: &[bool]) {
                let mut refused = refused.iter();
                for topic in &mut self.topics {
                    topic.partitions.retain(|_| refused.next() != Some(&true));
                }
                self.topics.retain(|topic| !topic.partitions.is_empty());
            }

            fn tell(response: &mut Self::Response, part: Option<&Part>, refused: Refused) {
                let Some(part) = part else { return };
                let name = part.name();
                let topic = entry(
                    &mut response.$answers,
                    |topic| topic.name == name,
                    || $topic_answer { name: name.clone(), ..Default::default() },
                );
                let partition = entry(
                    &mut topic.partitions,
                    |partition| partition.partition_index == part.index(),
                    || $partition_answer { partition_index: part.index(), ..Default::default() },
                );
                partition.error_code = refused.code.0;
            }
        })*
    };
}

changes_partitions! {
    DeleteRecordsRequest => topics: DeleteRecordsTopicResult, DeleteRecordsPartitionResult;
    AlterPartitionReassignmentsRequest => responses: ReassignableTopicResponse, ReassignablePartitionResponse;
}

/// Without topics it is about all that there are, and refused as a whole.
impl Refusable for ElectLeadersRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        let mut parts = Vec::new();
        for topic in self.topic_partitions.iter().flatten() {
            parts.extend(topic.partitions.iter().map(|index| Part::of_partition(&topic.topic, *index)));
        }
        Some(parts)
    }

    fn leave_out(&mut self, refused: &[bool]) {
        let mut refused = refused.iter();
        for topic in self.topic_partitions.iter_mut().flatten() {
            topic.partitions.retain(|_| refused.next() != Some(&true));
        }
        if let Some(topics) = &mut self.topic_partitions {
            topics.retain(|topic| !topic.partitions.is_empty());
        }
    }

    fn tell(response: &mut ElectLeadersResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else {
            response.error_code = refused.code.0;
            return;
        };
        let name = part.name();
        let topic = entry(
            &mut response.replica_election_results,
            |topic| topic.topic == name,
            || ReplicaElectionResult { topic: name.clone(), ..Default::default() },
        );
        let partition = entry(
            &mut topic.partition_result,
            |partition| partition.partition_id == part.index(),
            || ElectedPartition { partition_id: part.index(), ..Default::default() },
        );
        partition.error_code = refused.code.0;
    }
}

impl Refusable for ProduceRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        let mut parts = Vec::new();
        for topic in &self.topic_data {
            let part = |index| Part::of_partition(&topic.name, index).with_id(topic.topic_id);
            parts.extend(topic.partition_data.iter().map(|partition| part(partition.index)));
        }
        Some(parts)
    }

    fn leave_out(&mut self, refused: &[bool]) {
        let mut refused = refused.iter();
        for topic in &mut self.topic_data {
            topic.partition_data.retain(|_| refused.next() != Some(&true));
        }
        self.topic_data.retain(|topic| !topic.partition_data.is_empty());
    }

    /// The offset of a batch that was written stays, as Kafka tells it beside REQUEST_TIMED_OUT.
    fn tell(response: &mut ProduceResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        let topic = entry(
            &mut response.responses,
            |topic| part.is_of(&topic.name, topic.topic_id),
            || TopicProduceResponse { name: part.name(), topic_id: part.asked.id, ..Default::default() },
        );
        let partition = entry(
            &mut topic.partition_responses,
            |partition| partition.index == part.index(),
            || PartitionProduceResponse {
                index: part.index(),
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: -1,
                ..Default::default()
            },
        );
        partition.error_code = refused.code.0;
    }
}

impl Refusable for FetchRequest {
    fn parts(&self, _version: i16) -> Parts {
        Some(fetched_parts(&self.topics))
    }

    /// An error is told at once.
    fn leave_out(&mut self, refused: &[bool]) {
        if refused.contains(&true) {
            self.max_wait_ms = 0;
        }
    }

    fn tell(response: &mut FetchResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else {
            response.error_code = refused.code.0;
            response.responses.clear();
            return;
        };
        let topic = entry(
            &mut response.responses,
            |topic| part.is_of(&topic.topic, topic.topic_id),
            || FetchableTopicResponse { topic: part.name(), topic_id: part.asked.id, ..Default::default() },
        );
        let untold = || PartitionData {
            partition_index: part.index(),
            high_watermark: -1,
            records: Some(Bytes::new()),
            ..Default::default()
        };
        let partition = entry(&mut topic.partitions, |partition| partition.partition_index == part.index(), untold);
        *partition = PartitionData { error_code: refused.code.0, ..untold() };
    }
}

/// What a session wants to read, as its requests do.
pub(crate) fn fetched_parts(topics: &[FetchTopic]) -> Vec<Part> {
    let mut parts = Vec::new();
    for topic in topics {
        let part = |index| Part::of_partition(&topic.topic, index).with_id(topic.topic_id);
        parts.extend(topic.partitions.iter().map(|partition| part(partition.partition)));
    }
    parts
}
