//! Which partition records go to, over real sockets against milena-broker.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use milena::unstable::{Admin, NewTopic};
use milena::{Outcome, Partitioner, Producer, ProducerConfig, Record, SendRefused, Topic};
use milena_broker::{Broker, BrokerOptions};
use milena_wire::key_hash::KeyHash;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(20);
const PARTITIONS: u32 = 7;

fn broker() -> Broker {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    run(create(&broker));
    broker
}

async fn create(broker: &Broker) {
    create_with(broker, "orders", PARTITIONS as i32).await;
}

async fn create_with(broker: &Broker, name: &str, partitions: i32) {
    let mut admin = Admin::connect(&[broker.bootstrap().to_owned()], "test", SOON).await.expect("connects");
    let topic = NewTopic { name: name.to_owned(), partitions: Some(partitions), replication: None };
    admin.create_topic(&topic).await.expect("is created");
}

fn topic(broker: &Broker, partitioner: Partitioner) -> Topic {
    let config = ProducerConfig::new(broker.bootstrap()).partitioner(partitioner);
    Producer::new(config).expect("is built").topic("orders").expect("a name")
}

/// Where each record was written.
async fn places(orders: &Topic, records: impl IntoIterator<Item = Record<'_>>) -> Vec<i32> {
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(orders.send(record).await.expect("accepted"));
    }
    let mut places = Vec::new();
    for delivery in deliveries {
        let Outcome::Written(at) = delivery.await else { panic!("it was written") };
        places.push(at.partition);
    }
    places
}

#[test]
fn keys_go_where_their_hash_says_and_what_has_none_where_the_partitioner_says() {
    use KeyHash::{Crc32, Fnv1a, Murmur2};
    let broker = broker();
    let count = NonZeroU32::new(PARTITIONS).expect("some");
    let keys: Vec<String> = (0..200).map(|number| format!("key {number}")).collect();
    // Whether no key, and an empty one, have one partition.
    for (partitioner, hash, of_none, of_empty) in [
        (Partitioner::default(), Murmur2, false, true),
        (Partitioner::Murmur2, Murmur2, true, true),
        (Partitioner::ConsistentRandom, Crc32, false, false),
        (Partitioner::Consistent, Crc32, true, true),
        (Partitioner::Fnv1aRandom, Fnv1a, false, true),
        (Partitioner::Fnv1a, Fnv1a, true, true),
    ] {
        let orders = topic(&broker, partitioner.clone());
        run(async {
            let found = places(&orders, keys.iter().map(|key| Record::value("v").key(key))).await;
            let expected: Vec<i32> = keys.iter().map(|key| hash.partition(key.as_bytes(), count)).collect();
            assert_eq!(found, expected, "{partitioner:?}");
            for (record, is_hashed) in [(Record::value("v"), of_none), (Record::value("v").key(""), of_empty)] {
                let mut found = Vec::new();
                // One visit after the other.
                for _ in 0..40 {
                    found.extend(places(&orders, [record.clone()]).await);
                }
                let expected = hash.partition(b"", count);
                assert_eq!(found.iter().all(|place| *place == expected), is_hashed, "{partitioner:?}: {found:?}");
            }
        });
    }
}

#[test]
fn a_record_that_names_its_partition_goes_there_whatever_its_key() {
    let broker = broker();
    let orders = topic(&broker, Partitioner::default());
    run(async {
        let named = (0..PARTITIONS as i32).map(|partition| Record::value("v").key("key").partition(partition));
        assert_eq!(places(&orders, named).await, (0..PARTITIONS as i32).collect::<Vec<_>>());
        for partition in [-1, PARTITIONS as i32, i32::MAX] {
            let refused = orders.send(Record::value("v").partition(partition)).await.expect_err("there is none");
            let count = PARTITIONS as usize;
            assert_eq!(refused.reason(), &SendRefused::NoSuchPartition { partition, count });
            assert!(!refused.is_retriable());
            let said = refused.to_string();
            assert!(said.contains(&format!("topic orders has no partition {partition}, it has 7")), "{said}");
            assert_eq!(orders.try_send(Record::value("v").partition(partition)).expect_err("none").to_string(), said);
            assert!(orders.post(Record::value("v").partition(partition)).is_err());
            let many = orders.send_batch([Record::value("good"), Record::value("v").partition(partition)]).await;
            let (accepted, error, rest) = many.expect_err("the second is refused").into_parts();
            assert_eq!((accepted.len(), error.to_string(), rest.len()), (1, said, 0));
            let permit = orders.reserve(100, SOON).await.expect("there is room");
            let refused = permit.send(Record::value("v").partition(partition)).expect_err("there is none");
            assert_eq!(refused.reason(), &SendRefused::NoSuchPartition { partition, count });
        }
        let permit = orders.reserve(100, SOON).await.expect("there is room");
        let delivery = permit.send(Record::value("v").partition(5)).expect("accepted");
        let Outcome::Written(at) = delivery.await else { panic!("it was written") };
        assert_eq!(at.partition, 5);
        let mut found = Vec::new();
        let records = (0..50).map(|number| Record::value("v").partition(number % 3));
        for delivery in orders.send_batch(records).await.expect("accepted") {
            let Outcome::Written(at) = delivery.await else { panic!("it was written") };
            found.push(at.partition);
        }
        assert_eq!(found, (0..50).map(|number| number % 3).collect::<Vec<_>>());
    });
}

