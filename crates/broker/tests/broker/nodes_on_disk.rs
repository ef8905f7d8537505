//! Clusters of several nodes in a data directory: a folder for each, and what outlives the process.

use milena_broker::{Cluster, ClusterConfig, Directory, Moment, NodeId, OpenError, Stop};
use milena_wire::ErrorCode;

use crate::client::{Batch, Bench, config, config_of_nodes};
use crate::restart::Folder;

fn open(folder: &Folder, config: ClusterConfig) -> Bench {
    Bench::open(config, Box::new(Directory::open(folder.path()).expect("nobody else has it")))
}

fn with_orders(folder: &Folder) -> Bench {
    let mut bench = open(folder, config_of_nodes(3));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    bench
}

fn log_of(folder: &Folder, node: i32) -> Vec<u8> {
    let log = folder.path().join(format!("node-{node}")).join("orders-0").join("00000000000000000000.log");
    std::fs::read(log).expect("each node has its own")
}

#[test]
fn each_node_keeps_the_same_bytes_in_a_folder_of_its_own() {
    let folder = Folder::new();
    let mut bench = with_orders(&folder);
    bench.produced(Batch::of(&["a", "b"]));
    assert!(!log_of(&folder, 1).is_empty());
    assert_eq!(log_of(&folder, 1), log_of(&folder, 2));
    assert_eq!(log_of(&folder, 1), log_of(&folder, 3));
    bench.cluster.delete_topic(bench.now, "orders").expect("it can be removed");
    assert!([1, 2, 3].iter().all(|node| !folder.path().join(format!("node-{node}/orders-0")).exists()));
}

#[test]
fn restart_of_all_nodes_keeps_logs_and_who_was_in_sync() {
    let folder = Folder::new();
    let pid = {
        let mut bench = with_orders(&folder);
        let pid = bench.producer_id();
        bench.produced(Batch::stamped(&["a"], pid, 0, 0));
        bench.cluster.stop(bench.now, NodeId(1), Stop::Clean).expect("it has a process");
        assert_eq!(bench.produced_at(2, Batch::stamped(&["b"], pid, 0, 1)), (ErrorCode::NONE, 1));
        pid
    };
    assert!(log_of(&folder, 1).len() < log_of(&folder, 2).len());
    let mut bench = open(&folder, config_of_nodes(3));
    assert_eq!(
        bench.leadership(),
        (Some(2), 3, vec![1, 2, 3]),
        "1 was not in sync, so it is not elected; it catches up"
    );
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3]);
    assert_eq!(bench.produced_at(2, Batch::stamped(&["b"], pid, 0, 1)), (ErrorCode::NONE, 1));
    assert_eq!(bench.produced_at(2, Batch::stamped(&["c"], pid, 0, 2)), (ErrorCode::NONE, 2));
    assert_eq!(log_of(&folder, 1), log_of(&folder, 2));
}

#[test]
fn uncommitted_tail_is_cut_from_the_file() {
    let folder = Folder::new();
    let mut bench = with_orders(&folder);
    bench.produced(Batch::of(&["a"]));
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), Some(std::time::Duration::MAX)).expect("it is there");
    }
    bench.send_batch(1, Batch::of(&["lost"]));
    bench.cluster.move_leader(bench.now, "orders", crate::client::P0, NodeId(2)).expect("it may lead");
    assert_eq!(log_of(&folder, 1), log_of(&folder, 2));
    drop(bench);
    assert!(open(&folder, config_of_nodes(3)).cluster.torn_tails().is_empty());
}

#[test]
fn data_of_other_nodes_is_refused_and_left_alone() {
    let refused = |folder: &Folder, config| {
        let storage = Directory::open(folder.path()).expect("nobody else has it");
        match Cluster::open(config, Box::new(storage), Moment::default()) {
            Err(error @ OpenError::OtherNodes { .. }) => error.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    };
    let folder = Folder::new();
    with_orders(&folder).produced(Batch::of(&["a"]));
    let error = refused(&folder, config());
    assert!(error.contains("of 3 nodes, not of 1; start 3"), "{error}");
    let mut others = config_of_nodes(3);
    others.nodes[2].id = NodeId(7);
    assert!(refused(&folder, others).contains("other ids"));
    assert_eq!(open(&folder, config_of_nodes(3)).values(), ["a"]);

    let folder = Folder::new();
    {
        let mut bench = open(&folder, config());
        bench.cluster.create_topic("orders", 1).expect("the topic is new");
        bench.produced(Batch::of(&["a"]));
    }
    assert!(refused(&folder, config_of_nodes(3)).contains("of 1 node, not of 3; start 1"));
    assert_eq!(open(&folder, config()).values(), ["a"]);
}
