//! What the cluster looks like: brokers, and the topics that somebody asked for.
//!
//! Always holds: only wanted topics are asked for (KIP-526), and none is created by asking unless that is wanted; one request
//! at a time; each topic has its own pace (KIP-580), so one that is missing or in doubt is asked for again and again, with
//! growing pauses, and the others are left alone; a request asks for at most [`PARTITIONS_PER_REQUEST_MAX`] partitions
//! where topics allow it, so no answer of a large cluster holds its reader up.
//!
//! What an answer does to a topic is in `metadata/topic.rs`. Left out: the connection that asks (`producer/control.rs`).

mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::ErrorCode;
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{MetadataResponse, MetadataResponseBroker, MetadataResponseTopic};

pub use topic::{PARTITIONS_PER_TOPIC_MAX, PartitionMetadata, TopicChange, TopicMetadata};

use crate::backoff::{Backoff, Chance};
use crate::ids::{LeaderEpoch, NodeId, PartitionIndex, TopicIndex};
use crate::time::Moment;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How metadata is kept fresh.
#[derive(Clone, Debug)]
pub struct MetadataConfig {
    /// Between two requests about the same topic.
    pub retry: Backoff,
    /// What is older is asked for again (Java's `metadata.max.age.ms`).
    pub max_age: Duration,
    /// How long a topic in doubt is asked for again and again while nothing changes: an election that is due after a broker
    /// froze takes as long as its session (`broker.session.timeout.ms`, 9 s).
    pub doubt: Duration,
    /// Whether brokers may create a topic because it is asked for (`auto.create.topics.enable` decides there).
    pub allow_auto_create_topics: bool,
}

/// Partitions that one request asks for, unless a single topic has more. Small clusters are asked for as a whole, so that one
/// answer shows all that an election moved; of large ones only what is due. An answer about a thousand takes a fifth of a
/// millisecond to read.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 1_000;

/// The part of [`MetadataConfig::doubt`] in which brokers that lag behind have caught up: 2.5 s of ten.
const LAG_PER_DOUBT: u32 = 4;

/// What an answer changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A broker came, left or moved.
    pub brokers: bool,
    /// Topics that are not as they were before, and all that are missing.
    pub topics: Vec<(TopicIndex, TopicChange)>,
}

/// Why an answer was of no use; it counts as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Useless {
    /// An error as a whole (Metadata v13).
    Refused(ErrorCode),
    /// It names no broker: the one that answered is still starting.
    NoBrokers,
}

/// What the client knows of its cluster.
#[derive(Debug)]
pub struct Metadata {
    config: MetadataConfig,
    cluster_id: Option<Arc<str>>,
    brokers: BTreeMap<NodeId, Address>,
    topics: Vec<WantedTopic>,
    numbers: BTreeMap<Arc<str>, TopicIndex>,
    /// Every topic, by the time when it shall be asked for.
    schedule: BTreeSet<(Moment, TopicIndex)>,
    /// The sum of all topics' [`WantedTopic::weight`].
    weight: usize,
    /// When brokers are asked for even if no topic is due; never while a request is under way.
    brokers_due: Moment,
    /// No request before this, whatever is due.
    not_before: Moment,
    /// The topics of the request that is under way.
    asking: Option<Vec<TopicIndex>>,
    /// A topic was wanted after the newest request; its first question waits for nothing.
    has_unasked: bool,
    /// Requests without a useful answer in a row.
    failures: u32,
}

#[derive(Debug)]
struct WantedTopic {
    name: Arc<str>,
    told: TopicMetadata,
    /// Its place in the schedule.
    due: Moment,
    /// It is not asked for again before this.
    not_before: Moment,
    /// Answers in a row that were of no help.
    unhelpful: u32,
    /// Until then it is asked for again and again; see [`MetadataConfig::doubt`].
    doubted_until: Moment,
}

impl Metadata {
    /// Knows nothing; the first refresh is due at once.
    pub fn new(config: MetadataConfig) -> Self {
        Self {
            config,
            cluster_id: None,
            brokers: BTreeMap::new(),
            topics: Vec::new(),
            numbers: BTreeMap::new(),
            schedule: BTreeSet::new(),
            weight: 0,
            brokers_due: Moment::START,
            not_before: Moment::START,
            asking: None,
            has_unasked: false,
            failures: 0,
        }
    }

    /// From now on the topic is asked for; wanting it twice gives the same number. The first time does not wait: what holds
    /// others back says nothing about it.
    pub fn want(&mut self, name: &str) -> TopicIndex {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = TopicIndex(self.topics.len() as u32);
        let topic = WantedTopic::new(Arc::from(name));
        self.weight += topic.weight();
        self.numbers.insert(Arc::clone(&topic.name), number);
        self.schedule.insert((topic.due, number));
        self.topics.push(topic);
        self.has_unasked = true;
        number
    }

