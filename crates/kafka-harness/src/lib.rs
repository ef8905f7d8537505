//! A real Apache Kafka for tests and tasks: fetched from Maven, started on loopback, killed, frozen, started again.
//!
//! ```no_run
//! use kafka_harness::{Kafka, Options};
//!
//! let mut kafka = Kafka::start(Options::default())?;       // 4.3.1, one node, ready when this returns
//! println!("clients connect to {}", kafka.bootstrap_servers());
//! kafka.node(1).kill()?;                                    // SIGKILL; `freeze`, `thaw`, `terminate` are there too
//! kafka.node(1).start()?;                                   // on its old data, at its old address
//! for record in kafka.dump_records("orders")? {             // as Java's own consumer reads them
//!     println!("{} {:?}", record.offset, record.value);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything is below `target/kafka` (or in memory, see [`Options`]): the jars of each version, fetched once, and the data of each cluster, which goes
//! when the [`Kafka`] is dropped. A test runner that is killed takes its Kafka along, and leaves a folder that the next
//! start removes. Needs a JDK (17 or later, for single-file programs) and Maven: [`java_available`] says whether they are here.
//! Unix only, [`standing`] Linux only. The harness knows nothing about the client that it serves.

mod access;
mod artifacts;
mod cluster;
mod dump;
mod election;
mod error;
mod exchange;
mod folders;
mod foreign;
mod java;
mod jvm;
mod librdkafka;
mod node;
mod probe;
pub mod proxy;
pub mod standing;
mod topic;

pub use access::{Access, Operation};
pub use cluster::{Kafka, Options, VERSIONS};
pub use dump::DumpedRecord;
pub use error::StartError;
pub use foreign::{go_available, kcat_available};
pub use java::{client_program, java_available, program, tool};
pub use librdkafka::librdkafka_available;
pub use node::Node;
pub use probe::PartitionState;
pub use proxy::Proxy;
pub use topic::NewTopic;
