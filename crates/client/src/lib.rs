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
//! to it ([`ProducerConfig::runtime`]). Deadlines, reports and compression, where there is any, have threads beside it.

mod blocking;
mod clock;
mod config;
mod deliveries;
mod driver;
mod error;
mod gate;
mod journal;
#[cfg(all(test, milena_model))]
mod loom_models;
mod outlook;
mod partitioner;
mod pool;
mod producer;
mod record;
mod report;
mod room;
mod settle;
mod shared;
mod slot;
mod topic;
mod turns;
mod waiting;

pub use config::{
    Compression, ConfigError, Misfit, ProducerConfig, Properties, PropertiesError, PropertyFault, PropertyPlace,
    PropertyRefused,
};
pub use deliveries::Deliveries;
pub use error::{AddressFault, InvalidTopic, ReadyError, ReserveError, SendError, SendRefused};
pub use journal::JournalError;
/// Why a broker cannot be asked: in an [`AddressFault`].
///
/// ```
/// # fn example(fault: milena::AddressFault) {
/// use milena::ConnectionError;
///
/// match fault.error {
///     ConnectionError::SpeaksTls => println!("{} is a TLS port", fault.address),
///     other => println!("{}: {other}", fault.address),
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::fault::ConnectionError;

/// Why no connection came about: in a [`FailedDial`].
///
/// ```
/// # fn example(fault: milena::AddressFault) {
/// use milena::{ConnectionError, DialError};
///
/// if let ConnectionError::NotConnected { tried, .. } = &fault.error
///     && tried.iter().all(|dial| dial.why == DialError::Refused)
/// {
///     println!("nothing listens at {}", fault.address);
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::fault::DialError;

/// One address of a name that was tried: in a [`ConnectionError`].
///
/// ```
/// # fn example(error: milena::ConnectionError) {
/// if let milena::ConnectionError::NotConnected { tried, .. } = error {
///     for dial in tried.iter() {
///         println!("{}: {}", dial.to, dial.why);
///     }
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::fault::FailedDial;

/// What a record is waited for, or withdrawn, by.
///
/// ```
/// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let delivery = orders.try_send("4 tea").map_err(|refused| refused.to_string())?;
/// if delivery.try_outcome().is_none() {
///     println!("it is on its way");
/// }
/// // On any executor, or on a thread: `delivery.blocking_wait()`. Awaited by reference, it is still here afterwards.
/// let mut delivery = delivery;
/// match tokio::time::timeout(Duration::from_millis(100), &mut delivery).await {
///     Ok(outcome) => println!("{outcome:?}"),
///     Err(_) => delivery.cancel(),
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::completion::Delivery;

/// What becomes of a record that was sent and not answered in time.
///
/// ```
/// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
/// use milena::Outcome;
///
/// let delivery = orders.try_send("4 tea").map_err(|refused| refused.to_string())?;
/// if let Outcome::Unknown(fate) = delivery.await {
///     println!("{} attempts so far: {:?}", fate.cause().attempts, fate.try_settlement());
///     // On any executor, or on a thread: `fate.blocking_wait()`.
///     println!("in the end: {:?}", fate.await);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::completion::Fate;

/// What becomes of a record that was not answered in time: for [`ProducerConfig::after_deadline`] and
/// [`Record::after_deadline`].
///
/// ```
/// use milena::{AfterDeadline, ProducerConfig, Record};
///
/// let config = ProducerConfig::new("localhost:9092").after_deadline(AfterDeadline::Withdraw);
/// let keep = Record::value("closing price").after_deadline(AfterDeadline::Complete);
/// # let _ = (config, keep);
/// ```
#[doc(inline)]
pub use milena_core::producer::front::AfterDeadline;

/// What went wrong last: in a [`Cause`].
///
/// ```
/// # fn example(cause: milena::Cause) {
/// use milena::AttemptError;
///
/// if cause.last_error == Some(AttemptError::NoLeader) {
///     println!("the partition has no leader: wait for an election");
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::AttemptError;

/// Why a record ended as it did, and what was tried for it.
///
/// ```
/// use milena::{AttemptError, Because, Cause, NotWritten};
///
/// let cause = Cause { attempts: 0, node: Some(3), last_error: Some(AttemptError::NotConnected) };
/// let why = Because { reason: NotWritten::DeadlinePassed, cause };
/// assert_eq!(
///     why.to_string(),
///     "not written: its deadline ended before it could be appended \
///      (no attempt was made; no connection to node 3 could be opened)",
/// );
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Because;

/// What was tried: in a [`Because`], and of a [`Fate`] until now.
///
/// ```
/// use milena::{AttemptError, Cause};
///
/// let cause = Cause { attempts: 2, node: Some(1), last_error: Some(AttemptError::RequestTimedOut) };
/// assert_eq!(cause.to_string(), "2 attempts; node 1 did not answer within request_timeout");
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Cause;

