//! What may be wrong with a record batch.

use std::error::Error;
use std::fmt;

use super::codec::UnpackError;
use super::header::Compression;
use crate::ErrorCode;

/// Why bytes were not accepted as a record batch. `base_offset` is the one that the batch claims for itself.
///
/// ```
/// use milena_wire::ErrorCode;
/// use milena_wire::records::{BatchError, batches};
///
/// let mut cut = batches([0; 30].as_slice().into());
/// let error = cut.next().expect("there are bytes").unwrap_err();
/// assert_eq!(error, BatchError::Magic { base_offset: 0, magic: 0 });
/// // What a broker answers to whoever sends it.
/// assert_eq!(error.error_code(), ErrorCode::INVALID_RECORD);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end within a batch. A broker cuts the end of a fetch at its byte limit, so there it is ordinary.
    Incomplete {
        /// Bytes from the start of the batch that would be enough for the next step: its first bytes or all of it.
        needed: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// A format other than version 2.
    Magic {
        /// The batch.
        base_offset: i64,
        /// The version it claims.
        magic: u8,
    },
    /// A batch length below that of an empty batch.
    Length {
        /// The batch.
        base_offset: i64,
        /// The length it claims.
        length: i32,
    },
    /// The bytes are not those that were summed.
    Checksum {
        /// The batch.
        base_offset: i64,
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// Offsets that no log has: negative, or past the largest.
    Offsets {
        /// The batch.
        base_offset: i64,
        /// The last offset it claims, relative to the first.
        last_offset_delta: i32,
    },
    /// More records claimed than could stand in the body, or fewer than none.
    RecordCount {
        /// The batch.
        base_offset: i64,
        /// The count it claims.
        count: i32,
        /// Length of its body.
        body_bytes: usize,
    },
    /// The records are compressed and cannot be unpacked.
    Compressed {
        /// The batch.
        base_offset: i64,
        /// Its codec.
        codec: Compression,
        /// Why not.
        fault: UnpackError,
    },
    /// A record cannot be read.
    Record {
        /// The batch.
        base_offset: i64,
        /// Position of the record in the batch, from 0.
        index: u32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Bytes follow the last record of the count.
    TrailingBytes {
        /// The batch.
        base_offset: i64,
        /// How many.
        bytes: usize,
    },
    /// What a producer sent is one batch and something more.
    NotOneBatch {
        /// Length of the first batch.
        batch_bytes: usize,
        /// Length of all that was sent.
        total_bytes: usize,
    },
    /// A producer sent a batch without records.
    Empty,
    /// A producer sent a control batch; only brokers write these.
    Control,
    /// A producer numbered its records from something other than 0.
    BaseOffset {
        /// The offset it chose.
        base_offset: i64,
    },
    /// A producer sent a count that contradicts the offsets it claims.
    CountMismatch {
        /// Records claimed.
        count: i32,
        /// The last offset claimed, relative to the first.
        last_offset_delta: i32,
    },
    /// A producer sent an id without a sequence.
    Sequence {
        /// The producer id.
        producer_id: i64,
        /// The first sequence claimed.
        base_sequence: i32,
    },
}

impl BatchError {
    /// The code with which a broker refuses a batch for this reason: damage in transit is retriable, a producer's
    /// mistake is not.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Incomplete { .. } | Self::Length { .. } | Self::Checksum { .. } => ErrorCode::CORRUPT_MESSAGE,
            Self::Compressed { fault: UnpackError::NoCodec(_), .. } => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            _ => ErrorCode::INVALID_RECORD,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Incomplete { needed, remaining } => {
                write!(
                    f,
                    "record batch is cut: {remaining} bytes are there, {needed} are needed; fetch it again from its base offset"
                )
            }
            Self::Magic { base_offset, magic } => write!(
                f,
                "record batch at offset {base_offset} has format version {magic}, only version 2 is read; let its topic be rewritten by Kafka 0.11 or later"
            ),
            Self::Length { base_offset, length } => {
                write!(f, "record batch at offset {base_offset} claims a length of {length} bytes, an empty one has 49")
            }
            Self::Checksum { base_offset, stored, computed } => write!(
                f,
                "record batch at offset {base_offset} is damaged: its CRC-32C is {computed:08x}, its header says {stored:08x}"
            ),
            Self::Offsets { base_offset, last_offset_delta } => write!(
                f,
                "record batch claims offsets from {base_offset} with a last offset delta of {last_offset_delta}, which no log has"
            ),
            Self::RecordCount { base_offset, count, body_bytes } => {
                write!(f, "record batch at offset {base_offset} claims {count} records in a body of {body_bytes} bytes")
            }
            Self::Compressed { base_offset, codec, fault } => {
                write!(
                    f,
                    "record batch at offset {base_offset} is compressed with {codec} and cannot be unpacked: {fault}"
                )
            }
            Self::Record { base_offset, index, fault } => {
                write!(f, "record {index} of the batch at offset {base_offset} is malformed: {fault}")
            }
            Self::TrailingBytes { base_offset, bytes } => {
                write!(f, "{bytes} bytes follow the last record of the batch at offset {base_offset}")
            }
            Self::NotOneBatch { batch_bytes, total_bytes } => write!(
                f,
                "a produce request carries exactly one record batch per partition; this one has {total_bytes} bytes and its first batch ends after {batch_bytes}"
            ),
            Self::Empty => write!(f, "a produced record batch must hold at least one record"),
            Self::Control => write!(f, "a producer must not send control batches"),
            Self::BaseOffset { base_offset } => {
                write!(f, "a produced record batch must have base offset 0, this one has {base_offset}")
            }
            Self::CountMismatch { count, last_offset_delta } => write!(
                f,
                "a produced record batch of {count} records has a last offset delta of {last_offset_delta}, it must be one less than the count"
            ),
            Self::Sequence { producer_id, base_sequence } => {
                write!(
                    f,
                    "record batch of producer id {producer_id} has base sequence {base_sequence}, it must not be negative"
                )
            }
        }
    }
}

impl Error for BatchError {}

/// What is wrong with one record.
///
/// ```
/// use milena_wire::records::{BatchError, RecordFault, retain};
///
/// let error = retain([[0x7f].as_slice()], |_| true).unwrap_err();
/// assert!(matches!(error, BatchError::Record { index: 0, fault: RecordFault::Length(-64), .. }), "{error}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFault {
    /// A field reaches past the end of the record, or the record past the end of the body.
    Cut,
    /// A variable-length integer is longer than its type allows.
    Varint,
    /// The record's own length is such an integer: nothing behind it can be found.
    LengthVarint,
    /// A length that cannot be: of the record, of a header's key, or a count of headers.
    Length(i32),
    /// The record claims more bytes than its fields use.
    TrailingBytes(usize),
    /// The offset does not follow that of the record before it, or lies past the batch's last.
    OffsetDelta(i32),
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => write!(f, "a field reaches past the end"),
            Self::Varint => write!(f, "a variable-length integer is too long"),
            Self::LengthVarint => write!(f, "the variable-length integer of its length is too long"),
            Self::Length(length) => write!(f, "a length or count of {length} cannot be"),
            Self::TrailingBytes(bytes) => write!(f, "{bytes} bytes follow its last field"),
            Self::OffsetDelta(delta) => write!(f, "its offset delta {delta} is out of order"),
        }
    }
}

impl Error for RecordFault {}