    /// The cluster's own id, once told.
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    /// Every broker by its id.
    pub fn brokers(&self) -> &BTreeMap<NodeId, Address> {
        &self.brokers
    }

    /// The name of a wanted topic.
    pub fn name(&self, topic: TopicIndex) -> &Arc<str> {
        &self.topics[topic.0 as usize].name
    }

    /// A wanted topic as last told.
    pub fn topic(&self, topic: TopicIndex) -> &TopicMetadata {
        &self.topics[topic.0 as usize].told
    }

    /// The topic may have changed: it is asked for soon, and again with growing pauses until it has, or until this has been
    /// doubted for [`MetadataConfig::doubt`]. An answer that is under way may be older than the doubt and does not end it.
    pub fn doubt(&mut self, now: Moment, topic: TopicIndex) {
        let held = &mut self.topics[topic.0 as usize];
        held.doubted_until = now + self.config.doubt;
        let due = held.due.min(held.not_before);
        self.schedule_at(topic, due);
    }

    /// The brokers may have changed: they are asked for soon.
    pub fn doubt_brokers(&mut self) {
        self.brokers_due = Moment::START;
    }

    fn schedule_at(&mut self, topic: TopicIndex, due: Moment) {
        let held = &mut self.topics[topic.0 as usize];
        self.schedule.remove(&(held.due, topic));
        held.due = due;
        self.schedule.insert((due, topic));
    }

    /// When [`Self::poll_request`] has something to ask.
    pub fn poll_timeout(&self) -> Option<Moment> {
        if self.asking.is_some() {
            return None;
        }
        if self.has_unasked {
            return Some(Moment::START);
        }
        let topic = self.schedule.first().map(|(due, _)| *due);
        Some(topic.into_iter().fold(self.brokers_due, Moment::min).max(self.not_before))
    }

