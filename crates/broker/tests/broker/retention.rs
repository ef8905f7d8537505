//! What is deleted, by whom, and what readers see of it.

use std::time::Duration;

use milena_broker::{BoundedMemory, CleanupPolicy, Moment, NewTopic, NodeId, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::client::{Batch, Bench, P0, RETENTION_CHECK, START, config_of_nodes};
use crate::restart::Folder;
use crate::segments::{create, fetched, listed, open, small_segments, stop};

/// One record a batch, so many, a second apart from the bench's clock on.
fn write(bench: &mut Bench, values: std::ops::Range<i64>) {
    for value in values {
        let time = START as i64 + value * 1_000;
        let batch = Batch::of(&[&format!("{value:0>100}")]).at(&[time]);
        assert_eq!(bench.produced(batch), (ErrorCode::NONE, value));
    }
}

fn segments(bench: &Bench) -> Vec<i64> {
    bench.cluster.log("orders", P0).expect("it is there").segments()
}

fn start(bench: &Bench) -> i64 {
    bench.cluster.log("orders", P0).expect("it is there").start_offset()
}

#[test]
fn segments_go_once_their_newest_record_is_too_old() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { retention_ms: 300_000, ..small_segments() });
    write(&mut bench, 0..10);
    assert_eq!(segments(&bench), [0, 3, 6, 9]);
    bench.advance(RETENTION_CHECK);
    assert_eq!((segments(&bench), start(&bench)), (vec![0, 3, 6, 9], 0), "300 s is not yet more than 300 s");
    bench.advance(RETENTION_CHECK);
    assert_eq!((segments(&bench), start(&bench)), (vec![10], 10), "the active one goes too, when all of it is old");
    assert_eq!(fetched(&mut bench, 9), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(fetched(&mut bench, 10), Ok(None));
    assert_eq!((listed(&mut bench, -2), listed(&mut bench, -1)), ((10, -1), (10, -1)));
    assert_eq!(listed(&mut bench, 0), (-1, -1));
    assert_eq!(bench.produced(Batch::of(&["more"])), (ErrorCode::NONE, 10));
    assert_eq!(fetched(&mut bench, 10), Ok(Some((10, vec!["more".to_owned()]))));
}

#[test]
fn only_the_oldest_go_while_the_time_of_the_others_lasts() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { retention_ms: 295_000, ..small_segments() });
    write(&mut bench, 0..10);
    bench.advance(RETENTION_CHECK);
    assert_eq!((segments(&bench), start(&bench)), (vec![3, 6, 9], 3), "2 s is older than 295 s, 5 s is not");
    assert_eq!(fetched(&mut bench, 2), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(fetched(&mut bench, 3).expect("it is there").expect("it is there").0, 3);
    assert_eq!(listed(&mut bench, START as i64), (3, START as i64 + 3_000));
}

/// Kafka goes by what records say, not by when they came: one with a time of the future holds everything behind it.
#[test]
fn record_of_the_future_holds_back_what_lies_behind_it() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig { retention_ms: 1_000, ..small_segments() });
    let batch = Batch::of(&[&"x".repeat(400)]);
    bench.produced(batch.clone());
    bench.produced(batch.clone().at(&[START as i64 + 3_000_000]));
    bench.produced(batch);
    bench.advance(RETENTION_CHECK);
    assert_eq!((segments(&bench), start(&bench)), (vec![1, 2], 1));
}

#[test]
fn segments_go_while_what_is_left_is_large_enough() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, TopicConfig { retention_bytes: 1_000, ..small_segments() });
    write(&mut bench, 0..10);
    let sizes = bench.cluster.log("orders", P0).expect("it is there").bytes();
    bench.advance(RETENTION_CHECK);
    let left = bench.cluster.log("orders", P0).expect("it is there").bytes();
    assert!(sizes > left && (1_000..1_000 + 600).contains(&left), "{sizes} became {left}");
    assert_eq!(segments(&bench), [3, 6, 9]);
}

/// A broker in memory took 15 MB/s for five minutes, until the first look, though its topic was to keep 10 MB: 4 GB.
#[test]
fn a_log_in_memory_never_holds_more_than_it_keeps_and_a_segment() {
    for settings in [
        TopicConfig { retention_bytes: 1_000, ..small_segments() },
        TopicConfig { retention_ms: 1_500, ..small_segments() },
    ] {
        let mut bench = Bench::with(config_of_nodes(2));
        bench
            .cluster
            .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(2).config(settings))
            .expect("the topic is new");
        for value in 0..200 {
            let batch = Batch::of(&[&format!("{value:0>100}")]).at(&[START as i64 + value * 1_000]);
            assert_eq!(bench.produced(batch), (ErrorCode::NONE, value));
            bench.advance(Duration::from_secs(1));
            for node in [1, 2] {
                let partition = bench.cluster.partition("orders", P0).expect("it is there");
                let held = partition.log_on(NodeId(node)).expect("it has a replica").bytes();
                assert!(held <= 1_000 + 2 * 600, "node {node} holds {held} bytes after {value}");
            }
        }
        assert_eq!(fetched(&mut bench, 199), Ok(Some((199, vec![format!("{:0>100}", 199)]))));
    }
}

