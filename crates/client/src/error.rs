//! Errors per operation.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_core::fault::{self, ConnectionError};
use milena_core::metadata::Address;
use milena_core::producer::outcome::{KafkaError, NotWritten};
use milena_wire::records::RECORD_BYTES_MAX;

use crate::clock::Clock;
use crate::record::Record;

/// Why a record was not accepted. Nothing of it was written, and the record is given back.
///
/// ```
/// # fn example(orders: milena::Topic) {
/// if let Err(refused) = orders.try_send("4 tea") {
///     eprintln!("{refused}");
///     let record = refused.into_record();
///     // …
/// #     let _ = record;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct SendError<'a>(Box<Refusal<'a>>);

/// Apart, because every function that passes the error on would carry its 184 bytes.
#[derive(Debug)]
struct Refusal<'a> {
    topic: Arc<str>,
    reason: SendRefused,
    record: Record<'a>,
}

/// The reason of a [`SendError`].
///
/// ```
/// # fn example(orders: milena::Topic) {
/// use milena::SendRefused;
///
/// match orders.try_send("4 tea").map_err(|refused| refused.reason().clone()) {
///     Ok(_delivery) => {}
///     Err(SendRefused::BufferFull | SendRefused::PartitionFull) => println!("too fast, or brokers too slow"),
///     Err(SendRefused::RecordTooLarge { size, limit }) => println!("{size} bytes are more than {limit}"),
///     Err(other) => println!("{other:?}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendRefused {
    /// The topic's partitions are not known, because no broker has answered; from `send`: until the deadline ended.
    Unreachable {
        /// Why not, by the address, those included that were not tried yet.
        faults: Arc<[AddressFault]>,
    },
    /// The cluster says that the topic is not there; from `send`: until the deadline ended.
    TopicMissing {
        /// It was asked to create it ([`crate::ProducerConfig::allow_auto_create_topics`]).
        creation_asked: bool,
    },
    /// The cluster says that this client may not see the topic; from `send`: until the deadline ended.
    TopicNotAuthorized,
    /// The cluster says this instead of the topic's partitions; from `send`: until the deadline ended.
    TopicRefused(KafkaError),
    /// The cluster answers, but has not told the topic's partitions yet; from `send`: until the deadline ended. Await
    /// [`crate::Topic::ready`] first.
    MetadataPending,
    /// `buffer_memory` is used up, or others wait for room; from `send`: until the deadline ended.
    BufferFull,
    /// The record's partition holds its share of `buffer_memory` (`partition_memory_share`), or others wait for that; of a
    /// record without a key: every partition. From `send`: until the deadline ended. Other partitions have room.
    PartitionFull,
    /// The record names a partition that the topic does not have ([`crate::Record::partition`]), or the partitioner chose it.
    NoSuchPartition {
        /// The partition.
        partition: i32,
        /// How many the topic has as far as is known; those that are added are known after `metadata_max_age` at the latest.
        count: usize,
    },
    /// The record alone is larger than `max_request_size`.
    RecordTooLarge {
        /// Bytes of a batch with this record alone.
        size: usize,
        /// `max_request_size`.
        limit: usize,
    },
    /// The record is larger than the room that was reserved for it ([`crate::Topic::reserve`]).
    LargerThanReserved {
        /// [`crate::Record::size`].
        size: usize,
        /// What was reserved.
        reserved: usize,
    },
    /// The record is to be withdrawn after its deadline ([`crate::Record::after_deadline`]), and the producer has no idempotence.
    WithdrawNeedsIdempotence,
    /// The producer was closed.
    Closed,
    /// The producer's driver has ended: its runtime was shut down, or it panicked, which is a bug; please report it.
    DriverLost,
}

impl SendRefused {
    pub(crate) fn by_close(why: NotWritten) -> Self {
        if why == NotWritten::DriverLost { Self::DriverLost } else { Self::Closed }
    }

