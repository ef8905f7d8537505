//! The 61 bytes in front of a batch's records.
//!
//! Owns the layout and the checksum rule: the CRC covers everything from the attributes on, so base offset and partition
//! leader epoch may be written by a broker without summing again. Everything else a header says is the caller's.

use std::fmt;

use super::error::BatchError;
use crate::crc32c;

/// Length of a batch header.
///
/// ```
/// use milena_wire::records::{BATCH_HEADER_BYTES, BatchHeader};
/// assert_eq!(BatchHeader::default().write().len(), BATCH_HEADER_BYTES);
/// ```
pub const BATCH_HEADER_BYTES: usize = 61;

/// Longest body of one batch: its length and the covered part of the header share a signed 32-bit number.
///
/// ```
/// use milena_wire::records::BODY_BYTES_MAX;
/// let may_grow = |body: usize, record: usize| body + record <= BODY_BYTES_MAX;
/// assert!(may_grow(1_000_000, 100));
/// ```
pub const BODY_BYTES_MAX: usize = i32::MAX as usize - LENGTH_WITHOUT_BODY;

/// The header of a batch. The magic byte is always 2 and has no field.
///
/// ```
/// use milena_wire::crc32c;
/// use milena_wire::records::{Attributes, BatchHeader};
///
/// let header = BatchHeader {
///     last_offset_delta: 2,
///     record_count: 3,
///     producer_id: 4_000,
///     producer_epoch: 0,
///     base_sequence: i32::MAX,
///     ..BatchHeader::default()
/// };
/// let body = b"three records";
/// let sealed = header.seal(body.len(), crc32c::checksum(body));
/// let read = BatchHeader::read(&sealed)?;
/// assert_eq!(read.total_bytes(), sealed.len() + body.len());
/// assert_eq!((read.last_offset(), read.last_sequence()), (2, Some(1)), "sequences go on with 0");
/// assert_eq!(read.write(), sealed);
/// assert_eq!(read.delete_horizon(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 in what a producer sends.
    pub base_offset: i64,
    /// Bytes that follow this field: 49 and the body. Set by [`BatchHeader::seal`].
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; −1 in what a producer sends.
    pub partition_leader_epoch: i32,
    /// CRC-32C from the attributes on. Set by [`BatchHeader::seal`].
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record relative to the first; stays when compaction removes records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are relative to.
    pub base_timestamp: i64,
    /// Largest timestamp, or the time of the append.
    pub max_timestamp: i64,
    /// The producer's id; −1 for none.
    pub producer_id: i64,
    /// The producer's epoch; −1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record; −1 for none.
    pub base_sequence: i32,
    /// Number of records; 0 is possible after compaction.
    pub record_count: i32,
}

impl Default for BatchHeader {
    /// An empty batch of nobody's, as a producer without an id would begin it.
    fn default() -> Self {
        Self {
            base_offset: 0,
            batch_length: LENGTH_WITHOUT_BODY as i32,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        }
    }
}

