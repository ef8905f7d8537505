//! Segments: when they roll, how they are named, and that nobody who reads sees where one ends; whatever became of the index files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milena_broker::{Cluster, Directory, Memory, Moment, NewTopic, Ratio, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::records::batches;

use crate::client::{Batch, Bench, P0, START, config};
use crate::disk::TestDisk;
use crate::restart::Folder;

/// Small enough for a few batches each, with an index entry for every second one.
pub fn small_segments() -> TopicConfig {
    let segment_bytes_for_tests = Some(600);
    TopicConfig { segment_bytes_for_tests, index_interval: 100, ..TopicConfig::default() }
}

pub fn open(folder: &Folder) -> Bench {
    Bench::open(config(), Box::new(Directory::open(folder.path()).expect("nobody else has it")))
}

pub fn create(bench: &mut Bench, settings: TopicConfig) {
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(1).config(settings))
        .expect("the topic is new");
}

/// Stops as `Broker::stop` does.
pub fn stop(mut bench: Bench) {
    bench.cluster.close_logs().expect("there is room");
}

/// The first batch that a fetch gives: base offset and values. None at the end.
pub fn fetched(bench: &mut Bench, offset: i64) -> Result<Option<(i64, Vec<String>)>, ErrorCode> {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: 1, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1_000_000, topics: vec![topic], ..Default::default() };
    let data = bench.ask(11, &request).responses[0].partitions[0].clone();
    if data.error_code != 0 {
        return Err(ErrorCode(data.error_code));
    }
    let first = batches(data.records.expect("never null")).next();
    Ok(first.map(|batch| {
        let batch = batch.expect("the first batch is whole");
        let text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).expect("text");
        let values = batch.records().map(|record| text(record.expect("reads").value.expect("not null")));
        (batch.header.base_offset, values.collect())
    }))
}

pub fn listed(bench: &mut Bench, timestamp: i64) -> (i64, i64) {
    let partition = ListOffsetsPartition { current_leader_epoch: -1, timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let found = bench.ask(7, &request).topics[0].partitions[0].clone();
    assert_eq!(found.error_code, 0);
    (found.offset, found.timestamp)
}

/// What was written: each record's timestamp and value, by offset, and where batches begin.
#[derive(Default)]
struct Written {
    records: Vec<(i64, String)>,
    bases: Vec<usize>,
}

impl Written {
    /// Batches of one to three records, with times that go up and down.
    fn fill(bench: &mut Bench, count: usize) -> Written {
        let mut written = Written::default();
        for number in 0..count {
            let values: Vec<String> = (0..number % 3 + 1).map(|index| format!("{number}.{index}")).collect();
            let at = |index: usize| START as i64 + (number as i64 * 10) + [0, 25, -30][(number + index) % 3];
            let times: Vec<i64> = (0..values.len()).map(at).collect();
            let texts: Vec<&str> = values.iter().map(String::as_str).collect();
            let base = written.records.len();
            assert_eq!(bench.produced(Batch::of(&texts).at(&times)), (ErrorCode::NONE, base as i64));
            written.bases.push(base);
            written.records.extend(times.into_iter().zip(values));
        }
        written
    }

    /// Every offset and every time, as a reader sees them from `start` on.
    fn check(&self, bench: &mut Bench, start: usize, why: &str) {
        for offset in start..self.records.len() {
            let after = self.bases.partition_point(|base| *base <= offset);
            let base = self.bases[after - 1];
            let end = self.bases.get(after).copied().unwrap_or(self.records.len());
            let values = self.records[base..end].iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(fetched(bench, offset as i64), Ok(Some((base as i64, values))), "{why}: offset {offset}");
        }
        assert_eq!(fetched(bench, self.records.len() as i64), Ok(None), "{why}");
        let (first, last) = (START as i64 - 40, START as i64 + 40 + 10 * self.bases.len() as i64);
        for timestamp in (first..last).step_by(5) {
            let mut rest = self.records.iter().enumerate().skip(start);
            let found = rest.find(|(_, (time, _))| *time >= timestamp);
            let expected = found.map_or((-1, -1), |(offset, (time, _))| (offset as i64, *time));
            assert_eq!(listed(bench, timestamp), expected, "{why}: since {}", timestamp - START as i64);
        }
        let newest = self.records[start..].iter().map(|(time, _)| *time).max().expect("there are records");
        assert_eq!(listed(bench, -3), listed(bench, newest), "{why}");
    }
}

impl Folder {
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join("orders-0").join(name)
    }

    fn names(&self, extension: &str) -> Vec<String> {
        let entries = fs::read_dir(self.file("")).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("reads").file_name().into_string().expect("text"));
        let mut names: Vec<_> = names.filter(|name| name.ends_with(extension)).collect();
        names.sort();
        names
    }
}

