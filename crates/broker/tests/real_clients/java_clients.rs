//! Java's own clients and tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use milena_broker::{KafkaRelease, PartitionIndex};

use crate::stage::Stage;
use crate::talk::{Run, perform};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_clients/Show.java");
const VERSION: &str = "4.3.1";

#[test]
fn java_writes_reads_and_administers_while_leaders_move() {
    show(KafkaRelease::default(), VERSION);
}

/// Older clients against the releases of their time, and each against the other's.
#[test]
fn older_java_clients_and_older_releases_go_together() {
    show(KafkaRelease::V2_8, "2.8.2");
    show(KafkaRelease::default(), "2.8.2");
    show(KafkaRelease::V2_8, VERSION);
}

fn show(release: KafkaRelease, version: &str) {
    let program = kafka_harness::client_program(version, Path::new(PROGRAM)).expect("jars are fetched");
    perform(&mut Stage::start(release), program);
}

/// What Kafka's own system tests write by, and the command that tells offsets.
#[test]
fn javas_tools_write_while_leaders_move_and_tell_offsets() {
    let mut stage = Stage::start(KafkaRelease::default());
    stage.broker.create_topic("tools", PARTITIONS).expect("is new");
    let written = verifiable_producer(&mut stage);
    stage.calm();
    let logs: BTreeMap<i32, Vec<(i64, String)>> = (0..PARTITIONS).map(|index| (index, values(&stage, index))).collect();
    let lengths: Vec<usize> = logs.values().map(Vec::len).collect();
    assert_eq!(lengths.iter().sum::<usize>(), MESSAGES, "{lengths:?}");
    for (partition, offset, value) in written {
        let found = logs[&partition].get(offset).map(|(_, value)| value);
        assert_eq!(found, Some(&value), "partition {partition}, offset {offset}");
    }
    let ends: Vec<String> = lengths.iter().zip(0..).map(|(length, index)| format!("tools:{index}:{length}")).collect();
    assert_eq!(offset_shell(&stage, &["--topic", "tools"]), ends);
    let starts: Vec<String> = (0..PARTITIONS).map(|index| format!("tools:{index}:0")).collect();
    assert_eq!(offset_shell(&stage, &["--topic-partitions", "tools:0-3", "--time", "earliest"]), starts);
    for told in offset_shell(&stage, &["--topic-partitions", "tools", "--time", "max-timestamp"]) {
        let [_, index, offset] = told.split(':').collect::<Vec<_>>()[..] else { panic!("it prints {told}") };
        let log = &logs[&index.parse().expect("a number")];
        let newest = log.iter().map(|(timestamp, _)| timestamp).max();
        let found = log.get(offset.parse::<usize>().expect("a number")).map(|(timestamp, _)| timestamp);
        assert!(found.is_some() && found == newest, "{told}, of {} records", log.len());
    }
    println!(
        "measured: VerifiableProducer and GetOffsetShell {VERSION}: {MESSAGES} records, {} leaders moved",
        stage.leaders_moved
    );
}

const PARTITIONS: i32 = 3;
const MESSAGES: usize = 8_000;

/// A consumer of a group and a producer of transactions look for a coordinator. They went on looking until their own time was over, and said nothing.
#[test]
fn javas_clients_that_need_a_coordinator_are_told_at_once_that_there_is_none() {
    let stage = Stage::start(KafkaRelease::default());
    stage.broker.create_topic("tools", 1).expect("is new");
    let servers = stage.broker.bootstrap();
    let said = failure(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &["--bootstrap-server", servers, "--topic", "tools", "--group", "g"],
    );
    assert!(said.contains("UnsupportedVersionException"), "{said}");
    let records = ["--num-records", "1", "--record-size", "10", "--throughput", "-1"];
    let transaction = ["--topic", "tools", "--transactional-id", "t", "--transaction-duration-ms", "100"];
    let servers = format!("bootstrap.servers={servers}");
    let properties = ["--producer-props", servers.as_str()];
    let said = failure(
        "org.apache.kafka.tools.ProducerPerformance",
        &[records.as_slice(), &transaction, &properties].concat(),
    );
    assert!(said.contains("this broker does not coordinate transactions"), "{said}");
}

/// What a tool that fails says.
fn failure(class: &str, arguments: &[&str]) -> String {
    let mut tool = kafka_harness::tool(VERSION, class).expect("jars are fetched");
    let output = tool.args(arguments).stdin(Stdio::null()).output().expect("java is there");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    // ConsoleConsumer ends with 0 whatever happened.
    assert!(said.contains("Exception"), "{class} did not fail: {said}");
    said
}

