//! What becomes of topics: wanted, found, grown, missing, created anew.

use super::*;
use crate::producer::completion::BatchEnd;
use crate::producer::testbed::{CountedMemory, sealed};
use rig::fast;

#[test]
fn a_topic_that_is_wanted_twice_has_one_number() {
    let mut rig = Rig::new(&["a"]);
    let numbers = ["t", "u", "t"].map(|name| rig.control.want_topic(name).0);
    assert_eq!(numbers, [0, 1, 0]);
}

#[test]
fn partitions_appear_and_go_to_the_lanes_of_their_leaders() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    rig.answer(&metadata(1, &[2, 1, -1]));
    let expected = [
        "reached",
        "topic 0 has [(0, 0), (1, 1), (2, 2)]",
        "lane 2 at b2",
        "move 0 to 2",
        "lane 1 at b1",
        "move 1 to 1",
    ];
    assert_eq!(rig.told(), expected);
    assert_eq!(rig.moved[0].1.topic(), &TopicRef { name: Arc::from("t"), id: Uuid([1; 16]) });
    rig.wait(PAUSE);
    rig.answer(&metadata(1, &[2, 1, 1, 2]));
    assert_eq!(rig.told(), ["reached", "topic 0 has [(3, 3)]", "move 2 to 1", "move 3 to 2"]);
}

#[test]
fn a_topic_wanted_later_is_asked_for_at_once() {
    let mut rig = Rig::with_topic(&[1]);
    rig.control.want_topic("later");
    rig.turn();
    let asked: MetadataRequest = rig.pop(ApiKey::METADATA).decode();
    assert_eq!(asked.topics.map(|topics| topics.len()), Some(2));
}

#[test]
fn brokers_create_topics_only_where_that_is_wanted() {
    for wanted in [false, true] {
        let mut rig = Rig::new(&["a"]);
        let config = ControlConfig { allow_auto_create_topics: wanted, ..rig.control.config.clone() };
        rig.control = Control::new(config, 9);
        rig.control.want_topic("t");
        rig.turn();
        rig.connect();
        let asked: MetadataRequest = rig.pop(ApiKey::METADATA).decode();
        assert_eq!(asked.allow_auto_topic_creation, wanted);
    }
}

#[test]
fn a_missing_topic_is_told_each_time_and_asked_for_with_pauses() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    for _ in 0..3 {
        let mut response = metadata(0, &[]);
        response.topics[0].error_code = 3;
        rig.answer(&response);
        assert_eq!(rig.told(), ["reached", "topic 0 misses: UNKNOWN_TOPIC_OR_PARTITION (3)"]);
        assert!(rig.asked.is_empty());
        rig.wait(PAUSE);
    }
}

#[test]
fn records_that_no_lane_has_are_told_why_until_one_has_them() {
    let mut rig = Rig::with_topic(&[1, -1]);
    assert_eq!((rig.trouble(0), rig.trouble(1)), (None, Some(AttemptError::NoLeader)));
    let mut deleted = metadata(0, &[]);
    deleted.topics[0].error_code = 3;
    rig.refresh(&deleted);
    let missing = Some(AttemptError::Kafka(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into()));
    assert_eq!((rig.trouble(0), rig.trouble(1)), (None, missing), "the first one's leader says so itself");
    assert_eq!(rig.told(), ["reached", "topic 0 misses: UNKNOWN_TOPIC_OR_PARTITION (3)"], "it stays in its lane");
    rig.wait(PAUSE);
    rig.answer(&metadata(2, &[1, 1]));
    assert_eq!(rig.told(), ["reached", "recreated 0 on 1", "move 1 to 1"]);
    assert_eq!((rig.trouble(0), rig.trouble(1)), (None, None));
}

