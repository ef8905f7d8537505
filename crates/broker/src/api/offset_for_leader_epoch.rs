//! OffsetForLeaderEpoch: where an epoch ended, so that a reader sees whether its log was cut (KIP-320).

use milena_wire::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use milena_wire::messages::offset_for_leader_epoch::response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::{AskedPartition, TopicRef};
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};

impl Cluster {
    pub(super) fn offset_for_leader_epoch(
        &self,
        node: NodeId,
        request: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.iter().map(|topic| self.ends_of_topic(node, topic)).collect();
        OffsetForLeaderEpochResponse { topics, ..Default::default() }
    }

    fn ends_of_topic(&self, node: NodeId, topic: &OffsetForLeaderTopic) -> OffsetForLeaderTopicResult {
        OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(|asked| self.end_of_epoch(node, &topic.topic, asked)).collect(),
            ..Default::default()
        }
    }

    fn end_of_epoch(&self, node: NodeId, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
        let index = PartitionIndex(asked.partition);
        let partition = AskedPartition { index, leader_epoch: asked.current_leader_epoch };
        let answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
        match self.find_led(node, TopicRef::Name(topic), partition) {
            Err(code) => EpochEndOffset { error_code: code.0, ..answer },
            Ok(replica) => match replica.log.end_of_epoch(asked.leader_epoch) {
                Some((leader_epoch, end_offset)) => EpochEndOffset { leader_epoch, end_offset, ..answer },
                None => answer,
            },
        }
    }
}
