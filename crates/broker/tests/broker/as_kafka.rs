//! What the comparison with a real Kafka (`same_as_kafka`) found, pinned without Java: every assertion here was seen on 4.3.1.

use bytes::Bytes;
use milena_broker::Event;
use milena_wire::frame::encode_request;
use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::Attributes;
use milena_wire::{ErrorCode, Uuid};

use crate::client::{Batch, Bench, START, produce};

fn data(topic: &str, index: i32, records: impl Into<Bytes>) -> TopicProduceData {
    let data = PartitionProduceData { index, records: Some(records.into()), ..Default::default() };
    TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() }
}

/// Topic, partition, code and base offset.
type Row = (String, i32, i16, i64);

/// Every answer, and the words of the first.
fn told(bench: &mut Bench, version: i16, topic_data: Vec<TopicProduceData>) -> (Vec<Row>, Option<String>) {
    let request = ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data, ..Default::default() };
    let answer = bench.ask(version, &request);
    let words = answer.responses[0].partition_responses[0].error_message.as_deref().map(str::to_owned);
    let rows = answer.responses.iter().flat_map(|topic| {
        let row = |it: &milena_wire::messages::produce::response::PartitionProduceResponse| {
            (topic.name.to_string(), it.index, it.error_code, it.base_offset)
        };
        topic.partition_responses.iter().map(row).collect::<Vec<_>>()
    });
    (rows.collect(), words)
}

#[test]
fn topics_and_partitions_that_a_producer_names_twice_are_answered_once() {
    let mut bench = Bench::with_orders(2);
    let twice = vec![
        data("orders", 0, Batch::of(&["lost"])),
        data("orders", 1, Batch::of(&["a"])),
        data("orders", 0, Batch::of(&["kept"])),
    ];
    let (rows, _) = told(&mut bench, 9, twice);
    assert_eq!(rows, [("orders".to_owned(), 0, 0, 0), ("orders".to_owned(), 1, 0, 0)]);
    assert_eq!(bench.values(), ["kept"]);
}

#[test]
fn what_is_no_batch_at_all_fails_the_whole_request_in_kafkas_words() {
    let mut bench = Bench::with_orders(2);
    let mut magic = Batch::of(&["a"]).bytes();
    magic[16] = 3;
    let mut length = Batch::of(&["a"]).bytes();
    length[8..12].copy_from_slice(&13_i32.to_be_bytes());
    for (bytes, words) in [
        (magic, "Invalid magic found in record: 3"),
        (length, "Record size 13 is less than the minimum record overhead (14)"),
    ] {
        let (rows, told) = told(&mut bench, 9, vec![data("orders", 0, bytes), data("orders", 1, Batch::of(&["good"]))]);
        let corrupt = ErrorCode::CORRUPT_MESSAGE.0;
        assert_eq!(rows, [("orders".to_owned(), 0, corrupt, -1), ("orders".to_owned(), 1, corrupt, -1)]);
        assert_eq!(told.as_deref(), Some(words));
    }
    let odd = Batch::of(&["a"]).bytes_with(|header| header.attributes = Attributes(7));
    let both = |odd: Vec<u8>| vec![data("orders", 0, odd), data("orders", 1, Batch::of(&["good"]))];
    let codes = |rows: Vec<Row>| rows.into_iter().map(|row| row.2).collect::<Vec<_>>();
    assert_eq!(codes(told(&mut bench, 6, both(odd.clone())).0), [-1, -1], "old versions fail for all");
    assert_eq!(codes(told(&mut bench, 7, both(odd)).0), [-1, 0], "newer ones for the partition");
}

#[test]
fn what_follows_a_batch_counts_only_if_it_is_one() {
    let mut bench = Bench::with_orders(1);
    let batch = Batch::of(&["a"]).bytes();
    let cut = [&batch[..], &batch[..20]].concat();
    assert_eq!(bench.produced(cut), (ErrorCode::NONE, 0), "a second batch that is cut is left out");
    assert_eq!(bench.produced([&batch[..], &[0; 20]].concat()), (ErrorCode::CORRUPT_MESSAGE, -1));
    assert_eq!(bench.produced([&batch[..], &[0; 11]].concat()), (ErrorCode::NONE, 1));
}

#[test]
fn blamed_records_have_kafkas_words() {
    let mut bench = Bench::with_orders(1);
    let late = START as i64 + 3_600_001;
    let response = bench.produce(Batch::of(&["in time", "late"]).at(&[START as i64, late]));
    assert_eq!(
        response.error_message.as_deref(),
        Some("One or more records have been rejected due to invalid timestamp")
    );
    let blamed = &response.record_errors[0];
    let words = format!(
        "Timestamp {late} of message with offset 1 is out of range. The timestamp should be within [{}, {}]",
        (START as i64).wrapping_sub(i64::MAX),
        START as i64 + 3_600_000,
    );
    assert_eq!((blamed.batch_index, blamed.batch_index_error_message.as_deref()), (1, Some(words.as_str())));
    assert_eq!(response.log_start_offset, 0);
    let corrupt = bench.produce(Batch::of(&["a"]).bytes_with(|header| header.base_offset = 1));
    assert_eq!((corrupt.error_message.as_deref(), corrupt.log_start_offset), (None, 0), "others have none");
}

