//! AlterPartitionReassignments and ListPartitionReassignments: replicas move to other nodes (KIP-455).
//!
//! New replicas copy everything at once, so a move is over when it is answered, unless a node of it is frozen, stopped or made to lag, or
//! nobody leads: then it goes on by itself as soon as it can, is listed meanwhile, and can be cancelled.

use std::collections::BTreeMap;

use milena_wire::messages::alter_partition_reassignments::request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use milena_wire::messages::alter_partition_reassignments::response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_wire::messages::list_partition_reassignments::request::ListPartitionReassignmentsRequest;
use milena_wire::messages::list_partition_reassignments::response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use milena_wire::{ErrorCode, Uuid};

use super::create_partitions::check_replicas;
use super::fault::{Fault, code_and_text};
use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::leadership::Leadership;
use crate::moment::Moment;
use crate::partition::Partition;
use crate::replica::{Recovery, Replica};
use crate::storage::{Place, StorageError};
use crate::topics::Topic;

impl Cluster {
    pub(super) fn alter_reassignments(
        &mut self,
        now: Moment,
        request: &AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let may_change_factor = request.allow_replication_factor_change;
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let outcome = self.reassign_asked(now, &topic.name, asked, may_change_factor);
                // Kafka has no words for this one.
                let is_silent = matches!(&outcome, Err(it) if it.code == ErrorCode::NO_REASSIGNMENT_IN_PROGRESS);
                let (error_code, error_message) = code_and_text(outcome);
                partitions.push(ReassignablePartitionResponse {
                    partition_index: asked.partition_index,
                    error_code,
                    error_message: error_message.filter(|_| !is_silent),
                    ..Default::default()
                });
            }
            responses.push(ReassignableTopicResponse { name: topic.name.clone(), partitions, ..Default::default() });
        }
        AlterPartitionReassignmentsResponse {
            // As Kafka answers a request that asks for nothing.
            allow_replication_factor_change: may_change_factor || request.topics.is_empty(),
            error_message: request.topics.is_empty().then(|| "".into()),
            responses,
            ..Default::default()
        }
    }

    fn reassign_asked(
        &mut self,
        now: Moment,
        topic: &str,
        asked: &ReassignablePartition,
        may_change_factor: bool,
    ) -> Result<(), Fault> {
        let missing = |message: String| Fault::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message);
        let index = PartitionIndex(asked.partition_index);
        let found =
            self.topics.named(topic).ok_or_else(|| missing(format!("Unable to find a topic named {topic}.")))?;
        let partition = found.partition(index);
        let partition = partition.ok_or_else(|| missing(format!("Unable to find partition {topic}:{index}.")))?;
        let Some(target) = &asked.replicas else {
            return self.cancel_reassignment(now, topic, index);
        };
        let target = check_replicas(&self.nodes, target)?;
        let before = partition.replicas().filter(|node| !partition.moving.adding.contains(node)).count();
        if !may_change_factor && before != target.len() {
            let message = format!("The replication factor is changed from {before} to {}", target.len());
            return Err(Fault::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
        self.reassign(now, topic, index, &target)?;
        Ok(())
    }

    /// New replicas join those that are there; the others leave once the new ones are in sync.
    pub(crate) fn reassign(
        &mut self,
        now: Moment,
        topic: &str,
        index: PartitionIndex,
        target: &[NodeId],
    ) -> Result<(), StorageError> {
        let recovery = Recovery { now, producer_expiry: self.config.producer_expiry };
        let Self { topics, storage, .. } = self;
        let Some(found) = topics.named_mut(topic) else { return Ok(()) };
        let id = found.id;
        let Some(partition) = found.partition_mut(index) else { return Ok(()) };
        let missing: Vec<NodeId> = target.iter().copied().filter(|node| partition.replica(*node).is_none()).collect();
        let mut made = Vec::with_capacity(missing.len());
        for node in missing {
            let place = Place { node, topic, partition: index };
            let opened = storage
                .create_log(place)
                .and_then(|folder| Replica::open(node, folder, partition.leadership.clone(), recovery));
            match opened {
                Ok((replica, _)) => made.push(replica),
                Err(error) => {
                    for replica in &made {
                        let _left_for_the_next_start =
                            storage.remove_log(Place { node: replica.node, topic, partition: index });
                    }
                    return Err(error);
                }
            }
        }
        partition.begin_move(target, made);
        self.leadership_changed.insert((id, index));
        self.replicate(now, id, index);
        Ok(())
    }

    /// What was to come leaves again; what was to leave stays.
    fn cancel_reassignment(&mut self, now: Moment, topic: &str, index: PartitionIndex) -> Result<(), Fault> {
        let Self { topics, nodes, .. } = self;
        let Some(found) = topics.named_mut(topic) else { return Ok(()) };
        let id = found.id;
        let Some(partition) = found.partition_mut(index) else { return Ok(()) };
        if !partition.moving.is_under_way() {
            return Err(Fault::new(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, "no reassignment is in progress"));
        }
        let kept = |node: &NodeId| !partition.moving.adding.contains(node);
        let Some(next) = partition.leadership_of(kept, |node| nodes.is_eligible(node)) else {
            let message = "without the new replicas nobody would be in sync";
            return Err(Fault::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        };
        partition.moving.removing = std::mem::take(&mut partition.moving.adding);
        let gone = partition.end_move(now.elapsed, next, nodes);
        self.forget_replicas((id, topic), index, &gone);
        self.replicate(now, id, index);
        Ok(())
    }

    /// A move whose new replicas are all in sync is over.
    pub(crate) fn finish_move(&mut self, now: Moment, topic: Uuid, index: PartitionIndex) -> bool {
        let Self { topics, nodes, .. } = self;
        let Some(found) = topics.with_id_mut(topic) else { return false };
        let name = found.name.clone();
        let Some(partition) = found.partition_mut(index) else { return false };
        let is_copied = partition.moving.adding.iter().all(|node| partition.isr().contains(node));
        if !partition.moving.is_under_way() || !is_copied || partition.leader().is_none() {
            return false;
        }
        let kept = |node: &NodeId| !partition.moving.removing.contains(node);
        let next = partition.leadership_of(kept, |node| nodes.is_eligible(node)).filter(|next| next.leader.is_some());
        let Some(next) = next else { return false };
        let gone = partition.end_move(now.elapsed, next, nodes);
        self.forget_replicas((topic, &name), index, &gone);
        true
    }

    /// What cannot be removed now is removed at the next start: the catalogue does not name it.
    fn forget_replicas(&mut self, (id, topic): (Uuid, &str), index: PartitionIndex, gone: &[NodeId]) {
        self.leadership_changed.insert((id, index));
        for node in gone.iter().copied() {
            let _left_for_the_next_start = self.storage.remove_log(Place { node, topic, partition: index });
        }
    }

    pub(super) fn list_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let topics = match &request.topics {
            None => self.topics.iter().filter_map(|topic| ongoing(topic, |_| true)).collect(),
            Some(asked) => {
                let mut wanted: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
                for topic in asked {
                    wanted.entry(&topic.name).or_default().extend(&topic.partition_indexes);
                }
                let found = wanted.iter().filter_map(|(name, indexes)| {
                    let topic = self.topics.named(name)?;
                    ongoing(topic, |index| indexes.contains(&index))
                });
                found.collect()
            }
        };
        ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() }
    }
}