/// An outcome other than `Written`, for the `?` operator: from [`Outcome::into_result`].
///
/// ```
/// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
/// use milena::DeliveryError;
///
/// let delivery = orders.send("4 tea").await.map_err(|refused| refused.to_string())?;
/// match delivery.await.into_result() {
///     Ok(at) => println!("offset {:?}", at.offset),
///     Err(error) if error.is_safe_to_resend() => println!("{error}: once more"),
///     Err(error) => {
///         if let Some(fate) = error.into_fate() {
///             println!("{:?}", fate.await);
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::DeliveryError;

/// What a broker said instead of yes: in [`NotWritten`], [`Undetermined`] and the errors.
///
/// ```
/// # fn example(code: milena::KafkaError) {
/// println!("{} ({}): {}", code.name().unwrap_or("unknown"), code.code(), code.advice().unwrap_or("wait"));
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::KafkaError;

/// Why a record is certainly not in the log: in an [`Outcome`] or a [`Settlement`].
///
/// ```
/// # fn example(why: milena::Because<milena::NotWritten>) {
/// use milena::NotWritten;
///
/// match why.reason {
///     NotWritten::DeadlinePassed => println!("too slow: {}", why.cause),
///     NotWritten::Refused(code) => println!("refused: {code}"),
///     other => println!("{other}"),
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::NotWritten;

/// What is known of a record at its deadline: awaited from a [`Delivery`].
///
/// ```
/// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
/// use milena::Outcome;
///
/// let delivery = orders.send("4 tea").await.map_err(|refused| refused.to_string())?;
/// match delivery.await {
///     Outcome::Written(at) => println!("partition {}, offset {:?}", at.partition, at.offset),
///     Outcome::NotWritten(why) => println!("{why}; safe to send again"),
///     Outcome::Unknown(fate) => println!("in doubt; later: {:?}", fate.await),
/// }
/// // Or, where only success counts:
/// let delivery = orders.send("1 coffee").await.map_err(|refused| refused.to_string())?;
/// let at = delivery.await.into_result()?;
/// # let _ = at;
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Outcome;

/// How a doubt ended: awaited from a [`Fate`].
///
/// ```
/// # async fn example(fate: milena::Fate) -> Result<(), milena::SettlementError> {
/// let at = fate.await.into_result()?;
/// println!("it was written at offset {:?}", at.offset);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Settlement;

/// A settlement other than `Written`, for the `?` operator: from [`Settlement::into_result`].
///
/// ```
/// # async fn example(fate: milena::Fate) {
/// match fate.await.into_result() {
///     Ok(_) => println!("it is there"),
///     Err(error) if error.is_safe_to_resend() => println!("it is not there"),
///     Err(error) => println!("look into the partition: {error}"),
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::SettlementError;

/// Counts of outcomes: from [`Producer::flush`] and [`Producer::close`].
///
/// ```
/// use milena::Tally;
///
/// let tally = Tally { written: 7, not_written: 2, unknown: 1 };
/// assert_eq!(tally.records(), 10);
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Tally;

/// Why a doubt stays one: in a [`Settlement`].
///
/// ```
/// # fn example(why: milena::Because<milena::Undetermined>) {
/// use milena::Undetermined;
///
/// if why.reason == Undetermined::NoFence {
///     println!("raise delivery_timeout to outlast such outages: {}", why.cause);
/// }
/// # }
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Undetermined;

/// The place of a record in the log: in an [`Outcome`] or a [`Settlement`].
///
/// ```
/// let at = milena::Written { partition: 3, offset: Some(4711), timestamp: None };
/// println!("{}:{}", at.partition, at.offset.map_or("?".to_owned(), |offset| offset.to_string()));
/// ```
#[doc(inline)]
pub use milena_core::producer::outcome::Written;

/// Who must have a record before it counts as written: for [`ProducerConfig::acks`].
///
/// ```
/// use milena::{Acks, ProducerConfig};
///
/// let config = ProducerConfig::new("localhost:9092").acks(Acks::Leader).idempotence(false);
/// # let _ = config;
/// ```
#[doc(inline)]
pub use milena_core::producer::verdict::Acks;

pub use partitioner::{CustomPartitioner, Partitioner, Partitioning};
pub use producer::Producer;
pub use record::Record;
pub use report::DeliveryReport;
pub use shared::ProducerStats;
pub use topic::{Permit, SendBatchError, Topic};

pub use settle::{BatchFate, JournalDamage, Settle, SettleError, SettledBatch, SettledJournal};

#[cfg(feature = "unstable")]
#[doc(hidden)]
pub mod unstable;

// Whoever settles a journal asks brokers in the same way, and needs less.
#[cfg(not(feature = "unstable"))]
#[allow(dead_code)]
mod unstable;

/// The programs on the pages about the broker and for those who come from other clients.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../docs/broker.md")]
    mod broker {}
    #[doc = include_str!("../../../docs/from-java.md")]
    mod from_java {}
    #[doc = include_str!("../../../docs/from-krafka.md")]
    mod from_krafka {}
    #[doc = include_str!("../../../docs/from-rust-rdkafka.md")]
    mod from_rust_rdkafka {}
}