/// Only what fills segments is looked at early: a test that writes records of long ago reads them, as it does on Kafka within five minutes.
#[test]
fn records_of_long_ago_stay_until_the_next_look_though_a_segment_ends_behind_them() {
    let mut bench = Bench::new();
    create(&mut bench, TopicConfig::default());
    bench.produced(Batch::of(&["long ago"]).at(&[1_000]));
    bench.produced(Batch::of(&["now"]).at(&[START as i64]));
    assert_eq!((segments(&bench), bench.values()), (vec![0, 1], vec!["long ago".to_owned(), "now".to_owned()]));
    bench.advance(RETENTION_CHECK);
    assert_eq!((segments(&bench), start(&bench)), (vec![1], 1));
}

#[test]
fn memory_that_is_full_refuses_and_says_so_until_something_goes() {
    let storage = BoundedMemory::of_bytes(2_000);
    let mut bench = Bench::open(config_of_nodes(1), Box::new(storage));
    create(&mut bench, TopicConfig { retention_ms: -1, ..small_segments() });
    let batch = Batch::of(&[&"x".repeat(400)]);
    for offset in 0..4 {
        assert_eq!(bench.produced(batch.clone()), (ErrorCode::NONE, offset));
    }
    let refused = bench.produce(batch.clone());
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::KAFKA_STORAGE_ERROR);
    let why = refused.error_message.expect("it is said");
    assert!(why.contains("2000 bytes") && why.contains("retention.bytes"), "{why}");
    assert_eq!(bench.values().len(), 4, "nothing that was acknowledged goes");
    bench.cluster.delete_topic(Moment::default(), "orders").expect("memory forgets");
    create(&mut bench, TopicConfig { retention_bytes: 500, ..small_segments() });
    for offset in 0..20 {
        assert_eq!(bench.produced(batch.clone()), (ErrorCode::NONE, offset));
    }
}

#[test]
fn nothing_goes_without_a_limit_or_where_compaction_is_wanted_instead() {
    let unlimited = TopicConfig { retention_ms: -1, ..small_segments() };
    let compacted = TopicConfig { cleanup: CleanupPolicy::Compact, retention_ms: 1, ..small_segments() };
    let young = TopicConfig { retention_ms: i64::MAX, ..small_segments() };
    for settings in [unlimited, young] {
        let mut bench = Bench::new();
        create(&mut bench, settings);
        write(&mut bench, 0..10);
        bench.advance(RETENTION_CHECK * 100);
        assert_eq!(start(&bench), 0);
    }
    let mut bench = Bench::new();
    create(&mut bench, compacted);
    bench.advance(RETENTION_CHECK * 100);
    assert_eq!(start(&bench), 0);
}

