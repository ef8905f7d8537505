//! What a broker does to a batch that a producer sent: check it, place it in the log, give it the broker's time.
//!
//! The checks are those of Kafka 4.3 that need no state of the partition; sequences and epochs are the log's business.
//! Compressed records are not looked at.

use super::error::{BatchError, RecordFault};
use super::header::{BATCH_HEADER_BYTES, BatchHeader, CRC_AT, Compression, SUMMED_FROM, TimestampType};
use super::reader::{check_batch, next_record};
use crate::crc32c;

/// Checks that `bytes` are exactly one batch that a producer may send: right checksum, at least one record, offsets
/// from 0 without a gap, no control batch, a sequence with every producer id. Uncompressed records are read through.
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::{BatchError, validate_produced};
///
/// assert_eq!(validate_produced(&batch)?.record_count, 1);
/// let twice = [&batch[..], &batch].concat();
/// assert!(matches!(validate_produced(&twice), Err(BatchError::NotOneBatch { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn validate_produced(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = check_one_batch(bytes)?;
    if header.attributes.is_control() {
        return Err(BatchError::Control);
    }
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset { base_offset: header.base_offset });
    }
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        let BatchHeader { record_count, last_offset_delta, .. } = header;
        return Err(BatchError::CountMismatch { count: record_count, last_offset_delta });
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        let BatchHeader { producer_id, base_sequence, .. } = header;
        return Err(BatchError::Sequence { producer_id, base_sequence });
    }
    if header.attributes.compression() == Compression::None {
        check_records(&header, &bytes[BATCH_HEADER_BYTES..])?;
    }
    Ok(header)
}

/// Writes the place in the log into a batch: its base offset and the epoch of the leader that appends it. The checksum
/// does not cover them and stays right.
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::{batches, place_batch};
///
/// let mut batch = batch;
/// place_batch(&mut batch, 17, 3)?;
/// let placed = batches(batch.into()).next().expect("there is one")?;
/// assert_eq!((placed.header.base_offset, placed.header.partition_leader_epoch), (17, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn place_batch(batch: &mut [u8], base_offset: i64, partition_leader_epoch: i32) -> Result<(), BatchError> {
    BatchHeader::read(batch)?;
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&partition_leader_epoch.to_be_bytes());
    Ok(())
}

/// Gives all records of a whole batch the time of its append, as a topic of `message.timestamp.type=LogAppendTime` asks
/// for, and sums it again. The records' own deltas stay and are not looked at any more.
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::{batches, set_log_append_time};
///
/// let mut batch = batch;
/// set_log_append_time(&mut batch, 1_767_225_600_999)?;
/// let batch = batches(batch.into()).next().expect("there is one")?;
/// assert_eq!(batch.records().next().expect("there is one")?.timestamp, 1_767_225_600_999);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn set_log_append_time(batch: &mut [u8], timestamp: i64) -> Result<(), BatchError> {
    let mut header = check_length(batch)?;
    header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
    header.max_timestamp = timestamp;
    batch[..BATCH_HEADER_BYTES].copy_from_slice(&header.write());
    let crc = crc32c::checksum(&batch[SUMMED_FROM..]);
    batch[CRC_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

fn check_one_batch(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    // Before the other checks, because an empty batch has no last offset that these could accept.
    if check_length(bytes)?.record_count == 0 {
        return Err(BatchError::Empty);
    }
    check_batch(bytes, true)
}

/// The header of bytes that are as long as it says.
fn check_length(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::read(bytes)?;
    let batch_bytes = header.total_bytes();
    match bytes.len() {
        len if len < batch_bytes => Err(BatchError::Incomplete { needed: batch_bytes, remaining: len }),
        len if len > batch_bytes => Err(BatchError::NotOneBatch { batch_bytes, total_bytes: len }),
        _ => Ok(header),
    }
}

fn check_records(header: &BatchHeader, body: &[u8]) -> Result<(), BatchError> {
    let (mut at, mut index, mut last_delta) = (0, 0, -1);
    while let Some(parts) = next_record(header, body, at, index, last_delta)? {
        if parts.offset_delta != last_delta + 1 {
            let fault = RecordFault::OffsetDelta(parts.offset_delta);
            return Err(BatchError::Record { base_offset: header.base_offset, index, fault });
        }
        (at, index, last_delta) = (parts.after_offset.end, index + 1, parts.offset_delta);
    }
    Ok(())
}
