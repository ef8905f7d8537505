//! What the cluster knows beside the logs, as it is kept on disk: its id, its topics, and how many producer ids are taken.
//!
//! Kept as changes, one after the other, the first of which says everything (`catalogue/journal.rs`); so a change costs what it changes, however many
//! topics there are. Producer ids are reserved in blocks before the first of a block is handed out, so no id is given twice, whatever
//! happens in between. The text is made to be read by people (`catalogue/text.rs`).

mod journal;
mod text;

use std::collections::BTreeMap;

use milena_wire::Uuid;

use crate::ids::{NodeId, PartitionIndex};
use crate::quotas::Quotas;
use crate::topic_config::TopicConfig;

pub(crate) use journal::{Journal, block};

/// Everything that outlives a restart and is not in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// How many nodes the cluster has.
    pub nodes: usize,
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Every producer id below this may have been handed out.
    pub producer_ids_reserved: i64,
    /// How much clients may do.
    pub quotas: Quotas,
    /// Topics by name.
    pub topics: BTreeMap<String, TopicEntry>,
}

/// One topic's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEntry {
    /// Made at creation; a topic of the same name that comes later has another one.
    pub id: Uuid,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionEntry>,
    /// Its settings, where they differ from the defaults.
    pub config: TopicConfig,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionEntry {
    /// Its leader epoch; one higher after every restart.
    pub leader_epoch: i32,
    /// The nodes that keep it, the preferred leader first. Empty in a cluster of one node.
    pub replicas: Vec<NodeId>,
    /// Those of them that had all that is committed. Empty in a cluster of one node.
    pub isr: Vec<NodeId>,
    /// Those out of sync that may be elected once nobody is in sync (KIP-966).
    pub eligible: Vec<NodeId>,
    /// Who led when nobody was in sync any more.
    pub last_known: Option<NodeId>,
    /// Those that are to stay once they are in sync: a reassignment is not over.
    pub adding: Vec<NodeId>,
    /// Those that are to leave then.
    pub removing: Vec<NodeId>,
}

impl TopicEntry {
    /// Whether a node keeps a partition; any node where there is one only.
    pub(crate) fn has_replica(&self, partition: PartitionIndex, node: NodeId) -> bool {
        let entry = usize::try_from(partition.0).ok().and_then(|index| self.partitions.get(index));
        entry.is_some_and(|entry| entry.replicas.is_empty() || entry.replicas.contains(&node))
    }
}

/// Something that becomes different from what a catalogue says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogueChange {
    /// Every producer id below this may have been handed out.
    ProducerIds(i64),
    /// All quotas that there are now.
    Quotas(Quotas),
    /// A topic that is new, or is as a whole what it is now.
    Topic {
        /// Its name.
        name: String,
        /// The rest.
        entry: TopicEntry,
    },
    /// A topic that is not there any more.
    TopicGone {
        /// Its name.
        name: String,
    },
    /// One partition of a topic, in a cluster of several nodes.
    Partition {
        /// The topic's name.
        name: String,
        /// Which one.
        index: PartitionIndex,
        /// What it is now.
        entry: PartitionEntry,
    },
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}
