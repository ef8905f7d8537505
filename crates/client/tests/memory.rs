//! Who gets memory when there is little of it: first come, first served, and no partition takes what others need.

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use milena::{Delivery, Outcome, Producer, ProducerConfig, Record, SendRefused, Topic};
use milena_broker::NodeId;
use milena_wire::{ApiKey, murmur2};
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
const BUFFER: usize = 400_000;
const VALUE: [u8; 10_000] = [7; 10_000];

/// Two partitions, each led by a node of its own; memory for some 40 records.
fn two_partitions() -> (Steered, Producer, Topic) {
    let broker = Steered::start(2, 2);
    let config =
        ProducerConfig::new(&broker.bootstrap).max_request_size(50_000).batch_size(30_000).buffer_memory(BUFFER);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        for key in [key_of(0), key_of(1)] {
            let delivery = orders.send(Record::value("first").key(&key)).await.expect("accepted");
            assert_eq!(partition(delivery.await), i32::from(key == key_of(1)), "each partition has its leader");
        }
    });
    (broker, producer, orders)
}

/// A key that goes to this one of two partitions.
fn key_of(partition: i32) -> [u8; 1] {
    let two = NonZeroU32::new(2).expect("not zero");
    let key = (b'a'..=b'z').find(|key| murmur2::partition_for_key(&[*key], two) == partition);
    [key.expect("half of them do")]
}

fn partition(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Written(at) => at.partition,
        other => panic!("{other:?}"),
    }
}

fn offset(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Written(at) => at.offset.expect("told"),
        other => panic!("{other:?}"),
    }
}

/// Records for a partition, until there is no room for one within a while.
fn fill(orders: &Topic, partition: i32) -> (Vec<Delivery>, SendRefused) {
    let key = key_of(partition);
    let mut held = Vec::new();
    run(async {
        while orders.try_send(Record::value(&VALUE).key(&key)).map(|delivery| held.push(delivery)).is_ok() {}
        let last = Record::value(&VALUE).key(&key).deadline(Duration::from_millis(50));
        let refused = orders.send(last).await.expect_err("there is no room").reason().clone();
        (held, refused)
    })
}

#[test]
fn a_dead_partition_holds_half_of_the_memory_and_the_other_half_is_left() {
    let (broker, _producer, orders) = two_partitions();
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(2))).expect("it runs");
    let (dead, refused) = fill(&orders, 1);
    assert_eq!(refused, SendRefused::PartitionFull);
    let bytes = dead.len() * VALUE.len();
    assert!((BUFFER / 4..=BUFFER / 2).contains(&bytes), "{bytes} of {BUFFER}");
    let key = key_of(0);
    run(async {
        for _ in 0..5 {
            let burst: Vec<_> =
                (0..5).map(|_| orders.try_send(Record::value(&VALUE).key(&key)).expect("there is room")).collect();
            for delivery in burst {
                assert_eq!(partition(delivery.await), 0);
            }
        }
    });
    broker.steer(|cluster, now| cluster.thaw(now, NodeId(2))).expect("it is frozen");
    run(async {
        for (place, delivery) in dead.into_iter().enumerate() {
            assert_eq!(offset(delivery.await), 1 + place as i64);
        }
    });
}

#[test]
fn whoever_waits_for_a_dead_partition_holds_up_its_own_callers_only() {
    let (broker, _producer, orders) = two_partitions();
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(2))).expect("it runs");
    let (dead, _) = fill(&orders, 1);
    let (healthy_key, dead_key) = (key_of(0), key_of(1));
    let mut waiting = pin!(orders.send(Record::value(&VALUE).key(&dead_key)));
    assert!(is_pending(waiting.as_mut()));
    // Small enough for what is left of the last chunk: it would overtake.
    let refused = orders.try_send(Record::value("small").key(&dead_key)).expect_err("somebody waits");
    assert_eq!(refused.reason(), &SendRefused::PartitionFull);
    run(async {
        for _ in 0..20 {
            let delivery = orders.send(Record::value(&VALUE).key(&healthy_key)).await.expect("accepted");
            assert_eq!(partition(delivery.await), 0);
            let delivery = orders.try_send(Record::value("small").key(&healthy_key)).expect("nobody is overtaken");
            assert_eq!(partition(delivery.await), 0);
        }
    });
    assert!(is_pending(waiting.as_mut()), "its partition is as full as before");
    broker.steer(|cluster, now| cluster.thaw(now, NodeId(2))).expect("it is frozen");
    let delivery = run(waiting).expect("accepted");
    assert_eq!(offset(run(delivery)), 1 + dead.len() as i64, "behind those that were accepted before");
}

#[test]
fn a_caller_of_a_full_partition_is_refused_at_its_deadline_and_told_which_limit_it_was() {
    let (broker, _producer, orders) = two_partitions();
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(2))).expect("it runs");
    let (_dead, _) = fill(&orders, 1);
    let key = key_of(1);
    let record = Record::value(&VALUE).key(&key).deadline(Duration::from_millis(100));
    let refused = run(orders.send(record)).expect_err("there is no room");
    assert_eq!(refused.reason(), &SendRefused::PartitionFull);
    assert!(refused.is_retriable());
    let text = refused.to_string();
    assert!(text.contains("topic orders") && text.contains("partition_memory_share"), "{text}");
}

