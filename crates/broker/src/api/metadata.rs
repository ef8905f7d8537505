//! Metadata: nodes, topics, leaders.
//!
//! A topic that is made because somebody asked for it is in the answer at once; Kafka says UNKNOWN_TOPIC_OR_PARTITION first and
//! expects the client to ask again, which it may here too.

use milena_wire::ErrorCode;
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{NewTopic, TopicRef};
use crate::cluster::Cluster;
use crate::topic_config::TopicConfig;
use crate::topics::{Topic, check_name};

impl Cluster {
    pub(super) fn metadata(&mut self, request: &MetadataRequest, version: i16) -> MetadataResponse {
        let operations = request.include_topic_authorized_operations;
        // In version 0 an empty list asks for all, because null came later.
        let asked = request.topics.as_ref().filter(|topics| version > 0 || !topics.is_empty());
        let topics = match asked {
            None => self.topics.iter().map(|topic| self.topic_metadata(topic)).collect(),
            Some(asked) => {
                let create = self.config.auto_create_topics && request.allow_auto_topic_creation;
                asked.iter().map(|topic| self.asked_topic(topic, create, version)).collect()
            }
        };
        MetadataResponse {
            brokers: vec![self.broker_metadata()],
            cluster_id: Some(self.cluster_id.as_str().into()),
            controller_id: self.node.id.0,
            topics: if operations { with_operations(topics) } else { topics },
            cluster_authorized_operations: match request.include_cluster_authorized_operations {
                true => super::describe_cluster::CLUSTER_OPERATIONS,
                false => MetadataResponse::default().cluster_authorized_operations,
            },
            ..Default::default()
        }
    }

    fn asked_topic(&mut self, asked: &MetadataRequestTopic, create: bool, version: i16) -> MetadataResponseTopic {
        let topic = match &asked.name {
            Some(name) => TopicRef::Name(name),
            None => TopicRef::Id(asked.topic_id),
        };
        let served = asked.name.is_some() || version >= IDS_SINCE;
        if let Some(found) = self.find_topic(topic).filter(|_| served) {
            return self.topic_metadata(found);
        }
        let error = match topic {
            TopicRef::Name(name) => match self.missing_topic(name, create) {
                Ok(created) => return created,
                Err(code) => code,
            },
            TopicRef::Id(_) if served => ErrorCode::UNKNOWN_TOPIC_ID,
            TopicRef::Id(_) => ErrorCode::INVALID_REQUEST,
        };
        MetadataResponseTopic {
            error_code: error.0,
            name: asked.name.clone().or_else(|| (version < IDS_SINCE).then(Box::default)),
            topic_id: asked.topic_id,
            ..Default::default()
        }
    }

    fn missing_topic(&mut self, name: &str, create: bool) -> Result<MetadataResponseTopic, ErrorCode> {
        check_name(name).map_err(|_| ErrorCode::INVALID_TOPIC_EXCEPTION)?;
        if !create {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let partitions = self.config.default_partitions;
        let id = self.add_topic(NewTopic { name, partitions, config: TopicConfig::default() }).map_err(|e| e.code())?;
        let topic = self.topics.with_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        Ok(self.topic_metadata(topic))
    }

    fn topic_metadata(&self, topic: &Topic) -> MetadataResponseTopic {
        let node = self.node.id.0;
        let partition = |index| MetadataResponsePartition {
            partition_index: index,
            leader_id: node,
            leader_epoch: topic.leader_epoch,
            replica_nodes: vec![node],
            isr_nodes: vec![node],
            ..Default::default()
        };
        MetadataResponseTopic {
            name: Some(topic.name.as_str().into()),
            topic_id: topic.id,
            partitions: (0..).take(topic.partitions.len()).map(partition).collect(),
            ..Default::default()
        }
    }

    fn broker_metadata(&self) -> MetadataResponseBroker {
        MetadataResponseBroker {
            node_id: self.node.id.0,
            host: self.node.host.as_str().into(),
            port: i32::from(self.node.port),
            ..Default::default()
        }
    }
}

fn with_operations(mut topics: Vec<MetadataResponseTopic>) -> Vec<MetadataResponseTopic> {
    for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
        topic.topic_authorized_operations = TOPIC_OPERATIONS;
    }
    topics
}

/// Every operation on a topic, as a broker without an authorizer answers: read, write, create, delete, alter, describe, describe
/// configs, alter configs.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The first version in which a topic is asked for by id; two versions before it have the field.
const IDS_SINCE: i16 = 12;
