//! Replication: who copies when, who is in sync, what is committed, and what a writer is told meanwhile.

use std::time::Duration;

use milena_broker::{ClusterConfig, ConnectionId, NodeId, Stop, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::produce::request::ProduceRequest;

use crate::client::{Batch, Bench, P0, config_of_nodes, produce};

const NEVER: Option<Duration> = Some(Duration::MAX);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn healthy_followers_copy_at_once() {
    let mut bench = Bench::of_three();
    assert_eq!(bench.produced_at(1, Batch::of(&["a", "b"])), (ErrorCode::NONE, 0));
    assert_eq!((bench.ends(), bench.high_watermark()), ([2, 2, 2], 2));
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3]);
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
}

#[test]
fn acks_of_all_waits_for_a_late_follower() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(millis(40))).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    assert_eq!((bench.ends(), bench.high_watermark()), ([1, 1, 0], 0));
    assert!(bench.cluster.is_muted(writer));
    bench.advance(millis(39));
    assert_eq!(bench.event(), None);
    assert_eq!(bench.cluster.poll_timeout(), Some(millis(40)));
    bench.advance(millis(1));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    assert_eq!((bench.ends(), bench.high_watermark()), ([1, 1, 1], 1));
}

#[test]
fn batch_that_is_not_committed_in_time_has_timed_out_where_it_lies() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(2), NEVER).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.advance(millis(1_999));
    assert_eq!(bench.event(), None);
    bench.advance(millis(1));
    assert_eq!(
        bench.answer_to(writer),
        (ErrorCode::REQUEST_TIMED_OUT, 0),
        "the base offset says that it is in the log"
    );
    assert_eq!((bench.ends(), bench.high_watermark()), ([1, 0, 1], 0));
}

#[test]
fn duplicate_waits_for_the_original_to_be_committed() {
    let mut bench = Bench::of_three();
    let pid = bench.producer_id();
    bench.cluster.lag(bench.now, NodeId(2), Some(millis(3_000))).expect("it is there");
    let batch = Batch::stamped(&["a"], pid, 0, 0);
    let first = bench.send_batch(1, batch.clone());
    bench.advance(millis(2_000));
    assert_eq!(bench.answer_to(first), (ErrorCode::REQUEST_TIMED_OUT, 0));
    let again = bench.send_batch(1, batch);
    bench.advance(millis(999));
    assert_eq!(bench.event(), None);
    bench.advance(millis(1));
    assert_eq!(bench.answer_to(again), (ErrorCode::NONE, 0));
    assert_eq!(bench.ends(), [1, 1, 1]);
}

#[test]
fn connection_of_a_waiting_request_serves_nothing_else() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(millis(500))).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.send(writer, 12, &produce("orders", 0, Batch::of(&["b"])));
    assert_eq!(bench.values(), ["a"], "the second request is not even read");
    let other = bench.connect_to(1);
    bench.send(other, 12, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&["c"])) });
    assert_eq!(bench.answer_to(other), (ErrorCode::NONE, 1), "another connection is not held up");
    bench.advance(millis(500));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    bench.advance(millis(500));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 2));
}

#[test]
fn slow_partition_holds_its_neighbour_in_the_same_request() {
    let mut bench = Bench::with(config_of_nodes(3));
    bench.cluster.create_topic("orders", 4).expect("the topic is new");
    // Partitions 0 and 3 are both led by node 1; a topic of one replica has nobody to wait for.
    let lonely =
        CreatableTopic { name: "lonely".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    bench.ask(7, &CreateTopicsRequest { topics: vec![lonely], ..Default::default() });
    bench.cluster.lag(bench.now, NodeId(2), NEVER).expect("it is there");
    let mut request = produce("orders", 0, Batch::of(&["slow"]));
    request.topic_data.extend(produce("lonely", 0, Batch::of(&["quick"])).topic_data);
    let writer = bench.connect_to(1);
    bench.send(writer, 12, &request);
    assert_eq!(bench.event(), None);
    bench.advance(millis(2_000));
    let response = bench.response::<ProduceRequest>(writer, 12);
    let codes: Vec<_> = response.responses.iter().map(|topic| topic.partition_responses[0].error_code).collect();
    assert_eq!(codes, [ErrorCode::REQUEST_TIMED_OUT.0, ErrorCode::NONE.0]);
}

#[test]
fn acks_of_one_and_of_zero_wait_for_nobody() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(2), NEVER).expect("it is there");
    let writer = bench.connect_to(1);
    bench.send(writer, 12, &ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&["a"])) });
    assert_eq!((bench.event(), bench.cluster.is_muted(writer)), (None, false));
    bench.send(writer, 12, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&["b"])) });
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 1));
    assert_eq!((bench.ends(), bench.high_watermark()), ([2, 0, 2], 0));
}

