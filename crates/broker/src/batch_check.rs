//! What a produced batch must be before its stamp is looked at.
//!
//! The checks, their order, their codes and their words are those of Kafka 4.3: first what shows in the request ([`Judge::shape`]), then what the
//! log asks of a batch, then what the records say. They come before the duplicate check, so an *appended* batch that is
//! sent again can be refused here after the topic's settings or the clock moved on (seen on 4.3.1). Nothing here knows the log.
//!
//! Stricter than Kafka in one point, for the sake of whoever reads the log: offset deltas that do not ascend by one are refused.

use bytes::Bytes;
use milena_wire::records::{
    self, Attributes, BATCH_HEADER_BYTES, BatchError, BatchHeader, Compression, RecordFault, RecordOutline,
    TimestampType,
};
use milena_wire::{ErrorCode, crc32c};

use crate::moment::Moment;
use crate::recompression::{NotRepacked, recompressed};
use crate::topic_config::{self, TopicConfig};

/// What a batch is judged by, beside itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    /// The settings of its topic.
    pub(crate) config: &'a TopicConfig,
    /// How far in the future its records may lie: where that is not set, as the release has it.
    pub(crate) timestamp_after_max: i64,
    /// When it arrived.
    pub(crate) now: Moment,
    /// The version of the Produce request that carried it.
    pub(crate) version: i16,
    /// Topic and partition, for sentences.
    pub(crate) place: (&'a str, i32),
}

/// A batch that may be appended, as far as it is concerned.
#[derive(Clone, Debug)]
pub(crate) struct CheckedBatch {
    /// Its header, with the timestamps that it will have in the log and a checksum that fits.
    pub(crate) header: BatchHeader,
    /// Its records as they came, or as the topic wants them compressed.
    pub(crate) records: Bytes,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What the client is told.
    pub(crate) code: ErrorCode,
    /// The same in words; Kafka has none but for records.
    pub(crate) message: Option<String>,
    /// The records that are to blame (KIP-467).
    pub(crate) records: Vec<BadRecord>,
    /// Whether Kafka refuses it in the log, so that the answer can tell where the log starts, or before.
    pub(crate) by_log: bool,
}

/// A record that is to blame for the refusal of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Its place in the batch.
    pub(crate) index: i32,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl Refused {
    /// Before the log is asked.
    fn early(code: ErrorCode) -> Refused {
        Refused { code, message: None, records: Vec::new(), by_log: false }
    }

    fn by_log(code: ErrorCode) -> Refused {
        Refused { by_log: true, ..Refused::early(code) }
    }

    /// What Kafka's decompressors say of bytes that are none of theirs is no error of its protocol, nor is a length that never ends.
    fn unreadable(error: &BatchError) -> Refused {
        Refused::by_log(match error {
            BatchError::Compressed { .. } | BatchError::Record { fault: RecordFault::LengthVarint, .. } => {
                ErrorCode::UNKNOWN_SERVER_ERROR
            }
            _ => ErrorCode::INVALID_RECORD,
        })
    }
}

