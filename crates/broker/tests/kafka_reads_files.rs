//! The files in a partition's folder in the hands of Kafka's own classes: batches, both indexes and producer snapshots read there as they are here.
//!
//! Needs Java; run by `cargo xtask test kafka`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use milena_broker::{
    BatchEntry, CleanupPolicy, Cluster, ClusterConfig, Directory, Event, Moment, NewTopic, Node, NodeId,
    PartitionIndex, Ratio, TopicConfig,
};
use milena_wire::crc32c;
use milena_wire::frame::{decode_response, encode_request};
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::{BatchHeader, RecordLayout};

/// The release whose classes read.
const KAFKA_VERSION: &str = "4.3.1";
const START: u64 = 1_700_000_000_000;
const BATCHES: i64 = 60;
const PRODUCER: i64 = 4_711;

#[test]
fn kafkas_classes_read_batches_indexes_and_snapshots_and_find_them_sane() {
    let folder = Folder::new();
    for cleanup in [CleanupPolicy::Delete, CleanupPolicy::Compact] {
        let written = write(&folder.0, cleanup);
        let home = folder.0.join(format!("{cleanup:?}-0"));
        let mut names: Vec<_> =
            std::fs::read_dir(&home).expect("it is there").map(|it| it.expect("reads").path()).collect();
        // What was compacted away stays for a minute, under a name of its own.
        names.retain(|path| path.extension().is_some_and(|kind| kind != "deleted"));
        names.sort();
        let read = read_by_kafka(&names);
        let offsets = |entry: &BatchEntry| [entry.base_offset, entry.last_offset, entry.position as i64];
        let mut batches: Vec<_> = read.iter().filter(|line| line.kind == "batch").collect();
        batches.sort_by_key(|line| line.numbers[0]);
        assert!(batches.iter().map(|line| &line.numbers[..3]).eq(written.iter().map(offsets)), "{batches:?}");

        let of_segment = |line: &Line| {
            written.iter().filter(|it| line.file.starts_with(&format!("{:020}", it.segment))).collect::<Vec<_>>()
        };
        let mut counts = [0; 2];
        for line in &read {
            let [first, second, ..] = line.numbers[..] else { panic!("{line:?}") };
            match line.kind.as_str() {
                "offset" => {
                    let fits = |it: &&BatchEntry| (it.last_offset, it.position as i64) == (first, second);
                    assert!(of_segment(line).into_iter().any(|it| fits(&it)), "no such batch: {line:?}");
                    counts[0] += 1;
                }
                "time" => {
                    let fits = |it: &&BatchEntry| (it.max_timestamp, it.last_offset) == (first, second);
                    assert!(of_segment(line).into_iter().any(|it| fits(&it)), "no such batch: {line:?}");
                    counts[1] += 1;
                }
                _ => {}
            }
        }
        assert!(counts.iter().all(|count| *count > 5), "too few entries to mean anything: {counts:?}");
        let producers: Vec<_> = read.iter().filter(|line| line.kind == "producer").collect();
        let newest = producers.last().expect("it was stopped cleanly");
        assert_eq!(newest.numbers, [PRODUCER, 0, 2 * BATCHES - 1, 2 * BATCHES - 1], "{producers:?}");
    }
}

/// Something in a file, as Kafka reads it.
#[derive(Debug)]
struct Line {
    file: String,
    kind: String,
    numbers: Vec<i64>,
}

fn read_by_kafka(files: &[PathBuf]) -> Vec<Line> {
    let program = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/ReadLogFiles.java"));
    let mut command = kafka_harness::program(KAFKA_VERSION, program).expect("Kafka is here");
    let output = command.args(files).output().expect("Java runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = Vec::new();
    let mut file = String::new();
    for line in text.lines() {
        match line.split_once(' ').expect("every line has two words") {
            ("file", name) => name.clone_into(&mut file),
            (kind, rest) => {
                let numbers = rest.split(' ').map(|number| number.parse().expect("a number")).collect();
                lines.push(Line { file: file.clone(), kind: kind.to_owned(), numbers });
            }
        }
    }
    lines
}

/// A topic named like its policy, with a log of several segments, compacted where it is to be; and what is in it then.
fn write(folder: &Path, cleanup: CleanupPolicy) -> Vec<BatchEntry> {
    let node = Node { id: NodeId(1), host: "files".to_owned(), port: 9092 };
    let storage = Directory::open(folder).expect("nobody else has it");
    let mut now = Moment { elapsed: Duration::ZERO, wall: Duration::from_millis(START) };
    let mut cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(storage), now).expect("it opens");
    let topic = format!("{cleanup:?}");
    let settings = TopicConfig {
        cleanup,
        cleanable_ratio_min: Ratio::new(0.0).expect("a share"),
        segment_bytes_for_tests: Some(20_000),
        retention_ms: -1,
        ..TopicConfig::default()
    };
    cluster
        .create_topic_with(NewTopic::new(&topic).partitions(1).replication_factor(1).config(settings))
        .expect("the topic is new");
    let connection = cluster.connect(NodeId(1)).expect("there is a node 1");
    for number in 0..BATCHES {
        let request = request(&topic, number);
        let frame = Bytes::from(encode_request("files", 1, 9, &request).expect("it fits")).slice(4..);
        cluster.handle_frame(now, connection, frame);
        let Some(Event::Response { frame, .. }) = cluster.poll_event(now) else { panic!("no answer") };
        let answer = decode_response::<ProduceRequest>(frame.slice(4..), 9).expect("it reads").1;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    now.elapsed += Duration::from_secs(15);
    now.wall += Duration::from_secs(15);
    cluster.handle_timeout(now);
    cluster.do_chores(now);
    let log = cluster.log(&topic, PartitionIndex(0)).expect("it was made");
    let (written, segments) = (log.batches().expect("the log reads"), log.segments().len());
    assert!(segments > 2, "{segments} segments");
    assert_eq!(written.len() < BATCHES as usize, cleanup.compacts(), "{} batches are left", written.len());
    cluster.close_logs().expect("there is room");
    written
}

/// Two records: one whose key is written again each time, and one whose key is not.
fn request(topic: &str, number: i64) -> ProduceRequest {
    let mut body = Vec::new();
    let value = vec![number as u8; 1_000];
    for (index, key) in (0..).zip(["again".to_owned(), format!("once {}", number % 40)]) {
        let layout = RecordLayout::new(0, index, Some(key.as_bytes()), Some(value.len()), &[]).expect("it is small");
        layout.write(Some(&value), &mut body);
    }
    let timestamp = START as i64 + number * 1_000;
    let header = BatchHeader {
        last_offset_delta: 1,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: PRODUCER,
        producer_epoch: 0,
        base_sequence: 2 * number as i32,
        record_count: 2,
        ..BatchHeader::default()
    };
    let mut batch = header.seal(body.len(), crc32c::checksum(&body)).to_vec();
    batch.extend_from_slice(&body);
    let data = PartitionProduceData { index: 0, records: Some(batch.into()), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 2_000, topic_data: vec![topic], ..Default::default() }
}

/// Gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        Folder(std::env::temp_dir().join(format!("milena-broker-files-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _never_made = std::fs::remove_dir_all(&self.0);
    }
}
