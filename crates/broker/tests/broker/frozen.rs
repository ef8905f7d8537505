//! Frozen nodes: what they do not do, who takes over, and what they do when they wake with old beliefs.

use std::time::Duration;

use milena_broker::{ConnectionId, Event, NodeId, Process};
use milena_wire::ErrorCode;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::produce::request::ProduceRequest;

use crate::client::{Batch, Bench, P0, config_of_nodes, produce};

const ONE: NodeId = NodeId(1);
/// `ClusterConfig::session_timeout` and `ClusterConfig::catch_up`, as they are by default.
const SESSION: Duration = Duration::from_secs(9);
const CATCH_UP: Duration = Duration::from_millis(100);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Bench {
    fn freeze(&mut self, node: i32) {
        self.cluster.freeze(self.now, NodeId(node)).expect("it was running");
    }

    fn thaw(&mut self, node: i32) {
        self.cluster.thaw(self.now, NodeId(node)).expect("it was frozen");
    }

    /// Freezes a leader until another one is elected.
    fn freeze_until_replaced(&mut self, node: i32) {
        self.freeze(node);
        self.advance(SESSION);
    }

    fn send_with_acks(&mut self, node: i32, acks: i16, batch: Batch) -> ConnectionId {
        let connection = self.connect_to(node);
        self.send(connection, 12, &ProduceRequest { acks, ..produce("orders", 0, batch) });
        connection
    }
}

#[test]
fn frozen_node_takes_connections_and_requests_and_answers_nothing() {
    let mut bench = Bench::of_three();
    let before = bench.connect_to(1);
    bench.freeze(1);
    bench.send(before, 12, &produce("orders", 0, Batch::of(&["a"])));
    let after = bench.send_batch(1, Batch::of(&["b"]));
    bench.advance(millis(500));
    assert_eq!(bench.event(), None);
    assert!(bench.cluster.is_muted(before) && bench.cluster.is_muted(after));
    assert_eq!(bench.ends(), [0, 0, 0]);
    assert!(bench.cluster.freeze(bench.now, ONE).is_err(), "it is frozen already");

    bench.thaw(1);
    assert_eq!((bench.answer_to(before), bench.answer_to(after)), ((ErrorCode::NONE, 0), (ErrorCode::NONE, 1)));
    assert_eq!(bench.ends(), [2, 2, 2], "nobody had noticed");
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
    bench.advance(CATCH_UP);
    assert_eq!(bench.cluster.process(ONE), Some(Process::Running));
    bench.advance(SESSION);
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]), "the silence was over in time");
}

#[test]
fn silent_leader_is_replaced_after_the_session_timeout_and_not_before() {
    let mut bench = Bench::of_three();
    bench.produced_at(1, Batch::of(&["a"]));
    bench.freeze(1);
    bench.advance(SESSION - millis(1));
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
    assert_eq!(bench.produced_at(2, Batch::of(&["b"])), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(bench.cluster.poll_timeout(), Some(SESSION));
    bench.advance(millis(1));
    assert_eq!(bench.leadership(), (Some(2), 1, vec![2, 3]));
    assert_eq!(bench.produced_at(2, Batch::of(&["b"])), (ErrorCode::NONE, 1));
    let metadata = bench.ask_node(3, 12, &MetadataRequest { topics: None, ..Default::default() });
    let brokers: Vec<_> = metadata.brokers.iter().map(|broker| broker.node_id).collect();
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((brokers, metadata.controller_id), (vec![2, 3], 2));
    assert_eq!((partition.leader_id, partition.leader_epoch), (2, 1));
    assert_eq!((&partition.isr_nodes, &partition.offline_replicas), (&vec![2, 3], &vec![1]));
}

/// The interleaving that makes NOT_LEADER_OR_FOLLOWER no proof of absence: a batch was appended by a leader that was frozen, and
/// answered with its base offset when that leader learned that it leads no more. Seen on 4.3.1.
#[test]
fn what_waited_in_the_sockets_of_an_old_leader_is_appended_and_then_not_led() {
    let mut bench = Bench::of_three();
    bench.produced_at(1, Batch::of(&["a"]));
    bench.freeze(1);
    let strayed = bench.send_batch(1, Batch::of(&["lost"]));
    bench.advance(SESSION);
    assert_eq!(bench.produced_at(2, Batch::of(&["b"])), (ErrorCode::NONE, 1));

    bench.thaw(1);
    assert_eq!(bench.event(), None, "nobody copies it, so it waits");
    assert_eq!(bench.values_on(1), ["a", "lost"]);
    assert_eq!(bench.cluster.process(ONE), Some(Process::Waking));
    bench.advance(CATCH_UP);
    assert_eq!(bench.answer_to(strayed), (ErrorCode::NOT_LEADER_OR_FOLLOWER, 1));
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3], "it follows");
    assert_eq!(bench.leadership(), (Some(2), 1, vec![1, 2, 3]));
}

