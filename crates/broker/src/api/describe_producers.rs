//! DescribeProducers: what a partition remembers of its producers, newest epoch only (KIP-664).

use milena_wire::ErrorCode;
use milena_wire::messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
use milena_wire::messages::describe_producers::response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use crate::cluster::Cluster;
use crate::ids::{PartitionIndex, ProducerId};
use crate::partition::Partition;
use crate::producer_state::ProducerEntry;

impl Cluster {
    pub(super) fn describe_producers(&self, request: &DescribeProducersRequest) -> DescribeProducersResponse {
        let topics = request.topics.iter().map(|topic| self.describe_topic(topic)).collect();
        DescribeProducersResponse { topics, ..Default::default() }
    }

    fn describe_topic(&self, asked: &TopicRequest) -> TopicResponse {
        let topic = self.topics.named(&asked.name);
        let describe = |index: &i32| match topic.and_then(|topic| topic.partition(PartitionIndex(*index))) {
            Some(partition) => PartitionResponse {
                partition_index: *index,
                active_producers: producers(partition),
                ..Default::default()
            },
            None => PartitionResponse {
                partition_index: *index,
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
                ..Default::default()
            },
        };
        TopicResponse {
            name: asked.name.clone(),
            partitions: asked.partition_indexes.iter().map(describe).collect(),
            ..Default::default()
        }
    }
}

fn producers(partition: &Partition) -> Vec<ProducerState> {
    let state = |(id, entry): (ProducerId, &ProducerEntry)| ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(entry.epoch().0),
        last_sequence: entry.last_sequence().map_or(-1, |sequence| sequence.0),
        last_timestamp: entry.last_timestamp(),
        coordinator_epoch: -1,
        ..Default::default()
    };
    partition.producers().iter().map(state).collect()
}
