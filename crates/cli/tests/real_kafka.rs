//! Library and command against a real Apache Kafka, with Java's own clients as witnesses. Run by
//! `cargo xtask test kafka`; needs Java and Maven.

#[path = "command/process.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_harness::{DumpedRecord, Kafka, Options};
use milena::unstable::{Admin, NewTopic, ReadRecord};
use milena::{Delivery, Outcome, Producer, ProducerConfig, Record};
use process::Folder;

#[test]
fn a_hundred_thousand_records_are_read_back_by_java_and_by_milena_as_they_were_written() {
    const RECORDS: usize = 100_000;
    const PARTITIONS: i32 = 3;
    let kafka = Kafka::start(Options::default()).unwrap();
    let servers = kafka.bootstrap_servers();
    run(create_topic(&servers, "mixed", PARTITIONS));

    let sent = Sample::many(RECORDS);
    let begun = Instant::now();
    let before = wall_millis();
    let written = run(write(&servers, &sent));
    let after = wall_millis();
    let bytes: usize = sent.iter().map(Sample::bytes).sum();
    println!(
        "measured: {} MB in {RECORDS} records written in {:.2} s",
        bytes / 1_000_000,
        begun.elapsed().as_secs_f64()
    );

    let begun = Instant::now();
    let by_milena = run(read(&servers, "mixed", PARTITIONS));
    println!("measured: read by milena in {:.2} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let by_java = by_place(kafka.dump_records("mixed").unwrap());
    println!("measured: read by Java in {:.2} s", begun.elapsed().as_secs_f64());

    assert_eq!(by_java.len(), RECORDS);
    assert!(by_java == by_milena, "Java and milena read different records");
    let mut compared = 0;
    for (sample, place) in sent.iter().zip(&written) {
        let found = &by_java[place];
        assert_eq!(
            (&sample.key, &sample.headers, &sample.value),
            (&found.key, &found.headers, &found.value),
            "{place:?}"
        );
        match sample.timestamp {
            Some(timestamp) => assert_eq!(found.timestamp, timestamp, "{place:?}"),
            None => assert!((before..=after).contains(&found.timestamp), "{place:?}: {}", found.timestamp),
        }
        compared += 1;
    }
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), RECORDS, "two records have one place");
    let keys = assert_partitions(&kafka, &by_java, PARTITIONS);
    println!("measured: {compared} records compared, {keys} keys where Java's partitioner puts them");
    assert!(compared == RECORDS && keys > 1000, "nothing was compared");
}

#[test]
fn the_command_works_on_a_real_cluster() {
    let kafka = Kafka::start(Options::default()).unwrap();
    let folder = Folder::new();
    let server = format!("--bootstrap-server {}", kafka.bootstrap_servers());

    let refused = folder.run(&format!("produce lines {server}"), b"a\n").with_code(2);
    assert!(refused.says("topic lines does not exist") && refused.says("--create"), "{}", refused.stderr);
    let refused = folder.run(&format!("consume lines {server}"), b"").with_code(2);
    assert!(refused.says("topic lines does not exist"), "{}", refused.stderr);

    let input = b"plain\ncarriage\r\n\n\xff\xfe\x00\nlast without lf";
    folder.run(&format!("produce lines --create --partitions 1 {server}"), input).with_code(0);
    folder.run(&format!("produce lines {server}"), b"appended\n").with_code(0);
    let consumed = folder.run(&format!("consume lines --from start --to end {server}"), b"").with_code(0).stdout;
    assert_eq!(consumed, [&input[..], b"\nappended\n"].concat());
    let dumped: Vec<Vec<u8>> = kafka.dump_records("lines").unwrap().into_iter().filter_map(|it| it.value).collect();
    assert_eq!(dumped, consumed.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect::<Vec<_>>());
    let part = folder.run(&format!("consume lines --from 1 --to 3 {server}"), b"").with_code(0).stdout;
    assert_eq!(part, b"carriage\r\n\n");

    folder.run(&format!("topics create wide --partitions 5 {server}"), b"").with_code(0);
    let exists = folder.run(&format!("topics create wide {server}"), b"").with_code(1);
    assert!(exists.says("topic wide exists already"), "{}", exists.stderr);
    let copies = folder.run(&format!("topics create copied --replication-factor 3 {server}"), b"").with_code(1);
    assert!(copies.says("INVALID_REPLICATION_FACTOR"), "{}", copies.stderr);
    folder.run(&format!("topics delete lines {server}"), b"").with_code(0);
    let gone = folder.run(&format!("topics delete lines {server}"), b"").with_code(2);
    assert!(gone.says("topic lines does not exist"), "{}", gone.stderr);
    let gone = folder.run(&format!("consume lines {server}"), b"").with_code(2);
    assert!(gone.says("topic lines does not exist"), "{}", gone.stderr);
    assert!(!folder.data().exists(), "a named cluster needs no data directory");

    reads_what_others_wrote(&kafka, &folder, &server);
    many_lines_are_in_order(&folder, &server);
}

