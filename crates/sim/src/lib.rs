//! The deterministic simulation: the producer's machines and a broker cluster in virtual time, with faults.
//!
//! A run is made of its seed alone: workload, settings, latencies, pieces of bytes, faults. It ends when everything is
//! settled, and then the history is held against the broker's log (`checker.rs`). The machines are the product's; only
//! the plants of `milena_core::plant` change them, at run time.
//!
//! Left out: threads and sockets (the client's driver), more than one client.

mod brokers;
mod campaign;
mod checker;
mod client;
pub mod coverage;
mod dice;
mod faults;
mod history;
mod memory;
mod network;
mod report;
mod request;
pub mod rules;
mod scenario;
mod stage;
mod steersman;
mod trace;
mod workload;
mod world;

pub use campaign::{Campaign, find_plant, run_all};
pub use faults::Fault;
pub use milena_core::plant::Plant;
pub use report::{Report, run};
