//! How partitions are chosen.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use milena_wire::key_hash::KeyHash;

/// How the partition of a record is chosen that names none itself ([`crate::Record::partition`]).
///
/// Clients that write keyed records to one topic must agree: Java's and the Go, JavaScript and Python ones that follow it
/// use murmur2, those on librdkafka CRC-32 unless they are told otherwise.
///
/// "Anywhere" is one partition for a while, then another by chance: until as many bytes went there as a batch holds, or for
/// `linger`, 5 ms at least, whatever the partition does with them; each thread that sends for itself. So all partitions get
/// the same, a slow one too, but for those with more batches waiting than others: these are chosen less often (KIP-794).
///
/// ```
/// use milena::{Partitioner, ProducerConfig};
///
/// // Beside programs on librdkafka that write to the same topics.
/// let config = ProducerConfig::new("localhost:9092").partitioner(Partitioner::ConsistentRandom);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// Records with a key by murmur2, as the Java client, an empty key included; others anywhere. The default. librdkafka's
    /// `murmur2_random`.
    #[default]
    Murmur2Random,
    /// As [`Self::Murmur2Random`], but all records without a key go to one partition, that of the empty key. librdkafka's
    /// `murmur2`.
    Murmur2,
    /// Records with a key by CRC-32; those without, or with an empty one, anywhere. librdkafka's default,
    /// `consistent_random`.
    ConsistentRandom,
    /// By CRC-32; records without a key, or with an empty one, go to one partition. librdkafka's `consistent`.
    Consistent,
    /// Records with a key by FNV-1a, an empty key included; others anywhere. librdkafka's `fnv1a_random`, and Sarama's.
    Fnv1aRandom,
    /// By FNV-1a; records without a key go to the partition of the empty key. librdkafka's `fnv1a`.
    Fnv1a,
    /// One partition after the other, record by record, whatever their keys: spread evenly, in many small batches. Java's
    /// `RoundRobinPartitioner`.
    RoundRobin,
    /// All records anywhere, whatever their keys. Java's `partitioner.ignore.keys`, librdkafka's `random`.
    Sticky,
    /// What a function says; see [`Self::custom`].
    Custom(CustomPartitioner),
}

/// A function that chooses; see [`Partitioner::custom`].
///
/// ```
/// use milena::Partitioner;
///
/// let partitioner = Partitioner::custom(|_| Some(0));
/// assert!(matches!(partitioner, Partitioner::Custom(_)));
/// ```
#[derive(Clone)]
pub struct CustomPartitioner(Arc<Choose>);

type Choose = dyn Fn(&Partitioning<'_>) -> Option<i32> + Send + Sync;

/// What a function that chooses partitions knows; see [`Partitioner::custom`].
///
/// ```
/// use milena::Partitioner;
///
/// let partitioner = Partitioner::custom(|record| match (record.topic, record.key) {
///     ("audit", _) => Some(0),
///     (_, Some(key)) => Some(i32::from(*key.first()?) % record.partitions),
///     _ => None,
/// });
/// # let _ = partitioner;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Partitioning<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// How many partitions the topic has; at least one.
    pub partitions: i32,
}

impl Partitioner {
    /// A function chooses: a partition from 0 on, or none for "anywhere". One that the topic does not have is the error
    /// [`crate::SendRefused::NoSuchPartition`]. It is called on the thread that sends, once for each record, and again for one
    /// that waits until its topic is known; it must not block.
    ///
    /// ```
    /// use milena::{Partitioner, ProducerConfig};
    ///
    /// // The first byte of the key is the region, and each region has its partition.
    /// let by_region = Partitioner::custom(|record| Some(i32::from(*record.key?.first()?) % record.partitions));
    /// let config = ProducerConfig::new("localhost:9092").partitioner(by_region);
    /// # let _ = config;
    /// ```
    pub fn custom(choose: impl Fn(&Partitioning<'_>) -> Option<i32> + Send + Sync + 'static) -> Self {
        Self::Custom(CustomPartitioner(Arc::new(choose)))
    }

    /// Where the key leads, if this one goes by keys and the record has what it takes for one.
    #[inline]
    pub(crate) fn hashed<'a>(&self, key: Option<&'a [u8]>) -> Option<(KeyHash, &'a [u8])> {
        match self {
            Self::Murmur2Random => Some((KeyHash::Murmur2, key?)),
            Self::Murmur2 => Some((KeyHash::Murmur2, key.unwrap_or_default())),
            Self::ConsistentRandom => Some((KeyHash::Crc32, key.filter(|key| !key.is_empty())?)),
            Self::Consistent => Some((KeyHash::Crc32, key.unwrap_or_default())),
            Self::Fnv1aRandom => Some((KeyHash::Fnv1a, key?)),
            Self::Fnv1a => Some((KeyHash::Fnv1a, key.unwrap_or_default())),
            Self::RoundRobin | Self::Sticky | Self::Custom(_) => None,
        }
    }
}

impl CustomPartitioner {
    pub(crate) fn choose(&self, record: &Partitioning<'_>) -> Option<i32> {
        (self.0)(record)
    }
}

impl fmt::Debug for CustomPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomPartitioner")
    }
}

/// Where a record goes, as far as its caller and the partitioner have decided it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim<'a> {
    Anywhere,
    /// By its key.
    Key(KeyHash, &'a [u8]),
    /// There and nowhere else.
    Place(i32),
    /// In its turn.
    Turn(u32),
    /// The partitions were not known yet when a function should have chosen.
    Undecided {
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    },
}

impl Aim<'_> {
    /// The place among so many, if it is decided. It may be none of them.
    #[inline]
    pub(crate) fn place(self, partitions: NonZeroU32) -> Option<i32> {
        match self {
            Self::Key(hash, key) => Some(hash.partition(key, partitions)),
            Self::Place(place) => Some(place),
            Self::Turn(turn) => Some((turn % partitions).cast_signed()),
            Self::Anywhere | Self::Undecided { .. } => None,
        }
    }
}