#[test]
fn round_robin_gives_each_partition_every_seventh_record() {
    let broker = broker();
    let orders = topic(&broker, Partitioner::RoundRobin);
    run(async {
        orders.ready(SOON).await.expect("is there");
        let mut found = places(&orders, (0..35).map(|_| Record::value("v").key("same"))).await;
        for delivery in orders.send_batch(vec!["v"; 35]).await.expect("accepted") {
            let Outcome::Written(at) = delivery.await else { panic!("it was written") };
            found.push(at.partition);
        }
        assert!(found.windows(2).all(|two| two[1] == (two[0] + 1) % PARTITIONS as i32), "{found:?}");
    });
}

#[test]
fn a_function_chooses_and_one_that_chooses_wrong_is_told() {
    let broker = broker();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let orders = topic(
        &broker,
        Partitioner::custom(move |record| {
            counted.fetch_add(1, Ordering::SeqCst);
            assert_eq!((record.topic, record.partitions), ("orders", PARTITIONS as i32));
            match (record.key?, record.value) {
                (b"wrong", _) => Some(100),
                (key, Some(value)) => Some((key.len() + value.len()) as i32 % record.partitions),
                (_, None) => Some(6),
            }
        }),
    );
    run(async {
        orders.ready(SOON).await.expect("is there");
        let records = [Record::value("1234").key("1"), Record::value("").key("12"), Record::tombstone().key("x")];
        assert_eq!(places(&orders, records).await, [5, 2, 6]);
        assert_eq!(calls.load(Ordering::SeqCst), 3, "once for each");
        let refused = orders.send(("wrong", "v")).await.expect_err("there is none");
        assert_eq!(refused.reason(), &SendRefused::NoSuchPartition { partition: 100, count: 7 });
        assert_eq!(orders.partition_count(), 7);
        // Anywhere.
        drop(orders.send("no key").await.expect("accepted"));
    });
}

/// Before the topic is known nobody can choose.
#[test]
fn a_function_is_asked_once_the_partitions_are_known() {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    let orders = topic(&broker, Partitioner::custom(|record| Some(record.partitions - 1)));
    let named = topic(&broker, Partitioner::default());
    let waiting = std::thread::spawn(move || {
        run(async {
            let chosen = orders.send("v").await.expect("accepted").await;
            let named = named.send(Record::value("v").partition(4)).await.expect("accepted").await;
            [chosen, named].map(|outcome| outcome.into_result().expect("is written").partition)
        })
    });
    run(create(&broker));
    assert_eq!(waiting.join().expect("no panic"), [6, 4]);
}

/// Those that are quicker to send get more; how much is a matter of the moment.
#[test]
fn records_without_a_key_are_spread_over_all_partitions_in_full_batches() {
    let broker = broker();
    let producer = Producer::new(ProducerConfig::new(broker.bootstrap()).batch_size(10_000)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let mut counts = vec![0u32; PARTITIONS as usize];
        let value = [7; 100];
        let found = places(&orders, (0..70_000).map(|_| Record::value(&value))).await;
        found.into_iter().for_each(|place| counts[place as usize] += 1);
        assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
        let stats = producer.stats();
        assert!(stats.records / stats.batches > 20, "{stats:?}");
    });
}

/// Threads that shared a handle went to the same partition, and took turns at its lock.
#[test]
fn each_thread_fills_batches_of_its_own_whatever_handle_it_uses() {
    let broker = broker();
    // More than threads have places, so that none of them begin at the same partition.
    run(create_with(&broker, "wide", 40));
    let config = ProducerConfig::new(broker.bootstrap()).linger(Duration::from_secs(15));
    let producer = Producer::new(config).expect("is built");
    let wide = producer.topic("wide").expect("a name");
    wide.blocking_ready(SOON).expect("is there");
    let all_sent = Barrier::new(4);
    let send = || {
        let clone = wide.clone();
        let other = producer.topic("wide").expect("a name");
        let sent = [&wide, &clone, &other, &wide].map(|handle| handle.try_send("v").expect("accepted"));
        // Whoever ends leaves its place to others.
        all_sent.wait();
        sent
    };
    let sent = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    producer.blocking_flush(SOON);
    let mut partitions = BTreeSet::new();
    for of_thread in sent {
        let places = of_thread.map(|delivery| delivery.blocking_wait().into_result().expect("is written").partition);
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
        partitions.insert(places[0]);
    }
    assert_eq!(partitions.len(), 4, "{partitions:?}");
}