#[test]
fn late_answer_of_an_old_leader_names_the_new_one() {
    let mut bench = Bench::of_three();
    bench.freeze(1);
    let strayed = bench.send_batch(1, Batch::of(&["lost"]));
    bench.advance(SESSION);
    bench.thaw(1);
    bench.advance(CATCH_UP);
    let response = bench.response::<ProduceRequest>(strayed, 12);
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!((partition.current_leader.leader_id, partition.current_leader.leader_epoch), (2, 1));
    assert_eq!(&*response.node_endpoints[0].host, "broker2.test");
}

#[test]
fn request_that_waited_longer_than_its_timeout_is_answered_late() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(2), Some(Duration::MAX)).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.freeze(1);
    bench.advance(millis(5_000));
    assert_eq!(bench.event(), None, "its timeout of two seconds is over, and nobody looks at the clock");
    bench.thaw(1);
    assert!(bench.cluster.poll_timeout() <= Some(bench.now.elapsed));
    bench.advance(Duration::ZERO);
    assert_eq!(bench.answer_to(writer), (ErrorCode::REQUEST_TIMED_OUT, 0));
}

#[test]
fn pipelined_requests_wait_in_the_socket_behind_the_first() {
    let mut bench = Bench::of_three();
    let writer = bench.connect_to(1);
    bench.freeze(1);
    for value in ["a", "b", "c"] {
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&[value])));
    }
    bench.advance(SESSION);
    bench.thaw(1);
    assert_eq!(bench.values_on(1), ["a"], "the first one mutes the connection");
    bench.advance(CATCH_UP);
    let answers = [0; 3].map(|_| bench.answer_to(writer));
    let not_led = |base_offset| (ErrorCode::NOT_LEADER_OR_FOLLOWER, base_offset);
    assert_eq!(answers, [not_led(0), not_led(-1), not_led(-1)]);
}

#[test]
fn acks_of_one_is_answered_by_an_old_leader_and_lost() {
    let mut bench = Bench::of_three();
    bench.freeze_until_replaced(1);
    bench.thaw(1);
    let writer = bench.send_with_acks(1, 1, Batch::of(&["lost"]));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0), "it arrived before the node had caught up");
    bench.advance(CATCH_UP);
    assert!(bench.values_on(1).is_empty());
    assert_eq!(bench.ends(), [0, 0, 0]);
}

#[test]
fn waking_leader_does_not_hear_that_it_is_replaced_before_it_has_caught_up() {
    let mut bench = Bench::of_three();
    bench.freeze(1);
    bench.thaw(1);
    assert_eq!(bench.produced_at(1, Batch::of(&["a"])), (ErrorCode::NONE, 0), "it was not away for long");
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    let writer = bench.send_with_acks(1, 1, Batch::of(&["lost"]));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 1));
    bench.advance(CATCH_UP);
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a"]; 3]);
}

#[test]
fn stamps_of_what_is_cut_off_are_forgotten_and_those_before_are_not() {
    let mut bench = Bench::of_three();
    let pid = bench.producer_id();
    for sequence in 0..3 {
        bench.produced_at(1, Batch::stamped(&["x"], pid, 0, sequence));
    }
    bench.freeze(1);
    bench.send_batch(1, Batch::stamped(&["lost"], pid, 0, 3));
    bench.advance(SESSION);
    bench.thaw(1);
    assert_eq!(bench.values_on(1).len(), 4);
    bench.advance(CATCH_UP);
    assert!(matches!(bench.event(), Some(Event::Response { .. })), "the sender hears of it");
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(1)).expect("it may lead");
    for sequence in 0..3 {
        let again = bench.produced_at(1, Batch::stamped(&["x"], pid, 0, sequence));
        assert_eq!(
            again,
            (ErrorCode::NONE, i64::from(sequence)),
            "the rest of the log tells, since it did not restart"
        );
    }
    assert_eq!(bench.produced_at(1, Batch::stamped(&["y"], pid, 0, 3)), (ErrorCode::NONE, 3));
    assert_eq!(bench.values(), ["x", "x", "x", "y"]);
}