    fn tell(&self, topic: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { faults } => {
                write!(f, "the partitions of topic {topic} are not known, because no broker has answered: ")?;
                write_faults(f, faults)
            }
            Self::TopicMissing { creation_asked } => write_topic_missing(f, topic, *creation_asked),
            Self::TopicNotAuthorized => write_topic_not_authorized(f, topic),
            Self::TopicRefused(code) => write_topic_refused(f, topic, *code),
            Self::MetadataPending => {
                write!(f, "the partitions of topic {topic} are not known yet: give the first call more time")
            }
            Self::BufferFull => write!(
                f,
                "no room for a record of topic {topic}: buffer_memory is used up; send slower, wait for outcomes, or \
                 raise it"
            ),
            Self::PartitionFull => write!(
                f,
                "no room for a record of topic {topic}: its partition holds its share of buffer_memory, \
                 partition_memory_share; see why the partition is slow, or raise one of them"
            ),
            Self::NoSuchPartition { partition, count } => write!(
                f,
                "topic {topic} has no partition {partition}, it has {count}, numbered from 0; one that was just added is \
                 known after metadata_max_age"
            ),
            Self::RecordTooLarge { size, .. } if *size > RECORD_BYTES_MAX => write!(
                f,
                "record of {size} bytes for topic {topic} is more than the {RECORD_BYTES_MAX} that Kafka's format can hold: \
                 send less in one record"
            ),
            Self::RecordTooLarge { size, limit } => write!(
                f,
                "record of {size} bytes exceeds max_request_size {limit} for topic {topic}: send less in one record, or \
                 raise max_request_size and the topic's max.message.bytes"
            ),
            Self::LargerThanReserved { size, reserved } => write!(
                f,
                "record of {size} bytes exceeds the {reserved} bytes reserved for it in topic {topic}: reserve as much as \
                 Record::size says"
            ),
            Self::WithdrawNeedsIdempotence => write!(
                f,
                "record for topic {topic} is to be withdrawn after its deadline, which needs idempotence: configure the \
                 producer with it, or let the record be completed"
            ),
            Self::Closed => write!(f, "the producer is closed; topic {topic} takes no more records"),
            Self::DriverLost => {
                write!(f, "the producer's driver has ended; topic {topic} takes no more records")
            }
        }
    }

    /// Whether the same call may succeed later.
    fn is_retriable(&self) -> bool {
        self.is_about_metadata() || matches!(self, Self::BufferFull | Self::PartitionFull)
    }

    /// Whether the topic's partitions were not known.
    pub(crate) fn is_about_metadata(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TopicMissing { .. }
            | Self::TopicNotAuthorized
            | Self::TopicRefused(_)
            | Self::MetadataPending => true,
            Self::BufferFull
            | Self::PartitionFull
            | Self::NoSuchPartition { .. }
            | Self::RecordTooLarge { .. }
            | Self::LargerThanReserved { .. }
            | Self::WithdrawNeedsIdempotence
            | Self::Closed
            | Self::DriverLost => false,
        }
    }
}

impl<'a> SendError<'a> {
    pub(crate) fn new(topic: &Arc<str>, reason: SendRefused, record: Record<'a>) -> Self {
        Self(Box::new(Refusal { topic: Arc::clone(topic), reason, record }))
    }

    /// Why.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// if let Err(refused) = orders.try_send("4 tea") {
    ///     println!("{:?}", refused.reason());
    /// }
    /// # }
    /// ```
    pub fn reason(&self) -> &SendRefused {
        &self.0.reason
    }

    /// Whether the same call may succeed later.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// if let Err(refused) = orders.try_send("4 tea") {
    ///     println!("another try makes sense: {}", refused.is_retriable());
    /// }
    /// # }
    /// ```
    pub fn is_retriable(&self) -> bool {
        self.0.reason.is_retriable()
    }

    /// The record, to be sent again.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Err(refused) = orders.try_send("4 tea") {
    ///     // No room now: wait for it.
    ///     orders.send(refused.into_record()).await.map_err(|refused| refused.to_string())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_record(self) -> Record<'a> {
        self.0.record
    }
}

impl fmt::Display for SendError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.reason.tell(&self.0.topic, f)
    }
}

impl std::error::Error for SendError<'_> {}

/// Why no room could be reserved; from [`crate::Topic::reserve`].
///
/// ```
/// # async fn example(orders: milena::Topic) {
/// use std::time::Duration;
///
/// if let Err(why) = orders.reserve(1000, Duration::from_secs(1)).await {
///     println!("{why}");
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveError {
    topic: Arc<str>,
    reason: SendRefused,
}

