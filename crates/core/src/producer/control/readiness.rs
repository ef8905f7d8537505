//! Whether a record could be sent now, and if not, why.
//!
//! Always holds: the answer is about now. What the cluster said counts for a second, and not after a failure.
//!
//! Left out: waiting for it; whoever asks does, and asks again when something has happened.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_wire::ErrorCode;

use super::{Control, Link};
use crate::connection::ConnectionError;
use crate::fault::{AddressFault, Faults};
use crate::ids::{LaneId, NodeId, TopicIndex};
use crate::metadata::Address;
use crate::time::Moment;

/// What is known of who can be reached.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// When the cluster last answered.
    pub(super) answered_at: Option<Moment>,
    /// Of the control connection, since then.
    pub(super) faults: Faults,
    /// Every lane that has ever told anything.
    lanes: BTreeMap<LaneId, LaneReach>,
    /// What a broker said when it was last asked for a producer id, unless it gave one.
    pub(super) identity_refused: Option<ErrorCode>,
}

#[derive(Debug)]
enum LaneReach {
    Connected,
    Faulty(AddressFault),
}

/// Somebody wants to know whether a record could be sent.
#[derive(Clone, Copy, Debug)]
pub struct ReadyQuestion {
    /// To this topic; otherwise to any that there may be.
    pub topic: Option<TopicIndex>,
    /// When it was asked.
    pub asked_at: Moment,
    /// Whoever asked waits no longer, so an answer that could still come does not count against the cluster.
    pub is_over: bool,
}

/// Why a record could not be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// No broker answers; why, by address.
    Unreachable(Vec<(Address, AddressFault)>),
    /// The cluster has not said anything about the topic.
    TopicPending,
    /// The cluster says this instead of the topic's partitions.
    TopicRefused(ErrorCode),
    /// No partition of the topic has a leader.
    NoLeader,
    /// Brokers answer, but none of those that lead a partition of the topic can be reached; why, by address.
    LeadersUnreachable(Vec<(Address, AddressFault)>),
    /// No broker has given a producer id; what one said, if one did.
    NoProducerId(Option<ErrorCode>),
}

/// What the cluster said counts for so long.
const FRESH: Duration = Duration::from_secs(1);

impl Control {
    /// A lane's broker can be asked.
    pub fn handle_lane_connected(&mut self, lane: LaneId) {
        self.reach.lanes.insert(lane, LaneReach::Connected);
    }

    /// A lane's broker could not be reached, or not any more.
    pub fn handle_lane_disconnected(&mut self, now: Moment, lane: LaneId, error: ConnectionError) {
        let attempts = match self.reach.lanes.get(&lane) {
            Some(LaneReach::Faulty(fault)) => fault.attempts,
            Some(LaneReach::Connected) | None => 0,
        };
        let fault = AddressFault { attempts: attempts + 1, failed_at: now, error };
        self.reach.lanes.insert(lane, LaneReach::Faulty(fault));
    }

    /// Somebody is about to ask whether a record could be sent: asks the cluster, unless it just said something.
    pub fn begin_readiness(&mut self, now: Moment) {
        if !self.has_answered_since(now) {
            self.metadata.doubt_brokers();
        }
    }

    /// Whether a record could be sent now.
    pub fn readiness(&self, now: Moment, question: ReadyQuestion) -> Result<(), Unready> {
        let is_reached = self.has_answered_since(question.asked_at) || question.is_over && self.is_alive(now, question);
        if !is_reached {
            return Err(Unready::Unreachable(self.faults_now(now)));
        }
        question.topic.map_or(Ok(()), |topic| self.topic_readiness(now, question, topic))
    }

    /// Whether the cluster answered since then or shortly before, and nothing has failed since.
    fn has_answered_since(&self, moment: Moment) -> bool {
        self.reach.faults.is_empty() && self.reach.answered_at.is_some_and(|answered| answered + FRESH >= moment)
    }

    /// Whether nothing speaks against the connection, though the cluster had no time to answer.
    fn is_alive(&self, now: Moment, question: ReadyQuestion) -> bool {
        let Link::Up { connection, .. } = &self.link else { return false };
        // A request that had half of the time that was given, or a second, had its time.
        let patience = FRESH.min(now.since(question.asked_at) / 2);
        let is_kept_waiting = connection.waits_since().is_some_and(|since| now.since(since) > patience);
        self.reach.answered_at.is_some() && connection.is_ready() && !is_kept_waiting
    }

    fn topic_readiness(&self, now: Moment, question: ReadyQuestion, topic: TopicIndex) -> Result<(), Unready> {
        let known = self.metadata.topic(topic);
        if let Some(code) = known.missing() {
            return Err(Unready::TopicRefused(code));
        }
        if known.partitions().is_empty() {
            return Err(Unready::TopicPending);
        }
        let leaders = known.partitions().iter().filter_map(|partition| partition.leader);
        let mut missed: BTreeMap<NodeId, &Address> = BTreeMap::new();
        for (leader, address) in leaders.filter_map(|leader| self.metadata.brokers().get_key_value(&leader)) {
            if self.is_connected(*leader) {
                return self.identity_readiness();
            }
            missed.insert(*leader, address);
        }
        if missed.is_empty() {
            return Err(Unready::NoLeader);
        }
        let fault = |(node, address): (NodeId, &Address)| (address.clone(), self.lane_fault(now, question, node));
        Err(Unready::LeadersUnreachable(missed.into_iter().map(fault).collect()))
    }

    fn is_connected(&self, node: NodeId) -> bool {
        let of_node = self.reach.lanes.range(LaneId::fast(node)..=LaneId::slow(node));
        of_node.into_iter().any(|(_, lane)| matches!(lane, LaneReach::Connected))
    }

    fn lane_fault(&self, now: Moment, question: ReadyQuestion, node: NodeId) -> AddressFault {
        match self.reach.lanes.get(&LaneId::fast(node)) {
            Some(LaneReach::Faulty(fault)) => fault.clone(),
            Some(LaneReach::Connected) | None => pending(now, question.asked_at),
        }
    }

    fn identity_readiness(&self) -> Result<(), Unready> {
        match self.identities.is_known() || !self.config.back.is_idempotent {
            true => Ok(()),
            false => Err(Unready::NoProducerId(self.reach.identity_refused)),
        }
    }

    /// What is known of every address that was tried, the one that is being tried included.
    fn faults_now(&self, now: Moment) -> Vec<(Address, AddressFault)> {
        let told = self.reach.faults.iter().map(|(address, fault)| (address.clone(), fault.clone()));
        let mut faults: Vec<_> = told.collect();
        let waiting = match &self.link {
            Link::Down { .. } => None,
            Link::Dialing { address, since } => Some((address, pending(now, *since))),
            Link::Up { address, connection } => {
                connection.unanswered(now).map(|error| (address, AddressFault { attempts: 1, failed_at: now, error }))
            }
        };
        // An attempt that has come to its end says more than one that has not.
        if let Some((address, fault)) = waiting.filter(|(address, _)| !faults.iter().any(|told| told.0 == **address)) {
            faults.push((address.clone(), fault));
        }
        faults
    }
}

fn pending(now: Moment, since: Moment) -> AddressFault {
    AddressFault { attempts: 1, failed_at: now, error: ConnectionError::NotYet { after: now.since(since) } }
}