#[test]
fn records_without_a_key_go_where_there_is_room() {
    let (broker, _producer, orders) = two_partitions();
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(2))).expect("it runs");
    let (_dead, _) = fill(&orders, 1);
    run(async {
        for _ in 0..60 {
            let delivery = orders.send(Record::value(&VALUE)).await.expect("accepted");
            assert_eq!(partition(delivery.await), 0);
            let delivery = orders.try_send(Record::value(&VALUE)).expect("accepted");
            assert_eq!(partition(delivery.await), 0);
        }
    });
}

#[test]
fn a_share_of_one_lets_a_partition_take_all() {
    let broker = Steered::start(1, 1);
    broker.keep_back(ApiKey::PRODUCE);
    let config = ProducerConfig::new(&broker.bootstrap)
        .max_request_size(50_000)
        .batch_size(30_000)
        .buffer_memory(BUFFER)
        .partition_memory_share(1.0);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let (held, refused) = fill(&orders, 0);
    assert_eq!(refused, SendRefused::BufferFull);
    assert!(held.len() * VALUE.len() > BUFFER / 2, "{}", held.len());
}

/// `send` and `post_wait` stand in one queue, and whoever does not wait stands behind it.
#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let broker = Steered::start(1, 1);
    let tags = Arc::new(Mutex::new(Vec::new()));
    let reported = Arc::clone(&tags);
    let config = ProducerConfig::new(&broker.bootstrap)
        .max_request_size(50_000)
        .batch_size(30_000)
        .buffer_memory(BUFFER)
        .on_delivery(move |report| {
            let Outcome::Written(at) = report.outcome() else { panic!("{report:?}") };
            reported.lock().unwrap_or_else(PoisonError::into_inner).push((report.tag(), at.offset.expect("told")));
        });
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
    let (held, _) = fill(&orders, 0);
    let first = held.len() as i64;
    run(async {
        let mut sends = Vec::new();
        for number in 0..30 {
            // Each has its place in the queue before the next one comes.
            let mut waiting: std::pin::Pin<Box<dyn Future<Output = Option<Delivery>>>> = if number % 3 == 0 {
                let orders = orders.clone();
                Box::pin(async move {
                    orders.post_wait(Record::value(&VALUE).key("k").tag(number)).await.expect("accepted");
                    None
                })
            } else {
                let orders = orders.clone();
                Box::pin(async move { Some(orders.send(Record::value(&VALUE).key("k")).await.expect("accepted")) })
            };
            assert!(is_pending(waiting.as_mut()));
            sends.push((number, waiting));
        }
        assert!(orders.try_send(Record::value("small").key("k")).is_err(), "it would overtake");
        broker.steer(|cluster, now| cluster.thaw(now, NodeId(1))).expect("it is frozen");
        let mut deliveries = Vec::new();
        for (number, waiting) in sends {
            deliveries.push((number, waiting.await));
        }
        for (number, delivery) in deliveries {
            if let Some(delivery) = delivery {
                assert_eq!(offset(delivery.await), first + number as i64);
            }
        }
        producer.close(SOON).await;
    });
    drop((producer, orders, held));
    let tags = std::mem::take(&mut *tags.lock().unwrap_or_else(PoisonError::into_inner));
    for (tag, offset) in tags {
        assert_eq!(offset, first + tag as i64);
    }
}

/// Records died at their deadlines, their memory was given back, and their reports piled up before a handler that did not
/// come back: without an end, as long as no broker came back either.
#[test]
fn reports_that_nobody_reads_hold_memory() {
    let broker = Steered::start(1, 1);
    let (entered, waits) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let (unblock, blocked) = mpsc::channel::<()>();
    let (counted, blocked) = (Arc::clone(&entered), Mutex::new(blocked));
    let config = ProducerConfig::new(&broker.bootstrap)
        .max_request_size(2_000)
        .batch_size(4_000)
        .buffer_memory(150_000)
        .on_delivery(move |report| {
            assert!(!matches!(report.outcome(), Outcome::Written(_)), "{report:?}");
            // Until the other end is gone.
            let _ = blocked.lock().unwrap_or_else(PoisonError::into_inner).recv();
            counted.fetch_add(1, Ordering::SeqCst);
        });
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
    let deadline = Duration::from_millis(200);
    let refused = run(async {
        loop {
            // Whoever waits so long has seen everybody before it die, and their memory come back.
            if let Err(refused) = orders.post_wait(Record::value("v").deadline(deadline)).await {
                return refused.reason().clone();
            }
            let accepted = waits.fetch_add(1, Ordering::SeqCst);
            assert!(accepted < 150_000 / 16, "{accepted} reports are piled up");
        }
    });
    assert!(matches!(refused, SendRefused::BufferFull | SendRefused::PartitionFull), "{refused:?}");
    let accepted = waits.load(Ordering::SeqCst);
    drop(unblock);
    run(async {
        // Reports make room again.
        orders.post_wait(Record::value("v").deadline(SOON)).await.expect("accepted");
        producer.close(Duration::ZERO).await;
    });
    drop((producer, orders));
    while Arc::strong_count(&entered) > 1 {
        std::thread::yield_now();
    }
    assert_eq!(entered.load(Ordering::SeqCst), accepted + 1, "each is reported once");
}
