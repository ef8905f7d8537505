//! Every codec both ways between milena and librdkafka, through a real Apache Kafka. Run by `cargo xtask test librdkafka`;
//! needs Java and Maven for Kafka, and a Python with confluent-kafka for librdkafka.

#[path = "../real_codecs/common.rs"]
mod common;

use std::process::Command;

use common::{CODECS, RECORDS, assert_all, create, read, run, write};
use kafka_harness::{Kafka, Options};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_librdkafka/codecs.py");

/// What it prints.
fn librdkafka(arguments: &[&str]) -> String {
    let python = kafka_harness::librdkafka_available().expect("the group runs only where it is");
    let output = Command::new(python).arg(PROGRAM).args(arguments).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn librdkafka_reads_what_milena_compresses_and_milena_what_librdkafka_does() {
    let kafka = Kafka::start(Options::default()).expect("starts");
    let servers = kafka.bootstrap_servers();
    let of = |who: &str| CODECS.map(|(_, name)| format!("{who}-{name}"));
    let [ours, theirs] = ["milena", "librdkafka"].map(of);
    run(create(&servers, &[&ours[..], &theirs].concat()));
    for (place, (codec, name)) in CODECS.into_iter().enumerate() {
        run(write(&servers, &ours[place], |config| config.compression(codec)));
        let said = librdkafka(&["write", &servers, &RECORDS.to_string(), name]);
        println!("measured: {}", said.trim());
    }
    for topic in &theirs {
        assert_all(topic, &run(read(&servers, topic)));
    }
    for topic in &ours {
        let found = librdkafka(&["read", &servers, &RECORDS.to_string(), topic]);
        assert_all(topic, &found.lines().map(str::to_owned).collect::<Vec<_>>());
    }
}
