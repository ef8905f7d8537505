//! Bytes that no client sends: nothing panics, and only the connection that sent them is closed.

use bytes::{Bytes, BytesMut};
use milena_broker::{ConnectionId, Event};
use milena_wire::frame::encode_request;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::metadata::request::MetadataRequest;

use crate::client::{Batch, Bench, produce};

/// xorshift: chance that a seed decides.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Frames of requests that are served, to be damaged.
fn good_frames() -> Vec<Vec<u8>> {
    let fetched = FetchPartition { partition_max_bytes: 100, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![fetched], ..Default::default() };
    let fetch = FetchRequest { max_wait_ms: 10, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let write = produce("orders", 0, Batch::stamped(&["a", "b"], 3, 0, 0));
    let metadata = MetadataRequest { allow_auto_topic_creation: true, ..Default::default() };
    let frames = [
        encode_request("x", 1, 9, &write),
        encode_request("x", 1, 12, &fetch),
        encode_request("x", 1, 9, &metadata),
        encode_request("x", 1, 4, &metadata),
    ];
    frames.into_iter().map(|frame| frame.expect("it fits its version")[4..].to_vec()).collect()
}

/// Hands in a frame on a connection of its own and says how that ended.
fn fate(bench: &mut Bench, frame: &[u8]) -> Option<Event> {
    let connection = bench.connect();
    bench.cluster.handle_frame(bench.now, connection, Bytes::copy_from_slice(frame));
    let event = bench.event();
    bench.cluster.disconnect(connection);
    event
}

fn still_serves(bench: &mut Bench, witness: ConnectionId) {
    bench.send(witness, 4, &MetadataRequest { allow_auto_topic_creation: true, ..Default::default() });
    let metadata = bench.response::<MetadataRequest>(witness, 4);
    assert_eq!(metadata.brokers.len(), 1);
}

#[test]
fn damaged_requests_are_answered_or_end_their_connection() {
    let mut bench = Bench::with_orders(1);
    let witness = bench.connect();
    let mut chance = Chance(4_711);
    let (mut closed, mut answered) = (0, 0);
    for good in good_frames() {
        for _ in 0..5_000 {
            let mut frame = good.clone();
            for _ in 0..=chance.below(3) {
                let at = chance.below(frame.len());
                frame[at] = chance.next() as u8;
            }
            frame.truncate(frame.len() - if chance.below(4) == 0 { chance.below(frame.len()) } else { 0 });
            match fate(&mut bench, &frame) {
                Some(Event::Close { .. }) => closed += 1,
                Some(Event::Response { .. }) => answered += 1,
                None => {}
            }
        }
    }
    assert!(closed > 1_000 && answered > 1_000, "{closed} closed and {answered} answered: the damage is one-sided");
    still_serves(&mut bench, witness);
}

#[test]
fn random_bytes_behind_every_api_and_version_never_panic() {
    let mut bench = Bench::with_orders(1);
    let witness = bench.connect();
    let mut chance = Chance(42);
    for _ in 0..20_000 {
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&(chance.below(70) as i16).to_be_bytes());
        frame.extend_from_slice(&(chance.below(20) as i16).to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, 255, 255, 0]);
        let length = chance.below(200);
        frame.extend((0..length).map(|_| if chance.below(2) == 0 { 0 } else { chance.next() as u8 }));
        fate(&mut bench, &frame);
    }
    still_serves(&mut bench, witness);
}

#[test]
fn random_records_in_good_requests_are_refused() {
    let mut bench = Bench::with_orders(1);
    let mut chance = Chance(7);
    for _ in 0..5_000 {
        let mut batch = Batch::stamped(&["some", "values", "here"], 3, 0, 0).bytes();
        // Behind the checksum's place, so that the batch is damaged for sure.
        let at = 21 + chance.below(batch.len() - 21);
        let before = batch[at];
        batch[at] = batch[at].wrapping_add(1 + chance.below(255) as u8);
        assert_ne!(batch[at], before);
        let response = bench.produce(batch);
        assert_ne!(response.error_code, 0);
    }
    assert!(bench.values().is_empty());
}

#[test]
fn records_that_lie_under_a_right_checksum_never_panic() {
    let mut bench = Bench::with_orders(1);
    let mut chance = Chance(99);
    for _ in 0..20_000 {
        let mut batch = Batch::of(&["some", "values", "here"]).bytes();
        for _ in 0..=chance.below(4) {
            let at = 21 + chance.below(batch.len() - 21);
            batch[at] = chance.next() as u8;
        }
        let crc = milena_wire::crc32c::checksum(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        bench.produce(batch);
    }
    let log = bench.cluster.log("orders", milena_broker::PartitionIndex(0)).expect("it is there");
    let entries = log.batches().expect("the log reads");
    assert!(!entries.is_empty(), "some changes are harmless");
    for entry in &entries {
        log.read_batch(entry).expect("what was taken reads back");
    }
}

/// What librdkafka 2.16 sends when it wants to know all topics. Read as Kafka reads it, the array is null and three bytes are left over.
#[test]
fn bytes_behind_a_request_are_ignored() {
    let mut bench = Bench::with_orders(1);
    let connection = bench.connect();
    let body = b"\0\0\0\0\x01\0\0";
    let frame = [b"\0\x03\0\x0d\0\0\0\0\0\x07rdkafka\0", &body[..]].concat();
    bench.cluster.handle_frame(bench.now, connection, frame.into());
    let metadata = bench.response::<MetadataRequest>(connection, 13);
    assert_eq!(metadata.topics.len(), 1);
}
