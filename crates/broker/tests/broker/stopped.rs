//! Stopped nodes: who leads without them, and what they have forgotten when they are back.

use std::time::Duration;

use milena_broker::{CloseReason, NodeId, Process, Stop};
use milena_wire::ErrorCode;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::produce::request::ProduceRequest;

use crate::client::{Batch, Bench, P0, produce};

const SESSION: Duration = Duration::from_secs(9);
/// `ClusterConfig::replica_lag_time_max`, as it is by default.
const LAG_MAX: Duration = Duration::from_secs(30);

impl Bench {
    fn stop(&mut self, node: i32, how: Stop) {
        self.cluster.stop(self.now, NodeId(node), how).expect("it was not stopped");
    }

    fn start(&mut self, node: i32) {
        self.cluster.start(self.now, NodeId(node)).expect("it was stopped");
    }

    /// Five stamped batches of one record each; gives the producer id.
    fn five_batches(&mut self) -> i64 {
        let pid = self.producer_id();
        for sequence in 0..5 {
            assert_eq!(self.produced_at(1, Batch::stamped(&["x"], pid, 0, sequence)).0, ErrorCode::NONE);
        }
        pid
    }

    /// The codes of sending the same five again.
    fn five_again(&mut self, node: i32, pid: i64) -> [ErrorCode; 5] {
        [0, 1, 2, 3, 4].map(|sequence| self.produced_at(node, Batch::stamped(&["x"], pid, 0, sequence)).0)
    }
}

const FORGOTTEN: ErrorCode = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
const LAST_KNOWN: [ErrorCode; 5] = [FORGOTTEN, FORGOTTEN, FORGOTTEN, FORGOTTEN, ErrorCode::NONE];

#[test]
fn clean_stop_gives_the_leaderships_away_first() {
    let mut bench = Bench::of_three();
    bench.produced_at(1, Batch::of(&["a"]));
    let idle = bench.connect_to(1);
    bench.stop(1, Stop::Clean);
    assert_eq!(bench.leadership(), (Some(2), 1, vec![2, 3]));
    assert_eq!(bench.closed(idle), CloseReason::NodeStopped);
    assert!(bench.cluster.connect(NodeId(1)).is_none());
    assert_eq!(bench.cluster.process(NodeId(1)), Some(Process::Stopped));
    assert_eq!(bench.produced_at(2, Batch::of(&["b"])), (ErrorCode::NONE, 1));
    let metadata = bench.ask_node(2, 12, &MetadataRequest { topics: None, ..Default::default() });
    assert_eq!(metadata.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>(), [2, 3]);
    assert!(bench.cluster.stop(bench.now, NodeId(1), Stop::Clean).is_err(), "it is stopped already");

    bench.start(1);
    assert_eq!(bench.leadership(), (Some(2), 1, vec![1, 2, 3]), "who is back follows");
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3]);
    assert!(bench.cluster.start(bench.now, NodeId(1)).is_err(), "it runs");
}

#[test]
fn request_that_waits_is_told_of_a_clean_stop_before_its_connection_closes() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.stop(1, Stop::Clean);
    assert_eq!(bench.answer_to(writer), (ErrorCode::NOT_LEADER_OR_FOLLOWER, 0));
    assert_eq!(bench.closed(writer), CloseReason::NodeStopped);
    assert_eq!(bench.event(), None);
}

#[test]
fn killed_leader_is_missed_after_the_session_timeout() {
    let mut bench = Bench::of_three();
    let writer = bench.connect_to(1);
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    bench.send(writer, 12, &produce("orders", 0, Batch::of(&["a"])));
    bench.stop(1, Stop::Kill);
    assert_eq!(bench.closed(writer), CloseReason::NodeStopped);
    assert_eq!(bench.event(), None, "it tells nobody anything");
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
    bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
    bench.advance(SESSION - Duration::from_millis(1));
    assert_eq!(bench.leadership().0, Some(1));
    assert_eq!(bench.produced_at(2, Batch::of(&["b"])), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.leadership(), (Some(2), 1, vec![2, 3]));
    assert_eq!(bench.ends(), [1, 1, 1], "node 2 had copied it, and node 3 copies it from there");
}

