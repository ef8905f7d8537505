//! Java's own clients and tools.

use std::path::Path;

use milena_broker::KafkaRelease;

use crate::stage::Stage;
use crate::talk::perform;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_clients/Show.java");
const VERSION: &str = "4.3.1";

#[test]
fn java_writes_reads_and_administers_while_leaders_move() {
    let mut stage = Stage::start(KafkaRelease::default());
    perform(&mut stage, kafka_harness::client_program(VERSION, Path::new(PROGRAM)).expect("jars are fetched"));
}
