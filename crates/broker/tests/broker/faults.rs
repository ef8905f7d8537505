//! Faults: requests that are refused, closed, lost, late or cut, as often and as long as they were asked for.

use std::time::Duration;

use bytes::Bytes;
use milena_broker::{CloseReason, Effect, Event, Fault, NodeId};
use milena_wire::frame::decode_response;
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::delete_topics::request::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, ErrorCode};

use crate::client::{Batch, Bench, P0, produce};

const BUSY: ErrorCode = ErrorCode::NOT_ENOUGH_REPLICAS;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn with(fault: Fault) -> Bench {
    let mut bench = Bench::with_orders(2);
    bench.cluster.add_fault(bench.now, fault);
    bench
}

/// One request with a batch for each of two partitions; the code and the offset of each, in the order of the answer.
fn produced_to_both(bench: &mut Bench, version: i16) -> Vec<(i32, ErrorCode, i64)> {
    let mut request = produce("orders", 0, Batch::of(&["left"]));
    request.topic_data[0].topic_id = bench.topic_id("orders");
    let right = produce("orders", 1, Batch::of(&["right"]));
    request.topic_data[0].partition_data.extend(right.topic_data[0].partition_data.clone());
    let response = bench.ask(version, &request);
    assert_eq!(response.responses.len(), 1, "one topic was asked for");
    let partitions = response.responses[0].partition_responses.iter();
    let mut told: Vec<_> = partitions.map(|p| (p.index, ErrorCode(p.error_code), p.base_offset)).collect();
    told.sort_by_key(|(index, ..)| *index);
    told
}

fn hits(bench: &Bench) -> Vec<(u64, bool)> {
    bench.cluster.faults(bench.now).map(|entry| (entry.hits, entry.is_over)).collect()
}

#[test]
fn refused_batch_is_not_written_and_its_neighbour_is_in_every_version() {
    for version in 3..=13 {
        let mut bench = with(Fault::refuse(BUSY).api(ApiKey::PRODUCE).partition("orders", 0).once());
        let told = produced_to_both(&mut bench, version);
        assert_eq!(told, [(0, BUSY, -1), (1, ErrorCode::NONE, 0)], "version {version}");
        assert_eq!(bench.cluster.log("orders", P0).expect("it was made").next_offset(), 0);
        assert_eq!(hits(&bench), [(1, true)]);
        let told = produced_to_both(&mut bench, version);
        assert_eq!(told, [(0, ErrorCode::NONE, 0), (1, ErrorCode::NONE, 1)], "it is over");
    }
}

#[test]
fn batch_that_is_refused_afterwards_is_in_the_log_and_has_its_offset() {
    let mut bench = with(Fault::refuse_after(ErrorCode::REQUEST_TIMED_OUT).partition("orders", 0));
    for offset in 0..2 {
        let told = produced_to_both(&mut bench, 13);
        assert_eq!(told, [(0, ErrorCode::REQUEST_TIMED_OUT, offset), (1, ErrorCode::NONE, offset)]);
    }
    assert_eq!(bench.values(), ["left", "left"]);
}

#[test]
fn refusing_waits_for_followers_only_after_the_append() {
    let mut bench = Bench::of_three();
    bench.cluster.lag(bench.now, NodeId(3), Some(millis(200))).expect("it is there");
    bench.cluster.add_fault(bench.now, Fault::refuse(BUSY).api(ApiKey::PRODUCE).once());
    bench.cluster.add_fault(bench.now, Fault::refuse_after(ErrorCode::UNKNOWN_SERVER_ERROR).api(ApiKey::PRODUCE));
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    assert_eq!(bench.answer_to(writer), (BUSY, -1));
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    assert_eq!(bench.event(), None);
    bench.advance(millis(200));
    assert_eq!(bench.answer_to(writer), (ErrorCode::UNKNOWN_SERVER_ERROR, 0));
}

