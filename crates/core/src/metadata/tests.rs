//! Metadata against answers that are written by hand.

use super::*;
use milena_wire::Uuid;
use milena_wire::messages::metadata::response::MetadataResponsePartition;

const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
const MAX_AGE: Duration = Duration::from_secs(300);
const DOUBT: Duration = Duration::from_secs(10);
/// No pause between two requests is longer, unless nothing is due.
const PAUSE: Duration = Duration::from_millis(1_200);

struct Rig {
    metadata: Metadata,
    chance: Chance,
    now: Moment,
}

impl Rig {
    fn new(topics: &[&str]) -> Self {
        let config = MetadataConfig { retry: RETRY, max_age: MAX_AGE, doubt: DOUBT, allow_auto_create_topics: false };
        let mut metadata = Metadata::new(config);
        for topic in topics {
            metadata.want(topic);
        }
        Self { metadata, chance: Chance::new(1), now: Moment::START }
    }

    /// Names of the topics that are asked for now.
    fn ask(&mut self) -> Vec<String> {
        let request = self.metadata.poll_request(self.now).expect("a request is due");
        request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref()).map(str::to_owned).collect()
    }

    fn is_due(&self) -> bool {
        self.metadata.poll_timeout().is_some_and(|due| due <= self.now)
    }

    /// Goes to the time of the next request, and says how long that took.
    fn wait(&mut self) -> Duration {
        let due = self.metadata.poll_timeout().expect("nothing is under way").max(self.now);
        let pause = due.since(self.now);
        self.now = due;
        pause
    }

    fn take(&mut self, response: &MetadataResponse) -> Changes {
        self.metadata.handle_response(self.now, response, &mut self.chance).expect("a useful answer")
    }

    /// Asks once and takes this answer, whatever was asked.
    fn round(&mut self, response: &MetadataResponse) -> Changes {
        self.wait();
        self.ask();
        self.take(response)
    }

    fn leaders(&self, topic: u32) -> Vec<Option<i32>> {
        let partitions = self.metadata.topic(TopicIndex(topic)).partitions();
        partitions.iter().map(|partition| partition.leader.map(|node| node.0)).collect()
    }
}

const A: TopicIndex = TopicIndex(0);

fn brokers(nodes: &[i32]) -> Vec<MetadataResponseBroker> {
    let broker = |node: &i32| MetadataResponseBroker {
        node_id: *node,
        host: format!("b{node}").into(),
        port: 9092,
        ..MetadataResponseBroker::default()
    };
    nodes.iter().map(broker).collect()
}

fn topic(name: &str, id: u8, error_code: i16, leaders: &[(i32, i32)]) -> MetadataResponseTopic {
    let partition = |(index, (leader_id, leader_epoch)): (usize, &(i32, i32))| MetadataResponsePartition {
        partition_index: index as i32,
        leader_id: *leader_id,
        leader_epoch: *leader_epoch,
        ..MetadataResponsePartition::default()
    };
    MetadataResponseTopic {
        error_code,
        name: Some(name.into()),
        topic_id: Uuid([id; 16]),
        partitions: leaders.iter().enumerate().map(partition).collect(),
        ..MetadataResponseTopic::default()
    }
}

fn answer_of(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    MetadataResponse { brokers: brokers(&[1, 2, 3]), topics, ..MetadataResponse::default() }
}

fn answer(id: u8, error_code: i16, leaders: &[(i32, i32)]) -> MetadataResponse {
    answer_of(vec![topic("a", id, error_code, leaders)])
}

/// What an answer changed about the only topic.
fn change(changes: Changes) -> TopicChange {
    changes.topics.into_iter().map(|(_, change)| change).next().unwrap_or_default()
}

#[test]
fn only_wanted_topics_are_asked_for_and_none_is_created() {
    let mut rig = Rig::new(&["b", "a", "b"]);
    let request = rig.metadata.poll_request(rig.now).expect("due at once");
    let names: Vec<_> = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(!request.allow_auto_topic_creation);
    assert!(rig.metadata.poll_request(rig.now).is_none(), "one request at a time");
}

#[test]
fn brokers_may_create_topics_where_that_is_wanted() {
    let mut rig = Rig::new(&["a"]);
    rig.metadata.config.allow_auto_create_topics = true;
    assert!(rig.metadata.poll_request(rig.now).expect("due").allow_auto_topic_creation);
}

