//! What the cluster looks like: brokers, and the topics that somebody asked for.
//!
//! Always holds: only wanted topics are asked for (KIP-526), none is ever created by asking; a partition's leader epoch
//! never goes back within one topic id, so an answer from a broker that lags changes nothing.
//!
//! Left out: the connection that asks (`producer/control.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};
use milena_wire::{ErrorCode, Uuid};

use crate::backoff::{Backoff, Chance};
use crate::ids::{LeaderEpoch, NodeId};
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

/// A topic as last told.
#[derive(Clone, Debug, Default)]
pub struct TopicMetadata {
    /// Zero before Kafka 2.8.
    pub id: Uuid,
    /// By partition number; numbers are dense.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition as last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Absent while there is none.
    pub leader: Option<NodeId>,
    /// Of that leader; −1 before Kafka 2.1.
    pub epoch: LeaderEpoch,
}

/// A wanted topic.
#[derive(Clone, Debug)]
pub enum TopicState {
    /// Not asked yet.
    Wanted,
    /// It is there.
    Known(TopicMetadata),
    /// The cluster said why not; asked again with a back-off.
    Missing(ErrorCode),
}

/// What the client knows of its cluster.
#[derive(Debug)]
pub struct Metadata {
    cluster_id: Option<Arc<str>>,
    brokers: BTreeMap<NodeId, Address>,
    topics: BTreeMap<Arc<str>, TopicState>,
    retry: Backoff,
    max_age: Duration,
    next_refresh: Moment,
    not_before: Moment,
    is_asking: bool,
    /// A topic was wanted after the request that is under way.
    has_unasked: bool,
    /// Something did not fit any more after the request that is under way; its answer may be older than that.
    is_overtaken: bool,
    failures: u32,
}

impl Metadata {
    /// Knows nothing; the first refresh is due at once.
    pub fn new(retry: Backoff, max_age: Duration) -> Self {
        Self {
            cluster_id: None,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            retry,
            max_age,
            next_refresh: Moment::START,
            not_before: Moment::START,
            is_asking: false,
            has_unasked: false,
            is_overtaken: false,
            failures: 0,
        }
    }

    /// From now on the topic is asked for. The first time does not wait: what holds others back says nothing about it.
    pub fn want(&mut self, topic: Arc<str>) {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.topics.entry(topic) {
            entry.insert(TopicState::Wanted);
            self.has_unasked = true;
            self.ask_at_once();
        }
    }

    fn ask_at_once(&mut self) {
        self.next_refresh = Moment::START;
        self.not_before = Moment::START;
    }

    /// The cluster's own id, once told.
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    /// Every broker by its id.
    pub fn brokers(&self) -> &BTreeMap<NodeId, Address> {
        &self.brokers
    }

    /// A wanted topic.
    pub fn topic(&self, name: &str) -> Option<&TopicState> {
        self.topics.get(name)
    }

    /// Something does not fit any more: ask again soon.
    pub fn refresh(&mut self) {
        self.next_refresh = Moment::START;
        self.is_overtaken = self.is_asking;
    }

    /// When [`Self::poll_request`] has something to ask.
    pub fn poll_timeout(&self) -> Option<Moment> {
        (!self.is_asking).then(|| self.next_refresh.max(self.not_before))
    }

    /// The request that is due, once; an answer or a failure must follow.
    pub fn poll_request(&mut self, now: Moment) -> Option<MetadataRequest> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        self.is_asking = true;
        self.has_unasked = false;
        self.is_overtaken = false;
        let topics = self
            .topics
            .keys()
            .map(|name| MetadataRequestTopic { name: Some(Box::from(&**name)), ..MetadataRequestTopic::default() });
        Some(MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        })
    }

    /// The request was not answered.
    pub fn handle_failed(&mut self, now: Moment, chance: &mut Chance) {
        self.is_asking = false;
        self.failures += 1;
        self.not_before = now + self.retry.after(self.failures, chance);
        self.next_refresh = Moment::START;
    }

    /// Takes an answer over.
    pub fn handle_response(&mut self, now: Moment, response: &MetadataResponse, chance: &mut Chance) {
        if !ErrorCode(response.error_code).is_none() {
            return self.handle_failed(now, chance);
        }
        self.is_asking = false;
        self.next_refresh = now + self.max_age;
        self.cluster_id = response.cluster_id.as_deref().map(Arc::from).or(self.cluster_id.take());
        let brokers = response.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((NodeId(broker.node_id), Address { host: Arc::from(&*broker.host), port }))
        });
        self.brokers = brokers.collect();
        for topic in &response.topics {
            self.take_topic(topic);
        }
        self.schedule_retry(now, chance);
        if self.has_unasked {
            self.ask_at_once();
        } else if self.is_overtaken {
            self.next_refresh = self.not_before;
        }
    }

    fn take_topic(&mut self, told: &MetadataResponseTopic) {
        let Some(state) = told.name.as_deref().and_then(|name| self.topics.get_mut(name)) else { return };
        let code = ErrorCode(told.error_code);
        if code.is_none() {
            let old = if let TopicState::Known(old) = state { Some(&*old) } else { None };
            *state = TopicState::Known(merge(old, told));
        } else if !matches!(state, TopicState::Known(_)) || code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
            // A passing error of a known topic (LEADER_NOT_AVAILABLE) leaves what is known of it.
            *state = TopicState::Missing(code);
        }
    }

    /// Topics without partitions or leaders are asked for again with a back-off.
    fn schedule_retry(&mut self, now: Moment, chance: &mut Chance) {
        let is_incomplete = self.topics.values().any(|topic| match topic {
            TopicState::Wanted | TopicState::Missing(_) => true,
            TopicState::Known(topic) => topic.partitions.iter().any(|partition| partition.leader.is_none()),
        });
        self.failures = if is_incomplete { self.failures + 1 } else { 0 };
        self.not_before = now + self.retry.after(self.failures.max(1), chance);
        if is_incomplete {
            self.next_refresh = self.not_before;
        }
    }
}