/// Markers are skipped, every codec is read, what was deleted is not waited for.
/// Formats, JSON, places by time, outcomes, topics and the benchmark.
#[test]
fn every_command_works_on_a_real_cluster() {
    let kafka = Kafka::start(Options::default()).unwrap();
    let folder = Folder::new();
    let server = format!("--bootstrap {}", kafka.bootstrap_servers());
    let create = format!("topics create orders --partitions 3 -c max.message.bytes=2000 {server}");
    folder.run(&create, b"").with_code(0);
    let refused = folder.run(&format!("topics create other -c no.such.setting=1 {server}"), b"").with_code(1);
    assert!(refused.says("no.such.setting"), "{}", refused.stderr);

    let line =
        |hour: i64| format!("{{\"key\":\"k{hour}\",\"value\":null,\"timestamp\":{}}}\n", HOUR * (491_000 + hour));
    let input: String = (0..5).map(line).collect();
    let options = "--json -p 1 -H shop=berlin -z zstd:6 --tag id --outcomes told";
    folder.run(&format!("produce orders {options} {server}"), input.as_bytes()).with_code(0);
    let told = process::json_lines(&std::fs::read(folder.path().join("told")).unwrap());
    assert_eq!(told[0]["from_offsets"], serde_json::json!([0, 0, 0]), "{}", told[0]);
    let told = &told[1..];
    for (number, line) in told.iter().enumerate() {
        assert_eq!(
            (&line["outcome"], &line["partition"], &line["offset"]),
            (&"written".into(), &1.into(), &number.into())
        );
    }
    assert_eq!(told.len(), 5);
    let large = folder.run(&format!("produce orders --outcomes told {server}"), &[b'x'; 3000]).with_code(1);
    assert!(large.says("MESSAGE_TOO_LARGE"), "{}", large.stderr);
    let told = process::json_lines(&std::fs::read(folder.path().join("told")).unwrap());
    assert_eq!((&told[1]["reason"], &told[1]["kafka_error"]), (&"refused".into(), &10.into()), "{}", told[1]);

    let consume = |more: &[&str]| {
        let printed = folder.run_with(&format!("consume orders {server}"), more, b"").with_code(0).stdout;
        String::from_utf8(printed).unwrap()
    };
    let since = format!("@{}", HOUR * 491_003);
    assert_eq!(
        consume(&["--from", &since, "-f", "%p %o %k %V %h{%k,}\\n"]),
        "1 3 k3 -1 shop,id,\n1 4 k4 -1 shop,id,\n"
    );
    assert_eq!(consume(&["--from", "@-1h", "-f", "%k;"]), "");
    assert_eq!(consume(&["-o", "-1", "-f", "%k;"]), "k4;");
    assert_eq!(consume(&["-c", "1", "-f", "%a{compression} %a{timestamp-type} %e %[ %| %]"]), "zstd 0 0 0 5 5");
    let records = process::json_lines(consume(&["--json"]).as_bytes());
    assert_eq!((records.len(), &records[4]["headers"][0]["value"]), (5, &"berlin".into()));

    let listed = folder.run(&format!("topics list {server}"), b"").with_code(0).stdout;
    assert_eq!(String::from_utf8_lossy(&listed), "orders\t3\t1\n");
    let described = folder.run(&format!("topics describe orders --json {server}"), b"").with_code(0).json();
    let partitions = described[0]["partitions"].as_array().unwrap();
    let ends: Vec<_> = partitions.iter().map(|partition| partition["end_offset"].as_i64()).collect();
    assert_eq!(ends, [Some(0), Some(5), Some(0)]);
    assert!(partitions.iter().all(|partition| partition["isr"] == partition["replicas"]), "{}", described[0]);
    let configs = &described[0]["configs"];
    assert_eq!(
        (&configs["max.message.bytes"]["value"], &configs["max.message.bytes"]["own"]),
        (&"2000".into(), &true.into())
    );
    assert_eq!(configs["cleanup.policy"]["own"], false, "{configs}");
    let text = folder.run(&format!("topics describe orders {server}"), b"").with_code(0).stdout;
    let own: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"config\t")).collect();
    assert_eq!(own, [b"config\tmax.message.bytes\t2000"], "{}", text.escape_ascii());

    let bench = format!("bench produce --create --partitions 4 --records 20000 --rate 20000 -z lz4 {server}");
    let measured = folder.run(&bench, b"").with_code(0).json();
    assert_eq!((&measured[0]["acked"], &measured[0]["failed"]), (&20_000.into(), &0.into()), "{}", measured[0]);
    println!("measured: {}", measured[0]);
    a_killed_producer_is_settled(kafka, &folder, &server);
}