impl ReserveError {
    pub(crate) fn new(topic: &Arc<str>, reason: SendRefused) -> Self {
        Self { topic: Arc::clone(topic), reason }
    }

    /// Why.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) {
    /// use std::time::Duration;
    ///
    /// if let Err(why) = orders.reserve(1000, Duration::from_secs(1)).await {
    ///     println!("{:?}", why.reason());
    /// }
    /// # }
    /// ```
    pub fn reason(&self) -> &SendRefused {
        &self.reason
    }

    /// Whether the same call may succeed later.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) {
    /// use std::time::Duration;
    ///
    /// if let Err(why) = orders.reserve(1000, Duration::from_secs(1)).await {
    ///     println!("another try makes sense: {}", why.is_retriable());
    /// }
    /// # }
    /// ```
    pub fn is_retriable(&self) -> bool {
        self.reason.is_retriable()
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.tell(&self.topic, f)
    }
}

impl std::error::Error for ReserveError {}

/// Why a record could not be sent at the moment, from [`crate::Producer::ready`] and [`crate::Topic::ready`].
///
/// ```
/// # async fn example(producer: milena::Producer) {
/// use std::time::Duration;
/// use milena::ReadyError;
///
/// if let Err(ReadyError::Unreachable { faults, .. }) = producer.ready(Duration::from_secs(5)).await {
///     for fault in faults {
///         println!("{}: {}", fault.address, fault.error);
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyError {
    /// No broker answered within the time.
    Unreachable {
        /// The time.
        within: Duration,
        /// Why not, by the address, those included that were not tried yet.
        faults: Vec<AddressFault>,
    },
    /// Brokers answer, but those that lead the topic's partitions could not be reached at the addresses that they tell.
    LeadersUnreachable {
        /// The topic's name.
        topic: String,
        /// The time.
        within: Duration,
        /// Why not, by the address tried.
        faults: Vec<AddressFault>,
    },
    /// No partition of the topic has a leader.
    NoLeader {
        /// The topic's name.
        topic: String,
        /// The time.
        within: Duration,
    },
    /// Brokers answer, but none has given a producer id within the time.
    NoProducerId {
        /// The time.
        within: Duration,
        /// What a broker said when it was last asked; none if none has answered.
        code: Option<KafkaError>,
    },
    /// The cluster says that the topic is not there.
    TopicMissing {
        /// Its name.
        topic: String,
        /// The cluster was asked to create it ([`crate::ProducerConfig::allow_auto_create_topics`]).
        creation_asked: bool,
    },
    /// The cluster says that this client may not see the topic.
    TopicNotAuthorized {
        /// Its name.
        topic: String,
    },
    /// The cluster says that this client may not get a producer id.
    ClusterNotAuthorized,
    /// The cluster says this instead of the topic's partitions.
    TopicRefused {
        /// Its name.
        topic: String,
        /// What the cluster said.
        code: KafkaError,
    },
    /// Brokers answer, but not about this topic within the time.
    TopicPending {
        /// Its name.
        topic: String,
        /// The time.
        within: Duration,
    },
    /// The producer was closed.
    Closed,
    /// The producer's driver has ended: its runtime was shut down, or it panicked, which is a bug; please report it.
    DriverLost,
}

