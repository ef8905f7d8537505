//! Futures that are dropped before they resolve: each does what its documentation says, and nothing else.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use milena::{Outcome, Producer, ProducerConfig, Record, SendRefused, Topic};
use milena_broker::NodeId;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Polled so often, then dropped; whether it resolved.
fn resolves_within<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    (0..polls).any(|_| {
        let is_ready = matches!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_));
        std::thread::yield_now();
        is_ready
    })
}

const SOON: Duration = Duration::from_secs(10);
const VALUE: [u8; 10_000] = [7; 10_000];

fn small(broker: &Steered) -> (Producer, Topic) {
    let config = ProducerConfig::new(&broker.bootstrap)
        .max_request_size(50_000)
        .batch_size(30_000)
        .buffer_memory(400_000)
        .partition_memory_share(1.0);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    (producer, orders)
}

fn freeze(broker: &Steered) {
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
}

fn thaw(broker: &Steered) {
    broker.steer(|cluster, now| cluster.thaw(now, NodeId(1))).expect("it is frozen");
}

/// While they wait for the topic, and while they wait for room.
#[test]
fn a_record_that_waits_is_not_sent_and_holds_up_nobody() {
    let broker = Steered::start(1, 1);
    freeze(&broker);
    let (producer, orders) = small(&broker);
    for polls in 0..3 {
        assert!(!resolves_within(polls, orders.send("dropped")), "no partitions are known yet");
        assert!(!resolves_within(polls, orders.post_wait("dropped")), "no partitions are known yet");
    }
    thaw(&broker);
    run(orders.ready(SOON)).expect("is there");
    freeze(&broker);
    let mut accepted = 0;
    while orders.post(&VALUE).is_ok() {
        accepted += 1;
    }
    for polls in 0..3 {
        assert!(!resolves_within(polls, orders.send(&VALUE)), "there is no room");
        assert!(!resolves_within(polls, orders.post_wait(&VALUE)), "there is no room");
    }
    thaw(&broker);
    let last = run(async { orders.send("last").await.expect("nobody stands in the way").await });
    assert!(matches!(last, Outcome::Written(at) if at.offset == Some(accepted)), "{last:?} behind {accepted}");
    assert_eq!(run(producer.close(SOON)).not_written, 0);
    assert_eq!(broker.records(0), accepted + 1);
}

#[test]
fn a_record_whose_handle_is_dropped_is_written() {
    let broker = Steered::start(1, 1);
    let (producer, orders) = small(&broker);
    run(orders.ready(SOON)).expect("is there");
    freeze(&broker);
    for polls in 0..3 {
        let delivery = orders.try_send("v").expect("accepted");
        assert!(!resolves_within(polls, delivery), "nobody answers");
    }
    thaw(&broker);
    run(producer.flush(SOON));
    assert_eq!(broker.records(0), 3);
}

/// Awaited by reference and dropped, as a `select!` does: the handle is there, and tells.
#[test]
fn a_wait_that_is_given_up_can_be_taken_up_again() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = small(&broker);
    run(orders.ready(SOON)).expect("is there");
    freeze(&broker);
    let mut delivery = orders.try_send("v").expect("accepted");
    for polls in 0..3 {
        assert!(!resolves_within(polls, &mut delivery), "nobody answers");
    }
    thaw(&broker);
    assert!(matches!(run(&mut delivery), Outcome::Written(_)));
    assert!(matches!(run(delivery), Outcome::Written(_)), "it says the same again");
}

#[test]
fn a_question_or_a_flush_that_is_dropped_changes_nothing() {
    let broker = Steered::start(1, 1);
    freeze(&broker);
    let (producer, orders) = small(&broker);
    for polls in 0..3 {
        assert!(!resolves_within(polls, producer.ready(SOON)));
        assert!(!resolves_within(polls, orders.ready(SOON)));
    }
    thaw(&broker);
    assert_eq!(run(orders.ready(SOON)), Ok(1));
    freeze(&broker);
    let delivery = orders.try_send("v").expect("accepted");
    for polls in 0..3 {
        assert!(!resolves_within(polls, producer.flush(SOON)), "nobody answers");
    }
    let more = orders.try_send("w").expect("it is open");
    thaw(&broker);
    assert!(matches!(run(delivery), Outcome::Written(_)) && matches!(run(more), Outcome::Written(_)));
}

#[test]
fn a_close_that_is_dropped_goes_on() {
    let broker = Steered::start(1, 1);
    let (producer, orders) = small(&broker);
    run(orders.ready(SOON)).expect("is there");
    drop(producer.close(SOON));
    let delivery = orders.try_send("v").expect("nobody has asked yet");
    assert!(matches!(run(delivery), Outcome::Written(_)));
    freeze(&broker);
    let before = orders.try_send("before").expect("accepted");
    assert!(!resolves_within(1, producer.close(SOON)), "nobody answers");
    let start = Instant::now();
    let refused = loop {
        match orders.try_send(Record::value("meanwhile").deadline(Duration::ZERO)) {
            Ok(_delivery) => assert!(start.elapsed() < SOON, "it goes on"),
            Err(refused) => break refused.reason().clone(),
        }
        std::thread::yield_now();
    };
    assert_eq!(refused, SendRefused::Closed);
    thaw(&broker);
    assert!(matches!(run(before), Outcome::Written(_)));
}
