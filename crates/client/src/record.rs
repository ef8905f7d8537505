//! What a caller hands in: a record that borrows.

use std::time::Duration;

use bytes::Bytes;
use milena_core::producer::front::{AfterDeadline, Due, RecordRef, Value};
use milena_core::time::Moment;
use milena_wire::records::RecordHeader;

mod conversions;

/// A record to be sent. Key, headers and value are borrowed, or shared as [`Bytes`]; the producer copies them, or links a
/// large shared value.
///
/// ```
/// use milena::Record;
/// let record = Record::value("4 tea, 1 coffee").key("table 7").header("shop", Some(b"berlin"));
/// # let _ = record;
/// ```
///
/// Text, bytes, and pairs of key and value are records too, wherever one is asked for; what is given away lives as long as
/// it must (`Record<'static>`):
///
/// ```
/// # fn example(orders: &milena::Topic, line: String) -> Result<(), Box<dyn std::error::Error>> {
/// orders.try_send("4 tea, 1 coffee").map_err(|error| error.to_string())?;
/// orders.try_send(("table 7", "4 tea, 1 coffee")).map_err(|error| error.to_string())?;
/// orders.try_send(line).map_err(|error| error.to_string())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Record<'a> {
    partition: Option<i32>,
    key: Option<Key<'a>>,
    value: Payload<'a>,
    headers: Vec<RecordHeader<'a>>,
    timestamp: Option<i64>,
    deadline: Option<Duration>,
    after_deadline: Option<AfterDeadline>,
    tag: u64,
}

#[derive(Clone, Debug)]
enum Key<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

