//! CreateTopics, and making a topic for any other reason.
//!
//! Checks and codes are Kafka's. A topic exists once the catalogue has it: its files are made before, and removed again if that fails.

use std::collections::BTreeSet;
use std::fmt;

use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::create_topics::response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use milena_wire::{ErrorCode, Uuid};

use crate::cluster::Cluster;
use crate::ids::PartitionIndex;
use crate::moment::Moment;
use crate::partition::{Partition, Recovery};
use crate::storage::StorageError;
use crate::topic_config::{ConfigError, TopicConfig};
use crate::topics::{Topic, TopicNameError, check_name};

/// A topic to be.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) config: TopicConfig,
}

/// Why a topic is not made.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateTopicError {
    /// The name breaks Kafka's rules.
    Name(TopicNameError),
    /// It would have the same metric names as another topic.
    Collision {
        /// The other one.
        with: String,
    },
    /// There is one of that name.
    Exists,
    /// Less than one, or more than [`PARTITIONS_MAX`].
    Partitions(i32),
    /// Not one replica on one node.
    ReplicationFactor(i16),
    /// Replicas were placed by hand, and counts were given as well.
    AssignmentAndCounts,
    /// Replicas were placed by hand, with a gap or on nodes that are not there.
    Assignment(&'static str),
    /// A setting is refused.
    Config(ConfigError),
    /// The request names it twice.
    Repeated,
    /// The files cannot be written.
    Storage(StorageError),
}

