//! A disk that fails at every call there is, and a machine that loses power at any: what was acknowledged under fsync is there afterwards,
//! everything else is as if it had not been asked for or had been done, and the log goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milena_broker::{Cluster, ClusterConfig, Directory, FlushPolicy, Moment, NewTopic, OpenError, TopicConfig};
use milena_wire::ErrorCode;

use crate::client::{Batch, Bench, P0, RETENTION_CHECK, START, config};
use crate::disk::{Fault, TestDisk};
use crate::segments::small_segments;

/// One life after the other of a broker on one disk, and what its clients were told.
struct Lives {
    disk: TestDisk,
    config: ClusterConfig,
    now: Moment,
    /// What was acknowledged at each offset, while it has to be there.
    acknowledged: Vec<(i64, String)>,
    /// What was sent and is in doubt: it may be there or not.
    doubtful: Vec<String>,
    /// Records before it may be gone.
    start: i64,
    topic_is_sure: bool,
    producer: i64,
    sequence: i32,
}

impl Lives {
    fn new(flush: FlushPolicy) -> Lives {
        Lives {
            disk: TestDisk::default(),
            config: ClusterConfig { flush, ..config() },
            now: Moment { elapsed: Duration::ZERO, wall: Duration::from_millis(START) },
            acknowledged: Vec::new(),
            doubtful: Vec::new(),
            start: 0,
            topic_is_sure: false,
            producer: 4_711,
            sequence: 0,
        }
    }

    fn open(&self) -> Result<Bench, OpenError> {
        let storage = Directory::on(Arc::new(self.disk.clone()), Path::new("/data"));
        let cluster = Cluster::open(self.config.clone(), Box::new(storage), self.now)?;
        Ok(Bench { cluster, now: self.now })
    }

    /// Everything that writes: a topic, batches over several segments, deletion by size, a clean stop, a start, more batches. Ends early where
    /// nothing can go on.
    fn live(&mut self) {
        for _ in 0..2 {
            let Ok(mut bench) = self.open() else { return };
            if bench.cluster.topic("orders").is_none() {
                let settings = TopicConfig { retention_bytes: 1_200, ..small_segments() };
                self.topic_is_sure |= bench
                    .cluster
                    .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(1).config(settings))
                    .is_ok();
            }
            for _ in 0..8 {
                self.produce(&mut bench);
            }
            bench.advance(RETENTION_CHECK);
            self.note_start(&bench);
            self.produce(&mut bench);
            // What was deleted is removed then.
            bench.advance(Duration::from_secs(60));
            self.now = bench.now;
            // A stop that fails is a crash.
            let _read_again = bench.cluster.close_logs();
        }
    }

    fn produce(&mut self, bench: &mut Bench) {
        let value = format!("{:0>100}", self.sequence);
        let batch = Batch::stamped(&[&value, "second"], self.producer, 0, 2 * self.sequence);
        match bench.produced(batch.at(&[bench.now.timestamp(); 2])) {
            (ErrorCode::NONE, offset) => {
                self.acknowledged.push((offset, value));
                self.sequence += 1;
            }
            (ErrorCode::KAFKA_STORAGE_ERROR, _) => {
                // Another producer, as after a doubt that nobody settles.
                self.doubtful.push(value);
                self.producer += 1;
                self.sequence = 0;
            }
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _) => assert!(!self.topic_is_sure, "the topic is gone"),
            other => panic!("{other:?}"),
        }
    }

    fn note_start(&mut self, bench: &Bench) {
        if let Some(log) = bench.cluster.log("orders", P0) {
            self.start = self.start.max(log.start_offset());
        }
    }

    /// A healthy disk: what was acknowledged is there, nothing is there that nobody sent, and everything works.
    fn check(&mut self, why: &str) {
        let mut bench = self.open().unwrap_or_else(|error| panic!("{why}: {error}"));
        let Some(log) = bench.cluster.log("orders", P0) else {
            assert!(!self.topic_is_sure, "{why}: the topic is gone");
            assert!(self.acknowledged.is_empty());
            return;
        };
        assert!(log.start_offset() <= self.start, "{why}: more was deleted than had to be");
        let mut found = Vec::new();
        for entry in log.batches().unwrap_or_else(|error| panic!("{why}: {error}")) {
            let batch = log.read_batch(&entry).unwrap_or_else(|error| panic!("{why}: {error:?}"));
            let first = batch.records().next().expect("it has two").expect("reads");
            let text = String::from_utf8(first.value.expect("not null").to_vec()).expect("text");
            found.push((first.offset, text));
        }
        for (offset, value) in self.acknowledged.iter().filter(|(offset, _)| *offset >= self.start) {
            assert!(found.contains(&(*offset, value.clone())), "{why}: offset {offset} is gone; found {found:?}");
        }
        for (offset, value) in &found {
            let was_acknowledged = self.acknowledged.contains(&(*offset, value.clone()));
            assert!(was_acknowledged || self.doubtful.contains(value), "{why}: nobody wrote {value} at {offset}");
        }
        let end = log.next_offset();
        assert!(found.windows(2).all(|pair| pair[1].0 == pair[0].0 + 2), "{why}: a hole in {found:?}");
        assert_eq!(bench.produced(Batch::of(&["more"])), (ErrorCode::NONE, end), "{why}");
    }
}

