//! What a producer does beside sending: find brokers and topics, get producer ids, move partitions between lanes.
//!
//! Always holds: every partition's back is in one place, here or in one lane; metadata and producer ids have a connection of
//! their own, so no frozen partition holds them up; work that many partitions need at once is queued, and
//! [`Control::poll_event`] does it piece by piece, so that whoever polls may stop in between.
//!
//! The connection is in `control/link.rs`, what its answers say of brokers and topics in `control/news.rs`, where partitions
//! belong in `control/placement.rs`, producer ids in `control/identity.rs`, whether a record could be sent now in
//! `control/readiness.rs`.
//!
//! Left out: sending (`lane.rs`), and the fronts, which stay where the callers are.

mod identity;
mod link;
mod news;
mod placement;
mod readiness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use milena_wire::ErrorCode;

use super::back::{BackConfig, Ended, PartitionBack};
use super::lane::{LaneOrder, LaneReport, Recall};
use super::outcome::{AttemptError, NotWritten, Undetermined};
use super::packing::Encodings;
use super::trouble::Trouble;
use crate::backoff::{Backoff, Chance};
use crate::connection::ConnectionConfig;
use crate::ids::{LaneId, LeaderEpoch, PartitionId, PartitionIndex, TopicIndex};
use crate::metadata::{Address, Metadata, MetadataConfig};
use crate::time::Moment;
use identity::Identities;
use link::{Link, Round};
use readiness::Reach;
pub use readiness::{ReadyQuestion, Standing, TopicStanding, Unready};

/// What the control machine needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Where to ask first.
    pub bootstrap: Vec<Address>,
    /// For its own connection.
    pub connection: ConnectionConfig,
    /// For every partition.
    pub back: BackConfig,
    /// How records of these topics are written, if otherwise than those of others.
    pub encodings_of: BTreeMap<Arc<str>, Encodings>,
    /// Between attempts to connect or to ask.
    pub retry: Backoff,
    /// Metadata older than this is asked for again.
    pub metadata_max_age: Duration,
    /// Without an answer for so long everything that is known of brokers counts as wrong
    /// (`metadata.recovery.rebootstrap.trigger.ms`, KIP-1102).
    pub rebootstrap_after: Duration,
    /// Whether brokers may create a topic because it is asked for (`auto.create.topics.enable` decides there).
    pub allow_auto_create_topics: bool,
}

/// A partition that appeared.
#[derive(Clone, Debug)]
pub struct NewPartition {
    /// The client's number for it.
    pub id: PartitionId,
    /// Its number within the topic.
    pub index: PartitionIndex,
    /// For its front: why its records cannot be sent, whoever has the partition.
    pub trouble: Arc<Trouble>,
}

/// What the surroundings must do or may want to know.
#[derive(Debug)]
// An event is taken at once; a box would be an allocation for every batch.
#[allow(clippy::large_enum_variant)]
pub enum ControlEvent {
    /// Open a socket to this address for the control connection.
    Dial(Address),
    /// Close the control connection's socket.
    HangUp,
    /// The cluster answered; brokers are known.
    Reached,
    /// The topic has these partitions, in order, beside those told before; some may be back that were gone. Where a key
    /// belongs depends on their number, so none may be used before the last ones are told.
    PartitionsAppeared {
        /// The topic.
        topic: TopicIndex,
        /// The next of its partitions, or none.
        partitions: Vec<NewPartition>,
        /// Whether these were the last ones, for now.
        are_last: bool,
    },
    /// The topic was created again with so many partitions, fewer than before: the first ones; no record may go to the others
    /// from now on.
    TopicShrunk {
        /// The topic.
        topic: TopicIndex,
        /// How many are left.
        count: usize,
    },
    /// This partition is none of its topic any more: what waits in its front ends [`NotWritten::PartitionGone`], and nothing
    /// more is accepted there until it appears again.
    PartitionGone(PartitionId),
    /// The cluster says that the topic is not there, or may not be seen.
    TopicMissing(TopicIndex, ErrorCode),
    /// This lane is needed and dials here; one that is open already leaves its connection for one to this address.
    LaneNeeded(LaneId, Address),
    /// Nobody knows where this lane's broker is: it hangs up, and dials again when it is needed again.
    LaneLost(LaneId),
    /// The lane's broker left the cluster and no partition is led there: the lane ends once nothing is unanswered.
    LaneEnded(LaneId),
    /// For this lane.
    Order(LaneId, LaneOrder),
    /// A batch of this partition ended.
    Ended(PartitionId, Ended),
}

#[derive(Debug)]
enum Place {
    /// Until a leader is known for the first time.
    Here(Box<PartitionBack>),
    Lane {
        lane: LaneId,
        /// How it was told to give the partition back.
        recall: Option<Recall>,
    },
}

#[derive(Debug)]
struct ControlPartition {
    topic: TopicIndex,
    index: PartitionIndex,
    trouble: Arc<Trouble>,
    /// What was noted there of why no lane can be found; forgotten when one is.
    noted: Option<AttemptError>,
    place: Place,
    /// Of the leader to whose lane it went last.
    epoch: LeaderEpoch,
    /// Of the topic, as the partition was told last; see [`ControlTopic::generation`].
    generation: u32,
    /// Its answers are late: it belongs on the slow lane of its leader (rule 27).
    is_slow: bool,
    /// It waits for a look; see [`Control::poll_event`].
    is_queued: bool,
    /// The topic was created again without it.
    is_gone: bool,
}