/// Leader epochs never go back within one topic id; a topic never loses partitions within one.
fn merge(old: Option<&TopicMetadata>, told: &MetadataResponseTopic) -> TopicMetadata {
    let old = old.filter(|old| old.id == told.topic_id);
    let count = told.partitions.len().max(old.map_or(0, |old| old.partitions.len()));
    let mut partitions: Vec<_> =
        (0..count).map(|index| old.and_then(|old| old.partitions.get(index).copied()).unwrap_or(NO_LEADER)).collect();
    for partition in &told.partitions {
        let place = usize::try_from(partition.partition_index).ok().and_then(|index| partitions.get_mut(index));
        if let Some(place) = place {
            take_partition(place, partition);
        }
    }
    TopicMetadata { id: told.topic_id, partitions }
}

fn take_partition(place: &mut PartitionMetadata, told: &MetadataResponsePartition) {
    let epoch = LeaderEpoch(told.leader_epoch);
    if epoch < place.epoch {
        return;
    }
    let leader = (told.leader_id >= 0).then_some(NodeId(told.leader_id));
    *place = PartitionMetadata { leader, epoch };
}

const NO_LEADER: PartitionMetadata = PartitionMetadata { leader: None, epoch: LeaderEpoch(-1) };

#[cfg(test)]
mod tests {
    use super::*;
    use milena_wire::messages::metadata::response::MetadataResponseBroker;

