//! ListOffsets and OffsetForLeaderEpoch: places in a log.

use bytes::Bytes;
use milena_wire::ErrorCode;
use milena_wire::crc32c;
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::list_offsets::response::ListOffsetsPartitionResponse;
use milena_wire::messages::offset_for_leader_epoch::request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use milena_wire::records::{BATCH_HEADER_BYTES, BatchHeader, Codec, Encoding, Packer};

use crate::client::{Batch, Bench};

fn list(bench: &mut Bench, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
    list_at_epoch(bench, version, timestamp, -1)
}

fn list_at_epoch(bench: &mut Bench, version: i16, timestamp: i64, epoch: i32) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { current_leader_epoch: epoch, timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    bench.ask(version, &request).topics[0].partitions[0].clone()
}

fn found(response: &ListOffsetsPartitionResponse) -> (i64, i64) {
    assert_eq!(response.error_code, 0);
    (response.offset, response.timestamp)
}

#[test]
fn start_and_end_are_told_in_every_version() {
    let mut bench = Bench::with_orders(1);
    for version in 1..=11 {
        let end = 2 * i64::from(version - 1);
        assert_eq!(found(&list(&mut bench, version, -1)), (end, -1));
        assert_eq!(found(&list(&mut bench, version, -2)), (0, -1));
        if version >= 4 {
            assert_eq!(list(&mut bench, version, -1).leader_epoch, 0);
            assert_eq!(list(&mut bench, version, -2).leader_epoch, 0);
        }
        bench.produced(Batch::of(&["a", "b"]));
    }
}

#[test]
fn time_leads_to_the_first_record_at_or_after_it() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a", "b", "c"]).at(&[10, 30, 20]));
    bench.produced(Batch::of(&["d"]).at(&[5]));
    bench.produced(Batch::of(&["e", "f"]).at(&[40, 30]));
    let rows =
        [(0, (0, 10)), (10, (0, 10)), (11, (1, 30)), (30, (1, 30)), (31, (4, 40)), (40, (4, 40)), (41, (-1, -1))];
    for (timestamp, expected) in rows {
        assert_eq!(found(&list(&mut bench, 7, timestamp)), expected, "from {timestamp}");
    }
    assert_eq!(found(&list(&mut bench, 7, -3)), (4, 40), "the record with the largest timestamp");
}

#[test]
fn empty_log_has_no_record_of_any_time() {
    let mut bench = Bench::with_orders(1);
    assert_eq!(found(&list(&mut bench, 7, 0)), (-1, -1));
    assert_eq!(found(&list(&mut bench, 7, -3)), (-1, -1));
}

#[test]
fn meanings_of_negative_timestamps_begin_with_their_versions() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a"]));
    for (timestamp, since) in [(-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
        let before = list(&mut bench, since - 1, timestamp);
        assert_eq!(ErrorCode(before.error_code), ErrorCode::UNSUPPORTED_VERSION, "{timestamp}");
        assert_eq!(list(&mut bench, since, timestamp).error_code, 0, "{timestamp}");
    }
    assert_eq!(ErrorCode(list(&mut bench, 11, -7).error_code), ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(found(&list(&mut bench, 8, -4)), (0, -1));
    assert_eq!(found(&list(&mut bench, 9, -5)), (-1, -1));
}

#[test]
fn time_inside_a_compressed_batch_is_that_of_its_records() {
    for codec in Codec::ALL {
        let mut bench = Bench::with_orders(1);
        let plain = Batch::of(&["a".repeat(100).as_str(), "b", "c"]).at(&[10, 20, 30]).bytes();
        bench.produced(compressed(codec, &plain));
        assert_eq!(found(&list(&mut bench, 7, 15)), (1, 20), "{codec}");
        assert_eq!(found(&list(&mut bench, 7, 31)), (-1, -1), "{codec}");
    }
}

pub fn compressed(codec: Codec, plain: &[u8]) -> Bytes {
    let mut header = BatchHeader::read(plain).expect("a batch");
    header.attributes = header.attributes.with_compression(codec.into());
    let packed =
        Packer::new().pack(Encoding::new(codec), [&plain[BATCH_HEADER_BYTES..]]).expect("much of it is the same");
    [&header.seal(packed.len(), crc32c::checksum(&packed))[..], &packed].concat().into()
}

#[test]
fn leader_epochs_of_askers_are_compared() {
    let mut bench = Bench::with_orders(1);
    assert_eq!(list_at_epoch(&mut bench, 4, -1, 0).error_code, 0);
    assert_eq!(ErrorCode(list_at_epoch(&mut bench, 4, -1, 1).error_code), ErrorCode::UNKNOWN_LEADER_EPOCH);
}

#[test]
fn current_epoch_ends_where_the_log_does_and_later_ones_are_unknown() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a", "b"]));
    for version in 2..=4 {
        let mut end = |epoch| {
            let partition = OffsetForLeaderPartition { leader_epoch: epoch, ..Default::default() };
            let topic =
                OffsetForLeaderTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
            let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
            let answer = bench.ask(version, &request).topics[0].partitions[0].clone();
            assert_eq!(answer.error_code, 0);
            (answer.leader_epoch, answer.end_offset)
        };
        assert_eq!(end(0), (0, 2));
        assert_eq!((end(1), end(-1)), ((-1, -1), (-1, -1)));
    }
}
