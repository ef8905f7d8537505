//! Why something asked of a cluster did not happen.

use std::fmt;
use std::time::Duration;

use milena_core::metadata::Address;
use milena_wire::ErrorCode;
use milena_wire::records::BatchError;

use super::link::LinkError;
use crate::config::ConfigError;

/// A cluster could not be asked, or did not know the topic.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClusterError {
    /// No broker of the list answers; each with its reason.
    Unreachable(Vec<(Address, LinkError)>),
    /// A broker speaks no version of what is needed.
    Broken {
        /// Where.
        address: Address,
        /// What.
        error: LinkError,
    },
    /// Attempts failed until the deadline.
    DeadlinePassed {
        /// It.
        deadline: Duration,
        /// Why the last attempt failed.
        last: Setback,
    },
    /// There is no such topic.
    TopicMissing {
        /// Its name.
        topic: Box<str>,
    },
    /// The topic has fewer partitions.
    PartitionMissing {
        /// The topic.
        topic: Box<str>,
        /// The number asked for.
        partition: i32,
        /// How many there are, numbered from 0.
        partitions: usize,
    },
    /// The cluster says no to the topic.
    Refused {
        /// The topic.
        topic: Box<str>,
        /// Kafka's code.
        code: ErrorCode,
        /// What the broker says beside the code, if anything.
        message: Option<Box<str>>,
    },
    /// The addresses are none.
    Config(ConfigError),
}

/// Why one attempt failed; another may succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Setback {
    /// The broker could not be asked.
    Link(LinkError),
    /// The broker said so.
    Code(ErrorCode),
    /// A partition has no leader at the moment.
    NoLeader,
    /// The answer had nothing in it that was asked for.
    NothingNew,
    /// A change is not to be seen yet.
    NotVisible,
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Code(code) => code.fmt(f),
            Self::NoLeader => f.write_str("the partition has no leader"),
            Self::NothingNew => f.write_str("the broker's answers are empty"),
            Self::NotVisible => f.write_str("the brokers do not show the change yet"),
        }
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(tried) => {
                f.write_str("no broker can be reached:")?;
                for (place, (address, error)) in tried.iter().enumerate() {
                    write!(f, "{} {address}: {error}", if place == 0 { "" } else { ";" })?;
                }
                Ok(())
            }
            Self::Broken { address, error } => write!(f, "the broker at {address} cannot be talked to: {error}"),
            Self::DeadlinePassed { deadline, last } => {
                write!(f, "no success within {deadline:?}: {last}; try again later or with a longer deadline")
            }
            Self::TopicMissing { topic } => write!(f, "topic {topic} does not exist"),
            Self::PartitionMissing { topic, partition, partitions } => {
                write!(f, "topic {topic} has no partition {partition}; it has {partitions}, numbered from 0")
            }
            Self::Refused { topic, code, message } => {
                write!(f, "the cluster refuses topic {topic:?}: {code}")?;
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClusterError {}

/// A topic could not be made or removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdminError {
    /// The cluster could not be asked, or refuses.
    Cluster(ClusterError),
    /// The topic is there already.
    TopicExists {
        /// Its name.
        topic: Box<str>,
    },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(error) => error.fmt(f),
            Self::TopicExists { topic } => write!(f, "topic {topic} exists already"),
        }
    }
}

impl std::error::Error for AdminError {}

impl From<ClusterError> for AdminError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

/// A partition could not be read on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The cluster could not be asked, or refuses.
    Cluster(ClusterError),
    /// The log does not reach there, or not any more.
    OffsetOutOfRange {
        /// The topic.
        topic: Box<str>,
        /// The partition.
        partition: i32,
        /// The offset that was to be read.
        offset: i64,
    },
    /// A batch is damaged or of a format older than Kafka 0.11.
    Damaged {
        /// The topic.
        topic: Box<str>,
        /// The partition.
        partition: i32,
        /// What is wrong.
        error: BatchError,
    },
    /// The topic was removed and made again while it was read, so offsets no longer mean the same records.
    Recreated {
        /// The topic.
        topic: Box<str>,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(error) => error.fmt(f),
            Self::OffsetOutOfRange { topic, partition, offset } => {
                write!(f, "offset {offset} is not in partition {partition} of topic {topic}; read from its start")
            }
            Self::Damaged { topic, partition, error } => {
                write!(f, "partition {partition} of topic {topic} cannot be read: {error}")
            }
            Self::Recreated { topic } => {
                write!(f, "topic {topic} was deleted and created again while it was read; read it from its start")
            }
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ClusterError> for ReadError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}
