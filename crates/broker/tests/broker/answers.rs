//! What every client asks first: versions, nodes, ids, coordinators, producers.

use milena_broker::{CloseReason, Coordinated, Event, Notice};
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_producers::request::{DescribeProducersRequest, TopicRequest};
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::{ApiKey, ErrorCode};

use crate::client::{Batch, Bench};

fn named() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "milena-test".into(),
        client_software_version: "0.1.0".into(),
        ..Default::default()
    }
}

#[test]
fn everything_served_is_advertised_and_nothing_else() {
    let mut bench = Bench::new();
    for version in 0..=4 {
        let request = if version >= 3 { named() } else { ApiVersionsRequest::default() };
        let response = bench.ask(version, &request);
        assert_eq!(response.error_code, 0);
        let advertised: Vec<_> = response.api_keys.iter().map(|api| ApiKey(api.api_key)).collect();
        let served: Vec<_> = ApiKey::with_messages().filter(|api| is_served(&mut bench, *api)).collect();
        assert_eq!(advertised, served);
        assert!(served.contains(&ApiKey::PRODUCE) && !served.contains(&ApiKey::JOIN_GROUP), "{served:?}");
        for api in &response.api_keys {
            let served = ApiKey(api.api_key).stable_versions().expect("it has messages");
            let min = if ApiKey(api.api_key) == ApiKey::PRODUCE { 0 } else { *served.start() };
            assert_eq!((api.min_version, api.max_version), (min, *served.end()), "{}", ApiKey(api.api_key));
        }
    }
}

/// Whether a request of one byte beside its header is read, or refused for its API.
fn is_served(bench: &mut Bench, api: ApiKey) -> bool {
    let version = *api.stable_versions().expect("it has messages").start();
    let head = [api.0.to_be_bytes(), version.to_be_bytes()].concat();
    let frame = [&head[..], &[0, 0, 0, 1, 255, 255, 0, 1]].concat();
    let connection = bench.connect();
    bench.cluster.handle_frame(bench.now, connection, bytes::Bytes::from(frame));
    match bench.event() {
        Some(Event::Close { connection: closed, reason }) => {
            assert_eq!(closed, connection);
            reason != CloseReason::UnknownApi(api)
        }
        // Bytes behind a request are not looked at, and some request has none of its own.
        other => matches!(other, Some(Event::Response { .. })),
    }
}

#[test]
fn unknown_version_of_api_versions_is_answered_in_version_zero() {
    let mut bench = Bench::new();
    let connection = bench.connect();
    let frame = [0, 18, 0, 99, 0, 0, 0, 5, 0, 1, b'x', 0];
    bench.cluster.handle_frame(bench.now, connection, bytes::Bytes::copy_from_slice(&frame));
    let response = bench.response::<ApiVersionsRequest>(connection, 0);
    assert_eq!(ErrorCode(response.error_code), ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(response.api_keys.len(), 1);
    assert_eq!(response.api_keys[0].api_key, ApiKey::API_VERSIONS.0);
    bench.send(connection, 3, &named());
    assert_eq!(bench.response::<ApiVersionsRequest>(connection, 3).error_code, 0, "the connection lives on");
}

#[test]
fn client_without_a_proper_name_is_refused() {
    let mut bench = Bench::new();
    for name in ["", "-x", "x.", "a b"] {
        let request = ApiVersionsRequest { client_software_name: name.into(), ..named() };
        assert_eq!(ErrorCode(bench.ask(3, &request).error_code), ErrorCode::INVALID_REQUEST, "{name:?}");
    }
}

#[test]
fn unknown_version_or_api_closes_the_connection() {
    let mut bench = Bench::new();
    let mut reason = |frame: &'static [u8]| {
        let connection = bench.connect();
        bench.cluster.handle_frame(bench.now, connection, bytes::Bytes::from_static(frame));
        bench.closed(connection)
    };
    let produce_2 = reason(&[0, 0, 0, 2, 0, 0, 0, 1, 255, 255]);
    assert_eq!(produce_2, CloseReason::UnsupportedVersion { api: ApiKey::PRODUCE, version: 2 });
    let unstable_init = reason(&[0, 22, 0, 6, 0, 0, 0, 1, 255, 255, 0]);
    assert_eq!(unstable_init, CloseReason::UnsupportedVersion { api: ApiKey::INIT_PRODUCER_ID, version: 6 });
    assert_eq!(reason(&[0, 11, 0, 0, 0, 0, 0, 1, 255, 255]), CloseReason::UnknownApi(ApiKey(11)));
    assert!(matches!(reason(&[0, 18, 0]), CloseReason::Malformed(_)));
    assert!(matches!(reason(&[]), CloseReason::Malformed(_)));
    assert_eq!(bench.cluster.connections(), 0);
}

