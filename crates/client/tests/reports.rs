//! Reports of posted records as a stream.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use milena::{Because, Deliveries, NotWritten, Outcome, Producer, ProducerConfig, Record, SendRefused, Topic};
use milena_wire::ApiKey;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

fn producer(config: ProducerConfig, capacity: usize) -> (Producer, Topic, Deliveries) {
    let (config, deliveries) = config.deliveries(capacity);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    (producer, orders, deliveries)
}

#[test]
fn every_posted_record_is_reported_once_and_then_the_stream_ends() {
    let broker = Steered::start(1, 2);
    let (producer, orders, mut deliveries) = producer(ProducerConfig::new(&broker.bootstrap), 16);
    let mut tags = run(async {
        for tag in 0..1000 {
            orders.post_wait(Record::value("v").tag(tag)).await.expect("accepted");
        }
        let mut tags = Vec::new();
        while tags.len() < 1000 {
            let report = deliveries.next().await.expect("is reported");
            assert_eq!(report.topic(), "orders");
            tags.push(report.tag());
            assert!(matches!(report.into_outcome(), Outcome::Written(_)));
        }
        tags
    });
    tags.sort_unstable();
    assert_eq!(tags, (0..1000).collect::<Vec<_>>());
    assert!(deliveries.try_next().is_none(), "none is left");
    run(producer.close(SOON));
    drop((producer, orders));
    assert!(deliveries.blocking_next().is_none());
    assert!(matches!(Pin::new(&mut deliveries).poll_next(&mut Context::from_waker(Waker::noop())), Poll::Ready(None)));
}

/// Who does not read is bounded by `buffer_memory` and the stream's capacity, and whoever posts is refused at last; nothing is lost.
#[test]
fn a_reader_that_sleeps_slows_down_who_posts_and_loses_nothing() {
    let broker = Steered::start(1, 1);
    let config =
        ProducerConfig::new(&broker.bootstrap).max_request_size(50_000).batch_size(10_000).buffer_memory(200_000);
    let (producer, orders, mut deliveries) = producer(config.partition_memory_share(1.0), 10);
    let mut posted = 0u64;
    let refused = loop {
        let record = Record::value(&[7; 1000]).tag(posted).deadline(Duration::from_millis(500));
        match run(orders.post_wait(record)) {
            Ok(()) => posted += 1,
            Err(error) => break error.reason().clone(),
        }
        assert!(posted < 1_000, "nobody reads");
    };
    assert_eq!(refused, SendRefused::BufferFull);
    let bounded = 200_000 / 1000 + 10;
    assert!(posted >= 20 && posted <= bounded, "{posted}");
    let mut tags = Vec::new();
    let mut written = 0;
    for _ in 0..posted {
        let report = deliveries.blocking_next().expect("is reported");
        tags.push(report.tag());
        match report.outcome() {
            Outcome::Written(_) => written += 1,
            // The last one may have found room when its time was over.
            Outcome::NotWritten(Because { reason: NotWritten::DeadlinePassed, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(written, broker.records(0));
    assert!(written + 2 > posted as i64, "what was posted is written; only its memory waits for the reader");
    tags.sort_unstable();
    assert_eq!(tags, (0..posted).collect::<Vec<_>>());
    run(orders.post_wait(Record::value(&[7; 1000]).tag(posted))).expect("there is room again");
    assert_eq!(deliveries.blocking_next().expect("is reported").tag(), posted);
    drop(producer);
}

/// Deadlines are told to whoever waits for them, however far behind the reader of reports is.
#[test]
fn a_reader_that_sleeps_delays_no_deadline() {
    let broker = Steered::start(1, 1);
    broker.keep_back(ApiKey::PRODUCE);
    let (_producer, orders, mut deliveries) = producer(ProducerConfig::new(&broker.bootstrap), 1);
    for tag in 0..10 {
        orders.post(Record::value("posted").tag(tag).deadline(Duration::ZERO)).expect("accepted");
    }
    let delivery = orders.try_send(Record::value("awaited").deadline(Duration::from_millis(100))).expect("accepted");
    let outcome = run(async { tokio::time::timeout(SOON, delivery).await.expect("is told") });
    assert!(!matches!(outcome, Outcome::Written(_)));
    for _ in 0..10 {
        match deliveries.blocking_next().expect("is reported").into_outcome() {
            Outcome::NotWritten(Because { reason: NotWritten::DeadlinePassed, .. }) | Outcome::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_future_of_the_next_report_that_is_dropped_loses_none() {
    let broker = Steered::start(1, 1);
    let (_producer, orders, mut deliveries) = producer(ProducerConfig::new(&broker.bootstrap), 4);
    for tag in 0..50 {
        {
            let mut next = pin!(deliveries.next());
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        run(orders.post_wait(Record::value("v").tag(tag))).expect("accepted");
        assert_eq!(deliveries.blocking_next().expect("is reported").tag(), tag);
    }
}

#[test]
fn a_stream_that_is_dropped_lets_reports_go_and_records_are_written() {
    let broker = Steered::start(1, 1);
    let config =
        ProducerConfig::new(&broker.bootstrap).max_request_size(50_000).batch_size(10_000).buffer_memory(200_000);
    let (_producer, orders, deliveries) = producer(config, 1);
    run(orders.post_wait("first")).expect("accepted");
    drop(deliveries);
    for _ in 0..1_000 {
        run(orders.post_wait(&[7; 1000])).expect("no report takes room");
    }
    broker.wait_until_written(0, 1_001);
}

#[test]
fn producers_of_one_configuration_share_the_stream() {
    let broker = Steered::start(1, 1);
    let (config, mut deliveries) = ProducerConfig::new(&broker.bootstrap).deliveries(10);
    let producers = [config.clone(), config].map(|config| Producer::new(config).expect("is built"));
    for (tag, producer) in (1..).zip(&producers) {
        let orders = producer.topic("orders").expect("a name");
        run(orders.post_wait(Record::value("v").tag(tag))).expect("accepted");
    }
    let sum =
        deliveries.blocking_next().expect("is reported").tag() + deliveries.blocking_next().expect("is reported").tag();
    assert_eq!(sum, 3);
    drop(producers);
    assert!(deliveries.blocking_next().is_none());
}
