//! kcat, Debian's package, around an older librdkafka. It takes lines and prints lines, so everything is told to it here. Of an administrator's
//! requests it knows those that only ask.

use std::process::Command;
use std::time::Instant;

use milena_broker::KafkaRelease;

use crate::records::{BURST, BURSTS, CODECS, Found, PARTITIONS, Place, RECORDS, assert_log, expected, value};
use crate::stage::Stage;
use crate::talk::Run;

/// It reads and writes one partition at a time, so each topic has one that is used.
fn places() -> Vec<Place> {
    CODECS.iter().zip((0..PARTITIONS).cycle()).map(|((codec, _), partition)| ((*codec).to_owned(), partition)).collect()
}

/// Goes on through errors that pass.
fn kcat(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-E", "-q", "-b", stage.broker.bootstrap()]);
    for setting in ["socket.timeout.ms=2000", "retry.backoff.ms=20", "reconnect.backoff.ms=20"] {
        command.args(["-X", setting]);
    }
    command.args(arguments);
    command
}

/// What it prints, once it has ended.
fn printed(stage: &Stage, arguments: &[&str]) -> Vec<String> {
    let mut run = Run::start(&mut kcat(stage, arguments));
    let lines = std::iter::from_fn(|| run.next_line()).collect();
    run.end();
    lines
}

#[test]
fn kcat_writes_and_reads_while_leaders_move() {
    let began = Instant::now();
    let mut stage = Stage::start(KafkaRelease::default());
    for (codec, _) in CODECS {
        stage.broker.create_topic(codec, PARTITIONS).expect("is new");
    }
    write(&mut stage);
    let found = read(&mut stage);
    stage.calm();
    for (place, (_, codec)) in places().iter().zip(CODECS) {
        assert_log(&stage.broker, place, codec, RECORDS);
    }
    let (place, records) = &found[1];
    look(&stage, place, records);
    let said = Command::new("kcat").arg("-V").output().expect("the group runs only where it is");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version =
        said.split_once("librdkafka ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("of unknown version");
    println!(
        "measured: kcat with librdkafka {version}: {} records by {} codecs, {} leaders moved, in {:.1} s",
        places().len() * RECORDS,
        CODECS.len(),
        stage.leaders_moved,
        began.elapsed().as_secs_f64()
    );
}

/// A process for each topic; all of them get a burst before the cluster is upset.
fn write(stage: &mut Stage) {
    let start = |stage: &Stage, (topic, partition): &Place| {
        let partition = partition.to_string();
        let codec = format!("compression.codec={topic}");
        let header = format!("h={topic}");
        let settings = ["-X", "enable.idempotence=true", "-X", "linger.ms=2", "-X", &codec, "-H", &header];
        Run::start(kcat(stage, &["-P", "-t", topic, "-p", &partition, "-K", "\t"]).args(settings))
    };
    let mut runs: Vec<(Place, Run)> = places().into_iter().map(|place| (place.clone(), start(stage, &place))).collect();
    for burst in 0..BURSTS {
        for ((topic, partition), run) in &mut runs {
            let lines = (burst * BURST..(burst + 1) * BURST)
                .map(|number| format!("k{number}\t{}\n", value(topic, *partition, number)));
            run.say(&lines.collect::<String>());
        }
        stage.upset();
    }
    for (_, run) in runs {
        run.end();
    }
}

const FORMAT: &str = "%o %T %k %h %s\\n";

/// Every partition from its start to its end, the cluster upset after every few hundred records.
fn read(stage: &mut Stage) -> Vec<(Place, Vec<Found>)> {
    let mut all = Vec::new();
    for place in places() {
        let few = ["-X", "fetch.message.max.bytes=20000", "-X", "queued.min.messages=100"];
        let partition = place.1.to_string();
        let arguments = ["-C", "-t", &place.0, "-p", &partition, "-o", "beginning", "-e", "-f", FORMAT];
        let mut run = Run::start(kcat(stage, &arguments).args(few));
        let mut records: Vec<Found> = Vec::new();
        while let Some(line) = run.next_line() {
            records.push(parse(&line));
            if records.len().is_multiple_of(UPSET_EVERY) {
                stage.upset();
            }
        }
        run.end();
        assert_all(&place, &records);
        all.push((place, records));
    }
    all
}

const UPSET_EVERY: usize = 250;

fn parse(line: &str) -> Found {
    let fields: Vec<&str> = line.splitn(5, ' ').collect();
    let [offset, timestamp, key, header, value] = fields[..] else { panic!("kcat prints {line:.200}") };
    Found {
        offset: offset.parse().expect("a number"),
        timestamp: timestamp.parse().expect("a number"),
        key: key.to_owned(),
        header: header.strip_prefix("h=").expect("the header's name").to_owned(),
        value: value.to_owned(),
    }
}

/// In order, all of them, nothing else. The timestamps are kcat's own.
fn assert_all(place: &Place, records: &[Found]) {
    for (number, found) in records.iter().enumerate() {
        let expected = Found { timestamp: found.timestamp, ..expected(place, 0, number) };
        assert!(*found == expected, "record {number} of {place:?} was read as {:.200}", format!("{found:?}"));
        assert!(number == 0 || records[number - 1].timestamp <= found.timestamp, "time runs backwards in {place:?}");
    }
    assert_eq!(records.len(), RECORDS, "records read of {place:?}");
}

/// Offsets by place and time, reading from them, and who leads what.
fn look(stage: &Stage, place: &Place, records: &[Found]) {
    let (topic, partition) = (&*place.0, &*place.1.to_string());
    let middle = &records[RECORDS / 2];
    let since = records.iter().find(|found| found.timestamp >= middle.timestamp).expect("there is the middle");
    for (time, offset) in [(-2, 0), (-1, RECORDS as i64), (middle.timestamp, since.offset)] {
        let answer = printed(stage, &["-Q", "-t", &format!("{topic}:{partition}:{time}")]);
        assert_eq!(answer, [format!("{topic} [{partition}] offset {offset}")], "at time {time}");
    }
    let from = |offset: &str| {
        let lines = printed(stage, &["-C", "-t", topic, "-p", partition, "-o", offset, "-e", "-f", FORMAT]);
        lines.iter().map(|line| parse(line)).collect::<Vec<_>>()
    };
    assert!(from("-10") == records[RECORDS - 10..], "the last ten");
    assert!(from(&middle.offset.to_string()) == records[RECORDS / 2..], "from the middle");
    let since = usize::try_from(since.offset).expect("is not negative");
    assert!(from(&format!("s@{}", middle.timestamp)) == records[since..], "since the middle's time");

    let metadata = printed(stage, &["-L", "-t", topic]);
    let says = |text: &str| metadata.iter().filter(|line| line.contains(text)).count();
    assert_eq!((says("3 brokers:"), says("topic \"gzip\" with 3 partitions")), (1, 1), "{metadata:?}");
    assert_eq!((says("leader "), says("isrs: ")), (3, 3), "{metadata:?}");
}
