//! Partitions that leave, answers that come after them, and hints where to go (rule 7).

use milena_wire::messages::produce::response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};

use super::*;

#[test]
fn an_idle_partition_leaves_at_once_and_one_on_the_wire_when_it_is_answered() {
    let mut rig = Rig::anchored(2);
    rig.recall(0, Recall::WhenIdle);
    rig.turn();
    assert_eq!(rig.released.iter().map(PartitionBack::id).collect::<Vec<_>>(), [PartitionId(0)]);
    assert!(!rig.lane.leads(PartitionId(0)));
    rig.flush(1, b"x");
    rig.append(1, b"y");
    rig.recall(1, Recall::WhenIdle);
    rig.wait(10 * MILLI);
    assert_eq!((rig.released.len(), rig.asked.len()), (1, 1), "nothing more is claimed");
    assert!(rig.fronts[&PartitionId(1)].has_open(), "its front stays as it is");
    rig.acknowledge();
    assert_eq!(rig.released.len(), 2);
    assert_eq!(rig.lane.poll_timeout(), None);
}

#[test]
fn a_recalled_partition_leaves_with_its_connection_and_keeps_its_stamps_on_the_next_lane() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    let first = rig.asked[0].decode::<ProduceRequest>();
    rig.recall(0, Recall::WhenIdle);
    rig.cut();
    let back = rig.released.pop().expect("it left");
    rig.wait(RETRY_MAX);
    rig.adopt(back);
    rig.wait(RETRY_MAX);
    rig.connect();
    assert_eq!(rig.asked[0].decode::<ProduceRequest>(), first);
}

#[test]
fn a_recalled_partition_whose_topic_was_recreated_leaves_when_it_is_answered() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.recall(0, Recall::WhenIdle);
    rig.recreate(0, Uuid([9; 16]));
    rig.turn();
    assert!(rig.released.is_empty());
    rig.refuse(ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!((rig.released.len(), rig.ends.len()), (1, 0), "it takes the batch along, for the new topic");
}

/// A frozen old leader must not hold the partition, and what it says later counts if it is a success.
#[test]
fn a_partition_recalled_at_once_leaves_its_attempts_behind_and_hears_of_them() {
    let mut rig = Rig::anchored(2);
    rig.flush(0, b"sent");
    let first = rig.asked[0].decode::<ProduceRequest>();
    rig.recall(0, Recall::AtOnce);
    rig.turn();
    let back = rig.released.pop().expect("it did not wait for the answer");
    assert!(!back.is_on_wire() && !rig.lane.leads(PartitionId(0)));
    rig.acknowledge();
    let Some(LaneReport::Stray(PartitionId(0), stray)) = rig.reports.pop() else { panic!("the answer follows it") };

    let mut next = Rig::connected(0);
    next.now = rig.now;
    std::mem::swap(&mut next.memory, &mut rig.memory);
    next.fronts.append(&mut rig.fronts);
    next.adopt(back);
    next.turn();
    next.connect();
    assert_eq!(next.asked[0].decode::<ProduceRequest>(), first, "the head under its old stamp");
    next.lane.obey(next.now, LaneOrder::Stray(PartitionId(0), stray));
    next.turn();
    assert_eq!(next.ends, [(PartitionId(0), WRITTEN)]);
    next.refuse(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(next.ends.len(), 1, "the new leader's answer comes too late");
}

/// It was forwarded to where the partition was by then, and the partition had left again.
#[test]
fn an_answer_that_comes_after_its_partition_goes_on() {
    let mut rig = Rig::connected(1);
    rig.lane.obey(rig.now, LaneOrder::Stray(PartitionId(7), StrayAnswer::for_test()));
    rig.turn();
    assert!(matches!(rig.reports.pop(), Some(LaneReport::Stray(PartitionId(7), _))));
}

#[test]
fn a_partition_that_comes_back_does_not_take_an_old_answer_for_a_new_one() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.recall(0, Recall::AtOnce);
    rig.turn();
    let back = rig.released.pop().expect("it leaves");
    rig.adopt(back);
    rig.turn();
    assert_eq!(sequences(&rig), [1, 1], "asked twice, under one stamp");
    rig.refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    rig.wait(RETRY_MAX);
    assert_eq!(rig.asked.len(), 1, "the second answer is still to come");
    rig.acknowledge();
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
}

/// KIP-951.
#[test]
fn a_broker_that_leads_no_more_says_who_does() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    let asked = rig.asked.pop_front().expect("a request waits");
    let told = |endpoints: Vec<NodeEndpoint>, leader_id, leader_epoch| ProduceResponse {
        responses: vec![TopicProduceResponse {
            topic_id: topic(TopicIndex(0)).id,
            partition_responses: vec![PartitionProduceResponse {
                error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER.0,
                base_offset: -1,
                current_leader: LeaderIdAndEpoch { leader_id, leader_epoch, ..LeaderIdAndEpoch::default() },
                ..PartitionProduceResponse::default()
            }],
            ..TopicProduceResponse::default()
        }],
        node_endpoints: endpoints,
        ..ProduceResponse::default()
    };
    let endpoint = NodeEndpoint { node_id: 2, host: "b".into(), port: 9093, ..NodeEndpoint::default() };
    rig.receive(&asked.answer(&told(vec![endpoint], 2, 8)));
    let hint =
        |address| LeaderHint { topic_id: topic(TopicIndex(0)).id, leader: NodeId(2), epoch: LeaderEpoch(8), address };
    let address = Address { host: Arc::from("b"), port: 9093 };
    assert!(matches!(&rig.reports[..], [LaneReport::LeaderHint(PartitionId(0), told)] if *told == hint(Some(address))));
    rig.reports.clear();
    for (leader, epoch, is_hint) in [(2, 8, true), (-1, -1, false), (2, -1, false)] {
        rig.wait(RETRY_MAX);
        let asked = rig.asked.pop_front().expect("it goes again");
        rig.receive(&asked.answer(&told(Vec::new(), leader, epoch)));
        let hints: Vec<LaneReport> = rig.reports.drain(..).collect();
        assert_eq!(hints.len(), usize::from(is_hint), "{hints:?}");
    }
}
