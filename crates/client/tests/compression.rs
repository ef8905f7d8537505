//! Batches that are compressed on their way, over real sockets against milena-broker.

use std::time::Duration;

use milena::unstable::{Admin, NewTopic};
use milena::{Compression, NotWritten, Outcome, Producer, ProducerConfig, Record, Tally};
use milena_broker::{Broker, BrokerOptions};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(20);

async fn admin(broker: &Broker) -> Admin {
    Admin::connect(&[broker.bootstrap().to_owned()], "test", SOON).await.expect("connects")
}

fn broker(topics: &[(&str, i32)]) -> Broker {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    run(async {
        let mut admin = admin(&broker).await;
        for (name, partitions) in topics {
            let topic = NewTopic { name: (*name).to_owned(), partitions: Some(*partitions), replication: None };
            admin.create_topic(&topic).await.expect("is created");
        }
    });
    broker
}

/// Every value of a topic with its partition and offset.
async fn log(broker: &Broker, topic: &str, partitions: i32) -> Vec<((i32, i64), Vec<u8>)> {
    let mut admin = admin(broker).await;
    let mut found = Vec::new();
    for partition in 0..partitions {
        let mut reader = admin.reader(topic, partition);
        let end = reader.offsets().await.expect("are told").latest;
        reader.seek(0);
        while reader.position() < end {
            for record in reader.read(end).await.expect("is read").iter().flat_map(|batch| batch.records()) {
                let record = record.expect("is whole");
                found.push(((partition, record.offset), record.value.expect("not null").to_vec()));
            }
        }
    }
    found
}

fn line(number: u32) -> String {
    format!("{{\"number\":{number},\"shop\":\"berlin\",\"items\":[\"tea\",\"coffee\"],\"table\":{}}}", number % 13)
}

const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[test]
fn records_by_every_codec_are_in_the_log_where_their_outcomes_say() {
    const RECORDS: u32 = 30_000;
    const PARTITIONS: i32 = 3;
    for codec in CODECS {
        let broker = broker(&[("orders", PARTITIONS)]);
        // Many batches at a time, of every partition.
        let config = ProducerConfig::new(broker.bootstrap()).compression(codec).batch_size(20_000);
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        let (mut expected, found) = run(async {
            let mut deliveries = Vec::new();
            for number in 0..RECORDS {
                let (line, key) = (line(number), number.to_string());
                deliveries.push(orders.send(Record::value(&line).key(&key)).await.expect("accepted"));
            }
            let mut expected = Vec::new();
            for (number, delivery) in (0..).zip(deliveries) {
                let Outcome::Written(at) = delivery.await else { panic!("record {number} by {codec:?}") };
                expected.push(((at.partition, at.offset.expect("told")), line(number).into_bytes()));
            }
            (expected, log(&broker, "orders", PARTITIONS).await)
        });
        expected.sort_unstable();
        assert!(expected == found, "{codec:?}");
        let stats = producer.stats();
        assert_eq!(stats.records, u64::from(RECORDS));
        assert!(stats.batch_bytes * 2 < stats.raw_bytes, "{codec:?}: {stats:?}");
        assert!(stats.batches > 50, "{stats:?}");
    }
}

#[test]
fn a_topic_has_a_codec_of_its_own_or_none() {
    let broker = broker(&[("photos", 1), ("orders", 1)]);
    let config = ProducerConfig::new(broker.bootstrap())
        .compression([Compression::Zstd, Compression::Gzip])
        .topic_compression("photos", Compression::None);
    let producer = Producer::new(config).expect("is built");
    let text = line(7).repeat(100);
    let bytes_of = |topic| {
        let before = producer.stats();
        run(async {
            let delivery = producer.topic(topic).expect("a name").send(Record::value(&text)).await.expect("accepted");
            assert!(matches!(delivery.await, Outcome::Written(_)));
        });
        let after = producer.stats();
        (after.batch_bytes - before.batch_bytes, after.raw_bytes - before.raw_bytes)
    };
    let (sent, raw) = bytes_of("photos");
    assert_eq!(sent, raw);
    let (sent, raw) = bytes_of("orders");
    assert!(sent * 10 < raw, "{sent} of {raw}");
}

/// Deadlines end what is worked on, and nothing of it is sent later. How short one must be for that depends on the machine.
#[test]
fn what_is_due_while_it_is_compressed_is_not_written() {
    let deadlines = [60, 20, 6, 2].map(Duration::from_millis);
    assert!(deadlines.into_iter().any(|deadline| compress_until(deadline) > 0), "there was time for all of it");
}

/// How many were not written; the log is compared with what was told of all.
fn compress_until(deadline: Duration) -> usize {
    let broker = broker(&[("orders", 1)]);
    // Far more work than is done in the time: gzip at its slowest, on everything at once.
    let config = ProducerConfig::new(broker.bootstrap())
        .compression(Compression::Gzip)
        .compression_level(Compression::Gzip, 9)
        .deadline(deadline)
        .partition_memory_share(1.0);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let (found, written, not_written, unknown) = run(async {
        orders.ready(SOON).await.expect("is there");
        let mut deliveries = Vec::new();
        for number in 0..200_000 {
            match orders.try_send(Record::value(&line(number))) {
                Ok(delivery) => deliveries.push((number, delivery)),
                Err(_full) => break,
            }
        }
        let (mut written, mut not_written, mut unknown) = (Vec::new(), 0_usize, 0);
        for (number, delivery) in deliveries {
            match delivery.await {
                Outcome::Written(at) => written.push((at.offset.expect("told"), line(number).into_bytes())),
                Outcome::NotWritten(why) => {
                    assert_eq!(why.reason, NotWritten::DeadlinePassed);
                    not_written += 1;
                }
                Outcome::Unknown(fate) => match fate.await {
                    milena::Settlement::Written(at) => {
                        unknown += 1;
                        written.push((at.offset.expect("told"), line(number).into_bytes()));
                    }
                    other => panic!("{other:?}"),
                },
            }
        }
        producer.close(SOON).await;
        (log(&broker, "orders", 1).await, written, not_written, unknown)
    });
    println!("measured: {} written, {not_written} not, {unknown} told later", written.len());
    let found: Vec<_> = found.into_iter().map(|((_, offset), value)| (offset, value)).collect();
    assert!(found == written, "{} in the log, {} told", found.len(), written.len());
    not_written
}

#[test]
fn close_waits_for_what_is_compressed_and_no_thread_is_left() {
    let broker = broker(&[("orders", 2)]);
    let config = ProducerConfig::new(broker.bootstrap()).compression(Compression::Zstd);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let tally: Tally = run(async {
        orders.ready(SOON).await.expect("is there");
        (0..50_000).for_each(|number| orders.post(Record::value(&line(number))).expect("accepted"));
        producer.close(SOON).await
    });
    // What had ended before is not counted.
    assert_eq!((tally.not_written, tally.unknown), (0, 0));
    drop((producer, orders));
    assert_eq!(run(log(&broker, "orders", 2)).len(), 50_000);
    #[cfg(target_os = "linux")]
    {
        let has_packer = || {
            let tasks = std::fs::read_dir("/proc/self/task").expect("is there");
            let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            names.filter(|name| name.trim() == "milena-packer").count()
        };
        // Other tests of this program have producers of their own; theirs end too.
        let begun = std::time::Instant::now();
        while has_packer() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(120), "threads outlive their producers");
            std::thread::yield_now();
        }
    }
}
