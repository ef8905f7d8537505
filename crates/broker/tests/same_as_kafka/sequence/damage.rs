//! Batches that are wrong in one point: header, checksum, length, count, times, bits, records.

use bytes::Bytes;
use milena_wire::records::{BatchHeader, Codec, Compression, Encoding};

use super::Author;
use crate::batches::{Draft, Stamp, seal};
use crate::names;

/// What is wrong with a batch whose length and checksum fit.
#[derive(Clone, Copy, Debug)]
enum Fault {
    CountMore,
    CountLess,
    CountNone,
    CountNegative,
    LastDeltaMore,
    LastDeltaLess,
    BaseOffset,
    LeaderEpoch,
    MaxTimestamp,
    NoTimestamp,
    AppendTime,
    Transactional,
    Control,
    DeleteHorizon,
    UnknownBits,
    UnknownCodec,
    CodecOfPlainRecords,
    EpochWithoutProducer,
    SequenceWithoutProducer,
    ProducerWithoutSequence,
    ProducerWithoutEpoch,
    NegativeProducer,
    Empty,
    RecordShort,
    RecordLong,
    RecordGarbage,
    RecordNegativeLength,
    DeltaGap,
    TrailingRecordBytes,
    PackedGarbage,
    PackedCount,
}

use Fault::*;

const FAULTS: [Fault; 31] = [
    CountMore,
    CountLess,
    CountNone,
    CountNegative,
    LastDeltaMore,
    LastDeltaLess,
    BaseOffset,
    LeaderEpoch,
    MaxTimestamp,
    NoTimestamp,
    AppendTime,
    Transactional,
    Control,
    DeleteHorizon,
    UnknownBits,
    UnknownCodec,
    CodecOfPlainRecords,
    EpochWithoutProducer,
    SequenceWithoutProducer,
    ProducerWithoutSequence,
    ProducerWithoutEpoch,
    NegativeProducer,
    Empty,
    RecordShort,
    RecordLong,
    RecordGarbage,
    RecordNegativeLength,
    DeltaGap,
    TrailingRecordBytes,
    PackedGarbage,
    PackedCount,
];

impl Author<'_> {
    pub(super) fn produce_damaged(&mut self) {
        let Some(at) = self.place() else { return self.create_topics() };
        let slot = self.chance.pick(&self.producers.clone());
        let stamp = match self.chance.below(3) {
            0 => Stamp { producer_id: names::producer_id(slot), epoch: 0, sequence: 0 },
            _ => Stamp::NONE,
        };
        let mut draft = self.draft(stamp, 3);
        if self.chance.below(3) > 0 {
            draft.encoding = None;
        }
        if self.chance.below(4) > 0 {
            let fault = self.chance.pick(&FAULTS);
            let batch = faulty(&draft, fault);
            return self.send(said(fault), at, batch);
        }
        let batch = draft.bytes();
        let (what, batch) = self.damaged(batch);
        self.send(what, at, batch);
    }

    /// Bytes that are not one batch, or whose sum does not fit.
    fn damaged(&mut self, batch: Bytes) -> (&'static str, Bytes) {
        let mut bytes = batch.to_vec();
        let what = match self.chance.below(9) {
            0 => {
                bytes[17] ^= 1;
                "a wrong checksum"
            }
            1 => {
                let last = bytes.len() - 1;
                bytes[last] ^= 0xFF;
                "records that changed on the way"
            }
            2 => {
                bytes[16] = self.chance.pick(&[0, 1, 3, 0xFF]);
                "another magic"
            }
            3 => {
                bytes.truncate(bytes.len() - 1 - self.chance.below(8));
                "a batch that is cut"
            }
            4 => {
                bytes.truncate(self.chance.pick(&[1, 11, 12, 16, 17, 60]));
                "less than a header"
            }
            5 => {
                bytes.extend(vec![0; 1 + self.chance.below(70)]);
                "zeros behind the batch"
            }
            6 => {
                let again = bytes.clone();
                bytes.extend(again);
                "two batches"
            }
            7 => {
                let length = self.chance.pick(&[0, -1, 13, 48, i32::MAX]);
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
                "a length that is none"
            }
            _ => {
                bytes.extend_from_slice(&batch[..20]);
                "a second batch that is cut"
            }
        };
        (what, Bytes::from(bytes))
    }
}