#[test]
fn refused_acks_of_zero_close_the_connection() {
    for (fault, written) in [(Fault::refuse(BUSY), 0), (Fault::refuse_after(BUSY), 1)] {
        let mut bench = with(fault.api(ApiKey::PRODUCE));
        let writer = bench.connect();
        bench.send(writer, 12, &ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&["a"])) });
        assert_eq!(bench.closed(writer), CloseReason::SilentProduceRefused(BUSY));
        assert_eq!(bench.values().len(), written);
    }
}

#[test]
fn fault_fits_api_node_client_topic_and_partition() {
    let mut bench = Bench::of_three();
    bench.cluster.create_topic("other", 1).expect("it is new");
    let fits = [
        Fault::refuse(BUSY).api(ApiKey::PRODUCE).node(1).client("test").partition("orders", 0),
        Fault::refuse(BUSY).topic("orders"),
        Fault::refuse(BUSY),
    ];
    let does_not = [
        Fault::refuse(BUSY).api(ApiKey::FETCH),
        Fault::refuse(BUSY).node(2),
        Fault::refuse(BUSY).client("testing"),
        Fault::refuse(BUSY).partition("orders", 1),
        Fault::refuse(BUSY).topic("other"),
    ];
    for (fault, code) in fits.map(|fault| (fault, BUSY)).into_iter().chain(does_not.map(|f| (f, ErrorCode::NONE))) {
        bench.cluster.clear_faults(bench.now);
        bench.cluster.add_fault(bench.now, fault.clone());
        let writer = bench.send_batch(1, Batch::of(&["a"]));
        assert_eq!(bench.answer_to(writer).0, code, "{fault:?}");
    }
}

#[test]
fn fault_spares_some_hits_some_and_ends_with_its_time() {
    let mut bench = with(Fault::refuse(BUSY).api(ApiKey::PRODUCE).skip(1).times(2));
    let codes: Vec<ErrorCode> = (0..4).map(|_| bench.produced(Batch::of(&["a"])).0).collect();
    assert_eq!(codes, [ErrorCode::NONE, BUSY, BUSY, ErrorCode::NONE]);
    let id = bench.cluster.add_fault(bench.now, Fault::refuse(BUSY).api(ApiKey::PRODUCE).lasting(millis(50)));
    bench.advance(millis(49));
    assert_eq!(bench.produced(Batch::of(&["a"])).0, BUSY);
    bench.advance(millis(1));
    assert_eq!(bench.produced(Batch::of(&["a"])).0, ErrorCode::NONE);
    let entry = bench.cluster.remove_fault(bench.now, id).expect("it was added");
    assert_eq!((entry.hits, entry.is_over), (1, true));
    assert_eq!(bench.cluster.remove_fault(bench.now, id), None);
    assert_eq!((hits(&bench), bench.cluster.fault_hits()), (vec![(2, true)], 3));
}

#[test]
fn of_two_faults_of_a_kind_the_first_hits_and_different_kinds_meet() {
    let mut bench = with(Fault::refuse(BUSY).api(ApiKey::PRODUCE).once());
    bench.cluster.add_fault(bench.now, Fault::refuse(ErrorCode::INVALID_REQUEST).api(ApiKey::PRODUCE));
    bench.cluster.add_fault(bench.now, Fault::throttle(millis(70)).api(ApiKey::PRODUCE));
    bench.cluster.add_fault(bench.now, Fault::delay(millis(30)).api(ApiKey::PRODUCE));
    let writer = bench.connect();
    bench.send(writer, 12, &produce("orders", 0, Batch::of(&["a"])));
    assert_eq!(bench.event(), None);
    bench.advance(millis(30));
    let response = bench.response::<ProduceRequest>(writer, 12);
    assert_eq!(response.throttle_time_ms, 70);
    assert_eq!(ErrorCode(response.responses[0].partition_responses[0].error_code), BUSY);
    assert_eq!(hits(&bench), [(1, true), (0, false), (1, false), (1, false)]);
}

