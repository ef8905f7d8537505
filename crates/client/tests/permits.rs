//! Room that is reserved before the record is there.

use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use milena::{Outcome, Permit, Producer, ProducerConfig, Record, SendRefused, Topic};
use milena_broker::NodeId;
use milena_wire::murmur2;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn is_pending<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(50);
const VALUE: [u8; 10_000] = [7; 10_000];
const BUFFER: usize = 400_000;

fn producer(broker: &Steered, share: f64) -> (Producer, Topic) {
    let config = ProducerConfig::new(&broker.bootstrap)
        .max_request_size(100_000)
        .batch_size(30_000)
        .buffer_memory(BUFFER)
        .partition_memory_share(share);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    (producer, orders)
}

/// Its one node answers nothing for a while.
fn freeze(broker: &Steered) {
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
}

fn thaw(broker: &Steered) {
    broker.steer(|cluster, now| cluster.thaw(now, NodeId(1))).expect("it is frozen");
}

fn offset(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Written(at) => at.offset.expect("told"),
        other => panic!("{other:?}"),
    }
}

/// As many as there is room for.
fn permits(orders: &Topic, size: usize) -> Vec<Permit<'_>> {
    let mut held = Vec::new();
    while let Ok(permit) = run(orders.reserve(size, Duration::ZERO)) {
        held.push(permit);
    }
    held
}

#[test]
fn whoever_has_a_permit_is_accepted_when_nobody_else_is() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = producer(&broker, 1.0);
    freeze(&broker);
    let record = Record::value(&VALUE);
    let held = permits(&orders, record.size());
    assert!((20..=40).contains(&held.len()), "{}", held.len());
    let rest = permits(&orders, 1);
    let refused = orders.try_send("small").expect_err("all is reserved");
    assert_eq!(refused.reason(), &SendRefused::BufferFull);
    thaw(&broker);
    drop(rest);
    let count = held.len();
    let sent: Vec<_> = held.into_iter().map(|permit| permit.send(&record).expect("has its room")).collect();
    for (place, delivery) in sent.into_iter().enumerate() {
        assert_eq!(offset(run(delivery)), place as i64, "of {count}");
    }
}

/// Small and large ones, copied and linked, into batches that have grown: a batch that grows asks for more than a record needs.
#[test]
fn what_is_reserved_is_enough_for_every_record_that_it_is_for() {
    let broker = Steered::start(1, 1);
    let (producer, orders) = producer(&broker, 1.0);
    let mut sent = 0;
    for length in [0, 1, 900, 1000, 4000, 8_191, 8_192, 15_000, 16_000, 16_384, 40_000, 64_000, 65_500, 66_000, 90_000]
    {
        for filled in [0, 1, 50, 2_000, 20_000] {
            let bytes = vec![7; length];
            for record in [Record::value(&bytes), Record::shared(bytes.clone().into()).key("k").header("h", Some(b"v"))]
            {
                freeze(&broker);
                let permit = run(orders.reserve_for("k", record.size(), SOON)).expect("there is room");
                let filler = vec![1; filled];
                let fills = orders.try_send(&filler).expect("there is room");
                let others = permits(&orders, 20);
                let delivery = permit.send(record).expect("has its room");
                thaw(&broker);
                drop(others);
                offset(run(fills));
                offset(run(delivery));
                sent += 2;
            }
        }
    }
    assert_eq!(producer.stats().records, sent);
    all_is_free(&orders);
}

/// Nothing is held any more: all of the memory can be had in small pieces.
fn all_is_free(orders: &Topic) {
    let pieces = BUFFER / 1024;
    let start = Instant::now();
    loop {
        let held = permits(orders, 1_000);
        if held.len() == pieces {
            return;
        }
        assert!(start.elapsed() < SOON, "{} of {pieces} pieces", held.len());
        // Batches give their memory back after their outcomes are told.
        drop(held);
        std::thread::yield_now();
    }
}

#[test]
fn a_permit_that_is_dropped_gives_its_room_to_the_next() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = producer(&broker, 1.0);
    let mut held = permits(&orders, 10_000);
    let mut next = pin!(orders.reserve(10_000, SOON));
    assert!(is_pending(next.as_mut()));
    let mut send = pin!(orders.send(&VALUE));
    assert!(is_pending(send.as_mut()), "it stands behind");
    held.pop();
    let permit = run(next).expect("has its turn");
    assert!(is_pending(send.as_mut()), "there was room for one");
    drop(permit);
    let delivery = run(send).expect("has its turn");
    assert_eq!(offset(run(delivery)), 0);
    drop(held);
    all_is_free(&orders);
}

#[test]
fn a_call_that_is_dropped_reserves_nothing_and_lets_the_next_one_pass() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = producer(&broker, 1.0);
    let held = permits(&orders, 10_000);
    for _ in 0..3 {
        let mut waits = pin!(orders.reserve(10_000, SOON));
        assert!(is_pending(waits.as_mut()));
    }
    drop(held);
    all_is_free(&orders);
}

