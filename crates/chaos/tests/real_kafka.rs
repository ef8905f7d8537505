//! The producer against real Apache Kafka while nodes are killed, frozen, thawed and restarted: a steady load with
//! deadlines from 0.3 s to 60 s, every outcome and every fate compared with the log. Run by `cargo xtask test kafka`;
//! needs Java and Maven.

use std::sync::{Mutex, PoisonError};

use kafka_harness::VERSIONS;

#[test]
fn kafka_4_3_on_one_node() {
    run_rows(VERSIONS[0], 1);
}

#[test]
fn kafka_4_3_on_three_nodes() {
    run_rows(VERSIONS[0], 3);
}

#[test]
fn kafka_4_0_on_one_node() {
    run_rows(VERSIONS[1], 1);
}

#[test]
fn kafka_4_0_on_three_nodes() {
    run_rows(VERSIONS[1], 3);
}

#[test]
fn kafka_3_9_on_one_node() {
    run_rows(VERSIONS[2], 1);
}

#[test]
fn kafka_3_9_on_three_nodes() {
    run_rows(VERSIONS[2], 3);
}

fn run_rows(version: &str, nodes: u32) {
    // One cluster at a time: two would take each other's processor time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let findings = milena_chaos::run_rows(version, nodes);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
