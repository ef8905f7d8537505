//! Whether a record could be sent now, and if not, why.
//!
//! Always holds: the answer is about now. What the cluster said counts for a second, and not after a failure. What it takes
//! to answer is a value, [`Standing`], so that whoever asks needs no turn of the machine: an answer is due at its deadline
//! even while the machine is busy (rule 16), and whoever is refused a record is told the same.
//!
//! Left out: waiting for it; whoever asks does, and asks again when something has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_wire::{ApiKey, ErrorCode};

use super::{Control, Link};
use crate::fault::{AddressFault, ConnectionError, Faults};
use crate::ids::{LaneId, NodeId, TopicIndex};
use crate::metadata::Address;
use crate::time::Moment;

/// What the machine keeps of who can be reached.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// When the cluster last answered.
    pub(super) answered_at: Option<Moment>,
    /// Of the control connection, since then.
    pub(super) faults: Faults,
    /// Every lane that has ever told anything.
    lanes: BTreeMap<LaneId, LaneReach>,
    /// Counts changes of the lanes.
    lanes_revision: u64,
    /// What a broker said when it was last asked for a producer id, unless it gave one.
    pub(super) identity_refused: Option<ErrorCode>,
    /// Of the standing that was told last.
    told: Option<StandingKey>,
    /// Topics whose standing may be another than was told.
    news: BTreeSet<TopicIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LaneReach {
    Connected,
    Faulty(AddressFault),
}

/// What is known of who can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When the cluster last answered.
    answered_at: Option<Moment>,
    /// Of the attempts that have come to their end since then.
    faults: Vec<(Address, AddressFault)>,
    current: Current,
    /// Addresses whose turn is still to come.
    untried: Vec<Address>,
    lanes: BTreeMap<LaneId, LaneReach>,
    identity: Identity,
}

/// Where the cluster is being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Current {
    Nowhere,
    Dialing {
        address: Address,
        since: Moment,
    },
    Up {
        address: Address,
        /// Its versions are known.
        is_ready: bool,
        /// The oldest request without an answer, and since when it has been the oldest.
        waits: Option<(ApiKey, Moment)>,
    },
}

/// Whether batches can have stamps; if not, what a broker said last, if one did.
type Identity = Result<(), Option<ErrorCode>>;

/// As long as this is the same, so is the standing; made at every turn, so it costs little.
#[derive(Debug, PartialEq, Eq)]
struct StandingKey {
    answered_at: Option<Moment>,
    faults: u64,
    current: Current,
    untried: usize,
    lanes: u64,
    identity: Identity,
}

/// What is known of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TopicStanding {
    /// The cluster has not said anything about it.
    #[default]
    Pending,
    /// The cluster says this instead of partitions.
    Refused(ErrorCode),
    /// Its partitions are led by these brokers, those left out that the cluster does not name.
    Led(BTreeMap<NodeId, Address>),
}

/// Somebody wants to know whether a record could be sent.
#[derive(Clone, Copy, Debug)]
pub struct ReadyQuestion {
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

/// A request that has waited for less says nothing against a broker: so long a way may be.
const PATIENCE_MIN: Duration = Duration::from_millis(50);

impl Standing {
    /// Before anything was tried.
    pub fn untried(bootstrap: &[Address]) -> Self {
        Self {
            answered_at: None,
            faults: Vec::new(),
            current: Current::Nowhere,
            untried: bootstrap.to_vec(),
            lanes: BTreeMap::new(),
            identity: Err(None),
        }
    }

    /// Whether a record could be sent now: to this topic, or to any that there may be.
    pub fn readiness(
        &self,
        now: Moment,
        question: ReadyQuestion,
        topic: Option<&TopicStanding>,
    ) -> Result<(), Unready> {
        let is_reached = self.has_answered_since(question.asked_at) || question.is_over && self.is_alive(now, question);
        if !is_reached {
            return Err(Unready::Unreachable(self.faults_now(now)));
        }
        match topic {
            None => Ok(()),
            Some(TopicStanding::Pending) => Err(Unready::TopicPending),
            Some(TopicStanding::Refused(code)) => Err(Unready::TopicRefused(*code)),
            Some(TopicStanding::Led(leaders)) => self.leaders_readiness(now, question, leaders),
        }
    }