#[test]
fn without_topics_the_brokers_are_asked_for() {
    let mut rig = Rig::new(&[]);
    assert!(rig.ask().is_empty());
    assert!(rig.take(&answer_of(vec![])).brokers);
    assert_eq!(rig.wait(), MAX_AGE);
}

#[test]
fn a_leader_epoch_never_goes_back_within_a_topic_id() {
    let mut rig = Rig::new(&["a"]);
    assert!(change(rig.round(&answer(1, 0, &[(2, 5), (2, 5)]))).has_grown);
    assert_eq!(change(rig.round(&answer(1, 0, &[(1, 4), (2, 5)]))), TopicChange::default());
    assert_eq!(rig.leaders(0), [Some(2), Some(2)]);
    let moved = change(rig.round(&answer(1, 0, &[(2, 5), (3, 6)])));
    assert_eq!(moved, TopicChange { moved: vec![PartitionIndex(1)], ..TopicChange::default() });
    let recreated = change(rig.round(&answer(9, 0, &[(1, 0)])));
    assert!(recreated.is_recreated);
    assert_eq!(rig.leaders(0), [Some(1)], "a new topic starts over, with the partitions that it has");
}

/// A broker that lagged behind a deletion made the topic its old self again, and back: each time, what was in doubt ended.
#[test]
fn a_topic_id_that_was_replaced_does_not_come_back() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 7)]));
    assert!(change(rig.round(&answer(2, 0, &[(2, 0)]))).is_recreated);
    assert_eq!(change(rig.round(&answer(1, 0, &[(1, 8)]))), TopicChange::default());
    assert_eq!(rig.leaders(0), [Some(2)]);
    rig.metadata.forget_cluster();
    assert!(change(rig.round(&answer(1, 0, &[(1, 8)]))).is_recreated, "another cluster may be a restored one");
}

/// It was deleted and created twice, and a broker that lags behind names the one between.
#[test]
fn a_topic_id_that_was_replaced_by_mistake_comes_back_once_nobody_names_another() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 7)]));
    assert!(change(rig.round(&answer(3, 0, &[(1, 0)]))).is_recreated);
    assert!(change(rig.round(&answer(2, 0, &[(1, 0)]))).is_recreated, "nothing shows that it is older");
    assert_eq!(change(rig.round(&answer(3, 0, &[(1, 0)]))), TopicChange::default());
    rig.now = rig.now + DOUBT;
    assert_eq!(change(rig.round(&answer(3, 0, &[(1, 0)]))), TopicChange::default(), "nobody refuses it");
    rig.metadata.doubt(rig.now, A);
    rig.round(&answer(3, 0, &[(1, 0)]));
    rig.now = rig.now + DOUBT / 5;
    rig.round(&answer(2, 0, &[(1, 0)]));
    let since = rig.now;
    let back = loop {
        rig.metadata.doubt(rig.now, A);
        let change = change(rig.round(&answer(3, 0, &[(1, 0)])));
        if change.is_recreated {
            break rig.now;
        }
        assert!(rig.now.since(since) < DOUBT, "it never comes back");
    };
    assert!(back.since(since) >= DOUBT / 4, "some brokers lag behind");
    assert_eq!((rig.metadata.topic(A).id(), rig.leaders(0)), (Uuid([3; 16]), vec![Some(1)]));
    rig.round(&answer(3, 0, &[(2, 1)]));
    assert_eq!(rig.leaders(0), [Some(2)], "it counts as replaced no more");
    assert_eq!(change(rig.round(&answer(2, 0, &[(1, 9)]))), TopicChange::default(), "the other one does");
}

#[test]
fn an_answer_without_a_topic_id_is_of_the_same_topic() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(0, 0, &[(1, 1)]));
    let id_is_told = change(rig.round(&answer(1, 0, &[(1, 1)])));
    assert_eq!(id_is_told, TopicChange::default(), "the brokers were upgraded");
    let moved = change(rig.round(&answer(0, 0, &[(2, 2)])));
    assert_eq!((moved.is_recreated, rig.leaders(0)), (false, vec![Some(2)]), "one of them was not, yet");
    assert_eq!(rig.metadata.topic(A).id(), Uuid([1; 16]));
}

