//! Elections that are asked for, replicas that move, and the size of their logs. What is expected here was seen on Kafka 4.3.1.

use std::time::Duration;

use milena_broker::{Cluster, ClusterConfig, Directory, NewTopic, NodeId, PartitionIndex, Process, Stop};
use milena_wire::ErrorCode;
use milena_wire::messages::alter_partition_reassignments::request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use milena_wire::messages::describe_log_dirs::request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use milena_wire::messages::elect_leaders::request::{ElectLeadersRequest, TopicPartitions};
use milena_wire::messages::list_partition_reassignments::request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use crate::client::{Batch, Bench, P0, config_of_nodes};
use crate::restart::Folder;

const NONE: ErrorCode = ErrorCode::NONE;

fn elect(bench: &mut Bench, version: i16, kind: i8, partitions: Option<&[(&str, &[i32])]>) -> Vec<(i32, ErrorCode)> {
    let topic = |(topic, partitions): &(&str, &[i32])| TopicPartitions {
        topic: (*topic).into(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let request = ElectLeadersRequest {
        election_type: kind,
        topic_partitions: partitions.map(|topics| topics.iter().map(topic).collect()),
        timeout_ms: 1_000,
        ..Default::default()
    };
    let alive = |node: &i32| bench.cluster.process(NodeId(*node)) == Some(Process::Running);
    let node = [1, 2, 3].into_iter().find(alive).expect("one is alive");
    let response = bench.ask_node(node, version, &request);
    let results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    results.map(|result| (result.partition_id, ErrorCode(result.error_code))).collect()
}

#[test]
fn preferred_leader_leads_again_in_every_version() {
    let mut bench = Bench::of_three();
    for version in 0..=2 {
        bench.cluster.move_leader(bench.now, "orders", P0, NodeId(3)).expect("it may lead");
        assert_eq!(elect(&mut bench, version, 0, Some(&[("orders", &[0])])), [(0, NONE)], "version {version}");
        assert_eq!(bench.leadership().0, Some(1));
        let again = elect(&mut bench, version, 0, Some(&[("orders", &[0, 0])]));
        assert_eq!(again, [(0, ErrorCode::ELECTION_NOT_NEEDED); 2]);
        assert_eq!(elect(&mut bench, version, 0, None), [], "who asks for all is told of those that changed");
    }
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    assert_eq!(elect(&mut bench, 2, 0, None), [(0, NONE)]);
}

#[test]
fn elections_that_cannot_be_are_told_with_kafkas_codes() {
    let mut bench = Bench::of_three();
    let missing = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let asked: [(&str, &[i32]); 3] = [("orders", &[9, -1, i32::MIN]), ("nope", &[0]), ("", &[])];
    let refused = elect(&mut bench, 2, 0, Some(&asked));
    assert_eq!(refused, [(9, missing), (-1, missing), (i32::MIN, missing), (0, missing)]);
    for kind in [7, -1, i8::MIN] {
        assert_eq!(elect(&mut bench, 2, kind, Some(&[("orders", &[0])])), [(0, ErrorCode::INVALID_REQUEST)]);
    }
    bench.cluster.stop(bench.now, NodeId(1), Stop::Clean).expect("it has a process");
    let without_it = elect(&mut bench, 2, 0, Some(&[("orders", &[0])]));
    assert_eq!(without_it, [(0, ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)]);
    assert_eq!(elect(&mut bench, 2, 1, Some(&[("orders", &[0])])), [(0, ErrorCode::ELECTION_NOT_NEEDED)]);
}

#[test]
fn unclean_election_is_for_partitions_that_nobody_leads() {
    let mut bench = Bench::of_three();
    for node in [2, 3] {
        bench.cluster.stop(bench.now, NodeId(node), Stop::Clean).expect("it has a process");
    }
    bench.produced(Batch::of(&["only on 1"]));
    bench.cluster.stop(bench.now, NodeId(1), Stop::Clean).expect("it has a process");
    bench.cluster.start(bench.now, NodeId(3)).expect("it is stopped");
    assert_eq!(bench.leadership().0, None);
    assert_eq!(elect(&mut bench, 2, 0, None), [(0, ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)]);
    assert_eq!(elect(&mut bench, 2, 1, None), [(0, NONE)]);
    assert_eq!((bench.leadership().0, bench.leadership().2), (Some(3), vec![3]));
    bench.cluster.start(bench.now, NodeId(1)).expect("it is stopped");
    assert_eq!(bench.values_on(1), Vec::<String>::new(), "what the new leader lacks is lost");
}

pub fn moves(bench: &mut Bench, version: i16, allow: bool, wanted: &[(&str, i32, Option<&[i32]>)]) -> Vec<ErrorCode> {
    let topic = |(topic, index, replicas): &(&str, i32, Option<&[i32]>)| ReassignableTopic {
        name: (*topic).into(),
        partitions: vec![ReassignablePartition {
            partition_index: *index,
            replicas: replicas.map(<[i32]>::to_vec),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: allow,
        topics: wanted.iter().map(topic).collect(),
        timeout_ms: 1_000,
        ..Default::default()
    };
    let response = bench.ask(version, &request);
    assert_eq!((response.error_code, response.error_message), (0, wanted.is_empty().then(|| "".into())));
    assert_eq!(response.allow_replication_factor_change, allow || version < 1 || wanted.is_empty());
    let results = response.responses.iter().flat_map(|topic| &topic.partitions);
    results.map(|result| ErrorCode(result.error_code)).collect()
}

/// Of partition 0 of `orders`: replicas, those to come, those to go.
fn under_way(bench: &mut Bench) -> Option<(Vec<i32>, Vec<i32>, Vec<i32>)> {
    let asked = ListPartitionReassignmentsTopics {
        name: "orders".into(),
        partition_indexes: vec![0, 99, -1],
        ..Default::default()
    };
    let unknown = ListPartitionReassignmentsTopics { name: "nope".into(), ..asked.clone() };
    let all = bench.ask(0, &ListPartitionReassignmentsRequest { topics: None, ..Default::default() });
    let named = ListPartitionReassignmentsRequest { topics: Some(vec![asked, unknown]), ..Default::default() };
    assert_eq!(bench.ask(0, &named).topics, all.topics);
    let none = bench.ask(0, &ListPartitionReassignmentsRequest { topics: Some(Vec::new()), ..Default::default() });
    assert_eq!((none.topics.len(), none.error_message), (0, None));
    let partition = all.topics.into_iter().next()?.partitions.remove(0);
    Some((partition.replicas, partition.adding_replicas, partition.removing_replicas))
}

fn replicas(cluster: &Cluster) -> Vec<i32> {
    cluster.partition("orders", P0).expect("it is there").replicas().map(|node| node.0).collect()
}

#[test]
fn replicas_move_at_once_and_records_move_with_them() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    bench.produced(Batch::of(&["a"]));
    for (version, target) in [(0, [4, 1, 2]), (1, [3, 4, 2])] {
        assert_eq!(moves(&mut bench, version, true, &[("orders", 0, Some(&target))]), [NONE]);
        assert_eq!((under_way(&mut bench), replicas(&bench.cluster)), (None, target.to_vec()));
        for node in target {
            assert_eq!(bench.values_on(node), ["a"], "node {node}");
        }
    }
    let (leader, epoch, isr) = bench.leadership();
    assert_eq!((leader, isr), (Some(3), vec![3, 4, 2]), "node 1 led, and has left");
    assert!(bench.cluster.log_on(NodeId(1), "orders", P0).is_none());
    assert_eq!(bench.produced_at(1, Batch::of(&["b"])).0, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(bench.produced_at(3, Batch::of(&["b"])), (NONE, 1));
    // The order alone is no reason for another epoch.
    assert_eq!(moves(&mut bench, 1, false, &[("orders", 0, Some(&[2, 3, 4]))]), [NONE]);
    assert_eq!(bench.leadership(), (Some(3), epoch, vec![2, 3, 4]));
    assert_eq!(moves(&mut bench, 1, true, &[("orders", 0, Some(&[3]))]), [NONE]);
    assert_eq!(bench.leadership(), (Some(3), epoch + 1, vec![3]));
    assert_eq!(moves(&mut bench, 1, true, &[("orders", 0, Some(&[3, 1]))]), [NONE]);
    assert_eq!(
        (bench.leadership(), bench.values_on(1)),
        ((Some(3), epoch + 1, vec![3, 1]), vec!["a".to_owned(), "b".to_owned()])
    );
}

#[test]
fn owner_moves_replicas_and_hears_what_cannot_be() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    bench.produced(Batch::of(&["a"]));
    let now = bench.now;
    let mut moved = |topic: &str, index, nodes: &[i32]| {
        let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
        bench.cluster.move_replicas(now, topic, PartitionIndex(index), &nodes).map_err(|error| error.to_string())
    };
    for (topic, index, nodes, why) in [
        ("nope", 0, &[1][..], "there is no topic \"nope\"; make it first"),
        ("orders", 1, &[1], "topic \"orders\" has 1 partitions, numbered from 0; there is no 1"),
        ("orders", 0, &[], "a partition needs a replica; name at least one node"),
        ("orders", 0, &[9], "there is no node 9; there are: 1, 2, 3, 4"),
        ("orders", 0, &[1, 1], "node 1 is named twice; it can have one replica"),
    ] {
        assert_eq!(moved(topic, index, nodes), Err(why.to_owned()));
    }
    moved("orders", 0, &[4, 2]).expect("they are there");
    assert_eq!((replicas(&bench.cluster), bench.leadership().0), (vec![4, 2], Some(4)));
    assert_eq!(bench.values_on(4), ["a"]);
}

#[test]
fn moves_are_refused_with_kafkas_codes() {
    let mut bench = Bench::of_three();
    let rows: [(&str, i32, Option<&[i32]>, ErrorCode); 9] = [
        ("nope", 0, Some(&[1]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("orders", 99, Some(&[1]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("orders", -1, Some(&[1]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("orders", 0, Some(&[]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        ("orders", 0, Some(&[1, 1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        ("orders", 0, Some(&[1, 9]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        ("orders", 0, Some(&[-1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        ("orders", 0, Some(&[1, 2]), ErrorCode::INVALID_REPLICATION_FACTOR),
        ("orders", 0, None, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
    ];
    for (topic, index, target, code) in rows {
        assert_eq!(moves(&mut bench, 1, false, &[(topic, index, target)]), [code], "{topic} {index} {target:?}");
    }
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
    assert_eq!(moves(&mut bench, 0, true, &[]), []);
}

#[test]
fn move_to_a_node_that_copies_nothing_waits_is_listed_and_can_be_cancelled() {
    let mut bench = Bench::with(config_of_nodes(4));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    bench.cluster.freeze(bench.now, NodeId(4)).expect("it runs");
    assert_eq!(moves(&mut bench, 1, true, &[("orders", 0, Some(&[4, 1]))]), [NONE]);
    assert_eq!(under_way(&mut bench), Some((vec![4, 1, 2, 3], vec![4], vec![2, 3])));
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
    assert_eq!(bench.produced_at(1, Batch::of(&["a"])), (NONE, 0), "who comes is not waited for");
    assert_eq!(moves(&mut bench, 1, true, &[("orders", 0, None)]), [NONE]);
    assert_eq!((under_way(&mut bench), replicas(&bench.cluster)), (None, vec![1, 2, 3]));
    assert_eq!(moves(&mut bench, 1, true, &[("orders", 0, Some(&[4, 2]))]), [NONE]);
    bench.cluster.thaw(bench.now, NodeId(4)).expect("it is frozen");
    bench.advance(Duration::from_secs(1));
    assert_eq!((under_way(&mut bench), replicas(&bench.cluster)), (None, vec![4, 2]), "it is over by itself");
    assert_eq!((bench.leadership().0, bench.values_on(4)), (Some(4), vec!["a".to_owned()]));
}

#[test]
fn move_that_is_not_over_outlives_a_restart() {
    let folder = Folder::new();
    let open =
        |config: ClusterConfig| Bench::open(config, Box::new(Directory::open(folder.path()).expect("it is ours")));
    {
        let mut bench = open(config_of_nodes(4));
        bench
            .cluster
            .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(2))
            .expect("the topic is new");
        bench.produced(Batch::of(&["a"]));
        bench.cluster.stop(bench.now, NodeId(4), Stop::Clean).expect("it has a process");
        assert_eq!(moves(&mut bench, 1, true, &[("orders", 0, Some(&[4, 2]))]), [NONE]);
        assert_eq!(under_way(&mut bench), Some((vec![4, 2, 1], vec![4], vec![1])));
    }
    let mut bench = open(config_of_nodes(4));
    assert_eq!((under_way(&mut bench), replicas(&bench.cluster)), (None, vec![4, 2]), "all nodes are there");
    assert_eq!(bench.values_on(4), ["a"]);
    drop(bench);
    assert_eq!(replicas(&open(config_of_nodes(4)).cluster), [4, 2]);
    assert!(!folder.path().join("node-1/orders-0").exists());
}

#[test]
fn sizes_of_logs_are_told_by_the_node_that_keeps_them() {
    let mut bench = Bench::of_three();
    bench
        .cluster
        .create_topic_with(NewTopic::new("others").partitions(2).replication_factor(1))
        .expect("the topic is new");
    let size = Batch::of(&["a"]).bytes().len() as i64;
    bench.produced(Batch::of(&["a"]));
    let mut told = |node, version, topics: Option<&[(&str, &[i32])]>| {
        let topic = |(topic, partitions): &(&str, &[i32])| DescribableLogDirTopic {
            topic: (*topic).into(),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        let response = bench.ask_node(node, version, &DescribeLogDirsRequest { topics, ..Default::default() });
        assert_eq!((response.error_code, response.results.len(), &*response.results[0].log_dir), (0, 1, "memory"));
        let dir = &response.results[0];
        assert_eq!((dir.error_code, dir.total_bytes, dir.usable_bytes), (0, -1, -1));
        let partitions = dir.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|it| (topic.name.to_string(), it.partition_index, it.partition_size, it.offset_lag))
        });
        partitions.collect::<Vec<_>>()
    };
    let orders = ("orders".to_owned(), 0, size, 0);
    for version in 1..=5 {
        let both = [orders.clone(), ("others".to_owned(), 1, 0, 0)];
        assert_eq!(told(2, version, None), both, "version {version}");
        assert_eq!(told(3, version, None), std::slice::from_ref(&orders));
    }
    assert_eq!(told(2, 4, Some(&[])), []);
    let asked: [(&str, &[i32]); 4] = [("orders", &[0, 99, -1]), ("nope", &[0]), ("orders", &[0]), ("others", &[])];
    assert_eq!(told(2, 4, Some(&asked)), [orders]);
}
