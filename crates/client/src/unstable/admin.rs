//! Topics: looked at, made, removed.
//!
//! A change is done when the brokers show it. One whose answer was lost is asked for again, and "exists already" or
//! "does not exist" then counts as done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_core::metadata::TopicMetadata;
use milena_wire::messages::create_topics::request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use milena_wire::messages::delete_topics::request::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::{ErrorCode, Uuid};

use super::cluster::Cluster;
use super::error::{AdminError, ClusterError, Setback};
use super::link::{Link, LinkError};
use super::reader::Reader;
use crate::config::parse_address;

/// A client of one cluster.
#[derive(Debug)]
pub struct Admin {
    pub(super) cluster: Cluster,
}

/// A topic as its cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Zero before Kafka 2.8.
    pub id: Uuid,
    /// The leader's node of each partition, by number; none while there is none.
    pub leaders: Vec<Option<i32>>,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// None: as many as the cluster gives by default.
    pub partitions: Option<i32>,
    /// None: as the cluster does by default.
    pub replication: Option<i16>,
}

impl Admin {
    /// Reaches a broker of the list; every later call makes progress within `deadline`.
    pub async fn connect(bootstrap: &[String], client_id: &str, deadline: Duration) -> Result<Self, ClusterError> {
        let cluster = Cluster::connect(bootstrap, client_id, deadline).await?;
        Ok(Self { cluster })
    }

    /// A topic as it is now; none if there is no such.
    pub async fn topic(&mut self, name: &str) -> Result<Option<TopicDescription>, ClusterError> {
        let until = self.cluster.until();
        let found = self.cluster.topic(name, until).await?;
        Ok(found.map(describe))
    }

    /// Makes a topic, and waits until each of its partitions has a leader.
    pub async fn create_topic(&mut self, topic: &NewTopic) -> Result<TopicDescription, AdminError> {
        self.create_topic_with(topic, &[]).await
    }

    /// As [`Self::create_topic`], with settings by Kafka's names.
    pub async fn create_topic_with(
        &mut self,
        topic: &NewTopic,
        configs: &[(String, String)],
    ) -> Result<TopicDescription, AdminError> {
        let until = self.cluster.until();
        let made = self.apply(&Change::Create(topic, configs), until).await?;
        if let Applied::Before = made {
            return Err(AdminError::TopicExists { topic: topic.name.as_str().into() });
        }
        loop {
            match self.cluster.topic(&topic.name, until).await? {
                Some(found) if found.partitions().iter().all(|partition| partition.leader.is_some()) => {
                    return Ok(describe(found));
                }
                // The next look waits for the back-off.
                Some(_) | None => {}
            }
        }
    }

    /// Removes a topic and its records, and waits until it is gone.
    pub async fn delete_topic(&mut self, name: &str) -> Result<(), AdminError> {
        let until = self.cluster.until();
        let Some(old) = self.cluster.topic(name, until).await? else { return Err(missing(name)) };
        if let Applied::Before = self.apply(&Change::Delete(name), until).await? {
            return Err(missing(name));
        }
        while let Some(found) = self.cluster.topic(name, until).await? {
            if found.id() != old.id() {
                break;
            }
        }
        Ok(())
    }

    /// For reading a partition.
    pub fn reader<'a>(&'a mut self, topic: &'a str, partition: i32) -> Reader<'a> {
        Reader::new(&mut self.cluster, topic, partition)
    }

    async fn apply(&mut self, change: &Change<'_>, until: Instant) -> Result<Applied, ClusterError> {
        let mut may_be_done = false;
        loop {
            let address = self.cluster.controller();
            let setback = match change.attempt(&mut self.cluster, until).await {
                Ok(Answer { code, .. }) if code.is_none() => return Ok(Applied::Now),
                Ok(Answer { code, .. }) if code == change.done_already() => {
                    return Ok(if may_be_done { Applied::Now } else { Applied::Before });
                }
                Ok(Answer { code, .. }) if code.is_retriable() => {
                    may_be_done |= code == ErrorCode::REQUEST_TIMED_OUT;
                    Setback::Code(code)
                }
                Ok(Answer { code, message }) => {
                    return Err(ClusterError::Refused { topic: change.topic().into(), code, message });
                }
                Err(error) if error.is_passing() => {
                    may_be_done |= !matches!(error, LinkError::Dial(_));
                    Setback::Link(error)
                }
                Err(error) => return Err(ClusterError::Broken { address, error }),
            };
            self.cluster.refresh(setback, until).await?;
        }
    }
}

