//! Many records in one call: accepted in their order, up to the first that is refused.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use milena::{Delivery, Outcome, Producer, ProducerConfig, Record, SendRefused, Topic};
use milena_broker::NodeId;
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
const VALUE: [u8; 10_000] = [7; 10_000];

/// Memory for some 40 records of `VALUE`.
fn small(broker: &Steered) -> (Producer, Topic) {
    let config = ProducerConfig::new(&broker.bootstrap)
        .max_request_size(50_000)
        .batch_size(30_000)
        .buffer_memory(400_000)
        .partition_memory_share(1.0);
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

fn offsets(deliveries: Vec<Delivery>) -> Vec<(i32, i64)> {
    let mut offsets = Vec::new();
    for delivery in deliveries {
        match run(delivery) {
            Outcome::Written(at) => offsets.push((at.partition, at.offset.expect("told"))),
            other => panic!("{other:?}"),
        }
    }
    offsets
}

/// Keys that change with every record, and then runs of the same key; what the log says is the order of the call.
#[test]
fn every_record_is_written_once_and_those_of_a_partition_in_their_order() {
    let broker = Steered::start(1, 3);
    let producer = Producer::new(ProducerConfig::new(&broker.bootstrap).batch_size(2_000)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let keys: Vec<String> =
        (0..5_000).map(|number| format!("key {}", if number < 1000 { number } else { number / 100 })).collect();
    // The first call waits for the topic's partitions.
    let deliveries = run(orders.send_batch(keys.iter().map(|key| (key, "value")))).expect("are accepted");
    assert_eq!(deliveries.len(), keys.len());
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let mut homes: BTreeMap<&str, i32> = BTreeMap::new();
    for (key, (partition, offset)) in keys.iter().zip(offsets(deliveries)) {
        assert_eq!(*homes.entry(key).or_insert(partition), partition, "{key}");
        let expected = next.entry(partition).or_default();
        assert_eq!(offset, *expected);
        *expected += 1;
    }
    assert_eq!(next.len(), 3);
    assert_eq!((0..3).map(|partition| broker.records(partition)).sum::<i64>(), 5_000);
}

#[test]
fn records_without_a_key_fill_batches_and_move_on() {
    let broker = Steered::start(1, 3);
    let producer = Producer::new(ProducerConfig::new(&broker.bootstrap).batch_size(2_000)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let deliveries = orders.try_send_batch((0..3_000).map(|_| &[7; 20])).expect("are accepted");
    let written = offsets(deliveries);
    let partitions: std::collections::BTreeSet<i32> = written.iter().map(|(partition, _)| *partition).collect();
    assert_eq!((written.len(), partitions.len()), (3_000, 3));
    let stats = producer.stats();
    assert!(stats.batches < 60, "{stats:?}");
}

#[test]
fn an_empty_call_is_accepted() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = small(&broker);
    assert!(orders.try_send_batch(Vec::<Record<'_>>::new()).expect("nothing is refused").is_empty());
}

#[test]
fn when_there_is_no_room_the_rest_is_given_back_and_can_be_sent_later() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = small(&broker);
    freeze(&broker);
    let records = (0..100u64).map(|tag| Record::value(&VALUE).tag(tag));
    let refused = orders.try_send_batch(records).expect_err("is too much");
    assert_eq!(refused.error().reason(), &SendRefused::BufferFull);
    let count = refused.accepted_count();
    assert!((20..50).contains(&count), "{count}");
    let text = refused.to_string();
    assert!(
        text.ends_with(&format!("({count} records before it were accepted, {} behind it were not)", 99 - count)),
        "{text}"
    );
    let (accepted, error, rest) = refused.into_parts();
    assert_eq!((accepted.len(), rest.len()), (count, 99 - count));
    thaw(&broker);
    let again = std::iter::once(error.into_record()).chain(rest);
    let later = run(orders.send_batch(again)).expect("there is room by and by");
    let written = offsets(accepted.into_iter().chain(later).collect());
    assert_eq!(written, (0..100).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[test]
fn a_call_that_waits_in_vain_ends_at_its_deadline_with_what_was_accepted() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = small(&broker);
    freeze(&broker);
    let held = orders.try_send_batch((0..100).map(|_| &VALUE)).expect_err("is too much").accepted_count();
    assert!(held > 20, "{held}");
    let records = [Record::value(&VALUE).deadline(Duration::from_millis(50)), Record::value(&VALUE)];
    let refused = run(orders.send_batch(records)).expect_err("nobody makes room");
    assert_eq!(refused.error().reason(), &SendRefused::BufferFull);
    let (accepted, _, rest) = refused.into_parts();
    assert_eq!((accepted.len(), rest.len()), (0, 1));
}

#[test]
fn a_record_that_is_too_large_ends_the_call_before_those_behind_it() {
    let broker = Steered::start(1, 1);
    let (_producer, orders) = small(&broker);
    let large = vec![0; 60_000];
    let records: [&[u8]; 4] = [b"one", b"two", &large, b"three"];
    let refused = run(orders.send_batch(records)).expect_err("one is too large");
    let size = match refused.error().reason() {
        SendRefused::RecordTooLarge { size, limit: 50_000 } => *size,
        other => panic!("{other:?}"),
    };
    assert!(size > 60_000);
    let (accepted, _, rest) = refused.into_parts();
    assert_eq!(rest.len(), 1);
    assert_eq!(offsets(accepted), [(0, 0), (0, 1)]);
    assert_eq!(offsets(run(orders.send_batch(rest)).expect("is accepted")), [(0, 2)]);
}

#[test]
fn a_closed_producer_takes_none() {
    let broker = Steered::start(1, 1);
    let (producer, orders) = small(&broker);
    run(producer.close(SOON));
    let refused = orders.try_send_batch(["a", "b"]).expect_err("is closed");
    assert_eq!((refused.accepted_count(), refused.error().reason()), (0, &SendRefused::Closed));
    let refused = run(orders.send_batch(["a", "b"])).expect_err("is closed");
    assert_eq!((refused.accepted_count(), refused.error().reason()), (0, &SendRefused::Closed));
}

/// Dropped at every point where it waits: what was accepted is written, in order and once; nothing else is.
#[test]
fn a_call_that_is_dropped_leaves_what_was_accepted_and_nobody_behind_it_waits() {
    let broker = Steered::start(1, 1);
    let (producer, orders) = small(&broker);
    let mut written = 0;
    for round in 0..5 {
        freeze(&broker);
        let before = broker.records(0);
        {
            let mut call = pin!(orders.send_batch((0..100).map(|_| &VALUE)));
            assert!(is_pending(call.as_mut()), "there is no room for so many");
            let refused = orders.try_send(&VALUE).expect_err("somebody waits");
            assert_eq!(refused.reason(), &SendRefused::BufferFull, "round {round}");
        }
        thaw(&broker);
        let last = run(async { orders.send("behind").await.expect("nobody stands in the way").await });
        let Outcome::Written(at) = last else { panic!("{last:?}") };
        run(producer.flush(SOON));
        written = broker.records(0);
        assert_eq!(at.offset, Some(written - 1), "it stands behind those of the call");
        assert!((20..60).contains(&(written - before)), "{before} {written}");
    }
    assert_eq!(producer.stats().records, written as u64);
}
