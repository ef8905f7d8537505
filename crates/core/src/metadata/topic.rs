//! One topic as the cluster tells it, answer by answer.
//!
//! Always holds: within one topic id a partition's leader epoch never goes back and no partition goes away; an id that was
//! replaced comes back only if the present one is in doubt and nobody names it any more. So an answer from a broker that lags
//! behind changes nothing, and one that was believed by mistake is no trap.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use milena_wire::messages::metadata::response::{MetadataResponsePartition, MetadataResponseTopic};
use milena_wire::{ErrorCode, Uuid};

use super::Address;
use crate::ids::{LeaderEpoch, NodeId, PartitionIndex};
use crate::time::Moment;

/// A topic as last told.
#[derive(Clone, Debug, Default)]
pub struct TopicMetadata {
    id: Uuid,
    /// Ids that it had before, oldest first.
    retired: VecDeque<Uuid>,
    /// Since when answers have named a retired id only, while the present one was in doubt.
    contradicted_since: Option<Moment>,
    partitions: Vec<PartitionMetadata>,
    missing: Option<ErrorCode>,
}

/// A partition as last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Absent while there is none.
    pub leader: Option<NodeId>,
    /// Of that leader; −1 before Kafka 2.1.
    pub epoch: LeaderEpoch,
}

/// What an answer changed about a topic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TopicChange {
    /// It was deleted and created again; nothing about the old one holds for the new one.
    pub is_recreated: bool,
    /// It was missing and is there.
    pub is_found: bool,
    /// It has more partitions than before.
    pub has_grown: bool,
    /// Partitions whose leader or epoch changed, or was told for the first time.
    pub moved: Vec<PartitionIndex>,
    /// Why it is missing, if it is; told with every answer that says so.
    pub missing: Option<ErrorCode>,
}

impl TopicChange {
    /// Whether whoever doubted what was known has learned something.
    pub(super) fn is_helpful(&self) -> bool {
        self.is_recreated || self.is_found || self.has_grown || !self.moved.is_empty()
    }
}

/// More partitions in one topic are not believed: each holds a kilobyte here, and a broker gone mad must not have it all.
pub const PARTITIONS_PER_TOPIC_MAX: usize = 100_000;

/// A topic that is deleted and created again more often within the time that a broker may lag is told apart no more.
const RETIRED_IDS_MAX: usize = 16;

impl TopicMetadata {
    /// Zero before Kafka 2.8.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// By partition number; numbers are dense. Empty until it was told once.
    pub fn partitions(&self) -> &[PartitionMetadata] {
        &self.partitions
    }

    /// The leader of a partition, if there is one.
    pub fn leader(&self, partition: PartitionIndex) -> Option<(NodeId, LeaderEpoch)> {
        let partition = self.partitions.get(usize::try_from(partition.0).ok()?)?;
        Some((partition.leader?, partition.epoch))
    }

    /// What the cluster last said instead of partitions, if that was the last it said. What it told before stays known: a
    /// broker that lags behind a creation says that the topic does not exist.
    pub fn missing(&self) -> Option<ErrorCode> {
        self.missing
    }

    /// Nothing that was told compares with what the next cluster tells, but its ids are others in any case.
    pub(super) fn forget_leaders(&mut self) {
        self.partitions.fill(UNTOLD);
        self.retired.clear();
    }

    /// Whether there is nothing to ask again for.
    pub(super) fn is_complete(&self, brokers: &BTreeMap<NodeId, Address>) -> bool {
        let is_led =
            |partition: &PartitionMetadata| partition.leader.is_some_and(|leader| brokers.contains_key(&leader));
        self.missing.is_none() && !self.partitions.is_empty() && self.partitions.iter().all(is_led)
    }

