//! Records that every program of these tests makes alike, and what is done with them on a real cluster.

use std::time::Duration;

use milena::unstable::{Admin, NewTopic};
use milena::{Compression, Outcome, Producer, ProducerConfig, Record};

pub const RECORDS: usize = 5_000;
pub const CODECS: [(Compression, &str); 4] = [
    (Compression::Gzip, "gzip"),
    (Compression::Snappy, "snappy"),
    (Compression::Lz4, "lz4"),
    (Compression::Zstd, "zstd"),
];

const SOON: Duration = Duration::from_secs(60);

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Alike, and never the same; some are longer than a block of snappy or lz4.
pub fn value(topic: &str, number: usize) -> String {
    let filler = if number % 1000 == 999 { 100_000 } else { number % 200 };
    format!("{topic}:{number}:{}", "x".repeat(filler))
}

/// Creates topics of one partition.
pub async fn create(servers: &str, topics: &[String]) {
    let mut admin = admin(servers).await;
    for name in topics {
        let topic = NewTopic { name: name.clone(), partitions: Some(1), replication: None };
        admin.create_topic(&topic).await.expect("is created");
    }
}

async fn admin(servers: &str) -> Admin {
    let servers: Vec<String> = servers.split(',').map(str::to_owned).collect();
    Admin::connect(&servers, "codecs", SOON).await.expect("connects")
}

/// Writes the records of a topic, and checks that they went compressed.
pub async fn write(servers: &str, topic: &str, config: impl FnOnce(ProducerConfig) -> ProducerConfig) {
    let config = config(ProducerConfig::new(servers).batch_size(200_000).linger(Duration::from_millis(50)));
    let producer = Producer::new(config).expect("is built");
    let handle = producer.topic(topic).expect("a name");
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let value = value(topic, number);
        deliveries.push(handle.send(Record::value(&value)).await.expect("accepted"));
    }
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let Outcome::Written(at) = delivery.await else { panic!("record {number} of {topic}") };
        assert_eq!(at.offset, Some(number as i64));
    }
    let stats = producer.stats();
    println!(
        "measured: {topic}: {} bytes of records in {} bytes and {} batches",
        stats.raw_bytes, stats.batch_bytes, stats.batches
    );
    assert!(stats.batch_bytes * 3 < stats.raw_bytes, "{topic}: {stats:?}");
}

/// Every value of a topic, read by milena.
pub async fn read(servers: &str, topic: &str) -> Vec<String> {
    let mut admin = admin(servers).await;
    let mut reader = admin.reader(topic, 0);
    let end = reader.offsets().await.expect("are told").latest;
    reader.seek(0);
    let mut found = Vec::new();
    while reader.position() < end {
        for record in reader.read(end).await.expect("is read").iter().flat_map(|batch| batch.records()) {
            let value = record.expect("is whole").value.expect("not null");
            found.push(String::from_utf8(value.to_vec()).expect("text"));
        }
    }
    found
}

/// In order, all of them, nothing else.
pub fn assert_all(topic: &str, found: &[String]) {
    assert_eq!(found.len(), RECORDS, "{topic}");
    for (number, found) in found.iter().enumerate() {
        assert!(*found == value(topic, number), "record {number} of {topic}: {:.80}", found);
    }
}
