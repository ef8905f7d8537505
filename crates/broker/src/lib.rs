//! A Kafka broker in a process: for tests, and for laptops that have no Kafka.
//!
//! Two ways in. [`Broker`] is a TCP server with a thread of its own: start it, connect any Kafka client to
//! [`Broker::bootstrap`]. [`Cluster`] is the same broker without sockets and clocks, for whoever brings time and bytes itself, such as
//! a simulation:
//!
//! ```
//! use std::time::Duration;
//! use milena_broker::{Cluster, ClusterConfig, Event, Memory, Moment, Node, NodeId};
//!
//! let node = Node { id: NodeId(1), host: "broker".to_owned(), port: 9092 };
//! let now = Moment { elapsed: Duration::ZERO, wall: Duration::from_secs(1_700_000_000) };
//! let mut cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(Memory), now)?;
//! cluster.create_topic("orders", 3)?;
//! let connection = cluster.connect(NodeId(1)).expect("there is a node 1");
//! // A request is a frame without its length; ApiVersions version 0 here.
//! cluster.handle_frame(now, connection, bytes::Bytes::from_static(&[0, 18, 0, 0, 0, 0, 0, 7, 255, 255]));
//! while let Some(event) = cluster.poll_event(now) {
//!     match event {
//!         Event::Response { connection: _, frame } => assert_eq!(frame[4..8], [0, 0, 0, 7]), // whole, with its length
//!         Event::Close { reason, .. } => panic!("{reason}"),
//!     }
//! }
//! // A fetch that waits for data sets a timeout: call `handle_timeout` then, and take events again.
//! assert_eq!(cluster.poll_timeout(), None);
//! // The truth, for checkers.
//! let log = cluster.log("orders", milena_broker::PartitionIndex(0)).expect("it was made");
//! assert_eq!(log.next_offset(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! After every call that takes `now`, take events until there are none; then call [`Cluster::handle_timeout`] at
//! [`Cluster::poll_timeout`]. Topics that are compacted need [`Cluster::poll_chore`], or [`Cluster::do_chores`], too. A connection is served one request at a time: frames that arrive while it is muted wait inside, in order.
//!
//! # What is kept
//!
//! [`Memory`] ends with the process; [`Directory`] keeps segments with offset and time indexes as Kafka has them on disk. Segments roll by
//! size and time, go by age and size, and are compacted, as the topic's settings say. What survives a machine that loses power says [`FlushPolicy`]; what was
//! acknowledged survives the process always. After [`Cluster::close_logs`] the next opening reads next to nothing, after a crash only what lies
//! behind the last finished segment.
//!
//! # Several nodes
//!
//! [`ClusterConfig::with_nodes`] makes a cluster of N. Partitions have replicas on them, leaders with epochs, an ISR and a high
//! watermark; followers copy at once unless they are told otherwise, elections are clean unless one is asked for that is not or the topic allows it. What happens to nodes is said by whoever owns
//! the cluster, and everything that follows from it happens by itself, at a time that `now` decides:
//!
//! | what | effect |
//! |---|---|
//! | [`freeze`](Cluster::freeze), [`thaw`](Cluster::thaw) | SIGSTOP, SIGCONT: nothing is read, answered or copied; fenced after a while; wakes with old beliefs |
//! | [`stop`](Cluster::stop), [`start`](Cluster::start) | SIGTERM, SIGKILL, a new process: connections close, logs stay, last batches are known |
//! | [`lag`](Cluster::lag) | a follower copies late or never: acks=all waits, the ISR shrinks, `min.insync.replicas` counts |
//! | [`move_leader`](Cluster::move_leader) | another replica in sync leads, under the next epoch |
//! | [`move_replicas`](Cluster::move_replicas) | other nodes keep the partition |
//! | [`elect_unclean`](Cluster::elect_unclean) | a replica out of sync leads: what it lacks is lost |
//! | [`add_fault`](Cluster::add_fault) | requests that fit are refused, delayed, throttled, cut off, or their answers lost; see [`Fault`] |
//! | [`age_metadata`](Cluster::age_metadata) | a node answers Metadata as of some time ago |
//! | [`plant`](Cluster::plant) | the next Produce attempts on a partition fail before or after the append |
//!
//! [`Cluster::leader`], [`leader_epoch`](Cluster::leader_epoch), [`isr`](Cluster::isr), [`high_watermark`](Cluster::high_watermark),
//! [`log`](Cluster::log) and [`log_on`](Cluster::log_on) tell the truth. The controller always works: it has no node of its own.
//!
//! Served: ApiVersions, Metadata, InitProducerId, Produce, Fetch with sessions and from followers, ListOffsets, OffsetForLeaderEpoch,
//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords, DescribeTopicPartitions, DescribeConfigs, IncrementalAlterConfigs,
//! AlterConfigs, ListConfigResources, ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments, DescribeLogDirs,
//! DescribeClientQuotas, AlterClientQuotas, DescribeCluster, DescribeProducers, FindCoordinator, which finds none. Left out: groups, transactions, TLS and SASL.

mod api;
mod batch_check;
mod catalogue;
mod catalogue_keeping;
mod chores;
mod cluster;
mod cluster_config;
mod connection;
mod controller;
mod faults;
mod fetch_sessions;
mod ids;
mod leadership;
mod log;
mod log_keeping;
mod moment;
mod new_topic;
mod nodes;
mod notice;
mod parking;
mod partition;
mod producer_ids;
mod producer_state;
mod quota_rates;
mod quotas;
mod random;
mod recompression;
mod release;
mod replica;
mod replication;
mod server;
mod snapshot;
mod steer_error;
mod steering;
mod storage;
mod timers;
mod topic_config;
mod topics;

pub use api::{CreateTopicError, PARTITIONS_MAX};
pub use catalogue::{Catalogue, CatalogueChange, PartitionEntry, TopicEntry};
pub use chores::{Chore, FinishedChore};
pub use cluster::Cluster;
pub use cluster_config::{ClusterConfig, OpenError};
pub use connection::{CloseReason, Event};
pub use faults::{Effect, Fault, FaultEntry, FaultId};
pub use ids::{ConnectionId, Epoch, NodeId, PartitionIndex, ProducerId, Sequence};
pub use log::{BatchEntry, FlushPolicy, LookupError, PartitionLog, TimestampedOffset, TornTail};
pub use moment::Moment;
pub use new_topic::NewTopic;
pub use nodes::{Node, Process, Stop};
pub use notice::{Coordinated, Notice};
pub use partition::{Partition, ProduceFault};
pub use producer_state::{CACHED_BATCHES, CachedBatch, ProducerEntry, Producers, Refusal, Stamp, Verdict, validate};
pub use quotas::Quotas;
pub use release::{KafkaRelease, UnknownRelease};
pub use server::{Broker, BrokerOptions, Faults, StartError};
pub use snapshot::{ConnectionEntry, LogSnapshot, LoggedRecord, RecordStamp, SnapshotError, Window, Work};
pub use steer_error::{CannotLead, SteerError};
pub use storage::{
    BoundedMemory, Directory, DirectoryError, Disk, DiskEntry, DiskFile, FileEntry, LogFolder, Memory, OpenHow,
    PendingSync, Place, Segment, Storage, StorageError, SystemDisk,
};
pub use topic_config::{CleanupPolicy, ConfigError, ConfigValue, Ratio, TimestampType, TopicConfig};
pub use topics::{NAME_LENGTH_MAX, Topic, TopicNameError};

pub use milena_wire::{ApiKey, ErrorCode, Uuid};
