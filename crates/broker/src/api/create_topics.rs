//! CreateTopics, and making a topic for any other reason.
//!
//! Checks and codes are Kafka's. A topic exists once the catalogue has it: its files are made before, and removed again if that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::create_topics::response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use milena_wire::{ErrorCode, Uuid};

use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::leadership::Leadership;
use crate::moment::Moment;
use crate::partition::Partition;
use crate::release::KafkaRelease;
use crate::replica::{Recovery, Replica};
use crate::storage::{Place, StorageError};
use crate::topic_config::{ConfigError, Setting, TopicConfig};
use crate::topics::{Topic, TopicNameError, check_name};

/// A topic to be, its defaults filled in.
#[derive(Clone, Debug)]
pub(crate) struct TopicPlan<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) replicas: Replicas,
    pub(crate) config: TopicConfig,
}

/// Where the replicas of a topic go.
#[derive(Clone, Debug)]
pub(crate) enum Replicas {
    /// So many for each partition, going around.
    Factor(i16),
    /// As the request says, per partition.
    Assigned(Vec<Vec<NodeId>>),
}

impl<'a> TopicPlan<'a> {
    /// As it is made without further wishes.
    pub(crate) fn with_defaults(name: &'a str, partitions: i32) -> TopicPlan<'a> {
        TopicPlan { name, partitions, replicas: Replicas::Factor(DEFAULT_FACTOR), config: TopicConfig::default() }
    }
}

/// Why a topic is not made.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateTopicError {
    /// The name breaks Kafka's rules.
    Name(TopicNameError),
    /// It would have the same metric names as another topic.
    Collision {
        /// The new one.
        name: String,
        /// The other one.
        with: String,
    },
    /// There is one of that name.
    Exists(String),
    /// The name is that of the controller's own log, which is no topic for clients.
    Internal,
    /// Less than one, or more than [`PARTITIONS_MAX`].
    Partitions(i32),
    /// Less than one replica, or more than there are nodes.
    ReplicationFactor {
        /// How many were asked for.
        factor: i16,
        /// How many nodes there are.
        nodes: usize,
    },
    /// Replicas were placed by hand, and this count was given as well.
    AssignmentAndCounts(&'static str),
    /// Replicas were placed by hand, with a gap or on nodes that are not there.
    Assignment(String),
    /// A setting is refused.
    Config(ConfigError),
    /// Settings are named without a value.
    NullConfigs(Vec<String>),
    /// The request names it twice.
    Repeated,
    /// The request asks for more than [`PARTITIONS_MAX`] partitions in all.
    TooManyPartitions,
    /// Kafka's controller would need more than 10,000 records for what the request asks for: one for each topic, partition and setting.
    TooManyRecords,
    /// The files cannot be written.
    Storage(StorageError),
}

impl CreateTopicError {
    /// What clients are told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CreateTopicError::Name(_) | CreateTopicError::Collision { .. } => ErrorCode::INVALID_TOPIC_EXCEPTION,
            CreateTopicError::Exists(_) => ErrorCode::TOPIC_ALREADY_EXISTS,
            CreateTopicError::Partitions(_) => ErrorCode::INVALID_PARTITIONS,
            CreateTopicError::ReplicationFactor { .. } => ErrorCode::INVALID_REPLICATION_FACTOR,
            CreateTopicError::Assignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            CreateTopicError::Config(_) | CreateTopicError::NullConfigs(_) => ErrorCode::INVALID_CONFIG,
            CreateTopicError::Repeated | CreateTopicError::Internal | CreateTopicError::AssignmentAndCounts(_) => {
                ErrorCode::INVALID_REQUEST
            }
            CreateTopicError::TooManyPartitions | CreateTopicError::TooManyRecords => ErrorCode::POLICY_VIOLATION,
            CreateTopicError::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl fmt::Display for CreateTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateTopicError::Name(error) => error.fmt(f),
            CreateTopicError::Collision { name, with } => {
                write!(f, "Topic '{name}' collides with existing topic: {with}")
            }
            CreateTopicError::Exists(name) => write!(f, "Topic '{name}' already exists."),
            CreateTopicError::Partitions(count) if *count > PARTITIONS_MAX => {
                write!(f, "a topic cannot have {count} partitions; use 1 to {PARTITIONS_MAX}")
            }
            CreateTopicError::Partitions(_) => {
                f.write_str("Number of partitions was set to an invalid non-positive value.")
            }
            CreateTopicError::ReplicationFactor { factor: ..=0, .. } => {
                f.write_str("Replication factor must be larger than 0, or -1 to use the default value.")
            }
            CreateTopicError::ReplicationFactor { factor, nodes } => write!(
                f,
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached because only {nodes} broker(s) are registered or some brokers have all their log directories cordoned."
            ),
            CreateTopicError::AssignmentAndCounts(count) => {
                write!(f, "A manual partition assignment was specified, but {count} was not set to -1.")
            }
            CreateTopicError::Assignment(what) => f.write_str(what),
            CreateTopicError::Config(error) => error.fmt(f),
            CreateTopicError::NullConfigs(names) => {
                write!(f, "Null value not supported for topic configs: {}", names.join(","))
            }
            CreateTopicError::Internal => {
                write!(f, "Creation of internal topic {CLUSTER_METADATA} is prohibited.")
            }
            CreateTopicError::Repeated => f.write_str("Duplicate topic name."),
            CreateTopicError::TooManyPartitions => f.write_str("Excessively large number of partitions per request."),
            CreateTopicError::TooManyRecords => f.write_str("Unable to perform excessively large batch operation."),
            CreateTopicError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CreateTopicError {}

impl Cluster {
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let repeated = repeated_names(request);
        let once: Vec<_> = request.topics.iter().filter(|asked| !repeated.contains(&*asked.name)).collect();
        if let Some(excess) = self.excess(&once) {
            let topics = request.topics.iter().map(|asked| refusal(&asked.name, &excess)).collect();
            return CreateTopicsResponse { topics, ..Default::default() };
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut answer = |asked: &CreatableTopic| {
            let created = self.create_asked(asked, request.validate_only);
            topics.push(created.unwrap_or_else(|error| refusal(&asked.name, &error)));
        };
        // Kafka's controller never sees what the broker refuses, so that comes last.
        let (refused, seen): (Vec<_>, Vec<_>) = once.into_iter().partition(|asked| &*asked.name == CLUSTER_METADATA);
        seen.into_iter().for_each(&mut answer);
        topics.extend(repeated.iter().map(|name| refusal(name, &CreateTopicError::Repeated)));
        topics.extend(refused.iter().map(|asked| refusal(&asked.name, &CreateTopicError::Internal)));
        CreateTopicsResponse { topics, ..Default::default() }
    }

