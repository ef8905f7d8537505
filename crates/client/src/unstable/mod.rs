//! What the command line needs beyond the public API: topics made and removed, and a partition read from here to there.
//!
//! Hidden and without promises: the consumer and the admin client that are to come replace it. Needs a tokio runtime with
//! I/O and time, unlike the producer, which brings its own. Every call either makes progress within the deadline that was
//! given to [`Admin::connect`] or says why not.
//!
//! Leaves out groups, transactions (records of aborted ones are read) and log truncation while reading.

#[cfg(feature = "unstable")]
mod admin;
pub(crate) mod cluster;
#[cfg(feature = "unstable")]
mod configs;
#[cfg(feature = "unstable")]
mod describe;
#[cfg(feature = "unstable")]
mod ends;
pub(crate) mod error;
#[cfg(feature = "unstable")]
mod limits;
pub(crate) mod link;
#[cfg(feature = "unstable")]
mod reader;
#[cfg(test)]
#[cfg(feature = "unstable")]
mod tests;

#[cfg(feature = "unstable")]
pub use admin::{Admin, NewTopic, Probe, TopicDescription};
#[cfg(feature = "unstable")]
pub use configs::TopicConfig;
#[cfg(feature = "unstable")]
pub use describe::{PartitionLayout, TopicLayout};
#[cfg(feature = "unstable")]
pub use error::{AdminError, ClusterError, ReadError, Setback};
#[cfg(feature = "unstable")]
pub use limits::Limits;
#[cfg(feature = "unstable")]
pub use link::LinkError;
#[cfg(feature = "unstable")]
pub use milena_core::metadata::Address;
#[cfg(feature = "unstable")]
pub use milena_wire::records::{Header as ReadHeader, Record as ReadRecord, TimestampType};
#[cfg(feature = "unstable")]
pub use milena_wire::{ErrorCode, Uuid};
#[cfg(feature = "unstable")]
pub use reader::{Marks, Offsets, ReadBatch, Reader};

#[cfg(feature = "unstable")]
pub use crate::config::Access;
#[cfg(feature = "unstable")]
use crate::error::InvalidTopic;

/// Whether brokers accept this as a topic's name.
#[cfg(feature = "unstable")]
pub fn check_topic(name: &str) -> Result<(), InvalidTopic> {
    crate::producer::check_topic_name(name)
}