#[test]
fn readers_do_not_see_where_segments_end() {
    let mut bench = Bench::open(config(), Box::new(Memory));
    create(&mut bench, small_segments());
    let written = Written::fill(&mut bench, 80);
    let log = bench.cluster.log("orders", P0).expect("it is there");
    assert!(log.segments().len() > 10, "{:?}", log.segments());
    written.check(&mut bench, 0, "in memory");
}

#[test]
fn files_are_named_as_kafka_names_them() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, small_segments());
    Written::fill(&mut bench, 20);
    let bases = bench.cluster.log("orders", P0).expect("it is there").segments();
    let expected: Vec<String> = bases.iter().map(|base| format!("{base:020}.log")).collect();
    assert!(expected.len() > 2);
    assert_eq!(folder.names(".log"), expected);
    stop(bench);
    assert_eq!(folder.names(".index").len(), expected.len());
    assert_eq!(folder.names(".timeindex").len(), expected.len());
}

#[test]
fn everything_is_found_again_after_a_clean_stop_and_after_a_crash() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, small_segments());
    let written = Written::fill(&mut bench, 80);
    written.check(&mut bench, 0, "as written");
    stop(bench);
    let mut bench = open(&folder);
    assert!(bench.cluster.torn_tails().is_empty());
    written.check(&mut bench, 0, "after a clean stop");
    drop(bench);
    let mut bench = open(&folder);
    written.check(&mut bench, 0, "after a crash");
    stop(bench);
    stop(open(&folder));
    let mut bench = open(&folder);
    written.check(&mut bench, 0, "after a stop without a change");
}

#[test]
fn index_that_is_missing_or_damaged_is_made_anew() {
    for kind in ["index", "timeindex"] {
        for (what, damage) in [
            ("gone", None),
            ("empty", Some(&(|_: &[u8]| Vec::new()) as &dyn Fn(&[u8]) -> Vec<u8>)),
            ("zeros", Some(&|old: &[u8]| vec![0; old.len()])),
            ("half an entry", Some(&|old: &[u8]| old[..old.len() - 3].to_vec())),
            ("every byte turned", Some(&|old: &[u8]| old.iter().map(|byte| !byte).collect())),
            ("places moved by one", Some(&|old: &[u8]| old.chunks(4).flat_map(moved).collect())),
        ] {
            let folder = Folder::new();
            let mut bench = open(&folder);
            create(&mut bench, small_segments());
            let written = Written::fill(&mut bench, 40);
            stop(bench);
            for name in folder.names(&format!(".{kind}")) {
                let path = folder.file(&name);
                let old = fs::read(&path).expect("it was written");
                match damage {
                    None => fs::remove_file(&path).expect("it was written"),
                    Some(damage) if !old.is_empty() => fs::write(&path, damage(&old)).expect("there is room"),
                    Some(_) => {}
                }
            }
            let mut bench = open(&folder);
            written.check(&mut bench, 0, &format!("{kind} {what}"));
        }
    }
}

fn moved(word: &[u8]) -> [u8; 4] {
    let number = u32::from_be_bytes(word.try_into().expect("entries are made of words"));
    number.wrapping_add(1).to_be_bytes()
}

/// After a clean stop nobody reads what lies in the segments: damage shows to whoever asks for it. After a crash only those behind the recovery
/// point are read.
#[test]
fn opening_reads_no_more_than_it_must() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, small_segments());
    let written = Written::fill(&mut bench, 40);
    stop(bench);
    let first = folder.file("00000000000000000000.log");
    let whole = fs::read(&first).expect("it was written");
    let mut damaged = whole.clone();
    damaged[30..100].fill(0xff);
    fs::write(&first, &damaged).expect("there is room");
    drop(open(&folder));
    let mut bench = open(&folder);
    assert!(bench.cluster.torn_tails().is_empty(), "after a crash neither: it was on the disk before");
    fs::write(&first, &whole).expect("there is room");
    written.check(&mut bench, 0, "afterwards");
}

#[test]
fn checkpoint_that_is_damaged_costs_reading_only() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, small_segments());
    let written = Written::fill(&mut bench, 40);
    stop(bench);
    fs::write(folder.file("checkpoint"), b"nonsense").expect("there is room");
    let mut bench = open(&folder);
    written.check(&mut bench, 0, "without a checkpoint");
    assert_eq!(bench.cluster.leader_epoch("orders", P0), Some(2));
}

/// Data directories of the time when a log was one file are read as they are.
#[test]
fn log_of_one_file_without_anything_beside_it_is_taken_over() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, TopicConfig::default());
    let written = Written::fill(&mut bench, 30);
    stop(bench);
    for name in folder.names("") {
        if name != "00000000000000000000.log" {
            fs::remove_file(folder.file(&name)).expect("it was listed");
        }
    }
    fs::remove_file(folder.path().join("clean-stop")).expect("it was stopped");
    let mut bench = open(&folder);
    written.check(&mut bench, 0, "taken over");
    bench.produced(Batch::of(&["more"]));
    assert_eq!(bench.values().len(), written.records.len() + 1);
}