/// Killed while Kafka answers nothing: whatever Kafka makes of the request then, the log says the same as who settles, a copy of the
/// journal is settled likewise, and Kafka takes the fence once.
fn a_killed_producer_is_settled(mut kafka: Kafka, folder: &Folder, server: &str) {
    folder.run(&format!("topics create crashed --partitions 1 {server}"), b"").with_code(0);
    let mut produce = folder.start(&format!("produce crashed -X milena.fate.journal=fates {server}"));
    let journal = |is_so: &dyn Fn(&str) -> bool| {
        let until = Instant::now() + process::PATIENCE;
        while !is_so(&std::fs::read_to_string(folder.path().join("fates")).unwrap_or_default()) {
            assert!(Instant::now() < until, "the journal does not say so");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    produce.write(b"before\n");
    journal(&|text| text.contains("\ndone "));
    kafka.node(1).freeze().expect("it runs");
    produce.write(b"late\n");
    journal(&|text| text.matches("\nsent ").count() == 2);
    produce.kill();
    drop(produce);
    kafka.node(1).thaw().expect("it runs");
    std::fs::copy(folder.path().join("fates"), folder.path().join("copy")).expect("is copied");
    let settle = |journal: &str| {
        let settled = format!("settle {journal} --json --fence-with settled {server}");
        folder.run(&settled, b"").with_code(0).json().remove(0)
    };
    let fates = ["fates", "fates", "copy"].map(settle);
    let log: Vec<Vec<u8>> =
        kafka.dump_records("crashed").expect("is read").into_iter().filter_map(|it| it.value).collect();
    let (fate, expected) = match log.len() {
        3 => ("written", vec![&b"before"[..], b"late", b"settled"]),
        _ => ("not_written", vec![&b"before"[..], b"settled"]),
    };
    assert_eq!(log, expected);
    println!("measured: a killed producer's batch is {fate}");
    assert!(fates.iter().all(|told| told["fate"] == fate), "{fates:?}");
}

/// Runs, copies, what Kafka's own producer told, and records that Kafka has deleted.
#[test]
fn an_audit_proves_and_refutes_by_a_real_log() {
    let kafka = Kafka::start(Options::default()).unwrap();
    let folder = Folder::new();
    let server = format!("-b {}", kafka.bootstrap_servers());
    folder.run(&format!("topics create orders --partitions 3 {server}"), b"").with_code(0);
    let input: String = (0..20_000).map(|number| format!("key {}:{}\n", number % 100, number % 5_000)).collect();
    for (name, options) in [("first", "-z zstd"), ("second", "--tag id")] {
        let produce = format!("produce orders -K : {options} --outcomes {name} {server}");
        folder.run(&produce, input.as_bytes()).with_code(0);
    }
    let summary = |arguments: &str, code: i32| {
        let audit = format!("audit --json {arguments} {server}");
        folder.run(&audit, b"").with_code(code).json().pop().unwrap()
    };
    let proved = summary("first second", 0);
    assert_eq!((&proved["proved"], &proved["records"]), (&40_000.into(), &40_000.into()), "{proved}");
    folder.run(&format!("produce orders -K : {server}"), b"key 7:7\n").with_code(0);
    let refuted = summary("first second", 4);
    assert_eq!((&refuted["refuted"]["duplicated"], &refuted["proved"]), (&1.into(), &39_999.into()), "{refuted}");

    folder.run(&format!("topics create short --partitions 1 {server}"), b"").with_code(0);
    folder.run(&format!("produce short --outcomes kept {server}"), b"a\nb\nc\n").with_code(0);
    assert_eq!(summary("kept", 0)["proved"], 3);
    let until = folder.path().join("until.json");
    let json = r#"{"version":1,"partitions":[{"topic":"short","partition":0,"offset":2}]}"#;
    std::fs::write(&until, json).unwrap();
    let mut delete = kafka_harness::tool(VERSION, "org.apache.kafka.tools.DeleteRecordsCommand").unwrap();
    delete.args(["--bootstrap-server", &kafka.bootstrap_servers()]);
    let deleted = delete.arg("--offset-json-file").arg(&until).output().unwrap();
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let gone = summary("kept", 5);
    assert_eq!((&gone["unprovable"]["log_start"], &gone["proved"]), (&2.into(), &1.into()), "{gone}");
    the_verifiable_producer_says_what_kafkas_says(&kafka, &folder);
}

/// The same arguments on the same broker: every event of Kafka's, with its fields, is ours too.
fn the_verifiable_producer_says_what_kafkas_says(kafka: &Kafka, folder: &Folder) {
    let servers = kafka.bootstrap_servers();
    // A single record in the second one: of a batch that it splits Java's forgets what it may not send again.
    for (case, setting, messages) in [("a", "1000000", "5"), ("b", "10", "1")] {
        let arguments = |topic: &str| {
            let topic = format!("{topic}-{case}");
            let create = format!("--partitions 1 -c max.message.bytes={setting}");
            folder.run(&format!("topics create {topic} {create} -b {servers}"), b"").with_code(0);
            let common = ["--max-messages", messages, "--value-prefix", "7", "--repeating-keys", "2"];
            let own = ["--topic", &topic, "--bootstrap-server", &servers, "--throughput", "20", "--acks", "-1"];
            own.iter().chain(&common).map(ToString::to_string).collect::<Vec<String>>()
        };
        let mut java =
            kafka_harness::tool(VERSION, "org.apache.kafka.tools.VerifiableProducer").expect("jars are fetched");
        java.args(arguments("theirs"));
        let output = java.output().expect("java is there");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.stdout.is_empty(), "{said}");
        let ours = arguments("ours").join(" ");
        let ours = folder.run(&format!("verifiable-producer {ours}"), b"").with_code(0).stdout;
        let [theirs, ours] =
            [&output.stdout, &ours].map(|said| String::from_utf8(said.clone()).expect("they print text"));
        assert_eq!(theirs.lines().count(), ours.lines().count(), "{theirs}{ours}");
        theirs.lines().zip(ours.lines()).for_each(|(theirs, ours)| compare_events(theirs, ours));
        let error = if messages == "1" { 1 } else { 0 };
        assert_eq!(theirs.matches("producer_send_error").count(), error, "{theirs}");
        std::fs::write(folder.path().join("theirs"), &output.stdout).expect("it is written");
        let audit = folder
            .run(&format!("audit theirs --json -b {servers}"), b"")
            .with_code(0)
            .json()
            .pop()
            .expect("it prints a line");
        assert_eq!(audit["outcomes"].to_string(), messages, "{audit}");
    }
}

/// Ours may have more fields.
fn compare_events(their_line: &str, our_line: &str) {
    let [theirs, ours] =
        [their_line, our_line].map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"));
    let names: Vec<&String> = theirs.as_object().expect("a line is an object").keys().collect();
    // What stands behind these two is in no order, there.
    for line in [their_line, our_line] {
        let rest = line.strip_prefix("{\"timestamp\":").unwrap_or_else(|| panic!("{line}"));
        let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        assert!(rest.starts_with(",\"name\":"), "{line}");
    }
    for name in names {
        let (theirs, ours) = (&theirs[name], &ours[name]);
        let is_alike = match &**name {
            // Times and sentences are everybody's own.
            "timestamp" | "avg_throughput" => theirs.is_number() && ours.is_number(),
            "message" => theirs.is_string() && ours.is_string(),
            "topic" => {
                let case = theirs.as_str().and_then(|topic| topic.strip_prefix("theirs"));
                case.is_some() && case == ours.as_str().and_then(|topic| topic.strip_prefix("ours"))
            }
            _ => theirs == ours,
        };
        assert!(is_alike, "{name}: {their_line} {our_line}");
    }
}

/// Of the tools.
const VERSION: &str = "4.3.1";

const HOUR: i64 = 3_600_000;

fn reads_what_others_wrote(kafka: &Kafka, folder: &Folder, server: &str) {
    const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/FillOddly.java");
    let filled = kafka.java().arg(PROGRAM).arg(kafka.bootstrap_servers()).output().expect("java is there");
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));

    let controlled = folder.run(&format!("consume controlled {server}"), b"").with_code(0).stdout;
    assert_eq!(controlled, b"committed\naborted\nplain\n");
    let compressed = folder.run(&format!("consume compressed {server}"), b"").with_code(0).stdout;
    assert_eq!(compressed, b"none\ngzip\nsnappy\nlz4\nzstd\n");
    let trimmed = folder.run(&format!("consume trimmed {server}"), b"").with_code(0).stdout;
    assert_eq!(trimmed, b"3\n4\n");
    let gone = folder.run(&format!("consume trimmed --from 1 {server}"), b"").with_code(2);
    assert!(gone.says("offset 1 of partition 0 of topic trimmed is gone; the first one left is 3"), "{}", gone.stderr);
}