/// Partition, offset and value of each record that it says was written. The cluster is upset after every hundred, and not before the producer
/// has heard of all that is in the log: a node that was restarted recognises only the last of the batches that it had before, here as in Kafka, and
/// of an earlier one that it is asked for again Java tries for two minutes, or writes it twice. What it prints lies in a pipe meanwhile, so that
/// lines alone do not tell how far it is.
fn verifiable_producer(stage: &mut Stage) -> Vec<(i32, usize, String)> {
    let mut tool = kafka_harness::tool(VERSION, "org.apache.kafka.tools.VerifiableProducer").expect("jars are fetched");
    tool.args(["--bootstrap-server", stage.broker.bootstrap(), "--topic", "tools", "--acks", "-1"]);
    tool.args(["--max-messages", &MESSAGES.to_string(), "--throughput", "1200", "--value-prefix", "7"]);
    // Left to itself it does not try again, and so is not idempotent.
    let settings = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verifiable-producer.properties");
    fs::write(&settings, "retries=2147483647\nenable.idempotence=true\nmax.in.flight.requests.per.connection=1\nrequest.timeout.ms=2000\n").expect("is written");
    tool.arg("--command-config").arg(settings);
    let mut run = Run::start(&mut tool);
    let mut written = Vec::new();
    let mut heard: BTreeSet<(i32, usize)> = BTreeSet::new();
    let mut upset_at = UPSET_EVERY;
    // Where the logs ended when the next upheaval was due.
    let mut awaited: Option<Vec<usize>> = None;
    while let Some(line) = run.next_line() {
        assert!(!line.contains("producer_send_error"), "{line}");
        if line.contains("producer_send_success") {
            let number = |name| field(&line, name).parse::<usize>().expect("a number");
            let (partition, offset) = (i32::try_from(number("partition")).expect("a handful"), number("offset"));
            written.push((partition, offset, field(&line, "value").to_owned()));
            heard.insert((partition, offset));
            if written.len() >= upset_at {
                let ends = awaited.get_or_insert_with(|| ends(stage));
                let is_heard = |(end, index): (&usize, i32)| heard.range((index, 0)..(index, *end)).count() == *end;
                if ends.iter().zip(0..).all(is_heard) {
                    stage.upset();
                    awaited = None;
                    upset_at = written.len() + UPSET_EVERY;
                }
            }
        }
    }
    run.end();
    assert_eq!(written.len(), MESSAGES);
    assert!(stage.leaders_moved > 0, "it wrote while leaders moved");
    written
}

const UPSET_EVERY: usize = 100;

/// How many records each log has.
fn ends(stage: &Stage) -> Vec<usize> {
    let end = |index| {
        stage.broker.look(move |cluster| {
            let log = cluster.log("tools", PartitionIndex(index)).expect("the topic was made");
            usize::try_from(log.next_offset()).expect("logs begin at 0")
        })
    };
    (0..PARTITIONS).map(end).collect()
}

/// A field of a line of JSON that has no escapes.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("the line has the field");
    rest.split([',', '}']).next().expect("split gives one at least").trim_matches('"')
}

/// Timestamps and values, in the order of offsets.
fn values(stage: &Stage, partition: i32) -> Vec<(i64, String)> {
    stage.broker.look(move |cluster| {
        let log = cluster.log("tools", PartitionIndex(partition)).expect("the topic was made");
        let batches = log.batches().expect("memory is read");
        let records = batches.iter().flat_map(|entry| log.read_batch(entry).expect("is sound").records());
        let values = records.map(|record| {
            let record = record.expect("is sound");
            let value = record.value.expect("is not null").to_vec();
            (record.timestamp, String::from_utf8(value).expect("text"))
        });
        values.collect()
    })
}

fn offset_shell(stage: &Stage, arguments: &[&str]) -> Vec<String> {
    let mut tool = kafka_harness::tool(VERSION, "org.apache.kafka.tools.GetOffsetShell").expect("jars are fetched");
    tool.args(["--bootstrap-server", stage.broker.bootstrap()]).args(arguments);
    let mut run = Run::start(&mut tool);
    let lines = std::iter::from_fn(|| run.next_line()).collect();
    run.end();
    lines
}
