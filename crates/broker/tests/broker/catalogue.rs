//! The catalogue on a disk that fails and stops at every call: what was acknowledged is there, what was refused is not, and what was interrupted is
//! there wholly or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milena_broker::{Cluster, ClusterConfig, Directory, Moment, NewTopic, PartitionIndex, TopicConfig, Window};

use crate::client::{Batch, Bench, START, config, config_of_nodes, produce};
use crate::disk::{Fault, TestDisk};

/// Topics by name, with their settings.
type Topics = BTreeMap<String, TopicConfig>;

const NOW: Moment = Moment { elapsed: Duration::ZERO, wall: Duration::from_millis(START) };

fn open(disk: &TestDisk, config: &ClusterConfig) -> Option<Cluster> {
    let storage = Directory::on(Arc::new(disk.clone()), Path::new("/data"));
    Cluster::open(config.clone(), Box::new(storage), NOW).ok()
}

fn found(cluster: &Cluster) -> Topics {
    cluster.topics().map(|topic| (topic.name().to_owned(), topic.config().clone())).collect()
}

/// One change after the other: what is there for sure, and what the last change would have made of it, if it was interrupted.
struct Told {
    sure: Topics,
    doubtful: Option<Topics>,
}

/// Settings so long that the file is begun anew after a few of them.
fn settings(number: usize) -> TopicConfig {
    let mut settings = TopicConfig::default();
    let replicas: Vec<String> = (0..200).map(|partition| format!("{partition}:{}", number + 1)).collect();
    settings.set("leader.replication.throttled.replicas", Some(&replicas.join(","))).expect("a known setting");
    settings
}

/// Topics come, change and go. Ends where the process does.
fn live(disk: &TestDisk, config: &ClusterConfig) -> Told {
    let mut told = Told { sure: Topics::new(), doubtful: None };
    let Some(mut cluster) = open(disk, config) else { return told };
    for number in 0..24 {
        let name = format!("topic-{}", number / 3);
        let mut wanted = told.sure.clone();
        let is_done = match number % 3 {
            0 => {
                wanted.insert(name.clone(), TopicConfig::default());
                cluster.create_topic_with(NewTopic::new(&name).partitions(1).replication_factor(1)).is_ok()
            }
            _ if !told.sure.contains_key(&name) => continue,
            1 => {
                wanted.insert(name.clone(), settings(number));
                cluster.alter_topic(NOW, &name, settings(number)).is_ok()
            }
            _ if number % 2 == 0 => continue,
            _ => {
                wanted.remove(&name);
                cluster.delete_topic(NOW, &name).is_ok()
            }
        };
        if is_done {
            told.sure = wanted;
        } else if disk.has_stopped() {
            told.doubtful = Some(wanted);
            return told;
        }
        assert_eq!(found(&cluster), told.sure, "a change that fails is none");
    }
    told
}

#[test]
fn disk_may_fail_or_stop_at_every_call_of_a_change() {
    for config in [config(), config_of_nodes(2)] {
        let disk = TestDisk::default();
        let told = live(&disk, &config);
        let calls = disk.calls();
        assert!(calls > 60 && told.sure.len() == 4, "{calls}");
        for at in 0..calls {
            for (fault, loses_power) in
                [(Fault::Fails, false), (Fault::Fails, true), (Fault::Stops, false), (Fault::Stops, true)]
            {
                let disk = TestDisk::default();
                disk.plant(at, fault);
                let told = live(&disk, &config);
                let mut state = at;
                match loses_power {
                    true => disk.lose_power(|below| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        (state >> 33) % below
                    }),
                    false => disk.restart(),
                }
                let why = format!("{fault:?} at call {at}, power lost: {loses_power}");
                let mut cluster = open(&disk, &config).unwrap_or_else(|| panic!("{why}: it does not open"));
                let found = found(&cluster);
                assert!(found == told.sure || Some(&found) == told.doubtful.as_ref(), "{why}: {:?}", found.keys());
                cluster.create_topic("more", 1).unwrap_or_else(|error| panic!("{why}: {error}"));
            }
        }
    }
}

/// More partitions than files may be open: those that were not used for long are closed, and nobody notices.
#[test]
fn partitions_may_be_more_than_files_that_are_open() {
    let disk = TestDisk::default();
    let mut cluster = open(&disk, &config()).expect("the disk is well");
    cluster.create_topic("orders", 300).expect("the topic is new");
    let mut bench = Bench { cluster, now: NOW };
    for round in 0..2 {
        for partition in 0..300 {
            let value = format!("{partition} {round}");
            let response = bench.ask(9, &produce("orders", partition, Batch::of(&[&value])));
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        }
    }
    drop(bench);
    let cluster = open(&disk, &config()).expect("it opens");
    for partition in (0..300).map(PartitionIndex) {
        let log = cluster.snapshot("orders", partition, Window::ALL).expect("it reads");
        let values: Vec<_> = log.records.iter().map(|record| record.value.clone().expect("not null")).collect();
        assert_eq!(values, [format!("{partition} 0"), format!("{partition} 1")]);
    }
    assert!(disk.most_open() < 150, "{}", disk.most_open());
}

/// A thousand topics: the last is as cheap as the first, in bytes written.
#[test]
fn change_costs_what_it_changes() {
    let disk = TestDisk::default();
    let mut cluster = open(&disk, &config()).expect("the disk is well");
    let mut written = Vec::new();
    for round in 0..10 {
        let before = disk.written();
        for number in 0..100 {
            cluster.create_topic(&format!("topic-{round}-{number}"), 1).expect("there is room");
        }
        written.push(disk.written() - before);
    }
    let (first, most) = (written[0], *written.iter().max().expect("there are some"));
    assert!(most < 20 * first, "{written:?}");
    let all: u64 = written.iter().sum();
    assert!(all < 30 * first, "{written:?}");
    drop(cluster);
    assert_eq!(open(&disk, &config()).expect("it opens").topics().count(), 1_000);
}