fn many_lines_are_in_order(folder: &Folder, server: &str) {
    let mut lines = Vec::new();
    (0..500_000).for_each(|number| writeln!(lines, "{number} {}", "x".repeat(number % 150)).expect("memory takes it"));
    let produced = folder.run(&format!("produce many --create --partitions 1 {server}"), &lines).with_code(0);
    println!(
        "measured: {} MB of lines: {}",
        lines.len() / 1_000_000,
        produced.stderr.lines().collect::<Vec<_>>().join("; ")
    );
    let begun = Instant::now();
    let consumed = folder.run(&format!("consume many {server}"), b"").with_code(0).stdout;
    println!("measured: consumed in {:.2} s", begun.elapsed().as_secs_f64());
    assert!(consumed == lines, "{} bytes came back of {}", consumed.len(), lines.len());
}

/// Partition and offset.
type Place = (i32, i64);

fn by_place(records: Vec<DumpedRecord>) -> BTreeMap<Place, DumpedRecord> {
    let count = records.len();
    let map: BTreeMap<_, _> = records.into_iter().map(|record| ((record.partition, record.offset), record)).collect();
    assert_eq!(map.len(), count, "an offset was read twice");
    map
}

/// What is sent.
struct Sample {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    timestamp: Option<i64>,
}

