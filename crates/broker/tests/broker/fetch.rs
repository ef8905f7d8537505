//! Fetch: what is read, how much of it, and when.

use std::time::Duration;

use bytes::Bytes;
use milena_broker::Event;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{FetchResponse, PartitionData};
use milena_wire::records::{BatchError, batches};
use milena_wire::{ErrorCode, Uuid};

use crate::client::{Batch, Bench, RETENTION_CHECK, produce};

fn partition(index: i32, offset: i64) -> FetchPartition {
    FetchPartition { partition: index, fetch_offset: offset, partition_max_bytes: 1_000_000, ..Default::default() }
}

fn fetch(partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic { topic: "orders".into(), partitions, ..Default::default() };
    FetchRequest { max_bytes: 1_000_000, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn from(offset: i64) -> FetchRequest {
    fetch(vec![partition(0, offset)])
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

fn values(records: Option<&Bytes>) -> Vec<String> {
    let whole = batches(records.expect("never null").clone()).map_while(Result::ok);
    let text = |value: Bytes| String::from_utf8(value.to_vec()).expect("text");
    whole.flat_map(|batch| batch.records()).map(|r| text(r.expect("reads").value.expect("not null"))).collect()
}

#[test]
fn written_records_are_read_in_every_version() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a", "b"]));
    bench.produced(Batch::of(&["c"]));
    let id = bench.topic_id("orders");
    for version in 4..=18 {
        let mut request = from(0);
        request.topics[0].topic_id = id;
        let response = bench.ask(version, &request);
        let data = only(&response);
        assert_eq!((response.error_code, data.error_code, response.session_id), (0, 0, 0), "version {version}");
        assert_eq!(values(data.records.as_ref()), ["a", "b", "c"]);
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
        assert_eq!((data.aborted_transactions.as_ref(), data.preferred_read_replica), (None, -1));
    }
}

#[test]
fn reading_starts_with_the_batch_that_holds_the_offset() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a", "b"]));
    bench.produced(Batch::of(&["c"]));
    assert_eq!(values(only(&bench.ask(11, &from(1))).records.as_ref()), ["a", "b", "c"]);
    assert_eq!(values(only(&bench.ask(11, &from(2))).records.as_ref()), ["c"]);
    let committed = FetchRequest { isolation_level: 1, ..from(2) };
    let response = bench.ask(11, &committed);
    assert_eq!(only(&response).aborted_transactions, Some(Vec::new()));
}

#[test]
fn offsets_outside_the_log_are_out_of_range() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a", "b"]));
    for offset in [-1, 3, i64::MAX, i64::MIN] {
        let response = bench.ask(11, &FetchRequest { max_wait_ms: 60_000, ..from(offset) });
        let data = only(&response);
        assert_eq!(ErrorCode(data.error_code), ErrorCode::OFFSET_OUT_OF_RANGE, "offset {offset}");
        assert_eq!((data.high_watermark, data.records.as_ref()), (-1, Some(&Bytes::new())));
    }
    assert_eq!(only(&bench.ask(11, &from(2))).error_code, 0, "the end itself is where reading goes on");
}

