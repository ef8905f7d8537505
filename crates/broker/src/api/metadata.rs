//! Metadata: nodes, topics, leaders.
//!
//! A topic that is made because somebody asked for it is in the answer at once; Kafka says UNKNOWN_TOPIC_OR_PARTITION first and
//! expects the client to ask again, which it may here too. A node answers as of the time that its view of the cluster ends at.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use milena_wire::{ErrorCode, Uuid};

use super::{CreateTopicError, TopicPlan, TopicRef};
use crate::cluster::Cluster;
use crate::ids::NodeId;
use crate::nodes::NodeState;
use crate::topics::{Topic, check_name};

impl Cluster {
    pub(super) fn metadata(&mut self, view: Duration, request: &MetadataRequest, version: i16) -> MetadataResponse {
        let operations = request.include_topic_authorized_operations;
        // In version 0 an empty list asks for all, because null came later.
        let asked = request.topics.as_deref().filter(|topics| version > 0 || !topics.is_empty());
        if let Some((asked, code)) = asked.and_then(|asked| Some((asked, fault(asked, version)?))) {
            return refusal(asked, code, version);
        }
        let topics = match asked {
            None => self.topics.iter().map(|topic| self.topic_metadata(view, topic)).collect(),
            Some(asked) => {
                let create = self.config.auto_create_topics && request.allow_auto_topic_creation;
                topics_asked(asked).into_iter().map(|topic| self.asked_topic(view, topic, create)).collect()
            }
        };
        MetadataResponse {
            brokers: self.listed_brokers(view),
            cluster_id: Some(self.cluster_id.as_str().into()),
            controller_id: self.nodes.controller(view).map_or(-1, |node| node.0),
            topics: if operations { with_operations(topics) } else { topics },
            cluster_authorized_operations: match request.include_cluster_authorized_operations {
                true => super::describe_cluster::CLUSTER_OPERATIONS,
                false => MetadataResponse::default().cluster_authorized_operations,
            },
            ..Default::default()
        }
    }

    fn listed_brokers(&self, view: Duration) -> Vec<MetadataResponseBroker> {
        let broker = |state: &NodeState| MetadataResponseBroker {
            node_id: state.node.id.0,
            host: state.node.host.as_str().into(),
            port: i32::from(state.node.port),
            rack: self.rack(state.node.id),
            ..Default::default()
        };
        self.nodes.iter().filter(|state| state.was_listed(view)).map(broker).collect()
    }

    fn asked_topic(&mut self, view: Duration, topic: TopicRef<'_>, create: bool) -> MetadataResponseTopic {
        if let Some(found) = self.find_topic(topic) {
            return self.topic_metadata(view, found);
        }
        let unknown = |error: ErrorCode| MetadataResponseTopic { error_code: error.0, ..Default::default() };
        match topic {
            TopicRef::Name(name) => self
                .missing_topic(view, name, create)
                .unwrap_or_else(|code| MetadataResponseTopic { name: Some(name.into()), ..unknown(code) }),
            TopicRef::Id(topic_id) => {
                MetadataResponseTopic { name: None, topic_id, ..unknown(ErrorCode::UNKNOWN_TOPIC_ID) }
            }
        }
    }

    fn missing_topic(&mut self, view: Duration, name: &str, create: bool) -> Result<MetadataResponseTopic, ErrorCode> {
        check_name(name).map_err(|_| ErrorCode::INVALID_TOPIC_EXCEPTION)?;
        if !create {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let partitions = self.config.default_partitions;
        let created = self.add_topic(TopicPlan::with_defaults(name, partitions));
        let id = created.map_err(|error| match error {
            // As Kafka, which makes it aside and tells nobody why it is not there.
            CreateTopicError::Internal => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            error => error.code(),
        })?;
        let topic = self.topics.with_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        Ok(self.topic_metadata(view, topic))
    }

    fn topic_metadata(&self, view: Duration, topic: &Topic) -> MetadataResponseTopic {
        let partitions = (0..).zip(topic.partitions()).map(|(index, partition)| {
            let leadership = partition.leadership_seen(view);
            let error = if leadership.leader.is_none() { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE };
            let is_offline = |node: &NodeId| !self.nodes.state(*node).was_listed(view);
            MetadataResponsePartition {
                error_code: error.0,
                partition_index: index,
                leader_id: leadership.leader.map_or(-1, |leader| leader.0),
                leader_epoch: leadership.epoch,
                replica_nodes: partition.replicas().map(|node| node.0).collect(),
                isr_nodes: leadership.isr.iter().map(|node| node.0).collect(),
                offline_replicas: partition.replicas().filter(is_offline).map(|node| node.0).collect(),
                ..Default::default()
            }
        });
        MetadataResponseTopic {
            name: Some(topic.name.as_str().into()),
            topic_id: topic.id,
            partitions: partitions.collect(),
            ..Default::default()
        }
    }
}

/// Why no topic of a request is looked for. Two versions have the field for ids and do not serve it; in later ones Kafka fails by itself where
/// there is neither name nor id.
fn fault(asked: &[MetadataRequestTopic], version: i16) -> Option<ErrorCode> {
    let by_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_zero();
    let nameless = |topic: &MetadataRequestTopic| topic.name.is_none();
    match version {
        ..IDS_SINCE => asked.iter().any(|topic| by_id(topic) || nameless(topic)).then_some(ErrorCode::INVALID_REQUEST),
        _ if asked.iter().any(by_id) => None,
        _ => asked.iter().any(nameless).then_some(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}

/// Every topic once, by id where any id is given: names count for nothing beside ids, as in Kafka.
fn topics_asked(asked: &[MetadataRequestTopic]) -> Vec<TopicRef<'_>> {
    let ids = asked.iter().map(|topic| topic.topic_id).filter(|id| !id.is_zero());
    let by_id: BTreeSet<Uuid> = ids.collect();
    if !by_id.is_empty() {
        return by_id.into_iter().map(TopicRef::Id).collect();
    }
    let mut seen = BTreeSet::new();
    let names = asked.iter().filter_map(|topic| topic.name.as_deref());
    names.filter(|name| seen.insert(*name)).map(TopicRef::Name).collect()
}

/// The answer to a request that cannot be served as it is: no nodes, and the error with each topic.
fn refusal(asked: &[MetadataRequestTopic], code: ErrorCode, version: i16) -> MetadataResponse {
    let topic = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: code.0,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    let topics = asked.iter().map(topic).collect();
    let error_code = if version >= ERRORS_SINCE { code.0 } else { 0 };
    MetadataResponse { topics, error_code, ..Default::default() }
}

/// Who asks by id learns them of topics that are there.
fn with_operations(mut topics: Vec<MetadataResponseTopic>) -> Vec<MetadataResponseTopic> {
    for topic in topics.iter_mut().filter(|topic| topic.name.is_some()) {
        topic.topic_authorized_operations = TOPIC_OPERATIONS;
    }
    topics
}

/// Every operation on a topic, as a broker without an authorizer answers: read, write, create, delete, alter, describe, describe
/// configs, alter configs.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The first version with an error of its own.
const ERRORS_SINCE: i16 = 13;
/// The first version in which a topic is asked for by id; two versions before it have the field.
const IDS_SINCE: i16 = 12;
