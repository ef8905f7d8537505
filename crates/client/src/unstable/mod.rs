//! What the command line needs beyond the public API: topics made and removed, and a partition read from here to there.
//!
//! Hidden and without promises: the consumer and the admin client that are to come replace it. Needs a tokio runtime with
//! I/O and time, unlike the producer, which brings its own. Every call either makes progress within the deadline that was
//! given to [`Admin::connect`] or says why not.
//!
//! Leaves out groups, transactions (records of aborted ones are read) and log truncation while reading.

mod admin;
mod cluster;
mod configs;
mod describe;
mod ends;
mod error;
mod limits;
mod link;
mod reader;
#[cfg(test)]
mod tests;

pub use admin::{Admin, NewTopic, Probe, TopicDescription};
pub use configs::TopicConfig;
pub use describe::{PartitionLayout, TopicLayout};
pub use error::{AdminError, ClusterError, ReadError, Setback};
pub use limits::Limits;
pub use link::LinkError;
pub use milena_core::metadata::Address;
pub use milena_wire::records::{Header as ReadHeader, Record as ReadRecord, TimestampType};
pub use milena_wire::{ErrorCode, Uuid};
pub use reader::{Marks, Offsets, ReadBatch, Reader};

pub use crate::config::Access;
use crate::error::InvalidTopic;

/// Whether brokers accept this as a topic's name.
pub fn check_topic(name: &str) -> Result<(), InvalidTopic> {
    crate::producer::check_topic_name(name)
}