/// Whatever is turned on the disk: an error that can be told, or an answer; and what is read with a checksum that fits was written.
#[test]
fn any_damaged_byte_is_refused_or_found_and_nothing_panics() {
    let on = |disk: &TestDisk| Directory::on(Arc::new(disk.clone()), Path::new("/data"));
    let disk = TestDisk::default();
    let mut bench = Bench::open(config(), Box::new(on(&disk)));
    create(&mut bench, small_segments());
    let written = Written::fill(&mut bench, 12);
    stop(bench);
    let (mut opened, mut refused, mut state) = (0, 0, 1u64);
    for file in disk.files().into_iter().filter(|file| file.starts_with("/data/orders-0")) {
        for clean in [true, false] {
            for _ in 0..60 {
                let damaged = disk.copy();
                damaged.damage(&file, |bytes| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = (state >> 33) as usize % bytes.len().max(1);
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (state % 8));
                });
                if !clean {
                    let marker = Path::new("/data/clean-stop");
                    milena_broker::Disk::remove_file(&damaged, marker).expect("it was stopped");
                }
                let Ok(cluster) = Cluster::open(config(), Box::new(on(&damaged)), Moment::default()) else {
                    refused += 1;
                    continue;
                };
                opened += 1;
                read_all(&cluster, &written);
            }
        }
    }
    assert!(opened > 200 && refused > 20, "{opened} opened, {refused} refused");
}

fn read_all(cluster: &Cluster, written: &Written) {
    let log = cluster.log("orders", P0).expect("it is named");
    for offset in log.start_offset()..written.records.len() as i64 {
        let _damaged_or_not = log.read(offset, i64::MAX, 1_000, true);
    }
    for time in (0..300).step_by(25) {
        let _damaged_or_not = log.first_since(START as i64 + time);
    }
    for entry in log.batches().unwrap_or_default() {
        let Ok(batch) = log.read_batch(&entry) else { continue };
        for record in batch.records().map_while(Result::ok) {
            let value = String::from_utf8(record.value.expect("not null").to_vec()).expect("text");
            assert!(written.records.iter().any(|(_, known)| *known == value), "nobody wrote {value}");
        }
    }
}

#[test]
fn segment_ends_when_its_records_span_too_much_time() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { segment_ms: 1_000, ..TopicConfig::default() });
    let start = START as i64;
    for time in [0, 600, 1_000, 1_001, 1_900, 2_001, 2_002] {
        bench.produced(Batch::of(&["x"]).at(&[start + time]));
    }
    let log = bench.cluster.log("orders", P0).expect("it is there");
    assert_eq!(log.segments(), [0, 3, 6], "by the records' own time, from the first batch of a segment on");
}

/// Kafka 4.3.1 makes room before it looks at who writes: a fetch ends where the segment does, although nothing came of the batch.
#[test]
fn batch_that_is_not_taken_begins_a_segment_too() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { segment_ms: 1_000, ..TopicConfig::default() });
    let (start, id) = (START as i64, bench.producer_id());
    let stamped = |sequence, time: i64| Batch::stamped(&["x"], id, 0, sequence).at(&[start + time]);
    assert_eq!(bench.produced(stamped(0, 0)), (ErrorCode::NONE, 0));
    assert_eq!(bench.produced(stamped(7, 2_000)), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(bench.produced(stamped(8, 9_000)), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(bench.produced(stamped(1, 0)), (ErrorCode::NONE, 1));
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").segments(), [0, 1], "an empty one is enough");
    assert_eq!(bench.produced(stamped(0, 2_000)), (ErrorCode::NONE, 0), "a duplicate");
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").segments(), [0, 1, 2]);
}

#[test]
fn records_without_a_time_go_by_the_clock() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { segment_ms: 1_000, ..TopicConfig::default() });
    bench.produced(Batch::of(&["x"]).at(&[-1]));
    bench.advance(Duration::from_millis(1_001));
    bench.produced(Batch::of(&["y"]).at(&[-1]));
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").segments(), [0, 1]);
}

#[test]
fn batch_larger_than_a_segment_is_refused() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { cleanable_ratio_min: Ratio::new(0.1).expect("a share"), ..small_segments() });
    let large = bench.produce(Batch::of(&[&"x".repeat(600)]));
    assert_eq!(ErrorCode(large.error_code), ErrorCode::RECORD_LIST_TOO_LARGE);
    assert!(large.error_message.expect("there is one").contains("segment.bytes 600"));
    assert_eq!(bench.produced(Batch::of(&["small"])), (ErrorCode::NONE, 0));
}