/// Before Kafka 2.1 leaders have no epochs.
#[test]
fn a_leader_without_an_epoch_is_believed() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(0, 0, &[(1, -1)]));
    rig.round(&answer(0, 0, &[(2, -1)]));
    assert_eq!(rig.leaders(0), [Some(2)]);
    rig.round(&answer(0, 0, &[(1, 4)]));
    rig.round(&answer(0, 0, &[(3, -1)]));
    assert_eq!(rig.metadata.topic(A).leader(PartitionIndex(0)), Some((NodeId(3), LeaderEpoch(4))));
    rig.round(&answer(0, 0, &[(2, 3)]));
    assert_eq!(rig.leaders(0), [Some(3)]);
}

#[test]
fn a_missing_topic_is_asked_for_again_with_growing_pauses() {
    let mut rig = Rig::new(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let told = change(rig.round(&answer(0, 3, &[])));
        assert_eq!(told.missing, Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "it is told each time");
        pauses.push(rig.wait());
    }
    assert_eq!(rig.metadata.topic(A).missing(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(pauses[0] < Duration::from_millis(130) && pauses[5] > Duration::from_millis(790), "{pauses:?}");
    assert!(change(rig.round(&answer(1, 0, &[(1, 0)]))).is_found);
    assert_eq!((rig.metadata.topic(A).missing(), rig.wait()), (None, MAX_AGE));
}

#[test]
fn a_topic_that_goes_missing_keeps_what_was_told_of_it() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(2, 5)]));
    assert!(change(rig.round(&answer(0, 3, &[]))).missing.is_some());
    assert_eq!(rig.leaders(0), [Some(2)], "the broker may lag behind the creation");
    let back = change(rig.round(&answer(1, 0, &[(1, 4)])));
    assert_eq!((back.is_found, rig.leaders(0)), (true, vec![Some(2)]), "and this one behind the election");
}

#[test]
fn a_complete_answer_lasts_its_age_and_a_doubt_waits_for_the_pause() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 0)]));
    assert_eq!(rig.metadata.poll_timeout(), Some(rig.now + MAX_AGE));
    rig.metadata.doubt(rig.now, A);
    let pause = rig.wait();
    assert!(pause > Duration::ZERO && pause < Duration::from_millis(130), "{pause:?}");
}

/// The leader froze; the controller finds out seconds later. One refresh alone came too early, and the next after five minutes.
#[test]
fn a_doubt_is_repeated_with_growing_pauses_until_something_changes_or_it_has_lasted_long_enough() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 0)]));
    rig.metadata.doubt(rig.now, A);
    let until = rig.now + DOUBT;
    let mut rounds = 0;
    while rig.now < until {
        rig.round(&answer(1, 0, &[(1, 0)]));
        rounds += 1;
    }
    assert!((10..20).contains(&rounds), "{rounds} in 10 s");
    assert_eq!(rig.wait(), MAX_AGE, "nothing changed");
    rig.metadata.doubt(rig.now, A);
    rig.round(&answer(1, 0, &[(1, 0)]));
    assert_eq!(change(rig.round(&answer(1, 0, &[(2, 1)]))).moved, [PartitionIndex(0)]);
    assert_eq!(rig.wait(), MAX_AGE, "the doubt is resolved");
}

/// The answer under way may have left the broker before whatever gave rise to the doubt; it counted as fresh for five minutes.
#[test]
fn a_doubt_that_comes_while_asking_is_not_lost() {
    let mut rig = Rig::new(&["a"]);
    rig.ask();
    rig.metadata.doubt(rig.now, A);
    rig.metadata.doubt_brokers();
    rig.take(&answer(1, 0, &[(1, 0)]));
    let pause = rig.wait();
    assert!(pause > Duration::ZERO && pause < Duration::from_millis(130), "{pause:?}");
    rig.ask();
    rig.metadata.doubt_brokers();
    rig.take(&answer(1, 0, &[(2, 1)]));
    assert!(rig.wait() < Duration::from_millis(130), "the brokers are still in doubt");
    rig.ask();
    rig.take(&answer(1, 0, &[(2, 1)]));
    assert_eq!(rig.wait(), MAX_AGE);
}

