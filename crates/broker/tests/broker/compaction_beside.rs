//! Compaction by another thread, and what happens to the log meanwhile.

use std::time::Duration;

use milena_broker::{Broker, BrokerOptions, Chore, CleanupPolicy, Cluster, FinishedChore, PartitionIndex, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::delete_records::request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};

use crate::client::{Bench, P0, produce};
use crate::compaction::{Keyed, LOOK, compacted, put, roll, row, rows};
use crate::restart::Folder;
use crate::segments::{create, fetched, open, stop};
use crate::server::{PATIENCE, Socket};

/// Lets a look come, and does its chores on another thread each; before each of them is over, something else happens. How many there were.
pub fn look_with(bench: &mut Bench, meanwhile: impl FnMut(&mut Bench, usize)) -> usize {
    look_by(bench, beside, meanwhile)
}

pub fn beside(chore: Chore) -> FinishedChore {
    std::thread::spawn(|| chore.run()).join().expect("it does not panic")
}

pub fn look_by(
    bench: &mut Bench,
    run: impl Fn(Chore) -> FinishedChore,
    mut meanwhile: impl FnMut(&mut Bench, usize),
) -> usize {
    bench.now.elapsed += LOOK;
    bench.now.wall += LOOK;
    bench.cluster.handle_timeout(bench.now);
    let mut count = 0;
    while let Some(chore) = bench.cluster.poll_chore() {
        assert!(bench.cluster.poll_chore().is_none(), "one at a time");
        let finished = run(chore);
        meanwhile(bench, count);
        bench.cluster.handle_chore(bench.now, finished);
        count += 1;
    }
    count
}

/// Three keys, written again and again over several segments; the last values are at 27, 28 and 29.
fn written(bench: &mut Bench) {
    for number in 0..30 {
        put(bench, ["a", "b", "c"][number % 3], &format!("{number:0>60}"));
    }
    roll(bench);
    roll(bench);
}

fn value(number: usize) -> String {
    format!("{number:0>60}")
}

/// In memory, and on the disk.
fn everywhere(settings: &TopicConfig, test: impl Fn(&mut Bench, Option<&Folder>)) {
    let mut bench = Bench::new();
    create(&mut bench, settings.clone());
    test(&mut bench, None);
    let folder = Folder::new();
    let mut bench = open(&folder);
    create(&mut bench, settings.clone());
    test(&mut bench, Some(&folder));
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path().join("orders-0")).expect("it is there");
    entries.map(|entry| entry.expect("it reads").file_name().into_string().expect("text")).collect()
}

fn delete_before(bench: &mut Bench, offset: i64) -> ErrorCode {
    let partition = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
    let topic = DeleteRecordsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    ErrorCode(bench.ask(2, &request).topics[0].partitions[0].error_code)
}

#[test]
fn log_is_written_and_read_while_it_is_compacted() {
    everywhere(&compacted(), |bench, _| {
        written(bench);
        let mut last = 0;
        let chores = look_with(bench, |bench, count| {
            last = put(bench, "a", &format!("meanwhile {count}"));
            roll(bench);
            assert!(fetched(bench, 0).expect("nothing was deleted").is_some());
            assert_eq!(fetched(bench, last).expect("it is there").map(|found| found.0), Some(last));
        });
        assert!(chores > 3, "keys first, then some segments at once: {chores}");
        let found = rows(bench);
        assert_eq!(
            found[..3],
            [row(27, "a", Some(&value(27))), row(28, "b", Some(&value(28))), row(29, "c", Some(&value(29)))]
        );
        assert_eq!(found.len(), 3 + chores, "what came later is compacted later");
        look_with(bench, |_, _| ());
        assert!(!rows(bench).iter().any(|row| row.0 == 27), "namely now");
    });
}

