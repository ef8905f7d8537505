//! What a node tells those who ask the wrong one: who leads, under which epoch, and where that is (KIP-951).

use milena_broker::NodeId;
use milena_wire::ErrorCode;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};

use crate::client::{Batch, Bench, P0, config_of_nodes, produce};

#[test]
fn refused_writers_are_told_the_leader_since_version_10() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    let mut request = produce("orders", 0, Batch::of(&["a"]));
    request.topic_data[0].topic_id = bench.topic_id("orders");
    // Node 1 has a replica, node 4 has none.
    for node in [1, 4] {
        for version in 9..=13 {
            let response = bench.ask_node(node, version, &request);
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!(ErrorCode(partition.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER);
            let hint = (partition.current_leader.leader_id, partition.current_leader.leader_epoch);
            let nodes: Vec<_> =
                response.node_endpoints.iter().map(|node| (node.node_id, &*node.host, node.port)).collect();
            match version {
                9 => assert_eq!((hint, nodes), ((-1, -1), vec![])),
                _ => assert_eq!((hint, nodes), ((2, 1), vec![(2, "broker2.test", 9092)]), "version {version}"),
            }
        }
    }
}

#[test]
fn writers_that_found_the_leader_are_told_nothing_more() {
    let mut bench = Bench::of_three();
    let response = bench.ask(12, &produce("orders", 0, Batch::of(&["a"])));
    assert!(response.node_endpoints.is_empty());
    assert_eq!(response.responses[0].partition_responses[0].current_leader.leader_id, -1);
}

#[test]
fn refused_readers_are_told_the_leader_and_where_it_is() {
    let mut bench = Bench::of_three();
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(3)).expect("it may lead");
    let partition = FetchPartition {
        current_leader_epoch: 0,
        partition_max_bytes: 1_000,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: "orders".into(),
        topic_id: bench.topic_id("orders"),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = FetchRequest { max_bytes: 1_000, topics: vec![topic], ..Default::default() };
    let mut told = |version| {
        let response = bench.ask_node(1, version, &request);
        let data = &response.responses[0].partitions[0];
        assert_eq!(ErrorCode(data.error_code), ErrorCode::FENCED_LEADER_EPOCH);
        let nodes: Vec<_> = response.node_endpoints.iter().map(|node| node.node_id).collect();
        (data.current_leader.leader_id, data.current_leader.leader_epoch, nodes)
    };
    assert_eq!(told(11), (-1, -1, vec![]));
    assert_eq!(told(15), (-1, -1, vec![]), "Kafka leaves the field empty until it tells where the leader is");
    assert_eq!(told(16), (3, 1, vec![3]));
}