#[test]
fn closed_before_is_not_written_and_closed_after_is() {
    for (fault, written) in [(Fault::close_before(), 0), (Fault::close_after(), 1), (Fault::cut(0), 1)] {
        let mut bench = with(fault.clone().api(ApiKey::PRODUCE));
        let writer = bench.connect();
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&["a"])));
        assert_eq!(bench.closed(writer), CloseReason::Fault);
        assert_eq!((bench.values().len(), bench.event()), (written, None), "{fault:?}");
    }
}

#[test]
fn answer_is_cut_and_the_connection_closed() {
    let mut bench = with(Fault::cut(9));
    let reader = bench.connect();
    bench.send(reader, 12, &MetadataRequest { topics: None, ..Default::default() });
    let Some(Event::Response { frame, .. }) = bench.event() else { panic!("a piece comes") };
    assert_eq!(frame.len(), 9);
    assert_eq!(bench.closed(reader), CloseReason::Fault);
}

#[test]
fn lost_answer_leaves_a_connection_that_says_nothing_more() {
    let mut bench = with(Fault::lose_answer().api(ApiKey::PRODUCE).once());
    let writer = bench.connect();
    for value in ["a", "b"] {
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&[value])));
    }
    bench.send(writer, 12, &produce("orders", 0, Batch::of(&["c"])));
    assert_eq!((bench.event(), bench.values()), (None, vec!["a".to_owned()]));
    assert!(bench.cluster.is_lost(writer));
    assert_eq!(bench.produced(Batch::of(&["d"])), (ErrorCode::NONE, 1), "another connection is served");
    bench.cluster.disconnect(writer);
    assert_eq!(bench.cluster.connections(), 0);
}

#[test]
fn late_answer_holds_up_its_connection_and_no_other() {
    let mut bench = with(Fault::delay(millis(100)).api(ApiKey::PRODUCE).once());
    let writer = bench.connect();
    for value in ["a", "b"] {
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&[value])));
    }
    assert_eq!((bench.event(), bench.values()), (None, vec!["a".to_owned()]));
    assert_eq!(bench.produced(Batch::of(&["c"])), (ErrorCode::NONE, 1));
    bench.advance(millis(99));
    assert_eq!(bench.event(), None);
    bench.advance(millis(1));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 2));
}

/// There is no answer to hold back, and yet a client that sends on meets a broker that is late.
#[test]
fn delay_mutes_a_connection_also_where_nothing_is_answered() {
    let silent = |value| ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&[value])) };
    let mut bench = with(Fault::delay(millis(100)).api(ApiKey::PRODUCE).once());
    let writer = bench.connect();
    bench.send(writer, 12, &silent("a"));
    bench.send(writer, 12, &silent("b"));
    assert_eq!(bench.values(), ["a"]);
    bench.advance(millis(99));
    assert_eq!((bench.event(), bench.values().len()), (None, 1));
    bench.advance(millis(1));
    assert_eq!((bench.event(), bench.values()), (None, vec!["a".to_owned(), "b".to_owned()]));
    // What else a fault wants comes after the delay, too.
    for (fault, reason) in [
        (Fault::refuse_after(BUSY), Some(CloseReason::SilentProduceRefused(BUSY))),
        (Fault::close_after(), Some(CloseReason::Fault)),
        (Fault::lose_answer(), None),
    ] {
        bench.cluster.add_fault(bench.now, Fault::delay(millis(100)).once());
        bench.cluster.add_fault(bench.now, fault.once());
        let writer = bench.connect();
        bench.send(writer, 12, &silent("c"));
        assert_eq!(bench.event(), None);
        bench.advance(millis(100));
        match reason {
            Some(reason) => assert_eq!(bench.closed(writer), reason),
            None => assert!(bench.cluster.is_lost(writer)),
        }
    }
}

