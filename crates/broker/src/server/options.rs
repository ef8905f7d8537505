//! How a broker is started: every choice with its default.

use std::path::PathBuf;
use std::time::Duration;

use crate::log::FlushPolicy;
use crate::release::KafkaRelease;

/// How a broker is started.
///
/// ```
/// use milena_broker::{Broker, BrokerOptions, KafkaRelease};
///
/// let options = BrokerOptions { release: KafkaRelease::V3_9, default_partitions: 6, ..BrokerOptions::default() };
/// let broker = Broker::start(options.nodes(3))?;
/// assert_eq!(broker.bootstrap().split(',').count(), 3);
/// # Ok::<(), milena_broker::StartError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerOptions {
    /// Where it listens. Default: a free port of the loopback interface. Of several nodes each has a port of its own: a free one, or the next
    /// in a row from the one that is named here.
    pub listen: String,
    /// How many nodes it has, with ids from 1. They share a thread, and a data directory with a folder each. Default: 1.
    pub nodes: u16,
    /// The host that clients are told to connect to. Default: the address it listens on, or loopback when that is all addresses.
    pub advertised_host: Option<String>,
    /// The port that they are told, where it is another one than the broker listens on, as behind a container's mapping. Of several nodes each
    /// has the next one. Default: the one that it listens on.
    pub advertised_port: Option<u16>,
    /// Where logs and topics are kept. Default: in memory, gone with the broker.
    pub data_dir: Option<PathBuf>,
    /// Without a data directory: how many bytes of batches the logs may hold. What is too much is refused with KAFKA_STORAGE_ERROR, as by a full
    /// disk; nothing that was acknowledged goes. Default: as much as there is.
    pub memory_max: Option<u64>,
    /// When what is written is fsynced, for topics that do not say (`flush.messages`, `flush.ms`). Default: never, as Kafka.
    pub flush: FlushPolicy,
    /// `log.retention.check.interval.ms`: how often old segments are looked for. A log in memory is also looked at whenever a segment of it is
    /// full, so that it does not grow with the time between two looks. Default: Kafka's 5 min.
    pub retention_check: Duration,
    /// `log.cleaner.backoff.ms`: how often logs are looked at whether they have to be compacted. Default: Kafka's 15 s.
    pub cleaner_backoff: Duration,
    /// Whether asking for a missing topic makes it, if the client wants that too, as Java's clients do unless they are told otherwise. Default:
    /// yes, as Kafka does.
    pub auto_create_topics: bool,
    /// `broker.rack` of each node, from the first on; nodes behind the last have none. Consumers that name a rack are sent to a replica
    /// there (KIP-392). Default: none.
    pub racks: Vec<String>,
    /// Partitions of topics whose creator does not say. Default: 1.
    pub default_partitions: i32,
    /// `broker.session.timeout.ms`: when what a silent node leads goes to others. Default: Kafka's 9 s.
    pub session_timeout: Duration,
    /// `replica.lag.time.max.ms`: when a late follower is out of sync. Default: Kafka's 30 s.
    pub replica_lag_time_max: Duration,
    /// `producer.id.expiration.ms`: how long after its last record's timestamp a producer is remembered. Default: the release's, 24 h since 3.4.
    pub producer_expiry: Option<Duration>,
    /// `producer.id.expiration.check.interval.ms`: how often that is looked at. Default: Kafka's 10 min.
    pub producer_expiry_check: Duration,
    /// Which release of Kafka it behaves as; see [`ClusterConfig::behave_as`](crate::ClusterConfig::behave_as). Default: 4.3.
    pub release: KafkaRelease,
    /// Where the admin port listens, as `127.0.0.1:0`: whoever reaches it may steer the broker and read every record, so keep it on
    /// loopback. Default: nowhere.
    #[cfg(feature = "admin")]
    pub admin: Option<String>,
}

impl BrokerOptions {
    /// With so many nodes.
    pub fn nodes(self, count: u16) -> BrokerOptions {
        BrokerOptions { nodes: count, ..self }
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        BrokerOptions {
            listen: "127.0.0.1:0".to_owned(),
            advertised_host: None,
            advertised_port: None,
            nodes: 1,
            data_dir: None,
            memory_max: None,
            flush: FlushPolicy::Never,
            retention_check: Duration::from_secs(5 * 60),
            cleaner_backoff: Duration::from_secs(15),
            auto_create_topics: true,
            racks: Vec::new(),
            default_partitions: 1,
            session_timeout: Duration::from_secs(9),
            replica_lag_time_max: Duration::from_secs(30),
            producer_expiry: None,
            producer_expiry_check: Duration::from_secs(10 * 60),
            release: KafkaRelease::default(),
            #[cfg(feature = "admin")]
            admin: None,
        }
    }
}
