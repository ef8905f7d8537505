//! The cluster: topics, connections and requests, without sockets, threads or clocks.
//!
//! A driver gives it frames and time, and takes events. The order of events is decided by the order of calls alone, so a run can be
//! replayed. A request changes the cluster wholly before its answer becomes an event; a fetch that waits is the only request
//! that outlives its call. There is one node for now; connections name theirs, so that more can come.
//!
//! What a request means is in `api/`; what a batch means is in `partition.rs` and below.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::Uuid;

use crate::api::Answer;
use crate::catalogue::{Catalogue, TopicEntry};
use crate::connection::{CloseReason, Connection, Event, Turn};
use crate::ids::{ConnectionId, NodeId, PartitionIndex, ProducerId};
use crate::log::{PartitionLog, TornTail};
use crate::moment::Moment;
use crate::parking::Parking;
use crate::partition::{Partition, ProduceFault, Recovery};
use crate::producer_ids::ProducerIds;
use crate::random::Random;
use crate::storage::{Storage, StorageError};
use crate::topic_config::TopicConfig;
use crate::topics::{Topic, Topics};

/// What a cluster is made of, and how it behaves.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its brokers: one, for now.
    pub nodes: Vec<Node>,
    /// Its id; drawn from the seed if none is given. A data directory keeps the one it has.
    pub cluster_id: Option<String>,
    /// `auto.create.topics.enable`: whether asking for a missing topic makes it, if the client wants that too. Default: no.
    pub auto_create_topics: bool,
    /// `num.partitions`: for topics whose creator does not say. Default: 1.
    pub default_partitions: i32,
    /// `producer.id.expiration.ms`: how long after its last record's timestamp a producer is remembered. Default: 24 h.
    pub producer_expiry: Duration,
    /// `producer.id.expiration.check.interval.ms`: how often that is looked at. Default: 10 min.
    pub producer_expiry_check: Duration,
    /// What ids are drawn from.
    pub seed: u64,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where clients are told to connect.
    pub host: String,
    /// The same.
    pub port: u16,
}

impl ClusterConfig {
    /// One node with Kafka's defaults, but no topics made by asking.
    pub fn with_node(node: Node) -> ClusterConfig {
        ClusterConfig {
            nodes: vec![node],
            cluster_id: None,
            auto_create_topics: false,
            default_partitions: 1,
            producer_expiry: Duration::from_secs(24 * 60 * 60),
            producer_expiry_check: Duration::from_secs(10 * 60),
            seed: 0,
        }
    }
}

/// Why a cluster cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A cluster of this many nodes is not possible.
    NodeCount(usize),
    /// What is stored cannot be read.
    Storage(StorageError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NodeCount(count) => write!(f, "a cluster has one node, not {count}"),
            OpenError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        OpenError::Storage(error)
    }
}

/// A Kafka cluster in one value. See the crate's page for how it is driven.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) config: ClusterConfig,
    pub(crate) node: Node,
    pub(crate) cluster_id: String,
    pub(crate) topics: Topics,
    pub(crate) random: Random,
    pub(crate) storage: Box<dyn Storage>,
    producer_ids: ProducerIds,
    connections: BTreeMap<ConnectionId, Connection>,
    connections_made: u64,
    events: VecDeque<Event>,
    parking: Parking,
    torn_tails: Vec<TornTail>,
    /// The last time producers were looked through for expired ones, on the monotonic clock.
    expiry_checked: Duration,
}

impl Cluster {
    /// Opens what the storage holds, or begins anew.
    pub fn open(config: ClusterConfig, mut storage: Box<dyn Storage>, now: Moment) -> Result<Cluster, OpenError> {
        let [node] = config.nodes.as_slice() else {
            return Err(OpenError::NodeCount(config.nodes.len()));
        };
        let node = node.clone();
        let mut random = Random::new(config.seed);
        let catalogue = storage.load_catalogue()?.unwrap_or_else(|| Catalogue {
            cluster_id: config.cluster_id.clone().unwrap_or_else(|| random.uuid().to_string()),
            producer_ids_reserved: 0,
            topics: BTreeMap::new(),
        });
        let mut cluster = Cluster {
            node,
            cluster_id: catalogue.cluster_id,
            topics: Topics::default(),
            random,
            storage,
            producer_ids: ProducerIds::after(catalogue.producer_ids_reserved),
            connections: BTreeMap::new(),
            connections_made: 0,
            events: VecDeque::new(),
            parking: Parking::default(),
            torn_tails: Vec::new(),
            expiry_checked: now.elapsed,
            config,
        };
        for (name, entry) in catalogue.topics {
            cluster.open_topic(name, entry, now)?;
        }
        cluster.save_catalogue()?;
        Ok(cluster)
    }