#[test]
fn segments_may_be_deleted_while_they_are_compacted() {
    let both = TopicConfig { cleanup: CleanupPolicy::CompactAndDelete, ..compacted() };
    for when in 0..6 {
        everywhere(&both, |bench, folder| {
            written(bench);
            look_with(bench, |bench, count| {
                if count == when {
                    assert_eq!(delete_before(bench, 28), ErrorCode::NONE);
                }
            });
            let log = bench.cluster.log("orders", P0).expect("it is there");
            assert_eq!((log.start_offset(), log.next_offset()), (28, 32), "deleted beside chore {when}");
            let found: Vec<_> = rows(bench).into_iter().filter(|row| row.0 >= 28).collect();
            assert_eq!(found, [row(28, "b", Some(&value(28))), row(29, "c", Some(&value(29)))]);
            if let Some(folder) = folder {
                assert!(!names(folder).iter().any(|name| name.contains("cleaned") || name.contains("swap")));
            }
        });
    }
}

#[test]
fn topic_may_be_deleted_and_made_again_while_it_is_compacted() {
    for when in 0..3 {
        everywhere(&compacted(), |bench, folder| {
            written(bench);
            look_with(bench, |bench, count| {
                if count == when {
                    assert_eq!(bench.cluster.delete_topic(bench.now, "orders").ok(), Some(()));
                    if let Some(folder) = folder {
                        assert!(!folder.path().join("orders-0").exists());
                    }
                    create(bench, compacted());
                    put(bench, "new", "1");
                }
            });
            assert_eq!(rows(bench), [row(0, "new", Some("1"))], "made again beside chore {when}");
            if let Some(folder) = folder {
                assert!(!names(folder).iter().any(|name| name.contains("cleaned") || name.contains("swap")));
            }
        });
    }
}

#[test]
fn clean_stop_while_a_log_is_compacted_loses_nothing() {
    for when in 0..4 {
        let folder = Folder::new();
        let mut bench = open(&folder);
        create(&mut bench, compacted());
        written(&mut bench);
        bench.now.elapsed += LOOK;
        bench.cluster.handle_timeout(bench.now);
        for _ in 0..when {
            let chore = bench.cluster.poll_chore().expect("there are some");
            bench.cluster.handle_chore(bench.now, chore.run());
        }
        let chore = bench.cluster.poll_chore().expect("one more");
        stop(bench);
        let _nobody_wants_it = chore.run();
        let mut bench = open(&folder);
        let last: Vec<_> = rows(&bench).into_iter().filter(|row| row.0 >= 27).collect();
        assert_eq!(last.len(), 3);
        assert!(!names(&folder).iter().any(|name| name.contains("cleaned")), "the opening has removed it");
        put(&mut bench, "a", "x");
        assert!(look_with(&mut bench, |_, _| ()) > 1);
        assert_eq!(rows(&bench).len(), 4, "compacted from the beginning");
    }
}

/// A broker's own threads, with a log that takes them a while: requests are served meanwhile, and a stop does not wait for the end.
#[test]
fn broker_serves_while_it_compacts() {
    let folder = Folder::new();
    let options = BrokerOptions { data_dir: Some(folder.path().to_path_buf()), ..BrokerOptions::default() };
    let broker = Broker::start(BrokerOptions { cleaner_backoff: Duration::from_millis(1), ..options.clone() })
        .expect("it starts");
    broker.create_topic("orders", 1).expect("the topic is new");
    broker.alter_topic("orders", compacted()).expect("there is room");
    let mut socket = Socket::connect_to(broker.bootstrap());
    for number in 0..200 {
        let (key, value) = (["a", "b", "c"][number % 3], value(number));
        let records = [(key, Some(value.as_str()))];
        let answer = socket.ask(9, &produce("orders", 0, Keyed::of(&records).bytes()));
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    let batches = |broker: &Broker| {
        let batches = |cluster: &Cluster| cluster.log("orders", PartitionIndex(0)).expect("it is there").batches();
        broker.look(move |cluster| batches(cluster).expect("it reads").len())
    };
    let begun = std::time::Instant::now();
    while batches(&broker) > 20 {
        assert!(begun.elapsed() < PATIENCE, "{} batches are left", batches(&broker));
        std::thread::yield_now();
    }
    let log = broker.log("orders", 0).expect("it is there");
    assert_eq!(log.end_offset, 200);
    assert_eq!(log.records.last().map(|record| record.offset), Some(199));
    broker.stop();
    let broker = Broker::start(options).expect("the folder is free");
    assert_eq!(broker.log("orders", 0).expect("it is there").end_offset, 200);
}
