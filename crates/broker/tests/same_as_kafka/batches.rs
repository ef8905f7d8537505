//! Record batches as a producer writes them, good ones and bad ones, and those in a Fetch answer as values.

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::{
    Attributes, BATCH_HEADER_BYTES, BatchHeader, Compression, Encoding, Packer, RecordHeader, RecordLayout,
    UNPACKED_BYTES_MAX, unpack,
};

/// Who writes, and in which order: a producer id, its epoch, and the sequence of the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub producer_id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl Stamp {
    /// A producer without an id.
    pub const NONE: Stamp = Stamp { producer_id: -1, epoch: -1, sequence: -1 };

    pub fn at(self, sequence: i32) -> Stamp {
        Stamp { sequence, ..self }
    }
}

/// A batch to be.
#[derive(Clone, Debug)]
pub struct Draft {
    pub stamp: Stamp,
    pub records: Vec<RecordDraft>,
    pub encoding: Option<Encoding>,
}

/// A record to be.
#[derive(Clone, Debug)]
pub struct RecordDraft {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(&'static str, Option<&'static [u8]>)>,
}

impl Draft {
    /// The records, not compressed.
    pub fn body(&self) -> Vec<u8> {
        let base = self.base_timestamp();
        let mut body = Vec::new();
        for (index, record) in (0..).zip(&self.records) {
            let headers: Vec<RecordHeader<'_>> =
                record.headers.iter().map(|(key, value)| RecordHeader { key, value: *value }).collect();
            let key = record.key.as_deref();
            let length = record.value.as_ref().map(Vec::len);
            let layout = RecordLayout::new(record.timestamp - base, index, key, length, &headers);
            layout.expect("a record is small").write(record.value.as_deref(), &mut body);
        }
        body
    }

    pub fn header(&self) -> BatchHeader {
        let count = i32::try_from(self.records.len()).expect("a batch is small");
        let codec = self.encoding.map_or(Compression::None, |encoding| encoding.codec().into());
        BatchHeader {
            attributes: Attributes::default().with_compression(codec),
            last_offset_delta: count - 1,
            base_timestamp: self.base_timestamp(),
            max_timestamp: self.records.iter().map(|record| record.timestamp).max().unwrap_or(-1),
            producer_id: self.stamp.producer_id,
            producer_epoch: self.stamp.epoch,
            base_sequence: self.stamp.sequence,
            record_count: count,
            ..Default::default()
        }
    }

    pub fn bytes(&self) -> Bytes {
        self.bytes_with(|_| {}, |_| {})
    }

    /// With a header and a body that say something else than the records do; length and checksum fit.
    pub fn bytes_with(
        &self,
        change_header: impl FnOnce(&mut BatchHeader),
        change_body: impl FnOnce(&mut Vec<u8>),
    ) -> Bytes {
        let mut body = self.body();
        change_body(&mut body);
        if let Some(encoding) = self.encoding {
            body = pack(encoding, &body);
        }
        let mut header = self.header();
        change_header(&mut header);
        seal(&header, &body)
    }

    fn base_timestamp(&self) -> i64 {
        self.records.first().map_or(-1, |record| record.timestamp)
    }
}

/// A header before a body, with the length and the checksum of both.
pub fn seal(header: &BatchHeader, body: &[u8]) -> Bytes {
    let mut bytes = header.seal(body.len(), crc32c::checksum(body)).to_vec();
    bytes.extend_from_slice(body);
    Bytes::from(bytes)
}

fn pack(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    Packer::new().pack(encoding, std::iter::once(body)).expect("what is compressed here repeats itself")
}

