//! Where partitions belong, and how they get there.
//!
//! Always holds: a partition goes to a lane of its leader, the slow one if its answers are late (rule 27); it stays where it is
//! while nobody knows a better place, because a lane sees to its timers; what it missed on its way it is told before it
//! goes on.

use milena_wire::{ErrorCode, Uuid};

use super::{Control, ControlEvent, ControlLane, Place};
use crate::ids::{LaneId, LeaderEpoch, NodeId, PartitionId};
use crate::metadata::Address;
use crate::producer::back::PartitionBack;
use crate::producer::lane::{LaneOrder, Recall, StrayAnswer};
use crate::producer::outcome::{AttemptError, NotWritten, Undetermined};

/// What is known of a partition's leader.
enum Leader {
    Known(NodeId, LeaderEpoch),
    /// Its broker is not among those that the cluster names.
    Nowhere(NodeId),
    None,
    /// The topic is missing, for this reason.
    NoTopic(ErrorCode),
}

impl Control {
    /// Does for a partition whatever has changed for it.
    pub(super) fn look_at(&mut self, id: PartitionId) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        if self.partition(id).is_gone {
            return self.end_gone(id);
        }
        self.tell_of_new_topic(id);
        self.grant(id);
        self.place(id);
    }

    /// The partition is none of its topic any more. What a lane has of it ends when it comes back.
    fn end_gone(&mut self, id: PartitionId) {
        self.unplaced.remove(&id);
        match &mut self.partitions[id.0 as usize].place {
            Place::Lane { .. } => self.recall(id, Recall::AtOnce),
            Place::Here(back) => {
                let mut ended = Vec::new();
                // What was sent went to the old topic, with what the brokers held of it.
                back.end_all(NotWritten::PartitionGone, Undetermined::TopicRecreated, &mut ended);
                self.publish(id, ended);
            }
        }
    }

    fn tell_of_new_topic(&mut self, id: PartitionId) {
        let partition = &mut self.partitions[id.0 as usize];
        let generation = self.topics[partition.topic.0 as usize].generation;
        if std::mem::replace(&mut partition.generation, generation) == generation {
            return;
        }
        // Leader epochs compare only within one topic.
        partition.epoch = LeaderEpoch(-1);
        let topic_id = self.metadata.topic(partition.topic).id();
        match &mut partition.place {
            Place::Lane { lane, .. } => {
                let lane = *lane;
                self.order(lane, LaneOrder::TopicRecreated(id, topic_id));
            }
            Place::Here(back) => {
                let mut ended = Vec::new();
                back.handle_topic_recreated(topic_id, &mut ended);
                self.publish(id, ended);
            }
        }
    }

    fn leader_of(&self, id: PartitionId) -> Leader {
        let partition = &self.partitions[id.0 as usize];
        let topic = self.metadata.topic(partition.topic);
        match (topic.leader(partition.index), topic.missing()) {
            (Some((node, epoch)), _) if self.metadata.brokers().contains_key(&node) => Leader::Known(node, epoch),
            (_, Some(code)) => Leader::NoTopic(code),
            (Some((node, _)), None) => Leader::Nowhere(node),
            (None, None) => Leader::None,
        }
    }

    /// Brings a partition to its leader's lane: at once from here, after a recall from another lane.
    fn place(&mut self, id: PartitionId) {
        self.unplaced.remove(&id);
        match self.leader_of(id) {
            // What is wrong with a topic whose leaders are known, these say themselves.
            Leader::Known(node, epoch) => {
                self.forget_trouble(id);
                self.place_with(id, node, epoch);
            }
            Leader::Nowhere(node) => {
                self.note(id, Some(node), AttemptError::NotConnected);
                self.unplaced.insert(id);
            }
            Leader::None => self.note(id, None, AttemptError::NoLeader),
            Leader::NoTopic(code) => self.note(id, None, AttemptError::Kafka(code.into())),
        }
    }

    /// Records that wait are told what they wait for.
    fn note(&mut self, id: PartitionId, node: Option<NodeId>, error: AttemptError) {
        let partition = self.partition(id);
        partition.noted = Some(error);
        partition.trouble.note(node, error);
    }

    fn forget_trouble(&mut self, id: PartitionId) {
        let partition = self.partition(id);
        let noted = partition.noted.take();
        if noted.is_some() && noted == partition.trouble.last().1 {
            partition.trouble.clear();
        }
    }

    fn place_with(&mut self, id: PartitionId, node: NodeId, epoch: LeaderEpoch) {
        let partition = &mut self.partitions[id.0 as usize];
        let old = match &partition.place {
            Place::Here(_) => None,
            Place::Lane { lane, .. } => Some(*lane),
        };
        // Late answers are due to the old leader and its followers; the new one begins with a clean slate.
        partition.is_slow &= old.is_none_or(|old| old.node == node);
        let goal = LaneId { node, is_slow: partition.is_slow };
        let Some(old) = old else {
            partition.epoch = epoch;
            return self.hand_over(id, goal);
        };
        let is_newer = partition.epoch.0 >= 0 && epoch > partition.epoch;
        if is_newer {
            // What went to the leader of an older epoch may be lost, on the same node too (rule 7).
            return self.recall(id, Recall::AtOnce);
        }
        partition.epoch = partition.epoch.max(epoch);
        if old != goal {
            self.recall(id, Recall::WhenIdle);
        }
    }

    /// Once for each way; a stronger one after a weaker one.
    fn recall(&mut self, id: PartitionId, how: Recall) {
        let Place::Lane { lane, recall } = &mut self.partition(id).place else { return };
        if recall.is_none() || (*recall, how) == (Some(Recall::WhenIdle), Recall::AtOnce) {
            *recall = Some(how);
            let lane = *lane;
            self.order(lane, LaneOrder::Recall(id, how));
        }
    }

    fn hand_over(&mut self, id: PartitionId, lane: LaneId) {
        let place = Place::Lane { lane, recall: None };
        let Place::Here(back) = std::mem::replace(&mut self.partition(id).place, place) else {
            unreachable!("only what is here is handed over")
        };
        self.need_lane(lane);
        self.order(lane, LaneOrder::Adopt(back));
    }

    fn need_lane(&mut self, id: LaneId) {
        let Self { lanes, metadata, events, .. } = self;
        let lane = lanes.entry(id).or_insert_with(|| ControlLane { address: None, partitions: 0, is_doubted: false });
        lane.partitions += 1;
        lane.dial(id, metadata.brokers().get(&id.node), events);
    }

    /// A lane gave a partition back.
    pub(super) fn handle_released(&mut self, mut back: PartitionBack) {
        let id = back.id();
        self.catch_up_with_topic(&mut back);
        self.catch_up_with_identities(&mut back);
        let place = std::mem::replace(&mut self.partition(id).place, Place::Here(Box::new(back)));
        let Place::Lane { lane: old, .. } = place else { unreachable!("only a lane gives partitions back") };
        self.lanes.get_mut(&old).expect("a lane lasts while it has partitions").partitions -= 1;
        self.look_at(id);
        let partition = self.partition(id);
        if !partition.is_gone && matches!(partition.place, Place::Here(_)) {
            self.hand_over(id, old);
        }
        self.end_lane_if_left(old);
    }

    /// A topic may be created anew while a partition is on its way and no lane could be told.
    fn catch_up_with_topic(&mut self, back: &mut PartitionBack) {
        let id = back.id();
        if self.partition(id).is_gone {
            return;
        }
        let topic = self.partition(id).topic;
        let topic_id = self.metadata.topic(topic).id();
        let is_first = back.topic().id == Uuid::ZERO && self.topics[topic.0 as usize].generation == 0;
        if is_first || back.topic().id == topic_id {
            return;
        }
        let mut ended = Vec::new();
        back.handle_topic_recreated(topic_id, &mut ended);
        self.partition(id).generation = self.topics[topic.0 as usize].generation;
        // Epochs of the old topic are no measure for those of the new one.
        self.partition(id).epoch = LeaderEpoch(-1);
        self.publish(id, ended);
    }

    /// An answer follows its partition.
    pub(super) fn forward_stray(&mut self, id: PartitionId, stray: StrayAnswer) {
        // A partition that no lane has was never sent.
        if let Place::Lane { lane, .. } = self.partition(id).place {
            self.order(lane, LaneOrder::Stray(id, stray));
        }
    }

    /// A lane says that the partition is late, and gives it back by itself; or that it is not late any more.
    pub(super) fn take_pace(&mut self, id: PartitionId, from: LaneId, is_slow: bool) {
        let partition = self.partition(id);
        // Of a lane that it has left since, this says nothing any more.
        let Place::Lane { lane, recall } = &mut partition.place else { return };
        if *lane != from || from.is_slow == is_slow {
            return;
        }
        partition.is_slow = is_slow;
        if is_slow {
            *recall = recall.or(Some(Recall::WhenIdle));
        }
        self.enqueue(id);
    }

    /// The brokers are not those that they were.
    pub(super) fn review_lanes(&mut self) {
        self.note_topics();
        let Self { lanes, metadata, events, .. } = self;
        for (id, lane) in lanes.iter_mut() {
            lane.dial(*id, metadata.brokers().get(&id.node), events);
        }
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end_lane_if_left(id));
        let unplaced: Vec<PartitionId> = self.unplaced.iter().copied().collect();
        unplaced.into_iter().for_each(|id| self.enqueue(id));
    }

    fn end_lane_if_left(&mut self, id: LaneId) {
        // Without any broker nothing is known of this one.
        let is_gone = !self.metadata.brokers().is_empty() && !self.metadata.brokers().contains_key(&id.node);
        if is_gone && self.lanes.get(&id).is_some_and(|lane| lane.partitions == 0) {
            self.lanes.remove(&id);
            self.events.push_back(ControlEvent::LaneEnded(id));
        }
    }
}

impl ControlLane {
    /// Has it dial where its broker is, if that is news.
    fn dial(&mut self, id: LaneId, address: Option<&Address>, events: &mut std::collections::VecDeque<ControlEvent>) {
        if let Some(address) = address.filter(|address| self.address.as_ref() != Some(*address)) {
            self.address = Some(address.clone());
            events.push_back(ControlEvent::LaneNeeded(id, address.clone()));
        }
    }
}
