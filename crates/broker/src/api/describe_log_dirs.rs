//! DescribeLogDirs: how large the logs of a node are. Each node has one folder, or none in memory.

use std::collections::{BTreeMap, BTreeSet};

use milena_wire::messages::describe_log_dirs::request::DescribeLogDirsRequest;
use milena_wire::messages::describe_log_dirs::response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::cluster::Cluster;
use crate::ids::NodeId;
use crate::topics::Topic;

impl Cluster {
    /// What is not there is left out of the answer, as Kafka does.
    pub(super) fn describe_log_dirs(&self, node: NodeId, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
        let topics = match &request.topics {
            None => self.topics.iter().filter_map(|topic| describe(node, topic, |_| true)).collect(),
            Some(asked) => {
                let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
                for topic in asked {
                    wanted.entry(&topic.topic).or_default().extend(&topic.partitions);
                }
                let found = wanted.iter().filter_map(|(name, indexes)| {
                    let topic = self.topics.named(name)?;
                    describe(node, topic, |index| indexes.contains(&index))
                });
                found.collect()
            }
        };
        let log_dir =
            self.storage.log_dir(node).map_or_else(|| IN_MEMORY.to_owned(), |path| path.display().to_string());
        let results = vec![DescribeLogDirsResult { log_dir: log_dir.into(), topics, ..Default::default() }];
        DescribeLogDirsResponse { results, ..Default::default() }
    }
}

/// The replicas that a node keeps; none if it keeps none of those wanted.
fn describe(node: NodeId, topic: &Topic, is_wanted: impl Fn(i32) -> bool) -> Option<DescribeLogDirsTopic> {
    let on_node = (0..).zip(topic.partitions()).filter_map(|(index, partition)| {
        let log = partition.log_on(node).filter(|_| is_wanted(index))?;
        Some(DescribeLogDirsPartition {
            partition_index: index,
            partition_size: i64::try_from(log.bytes()).unwrap_or(i64::MAX),
            ..Default::default()
        })
    });
    let partitions: Vec<_> = on_node.collect();
    (!partitions.is_empty()).then(|| DescribeLogDirsTopic {
        name: topic.name.as_str().into(),
        partitions,
        ..Default::default()
    })
}

const IN_MEMORY: &str = "memory";
