//! What a cluster is made of, with Kafka's defaults, and why it cannot be opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::ids::NodeId;
use crate::log::FlushPolicy;
use crate::nodes::Node;
use crate::release::KafkaRelease;
use crate::storage::StorageError;
use crate::topic_config::TopicConfig;

/// What a cluster is made of, and how it behaves.
///
/// ```
/// use milena_broker::{ClusterConfig, Node, NodeId};
///
/// let node = |id: i32| Node { id: NodeId(id), host: format!("broker-{id}"), port: 9092 };
/// let one = ClusterConfig::with_node(node(1));
/// let three = ClusterConfig::with_nodes(vec![node(1), node(2), node(3)]);
/// assert_eq!((one.default_replication_factor, three.default_replication_factor), (1, 3));
/// ```
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its brokers, each with an id of its own; at least one.
    pub nodes: Vec<Node>,
    /// Its id; drawn from the seed if none is given. A data directory keeps the one it has.
    pub cluster_id: Option<String>,
    /// `auto.create.topics.enable`: whether asking for a missing topic makes it, if the client wants that too. Default: yes.
    pub auto_create_topics: bool,
    /// `num.partitions`: for topics whose creator does not say. Default: 1.
    pub default_partitions: i32,
    /// `default.replication.factor`: the same for replicas. Default: 3, or as many as there are nodes if those are fewer.
    pub default_replication_factor: i16,
    /// `broker.session.timeout.ms`: how long a node may say nothing before it is fenced and its partitions get other leaders. Default: 9 s.
    pub session_timeout: Duration,
    /// `replica.lag.time.max.ms`: how long a follower may lack something before it is out of sync. Default: 30 s.
    pub replica_lag_time_max: Duration,
    /// How long a node that was frozen goes on with what it knew before; what it appends in that time under an epoch that is over is
    /// lost. Kafka's nodes need up to half a second, by their next fetch of metadata. Default: 100 ms.
    pub catch_up: Duration,
    /// Whether the high watermark waits while fewer replicas than `min.insync.replicas` are in sync, as in Kafka since KIP-966: a batch that was
    /// appended before the ISR shrank then ends in REQUEST_TIMED_OUT. Older brokers commit it and answer NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    /// Default: yes.
    pub strict_min_isr: bool,
    /// `producer.id.expiration.ms`: how long after its last record's timestamp a producer is remembered. Default: 24 h.
    pub producer_expiry: Duration,
    /// `producer.id.expiration.check.interval.ms`: how often that is looked at. Default: 10 min.
    pub producer_expiry_check: Duration,
    /// `max.incremental.fetch.session.cache.slots`: how many fetch sessions a node keeps (KIP-227). Default: 1000.
    pub fetch_sessions_max: usize,
    /// `broker.rack` of the nodes that stand in one. Consumers that name a rack are sent to a replica in sync there (KIP-392), as with
    /// Kafka's `RackAwareReplicaSelector`. Default: none.
    pub racks: BTreeMap<NodeId, String>,
    /// `log.flush.interval.messages` and `log.flush.interval.ms`: when logs are fsynced, for topics that do not say. Default: never.
    pub flush: FlushPolicy,
    /// `log.retention.check.interval.ms`: how often old segments are looked for. Default: 5 min.
    pub retention_check: Duration,
    /// Which release of Kafka it behaves as; [`ClusterConfig::behave_as`] also sets what that release does by default. Default: 4.3.
    pub release: KafkaRelease,
    /// `log.cleaner.backoff.ms`: how often logs are looked at whether they have to be compacted. Default: 15 s.
    pub cleaner_backoff: Duration,
    /// What ids are drawn from.
    pub seed: u64,
}

impl ClusterConfig {
    /// One node with Kafka's defaults.
    pub fn with_node(node: Node) -> ClusterConfig {
        ClusterConfig::with_nodes(vec![node])
    }

