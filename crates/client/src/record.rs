//! What a caller hands in: a record that borrows.

use std::time::Duration;

use bytes::Bytes;
use milena_core::producer::front::{Due, RecordRef, Value};
use milena_core::time::Moment;
use milena_wire::records::RecordHeader;

/// A record to be sent. Key, headers and value are borrowed; the producer copies them, or links a large [`Bytes`] value.
///
/// ```
/// use milena::Record;
/// let record = Record::value("4 tea, 1 coffee").key("table 7").header("shop", Some(b"berlin"));
/// # let _ = record;
/// ```
#[derive(Clone, Debug)]
pub struct Record<'a> {
    key: Option<&'a [u8]>,
    value: Payload<'a>,
    headers: Vec<RecordHeader<'a>>,
    timestamp: Option<i64>,
    deadline: Option<Duration>,
    tag: u64,
}

#[derive(Clone, Debug)]
enum Payload<'a> {
    Null,
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl<'a> Record<'a> {
    /// A record with this value, without key or headers.
    pub fn value(value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::with(Payload::Borrowed(value.as_ref()))
    }

    /// A record whose value is linked instead of copied, from 8 KiB on.
    pub fn shared(value: Bytes) -> Self {
        Self::with(Payload::Shared(value))
    }

    /// A record without a value: on a compacted topic it deletes its key.
    pub fn tombstone() -> Self {
        Self::with(Payload::Null)
    }

    fn with(value: Payload<'a>) -> Self {
        Self { key: None, value, headers: Vec::new(), timestamp: None, deadline: None, tag: 0 }
    }

    /// Records with the same key go to the same partition (murmur2, as the Java client chooses).
    #[must_use]
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Adds a header; keys may repeat and their order is kept.
    #[must_use]
    pub fn header(mut self, key: &'a str, value: Option<&'a [u8]>) -> Self {
        self.headers.push(RecordHeader { key, value });
        self
    }

    /// The record's own time in milliseconds since the Unix epoch. Default: the clock when it is accepted.
    #[must_use]
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.timestamp = Some(millis);
        self
    }

    /// How long after the call the record has its outcome at the latest, instead of [`crate::ProducerConfig::deadline`];
    /// from nothing to days. Zero waits for nothing: the record is not written unless it is claimed within 10 ms.
    /// Records of one batch may have different deadlines. Costs some 50 bytes beside `buffer_memory` until the batch
    /// ends; a batch with a far deadline is sent again until then, so it holds its memory longer.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// A number of the caller's that comes back in the record's [`crate::DeliveryReport`]. Default 0.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    pub(crate) fn tag_number(&self) -> u64 {
        self.tag
    }

    pub(crate) fn own_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// As the front takes it, called at this moment.
    #[inline]
    pub(crate) fn at(&self, called: Moment) -> RecordRef<'_> {
        RecordRef {
            key: self.key,
            value: match &self.value {
                Payload::Null => Value::Null,
                Payload::Borrowed(bytes) => Value::Borrowed(bytes),
                Payload::Shared(bytes) => Value::Shared(bytes),
            },
            headers: &self.headers,
            timestamp: self.timestamp,
            due: self.deadline.map_or(Due::Configured, |deadline| Due::Own(called + deadline)),
        }
    }
}
