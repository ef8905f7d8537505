//! Settings: described, altered, and what comes of it. What is expected here was seen on Kafka 4.3.1.

use milena_broker::{ClusterConfig, NodeId, Stop};
use milena_wire::ErrorCode;
use milena_wire::messages::alter_configs::request as legacy;
use milena_wire::messages::describe_configs::request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_wire::messages::describe_configs::response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use milena_wire::messages::incremental_alter_configs::request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_wire::messages::list_config_resources::request::ListConfigResourcesRequest;

use crate::client::{Batch, Bench, P0, config, config_of_nodes};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
        ..Default::default()
    }
}

fn describe(bench: &mut Bench, version: i16, resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: version >= 3,
        ..Default::default()
    };
    bench.ask(version, &request).results.remove(0)
}

fn setting(bench: &mut Bench, name: &str) -> DescribeConfigsResourceResult {
    describe(bench, 4, resource(TOPIC, "orders", Some(&[name]))).configs.remove(0)
}

fn change(name: &str, operation: i8, value: Option<&str>) -> AlterableConfig {
    AlterableConfig {
        name: name.into(),
        config_operation: operation,
        value: value.map(Into::into),
        ..Default::default()
    }
}

fn changes(kind: i8, name: &str, configs: Vec<AlterableConfig>) -> AlterConfigsResource {
    AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs, ..Default::default() }
}

fn alter(bench: &mut Bench, resources: Vec<AlterConfigsResource>) -> Vec<(ErrorCode, String)> {
    let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let responses = bench.ask(1, &request).responses;
    responses.into_iter().map(|it| (ErrorCode(it.error_code), it.error_message.unwrap_or_default().into())).collect()
}

fn alter_orders(bench: &mut Bench, name: &str, operation: i8, value: Option<&str>) -> (ErrorCode, String) {
    alter(bench, vec![changes(TOPIC, "orders", vec![change(name, operation, value)])]).remove(0)
}

#[test]
fn topic_settings_are_all_described_in_every_version() {
    let mut bench = Bench::with_orders(1);
    assert_eq!(alter_orders(&mut bench, "retention.ms", SET, Some("5")).0, ErrorCode::NONE);
    for version in 1..=4 {
        let result = describe(&mut bench, version, resource(TOPIC, "orders", None));
        assert_eq!((result.error_code, result.configs.len()), (0, 33), "version {version}");
        let named = |name: &str| result.configs.iter().find(|config| &*config.name == name).expect("it is listed");
        let size = named("max.message.bytes");
        assert_eq!((size.value.as_deref(), size.config_source, size.read_only), (Some("1048588"), 5, false));
        let synonyms: Vec<_> = size.synonyms.iter().map(|it| (&*it.name, it.value.as_deref(), it.source)).collect();
        assert_eq!(synonyms, [("message.max.bytes", Some("1048588"), 5)]);
        let retention = named("retention.ms");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
        assert_eq!((&*retention.synonyms[0].name, retention.synonyms[0].source), ("retention.ms", 1));
        assert_eq!(retention.documentation.as_deref().is_some_and(|words| !words.is_empty()), version >= 3);
        let kinds = ["preallocate", "compression.type", "segment.bytes", "flush.ms", "cleanup.policy"];
        let expected = if version >= 3 { [1, 2, 3, 5, 7] } else { [0; 5] };
        assert_eq!(kinds.map(|name| named(name).config_type), expected, "version {version}");
    }
}

#[test]
fn names_choose_settings_and_unknown_ones_are_left_out() {
    let mut bench = Bench::with_orders(1);
    let result = describe(&mut bench, 4, resource(TOPIC, "orders", Some(&["retention.ms", "foo", "retention.ms"])));
    assert_eq!(result.configs.iter().map(|config| &*config.name).collect::<Vec<_>>(), ["retention.ms"]);
    assert_eq!(describe(&mut bench, 4, resource(TOPIC, "orders", Some(&[]))).configs.len(), 33);
}

