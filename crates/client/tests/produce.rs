//! The producer over real sockets against milena-broker.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use milena::unstable::{Admin, NewTopic};
use milena::{
    Because, Delivery, NotWritten, Outcome, Producer, ProducerConfig, ReadyError, Record, SendRefused, Settlement,
    Tally, Undetermined, Written,
};
use milena_broker::{Broker, BrokerOptions};
use tight_lipped::TightLipped;

mod tight_lipped;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

/// A broker with the topic `orders`.
fn broker(partitions: i32) -> Broker {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    run(async {
        let servers = [broker.bootstrap().to_owned()];
        let mut admin = Admin::connect(&servers, "test", SOON).await.expect("connects");
        let topic = NewTopic { name: "orders".to_owned(), partitions: Some(partitions), replication: None };
        admin.create_topic(&topic).await.expect("is created");
    });
    broker
}

/// Every value of a partition with its offset.
fn log(broker: &Broker, partition: i32) -> Vec<(i64, Vec<u8>)> {
    run(async {
        let servers = [broker.bootstrap().to_owned()];
        let mut admin = Admin::connect(&servers, "test", SOON).await.expect("connects");
        let mut reader = admin.reader("orders", partition);
        let end = reader.offsets().await.expect("are told").latest;
        reader.seek(0);
        let mut found = Vec::new();
        while reader.position() < end {
            for batch in reader.read(end).await.expect("is read") {
                for record in batch.records() {
                    let record = record.expect("is whole");
                    found.push((record.offset, record.value.map(|value| value.to_vec()).unwrap_or_default()));
                }
            }
        }
        found
    })
}

fn producer(broker: &Broker) -> Producer {
    Producer::new(ProducerConfig::new(broker.bootstrap())).expect("is built")
}

fn written(outcome: Outcome) -> Written {
    match outcome {
        Outcome::Written(at) => at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_becomes_an_offset_in_the_log() {
    let broker = broker(1);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let first = orders.send(Record::value("one").key("k").header("h", None)).await.expect("accepted");
        let second = orders.send(Record::value("two")).await.expect("accepted");
        assert_eq!(written(first.await).offset, Some(0));
        assert_eq!(written(second.await).offset, Some(1));
    });
    assert_eq!(log(&broker, 0), [(0, b"one".to_vec()), (1, b"two".to_vec())]);
}

#[test]
fn many_records_on_many_partitions_arrive_in_order_and_close_counts_them() {
    let broker = broker(4);
    let producer = Producer::new(ProducerConfig::new(broker.bootstrap()).batch_size(4000)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let deliveries: Vec<(u32, Delivery)> = run(async {
        let mut deliveries = Vec::new();
        for number in 0..20_000u32 {
            let delivery = orders.send(Record::value(&number.to_be_bytes())).await.expect("accepted");
            deliveries.push((number, delivery));
        }
        deliveries
    });
    run(producer.close(SOON));
    let mut seen: BTreeMap<i32, Vec<(i64, Vec<u8>)>> = BTreeMap::new();
    for (number, delivery) in deliveries {
        let at = written(delivery.try_outcome().expect("closed"));
        seen.entry(at.partition).or_default().push((at.offset.expect("told"), number.to_be_bytes().to_vec()));
    }
    assert_eq!(seen.len(), 4, "records without a key use all partitions");
    for (partition, expected) in seen {
        assert_eq!(log(&broker, partition), expected, "partition {partition}");
    }
    let stats = producer.stats();
    assert_eq!(stats.records, 20_000);
    assert!(stats.batches >= 50, "{stats:?}");
}

#[test]
fn keyed_records_go_where_java_sends_them() {
    let broker = broker(7);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        // murmur2 of Java's own test vectors, positive, modulo 7.
        for (key, hash) in [("21", -973_932_308i32), ("foobar", -790_332_482), ("abc", 479_470_107)] {
            let delivery = orders.send(Record::value("v").key(key)).await.expect("accepted");
            assert_eq!(written(delivery.await).partition, (hash & i32::MAX) % 7, "{key}");
        }
    });
}

