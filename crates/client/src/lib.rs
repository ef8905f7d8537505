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
//! # When something is wrong
//!
//! Every error says what is wrong, where, and what to do, and is data as well:
//!
//! | who tells | what |
//! |---|---|
//! | [`ProducerConfig`], by [`Producer::new`] | settings that do not fit together, with the change that mends them ([`ConfigError`]) |
//! | [`Producer::ready`], [`Topic::ready`] | why no record could be sent now ([`ReadyError`]): each address that was tried and why it failed, a topic that is missing or may not be seen, leaders that nobody reaches where they are advertised, a producer id that is not given |
//! | [`Topic::try_send`], [`Topic::send`] | why the record was not accepted ([`SendRefused`]): the same, no room, too large (with size and limit) |
//! | [`Outcome::NotWritten`], [`Settlement`] | why it ended so, after how many attempts, and what went wrong last, at which broker ([`Because`], [`Cause`]) |
//!
//! An address that cannot be asked has a [`ConnectionError`]: a name that does not resolve, a port where nobody listens, one
//! that speaks TLS or HTTP, a listener that asks for SASL, a broker that is too old, one that does not answer. The producer
//! tries again in any case. `ready` is about now, so it also serves as a health check:
//!
//! ```no_run
//! # async fn example(producer: milena::Producer) {
//! if let Err(why) = producer.ready(std::time::Duration::from_secs(2)).await {
//!     eprintln!("not ready: {why}");
//! }
//! # }
//! ```
//!
//! # Settings
//!
//! All have defaults and stand at [`ProducerConfig`], with their cost and the names that they have in other clients. Those
//! that decide what an outcome means:
//!
//! - `deadline`: when the caller knows; `delivery_timeout`: until when unknown fates are pursued.
//! - `acks` and `idempotence`: the default is `All` with idempotence, written once, in order, committed. Less is promised,
//!   and said in the outcome, with [`Acks::Leader`] or [`Acks::None`], which need `idempotence(false)`.
//! - `producer_id_expiration`: how long brokers remember a producer. Tell it where theirs is not 24 h.
//!
//! # Threads
//!
//! The futures of this crate run on any executor; the producer has a thread of its own, or uses a tokio runtime that is given
//! to it ([`ProducerConfig::runtime`]).

mod blocking;
mod clock;
mod config;
mod deliveries;
mod driver;
mod error;
mod gate;
#[cfg(all(test, milena_model))]
mod loom_models;
mod outlook;
mod pool;
mod producer;
mod record;
mod report;
mod room;
mod shared;
mod slot;
mod topic;
mod turns;
mod waiting;

pub use config::{
    ConfigError, ProducerConfig, Properties, PropertiesError, PropertyFault, PropertyPlace, PropertyRefused,
};
pub use deliveries::Deliveries;
pub use error::{AddressFault, InvalidTopic, ReadyError, ReserveError, SendError, SendRefused};
pub use milena_core::fault::{ConnectionError, DialError, FailedDial};
pub use milena_core::producer::completion::{Delivery, Fate};
pub use milena_core::producer::outcome::{
    AttemptError, Because, Cause, DeliveryError, KafkaError, NotWritten, Outcome, Settlement, SettlementError, Tally,
    Undetermined, Written,
};
pub use milena_core::producer::verdict::Acks;
pub use producer::Producer;
pub use record::Record;
pub use report::DeliveryReport;
pub use shared::ProducerStats;
pub use topic::{Permit, SendBatchError, Topic};

#[cfg(feature = "unstable")]
#[doc(hidden)]
pub mod unstable;
