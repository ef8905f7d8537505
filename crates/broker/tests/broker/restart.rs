//! Data directories: what outlives the broker, what is cut, and who may write.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use milena_broker::{
    Cluster, Directory, DirectoryError, Moment, OpenError, PartitionIndex, StorageError, TimestampType, TopicConfig,
};
use milena_wire::ErrorCode;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use milena_wire::records::Compression;

use crate::client::{Batch, Bench, config};

/// A folder of its own for each test, gone afterwards.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("milena-broker-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn log(&self) -> PathBuf {
        self.0.join("orders-0").join("00000000000000000000.log")
    }

    fn open(&self) -> Bench {
        Bench::open(config(), Box::new(Directory::open(&self.0).expect("nobody else has it")))
    }

    fn with_orders(&self) -> Bench {
        let mut bench = self.open();
        bench.cluster.create_topic("orders", 1).expect("the topic is new");
        bench
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _never_made = fs::remove_dir_all(&self.0);
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("the log is there");
    file.write_all(bytes).expect("there is room");
}

#[test]
fn topics_records_and_settings_outlive_the_broker() {
    let folder = Folder::new();
    let (cluster_id, topic_id) = {
        let mut bench = folder.with_orders();
        bench.cluster.create_topic("empty.topic", 3).expect("the topic is new");
        let config = TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..TopicConfig::default() };
        bench.cluster.alter_topic(bench.now, "empty.topic", config).expect("it saves");
        bench.produced(Batch::of(&["a", "b"]));
        bench.produced(Batch::of(&["c"]));
        (bench.cluster.cluster_id().to_owned(), bench.topic_id("orders"))
    };
    let mut bench = folder.open();
    assert!(bench.cluster.torn_tails().is_empty());
    assert_eq!((bench.cluster.cluster_id(), bench.topic_id("orders")), (cluster_id.as_str(), topic_id));
    assert_eq!(bench.values(), ["a", "b", "c"]);
    let empty = bench.cluster.topic("empty.topic").expect("it is kept");
    assert_eq!((empty.partitions().len(), empty.config().timestamp_type), (3, TimestampType::LogAppendTime));
    assert_eq!(bench.produced(Batch::of(&["d"])), (ErrorCode::NONE, 3));
    assert_eq!(bench.values(), ["a", "b", "c", "d"]);
}

#[test]
fn file_holds_the_batches_as_clients_fetch_them() {
    let folder = Folder::new();
    let mut bench = folder.with_orders();
    bench.produced(Batch::of(&["a", "b"]));
    bench.produced(Batch::stamped(&["c"], 9, 0, 0));
    let partition = FetchPartition { partition_max_bytes: 1_000_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1_000_000, topics: vec![topic], ..Default::default() };
    let fetched = bench.ask(11, &request).responses[0].partitions[0].records.clone().expect("never null");
    assert_eq!(fetched, fs::read(folder.log()).expect("the log is there"));
    assert!(!fetched.is_empty());
}

#[test]
fn restart_remembers_the_last_batch_of_a_producer_only() {
    let folder = Folder::new();
    let pid = {
        let mut bench = folder.with_orders();
        let pid = bench.producer_id();
        for sequence in 0..5 {
            bench.produced(Batch::stamped(&["x"], pid, 0, sequence));
        }
        pid
    };
    let mut bench = folder.open();
    for sequence in 0..4 {
        let again = bench.produced(Batch::stamped(&["x"], pid, 0, sequence));
        assert_eq!(again, (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1), "seen on 4.3.1 after SIGTERM and SIGKILL");
    }
    assert_eq!(bench.produced(Batch::stamped(&["x"], pid, 0, 4)), (ErrorCode::NONE, 4));
    assert_eq!(bench.produced(Batch::stamped(&["y"], pid, 0, 5)), (ErrorCode::NONE, 5));
    assert_eq!(bench.values().len(), 6);
}

#[test]
fn producer_ids_are_not_given_again_after_a_restart() {
    let folder = Folder::new();
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut bench = folder.open();
        for _ in 0..5 {
            assert!(given.insert(bench.producer_id()));
        }
    }
}

#[test]
fn restart_is_a_new_leader_epoch() {
    let folder = Folder::new();
    folder.with_orders().produced(Batch::of(&["a", "b"]));
    let mut bench = folder.open();
    bench.produced(Batch::of(&["c"]));
    let metadata = bench.ask(9, &MetadataRequest { topics: None, ..Default::default() });
    assert_eq!(metadata.topics[0].partitions[0].leader_epoch, 2, "nobody led under 1");
    let mut end = |epoch| {
        let partition = OffsetForLeaderPartition { leader_epoch: epoch, ..Default::default() };
        let topic = OffsetForLeaderTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
        let answer = bench.ask(4, &request).topics[0].partitions[0].clone();
        (answer.leader_epoch, answer.end_offset)
    };
    assert_eq!((end(0), end(1), end(2), end(3)), ((0, 2), (0, 2), (2, 3), (-1, -1)));
}