/// How many calls one run makes that change something.
fn calls(flush: FlushPolicy) -> u64 {
    let mut lives = Lives::new(flush);
    lives.live();
    assert_eq!((lives.acknowledged.len(), lives.doubtful.len()), (18, 0), "a healthy disk takes all");
    assert!(lives.start > 4, "some are deleted");
    lives.disk.calls()
}

#[test]
fn every_call_may_fail_once() {
    let calls = calls(FlushPolicy::EveryBatch);
    assert!(calls > 100, "{calls}");
    for at in 0..calls {
        let mut lives = Lives::new(FlushPolicy::EveryBatch);
        lives.disk.plant(at, Fault::Fails);
        lives.live();
        lives.disk.restart();
        lives.check(&format!("call {at} failed"));
    }
}

#[test]
fn process_may_be_killed_at_every_call_whatever_is_fsynced() {
    for flush in [FlushPolicy::Never, FlushPolicy::EveryBatch] {
        for at in 0..calls(flush) {
            let mut lives = Lives::new(flush);
            lives.disk.plant(at, Fault::Stops);
            lives.live();
            lives.disk.restart();
            lives.check(&format!("{flush:?}: killed at call {at}"));
        }
    }
}

#[test]
fn power_may_be_lost_at_every_call_where_each_batch_is_fsynced() {
    for seed in 0..4 {
        for at in 0..calls(FlushPolicy::EveryBatch) {
            let mut lives = Lives::new(FlushPolicy::EveryBatch);
            lives.disk.plant(at, Fault::Stops);
            lives.live();
            let mut state = (seed + 1) * 1_000_003 + at;
            lives.disk.lose_power(|below| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            });
            lives.check(&format!("seed {seed}: power lost at call {at}"));
        }
    }
}

#[test]
fn interval_fsyncs_what_is_older() {
    let interval = Duration::from_millis(50);
    let mut lives = Lives::new(FlushPolicy::Interval(interval));
    let mut bench = lives.open().expect("the disk is well");
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    lives.topic_is_sure = true;
    lives.produce(&mut bench);
    lives.produce(&mut bench);
    bench.advance(interval);
    lives.doubtful.push(format!("{:0>100}", lives.sequence));
    lives.produce(&mut bench);
    lives.acknowledged.pop();
    drop(bench);
    lives.disk.lose_power(|below| below - 1);
    let bench = lives.open().expect("the disk is well");
    assert_eq!(bench.cluster.log("orders", P0).expect("it was made").next_offset(), 4, "the third was lost");
    drop(bench);
    lives.check("two were older than the interval");
}

#[test]
fn topic_says_when_it_is_fsynced_itself() {
    let mut lives = Lives::new(FlushPolicy::Never);
    let mut bench = lives.open().expect("the disk is well");
    let settings = TopicConfig { flush_messages: 4, ..TopicConfig::default() };
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(1).config(settings))
        .expect("the topic is new");
    let before = lives.disk.calls();
    lives.produce(&mut bench);
    assert_eq!(lives.disk.calls(), before + 1, "two records are written and not fsynced");
    lives.produce(&mut bench);
    let fsyncs = lives.disk.calls() - before - 2;
    assert!(fsyncs >= 1, "four are");
    lives.produce(&mut bench);
    assert_eq!(lives.disk.calls(), before + fsyncs + 3, "and then it begins again");
}

/// The kernel forgets what it could not write, so a second fsync that succeeds proves nothing.
#[test]
fn log_whose_fsync_failed_takes_no_more_until_it_is_opened_again() {
    let mut lives = Lives::new(FlushPolicy::EveryBatch);
    let mut bench = lives.open().expect("the disk is well");
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    lives.topic_is_sure = true;
    lives.produce(&mut bench);
    lives.disk.plant(lives.disk.calls() + 1, Fault::Fails);
    lives.produce(&mut bench);
    assert_eq!((lives.acknowledged.len(), lives.doubtful.len()), (1, 1));
    lives.produce(&mut bench);
    assert_eq!((lives.acknowledged.len(), lives.doubtful.len()), (1, 2), "nothing is taken");
    assert_eq!(bench.high_watermark(), 2, "and nothing is shown that was not acknowledged");
    drop(bench);
    lives.check("opened again");
}
