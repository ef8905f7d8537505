//! Why a cluster is not steered as its owner wants it: what stands in the way, and what can be done.

use std::fmt;
use std::io;

use crate::ids::{NodeId, PartitionIndex};
use crate::storage::StorageError;

/// Why nothing was done. Whoever steers over HTTP is told the same sentence.
///
/// ```
/// use milena_broker::{Broker, BrokerOptions, SteerError};
///
/// let broker = Broker::start(BrokerOptions::default().nodes(3))?;
/// broker.freeze(2)?;
/// let error = broker.freeze(2).expect_err("it is frozen");
/// assert!(matches!(error, SteerError::Frozen(_)));
/// assert_eq!(error.to_string(), "node 2 is frozen already; thaw it first");
/// let error = broker.move_leader("orders", 0, 2).expect_err("nobody has made it");
/// assert_eq!(error.to_string(), "there is no topic \"orders\"; make it first");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SteerError {
    /// There is no such node.
    NoSuchNode {
        /// Who was meant.
        node: NodeId,
        /// Who is there.
        nodes: Vec<NodeId>,
    },
    /// There is no such topic.
    NoSuchTopic(String),
    /// The topic has no such partition.
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// Which was meant.
        partition: PartitionIndex,
        /// How many there are.
        partitions: usize,
    },
    /// The node is frozen already.
    Frozen(NodeId),
    /// The node is stopped.
    Stopped(NodeId),
    /// The node is not frozen, so it cannot be thawed.
    NotFrozen(NodeId),
    /// The node has a process, so none can be started.
    NotStopped(NodeId),
    /// The node may not lead the partition.
    CannotLead {
        /// The node.
        node: NodeId,
        /// Why not.
        why: CannotLead,
        /// Who leads; none while nobody can.
        leader: Option<NodeId>,
        /// The replicas in sync.
        isr: Vec<NodeId>,
    },
    /// A partition was to have no replica.
    NoReplicas,
    /// A node was to have two replicas of a partition.
    ReplicaTwice(NodeId),
    /// A node that starts cannot listen on its port; it is still stopped.
    Listen {
        /// The node.
        node: NodeId,
        /// What the system said.
        source: io::Error,
    },
    /// What is to outlive a restart cannot be stored.
    Storage(StorageError),
}

/// Why a node may not lead a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CannotLead {
    /// It leads already.
    Leads,
    /// It has no replica of the partition.
    NoReplica,
    /// It is out of sync, and the election was to be clean.
    OutOfSync,
    /// It is in sync, and the election was to be unclean.
    InSync,
    /// The controller does not count on it.
    Fenced,
}

impl fmt::Display for SteerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SteerError::NoSuchNode { node, nodes } => {
                write!(f, "there is no node {node}; there are: {}", listed(nodes))
            }
            SteerError::NoSuchTopic(name) => write!(f, "there is no topic {name:?}; make it first"),
            SteerError::NoSuchPartition { topic, partition, partitions } => {
                write!(f, "topic {topic:?} has {partitions} partitions, numbered from 0; there is no {partition}")
            }
            SteerError::Frozen(node) => write!(f, "node {node} is frozen already; thaw it first"),
            SteerError::Stopped(node) => write!(f, "node {node} is stopped; start it first"),
            SteerError::NotFrozen(node) => write!(f, "node {node} is not frozen; there is nothing to thaw"),
            SteerError::NotStopped(node) => write!(f, "node {node} is not stopped; there is nothing to start"),
            SteerError::CannotLead { node, why, leader, isr } => {
                write!(f, "node {node} cannot be made leader: {why}; ")?;
                match leader {
                    Some(leader) => write!(f, "the leader is node {leader}, ")?,
                    None => f.write_str("nobody leads, ")?,
                }
                write!(f, "in sync: {}", if isr.is_empty() { "nobody".to_owned() } else { listed(isr) })
            }
            SteerError::NoReplicas => f.write_str("a partition needs a replica; name at least one node"),
            SteerError::ReplicaTwice(node) => write!(f, "node {node} is named twice; it can have one replica"),
            SteerError::Listen { node, source } => write!(f, "node {node} cannot listen: {source}"),
            SteerError::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for CannotLead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CannotLead::Leads => "it leads already",
            CannotLead::NoReplica => "it has no replica of the partition",
            CannotLead::OutOfSync => "it is out of sync, so only an unclean election could",
            CannotLead::InSync => "it is in sync, so a clean election does",
            CannotLead::Fenced => "it is fenced",
        })
    }
}

impl std::error::Error for SteerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SteerError::Listen { source, .. } => Some(source),
            SteerError::Storage(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StorageError> for SteerError {
    fn from(error: StorageError) -> Self {
        SteerError::Storage(error)
    }
}

fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
