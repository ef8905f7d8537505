//! What a produced batch must be before its stamp is looked at.
//!
//! The checks, their order and their codes are those of Kafka 4.3. They come before the duplicate check, so an *appended* batch that is
//! sent again can be refused here after the topic's settings or the clock moved on (seen on 4.3.1). Nothing here knows the log.
//!
//! Compressed records are not looked into, unless the topic is compacted: a compressed batch is judged by its header. Stricter than Kafka in three points, for the sake of
//! whoever reads the log: offset deltas that do not ascend by one and bytes behind the batch are refused, and records that cannot be read and
//! unknown codecs get a code that says so instead of UNKNOWN_SERVER_ERROR.

use bytes::Bytes;
use milena_wire::ErrorCode;
use milena_wire::records::{
    self, Attributes, BATCH_HEADER_BYTES, BatchError, BatchHeader, Compression, TimestampType, validate_produced,
};

use crate::moment::Moment;
use crate::topic_config::{self, TopicConfig};

/// What a batch is judged by, beside itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    /// The settings of its topic.
    pub(crate) config: &'a TopicConfig,
    /// When it arrived.
    pub(crate) now: Moment,
    /// The version of the Produce request that carried it.
    pub(crate) version: i16,
}

/// A batch that may be appended, as far as it is concerned.
#[derive(Clone, Debug)]
pub(crate) struct CheckedBatch {
    /// Its header, with the timestamps that it will have in the log and a checksum that fits.
    pub(crate) header: BatchHeader,
    /// Its records as they came.
    pub(crate) records: Bytes,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What the client is told.
    pub(crate) code: ErrorCode,
    /// The same in words.
    pub(crate) message: String,
    /// The records that are to blame, by index; empty when it is the batch (KIP-467).
    pub(crate) records: Vec<i32>,
    /// Whether Kafka refuses it in the log, so that the answer can tell where the log starts, or before.
    pub(crate) by_log: bool,
}

impl Refused {
    fn batch(code: ErrorCode, message: impl Into<String>) -> Refused {
        Refused { code, message: message.into(), records: Vec::new(), by_log: false }
    }

    fn malformed(error: &BatchError) -> Refused {
        let code = code_of(error);
        let not_one_batch =
            matches!(error, BatchError::Incomplete { .. } | BatchError::Magic { .. } | BatchError::NotOneBatch { .. });
        let by_log = code == ErrorCode::INVALID_RECORD && !not_one_batch;
        Refused { by_log, ..Refused::batch(code, error.to_string()) }
    }
}