#[test]
fn posted_records_are_reported_once_with_their_tag() {
    let broker = broker(2);
    let (sender, reports) = mpsc::channel();
    let config = ProducerConfig::new(broker.bootstrap()).on_delivery(move |report| {
        assert_eq!(report.topic(), "orders");
        let is_written = matches!(report.outcome(), Outcome::Written(_));
        sender.send((report.tag(), is_written)).expect("the test listens");
    });
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        for tag in 0..5000 {
            orders.post_wait(Record::value("v").tag(tag)).await.expect("accepted");
        }
        assert_eq!(producer.close(SOON).await.not_written, 0);
    });
    drop((producer, orders));
    let mut tags: Vec<u64> = reports
        .iter()
        .map(|(tag, is_written)| {
            assert!(is_written);
            tag
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..5000).collect::<Vec<_>>());
}

#[test]
fn flush_sends_what_lingers_and_counts_it() {
    let broker = broker(1);
    let config = ProducerConfig::new(broker.bootstrap()).linger(Duration::from_secs(15));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        let delivery = orders.try_send(Record::value("v")).expect("accepted");
        assert!(delivery.try_outcome().is_none());
        assert_eq!(producer.flush(SOON).await, Tally { written: 1, ..Tally::default() });
        assert_eq!(written(delivery.try_outcome().expect("flushed")).offset, Some(0));
    });
}

#[test]
fn a_record_cancelled_before_it_is_claimed_is_not_sent() {
    let broker = broker(1);
    let config = ProducerConfig::new(broker.bootstrap()).linger(Duration::from_secs(15));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        let deliveries: Vec<Delivery> =
            ["a", "b", "c"].iter().map(|value| orders.try_send(Record::value(*value)).expect("accepted")).collect();
        deliveries[1].cancel();
        assert_eq!(producer.flush(SOON).await, Tally { written: 2, not_written: 1, unknown: 0 });
        let mut outcomes = Vec::new();
        for delivery in deliveries {
            outcomes.push(delivery.await);
        }
        assert!(matches!(outcomes[0], Outcome::Written(Written { offset: Some(0), .. })), "{outcomes:?}");
        assert!(
            matches!(outcomes[1], Outcome::NotWritten(Because { reason: NotWritten::Cancelled, .. })),
            "{outcomes:?}"
        );
        assert!(matches!(outcomes[2], Outcome::Written(Written { offset: Some(1), .. })), "{outcomes:?}");
    });
    assert_eq!(log(&broker, 0), [(0, b"a".to_vec()), (1, b"c".to_vec())]);
}

/// A broker's port that takes connections and answers nothing.
fn silent_port() -> (String, std::thread::JoinHandle<Vec<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    (address, std::thread::spawn(move || listener.incoming().take(1).map(|stream| stream.expect("accepted")).collect()))
}

#[test]
fn without_a_broker_nothing_is_accepted_and_ready_says_why() {
    let (address, silent) = silent_port();
    let deadline = Duration::from_millis(300);
    let producer =
        Producer::new(ProducerConfig::new(format!("127.0.0.1:1,{address}")).deadline(deadline)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let error = producer.ready(deadline).await.expect_err("nobody answers");
        assert!(
            matches!(&error, ReadyError::Unreachable { faults, .. } if faults[0].address == "127.0.0.1:1"),
            "{error}"
        );
        assert!(error.to_string().contains("127.0.0.1:1: "), "{error}");
        let start = Instant::now();
        let refused = orders.send(Record::value("v")).await.expect_err("no partitions");
        assert!(matches!(refused.reason(), SendRefused::Unreachable { .. }), "{refused}");
        let took = start.elapsed();
        assert!(took >= deadline, "{took:?}");
        assert_eq!(producer.close(SOON).await, Tally::default());
        let refused = orders.try_send(Record::value("v")).expect_err("closed");
        assert_eq!(refused.reason(), &SendRefused::Closed);
    });
    drop(producer);
    drop(silent.join().expect("accepted one"));
}

