//! A client's program beside the cluster. It prints lines:
//!
//! | line | meaning |
//! |---|---|
//! | `wait` | it goes on once a line comes back; the cluster is upset meanwhile |
//! | `acked TOPIC PARTITION NUMBER OFFSET` | a record was reported as written; at an `unknown` offset, if the client does not say |
//! | `read TOPIC PARTITION OFFSET TIMESTAMP KEY HEADER VALUE` | a record was read |
//! | `told FACT` | what an administrator's request or a look-up gave, in the words that all programs use |
//! | `uses NAME VERSION` | which client it is |
//!
//! Anything else, an end with an error or silence fails the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::records::{
    Acked, BURST, BURSTS, CODECS, Found, PARTITIONS, Place, RECORDS, assert_all_acked, assert_all_read, assert_log,
    base_timestamp, places,
};
use crate::stage::Stage;

/// Lets a program go through everything, on this cluster; its arguments are added here.
pub fn perform(stage: &mut Stage, mut program: Command) {
    let base = base_timestamp();
    let began = Instant::now();
    let counts = [BURSTS, BURST, usize::try_from(PARTITIONS).expect("a handful")].map(|count| count.to_string());
    program.arg(stage.broker.bootstrap()).arg(base.to_string()).args(counts).args(CODECS.map(|(name, _)| name));
    let said = listen(stage, &mut program);
    assert_eq!(said.told, facts(), "what the client was told");
    assert_all_acked(said.acked);
    assert_all_read(&said.read, base);
    stage.calm();
    for place in places() {
        let (_, codec) = CODECS.into_iter().find(|(name, _)| *name == place.0).expect("a place has a codec");
        assert_log(&stage.broker, &place, codec, RECORDS);
    }
    assert!(said.waits > BURSTS, "leaders moved while it read: {} upheavals", said.waits);
    println!(
        "measured: {}: {} records by {} codecs through {} upheavals, {} leaders moved, in {:.1} s",
        said.client,
        places().count() * RECORDS,
        CODECS.len(),
        said.waits,
        stage.leaders_moved,
        began.elapsed().as_secs_f64()
    );
}

/// What clients are told of a topic `admin` that they make, change and remove, of a topic `gzip` that is written, and of `none`, which loses
/// its first ten records.
fn facts() -> Vec<String> {
    let mut facts: Vec<String> = ADMIN.lines().map(|line| line.trim().to_owned()).collect();
    let middle = RECORDS / 2;
    for partition in 0..PARTITIONS {
        facts.push(format!("gzip {partition}: earliest 0, latest {RECORDS}, since the middle {middle}"));
    }
    facts.push("earliest 10 once records were deleted".to_owned());
    facts
}

/// Error codes by Kafka's numbers: 36 is there already, 37 number of partitions, 40 configuration, 3 unknown topic.
const ADMIN: &str = "\
    nodes 3, a controller is one of them
    created
    created again: error 36
    listed
    2 partitions, 3 replicas, 3 in sync
    retention.ms 3600000, set
    retention.ms 7200000, set
    retention.ms 604800000, default
    retention.ms soon: error 40
    4 partitions, 3 replicas, 3 in sync
    fewer partitions: error 37
    deleted
    described: error 3";

/// What a program said.
#[derive(Debug, Default)]
struct Said {
    client: String,
    acked: BTreeMap<Place, Vec<Acked>>,
    read: BTreeMap<Place, Vec<Found>>,
    told: Vec<String>,
    waits: usize,
}

fn listen(stage: &mut Stage, program: &mut Command) -> Said {
    let mut run = Run::start(program);
    let mut said = Said::default();
    while let Some(line) = run.next_line() {
        let (kind, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match kind {
            "wait" => {
                said.waits += 1;
                stage.upset();
                run.say("go\n");
            }
            "acked" => {
                let [topic, partition, number, offset] = fields(rest);
                let acked = said.acked.entry((topic.to_owned(), count(partition))).or_default();
                acked.push((count(number), (offset != "unknown").then(|| count(offset))));
            }
            "read" => {
                let [topic, partition, offset, timestamp, key, header, value] = fields(rest);
                let found = Found {
                    offset: count(offset),
                    timestamp: count(timestamp),
                    key: key.to_owned(),
                    header: header.to_owned(),
                    value: value.to_owned(),
                };
                said.read.entry((topic.to_owned(), count(partition))).or_default().push(found);
            }
            "told" => said.told.push(rest.to_owned()),
            "uses" => said.client = rest.to_owned(),
            _ => panic!("the program says {line:.200}"),
        }
    }
    run.end();
    said
}

fn fields<const N: usize>(rest: &str) -> [&str; N] {
    let fields: Vec<&str> = rest.splitn(N, ' ').collect();
    fields.try_into().unwrap_or_else(|_| panic!("a line has too few fields: {rest:.200}"))
}

fn count<T: std::str::FromStr>(field: &str) -> T {
    field.parse().unwrap_or_else(|_| panic!("{field:.200} is no number"))
}

/// A program that runs; killed when dropped. What it prints as errors goes to the test's own.
pub struct Run {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Run {
    pub fn start(program: &mut Command) -> Run {
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program is here");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::sync_channel(LINES_AHEAD);
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { break };
                let Ok(()) = sender.send(line) else { break };
            }
        });
        Run { input: child.stdin.take(), child, lines }
    }

    /// None once it prints nothing more.
    pub fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the program says nothing for {PATIENCE:?}"),
        }
    }

    pub fn say(&mut self, text: &str) {
        let input = self.input.as_mut().expect("its input is open");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the program listens");
    }

    /// Awaits its good end.
    pub fn end(mut self) {
        drop(self.input.take());
        let status = self.child.wait().expect("it is ours");
        assert!(status.success(), "the program ended with {status}");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Few, so that what the program does and what happens to the cluster stay together.
const LINES_AHEAD: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);