    /// Whether the cluster answered since then or shortly before, and nothing has failed since.
    fn has_answered_since(&self, moment: Moment) -> bool {
        self.faults.is_empty() && has_answered_since(self.answered_at, moment)
    }

    /// Whether nothing speaks against the connection, though the cluster had no time to answer.
    fn is_alive(&self, now: Moment, question: ReadyQuestion) -> bool {
        let Current::Up { is_ready: true, waits, .. } = &self.current else { return false };
        // A request that had half of the time that was given, or a second, had its time.
        let patience = (now.since(question.asked_at) / 2).clamp(PATIENCE_MIN, FRESH);
        self.answered_at.is_some() && waits.is_none_or(|(_, since)| now.since(since) <= patience)
    }

    fn leaders_readiness(
        &self,
        now: Moment,
        question: ReadyQuestion,
        leaders: &BTreeMap<NodeId, Address>,
    ) -> Result<(), Unready> {
        if leaders.is_empty() {
            return Err(Unready::NoLeader);
        }
        if leaders.keys().any(|node| self.is_connected(*node)) {
            return self.identity.map_err(Unready::NoProducerId);
        }
        let fault = |(node, address): (&NodeId, &Address)| (address.clone(), self.lane_fault(now, question, *node));
        Err(Unready::LeadersUnreachable(leaders.iter().map(fault).collect()))
    }

    fn is_connected(&self, node: NodeId) -> bool {
        let of_node = self.lanes.range(LaneId::fast(node)..=LaneId::slow(node));
        of_node.into_iter().any(|(_, lane)| matches!(lane, LaneReach::Connected))
    }

    fn lane_fault(&self, now: Moment, question: ReadyQuestion, node: NodeId) -> AddressFault {
        match self.lanes.get(&LaneId::fast(node)) {
            Some(LaneReach::Faulty(fault)) => fault.clone(),
            Some(LaneReach::Connected) | None => {
                unfinished(now, ConnectionError::NotYet { after: now.since(question.asked_at) })
            }
        }
    }

    /// What is known of every address, the one that is being tried and those still to be tried included.
    fn faults_now(&self, now: Moment) -> Vec<(Address, AddressFault)> {
        let mut faults = self.faults.clone();
        let unfinished = self.current_fault(now).into_iter();
        let untried = self.untried.iter().map(|address| {
            let fault = AddressFault { attempts: 0, failed_at: now, error: ConnectionError::NotTried };
            (address.clone(), fault)
        });
        for (address, fault) in unfinished.chain(untried) {
            // An attempt that has come to its end says more than one that has not.
            if !faults.iter().any(|(told, _)| *told == address) {
                faults.push((address, fault));
            }
        }
        faults
    }

    fn current_fault(&self, now: Moment) -> Option<(Address, AddressFault)> {
        let (address, error) = match &self.current {
            Current::Nowhere | Current::Up { waits: None, .. } => return None,
            Current::Dialing { address, since } => (address, ConnectionError::NotYet { after: now.since(*since) }),
            Current::Up { address, waits: Some((key, since)), .. } => {
                (address, ConnectionError::TimedOut { api: key.name(), after: now.since(*since) })
            }
        };
        Some((address.clone(), unfinished(now, error)))
    }
}

impl Control {
    /// A lane's broker can be asked.
    pub fn handle_lane_connected(&mut self, lane: LaneId) {
        self.reach.note_lane(lane, LaneReach::Connected);
    }

