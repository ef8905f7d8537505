//! Fetch sessions (KIP-227): what is remembered of a consumer, and what it is told. What is expected here was seen on Kafka 4.3.1.

use std::time::Duration;

use milena_broker::{ClusterConfig, NodeId, Stop};
use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use milena_wire::messages::fetch::response::FetchResponse;
use milena_wire::{ErrorCode, Uuid};

use crate::client::{Batch, Bench, config, produce};

/// Topic, partition, offset.
type Wanted<'a> = (&'a str, i32, i64);

fn topic_id(bench: &Bench, name: &str) -> Uuid {
    bench.cluster.topic(name).map_or(Uuid([9; 16]), |topic| topic.id())
}

fn request(bench: &Bench, session: (i32, i32), wanted: &[Wanted<'_>], forgotten: &[(&str, i32)]) -> FetchRequest {
    let topic = |(name, partition, offset): &Wanted<'_>| FetchTopic {
        topic: (*name).into(),
        topic_id: topic_id(bench, name),
        partitions: vec![FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: 10_000,
            ..Default::default()
        }],
        ..Default::default()
    };
    let forget = |(name, partition): &(&str, i32)| ForgottenTopic {
        topic: (*name).into(),
        topic_id: topic_id(bench, name),
        partitions: vec![*partition],
        ..Default::default()
    };
    FetchRequest {
        max_bytes: 1_000_000,
        min_bytes: 1,
        session_id: session.0,
        session_epoch: session.1,
        topics: wanted.iter().map(topic).collect(),
        forgotten_topics_data: forgotten.iter().map(forget).collect(),
        ..Default::default()
    }
}

/// Code, session, and of each partition told: index, code, high watermark, bytes of records.
type Told = (ErrorCode, i32, Vec<(i32, ErrorCode, i64, usize)>);

fn told(response: &FetchResponse) -> Told {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions).map(|partition| {
        let bytes = partition.records.as_ref().map_or(0, |records| records.len());
        (partition.partition_index, ErrorCode(partition.error_code), partition.high_watermark, bytes)
    });
    (ErrorCode(response.error_code), response.session_id, partitions.collect())
}