impl Sample {
    /// Always the same, whatever the day.
    fn many(count: usize) -> Vec<Self> {
        let mut dice = Dice(0x6d69_6c65_6e61);
        let now = wall_millis();
        (0..count).map(|_| Self::one(&mut dice, now)).collect()
    }

    fn one(dice: &mut Dice, now: i64) -> Self {
        let key = match dice.below(4) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(dice.bytes(40)),
        };
        let value = match dice.below(1000) {
            0..50 => None,
            50..100 => Some(Vec::new()),
            100 => Some(dice.bytes(200_000)),
            101..111 => Some(dice.bytes(20_000)),
            _ => Some(dice.bytes(400)),
        };
        let headers = (0..dice.below(4)).map(|_| Self::header(dice)).collect();
        let timestamp = (dice.below(10) > 0).then(|| now - dice.below(3_600_000) as i64);
        Self { key, value, headers, timestamp }
    }

    /// Names repeat, within a record too.
    fn header(dice: &mut Dice) -> (Vec<u8>, Option<Vec<u8>>) {
        let key = ["", "h", "trace-id", "schlüssel"][dice.below(4)].as_bytes().to_vec();
        let value = match dice.below(4) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(dice.bytes(30)),
        };
        (key, value)
    }

    fn record(&self) -> Record<'_> {
        let mut record = match &self.value {
            Some(value) => Record::value(value),
            None => Record::tombstone(),
        };
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(timestamp) = self.timestamp {
            record = record.timestamp(timestamp);
        }
        for (key, value) in &self.headers {
            record = record.header(std::str::from_utf8(key).expect("keys are text"), value.as_deref());
        }
        record
    }

    fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        let length = self.below(below);
        (0..length.div_ceil(8)).flat_map(|_| self.bits().to_le_bytes()).take(length).collect()
    }
}