#[test]
fn what_was_deleted_stays_so_after_a_stop_and_after_a_crash() {
    for clean in [true, false] {
        let folder = Folder::new();
        let mut bench = open(&folder);
        create(&mut bench, TopicConfig { retention_ms: 295_000, ..small_segments() });
        write(&mut bench, 0..10);
        bench.advance(RETENTION_CHECK);
        if clean {
            stop(bench)
        } else {
            drop(bench)
        }
        assert!(!folder.file("00000000000000000000.log").exists());
        let mut bench = open(&folder);
        assert_eq!((segments(&bench), start(&bench)), (vec![3, 6, 9], 3));
        assert_eq!(fetched(&mut bench, 2), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    }
}

/// Retention takes no state of producers along (it stays in memory), and what it takes of the log a snapshot makes up for.
#[test]
fn producer_whose_batches_were_deleted_is_still_known() {
    for clean in [true, false] {
        let folder = Folder::new();
        let mut bench = open(&folder);
        create(&mut bench, TopicConfig { retention_bytes: 500, ..small_segments() });
        let pid = bench.producer_id();
        for sequence in 0..3 {
            bench.produced(Batch::stamped(&["mine"], pid, 0, sequence));
        }
        for _ in 0..10 {
            bench.produced(Batch::of(&[&"x".repeat(300)]));
        }
        bench.advance(RETENTION_CHECK);
        assert!(start(&bench) > 3);
        assert_eq!(bench.produced(Batch::stamped(&["mine"], pid, 0, 2)), (ErrorCode::NONE, 2), "a duplicate");
        if clean {
            stop(bench)
        } else {
            drop(bench)
        }
        let mut bench = open(&folder);
        assert_eq!(bench.produced(Batch::stamped(&["mine"], pid, 0, 2)), (ErrorCode::NONE, 2), "still a duplicate");
        let gap = bench.produced(Batch::stamped(&["mine"], pid, 0, 4));
        assert_eq!(gap, (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    }
}

#[test]
fn epochs_before_the_start_are_forgotten() {
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, TopicConfig { retention_ms: 295_000, ..small_segments() });
    write(&mut bench, 0..2);
    drop(bench);
    let mut bench = open(&folder);
    write(&mut bench, 2..10);
    bench.advance(RETENTION_CHECK);
    assert_eq!(start(&bench), 3);
    stop(bench);
    let mut bench = open(&folder);
    bench.produced(Batch::of(&["under epoch 4"]));
    let mut end = |epoch| {
        let partition = OffsetForLeaderPartition { leader_epoch: epoch, ..Default::default() };
        let topic = OffsetForLeaderTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
        let answer = bench.ask(4, &request).topics[0].partitions[0].clone();
        (answer.leader_epoch, answer.end_offset)
    };
    assert_eq!((end(0), end(2), end(4)), ((0, 3), (2, 10), (4, 11)));
}

#[test]
fn what_is_not_committed_is_not_deleted() {
    let mut bench = Bench::with(config_of_nodes(2));
    let settings = TopicConfig { retention_ms: 1_000, ..small_segments() };
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(2).config(settings))
        .expect("the topic is new");
    write(&mut bench, 0..4);
    bench.cluster.lag(bench.now, NodeId(2), Some(Duration::MAX)).expect("it is there");
    for value in 4..10 {
        let time = START as i64 + value * 1_000;
        bench.send_batch(1, Batch::of(&[&format!("{value:0>100}")]).at(&[time]));
    }
    assert_eq!(bench.high_watermark(), 4);
    bench.cluster.freeze(bench.now, NodeId(2)).expect("it runs");
    bench.now.wall += Duration::from_secs(1_000_000);
    bench.now.elapsed += Duration::from_secs(1);
    bench.cluster.retain_now(bench.now);
    assert_eq!(segments(&bench), [3, 6, 9], "the segment that holds offset 4 stays");
}

#[test]
fn follower_that_was_away_begins_where_the_leader_does() {
    let mut bench = Bench::with(config_of_nodes(3));
    let settings = TopicConfig { retention_ms: 295_000, ..small_segments() };
    bench
        .cluster
        .create_topic_with(NewTopic::new("orders").partitions(1).replication_factor(3).config(settings))
        .expect("the topic is new");
    write(&mut bench, 0..1);
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    let lacked = Batch::of(&[&format!("{:0>100}", 1)]).at(&[START as i64 + 1_000]);
    let waiting = bench.send_batch(1, lacked);
    bench.advance(Duration::from_secs(31));
    assert_eq!(bench.leadership().2, [1, 2]);
    let _timed_out = bench.answer_to(waiting);
    write(&mut bench, 2..10);
    bench.advance(RETENTION_CHECK - Duration::from_secs(31));
    let starts = |bench: &Bench| {
        [1, 2, 3].map(|node| bench.cluster.log_on(NodeId(node), "orders", P0).expect("it keeps it").start_offset())
    };
    assert_eq!((starts(&bench), bench.ends()), ([3, 3, 1], [10, 10, 1]), "each node deletes its own");
    bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
    write(&mut bench, 10..11);
    assert_eq!((starts(&bench), bench.ends()), ([3, 3, 3], [11, 11, 11]));
    assert_eq!(bench.leadership().2, [1, 2, 3]);
}

/// As Kafka does: whoever has the file open goes on reading it, and a person can save it.
#[test]
fn files_of_deleted_segments_stay_under_another_name_for_a_while() {
    for (delay, wait) in [(None, Duration::from_secs(60)), (Some("5000"), Duration::from_secs(5))] {
        let folder = Folder::new();
        let mut bench = open(&folder);
        let mut settings = TopicConfig { retention_bytes: 1_200, ..small_segments() };
        settings.set("file.delete.delay.ms", delay).expect("a known setting");
        create(&mut bench, settings);
        for number in 0..10 {
            bench.produced(Batch::of(&[&format!("{number:0>300}")]));
        }
        let deleted = || {
            let entries = std::fs::read_dir(folder.path().join("orders-0")).expect("it is there");
            let names = entries.map(|entry| entry.expect("it reads").file_name().into_string().expect("text"));
            names.filter(|name| name.ends_with(".log.deleted")).count()
        };
        let before = bench.cluster.log("orders", P0).expect("it is there").segments().len();
        bench.advance(RETENTION_CHECK);
        let gone = before - bench.cluster.log("orders", P0).expect("it is there").segments().len();
        assert!(gone > 2, "of {before}");
        assert_eq!(deleted(), gone, "{delay:?}");
        assert_eq!(fetched(&mut bench, 0), Err(ErrorCode::OFFSET_OUT_OF_RANGE), "but nobody is given them");
        bench.advance(wait - Duration::from_millis(1));
        assert_eq!(deleted(), gone, "{delay:?}");
        bench.advance(Duration::from_millis(1));
        assert_eq!(deleted(), 0, "{delay:?}");
        for number in 0..10 {
            bench.produced(Batch::of(&[&format!("{number:0>300}")]));
        }
        bench.advance(RETENTION_CHECK);
        assert!(deleted() > 0);
        drop(bench);
        let mut bench = open(&folder);
        assert_eq!(deleted(), 0, "a start does not wait");
        assert_eq!(bench.cluster.delete_topic(bench.now, "orders").ok(), Some(()));
        assert!(!folder.path().join("orders-0").exists());
    }
}
