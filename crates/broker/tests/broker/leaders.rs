//! Several nodes: who leads what, what the others answer, and what moves with a leader.

use milena_broker::{Cluster, ClusterConfig, Memory, Moment, NodeId, OpenError, PartitionIndex};
use milena_wire::ErrorCode;
use milena_wire::messages::create_topics::request::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::client::{Batch, Bench, P0, config_of_nodes};

fn all() -> MetadataRequest {
    MetadataRequest { topics: None, ..Default::default() }
}

fn open(config: ClusterConfig) -> Result<Cluster, OpenError> {
    Cluster::open(config, Box::new(Memory), Moment::default())
}

#[test]
fn leaders_and_replicas_go_around() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 5).expect("the topic is new");
    for node in 1..=4 {
        let metadata = bench.ask_node(node, 12, &all());
        let brokers: Vec<_> =
            metadata.brokers.iter().map(|broker| (broker.node_id, &*broker.host, broker.port)).collect();
        assert_eq!(brokers[..2], [(1, "broker1.test", 9091), (2, "broker2.test", 9092)]);
        assert_eq!((brokers.len(), metadata.controller_id), (4, 1));
        let replicas: Vec<_> =
            metadata.topics[0].partitions.iter().map(|p| (p.leader_id, p.replica_nodes.clone())).collect();
        let expected =
            [(1, vec![1, 2, 3]), (2, vec![2, 3, 4]), (3, vec![3, 4, 1]), (4, vec![4, 1, 2]), (1, vec![1, 2, 3])];
        assert_eq!(replicas, expected);
        assert!(metadata.topics[0].partitions.iter().all(|p| p.isr_nodes == p.replica_nodes && p.leader_epoch == 0));
    }
    let cluster = bench.ask_node(3, 2, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() });
    assert_eq!(cluster.brokers.iter().map(|broker| broker.broker_id).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

/// The nodes of each partition, or why there are none.
type Placed = Result<&'static [&'static [i32]], ErrorCode>;

#[test]
fn topics_have_the_replicas_that_are_asked_for() {
    let mut bench = Bench::with(config_of_nodes(3));
    let plain = |name: &str, factor| CreatableTopic {
        name: name.into(),
        num_partitions: 2,
        replication_factor: factor,
        ..Default::default()
    };
    let assigned = |name: &str, nodes: &[&[i32]]| CreatableTopic {
        num_partitions: -1,
        assignments: (0..)
            .zip(nodes)
            .map(|(partition_index, nodes)| CreatableReplicaAssignment {
                partition_index,
                broker_ids: nodes.to_vec(),
                ..Default::default()
            })
            .collect(),
        ..plain(name, -1)
    };
    let rows: [(CreatableTopic, Placed); 8] = [
        (plain("default", -1), Ok(&[&[1, 2, 3], &[2, 3, 1]])),
        (plain("two", 2), Ok(&[&[1, 2], &[2, 3]])),
        (plain("four", 4), Err(ErrorCode::INVALID_REPLICATION_FACTOR)),
        (plain("none", 0), Err(ErrorCode::INVALID_REPLICATION_FACTOR)),
        (assigned("chosen", &[&[3, 1], &[1, 2]]), Ok(&[&[3, 1], &[1, 2]])),
        (assigned("uneven", &[&[3, 1], &[1]]), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT)),
        (assigned("twice", &[&[3, 3]]), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT)),
        (assigned("elsewhere", &[&[3, 4]]), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT)),
    ];
    for (topic, expected) in rows {
        let name = topic.name.clone();
        let created =
            bench.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).topics[0].clone();
        match expected {
            Err(code) => assert_eq!(ErrorCode(created.error_code), code, "{name}"),
            Ok(replicas) => {
                assert_eq!(
                    (created.error_code, usize::from(created.replication_factor as u16)),
                    (0, replicas[0].len()),
                    "{name}"
                );
                for (index, nodes) in (0..).map(PartitionIndex).zip(replicas) {
                    let partition = bench.cluster.partition(&name, index).expect("it was made");
                    assert!(partition.replicas().map(|node| node.0).eq(nodes.iter().copied()), "{name}");
                    assert_eq!(partition.leader(), Some(NodeId(nodes[0])), "{name}");
                }
            }
        }
    }
}

#[test]
fn clusters_need_nodes_with_ids_of_their_own() {
    assert!(matches!(open(config_of_nodes(0)), Err(OpenError::NoNodes)));
    let mut config = config_of_nodes(2);
    config.nodes[1].id = NodeId(1);
    assert!(matches!(open(config), Err(OpenError::RepeatedNode(NodeId(1)))));
    let mut cluster = open(config_of_nodes(2)).expect("two nodes are fine");
    assert!(cluster.connect(NodeId(3)).is_none());
}

#[test]
fn who_does_not_lead_says_so_to_readers_and_writers() {
    let mut bench = Bench::of_three();
    assert_eq!(bench.produced_at(2, Batch::of(&["a"])), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(bench.produced_at(1, Batch::of(&["a"])), (ErrorCode::NONE, 0));
    for (node, expected) in [(1, ErrorCode::NONE), (2, ErrorCode::NOT_LEADER_OR_FOLLOWER)] {
        assert_eq!(fetched(&mut bench, node, 0), ErrorCode::NONE, "followers are read from, too");
        assert_eq!(latest(&mut bench, node, -1).0, expected);
        let partition = OffsetForLeaderPartition { current_leader_epoch: -1, ..Default::default() };
        let topic = OffsetForLeaderTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
        let epochs =
            bench.ask_node(node, 4, &OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() });
        assert_eq!(ErrorCode(epochs.topics[0].partitions[0].error_code), expected);
    }
    assert_eq!(latest(&mut bench, 2, -2), (ErrorCode::NONE, 1), "a debugging tool may ask a follower");
}

