//! milena against a real Apache Kafka that is hurt: a steady load, faults of many kinds, and every word of the producer compared
//! with what Java reads from the log afterwards.
//!
//! Three attacks share one load (`load.rs`), one ledger (`ledger.rs`) and one comparison (`audit.rs`): the [rows](run_rows) of a
//! table, one fault each; the [campaign](campaign::run), whose faults are drawn from a seed; and the [freeze](freeze::attack) of all
//! nodes under a million records. Run by `cargo xtask test kafka chaos` and `cargo xtask chaos`.

mod audit;
pub mod campaign;
mod content;
mod director;
mod figures;
pub mod freeze;
mod ledger;
mod load;
#[path = "../../client/tests/punctual/mod.rs"]
#[allow(dead_code, reason = "tests of the client use the rest")]
mod punctual;
mod rows;
mod run_queue;
mod schedule;
mod stalls;
mod table;

pub use table::run_rows;