    /// A lane's broker could not be reached, or not any more.
    pub fn handle_lane_disconnected(&mut self, now: Moment, lane: LaneId, error: ConnectionError) {
        let attempts = match self.reach.lanes.get(&lane) {
            Some(LaneReach::Faulty(fault)) => fault.attempts,
            Some(LaneReach::Connected) | None => 0,
        };
        let fault = AddressFault { attempts: attempts + 1, failed_at: now, error };
        self.reach.note_lane(lane, LaneReach::Faulty(fault));
    }

    /// Somebody is about to ask whether a record could be sent: asks the cluster, unless it just said something.
    pub fn begin_readiness(&mut self, now: Moment) {
        if !self.reach.faults.is_empty() || !has_answered_since(self.reach.answered_at, now) {
            self.metadata.doubt_brokers();
        }
    }

    /// What is known of who can be reached, if that is another than was told last.
    pub fn poll_standing(&mut self) -> Option<Standing> {
        let key = self.standing_key();
        if self.reach.told.as_ref() == Some(&key) {
            return None;
        }
        self.reach.told = Some(key);
        Some(self.standing())
    }

    /// What is known of a topic, if that may be another than was told last.
    pub fn poll_topic_standing(&mut self) -> Option<(TopicIndex, TopicStanding)> {
        let topic = self.reach.news.pop_first()?;
        Some((topic, self.topic_standing(topic)))
    }

    /// The topic's standing may be another.
    pub(super) fn note_topic(&mut self, topic: TopicIndex) {
        self.reach.news.insert(topic);
    }

    /// Every topic's standing may be another.
    pub(super) fn note_topics(&mut self) {
        self.reach.news.extend((0..self.topics.len() as u32).map(TopicIndex));
    }

    fn standing_key(&self) -> StandingKey {
        StandingKey {
            answered_at: self.reach.answered_at,
            faults: self.reach.faults.revision(),
            current: self.link.current(),
            untried: self.untried().count(),
            lanes: self.reach.lanes_revision,
            identity: self.identity(),
        }
    }

    fn standing(&self) -> Standing {
        let faults = self.reach.faults.iter();
        Standing {
            answered_at: self.reach.answered_at,
            faults: faults.map(|(address, fault)| (address.clone(), fault.clone())).collect(),
            current: self.link.current(),
            untried: self.untried().cloned().collect(),
            lanes: self.reach.lanes.clone(),
            identity: self.identity(),
        }
    }

    fn identity(&self) -> Identity {
        match self.identities.is_known() || !self.config.back.is_idempotent {
            true => Ok(()),
            false => Err(self.reach.identity_refused),
        }
    }

    fn topic_standing(&self, topic: TopicIndex) -> TopicStanding {
        let known = self.metadata.topic(topic);
        if let Some(code) = known.missing() {
            return TopicStanding::Refused(code);
        }
        if known.partitions().is_empty() {
            return TopicStanding::Pending;
        }
        let nodes: BTreeSet<NodeId> = known.partitions().iter().filter_map(|partition| partition.leader).collect();
        let address = |node| Some((node, self.metadata.brokers().get(&node)?.clone()));
        TopicStanding::Led(nodes.into_iter().filter_map(address).collect())
    }
}

impl Reach {
    fn note_lane(&mut self, lane: LaneId, reach: LaneReach) {
        self.lanes.insert(lane, reach);
        self.lanes_revision += 1;
    }
}

impl Link {
    fn current(&self) -> Current {
        match self {
            Self::Down { .. } => Current::Nowhere,
            Self::Dialing { address, since } => Current::Dialing { address: address.clone(), since: *since },
            Self::Up { address, connection } => {
                Current::Up { address: address.clone(), is_ready: connection.is_ready(), waits: connection.waits() }
            }
        }
    }
}

fn has_answered_since(answered_at: Option<Moment>, moment: Moment) -> bool {
    answered_at.is_some_and(|answered| answered + FRESH >= moment)
}

fn unfinished(now: Moment, error: ConnectionError) -> AddressFault {
    AddressFault { attempts: 1, failed_at: now, error }
}