async fn create_topic(servers: &str, name: &str, partitions: i32) {
    let mut admin = admin(servers).await;
    let topic = NewTopic { name: name.to_owned(), partitions: Some(partitions), replication: None };
    assert_eq!(admin.create_topic(&topic).await.expect("the topic is new").leaders.len(), partitions as usize);
}

/// Where each of the records is.
async fn write(servers: &str, records: &[Sample]) -> Vec<Place> {
    let producer = Producer::new(ProducerConfig::new(servers)).expect("the configuration is good");
    let topic = producer.topic("mixed").expect("the name is good");
    let mut deliveries: Vec<Delivery> = Vec::with_capacity(records.len());
    for record in records {
        deliveries.push(topic.send(record.record()).await.expect("there is room"));
    }
    let mut places = Vec::with_capacity(records.len());
    for delivery in deliveries {
        match delivery.await {
            Outcome::Written(at) => places.push((at.partition, at.offset.expect("offsets are told"))),
            other => panic!("{other:?}"),
        }
    }
    producer.close(PATIENCE).await;
    places
}

async fn read(servers: &str, topic: &str, partitions: i32) -> BTreeMap<Place, DumpedRecord> {
    let mut admin = admin(servers).await;
    let mut records = Vec::new();
    for partition in 0..partitions {
        let mut reader = admin.reader(topic, partition);
        let offsets = reader.offsets().await.expect("it is led");
        reader.seek(offsets.earliest);
        while reader.position() < offsets.latest {
            for batch in reader.read(offsets.latest).await.expect("it is read") {
                records.extend(batch.records().map(|record| dumped(partition, &record.expect("a record is sound"))));
            }
        }
    }
    by_place(records)
}

fn dumped(partition: i32, record: &ReadRecord) -> DumpedRecord {
    let headers = record.headers().map(|header| (header.key.to_vec(), header.value.map(|value| value.to_vec())));
    DumpedRecord {
        partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_ref().map(|key| key.to_vec()),
        headers: headers.collect(),
        value: record.value.as_ref().map(|value| value.to_vec()),
    }
}

/// How many different keys are where Java's producer puts them: all.
fn assert_partitions(kafka: &Kafka, records: &BTreeMap<Place, DumpedRecord>, partitions: i32) -> usize {
    const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/Partitions.java");
    let keys: BTreeSet<(&[u8], i32)> =
        records.values().filter_map(|record| Some((record.key.as_deref()?, record.partition))).collect();
    let mut command = kafka.java();
    command.arg(PROGRAM).arg(partitions.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut java = command.spawn().expect("java is there");
    let mut stdin = java.stdin.take().expect("it is piped");
    let lines: Vec<String> =
        keys.iter().map(|(key, _)| key.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    let feeding = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = java.wait_with_output().expect("it ends");
    feeding.join().expect("it does not panic").expect("java listens");
    assert!(output.status.success());
    let told = String::from_utf8(output.stdout).expect("it prints text");
    let told: Vec<i32> = told.lines().map(|line| line.parse().expect("it prints numbers")).collect();
    let found: Vec<i32> = keys.iter().map(|(_, partition)| *partition).collect();
    assert_eq!(found, told, "a key is where Java would not put it");
    keys.len()
}

async fn admin(servers: &str) -> Admin {
    let servers: Vec<String> = servers.split(',').map(str::to_owned).collect();
    Admin::connect(&servers, "test", PATIENCE).await.expect("Kafka answers")
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts").block_on(work)
}

fn wall_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}

const PATIENCE: Duration = Duration::from_secs(60);