impl fmt::Display for ReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { within, faults } if faults.is_empty() => {
                write!(f, "no broker answered within {within:?}")
            }
            Self::Unreachable { within, faults } => {
                write!(f, "no broker answered within {within:?}: ")?;
                write_faults(f, faults)
            }
            Self::LeadersUnreachable { topic, within, faults } => {
                write!(f, "the brokers that lead topic {topic} could not be reached within {within:?} where their ")?;
                f.write_str("advertised.listeners say that they are: ")?;
                write_faults(f, faults)
            }
            Self::NoLeader { topic, within } => write!(
                f,
                "no partition of topic {topic} had a leader within {within:?}: check that the brokers with its replicas \
                 run"
            ),
            Self::NoProducerId { within, code: Some(code) } => {
                write!(f, "no broker gave a producer id within {within:?}; the last answer was {code}")
            }
            Self::NoProducerId { within, code: None } => {
                write!(f, "no broker answered a request for a producer id within {within:?}")
            }
            Self::TopicMissing { topic, creation_asked } => write_topic_missing(f, topic, *creation_asked),
            Self::TopicNotAuthorized { topic } => write_topic_not_authorized(f, topic),
            Self::ClusterNotAuthorized => f.write_str(
                "this client may not get a producer id: grant it WRITE on any topic (Kafka 2.8 and later) or \
                 IDEMPOTENT_WRITE on the cluster",
            ),
            Self::TopicRefused { topic, code } => write_topic_refused(f, topic, *code),
            Self::TopicPending { topic, within } => write!(f, "no answer about topic {topic} within {within:?}"),
            Self::Closed => f.write_str("the producer is closed"),
            Self::DriverLost => f.write_str("the producer's driver has ended"),
        }
    }
}

impl std::error::Error for ReadyError {}

fn write_topic_missing(f: &mut fmt::Formatter<'_>, topic: &str, creation_asked: bool) -> fmt::Result {
    write!(f, "the cluster has no topic {topic}")?;
    f.write_str(match creation_asked {
        false => ": create it first, or set allow_auto_create_topics(true)",
        true => {
            " and was asked to create it, but does not: create it first, or look at the brokers' auto.create.topics.enable \
             and this client's right to CREATE"
        }
    })
}

fn write_topic_refused(f: &mut fmt::Formatter<'_>, topic: &str, code: KafkaError) -> fmt::Result {
    write!(f, "the cluster refuses topic {topic}: {code}")?;
    code.advice().map_or(Ok(()), |advice| write!(f, ": {advice}"))
}

fn write_topic_not_authorized(f: &mut fmt::Formatter<'_>, topic: &str) -> fmt::Result {
    write!(f, "this client may not see topic {topic}: grant it DESCRIBE and WRITE on the topic")
}

/// An address that could not be asked.
///
/// ```
/// # fn example(faults: Vec<milena::AddressFault>) {
/// for fault in faults {
///     println!("{} failed {} times, last {:?} ago: {}", fault.address, fault.attempts, fault.failed_at.elapsed(), fault.error);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressFault {
    /// As `host:port`.
    pub address: String,
    /// How often it was tried since any broker answered, the attempt included that is going on.
    pub attempts: u32,
    /// When the last attempt failed.
    pub failed_at: Instant,
    /// Why.
    pub error: ConnectionError,
}

impl AddressFault {
    pub(crate) fn new(clock: &Clock, address: &Address, fault: &fault::AddressFault) -> Self {
        Self {
            address: address.to_string(),
            attempts: fault.attempts,
            failed_at: clock.instant(fault.failed_at).unwrap_or_else(Instant::now),
            error: fault.error.clone(),
        }
    }
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}

/// Addresses that are still to be tried come last, together.
fn write_faults(f: &mut fmt::Formatter<'_>, faults: &[AddressFault]) -> fmt::Result {
    let (untried, tried): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| fault.error == ConnectionError::NotTried);
    for (place, fault) in tried.iter().enumerate() {
        write!(f, "{}{fault}", if place > 0 { "; " } else { "" })?;
    }
    for (place, fault) in untried.iter().enumerate() {
        f.write_str(match (place, tried.is_empty()) {
            (0, true) => "not tried yet: ",
            (0, false) => "; not tried yet: ",
            _ => ", ",
        })?;
        f.write_str(&fault.address)?;
    }
    Ok(())
}

/// Not a name of a topic: 1 to 249 characters out of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
///
/// ```
/// use milena::{Producer, ProducerConfig};
///
/// let producer = Producer::new(ProducerConfig::new("localhost:9092"))?;
/// let error = producer.topic("orders/eu").unwrap_err();
/// assert!(error.to_string().starts_with("\"orders/eu\" is no topic name"));
/// # Ok::<(), milena::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopic(pub(crate) String);

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no topic name: use 1 to 249 of a-z A-Z 0-9 . _ -, and neither . nor ..", self.0)
    }
}

impl std::error::Error for InvalidTopic {}

#[cfg(all(test, not(milena_model)))]
mod tests;
