//! Compaction as clients see it: the last record of each key, where it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_broker::{
    Chore, CleanupPolicy, Cluster, ClusterConfig, Directory, FinishedChore, FlushPolicy, LookupError, NewTopic, NodeId,
    PartitionLog, Ratio, TopicConfig,
};
use milena_wire::ErrorCode;
use milena_wire::crc32c;
use milena_wire::records::{Attributes, BatchHeader, Codec, Compression, Encoding, Packer, RecordLayout};

use crate::client::{Bench, P0, START, config, config_of_nodes};
use crate::compaction_beside::{beside, look_by};
use crate::disk::{Fault, TestDisk};
use crate::restart::Folder;
use crate::segments::{create, fetched, open, small_segments, stop};

pub const LOOK: Duration = Duration::from_secs(15);

pub fn compacted() -> TopicConfig {
    TopicConfig { cleanup: CleanupPolicy::Compact, ..small_segments() }
}

/// A batch of keyed records; no value is a tombstone.
pub struct Keyed<'a> {
    records: &'a [(&'a str, Option<&'a str>)],
    stamp: Option<(i64, i32)>,
    codec: Option<Codec>,
    timestamp: i64,
}

impl<'a> Keyed<'a> {
    pub fn of(records: &'a [(&'a str, Option<&'a str>)]) -> Keyed<'a> {
        Keyed { records, stamp: None, codec: None, timestamp: START as i64 }
    }

    pub fn bytes(&self) -> Bytes {
        let mut body = Vec::new();
        for (index, (key, value)) in (0..).zip(self.records) {
            let value = value.map(str::as_bytes);
            let layout = RecordLayout::new(0, index, Some(key.as_bytes()), value.map(<[u8]>::len), &[]);
            layout.expect("it is small").write(value, &mut body);
        }
        let packed = self.codec.and_then(|codec| Packer::new().pack(Encoding::new(codec), [&body[..]]));
        let compression = packed.as_ref().map_or(Compression::None, |_| self.codec.expect("it packed").into());
        let body = packed.unwrap_or(body);
        let count = self.records.len() as i32;
        let (producer_id, base_sequence) = self.stamp.unwrap_or((-1, -1));
        let header = BatchHeader {
            attributes: Attributes::default().with_compression(compression),
            last_offset_delta: count - 1,
            base_timestamp: self.timestamp,
            max_timestamp: self.timestamp,
            producer_id,
            producer_epoch: if producer_id < 0 { -1 } else { 0 },
            base_sequence,
            record_count: count,
            ..BatchHeader::default()
        };
        let mut bytes = header.seal(body.len(), crc32c::checksum(&body)).to_vec();
        bytes.extend_from_slice(&body);
        Bytes::from(bytes)
    }
}

pub fn put(bench: &mut Bench, key: &str, value: &str) -> i64 {
    let (code, offset) = bench.produced(Keyed::of(&[(key, Some(value))]).bytes());
    assert_eq!(code, ErrorCode::NONE);
    offset
}

/// Begins another segment, so that what was written may be compacted.
pub fn roll(bench: &mut Bench) -> i64 {
    put(bench, "filler", &"x".repeat(440))
}

pub type Row = (i64, String, Option<String>);

fn rows_of(log: &PartitionLog) -> Result<Vec<Row>, LookupError> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    let mut rows = Vec::new();
    for entry in log.batches()? {
        for record in log.read_batch(&entry)?.records() {
            let record = record.map_err(LookupError::Damaged)?;
            rows.push((record.offset, text(record.key.expect("it has one")), record.value.map(text)));
        }
    }
    Ok(rows)
}

/// Everything but the fillers.
pub fn rows(bench: &Bench) -> Vec<Row> {
    let log = bench.cluster.log("orders", P0).expect("it is there");
    rows_of(log).expect("the log reads").into_iter().filter(|(_, key, _)| key != "filler").collect()
}

pub fn row(offset: i64, key: &str, value: Option<&str>) -> Row {
    (offset, key.to_owned(), value.map(str::to_owned))
}