    /// The request that is due, once; an answer or a failure must follow.
    pub fn poll_request(&mut self, now: Moment) -> Option<MetadataRequest> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        let asked = self.take_due(now);
        self.brokers_due = Moment::NEVER;
        let topics = asked.iter().map(|topic| MetadataRequestTopic {
            name: Some(Box::from(&*self.topics[topic.0 as usize].name)),
            ..MetadataRequestTopic::default()
        });
        let topics = Some(topics.collect());
        self.asking = Some(asked);
        Some(MetadataRequest {
            topics,
            allow_auto_topic_creation: self.config.allow_auto_create_topics,
            ..MetadataRequest::default()
        })
    }

    fn take_due(&mut self, now: Moment) -> Vec<TopicIndex> {
        self.has_unasked = false;
        if self.weight <= PARTITIONS_PER_REQUEST_MAX {
            return self.numbers.values().copied().collect();
        }
        let mut weight = 0;
        let mut asked = Vec::new();
        for (due, topic) in &self.schedule {
            weight += self.topics[topic.0 as usize].weight();
            if *due > now || !asked.is_empty() && weight > PARTITIONS_PER_REQUEST_MAX {
                break;
            }
            asked.push(*topic);
        }
        asked
    }

    /// The request was not answered, or not usefully.
    pub fn handle_failed(&mut self, now: Moment, chance: &mut Chance) {
        if self.asking.take().is_none() {
            return;
        }
        self.brokers_due = Moment::START;
        self.failures += 1;
        self.not_before = now + self.config.retry.after(self.failures, chance);
    }

    /// Whether the newest question was not answered yet, or in vain.
    pub fn is_unanswered(&self) -> bool {
        self.asking.is_some() || self.failures > 0
    }

    /// Whether an answer is of another cluster than all before.
    pub fn is_of_another_cluster(&self, response: &MetadataResponse) -> bool {
        let told = response.cluster_id.as_deref();
        self.cluster_id.as_deref().zip(told).is_some_and(|(known, told)| known != told)
    }

    /// Another cluster is there instead: nothing that was told compares with what will be.
    pub fn forget_cluster(&mut self) {
        self.cluster_id = None;
        self.brokers.clear();
        self.topics.iter_mut().for_each(|topic| topic.told.forget_leaders());
    }

    /// None of the brokers can be asked any more (KIP-899), and others are asked for soon. What is known of topics stays: it
    /// is compared with what will be told.
    pub fn forget_brokers(&mut self) {
        self.brokers.clear();
        self.doubt_brokers();
    }

    /// Takes an answer over and says what it changed.
    pub fn handle_response(
        &mut self,
        now: Moment,
        response: &MetadataResponse,
        chance: &mut Chance,
    ) -> Result<Changes, Useless> {
        self.check(response).inspect_err(|_| self.handle_failed(now, chance))?;
        self.failures = 0;
        if let Some(told) = response.cluster_id.as_deref().filter(|told| self.cluster_id.as_deref() != Some(*told)) {
            self.cluster_id = Some(Arc::from(told));
        }
        let mut changes = Changes { brokers: self.take_brokers(&response.brokers), topics: Vec::new() };
        let mut told = BTreeSet::new();
        for topic in &response.topics {
            let number = topic.name.as_deref().and_then(|name| self.numbers.get(name));
            if let Some(number) = number.copied() {
                let change = self.take_topic(now, number, topic);
                told.insert(number);
                self.reschedule(now, number, change.is_helpful(), chance);
                if change != TopicChange::default() {
                    changes.topics.push((number, change));
                }
            }
        }
        for asked in self.asking.take().into_iter().flatten().filter(|asked| !told.contains(asked)) {
            self.reschedule(now, asked, false, chance);
        }
        // A doubt that came after the question is not answered.
        if self.brokers_due == Moment::NEVER {
            self.brokers_due = now + self.config.max_age;
        }
        // What did not fit into one request follows at once; a pause holds back what is asked for again and again.
        let is_behind = self.schedule.first().is_some_and(|(due, _)| *due <= now);
        self.not_before = if is_behind { now } else { now + self.config.retry.after(1, chance) };
        Ok(changes)
    }

    fn check(&self, response: &MetadataResponse) -> Result<(), Useless> {
        ErrorCode(response.error_code).into_result().map_err(Useless::Refused)?;
        // As Java has it: a broker that starts may answer before it knows of any, itself included.
        if response.brokers.iter().any(|broker| address_of(broker).is_some()) {
            Ok(())
        } else {
            Err(Useless::NoBrokers)
        }
    }

    fn take_brokers(&mut self, told: &[MetadataResponseBroker]) -> bool {
        let is_as_known = |broker: &MetadataResponseBroker| {
            let known = self.brokers.get(&NodeId(broker.node_id));
            known.is_some_and(|known| *known.host == *broker.host && i32::from(known.port) == broker.port)
        };
        if told.len() == self.brokers.len() && told.iter().all(is_as_known) {
            return false;
        }
        let brokers: BTreeMap<NodeId, Address> = told.iter().filter_map(address_of).collect();
        let is_change = brokers != self.brokers;
        self.brokers = brokers;
        is_change
    }

    fn take_topic(&mut self, now: Moment, number: TopicIndex, told: &MetadataResponseTopic) -> TopicChange {
        let topic = &mut self.topics[number.0 as usize];
        let before = topic.weight();
        let patience = (now < topic.doubted_until).then_some(self.config.doubt / LAG_PER_DOUBT);
        let change = topic.told.take(now, told, patience);
        self.weight = self.weight - before + topic.weight();
        change
    }

    /// When the topic is asked for next, after an answer that helped or did not.
    fn reschedule(&mut self, now: Moment, number: TopicIndex, is_helpful: bool, chance: &mut Chance) {
        let topic = &mut self.topics[number.0 as usize];
        if is_helpful {
            topic.doubted_until = Moment::START;
        }
        let is_wanting = now < topic.doubted_until || !topic.told.is_complete(&self.brokers);
        topic.unhelpful = if is_wanting && !is_helpful { topic.unhelpful + 1 } else { 0 };
        topic.not_before = now + self.config.retry.after(topic.unhelpful.max(1), chance);
        let due = if is_wanting { topic.not_before } else { now + self.config.max_age };
        self.schedule_at(number, due);
    }

    /// A broker that is not the leader any more says who is (KIP-951). Whether that was news: a newer epoch of the topic's
    /// present id.
    pub fn take_hint(
        &mut self,
        topic: TopicIndex,
        partition: PartitionIndex,
        leader: NodeId,
        epoch: LeaderEpoch,
        address: Option<Address>,
    ) -> bool {
        if leader.0 < 0 || !self.topics[topic.0 as usize].told.take_hint(partition, leader, epoch) {
            return false;
        }
        if let Some(address) = address {
            self.brokers.insert(leader, address);
        }
        true
    }
}

impl WantedTopic {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            told: TopicMetadata::default(),
            due: Moment::START,
            not_before: Moment::START,
            unhelpful: 0,
            doubted_until: Moment::START,
        }
    }

    /// What it adds to an answer, in partitions.
    fn weight(&self) -> usize {
        self.told.partitions().len().max(1)
    }
}

fn address_of(broker: &MetadataResponseBroker) -> Option<(NodeId, Address)> {
    let port = u16::try_from(broker.port).ok()?;
    Some((NodeId(broker.node_id), Address { host: Arc::from(&*broker.host), port }))
}

#[cfg(test)]
mod tests;
