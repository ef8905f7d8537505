//! What a caller is told: one of three outcomes on time, and later the settlement of every unknown one.

use std::fmt;

use milena_wire::ErrorCode;

use super::completion::Fate;

/// What is known about a record when its deadline ends, or earlier.
#[derive(Debug)]
pub enum Outcome {
    /// In the log, committed.
    Written(Written),
    /// Not in the log, and never will be: safe to send again.
    NotWritten(NotWritten),
    /// It was sent and no conclusive answer has come. The fate goes on until it is settled; to send the record again
    /// before that may write it twice.
    Unknown(Fate),
}

/// How an [`Outcome::Unknown`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// In the log, committed.
    Written(Written),
    /// Not in the log, and never will be.
    NotWritten(NotWritten),
    /// It cannot be told, for this reason. A copy may be in the log, or still arrive.
    Undetermined(Undetermined),
}

/// Where a written record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition's number.
    pub partition: i32,
    /// The record's offset; absent only where a broker confirms without telling (DUPLICATE_SEQUENCE_NUMBER of old brokers).
    pub offset: Option<i64>,
    /// The broker's clock at the append, in milliseconds since the epoch, on topics with `LogAppendTime`.
    pub timestamp: Option<i64>,
}

/// Why a record is certainly not in the log. As long as committed data is not lost, it never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotWritten {
    /// Its deadline ended before a connection claimed its batch, or every attempt was refused until `delivery_timeout`.
    DeadlinePassed,
    /// The caller cancelled it before a connection claimed its batch.
    Cancelled,
    /// The cluster refused its batch with this code, and no attempt could have been appended.
    Refused(KafkaError),
    /// A batch before it on the same partition was refused with this code; nothing behind it was sent, to keep the order.
    PartitionStopped(KafkaError),
    /// The topic was deleted and created again while the record's batch waited for another attempt.
    TopicRecreated,
    /// The producer was closed, and no attempt of its batch was appended: none was made, or each was refused.
    Closed,
    /// The producer's driver ended (a panic, or its runtime was shut down) before a connection claimed its batch.
    DriverLost,
}

/// Why it cannot be told whether a record was written. The set is closed: every way to end in doubt stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undetermined {
    /// An attempt went unanswered or was answered ambiguously, and a later one was refused with this code.
    /// Advice: read the partition before sending again.
    RefusedAfterAmbiguousAttempt(KafkaError),
    /// No conclusive answer came before `delivery_timeout`, and no fence was written that could prove absence.
    /// Advice: a late copy is possible until the broker closes the old connection; raise `delivery_timeout` to outlast outages.
    NoFence,
    /// The topic was deleted and created again after an unanswered attempt; old stamps are never sent to a new topic.
    TopicRecreated,
    /// The producer was closed before a conclusive answer came. Advice: give `close` more time.
    ClosedBeforeProof,
    /// The producer's driver ended (a panic, or its runtime was shut down) before a conclusive answer came.
    DriverLost,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadlinePassed => f.write_str("not written: its deadline ended before it could be appended"),
            Self::Cancelled => f.write_str("not written: cancelled before it was sent"),
            Self::Refused(code) => write!(f, "not written: the cluster refused its batch with {code}"),
            Self::PartitionStopped(code) => {
                write!(f, "not written: an earlier batch of its partition was refused with {code}")
            }
            Self::TopicRecreated => f.write_str("not written: the topic was deleted and created again"),
            Self::Closed => f.write_str("not written: the producer was closed before it could be appended"),
            Self::DriverLost => f.write_str("not written: the producer's driver ended before it was sent"),
        }
    }
}

impl fmt::Display for Undetermined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RefusedAfterAmbiguousAttempt(code) => {
                write!(f, "undetermined: refused with {code} after an attempt that may have been appended")
            }
            Self::NoFence => {
                f.write_str("undetermined: no conclusive answer before delivery_timeout, and no fence to prove absence")
            }
            Self::TopicRecreated => {
                f.write_str("undetermined: the topic was deleted and created again after an unanswered attempt")
            }
            Self::ClosedBeforeProof => f.write_str("undetermined: the producer was closed before a conclusive answer"),
            Self::DriverLost => f.write_str("undetermined: the producer's driver ended before a conclusive answer"),
        }
    }
}

impl std::error::Error for NotWritten {}
impl std::error::Error for Undetermined {}

/// What a broker said instead of yes: an error code of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaError(ErrorCode);

impl KafkaError {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self.0.0
    }

    /// Kafka's name for it; none if this client does not know the number.
    pub fn name(self) -> Option<&'static str> {
        self.0.name()
    }
}

impl From<ErrorCode> for KafkaError {
    fn from(code: ErrorCode) -> Self {
        Self(code)
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many records ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the log.
    pub written: u64,
    /// Certainly not in the log.
    pub not_written: u64,
    /// Sent, without a conclusive answer in time.
    pub unknown: u64,
}

impl Tally {
    /// All records counted.
    pub fn records(&self) -> u64 {
        self.written + self.not_written + self.unknown
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.not_written += other.not_written;
        self.unknown += other.unknown;
    }
}
