//! What compaction makes of one batch.
//!
//! The rules are those of Kafka 4.3. The last record of a key stays, and so does every record that the keys were not looked up for. A tombstone
//! stays until the delete horizon of its batch, which the first compaction that sees it sets (KIP-534). A batch keeps its offsets,
//! sequences and producer, whatever becomes of its records; one that loses all of them goes, unless it is the last of its
//! producer: from that the producer's state is rebuilt.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::{
    Attributes, BatchError, BatchHeader, BatchView, Codec, Compression, Encoding, Packer, Record, TimestampType,
    UNPACKED_BYTES_MAX,
};

/// Where each key was written last, as far as it was looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct LastOffsets {
    /// Its order is never looked at.
    offsets: HashMap<Bytes, i64>,
    bytes: usize,
    /// Records from here on were not looked at.
    pub(super) end: i64,
}

/// What a batch is compacted by.
#[derive(Debug)]
pub(super) struct Cleaning {
    pub(super) last_offsets: LastOffsets,
    /// The last offset of each producer's last batch.
    pub(super) last_of: BTreeMap<i64, i64>,
    /// The wall clock.
    pub(super) now: i64,
    /// `delete.retention.ms`.
    pub(super) delete_retention: i64,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cleaned {
    Same,
    Gone,
    Rewritten(BatchHeader, Bytes),
}

impl LastOffsets {
    /// Takes note of a batch's keys. What cannot be read has none.
    pub(super) fn note(&mut self, batch: &BatchView) {
        for record in batch.records().map_while(Result::ok) {
            if let Some(key) = record.key {
                let (offset, length) = (record.offset, key.len());
                // A copy, so that a key does not keep its whole batch.
                let known = self.offsets.entry(Bytes::copy_from_slice(&key));
                if let std::collections::hash_map::Entry::Vacant(_) = known {
                    self.bytes += length + ENTRY_BYTES;
                }
                known.insert_entry(offset);
            }
        }
        self.end = batch.header.last_offset() + 1;
    }

    /// Whether it takes as much memory as it may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    fn is_last(&self, record: &Record) -> bool {
        let Some(key) = &record.key else { return false };
        self.offsets.get(key).is_none_or(|last| record.offset >= *last)
    }
}

impl Cleaning {
    /// Decides about a batch. One that cannot be read stays as it is.
    pub(super) fn clean(&self, batch: &BatchView, packer: &mut Packer) -> Cleaned {
        let is_last_of_producer = self.last_of.get(&batch.header.producer_id) == Some(&batch.header.last_offset());
        match self.retained(batch) {
            Err(_) => Cleaned::Same,
            Ok(Retained { records, has_tombstone, lost: 0 })
                if !has_tombstone || batch.header.delete_horizon().is_some() =>
            {
                // Nothing was lost, or there was nothing: an empty batch stays while its producer has no later one.
                if records.is_empty() && !is_last_of_producer { Cleaned::Gone } else { Cleaned::Same }
            }
            Ok(retained) if retained.records.is_empty() => {
                if is_last_of_producer {
                    emptied(&batch.header)
                } else {
                    Cleaned::Gone
                }
            }
            Ok(retained) => self.rewritten(&batch.header, &retained, packer),
        }
    }

    fn retained(&self, batch: &BatchView) -> Result<Retained, BatchError> {
        let body = batch.unpacked(UNPACKED_BYTES_MAX)?;
        let keeps_tombstones = batch.header.delete_horizon().is_none_or(|horizon| self.now < horizon);
        let mut retained = Retained::default();
        let mut at = 0;
        for record in batch.records() {
            let record = record?;
            let raw = RawRecord::read(&body, &mut at);
            let is_wanted = self.last_offsets.is_last(&record) && (record.value.is_some() || keeps_tombstones);
            if record.offset >= self.last_offsets.end || is_wanted {
                retained.has_tombstone |= record.value.is_none();
                retained.records.push((record.timestamp, raw));
            } else {
                retained.lost += 1;
            }
        }
        Ok(retained)
    }