#[test]
fn a_recreated_topic_is_told_to_the_lane_that_leads_the_partition() {
    let mut rig = Rig::with_topic(&[1, 2]);
    rig.refresh(&metadata(7, &[1, 2]));
    assert_eq!(rig.told(), ["reached", "recreated 0 on 1", "recreated 1 on 2"]);
    rig.refresh(&metadata(7, &[1, 2]));
    assert_eq!(rig.told(), ["reached"]);
    rig.refresh(&metadata(1, &[2, 1]));
    assert_eq!(rig.told(), ["reached"], "the broker lags: that topic is gone for ever");
}

/// The lane that was told had given the partition up already; it kept the old id for ever and nothing could be written.
#[test]
fn a_partition_on_its_way_between_lanes_learns_that_its_topic_was_recreated() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(&metadata(1, &[2]));
    rig.refresh(&metadata(7, &[2]));
    rig.release(0);
    let (lane, back) = rig.moved.pop().expect("it moved on");
    assert_eq!((lane, back.topic().id), (fast(2), Uuid([7; 16])));
}

/// The others stayed, without a leader, and keys went on to choose them.
#[test]
fn a_recreated_topic_with_fewer_partitions_has_no_others_until_they_come_back() {
    let mut rig = Rig::with_topic(&[1, 1, -1]);
    rig.refresh(&metadata(7, &[1]));
    let expected = [
        "reached",
        "topic 0 has the first 1 only",
        "1 is gone",
        "2 is gone",
        "recreated 0 on 1",
        "recall 1 from 1 at once",
    ];
    assert_eq!(rig.told(), expected);
    rig.release(1);
    assert!(rig.told().is_empty(), "it stays here");
    rig.refresh(&metadata(7, &[1, 2, 3]));
    assert_eq!(
        rig.told(),
        ["reached", "topic 0 has [(1, 1), (2, 2)]", "lane 2 at b2", "move 1 to 2", "lane 3 at b3", "move 2 to 3"]
    );
    rig.refresh(&metadata(1, &[1, 1, 1]));
    assert_eq!(rig.told(), ["reached"], "the broker lags: that topic is gone for ever");
}

/// A batch that a lane has ends when the lane gives its partition back.
#[test]
fn what_a_partition_holds_that_is_gone_ends_with_that_reason() {
    let mut rig = Rig::with_topic(&[1, 1]);
    let place = rig.moved.iter().position(|(_, back)| back.id().0 == 1).expect("a lane has it");
    let batch = sealed(&CountedMemory::new(1 << 20), 1_000, &[b"v"]);
    let completion = Arc::clone(&batch.completion);
    rig.moved[place].1.add_sealed(batch);
    rig.refresh(&metadata(7, &[1]));
    assert!(completion.end().is_none());
    rig.release(1);
    assert_eq!(completion.end(), Some(BatchEnd::NotWritten(NotWritten::PartitionGone)));
}

/// Answers are asked for again and again while a leader is suspected, and then no more.
#[test]
fn a_suspicion_is_asked_about_until_the_leader_changes() {
    let mut rig = Rig::with_topic_at(&[(1, 0)]);
    rig.report(fast(1), LaneReport::NeedsMetadata(None));
    let mut rounds = 0;
    for _ in 0..5 {
        rig.wait_for_due();
        rig.answer(&metadata_at(1, &[(1, 0)]));
        rounds += 1;
    }
    rig.told.clear();
    rig.wait_for_due();
    rig.answer(&metadata_at(1, &[(2, 1)]));
    assert_eq!((rounds, rig.told()), (5, ["reached", "recall 0 from 1 at once"].map(str::to_owned).to_vec()));
    assert_eq!(rig.control.poll_timeout(), Some(rig.now + MAX_AGE));
}

#[test]
fn what_was_never_led_ends_with_the_producer() {
    let mut rig = Rig::with_topic(&[-1, 1]);
    rig.control.end_all(NotWritten::Closed, Undetermined::ClosedBeforeProof);
    rig.turn();
    assert!(rig.told().is_empty(), "it has no batches; they are in the front");
}