/// Answers stop; the caller is released on time; the truth comes when a later attempt is answered.
#[test]
fn an_unanswered_record_is_unknown_on_time_and_its_fate_is_settled_by_a_resend() {
    let broker = TightLipped::start();
    let deadline = Duration::from_millis(300);
    let config = ProducerConfig::new(&broker.address).deadline(deadline).request_timeout(Duration::from_millis(2100));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        let first = orders.send(Record::value("one").deadline(SOON)).await.expect("accepted");
        assert_eq!(written(first.await).offset, Some(0));
        broker.keeps_back.store(true, Ordering::SeqCst);
        let start = Instant::now();
        let second = orders.try_send(Record::value("two")).expect("accepted");
        let fate = match second.await {
            Outcome::Unknown(fate) => fate,
            other => panic!("{other:?}"),
        };
        let took = start.elapsed();
        assert!(took >= deadline, "{took:?}");
        assert!(fate.try_settlement().is_none());
        broker.keeps_back.store(false, Ordering::SeqCst);
        match fate.clone().await {
            Settlement::Written(at) => assert_eq!(at.offset, Some(1)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(fate.await, Settlement::Written(_)), "clones wait for the same record");
    });
    assert_eq!(broker.records(), 2, "the resend was recognised");
    assert!(producer.stats().attempts > producer.stats().batches, "{:?}", producer.stats());
}

#[test]
fn close_gives_up_what_is_not_answered_in_doubt_and_what_was_not_sent_without() {
    let broker = TightLipped::start();
    let producer = Producer::new(ProducerConfig::new(&broker.address)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        broker.keeps_back.store(true, Ordering::SeqCst);
        let sent = orders.try_send(Record::value("sent")).expect("accepted");
        while broker.records() == 0 {
            std::thread::yield_now();
        }
        // The first batch of a producer id flies alone, so this one waits.
        let unsent = orders.try_send(Record::value("unsent")).expect("accepted");
        let tally = producer.close(Duration::from_millis(100)).await;
        assert_eq!(tally, Tally { written: 0, not_written: 1, unknown: 1 });
        assert!(matches!(unsent.await, Outcome::NotWritten(Because { reason: NotWritten::Closed, .. })));
        match sent.await {
            Outcome::Unknown(fate) => {
                let Settlement::Undetermined(why) = fate.await else { panic!("it was not answered") };
                assert_eq!(why.reason, Undetermined::ClosedBeforeProof);
                assert_eq!((why.cause.attempts, why.cause.node), (1, Some(1)), "{why}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn dropping_the_last_handle_still_delivers() {
    let broker = broker(1);
    let producer = Producer::new(ProducerConfig::new(broker.bootstrap())).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let delivery = run(orders.send(Record::value("v"))).expect("accepted");
    drop((producer, orders));
    assert_eq!(written(run(delivery)).offset, Some(0));
}

#[test]
fn a_handler_that_panics_loses_its_own_report_only() {
    let broker = broker(1);
    let (sender, reports) = mpsc::channel();
    let config = ProducerConfig::new(broker.bootstrap()).on_delivery(move |report| {
        assert_ne!(report.tag(), 1, "this panic is part of the test");
        sender.send(report.tag()).expect("the test listens");
    });
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        for tag in 0..3 {
            orders.post_wait(Record::value("v").tag(tag)).await.expect("accepted");
        }
        producer.close(SOON).await;
    });
    drop((producer, orders));
    assert_eq!(reports.iter().collect::<Vec<_>>(), [0, 2]);
}

/// Closing waits for the fates of records whose callers have left, too.
#[test]
fn close_with_time_left_settles_what_is_unknown() {
    let broker = TightLipped::start();
    let config = ProducerConfig::new(&broker.address)
        .deadline(Duration::from_millis(100))
        .request_timeout(Duration::from_millis(2100));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        broker.keeps_back.store(true, Ordering::SeqCst);
        let delivery = orders.try_send(Record::value("v")).expect("accepted");
        let Outcome::Unknown(fate) = delivery.await else { panic!("it is not answered") };
        broker.keeps_back.store(false, Ordering::SeqCst);
        assert_eq!(producer.close(SOON).await, Tally { unknown: 1, ..Tally::default() });
        assert!(matches!(fate.try_settlement(), Some(Settlement::Written(_))));
    });
}