impl Judge<'_> {
    /// What shows in the request: exactly one batch, in a format and a codec that are taken. Gives it without what follows and is no batch.
    pub(crate) fn shape(&self, records: Option<&Bytes>) -> Result<Bytes, Refused> {
        let bytes = records.cloned().unwrap_or_default();
        let Ok(Some(length)) = next_batch(&bytes) else { return Err(Refused::early(ErrorCode::INVALID_RECORD)) };
        if bytes[MAGIC_AT] != MAGIC {
            return Err(Refused::early(ErrorCode::INVALID_RECORD));
        }
        if self.version < ZSTD_SINCE && attributes(&bytes).compression() == Compression::Zstd {
            return Err(Refused::early(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
        }
        match next_batch(&bytes[length..]) {
            Ok(None) => Ok(bytes.slice(..length)),
            Ok(Some(_)) => Err(Refused::early(ErrorCode::INVALID_RECORD)),
            Err(unreadable) => Err(Refused::early(unreadable.code)),
        }
    }

    /// Checks a batch of the right shape.
    pub(crate) fn check(&self, batch: &Bytes) -> Result<CheckedBatch, Refused> {
        let (header, records_crc) = self.check_as_log(batch)?;
        check_claims(&header)?;
        let max_timestamp = self.check_records(&header, batch)?;
        let times = match self.config.timestamp_type {
            topic_config::TimestampType::CreateTime => (TimestampType::CreateTime, max_timestamp),
            topic_config::TimestampType::LogAppendTime => (TimestampType::LogAppendTime, self.now.timestamp()),
        };
        let records = batch.slice(BATCH_HEADER_BYTES..);
        let checked = CheckedBatch { header: with_timestamps(header, times, (records.len(), records_crc)), records };
        recompressed(checked, self.config).map_err(|error| {
            Refused::by_log(match error {
                NotRepacked::Unreadable => ErrorCode::INVALID_RECORD,
                NotRepacked::NoEpoch => ErrorCode::UNKNOWN_SERVER_ERROR,
            })
        })
    }

    /// Base offset, size, checksum, codec. The checksum of the records alone is given too, so that nobody has to sum them again.
    fn check_as_log(&self, batch: &Bytes) -> Result<(BatchHeader, u32), Refused> {
        if batch.first_chunk() != Some(&0_i64.to_be_bytes()) {
            return Err(Refused::by_log(ErrorCode::INVALID_RECORD));
        }
        if batch.len() > usize::try_from(self.config.message_bytes_max).unwrap_or(0) {
            return Err(Refused::early(ErrorCode::MESSAGE_TOO_LARGE));
        }
        let Ok(header) = BatchHeader::read(batch) else { return Err(Refused::early(ErrorCode::CORRUPT_MESSAGE)) };
        let (head, records) = (&batch[SUMMED_FROM..BATCH_HEADER_BYTES], &batch[BATCH_HEADER_BYTES..]);
        let records_crc = crc32c::checksum(records);
        if crc32c::combine(crc32c::checksum(head), records_crc, records.len()) != header.crc {
            return Err(Refused::early(ErrorCode::CORRUPT_MESSAGE));
        }
        match header.attributes.compression() {
            Compression::Unknown(_) => Err(Refused::by_log(ErrorCode::UNKNOWN_SERVER_ERROR)),
            _ => Ok((header, records_crc)),
        }
    }

    /// Reads the records through, compressed ones too; gives their largest timestamp.
    fn check_records(&self, header: &BatchHeader, batch: &Bytes) -> Result<i64, Refused> {
        let view = records::batches(batch.clone()).without_checksums().next().expect("a batch is not empty");
        let view = view.map_err(|error| Refused::unreadable(&error))?;
        let (mut bad, mut is_timely) = (Vec::new(), true);
        let mut max = NO_TIMESTAMP;
        for (index, record) in (0..).zip(view.records().outlines()) {
            let record = record.map_err(|error| Refused::unreadable(&error))?;
            if record.offset != i64::from(index) {
                return Err(Refused::by_log(ErrorCode::INVALID_RECORD));
            }
            max = max.max(record.timestamp);
            if self.config.cleanup.compacts() && record.key_bytes.is_none() {
                bad.push(BadRecord { index, message: self.no_key() });
            } else if let Some(message) = self.fault_of_time(header, &record) {
                is_timely = false;
                bad.push(BadRecord { index, message });
            }
        }
        match (bad.is_empty(), is_timely) {
            (true, _) => Ok(max),
            (false, true) => Err(with_records(ErrorCode::INVALID_RECORD, bad)),
            (false, false) => Err(with_records(ErrorCode::INVALID_TIMESTAMP, bad)),
        }
    }

    fn no_key(&self) -> String {
        let (topic, partition) = self.place;
        format!("Compacted topic cannot accept message without key in topic partition {topic}-{partition}")
    }

    fn fault_of_time(&self, header: &BatchHeader, record: &RecordOutline) -> Option<String> {
        let TopicConfig { timestamp_before_max, timestamp_type, .. } = *self.config;
        let timestamp_after_max = self.timestamp_after_max;
        if timestamp_type == topic_config::TimestampType::CreateTime && record.timestamp != NO_TIMESTAMP {
            let now = self.now.timestamp();
            let age = now.wrapping_sub(record.timestamp);
            let is_bad = age > timestamp_before_max || age.wrapping_neg() > timestamp_after_max;
            return is_bad.then(|| {
                let (from, to) = (now.wrapping_sub(timestamp_before_max), now.wrapping_add(timestamp_after_max));
                let RecordOutline { timestamp, offset, .. } = record;
                format!(
                    "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within [{from}, {to}]"
                )
            });
        }
        (header.attributes.timestamp_type() == TimestampType::LogAppendTime).then(|| {
            let shown = shown_as_kafka(header, record);
            format!(
                "Invalid timestamp type in message {shown}. Producer should not set timestamp type to LogAppendTime."
            )
        })
    }
}

/// Where the next batch ends, as Kafka finds it: none where the bytes end before it does.
pub(crate) fn next_batch(bytes: &[u8]) -> Result<Option<usize>, Unreadable> {
    let Some((_, length)) = bytes.first_chunk::<LENGTH_FROM>().and_then(|start| start.split_last_chunk::<4>()) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    let corrupt = |message| Unreadable { code: ErrorCode::CORRUPT_MESSAGE, message: Some(message) };
    if length < SMALLEST_RECORD {
        let message = format!("Record size {length} is less than the minimum record overhead ({SMALLEST_RECORD})");
        return Err(corrupt(message));
    }
    let Some(magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if *magic > MAGIC {
        return Err(corrupt(format!("Invalid magic found in record: {}", magic.cast_signed())));
    }
    let total = length.checked_add(LENGTH_FROM as i32).and_then(|total| usize::try_from(total).ok());
    // Java's number wraps here, and what follows is no error of its protocol.
    let total = total.ok_or(Unreadable { code: ErrorCode::UNKNOWN_SERVER_ERROR, message: None })?;
    Ok((total <= bytes.len()).then_some(total))
}

/// Bytes that are no batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
}

/// The attributes of a batch of the newest format.
pub(crate) fn attributes(batch: &[u8]) -> Attributes {
    let bytes = batch.get(ATTRIBUTES_AT..).and_then(|rest| rest.first_chunk());
    Attributes(bytes.map_or(0, |bytes| i16::from_be_bytes(*bytes)))
}

/// Whether the bytes are a batch of the newest format.
pub(crate) fn is_newest(batch: &[u8]) -> bool {
    batch.get(MAGIC_AT) == Some(&MAGIC)
}

/// What the header claims: offsets and count that fit, no control batch, a sequence with every producer id.
fn check_claims(header: &BatchHeader) -> Result<(), Refused> {
    let count = i64::from(header.last_offset_delta) + 1;
    let has_count = count > 0 && i64::from(header.record_count) == count;
    let has_sequence = header.producer_id < 0 || header.base_sequence >= 0;
    match has_count && !header.attributes.is_control() && has_sequence {
        true => Ok(()),
        false => Err(Refused::by_log(ErrorCode::INVALID_RECORD)),
    }
}

fn with_records(code: ErrorCode, records: Vec<BadRecord>) -> Refused {
    let message = match code {
        ErrorCode::INVALID_TIMESTAMP => "One or more records have been rejected due to invalid timestamp".to_owned(),
        _ => {
            let shown = |bad: &BadRecord| {
                let message = &bad.message;
                format!("RecordError(batchIndex={}, message='{message}')", bad.index)
            };
            let first: Vec<String> = records.iter().take(3).map(shown).collect();
            format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
                records.len(),
                first.join(", ")
            )
        }
    };
    Refused { message: Some(message), records, ..Refused::by_log(code) }
}