impl BatchHeader {
    /// The header as bytes, with `batch_length` and `crc` as they stand.
    #[must_use]
    pub fn write(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = [0; BATCH_HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[MAGIC_AT] = MAGIC;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// The header as bytes in front of a body of `body_len` bytes with the CRC-32C `body_crc`: length and checksum are
    /// computed here and the fields of `self` for them are not looked at. The body is not touched, so the same body can
    /// be given another stamp at the cost of 40 bytes summed.
    ///
    /// # Panics
    ///
    /// When the body is longer than [`BODY_BYTES_MAX`].
    #[must_use]
    pub fn seal(&self, body_len: usize, body_crc: u32) -> [u8; BATCH_HEADER_BYTES] {
        assert!(body_len <= BODY_BYTES_MAX, "a batch body is kept below BODY_BYTES_MAX while it grows");
        let header = Self { batch_length: (LENGTH_WITHOUT_BODY + body_len) as i32, ..*self };
        let mut out = header.write();
        let crc = crc32c::combine(crc32c::checksum(&out[SUMMED_FROM..]), body_crc, body_len);
        out[CRC_AT].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads the header at the start of `bytes`. Checks that it is all there, that the format is version 2 and that the
    /// length is at least that of an empty batch; everything else is for whoever has the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() <= MAGIC_AT {
            return Err(BatchError::Incomplete { needed: BATCH_HEADER_BYTES, remaining: bytes.len() });
        }
        let base_offset = i64::from_be_bytes(field(bytes, 0));
        if bytes[MAGIC_AT] != MAGIC {
            return Err(BatchError::Magic { base_offset, magic: bytes[MAGIC_AT] });
        }
        let batch_length = i32::from_be_bytes(field(bytes, 8));
        if batch_length < LENGTH_WITHOUT_BODY as i32 {
            return Err(BatchError::Length { base_offset, length: batch_length });
        }
        if bytes.len() < BATCH_HEADER_BYTES {
            let needed = LENGTH_FROM + batch_length as usize;
            return Err(BatchError::Incomplete { needed, remaining: bytes.len() });
        }
        Ok(Self {
            base_offset,
            batch_length,
            partition_leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, CRC_AT.start)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// Length of the whole batch, header included.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        LENGTH_FROM + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record, or of the last one before compaction removed it. The next batch starts after it.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Sequence of the last record, which follows 2147483647 with 0; `None` for a batch without sequences.
    #[must_use]
    pub fn last_sequence(&self) -> Option<i32> {
        self.sequence_at(self.last_offset_delta)
    }

    /// Sequence of the record at an offset delta; `None` for a batch without sequences.
    pub(super) fn sequence_at(&self, offset_delta: i32) -> Option<i32> {
        (self.base_sequence >= 0).then(|| self.base_sequence.wrapping_add(offset_delta) & i32::MAX)
    }

    /// Time from which on compaction may remove the tombstones and markers of the batch, where it has been set.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<i64> {
        // Kafka keeps it in the base timestamp, which the records' deltas then are relative to (KIP-534).
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// The 16 bits of codec, timestamp type and flags. Bits without a meaning are kept.
///
/// ```
/// use milena_wire::records::{Attributes, Compression, TimestampType};
///
/// let attributes = Attributes::default()
///     .with_compression(Compression::Zstd)
///     .with_timestamp_type(TimestampType::LogAppendTime)
///     .with_transactional(true)
///     .with_control(false);
/// assert_eq!(attributes, Attributes(0b1_1100));
/// assert_eq!(attributes.compression(), Compression::Zstd);
/// assert_eq!(attributes.timestamp_type(), TimestampType::LogAppendTime);
/// assert!(attributes.is_transactional() && !attributes.is_control() && !attributes.has_delete_horizon());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    /// How the body is compressed.
    #[must_use]
    pub const fn compression(self) -> Compression {
        match (self.0 & CODEC_BITS) as u8 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            other => Compression::Unknown(other),
        }
    }

    /// The same with another codec.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !CODEC_BITS | (compression.id() as i16 & CODEC_BITS))
    }

    /// Whose clock the timestamps are of.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// The same with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | LOG_APPEND_TIME),
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// The same, transactional or not.
    #[must_use]
    pub const fn with_transactional(self, transactional: bool) -> Self {
        self.with(TRANSACTIONAL, transactional)
    }

    /// Whether the records are markers of the broker rather than anybody's data.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// The same, control or not.
    #[must_use]
    pub const fn with_control(self, control: bool) -> Self {
        self.with(CONTROL, control)
    }

    /// Whether the base timestamp holds a delete horizon.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    const fn with(self, flag: i16, set: bool) -> Self {
        if set { Self(self.0 | flag) } else { Self(self.0 & !flag) }
    }
}

/// Codec of a batch's body.
///
/// ```
/// use milena_wire::records::Compression;
/// assert_eq!(Compression::Lz4.id(), 3);
/// assert_eq!(Compression::Unknown(7).to_string(), "unknown codec 7");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4, in its frame format.
    Lz4,
    /// zstd.
    Zstd,
    /// A number that Kafka has given to no codec yet, 5 to 7.
    Unknown(u8),
}

impl Compression {
    /// The codec's number in the attributes.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
            Self::Unknown(id) => id,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Gzip => write!(f, "gzip"),
            Self::Snappy => write!(f, "snappy"),
            Self::Lz4 => write!(f, "lz4"),
            Self::Zstd => write!(f, "zstd"),
            Self::Unknown(id) => write!(f, "unknown codec {id}"),
        }
    }
}

