//! Throttling: answers that ask for patience, and connections that are not read meanwhile (KIP-219).

use std::time::Duration;

use milena_broker::{Fault, NodeId};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, ErrorCode};

use crate::client::{Batch, Bench, RETENTION_CHECK, produce};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rule() -> Fault {
    Fault::throttle(millis(300)).api(ApiKey::PRODUCE)
}

fn throttled(bench: &mut Bench, node: i32) -> i32 {
    let connection = bench.connect_to(node);
    bench.send(connection, 12, &MetadataRequest { topics: None, ..Default::default() });
    bench.response::<MetadataRequest>(connection, 12).throttle_time_ms
}

#[test]
fn throttled_answer_goes_out_at_once_and_then_the_connection_is_not_read() {
    let mut bench = Bench::with_orders(1);
    bench.cluster.add_fault(bench.now, rule());
    let writer = bench.connect();
    for value in ["a", "b"] {
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&[value])));
    }
    assert_eq!(bench.response::<ProduceRequest>(writer, 12).throttle_time_ms, 300);
    assert_eq!((bench.event(), bench.values()), (None, vec!["a".to_owned()]));
    assert!(bench.cluster.is_muted(writer));
    assert_eq!(bench.cluster.poll_timeout(), Some(millis(300)));
    bench.advance(millis(299));
    assert_eq!(bench.event(), None);
    bench.advance(millis(1));
    assert_eq!(bench.response::<ProduceRequest>(writer, 12).throttle_time_ms, 300);
    assert_eq!(bench.values(), ["a", "b"]);
    bench.advance(millis(300));
    assert!(!bench.cluster.is_muted(writer));
    assert_eq!(bench.cluster.poll_timeout(), Some(RETENTION_CHECK));
}

#[test]
fn throttle_counts_from_the_answer_where_that_waits_for_followers() {
    let mut bench = Bench::of_three();
    bench.cluster.add_fault(bench.now, rule());
    bench.cluster.lag(bench.now, NodeId(3), Some(millis(200))).expect("it is there");
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.send(writer, 12, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&["b"])) });
    bench.advance(millis(200));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    bench.advance(millis(299));
    assert_eq!(bench.event(), None);
    bench.advance(millis(1));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 1));
}

#[test]
fn throttled_acks_of_zero_mute_without_an_answer() {
    let mut bench = Bench::with_orders(1);
    bench.cluster.add_fault(bench.now, rule());
    let writer = bench.connect();
    for value in ["a", "b"] {
        bench.send(writer, 12, &ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&[value])) });
    }
    assert_eq!((bench.event(), bench.values()), (None, vec!["a".to_owned()]));
    bench.advance(millis(300));
    assert_eq!((bench.event(), bench.values()), (None, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn rules_fit_a_node_an_api_a_time_and_a_number_of_answers() {
    let mut bench = Bench::of_three();
    let metadata = |time| Fault::throttle(millis(time)).api(ApiKey::METADATA);
    bench.cluster.add_fault(bench.now, metadata(1).node(1).times(2));
    bench.cluster.add_fault(bench.now, metadata(2).lasting(millis(50)));
    bench.cluster.add_fault(bench.now, Fault::throttle(millis(3)).node(3).once());
    assert_eq!(throttled(&mut bench, 1), 1);
    assert_eq!(throttled(&mut bench, 2), 2);
    assert_eq!(throttled(&mut bench, 1), 1);
    assert_eq!(throttled(&mut bench, 1), 2, "the first rule is used up");
    bench.advance(millis(50));
    assert_eq!(throttled(&mut bench, 1), 0, "the second is over");
    assert_eq!([throttled(&mut bench, 3), throttled(&mut bench, 3)], [3, 0]);
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    assert_eq!(bench.response::<ProduceRequest>(writer, 12).throttle_time_ms, 0);
}

#[test]
fn versions_without_the_field_are_muted_all_the_same() {
    let mut bench = Bench::with_orders(1);
    bench.cluster.add_fault(bench.now, Fault::throttle(millis(300)));
    let reader = bench.connect();
    bench.send(reader, 1, &MetadataRequest { topics: None, ..Default::default() });
    bench.response::<MetadataRequest>(reader, 1);
    assert!(bench.cluster.is_muted(reader));
}
