//! Errors per operation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_core::fault::{self, ConnectionError};
use milena_core::metadata::Address;
use milena_core::producer::outcome::KafkaError;
use milena_core::time::Moment;

use crate::record::Record;

/// Why a record was not accepted. Nothing of it was written, and the record is given back.
#[derive(Debug)]
pub struct SendError<'a> {
    topic: Arc<str>,
    reason: SendRefused,
    record: Record<'a>,
}

/// The reason of a [`SendError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendRefused {
    /// `buffer_memory` is used up, or others wait for room; from `send`: until the deadline ended.
    BufferFull,
    /// The topic's partitions are not known yet; from `send`: until the deadline ended. Await [`crate::Topic::ready`] first.
    MetadataPending,
    /// The cluster says that the topic is not there or must not be seen; from `send`: until the deadline ended.
    TopicMissing(KafkaError),
    /// The record alone is larger than `max_request_size`.
    RecordTooLarge {
        /// Bytes of a batch with this record alone.
        size: usize,
        /// `max_request_size`.
        limit: usize,
    },
    /// The producer was closed.
    Closed,
    /// The producer's driver has ended, by a panic: a bug, please report it.
    DriverLost,
}

impl<'a> SendError<'a> {
    pub(crate) fn new(topic: &Arc<str>, reason: SendRefused, record: Record<'a>) -> Self {
        Self { topic: Arc::clone(topic), reason, record }
    }

    /// Why.
    pub fn reason(&self) -> &SendRefused {
        &self.reason
    }

    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        matches!(self.reason, SendRefused::BufferFull | SendRefused::MetadataPending | SendRefused::TopicMissing(_))
    }

    /// The record, to be sent again.
    pub fn into_record(self) -> Record<'a> {
        self.record
    }
}

impl fmt::Display for SendError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        match &self.reason {
            SendRefused::BufferFull => write!(f, "no room for a record of topic {topic}: buffer_memory is used up"),
            SendRefused::MetadataPending => write!(f, "the partitions of topic {topic} are not known yet"),
            SendRefused::TopicMissing(code) => {
                write!(f, "the cluster has no topic {topic} for this client: {code}; create it first")
            }
            SendRefused::RecordTooLarge { size, limit } => {
                write!(f, "record of {size} bytes exceeds max_request_size {limit} for topic {topic}")
            }
            SendRefused::Closed => write!(f, "the producer is closed; topic {topic} takes no more records"),
            SendRefused::DriverLost => {
                write!(f, "the producer's driver has ended; topic {topic} takes no more records")
            }
        }
    }
}

impl std::error::Error for SendError<'_> {}

/// Why a producer or a topic is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyError {
    /// No broker answered within the time.
    Unreachable {
        /// The time.
        within: Duration,
        /// Why not, by the address tried; empty if none was tried to its end.
        faults: Vec<AddressFault>,
    },
    /// Brokers answer, but the topic is not there or must not be seen.
    TopicMissing {
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
    /// The producer was closed, or its driver has ended.
    Closed,
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
            Self::TopicMissing { topic, code } => {
                write!(f, "the cluster has no topic {topic} for this client: {code}; create it first")
            }
            Self::TopicPending { topic, within } => write!(f, "no answer about topic {topic} within {within:?}"),
            Self::Closed => f.write_str("the producer is closed"),
        }
    }
}

impl std::error::Error for ReadyError {}

/// An address that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressFault {
    /// As `host:port`.
    pub address: String,
    /// How often it was tried since any broker answered.
    pub attempts: u32,
    /// How long ago the last attempt failed.
    pub failed_ago: Duration,
    /// Why.
    pub error: ConnectionError,
}

impl AddressFault {
    pub(crate) fn new(now: Moment, address: &Address, fault: &fault::AddressFault) -> Self {
        Self {
            address: address.to_string(),
            attempts: fault.attempts,
            failed_ago: now.since(fault.failed_at),
            error: fault.error.clone(),
        }
    }
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}

fn write_faults(f: &mut fmt::Formatter<'_>, faults: &[AddressFault]) -> fmt::Result {
    for (place, fault) in faults.iter().enumerate() {
        write!(f, "{}{fault}", if place > 0 { "; " } else { "" })?;
    }
    Ok(())
}

/// Not a name of a topic: 1 to 249 characters out of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopic(pub(crate) String);

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no topic name: use 1 to 249 of a-z A-Z 0-9 . _ -, and neither . nor ..", self.0)
    }
}

impl std::error::Error for InvalidTopic {}