/// It waited for the pause between refreshes, a tenth of a second for the first record of every topic but the first.
#[test]
fn a_topic_that_was_never_asked_for_is_asked_for_at_once() {
    let mut rig = Rig::new(&["a"]);
    rig.ask();
    rig.take(&answer(1, 0, &[(1, 0)]));
    rig.metadata.want("b");
    assert_eq!(rig.ask(), ["a", "b"]);
    rig.metadata.want("c");
    assert!(!rig.is_due(), "one request at a time");
    rig.take(&answer(1, 0, &[(1, 0)]));
    assert_eq!(rig.ask(), ["a", "b", "c"], "the answer did not speak of the third");
    rig.take(&answer(1, 0, &[(1, 0)]));
    assert!(!rig.is_due(), "a cluster that does not speak of it either is not asked in a loop");
}

#[test]
fn an_answer_that_is_an_error_as_a_whole_changes_nothing_and_is_asked_for_again() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 0)]));
    let refused = MetadataResponse { error_code: 129, ..answer(1, 0, &[(2, 1)]) };
    let starting = MetadataResponse { brokers: vec![], ..answer(1, 0, &[(2, 1)]) };
    let uses = [(refused, Useless::Refused(ErrorCode::REBOOTSTRAP_REQUIRED)), (starting, Useless::NoBrokers)];
    rig.metadata.doubt(rig.now, A);
    for (useless, why) in uses {
        rig.wait();
        rig.ask();
        assert_eq!(rig.metadata.handle_response(rig.now, &useless, &mut rig.chance), Err(why));
        assert_eq!((rig.leaders(0), rig.metadata.brokers().len()), (vec![Some(1)], 3));
        let pause = rig.metadata.poll_timeout().expect("not asking").since(rig.now);
        assert!(pause > Duration::ZERO && pause <= PAUSE);
    }
}

#[test]
fn requests_that_fail_are_repeated_with_growing_pauses() {
    let mut rig = Rig::new(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        rig.ask();
        rig.metadata.handle_failed(rig.now, &mut rig.chance);
        pauses.push(rig.wait());
    }
    assert!(pauses[0] < Duration::from_millis(130) && pauses[5] > Duration::from_millis(790), "{pauses:?}");
}

#[test]
fn partitions_appear_and_stay_and_those_without_a_leader_are_asked_for_again() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 0), (-1, 0)]));
    assert_eq!(rig.leaders(0), [Some(1), None]);
    assert!(rig.wait() < Duration::from_millis(130));
    let found = change(rig.round(&answer(1, 0, &[(1, 0), (2, 1), (2, 0)])));
    assert_eq!((found.has_grown, found.moved), (true, vec![PartitionIndex(1), PartitionIndex(2)]));
    rig.round(&answer(1, 0, &[(1, 0)]));
    assert_eq!(rig.leaders(0), [Some(1), Some(2), Some(2)], "one broker lags");
}

/// The leader's broker is not listed yet: nobody knows where to send.
#[test]
fn a_partition_whose_leader_is_not_among_the_brokers_is_asked_for_again() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(7, 0)]));
    assert!(rig.wait() < Duration::from_millis(130));
    let with_it = MetadataResponse { brokers: brokers(&[7]), ..answer(1, 0, &[(7, 0)]) };
    assert!(rig.round(&with_it).brokers);
    assert_eq!(rig.wait(), MAX_AGE);
}

#[test]
fn brokers_that_come_leave_or_move_are_a_change() {
    let mut rig = Rig::new(&[]);
    let mut is_change = |brokers: Vec<MetadataResponseBroker>| {
        rig.round(&MetadataResponse { brokers, ..MetadataResponse::default() }).brokers
    };
    assert!(is_change(brokers(&[1, 2])));
    assert!(!is_change(brokers(&[2, 1])));
    assert!(is_change(brokers(&[1])));
    assert!(is_change(brokers(&[1, 3])));
    let mut moved = brokers(&[1, 3]);
    moved[1].port = 9093;
    assert!(is_change(moved.clone()));
    assert!(!is_change(moved));
}

#[test]
fn numbers_that_no_cluster_has_are_passed_over() {
    let mut rig = Rig::new(&["a"]);
    let mut hostile = answer(1, 0, &[(1, 0), (-7, -9), (1, 0)]);
    hostile.topics[0].partitions[0].partition_index = -1;
    hostile.topics[0].partitions[2].partition_index = i32::MAX;
    hostile.brokers[0].port = 70_000;
    hostile.topics.push(topic("nobody wants this", 2, 0, &[(1, 0)]));
    hostile.topics.push(MetadataResponseTopic { name: None, ..topic("", 2, 0, &[(1, 0)]) });
    rig.round(&hostile);
    assert_eq!((rig.leaders(0), rig.metadata.brokers().len()), (vec![None; 3], 2));
}

