//! What a front is asked and what it answers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use milena_wire::records::{RECORD_BYTES_MAX, RecordHeader};

use crate::producer::account::Tight;
use crate::producer::completion::{BatchCompletion, Delivery};
use crate::time::Moment;

/// A record as the front takes it.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Decides the partition of keyed records and the fate of compacted ones.
    pub key: Option<&'a [u8]>,
    /// The payload.
    pub value: Value<'a>,
    /// In order; keys may repeat.
    pub headers: &'a [RecordHeader<'a>],
    /// `CreateTime` in milliseconds since the epoch; the clock's if absent.
    pub timestamp: Option<i64>,
    /// When its caller must have its outcome.
    pub due: Due,
    /// What becomes of it then if it was sent; the configured way if absent.
    pub after_deadline: Option<AfterDeadline>,
}

/// What becomes of a record that was sent and of which no conclusive answer came by its deadline. Its caller is told
/// [`Outcome::Unknown`](crate::producer::outcome::Outcome::Unknown) in any case, and its fate is settled in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterDeadline {
    /// It is sent again under the same stamp until a broker answers, at most until `delivery_timeout`: late is better than
    /// never.
    #[default]
    Complete,
    /// It is not sent any more: late is worse than never. A copy may have been appended all the same, and the fate tells:
    /// the partition's next batch keeps late copies out, then the log is read. Costs a producer epoch and a reading of the
    /// log behind the last acknowledged batch (READ on the topic), and the end of the log is asked for before the first
    /// batch of each partition is sent (DESCRIBE, which WRITE includes). Needs idempotence.
    ///
    /// A batch with a record that shall be completed is completed, and with it whatever was sent before it on the partition.
    Withdraw,
}

/// When a record's caller must have its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The configured deadline from now on.
    Configured,
    /// The configured deadline from a call that has waited.
    Waited(Moment),
    /// A deadline of the record's own, shorter or longer. Costs some 50 bytes until the batch ends, and its batch's
    /// outcomes are read under a lock.
    Own(Moment),
}

/// A payload, copied or linked.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A tombstone.
    Null,
    /// Copied into the batch.
    Borrowed(&'a [u8]),
    /// Linked into the batch if it is large, else copied.
    Shared(&'a Bytes),
}

impl<'a> Value<'a> {
    /// The bytes, none for a tombstone.
    pub fn as_slice(self) -> Option<&'a [u8]> {
        match self {
            Self::Null => None,
            Self::Borrowed(bytes) => Some(bytes),
            Self::Shared(bytes) => Some(bytes),
        }
    }
}

/// How the caller learns what became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Through a [`Delivery`].
    Handle,
    /// Through a report that carries this tag.
    Report(u64),
}

/// What to do with a record that does not fit into the batch that fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Seal the batch and open the next one.
    OpenNext,
    /// Seal the batch and refuse, so that the caller can go to another partition.
    Refuse,
    /// As `Refuse`, and refuse too where no batch fills: the one before was sent, and the caller moves on.
    OnlyOpen,
}

/// What the appender must tell the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing.
    Nothing,
    /// A batch started to fill; its linger ends then.
    LingerStarts(Moment),
    /// A batch sealed; another one may have started to fill.
    Sealed,
}

/// An accepted record.
#[derive(Debug)]
pub struct Appended<'a> {
    /// Of the batch that took it.
    pub completion: &'a Arc<BatchCompletion>,
    /// Its place in that batch.
    pub index: u32,
    /// For the driver.
    pub notice: Notice,
    /// Whether the batch must be watched from now on, or earlier than before: see `expiry.rs`.
    pub must_watch: bool,
}

impl Appended<'_> {
    /// The caller's handle.
    pub fn delivery(&self) -> Delivery {
        Delivery::new(Arc::clone(self.completion), self.index)
    }
}

/// Why a record was not accepted; it left no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// No memory within `buffer_memory`. The notice may still say that a batch sealed.
    BufferFull(Notice),
    /// The partition holds its share of the memory. The notice may still say that a batch sealed.
    ShareFull(Notice, Tight),
    /// No batch fills that could take the record, and [`WhenFull`] does not let it open one. The notice may say that a
    /// full one sealed.
    BatchFull(Notice),
    /// The producer, or this partition, accepts nothing any more.
    Closed,
    /// The record alone is larger than `max_request_size`.
    TooLarge {
        /// Bytes of a batch with this record alone; more than Kafka's format can hold where it cannot be encoded at all.
        size: usize,
        /// `max_request_size`.
        limit: usize,
    },
    /// The record is to be withdrawn after its deadline, and batches carry no stamps.
    WithdrawNeedsIdempotence,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferFull(_) => f.write_str("buffer_memory is used up"),
            Self::ShareFull(..) => f.write_str("the partition holds its share of buffer_memory"),
            Self::Closed => f.write_str("nothing is accepted any more"),
            Self::BatchFull(_) => f.write_str("the partition's batch is full"),
            Self::TooLarge { size, .. } if *size > RECORD_BYTES_MAX => {
                write!(f, "record of {size} bytes is more than the {RECORD_BYTES_MAX} that Kafka's format can hold")
            }
            Self::WithdrawNeedsIdempotence => f.write_str("to withdraw a record needs idempotence"),
            Self::TooLarge { size, limit } => write!(f, "record of {size} bytes exceeds max_request_size {limit}"),
        }
    }
}

impl std::error::Error for AppendError {}