#[derive(Clone, Debug)]
enum Payload<'a> {
    Null,
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl<'a> Record<'a> {
    /// A record with this value, without key or headers.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let text = Record::value("4 tea");
    /// let bytes = Record::value(&[0u8, 1, 2]);
    /// # let _ = (text, bytes);
    /// ```
    pub fn value(value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::with(Payload::Borrowed(value.as_ref()))
    }

    /// A record whose value is linked instead of copied, from 8 KiB on.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// // Read once, sent to two topics, copied to none.
    /// let picture = bytes::Bytes::from(vec![0; 500_000]);
    /// let (first, second) = (Record::shared(picture.clone()), Record::shared(picture));
    /// # let _ = (first, second);
    /// ```
    pub fn shared(value: Bytes) -> Self {
        Self::with(Payload::Shared(value))
    }

    /// A record without a value: on a compacted topic it deletes its key.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let gone = Record::tombstone().key("table 7");
    /// # let _ = gone;
    /// ```
    pub fn tombstone() -> Self {
        Self::with(Payload::Null)
    }

    fn with(value: Payload<'a>) -> Self {
        Self {
            partition: None,
            key: None,
            value,
            headers: Vec::new(),
            timestamp: None,
            deadline: None,
            after_deadline: None,
            tag: 0,
        }
    }

    /// The partition it goes to, from 0 on, instead of the one that the partitioner chooses. One that the topic does not have
    /// is refused with [`crate::SendRefused::NoSuchPartition`].
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").partition(3);
    /// # let _ = record;
    /// ```
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Records with the same key go to the same partition: by default that which the Java client chooses (murmur2), see
    /// [`crate::Partitioner`].
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").key("table 7");
    /// let number = 7u32.to_be_bytes();
    /// let other = Record::value("1 coffee").key(&number);
    /// # let _ = (record, other);
    /// ```
    #[must_use]
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(Key::Borrowed(key.as_ref()));
        self
    }

    /// As [`Self::key`], of a key that the record keeps itself.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// fn order(table: u32) -> Record<'static> {
    ///     Record::shared("4 tea, 1 coffee".into()).shared_key(format!("table {table}").into())
    /// }
    /// # order(7);
    /// ```
    #[must_use]
    pub fn shared_key(mut self, key: Bytes) -> Self {
        self.key = Some(Key::Shared(key));
        self
    }

    /// Adds a header; keys may repeat and their order is kept.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").header("trace", Some(b"4711")).header("urgent", None);
    /// # let _ = record;
    /// ```
    #[must_use]
    pub fn header(mut self, key: &'a str, value: Option<&'a [u8]>) -> Self {
        self.headers.push(RecordHeader { key, value });
        self
    }

    /// The record's own time in milliseconds since the Unix epoch. Default: the clock when it is accepted.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").timestamp(1_767_225_600_000);
    /// # let _ = record;
    /// ```
    #[must_use]
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.timestamp = Some(millis);
        self
    }

    /// How long after the call the record has its outcome at the latest, instead of [`crate::ProducerConfig::deadline`];
    /// from nothing to days. Zero waits for nothing: the record is not written unless it is claimed within 10 ms.
    /// Records of one batch may have different deadlines. Costs some 50 bytes beside `buffer_memory` until the batch
    /// ends; a batch with a far deadline is sent again until then, so it holds its memory longer. One that is shorter than
    /// [`crate::ProducerConfig::linger`] ends while its batch fills, unless the batch goes earlier.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// use std::time::Duration;
    ///
    /// let record = Record::value("4 tea").deadline(Duration::from_millis(250));
    /// # let _ = record;
    /// ```
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// What becomes of the record if it was sent and no conclusive answer came by its deadline, instead of
    /// [`crate::ProducerConfig::after_deadline`]. A batch is withdrawn only if each of its records is to be; one record that
    /// is to be completed completes the whole batch, and with it what was sent before it on the partition. The fate then says
    /// what happened to the batch. [`AfterDeadline::Withdraw`] needs idempotence, or the record is refused with
    /// [`crate::SendRefused::WithdrawNeedsIdempotence`]; where it is not the producer's own setting, what is given up before
    /// the partition's first acknowledgement has no place to look from, and may end `Undetermined(NoBase)`. Costs
    /// nothing before the deadline.
    ///
    /// ```
    /// use milena::{AfterDeadline, Record};
    ///
    /// let record = Record::value("EUR 1.07").key("tea").after_deadline(AfterDeadline::Withdraw);
    /// # let _ = record;
    /// ```
    #[must_use]
    pub fn after_deadline(mut self, after_deadline: AfterDeadline) -> Self {
        self.after_deadline = Some(after_deadline);
        self
    }

    /// A number of the caller's that comes back in the record's [`crate::DeliveryReport`]. Default 0.
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").tag(42);
    /// # let _ = record;
    /// ```
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// What the record takes in a batch at most: key, value and headers, and what stands around them. For
    /// [`crate::Topic::reserve`].
    ///
    /// ```
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").key("table 7");
    /// assert!((12..100).contains(&record.size()));
    /// ```
    pub fn size(&self) -> usize {
        let value = self.value_bytes().map_or(0, <[u8]>::len);
        let header = |header: &RecordHeader<'_>| HEADER_AROUND + header.key.len() + header.value.map_or(0, <[u8]>::len);
        let headers: usize = self.headers.iter().map(header).sum();
        RECORD_AROUND + self.key_bytes().map_or(0, <[u8]>::len) + value + headers
    }

    pub(crate) fn key_bytes(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|key| match key {
            Key::Borrowed(bytes) => *bytes,
            Key::Shared(bytes) => bytes,
        })
    }

    pub(crate) fn own_partition(&self) -> Option<i32> {
        self.partition
    }

    pub(crate) fn value_bytes(&self) -> Option<&[u8]> {
        match &self.value {
            Payload::Null => None,
            Payload::Borrowed(bytes) => Some(bytes),
            Payload::Shared(bytes) => Some(bytes),
        }
    }

    pub(crate) fn tag_number(&self) -> u64 {
        self.tag
    }

    pub(crate) fn own_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// As the front takes it where it serves as a fence: whatever the producer withdraws, this is completed.
    pub(crate) fn as_fence(&self) -> RecordRef<'_> {
        RecordRef {
            timestamp: None,
            due: Due::Configured,
            after_deadline: Some(AfterDeadline::Complete),
            ..self.at(Moment::START)
        }
    }

    /// As the front takes it, called at this moment.
    #[inline]
    pub(crate) fn at(&self, called: Moment) -> RecordRef<'_> {
        RecordRef {
            key: self.key_bytes(),
            value: match &self.value {
                Payload::Null => Value::Null,
                Payload::Borrowed(bytes) => Value::Borrowed(bytes),
                Payload::Shared(bytes) => Value::Shared(bytes),
            },
            headers: &self.headers,
            timestamp: self.timestamp,
            due: self.deadline.map_or(Due::Configured, |deadline| Due::Own(called + deadline)),
            after_deadline: self.after_deadline,
        }
    }
}

/// Five lengths of at most 5 bytes, a timestamp of at most 10 and the attributes.
const RECORD_AROUND: usize = 36;

/// Two lengths.
const HEADER_AROUND: usize = 10;