#[test]
fn reader_whose_epoch_ended_earlier_is_told_where() {
    let folder = Folder::new();
    folder.with_orders().produced(Batch::of(&["a", "b"]));
    let mut bench = folder.open();
    bench.produced(Batch::of(&["c", "d"]));
    let mut fetch = |offset, epoch| {
        let partition = FetchPartition {
            fetch_offset: offset,
            last_fetched_epoch: epoch,
            partition_max_bytes: 1_000,
            ..Default::default()
        };
        let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { max_bytes: 1_000, topics: vec![topic], ..Default::default() };
        let data = bench.ask(12, &request).responses[0].partitions[0].clone();
        (data.diverging_epoch.epoch, data.diverging_epoch.end_offset, data.records.is_some_and(|r| !r.is_empty()))
    };
    assert_eq!(fetch(2, 0), (-1, -1, true), "at the end of its epoch");
    assert_eq!(fetch(3, 0), (0, 2, false), "past the end of its epoch");
    assert_eq!(fetch(3, 2), (-1, -1, true));
    assert_eq!(fetch(3, 1), (0, 2, false), "nobody wrote under 1");
}

#[test]
fn time_inside_a_batch_that_cannot_be_unpacked_is_refused_and_not_guessed() {
    let folder = Folder::new();
    drop(folder.with_orders());
    let damaged = Batch::of(&["a", "b"])
        .at(&[10, 20])
        .bytes_with(|header| header.attributes = header.attributes.with_compression(Compression::Gzip));
    append(&folder.log(), &damaged);
    let mut bench = folder.open();
    let mut list = |timestamp| {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let found = bench.ask(7, &request).topics[0].partitions[0].clone();
        (ErrorCode(found.error_code), found.offset)
    };
    assert_eq!(list(15), (ErrorCode::CORRUPT_MESSAGE, -1));
    assert_eq!(list(21), (ErrorCode::NONE, -1));
}

/// A flipped byte in the first of two batches once cost both.
#[test]
fn damage_before_a_whole_batch_is_refused_and_nothing_is_cut() {
    let folder = Folder::new();
    folder.with_orders().produced(Batch::of(&["a", "b"]));
    let mut damaged = Batch::of(&["c"]).bytes_with(|header| header.base_offset = 2);
    *damaged.last_mut().expect("not empty") ^= 1;
    append(&folder.log(), &damaged);
    append(&folder.log(), &Batch::of(&["d"]).bytes_with(|header| header.base_offset = 3));
    let before = fs::read(folder.log()).expect("the log is there");
    let storage = Box::new(Directory::open(folder.path()).expect("nobody else has it"));
    let now = Moment { elapsed: Duration::ZERO, wall: Duration::from_secs(1_700_000_000) };
    let Err(error) = Cluster::open(config(), storage, now) else { panic!("it is refused") };
    let error = error.to_string();
    assert!(error.contains("is damaged at position") && error.contains("nothing was changed"), "{error}");
    assert_eq!(fs::read(folder.log()).expect("the log is there"), before);
}

#[test]
fn torn_tail_is_cut_at_the_last_whole_batch_and_reported() {
    let whole = Batch::of(&["lost"]).bytes_with(|header| header.base_offset = 2);
    let misplaced = Batch::of(&["lost"]).bytes_with(|header| header.base_offset = 1);
    let mut damaged = whole.clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    let tails: [(&str, Vec<u8>); 6] = [
        ("one byte", vec![0]),
        ("zeros, as after a crash of the machine", vec![0; 5_000]),
        ("half a header", whole[..30].to_vec()),
        ("all but one byte", whole[..whole.len() - 1].to_vec()),
        ("a damaged batch", damaged),
        ("a batch of the past", misplaced),
    ];
    for (name, tail) in tails {
        let folder = Folder::new();
        folder.with_orders().produced(Batch::of(&["a", "b"]));
        let len = fs::metadata(folder.log()).expect("the log is there").len();
        append(&folder.log(), &tail);
        let mut bench = folder.open();
        let torn = bench.cluster.torn_tails();
        assert_eq!(torn.len(), 1, "{name}");
        assert_eq!((torn[0].at, torn[0].cut_bytes), (len, tail.len() as u64), "{name}");
        assert_eq!(torn[0].file.as_deref(), Some(folder.log().as_path()));
        assert_eq!(bench.produced(Batch::of(&["c"])), (ErrorCode::NONE, 2), "{name}");
        assert_eq!(bench.values(), ["a", "b", "c"]);
        drop(bench);
        assert!(folder.open().cluster.torn_tails().is_empty(), "{name}: cut once and for all");
    }
}

#[test]
fn log_of_many_batches_is_read_back_whatever_their_sizes() {
    let folder = Folder::new();
    let sizes: Vec<usize> = (0..300).map(|i| if i % 50 == 0 { 900_000 } else { i * 7 }).collect();
    {
        let mut bench = folder.with_orders();
        for size in &sizes {
            assert_eq!(bench.produced(Batch::of(&[&"x".repeat(*size)])).0, ErrorCode::NONE);
        }
    }
    let bench = folder.open();
    assert!(bench.cluster.torn_tails().is_empty());
    assert!(bench.values().iter().map(String::len).eq(sizes));
}

