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
    runtime: tokio::runtime::Runtime,
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
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(topic.ready(Duration::from_secs(10))).expect("the sink answers");
    Setup { runtime, _sink: sink, topic, reported }
}

impl Setup {
    fn post_all(&self) {
        let value = [7u8; 100];
        let until = self.reported.load(Ordering::Relaxed) + RECORDS;
        for tag in 0..RECORDS {
            let record = Record::value(&value).tag(tag);
            if self.topic.post(record.clone()).is_err() {
                self.runtime.block_on(self.topic.post_wait(record)).expect("the sink takes everything");
            }
        }
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
