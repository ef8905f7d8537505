//! A record costs no allocation; a batch costs a bounded number of them, on all threads together.

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milena::{Producer, ProducerConfig, Record};
use milena_bench::Sink;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDS: u64 = 1_000_000;

#[test]
fn a_batch_costs_at_most_twenty_allocations_on_all_threads() {
    let sink = Sink::start(env!("CARGO_BIN_EXE_sink"), 12);
    let reported = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reported);
    let config = ProducerConfig::new(sink.address()).on_delivery(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let producer = Producer::new(config).expect("the configuration is sound");
    let topic = producer.topic("allocations").expect("a topic name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(topic.ready(Duration::from_secs(10))).expect("the sink answers");
    let value = [7u8; 100];
    let post = |records: u64| {
        let until = reported.load(Ordering::Relaxed) + records;
        for _ in 0..records {
            while topic.post(Record::value(&value)).is_err() {
                // Not `post_wait`: its wake-ups are the caller's cost, not the batch's.
                std::thread::yield_now();
            }
        }
        while reported.load(Ordering::Relaxed) < until {
            std::thread::yield_now();
        }
    };
    post(RECORDS);
    let (before, region) = (producer.stats(), Region::new(ALLOCATOR));
    post(RECORDS);
    let (after, used) = (producer.stats(), region.change());
    let batches = after.batches - before.batches;
    let allocations = used.allocations + used.reallocations;
    let per_batch = allocations as f64 / batches as f64;
    println!(
        "measured: {per_batch:.1} allocations per batch ({allocations} for {batches} batches of {} records)",
        RECORDS / batches
    );
    assert!(batches >= 100, "{batches} batches are too few to tell");
    assert!(per_batch <= 20.0, "{per_batch:.1} allocations per batch");
}