#[test]
fn metadata_of_a_node_that_has_not_caught_up_is_that_of_before() {
    let mut bench = Bench::of_three();
    bench.freeze_until_replaced(1);
    bench.thaw(1);
    let told = |bench: &mut Bench| {
        let metadata = bench.ask_node(1, 12, &MetadataRequest { topics: None, ..Default::default() });
        let partition = &metadata.topics[0].partitions[0];
        (partition.leader_id, partition.leader_epoch, partition.isr_nodes.clone(), metadata.brokers.len())
    };
    assert_eq!(told(&mut bench), (1, 0, vec![1, 2, 3], 3));
    bench.advance(CATCH_UP);
    assert_eq!(told(&mut bench), (2, 1, vec![1, 2, 3], 3));
}

#[test]
fn node_that_is_frozen_again_before_it_has_caught_up_still_knows_the_oldest_only() {
    let mut bench = Bench::of_three();
    bench.freeze_until_replaced(1);
    bench.thaw(1);
    bench.advance(CATCH_UP / 2);
    bench.freeze(1);
    bench.advance(SESSION);
    bench.thaw(1);
    let metadata = bench.ask_node(1, 12, &MetadataRequest { topics: None, ..Default::default() });
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch), (1, 0));
    let writer = bench.send_with_acks(1, 1, Batch::of(&["lost"]));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    bench.advance(CATCH_UP);
    assert_eq!((bench.cluster.process(ONE), bench.ends()), (Some(Process::Running), [0, 0, 0]));
}

#[test]
fn what_was_sent_to_a_frozen_node_is_executed_although_the_client_has_left() {
    let mut bench = Bench::of_three();
    let writer = bench.connect_to(1);
    bench.freeze(1);
    for value in ["a", "b"] {
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&[value])));
    }
    bench.cluster.disconnect(writer);
    assert_eq!(bench.cluster.connections(), 0);
    bench.advance(millis(100));
    bench.thaw(1);
    assert_eq!(bench.event(), None);
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3]);
}

#[test]
fn frozen_follower_holds_acks_of_all_until_it_is_fenced() {
    let mut bench = Bench::of_three();
    bench.freeze(3);
    let waiting = bench.connect_to(1);
    let patient = ProduceRequest { timeout_ms: 60_000, ..produce("orders", 0, Batch::of(&["a"])) };
    bench.send(waiting, 12, &patient);
    let one = bench.send_with_acks(1, 1, Batch::of(&["b"]));
    assert_eq!(bench.answer_to(one), (ErrorCode::NONE, 1));
    assert_eq!((bench.ends(), bench.high_watermark()), ([2, 2, 0], 0));
    bench.advance(SESSION);
    assert_eq!(bench.answer_to(waiting), (ErrorCode::NONE, 0));
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2]), "a follower that goes is no change of the leader");
    bench.thaw(3);
    assert_eq!(bench.ends(), [2, 2, 2], "it copies at once");
    assert_eq!(bench.leadership().2, [1, 2], "but the controller waits until it has caught up");
    bench.advance(CATCH_UP);
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
}

#[test]
fn frozen_node_that_is_elected_leads_when_it_wakes() {
    let mut bench = Bench::of_three();
    bench.produced_at(1, Batch::of(&["a"]));
    bench.freeze(2);
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("the controller has not noticed");
    assert_eq!(bench.produced_at(1, Batch::of(&["b"])), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    let early = bench.send_batch(2, Batch::of(&["b"]));
    bench.thaw(2);
    assert_eq!(bench.answer_to(early), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1), "it does not know yet");
    bench.advance(CATCH_UP);
    assert_eq!(bench.produced_at(2, Batch::of(&["b"])), (ErrorCode::NONE, 1));
    assert_eq!((bench.ends(), bench.leadership()), ([2, 2, 2], (Some(2), 1, vec![1, 2, 3])));
}

