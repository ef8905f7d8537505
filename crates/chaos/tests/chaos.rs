//! Two minutes of chaos before a real Apache Kafka: every kind of fault, on nodes and on the way to them, while records are sent;
//! every outcome and fate is compared with the log. Run by `cargo xtask test chaos`; needs Java and Maven.

use milena_chaos::campaign::{self, Campaign};

#[test]
fn chaos_of_every_kind_leaves_no_word_untrue() {
    const SEED: u64 = 7;
    let findings = campaign::run(Campaign::brief(SEED)).expect("Kafka starts");
    assert!(findings.is_empty(), "seed {SEED}, {} findings:\n{}", findings.len(), findings.join("\n"));
}
