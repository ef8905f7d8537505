//! Clusters that behave as earlier releases of Kafka.

use std::time::Duration;

use milena_broker::{CloseReason, ConnectionId, KafkaRelease, NodeId, Stop};
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_topics::request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, ErrorCode};

use crate::client::{Batch, Bench, START, config, config_of_nodes, produce};

fn versions(bench: &mut Bench) -> Vec<(ApiKey, i16, i16)> {
    let response = bench.ask(0, &ApiVersionsRequest::default());
    response.api_keys.iter().map(|api| (ApiKey(api.api_key), api.min_version, api.max_version)).collect()
}

#[test]
fn each_release_serves_what_it_advertises_and_closes_on_the_next_version() {
    for release in KafkaRelease::ALL {
        let mut bench = Bench::with(config().behave_as(release));
        for (api, min, max) in versions(&mut bench) {
            let known = api.stable_versions().expect("it has messages");
            // Produce is advertised from 0 on for the sake of an old client, and no release here reads what is below 3.
            let min = min.max(*known.start());
            for (version, is_served) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
                let refused = is_refused(&mut bench, api, version);
                assert_eq!(refused, !is_served && api != ApiKey::API_VERSIONS, "{release}: {api} {version}");
            }
        }
    }
}

/// Whether a request of this version ends its connection for its version.
fn is_refused(bench: &mut Bench, api: ApiKey, version: i16) -> bool {
    let head = [api.0.to_be_bytes(), version.to_be_bytes()].concat();
    let frame = [&head[..], &[0, 0, 0, 1, 255, 255, 0, 1]].concat();
    let connection = bench.connect();
    bench.cluster.handle_frame(bench.now, connection, frame.into());
    match bench.event() {
        Some(milena_broker::Event::Close { reason, .. }) => {
            matches!(reason, CloseReason::UnsupportedVersion { api: of, version: at } if (of, at) == (api, version))
        }
        _ => false,
    }
}

#[test]
fn versions_are_those_of_the_release() {
    let of = |release: KafkaRelease, api: ApiKey| {
        let mut bench = Bench::with(config().behave_as(release));
        versions(&mut bench).into_iter().find(|(key, ..)| *key == api).map(|(_, _, max)| max)
    };
    use KafkaRelease::*;
    // What real brokers of these releases told: leader hints came with 3.7, topic ids in Produce with 4.1.
    for (release, produce, fetch, metadata) in
        [(V2_8, 9, 12, 11), (V3_9, 11, 17, 12), (V4_0, 12, 17, 13), (V4_3, 13, 18, 13)]
    {
        let found = [ApiKey::PRODUCE, ApiKey::FETCH, ApiKey::METADATA].map(|api| of(release, api));
        assert_eq!(found, [Some(produce), Some(fetch), Some(metadata)], "{release}");
    }
}

fn create(bench: &mut Bench, setting: &str, value: &str) -> ErrorCode {
    let config = CreatableTopicConfig { name: setting.into(), value: Some(value.into()), ..Default::default() };
    let topic = CreatableTopic {
        name: format!("of.{setting}").as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    ErrorCode(bench.ask(5, &request).topics[0].error_code)
}

#[test]
fn settings_of_topics_are_those_of_the_release() {
    for (release, expected) in [(KafkaRelease::V3_5, ErrorCode::INVALID_CONFIG), (KafkaRelease::V3_6, ErrorCode::NONE)]
    {
        let mut bench = Bench::with(config().behave_as(release));
        assert_eq!(create(&mut bench, "message.timestamp.after.max.ms", "1000"), expected, "{release}");
        assert_eq!(create(&mut bench, "retention.ms", "1000"), ErrorCode::NONE, "{release}");
    }
}

/// In a version that every release has.
fn wrote(bench: &mut Bench, value: &str) -> (ErrorCode, i64) {
    let writer = bench.connect_to(1);
    bench.send(writer, 9, &produce("orders", 0, Batch::of(&[value])));
    answer(bench, writer)
}

fn answer(bench: &mut Bench, writer: ConnectionId) -> (ErrorCode, i64) {
    let answer = bench.response::<ProduceRequest>(writer, 9);
    let of = &answer.responses[0].partition_responses[0];
    (ErrorCode(of.error_code), of.base_offset)
}

#[test]
fn records_of_the_future_are_taken_until_4_0() {
    let ahead = START as i64 + 2 * 60 * 60 * 1000;
    for (release, code) in [(KafkaRelease::V3_9, ErrorCode::NONE), (KafkaRelease::V4_0, ErrorCode::INVALID_TIMESTAMP)] {
        let mut bench = Bench::with(config().behave_as(release));
        bench.cluster.create_topic("orders", 1).expect("the topic is new");
        let writer = bench.connect();
        bench.send(writer, 9, &produce("orders", 0, Batch::of(&["a"]).at(&[ahead])));
        assert_eq!(answer(&mut bench, writer).0, code, "{release}");
    }
}

#[test]
fn a_shrinking_isr_renews_the_epoch_in_the_first_releases_without_zookeeper() {
    for (release, epoch) in [(KafkaRelease::V3_2, 0), (KafkaRelease::V3_5, 1), (KafkaRelease::V3_6, 0)] {
        let mut bench = Bench::of_three_with(config_of_nodes(3).behave_as(release));
        let (now, follower) = (bench.now, NodeId(3));
        bench.cluster.stop(now, follower, Stop::Kill).expect("it has a process");
        bench.advance(Duration::from_secs(10));
        assert_eq!(bench.leadership(), (Some(1), epoch, vec![1, 2]), "{release}");
        assert_eq!(wrote(&mut bench, "a"), (ErrorCode::NONE, 0), "{release}");
        assert_eq!(bench.high_watermark(), 1, "{release}: followers of the former epoch go on");
    }
}

#[test]
fn a_late_follower_that_falls_out_of_sync_renews_the_epoch_too_and_nobody_who_waits_is_refused() {
    let config = config_of_nodes(3).behave_as(KafkaRelease::V3_4);
    let mut bench = Bench::of_three_with(config);
    bench.cluster.lag(bench.now, NodeId(3), Some(Duration::MAX)).expect("it is there");
    let writer = bench.connect_to(1);
    let request = ProduceRequest { timeout_ms: 60_000, ..produce("orders", 0, Batch::of(&["a"])) };
    bench.send(writer, 9, &request);
    bench.advance(Duration::from_secs(31));
    assert_eq!(answer(&mut bench, writer), (ErrorCode::NONE, 0));
    assert_eq!((bench.leadership(), bench.high_watermark()), ((Some(1), 1, vec![1, 2]), 1));
    assert_eq!(wrote(&mut bench, "b"), (ErrorCode::NONE, 1));
}
