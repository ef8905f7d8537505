//! Which lane has a partition, and how it gets there.

use super::*;
use crate::producer::lane::{LeaderHint, StrayAnswer};
use rig::{address, fast};

fn slow(node: i32) -> LaneId {
    LaneId::slow(NodeId(node))
}

fn hint(node: i32, epoch: i32, host: Option<&str>) -> LaneReport {
    let hint = LeaderHint {
        topic_id: Uuid::ZERO,
        leader: NodeId(node),
        epoch: LeaderEpoch(epoch),
        address: host.map(address),
    };
    LaneReport::LeaderHint(PartitionId(0), hint)
}

/// Without leader epochs (before Kafka 2.1) nobody knows which of two answers is newer.
#[test]
fn without_epochs_a_partition_moves_when_nothing_of_it_is_unanswered() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(&metadata(1, &[2]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1"]);
    rig.refresh(&metadata(1, &[2]));
    assert_eq!(rig.told(), ["reached"]);
    rig.release(0);
    assert_eq!(rig.told(), ["lane 2 at b2", "move 0 to 2"]);
}

/// Rule 7: the old leader may be frozen, and would hold what it was sent as long as a request may take.
#[test]
fn a_newer_leader_gets_the_partition_at_once() {
    let mut rig = Rig::with_topic_at(&[(1, 4)]);
    rig.refresh(&metadata_at(1, &[(2, 5)]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1 at once"]);
    rig.release(0);
    assert_eq!(rig.told(), ["lane 2 at b2", "move 0 to 2"]);
    rig.refresh(&metadata_at(1, &[(1, 4)]));
    assert_eq!(rig.told(), ["reached"], "a broker that lags changes nothing");
}

/// It lost its leadership meanwhile, and what it was sent then may be lost with it.
#[test]
fn a_leader_of_a_newer_epoch_is_a_newer_leader_on_the_same_node_too() {
    let mut rig = Rig::with_topic_at(&[(1, 4), (1, 4)]);
    rig.refresh(&metadata_at(1, &[(1, 6), (1, 4)]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1 at once"]);
    rig.release(0);
    assert_eq!(rig.told(), ["move 0 to 1"]);
    rig.refresh(&metadata_at(1, &[(1, 6), (1, 4)]));
    assert_eq!(rig.told(), ["reached"]);
}

#[test]
fn a_partition_that_leaves_when_idle_leaves_at_once_when_a_newer_leader_is_known() {
    let mut rig = Rig::with_topic_at(&[(1, 4)]);
    rig.report(fast(1), LaneReport::Slow(PartitionId(0)));
    assert!(rig.told().is_empty(), "the lane gives it back by itself");
    rig.refresh(&metadata_at(1, &[(2, 5)]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1 at once"]);
    rig.refresh(&metadata_at(1, &[(3, 6)]));
    assert_eq!(rig.told(), ["reached"], "it was said");
    rig.release(0);
    assert_eq!(rig.told(), ["lane 3 at b3", "move 0 to 3"], "the new leader begins with a clean slate");
}

#[test]
fn a_partition_whose_leader_came_back_while_it_was_recalled_goes_back_too() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(&metadata(1, &[2]));
    rig.refresh(&metadata(1, &[1]));
    assert_eq!(rig.told(), ["reached"]);
    rig.release(0);
    assert_eq!(rig.told(), ["move 0 to 1"]);
}

#[test]
fn a_partition_without_a_leader_stays_where_it_is_and_says_why() {
    let mut rig = Rig::with_topic_at(&[(1, 0)]);
    rig.refresh(&metadata_at(1, &[(-1, 1)]));
    assert_eq!((rig.told(), rig.trouble(0)), (vec!["reached".to_owned()], Some(AttemptError::NoLeader)));
    rig.wait(PAUSE);
    rig.answer(&metadata_at(1, &[(1, 2)]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1 at once"]);
    assert_eq!(rig.trouble(0), None);
}

/// It stayed with the control machine, which knows no timers: what was sent was never given up and its memory never freed.
#[test]
fn a_partition_that_lost_its_next_leader_on_the_way_goes_back_to_the_lane_it_came_from() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(&metadata(1, &[2]));
    rig.refresh(&metadata(1, &[-1]));
    rig.told.clear();
    rig.release(0);
    assert_eq!(rig.told(), ["move 0 to 1"]);
    rig.refresh(&metadata(1, &[3]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1"]);
}

#[test]
fn a_leader_that_is_not_among_the_brokers_gets_its_partitions_when_it_is() {
    let mut rig = Rig::with_topic_at(&[(7, 0)]);
    let unknown = (Some(NodeId(7)), Some(AttemptError::NotConnected));
    assert_eq!((rig.moved.len(), rig.troubles[0].last()), (0, unknown));
    rig.wait(PAUSE);
    let mut response = metadata_at(1, &[(7, 0)]);
    response.brokers[0].node_id = 7;
    rig.answer(&response);
    assert_eq!(rig.told(), ["reached", "lane 7 at b1", "move 0 to 7"]);
}

/// KIP-951.
#[test]
fn a_hint_moves_the_partition_without_a_question() {
    let mut rig = Rig::with_topic_at(&[(1, 4), (1, 4)]);
    rig.report(fast(1), hint(2, 5, None));
    assert_eq!(rig.told(), ["recall 0 from 1 at once"]);
    rig.release(0);
    assert_eq!(rig.told(), ["lane 2 at b2", "move 0 to 2"]);
    rig.report(fast(2), hint(1, 4, None));
    assert!(rig.told().is_empty(), "it is older");
    rig.report(fast(2), hint(9, 6, Some("new")));
    rig.release(0);
    assert_eq!(rig.told(), ["recall 0 from 2 at once", "lane 9 at new", "move 0 to 9"]);
}

#[test]
fn a_hint_to_a_broker_that_nobody_knows_is_asked_about() {
    let mut rig = Rig::with_topic_at(&[(1, 4)]);
    rig.report(fast(1), hint(7, 5, None));
    assert!(rig.told().is_empty());
    rig.wait(PAUSE);
    let mut response = metadata_at(1, &[(7, 5)]);
    response.brokers[0].node_id = 7;
    rig.answer(&response);
    assert_eq!(rig.told(), ["reached", "recall 0 from 1 at once"]);
}

/// Rule 27.
#[test]
fn a_slow_partition_gets_a_lane_of_its_own_and_comes_back_when_it_is_prompt() {
    let mut rig = Rig::with_topic_at(&[(1, 4), (1, 4)]);
    rig.report(fast(1), LaneReport::Slow(PartitionId(0)));
    rig.release(0);
    assert_eq!(rig.told(), ["lane 1 slow at b1", "move 0 to 1 slow"]);
    rig.report(slow(1), LaneReport::Prompt(PartitionId(0)));
    assert_eq!(rig.told(), ["recall 0 from 1 slow"]);
    rig.release(0);
    assert_eq!(rig.told(), ["move 0 to 1"]);
    rig.report(fast(1), LaneReport::Slow(PartitionId(0)));
    rig.release(0);
    assert_eq!(rig.told(), ["move 0 to 1 slow"], "the lane was there");
}

#[test]
fn what_a_lane_says_of_a_partition_that_has_left_counts_no_more() {
    let mut rig = Rig::with_topic_at(&[(1, 4)]);
    rig.report(slow(1), LaneReport::Prompt(PartitionId(0)));
    rig.refresh(&metadata_at(1, &[(2, 5)]));
    rig.release(0);
    rig.told.clear();
    rig.report(fast(1), LaneReport::Slow(PartitionId(0)));
    assert!(rig.told().is_empty());
}

#[test]
fn an_answer_that_comes_late_follows_its_partition() {
    let mut rig = Rig::with_topic_at(&[(1, 4), (-1, 0)]);
    rig.refresh(&metadata_at(1, &[(2, 5), (-1, 0)]));
    rig.release(0);
    rig.told.clear();
    for id in [0, 1] {
        rig.report(fast(1), LaneReport::Stray(PartitionId(id), StrayAnswer::for_test()));
    }
    assert_eq!(rig.told(), ["stray for 0 to 2"], "the other one was never sent");
}

#[test]
fn a_broker_that_moved_gets_its_new_address_told() {
    let mut rig = Rig::with_topic(&[1]);
    let mut response = metadata(1, &[1]);
    response.brokers[0].host = "elsewhere".into();
    rig.refresh(&response);
    assert_eq!(rig.told(), ["reached", "lane 1 at elsewhere"]);
    rig.refresh(&response);
    assert_eq!(rig.told(), ["reached"]);
}

fn without_broker_1(leaders: &[(i32, i32)]) -> MetadataResponse {
    let mut response = metadata_at(1, leaders);
    response.brokers.remove(0);
    response
}

#[test]
fn a_lane_whose_broker_left_ends_when_it_has_nothing_left() {
    let mut rig = Rig::with_topic_at(&[(1, 4), (1, 4)]);
    rig.report(fast(1), LaneReport::Slow(PartitionId(1)));
    rig.release(1);
    rig.told.clear();
    rig.refresh(&without_broker_1(&[(2, 5), (2, 5)]));
    assert_eq!(rig.told(), ["reached", "recall 0 from 1 at once", "recall 1 from 1 slow at once"]);
    rig.release(1);
    assert_eq!(rig.told(), ["lane 2 at b2", "move 1 to 2", "lane 1 slow ended"]);
    rig.release(0);
    assert_eq!(rig.told(), ["move 0 to 2", "lane 1 ended"]);
    rig.refresh(&metadata_at(1, &[(1, 6), (2, 5)]));
    rig.release(0);
    assert_eq!(rig.told(), ["reached", "recall 0 from 2 at once", "lane 1 at b1", "move 0 to 1"], "it came back");
}

#[test]
fn a_lane_that_has_nothing_ends_when_its_broker_leaves() {
    let mut rig = Rig::with_topic_at(&[(1, 4)]);
    rig.refresh(&metadata_at(1, &[(2, 5)]));
    rig.release(0);
    rig.told.clear();
    rig.refresh(&without_broker_1(&[(2, 5)]));
    assert_eq!(rig.told(), ["reached", "lane 1 ended"]);
}

#[test]
fn a_lane_whose_broker_left_without_a_successor_keeps_what_it_has() {
    let mut rig = Rig::with_topic_at(&[(1, 4)]);
    rig.refresh(&without_broker_1(&[(-1, 5)]));
    assert_eq!(rig.told(), ["reached"]);
}

/// Rule 25: leader epochs compare within one topic id. A hint about the old topic, with an epoch that the new one reached long
/// after, kept the partition on the wrong broker until then.
#[test]
fn a_hint_about_the_topic_that_was_there_before_moves_nothing() {
    let mut rig = Rig::with_topic_at(&[(1, 40)]);
    rig.refresh(&metadata_at(7, &[(1, 0)]));
    rig.told();
    let hint = LeaderHint { topic_id: Uuid([1; 16]), leader: NodeId(2), epoch: LeaderEpoch(41), address: None };
    rig.report(fast(1), LaneReport::LeaderHint(PartitionId(0), hint));
    assert_eq!(rig.told(), [] as [&str; 0]);
}

/// It kept the old topic's epoch, and then no leader of the new one was news.
#[test]
fn a_partition_that_learns_on_its_way_that_its_topic_is_another_one_forgets_the_epoch() {
    let mut rig = Rig::with_topic_at(&[(1, 12)]);
    rig.refresh(&metadata_at(1, &[(2, 13)]));
    rig.wait(PAUSE);
    rig.report(fast(1), LaneReport::NeedsMetadata(Some(PartitionId(0))));
    rig.wait(PAUSE);
    let bytes = rig.pop(ApiKey::METADATA).answer(&metadata_at(7, &[(-1, 0)]));
    rig.control.read_buffer().expect("the socket is open").extend_from_slice(&bytes);
    rig.control.handle_read(rig.now);
    // It comes before anything was made of the answer.
    rig.release(0);
    rig.refresh(&metadata_at(7, &[(1, 1)]));
    rig.refresh(&metadata_at(7, &[(2, 2)]));
    let told = rig.told();
    assert!(told.contains(&"recall 0 from 1 at once".to_owned()), "{told:?}");
}
