//! DescribeTopicPartitions: topics page by page, with the replicas that may be elected beside those in sync (KIP-966).

use std::collections::BTreeSet;
use std::time::Duration;

use milena_wire::messages::describe_topic_partitions::request::{
    Cursor as AskedCursor, DescribeTopicPartitionsRequest,
};
use milena_wire::messages::describe_topic_partitions::response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use milena_wire::{ErrorCode, Uuid};

use super::metadata::TOPIC_OPERATIONS;
use crate::cluster::Cluster;
use crate::ids::NodeId;
use crate::partition::Partition;
use crate::topics::check_name;

impl Cluster {
    /// Topics come in the order of their names. The page ends where a further partition would be too many, and says where that is.
    pub(super) fn describe_topic_partitions(
        &self,
        view: Duration,
        request: &DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        if let Some(code) = refusal(request) {
            let refuse = |name: &str| unknown(code, name, i32::MIN);
            let topics = request.topics.iter().map(|topic| refuse(&topic.name)).collect();
            return DescribeTopicPartitionsResponse { topics, ..Default::default() };
        }
        let cursor = request.cursor.as_ref();
        let after_cursor = |name: &&str| cursor.is_none_or(|cursor| *name >= &*cursor.topic_name);
        let mut names: BTreeSet<&str> = match request.topics.is_empty() {
            true => self.topics.iter().map(|topic| topic.name.as_str()).collect(),
            false => request.topics.iter().map(|topic| &*topic.name).collect(),
        };
        names.retain(|name| after_cursor(name));
        let mut page = Page {
            view,
            left: usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PAGE_PARTITIONS_MAX),
            response: DescribeTopicPartitionsResponse::default(),
        };
        for name in names {
            let begins = cursor.filter(|cursor| *cursor.topic_name == *name);
            if !self.describe_into(&mut page, name, begins) {
                break;
            }
        }
        page.response
    }

    /// Says whether the page has room for more.
    fn describe_into(&self, page: &mut Page, name: &str, cursor: Option<&AskedCursor>) -> bool {
        let first = cursor.map_or(0, |cursor| usize::try_from(cursor.partition_index).unwrap_or(0));
        if page.left == 0 {
            page.response.next_cursor = Some(next(name, first));
            return false;
        }
        let Some(topic) = self.topics.named(name) else {
            let code = match check_name(name) {
                Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            page.response.topics.push(unknown(code, name, TOPIC_OPERATIONS));
            return true;
        };
        let rest = topic.partitions().len().saturating_sub(first);
        let taken = rest.min(page.left);
        page.left -= taken;
        let partitions = topic.partitions().iter().enumerate().skip(first).take(taken);
        page.response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.into()),
            topic_id: topic.id,
            partitions: partitions
                .map(|(index, partition)| self.describe_partition(page.view, index, partition))
                .collect(),
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        });
        if taken < rest {
            page.response.next_cursor = Some(next(name, first + taken));
        }
        taken == rest
    }

    fn describe_partition(
        &self,
        view: Duration,
        index: usize,
        partition: &Partition,
    ) -> DescribeTopicPartitionsResponsePartition {
        let leadership = partition.leadership_seen(view);
        let is_offline = |node: &NodeId| !self.nodes.state(*node).was_listed(view);
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
        DescribeTopicPartitionsResponsePartition {
            partition_index: i32::try_from(index).unwrap_or(i32::MAX),
            leader_id: leadership.leader.map_or(-1, |leader| leader.0),
            leader_epoch: leadership.epoch,
            replica_nodes: partition.replicas().map(|node| node.0).collect(),
            isr_nodes: numbers(&leadership.isr),
            eligible_leader_replicas: Some(numbers(&leadership.eligible)),
            last_known_elr: Some(numbers(leadership.last_known.as_slice())),
            offline_replicas: partition.replicas().filter(is_offline).map(|node| node.0).collect(),
            ..Default::default()
        }
    }
}

/// What has been told so far, and how many partitions may follow.
struct Page {
    view: Duration,
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

/// A cursor must name a topic of the request, where that names any, and a partition that there could be; an empty name is more than Kafka has a
/// code for on the first page.
fn refusal(request: &DescribeTopicPartitionsRequest) -> Option<ErrorCode> {
    let is_asked = |name: &str| request.topics.is_empty() || request.topics.iter().any(|topic| &*topic.name == name);
    let fits = |cursor: &AskedCursor| cursor.partition_index >= 0 && is_asked(&cursor.topic_name);
    if !request.cursor.as_ref().is_none_or(fits) {
        return Some(ErrorCode::INVALID_REQUEST);
    }
    let has_nameless = request.topics.iter().any(|topic| topic.name.is_empty());
    (has_nameless && request.cursor.is_none()).then_some(ErrorCode::UNKNOWN_SERVER_ERROR)
}

fn next(name: &str, partition: usize) -> Cursor {
    let partition_index = i32::try_from(partition).unwrap_or(i32::MAX);
    Cursor { topic_name: name.into(), partition_index, ..Default::default() }
}

fn unknown(code: ErrorCode, name: &str, operations: i32) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.0,
        name: Some(name.into()),
        topic_id: Uuid::ZERO,
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

/// `max.request.partition.size.limit` of a broker.
const PAGE_PARTITIONS_MAX: usize = 2_000;