impl CreateTopicError {
    /// What clients are told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CreateTopicError::Name(_) | CreateTopicError::Collision { .. } => ErrorCode::INVALID_TOPIC_EXCEPTION,
            CreateTopicError::Exists => ErrorCode::TOPIC_ALREADY_EXISTS,
            CreateTopicError::Partitions(_) => ErrorCode::INVALID_PARTITIONS,
            CreateTopicError::ReplicationFactor(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
            CreateTopicError::Assignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            CreateTopicError::Config(_) => ErrorCode::INVALID_CONFIG,
            CreateTopicError::Repeated | CreateTopicError::AssignmentAndCounts => ErrorCode::INVALID_REQUEST,
            CreateTopicError::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl fmt::Display for CreateTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateTopicError::Name(error) => error.fmt(f),
            CreateTopicError::Collision { with } => {
                write!(f, "topic name collides with {with}: '.' and '_' are the same in metric names")
            }
            CreateTopicError::Exists => f.write_str("a topic of this name exists"),
            CreateTopicError::Partitions(count) => {
                write!(f, "a topic cannot have {count} partitions; use 1 to {PARTITIONS_MAX}")
            }
            CreateTopicError::ReplicationFactor(factor) => {
                write!(f, "replication factor {factor} cannot be reached with 1 node; use 1")
            }
            CreateTopicError::AssignmentAndCounts => {
                f.write_str("replicas are assigned by hand, so both counts must be -1")
            }
            CreateTopicError::Assignment(what) => f.write_str(what),
            CreateTopicError::Config(error) => error.fmt(f),
            CreateTopicError::Repeated => f.write_str("the request names this topic more than once"),
            CreateTopicError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CreateTopicError {}

impl Cluster {
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let repeated = repeated_names(request);
        let once = |asked: &&CreatableTopic| !repeated.contains(&*asked.name);
        let mut topics: Vec<_> = repeated.iter().map(|name| refusal(name, &CreateTopicError::Repeated)).collect();
        for asked in request.topics.iter().filter(once) {
            let created = self.create_asked(asked, request.validate_only);
            topics.push(created.unwrap_or_else(|error| refusal(&asked.name, &error)));
        }
        CreateTopicsResponse { topics, ..Default::default() }
    }

    fn create_asked(
        &mut self,
        asked: &CreatableTopic,
        validate_only: bool,
    ) -> Result<CreatableTopicResult, CreateTopicError> {
        let topic = self.plan(asked)?;
        self.check_new(&topic)?;
        let answer = CreatableTopicResult {
            name: asked.name.clone(),
            num_partitions: topic.partitions,
            replication_factor: 1,
            configs: Some(config_answer(&topic.config)),
            error_message: None,
            ..Default::default()
        };
        let topic_id = if validate_only { Uuid::ZERO } else { self.add_topic(topic)? };
        Ok(CreatableTopicResult { topic_id, ..answer })
    }

    /// What the request wants, with its defaults filled in.
    fn plan<'a>(&self, asked: &'a CreatableTopic) -> Result<NewTopic<'a>, CreateTopicError> {
        let mut config = TopicConfig::default();
        for entry in &asked.configs {
            config.set(&entry.name, entry.value.as_deref()).map_err(CreateTopicError::Config)?;
        }
        if !asked.assignments.is_empty() {
            let partitions = self.assigned_partitions(asked)?;
            return Ok(NewTopic { name: &asked.name, partitions, config });
        }
        if !matches!(asked.replication_factor, -1 | 1) {
            return Err(CreateTopicError::ReplicationFactor(asked.replication_factor));
        }
        let partitions = match asked.num_partitions {
            -1 => self.config.default_partitions,
            count => count,
        };
        Ok(NewTopic { name: &asked.name, partitions, config })
    }

    /// How many partitions a manual assignment has: each on this node, numbered from 0.
    fn assigned_partitions(&self, asked: &CreatableTopic) -> Result<i32, CreateTopicError> {
        if asked.num_partitions != -1 || asked.replication_factor != -1 {
            return Err(CreateTopicError::AssignmentAndCounts);
        }
        let indexes: BTreeSet<i32> = asked.assignments.iter().map(|assignment| assignment.partition_index).collect();
        if !indexes.iter().copied().eq((0..).take(asked.assignments.len())) {
            return Err(CreateTopicError::Assignment("assigned partitions must be numbered from 0 without a gap"));
        }
        if asked.assignments.iter().any(|assignment| assignment.broker_ids != [self.node.id.0]) {
            return Err(CreateTopicError::Assignment("every partition must be assigned to the one node that is there"));
        }
        Ok(i32::try_from(indexes.len()).unwrap_or(i32::MAX))
    }

    fn check_new(&self, topic: &NewTopic<'_>) -> Result<(), CreateTopicError> {
        check_name(topic.name).map_err(CreateTopicError::Name)?;
        if self.topics.named(topic.name).is_some() {
            return Err(CreateTopicError::Exists);
        }
        if let Some(with) = self.topics.colliding(topic.name) {
            return Err(CreateTopicError::Collision { with: with.to_owned() });
        }
        match topic.partitions {
            1..=PARTITIONS_MAX => Ok(()),
            count => Err(CreateTopicError::Partitions(count)),
        }
    }

    /// Makes a topic, wholly or not at all.
    pub(crate) fn add_topic(&mut self, new: NewTopic<'_>) -> Result<Uuid, CreateTopicError> {
        self.check_new(&new)?;
        let (partitions, failed) = self.create_partitions(&new);
        let made = partitions.len();
        let id = self.random.uuid();
        let name = new.name.to_owned();
        self.topics.insert(Topic { name, id, leader_epoch: 0, config: new.config, partitions });
        let saved = failed.map_or_else(|| self.save_catalogue(), Err);
        match saved {
            Ok(()) => Ok(id),
            Err(error) => {
                self.topics.remove(new.name);
                self.remove_segments(new.name, made);
                Err(CreateTopicError::Storage(error))
            }
        }
    }

    fn create_partitions(&mut self, new: &NewTopic<'_>) -> (Vec<Partition>, Option<StorageError>) {
        let mut partitions = Vec::new();
        let recovery =
            Recovery { now: Moment::default(), producer_expiry: self.config.producer_expiry, leader_epoch: 0 };
        for index in 0..new.partitions {
            let segment = self.storage.create_segment(new.name, PartitionIndex(index));
            match segment.and_then(|segment| Partition::open(segment, recovery)) {
                Ok((partition, _)) => partitions.push(partition),
                Err(error) => return (partitions, Some(error)),
            }
        }
        (partitions, None)
    }

    /// What cannot be removed now is removed at the next start: the catalogue does not name it.
    pub(super) fn remove_segments(&mut self, topic: &str, count: usize) {
        for index in (0..).take(count) {
            let _left_for_the_next_start = self.storage.remove_segment(topic, PartitionIndex(index));
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

fn config_answer(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let entry = |(name, value): (&str, crate::topic_config::ConfigValue)| CreatableTopicConfigs {
        name: name.into(),
        value: Some(value.text.into()),
        config_source: if value.is_set { SOURCE_TOPIC } else { SOURCE_DEFAULT },
        ..Default::default()
    };
    config.entries().map(entry).collect()
}

/// Kafka's limit for one request; a log is a file and a folder.
pub const PARTITIONS_MAX: i32 = 10_000;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;
