//! Record batches compared with those of the `kafka-protocol` crate, which shares no code with this one.
//!
//! Its headers are a map, so equal header keys are left to the hand-written vectors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dice;

use bytes::{Bytes, BytesMut};
use dice::Dice;
use kafka_protocol::records::{self as oracle, RecordBatchEncoder, RecordEncodeOptions};
use milena_wire::crc32c;
use milena_wire::records::{Attributes, BatchHeader, RecordHeader, RecordLayout, batches};

fn random_records(dice: &mut Dice) -> Vec<oracle::Record> {
    let base = oracle::Record {
        transactional: dice.below(2) == 0,
        control: dice.below(4) == 0,
        delete_horizon: false,
        partition_leader_epoch: dice.roll() as i32,
        producer_id: dice.roll() as i64 >> 1,
        producer_epoch: dice.roll() as i16,
        timestamp_type: oracle::TimestampType::Creation,
        offset: (dice.roll() >> 2) as i64,
        sequence: (dice.roll() as i32 & i32::MAX) >> 1,
        timestamp: (dice.roll() >> 2) as i64,
        key: None,
        value: None,
        headers: Default::default(),
    };
    let timestamp_range = [1, 100, 1 << 20, 1 << 40][dice.below(4)];
    (0..1 + dice.below(100) as i64)
        .map(|index| oracle::Record {
            offset: base.offset + index,
            sequence: base.sequence + index as i32,
            timestamp: base.timestamp + dice.below(timestamp_range) as i64,
            key: nullable(dice),
            value: nullable(dice),
            headers: (0..dice.below(3)).map(|index| (format!("header {index}").into(), nullable(dice))).collect(),
            ..base.clone()
        })
        .collect()
}

fn nullable(dice: &mut Dice) -> Option<Bytes> {
    let len_max = [1, 10, 100, 10_000][dice.below(4)];
    (dice.below(4) > 0).then(|| dice.bytes(len_max).into())
}

fn written_by_us(records: &[oracle::Record]) -> Vec<u8> {
    let first = &records[0];
    let base_timestamp = records.iter().map(|record| record.timestamp).min().unwrap();
    let mut body = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
        let value_len = record.value.as_ref().map(Bytes::len);
        RecordLayout::new(record.timestamp - base_timestamp, index as i32, record.key.as_deref(), value_len, &headers)
            .unwrap()
            .write(record.value.as_deref(), &mut body);
    }
    let header = BatchHeader {
        base_offset: first.offset,
        partition_leader_epoch: first.partition_leader_epoch,
        attributes: Attributes::default().with_transactional(first.transactional).with_control(first.control),
        last_offset_delta: records.len() as i32 - 1,
        base_timestamp,
        max_timestamp: records.iter().map(|record| record.timestamp).max().unwrap(),
        producer_id: first.producer_id,
        producer_epoch: first.producer_epoch,
        base_sequence: first.sequence,
        record_count: records.len() as i32,
        ..BatchHeader::default()
    };
    [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat()
}

#[test]
fn random_batches_are_the_oracles_bytes_and_read_back_as_its_records() {
    let mut compared = 0;
    for seed in 0..300 {
        let records = random_records(&mut Dice(seed));
        let options = RecordEncodeOptions { version: 2, compression: oracle::Compression::None };
        let mut expected = BytesMut::new();
        RecordBatchEncoder::encode(&mut expected, &records, &options).unwrap();
        assert!(written_by_us(&records) == expected, "seed {seed}");

        let mut all = batches(expected.freeze());
        let batch = all.next().unwrap().unwrap();
        assert!(all.next().is_none());
        let mut read = batch.records();
        for expected in &records {
            let record = read.next().unwrap().unwrap();
            assert_eq!((record.offset, record.sequence), (expected.offset, Some(expected.sequence)), "seed {seed}");
            assert_eq!((record.timestamp, &record.key), (expected.timestamp, &expected.key), "seed {seed}");
            assert_eq!(record.value, expected.value, "seed {seed}");
            let headers = record.headers().map(|header| (header.key_text().into_owned(), header.value));
            assert!(headers.eq(expected.headers.iter().map(|(key, value)| (key.to_string(), value.clone()))));
            compared += 1;
        }
        assert!(read.next().is_none());
    }
    assert!(compared > 10_000, "{compared} records compared");
}