#[test]
fn resources_that_cannot_be_described_are_told_with_kafkas_codes() {
    let mut bench = Bench::with_orders(1);
    let rows = [
        (TOPIC, "nope", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "a/b", ErrorCode::INVALID_TOPIC_EXCEPTION),
        (TOPIC, "", ErrorCode::INVALID_TOPIC_EXCEPTION),
        (BROKER, "9", ErrorCode::INVALID_REQUEST),
        (BROKER, "x", ErrorCode::INVALID_REQUEST),
        (BROKER, "", ErrorCode::NONE),
        (8, "1", ErrorCode::INVALID_REQUEST),
        (0, "g", ErrorCode::INVALID_REQUEST),
        (-128, "g", ErrorCode::INVALID_REQUEST),
    ];
    for (kind, name, code) in rows {
        let result = describe(&mut bench, 4, resource(kind, name, None));
        assert_eq!((ErrorCode(result.error_code), result.configs.len()), (code, 0), "{kind} {name:?}");
    }
}

#[test]
fn broker_settings_are_described_by_the_broker_itself_and_cannot_be_changed() {
    let config = ClusterConfig { racks: [(NodeId(2), "b".to_owned())].into(), ..config_of_nodes(3) };
    let mut bench = Bench::with(config);
    let request = DescribeConfigsRequest {
        resources: vec![resource(
            BROKER,
            "2",
            Some(&["node.id", "broker.rack", "num.partitions", "log.retention.bytes"]),
        )],
        include_synonyms: true,
        ..Default::default()
    };
    let configs = bench.ask_node(2, 4, &request).results.remove(0).configs;
    let told: Vec<_> = configs.iter().map(|it| (&*it.name, it.value.as_deref(), it.config_source)).collect();
    assert_eq!(
        told,
        [
            ("broker.rack", Some("b"), 4),
            ("log.retention.bytes", Some("-1"), 5),
            ("node.id", Some("2"), 4),
            ("num.partitions", Some("1"), 5)
        ]
    );
    assert!(configs.iter().all(|config| config.read_only));
    assert_eq!(ErrorCode(bench.ask(4, &request).results[0].error_code), ErrorCode::INVALID_REQUEST, "node 1 is asked");
    let refused = alter(&mut bench, vec![changes(BROKER, "1", vec![change("log.retention.ms", SET, Some("5"))])]);
    let expected = "Cannot update these configs dynamically: [log.retention.ms]";
    assert_eq!(refused, [(ErrorCode::INVALID_REQUEST, expected.to_owned())]);
    let cleared =
        alter(&mut bench, vec![changes(BROKER, "", vec![change("leader.replication.throttled.rate", DELETE, None)])]);
    assert_eq!(cleared[0].0, ErrorCode::NONE, "what was never set is deleted already");
}

#[test]
fn settings_are_set_deleted_appended_and_subtracted() {
    let mut bench = Bench::with_orders(1);
    let mut steps = |name: &str, operation, value: Option<&str>, expected: &str, source: i8| {
        let altered = alter_orders(&mut bench, name, operation, value);
        assert_eq!(altered, (ErrorCode::NONE, String::new()), "{name} {operation} {value:?}");
        let now = setting(&mut bench, name);
        assert_eq!((now.value.as_deref(), now.config_source), (Some(expected), source), "{name} {operation} {value:?}");
    };
    steps("retention.ms", SET, Some(" 5000 "), "5000", 1);
    steps("retention.ms", DELETE, Some("ignored"), "604800000", 5);
    steps("retention.ms", SET, Some("604800000"), "604800000", 1);
    steps("cleanup.policy", APPEND, Some("compact"), "delete,compact", 1);
    steps("cleanup.policy", APPEND, Some("compact"), "delete,compact", 1);
    steps("cleanup.policy", SUBTRACT, Some("delete"), "compact", 1);
    steps("cleanup.policy", SUBTRACT, Some("compact"), "", 1);
    steps("cleanup.policy", DELETE, None, "delete", 5);
    steps("preallocate", SET, Some("TRUE"), "true", 1);
}