#[test]
fn deleted_topic_takes_its_folders_along() {
    let folder = Folder::new();
    let mut bench = folder.with_orders();
    bench.produced(Batch::of(&["a"]));
    bench.cluster.delete_topic(bench.now, "orders").expect("it can be removed");
    assert!(!folder.path().join("orders-0").exists());
    drop(bench);
    let mut bench = folder.open();
    assert!(bench.cluster.topic("orders").is_none());
    bench.cluster.create_topic("orders", 1).expect("the name is free");
    assert!(bench.values().is_empty());
}

#[test]
fn what_a_crash_left_of_a_deletion_is_removed_at_the_next_start() {
    let folder = Folder::new();
    drop(folder.with_orders());
    let left = folder.path().join("gone-0");
    fs::create_dir(&left).expect("there is room");
    fs::write(left.join("00000000000000000000.log"), b"rest").expect("there is room");
    let foreign = folder.path().join("notes-0");
    fs::create_dir(&foreign).expect("there is room");
    fs::write(foreign.join("readme"), b"not a partition").expect("there is room");
    drop(folder.open());
    assert!(!left.exists());
    assert!(foreign.join("readme").exists(), "only what a broker wrote is removed");
}

#[test]
fn partitions_without_a_catalogue_are_not_touched() {
    let folder = Folder::new();
    folder.with_orders().produced(Batch::of(&["a"]));
    fs::remove_file(folder.path().join("catalogue")).expect("it was saved");
    let storage = Directory::open(folder.path()).expect("nobody else has it");
    let opened = milena_broker::Cluster::open(config(), Box::new(storage), milena_broker::Moment::default());
    let error = opened.expect_err("nothing says what the folders are");
    assert!(matches!(error, OpenError::Storage(StorageError::CatalogueMissing { .. })), "{error}");
    assert!(folder.log().exists());
}

#[test]
fn unreadable_catalogue_is_an_error_that_names_the_line() {
    let folder = Folder::new();
    drop(folder.with_orders());
    append(&folder.path().join("catalogue"), b"nonsense\n");
    let storage = Directory::open(folder.path()).expect("nobody else has it");
    let opened = milena_broker::Cluster::open(config(), Box::new(storage), milena_broker::Moment::default());
    let error = opened.expect_err("a line is wrong").to_string();
    assert!(error.contains("catalogue line 7: damaged"), "{error}");
}

#[test]
fn second_owner_is_refused_and_told_the_address_of_the_first() {
    let folder = Folder::new();
    let owner = Directory::open(folder.path()).expect("nobody else has it");
    let refused = |expected: Option<&str>| match Directory::open(folder.path()) {
        Err(DirectoryError::InUse { address, .. }) => assert_eq!(address.as_deref(), expected),
        other => panic!("not refused: {other:?}"),
    };
    refused(None);
    owner.publish_address("127.0.0.1:4711").expect("there is room");
    refused(Some("127.0.0.1:4711"));
    drop(owner);
    assert!(!folder.path().join("address").exists());
    Directory::open(folder.path()).expect("the lock is free again");
}

#[test]
fn stale_address_is_gone_once_somebody_owns_the_directory() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).expect("there is room");
    fs::write(folder.path().join("address"), "127.0.0.1:1\n").expect("there is room");
    let _owner = Directory::open(folder.path()).expect("a file is no lock");
    match Directory::open(folder.path()) {
        Err(DirectoryError::InUse { address, .. }) => assert_eq!(address, None),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn log_cut_from_outside_is_a_storage_error_for_its_readers() {
    let folder = Folder::new();
    let mut bench = folder.with_orders();
    bench.produced(Batch::of(&["a"]));
    // A log that somebody shortened from outside cannot be read where its index says.
    let file = OpenOptions::new().write(true).open(folder.log()).expect("the log is there");
    file.set_len(0).expect("it can be cut");
    let partition = FetchPartition { partition_max_bytes: 1_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1_000, topics: vec![topic], ..Default::default() };
    let data = bench.ask(11, &request).responses[0].partitions[0].clone();
    assert_eq!(ErrorCode(data.error_code), ErrorCode::KAFKA_STORAGE_ERROR);
    let log = bench.cluster.log("orders", PartitionIndex(0)).expect("it is there");
    assert_eq!(log.next_offset(), 1);
}

#[test]
fn lock_that_nobody_owns_for_a_moment_is_waited_for() {
    let folder = Folder::new();
    let first = Directory::open(folder.path()).expect("nobody else has it");
    let leaves = std::thread::spawn(move || {
        // What a process has between its fork and its exec: a moment later the lock is free.
        std::thread::park_timeout(Duration::from_millis(30));
        drop(first);
    });
    Directory::open(folder.path()).expect("it is free a moment later");
    leaves.join().expect("it does not panic");
}
