//! The test groups: one row each. `coverage.rs` proves that no test target of the workspace is missing here.
//!
//! A step is one call of cargo that runs tests and closes with their counts. Steps are chosen so that little is built
//! twice: everything in the dev profile, except what is only worth running optimised (`sim`, `threads`, `cost`).
//! Output is kept in sight, so that `test.rs` can show what was measured: uncaptured where a step runs for its figures, after
//! the tests elsewhere.

use crate::workspace;
use std::collections::BTreeSet;
use std::process::Command;

/// A row of the table.
pub struct Group {
    pub name: &'static str,
    /// What it tests, for `cargo xtask help`.
    pub what: &'static str,
    pub steps: &'static [Step],
    pub needs: Need,
}

/// What must be on the machine, beside Rust and a C compiler, for a group to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing,
    Java,
    Librdkafka,
    JavaAndLibrdkafka,
    Kcat,
    Go,
}

/// One call of cargo.
pub enum Step {
    /// Unit and integration tests of a package, without those that its manifest marks `test = false`.
    Tests { package: &'static str, profile: Profile },
    /// One integration test of a package once more, without default features: in Rust alone.
    Pure { package: &'static str, target: &'static str },
    /// One integration test that its manifest marks `test = false`, because it needs more than cargo brings.
    Target { package: &'static str, target: &'static str },
    /// The tests of one module of such a target, whose modules need different things.
    Module { package: &'static str, target: &'static str, module: &'static str },
    /// Models of threads: the unit tests under a module named `loom`, built with `--cfg milena_model` in a target folder of
    /// their own, because that flag changes every crate.
    Models { package: &'static str },
    /// The examples in the documentation of all libraries.
    DocExamples,
    /// A program that closes with `N passed, N failed, N skipped`; always optimised.
    Program { package: &'static str, arguments: &'static [&'static str] },
}

/// Cargo's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

pub const GROUPS: &[Group] = &[
    Group {
        name: "wire",
        what: "frames, messages, record batches, codecs; the kafka-protocol oracle; hostile bytes",
        steps: &[dev("milena-wire"), Step::Pure { package: "milena-wire", target: "codecs" }],
        needs: Need::Nothing,
    },
    Group {
        name: "core",
        what: "the deciding machines, hand-driven in virtual time",
        steps: &[dev("milena-core")],
        needs: Need::Nothing,
    },
    Group {
        name: "client",
        what: "the public API over real sockets, against the embedded broker",
        steps: &[dev("milena")],
        needs: Need::Nothing,
    },
    Group {
        name: "broker",
        what: "the embedded broker: cluster, log, server, data folder",
        steps: &[dev("milena-broker")],
        needs: Need::Nothing,
    },
    Group {
        name: "cli",
        what: "the milena command, run as a process",
        steps: &[dev("milena-cli")],
        needs: Need::Nothing,
    },
    Group {
        name: "sim",
        what: "the simulation: its own tests, 500 seeds, and every planted bug found",
        steps: &[
            Step::Tests { package: "milena-sim", profile: Profile::Release },
            Step::Program { package: "milena-sim", arguments: &["--ci"] },
        ],
        needs: Need::Nothing,
    },
    Group {
        name: "threads",
        what: "loom models of what several threads share",
        steps: &[Step::Models { package: "milena-core" }, Step::Models { package: "milena" }],
        needs: Need::Nothing,
    },
    Group {
        name: "docs",
        what: "the examples in the documentation",
        steps: &[Step::DocExamples],
        needs: Need::Nothing,
    },
    Group {
        name: "cost",
        what: "allocations per batch, counted over a million records; how late callers are released under load",
        steps: &[Step::Tests { package: "milena-bench", profile: Profile::Release }],
        needs: Need::Nothing,
    },
    Group {
        name: "tasks",
        what: "these tasks, the harness around a real Kafka and the comparison with its log, without Kafka",
        steps: &[dev("xtask"), dev("kafka-harness"), dev("milena-chaos")],
        needs: Need::Nothing,
    },
    Group {
        name: "kafka",
        what: "a real Apache Kafka: the harness itself, then milena against its classes and its brokers",
        steps: &[
            Step::Target { package: "kafka-harness", target: "real_kafka" },
            Step::Target { package: "milena-wire", target: "java_oracle" },
            Step::Target { package: "milena-broker", target: "kafka_reads_files" },
            Step::Target { package: "milena-broker", target: "same_as_kafka" },
            Step::Target { package: "milena-cli", target: "real_kafka" },
            Step::Target { package: "milena", target: "real_codecs" },
            Step::Target { package: "milena", target: "java_properties" },
            Step::Target { package: "milena-chaos", target: "real_kafka" },
        ],
        needs: Need::Java,
    },
    Group {
        name: "chaos",
        what: "a real Apache Kafka of three nodes: every kind of fault on nodes and on the way to them, every outcome compared",
        steps: &[
            Step::Target { package: "milena-chaos", target: "chaos" },
            Step::Target { package: "milena-chaos", target: "freeze" },
        ],
        needs: Need::Java,
    },
    Group {
        name: "librdkafka",
        what: "every codec both ways between milena and librdkafka, on a real Apache Kafka",
        steps: &[Step::Target { package: "milena", target: "real_librdkafka" }],
        needs: Need::JavaAndLibrdkafka,
    },
    Group {
        name: "java-clients",
        what: "Java's own clients and tools against the embedded broker, while leaders move",
        steps: &[real_client("java_clients")],
        needs: Need::Java,
    },
    Group {
        name: "kcat",
        what: "kcat against the embedded broker, while leaders move",
        steps: &[real_client("kcat")],
        needs: Need::Kcat,
    },
    Group {
        name: "confluent-kafka",
        what: "confluent-kafka for Python against the embedded broker, while leaders move",
        steps: &[real_client("confluent_kafka")],
        needs: Need::Librdkafka,
    },
    Group {
        name: "franz-go",
        what: "franz-go against the embedded broker, while leaders move",
        steps: &[real_client("franz_go")],
        needs: Need::Go,
    },
    Group {
        name: "languages",
        what: "the programs of docs/broker.md in Python, Java and Go, each with a broker of its own",
        steps: &[Step::Target { package: "milena-cli", target: "other_languages" }],
        needs: Need::JavaAndLibrdkafka,
    },
];

/// The tests that only run by name, once each.
pub fn targets_by_name() -> BTreeSet<&'static str> {
    let target = |step: &Step| match *step {
        Step::Target { target, .. } | Step::Module { target, .. } => Some(target),
        _ => None,
    };
    GROUPS.iter().flat_map(|group| group.steps).filter_map(target).collect()
}

const fn real_client(module: &'static str) -> Step {
    Step::Module { package: "milena-broker", target: "real_clients", module }
}

const fn dev(package: &'static str) -> Step {
    Step::Tests { package, profile: Profile::Dev }
}

impl Step {
    /// The step in the words of the command line.
    pub fn name(&self) -> String {
        format!("cargo {}", self.arguments().join(" "))
    }

    pub fn command(&self) -> Command {
        let mut command = workspace::cargo(&self.arguments());
        if let Self::Models { .. } = self {
            command.env("RUSTFLAGS", "--cfg milena_model").env("CARGO_TARGET_DIR", workspace::target().join("loom"));
        }
        command
    }

    fn arguments(&self) -> Vec<&'static str> {
        match *self {
            Self::Tests { package, profile: Profile::Dev } => test_of(package, &["--tests", "--", "--show-output"]),
            Self::Tests { package, profile: Profile::Release } => {
                test_of(package, &["--tests", "--release", "--", "--nocapture"])
            }
            Self::Pure { package, target } => {
                test_of(package, &["--no-default-features", "--test", target, "--", "--show-output"])
            }
            Self::Target { package, target } => test_of(package, &["--test", target, "--", "--nocapture"]),
            Self::Module { package, target, module } => {
                test_of(package, &["--test", target, "--", "--nocapture", module])
            }
            Self::Models { package } => test_of(package, &["--lib", "--release", "loom"]),
            Self::DocExamples => vec!["test", "--no-fail-fast", "--workspace", "--doc"],
            Self::Program { package, arguments } => {
                [&["run", "--release", "--package", package, "--"], arguments].concat()
            }
        }
    }
}

/// Every failing test of a step shall be in one log, so no test program stops the next.
fn test_of(package: &'static str, more: &[&'static str]) -> Vec<&'static str> {
    [&["test", "--no-fail-fast", "--package", package], more].concat()
}