fn faulty(draft: &Draft, fault: Fault) -> Bytes {
    let header = |change: fn(&mut BatchHeader)| draft.bytes_with(change, |_| {});
    let plain = || Draft { encoding: None, ..draft.clone() };
    let body = |change: fn(&mut Vec<u8>)| plain().bytes_with(|_| {}, change);
    match fault {
        CountMore => header(|h| h.record_count += 1),
        CountLess => header(|h| h.record_count -= 1),
        CountNone => header(|h| h.record_count = 0),
        CountNegative => header(|h| h.record_count = -1),
        LastDeltaMore => header(|h| h.last_offset_delta += 1),
        LastDeltaLess => header(|h| h.last_offset_delta -= 1),
        BaseOffset => header(|h| h.base_offset = 17),
        LeaderEpoch => header(|h| h.partition_leader_epoch = 9),
        MaxTimestamp => header(|h| h.max_timestamp += 5),
        NoTimestamp => header(|h| h.max_timestamp = -1),
        AppendTime => header(|h| h.attributes.0 |= 1 << 3),
        Transactional => header(|h| h.attributes.0 |= 1 << 4),
        Control => header(|h| h.attributes.0 |= 1 << 5),
        DeleteHorizon => header(|h| h.attributes.0 |= 1 << 6),
        UnknownBits => header(|h| h.attributes.0 |= 1 << 9),
        UnknownCodec => header(|h| h.attributes.0 |= 0b111),
        CodecOfPlainRecords => {
            plain().bytes_with(|h| h.attributes = h.attributes.with_compression(Compression::Gzip), |_| {})
        }
        EpochWithoutProducer => header(|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (-1, 3, -1)),
        SequenceWithoutProducer => header(|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (-1, -1, 3)),
        ProducerWithoutSequence => header(|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (77, 0, -1)),
        ProducerWithoutEpoch => header(|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (77, -1, 0)),
        NegativeProducer => header(|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (-5, 0, 0)),
        Empty => seal(&BatchHeader { last_offset_delta: 0, record_count: 0, ..draft.header() }, b""),
        RecordShort => body(|b| b.truncate(b.len() - 1)),
        RecordLong => body(|b| b[0] += 4),
        RecordGarbage => body(|b| b[1..].fill(0xFF)),
        RecordNegativeLength => body(|b| b[0] = 1),
        // The second byte is the record's attributes, the third and on its time.
        DeltaGap => plain().bytes_with(|_| {}, |b| shift_deltas(b)),
        TrailingRecordBytes => body(|b| b.extend([0, 0, 0])),
        PackedGarbage => plain().bytes_with(
            |h| h.attributes = h.attributes.with_compression(Compression::from(Codec::Lz4)),
            |b| b.fill(0x55),
        ),
        PackedCount => {
            let packed = Draft { encoding: Some(Encoding::new(Codec::Gzip)), ..packable(draft) };
            packed.bytes_with(|h| h.record_count += 1, |_| {})
        }
    }
}

/// Records that are worth compressing.
fn packable(draft: &Draft) -> Draft {
    let mut draft = draft.clone();
    for record in &mut draft.records {
        record.value = Some(vec![b'p'; 120]);
    }
    draft
}

/// The first record says offset 1: its length, its attributes, its time, then its offset.
fn shift_deltas(body: &mut [u8]) {
    // A length below 64 and a time of 0 take a byte each.
    if body.len() > 3 && body[0] < 0x80 && body[2] == 0 {
        body[3] = 2;
    }
}

fn said(fault: Fault) -> &'static str {
    match fault {
        CountMore => "one record less than the count",
        CountLess => "one record more than the count",
        CountNone => "a count of 0",
        CountNegative => "a negative count",
        LastDeltaMore => "a last offset too high",
        LastDeltaLess => "a last offset too low",
        BaseOffset => "a base offset of its own",
        LeaderEpoch => "a leader epoch of its own",
        MaxTimestamp => "a largest time that no record has",
        NoTimestamp => "a largest time of -1",
        AppendTime => "the bit for the broker's time",
        Transactional => "the transactional bit",
        Control => "the control bit",
        DeleteHorizon => "the delete horizon bit",
        UnknownBits => "a bit without a meaning",
        UnknownCodec => "an unknown codec",
        CodecOfPlainRecords => "a codec that was not used",
        EpochWithoutProducer => "an epoch without a producer id",
        SequenceWithoutProducer => "a sequence without a producer id",
        ProducerWithoutSequence => "a producer id without a sequence",
        ProducerWithoutEpoch => "a producer id without an epoch",
        NegativeProducer => "a negative producer id",
        Empty => "an empty batch",
        RecordShort => "a last record that is cut",
        RecordLong => "a record longer than it says",
        RecordGarbage => "records that are none",
        RecordNegativeLength => "a record of negative length",
        DeltaGap => "offsets that do not ascend by one",
        TrailingRecordBytes => "bytes behind the records",
        PackedGarbage => "what no codec wrote",
        PackedCount => "a compressed record less than the count",
    }
}
