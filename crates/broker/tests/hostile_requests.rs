//! Requests that are well formed and make no sense, and damaged ones, in any order, to a cluster of three nodes.
//!
//! Whatever arrives, the cluster does not panic; every answer can be read by the request's own decoder in its own version; what was
//! acknowledged as the cluster's state stays consistent; and whoever asks next is served. Also a fuzz target (`cargo xtask fuzz`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "broker/client.rs"]
#[allow(dead_code, reason = "a part of it is enough here")]
mod client;
#[path = "../../wire/tests/mutate/mod.rs"]
mod mutate;
#[path = "../../wire/tests/random/mod.rs"]
mod random;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::{Batch, Bench, config_of_nodes};
use milena_broker::{Event, NodeId, Stop};
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::{ApiKey, Request};
use mutate::mutate;
use random::{Draw, Known, Random, each_api};

/// A request in a version: how it is drawn, and how what comes back is read.
struct Target {
    api: ApiKey,
    version: i16,
    frame: fn(&mut Random, i16) -> Vec<u8>,
    read: fn(Bytes, i16) -> bool,
}

fn frame<R: Request + Draw>(random: &mut Random, version: i16) -> Vec<u8> {
    random.flexible = version >= R::FLEXIBLE_FROM;
    let request = R::draw(random, version);
    milena_wire::frame::encode_request("client", 1, version, &request).unwrap().split_off(4)
}

fn read<R: Request>(answer: Bytes, version: i16) -> bool {
    milena_wire::frame::decode_response::<R>(answer, version).is_ok()
}

/// Everything that the cluster serves.
fn targets() -> Vec<Target> {
    let mut bench = Bench::new();
    let served = bench.ask(0, &ApiVersionsRequest::default()).api_keys;
    let mut targets = Vec::new();
    macro_rules! add {
        ($(($module:ident, $request:ident, $response:ident),)*) => { $( {
            use milena_wire::messages::$module::request::$request;
            let api = <$request as Request>::KEY;
            if let Some(range) = served.iter().find(|range| range.api_key == api.0) {
                for version in range.min_version.max(*<$request as Request>::VERSIONS.start())..=range.max_version {
                    targets.push(Target { api, version, frame: frame::<$request>, read: read::<$request> });
                }
            }
        } )* };
    }
    each_api!(add);
    targets
}

/// What a client that knows the cluster would send.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let bench = cluster();
    let settings = [
        "retention.ms",
        "cleanup.policy",
        "min.insync.replicas",
        "compression.type",
        "segment.bytes",
        "message.timestamp.type",
    ];
    let values =
        ["1", "2", "-1", "compact", "delete", "zstd", "LogAppendTime", "producer_byte_rate", "client-id", "1024"];
    let topics = ["orders", "clicks", "new", "0", "1"];
    let batches = [
        Batch::of(&["a", "b"]).bytes(),
        Batch::stamped(&["a"], 0, 0, 0).bytes(),
        Batch::stamped(&["a"], 0, 0, 1).bytes(),
        Batch::stamped(&["a", "b"], 0, 1, 0).bytes(),
        Batch::stamped(&["a"], 1, 0, 7).bytes_with(|header| header.record_count = 3),
        Batch::of(&[]).bytes(),
    ];
    Known {
        strings: topics.iter().chain(&settings).chain(&values).map(|text| (*text).into()).collect(),
        uuids: vec![bench.topic_id("orders"), bench.topic_id("clicks")],
        bytes: batches.into_iter().map(Bytes::from).collect(),
    }
});

/// Ids of topics come from the seed, so they are the same every time.
fn cluster() -> Bench {
    let mut bench = Bench::with(config_of_nodes(3));
    bench.cluster.create_topic("orders", 2).unwrap();
    bench.cluster.create_topic("clicks", 1).unwrap();
    bench
}

#[test]
fn whatever_is_asked_is_answered_and_the_next_one_is_served() {
    let targets = targets();
    let known: &'static Known = &KNOWN;
    let answered = Mutex::new(BTreeMap::<(i16, i16), u64>::new());
    bolero::check!().with_iterations(12_000).with_max_len(1_024).for_each(|bytes: &[u8]| {
        let (mut damage, mut content) = Random::damage_and_content(bytes, false);
        content.known = Some(known);
        let mut bench = cluster();
        for _ in 0..1 + damage.below(8) {
            let target = &targets[damage.roll() as usize % targets.len()];
            let mut frame = (target.frame)(&mut content, target.version);
            let is_sound = damage.below(6) > 0;
            if !is_sound {
                mutate(&mut damage, &mut frame);
            }
            let node = NodeId(1 + damage.below(3) as i32);
            let Some(connection) = bench.cluster.connect(node) else { continue };
            bench.cluster.handle_frame(bench.now, connection, frame.into());
            if damage.bool() {
                bench.advance(Duration::from_millis([1, 600, 11_000, 400_000][damage.below(4)]));
            }
            while let Some(event) = bench.event() {
                if let Event::Response { frame, connection: of, .. } = event
                    && of == connection
                    && is_sound
                {
                    let is_read = (target.read)(frame.slice(4..), target.version);
                    assert!(is_read, "{} {}: the answer cannot be read", target.api, target.version);
                    *answered.lock().unwrap().entry((target.api.0, target.version)).or_default() += 1;
                }
            }
            let _had_an_effect = match damage.below(12) {
                0 => bench.cluster.stop(bench.now, node, Stop::Kill).is_ok(),
                1 => bench.cluster.start(bench.now, node).is_ok(),
                _ => false,
            };
        }
        let _it_runs_already = bench.cluster.start(bench.now, NodeId(1));
        while bench.event().is_some() {}
        let metadata = bench.ask(9, &MetadataRequest::default());
        assert!(!metadata.brokers.is_empty());
    });
    let answered = answered.into_inner().unwrap();
    let silent: Vec<_> =
        targets.iter().filter(|target| !answered.contains_key(&(target.api.0, target.version))).collect();
    let silent: Vec<_> = silent.iter().map(|target| (target.api, target.version)).collect();
    assert!(silent.is_empty(), "never answered: {silent:?}");
}
