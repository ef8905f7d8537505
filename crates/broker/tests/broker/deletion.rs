//! DeleteRecords (KIP-107). What is expected here was seen on Kafka 4.3.1.

use std::time::Duration;

use milena_broker::{CleanupPolicy, NodeId, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::delete_records::request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use crate::client::{Batch, Bench, P0, START};

/// Index, low watermark, code.
fn delete(
    bench: &mut Bench,
    node: i32,
    version: i16,
    topic: &str,
    wanted: &[(i32, i64)],
) -> Vec<(i32, i64, ErrorCode)> {
    let partition = |(index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index: *index,
        offset: *offset,
        ..Default::default()
    };
    let asked = DeleteRecordsTopic {
        name: topic.into(),
        partitions: wanted.iter().map(partition).collect(),
        ..Default::default()
    };
    let request = DeleteRecordsRequest { topics: vec![asked], timeout_ms: 1_000, ..Default::default() };
    let mut topics = bench.ask_node(node, version, &request).topics;
    assert_eq!((topics.len(), &*topics[0].name), (1, topic));
    let told = topics.remove(0).partitions.into_iter();
    told.map(|it| (it.partition_index, it.low_watermark, ErrorCode(it.error_code))).collect()
}

fn earliest(bench: &mut Bench, node: i32) -> i64 {
    let asked = ListOffsetsPartition { timestamp: -2, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![asked], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -2, topics: vec![topic], ..Default::default() };
    bench.ask_node(node, 5, &request).topics[0].partitions[0].offset
}

/// Code, and where the log starts.
fn read(bench: &mut Bench, offset: i64) -> (ErrorCode, i64) {
    let asked = FetchPartition { fetch_offset: offset, partition_max_bytes: 10_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![asked], ..Default::default() };
    let request = FetchRequest { max_bytes: 10_000, topics: vec![topic], ..Default::default() };
    let data = bench.ask(12, &request).responses.remove(0).partitions.remove(0);
    (ErrorCode(data.error_code), data.log_start_offset)
}

const NONE: ErrorCode = ErrorCode::NONE;

fn since(bench: &mut Bench, timestamp: i64) -> (i64, i64, i32) {
    let asked = ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![asked], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let told = bench.ask(7, &request).topics.remove(0).partitions.remove(0);
    (told.offset, told.timestamp, told.leader_epoch)
}

#[test]
fn the_largest_time_is_told_of_a_record_that_is_gone_too() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a", "b"]));
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, -1)]), [(0, 2, NONE)]);
    // Kafka 4.3.1 looks into the segment, which is still there; a search by time begins where the log does.
    assert_eq!(since(&mut bench, -3), (0, START as i64, 0));
    assert_eq!(since(&mut bench, 0), (-1, -1, -1));
}

#[test]
fn the_first_record_is_the_newest_where_none_has_a_time() {
    let mut bench = Bench::with_orders(1);
    assert_eq!(since(&mut bench, -3), (-1, -1, -1));
    for _ in 0..2 {
        bench.produced(Batch::of(&["a", "b"]).at(&[-1, -1]));
    }
    assert_eq!(since(&mut bench, -3), (0, -1, 0));
}

/// Kafka 4.3.1 lets segments go by and by, looks by time into the first that has a record as new, and stops there.
#[test]
fn segments_of_deleted_records_stay_until_the_next_look_at_them() {
    let mut bench = Bench::new();
    let topic = TopicConfig { segment_ms: 1_000, ..TopicConfig::default() };
    crate::segments::create(&mut bench, topic);
    let time = START as i64;
    bench.produced(Batch::of(&["a"]).at(&[time]));
    bench.produced(Batch::of(&["b"]).at(&[time + 5_000]));
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, 1)]), [(0, 1, NONE)]);
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").segments(), [0, 1]);
    assert_eq!(since(&mut bench, time), (-1, -1, -1));
    bench.cluster.retain_now(bench.now);
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").segments(), [1]);
    assert_eq!(since(&mut bench, time), (1, time + 5_000, 0));
}

/// The largest time of a batch was that of a record that is gone. What is left of it is older than asked for, and was told all the same.
#[test]
fn what_is_left_of_a_batch_is_told_only_if_it_is_as_new() {
    let mut bench = Bench::with_orders(1);
    let time = START as i64;
    bench.produced(Batch::of(&["new", "old"]).at(&[time, time - 5_000]));
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, 1)]), [(0, 1, NONE)]);
    assert_eq!(since(&mut bench, time - 5_000), (1, time - 5_000, 0));
    assert_eq!(since(&mut bench, time - 1_000), (-1, -1, -1));
    bench.produced(Batch::of(&["next"]).at(&[time - 500]));
    assert_eq!(since(&mut bench, time - 1_000), (2, time - 500, 0));
}