    // Steering, for whoever owns the cluster.

    /// Makes a topic with default settings, as an administrator would.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<Uuid, crate::api::CreateTopicError> {
        self.add_topic(crate::api::NewTopic { name, partitions, config: TopicConfig::default() })
    }

    /// Removes a topic and its log; says whether it was there.
    pub fn delete_topic(&mut self, now: Moment, name: &str) -> Result<bool, StorageError> {
        self.remove_topic(now, name)
    }

    /// Gives a topic other settings from now on; says whether the topic is there.
    pub fn alter_topic(&mut self, name: &str, config: TopicConfig) -> Result<bool, StorageError> {
        let Some(topic) = self.topics.named_mut(name) else {
            return Ok(false);
        };
        let before = std::mem::replace(&mut topic.config, config);
        let saved = self.save_catalogue();
        if let (Err(_), Some(topic)) = (&saved, self.topics.named_mut(name)) {
            topic.config = before;
        }
        saved.map(|()| true)
    }

    /// Answers the next Produce attempts on a partition with an error. Faults of one partition are used up in order.
    /// Says whether the partition is there.
    pub fn plant(&mut self, topic: &str, partition: PartitionIndex, fault: ProduceFault) -> bool {
        let partition = self.topics.named_mut(topic).and_then(|topic| topic.partition_mut(partition));
        partition.map(|partition| partition.plant(fault)).is_some()
    }

    // The truth, for whoever checks.

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.named(name)
    }

    /// The log of a partition.
    pub fn log(&self, topic: &str, partition: PartitionIndex) -> Option<&PartitionLog> {
        self.topics.named(topic)?.partition(partition).map(Partition::log)
    }

    /// The id that clients see.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// What was cut off when the logs were opened.
    pub fn torn_tails(&self) -> &[TornTail] {
        &self.torn_tails
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    // Driving.

    /// A client connects to a node. None if there is no such node.
    pub fn connect(&mut self, node: NodeId) -> Option<ConnectionId> {
        if node != self.node.id {
            return None;
        }
        self.connections_made += 1;
        let id = ConnectionId(self.connections_made);
        self.connections.insert(id, Connection::new());
        Some(id)
    }

    /// The client is gone. What it sent before and is waiting is dropped; events of it that are not taken yet are too.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.parking.leave(connection);
        self.connections.remove(&connection);
        self.events.retain(|event| match event {
            Event::Response { connection: of, .. } | Event::Close { connection: of, .. } => *of != connection,
        });
    }

    /// A request has arrived: one frame without its length. It is served at once, or after those before it.
    /// Frames of a connection that is closed are dropped.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: Bytes) {
        self.expire_producers(now);
        if let Some(known) = self.connections.get_mut(&connection) {
            known.waiting.push_back(frame);
            self.serve_waiting(now, connection);
        }
    }

    /// Whether a request of this connection waits for its answer, or the answer for being taken.
    pub fn is_muted(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|connection| connection.turn != Turn::Client)
    }

    /// What the driver has to do next.
    pub fn poll_event(&mut self, now: Moment) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Response { connection, .. } = event
            && let Some(known) = self.connections.get_mut(&connection)
        {
            known.turn = Turn::Client;
            self.serve_waiting(now, connection);
        }
        Some(event)
    }

    /// When [`Cluster::handle_timeout`] has something to do, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.parking.next_deadline()
    }

    /// Answers the fetches that have waited long enough.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(connection) = self.parking.due(now.elapsed) {
            self.complete_fetch(now, connection);
        }
    }

    fn serve_waiting(&mut self, now: Moment, id: ConnectionId) {
        while let Some(frame) = self.connections.get_mut(&id).and_then(Connection::next_request) {
            match self.answer(now, frame) {
                Ok(Answer::Silence) => {}
                Ok(Answer::Frame(frame)) => self.respond(id, frame),
                Ok(Answer::Later(fetch)) => {
                    self.turn(id, Turn::Parked);
                    self.parking.park(id, fetch);
                }
                Err(reason) => self.close(id, reason),
            }
        }
    }

    fn respond(&mut self, connection: ConnectionId, frame: Bytes) {
        self.turn(connection, Turn::Answering);
        self.events.push_back(Event::Response { connection, frame });
    }

    fn turn(&mut self, connection: ConnectionId, turn: Turn) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.turn = turn;
        }
    }

    fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.connections.remove(&connection);
        self.events.push_back(Event::Close { connection, reason });
    }

    /// A topic has grown or is gone: the fetches that waited for it may have enough.
    pub(crate) fn wake_fetches(&mut self, now: Moment, topic: Uuid) {
        for connection in self.parking.waiting_for(topic) {
            let enough = self.parking.fetch(connection).is_some_and(|fetch| self.has_enough(fetch));
            if enough {
                self.complete_fetch(now, connection);
            }
        }
    }

    fn complete_fetch(&mut self, now: Moment, connection: ConnectionId) {
        let Some(fetch) = self.parking.leave(connection) else {
            return;
        };
        self.turn(connection, Turn::Client);
        match self.answer_fetch(&fetch.head, &fetch.request) {
            Ok(frame) => self.respond(connection, frame),
            Err(reason) => self.close(connection, reason),
        }
        self.serve_waiting(now, connection);
    }

    // What outlives a restart.

    pub(crate) fn take_producer_id(&mut self) -> Result<ProducerId, StorageError> {
        if let Some(reserved) = self.producer_ids.reservation() {
            let catalogue = Catalogue { producer_ids_reserved: reserved, ..self.catalogue() };
            self.storage.save_catalogue(&catalogue)?;
            self.producer_ids.reserve(reserved);
        }
        Ok(self.producer_ids.take())
    }

    pub(crate) fn save_catalogue(&mut self) -> Result<(), StorageError> {
        let catalogue = self.catalogue();
        self.storage.save_catalogue(&catalogue)
    }

    fn catalogue(&self) -> Catalogue {
        let entry = |topic: &Topic| TopicEntry {
            id: topic.id,
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            leader_epoch: topic.leader_epoch,
            config: topic.config.clone(),
        };
        Catalogue {
            cluster_id: self.cluster_id.clone(),
            producer_ids_reserved: self.producer_ids.reserved(),
            topics: self.topics.iter().map(|topic| (topic.name.clone(), entry(topic))).collect(),
        }
    }

    /// A restart is a new leadership, so that clients see that a log may have lost its tail.
    fn open_topic(&mut self, name: String, entry: TopicEntry, now: Moment) -> Result<(), StorageError> {
        let leader_epoch = entry.leader_epoch + 1;
        let recovery = Recovery { now, producer_expiry: self.config.producer_expiry, leader_epoch };
        let mut partitions = Vec::new();
        for index in 0..entry.partitions {
            let segment = self.storage.open_segment(&name, PartitionIndex(index))?;
            let (partition, torn) = Partition::open(segment, recovery)?;
            self.torn_tails.extend(torn);
            partitions.push(partition);
        }
        self.topics.insert(Topic { name, id: entry.id, leader_epoch, config: entry.config, partitions });
        Ok(())
    }

    /// Kafka looks at fixed intervals, so an expired producer is remembered until the next look. Nobody can see a look that is made
    /// up for later, as of the time it was due.
    fn expire_producers(&mut self, now: Moment) {
        let interval = self.config.producer_expiry_check.max(Duration::from_millis(1));
        let since = now.elapsed.saturating_sub(self.expiry_checked);
        let into_interval = Duration::from_nanos((since.as_nanos() % interval.as_nanos()) as u64);
        if since < interval {
            return;
        }
        self.expiry_checked = now.elapsed.saturating_sub(into_interval);
        let due = now.before(into_interval);
        let expiry = self.config.producer_expiry;
        for topic in self.topics.iter_mut() {
            for partition in &mut topic.partitions {
                partition.expire_producers(due, expiry);
            }
        }
    }
}
