//! Nodes whose metadata is old: what they tell, and for how long.

use std::time::Duration;

use milena_broker::{NodeId, PartitionIndex, Stop};
use milena_wire::messages::metadata::request::MetadataRequest;

use crate::client::{Bench, P0};

/// Leader, epoch and number of brokers, as a node tells them.
fn told(bench: &mut Bench, node: i32) -> (i32, i32, usize) {
    let metadata = bench.ask_node(node, 12, &MetadataRequest { topics: None, ..Default::default() });
    let partition = &metadata.topics[0].partitions[0];
    (partition.leader_id, partition.leader_epoch, metadata.brokers.len())
}

#[test]
fn old_metadata_tells_leaders_and_epochs_of_the_past() {
    let mut bench = Bench::of_three();
    let second = Duration::from_secs(1);
    bench.cluster.age_metadata(bench.now, NodeId(3), 2 * second).expect("it is there");
    assert!(bench.cluster.age_metadata(bench.now, NodeId(4), second).is_err());
    bench.advance(10 * second);
    for leader in [2, 3, 1] {
        bench.cluster.move_leader(bench.now, "orders", P0, NodeId(leader)).expect("it may lead");
        bench.advance(second);
    }
    assert_eq!([told(&mut bench, 1), told(&mut bench, 3)], [(1, 3, 3), (3, 2, 3)], "as it was at 11 s");
    bench.advance(second);
    assert_eq!(told(&mut bench, 3), (1, 3, 3));
}

#[test]
fn old_metadata_names_nodes_that_are_gone() {
    let mut bench = Bench::of_three();
    bench.advance(Duration::from_secs(10));
    bench.cluster.age_metadata(bench.now, NodeId(3), Duration::from_secs(2)).expect("it is there");
    bench.cluster.stop(bench.now, NodeId(1), Stop::Clean).expect("it has a process");
    assert_eq!([told(&mut bench, 2), told(&mut bench, 3)], [(2, 1, 2), (1, 0, 3)]);
    bench.advance(Duration::from_secs(2));
    assert_eq!(told(&mut bench, 3), (2, 1, 2));
}

#[test]
fn metadata_of_no_age_is_the_truth_again() {
    let mut bench = Bench::of_three();
    bench.advance(Duration::from_secs(10));
    bench.cluster.age_metadata(bench.now, NodeId(2), Duration::from_secs(5)).expect("it is there");
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(3)).expect("it may lead");
    assert_eq!(told(&mut bench, 2), (1, 0, 3));
    bench.cluster.age_metadata(bench.now, NodeId(2), Duration::ZERO).expect("it is there");
    assert_eq!(told(&mut bench, 2), (3, 1, 3));
}

#[test]
fn only_the_last_changes_are_remembered() {
    let mut bench = Bench::of_three();
    bench.cluster.age_metadata(bench.now, NodeId(1), Duration::from_secs(3_600)).expect("it is there");
    for turn in 0..40 {
        let leader = NodeId(1 + (turn + 1) % 3);
        bench.cluster.move_leader(bench.now, "orders", PartitionIndex(0), leader).expect("it may lead");
        bench.advance(Duration::from_secs(1));
    }
    assert_eq!(told(&mut bench, 1).1, 24, "the oldest of the last 16 that are over");
}