    fn rewritten(&self, header: &BatchHeader, retained: &Retained, packer: &mut Packer) -> Cleaned {
        let horizon = match header.delete_horizon() {
            None if retained.has_tombstone => Some(self.now.saturating_add(self.delete_retention)),
            known => known,
        };
        let base_timestamp = horizon.unwrap_or(header.base_timestamp);
        let mut body = Vec::new();
        for (timestamp, raw) in &retained.records {
            raw.write(timestamp.wrapping_sub(base_timestamp), &mut body);
        }
        let newest = retained.records.iter().map(|(timestamp, _)| *timestamp).max().unwrap_or(header.max_timestamp);
        let (compression, body) = packed(header.attributes.compression(), body, packer);
        let attributes = with_horizon(header.attributes.with_compression(compression), horizon.is_some());
        let header = BatchHeader {
            attributes,
            base_timestamp,
            max_timestamp: match header.attributes.timestamp_type() {
                TimestampType::CreateTime => newest,
                TimestampType::LogAppendTime => header.max_timestamp,
            },
            record_count: i32::try_from(retained.records.len()).unwrap_or(i32::MAX),
            ..*header
        };
        sealed(&header, Bytes::from(body))
    }
}

/// What stays of a batch.
#[derive(Default)]
struct Retained {
    /// With their timestamps.
    records: Vec<(i64, RawRecord)>,
    has_tombstone: bool,
    lost: usize,
}

/// As Kafka writes it: everything but the records.
fn emptied(header: &BatchHeader) -> Cleaned {
    let attributes = with_horizon(header.attributes.with_compression(Compression::None), false);
    sealed(&BatchHeader { attributes, base_timestamp: -1, record_count: 0, ..*header }, Bytes::new())
}

fn sealed(header: &BatchHeader, body: Bytes) -> Cleaned {
    let sealed = header.seal(body.len(), crc32c::checksum(&body));
    Cleaned::Rewritten(BatchHeader::read(&sealed).expect("a sealed header is a header"), body)
}

fn with_horizon(attributes: Attributes, is_set: bool) -> Attributes {
    if is_set { Attributes(attributes.0 | DELETE_HORIZON) } else { Attributes(attributes.0 & !DELETE_HORIZON) }
}

/// By the codec that the batch had, unless that makes it no smaller.
fn packed(compression: Compression, body: Vec<u8>, packer: &mut Packer) -> (Compression, Vec<u8>) {
    let codec = match compression {
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
        Compression::None | Compression::Unknown(_) => return (Compression::None, body),
    };
    match packer.pack(Encoding::new(codec), [&body[..]]) {
        Some(packed) => (compression, packed),
        None => (Compression::None, body),
    }
}

/// A record's bytes, but for its length and its timestamp.
struct RawRecord {
    attributes: u8,
    /// Offset delta, key, value and headers.
    rest: Bytes,
}

impl RawRecord {
    /// The record at a position of a body, which was found to be whole; moves the position behind it.
    fn read(body: &Bytes, at: &mut usize) -> RawRecord {
        let length = read_varint(body, at) as usize;
        let end = *at + length;
        let attributes = body[*at];
        *at += 1;
        read_varint(body, at);
        let rest = body.slice(*at..end);
        *at = end;
        RawRecord { attributes, rest }
    }

    fn write(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        let mut timestamp = Vec::with_capacity(VARINT_BYTES_MAX);
        write_varint(timestamp_delta, &mut timestamp);
        write_varint((1 + timestamp.len() + self.rest.len()) as i64, out);
        out.push(self.attributes);
        out.extend_from_slice(&timestamp);
        out.extend_from_slice(&self.rest);
    }
}

fn read_varint(bytes: &[u8], at: &mut usize) -> i64 {
    let mut bits: u64 = 0;
    for index in 0..VARINT_BYTES_MAX {
        let byte = bytes[*at];
        *at += 1;
        bits |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            break;
        }
    }
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

