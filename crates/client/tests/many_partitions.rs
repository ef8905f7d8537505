//! A topic of ten thousand partitions beside a small one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use milena::{Outcome, Producer, ProducerConfig, Record};
use milena_broker::{Broker, BrokerOptions};

const PARTITIONS: i32 = 10_000;

const SOON: Duration = Duration::from_secs(60);

/// What is asserted: the small topic goes on, and keys find their partitions among the many. What is printed
/// (`cargo test --release -p milena --test many_partitions -- --nocapture`): how long a record of the small topic took at
/// worst while the many appeared.
#[test]
fn ten_thousand_partitions_appear_beside_a_busy_topic() {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    broker.create_topic("small", 1).expect("is made");
    broker.create_topic("large", PARTITIONS).expect("is made");
    let config = ProducerConfig::new(broker.bootstrap()).linger(Duration::ZERO).deadline(SOON);
    let producer = Producer::new(config).expect("is built");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let small = producer.topic("small").expect("a name");
        small.ready(SOON).await.expect("is there");
        let quiet = worst(&small, Duration::from_millis(300)).await;
        let large = producer.topic("large").expect("a name");
        let begun = Instant::now();
        let mut busy = Duration::ZERO;
        while large.partition_count() == 0 {
            busy = busy.max(worst(&small, Duration::from_millis(1)).await);
        }
        let appeared = begun.elapsed();
        busy = busy.max(worst(&small, Duration::from_millis(300)).await);
        println!("{PARTITIONS} partitions appear within {appeared:?}; a record beside them takes {quiet:?} at worst before, {busy:?} then");
        assert_eq!(large.partition_count(), PARTITIONS as usize);
        let keys: Vec<String> = (0..1_000).map(|key| key.to_string()).collect();
        let sent = keys.iter().map(|key| large.try_send(Record::value("x").key(key)).expect("accepted"));
        let mut partitions = BTreeSet::new();
        for delivery in sent.collect::<Vec<_>>() {
            match delivery.await {
                Outcome::Written(at) => partitions.insert(at.partition),
                other => panic!("{other:?}"),
            };
        }
        assert!(partitions.len() > 900, "keys spread over {} partitions only", partitions.len());
    });
}

/// The longest that one record took, one after the other for so long.
async fn worst(topic: &milena::Topic, lasting: Duration) -> Duration {
    let (begun, mut worst) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < lasting {
        let sent = Instant::now();
        let outcome = topic.send(Record::value("x")).await.expect("accepted").await;
        assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
        worst = worst.max(sent.elapsed());
    }
    worst
}
