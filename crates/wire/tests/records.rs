//! Record batches written and read, against bytes written by hand and read by Kafka's Java client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::{
    BATCH_HEADER_BYTES, BatchError, BatchHeader, BatchView, RECORD_BYTES_MAX, Record, RecordFault, RecordHeader,
    RecordLayout, TimestampType, batches, place_batch, retain, set_log_append_time, validate_produced,
};

/// Header of the batch below: producer 4711, epoch 3, sequence 7, times from 1000 to 1064. The Java client 4.3.1 writes
/// the same bytes.
const HEADER: [u8; BATCH_HEADER_BYTES] = [
    0, 0, 0, 0, 0, 0, 0, 0, // base offset
    0, 0, 0, 0x53, // batch length
    0xff, 0xff, 0xff, 0xff, // partition leader epoch
    2,    // magic
    0x0c, 0x6c, 0x41, 0xd8, // CRC-32C
    0, 0, // attributes
    0, 0, 0, 2, // last offset delta
    0, 0, 0, 0, 0, 0, 3, 0xe8, // base timestamp
    0, 0, 0, 0, 0, 0, 4, 0x28, // max timestamp
    0, 0, 0, 0, 0, 0, 0x12, 0x67, // producer id
    0, 3, // producer epoch
    0, 0, 0, 7, // base sequence
    0, 0, 0, 3, // record count
];

/// Three records: null key; null value with a negative timestamp delta and headers h=1, h=null, g=empty; empty key and
/// empty value with a timestamp delta of two bytes.
const BODY: [u8; 34] = [
    0x0e, 0, 0, 0, 1, 2, b'a', 0, //
    0x22, 0, 1, 2, 2, b'k', 1, 6, 2, b'h', 2, b'1', 2, b'h', 1, 2, b'g', 0, //
    0x0e, 0, 0x80, 1, 4, 0, 0, 0,
];

const HEADERS: [RecordHeader<'static>; 3] = [
    RecordHeader { key: "h", value: Some(b"1") },
    RecordHeader { key: "h", value: None },
    RecordHeader { key: "g", value: Some(b"") },
];

fn whole() -> Bytes {
    [&HEADER[..], &BODY].concat().into()
}

fn header() -> BatchHeader {
    BatchHeader {
        last_offset_delta: 2,
        base_timestamp: 1000,
        max_timestamp: 1064,
        producer_id: 4711,
        producer_epoch: 3,
        base_sequence: 7,
        record_count: 3,
        ..BatchHeader::default()
    }
}

fn body() -> Vec<u8> {
    let mut out = Vec::new();
    RecordLayout::new(0, 0, None, Some(1), &[]).unwrap().write(Some(b"a"), &mut out);
    RecordLayout::new(-1, 1, Some(b"k"), None, &HEADERS).unwrap().write(None, &mut out);
    RecordLayout::new(64, 2, Some(b""), Some(0), &[]).unwrap().write(Some(b""), &mut out);
    out
}

fn batch(header: BatchHeader, body: &[u8]) -> Vec<u8> {
    [&header.seal(body.len(), crc32c::checksum(body))[..], body].concat()
}

fn only_batch(bytes: impl Into<Bytes>) -> BatchView {
    let mut all = batches(bytes.into());
    let batch = all.next().unwrap().unwrap();
    assert!(all.next().is_none());
    batch
}

fn records(batch: &BatchView) -> Vec<Record> {
    batch.records().map(Result::unwrap).collect()
}

fn first_error(bytes: impl Into<Bytes>) -> BatchError {
    let mut all = batches(bytes.into());
    let error = all.next().unwrap().unwrap_err();
    assert!(all.next().is_none(), "nothing follows an error");
    error
}

fn record_error(header: BatchHeader, body: &[u8]) -> BatchError {
    let mut records = only_batch(batch(header, body)).records();
    let error = records.find_map(Result::err).unwrap();
    assert!(records.next().is_none(), "nothing follows an error");
    error
}

fn one_record() -> BatchHeader {
    BatchHeader { record_count: 1, ..BatchHeader::default() }
}

#[test]
fn a_batch_is_written_as_the_java_client_writes_it() {
    assert_eq!(body(), BODY);
    assert_eq!(header().seal(BODY.len(), crc32c::checksum(&BODY)), HEADER);
}