/// A record in the words of Kafka's `toString`.
fn shown_as_kafka(header: &BatchHeader, record: &RecordOutline) -> String {
    let RecordOutline { offset, timestamp, key_bytes, value_bytes } = record;
    let (name, missing) = match header.attributes.compression() {
        Compression::None => ("DefaultRecord", 0),
        _ => ("PartialDefaultRecord", -1),
    };
    let length = |bytes: &Option<usize>| bytes.map_or(missing, |bytes| bytes as i64);
    let (key, value) = (length(key_bytes), length(value_bytes));
    format!("{name}(offset={offset}, timestamp={timestamp}, key={key} bytes, value={value} bytes)")
}

/// Sums the batch again only if its header changes, as Kafka does; bits without a meaning are lost then.
fn with_timestamps(
    header: BatchHeader,
    (kind, max_timestamp): (TimestampType, i64),
    (records_len, records_crc): (usize, u32),
) -> BatchHeader {
    let attributes: Attributes = header.attributes.with_timestamp_type(kind);
    if attributes == header.attributes && max_timestamp == header.max_timestamp {
        return header;
    }
    let attributes = Attributes(attributes.0 & ATTRIBUTES_KNOWN);
    let changed = BatchHeader { attributes, max_timestamp, ..header };
    let sealed = changed.seal(records_len, records_crc);
    BatchHeader::read(&sealed).expect("a sealed header is a header")
}

/// The first Produce version that takes zstd (KIP-110).
pub(crate) const ZSTD_SINCE: i16 = 7;
/// A record without a time of its own; never checked.
const NO_TIMESTAMP: i64 = -1;
/// Where the length of a batch counts from.
const LENGTH_FROM: usize = 12;
const MAGIC_AT: usize = 16;
/// The newest format, and the only one that is taken.
const MAGIC: u8 = 2;
const SUMMED_FROM: usize = 21;
const ATTRIBUTES_AT: usize = 21;
/// Codec, timestamp type, transactional, control, delete horizon.
const ATTRIBUTES_KNOWN: i16 = 0b111_1111;
/// A record of the oldest format without key and value.
const SMALLEST_RECORD: i32 = 14;
