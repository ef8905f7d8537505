//! DescribeProducers: what a replica remembers of its partition's producers, newest epoch only (KIP-664). Followers answer too.

use milena_wire::messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
use milena_wire::messages::describe_producers::response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use milena_wire::ErrorCode;

use super::{AskedPartition, TopicRef};
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex, ProducerId};
use crate::producer_state::{ProducerEntry, Producers};
use crate::topics::check_name;

impl Cluster {
    pub(super) fn describe_producers(
        &self,
        node: NodeId,
        request: &DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let topics = request.topics.iter().map(|topic| self.describe_topic(node, topic)).collect();
        DescribeProducersResponse { topics, ..Default::default() }
    }

    fn describe_topic(&self, node: NodeId, asked: &TopicRequest) -> TopicResponse {
        let topic = TopicRef::Name(&asked.name);
        let unknown = match (check_name(&asked.name), self.find_topic(topic)) {
            (Err(invalid), _) => Some((ErrorCode::INVALID_TOPIC_EXCEPTION, invalid.to_string())),
            (Ok(()), None) => {
                let message = "This server does not host this topic-partition.";
                Some((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message.to_owned()))
            }
            (Ok(()), Some(_)) => None,
        };
        let describe = |index: &i32| {
            let partition = AskedPartition { index: PartitionIndex(*index), leader_epoch: -1 };
            match self.find_replica(node, topic, partition) {
                Ok(replica) => PartitionResponse {
                    partition_index: *index,
                    active_producers: producers(&replica.producers),
                    ..Default::default()
                },
                Err(code) => {
                    let (code, message) = unknown.clone().map_or((code, None), |(code, message)| (code, Some(message)));
                    PartitionResponse {
                        partition_index: *index,
                        error_code: code.0,
                        error_message: message.map(Into::into),
                        ..Default::default()
                    }
                }
            }
        };
        TopicResponse {
            name: asked.name.clone(),
            partitions: asked.partition_indexes.iter().map(describe).collect(),
            ..Default::default()
        }
    }
}

fn producers(producers: &Producers) -> Vec<ProducerState> {
    let state = |(id, entry): (ProducerId, &ProducerEntry)| ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(entry.epoch().0),
        last_sequence: entry.last_sequence().map_or(-1, |sequence| sequence.0),
        last_timestamp: entry.last_timestamp(),
        coordinator_epoch: -1,
        ..Default::default()
    };
    producers.iter().map(state).collect()
}
