//! Bytes of a batch as a broker sees them, with and without withdrawn records.

use super::*;
use crate::producer::completion::BatchEnd;
use crate::producer::testbed::{CountedMemory, at, read, sealed, stamp};

const VALUES: [&[u8]; 5] = [b"zero", b"one", b"two", b"three", b"four"];

fn values(records: &[milena_wire::records::Record]) -> Vec<&[u8]> {
    records.iter().map(|record| record.value.as_deref().expect("not null")).collect()
}

#[test]
fn the_header_carries_the_stamp_and_its_checksum_covers_both_parts() {
    let memory = CountedMemory::new(usize::MAX);
    let batch = sealed(&memory, 40, &VALUES).claimed(false, stamp(11));
    let (header, records) = read(&batch);
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 0, 11));
    assert_eq!((header.record_count, header.last_offset_delta), (5, 4));
    assert_eq!((header.base_timestamp, header.max_timestamp), (1_000_040, 1_000_040));
    assert_eq!(header.total_bytes(), batch.wire_len());
    assert_eq!(values(&records), VALUES);
}

#[test]
fn packing_ahead_changes_nothing() {
    let memory = CountedMemory::new(usize::MAX);
    let (mut packed, unpacked) = (sealed(&memory, 0, &VALUES), sealed(&memory, 0, &VALUES));
    packed.pack();
    assert_eq!(packed.claimed(false, stamp(1)).header, unpacked.claimed(false, stamp(1)).header);
}

#[test]
fn withdrawn_records_are_taken_out_and_the_others_are_numbered_anew() {
    let memory = CountedMemory::new(usize::MAX);
    let mut batch = sealed(&memory, 0, &VALUES);
    batch.pack();
    let completion = Arc::clone(&batch.completion);
    for index in [0, 3] {
        crate::producer::completion::Delivery::new(Arc::clone(&completion), index).cancel();
    }
    let dropped = completion.claim();
    batch.drop_records(&dropped, &memory);
    assert_eq!(batch.count(), 3);
    let batch = batch.claimed(false, stamp(0));
    let (header, records) = read(&batch);
    assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
    assert_eq!(values(&records), [VALUES[1], VALUES[2], VALUES[4]]);
    completion.settle(BatchEnd::Written { base_offset: Some(0), log_append_time: None });
    Arc::into_inner(batch.body).expect("nobody else holds it").give_back(&memory);
    assert_eq!(memory.held(), 0, "what the rewriting took is given back as well");
}

#[test]
fn the_newest_timestamp_goes_with_the_record_that_had_it() {
    let memory = CountedMemory::new(usize::MAX);
    let mut front = crate::producer::testbed::front();
    for timestamp in [i64::MIN, i64::MAX, 17] {
        let mut record = crate::producer::testbed::value(b"x");
        record.timestamp = Some(timestamp);
        let delivery = crate::producer::testbed::append(&mut front, &memory, 0, record);
        if timestamp == i64::MAX {
            delivery.cancel();
        }
    }
    let mut batch = front.drain().next().expect("one batch");
    let dropped = batch.completion.claim();
    batch.drop_records(&dropped, &memory);
    let (header, records) = read(&batch.claimed(false, stamp(0)));
    assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [i64::MIN, 17]);
    assert_eq!(header.base_timestamp, i64::MIN);
}

#[test]
fn records_withdrawn_by_their_deadline_leave_as_a_prefix() {
    let memory = CountedMemory::new(usize::MAX);
    let mut front = crate::producer::testbed::front();
    for (millis, bytes) in [(0, VALUES[0]), (0, VALUES[1]), (30, VALUES[2])] {
        drop(crate::producer::testbed::append(&mut front, &memory, millis, crate::producer::testbed::value(bytes)));
    }
    let mut batch = front.drain().next().expect("one batch");
    batch.completion.release_due(at(1_000));
    let dropped = batch.completion.claim();
    batch.drop_records(&dropped, &memory);
    assert_eq!(values(&read(&batch.claimed(false, stamp(0))).1), [VALUES[2]]);
}