#[test]
fn cluster_and_metadata_tell_the_same_node_and_id() {
    let mut bench = Bench::new();
    for version in 0..=2 {
        let cluster = bench.ask(version, &DescribeClusterRequest::default());
        let broker = &cluster.brokers[0];
        assert_eq!((broker.broker_id, &*broker.host, broker.port), (1, "broker.test", 9092));
        assert_eq!((cluster.controller_id, &*cluster.cluster_id), (1, bench.cluster.cluster_id()));
        assert_eq!(cluster.cluster_authorized_operations, i32::MIN, "nobody asked");
    }
    let metadata = bench.ask(13, &MetadataRequest::default());
    let broker = &metadata.brokers[0];
    assert_eq!((broker.node_id, &*broker.host, broker.port), (1, "broker.test", 9092));
    assert_eq!((metadata.controller_id, metadata.cluster_id.as_deref()), (1, Some(bench.cluster.cluster_id())));
}

#[test]
fn controllers_are_not_described_by_a_broker() {
    let mut bench = Bench::new();
    let mut code = |endpoint_type| {
        let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
        ErrorCode(bench.ask(1, &request).error_code)
    };
    assert_eq!(code(2), ErrorCode::MISMATCHED_ENDPOINT_TYPE);
    assert_eq!(code(3), ErrorCode::UNSUPPORTED_ENDPOINT_TYPE);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut bench = Bench::new();
    let ids: std::collections::BTreeSet<_> = (0..2_500).map(|_| bench.producer_id()).collect();
    assert_eq!(ids.len(), 2_500);
}

#[test]
fn transactional_producers_are_told_that_there_are_no_transactions() {
    let mut bench = Bench::new();
    for version in 0..=5 {
        let request = InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() };
        let response = bench.ask(version, &request);
        assert_eq!(ErrorCode(response.error_code), ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(response.producer_id, -1);
    }
    let nameless = InitProducerIdRequest { transactional_id: Some("".into()), ..Default::default() };
    assert_eq!(ErrorCode(bench.ask(4, &nameless).error_code), ErrorCode::INVALID_REQUEST);
}

#[test]
fn there_is_no_coordinator_and_the_answer_says_so_in_every_version() {
    let mut bench = Bench::new();
    for version in 0..=6 {
        let mut request = FindCoordinatorRequest::default();
        if version < 4 {
            request.key = "group".into();
        } else {
            request.coordinator_keys = vec!["group".into(), "other".into()];
        }
        let response = bench.ask(version, &request);
        let codes: Vec<_> = match version {
            0..4 => vec![response.error_code],
            _ => response.coordinators.iter().map(|coordinator| coordinator.error_code).collect(),
        };
        // None that a client tries again on: consumers would wait for ever. But librdkafka's ask where they need none, and
        // would tell of what they are told.
        let expected = if version <= 2 { ErrorCode::COORDINATOR_NOT_AVAILABLE } else { ErrorCode::UNSUPPORTED_VERSION };
        assert!(codes.iter().all(|code| ErrorCode(*code) == expected), "version {version}");
        assert_eq!(codes.len(), if version < 4 { 1 } else { 2 });
    }
    let transaction = FindCoordinatorRequest { key: "t".into(), key_type: 1, ..Default::default() };
    bench.ask(3, &transaction);
    let notices: Vec<_> = std::iter::from_fn(|| bench.cluster.poll_notice()).collect();
    let wanted = |of, name: &str| Notice::CoordinatorWanted { of, name: name.to_owned() };
    assert_eq!(notices, [wanted(Coordinated::Group, "group"), wanted(Coordinated::Transaction, "t")], "each once");
}

#[test]
fn describe_producers_shows_the_newest_epoch_of_each() {
    let mut bench = Bench::with_orders(1);
    let (first, second) = (bench.producer_id(), bench.producer_id());
    bench.produced(Batch::stamped(&["a", "b"], first, 0, 0));
    bench.produced(Batch::stamped(&["c"], first, 3, 0));
    bench.produced(Batch::stamped(&["d"], second, 0, 41).at(&[77]));
    let topic = TopicRequest { name: "orders".into(), partition_indexes: vec![0, 1], ..Default::default() };
    let response = bench.ask(0, &DescribeProducersRequest { topics: vec![topic], ..Default::default() });
    let partitions = &response.topics[0].partitions;
    let active = &partitions[0].active_producers;
    let seen: Vec<_> = active.iter().map(|p| (p.producer_id, p.producer_epoch, p.last_sequence)).collect();
    assert_eq!(seen, [(first, 3, 0), (second, 0, 41)]);
    assert_eq!((active[1].last_timestamp, active[1].current_txn_start_offset), (77, -1));
    assert_eq!(ErrorCode(partitions[1].error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}