#[test]
fn bytes_behind_a_request_are_not_looked_at() {
    let mut bench = Bench::with_orders(1);
    let mut frame = encode_request("test", 1, 9, &produce("orders", 0, Batch::of(&["a"]))).expect("it fits");
    frame.extend([1, 2, 3]);
    let connection = bench.connect();
    bench.cluster.handle_frame(bench.now, connection, Bytes::from(frame).slice(4..));
    assert!(matches!(bench.event(), Some(Event::Response { .. })));
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn partitions_that_are_not_there_come_last_in_a_fetch() {
    let mut bench = Bench::with_orders(1);
    bench.produced(Batch::of(&["a"]));
    let partition = |partition, fetch_offset| FetchPartition {
        partition,
        fetch_offset,
        last_fetched_epoch: -1,
        current_leader_epoch: -2,
        partition_max_bytes: 1,
        ..Default::default()
    };
    let topic = |name: &str, partitions| FetchTopic { topic: name.into(), partitions, ..Default::default() };
    let topics = vec![topic("missing", vec![partition(0, 0)]), topic("orders", vec![partition(7, 0), partition(0, 5)])];
    let answer = bench.ask(12, &FetchRequest { isolation_level: 1, topics, ..Default::default() });
    let rows: Vec<_> = answer
        .responses
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|it| {
                (&*topic.topic, it.partition_index, ErrorCode(it.error_code), it.aborted_transactions.is_some())
            })
        })
        .collect();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(
        rows,
        [
            ("orders", 0, ErrorCode::OFFSET_OUT_OF_RANGE, false),
            ("missing", 0, unknown, true),
            ("orders", 7, unknown, true)
        ]
    );
}

#[test]
fn offsets_that_are_asked_for_twice_are_refused_once() {
    let mut bench = Bench::with_orders(2);
    let partition = |partition_index, timestamp| ListOffsetsPartition {
        partition_index,
        timestamp,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topic = |partitions| ListOffsetsTopic { name: "orders".into(), partitions, ..Default::default() };
    let topics = vec![topic(vec![partition(0, -1), partition(1, -7)]), topic(vec![partition(0, -2)])];
    let answer = bench.ask(5, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() });
    assert_eq!(answer.topics.len(), 1);
    let rows: Vec<_> =
        answer.topics[0].partitions.iter().map(|it| (it.partition_index, ErrorCode(it.error_code))).collect();
    assert_eq!(rows, [(0, ErrorCode::INVALID_REQUEST), (1, ErrorCode::UNSUPPORTED_VERSION)]);
}

#[test]
fn metadata_tells_each_topic_once_and_names_count_for_nothing_beside_ids() {
    let mut bench = Bench::with_orders(1);
    let id = bench.topic_id("orders");
    let named = |name: Option<&str>, topic_id| MetadataRequestTopic {
        name: name.map(Into::into),
        topic_id,
        ..Default::default()
    };
    let mut ask = |version, topics| {
        let answer = bench.ask(version, &MetadataRequest { topics: Some(topics), ..Default::default() });
        let codes = answer.topics.iter().map(|topic| ErrorCode(topic.error_code)).collect::<Vec<_>>();
        (codes, answer.brokers.len())
    };
    let orders = || named(Some("orders"), Uuid::ZERO);
    assert_eq!(ask(9, vec![orders(), orders()]), (vec![ErrorCode::NONE], 1));
    assert_eq!(ask(12, vec![named(None, id), named(Some("missing"), Uuid::ZERO)]), (vec![ErrorCode::NONE], 1));
    assert_eq!(
        ask(10, vec![named(None, id)]),
        (vec![ErrorCode::INVALID_REQUEST], 0),
        "the field is there and not served"
    );
    assert_eq!(ask(12, vec![named(None, Uuid::ZERO)]), (vec![ErrorCode::UNKNOWN_SERVER_ERROR], 0));
}

#[test]
fn administrators_are_refused_in_kafkas_words() {
    let mut bench = Bench::with_orders(1);
    let create = |name: &str, num_partitions, replication_factor| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor,
        ..Default::default()
    };
    let topics = vec![create("orders", 1, 1), create("a b", 1, 1), create("none", 0, 1), create("far", 1, 2)];
    let answer = bench.ask(7, &CreateTopicsRequest { topics, timeout_ms: 1_000, ..Default::default() });
    let words: Vec<_> = answer.topics.iter().filter_map(|topic| topic.error_message.as_deref()).collect();
    assert_eq!(
        words,
        [
            "Topic 'orders' already exists.",
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            "Number of partitions was set to an invalid non-positive value.",
            "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
        ]
    );
    let delete = DeleteTopicsRequest { topic_names: vec!["missing".into()], ..Default::default() };
    let deleted = &bench.ask(5, &delete).responses[0];
    assert_eq!(deleted.error_message.as_deref(), Some("This server does not host this topic-partition."));
    let topics = vec![TopicRequest { name: "..".into(), partition_indexes: vec![0], ..Default::default() }];
    let described = bench.ask(0, &DescribeProducersRequest { topics, ..Default::default() });
    let partition = &described.topics[0].partitions[0];
    assert_eq!(ErrorCode(partition.error_code), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(partition.error_message.as_deref(), Some("Topic name is invalid: '..' is not allowed"));
}

#[test]
fn what_is_only_looked_at_has_an_id_that_nothing_has() {
    let mut bench = Bench::new();
    let topics =
        vec![CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() }];
    let request = CreateTopicsRequest { topics, validate_only: true, timeout_ms: 1_000, ..Default::default() };
    assert!(!bench.ask(7, &request).topics[0].topic_id.is_zero());
    assert!(bench.cluster.topic("t").is_none());
}
