//! What keeps records from being sent at the moment.

use std::fmt;
use std::time::{Duration, Instant};

use milena_core::fault::{self, ConnectionError};
use milena_core::metadata::Address;
use milena_core::producer::outcome::KafkaError;

use crate::clock::Clock;

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

pub(super) fn write_topic_missing(f: &mut fmt::Formatter<'_>, topic: &str, creation_asked: bool) -> fmt::Result {
    write!(f, "the cluster has no topic {topic}")?;
    f.write_str(match creation_asked {
        false => ": create it first, or set allow_auto_create_topics(true)",
        true => {
            " and was asked to create it, but does not: create it first, or look at the brokers' auto.create.topics.enable \
             and this client's right to CREATE"
        }
    })
}

pub(super) fn write_topic_refused(f: &mut fmt::Formatter<'_>, topic: &str, code: KafkaError) -> fmt::Result {
    write!(f, "the cluster refuses topic {topic}: {code}")?;
    code.advice().map_or(Ok(()), |advice| write!(f, ": {advice}"))
}

pub(super) fn write_topic_not_authorized(f: &mut fmt::Formatter<'_>, topic: &str) -> fmt::Result {
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
pub(super) fn write_faults(f: &mut fmt::Formatter<'_>, faults: &[AddressFault]) -> fmt::Result {
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