#[test]
fn readers_get_what_is_committed_and_wait_for_the_rest() {
    let mut bench = Bench::of_three();
    bench.produced_at(1, Batch::of(&["a"]));
    bench.cluster.lag(bench.now, NodeId(3), Some(millis(100))).expect("it is there");
    bench.send_batch(1, Batch::of(&["b"]));
    assert_eq!(bench.read_values(0), ["a"]);
    assert_eq!(bench.end_of_log(-1), (ErrorCode::NONE, 1));
    assert_eq!(bench.end_of_log(-2), (ErrorCode::NONE, 2), "a debugging tool is told everything");
    let reader = bench.connect_to(1);
    bench.send(reader, 12, &fetch(1, 1_000));
    assert_eq!(bench.event(), None);
    bench.advance(millis(100));
    assert_eq!(bench.event_count(), 2, "the reader and the writer");
    assert_eq!(bench.read_values(0), ["a", "b"]);
}

#[test]
fn follower_that_lacks_something_for_too_long_leaves_the_isr_and_comes_back() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), NEVER).expect("it is there");
    bench.advance(LAG_MAX + LAG_MAX);
    assert_eq!(bench.leadership().2, [1, 2, 3], "while nothing is written it lacks nothing");
    let writer = bench.send_patient(1, Batch::of(&["a"]));
    bench.advance(LAG_MAX - millis(1));
    assert_eq!((bench.leadership().2, bench.event()), (vec![1, 2, 3], None));
    bench.advance(millis(1));
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2]));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    assert_eq!(bench.produced_at(1, Batch::of(&["b"])), (ErrorCode::NONE, 1));
    bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
    assert_eq!((bench.leadership().2, bench.ends()), (vec![1, 2, 3], [2, 2, 2]));
}

#[test]
fn follower_that_is_away_was_caught_up_when_it_went() {
    let patient = ClusterConfig { session_timeout: LAG_MAX * 3, ..config_of_nodes(3) };
    let mut bench = Bench::of_three_with(patient);
    bench.cluster.freeze(bench.now, NodeId(2)).expect("it runs");
    bench.cluster.stop(bench.now, NodeId(3), Stop::Kill).expect("it has a process");
    bench.advance(LAG_MAX - millis(1));
    let writer = bench.send_patient(1, Batch::of(&["a"]));
    assert_eq!((bench.event(), bench.leadership().2), (None, vec![1, 2, 3]));
    bench.advance(millis(1));
    assert_eq!((bench.answer_to(writer), bench.leadership().2), ((ErrorCode::NONE, 0), vec![1]));
}

#[test]
fn follower_that_is_late_by_less_stays_in_sync() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(LAG_MAX - millis(1))).expect("it is there");
    for _ in 0..100 {
        bench.send_patient(1, Batch::of(&["x"]));
        bench.advance(millis(1_000));
        while bench.event().is_some() {}
        assert_eq!(bench.leadership().2, [1, 2, 3]);
    }
    assert_eq!(bench.ends(), [100, 100, 71], "29 s and 999 ms late, one batch a second");
}

#[test]
fn follower_that_is_late_by_more_is_out_of_sync_while_anything_is_written() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(LAG_MAX + millis(500))).expect("it is there");
    for _ in 0..100 {
        bench.send_patient(1, Batch::of(&["x"]));
        bench.advance(millis(1_000));
        while bench.event().is_some() {}
    }
    assert_eq!((bench.leadership().2, bench.high_watermark()), (vec![1, 2], 100));
    bench.advance(LAG_MAX + LAG_MAX);
    assert_eq!((bench.leadership().2, bench.ends()), (vec![1, 2, 3], [100, 100, 100]));
}