#[test]
fn what_a_removed_fault_holds_goes_out_at_once() {
    let mut bench = Bench::of_three();
    let day = millis(86_400_000);
    for clears in [false, true] {
        let delay = bench.cluster.add_fault(bench.now, Fault::delay(day).api(ApiKey::PRODUCE));
        let writer = bench.send_batch(1, Batch::of(&["a"]));
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&["b"])));
        // This one waits for a follower, and would be held afterwards.
        bench.cluster.lag(bench.now, NodeId(3), Some(millis(200))).expect("it is there");
        let parked = bench.send_batch(1, Batch::of(&["c"]));
        bench.cluster.add_fault(bench.now, Fault::lose_answer().client("nobody"));
        assert_eq!(bench.event(), None);
        if clears {
            bench.cluster.clear_faults(bench.now);
        } else {
            assert_eq!(bench.cluster.remove_fault(bench.now, delay).map(|entry| entry.hits), Some(2));
        }
        assert_eq!(bench.answer_to(writer).0, ErrorCode::NONE);
        bench.cluster.lag(bench.now, NodeId(3), None).expect("it is there");
        for waiting in [writer, parked] {
            assert_eq!(bench.answer_to(waiting).0, ErrorCode::NONE);
        }
    }
}

#[test]
fn late_answer_of_a_frozen_node_waits_for_the_thaw_and_a_stopped_one_never_comes() {
    let mut bench = Bench::of_three();
    bench.cluster.add_fault(bench.now, Fault::delay(millis(100)).api(ApiKey::PRODUCE).times(2));
    let writer = bench.send_batch(1, Batch::of(&["a"]));
    bench.cluster.freeze(bench.now, NodeId(1)).expect("it runs");
    bench.advance(millis(150));
    assert_eq!(bench.event(), None);
    bench.cluster.thaw(bench.now, NodeId(1)).expect("it is frozen");
    assert_eq!(bench.answer_to(writer), (ErrorCode::NONE, 0));
    let writer = bench.send_batch(1, Batch::of(&["b"]));
    bench.cluster.stop(bench.now, NodeId(1), milena_broker::Stop::Kill).expect("it has a process");
    let closed = std::iter::from_fn(|| bench.event());
    assert!(
        closed.into_iter().any(|event| event == Event::Close { connection: writer, reason: CloseReason::NodeStopped })
    );
    bench.advance(millis(100));
    assert_eq!(bench.event(), None);
}

#[test]
fn answers_of_every_other_api_carry_the_code_where_clients_look_for_it() {
    let mut bench = with(Fault::refuse(BUSY));
    let id = bench.topic_id("orders");
    for version in 0..=13 {
        let (name, topic_id) = if version < 12 { (Some("orders".into()), Default::default()) } else { (None, id) };
        let asked = MetadataRequestTopic { topic_id, name, ..Default::default() };
        let answer = bench.ask(version, &MetadataRequest { topics: Some(vec![asked]), ..Default::default() });
        assert_eq!((answer.topics.len(), answer.topics[0].error_code), (1, BUSY.0), "Metadata {version}");
        assert!(!answer.brokers.is_empty(), "the rest is told");
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let answer = bench.ask(version, &MetadataRequest { topics: all, ..Default::default() });
        assert_eq!(answer.topics[0].error_code, BUSY.0, "Metadata {version}");
    }
    for version in 1..=11 {
        let partitions = vec![ListOffsetsPartition { partition_index: 1, timestamp: -1, ..Default::default() }];
        let topics = vec![ListOffsetsTopic { name: "orders".into(), partitions, ..Default::default() }];
        let answer = bench.ask(version, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() });
        assert_eq!(answer.topics[0].partitions[0].error_code, BUSY.0, "ListOffsets {version}");
        assert_eq!((answer.topics.len(), answer.topics[0].partitions.len()), (1, 1));
    }
    for version in 4..=18 {
        let partitions = vec![FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() }];
        let (topic, topic_id) = if version < 13 { ("orders", Default::default()) } else { ("", id) };
        let topics = vec![FetchTopic { topic: topic.into(), topic_id, partitions, ..Default::default() }];
        let patient = FetchRequest {
            max_wait_ms: 60_000,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let answer = bench.ask(version, &patient);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (BUSY.0, -1), "Fetch {version}, at once");
    }
    for version in 0..=4 {
        let (key, coordinator_keys) =
            if version < 4 { ("g".into(), Vec::new()) } else { ("".into(), vec!["g".into()]) };
        let answer = bench.ask(version, &FindCoordinatorRequest { key, coordinator_keys, ..Default::default() });
        let code = answer.coordinators.first().map_or(answer.error_code, |coordinator| coordinator.error_code);
        assert_eq!(code, BUSY.0, "FindCoordinator {version}");
    }
    for version in 0..=4 {
        assert_eq!(bench.ask(version, &ApiVersionsRequest::default()).error_code, BUSY.0, "ApiVersions {version}");
    }
    assert_eq!(bench.ask(0, &DescribeClusterRequest::default()).error_code, BUSY.0);
}

