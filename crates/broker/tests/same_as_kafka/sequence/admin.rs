//! Metadata, ApiVersions, DescribeCluster, FindCoordinator, InitProducerId, CreateTopics, DeleteTopics.

use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_topics::request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_wire::messages::delete_topics::request::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::{ApiKey, Uuid};

use super::{Author, STRANGE_ID, Then, TopicModel, TopicNeeded};
use crate::names;

impl Author<'_> {
    pub(super) fn metadata(&mut self) {
        let version = self.version(ApiKey::METADATA);
        let mut topics = Vec::new();
        for _ in 0..self.chance.below(3) {
            topics.push(self.asked_topic(version));
        }
        // Version 0 has no other way to ask for all than to ask for none; all is too much here.
        if topics.is_empty() && version == 0 {
            topics.push(by_name(&self.topics[0].name));
        }
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: version < 4 || self.chance.one_in(2),
            include_cluster_authorized_operations: (8..=10).contains(&version) && self.chance.one_in(2),
            include_topic_authorized_operations: version >= 8 && self.chance.one_in(2),
            ..Default::default()
        };
        self.ask("metadata", version, request);
    }

    /// Every topic there is.
    pub(super) fn all_metadata(&mut self) {
        let version = self.version(ApiKey::METADATA);
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        self.ask("metadata of everything", version, MetadataRequest { topics, ..Default::default() });
    }

    fn asked_topic(&mut self, version: i16) -> MetadataRequestTopic {
        let known = self.chance.below(self.topics.len());
        let topic = self.topics[known].clone();
        let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None, ..Default::default() };
        match self.chance.below(8) {
            0 => by_name(&self.missing_name()),
            1 | 2 if version >= 10 => by_id(topic.id()),
            3 if version >= 10 => {
                let gone = topic.gone.first().map_or(STRANGE_ID, |slot| names::topic_id(*slot));
                by_id(self.chance.pick(&[gone, STRANGE_ID, Uuid::ZERO]))
            }
            4 if version >= 10 && self.chance.one_in(4) => {
                MetadataRequestTopic { topic_id: topic.id(), ..by_name(&topic.name) }
            }
            _ => by_name(&topic.name),
        }
    }

    pub(super) fn describe_cluster(&mut self) {
        let version = self.version(ApiKey::DESCRIBE_CLUSTER);
        let endpoint_type = if version >= 1 { self.chance.weighted(&[(6, 1), (1, 2), (1, 3), (1, 0)]) } else { 1 };
        let request = DescribeClusterRequest {
            include_cluster_authorized_operations: self.chance.one_in(2),
            endpoint_type,
            include_fenced_brokers: version >= 2 && self.chance.one_in(2),
            ..Default::default()
        };
        self.ask("who is in the cluster", version, request);
    }

    pub(super) fn find_coordinator(&mut self) {
        let version = self.version(ApiKey::FIND_COORDINATOR);
        let mut request = FindCoordinatorRequest::default();
        if version >= 1 {
            request.key_type = self.chance.weighted(&[(3, 0), (3, 1), (1, 2), (1, 3), (1, -1)]);
        }
        if version >= 4 {
            request.coordinator_keys = vec!["g".into(), "h".into()];
            request.coordinator_keys.truncate(self.chance.below(3));
        } else {
            request.key = self.chance.pick(&["g", ""]).into();
        }
        self.ask("who coordinates", version, request);
    }

    /// Most ask for an id and get one.
    pub(super) fn new_producer(&mut self) {
        let version = self.version(ApiKey::INIT_PRODUCER_ID);
        let mut request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: self.chance.pick(&[60_000, i32::MAX, 0, -1]),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        match self.chance.below(if self.producers.is_empty() { 1 } else { 8 }) {
            5 if version >= 3 => request.producer_id = 5,
            6 if version >= 3 => request.producer_epoch = 5,
            7 if version >= 3 => {
                let slot = self.chance.pick(&self.producers.clone());
                (request.producer_id, request.producer_epoch) = (names::producer_id(slot), self.chance.pick(&[0, 3]));
            }
            4 => request.transactional_id = Some("".into()),
            _ => {
                let slot = self.producers.len() as u32;
                self.producers.push(slot);
                self.ask("a new producer id", version, request).then = Then::Producer(slot);
                return;
            }
        }
        self.ask("a producer id, asked oddly", version, request);
    }

    pub(super) fn api_versions(&mut self) {
        let version = self.version(ApiKey::API_VERSIONS);
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = self.chance.pick(&["same", "", "a b", "-x", "a.b-c"]).into();
            request.client_software_version = self.chance.pick(&["1.0", "1.0", "", "1/0"]).into();
        }
        self.ask("what is served", version, request);
    }

    pub(super) fn create_topics(&mut self) {
        let version = self.version(ApiKey::CREATE_TOPICS);
        let mut request = CreateTopicsRequest { timeout_ms: 20_000, ..Default::default() };
        request.validate_only = self.chance.one_in(4);
        let mut needed = Vec::new();
        match self.chance.below(3) {
            0 => {
                let odd = self.odd_topic(version);
                request.topics.push(odd);
            }
            _ => {
                let topic = self.new_topic();
                request.topics.push(creatable(&topic));
                needed.push(topic);
            }
        }
        if self.chance.one_in(5) {
            let odd = self.odd_topic(version);
            // Two of one name are both refused.
            needed.retain(|topic| *topic.name != *odd.name);
            request.topics.push(odd);
        }
        if request.validate_only && self.chance.one_in(4) {
            // Just what a request can have, and just what it cannot: a record for the topic is needed, too.
            let num_partitions = self.chance.pick(&[9_998, 9_999, 10_000]);
            let name = format!("{}-large", self.origin.prefix);
            let name = name.as_str().into();
            request.topics.push(CreatableTopic { name, num_partitions, replication_factor: 1, ..Default::default() });
        }
        if request.validate_only {
            needed.clear();
        }
        for topic in &needed {
            self.came(topic);
        }
        let step = self.ask("new topics", version, request);
        if !needed.is_empty() {
            step.then = Then::Created(needed);
        }
    }

    /// One that is gone comes again, or one that never was.
    fn new_topic(&mut self) -> TopicNeeded {
        let gone: Vec<String> = self
            .topics
            .iter()
            .filter(|topic| !topic.exists && !topic.has_settings)
            .map(|topic| topic.name.clone())
            .collect();
        let partitions = self.chance.within(1..4) as i32;
        let configs = if self.chance.one_in(3) { self.odd_configs() } else { Vec::new() };
        let name = format!("n{}", self.slots);
        let mut topic = self.topic(&name, partitions, configs);
        if !gone.is_empty() && self.chance.below(3) > 0 {
            topic.name = self.chance.pick(&gone);
        }
        topic
    }

    fn came(&mut self, topic: &TopicNeeded) {
        let mut model = TopicModel::of(topic);
        match self.topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => {
                model.gone = std::mem::take(&mut known.gone);
                model.gone.push(known.slot);
                *known = model;
            }
            None => self.topics.push(model),
        }
    }

    /// One that is refused for one reason.
    fn odd_topic(&mut self, version: i16) -> CreatableTopic {
        let name = format!("{}-odd", self.origin.prefix);
        let good = CreatableTopic {
            name: name.as_str().into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let config = |name: &str, value: Option<&str>| CreatableTopicConfig {
            name: name.into(),
            value: value.map(Into::into),
            ..Default::default()
        };
        let assigned = |partition_index, broker_ids: &[i32]| CreatableReplicaAssignment {
            partition_index,
            broker_ids: broker_ids.to_vec(),
            ..Default::default()
        };
        let by_hand = CreatableTopic { num_partitions: -1, replication_factor: -1, ..good.clone() };
        match self.chance.below(18) {
            0 => CreatableTopic { name: self.missing_name().into(), num_partitions: 0, ..good },
            // Of the name of one that is gone it would be made, and its coming had to be waited for.
            1 if self.topics[0].exists => CreatableTopic { name: self.topics[0].name.as_str().into(), ..good },
            2 => CreatableTopic { num_partitions: self.chance.pick(&[0, -2]), ..good },
            3 => CreatableTopic { replication_factor: self.chance.pick(&[0, 2, -2]), ..good },
            4 => CreatableTopic { configs: vec![config("no.such.config", Some("1"))], ..good },
            5 => CreatableTopic { configs: vec![config("max.message.bytes", Some("-1"))], ..good },
            6 => CreatableTopic { configs: vec![config("message.timestamp.type", Some("Never"))], ..good },
            7 => CreatableTopic { configs: vec![config("max.message.bytes", None)], ..good },
            8 => CreatableTopic { assignments: vec![assigned(0, &[1])], ..good },
            9 => CreatableTopic { assignments: vec![assigned(0, &[7])], ..by_hand },
            10 => CreatableTopic { assignments: vec![assigned(1, &[1])], ..by_hand },
            11 => CreatableTopic { assignments: vec![assigned(0, &[1, 1])], ..by_hand },
            12 => CreatableTopic { assignments: vec![assigned(0, &[])], ..by_hand },
            13 => CreatableTopic { configs: vec![config("max.message.bytes", Some("many"))], ..good },
            14 if version < 4 => by_hand,
            14 => CreatableTopic { num_partitions: -2, ..by_hand },
            15 => CreatableTopic { name: "__cluster_metadata".into(), ..good },
            // More than one request can have, with other topics or alone.
            16 => CreatableTopic { num_partitions: self.chance.pick(&[10_001, 20_000]), ..good },
            _ => {
                let collides = self.topics[0].name.replace('-', "_").replacen('_', ".", 1);
                CreatableTopic { name: collides.as_str().into(), num_partitions: 0, ..good }
            }
        }
    }

    pub(super) fn delete_topics(&mut self) {
        let version = self.version(ApiKey::DELETE_TOPICS);
        let mut request = DeleteTopicsRequest { timeout_ms: 20_000, ..Default::default() };
        if self.chance.one_in(3) {
            for _ in 0..self.chance.within(0..3) {
                let name = self.missing_name();
                name_deleted(&mut request, version, &name);
            }
            if version >= 6 && self.chance.one_in(2) {
                let topic_id = self.chance.pick(&[STRANGE_ID, Uuid::ZERO]);
                request.topics.push(DeleteTopicState { topic_id, ..Default::default() });
            }
            if self.chance.one_in(3) {
                let twice = self.topics[0].name.clone();
                name_deleted(&mut request, version, &twice);
                name_deleted(&mut request, version, &twice);
            }
            self.ask("topics that are not there, or named twice", version, request);
            return;
        }
        let Some((topic, _)) = self.place() else { return self.create_topics() };
        let model = &mut self.topics[topic];
        let (name, id) = (model.name.clone(), model.id());
        model.exists = false;
        for partition in &mut model.partitions {
            partition.writers.clear();
        }
        if version >= 6 && self.chance.one_in(2) {
            request.topics.push(DeleteTopicState { topic_id: id, ..Default::default() });
        } else {
            name_deleted(&mut request, version, &name);
        }
        self.ask("a topic goes", version, request).then = Then::Deleted(name);
    }
}

fn by_name(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.into()), ..Default::default() }
}

fn name_deleted(request: &mut DeleteTopicsRequest, version: i16, name: &str) {
    match version {
        6.. => request.topics.push(DeleteTopicState { name: Some(name.into()), ..Default::default() }),
        _ => request.topic_names.push(name.into()),
    }
}

/// The topic as a request asks for it.
pub fn creatable(topic: &TopicNeeded) -> CreatableTopic {
    let config = |(name, value): &(&str, String)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some(value.as_str().into()),
        ..Default::default()
    };
    CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: topic.partitions,
        replication_factor: 1,
        configs: topic.configs.iter().map(config).collect(),
        ..Default::default()
    }
}