#[test]
fn too_few_in_sync_refuse_before_the_append() {
    let mut bench = Bench::of_three();
    bench.min_insync(2);
    for node in [2, 3] {
        bench.cluster.stop(bench.now, NodeId(node), Stop::Clean).expect("it has a process");
    }
    let pid = 7;
    assert_eq!(bench.produced_at(1, Batch::stamped(&["a"], pid, 0, 0)), (ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    assert_eq!(bench.ends(), [0, 0, 0]);
    let one = bench.connect_to(1);
    bench.send(one, 12, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::stamped(&["a"], pid, 0, 0)) });
    assert_eq!(bench.answer_to(one), (ErrorCode::NONE, 0), "acks=1 does not care");
    assert_eq!(
        bench.produced_at(1, Batch::stamped(&["a"], pid, 0, 0)),
        (ErrorCode::NOT_ENOUGH_REPLICAS, -1),
        "a duplicate is refused before it is recognised"
    );
    assert_eq!(bench.high_watermark(), 0, "too few have it (KIP-966)");
    bench.cluster.start(bench.now, NodeId(2)).expect("it is stopped");
    assert_eq!(bench.produced_at(1, Batch::stamped(&["a"], pid, 0, 0)), (ErrorCode::NONE, 0));
    assert_eq!(bench.high_watermark(), 1);
}

#[test]
fn more_replicas_than_there_are_cannot_be_asked_for() {
    let mut bench = Bench::with_orders(1);
    bench.min_insync(3);
    assert_eq!(bench.produced(Batch::of(&["a"])), (ErrorCode::NONE, 0));
}

/// What happens to a batch that was appended while enough were in sync, and then they were not.
fn appended_before_the_isr_shrank(strict_min_isr: bool) -> (Bench, ConnectionId) {
    let mut bench = Bench::of_three_with(ClusterConfig { strict_min_isr, ..config_of_nodes(3) });
    bench.min_insync(3);
    bench.cluster.lag(bench.now, NodeId(3), NEVER).expect("it is there");
    let writer = bench.send_patient(1, Batch::of(&["a"]));
    bench.advance(LAG_MAX);
    assert_eq!(bench.leadership().2, [1, 2]);
    (bench, writer)
}

#[test]
fn too_few_in_sync_after_the_append_leave_it_uncommitted() {
    let (mut bench, writer) = appended_before_the_isr_shrank(true);
    assert_eq!((bench.event(), bench.high_watermark()), (None, 0));
    bench.advance(millis(PATIENCE as u64) - LAG_MAX);
    assert_eq!(bench.answer_to(writer), (ErrorCode::REQUEST_TIMED_OUT, 0));
    bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
    assert_eq!(bench.high_watermark(), 1, "three have it");
}

#[test]
fn too_few_in_sync_after_the_append_are_told_by_brokers_before_kip_966() {
    let (mut bench, writer) = appended_before_the_isr_shrank(false);
    assert_eq!(bench.answer_to(writer), (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 0));
    assert_eq!(bench.high_watermark(), 1, "they commit it all the same");
}

#[test]
fn deleted_topic_ends_requests_that_wait_for_it() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), NEVER).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.cluster.delete_topic(bench.now, "orders").expect("memory removes");
    assert_eq!(bench.answer_to(writer), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0));
}

#[test]
fn late_follower_that_is_elected_lacks_what_was_not_committed() {
    let mut bench = Bench::of_three();
    let pid = bench.producer_id();
    assert_eq!(bench.produced_at(1, Batch::stamped(&["a"], pid, 0, 0)).0, ErrorCode::NONE);
    bench.cluster.lag(bench.now, NodeId(2), NEVER).expect("it is there");
    let writer = bench.send_batch(1, Batch::stamped(&["b"], pid, 0, 1));
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    assert_eq!(bench.answer_to(writer), (ErrorCode::NOT_LEADER_OR_FOLLOWER, 1));
    assert_eq!(bench.ends(), [1, 1, 1], "the others follow the leader");
    assert_eq!(
        bench.produced_at(2, Batch::stamped(&["c"], pid, 0, 2)),
        (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
        "a hole would be left"
    );
    assert_eq!(bench.produced_at(2, Batch::stamped(&["b"], pid, 0, 1)), (ErrorCode::NONE, 1));
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3]);
}