#[test]
fn what_changes_something_is_left_undone_when_it_is_refused_before_and_done_when_after() {
    let mut bench = with(Fault::refuse(BUSY).times(3));
    let new = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let create = |name| CreateTopicsRequest { topics: vec![new(name)], timeout_ms: 1000, ..Default::default() };
    let delete = |name: &str| DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: Some(name.into()), ..Default::default() }],
        ..Default::default()
    };
    let refused = bench.ask(7, &create("new"));
    assert_eq!((refused.topics.len(), &*refused.topics[0].name, refused.topics[0].error_code), (1, "new", BUSY.0));
    assert!(bench.cluster.topic("new").is_none());
    assert_eq!(bench.ask(6, &delete("orders")).responses[0].error_code, BUSY.0);
    assert!(bench.cluster.topic("orders").is_some());
    let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let refused = bench.ask(4, &init);
    assert_eq!((refused.error_code, refused.producer_id), (BUSY.0, -1));
    let first = bench.ask(4, &init).producer_id;
    bench.cluster.add_fault(bench.now, Fault::new(Effect::RefuseAfter(BUSY)));
    assert_eq!(bench.ask(7, &create("new")).topics[0].error_code, BUSY.0);
    assert!(bench.cluster.topic("new").is_some());
    assert_eq!(bench.ask(6, &delete("orders")).responses[0].error_code, BUSY.0);
    assert!(bench.cluster.topic("orders").is_none());
    assert_eq!(bench.ask(4, &init).error_code, BUSY.0);
    bench.cluster.clear_faults(bench.now);
    assert_eq!(bench.ask(4, &init).producer_id, first + 2, "one more was given out");
}

#[test]
fn connections_tell_who_they_are() {
    let mut bench = with(Fault::throttle(millis(40)).api(ApiKey::METADATA));
    let reader = bench.connect();
    bench.send(reader, 12, &MetadataRequest { topics: None, ..Default::default() });
    bench.response::<MetadataRequest>(reader, 12);
    let clients: Vec<_> = bench.cluster.clients().collect();
    assert_eq!(clients.len(), 1);
    let client = &clients[0];
    assert_eq!((client.id, client.node, client.client.as_deref()), (reader, NodeId(1), Some("test")));
    assert_eq!((client.api, client.requests, client.throttled_until), (Some(ApiKey::METADATA), 1, Some(millis(40))));
}

/// A frame that no answer decodes from would panic in a broker that doctors it.
#[test]
fn answer_to_a_version_that_is_not_served_is_left_alone() {
    let mut bench = with(Fault::refuse(BUSY));
    let asker = bench.connect();
    let mut frame = vec![0, 18, 0, 99, 0, 0, 0, 7, 255, 255];
    frame.push(0);
    bench.cluster.handle_frame(bench.now, asker, Bytes::from(frame));
    let Some(Event::Response { frame, .. }) = bench.event() else { panic!("version 0 is answered") };
    let answer = decode_response::<ApiVersionsRequest>(frame.slice(4..), 99).expect("it reads").1;
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::UNSUPPORTED_VERSION);
}