#[test]
fn killed_leader_that_is_back_early_is_replaced_all_the_same() {
    let mut bench = Bench::of_three();
    let pid = bench.five_batches();
    bench.stop(1, Stop::Kill);
    bench.advance(Duration::from_secs(1));
    bench.start(1);
    assert_eq!(bench.leadership(), (Some(2), 1, vec![1, 2, 3]), "a new process ends the session of the old one");
    assert_eq!(bench.five_again(2, pid), [ErrorCode::NONE; 5], "node 2 has forgotten nothing");
}

#[test]
fn restarted_follower_that_is_elected_knows_the_last_batch_only() {
    for how in [Stop::Clean, Stop::Kill] {
        let mut bench = Bench::of_three();
        let pid = bench.five_batches();
        bench.stop(2, how);
        bench.start(2);
        bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
        assert_eq!(bench.five_again(2, pid), LAST_KNOWN, "seen on 4.3.1 after SIGTERM and SIGKILL");
        assert_eq!(bench.produced_at(2, Batch::stamped(&["y"], pid, 0, 5)), (ErrorCode::NONE, 5));
    }
}

#[test]
fn batches_copied_after_a_restart_are_all_known() {
    let mut bench = Bench::of_three();
    let pid = bench.five_batches();
    bench.stop(2, Stop::Clean);
    for sequence in 5..8 {
        bench.produced_at(1, Batch::stamped(&["x"], pid, 0, sequence));
    }
    bench.start(2);
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    let again = [3, 4, 5, 6, 7].map(|sequence| bench.produced_at(2, Batch::stamped(&["x"], pid, 0, sequence)).0);
    let known = ErrorCode::NONE;
    assert_eq!(again, [FORGOTTEN, known, known, known, known], "the snapshot has 4, the log told 5 to 7");
}

#[test]
fn last_node_in_sync_leads_again_and_knows_the_last_batch_only() {
    let mut bench = Bench::of_three();
    let pid = bench.five_batches();
    for node in [2, 3, 1] {
        bench.stop(node, Stop::Clean);
    }
    assert_eq!(bench.leadership(), (None, 1, vec![]));
    bench.start(2);
    assert_eq!(bench.leadership(), (None, 1, vec![]), "it may lack what was written after it stopped");
    bench.start(1);
    assert_eq!(bench.leadership(), (Some(1), 2, vec![1, 2]));
    assert_eq!(bench.five_again(1, pid), LAST_KNOWN);
}

/// What an old leader appended and nobody copied is cut off, and its producers are known again as the rest of the log tells.
#[test]
fn uncommitted_tail_is_cut_and_its_stamps_are_free_again() {
    let mut bench = Bench::of_three();
    let pid = bench.five_batches();
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), Some(Duration::MAX)).expect("it is there");
    }
    bench.send_batch(1, Batch::stamped(&["lost"], pid, 0, 5));
    assert_eq!(bench.ends(), [6, 5, 5]);
    bench.stop(1, Stop::Kill);
    assert!(bench.event().is_some(), "the connection closes");
    bench.advance(SESSION);
    for node in [2, 3] {
        bench.cluster.lag(bench.now, NodeId(node), None).expect("it is there");
    }
    assert_eq!(bench.produced_at(2, Batch::stamped(&["a", "b"], pid, 0, 5)), (ErrorCode::NONE, 5));
    bench.start(1);
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["x", "x", "x", "x", "x", "a", "b"]; 3]);
    bench.cluster.move_leader(bench.now, "orders", P0, NodeId(1)).expect("it may lead");
    assert_eq!(bench.produced_at(1, Batch::stamped(&["a", "b"], pid, 0, 5)), (ErrorCode::NONE, 5));
    assert_eq!(bench.produced_at(1, Batch::stamped(&["c"], pid, 0, 7)), (ErrorCode::NONE, 7));
}