impl Partition {
    /// From now on these are wanted, and those that were just made are on their way.
    fn begin_move(&mut self, target: &[NodeId], made: Vec<Replica>) {
        let led = self.replicas[self.leading].node;
        self.moving.adding.retain(|node| target.contains(node));
        self.moving.adding.extend(made.iter().map(|replica| replica.node));
        self.replicas.extend(made);
        self.moving.removing = self.replicas().filter(|node| !target.contains(node)).collect();
        // The wanted ones first, in their order; the others as they stood.
        self.replicas
            .sort_by_key(|replica| target.iter().position(|node| *node == replica.node).unwrap_or(target.len()));
        let order: Vec<NodeId> = self.replicas().collect();
        self.leadership.isr.sort_by_key(|node| order.iter().position(|replica| replica == node));
        self.leading = self.replicas.iter().position(|replica| replica.node == led).unwrap_or(0);
    }

    /// The leadership among some of the replicas; none if nobody of them is in sync. The epoch rises, so that nobody follows those that leave.
    fn leadership_of(
        &self,
        is_kept: impl Fn(&NodeId) -> bool,
        may_lead: impl Fn(NodeId) -> bool,
    ) -> Option<Leadership> {
        let isr: Vec<NodeId> = self.isr().iter().copied().filter(&is_kept).collect();
        let stays = self.leader().filter(&is_kept);
        let leader = stays.or_else(|| self.replicas().find(|node| isr.contains(node) && may_lead(*node)));
        let loses_any = !self.replicas().all(|node| is_kept(&node));
        let epoch = self.leadership.epoch + i32::from(loses_any || leader != self.leader());
        (!isr.is_empty()).then(|| Leadership { leader, epoch, isr, ..self.leadership.clone() })
    }

    /// Those that leave are gone; says which they were.
    fn end_move(&mut self, now: std::time::Duration, next: Leadership, nodes: &crate::nodes::Nodes) -> Vec<NodeId> {
        let gone = std::mem::take(&mut self.moving.removing);
        self.moving.adding.clear();
        let led = self.replicas[self.leading].node;
        self.replicas.retain(|replica| !gone.contains(&replica.node));
        self.leading = self.replicas.iter().position(|replica| replica.node == led).unwrap_or(0);
        self.decide(now, next, nodes);
        gone
    }
}

fn ongoing(topic: &Topic, is_wanted: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    let under_way = (0..).zip(topic.partitions()).filter(|(index, it)| it.moving.is_under_way() && is_wanted(*index));
    let partitions: Vec<_> = under_way
        .map(|(index, partition)| OngoingPartitionReassignment {
            partition_index: index,
            replicas: partition.replicas().map(|node| node.0).collect(),
            adding_replicas: numbers(&partition.moving.adding),
            removing_replicas: numbers(&partition.moving.removing),
            ..Default::default()
        })
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.as_str().into(),
        partitions,
        ..Default::default()
    })
}