#[test]
fn last_record_of_each_key_stays_where_it_was() {
    let mut bench = Bench::new();
    create(&mut bench, compacted());
    for round in 0..20 {
        for key in ["a", "b", "c"] {
            put(&mut bench, key, &format!("{key}{round}"));
        }
    }
    put(&mut bench, "d", "once");
    roll(&mut bench);
    roll(&mut bench);
    let before = bench.cluster.log("orders", P0).expect("it is there").bytes();
    bench.advance(LOOK);
    assert_eq!(
        rows(&bench),
        [row(57, "a", Some("a19")), row(58, "b", Some("b19")), row(59, "c", Some("c19")), row(60, "d", Some("once"))]
    );
    let log = bench.cluster.log("orders", P0).expect("it is there");
    assert!(log.bytes() < before / 2);
    assert_eq!((log.start_offset(), log.next_offset()), (0, 63));
    let segments = log.segments().len();
    let first = fetched(&mut bench, 0).expect("nothing was deleted").expect("there are records");
    assert_eq!(first, (57, vec!["a19".to_owned()]), "a reader of what is gone gets what comes next");
    assert_eq!(put(&mut bench, "a", "new"), 63);
    for _ in 0..4 {
        roll(&mut bench);
    }
    bench.advance(LOOK);
    let log = bench.cluster.log("orders", P0).expect("it is there");
    assert!(log.segments().len() < segments, "small neighbours became one: {:?}", log.segments());
    assert_eq!(rows(&bench)[0], row(58, "b", Some("b19")));
}

#[test]
fn record_without_a_key_is_refused() {
    let mut bench = Bench::new();
    create(&mut bench, compacted());
    let refused = bench.produce(crate::client::Batch::of(&["a", "b"]));
    let bad: Vec<i32> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!((ErrorCode(refused.error_code), bad), (ErrorCode::INVALID_RECORD, vec![0, 1]));
    let records = [("a", Some("1")), ("b", None)];
    let keyed = Keyed { codec: Some(Codec::Gzip), ..Keyed::of(&records) };
    assert_eq!(bench.produced(keyed.bytes()), (ErrorCode::NONE, 0));
}

#[test]
fn active_segment_and_what_is_too_young_are_not_touched() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { compaction_lag_min: 60_000, ..compacted() });
    put(&mut bench, "a", "1");
    put(&mut bench, "a", "2");
    bench.advance(LOOK);
    assert_eq!(rows(&bench).len(), 2, "all is active");
    roll(&mut bench);
    roll(&mut bench);
    bench.advance(LOOK);
    assert_eq!(rows(&bench).len(), 2, "and then too young");
    bench.advance(LOOK * 3);
    assert_eq!(rows(&bench), [row(1, "a", Some("2"))]);
}

#[test]
fn log_is_compacted_once_enough_of_it_is_dirty_or_waited_long_enough() {
    let mut bench = Bench::new();
    let ratio = Ratio::new(0.9).expect("a share");
    let settings = TopicConfig { cleanable_ratio_min: ratio, compaction_lag_max: 100_000, ..compacted() };
    create(&mut bench, settings);
    for round in 0..3 {
        put(&mut bench, &format!("kept{round}"), &"x".repeat(400));
    }
    roll(&mut bench);
    bench.advance(LOOK);
    put(&mut bench, "a", "1");
    put(&mut bench, "a", "2");
    roll(&mut bench);
    roll(&mut bench);
    bench.advance(LOOK);
    assert_eq!(rows(&bench).len(), 5, "less than nine tenths are dirty");
    bench.advance(LOOK * 7);
    assert_eq!(rows(&bench).len(), 4, "but they have waited for 100 s");
}

#[test]
fn tombstone_outlives_its_key_for_the_delete_retention() {
    let mut bench = Bench::new();
    let all = Ratio::new(0.0).expect("a share");
    create(&mut bench, TopicConfig { delete_retention: 40_000, cleanable_ratio_min: all, ..compacted() });
    put(&mut bench, "a", "1");
    bench.produced(Keyed::of(&[("a", None), ("b", Some("1"))]).bytes());
    roll(&mut bench);
    roll(&mut bench);
    bench.advance(LOOK);
    assert_eq!(rows(&bench), [row(1, "a", None), row(2, "b", Some("1"))]);
    for _ in 0..2 {
        roll(&mut bench);
        bench.advance(LOOK);
        assert_eq!(rows(&bench).len(), 2, "15 and 30 s later");
    }
    roll(&mut bench);
    bench.advance(LOOK);
    assert_eq!(rows(&bench), [row(2, "b", Some("1"))]);
}