#[test]
fn a_passing_error_leaves_what_is_known() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 0)]));
    assert_eq!(change(rig.round(&answer(1, 5, &[]))), TopicChange::default());
    assert_eq!(rig.leaders(0), [Some(1)]);
}

#[test]
fn a_hint_counts_if_its_epoch_is_newer() {
    let mut rig = Rig::new(&["a"]);
    rig.round(&answer(1, 0, &[(1, 4)]));
    let elsewhere = Address { host: "elsewhere".into(), port: 1 };
    let mut hint = |partition: i32, node: i32, epoch: i32| {
        let address = Some(elsewhere.clone());
        rig.metadata.take_hint(A, PartitionIndex(partition), NodeId(node), LeaderEpoch(epoch), address)
    };
    for (partition, node, epoch) in [(0, 2, 3), (0, 2, 4), (0, -1, 9), (1, 2, 9), (-1, 2, 9)] {
        assert!(!hint(partition, node, epoch), "{partition} is led by {node} since {epoch}");
    }
    assert!(hint(0, 8, 5));
    assert_eq!((rig.leaders(0), rig.metadata.brokers().get(&NodeId(8))), (vec![Some(8)], Some(&elsewhere)));
    rig.round(&answer(1, 0, &[(1, 4)]));
    assert_eq!(rig.leaders(0), [Some(8)], "an answer that is older than the hint");
}

/// Topics of a large cluster: `count` of them, with this many partitions each, all told once.
fn large(count: usize, partitions: usize) -> (Rig, Vec<String>) {
    let names: Vec<String> = (0..count).map(|number| format!("t{number:05}")).collect();
    let mut rig = Rig::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let leaders = vec![(1, 0); partitions];
    let mut asked = Vec::new();
    while asked.len() < count {
        let slice = rig.ask();
        rig.take(&answer_of(slice.iter().map(|name| topic(name, 1, 0, &leaders)).collect()));
        asked.extend(slice);
    }
    assert_eq!(asked, names, "slice after slice, without a pause");
    (rig, names)
}

#[test]
fn a_large_cluster_is_asked_for_in_slices_and_later_only_what_is_due() {
    let (mut rig, names) = large(2_500, 4);
    assert!(!rig.is_due());
    rig.metadata.doubt(rig.now, TopicIndex(7));
    rig.metadata.doubt(rig.now, TopicIndex(2_000));
    rig.wait();
    rig.wait();
    let asked = rig.ask();
    assert!(asked.iter().all(|name| [&names[7], &names[2_000]].contains(&name)), "{asked:?}");
    rig.take(&answer_of(asked.iter().map(|name| topic(name, 1, 0, &[(2, 1); 4])).collect()));
    assert_eq!(rig.leaders(7), [Some(2); 4]);
    assert_eq!(rig.leaders(8), [Some(1); 4]);
}

#[test]
fn a_topic_that_fills_a_request_alone_is_asked_for_alone() {
    let (mut rig, _) = large(3, PARTITIONS_PER_REQUEST_MAX * 10);
    for number in 0..3 {
        rig.metadata.doubt(rig.now, TopicIndex(number));
    }
    rig.now = rig.now + PAUSE;
    let slices: Vec<usize> = (0..3)
        .map(|_| {
            let asked = rig.ask();
            rig.take(&answer_of(asked.iter().map(|name| topic(name, 1, 0, &[(1, 0)])).collect()));
            asked.len()
        })
        .collect();
    assert_eq!(slices, [1, 1, 1]);
}

#[test]
fn an_answer_with_more_partitions_than_any_cluster_has_is_not_believed() {
    let mut rig = Rig::new(&["a"]);
    let mad = answer(1, 0, &vec![(1, 0); PARTITIONS_PER_TOPIC_MAX + 1]);
    assert_eq!(change(rig.round(&mad)).missing, Some(ErrorCode::INVALID_PARTITIONS));
    assert!(rig.leaders(0).is_empty());
}

#[test]
fn an_ipv6_address_is_shown_in_brackets() {
    assert_eq!(Address { host: "::1".into(), port: 9092 }.to_string(), "[::1]:9092");
}