    /// Takes an answer over. `patience` is for the brokers that lag behind, while the topic is in doubt.
    pub(super) fn take(
        &mut self,
        now: Moment,
        told: &MetadataResponseTopic,
        patience: Option<Duration>,
    ) -> TopicChange {
        let code = ErrorCode(told.error_code);
        if !code.is_none() {
            return self.take_error(code);
        }
        if told.partitions.len() > PARTITIONS_PER_TOPIC_MAX {
            return self.take_error(ErrorCode::INVALID_PARTITIONS);
        }
        if self.is_of_the_past(now, told.topic_id, patience) {
            return TopicChange::default();
        }
        let mut change = TopicChange { is_found: self.missing.take().is_some(), ..TopicChange::default() };
        // A broker that speaks an older version than another tells no id; that is no other topic.
        if told.topic_id != Uuid::ZERO && told.topic_id != self.id {
            change.is_recreated = self.id != Uuid::ZERO;
            self.replace_id(told.topic_id);
        }
        if told.partitions.len() > self.partitions.len() {
            change.has_grown = true;
            self.partitions.resize(told.partitions.len(), UNTOLD);
        }
        for partition in &told.partitions {
            let place = usize::try_from(partition.partition_index).ok();
            let Some(held) = place.and_then(|place| self.partitions.get_mut(place)) else { continue };
            if held.take(partition) {
                change.moved.push(PartitionIndex(partition.partition_index));
            }
        }
        change
    }

    /// A client that has skipped an id, because its topic was deleted and created twice in a row, takes the skipped one for
    /// the newest when a broker that lags behind names it. What the others name is then among the replaced.
    fn is_of_the_past(&mut self, now: Moment, id: Uuid, patience: Option<Duration>) -> bool {
        if id == Uuid::ZERO || !self.retired.contains(&id) {
            self.contradicted_since = None;
            return false;
        }
        let Some(patience) = patience else {
            self.contradicted_since = None;
            return true;
        };
        let is_past = now.since(*self.contradicted_since.get_or_insert(now)) < patience;
        if !is_past {
            self.contradicted_since = None;
            self.retired.retain(|retired| *retired != id);
        }
        is_past
    }

    fn take_error(&mut self, code: ErrorCode) -> TopicChange {
        // While leaders are elected the topic is there, and what was told of it stays true.
        if code == ErrorCode::LEADER_NOT_AVAILABLE && !self.partitions.is_empty() {
            return TopicChange::default();
        }
        self.missing = Some(code);
        TopicChange { missing: Some(code), ..TopicChange::default() }
    }

    fn replace_id(&mut self, id: Uuid) {
        let old = std::mem::replace(&mut self.id, id);
        if old == Uuid::ZERO {
            return;
        }
        if self.retired.len() == RETIRED_IDS_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back(old);
        // It may have fewer partitions than before.
        self.partitions.clear();
    }

    /// As [`super::Metadata::take_hint`].
    pub(super) fn take_hint(&mut self, partition: PartitionIndex, leader: NodeId, epoch: LeaderEpoch) -> bool {
        let place = usize::try_from(partition.0).ok().and_then(|place| self.partitions.get_mut(place));
        let Some(held) = place.filter(|held| held.epoch < epoch) else { return false };
        *held = PartitionMetadata { leader: Some(leader), epoch };
        true
    }
}

impl PartitionMetadata {
    /// Whether anything changed.
    fn take(&mut self, told: &MetadataResponsePartition) -> bool {
        let epoch = LeaderEpoch(told.leader_epoch);
        if epoch < self.epoch && epoch != UNTOLD.epoch {
            return false;
        }
        let leader = (told.leader_id >= 0).then_some(NodeId(told.leader_id));
        // Without an epoch (before Kafka 2.1) the newest answer counts, and the epoch that is known stays.
        let next = Self { leader, epoch: self.epoch.max(epoch) };
        std::mem::replace(self, next) != next
    }
}

const UNTOLD: PartitionMetadata = PartitionMetadata { leader: None, epoch: LeaderEpoch(-1) };