fn fetch(
    bench: &mut Bench,
    version: i16,
    session: (i32, i32),
    wanted: &[Wanted<'_>],
    forgotten: &[(&str, i32)],
) -> Told {
    let request = request(bench, session, wanted, forgotten);
    told(&bench.ask(version, &request))
}

fn write(bench: &mut Bench, partition: i32) -> usize {
    let batch = Batch::of(&["a"]).bytes();
    let size = batch.len();
    let response = bench.ask(9, &produce("orders", partition, batch));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    size
}

const NONE: ErrorCode = ErrorCode::NONE;

#[test]
fn session_tells_only_what_changed_in_every_version() {
    for version in 7..=18 {
        let mut bench = Bench::with_orders(3);
        let size = write(&mut bench, 0);
        let wanted = [("orders", 0, 0), ("orders", 1, 0)];
        let (code, id, first) = fetch(&mut bench, version, (0, 0), &wanted, &[]);
        assert_eq!((code, first), (NONE, vec![(0, NONE, 1, size), (1, NONE, 0, 0)]), "version {version}");
        assert!(id > 0);
        // Nobody said that the first partition's records arrived, so they come again.
        assert_eq!(fetch(&mut bench, version, (id, 1), &[], &[]), (NONE, id, vec![(0, NONE, 1, size)]));
        assert_eq!(fetch(&mut bench, version, (id, 2), &[("orders", 0, 1)], &[]), (NONE, id, vec![]));
        write(&mut bench, 1);
        assert_eq!(fetch(&mut bench, version, (id, 3), &[], &[]), (NONE, id, vec![(1, NONE, 1, size)]));
        let more = [("orders", 1, 1), ("orders", 2, 0)];
        assert_eq!(fetch(&mut bench, version, (id, 4), &more, &[("orders", 0)]), (NONE, id, vec![(2, NONE, 0, 0)]));
        write(&mut bench, 0);
        assert_eq!(fetch(&mut bench, version, (id, 5), &[], &[]), (NONE, id, vec![]), "partition 0 is forgotten");
    }
}

#[test]
fn errors_are_told_every_time_and_what_follows_them_is_told_again() {
    for (version, unknown) in [(12, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), (17, ErrorCode::UNKNOWN_TOPIC_ID)] {
        let mut bench = Bench::with_orders(1);
        let wanted = [("orders", 0, 0), ("orders", 99, 0), ("nope", 0, 0)];
        let (_, id, first) = fetch(&mut bench, version, (0, 0), &wanted, &[]);
        let missing = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let mut absent = vec![(99, missing, -1, 0), (0, unknown, -1, 0)];
        if unknown == ErrorCode::UNKNOWN_TOPIC_ID {
            // Who has no name comes first.
            absent.reverse();
        }
        assert_eq!(first, [vec![(0, NONE, 0, 0)], absent.clone()].concat());
        assert_eq!(fetch(&mut bench, version, (id, 1), &[], &[]).2, absent);
        let forgotten = [("orders", 99), ("nope", 0), ("orders", 77)];
        let out_of_range = fetch(&mut bench, version, (id, 2), &[("orders", 0, 5)], &forgotten);
        assert_eq!(out_of_range.2, [(0, ErrorCode::OFFSET_OUT_OF_RANGE, -1, 0)]);
        assert_eq!(fetch(&mut bench, version, (id, 3), &[("orders", 0, 0)], &[]).2, [(0, NONE, 0, 0)]);
        assert_eq!(fetch(&mut bench, version, (id, 4), &[], &[]).2, []);
    }
}

#[test]
fn requests_out_of_order_and_of_no_session_are_refused() {
    let mut bench = Bench::with_orders(2);
    let (_, id, _) = fetch(&mut bench, 12, (0, 0), &[("orders", 0, 0), ("orders", 1, 0)], &[]);
    assert_eq!(fetch(&mut bench, 12, (id, 1), &[], &[]).0, NONE);
    for epoch in [1, 3, i32::MAX, -2, i32::MIN] {
        let refused = (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0, vec![]);
        assert_eq!(fetch(&mut bench, 12, (id, epoch), &[], &[]), refused, "epoch {epoch}");
    }
    assert_eq!(fetch(&mut bench, 13, (id, 2), &[], &[]).0, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    for (session, epoch) in [(0, 5), (12_345, 1), (12_345, -2), (0, -5), (-7, 1)] {
        let refused = (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0, vec![]);
        assert_eq!(fetch(&mut bench, 12, (session, epoch), &[("orders", 0, 0)], &[]), refused);
    }
    assert_eq!(
        fetch(&mut bench, 12, (id, 2), &[], &[("orders", 0), ("orders", 1)]),
        (NONE, 0, vec![]),
        "it is empty, so it ends"
    );
    assert_eq!(fetch(&mut bench, 12, (id, 3), &[], &[]).0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn full_requests_end_the_session_that_they_name() {
    let mut bench = Bench::with_orders(1);
    let (_, first, _) = fetch(&mut bench, 12, (0, 0), &[("orders", 0, 0)], &[]);
    let (code, second, all) = fetch(&mut bench, 12, (first, 0), &[("orders", 0, 0)], &[]);
    assert_eq!((code, all.len()), (NONE, 1));
    assert!(second > 0 && second != first);
    assert_eq!(fetch(&mut bench, 12, (first, 1), &[], &[]).0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(fetch(&mut bench, 12, (second, -1), &[("orders", 0, 0)], &[]).1, 0);
    assert_eq!(fetch(&mut bench, 12, (second, 1), &[], &[]).0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn partition_named_twice_means_the_last_time() {
    let mut bench = Bench::with_orders(1);
    for epoch in [0, -1] {
        let twice = fetch(&mut bench, 12, (0, epoch), &[("orders", 0, 0), ("orders", 0, 5)], &[]);
        assert_eq!(twice.2, [(0, ErrorCode::OFFSET_OUT_OF_RANGE, -1, 0)]);
    }
}

#[test]
fn session_waits_for_data_and_another_request_meanwhile_takes_it_over() {
    let mut bench = Bench::with_orders(1);
    let (_, id, _) = fetch(&mut bench, 12, (0, 0), &[("orders", 0, 0)], &[]);
    let reader = bench.connect();
    let waiting = FetchRequest { max_wait_ms: 500, ..request(&bench, (id, 1), &[], &[]) };
    bench.send(reader, 12, &waiting);
    assert_eq!(bench.event(), None);
    let other = fetch(&mut bench, 12, (id, 2), &[], &[]);
    assert_eq!(other, (NONE, id, vec![]));
    bench.advance(Duration::from_millis(500));
    let late = told(&bench.response::<FetchRequest>(reader, 12));
    assert_eq!(late, (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0, vec![]));
}

#[test]
fn epochs_begin_anew_after_the_largest() {
    // Two billion requests are too many for a test; that a session counts them is in the other ones.
    let mut bench = Bench::with_orders(1);
    let (_, id, _) = fetch(&mut bench, 12, (0, 0), &[("orders", 0, 0)], &[]);
    for epoch in 1..=1_000 {
        assert_eq!(fetch(&mut bench, 12, (id, epoch), &[], &[]), (NONE, id, vec![]));
    }
}

#[test]
fn sessions_have_so_many_places_and_only_old_ones_are_taken() {
    let mut bench = Bench::with(ClusterConfig { fetch_sessions_max: 2, ..config() });
    bench.cluster.create_topic("orders", 3).expect("the topic is new");
    let one = [("orders", 0, 0)];
    let two = [("orders", 0, 0), ("orders", 1, 0)];
    let small = fetch(&mut bench, 12, (0, 0), &one, &[]).1;
    let other = fetch(&mut bench, 12, (0, 0), &one, &[]).1;
    assert!(small > 0 && other > 0);
    let (code, declined, all) = fetch(&mut bench, 12, (0, 0), &two, &[]);
    assert_eq!((code, declined, all.len()), (NONE, 0, 2), "there is no place, so it is served without");
    // Both are used, and older than two minutes now: a larger one takes the place of a smaller one, an equal one does not.
    for (session, epoch) in [(small, 1), (other, 1)] {
        bench.advance(Duration::from_secs(61));
        assert_eq!(fetch(&mut bench, 12, (session, epoch), &[], &[]).0, NONE);
    }
    assert_eq!(fetch(&mut bench, 12, (0, 0), &one, &[]).1, 0);
    let large = fetch(&mut bench, 12, (0, 0), &two, &[]).1;
    assert!(large > 0);
    let codes = [(small, 2), (other, 2)].map(|session| fetch(&mut bench, 12, session, &[], &[]).0);
    assert_eq!(codes.iter().filter(|code| **code == ErrorCode::FETCH_SESSION_ID_NOT_FOUND).count(), 1, "{codes:?}");
    // One that nobody used for two minutes makes room for any.
    bench.advance(Duration::from_secs(121));
    assert!(fetch(&mut bench, 12, (0, 0), &one, &[]).1 > 0);
}

#[test]
fn sessions_end_with_the_process_and_belong_to_their_node() {
    let mut bench = Bench::of_three();
    let (_, id, _) = fetch(&mut bench, 12, (0, 0), &[("orders", 0, 0)], &[]);
    let next = request(&bench, (id, 1), &[], &[]);
    assert_eq!(ErrorCode(bench.ask_node(2, 12, &next).error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    bench.cluster.stop(bench.now, NodeId(1), Stop::Kill).expect("it has a process");
    bench.cluster.start(bench.now, NodeId(1)).expect("it is stopped");
    assert_eq!(fetch(&mut bench, 12, (id, 1), &[], &[]).0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn partition_that_gave_data_comes_last_next_time() {
    let mut bench = Bench::with_orders(2);
    for partition in [0, 1] {
        write(&mut bench, partition);
    }
    let size = write(&mut bench, 0);
    let first = request(&bench, (0, 0), &[("orders", 0, 0), ("orders", 1, 0)], &[]);
    let limited = |request: FetchRequest| FetchRequest { max_bytes: size as i32, ..request };
    let (_, id, data) = told(&bench.ask(12, &limited(first)));
    assert_eq!(data.iter().map(|it| (it.0, it.3)).collect::<Vec<_>>(), [(0, size), (1, 0)]);
    let next = limited(request(&bench, (id, 1), &[("orders", 0, 1)], &[]));
    let (_, _, data) = told(&bench.ask(12, &next));
    assert_eq!(
        data.iter().map(|it| (it.0, it.3)).collect::<Vec<_>>(),
        [(0, size)],
        "the first request decides on the order"
    );
    let next = limited(request(&bench, (id, 2), &[], &[]));
    let (_, _, data) = told(&bench.ask(12, &next));
    assert_eq!(data.iter().map(|it| (it.0, it.3)).collect::<Vec<_>>(), [(1, size)], "it is the other one's turn");
}

#[test]
fn request_that_leaves_its_session_empty_is_read_without_one() {
    for version in [12, 17] {
        let mut bench = Bench::with_orders(1);
        let size = write(&mut bench, 0);
        let (_, id, _) = fetch(&mut bench, version, (0, 0), &[("orders", 0, 1)], &[]);
        let both = fetch(&mut bench, version, (id, 1), &[("orders", 0, 0)], &[("orders", 0)]);
        assert_eq!(both, (NONE, 0, vec![(0, NONE, 1, size)]), "version {version}");
        assert_eq!(fetch(&mut bench, version, (id, 2), &[], &[]).0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }
}

/// A partition of another topic lay between them, and had nothing to tell; the answer named the topic twice.
#[test]
fn partitions_of_a_topic_stand_together_where_nothing_else_is_told() {
    let mut bench = Bench::with_orders(2);
    let other = CreatableTopic { name: "other".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![other], timeout_ms: 1_000, ..Default::default() };
    assert_eq!(bench.ask(7, &create).topics[0].error_code, 0);
    let wanted = [("orders", 0, 0), ("other", 0, 0), ("orders", 1, 0)];
    let first = request(&bench, (0, 0), &wanted, &[]);
    let id = bench.ask(12, &first).session_id;
    (0..2).for_each(|partition| _ = write(&mut bench, partition));
    let next = request(&bench, (id, 1), &[], &[]);
    let told = bench.ask(12, &next).responses;
    let partitions = told.iter().map(|topic| (&*topic.topic, topic.partitions.len()));
    assert_eq!(partitions.collect::<Vec<_>>(), [("orders", 2)]);
}

#[test]
fn topic_of_another_id_under_a_known_name_is_told_apart_from_one_that_is_gone() {
    let mut bench = Bench::with_orders(2);
    let wanted = [("orders", 0, 0), ("orders", 1, 0)];
    let (_, id, _) = fetch(&mut bench, 17, (0, 0), &wanted, &[]);
    let names = vec!["orders".into()];
    let delete = DeleteTopicsRequest { topic_names: names, timeout_ms: 1_000, ..Default::default() };
    assert_eq!(bench.ask(5, &delete).responses[0].error_code, 0);
    let gone = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(fetch(&mut bench, 17, (id, 1), &[], &[]).2, [(0, gone, -1, 0), (1, gone, -1, 0)]);
    let again =
        CreatableTopic { name: "orders".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![again], timeout_ms: 1_000, ..Default::default() };
    assert_eq!(bench.ask(7, &create).topics[0].error_code, 0);
    let another = ErrorCode::INCONSISTENT_TOPIC_ID;
    assert_eq!(fetch(&mut bench, 17, (id, 2), &[], &[]).2, [(0, another, -1, 0), (1, gone, -1, 0)]);
}