/// Gives every batch of these bytes another producer id where `named` knows one. A checksum that fitted fits again; one that did not does not.
pub fn renamed(bytes: &Bytes, named: impl Fn(i64) -> i64) -> Bytes {
    let mut out = bytes.to_vec();
    let mut rest = out.as_mut_slice();
    while rest.len() >= BATCH_HEADER_BYTES && rest[MAGIC_AT] == 2 {
        let length = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
        let total = usize::try_from(length).unwrap_or(0).saturating_add(LENGTH_FROM);
        let end = total.clamp(BATCH_HEADER_BYTES, rest.len());
        let (batch, after) = rest.split_at_mut(end);
        let crc = |batch: &[u8]| crc32c::checksum(&batch[SUMMED_FROM..]).to_be_bytes();
        let fits = crc(batch) == batch[CRC_AT..SUMMED_FROM];
        let mut id = [0; 8];
        id.copy_from_slice(&batch[PRODUCER_AT..PRODUCER_AT + 8]);
        batch[PRODUCER_AT..PRODUCER_AT + 8].copy_from_slice(&named(i64::from_be_bytes(id)).to_be_bytes());
        if fits {
            let sum = crc(batch);
            batch[CRC_AT..SUMMED_FROM].copy_from_slice(&sum);
        }
        rest = after;
    }
    Bytes::from(out)
}

/// What a Fetch answer holds for a partition.
#[derive(Debug)]
#[allow(dead_code)] // Read by `Debug`.
pub struct Fetched {
    batches: Vec<FetchedBatch>,
    /// A batch that was cut.
    rest: Bytes,
}

#[derive(Debug)]
#[allow(dead_code)] // Read by `Debug`.
struct FetchedBatch {
    base_offset: i64,
    partition_leader_epoch: i32,
    checksum_fits: bool,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    record_count: i32,
    body: Bytes,
}

impl Fetched {
    /// `named` gives names for producer ids, which then stand in the rest as well. Where brokers compress for themselves, `unpacks` shows what
    /// they compressed.
    pub fn read(bytes: &Bytes, unpacks: bool, named: impl Fn(i64) -> i64) -> Fetched {
        let mut batches = Vec::new();
        let mut rest = bytes.clone();
        while let Ok(header) = BatchHeader::read(&rest) {
            if header.total_bytes() > rest.len() {
                break;
            }
            let batch = rest.split_to(header.total_bytes());
            let body = batch.slice(BATCH_HEADER_BYTES..);
            let unpacked = unpacks.then(|| unpack(header.attributes.compression(), &body, UNPACKED_BYTES_MAX).ok());
            batches.push(FetchedBatch {
                base_offset: header.base_offset,
                partition_leader_epoch: header.partition_leader_epoch,
                checksum_fits: crc32c::checksum(&batch[SUMMED_FROM..]) == header.crc,
                attributes: header.attributes.0,
                last_offset_delta: header.last_offset_delta,
                base_timestamp: header.base_timestamp,
                max_timestamp: header.max_timestamp,
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                record_count: header.record_count,
                body: unpacked.flatten().map_or(body, Bytes::from),
            });
        }
        Fetched { batches, rest: without_ids(&rest, named) }
    }
}

/// A batch that was cut, without the time of its append and the sum that covers it and the producer id.
fn without_ids(rest: &Bytes, named: impl Fn(i64) -> i64) -> Bytes {
    let mut out = rest.to_vec();
    // Its end may be within the sum.
    out.iter_mut().take(SUMMED_FROM).skip(CRC_AT).for_each(|byte| *byte = 0);
    let has_append_time = out.get(ATTRIBUTES_LOW_AT).is_some_and(|bits| bits & 1 << 3 != 0);
    if has_append_time {
        out.iter_mut().take(PRODUCER_AT).skip(MAX_TIMESTAMP_AT).for_each(|byte| *byte = 0);
    }
    if let Some(id) = out.get_mut(PRODUCER_AT..).and_then(|rest| rest.first_chunk_mut()) {
        *id = named(i64::from_be_bytes(*id)).to_be_bytes();
    }
    Bytes::from(out)
}

const LENGTH_FROM: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const SUMMED_FROM: usize = 21;
const ATTRIBUTES_LOW_AT: usize = 22;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_AT: usize = 43;