    /// What Kafka refuses a whole request for, topics that are fine included: partitions are counted of all that is asked for, records of what
    /// would be made.
    fn excess(&self, asked: &[&CreatableTopic]) -> Option<CreateTopicError> {
        let partitions = |asked: &CreatableTopic| match asked.num_partitions {
            _ if !asked.assignments.is_empty() => i64::try_from(asked.assignments.len()).unwrap_or(i64::MAX),
            -1 => i64::from(self.config.default_partitions),
            count => i64::from(count.max(0)),
        };
        let records = |asked: &&CreatableTopic| 1 + asked.configs.len() as i64 + partitions(asked);
        let asked = asked.iter().copied().filter(|asked| &*asked.name != CLUSTER_METADATA);
        if asked.clone().map(partitions).sum::<i64>() > i64::from(PARTITIONS_MAX) {
            return Some(CreateTopicError::TooManyPartitions);
        }
        let would_be_made =
            |asked: &&CreatableTopic| self.plan(asked).is_ok_and(|topic| self.check_new(&topic).is_ok());
        // Most requests are small, and need no second look.
        let is_too_much = asked.clone().map(|asked| records(&asked)).sum::<i64>() > RECORDS_MAX
            && asked.filter(would_be_made).map(|asked| records(&asked)).sum::<i64>() > RECORDS_MAX;
        is_too_much.then_some(CreateTopicError::TooManyRecords)
    }

    fn create_asked(
        &mut self,
        asked: &CreatableTopic,
        validate_only: bool,
    ) -> Result<CreatableTopicResult, CreateTopicError> {
        self.check_new_name(&asked.name)?;
        let topic = self.plan(asked)?;
        self.check_new(&topic)?;
        let answer = CreatableTopicResult {
            name: asked.name.clone(),
            num_partitions: topic.partitions,
            replication_factor: self.factor_of(&topic.replicas),
            configs: Some(config_answer(self.config.release, &topic.config)),
            error_message: None,
            ..Default::default()
        };
        // What is only looked at gets an id as well, which nothing has.
        let topic_id = if validate_only { self.random.uuid() } else { self.add_topic(topic)? };
        Ok(CreatableTopicResult { topic_id, ..answer })
    }