fn write_varint(number: i64, out: &mut Vec<u8>) {
    let mut bits = (number << 1 ^ number >> 63) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

const VARINT_BYTES_MAX: usize = 10;
const DELETE_HORIZON: i16 = 1 << 6;
/// What an entry takes beside its key.
const ENTRY_BYTES: usize = 64;
/// Kafka's `log.cleaner.dedupe.buffer.size`: as many keys as fit are compacted at once, the others the next time.
const BYTES_MAX: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use milena_wire::records::{RecordHeader, RecordLayout, batches};

    const START: i64 = 1_000;

    /// A batch at offset 10 whose records have the keys, values and times given, with one header each.
    fn batch(records: &[(&str, Option<&str>, i64)], compression: Compression) -> BatchView {
        let mut body = Vec::new();
        for (index, (key, value, timestamp)) in (0..).zip(records) {
            let value = value.map(str::as_bytes);
            let headers = [RecordHeader { key: "h", value: Some(b"1") }];
            let layout =
                RecordLayout::new(timestamp - START, index, Some(key.as_bytes()), value.map(<[u8]>::len), &headers);
            layout.expect("it is small").write(value, &mut body);
        }
        let (compression, body) = packed(compression, body, &mut Packer::new());
        let header = BatchHeader {
            base_offset: 10,
            partition_leader_epoch: 3,
            attributes: Attributes::default().with_compression(compression),
            last_offset_delta: records.len() as i32 - 1,
            base_timestamp: START,
            max_timestamp: records.iter().map(|record| record.2).max().expect("there are records"),
            producer_id: 7,
            producer_epoch: 1,
            base_sequence: 5,
            record_count: records.len() as i32,
            ..BatchHeader::default()
        };
        view(&sealed(&header, Bytes::from(body)))
    }

    fn view(cleaned: &Cleaned) -> BatchView {
        let Cleaned::Rewritten(header, body) = cleaned else { panic!("{cleaned:?}") };
        let whole = [&header.write()[..], body].concat();
        batches(Bytes::from(whole)).next().expect("one batch").expect("a whole one, with a checksum that fits")
    }

    fn contents(batch: &BatchView) -> Vec<(i64, String, Option<String>, i64)> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        let records = batch.records().map(|record| record.expect("reads"));
        records
            .map(|record| {
                assert_eq!(record.headers().count(), 1, "headers stay");
                (record.offset, text(record.key.expect("it has one")), record.value.map(text), record.timestamp)
            })
            .collect()
    }

    fn known(keys: &[(&str, i64)], end: i64) -> LastOffsets {
        let offsets = keys.iter().map(|(key, offset)| (Bytes::from(key.to_string()), *offset)).collect();
        LastOffsets { offsets, bytes: 0, end }
    }

    fn clean(batch: &BatchView, last_offsets: &LastOffsets, now: i64, is_last_of_producer: bool) -> Cleaned {
        let last_of = is_last_of_producer.then_some((batch.header.producer_id, batch.header.last_offset()));
        let last_offsets = last_offsets.clone();
        let cleaning = Cleaning { last_offsets, last_of: last_of.into_iter().collect(), now, delete_retention: 500 };
        cleaning.clean(batch, &mut Packer::new())
    }

    #[test]
    fn records_that_were_written_again_go_and_the_rest_keeps_its_place() {
        let records = [("a", Some("1"), 1_000), ("b", Some("2"), 1_900), ("c", Some("3"), 1_005)];
        for compression in
            [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Snappy, Compression::Zstd]
        {
            let long = "x".repeat(300);
            let mut records = records;
            records[2].1 = Some(&long);
            let batch = batch(&records, compression);
            let cleaned = view(&clean(&batch, &known(&[("b", 40), ("c", 12)], 50), 0, false));
            let expected =
                [(10, "a".to_owned(), Some("1".to_owned()), 1_000), (12, "c".to_owned(), Some(long.clone()), 1_005)];
            assert_eq!(contents(&cleaned), expected);
            assert_eq!(cleaned.header.attributes.compression(), compression);
            assert_eq!((cleaned.header.max_timestamp, cleaned.header.record_count), (1_005, 2));
            let same = |header: &BatchHeader| {
                (
                    header.base_offset,
                    header.last_offset(),
                    header.partition_leader_epoch,
                    header.producer_id,
                    header.base_sequence,
                )
            };
            assert_eq!(same(&cleaned.header), same(&batch.header));
        }
    }

    #[test]
    fn batch_that_loses_nothing_is_not_touched() {
        let batch = batch(&[("a", Some("1"), START)], Compression::None);
        assert_eq!(clean(&batch, &known(&[("a", 10)], 50), 0, false), Cleaned::Same);
        assert_eq!(clean(&batch, &known(&[("b", 40)], 50), 0, false), Cleaned::Same);
        assert_eq!(clean(&batch, &known(&[("a", 9)], 10), 0, false), Cleaned::Same, "behind what was looked up");
    }

    #[test]
    fn batch_that_loses_everything_stays_only_as_the_last_of_its_producer() {
        let batch = batch(&[("a", Some("1"), START), ("b", Some("2"), START)], Compression::Gzip);
        let known = known(&[("a", 40), ("b", 41)], 50);
        assert_eq!(clean(&batch, &known, 0, false), Cleaned::Gone);
        let empty = view(&clean(&batch, &known, 0, true));
        assert_eq!(
            (empty.header.record_count, empty.header.last_offset(), empty.header.last_sequence()),
            (0, 11, Some(6))
        );
        assert_eq!(empty.records().count(), 0);
        assert_eq!(clean(&empty, &known, 0, true), Cleaned::Same);
        assert_eq!(clean(&empty, &known, 0, false), Cleaned::Gone, "its producer has a later one by now");
    }

    #[test]
    fn tombstone_goes_once_its_horizon_is_over() {
        let first = batch(&[("a", None, 1_000), ("b", Some("2"), 1_700)], Compression::None);
        let known = known(&[("a", 10), ("b", 11)], 50);
        let marked = view(&clean(&first, &known, 2_000, false));
        assert_eq!(marked.header.delete_horizon(), Some(2_500));
        let both = [(10, "a".to_owned(), None, 1_000), (11, "b".to_owned(), Some("2".to_owned()), 1_700)];
        assert_eq!(contents(&marked), both, "with the times that they had");
        assert_eq!(clean(&marked, &known, 2_499, false), Cleaned::Same);
        let rest = view(&clean(&marked, &known, 2_500, false));
        assert_eq!(contents(&rest), both[1..]);
        assert_eq!(rest.header.delete_horizon(), Some(2_500));
        let alone = batch(&[("a", None, 1_000)], Compression::None);
        let marked = view(&clean(&alone, &known, 2_000, false));
        assert_eq!(clean(&marked, &known, 2_500, false), Cleaned::Gone);
    }

    #[test]
    fn record_without_a_key_goes_and_what_cannot_be_read_stays() {
        let mut body = Vec::new();
        RecordLayout::new(0, 0, None, Some(1), &[]).expect("it is small").write(Some(b"x"), &mut body);
        let header = BatchHeader { base_offset: 10, record_count: 1, ..BatchHeader::default() };
        let keyless = view(&sealed(&header, Bytes::from(body)));
        assert_eq!(clean(&keyless, &known(&[], 50), 0, false), Cleaned::Gone);
        let attributes = Attributes::default().with_compression(Compression::Gzip);
        let unreadable = view(&sealed(&BatchHeader { attributes, ..header }, Bytes::from_static(b"no gzip")));
        assert_eq!(clean(&unreadable, &known(&[], 50), 0, false), Cleaned::Same);
    }
}
