//! What a 100-byte record costs from `post` to its report in the handler, in nanoseconds of wall time, with a real
//! socket and a broker in another process that throws everything away.
//!
//! `cargo bench -p milena-bench`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use milena::{Producer, ProducerConfig, Record, Topic};
use milena_bench::Sink;

fn main() {
    divan::main();
}

const RECORDS: u64 = 1_000_000;

struct Setup {
    _sink: Sink,
    topic: Topic,
    reported: Arc<AtomicU64>,
}

fn setup(partitions: u32) -> Setup {
    let sink = Sink::start(env!("CARGO_BIN_EXE_sink"), partitions);
    let reported = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reported);
    let config = ProducerConfig::new(sink.address()).on_delivery(move |report| {
        // What a handler does at the least: look at the tag, count.
        counted.fetch_add(1 + (report.tag() >> 63), Ordering::Relaxed);
    });
    let producer = Producer::new(config).expect("the configuration is sound");
    let topic = producer.topic("bench").expect("a topic name");
    topic.blocking_ready(Duration::from_secs(10)).expect("the sink answers");
    Setup { _sink: sink, topic, reported }
}

impl Setup {
    fn post_all(&self) {
        self.post_from(1);
    }

    /// From so many threads that share the handle.
    fn post_from(&self, threads: u64) {
        let until = self.reported.load(Ordering::Relaxed) + RECORDS;
        let each = || {
            let value = [7u8; 100];
            for tag in 0..RECORDS / threads {
                let record = Record::value(&value).tag(tag);
                if self.topic.post(record.clone()).is_err() {
                    self.topic.blocking_post(record).expect("the sink takes everything");
                }
            }
        };
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(each)));
            each();
        });
        while self.reported.load(Ordering::Relaxed) < until {
            std::thread::yield_now();
        }
    }
}

#[divan::bench(args = [1, 12], sample_count = 10, sample_size = 1)]
fn post_and_report(bencher: Bencher, partitions: u32) {
    let setup = setup(partitions);
    setup.post_all();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| setup.post_all());
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn post_from_two_threads_and_report(bencher: Bencher) {
    let setup = setup(12);
    setup.post_from(2);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| setup.post_from(2));
}

/// A caller who does not wait for room is told so as fast as it can ask.
#[divan::bench(sample_count = 50, sample_size = 10_000)]
fn a_record_is_refused(bencher: Bencher) {
    let sink = Sink::start_with(env!("CARGO_BIN_EXE_sink"), 12, Some("never"));
    let day = Duration::from_secs(24 * 3600);
    let config = ProducerConfig::new(sink.address()).buffer_memory(2 * 1024 * 1024).deadline(day);
    let producer = Producer::new(config).expect("the configuration is sound");
    let topic = producer.topic("bench").expect("a topic name");
    topic.blocking_ready(Duration::from_secs(10)).expect("the sink answers");
    let value = [7u8; 100];
    while topic.post(Record::value(&value)).is_ok() {}
    bencher.bench_local(|| topic.try_send(Record::value(&value)).is_err());
}