#[test]
fn a_batch_of_the_java_client_is_read_back_field_by_field() {
    let batch = only_batch(whole());
    assert_eq!(batch.bytes, whole());
    assert_eq!(batch.header, BatchHeader { batch_length: 83, crc: 0x0c6c_41d8, ..header() });
    assert_eq!((batch.header.last_offset(), batch.header.last_sequence()), (2, Some(9)));
    let records = records(&batch);
    let seen: Vec<_> = records
        .iter()
        .map(|r| (r.offset, r.timestamp, r.key.as_deref(), r.value.as_deref(), r.sequence, r.headers().len()))
        .collect();
    assert_eq!(
        seen,
        [
            (0, 1000, None, Some(&b"a"[..]), Some(7), 0),
            (1, 999, Some(&b"k"[..]), None, Some(8), 3),
            (2, 1064, Some(&b""[..]), Some(&b""[..]), Some(9), 0),
        ]
    );
}

#[test]
fn equal_header_keys_are_kept_in_their_order() {
    let records = records(&only_batch(whole()));
    let headers: Vec<_> = records[1].headers().collect();
    let seen: Vec<_> = headers.iter().map(|h| (h.key_text(), h.value.as_deref())).collect();
    assert_eq!(seen, HEADERS.map(|h| (h.key.into(), h.value)));
}

#[test]
fn a_header_key_that_is_not_text_does_not_stop_the_record() {
    let body = [0x12, 0, 0, 0, 1, 1, 2, 2, 0xff, 1];
    let records = records(&only_batch(batch(one_record(), &body)));
    let header = records[0].headers().next().unwrap();
    assert_eq!((&header.key[..], &*header.key_text()), (&[0xff][..], "\u{fffd}"));
}

#[test]
fn reading_copies_nothing() {
    let bytes = whole();
    let start = bytes.as_ptr() as usize;
    let within = start..start + bytes.len();
    let records = records(&only_batch(bytes.clone()));
    assert!(within.contains(&(records[0].value.as_ref().unwrap().as_ptr() as usize)));
    assert!(within.contains(&(records[1].key.as_ref().unwrap().as_ptr() as usize)));
    assert!(within.contains(&(records[1].headers().next().unwrap().key.as_ptr() as usize)));
}

#[test]
fn what_is_laid_out_is_what_is_written_for_lengths_around_every_varint_step() {
    let lengths = [0, 1, 63, 64, 65, 8_191, 8_192, 8_193, 1_048_575, 1_048_576, 1_048_577];
    let deltas = [0, 1, -1, 63, 64, -64, -65, 1 << 20, i64::from(i32::MAX), i64::MAX, i64::MIN];
    for (length, delta) in lengths.into_iter().flat_map(|length| deltas.map(|delta| (length, delta))) {
        let bytes = vec![b'v'; length];
        let headers = [RecordHeader { key: "key", value: Some(&bytes) }; 2];
        for (key, value, headers) in [
            (None, Some(&bytes[..]), &[][..]),
            (Some(&bytes[..]), None, &[][..]),
            (Some(&bytes[..]), Some(&bytes[..]), &headers[..usize::from(length < 10_000) * 2]),
        ] {
            let layout = RecordLayout::new(delta, 0, key, value.map(<[u8]>::len), headers).unwrap();
            let mut out = Vec::new();
            layout.write_up_to_value(&mut out);
            out.extend_from_slice(value.unwrap_or_default());
            layout.write_after_value(&mut out);
            assert_eq!(out.len(), layout.total_len());
            let read = records(&only_batch(batch(one_record(), &out)));
            assert_eq!((read[0].key.as_deref(), read[0].value.as_deref()), (key, value));
            assert_eq!(read[0].timestamp, (-1i64).wrapping_add(delta));
            assert_eq!(read[0].headers().len(), headers.len());
        }
    }
}

#[test]
fn a_record_that_no_batch_can_hold_is_refused_with_its_length() {
    // Length field and value length take 5 bytes each, five other fields one each.
    let most = RECORD_BYTES_MAX - 5 - 10;
    let largest = RecordLayout::new(0, 0, None, Some(most), &[]).unwrap();
    assert_eq!(largest.total_len(), RECORD_BYTES_MAX);
    // The head of the largest record alone: its value need not exist to be laid out.
    let mut head = Vec::new();
    largest.write_up_to_value(&mut head);
    assert_eq!(head.len() + most + 1, RECORD_BYTES_MAX);
    for length in [most + 1, i32::MAX as usize, usize::MAX - 8, usize::MAX] {
        let error = RecordLayout::new(0, 0, None, Some(length), &[]).unwrap_err();
        assert!(error.bytes >= length, "{error}");
    }
    let megabyte = vec![0; 1 << 20];
    let headers = vec![RecordHeader { key: "k", value: Some(&megabyte) }; 2048];
    assert!(RecordLayout::new(0, 0, None, None, &headers).is_err());
}

