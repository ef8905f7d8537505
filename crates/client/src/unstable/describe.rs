//! Topics as the brokers' metadata describes them, all of them or one.

use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{MetadataResponse, MetadataResponseTopic};
use milena_wire::{ErrorCode, Uuid};

use super::error::{ClusterError, Setback};
use super::{Admin, cluster};

/// A topic, and what its brokers say about each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLayout {
    /// Its name.
    pub name: String,
    /// Zero before Kafka 2.8.
    pub id: Uuid,
    /// Kafka's own, such as the one with the offsets of groups.
    pub is_internal: bool,
    /// In the order of their numbers.
    pub partitions: Vec<PartitionLayout>,
}

/// Who has a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLayout {
    /// Its number.
    pub index: i32,
    /// The node that leads it; none while there is none.
    pub leader: Option<i32>,
    /// How often the leader has changed; none before Kafka 2.1.
    pub leader_epoch: Option<i32>,
    /// The nodes that should have it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those that have all of it.
    pub isr: Vec<i32>,
    /// Those that cannot be reached, as far as the controller knows.
    pub offline: Vec<i32>,
}

impl Admin {
    /// All topics that this client may see, by name. Those that are just being made or removed may be missing.
    pub async fn topics(&mut self) -> Result<Vec<TopicLayout>, ClusterError> {
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let answer = self.metadata(&request).await?;
        let mut topics: Vec<TopicLayout> =
            answer.topics.into_iter().filter(|topic| topic.error_code == 0).filter_map(layout).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// One topic; none if there is no such.
    pub async fn layout(&mut self, name: &str) -> Result<Option<TopicLayout>, ClusterError> {
        // Waits where brokers have not made up their mind.
        if self.topic(name).await?.is_none() {
            return Ok(None);
        }
        let topics = Some(vec![MetadataRequestTopic { name: Some(name.into()), ..MetadataRequestTopic::default() }]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let answer = self.metadata(&request).await?;
        let Some(topic) = answer.topics.into_iter().find(|topic| topic.name.as_deref() == Some(name)) else {
            return Ok(None);
        };
        match ErrorCode(topic.error_code) {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Ok(None),
            code if !code.is_none() => Err(cluster::refused(name, code)),
            _ => Ok(layout(topic)),
        }
    }

    async fn metadata(&mut self, request: &MetadataRequest) -> Result<MetadataResponse, ClusterError> {
        let until = self.cluster.until();
        loop {
            let answer = self.cluster.ask_anybody(request, until).await?;
            match ErrorCode(answer.error_code) {
                code if code.is_none() => return Ok(answer),
                code => self.cluster.refresh(Setback::Code(code), until).await?,
            }
        }
    }
}

/// None: the topic has no name, which brokers leave out only if they were asked by id.
fn layout(topic: MetadataResponseTopic) -> Option<TopicLayout> {
    let mut partitions: Vec<PartitionLayout> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionLayout {
            index: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(partition.leader_id),
            leader_epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
            replicas: partition.replica_nodes,
            isr: partition.isr_nodes,
            offline: partition.offline_replicas,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    Some(TopicLayout { name: topic.name?.into(), id: topic.topic_id, is_internal: topic.is_internal, partitions })
}
