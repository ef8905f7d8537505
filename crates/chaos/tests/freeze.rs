//! Every node of a real Apache Kafka frozen in the middle of a load with deadlines of one second: every word is compared with the log,
//! and memory stays within its limit. Run by `cargo xtask test chaos`; needs Java and Maven. Alone in its process, because
//! memory is that of the process.

use milena_chaos::freeze::{self, Freeze};

#[test]
fn chaos_of_a_cluster_that_stands_still_leaves_no_word_untrue_and_memory_within_its_limit() {
    let findings = freeze::attack(Freeze::BRIEF).expect("Kafka starts");
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