#[test]
fn nobody_waits_for_room_beyond_the_deadline() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = producer(&broker, 1.0);
    let _held = permits(&orders, 1_000);
    let start = Instant::now();
    let error = run(orders.reserve(1_000, A_WHILE)).expect_err("all is reserved");
    assert!(start.elapsed() >= A_WHILE && error.is_retriable());
    assert_eq!(error.reason(), &SendRefused::BufferFull);
    assert!(error.to_string().contains("topic orders"), "{error}");
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let broker = Steered::start(1, 1);
    let (producer, _) = producer(&broker, 1.0);
    let nowhere = producer.topic("nowhere").expect("a name");
    let error = run(nowhere.reserve(10, Duration::from_secs(1))).expect_err("is not there");
    assert_eq!(error.reason(), &SendRefused::TopicMissing { creation_asked: false });
}

#[test]
fn what_is_too_large_is_refused_before_and_after() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = producer(&broker, 1.0);
    let error = run(orders.reserve(100_001, SOON)).expect_err("no record may be so large");
    assert_eq!(error.reason(), &SendRefused::RecordTooLarge { size: 100_001, limit: 100_000 });
    assert!(!error.is_retriable());
    let permit = run(orders.reserve(100, SOON)).expect("there is room");
    let record = Record::value(&VALUE).tag(9);
    let error = permit.send(&record).expect_err("is larger than said");
    assert_eq!(error.reason(), &SendRefused::LargerThanReserved { size: record.size(), reserved: 100 });
    assert!(error.to_string().contains("exceeds the 100 bytes reserved"), "{error}");
    all_is_free(&orders);
}

#[test]
fn a_closed_producer_gives_no_permits_and_takes_no_records_on_old_ones() {
    let broker = Steered::start(1, 1);
    let (producer, orders) = producer(&broker, 1.0);
    let permit = run(orders.reserve(100, SOON)).expect("there is room");
    let held = permits(&orders, 1_000);
    let mut waits = pin!(orders.reserve(1_000, SOON));
    assert!(is_pending(waits.as_mut()));
    run(producer.close(SOON));
    assert_eq!(run(waits).expect_err("is closed").reason(), &SendRefused::Closed);
    assert_eq!(permit.send("late").expect_err("is closed").reason(), &SendRefused::Closed);
    drop(held);
    assert_eq!(run(orders.reserve(100, SOON)).expect_err("is closed").reason(), &SendRefused::Closed);
}

/// A key that goes to this one of two partitions.
fn key_of(partition: i32) -> [u8; 1] {
    let two = NonZeroU32::new(2).expect("not zero");
    let key = (b'a'..=b'z').find(|key| murmur2::partition_for_key(&[*key], two) == partition);
    [key.expect("half of them do")]
}

/// Two partitions, each led by a node of its own; the second one's is frozen and its share used up.
#[test]
fn a_partition_that_is_full_holds_up_those_of_its_own_keys_only() {
    let broker = Steered::start(2, 2);
    let (_producer, orders) = producer(&broker, 0.5);
    let (healthy, dead) = (key_of(0), key_of(1));
    for key in [healthy, dead] {
        offset(run(async { orders.send((&key, "first")).await.expect("accepted").await }));
    }
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(2))).expect("it runs");
    let mut filled = Vec::new();
    while let Ok(delivery) = orders.try_send((&dead, &VALUE)) {
        filled.push(delivery);
    }
    let error = run(orders.reserve_for(&dead, 10_000, A_WHILE)).expect_err("its share is used up");
    assert_eq!(error.reason(), &SendRefused::PartitionFull);
    // Without a key there is room, in the other one; a key of the full one does not fit it.
    let permit = run(orders.reserve(10_500, SOON)).expect("there is room");
    let refused = permit.send((&dead, &VALUE)).expect_err("its partition is full");
    assert_eq!(refused.reason(), &SendRefused::PartitionFull);
    for key in [None, Some(healthy)] {
        let permit = run(orders.reserve(10_500, SOON)).expect("there is room");
        let record = Record::value(&VALUE);
        let delivery = match &key {
            Some(key) => permit.send(record.key(key)),
            None => permit.send(record),
        };
        offset(run(delivery.expect("has its room")));
    }
    broker.steer(|cluster, now| cluster.thaw(now, NodeId(2))).expect("it is frozen");
    let permit = run(orders.reserve_for(&dead, 10_500, SOON)).expect("by and by");
    assert_eq!(offset(run(permit.send((&dead, &VALUE)).expect("has its room"))), 1 + filled.len() as i64);
}

/// Room for the one partition goes with a record to the other.
#[test]
fn a_key_that_leads_elsewhere_takes_the_room_with_it() {
    let broker = Steered::start(1, 2);
    let (_producer, orders) = producer(&broker, 1.0);
    for _ in 0..20 {
        for partition in [0, 1] {
            let permit = run(orders.reserve_for(&key_of(1 - partition), 10_500, SOON)).expect("there is room");
            let outcome = run(permit.send((&key_of(partition), &VALUE)).expect("has its room"));
            assert!(matches!(outcome, Outcome::Written(at) if at.partition == partition), "{outcome:?}");
        }
    }
    all_is_free(&orders);
}