/// With room for a few records only, callers wait for each other's memory, in turn.
#[test]
fn a_small_buffer_slows_senders_down_and_loses_nothing() {
    let broker = broker(1);
    let config =
        ProducerConfig::new(broker.bootstrap()).max_request_size(20_000).batch_size(16_000).buffer_memory(160_000);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let value = vec![7; 5000];
    let deliveries: Vec<Delivery> = run(async {
        let mut deliveries = Vec::new();
        for _ in 0..500 {
            deliveries.push(orders.send(Record::value(&value)).await.expect("accepted"));
        }
        deliveries
    });
    run(async {
        for (offset, delivery) in deliveries.into_iter().enumerate() {
            assert_eq!(written(delivery.await).offset, Some(offset as i64));
        }
    });
}

#[test]
fn a_record_that_is_too_large_is_given_back_with_its_size() {
    let broker = broker(1);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let value = vec![0; 2 << 20];
    let refused = orders.try_send(Record::value(&value)).expect_err("too large");
    assert!(matches!(refused.reason(), SendRefused::RecordTooLarge { limit: 1_048_576, .. }), "{refused}");
    assert!(refused.to_string().contains("exceeds max_request_size 1048576 for topic orders"), "{refused}");
    assert!(!refused.is_retriable());
    let _record = refused.into_record();
}

#[test]
fn a_large_shared_value_is_linked_and_arrives_whole() {
    let broker = broker(1);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    let value: bytes::Bytes = (0..200_000u32).map(|n| n as u8).collect::<Vec<u8>>().into();
    run(async {
        for _ in 0..3 {
            let delivery = orders.send(Record::shared(value.clone()).key("k")).await.expect("accepted");
            written(delivery.await);
        }
    });
    for (_, found) in log(&broker, 0) {
        assert!(found == value, "bytes differ");
    }
}

/// The later one took the place of the earlier one, whose deadline was forgotten.
#[test]
fn of_two_closes_the_earlier_deadline_counts() {
    let broker = TightLipped::start();
    let producer = Producer::new(ProducerConfig::new(&broker.address)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        broker.keeps_back.store(true, Ordering::SeqCst);
        let delivery = orders.try_send(Record::value("v")).expect("accepted");
        while broker.records() == 0 {
            std::thread::yield_now();
        }
        let start = Instant::now();
        let (soon, late) = (Duration::from_millis(100), Duration::from_secs(9));
        let closes = [soon, late].map(|deadline| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.close(deadline).await })
        });
        let mut tallies = Vec::new();
        for close in closes {
            tallies.push(close.await.expect("no panic"));
        }
        assert!(start.elapsed() < late, "{:?}", start.elapsed());
        let in_doubt = Tally { unknown: 1, ..Tally::default() };
        assert_eq!(tallies, [in_doubt, in_doubt]);
        assert!(matches!(delivery.await, Outcome::Unknown(_)));
    });
}

#[test]
fn clusters_of_every_release_are_written_to_and_read() {
    for release in milena_broker::KafkaRelease::ALL {
        let broker = Broker::start(BrokerOptions { release, ..BrokerOptions::default() }).expect("starts");
        run(async {
            let servers = [broker.bootstrap().to_owned()];
            let mut admin = Admin::connect(&servers, "test", SOON).await.expect("connects");
            let topic = NewTopic { name: "orders".to_owned(), partitions: Some(1), replication: None };
            admin.create_topic(&topic).await.expect("is created");
            let producer = Producer::new(ProducerConfig::new(broker.bootstrap())).expect("starts");
            let orders = producer.topic("orders").expect("has a name");
            let delivery = orders.send(Record::value("tea").key("table 7")).await.expect("is taken");
            assert!(matches!(delivery.await, Outcome::Written(Written { offset: Some(0), .. })), "{release}");
        });
        assert_eq!(log(&broker, 0), [(0, b"tea".to_vec())], "{release}");
    }
}