#[test]
fn codec_of_a_batch_is_kept() {
    let mut bench = Bench::new();
    create(&mut bench, compacted());
    let long = "y".repeat(200);
    for codec in Codec::ALL {
        let name = codec.to_string();
        let records = [("again", Some("1")), (name.as_str(), Some(long.as_str()))];
        bench.produced(Keyed { codec: Some(codec), ..Keyed::of(&records) }.bytes());
    }
    put(&mut bench, "again", "2");
    roll(&mut bench);
    roll(&mut bench);
    bench.advance(LOOK);
    let log = bench.cluster.log("orders", P0).expect("it is there");
    let entries = log.batches().expect("the log reads");
    for (entry, codec) in entries.iter().zip(Codec::ALL) {
        let batch = log.read_batch(entry).expect("the batch reads");
        assert_eq!((batch.header.attributes.compression(), batch.header.record_count), (codec.into(), 1));
    }
    assert_eq!(rows(&bench).len(), 5);
}

/// What a producer wrote last is recognised although none of it is left; from the log alone, too.
#[test]
fn producer_is_known_though_all_it_wrote_was_written_again() {
    for with_snapshots in [true, false] {
        let folder = Folder::new();
        let mut bench = open(&folder);
        create(&mut bench, compacted());
        let pid = bench.producer_id();
        let stamped = |sequence| Keyed { stamp: Some((pid, sequence)), ..Keyed::of(&[("a", Some("mine"))]) }.bytes();
        for sequence in 0..4 {
            bench.produced(stamped(sequence));
        }
        put(&mut bench, "a", "theirs");
        roll(&mut bench);
        roll(&mut bench);
        bench.advance(LOOK);
        assert_eq!(rows(&bench), [row(4, "a", Some("theirs"))]);
        let log = bench.cluster.log("orders", P0).expect("it is there");
        let entries = log.batches().expect("the log reads");
        assert_eq!((entries[0].base_offset, entries[0].last_offset), (3, 3), "its last batch stays, empty");
        stop(bench);
        if !with_snapshots {
            for entry in std::fs::read_dir(folder.file("")).expect("it is there") {
                let path = entry.expect("reads").path();
                if path.extension().is_some_and(|extension| extension == "snapshot") {
                    std::fs::remove_file(path).expect("it was listed");
                }
            }
        }
        let mut bench = open(&folder);
        assert_eq!(bench.produced(stamped(3)), (ErrorCode::NONE, 3), "a duplicate");
        assert_eq!(bench.produced(stamped(5)), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
        assert_eq!(bench.produced(stamped(4)).0, ErrorCode::NONE);
    }
}

#[test]
fn compacted_log_is_found_again_and_not_compacted_twice() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, compacted());
    for round in 0..30 {
        put(&mut bench, ["a", "b"][round % 2], &round.to_string());
    }
    roll(&mut bench);
    roll(&mut bench);
    bench.advance(LOOK);
    let expected = rows(&bench);
    assert_eq!(expected, [row(28, "a", Some("28")), row(29, "b", Some("29"))]);
    drop(bench);
    let mut bench = open(&folder);
    assert_eq!(rows(&bench), expected, "after a crash");
    put(&mut bench, "a", "x");
    let segments = bench.cluster.log("orders", P0).expect("it is there").segments();
    bench.advance(LOOK);
    assert_eq!(bench.cluster.log("orders", P0).expect("it is there").segments(), segments);
    stop(bench);
    assert_eq!(rows(&open(&folder)).len(), 3, "after a clean stop");
}

#[test]
fn both_policies_delete_what_is_old_and_compact_the_rest() {
    let mut bench = Bench::new();
    let settings = TopicConfig { retention_ms: 60_000, ..compacted() };
    create(&mut bench, TopicConfig { cleanup: CleanupPolicy::CompactAndDelete, ..settings });
    put(&mut bench, "old", "1");
    roll(&mut bench);
    let young = START as i64 + 290_000;
    for value in ["1", "2"] {
        bench.produced(Keyed { timestamp: young, ..Keyed::of(&[("young", Some(value))]) }.bytes());
    }
    let filler = "x".repeat(440);
    for _ in 0..2 {
        bench.produced(Keyed { timestamp: young, ..Keyed::of(&[("filler", Some(filler.as_str()))]) }.bytes());
    }
    bench.advance(Duration::from_secs(300));
    assert_eq!(rows(&bench), [row(3, "young", Some("2"))]);
}

