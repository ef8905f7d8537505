//! What answers and lanes say of brokers and topics, and who must hear of it.
//!
//! Always holds: the work is proportional to what changed; partitions that a change concerns are queued, not looked at.

use std::sync::Arc;

use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::{ErrorCode, Uuid};

use super::{Control, ControlEvent, ControlPartition, NewPartition, Place};
use crate::connection::ConnectionError;
use crate::ids::{LaneId, LeaderEpoch, PartitionId, PartitionIndex, TopicIndex};
use crate::metadata::{Changes, TopicChange, Useless};
use crate::producer::back::{BackConfig, PartitionBack, TopicRef};
use crate::producer::lane::{LaneOrder, LeaderHint};
use crate::producer::trouble::Trouble;
use crate::time::Moment;

/// Partitions that are added at once; a thousand of them and their slots take a millisecond.
const PARTITIONS_ADDED_MAX: usize = 256;

impl Control {
    /// A partition's leader may be another one.
    pub(super) fn doubt_partition(&mut self, now: Moment, partition: PartitionId) {
        let topic = self.partition(partition).topic;
        self.metadata.doubt(now, topic);
    }

    /// Everything that is led over this lane may be led elsewhere.
    pub(super) fn doubt_lane(&mut self, now: Moment, id: LaneId) {
        self.metadata.doubt_brokers();
        // A lane says so once for each of its requests; one walk through the partitions is enough.
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.is_doubted) else { return };
        lane.is_doubted = true;
        let mut last = None;
        for partition in &self.partitions {
            let is_led = matches!(partition.place, Place::Lane { lane, .. } if lane == id);
            if is_led && last.replace(partition.topic) != Some(partition.topic) {
                self.metadata.doubt(now, partition.topic);
            }
        }
    }

    /// A broker that does not lead the partition says who does (KIP-951).
    pub(super) fn take_hint(&mut self, now: Moment, id: PartitionId, hint: LeaderHint) {
        let (topic, index) = (self.partition(id).topic, self.partition(id).index);
        let known = self.metadata.topic(topic).id();
        if known != hint.topic_id && known != Uuid::ZERO && hint.topic_id != Uuid::ZERO {
            return;
        }
        let has_address = hint.address.is_some();
        if !self.metadata.take_hint(topic, index, hint.leader, hint.epoch, hint.address) {
            return;
        }
        if has_address {
            self.review_lanes();
        } else if !self.metadata.brokers().contains_key(&hint.leader) {
            self.metadata.doubt(now, topic);
        }
        self.note_topic(topic);
        self.look_at(id);
    }

    /// On an error this broker is left for another one.
    pub(super) fn take_metadata(&mut self, now: Moment, response: &MetadataResponse) -> Result<(), ConnectionError> {
        if self.metadata.is_of_another_cluster(response) {
            self.meet_another_cluster(response)?;
        }
        let changes = match self.metadata.handle_response(now, response, &mut self.chance) {
            Ok(changes) => changes,
            Err(Useless::NoBrokers) => return Err(ConnectionError::KnowsNoBrokers),
            Err(Useless::Refused(code)) => {
                if code == ErrorCode::REBOOTSTRAP_REQUIRED {
                    self.rebootstrap();
                }
                return Err(ConnectionError::MetadataRefused(code.into()));
            }
        };
        self.end_round(now);
        self.events.push_back(ControlEvent::Reached);
        self.take_changes(changes);
        Ok(())
    }

    /// An address that was given to one broker may be another's now (KIP-1242), so one voice is not enough.
    fn meet_another_cluster(&mut self, response: &MetadataResponse) -> Result<(), ConnectionError> {
        if !self.is_believed_about_cluster() {
            let name = |id: Option<&str>| Arc::from(id.unwrap_or_default());
            return Err(ConnectionError::OtherCluster {
                expected: name(self.metadata.cluster_id().map(|id| &**id)),
                found: name(response.cluster_id.as_deref()),
            });
        }
        self.metadata.forget_cluster();
        self.identities.forget();
        for number in 0..self.partitions.len() {
            self.partitions[number].epoch = LeaderEpoch(-1);
            // One that is not in a lane has sent nothing.
            if let Place::Lane { lane, .. } = self.partitions[number].place {
                self.order(lane, LaneOrder::ClusterChanged(PartitionId(number as u32)));
            }
        }
        self.rebootstrap();
        Ok(())
    }

    fn take_changes(&mut self, changes: Changes) {
        if changes.brokers {
            self.review_lanes();
        }
        for (topic, change) in changes.topics {
            self.take_topic(topic, change);
        }
    }

    fn take_topic(&mut self, number: TopicIndex, change: TopicChange) {
        if let Some(code) = change.missing {
            self.events.push_back(ControlEvent::TopicMissing(number, code));
        }
        self.note_topic(number);
        let topic = &mut self.topics[number.0 as usize];
        topic.generation += u32::from(change.is_recreated);
        let is_news_to_all = std::mem::replace(&mut topic.missing, change.missing) != change.missing;
        if is_news_to_all || change.is_recreated {
            self.enqueue_topic(number);
        }
        for index in change.moved {
            // One that is still to be added is looked at then.
            if let Some(id) = self.topics[number.0 as usize].partitions.get(index.0 as usize) {
                self.enqueue(*id);
            }
        }
        if change.has_grown && !self.growing.contains(&number) {
            self.growing.push_back(number);
        }
    }

    /// Those that a topic that was created again has no more. Of a topic that is the same, none goes away.
    fn retire_surplus(&mut self, number: TopicIndex) {
        let count = self.metadata.topic(number).partitions().len();
        let topic = &mut self.topics[number.0 as usize];
        if topic.count <= count {
            return;
        }
        let gone = topic.partitions[count..topic.count].to_vec();
        topic.count = count;
        self.events.push_back(ControlEvent::TopicShrunk { topic: number, count });
        for id in gone {
            self.partition(id).is_gone = true;
            self.events.push_back(ControlEvent::PartitionGone(id));
            self.enqueue(id);
        }
    }

    /// Adds some of those that are missing. One that is gone is used again: however often a topic is created anew, it holds
    /// no more than it had at most.
    pub(super) fn add_partitions(&mut self, number: TopicIndex) {
        self.retire_surplus(number);
        let told = self.metadata.topic(number).partitions().len();
        let known = self.topics[number.0 as usize].count;
        let end = told.min(known + PARTITIONS_ADDED_MAX);
        let mut appeared = Vec::with_capacity(end.saturating_sub(known));
        for index in known..end {
            let id = match self.topics[number.0 as usize].partitions.get(index) {
                Some(id) => *id,
                None => self.add_partition(number, PartitionIndex(index as i32)),
            };
            let partition = self.partition(id);
            partition.is_gone = false;
            appeared.push(NewPartition { id, index: partition.index, trouble: Arc::clone(&partition.trouble) });
            self.enqueue(id);
        }
        let topic = &mut self.topics[number.0 as usize];
        topic.count = topic.count.max(end);
        let are_last = end >= told;
        let was_arriving = std::mem::replace(&mut topic.is_arriving, !are_last);
        if !are_last {
            self.growing.push_front(number);
        }
        // A topic that was created anew may have no more than before.
        if was_arriving || !appeared.is_empty() {
            self.events.push_back(ControlEvent::PartitionsAppeared { topic: number, partitions: appeared, are_last });
        }
    }

    fn add_partition(&mut self, number: TopicIndex, index: PartitionIndex) -> PartitionId {
        let id = PartitionId(self.partitions.len() as u32);
        let trouble = Trouble::new();
        let new = NewPartition { id, index, trouble: Arc::clone(&trouble) };
        let name = Arc::clone(self.metadata.name(number));
        let encodings = self.config.encodings_of.get(&name).copied().unwrap_or(self.config.back.encodings);
        let config = BackConfig { encodings, ..self.config.back };
        let topic_ref = TopicRef { name, id: self.metadata.topic(number).id() };
        let topic = &mut self.topics[number.0 as usize];
        topic.partitions.push(id);
        self.partitions.push(ControlPartition {
            topic: number,
            index,
            trouble,
            noted: None,
            place: Place::Here(Box::new(PartitionBack::new(&new, topic_ref, config))),
            epoch: LeaderEpoch(-1),
            generation: topic.generation,
            is_slow: false,
            is_queued: false,
            is_gone: false,
        });
        id
    }
}
