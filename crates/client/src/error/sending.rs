//! What keeps a record from being accepted.

use std::fmt;
use std::sync::Arc;

use milena_core::producer::outcome::{KafkaError, NotWritten};
use milena_wire::records::RECORD_BYTES_MAX;

use super::readiness::{
    AddressFault, write_faults, write_topic_missing, write_topic_not_authorized, write_topic_refused,
};
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