impl Judge<'_> {
    /// Checks what a Produce request has for one partition.
    pub(crate) fn check(&self, batch: Option<Bytes>) -> Result<CheckedBatch, Refused> {
        let Some(batch) = batch.filter(|batch| !batch.is_empty()) else {
            return Err(Refused::batch(
                ErrorCode::INVALID_RECORD,
                "a produce request carries one record batch a partition",
            ));
        };
        self.check_shape(&batch)?;
        let header = validate_produced(&batch).map_err(|error| Refused::malformed(&error))?;
        let records = batch.slice(BATCH_HEADER_BYTES..);
        self.check_keys(&batch)?;
        let max_timestamp = self.check_timestamps(&header, &batch)?;
        Ok(CheckedBatch { header: with_timestamps(header, max_timestamp, &records), records })
    }

    /// What shows without reading the batch through.
    fn check_shape(&self, batch: &Bytes) -> Result<(), Refused> {
        let header = BatchHeader::read(batch).map_err(|error| Refused::malformed(&error))?;
        let codec = header.attributes.compression();
        let codec_too_new = codec == Compression::Zstd && self.version < ZSTD_SINCE;
        if codec_too_new || matches!(codec, Compression::Unknown(_)) {
            let message = format!("produce version {} does not take records compressed with {codec}", self.version);
            return Err(Refused::batch(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, message));
        }
        let (size, limit) = (batch.len(), usize::try_from(self.config.message_bytes_max).unwrap_or(0));
        if header.total_bytes() == size && size > limit {
            let message = format!("record batch of {size} bytes exceeds max.message.bytes {limit}");
            return Err(Refused::batch(ErrorCode::MESSAGE_TOO_LARGE, message));
        }
        Ok(())
    }

    /// What has no key cannot be compacted. Compressed records are looked into here, because their topic needs it.
    fn check_keys(&self, batch: &Bytes) -> Result<(), Refused> {
        if !self.config.cleanup.compacts() {
            return Ok(());
        }
        let view = records::batches(batch.clone()).without_checksums().next();
        let view = view.expect("a batch is not empty").expect("the batch was validated");
        let mut bad = Vec::new();
        for (index, record) in (0..).zip(view.records()) {
            if record.map_err(|error| Refused::malformed(&error))?.key.is_none() {
                bad.push(index);
            }
        }
        if bad.is_empty() {
            return Ok(());
        }
        let message = "a topic that is compacted takes no record without a key".to_owned();
        Err(Refused { code: ErrorCode::INVALID_RECORD, message, records: bad, by_log: true })
    }

    /// The largest timestamp and its type, as they will be in the log.
    fn check_timestamps(&self, header: &BatchHeader, batch: &Bytes) -> Result<(TimestampType, i64), Refused> {
        if self.config.timestamp_type == topic_config::TimestampType::LogAppendTime {
            if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
                // Refused here, but on other topics taken and set right (seen on 4.3.1).
                return Err(self.bad_timestamps(indexes(header)));
            }
            return Ok((TimestampType::LogAppendTime, self.now.timestamp()));
        }
        let max_timestamp = match header.attributes.compression() {
            Compression::None => self.max_record_timestamp(batch)?,
            _ if self.is_allowed(header.max_timestamp) => header.max_timestamp,
            _ => return Err(self.bad_timestamps(Vec::new())),
        };
        Ok((TimestampType::CreateTime, max_timestamp))
    }

    fn max_record_timestamp(&self, batch: &Bytes) -> Result<i64, Refused> {
        let view = records::batches(batch.clone()).without_checksums().next();
        let view = view.expect("a batch is not empty").expect("the batch was validated");
        let mut bad = Vec::new();
        let mut max = NO_TIMESTAMP;
        for (index, record) in (0..).zip(view.records()) {
            let timestamp = record.expect("the records were validated").timestamp;
            max = max.max(timestamp);
            if !self.is_allowed(timestamp) {
                bad.push(index);
            }
        }
        if bad.is_empty() { Ok(max) } else { Err(self.bad_timestamps(bad)) }
    }

    fn is_allowed(&self, timestamp: i64) -> bool {
        let age = i128::from(self.now.timestamp()) - i128::from(timestamp);
        let in_time =
            age <= i128::from(self.config.timestamp_before_max) && -age <= i128::from(self.config.timestamp_after_max);
        timestamp == NO_TIMESTAMP || in_time
    }

    fn bad_timestamps(&self, records: Vec<i32>) -> Refused {
        let TopicConfig { timestamp_before_max, timestamp_after_max, .. } = self.config;
        let message = format!(
            "record timestamps must be at most {timestamp_before_max} ms before and {timestamp_after_max} ms after the broker's clock, {}",
            self.now.timestamp()
        );
        Refused { code: ErrorCode::INVALID_TIMESTAMP, message, records, by_log: true }
    }
}

/// Kafka finds no batch at all in bytes that end within one, and calls that an invalid record, not damage; a format of the future is
/// damage (both seen on 4.3.1).
fn code_of(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Incomplete { .. } => ErrorCode::INVALID_RECORD,
        BatchError::Magic { magic: 3.., .. } => ErrorCode::CORRUPT_MESSAGE,
        other => other.error_code(),
    }
}

/// Every record of a batch, as far as its count was compared with its bytes.
fn indexes(header: &BatchHeader) -> Vec<i32> {
    match header.attributes.compression() {
        Compression::None => (0..header.record_count).collect(),
        _ => Vec::new(),
    }
}

/// Sums the batch again only if its header changes, as Kafka does.
fn with_timestamps(header: BatchHeader, (kind, max_timestamp): (TimestampType, i64), records: &Bytes) -> BatchHeader {
    let attributes: Attributes = header.attributes.with_timestamp_type(kind);
    if attributes == header.attributes && max_timestamp == header.max_timestamp {
        return header;
    }
    let changed = BatchHeader { attributes, max_timestamp, ..header };
    let sealed = changed.seal(records.len(), milena_wire::crc32c::checksum(records));
    BatchHeader::read(&sealed).expect("a sealed header is a header")
}

/// The first Produce version that takes zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// A record without a time of its own; never checked.
const NO_TIMESTAMP: i64 = -1;
