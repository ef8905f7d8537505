//! Eligible leader replicas (KIP-966): who may be elected although nobody is in sync. What is expected here was seen on Kafka 4.3.1, with nodes that were
//! killed, terminated and started again.

use std::time::Duration;

use milena_broker::{ClusterConfig, Directory, KafkaRelease, NewTopic, NodeId, Stop, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::describe_topic_partitions::request::{DescribeTopicPartitionsRequest, TopicRequest};

use crate::client::{Batch, Bench, config_of_nodes};
use crate::restart::Folder;

/// Leader, leader epoch, ISR, ELR, last known ELR.
type Told = (i32, i32, Vec<i32>, Vec<i32>, Vec<i32>);

fn told(bench: &mut Bench, asked: i32, topic: &str) -> Told {
    let topics = vec![TopicRequest { name: topic.into(), ..Default::default() }];
    let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, ..Default::default() };
    let partition = bench.ask_node(asked, 0, &request).topics.remove(0).partitions.remove(0);
    assert_eq!(partition.error_code, 0, "that nobody leads is no error here");
    let (elr, last) = (partition.eligible_leader_replicas, partition.last_known_elr);
    (partition.leader_id, partition.leader_epoch, partition.isr_nodes, elr.expect("told"), last.expect("told"))
}

fn strict(min_insync_replicas: i32) -> TopicConfig {
    TopicConfig { min_insync_replicas, ..TopicConfig::default() }
}

/// Three nodes, and `orders` of which so many replicas must be in sync.
fn of_three(min: i32) -> Bench {
    let mut bench = Bench::with(config_of_nodes(3));
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(3).config(strict(min)))
        .expect("the topic is new");
    bench
}

fn stop(bench: &mut Bench, node: i32, how: Stop) {
    bench.cluster.stop(bench.now, NodeId(node), how).expect("it has a process");
    if how == Stop::Kill {
        bench.advance(Duration::from_secs(9));
    }
}

#[test]
fn too_small_an_isr_leaves_eligible_replicas_behind() {
    for how in [Stop::Kill, Stop::Clean] {
        let mut bench = of_three(2);
        stop(&mut bench, 1, how);
        assert_eq!(told(&mut bench, 3, "orders"), (2, 1, vec![2, 3], vec![], vec![]), "enough are in sync");
        stop(&mut bench, 2, how);
        assert_eq!(told(&mut bench, 3, "orders"), (3, 2, vec![3], vec![2], vec![]));
        bench.cluster.start(bench.now, NodeId(2)).expect("it is stopped");
        assert_eq!(told(&mut bench, 3, "orders"), (3, 2, vec![2, 3], vec![], vec![]));
    }
}

#[test]
fn lone_replica_is_eligible_and_was_last_known() {
    for (min, how) in [(1, Stop::Kill), (1, Stop::Clean), (2, Stop::Kill)] {
        let mut bench = Bench::with(config_of_nodes(3));
        bench
            .cluster
            .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(1).config(strict(min)))
            .expect("the topic is new");
        stop(&mut bench, 1, how);
        assert_eq!(told(&mut bench, 2, "orders"), (-1, 1, vec![], vec![1], vec![1]), "{how:?}");
        bench.cluster.start(bench.now, NodeId(1)).expect("it is stopped");
        assert_eq!(told(&mut bench, 2, "orders"), (1, 2, vec![1], vec![], vec![]), "{how:?}");
    }
}

#[test]
fn eligible_replica_is_elected_and_lacks_nothing_that_was_committed() {
    let mut bench = of_three(2);
    assert_eq!(bench.produced_at(1, Batch::of(&["a"])), (ErrorCode::NONE, 0));
    for node in [3, 2] {
        stop(&mut bench, node, Stop::Clean);
    }
    assert_eq!(told(&mut bench, 1, "orders"), (1, 0, vec![1], vec![2], vec![]));
    assert_eq!(bench.produced_at(1, Batch::of(&["b"])).0, ErrorCode::NOT_ENOUGH_REPLICAS);
    stop(&mut bench, 1, Stop::Clean);
    bench.cluster.start(bench.now, NodeId(3)).expect("it is stopped");
    assert_eq!(told(&mut bench, 3, "orders"), (-1, 1, vec![], vec![2, 1], vec![1]), "3 may lack something");
    bench.cluster.start(bench.now, NodeId(2)).expect("it is stopped");
    assert_eq!(told(&mut bench, 3, "orders"), (2, 2, vec![2, 3], vec![], vec![]));
    assert_eq!(bench.values_on(2), ["a"]);
}

#[test]
fn process_that_was_killed_is_not_eligible_any_more() {
    let mut bench = of_three(2);
    for node in [3, 2] {
        stop(&mut bench, node, Stop::Kill);
    }
    stop(&mut bench, 1, Stop::Kill);
    bench.cluster.start(bench.now, NodeId(2)).expect("it is stopped");
    assert_eq!(told(&mut bench, 2, "orders"), (-1, 1, vec![], vec![1], vec![1]));
    bench.cluster.start(bench.now, NodeId(1)).expect("it is stopped");
    let (leader, epoch, ..) = told(&mut bench, 2, "orders");
    assert_eq!((leader, epoch), (1, 2), "who led last is elected where nobody is eligible");
}

#[test]
fn fewer_that_must_be_in_sync_leave_nobody_eligible() {
    let mut bench = of_three(2);
    for node in [3, 2] {
        stop(&mut bench, node, Stop::Clean);
    }
    bench.cluster.alter_topic(bench.now, "orders", strict(1)).expect("memory saves");
    assert_eq!(told(&mut bench, 1, "orders"), (1, 0, vec![1], vec![], vec![]));
    assert_eq!(bench.produced_at(1, Batch::of(&["only on 1"])), (ErrorCode::NONE, 0));
    stop(&mut bench, 1, Stop::Clean);
    bench.cluster.start(bench.now, NodeId(2)).expect("it is stopped");
    assert_eq!(told(&mut bench, 2, "orders"), (-1, 1, vec![], vec![1], vec![1]), "it lacks what was committed since");
}

#[test]
fn releases_before_4_1_keep_the_last_one_in_sync() {
    let mut bench = Bench::with(config_of_nodes(3).behave_as(KafkaRelease::V4_0));
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(1).config(strict(1)))
        .expect("the topic is new");
    stop(&mut bench, 1, Stop::Clean);
    assert_eq!(told(&mut bench, 2, "orders"), (-1, 1, vec![1], vec![], vec![]));
}

#[test]
fn who_is_eligible_outlives_a_restart() {
    let folder = Folder::new();
    let open =
        |config: ClusterConfig| Bench::open(config, Box::new(Directory::open(folder.path()).expect("it is ours")));
    {
        let mut bench = open(config_of_nodes(3));
        bench
            .cluster
            .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(3).config(strict(2)))
            .expect("the topic is new");
        bench.produced(Batch::of(&["a"]));
        for node in [3, 2, 1] {
            stop(&mut bench, node, Stop::Clean);
        }
        assert_eq!(bench.leadership(), (None, 1, vec![]));
    }
    let mut bench = open(config_of_nodes(3));
    let (leader, _, isr, elr, last) = told(&mut bench, 1, "orders");
    assert_eq!((leader, isr, elr, last), (1, vec![1, 2, 3], vec![], vec![]));
    assert_eq!(bench.values(), ["a"]);
}
