//! Python's confluent-kafka, and so librdkafka.

use std::process::Command;

use milena_broker::KafkaRelease;

use crate::stage::Stage;
use crate::talk::perform;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_clients/show.py");

#[test]
fn librdkafka_writes_reads_and_administers_while_leaders_move() {
    let python = kafka_harness::librdkafka_available().expect("the group runs only where it is");
    let mut program = Command::new(python);
    program.arg(PROGRAM);
    perform(&mut Stage::start(KafkaRelease::default()), program);
}
