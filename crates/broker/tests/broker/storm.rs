//! Everything at once, from seeds: nodes freeze, stop, lag and lead in turn while producers write and resend. What must hold does.
//!
//! Committed is committed: what was acknowledged with acks=all is in the final log at its offset, once. The high watermark never falls, and up to it
//! all replicas in sync have the same bytes. Epochs rise by one. Every request is answered or its connection closed, and time
//! only passes when nothing is due.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milena_broker::{
    ClusterConfig, ConnectionId, Directory, Event, Memory, NodeId, PartitionIndex, PartitionLog, Process, Stop,
    Storage, TopicConfig,
};
use milena_wire::ErrorCode;
use milena_wire::frame::decode_response;
use milena_wire::messages::produce::request::ProduceRequest;

use crate::client::{Batch, Bench, config_of_nodes, produce};
use crate::disk::TestDisk;

/// SplitMix64, as good as any.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// A batch of one record, resent until it is acknowledged.
#[derive(Clone)]
struct Sent {
    partition: i32,
    value: String,
    sequence: i32,
}

/// One producer a partition, with one batch in doubt at a time.
struct Writer {
    pid: i64,
    sequence: i32,
    sent: Option<Sent>,
    connection: Option<ConnectionId>,
}

struct Storm {
    bench: Bench,
    dice: Dice,
    writers: Vec<Writer>,
    acknowledged: BTreeMap<(i32, i64), String>,
    answers: u64,
    epochs: Vec<i32>,
    marks: Vec<i64>,
}