/// Without the leader's knowledge of every end, what only the old leader has would count as copied by it.
#[test]
fn new_leader_waits_for_a_frozen_one_that_is_still_in_sync() {
    let mut bench = Bench::of_three();
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), Some(Duration::MAX)).expect("it is there");
    }
    let strayed = bench.send_batch(1, Batch::of(&["x", "x", "x"]));
    bench.freeze(1);
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), None).expect("it is there");
    }
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    assert_eq!(bench.ends(), [3, 0, 0]);
    let writer = bench.connect_to(2);
    bench.send(writer, 12, &ProduceRequest { timeout_ms: 60_000, ..produce("orders", 0, Batch::of(&["a"])) });
    assert_eq!((bench.event(), bench.high_watermark()), (None, 0));
    bench.advance(SESSION);
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    bench.thaw(1);
    bench.advance(CATCH_UP);
    assert_eq!(bench.answer_to(strayed).0, ErrorCode::REQUEST_TIMED_OUT, "its time was over long ago");
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a"]; 3]);
}

#[test]
fn partition_without_a_replica_in_sync_waits_for_one() {
    let mut bench = Bench::of_three();
    for node in [2, 3] {
        bench.freeze(node);
    }
    bench.advance(SESSION);
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1]));
    bench.produced_at(1, Batch::of(&["a"]));
    bench.freeze(1);
    bench.advance(millis(1));
    for node in [2, 3] {
        bench.thaw(node);
    }
    bench.advance(CATCH_UP);
    bench.advance(SESSION);
    assert_eq!(bench.leadership(), (None, 1, vec![]), "who lacks a batch is not elected");
    let metadata = bench.ask_node(2, 12, &MetadataRequest { topics: None, ..Default::default() });
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((ErrorCode(partition.error_code), partition.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    let response = bench.ask_node(2, 12, &produce("orders", 0, Batch::of(&["b"])));
    let refused = &response.responses[0].partition_responses[0];
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!((refused.current_leader.leader_id, refused.current_leader.leader_epoch), (-1, 1));
    assert!(response.node_endpoints.is_empty());
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").next_offset(), 1, "the log of who led last");

    bench.thaw(1);
    bench.advance(CATCH_UP);
    assert_eq!(bench.leadership(), (Some(1), 2, vec![1, 2, 3]));
    assert_eq!(bench.ends(), [1, 1, 1]);
}

#[test]
fn waiting_fetch_of_a_frozen_node_is_answered_when_it_wakes() {
    let mut bench = Bench::of_three();
    let partition = FetchPartition { current_leader_epoch: -1, partition_max_bytes: 1_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request =
        FetchRequest { max_bytes: 1_000, min_bytes: 1, max_wait_ms: 300, topics: vec![topic], ..Default::default() };
    let reader = bench.connect_to(1);
    bench.send(reader, 9, &request);
    bench.freeze(1);
    bench.advance(millis(1_000));
    assert_eq!(bench.event(), None);
    bench.thaw(1);
    bench.advance(Duration::ZERO);
    assert_eq!(bench.response::<FetchRequest>(reader, 9).responses[0].partitions[0].error_code, 0);
}

#[test]
fn waiting_fetch_ends_when_the_leader_moves() {
    let mut bench = Bench::of_three();
    let partition = FetchPartition { current_leader_epoch: -1, partition_max_bytes: 1_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request =
        FetchRequest { max_bytes: 1_000, min_bytes: 1, max_wait_ms: 300, topics: vec![topic], ..Default::default() };
    let reader = bench.connect_to(1);
    bench.send(reader, 9, &request);
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    let data = bench.response::<FetchRequest>(reader, 9).responses[0].partitions[0].clone();
    assert_eq!(ErrorCode(data.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn only_node_that_was_fenced_leads_again_under_a_later_epoch() {
    let mut bench = Bench::with(config_of_nodes(1));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    bench.freeze_until_replaced(1);
    assert_eq!(bench.leadership(), (None, 1, vec![]));
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.thaw(1);
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0), "it was the last in sync, so nothing else can be true");
    bench.advance(CATCH_UP);
    assert_eq!(bench.leadership(), (Some(1), 2, vec![1]));
    assert_eq!(bench.values(), ["a"]);
}
