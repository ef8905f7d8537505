//! Replication: who copies when, who is in sync, what is committed, and what a writer is told meanwhile.

use std::time::Duration;

use milena_broker::NodeId;
use milena_wire::ErrorCode;

use crate::client::{Batch, Bench};

const NEVER: Option<Duration> = Some(Duration::MAX);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn healthy_followers_copy_at_once() {
    let mut bench = Bench::of_three();
    assert_eq!(bench.produced_at(1, Batch::of(&["a", "b"])), (ErrorCode::NONE, 0));
    assert_eq!((bench.ends(), bench.high_watermark()), ([2, 2, 2], 2));
    assert_eq!([1, 2, 3].map(|node| bench.values_on(node)), [["a", "b"]; 3]);
    assert_eq!(bench.leadership(), (Some(1), 0, vec![1, 2, 3]));
}

#[test]
fn acks_of_all_waits_for_a_late_follower() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(millis(40)));
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    assert_eq!((bench.ends(), bench.high_watermark()), ([1, 1, 0], 0));
    assert!(bench.cluster.is_muted(writer));
    bench.advance(millis(39));
    assert_eq!(bench.event(), None);
    assert_eq!(bench.cluster.poll_timeout(), Some(millis(40)));
    bench.advance(millis(1));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    assert_eq!((bench.ends(), bench.high_watermark()), ([1, 1, 1], 1));
}

#[test]
fn batch_that_is_not_committed_in_time_has_timed_out_where_it_lies() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(2), NEVER);
    bench.produced_at(2, Batch::of(&["nothing"]));
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.advance(millis(1_999));
    assert_eq!(bench.event(), None);
    bench.advance(millis(1));
    assert_eq!(
        bench.answer_to(writer),
        (ErrorCode::REQUEST_TIMED_OUT, 0),
        "the base offset says that it is in the log"
    );
    assert_eq!((bench.ends(), bench.high_watermark()), ([1, 0, 1], 0));
}