/// A connection that only shows a broker that somebody is there.
///
/// The owner of a data directory serves as long as it has connections, so whoever uses its broker holds one of these for
/// all its life.
#[derive(Debug)]
pub struct Probe {
    _link: Link,
}

impl Probe {
    /// Connects, and returns when the broker has answered.
    pub async fn open(address: &str, client_id: &str, deadline: Duration) -> Result<Self, ClusterError> {
        let address = parse_address(address).map_err(ClusterError::Config)?;
        match Link::open(&address, Arc::from(client_id), Instant::now() + deadline).await {
            Ok(link) => Ok(Self { _link: link }),
            Err(error) => Err(ClusterError::Unreachable(vec![(address, error)])),
        }
    }
}

enum Change<'a> {
    Create(&'a NewTopic, &'a [(String, String)]),
    Delete(&'a str),
}

/// How a change came to be.
enum Applied {
    Now,
    /// Nothing was to be done.
    Before,
}

struct Answer {
    code: ErrorCode,
    message: Option<Box<str>>,
}

impl Change<'_> {
    fn topic(&self) -> &str {
        match self {
            Self::Create(topic, _) => &topic.name,
            Self::Delete(topic) => topic,
        }
    }

    fn done_already(&self) -> ErrorCode {
        match self {
            Self::Create(..) => ErrorCode::TOPIC_ALREADY_EXISTS,
            Self::Delete(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        }
    }

    async fn attempt(&self, cluster: &mut Cluster, until: Instant) -> Result<Answer, LinkError> {
        let controller = cluster.controller();
        let results: Vec<Answer> = match self {
            Self::Create(topic, configs) => {
                let request = |version| create(topic, configs, version);
                let response = cluster.ask(&controller, i16::MAX, request, until).await?;
                let answers = response.topics.into_iter();
                answers.map(|it| Answer { code: ErrorCode(it.error_code), message: it.error_message }).collect()
            }
            Self::Delete(topic) => {
                let response = cluster.ask(&controller, i16::MAX, |version| delete(topic, version), until).await?;
                let answers = response.responses.into_iter();
                answers.map(|it| Answer { code: ErrorCode(it.error_code), message: it.error_message }).collect()
            }
        };
        // One topic was named, so there is one answer.
        let none = Answer { code: ErrorCode::UNKNOWN_SERVER_ERROR, message: Some("the answer is empty".into()) };
        Ok(results.into_iter().next().unwrap_or(none))
    }
}

fn create(topic: &NewTopic, configs: &[(String, String)], version: i16) -> CreateTopicsRequest {
    // Since version 4 (Kafka 2.4, KIP-464) −1 means the cluster's own default.
    let default = if version >= 4 { -1 } else { 1 };
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.as_str().into(),
        value: Some(value.as_str().into()),
        ..CreatableTopicConfig::default()
    };
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.name.as_str().into(),
            num_partitions: topic.partitions.unwrap_or(default),
            replication_factor: topic.replication.unwrap_or(default as i16),
            configs: configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        }],
        timeout_ms: CHANGE_TIMEOUT.as_millis() as i32,
        ..CreateTopicsRequest::default()
    }
}

fn delete(topic: &str, version: i16) -> DeleteTopicsRequest {
    let by_state = version >= 6;
    let state = || DeleteTopicState { name: Some(topic.into()), ..DeleteTopicState::default() };
    DeleteTopicsRequest {
        topics: if by_state { vec![state()] } else { Vec::new() },
        topic_names: if by_state { Vec::new() } else { vec![topic.into()] },
        timeout_ms: CHANGE_TIMEOUT.as_millis() as i32,
        ..DeleteTopicsRequest::default()
    }
}

fn describe(topic: TopicMetadata) -> TopicDescription {
    let leaders = topic.partitions().iter().map(|partition| partition.leader.map(|node| node.0));
    TopicDescription { id: topic.id(), leaders: leaders.collect() }
}

fn missing(topic: &str) -> AdminError {
    AdminError::Cluster(ClusterError::TopicMissing { topic: topic.into() })
}

/// How long the controller may wait for the other brokers; less than a link waits for its answer.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);