/// A leader without state takes any sequence: a later batch is acknowledged, and nothing before it is there.
#[test]
fn unclean_election_loses_what_was_committed_and_who_wrote_it() {
    let mut bench = Bench::of_three();
    assert!(bench.cluster.elect_unclean(bench.now, "orders", P0, NodeId(2)).is_err(), "it is in sync");
    bench.cluster.lag(bench.now, NodeId(2), Some(Duration::MAX)).expect("it is there");
    bench.send_batch(1, Batch::of(&["waits for node 2"]));
    bench.advance(LAG_MAX);
    assert!(bench.event().is_some(), "it waits no more");
    let pid = bench.five_batches();
    assert_eq!((bench.ends(), bench.leadership().2), ([6, 0, 6], vec![1, 3]));
    bench.cluster.elect_unclean(bench.now, "orders", P0, NodeId(2)).expect("it may lead");
    assert_eq!(bench.leadership(), (Some(2), 1, vec![1, 2, 3]), "the others have cut their logs, and follow");
    assert_eq!(bench.produced_at(2, Batch::stamped(&["late"], pid, 0, 7)), (ErrorCode::NONE, 0));
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["late"]; 3]);
}

#[test]
fn frozen_process_that_is_killed_says_nothing_any_more() {
    let mut bench = Bench::of_three();
    bench.cluster.freeze(bench.now, NodeId(1)).expect("it runs");
    let writer = bench.send_batch(1, Batch::of(&["lost"]));
    bench.advance(Duration::from_secs(1));
    bench.stop(1, Stop::Kill);
    assert_eq!(bench.closed(writer), CloseReason::NodeStopped);
    bench.advance(SESSION - Duration::from_secs(1));
    assert_eq!(bench.leadership(), (Some(2), 1, vec![2, 3]), "it has been silent since it was frozen");
    bench.start(1);
    assert_eq!(bench.ends(), [0, 0, 0], "what waited in its sockets is gone");
}

#[test]
fn frozen_process_does_not_hear_sigterm() {
    let mut bench = Bench::of_three();
    bench.cluster.freeze(bench.now, NodeId(1)).expect("it runs");
    bench.stop(1, Stop::Clean);
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]), "it gives nothing away");
}

#[test]
fn abandoned_requests_end_with_the_process() {
    let mut bench = Bench::of_three();
    bench.cluster.freeze(bench.now, NodeId(1)).expect("it runs");
    let writer = bench.send_batch(1, Batch::of(&["lost"]));
    bench.cluster.disconnect(writer);
    bench.stop(1, Stop::Kill);
    assert_eq!(bench.event(), None);
    bench.start(1);
    assert_eq!(bench.ends(), [0, 0, 0]);
}

#[test]
fn topics_made_while_a_node_is_away_reach_it_when_it_is_back() {
    let mut bench = Bench::of_three();
    bench.stop(1, Stop::Clean);
    bench.cluster.create_topic("more", 1).expect("the name is free");
    assert_eq!(bench.cluster.leader("more", P0), Some(NodeId(2)));
    assert_eq!(bench.cluster.isr("more", P0).expect("it was made"), [NodeId(2), NodeId(3)]);
    let connection = bench.connect_to(2);
    bench.send(connection, 12, &produce("more", 0, Batch::of(&["a"])));
    let answered = bench.response::<ProduceRequest>(connection, 12);
    assert_eq!(answered.responses[0].partition_responses[0].error_code, 0);
    bench.start(1);
    assert_eq!(bench.cluster.log_on(NodeId(1), "more", P0).expect("it keeps it").next_offset(), 1);
    assert_eq!(bench.cluster.isr("more", P0).expect("it was made"), [1, 2, 3].map(NodeId));
}

#[test]
fn rolling_restart_keeps_everything() {
    let mut bench = Bench::of_three();
    let pid = bench.producer_id();
    let mut sequence = 0;
    for node in [1, 2, 3] {
        bench.stop(node, Stop::Clean);
        let leader = bench.leadership().0.expect("two are left");
        for _ in 0..3 {
            let produced = bench.produced_at(leader, Batch::stamped(&["x"], pid, 0, sequence));
            assert_eq!(produced, (ErrorCode::NONE, i64::from(sequence)));
            sequence += 1;
        }
        bench.start(node);
    }
    assert_eq!(bench.ends(), [9, 9, 9]);
    assert_eq!(bench.leadership().2, [1, 2, 3]);
}