    const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };

    fn metadata(topics: &[&str]) -> (Metadata, Chance) {
        let mut metadata = Metadata::new(RETRY, Duration::from_secs(300));
        topics.iter().for_each(|topic| metadata.want(Arc::from(*topic)));
        (metadata, Chance::new(1))
    }

    fn answer(topic: &str, id: u8, error: i16, leaders: &[(i32, i32)]) -> MetadataResponse {
        let partition = |(index, (leader_id, leader_epoch)): (usize, &(i32, i32))| MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: *leader_id,
            leader_epoch: *leader_epoch,
            ..MetadataResponsePartition::default()
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "a".into(),
                port: 9092,
                ..MetadataResponseBroker::default()
            }],
            topics: vec![MetadataResponseTopic {
                error_code: error,
                name: Some(topic.into()),
                topic_id: Uuid([id; 16]),
                partitions: leaders.iter().enumerate().map(partition).collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    fn leaders(metadata: &Metadata, topic: &str) -> Vec<Option<i32>> {
        match metadata.topic(topic) {
            Some(TopicState::Known(topic)) => topic.partitions.iter().map(|p| p.leader.map(|node| node.0)).collect(),
            other => panic!("{topic} is {other:?}"),
        }
    }

    #[test]
    fn only_wanted_topics_are_asked_for_and_none_is_created() {
        let (mut metadata, _) = metadata(&["b", "a"]);
        let request = metadata.poll_request(Moment::START).expect("due at once");
        let names: Vec<_> = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(!request.allow_auto_topic_creation);
        assert!(metadata.poll_request(Moment::START).is_none(), "one request at a time");
    }

    #[test]
    fn a_leader_epoch_never_goes_back_within_a_topic_id() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(2, 5)]), &mut chance);
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 4)]), &mut chance);
        assert_eq!(leaders(&metadata, "a"), [Some(2)]);
        metadata.handle_response(Moment::START, &answer("a", 9, 0, &[(1, 0)]), &mut chance);
        assert_eq!(leaders(&metadata, "a"), [Some(1)], "a new topic starts over");
    }

    #[test]
    fn a_missing_topic_is_asked_for_again_with_growing_pauses() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        let mut now = Moment::START;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            metadata.poll_request(now).expect("due");
            metadata.handle_response(now, &answer("a", 0, 3, &[]), &mut chance);
            let due = metadata.poll_timeout().expect("not asking");
            pauses.push(due.since(now));
            now = due;
        }
        assert!(matches!(metadata.topic("a"), Some(TopicState::Missing(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))));
        assert!(pauses[0] < Duration::from_millis(130) && pauses[5] > Duration::from_millis(790), "{pauses:?}");
    }

    #[test]
    fn a_refresh_waits_for_the_back_off_and_a_complete_answer_lasts_its_age() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.poll_request(Moment::START).expect("due");
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        assert_eq!(metadata.poll_timeout(), Some(Moment::START + Duration::from_secs(300)));
        metadata.refresh();
        let due = metadata.poll_timeout().expect("not asking");
        assert!(due > Moment::START && due < Moment::START + Duration::from_millis(200), "{due}");
    }

    /// It waited for the pause between refreshes, a tenth of a second for the first record of every topic but the first.
    #[test]
    fn a_topic_that_was_never_asked_for_is_asked_for_at_once() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.poll_request(Moment::START).expect("due");
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        metadata.want(Arc::from("b"));
        metadata.poll_request(Moment::START).expect("due at once");
        metadata.want(Arc::from("c"));
        assert!(metadata.poll_request(Moment::START).is_none(), "one request at a time");
        metadata.handle_response(Moment::START, &answer("b", 1, 0, &[(1, 0)]), &mut chance);
        metadata.poll_request(Moment::START).expect("the answer did not speak of the third");
        metadata.handle_response(Moment::START, &answer("b", 1, 0, &[(1, 0)]), &mut chance);
        let due = metadata.poll_timeout().expect("not asking");
        assert!(due > Moment::START, "a cluster that does not speak of it either is not asked in a loop");
    }

    /// The answer under way may have left the broker before whatever did not fit; it counted as fresh for five minutes.
    #[test]
    fn a_refresh_wanted_while_asking_is_not_lost() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.poll_request(Moment::START).expect("due");
        metadata.refresh();
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        let due = metadata.poll_timeout().expect("not asking");
        assert!(due > Moment::START && due < Moment::START + Duration::from_millis(200), "{due}");
        metadata.poll_request(due).expect("due");
        metadata.handle_response(due, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        assert_eq!(metadata.poll_timeout(), Some(due + Duration::from_secs(300)));
    }

    #[test]
    fn an_answer_that_is_an_error_as_a_whole_changes_nothing_and_is_asked_for_again() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        let error = MetadataResponse { error_code: 129, ..MetadataResponse::default() };
        metadata.handle_response(Moment::START, &error, &mut chance);
        assert_eq!((leaders(&metadata, "a"), metadata.brokers().len()), (vec![Some(1)], 1));
        assert!(metadata.poll_timeout().is_some_and(|due| due < Moment::START + Duration::from_millis(200)));
    }

    #[test]
    fn partitions_appear_and_stay_and_those_without_a_leader_are_asked_for_again() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0), (-1, 0)]), &mut chance);
        assert_eq!(leaders(&metadata, "a"), [Some(1), None]);
        assert!(metadata.poll_timeout().is_some_and(|due| due < Moment::START + Duration::from_millis(200)));
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0), (2, 1), (2, 0)]), &mut chance);
        assert_eq!(leaders(&metadata, "a"), [Some(1), Some(2), Some(2)]);
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        assert_eq!(leaders(&metadata, "a"), [Some(1), Some(2), Some(2)], "one broker lags");
    }

    #[test]
    fn numbers_that_no_cluster_has_are_passed_over() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        let mut hostile = answer("a", 1, 0, &[(1, 0), (-7, -9), (1, 0)]);
        hostile.topics[0].partitions[0].partition_index = -1;
        hostile.topics[0].partitions[2].partition_index = i32::MAX;
        hostile.brokers[0].port = 70_000;
        metadata.handle_response(Moment::START, &hostile, &mut chance);
        assert_eq!((leaders(&metadata, "a"), metadata.brokers().len()), (vec![None; 3], 0));
    }

    #[test]
    fn a_passing_error_leaves_what_is_known() {
        let (mut metadata, mut chance) = metadata(&["a"]);
        metadata.handle_response(Moment::START, &answer("a", 1, 0, &[(1, 0)]), &mut chance);
        metadata.handle_response(Moment::START, &answer("a", 1, 5, &[]), &mut chance);
        assert_eq!(leaders(&metadata, "a"), [Some(1)]);
    }

    #[test]
    fn an_ipv6_address_is_shown_in_brackets() {
        assert_eq!(Address { host: "::1".into(), port: 9092 }.to_string(), "[::1]:9092");
    }
}