#[test]
fn records_before_an_offset_go_on_all_replicas_in_every_version() {
    let mut bench = Bench::of_three();
    for _ in 0..5 {
        bench.produced(Batch::of(&["a", "b"]));
    }
    for (version, offset) in [(0, 3), (1, 5), (2, 6)] {
        assert_eq!(delete(&mut bench, 1, version, "orders", &[(0, offset)]), [(0, offset, NONE)], "version {version}");
        assert_eq!([1, 2, 3].map(|node| earliest(&mut bench, node)), [offset; 3]);
        assert_eq!(read(&mut bench, offset - 1).0, ErrorCode::OFFSET_OUT_OF_RANGE);
        assert_eq!(read(&mut bench, offset), (NONE, offset));
    }
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, 2)]), [(0, 6, NONE)], "what is gone stays gone");
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, -1)]), [(0, 10, NONE)], "all that is committed");
    assert_eq!(bench.produced(Batch::of(&["c"])), (NONE, 10));
}

#[test]
fn deletions_are_refused_with_kafkas_codes() {
    let mut bench = Bench::of_three();
    bench.produced(Batch::of(&["a"]));
    let (range, missing) = (ErrorCode::OFFSET_OUT_OF_RANGE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    for offset in [2, i64::MAX, -2, i64::MIN] {
        assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, offset)]), [(0, -1, range)], "offset {offset}");
    }
    let asked = [(0, 99), (9, 0), (-1, 0), (0, 0)];
    let told = delete(&mut bench, 1, 2, "orders", &asked);
    assert_eq!(told, [(-1, -1, missing), (0, 0, NONE), (9, -1, missing)], "the last word about a partition counts");
    assert_eq!(delete(&mut bench, 1, 2, "nope", &[(0, 0)]), [(0, -1, missing)]);
    assert_eq!(delete(&mut bench, 2, 2, "orders", &[(0, 0)]), [(0, -1, ErrorCode::NOT_LEADER_OR_FOLLOWER)]);
    let config = TopicConfig { cleanup: CleanupPolicy::Compact, ..TopicConfig::default() };
    bench.cluster.alter_topic(bench.now, "orders", config).expect("memory saves");
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, 1)]), [(0, -1, ErrorCode::POLICY_VIOLATION)]);
    let none = DeleteRecordsRequest { topics: Vec::new(), ..Default::default() };
    assert!(bench.ask(2, &none).topics.is_empty());
}

#[test]
fn only_what_is_committed_can_be_deleted() {
    let mut bench = Bench::of_three();
    bench.produced(Batch::of(&["a"]));
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    let waiting = bench.send_batch(1, Batch::of(&["b"]));
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, 2)]), [(0, -1, ErrorCode::OFFSET_OUT_OF_RANGE)]);
    bench.cluster.disconnect(waiting);
}

fn request(offset: i64, timeout_ms: i32) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition { offset, ..Default::default() };
    let topics = vec![DeleteRecordsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() }];
    DeleteRecordsRequest { topics, timeout_ms, ..Default::default() }
}

#[test]
fn answer_waits_for_followers_that_copy_late_and_at_most_for_its_timeout() {
    let mut bench = Bench::of_three();
    for _ in 0..3 {
        bench.produced(Batch::of(&["a"]));
    }
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    let told = |bench: &mut Bench, connection| {
        let result = bench.response::<DeleteRecordsRequest>(connection, 2).topics.remove(0).partitions.remove(0);
        (ErrorCode(result.error_code), result.low_watermark)
    };
    let admin = bench.connect();
    bench.send(admin, 2, &request(1, 500));
    assert_eq!(bench.event(), None, "node 3 has not deleted");
    bench.advance(Duration::from_millis(500));
    assert_eq!(told(&mut bench, admin), (ErrorCode::REQUEST_TIMED_OUT, 0));
    assert_eq!([1, 2, 3].map(|node| earliest(&mut bench, node)), [1, 1, 0]);
    bench.send(admin, 2, &request(2, 500));
    assert_eq!(bench.event(), None);
    bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
    assert_eq!(told(&mut bench, admin), (NONE, 2));
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    bench.send(admin, 2, &request(3, 500));
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    assert_eq!(told(&mut bench, admin), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    for timeout in [0, -1, i32::MIN] {
        let now = bench.ask_node(2, 2, &request(-1, timeout)).topics.remove(0).partitions.remove(0);
        assert_eq!(ErrorCode(now.error_code), ErrorCode::REQUEST_TIMED_OUT, "timeout {timeout}");
    }
}

#[test]
fn moved_replica_starts_where_the_others_do() {
    let mut bench = Bench::with(crate::client::config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    for _ in 0..3 {
        bench.produced(Batch::of(&["a"]));
    }
    assert_eq!(delete(&mut bench, 1, 2, "orders", &[(0, 2)]), [(0, 2, NONE)]);
    let codes = crate::moves::moves(&mut bench, 1, true, &[("orders", 0, Some(&[4, 1]))]);
    assert_eq!((codes, earliest(&mut bench, 4)), (vec![NONE], 2));
}