#[derive(Debug, Default)]
struct ControlTopic {
    /// All that it ever had, by their numbers; what is behind the first [`Self::count`] is gone, and may come back.
    partitions: Vec<PartitionId>,
    /// How many it has, of those that were told.
    count: usize,
    /// How often it was deleted and created again.
    generation: u32,
    /// Some of its new partitions were told, and whoever was told waits for the last.
    is_arriving: bool,
    /// What was said last of why it is missing.
    missing: Option<ErrorCode>,
}

#[derive(Debug)]
struct ControlLane {
    /// Where it dials; absent while nobody knows.
    address: Option<Address>,
    /// Partitions that are there, or on their way there or back.
    partitions: usize,
    /// Its topics are in doubt, and no question about them has gone out since.
    is_doubted: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Control {
    config: ControlConfig,
    metadata: Metadata,
    link: Link,
    /// Counts dials, so that not every producer asks the same broker.
    dials: usize,
    round: Round,
    /// Questions and dials in a row that came to nothing.
    failures: u32,
    /// Since when metadata was wanted and none came (KIP-1102).
    unanswered_since: Option<Moment>,
    reach: Reach,
    /// By the numbers that metadata gave.
    topics: Vec<ControlTopic>,
    partitions: Vec<ControlPartition>,
    lanes: BTreeMap<LaneId, ControlLane>,
    identities: Identities,
    /// Topics with more partitions than were told of.
    growing: VecDeque<TopicIndex>,
    /// Partitions that something has changed for, oldest first.
    queue: VecDeque<PartitionId>,
    /// Partitions whose leader's address is not known.
    unplaced: BTreeSet<PartitionId>,
    events: VecDeque<ControlEvent>,
    chance: Chance,
    /// Looks at partitions so far.
    #[cfg(test)]
    looks: usize,
}

impl Control {
    /// Knows only the bootstrap addresses.
    pub fn new(config: ControlConfig, seed: u64) -> Self {
        let metadata = MetadataConfig {
            retry: config.retry,
            max_age: config.metadata_max_age,
            doubt: config.connection.request_timeout,
            allow_auto_create_topics: config.allow_auto_create_topics,
        };
        Self {
            metadata: Metadata::new(metadata),
            config,
            link: Link::Down { retry_at: Moment::START },
            dials: 0,
            round: Round::default(),
            failures: 0,
            unanswered_since: None,
            reach: Reach::default(),
            topics: Vec::new(),
            partitions: Vec::new(),
            lanes: BTreeMap::new(),
            identities: Identities::default(),
            growing: VecDeque::new(),
            queue: VecDeque::new(),
            unplaced: BTreeSet::new(),
            events: VecDeque::new(),
            chance: Chance::new(seed),
            #[cfg(test)]
            looks: 0,
        }
    }

    /// From now on this topic is looked for. Asking twice gives the same number.
    pub fn want_topic(&mut self, name: &str) -> TopicIndex {
        let number = self.metadata.want(name);
        if number.0 as usize == self.topics.len() {
            self.topics.push(ControlTopic::default());
        }
        number
    }

    /// The cluster's own id, once told.
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.metadata.cluster_id()
    }

    /// A lane says something.
    pub fn handle_report(&mut self, now: Moment, lane: LaneId, report: LaneReport) {
        match report {
            LaneReport::Connected => self.handle_lane_connected(lane),
            LaneReport::Disconnected(error) => self.handle_lane_disconnected(now, lane, error),
            LaneReport::NeedsIdentity(partition, abandoned) => self.need_identity(now, partition, abandoned),
            LaneReport::NeedsMetadata(Some(partition)) => self.doubt_partition(now, partition),
            LaneReport::NeedsMetadata(None) => self.doubt_lane(now, lane),
            LaneReport::LeaderHint(partition, hint) => self.take_hint(now, partition, hint),
            LaneReport::Stray(partition, stray) => self.forward_stray(partition, stray),
            LaneReport::Slow(partition) => self.take_pace(partition, lane, true),
            LaneReport::Prompt(partition) => self.take_pace(partition, lane, false),
            LaneReport::ProducerIdUsedElsewhere(producer_id) => self.abandon_producer_id(now, producer_id),
            LaneReport::Released(back) => self.handle_released(*back),
        }
    }

    fn partition(&mut self, id: PartitionId) -> &mut ControlPartition {
        &mut self.partitions[id.0 as usize]
    }

    fn order(&mut self, lane: LaneId, order: LaneOrder) {
        self.events.push_back(ControlEvent::Order(lane, order));
    }

    fn publish(&mut self, id: PartitionId, ended: Vec<Ended>) {
        self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(id, ended)));
    }

    /// The partition is looked at soon.
    fn enqueue(&mut self, id: PartitionId) {
        let partition = &mut self.partitions[id.0 as usize];
        if !std::mem::replace(&mut partition.is_queued, true) {
            self.queue.push_back(id);
        }
    }

    fn enqueue_topic(&mut self, topic: TopicIndex) {
        for place in 0..self.topics[topic.0 as usize].count {
            self.enqueue(self.topics[topic.0 as usize].partitions[place]);
        }
    }

    /// What the surroundings must do. Each call makes a few new partitions, or looks at as many queued ones as it takes to
    /// find something, which is one where something changed.
    pub fn poll_event(&mut self) -> Option<ControlEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some(topic) = self.growing.pop_front() {
                self.add_partitions(topic);
                continue;
            }
            let id = self.queue.pop_front()?;
            self.partition(id).is_queued = false;
            self.look_at(id);
        }
    }

    /// Ends everything held here: the producer is closed, or its driver is lost.
    pub fn end_all(&mut self, unclaimed: NotWritten, doubt: Undetermined) {
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            if let Place::Here(back) = &mut partition.place {
                let mut ended = Vec::new();
                back.end_all(unclaimed, doubt, &mut ended);
                let id = PartitionId(number as u32);
                self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(id, ended)));
            }
        }
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
