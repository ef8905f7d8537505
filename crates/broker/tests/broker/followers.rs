//! Reading from followers (KIP-392): who is sent where, and what is read there. What is expected here was seen on Kafka 4.3.1.

use std::time::Duration;

use milena_broker::{ClusterConfig, NodeId};
use milena_wire::ErrorCode;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{FetchResponse, PartitionData};
use milena_wire::messages::metadata::request::MetadataRequest;

use crate::client::{Batch, Bench, config_of_nodes};

fn racks() -> ClusterConfig {
    let racks = [(NodeId(1), "a"), (NodeId(2), "b"), (NodeId(3), "b")];
    ClusterConfig { racks: racks.map(|(node, rack)| (node, rack.to_owned())).into(), ..config_of_nodes(3) }
}

fn fetch(bench: &Bench, rack: &str, offset: i64) -> FetchRequest {
    let asked = FetchPartition { fetch_offset: offset, partition_max_bytes: 10_000, ..Default::default() };
    let topic = FetchTopic {
        topic: "orders".into(),
        topic_id: bench.topic_id("orders"),
        partitions: vec![asked],
        ..Default::default()
    };
    FetchRequest { max_bytes: 10_000, min_bytes: 1, rack_id: rack.into(), topics: vec![topic], ..Default::default() }
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

/// Code, high watermark, preferred replica, whether there are records.
fn read(bench: &mut Bench, node: i32, version: i16, rack: &str, offset: i64) -> (ErrorCode, i64, i32, bool) {
    let request = fetch(bench, rack, offset);
    let response = bench.ask_node(node, version, &request);
    let data = only(&response);
    let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
    (ErrorCode(data.error_code), data.high_watermark, data.preferred_read_replica, has_records)
}

#[test]
fn consumer_is_sent_to_a_replica_in_its_rack_and_reads_there() {
    let mut bench = Bench::of_three_with(racks());
    bench.produced(Batch::of(&["a"]));
    for version in 11..=18 {
        assert_eq!(read(&mut bench, 1, version, "b", 0), (ErrorCode::NONE, 1, 2, false), "version {version}");
        assert_eq!(read(&mut bench, 2, version, "b", 0), (ErrorCode::NONE, 1, -1, true), "version {version}");
        for rack in ["a", "c", ""] {
            assert_eq!(read(&mut bench, 1, version, rack, 0), (ErrorCode::NONE, 1, -1, true), "rack {rack:?}");
        }
    }
    assert_eq!(read(&mut bench, 2, 10, "", 0).0, ErrorCode::NOT_LEADER_OR_FOLLOWER, "older ones know only leaders");
}

#[test]
fn nobody_is_sent_to_a_replica_that_lacks_what_is_asked_or_is_not_in_sync() {
    let config = ClusterConfig { replica_lag_time_max: Duration::from_secs(1), ..racks() };
    let mut bench = Bench::of_three_with(config);
    bench.produced(Batch::of(&["a"]));
    bench.cluster.lag(bench.now, NodeId(2), Some(Duration::MAX)).expect("it is there");
    let waiting = bench.send_batch(1, Batch::of(&["b"]));
    assert_eq!(read(&mut bench, 1, 12, "b", 0), (ErrorCode::NONE, 1, 3, false), "3 has more");
    assert_eq!(read(&mut bench, 1, 12, "b", 3).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    bench.cluster.disconnect(waiting);
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    let unheeded = bench.send_batch(1, Batch::of(&["c"]));
    bench.cluster.disconnect(unheeded);
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.leadership().2, [1], "the leader is alone in sync");
    assert_eq!(read(&mut bench, 1, 12, "b", 0), (ErrorCode::NONE, 3, -1, true));
}

#[test]
fn follower_gives_what_it_knows_to_be_committed() {
    let mut bench = Bench::of_three_with(racks());
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::from_millis(200))).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    let reader = bench.connect_to(2);
    let waiting = FetchRequest { max_wait_ms: 1_000, ..fetch(&bench, "b", 0) };
    bench.send(reader, 12, &waiting);
    assert_eq!(bench.event(), None, "node 2 has the batch, but not all have");
    assert_eq!(bench.ends(), [1, 1, 0]);
    bench.advance(Duration::from_millis(200));
    let mut answers = [bench.event(), bench.event()].into_iter().flatten().collect::<Vec<_>>();
    answers.retain(|event| matches!(event, milena_broker::Event::Response { connection, .. } if *connection == reader));
    assert_eq!(answers.len(), 1, "the reader is answered");
    bench.cluster.disconnect(writer);
    assert_eq!(read(&mut bench, 2, 12, "", 0), (ErrorCode::NONE, 1, -1, true));
}

#[test]
fn racks_are_told() {
    let mut bench = Bench::of_three_with(racks());
    for version in 1..=13 {
        let all = MetadataRequest { topics: None, allow_auto_topic_creation: true, ..Default::default() };
        let metadata = bench.ask(version, &all);
        let told: Vec<_> = metadata.brokers.iter().map(|broker| broker.rack.as_deref()).collect();
        assert_eq!(told, [Some("a"), Some("b"), Some("b")], "version {version}");
    }
    let cluster = bench.ask(1, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() });
    assert_eq!(cluster.brokers[1].rack.as_deref(), Some("b"));
    let mut bench = Bench::of_three();
    let metadata = bench.ask(9, &MetadataRequest { topics: None, ..Default::default() });
    assert!(metadata.brokers.iter().all(|broker| broker.rack.is_none()));
}
