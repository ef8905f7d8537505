//! Every codec both ways between milena and Java's own clients, through a real Apache Kafka. Run by
//! `cargo xtask test kafka`; needs Java and Maven.

mod common;

use common::{CODECS, RECORDS, assert_all, create, read, run, write};
use kafka_harness::{Kafka, Options};

const WRITER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_codecs/WriteCodecs.java");

#[test]
fn java_reads_what_milena_compresses_and_milena_what_java_does() {
    let kafka = Kafka::start(Options::default()).expect("starts");
    let servers = kafka.bootstrap_servers();
    let of = |who: &str| CODECS.map(|(_, name)| format!("{who}-{name}"));
    let [ours, leveled, javas] = ["milena", "milena-level", "java"].map(of);
    run(create(&servers, &[&ours[..], &leveled, &javas].concat()));
    let levels = [Some(9), None, None, Some(19)];
    for (place, (codec, _)) in CODECS.into_iter().enumerate() {
        run(write(&servers, &ours[place], |config| config.compression(codec)));
        let Some(level) = levels[place] else { continue };
        run(write(&servers, &leveled[place], |config| config.compression(codec).compression_level(codec, level)));
    }
    let names = CODECS.map(|(_, name)| name);
    let written = kafka.java().arg(WRITER).arg(&servers).arg(RECORDS.to_string()).args(names).output();
    let written = written.expect("Java runs");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));

    let leveled = leveled.iter().zip(levels).filter(|(_, level)| level.is_some()).map(|(topic, _)| topic);
    for topic in ours.iter().chain(leveled) {
        let found = kafka.dump_records(topic).expect("Java reads them");
        let found = found.into_iter().map(|record| String::from_utf8(record.value.expect("not null")).expect("text"));
        assert_all(topic, &found.collect::<Vec<_>>());
        assert_all(topic, &run(read(&servers, topic)));
    }
    for topic in &javas {
        assert_all(topic, &run(read(&servers, topic)));
    }
}
