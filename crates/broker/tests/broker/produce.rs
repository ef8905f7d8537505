//! Produce: what is written, what is refused, and what the answer says.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use milena_broker::{CloseReason, Directory, Event, PartitionIndex, ProduceFault, TimestampType, TopicConfig};
use milena_wire::ErrorCode;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::records::{Attributes, Codec, TimestampType as BatchTimestampType};

use crate::client::{Batch, Bench, START, config, produce};
use crate::disk::TestDisk;
use crate::offsets::compressed;

const HOUR: i64 = 3_600_000;

#[test]
fn batches_get_the_next_offsets_in_every_version() {
    let mut bench = Bench::with_orders(1);
    let id = bench.topic_id("orders");
    for (index, version) in (3..=13).enumerate() {
        let mut request = produce("orders", 0, Batch::of(&["a", "b"]));
        request.topic_data[0].topic_id = id;
        let response = bench.ask(version, &request);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, 2 * index as i64), "version {version}");
        assert_eq!(partition.log_append_time_ms, -1);
    }
    assert_eq!(bench.values().len(), 22);
}

#[test]
fn unknown_topics_are_named_by_the_code_that_fits_the_version() {
    let mut bench = Bench::with_orders(1);
    let code = |response: milena_wire::messages::produce::response::ProduceResponse| {
        ErrorCode(response.responses[0].partition_responses[0].error_code)
    };
    let by_name = bench.ask(12, &produce("nothing", 0, Batch::of(&["a"])));
    assert_eq!(code(by_name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let by_id = bench.ask(13, &produce("orders", 0, Batch::of(&["a"])));
    assert_eq!(code(by_id), ErrorCode::UNKNOWN_TOPIC_ID);
    for partition in [1, -1, i32::MAX] {
        let beyond = bench.ask(12, &produce("orders", partition, Batch::of(&["a"])));
        assert_eq!(code(beyond), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[test]
fn one_request_writes_to_many_partitions_each_with_its_own_result() {
    let mut bench = Bench::with_orders(2);
    let mut request = produce("orders", 0, Batch::of(&["left"]));
    let right = produce("orders", 1, Bytes::new());
    request.topic_data[0].partition_data.extend(right.topic_data[0].partition_data.clone());
    let response = bench.ask(9, &request);
    let codes: Vec<_> = response.responses[0].partition_responses.iter().map(|p| (p.index, p.error_code)).collect();
    assert_eq!(codes, [(0, 0), (1, ErrorCode::INVALID_RECORD.0)]);
    assert_eq!(bench.values(), ["left"]);
}

#[test]
fn resent_batch_is_answered_with_the_original_offset_and_timestamp() {
    let mut bench = Bench::with_orders(1);
    let pid = bench.producer_id();
    let first = Batch::stamped(&["a", "b"], pid, 0, 0);
    assert_eq!(bench.produced(first.clone()), (ErrorCode::NONE, 0));
    assert_eq!(bench.produced(Batch::stamped(&["c"], pid, 0, 2)), (ErrorCode::NONE, 2));
    let again = bench.produce(first);
    assert_eq!((again.error_code, again.base_offset, again.log_append_time_ms), (0, 0, START as i64));
    assert_eq!(bench.values(), ["a", "b", "c"]);
}

#[test]
fn other_data_under_a_known_stamp_is_acknowledged_and_not_written() {
    let mut bench = Bench::with_orders(1);
    let pid = bench.producer_id();
    bench.produced(Batch::stamped(&["a"], pid, 0, 0));
    assert_eq!(bench.produced(Batch::stamped(&["other"], pid, 0, 0)), (ErrorCode::NONE, 0));
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn stamps_are_refused_with_kafkas_codes() {
    let mut bench = Bench::with_orders(1);
    let pid = bench.producer_id();
    bench.produced(Batch::stamped(&["a"], pid, 1, 0));
    let gap = Batch::stamped(&["x"], pid, 1, 5);
    assert_eq!(bench.produced(gap), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    let stale = Batch::stamped(&["x"], pid, 0, 1);
    assert_eq!(bench.produced(stale), (ErrorCode::INVALID_PRODUCER_EPOCH, -1));
    let mut transactional = Batch::stamped(&["x"], pid, 1, 1);
    transactional.header.attributes = Attributes::default().with_transactional(true);
    let nobodys = transactional.clone();
    assert_eq!(
        bench.produced(nobodys),
        (ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1),
        "it names no transaction"
    );
    let request = ProduceRequest { transactional_id: Some("t".into()), ..produce("orders", 0, transactional) };
    let partition = bench.ask(9, &request).responses[0].partition_responses[0].clone();
    let told = (ErrorCode(partition.error_code), partition.log_start_offset);
    assert_eq!(told, (ErrorCode::INVALID_PRODUCER_ID_MAPPING, -1), "as Kafka 4.3.1 does where nobody began it");
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn malformed_batches_are_refused_with_kafkas_codes() {
    let mut bench = Bench::with_orders(1);
    let batch = Batch::stamped(&["a", "b"], 5, 0, 0);
    let mut damaged = batch.bytes();
    *damaged.last_mut().expect("not empty") ^= 1;
    let mut old_format = batch.bytes();
    old_format[16] = 1;
    let mut new_format = batch.bytes();
    new_format[16] = 3;
    let two = [batch.bytes(), batch.bytes()].concat();
    let cut = batch.bytes()[..batch.bytes().len() - 1].to_vec();
    let control = batch.bytes_with(|header| header.attributes = header.attributes.with_control(true));
    let rows = [
        ("damaged", damaged, ErrorCode::CORRUPT_MESSAGE),
        ("old format", old_format, ErrorCode::INVALID_RECORD),
        ("new format", new_format, ErrorCode::CORRUPT_MESSAGE),
        ("two batches", two, ErrorCode::INVALID_RECORD),
        ("cut", cut, ErrorCode::INVALID_RECORD),
        ("control", control, ErrorCode::INVALID_RECORD),
        ("empty", Batch::of(&[]).bytes(), ErrorCode::INVALID_RECORD),
        ("nothing", Vec::new(), ErrorCode::INVALID_RECORD),
        ("base offset", batch.bytes_with(|header| header.base_offset = 9), ErrorCode::INVALID_RECORD),
        ("count", batch.bytes_with(|header| header.record_count = 1), ErrorCode::INVALID_RECORD),
        ("last offset", batch.bytes_with(|header| header.last_offset_delta = 7), ErrorCode::INVALID_RECORD),
        ("no sequence", batch.bytes_with(|header| header.base_sequence = -1), ErrorCode::INVALID_RECORD),
        (
            "unknown codec",
            batch.bytes_with(|header| header.attributes = Attributes(5)),
            ErrorCode::UNKNOWN_SERVER_ERROR,
        ),
    ];
    for (name, bytes, code) in rows {
        assert_eq!(bench.produced(bytes), (code, -1), "{name}");
    }
    assert!(bench.values().is_empty());
}

#[test]
fn batch_above_the_topics_limit_is_too_large() {
    let mut bench = Bench::with_orders(1);
    let value = "x".repeat(1_048_588 - 61 - 14);
    let fits = Batch::of(&[&value]);
    let size = fits.bytes().len();
    assert!((1_048_580..=1_048_588).contains(&size), "the test wants a batch at the limit, not {size}");
    assert_eq!(bench.produced(fits).0, ErrorCode::NONE);
    let larger = Batch::of(&[&"x".repeat(1_048_588)]);
    assert_eq!(bench.produced(larger), (ErrorCode::MESSAGE_TOO_LARGE, -1));
}

#[test]
fn timestamps_far_off_the_clock_are_refused_record_by_record() {
    let mut bench = Bench::with_orders(1);
    let now = START as i64;
    let batch = Batch::of(&["in time", "future", "without", "future"]);
    let response = bench.produce(batch.at(&[now + HOUR, now + HOUR + 1, -1, now + 2 * HOUR]));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INVALID_TIMESTAMP);
    let blamed: Vec<_> = response.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(blamed, [1, 3]);
    assert_eq!(bench.produced(Batch::of(&["old"]).at(&[1])).0, ErrorCode::NONE, "the past is not limited by default");
}

#[test]
fn an_appended_batch_sent_again_is_refused_after_the_topics_settings_moved_on() {
    let mut bench = Bench::with_orders(1);
    let pid = bench.producer_id();
    let batch = Batch::stamped(&["a"], pid, 0, 0);
    assert_eq!(bench.produced(batch.clone()), (ErrorCode::NONE, 0));
    let small = TopicConfig { message_bytes_max: 10, ..TopicConfig::default() };
    bench.cluster.alter_topic(bench.now, "orders", small).expect("memory saves");
    assert_eq!(bench.produced(batch.clone()), (ErrorCode::MESSAGE_TOO_LARGE, -1));
    let recent = TopicConfig { timestamp_before_max: 1_000, ..TopicConfig::default() };
    bench.cluster.alter_topic(bench.now, "orders", recent).expect("memory saves");
    bench.advance(std::time::Duration::from_millis(1_001));
    assert_eq!(bench.produced(batch), (ErrorCode::INVALID_TIMESTAMP, -1));
}

#[test]
fn topic_of_append_time_gives_records_the_brokers_clock() {
    let mut bench = Bench::with_orders(1);
    let config = TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..TopicConfig::default() };
    bench.cluster.alter_topic(bench.now, "orders", config).expect("memory saves");
    let far = START as i64 + 100 * HOUR;
    let response = bench.produce(Batch::of(&["a", "b"]).at(&[1, far]));
    assert_eq!((response.error_code, response.log_append_time_ms), (0, START as i64));
    let log = bench.cluster.log("orders", PartitionIndex(0)).expect("it is there");
    let batch = log.read_batch(&log.batches().expect("the log reads")[0]).expect("the checksum fits the new header");
    let timestamps: Vec<_> = batch.records().map(|record| record.expect("reads").timestamp).collect();
    assert_eq!(timestamps, [START as i64; 2]);
}

#[test]
fn batch_that_claims_the_brokers_clock_gets_its_own_type_back() {
    let mut bench = Bench::with_orders(1);
    let claiming = Batch::of(&["a", "b"]).at(&[5, 9]).bytes_with(|header| {
        header.attributes = header.attributes.with_timestamp_type(BatchTimestampType::LogAppendTime);
    });
    assert_eq!(bench.produced(claiming.clone()).0, ErrorCode::NONE, "seen on 4.3.1");
    let log = bench.cluster.log("orders", PartitionIndex(0)).expect("it is there");
    let batch = log.read_batch(&log.batches().expect("the log reads")[0]).expect("the checksum fits the new header");
    assert_eq!(batch.header.attributes.timestamp_type(), BatchTimestampType::CreateTime);
    let config = TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..TopicConfig::default() };
    bench.cluster.alter_topic(bench.now, "orders", config).expect("memory saves");
    let refused = bench.produce(claiming);
    assert_eq!((ErrorCode(refused.error_code), refused.record_errors.len()), (ErrorCode::INVALID_TIMESTAMP, 2));
}

#[test]
fn largest_timestamp_in_the_log_is_that_of_the_records_whatever_the_header_said() {
    let mut bench = Bench::with_orders(1);
    let lying = Batch::of(&["a", "b"]).at(&[5, 9]).bytes_with(|header| header.max_timestamp = 7_777);
    assert_eq!(bench.produced(lying).0, ErrorCode::NONE);
    let log = bench.cluster.log("orders", PartitionIndex(0)).expect("it is there");
    let batch = log.read_batch(&log.batches().expect("the log reads")[0]).expect("the checksum fits the new header");
    assert_eq!(batch.header.max_timestamp, 9);
}

#[test]
fn compressed_batch_is_kept_as_it_came() {
    let mut bench = Bench::with_orders(1);
    let much = Batch::of(&["much of it is the same ".repeat(9).as_str(), "b"]).bytes();
    let gzip = compressed(Codec::Gzip, &much);
    assert_eq!(bench.produced(gzip.clone()).0, ErrorCode::NONE);
    let log = bench.cluster.log("orders", PartitionIndex(0)).expect("it is there");
    let stored = log.read_batch(&log.batches().expect("the log reads")[0]).expect("reads").bytes;
    assert_eq!(stored[16..], gzip[16..]);
    let zstd = compressed(Codec::Zstd, &much);
    let code = |response: milena_wire::messages::produce::response::ProduceResponse| {
        ErrorCode(response.responses[0].partition_responses[0].error_code)
    };
    assert_eq!(code(bench.ask(6, &produce("orders", 0, zstd.clone()))), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(code(bench.ask(7, &produce("orders", 0, zstd))), ErrorCode::NONE);
}

#[test]
fn acks_of_zero_is_not_answered_and_does_not_mute() {
    let mut bench = Bench::with_orders(1);
    let connection = bench.connect();
    for value in ["a", "b"] {
        let request = ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&[value])) };
        bench.send(connection, 9, &request);
    }
    assert_eq!(bench.event(), None);
    assert_eq!(bench.values(), ["a", "b"]);
}

#[test]
fn refusal_under_acks_of_zero_closes_the_connection() {
    let mut bench = Bench::with_orders(1);
    let connection = bench.connect();
    let request = ProduceRequest { acks: 0, ..produce("nothing", 0, Batch::of(&["a"])) };
    bench.send(connection, 9, &request);
    let expected = CloseReason::SilentProduceRefused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(bench.closed(connection), expected);
}

#[test]
fn acks_of_one_writes_and_any_other_number_does_not() {
    let mut bench = Bench::with_orders(1);
    let mut send = |acks| {
        let request = ProduceRequest { acks, ..produce("orders", 0, Batch::of(&["a"])) };
        ErrorCode(bench.ask(9, &request).responses[0].partition_responses[0].error_code)
    };
    assert_eq!(send(1), ErrorCode::NONE);
    assert_eq!(send(2), ErrorCode::INVALID_REQUIRED_ACKS);
    assert_eq!(send(-2), ErrorCode::INVALID_REQUIRED_ACKS);
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn planted_faults_are_used_up_in_order_before_and_after_the_append() {
    let mut bench = Bench::with_orders(1);
    let pid = bench.producer_id();
    let before = ProduceFault { code: ErrorCode::NOT_ENOUGH_REPLICAS, appended: false, times: 2 };
    let after = ProduceFault { code: ErrorCode::REQUEST_TIMED_OUT, appended: true, times: 1 };
    assert!(bench.cluster.plant("orders", PartitionIndex(0), before));
    assert!(bench.cluster.plant("orders", PartitionIndex(0), after));
    assert!(!bench.cluster.plant("orders", PartitionIndex(1), after));
    let batch = Batch::stamped(&["a"], pid, 0, 0);
    assert_eq!(bench.produced(batch.clone()), (ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    assert_eq!(bench.produced(batch.clone()), (ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    assert!(bench.values().is_empty());
    assert_eq!(
        bench.produced(batch.clone()),
        (ErrorCode::REQUEST_TIMED_OUT, 0),
        "the base offset says it is in the log"
    );
    assert_eq!(bench.produced(batch), (ErrorCode::NONE, 0));
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn expired_producer_is_remembered_until_the_next_look() {
    let mut bench = Bench::with_orders(1);
    let pid = bench.producer_id();
    bench.produced(Batch::stamped(&["a"], pid, 0, 0));
    let minute = std::time::Duration::from_secs(60);
    bench.advance(24 * 60 * minute - minute);
    assert_eq!(bench.produced(Batch::stamped(&["x"], pid, 0, 9)).0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    // Looks are ten minutes apart: the one after a day sees an age of exactly a day.
    bench.advance(minute);
    assert_eq!(bench.produced(Batch::stamped(&["b"], pid, 0, 9)).0, ErrorCode::NONE);
}

#[test]
fn second_request_of_a_connection_waits_until_the_first_answer_is_taken() {
    let mut bench = Bench::with_orders(1);
    let connection = bench.connect();
    bench.send_numbered(connection, 9, 1, &produce("orders", 0, Batch::of(&["a"])));
    bench.send_numbered(connection, 9, 2, &produce("orders", 0, Batch::of(&["b"])));
    assert_eq!(bench.values(), ["a"]);
    let number = |event: Option<Event>| match event {
        Some(Event::Response { frame, .. }) => frame[7],
        other => panic!("no answer: {other:?}"),
    };
    assert_eq!(number(bench.event()), 1);
    assert_eq!(bench.values(), ["a", "b"]);
    assert_eq!(number(bench.event()), 2);
    assert_eq!(bench.event(), None);
}

#[test]
fn disconnected_client_leaves_neither_answers_nor_waiting_requests() {
    let mut bench = Bench::with_orders(1);
    let connection = bench.connect();
    bench.send(connection, 9, &produce("orders", 0, Batch::of(&["a"])));
    bench.send(connection, 9, &produce("orders", 0, Batch::of(&["b"])));
    bench.cluster.disconnect(connection);
    bench.send(connection, 9, &produce("orders", 0, Batch::of(&["c"])));
    assert_eq!(bench.event(), None);
    assert_eq!(bench.cluster.connections(), 0);
    assert_eq!(bench.values(), ["a"], "what was served before stays");
}

#[test]
fn full_disk_refuses_and_leaves_log_topics_and_producers_as_they_were() {
    let disk = TestDisk::default();
    let mut bench = Bench::open(config(), Box::new(Directory::on(Arc::new(disk.clone()), Path::new("/data"))));
    bench.cluster.create_topic("orders", 1).expect("there is room");
    let pid = bench.producer_id();
    assert_eq!(bench.produced(Batch::stamped(&["a"], pid, 0, 0)), (ErrorCode::NONE, 0));

    disk.fill(true);
    let next = Batch::stamped(&["b"], pid, 0, 1);
    assert_eq!(bench.produced(next.clone()), (ErrorCode::KAFKA_STORAGE_ERROR, -1));
    let error = bench.cluster.create_topic("more", 1).expect_err("the catalogue cannot be saved");
    assert_eq!(error.code(), ErrorCode::KAFKA_STORAGE_ERROR);
    assert!(bench.cluster.delete_topic(bench.now, "orders").is_err());
    let small = TopicConfig { message_bytes_max: 10, ..TopicConfig::default() };
    assert!(bench.cluster.alter_topic(bench.now, "orders", small).is_err());
    assert_eq!(bench.cluster.topics().count(), 1);
    assert_eq!(bench.values(), ["a"]);

    disk.fill(false);
    assert_eq!(bench.produced(next), (ErrorCode::NONE, 1));
    assert_eq!(bench.values(), ["a", "b"]);
}