#[test]
fn unknown_topics_and_partitions_are_told_at_once() {
    let mut bench = Bench::with_orders(1);
    let waiting = |request| FetchRequest { max_wait_ms: 60_000, ..request };
    let response = bench.ask(12, &waiting(fetch(vec![partition(7, 0)])));
    assert_eq!(ErrorCode(only(&response).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut by_id = waiting(from(0));
    by_id.topics[0].topic_id = Uuid([3; 16]);
    assert_eq!(ErrorCode(only(&bench.ask(13, &by_id)).error_code), ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn first_batch_is_whole_whatever_the_limits_and_later_ones_are_cut() {
    let mut bench = Bench::with_orders(2);
    bench.produced(Batch::of(&["first"]));
    bench.produced(Batch::of(&["second"]));
    bench.ask(9, &produce("orders", 1, Batch::of(&["other"])));
    let size = Batch::of(&["first"]).bytes().len() as i32;
    let small = |bytes| FetchPartition { partition_max_bytes: bytes, ..partition(0, 0) };

    let one_byte = bench.ask(11, &fetch(vec![small(1)]));
    assert_eq!(values(only(&one_byte).records.as_ref()), ["first"]);

    let cut = bench.ask(11, &fetch(vec![small(size + 10)]));
    let records = only(&cut).records.clone().expect("never null");
    assert_eq!(records.len() as i32, size + 10);
    let read: Vec<_> = batches(records).collect();
    assert!(matches!(read[..], [Ok(_), Err(BatchError::Incomplete { .. })]));

    let request = FetchRequest { max_bytes: 1, ..fetch(vec![partition(0, 0), partition(1, 0)]) };
    let starved = bench.ask(11, &request);
    let sizes: Vec<_> = starved.responses[0].partitions.iter().map(|p| values(p.records.as_ref())).collect();
    assert_eq!(sizes, [vec!["first".to_owned()], vec![]], "only the first partition passes the limit");

    let request = fetch(vec![partition(1, 0), small(10)]);
    let second = bench.ask(11, &request);
    let lengths: Vec<_> =
        second.responses[0].partitions.iter().map(|p| p.records.as_ref().map_or(0, Bytes::len)).collect();
    assert_eq!(lengths[1], 0, "a later partition gives nothing rather than less than a batch");
}

#[test]
fn fetch_waits_for_data_and_is_answered_when_it_comes() {
    let mut bench = Bench::with_orders(1);
    let reader = bench.connect();
    bench.send(reader, 11, &FetchRequest { max_wait_ms: 500, ..from(0) });
    assert_eq!(bench.event(), None);
    assert_eq!(bench.cluster.poll_timeout(), Some(Duration::from_millis(500)));
    let writer = bench.connect();
    bench.send(writer, 9, &produce("orders", 0, Batch::of(&["a"])));
    let response = bench.response::<FetchRequest>(reader, 11);
    assert_eq!(values(only(&response).records.as_ref()), ["a"]);
    assert_eq!(bench.cluster.poll_timeout(), Some(RETENTION_CHECK));
}

#[test]
fn fetch_that_waits_in_vain_is_answered_empty_on_time() {
    let mut bench = Bench::with_orders(1);
    let reader = bench.connect();
    bench.send(reader, 11, &FetchRequest { max_wait_ms: 500, ..from(0) });
    bench.advance(Duration::from_millis(499));
    assert_eq!(bench.event(), None);
    bench.advance(Duration::from_millis(1));
    let response = bench.response::<FetchRequest>(reader, 11);
    let data = only(&response);
    assert_eq!((data.error_code, data.high_watermark, data.records.as_ref()), (0, 0, Some(&Bytes::new())));
}

#[test]
fn fetch_waits_until_there_are_enough_bytes() {
    let mut bench = Bench::with_orders(2);
    let size = Batch::of(&["a"]).bytes().len() as i32;
    let reader = bench.connect();
    let both = fetch(vec![partition(0, 0), partition(1, 0)]);
    bench.send(reader, 11, &FetchRequest { max_wait_ms: 500, min_bytes: 2 * size, ..both });
    let writer = bench.connect();
    bench.send(writer, 9, &produce("orders", 0, Batch::of(&["a"])));
    assert!(matches!(bench.event(), Some(Event::Response { connection, .. }) if connection == writer));
    assert_eq!(bench.event(), None, "one batch is not enough");
    bench.send(writer, 9, &produce("orders", 1, Batch::of(&["b"])));
    let response = bench.response::<FetchRequest>(reader, 11);
    let read: Vec<_> = response.responses[0].partitions.iter().flat_map(|p| values(p.records.as_ref())).collect();
    assert_eq!(read, ["a", "b"]);
}

#[test]
fn deleted_topic_ends_the_wait() {
    let mut bench = Bench::with_orders(1);
    let reader = bench.connect();
    bench.send(reader, 12, &FetchRequest { max_wait_ms: 60_000, ..from(0) });
    bench.cluster.delete_topic(bench.now, "orders").expect("memory deletes");
    let response = bench.response::<FetchRequest>(reader, 12);
    assert_eq!(ErrorCode(only(&response).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn connection_is_muted_while_its_fetch_waits() {
    let mut bench = Bench::with_orders(1);
    let reader = bench.connect();
    bench.send(reader, 11, &FetchRequest { max_wait_ms: 500, ..from(0) });
    bench.send(reader, 9, &produce("orders", 0, Batch::of(&["a"])));
    assert!(bench.cluster.is_muted(reader));
    assert!(bench.values().is_empty(), "the produce behind it is not served");
    bench.advance(Duration::from_millis(500));
    bench.response::<FetchRequest>(reader, 11);
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn disconnected_reader_waits_for_nothing() {
    let mut bench = Bench::with_orders(1);
    let reader = bench.connect();
    bench.send(reader, 11, &FetchRequest { max_wait_ms: 500, ..from(0) });
    bench.cluster.disconnect(reader);
    assert_eq!(bench.cluster.poll_timeout(), None);
    bench.produced(Batch::of(&["a"]));
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.event(), None);
}

#[test]
fn leader_epochs_of_readers_are_compared() {
    let mut bench = Bench::with_orders(1);
    let mut code = |epoch| {
        let asked = FetchPartition { current_leader_epoch: epoch, ..partition(0, 0) };
        ErrorCode(only(&bench.ask(12, &fetch(vec![asked]))).error_code)
    };
    assert_eq!(code(-1), ErrorCode::NONE);
    assert_eq!(code(0), ErrorCode::NONE);
    assert_eq!(code(1), ErrorCode::UNKNOWN_LEADER_EPOCH);
    // Here, and here only, every negative epoch is none.
    assert_eq!(code(-2), ErrorCode::NONE);
}