    /// What the request wants, with its defaults filled in.
    fn plan<'a>(&self, asked: &'a CreatableTopic) -> Result<TopicPlan<'a>, CreateTopicError> {
        let null = asked.configs.iter().filter(|entry| entry.value.is_none());
        let null: Vec<_> = null.map(|entry| entry.name.to_string()).collect();
        if !null.is_empty() {
            return Err(CreateTopicError::NullConfigs(null));
        }
        let mut config = TopicConfig::default();
        for entry in &asked.configs {
            self.config.release.check_topic_setting(&entry.name).map_err(CreateTopicError::Config)?;
            config.set(&entry.name, entry.value.as_deref()).map_err(CreateTopicError::Config)?;
        }
        config.check().map_err(CreateTopicError::Config)?;
        if !asked.assignments.is_empty() {
            let assigned = self.assigned_replicas(asked)?;
            let partitions = i32::try_from(assigned.len()).unwrap_or(i32::MAX);
            let replicas = Replicas::Assigned(assigned);
            return Ok(TopicPlan { name: &asked.name, partitions, replicas, config });
        }
        let partitions = match asked.num_partitions {
            -1 => self.config.default_partitions,
            count => count,
        };
        let replicas = Replicas::Factor(asked.replication_factor);
        Ok(TopicPlan { name: &asked.name, partitions, replicas, config })
    }

    /// A manual assignment: partitions numbered from 0, equally many replicas for each, all on nodes that are there.
    fn assigned_replicas(&self, asked: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, CreateTopicError> {
        if asked.replication_factor != -1 {
            return Err(CreateTopicError::AssignmentAndCounts("replication factor"));
        }
        if asked.num_partitions != -1 {
            return Err(CreateTopicError::AssignmentAndCounts("numPartitions"));
        }
        let mut by_index: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
        for assigned in &asked.assignments {
            let nodes: Vec<NodeId> = assigned.broker_ids.iter().copied().map(NodeId).collect();
            let index = assigned.partition_index;
            if by_index.contains_key(&index) {
                let what = format!("Found multiple manual partition assignments for partition {index}");
                return Err(CreateTopicError::Assignment(what));
            }
            self.check_assigned(&nodes, by_index.values().next().map(Vec::len))?;
            by_index.insert(index, nodes);
        }
        if !by_index.keys().copied().eq((0..).take(asked.assignments.len())) {
            let what = "partitions should be a consecutive 0-based integer sequence";
            return Err(CreateTopicError::Assignment(what.to_owned()));
        }
        Ok(by_index.into_values().collect())
    }

    /// The nodes of one partition: some, different ones, of this cluster, and as many as for the partitions before.
    fn check_assigned(&self, nodes: &[NodeId], factor: Option<usize>) -> Result<(), CreateTopicError> {
        let refused = |what: String| {
            Err(CreateTopicError::Assignment(format!("The manual partition assignment includes {what}")))
        };
        if nodes.is_empty() {
            return refused("an empty replica list.".to_owned());
        }
        let mut sorted = nodes.to_vec();
        sorted.sort_unstable();
        let mut before = None;
        for node in sorted {
            if before == Some(node) {
                return refused(format!("the broker {} more than once.", node.0));
            }
            if self.nodes.get(node).is_none() {
                return refused(format!("broker {}, but no such broker is registered.", node.0));
            }
            before = Some(node);
        }
        match factor {
            Some(factor) if factor != nodes.len() => refused(format!(
                "a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} replica(s).",
                nodes.len()
            )),
            _ => Ok(()),
        }
    }

    fn factor_of(&self, replicas: &Replicas) -> i16 {
        match replicas {
            Replicas::Factor(DEFAULT_FACTOR) => self.config.default_replication_factor,
            Replicas::Factor(factor) => *factor,
            Replicas::Assigned(nodes) => {
                nodes.first().map_or(0, |nodes| i16::try_from(nodes.len()).unwrap_or(i16::MAX))
            }
        }
    }

    /// Which nodes keep a partition, its first leader first.
    fn place(&self, new: &TopicPlan<'_>, index: usize) -> Vec<NodeId> {
        if let Replicas::Assigned(nodes) = &new.replicas {
            return nodes[index].clone();
        }
        let ids = self.nodes.ids();
        let first = index % ids.len();
        let factor = usize::try_from(self.factor_of(&new.replicas)).unwrap_or(0);
        ids.iter().copied().cycle().skip(first).take(factor).collect()
    }

    /// What a name is refused for, before anything else is looked at.
    fn check_new_name(&self, name: &str) -> Result<(), CreateTopicError> {
        if name == CLUSTER_METADATA {
            return Err(CreateTopicError::Internal);
        }
        if self.topics.named(name).is_some() {
            return Err(CreateTopicError::Exists(name.to_owned()));
        }
        check_name(name).map_err(CreateTopicError::Name)?;
        match self.topics.colliding(name) {
            Some(with) => Err(CreateTopicError::Collision { name: name.to_owned(), with: with.to_owned() }),
            None => Ok(()),
        }
    }

    fn check_new(&self, topic: &TopicPlan<'_>) -> Result<(), CreateTopicError> {
        self.check_new_name(topic.name)?;
        if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
            return Err(CreateTopicError::Partitions(topic.partitions));
        }
        let (factor, nodes) = (self.factor_of(&topic.replicas), self.nodes.len());
        match usize::try_from(factor) {
            Ok(count) if (1..=nodes).contains(&count) => Ok(()),
            _ => Err(CreateTopicError::ReplicationFactor { factor, nodes }),
        }
    }

