//! A Kafka producer whose caller learns, by the deadline it set, what became of every record: written, not written, or
//! unknown; and whose unknowns are settled later.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use milena::{Outcome, Producer, ProducerConfig, Record};
//!
//! let producer = Producer::new(ProducerConfig::new("localhost:9092"))?;
//! let orders = producer.topic("orders")?;
//! let delivery = orders.send(Record::value("4 tea, 1 coffee").key("table 7")).await?;
//! match delivery.await {
//!     Outcome::Written(at) => println!("in partition {} at offset {:?}", at.partition, at.offset),
//!     Outcome::NotWritten(why) => println!("{why}; safe to send again"),
//!     Outcome::Unknown(fate) => println!("sent, not answered in time; later: {:?}", fate.await),
//! }
//! producer.close(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Certainty holds as long as committed data is not lost: no unclean election, and no loss of all in-sync replicas (with
//! `min.insync.replicas=1`, losing one disk is enough).
//!
//! The futures of this crate run on any executor; the producer has a thread of its own, or uses a tokio runtime that is given
//! to it ([`ProducerConfig::runtime`]).

mod clock;
mod config;
mod driver;
mod error;
mod gate;
#[cfg(all(test, milena_model))]
mod loom_models;
mod pool;
mod producer;
mod record;
mod report;
mod shared;
mod slot;
mod topic;
mod turns;

pub use config::{ConfigError, ProducerConfig};
pub use error::{AddressFault, InvalidTopic, ReadyError, SendError, SendRefused};
pub use milena_core::fault::{ConnectionError, DialError, FailedDial};
pub use milena_core::producer::completion::{Delivery, Fate};
pub use milena_core::producer::outcome::{
    AttemptError, Because, Cause, KafkaError, NotWritten, Outcome, Settlement, Tally, Undetermined, Written,
};
pub use milena_core::producer::verdict::Acks;
pub use producer::Producer;
pub use record::Record;
pub use report::DeliveryReport;
pub use shared::ProducerStats;
pub use topic::Topic;

#[cfg(feature = "unstable")]
#[doc(hidden)]
pub mod unstable;
