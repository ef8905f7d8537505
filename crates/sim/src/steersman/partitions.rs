//! Leaders that change, followers that copy late or not at all.

use std::time::Duration;

use milena_broker::{PartitionIndex, PartitionLog};
use milena_core::ids::NodeId;

use super::{Aftermath, Helm, Struck};
use crate::faults::{Fault, Scope};
use crate::history::Place;

impl Helm<'_> {
    /// Every partition there is.
    fn places(&self) -> Vec<Place> {
        let topics = self.stage.scenario.topics.iter().enumerate();
        let places = topics.flat_map(|(number, topic)| (0..topic.partitions).map(move |index| (number, index)));
        places.filter(|place| self.leader(*place).is_some()).collect()
    }

    fn place(&mut self) -> Option<Place> {
        let places = self.places();
        (!places.is_empty()).then(|| self.stage.faults.dice().pick(&places))
    }

    fn name(&self, place: Place) -> &str {
        &self.stage.scenario.topics[place.0].name
    }

    fn leader(&self, place: Place) -> Option<NodeId> {
        let leader = self.brokers.cluster.leader(self.name(place), PartitionIndex(place.1))?;
        Some(NodeId(leader.0))
    }

    /// Those that have a replica there.
    pub(super) fn places_of(&self, node: NodeId) -> Vec<Place> {
        let has_replica = |place: &Place| {
            let partition = self.brokers.cluster.partition(self.name(*place), PartitionIndex(place.1));
            partition.is_some_and(|partition| partition.replicas().any(|replica| replica.0 == node.0))
        };
        let topics = self.stage.scenario.topics.iter().enumerate();
        let places = topics.flat_map(|(number, topic)| (0..topic.partitions).map(move |index| (number, index)));
        places.filter(has_replica).collect()
    }

    /// A replica in sync that does not lead.
    fn follower(&mut self, place: Place) -> Option<NodeId> {
        let leader = self.leader(place)?;
        let isr = self.brokers.cluster.isr(self.name(place), PartitionIndex(place.1))?;
        let followers: Vec<NodeId> = isr.iter().map(|node| NodeId(node.0)).filter(|node| *node != leader).collect();
        (!followers.is_empty()).then(|| self.stage.faults.dice().pick(&followers))
    }

    /// One partition, or several as when leaders are balanced.
    pub(super) fn move_leader(&mut self) {
        let Some(first) = self.place() else { return };
        let all = self.stage.faults.dice().chance(0.5);
        let places = if all { self.places() } else { vec![first] };
        let mut struck = Struck::new();
        for place in places {
            let Some(next) = self.follower(place) else { continue };
            if !self.give_leadership(place, next) {
                continue;
            }
            if struck.is_empty() {
                struck = self.open(Fault::LeaderMoved, Scope::Place(place));
            } else {
                self.also(&mut struck, Fault::LeaderMoved, Scope::Place(place));
            }
        }
        // Until the client has found them.
        self.stage.bring(self.stage.scenario.latency.1 * 4, Aftermath::Over(struck));
    }

    fn give_leadership(&mut self, place: Place, next: NodeId) -> bool {
        let clock = self.stage.broker_clock();
        let name = self.name(place).to_owned();
        let next = milena_broker::NodeId(next.0);
        self.brokers.cluster.move_leader(clock, &name, PartitionIndex(place.1), next).is_ok()
    }

    /// Late, or not at all.
    pub(super) fn lag(&mut self, fault: Fault) {
        let node = self.node();
        let longest = self.stage.scenario.produce_timeout * 3;
        let dice = self.stage.faults.dice();
        let delay = match fault {
            Fault::FollowerFrozen => Duration::MAX,
            _ => dice.spread(Duration::from_millis(5), longest),
        };
        let Some(struck) = self.lag_one(fault, node, delay) else { return };
        let longest = self.stage.scenario.cluster.replica_lag_time_max * 3;
        self.after(Duration::from_millis(50), longest, Aftermath::CatchUp(node, struck));
    }

    fn lag_one(&mut self, fault: Fault, node: NodeId, delay: Duration) -> Option<Struck> {
        let follows = |helm: &Self, place: &Place| helm.leader(*place).is_some_and(|leader| leader != node);
        let places: Vec<Place> = self.places_of(node).into_iter().filter(|place| follows(self, place)).collect();
        let (first, others) = places.split_first()?;
        let clock = self.stage.broker_clock();
        self.brokers.cluster.lag(clock, milena_broker::NodeId(node.0), Some(delay)).expect("it is there");
        self.stage.note(format_args!("broker {node} copies {delay:?} late"));
        let mut struck = self.open(fault, Scope::Place(*first));
        for place in others {
            self.also(&mut struck, fault, Scope::Place(*place));
        }
        Some(struck)
    }

    pub(super) fn catch_up(&mut self, node: NodeId, struck: Struck) {
        self.stage.note(format_args!("broker {node} copies at once again"));
        let clock = self.stage.broker_clock();
        self.brokers.cluster.lag(clock, milena_broker::NodeId(node.0), None).expect("it is there");
        self.close(struck);
    }

    /// A follower copies nothing, requests wait for it, and then it leads: what they wait for is lost, and they are told
    /// where it was.
    pub(super) fn elect_meanwhile(&mut self) {
        let Some(place) = self.place() else { return };
        let Some(next) = self.follower(place) else { return };
        let Some(mut struck) = self.lag_one(Fault::ElectionMeanwhile, next, Duration::MAX) else { return };
        self.also(&mut struck, Fault::ElectionMeanwhile, Scope::Place(place));
        let longest = self.stage.scenario.produce_timeout;
        self.after(Duration::from_millis(5), longest, Aftermath::Elect(place, next, struck));
    }

    pub(super) fn elect(&mut self, place: Place, next: NodeId, struck: Struck) {
        self.give_leadership(place, next);
        self.catch_up(next, struck);
    }

    /// A follower copies nothing until it is out of sync, and then it leads all the same.
    pub(super) fn leave_behind(&mut self) {
        let Some(place) = self.place() else { return };
        let Some(next) = self.follower(place) else { return };
        let Some(mut struck) = self.lag_one(Fault::Unclean, next, Duration::MAX) else { return };
        self.also(&mut struck, Fault::Unclean, Scope::Place(place));
        let out_of_sync = self.stage.scenario.cluster.replica_lag_time_max;
        self.after(out_of_sync, out_of_sync * 3, Aftermath::ElectUnclean(place, next, struck));
    }

    pub(super) fn elect_unclean(&mut self, place: Place, next: NodeId, struck: Struck) {
        let clock = self.stage.broker_clock();
        let name = self.name(place).to_owned();
        let (node, index) = (milena_broker::NodeId(next.0), PartitionIndex(place.1));
        // One that was left with a tail of its own by another such election hides by it what is lost: no client could tell.
        let own_end = self.brokers.cluster.log_on(node, &name, index).map(PartitionLog::next_offset);
        let lacks_some = own_end < self.brokers.cluster.high_watermark(&name, index);
        if lacks_some && self.brokers.cluster.elect_unclean(clock, &name, index, node).is_ok() {
            self.stage.note(format_args!("broker {next} leads {place:?}, and what it lacks is lost"));
            self.stage.faults.losses.push((place, self.stage.now));
        }
        self.catch_up(next, struck);
    }
}