    /// `min.insync.replicas` of a topic, where it is known who may be elected although it is not in sync: since 4.1 (KIP-966), and only where
    /// nothing is committed by fewer.
    pub(crate) fn eligible_min(&self, topic: &TopicConfig) -> Option<usize> {
        let knows = self.strict_min_isr && self.release >= KafkaRelease::V4_1;
        knows.then(|| usize::try_from(topic.min_insync_replicas).unwrap_or(1).max(1))
    }

    /// Several nodes with the same, and three replicas of each topic whose creator does not say, or as many as there are nodes.
    pub fn with_nodes(nodes: Vec<Node>) -> ClusterConfig {
        ClusterConfig {
            default_replication_factor: nodes.len().clamp(1, 3) as i16,
            nodes,
            cluster_id: None,
            auto_create_topics: true,
            default_partitions: 1,
            session_timeout: Duration::from_secs(9),
            replica_lag_time_max: Duration::from_secs(30),
            catch_up: Duration::from_millis(100),
            strict_min_isr: true,
            producer_expiry: Duration::from_secs(24 * 60 * 60),
            producer_expiry_check: Duration::from_secs(10 * 60),
            fetch_sessions_max: 1_000,
            racks: BTreeMap::new(),
            flush: FlushPolicy::Never,
            retention_check: Duration::from_secs(5 * 60),
            release: KafkaRelease::default(),
            cleaner_backoff: Duration::from_secs(15),
            seed: 0,
        }
    }

    /// With the versions of messages, the settings of topics and the defaults of a release of Kafka, to test against what is deployed.
    ///
    /// Sets `release`, `strict_min_isr` (since 3.7) and `producer_expiry` (seven days before 3.4).
    ///
    /// ```
    /// use milena_broker::{ClusterConfig, KafkaRelease, Node, NodeId};
    ///
    /// let node = Node { id: NodeId(1), host: "localhost".into(), port: 9092 };
    /// let config = ClusterConfig::with_node(node).behave_as(KafkaRelease::V3_6);
    /// assert!(!config.strict_min_isr);
    /// ```
    #[must_use]
    pub fn behave_as(mut self, release: KafkaRelease) -> ClusterConfig {
        self.release = release;
        self.strict_min_isr = release.is_min_isr_strict();
        self.producer_expiry = release.producer_expiry();
        self
    }
}

/// Why a cluster cannot be opened.
///
/// ```
/// use milena_broker::{Cluster, ClusterConfig, Memory, Moment, OpenError};
///
/// let opened = Cluster::open(ClusterConfig::with_nodes(Vec::new()), Box::new(Memory), Moment::default());
/// assert!(matches!(opened, Err(OpenError::NoNodes)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A cluster needs at least one node.
    NoNodes,
    /// Two nodes have the same id.
    RepeatedNode(NodeId),
    /// What is stored belongs to a cluster of other nodes.
    OtherNodes {
        /// How many it has.
        stored: usize,
        /// How many this one has.
        configured: usize,
    },
    /// What is stored cannot be read.
    Storage(StorageError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NoNodes => f.write_str("a cluster needs at least one node"),
            OpenError::RepeatedNode(node) => write!(f, "two nodes have the id {node}; give each its own"),
            OpenError::OtherNodes { stored, configured } if stored != configured => {
                let s = if *stored == 1 { "" } else { "s" };
                write!(
                    f,
                    "the data is that of a cluster of {stored} node{s}, not of {configured}; start {stored}, or use other data"
                )
            }
            OpenError::OtherNodes { .. } => f.write_str("the data names nodes with other ids; use those or other data"),
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

/// Every node has an id of its own.
pub(crate) fn check_nodes(nodes: &[Node]) -> Result<(), OpenError> {
    let mut seen = BTreeSet::new();
    match nodes.iter().find(|node| !seen.insert(node.id)) {
        Some(repeated) => Err(OpenError::RepeatedNode(repeated.id)),
        None if nodes.is_empty() => Err(OpenError::NoNodes),
        None => Ok(()),
    }
}