#[test]
fn refused_changes_change_nothing() {
    let mut bench = Bench::with_orders(1);
    let rows = [
        ("retention.ms", SET, Some("-2"), ErrorCode::INVALID_CONFIG, "Value must be at least -1"),
        ("retention.ms", SET, None, ErrorCode::INVALID_REQUEST, "Null value not supported for : retention.ms"),
        ("retention.ms", APPEND, Some("5"), ErrorCode::INVALID_CONFIG, "its type is not LIST"),
        ("foo", SET, Some("5"), ErrorCode::INVALID_CONFIG, "Unknown topic config name: foo"),
        ("foo", SUBTRACT, Some("5"), ErrorCode::INVALID_CONFIG, "Can't SUBTRACT to key foo"),
        ("retention.ms", 9, Some("5"), ErrorCode::UNKNOWN_SERVER_ERROR, ""),
        ("remote.storage.enable", SET, Some("true"), ErrorCode::INVALID_CONFIG, "Tiered Storage"),
        ("cleanup.policy", APPEND, Some("foo"), ErrorCode::INVALID_CONFIG, "must be one of: compact, delete"),
    ];
    for (name, operation, value, code, words) in rows {
        let (refused, message) = alter_orders(&mut bench, name, operation, value);
        assert_eq!(refused, code, "{name} {operation} {value:?}");
        assert!(message.contains(words), "{message}");
    }
    let good = change("retention.ms", SET, Some("7"));
    let half = alter(&mut bench, vec![changes(TOPIC, "orders", vec![good.clone(), change("foo", SET, Some("1"))])]);
    assert_eq!(half[0].0, ErrorCode::INVALID_CONFIG);
    let twice = alter(&mut bench, vec![changes(TOPIC, "orders", vec![good.clone(), good.clone()])]);
    assert_eq!(twice[0], (ErrorCode::INVALID_REQUEST, "Error due to duplicate config keys".to_owned()));
    let same = || changes(TOPIC, "orders", vec![good.clone()]);
    let repeated = alter(&mut bench, vec![same(), same()]);
    assert_eq!(repeated, vec![(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.".to_owned()); 2]);
    for (kind, name, code) in [
        (TOPIC, "nope", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "", ErrorCode::INVALID_REQUEST),
        (TOPIC, "a/b", ErrorCode::INVALID_TOPIC_EXCEPTION),
        (16, "s", ErrorCode::INVALID_REQUEST),
        (99, "s", ErrorCode::INVALID_REQUEST),
    ] {
        assert_eq!(alter(&mut bench, vec![changes(kind, name, vec![good.clone()])])[0].0, code, "{kind} {name:?}");
    }
    for version in [0, 1] {
        let request =
            IncrementalAlterConfigsRequest { resources: vec![same()], validate_only: true, ..Default::default() };
        assert_eq!(bench.ask(version, &request).responses[0].error_code, 0, "it would be taken");
    }
    assert_eq!(setting(&mut bench, "retention.ms").config_source, 5, "and nothing was");
}

#[test]
fn legacy_request_replaces_all_that_was_set() {
    let mut bench = Bench::with_orders(1);
    let asked = |configs: &[(&str, Option<&str>)], validate_only| legacy::AlterConfigsRequest {
        resources: vec![legacy::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "orders".into(),
            configs: configs
                .iter()
                .map(|(name, value)| legacy::AlterableConfig {
                    name: (*name).into(),
                    value: value.map(Into::into),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        validate_only,
        ..Default::default()
    };
    for version in 0..=2 {
        let both = asked(&[("retention.ms", Some("1234")), ("max.message.bytes", Some("2000"))], false);
        assert_eq!(bench.ask(version, &both).responses[0].error_code, 0, "version {version}");
        assert_eq!(setting(&mut bench, "retention.ms").value.as_deref(), Some("1234"));
        let null = bench.ask(version, &asked(&[("retention.ms", None)], false));
        assert_eq!(ErrorCode(null.responses[0].error_code), ErrorCode::INVALID_REQUEST);
        let tried = bench.ask(version, &asked(&[], true));
        assert_eq!(tried.responses[0].error_code, 0);
        assert_eq!(setting(&mut bench, "retention.ms").config_source, 1, "it was only tried");
        let one = bench.ask(version, &asked(&[("max.message.bytes", Some("3000"))], false));
        assert_eq!((one.responses[0].error_code, one.responses[0].error_message.as_deref()), (0, None));
        assert_eq!(setting(&mut bench, "retention.ms").config_source, 5);
        assert_eq!(setting(&mut bench, "max.message.bytes").value.as_deref(), Some("3000"));
    }
}

#[test]
fn batches_are_judged_by_the_new_settings_at_once() {
    let mut bench = Bench::with_orders(1);
    assert_eq!(bench.produced(Batch::of(&["a"])).0, ErrorCode::NONE);
    alter_orders(&mut bench, "max.message.bytes", SET, Some("10"));
    assert_eq!(bench.produced(Batch::of(&["b"])).0, ErrorCode::MESSAGE_TOO_LARGE);
    alter_orders(&mut bench, "max.message.bytes", DELETE, None);
    alter_orders(&mut bench, "message.timestamp.before.max.ms", SET, Some("5"));
    assert_eq!(bench.produced(Batch::of(&["c"]).at(&[17])).0, ErrorCode::INVALID_TIMESTAMP);
    alter_orders(&mut bench, "message.timestamp.type", SET, Some("LogAppendTime"));
    assert_eq!(bench.produced(Batch::of(&["d"]).at(&[17])).0, ErrorCode::NONE);
}

#[test]
fn fewer_replicas_asked_for_commit_what_waited() {
    let mut bench = Bench::of_three();
    alter_orders(&mut bench, "min.insync.replicas", SET, Some("3"));
    bench.cluster.stop(bench.now, NodeId(3), Stop::Clean).expect("it has a process");
    assert_eq!(bench.produced_at(1, Batch::of(&["a"])).0, ErrorCode::NOT_ENOUGH_REPLICAS);
    alter_orders(&mut bench, "min.insync.replicas", SET, Some("2"));
    assert_eq!(bench.produced_at(1, Batch::of(&["b"])), (ErrorCode::NONE, 0));
}

#[test]
fn unclean_elections_happen_where_they_are_allowed() {
    let mut bench = Bench::of_three();
    for node in [2, 3] {
        bench.cluster.stop(bench.now, NodeId(node), Stop::Clean).expect("it has a process");
    }
    assert_eq!(bench.produced_at(1, Batch::of(&["only on 1"])), (ErrorCode::NONE, 0));
    bench.cluster.stop(bench.now, NodeId(1), Stop::Clean).expect("it has a process");
    bench.cluster.start(bench.now, NodeId(2)).expect("it is stopped");
    assert_eq!(bench.leadership().0, None, "2 is not in sync");
    let request = IncrementalAlterConfigsRequest {
        resources: vec![changes(TOPIC, "orders", vec![change("unclean.leader.election.enable", SET, Some("true"))])],
        ..Default::default()
    };
    assert_eq!(bench.ask_node(2, 1, &request).responses[0].error_code, 0);
    assert_eq!((bench.leadership().0, bench.leadership().2), (Some(2), vec![2]));
    assert_eq!(bench.values_on(2), Vec::<String>::new(), "what it lacks is lost");
    bench.cluster.start(bench.now, NodeId(3)).expect("it is stopped");
    bench.cluster.stop(bench.now, NodeId(2), Stop::Clean).expect("it has a process");
    assert_eq!(bench.leadership().0, Some(3));
    bench.cluster.stop(bench.now, NodeId(3), Stop::Clean).expect("it has a process");
    bench.cluster.start(bench.now, NodeId(1)).expect("it is stopped");
    assert_eq!((bench.leadership().0, bench.leadership().2), (Some(1), vec![1]), "an election by itself");
}

#[test]
fn resources_with_settings_are_listed() {
    let mut bench = Bench::with_orders(1);
    let mut list = |version, kinds: &[i8]| {
        let response =
            bench.ask(version, &ListConfigResourcesRequest { resource_types: kinds.to_vec(), ..Default::default() });
        let listed = response.config_resources.into_iter().map(|it| (String::from(it.resource_name), it.resource_type));
        (ErrorCode(response.error_code), listed.collect::<Vec<_>>())
    };
    let (broker, topic) = (("1".to_owned(), BROKER), ("orders".to_owned(), TOPIC));
    let loggers = ("1".to_owned(), 8);
    assert_eq!(list(0, &[]), (ErrorCode::NONE, vec![]), "version 0 asks for client metrics");
    assert_eq!(list(1, &[]), (ErrorCode::NONE, vec![broker.clone(), loggers, topic.clone()]));
    assert_eq!(list(1, &[TOPIC]), (ErrorCode::NONE, vec![topic]));
    assert_eq!(list(1, &[BROKER, BROKER, 16]), (ErrorCode::NONE, vec![broker]));
    assert_eq!(list(1, &[99]), (ErrorCode::UNSUPPORTED_VERSION, vec![]));
}

#[test]
fn settings_outlive_a_restart() {
    let folder = crate::restart::Folder::new();
    let storage = || Box::new(milena_broker::Directory::open(folder.path()).expect("the folder is ours"));
    let mut bench = Bench::open(config(), storage());
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    for (name, value) in [("cleanup.policy", ""), ("compression.type", "zstd"), ("flush.ms", "9223372036854775807")] {
        assert_eq!(alter_orders(&mut bench, name, SET, Some(value)).0, ErrorCode::NONE);
    }
    drop(bench);
    let mut bench = Bench::open(config(), storage());
    for (name, value) in [("cleanup.policy", ""), ("compression.type", "zstd"), ("flush.ms", "9223372036854775807")] {
        let kept = setting(&mut bench, name);
        assert_eq!((kept.value.as_deref(), kept.config_source), (Some(value), 1), "{name}");
    }
}

#[test]
fn batches_are_compressed_as_the_topic_wants() {
    let mut bench = Bench::with_orders(1);
    let text = "the same words again and again, ".repeat(40);
    let batch = || Batch::stamped(&[&text, "b"], 3, 0, 0);
    let codecs = ["gzip", "snappy", "lz4", "zstd", "uncompressed", "producer"];
    for (at, codec) in (0..).zip(codecs) {
        assert_eq!(alter_orders(&mut bench, "compression.type", SET, Some(codec)).0, ErrorCode::NONE);
        let mut batch = batch();
        batch.header.base_sequence = 2 * at;
        assert_eq!(bench.produced(batch), (ErrorCode::NONE, i64::from(2 * at)), "{codec}");
    }
    let log = bench.cluster.log("orders", P0).expect("it is there");
    let entries = log.batches().expect("memory reads");
    let sizes: Vec<usize> = entries.iter().map(|entry| entry.size).collect();
    let plain = batch().bytes().len();
    assert!(sizes[..4].iter().all(|size| *size < plain / 2), "{sizes:?}");
    assert_eq!(sizes[4..], [plain; 2]);
    let kept: Vec<String> = entries
        .iter()
        .map(|entry| log.read_batch(entry).expect("its checksum fits").header.attributes.compression().to_string())
        .collect();
    assert_eq!(kept, ["gzip", "snappy", "lz4", "zstd", "none", "none"]);
    assert!(bench.values().chunks(2).all(|values| values == [text.as_str(), "b"]));
    // What is compressed already is unpacked where the topic wants it otherwise, and judged by what it holds.
    let packed = log.read_batch(&entries[3]).expect("it reads");
    alter_orders(&mut bench, "compression.type", SET, Some("uncompressed"));
    let bomb = Batch::stamped(&["x"], 3, 0, 12).bytes_with(|header| {
        header.attributes = packed.header.attributes;
    });
    assert_eq!(bench.produced(bomb).0, ErrorCode::UNKNOWN_SERVER_ERROR, "it is not what its codec writes");
}

/// Kafka 4.3.1 compresses what gets larger by it, too, and fails where its own builder of batches does.
#[test]
fn batches_are_compressed_even_if_that_makes_them_larger() {
    let mut bench = Bench::with_orders(1);
    let no_epoch = || Batch::stamped(&["b"], 3, 0, 0).bytes_with(|header| header.producer_epoch = -1);
    assert_eq!(bench.produced(no_epoch()).0, ErrorCode::NONE, "it is kept as it came");
    for (at, codec) in (1..).zip(["gzip", "snappy", "lz4", "zstd"]) {
        alter_orders(&mut bench, "compression.type", SET, Some(codec));
        assert_eq!(bench.produced(Batch::of(&["a"])), (ErrorCode::NONE, at), "{codec}");
        let log = bench.cluster.log("orders", P0).expect("it is there");
        let last = *log.batches().expect("memory reads").last().expect("it was written");
        let kept = log.read_batch(&last).expect("its checksum fits");
        assert_eq!(kept.header.attributes.compression().to_string(), codec);
        assert!(last.size > Batch::of(&["a"]).bytes().len(), "{codec}");
        assert_eq!(bench.produced(no_epoch()).0, ErrorCode::UNKNOWN_SERVER_ERROR);
    }
}