const PARTITIONS: i32 = 2;
const NODES: i32 = 3;

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut dice = Dice(seed);
        let config = ClusterConfig {
            session_timeout: Duration::from_millis(300),
            replica_lag_time_max: Duration::from_millis(200),
            catch_up: dice.millis(60),
            strict_min_isr: dice.below(2) == 0,
            ..config_of_nodes(NODES)
        };
        // One in ten on a disk; segments from a batch or two up to all there are, so that logs are cut over several.
        let storage: Box<dyn Storage> = match seed % 10 {
            0 => Box::new(Directory::on(Arc::new(TestDisk::default()), Path::new("/data"))),
            _ => Box::new(Memory),
        };
        let segment_bytes_for_tests = [Some(150), Some(700), None][(seed % 3) as usize];
        let mut bench = Bench::open(config, storage);
        bench.cluster.create_topic("orders", PARTITIONS).expect("the topic is new");
        let min_insync_replicas = 1 + dice.below(2) as i32;
        let config =
            TopicConfig { min_insync_replicas, segment_bytes_for_tests, index_interval: 100, ..TopicConfig::default() };
        bench.cluster.alter_topic(bench.now, "orders", config).expect("memory saves");
        let writer = |pid| Writer { pid, sequence: 0, sent: None, connection: None };
        let writers = (0..PARTITIONS).map(|_| writer(bench.producer_id())).collect();
        let empty = (vec![0; PARTITIONS as usize], vec![0; PARTITIONS as usize]);
        Storm { bench, dice, writers, acknowledged: BTreeMap::new(), answers: 0, epochs: empty.0, marks: empty.1 }
    }

    fn steer(&mut self) {
        let node = NodeId(1 + self.dice.below(NODES as u64) as i32);
        let (cluster, now) = (&mut self.bench.cluster, self.bench.now);
        match self.dice.below(9) {
            0 => drop(cluster.freeze(now, node)),
            1 | 2 => drop(cluster.thaw(now, node)),
            3 => drop(cluster.stop(now, node, if self.dice.below(2) == 0 { Stop::Clean } else { Stop::Kill })),
            4 | 5 => drop(cluster.start(now, node)),
            6 => drop(cluster.lag(now, node, Some(self.dice.millis(300)))),
            7 => drop(cluster.lag(now, node, (self.dice.below(3) == 0).then_some(Duration::MAX))),
            _ => {
                let partition = PartitionIndex(self.dice.below(PARTITIONS as u64) as i32);
                drop(cluster.move_leader(now, "orders", partition, node));
            }
        }
    }

    /// Sends the batch in doubt again, or a new one, to who leads or to anybody.
    fn write(&mut self, partition: i32) {
        let index = PartitionIndex(partition);
        let guess = 1 + self.dice.below(NODES as u64) as i32;
        let leader = self.bench.cluster.leader("orders", index).filter(|_| self.dice.below(4) > 0);
        let node = leader.unwrap_or(NodeId(guess));
        let Some(connection) = self.bench.cluster.connect(node) else { return };
        let writer = &mut self.writers[partition as usize];
        if let Some(old) = writer.connection.replace(connection) {
            self.bench.cluster.disconnect(old);
        }
        let sequence = writer.sequence;
        let sent =
            writer.sent.get_or_insert_with(|| Sent { partition, value: format!("{partition}:{sequence}"), sequence });
        let batch = Batch::stamped(&[&sent.value], writer.pid, 0, sent.sequence);
        let request = ProduceRequest { timeout_ms: 100, ..produce("orders", partition, batch) };
        self.bench.send(connection, 12, &request);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.bench.event() {
            let (Event::Response { connection, .. } | Event::Close { connection, .. }) = &event;
            let asked = |writer: &&mut Writer| writer.connection == Some(*connection);
            let writer = self.writers.iter_mut().find(asked).expect("nobody else is connected");
            let Event::Response { frame, .. } = event else {
                writer.connection = None;
                continue;
            };
            self.answers += 1;
            let response = decode_response::<ProduceRequest>(frame.slice(4..), 12).expect("the answer reads").1;
            let answer = &response.responses[0].partition_responses[0];
            if ErrorCode(answer.error_code).is_none() {
                let sent = writer.sent.take().expect("it was sent");
                writer.sequence += 1;
                let other = self.acknowledged.insert((sent.partition, answer.base_offset), sent.value);
                assert_eq!(other, None, "an offset belongs to one record");
            }
        }
    }

    /// Jumps to what is due next, at most so far; what is due again and again in no time would never end.
    fn pass(&mut self, time: Duration) {
        let until = self.bench.now.elapsed + time;
        let mut idle = 0;
        while let Some(due) = self.bench.cluster.poll_timeout().filter(|due| *due <= until) {
            let step = due.saturating_sub(self.bench.now.elapsed);
            idle = if step.is_zero() { idle + 1 } else { 0 };
            assert!(idle < 100, "time stands still");
            self.bench.advance(step);
            self.take_events();
            self.check();
        }
        self.bench.advance(until - self.bench.now.elapsed);
        self.take_events();
    }

    fn check(&mut self) {
        for partition in 0..PARTITIONS {
            let found = self.bench.cluster.partition("orders", PartitionIndex(partition)).expect("it was made");
            let at = partition as usize;
            let epoch = found.leader_epoch();
            assert!(epoch >= self.epochs[at], "the epoch fell");
            self.epochs[at] = epoch;
            assert!(found.leader().is_none_or(|leader| found.isr().contains(&leader)), "a leader is in sync");
            self.marks[at] = self.marks[at].max(found.high_watermark());
            for member in found.isr() {
                let log = found.log_on(*member).expect("only replicas are in sync");
                assert!(log.next_offset() >= self.marks[at], "node {member} is in sync and lacks what is committed");
            }
        }
    }

    /// Everybody is well again, and all is written.
    fn end(mut self) -> u64 {
        for node in (1..=NODES).map(NodeId) {
            let (cluster, now) = (&mut self.bench.cluster, self.bench.now);
            cluster.lag(now, node, None).expect("it is there");
            let _not_frozen = cluster.thaw(now, node);
            let _not_stopped = cluster.start(now, node);
        }
        self.pass(Duration::from_secs(1));
        let done = |storm: &Storm| storm.writers.iter().all(|writer| writer.sent.is_none());
        for _ in 0..20 {
            for partition in 0..PARTITIONS {
                if self.writers[partition as usize].sent.is_some() {
                    self.write(partition);
                }
            }
            self.pass(Duration::from_millis(200));
            if done(&self) {
                break;
            }
        }
        assert!(done(&self), "a healthy cluster takes what is in doubt");
        for partition in (0..PARTITIONS).map(PartitionIndex) {
            let found = self.bench.cluster.partition("orders", partition).expect("it was made");
            let logs: Vec<_> = (1..=NODES).map(|node| contents(found.log_on(NodeId(node)).expect("kept"))).collect();
            assert!(logs.iter().all(|log| *log == logs[0]), "replicas differ: {logs:?}");
            assert_eq!((found.isr().len(), found.high_watermark()), (NODES as usize, logs[0].len() as i64));
            let expected: Vec<_> = self.acknowledged.range((partition.0, 0)..(partition.0 + 1, 0)).collect();
            assert_eq!(expected.len(), logs[0].len(), "each record is written once");
            for ((_, offset), value) in expected {
                assert_eq!(logs[0][*offset as usize], *value);
            }
        }
        assert!((1..=NODES).all(|node| self.bench.cluster.process(NodeId(node)) == Some(Process::Running)));
        self.answers
    }
}

fn contents(log: &PartitionLog) -> Vec<String> {
    let entries = log.batches().expect("the log reads");
    let batches = entries.iter().map(|entry| log.read_batch(entry).expect("the batch reads"));
    let records = batches.flat_map(|batch| batch.records()).map(|record| record.expect("reads"));
    records.map(|record| String::from_utf8(record.value.expect("not null").to_vec()).expect("text")).collect()
}

fn storm(seed: u64) -> u64 {
    let mut storm = Storm::new(seed);
    for _ in 0..200 {
        match storm.dice.below(4) {
            0 => storm.steer(),
            1 | 2 => {
                let partition = storm.dice.below(PARTITIONS as u64) as i32;
                storm.write(partition);
            }
            _ => {
                let time = storm.dice.millis(150);
                storm.pass(time);
            }
        }
        storm.take_events();
        storm.check();
    }
    storm.end()
}

#[test]
fn what_is_committed_stays_whatever_happens_to_nodes() {
    let mut answers = 0;
    for seed in 0..300 {
        println!("seed {seed}");
        answers += storm(seed);
    }
    assert!(answers > 300 * 20, "too few answers to mean anything: {answers}");
}