#[test]
fn node_without_a_replica_knows_of_the_topic_but_not_of_its_data() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    assert_eq!(bench.produced_at(4, Batch::of(&["a"])), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(fetched(&mut bench, 4, 0), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let topic = TopicRequest { name: "orders".into(), partition_indexes: vec![0], ..Default::default() };
    let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
    let code =
        |bench: &mut Bench, node| ErrorCode(bench.ask_node(node, 0, &request).topics[0].partitions[0].error_code);
    assert_eq!(code(&mut bench, 4), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(code(&mut bench, 3), ErrorCode::NONE, "followers tell too");
}

#[test]
fn moved_leader_takes_over_under_the_next_epoch_with_everything() {
    let mut bench = Bench::of_three();
    let pid = bench.producer_id();
    for sequence in 0..5 {
        assert_eq!(
            bench.produced_at(1, Batch::stamped(&["x"], pid, 0, sequence)),
            (ErrorCode::NONE, i64::from(sequence))
        );
    }
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(3)).expect("it may lead");
    assert_eq!(bench.leadership(), (Some(3), 1, vec![1, 2, 3]));
    assert_eq!(bench.produced_at(1, Batch::stamped(&["x"], pid, 0, 5)), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    for sequence in 0..5 {
        let again = bench.produced_at(3, Batch::stamped(&["x"], pid, 0, sequence));
        assert_eq!(
            again,
            (ErrorCode::NONE, i64::from(sequence)),
            "a follower rebuilds producer state from what it copies"
        );
    }
    assert_eq!(bench.produced_at(3, Batch::stamped(&["y"], pid, 0, 5)), (ErrorCode::NONE, 5));
    assert_eq!(bench.ends(), [6, 6, 6]);
    let metadata = bench.ask_node(2, 12, &all());
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch), (3, 1));
}

#[test]
fn leaders_move_only_to_other_replicas_that_are_there() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    let mut moves =
        |topic: &str, index, node| bench.cluster.move_leader(bench.now, topic, PartitionIndex(index), NodeId(node));
    let now_there = "the leader is node 1, in sync: 1, 2, 3";
    for (topic, index, node, why) in [
        ("orders", 0, 1, format!("node 1 cannot be made leader: it leads already; {now_there}")),
        ("orders", 0, 4, format!("node 4 cannot be made leader: it has no replica of the partition; {now_there}")),
        ("orders", 0, 9, "there is no node 9; there are: 1, 2, 3, 4".to_owned()),
        ("orders", 1, 2, "topic \"orders\" has 1 partitions, numbered from 0; there is no 1".to_owned()),
        ("nothing", 0, 2, "there is no topic \"nothing\"; make it first".to_owned()),
    ] {
        assert_eq!(moves(topic, index, node).map_err(|error| error.to_string()), Err(why));
    }
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
}

#[test]
fn epochs_of_readers_are_compared_by_leaders_and_followers() {
    let mut bench = Bench::of_three();
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    for node in [1, 2] {
        assert_eq!(fetched(&mut bench, node, 0), ErrorCode::FENCED_LEADER_EPOCH);
        assert_eq!(fetched(&mut bench, node, 2), ErrorCode::UNKNOWN_LEADER_EPOCH);
    }
    assert_eq!(fetched(&mut bench, 2, 1), ErrorCode::NONE);
    assert_eq!(fetched(&mut bench, 1, 1), ErrorCode::NONE, "it follows, and may be read from");
}

#[test]
fn recreated_topic_has_a_new_id_and_the_old_one_is_unknown() {
    let mut bench = Bench::of_three();
    let old = bench.topic_id("orders");
    bench.produced_at(1, Batch::of(&["a"]));
    bench.cluster.delete_topic(bench.now, "orders").expect("memory removes");
    bench.cluster.create_topic("orders", 1).expect("the name is free");
    let mut request = crate::client::produce("orders", 0, Batch::of(&["b"]));
    request.topic_data[0].topic_id = old;
    let response = bench.ask_node(1, 13, &request);
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!((ErrorCode(partition.error_code), partition.base_offset), (ErrorCode::UNKNOWN_TOPIC_ID, -1));
    request.topic_data[0].topic_id = bench.topic_id("orders");
    assert_eq!(bench.ask_node(1, 13, &request).responses[0].partition_responses[0].error_code, 0);
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["b"]; 3]);
}

/// The code of reading partition 0 of `orders` from its start, believing in a leader epoch.
fn fetched(bench: &mut Bench, node: i32, leader_epoch: i32) -> ErrorCode {
    let partition = FetchPartition {
        current_leader_epoch: leader_epoch,
        partition_max_bytes: 1_000,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1_000, topics: vec![topic], ..Default::default() };
    ErrorCode(bench.ask_node(node, 12, &request).responses[0].partitions[0].error_code)
}

/// Code and offset of the end of partition 0 of `orders`, as a consumer (−1) or a debugging tool (−2) is told it.
fn latest(bench: &mut Bench, node: i32, replica_id: i32) -> (ErrorCode, i64) {
    let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
    let response =
        bench.ask_node(node, 7, &ListOffsetsRequest { replica_id, topics: vec![topic], ..Default::default() });
    let partition = &response.topics[0].partitions[0];
    (ErrorCode(partition.error_code), partition.offset)
}