#[test]
fn followers_compact_their_own_and_copy_what_is_compacted() {
    let mut bench = Bench::with(config_of_nodes(3));
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(3).config(compacted()))
        .expect("the topic is new");
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    for round in 0..20 {
        bench.send_batch(1, Keyed::of(&[("a", Some(&round.to_string()))]).bytes());
    }
    bench.advance(Duration::from_secs(31));
    while bench.event().is_some() {}
    roll(&mut bench);
    roll(&mut bench);
    bench.advance(LOOK);
    bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
    put(&mut bench, "b", "1");
    let on = |node| rows_of(bench.cluster.log_on(NodeId(node), "orders", P0).expect("it keeps it")).expect("it reads");
    assert_eq!(on(1).iter().filter(|row| row.1 == "a").count(), 1);
    assert_eq!((on(2), on(3)), (on(1), on(1)));
    assert_eq!(bench.ends(), [23; 3]);
}

/// What every key has to have, whatever fails: the last acknowledged value, or a later one that is in doubt.
#[test]
fn disk_may_fail_or_stop_at_every_call_of_a_compaction() {
    let calls = compact_on(&TestDisk::default(), beside).0;
    assert!(calls > 60, "{calls}");
    for fault in [Fault::Fails, Fault::Stops] {
        for at in 0..calls {
            for loses_power in [false, true] {
                let disk = TestDisk::default();
                disk.plant(at, fault);
                // The calls are the same and come in the same order; threads only take longer.
                let run = if at % 8 == 0 { beside } else { Chore::run };
                let (_, acknowledged) = compact_on(&disk, run);
                let mut state = at;
                if loses_power {
                    disk.lose_power(|below| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        (state >> 33) % below
                    });
                } else {
                    disk.restart();
                }
                let why = format!("{fault:?} at call {at}, power lost: {loses_power}");
                let bench = bench_on(&disk).unwrap_or_else(|| panic!("{why}: it does not open"));
                let Some(log) = bench.cluster.log("orders", P0) else {
                    assert!(acknowledged.is_empty(), "{why}: the topic is gone");
                    continue;
                };
                let found = rows_of(log).unwrap_or_else(|error| panic!("{why}: {error:?}"));
                let last: BTreeMap<_, _> = found.iter().map(|(offset, key, _)| (key.clone(), *offset)).collect();
                for (key, offset) in &acknowledged {
                    assert!(last.get(key) >= Some(offset), "{why}: {key} was last at {offset}; found {found:?}");
                }
                assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{why}: {found:?}");
            }
        }
    }
}

fn bench_on(disk: &TestDisk) -> Option<Bench> {
    let now = milena_broker::Moment { elapsed: Duration::ZERO, wall: Duration::from_millis(START) };
    let storage = Directory::on(Arc::new(disk.clone()), Path::new("/data"));
    let config = ClusterConfig { flush: FlushPolicy::EveryBatch, ..config() };
    Some(Bench { cluster: Cluster::open(config, Box::new(storage), now).ok()?, now })
}

fn write_if_it_can(bench: &mut Bench, key: String, value: &str, acknowledged: &mut BTreeMap<String, i64>) {
    let produced = bench.produced(Keyed::of(&[(key.as_str(), Some(value))]).bytes());
    if let (ErrorCode::NONE, offset) = produced {
        acknowledged.insert(key, offset);
    }
}

/// Writes and compacts, on another thread and with more writes meanwhile, as far as the disk goes along: the calls that took, and the last acknowledged offset of each key.
fn compact_on(disk: &TestDisk, run: fn(Chore) -> FinishedChore) -> (u64, BTreeMap<String, i64>) {
    let mut acknowledged = BTreeMap::new();
    if let Some(mut bench) = bench_on(disk)
        && bench
            .cluster
            .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(1).config(compacted()))
            .is_ok()
    {
        for round in 0..2 {
            for number in 0..6 {
                let (key, value) = (["a", "b", "c"][number % 3].to_owned(), format!("{round} {number} {:0>200}", 0));
                write_if_it_can(&mut bench, key, &value, &mut acknowledged);
            }
            // Beside the keys, the first segment and the second: more of it would only take longer.
            look_by(&mut bench, run, |bench, count| {
                if count > 2 {
                    return;
                }
                let (key, value) = (["a", "d"][count % 2].to_owned(), format!("{round} beside {count} {:0>150}", 0));
                write_if_it_can(bench, key, &value, &mut acknowledged);
            });
        }
    }
    (disk.calls(), acknowledged)
}