    /// Makes a topic, wholly or not at all.
    pub(crate) fn add_topic(&mut self, new: TopicPlan<'_>) -> Result<Uuid, CreateTopicError> {
        self.check_new(&new)?;
        let placed: Vec<_> = (0..new.partitions as usize).map(|index| self.place(&new, index)).collect();
        let (partitions, failed) = match self.create_partitions(new.name, PartitionIndex(0), &placed) {
            Ok(partitions) => (partitions, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let id = self.random.uuid();
        let name = new.name.to_owned();
        let min_insync = self.config.eligible_min(&new.config);
        let mut topic = Topic { name, id, config: Arc::new(new.config), partitions };
        topic.partitions.iter_mut().for_each(|partition| partition.min_insync = min_insync);
        self.topics.insert(topic);
        let saved = failed.map_or_else(|| self.save_topic(new.name), Err);
        match saved {
            Ok(()) => Ok(id),
            Err(error) => {
                self.topics.remove(new.name);
                self.remove_logs(new.name, PartitionIndex(0), &placed);
                Err(CreateTopicError::Storage(error))
            }
        }
    }

    /// Nodes that are fenced get replicas too, but are not in sync from the start.
    pub(super) fn create_partitions(
        &mut self,
        topic: &str,
        first: PartitionIndex,
        placed: &[Vec<NodeId>],
    ) -> Result<Vec<Partition>, StorageError> {
        let recovery = Recovery { now: Moment::default(), producer_expiry: self.config.producer_expiry };
        let mut partitions = Vec::new();
        for (index, replicas) in (first.0..).map(PartitionIndex).zip(placed) {
            let mut isr: Vec<_> = replicas.iter().copied().filter(|node| self.nodes.is_eligible(*node)).collect();
            if isr.is_empty() {
                isr.clone_from(replicas);
            }
            let leadership = Leadership::first(replicas, isr, 0, |node| self.nodes.is_eligible(node));
            let mut made = Vec::new();
            for node in replicas.iter().copied() {
                let folder = self.storage.create_log(Place { node, topic, partition: index })?;
                let (mut replica, _) = Replica::open(node, folder, leadership.clone(), recovery)?;
                // Empty logs agree.
                replica.agreed_epoch = Some(leadership.epoch);
                made.push(replica);
            }
            partitions.push(Partition::new(made, leadership));
        }
        Ok(partitions)
    }

    /// What cannot be removed now is removed at the next start: the catalogue does not name it.
    pub(super) fn remove_logs(&mut self, topic: &str, first: PartitionIndex, placed: &[Vec<NodeId>]) {
        for (index, replicas) in (first.0..).map(PartitionIndex).zip(placed) {
            for node in replicas.iter().copied() {
                let place = Place { node, topic, partition: index };
                let _left_for_the_next_start = self.storage.remove_log(place);
            }
        }
    }
}

fn repeated_names(request: &CreateTopicsRequest) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    request.topics.iter().map(|topic| &*topic.name).filter(|name| !seen.insert(*name)).collect()
}

fn refusal(name: &str, error: &CreateTopicError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        error_code: error.code().0,
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

fn config_answer(release: KafkaRelease, config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let entry = |setting: &Setting| {
        let value = release.value_of(setting, config);
        CreatableTopicConfigs {
            name: setting.name.into(),
            value: Some(value.text.into()),
            config_source: if value.is_set { SOURCE_TOPIC } else { SOURCE_DEFAULT },
            ..Default::default()
        }
    };
    release.topic_settings().map(entry).collect()
}

/// Kafka's limit for one request; a log is a file and a folder.
pub const PARTITIONS_MAX: i32 = 10_000;
/// What Kafka's controller writes for one request.
const RECORDS_MAX: i64 = 10_000;
/// The controller's own log, which is no topic for clients.
const CLUSTER_METADATA: &str = "__cluster_metadata";
/// In a request: as the brokers are configured.
const DEFAULT_FACTOR: i16 = -1;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;