#[test]
fn new_leader_does_not_tell_the_end_before_it_knows_what_is_committed() {
    let mut bench = Bench::of_three();
    bench.cluster.freeze(bench.now, NodeId(3)).expect("it runs");
    bench.send_batch(1, Batch::of(&["a"]));
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    while bench.event().is_some() {}
    assert_eq!(bench.end_of_log_at(2, -1), (ErrorCode::OFFSET_NOT_AVAILABLE, -1));
    bench.advance(Duration::from_secs(9));
    assert_eq!(bench.end_of_log_at(2, -1), (ErrorCode::NONE, 1));
}

/// Three generations of leaders, the last of which has batches of the first where the second has its own.
#[test]
fn logs_that_parted_twice_agree_again() {
    let mut bench = Bench::of_three();
    bench.produced_at(1, Batch::of(&["a"]));
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), NEVER).expect("it is there");
    }
    bench.send_batch(1, Batch::of(&["first", "first"]));
    bench.cluster.freeze(bench.now, NodeId(1)).expect("it runs");
    bench.cluster.freeze(bench.now, NodeId(3)).expect("it runs");
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    bench.send_batch(2, Batch::of(&["second"]));
    assert_eq!(bench.ends(), [3, 2, 1]);
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(1)).expect("it is still in sync");
    for node in [1, 3] {
        bench.cluster.thaw(bench.now, NodeId(node)).expect("it is frozen");
    }
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), None).expect("it is there");
    }
    bench.advance(millis(100));
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "first", "first"]; 3]);
    assert_eq!((bench.leadership(), bench.high_watermark()), ((Some(1), 2, vec![1, 2, 3]), 3));
}

/// `ClusterConfig::replica_lag_time_max`, as it is by default.
const LAG_MAX: Duration = Duration::from_secs(30);
/// The timeout of who waits longer than that.
const PATIENCE: i32 = 60_000;

impl Bench {
    fn min_insync(&mut self, min_insync_replicas: i32) {
        let config = TopicConfig { min_insync_replicas, ..TopicConfig::default() };
        self.cluster.alter_topic(self.now, "orders", config).expect("memory saves");
    }

    fn send_patient(&mut self, node: i32, batch: Batch) -> ConnectionId {
        let connection = self.connect_to(node);
        self.send(connection, 12, &ProduceRequest { timeout_ms: PATIENCE, ..produce("orders", 0, batch) });
        connection
    }

    fn event_count(&mut self) -> usize {
        std::iter::from_fn(|| self.event()).count()
    }

    /// What a consumer reads from an offset on, at node 1.
    fn read_values(&mut self, offset: i64) -> Vec<String> {
        let response = self.ask(12, &fetch(offset, 0));
        let records = response.responses[0].partitions[0].records.clone().expect("not null");
        let batches = milena_wire::records::batches(records).map(|batch| batch.expect("whole"));
        let values = batches.flat_map(|batch| batch.records()).map(|record| record.expect("reads").value);
        values.map(|value| String::from_utf8(value.expect("not null").to_vec()).expect("text")).collect()
    }

    fn end_of_log(&mut self, replica_id: i32) -> (ErrorCode, i64) {
        self.end_of_log_at(1, replica_id)
    }

    fn end_of_log_at(&mut self, node: i32, replica_id: i32) -> (ErrorCode, i64) {
        let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id, topics: vec![topic], ..Default::default() };
        let response = self.ask_node(node, 7, &request);
        let partition = &response.topics[0].partitions[0];
        (ErrorCode(partition.error_code), partition.offset)
    }
}

fn fetch(fetch_offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 100_000,
        ..Default::default()
    };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_bytes: 100_000, min_bytes: 1, max_wait_ms, topics: vec![topic], ..Default::default() }
}