#[test]
fn log_append_time_gives_every_record_the_batchs_time() {
    let mut bytes = whole().to_vec();
    set_log_append_time(&mut bytes, 5_000).unwrap();
    let batch = only_batch(bytes);
    assert_eq!(batch.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert!(records(&batch).iter().all(|record| record.timestamp == 5_000));
}

#[test]
fn placing_a_batch_in_the_log_leaves_its_checksum_right() {
    let mut bytes = whole().to_vec();
    place_batch(&mut bytes, 1 << 40, 9).unwrap();
    let batch = only_batch(bytes);
    assert_eq!((batch.header.base_offset, batch.header.partition_leader_epoch), (1 << 40, 9));
    assert_eq!(records(&batch).iter().map(|r| r.offset - (1 << 40)).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_compacted_batch_keeps_its_gaps_and_may_be_empty() {
    let header = BatchHeader { base_offset: 10, last_offset_delta: 9, record_count: 0, ..header() };
    let mut bytes = batch(header, &[]);
    let gaps = [0x0c, 0, 0, 4, 1, 1, 0, 0x0c, 0, 0, 14, 1, 1, 0];
    bytes.extend(batch(BatchHeader { base_offset: 20, record_count: 2, ..header }, &gaps));
    let all: Vec<_> = batches(bytes.into()).map(Result::unwrap).collect();
    assert_eq!((all[0].records().count(), all[0].header.last_offset()), (0, 19));
    assert_eq!(
        records(&all[1]).iter().map(|r| (r.offset, r.sequence)).collect::<Vec<_>>(),
        [(22, Some(9)), (27, Some(14))]
    );
}

#[test]
fn a_cut_at_any_byte_is_incomplete_and_says_how_much_stands() {
    let two = [whole(), whole()].concat();
    for cut in 0..two.len() {
        let mut all = batches(Bytes::copy_from_slice(&two[..cut]));
        let complete = cut / whole().len();
        for _ in 0..complete {
            assert_eq!(all.next().unwrap().unwrap().bytes, whole());
        }
        assert_eq!(all.consumed(), complete * whole().len());
        match all.next() {
            None => assert_eq!(cut, all.consumed()),
            Some(Err(BatchError::Incomplete { needed, remaining })) => {
                assert_eq!(remaining, cut % whole().len());
                assert!(needed > remaining && needed <= whole().len());
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
        assert!(all.next().is_none());
    }
}

#[test]
fn a_changed_byte_is_detected_wherever_the_checksum_reaches() {
    for at in 0..whole().len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole().to_vec();
            bytes[at] ^= flip;
            let read = batches(bytes.clone().into()).next().unwrap();
            match at {
                // Base offset and leader epoch are the broker's and not covered.
                0..8 => assert!(matches!(read, Ok(_) | Err(BatchError::Offsets { .. })), "byte {at}"),
                12..16 => assert!(read.is_ok(), "byte {at}"),
                16 => assert!(matches!(read, Err(BatchError::Magic { .. }))),
                _ => assert!(read.is_err(), "byte {at}"),
            }
            assert!(validate_produced(&bytes).is_err() || (12..16).contains(&at), "byte {at}");
        }
    }
}

#[test]
fn a_checksum_is_compared_only_when_asked() {
    let mut bytes = whole().to_vec();
    bytes[68] ^= 1;
    let error = BatchError::Checksum { base_offset: 0, stored: 0x0c6c_41d8, computed: crc32c::checksum(&bytes[21..]) };
    assert_eq!(first_error(bytes.clone()), error);
    assert!(batches(bytes.into()).without_checksums().next().unwrap().is_ok());
}

#[test]
fn older_formats_and_impossible_lengths_are_named() {
    for magic in [0, 1, 3, 255] {
        let mut bytes = whole().to_vec();
        bytes[16] = magic;
        assert_eq!(first_error(bytes), BatchError::Magic { base_offset: 0, magic });
    }
    for length in [i32::MIN, -1, 0, 48] {
        let mut bytes = whole().to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(first_error(bytes), BatchError::Length { base_offset: 0, length });
    }
    let mut bytes = whole().to_vec();
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let needed = 12 + i32::MAX as usize;
    assert_eq!(first_error(bytes), BatchError::Incomplete { needed, remaining: whole().len() });
}

#[test]
fn counts_that_the_body_cannot_hold_are_refused() {
    for count in [-1, i32::MIN, 5, 1_000_000, i32::MAX] {
        let error = first_error(batch(BatchHeader { record_count: count, ..header() }, &BODY));
        assert_eq!(error, BatchError::RecordCount { base_offset: 0, count, body_bytes: 34 });
    }
}

#[test]
fn offsets_that_no_log_has_are_refused() {
    for (base_offset, last_offset_delta) in [(-1, 2), (i64::MIN, 2), (0, -1), (i64::MAX, 2)] {
        let error = first_error(batch(BatchHeader { base_offset, last_offset_delta, ..header() }, &BODY));
        assert_eq!(error, BatchError::Offsets { base_offset, last_offset_delta });
    }
}

#[test]
fn a_count_that_differs_from_the_records_is_an_error_at_the_end() {
    let few = record_error(BatchHeader { record_count: 2, ..header() }, &BODY);
    assert_eq!(few, BatchError::TrailingBytes { base_offset: 0, bytes: 8 });
    let many = record_error(BatchHeader { record_count: 4, ..header() }, &BODY);
    assert_eq!(many, BatchError::Record { base_offset: 0, index: 3, fault: RecordFault::Cut });
}

#[test]
fn every_malformed_record_has_its_fault() {
    let table: [(&[u8], RecordFault); 14] = [
        (&[0x10, 0, 0, 0, 1, 1, 0], RecordFault::Cut),
        (&[0x0e, 0, 0, 0, 1, 1, 0, 0], RecordFault::TrailingBytes(1)),
        (&[0x01, 0, 0, 0, 1, 1, 0], RecordFault::Length(-1)),
        (&[0x00, 0, 0, 0, 1, 1, 0], RecordFault::Cut),
        (&[0x0c, 0, 0, 0, 4, 1, 0], RecordFault::Cut),
        (&[0x0c, 0, 0, 0, 1, 4, 0], RecordFault::Cut),
        (&[0x0c, 0, 0, 0, 1, 1, 1], RecordFault::Length(-1)),
        (&[0x0c, 0, 0, 0, 1, 1, 2], RecordFault::Cut),
        (&[0x10, 0, 0, 0, 1, 1, 2, 1, 1], RecordFault::Length(-1)),
        (&[0x0c, 0, 0, 1, 1, 1, 0], RecordFault::OffsetDelta(-1)),
        (&[0x0c, 0, 0, 2, 1, 1, 0], RecordFault::OffsetDelta(1)),
        (&[0x14, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 0], RecordFault::Varint),
        (&[0x14, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, 1, 0], RecordFault::Varint),
        (&[0x1e, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 1, 1, 0], RecordFault::Varint),
    ];
    for (body, fault) in table {
        let error = BatchError::Record { base_offset: 0, index: 0, fault };
        assert_eq!(record_error(one_record(), body), error, "{body:x?}");
    }
}

#[test]
fn a_claim_of_two_billion_headers_is_a_cut_record() {
    let body = [0x14, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    let fault = RecordFault::Cut;
    assert_eq!(record_error(one_record(), &body), BatchError::Record { base_offset: 0, index: 0, fault });
}

/// Java's client takes every negative length of key or value for null, so logs may hold them.
#[test]
fn negative_lengths_of_key_and_value_are_null() {
    let body = [0x0c, 0, 0, 0, 3, 7, 0];
    let records = records(&only_batch(batch(one_record(), &body)));
    assert_eq!((&records[0].key, &records[0].value), (&None, &None));
}

#[test]
fn a_broker_accepts_what_a_producer_may_send() {
    assert_eq!(validate_produced(&whole()).unwrap(), only_batch(whole()).header);
}

#[test]
fn a_broker_refuses_every_mistake_of_a_producer() {
    let with = |change: fn(&mut BatchHeader)| {
        let mut changed = header();
        change(&mut changed);
        validate_produced(&batch(changed, &BODY)).unwrap_err()
    };
    assert_eq!(with(|h| h.record_count = 0), BatchError::Empty);
    assert_eq!(with(|h| h.base_offset = 5), BatchError::BaseOffset { base_offset: 5 });
    assert_eq!(with(|h| h.attributes = h.attributes.with_control(true)), BatchError::Control);
    assert_eq!(with(|h| h.last_offset_delta = 3), BatchError::CountMismatch { count: 3, last_offset_delta: 3 });
    assert_eq!(with(|h| h.base_sequence = -1), BatchError::Sequence { producer_id: 4711, base_sequence: -1 });
    assert!(matches!(
        with(|h| (h.record_count, h.last_offset_delta) = (2, 1)),
        BatchError::TrailingBytes { base_offset: 0, bytes: 8 }
    ));
    let gap = [0x0c, 0, 0, 0, 1, 1, 0, 0x0c, 0, 0, 4, 1, 1, 0, 0x0c, 0, 0, 4, 1, 1, 0];
    let fault = RecordFault::OffsetDelta(2);
    let error = validate_produced(&batch(header(), &gap)).unwrap_err();
    assert_eq!(error, BatchError::Record { base_offset: 0, index: 1, fault });
    let two = [whole(), whole()].concat();
    assert_eq!(validate_produced(&two), Err(BatchError::NotOneBatch { batch_bytes: 95, total_bytes: 190 }));
    assert!(matches!(validate_produced(b""), Err(BatchError::Incomplete { .. })));
}

#[test]
fn a_torn_or_damaged_batch_cannot_be_given_the_brokers_time() {
    let mut torn = whole()[..90].to_vec();
    assert!(matches!(set_log_append_time(&mut torn, 1), Err(BatchError::Incomplete { needed: 95, remaining: 90 })));
    assert!(matches!(place_batch(&mut torn[..60], 1, 1), Err(BatchError::Incomplete { .. })));
    assert_eq!(torn, whole()[..90]);
}

#[test]
fn dropping_records_numbers_the_rest_anew_and_keeps_everything_else() {
    let before = records(&only_batch(whole()));
    for keep in 0..8u32 {
        let kept = |index: u32| keep >> index & 1 == 1;
        let rewritten = retain([&BODY[..]], kept).unwrap();
        let expected: Vec<_> = before.iter().filter(|record| kept(record.offset as u32)).collect();
        assert_eq!(rewritten.record_count as usize, expected.len());
        let largest = expected.iter().map(|record| record.timestamp - 1000).max().unwrap_or(0);
        assert_eq!(rewritten.max_timestamp_delta, largest);
        let count = rewritten.record_count as i32;
        let header = BatchHeader { record_count: count, last_offset_delta: (count - 1).max(0), ..header() };
        let after = records(&only_batch(batch(header, &rewritten.bytes)));
        for (index, (before, after)) in expected.into_iter().zip(&after).enumerate() {
            assert_eq!(after.offset, index as i64);
            assert_eq!((after.timestamp, &after.key, &after.value), (before.timestamp, &before.key, &before.value));
            assert!(after.headers().eq(before.headers()));
        }
        assert_eq!(after.len(), count as usize);
    }
}

#[test]
fn dropping_records_shortens_numbers_and_lengths_that_no_longer_need_two_bytes() {
    // Records 64 and later have two-byte numbers; values of 57 bytes make the record's own length cross the step too.
    let value = [b'v'; 57];
    let mut body = Vec::new();
    for offset in 0..200 {
        RecordLayout::new(0, offset, None, Some(57), &[]).unwrap().write(Some(&value), &mut body);
    }
    let rewritten = retain(body.chunks(13), |index| index >= 150).unwrap();
    let mut expected = Vec::new();
    for offset in 0..50 {
        RecordLayout::new(0, offset, None, Some(57), &[]).unwrap().write(Some(&value), &mut expected);
    }
    assert_eq!((rewritten.record_count, rewritten.bytes), (50, expected));
}

#[test]
fn chunks_may_be_split_anywhere_when_records_are_dropped() {
    let expected = retain([&BODY[..]], |index| index != 1).unwrap();
    for cut in 0..=BODY.len() {
        for second in cut..=BODY.len() {
            let chunks = [&BODY[..cut], &BODY[cut..second], &BODY[second..]];
            assert_eq!(retain(chunks, |index| index != 1).unwrap(), expected);
        }
    }
}

#[test]
fn a_body_whose_numbers_do_not_ascend_is_not_rewritten() {
    let twice = [&BODY[..8], &BODY[..8]].concat();
    let error = BatchError::Record { base_offset: 0, index: 1, fault: RecordFault::OffsetDelta(0) };
    assert_eq!(retain([&twice[..]], |_| true), Err(error));
    assert!(retain([&BODY[..33]], |_| true).is_err());
}