/// Whose clock gave a batch its timestamps.
///
/// ```
/// use milena_wire::records::{Attributes, TimestampType};
/// assert_eq!(Attributes::default().timestamp_type(), TimestampType::CreateTime);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    CreateTime,
    /// The broker's at the append: all records have the batch's largest.
    LogAppendTime,
}

/// Where the length field ends and what it counts begins.
pub(super) const LENGTH_FROM: usize = 12;
/// Bytes that the length field counts of the header itself.
const LENGTH_WITHOUT_BODY: usize = BATCH_HEADER_BYTES - LENGTH_FROM;
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;
pub(super) const CRC_AT: std::ops::Range<usize> = 17..21;
/// What the checksum covers: the attributes and everything after them.
pub(super) const SUMMED_FROM: usize = 21;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 0x0102_0304_0506_0708,
            batch_length: 0x1112_1314,
            partition_leader_epoch: 0x2122_2324,
            crc: 0x3132_3334,
            attributes: Attributes(0x4142),
            last_offset_delta: 0x5152_5354,
            base_timestamp: 0x6162_6364_6566_6768,
            max_timestamp: 0x7172_7374_7576_7778,
            producer_id: 0x0a0b_0c0d_0e0f_1011,
            producer_epoch: 0x1a1b,
            base_sequence: 0x2a2b_2c2d,
            record_count: 0x3a3b_3c3d,
        }
    }

    #[test]
    fn every_field_stands_at_its_place() {
        let expected = [
            1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 2, 0x31, 0x32, 0x33, 0x34, 0x41,
            0x42, 0x51, 0x52, 0x53, 0x54, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x71, 0x72, 0x73, 0x74, 0x75,
            0x76, 0x77, 0x78, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x1a, 0x1b, 0x2a, 0x2b, 0x2c, 0x2d, 0x3a,
            0x3b, 0x3c, 0x3d,
        ];
        assert_eq!(header().write(), expected);
        assert_eq!(BatchHeader::read(&expected), Ok(header()));
    }

    #[test]
    fn sealing_sums_header_and_body_without_the_body() {
        for body in [&b""[..], b"x", &[7; 100_000]] {
            let sealed = header().seal(body.len(), crc32c::checksum(body));
            let read = BatchHeader::read(&sealed).unwrap();
            assert_eq!(read.total_bytes(), BATCH_HEADER_BYTES + body.len());
            let mut whole = sealed.to_vec();
            whole.extend_from_slice(body);
            assert_eq!(read.crc, crc32c::checksum(&whole[SUMMED_FROM..]));
            assert_eq!(BatchHeader { crc: header().crc, batch_length: header().batch_length, ..read }, header());
        }
    }

    #[test]
    fn attributes_keep_the_bits_that_are_not_theirs() {
        let all = Attributes(-1);
        assert_eq!(all.compression(), Compression::Unknown(7));
        assert_eq!(all.with_compression(Compression::Zstd).0, !0b011);
        assert_eq!(all.with_timestamp_type(TimestampType::CreateTime).0, !0b1000);
        assert_eq!(all.with_transactional(false).0, !0b1_0000);
        assert_eq!(all.with_control(false).0, !0b10_0000);
        let none = Attributes::default();
        assert_eq!(none.with_timestamp_type(TimestampType::LogAppendTime).0, 0b1000);
        assert_eq!(none.with_transactional(true).0, 0b1_0000);
        assert_eq!(none.with_control(true).0, 0b10_0000);
        assert!(Attributes(0b100_0000).has_delete_horizon() && !none.has_delete_horizon());
    }

    #[test]
    fn the_sequence_after_the_largest_is_zero() {
        let mut header = BatchHeader { base_sequence: i32::MAX - 1, last_offset_delta: 1, ..BatchHeader::default() };
        assert_eq!(header.last_sequence(), Some(i32::MAX));
        header.last_offset_delta = 2;
        assert_eq!(header.last_sequence(), Some(0));
        header.last_offset_delta = 5;
        assert_eq!(header.last_sequence(), Some(3));
        header.base_sequence = -1;
        assert_eq!(header.last_sequence(), None);
    }

    #[test]
    fn an_older_format_is_named_before_its_length_is_looked_at() {
        let mut bytes = [0; 17];
        bytes[16] = 1;
        assert_eq!(BatchHeader::read(&bytes), Err(BatchError::Magic { base_offset: 0, magic: 1 }));
    }
}
