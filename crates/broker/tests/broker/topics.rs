//! Topics: made, found, removed.

use milena_broker::ClusterConfig;
use milena_wire::messages::create_topics::request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_wire::messages::create_topics::response::CreatableTopicResult;
use milena_wire::messages::delete_topics::request::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::MetadataResponseTopic;
use milena_wire::{ErrorCode, Uuid};

use crate::client::{Batch, Bench, config};

fn wanted(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: -1, ..Default::default() }
}

fn create(bench: &mut Bench, version: i16, topic: CreatableTopic) -> CreatableTopicResult {
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    bench.ask(version, &request).topics[0].clone()
}

fn by_name(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: true,
        ..Default::default()
    }
}

fn names(topics: &[MetadataResponseTopic]) -> Vec<&str> {
    topics.iter().map(|topic| topic.name.as_deref().unwrap_or_default()).collect()
}

#[test]
fn created_topic_is_in_the_metadata_with_its_partitions() {
    let mut bench = Bench::new();
    for (index, version) in (2..=7).enumerate() {
        let name = format!("topic-{index}");
        let created = create(&mut bench, version, wanted(&name, 3));
        assert_eq!((created.error_code, created.error_message), (0, None));
        let metadata = bench.ask(12, &by_name(&[&name]));
        let topic = &metadata.topics[0];
        assert_eq!((topic.error_code, topic.topic_id), (0, bench.topic_id(&name)));
        let leaders: Vec<_> =
            topic.partitions.iter().map(|p| (p.partition_index, p.leader_id, p.leader_epoch)).collect();
        assert_eq!(leaders, [(0, 1, 0), (1, 1, 0), (2, 1, 0)]);
        assert_eq!((&topic.partitions[0].replica_nodes, &topic.partitions[0].isr_nodes), (&vec![1], &vec![1]));
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
        }
        if version >= 7 {
            assert_eq!(created.topic_id, topic.topic_id);
        }
    }
}

#[test]
fn topics_are_refused_with_kafkas_codes() {
    let mut bench = Bench::with_orders(1);
    bench.cluster.create_topic("a.b", 1).expect("the topic is new");
    let assigned = |index, broker| CreatableTopic {
        assignments: vec![CreatableReplicaAssignment {
            partition_index: index,
            broker_ids: vec![broker],
            ..Default::default()
        }],
        ..wanted("assigned", -1)
    };
    let rows = [
        (wanted("orders", 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (wanted("a_b", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (wanted("", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (wanted("..", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (wanted("a/b", 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (wanted(&"x".repeat(250), 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (wanted("zero", 0), ErrorCode::INVALID_PARTITIONS),
        (wanted("negative", -2), ErrorCode::INVALID_PARTITIONS),
        (wanted("many", i32::MAX), ErrorCode::POLICY_VIOLATION),
        (wanted("__cluster_metadata", 1), ErrorCode::INVALID_REQUEST),
        (wanted("__cluster_metadata", 0), ErrorCode::INVALID_REQUEST),
        (CreatableTopic { replication_factor: 3, ..wanted("r3", 1) }, ErrorCode::INVALID_REPLICATION_FACTOR),
        (CreatableTopic { replication_factor: 0, ..wanted("r0", 1) }, ErrorCode::INVALID_REPLICATION_FACTOR),
        (assigned(0, 2), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (assigned(1, 1), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (CreatableTopic { num_partitions: 1, ..assigned(0, 1) }, ErrorCode::INVALID_REQUEST),
    ];
    for (topic, code) in rows {
        let name = topic.name.clone();
        assert_eq!(ErrorCode(create(&mut bench, 7, topic).error_code), code, "{name:?}");
    }
    assert_eq!(bench.cluster.topics().count(), 2);
    assert_eq!(create(&mut bench, 7, assigned(0, 1)).error_code, 0);
}

/// Each row was seen on Kafka 4.3.1: what is too much is refused with the whole request, and counted of what would be made.
#[test]
fn requests_for_too_much_are_refused_whole() {
    let mut bench = Bench::with_orders(1);
    let mut told = |topics: &[(&str, i32)]| {
        let with_setting = |mut topic: CreatableTopic| {
            if &*topic.name == "set" {
                let value = Some("5".into());
                topic.configs.push(CreatableTopicConfig { name: "retention.ms".into(), value, ..Default::default() });
            }
            topic
        };
        let topics = topics.iter().map(|(name, count)| with_setting(wanted(name, *count))).collect();
        let request = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
        let answer = bench.ask(7, &request).topics;
        let of = |it: &CreatableTopicResult| (ErrorCode(it.error_code), it.error_message.clone().unwrap_or_default());
        answer.iter().map(|it| (it.name.to_string(), of(it))).collect::<Vec<_>>()
    };
    const PARTITIONS: &str = "Excessively large number of partitions per request.";
    const RECORDS: &str = "Unable to perform excessively large batch operation.";
    let excessive: [(&[(&str, i32)], &str); 9] = [
        (&[("a", 20_000)], PARTITIONS),
        (&[("a", 6_000), ("b", 6_000)], PARTITIONS),
        (&[("a b", 1), ("b", 20_000), ("orders", 1)], PARTITIONS),
        (&[("two", 1), ("two", 1), ("a", 20_000), ("__cluster_metadata", 1)], PARTITIONS),
        (&[("a", 10_000)], RECORDS),
        (&[("a", -5), ("b", 10_000)], RECORDS),
        (&[("set", 9_999)], RECORDS),
        (&[("a", 5_000), ("b", 4_999)], RECORDS),
        (&[("a", -1), ("b", 9_998)], RECORDS),
    ];
    for (topics, why) in excessive {
        let all = topics.iter().map(|(name, _)| ((*name).to_owned(), (ErrorCode::POLICY_VIOLATION, why.into())));
        assert_eq!(told(topics), all.collect::<Vec<_>>(), "{topics:?}");
    }
    let fine: [&[(&str, i32)]; 5] = [
        &[("a", 9_999)],
        &[("set", 9_998)],
        &[("a", 4_999), ("b", 4_999)],
        &[("a", 5_000), ("a b", 4_999)],
        &[("a", 9_999), ("two", 20_000), ("two", 20_000), ("__cluster_metadata", 20_000)],
    ];
    for topics in fine {
        assert_eq!(told(topics)[0].1.0, ErrorCode::NONE, "{topics:?}");
    }
    let prohibited = "Creation of internal topic __cluster_metadata is prohibited.";
    assert_eq!(told(&[("__cluster_metadata", 1)])[0].1, (ErrorCode::INVALID_REQUEST, prohibited.into()));
    assert_eq!(told(&[("__cluster_metadata", 1); 2])[0].1.1, "Duplicate topic name.".into());
}

#[test]
fn settings_are_taken_or_refused_by_name() {
    let mut bench = Bench::new();
    let with = |name: &str, key: &str, value: &str| CreatableTopic {
        configs: vec![CreatableTopicConfig { name: key.into(), value: Some(value.into()), ..Default::default() }],
        ..wanted(name, 1)
    };
    let refused = create(&mut bench, 7, with("unknown", "clean.policy", "compact"));
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::INVALID_CONFIG);
    assert!(refused.error_message.expect("there is one").contains("clean.policy"));
    let remote = create(&mut bench, 7, with("remote", "remote.storage.enable", "true"));
    assert_eq!(ErrorCode(remote.error_code), ErrorCode::INVALID_CONFIG);
    let wrong = create(&mut bench, 7, with("wrong", "message.timestamp.type", "Someday"));
    assert_eq!(ErrorCode(wrong.error_code), ErrorCode::INVALID_CONFIG);
    let taken = create(&mut bench, 7, with("taken", "max.message.bytes", "1000"));
    assert_eq!(taken.error_code, 0);
    let configs = taken.configs.expect("they are told");
    let size = configs.iter().find(|config| &*config.name == "max.message.bytes").expect("it is listed");
    assert_eq!((size.value.as_deref(), size.config_source), (Some("1000"), 1));
    assert_eq!(bench.cluster.topic("taken").expect("it was made").config().message_bytes_max, 1_000);
}

#[test]
fn validation_only_makes_nothing() {
    let mut bench = Bench::new();
    let request = CreateTopicsRequest { topics: vec![wanted("a", 2)], validate_only: true, ..Default::default() };
    let result = bench.ask(7, &request).topics[0].clone();
    assert_eq!((result.error_code, result.num_partitions), (0, 2));
    assert_eq!(bench.cluster.topics().count(), 0);
}

#[test]
fn topic_named_twice_in_a_request_is_not_made() {
    let mut bench = Bench::new();
    let topics = vec![wanted("a", 1), wanted("a", 2), wanted("b", 1)];
    let response = bench.ask(7, &CreateTopicsRequest { topics, ..Default::default() });
    let codes: Vec<_> = response.topics.iter().map(|topic| ErrorCode(topic.error_code)).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::INVALID_REQUEST], "it is answered once");
    assert!(bench.cluster.topic("a").is_none());
}

#[test]
fn metadata_is_asked_for_all_for_none_by_name_and_by_id() {
    let mut bench = Bench::new();
    for name in ["b", "a"] {
        bench.cluster.create_topic(name, 1).expect("the topic is new");
    }
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let all = MetadataRequest { topics: None, allow_auto_topic_creation: true, ..Default::default() };
    assert_eq!(
        names(&bench.ask(0, &MetadataRequest { allow_auto_topic_creation: true, ..none.clone() }).topics),
        ["a", "b"]
    );
    for version in 4..=13 {
        assert_eq!(names(&bench.ask(version, &all).topics), ["a", "b"], "version {version}");
        assert!(bench.ask(version, &none).topics.is_empty());
        assert_eq!(names(&bench.ask(version, &by_name(&["b"])).topics), ["b"]);
    }
    let by_id = |id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id: id, name: None, ..Default::default() }]),
        ..Default::default()
    };
    let id = bench.topic_id("b");
    assert_eq!(names(&bench.ask(12, &by_id(id)).topics), ["b"]);
    let unknown = bench.ask(12, &by_id(Uuid([9; 16]))).topics[0].clone();
    assert_eq!((ErrorCode(unknown.error_code), unknown.topic_id), (ErrorCode::UNKNOWN_TOPIC_ID, Uuid([9; 16])));
    for version in [10, 11, 12] {
        let topic = bench.ask(version, &by_id(id)).topics[0].clone();
        let expected = if version < 12 { (ErrorCode::INVALID_REQUEST, Some("")) } else { (ErrorCode::NONE, Some("b")) };
        assert_eq!((ErrorCode(topic.error_code), topic.name.as_deref()), expected);
    }
}

#[test]
fn operations_are_told_when_asked_for() {
    let mut bench = Bench::with_orders(1);
    let request = MetadataRequest {
        include_topic_authorized_operations: true,
        include_cluster_authorized_operations: true,
        ..by_name(&["orders"])
    };
    let metadata = bench.ask(9, &request);
    assert_eq!(metadata.topics[0].topic_authorized_operations, 3_576);
    assert_eq!(metadata.cluster_authorized_operations, 8_096);
}

#[test]
fn missing_topic_is_made_only_if_broker_and_client_want_it() {
    let missing = |auto_create_topics, allow_auto_topic_creation| {
        let mut bench = Bench::with(ClusterConfig { auto_create_topics, default_partitions: 2, ..config() });
        let request =
            MetadataRequest { allow_auto_topic_creation, ..by_name(&["new", "bad name", "__cluster_metadata"]) };
        let topics = bench.ask(9, &request).topics;
        assert_eq!(ErrorCode(topics[2].error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(ErrorCode(topics[1].error_code), ErrorCode::INVALID_TOPIC_EXCEPTION);
        (ErrorCode(topics[0].error_code), topics[0].partitions.len())
    };
    assert_eq!(missing(true, true), (ErrorCode::NONE, 2));
    assert_eq!(missing(true, false), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0));
    assert_eq!(missing(false, true), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0));
}

#[test]
fn topic_is_deleted_by_name_in_every_version_and_by_id_in_the_newest() {
    let mut bench = Bench::new();
    for version in 1..=5 {
        bench.cluster.create_topic("a", 1).expect("the topic is new");
        let request = DeleteTopicsRequest { topic_names: vec!["a".into(), "b".into()], ..Default::default() };
        let codes: Vec<_> = bench.ask(version, &request).responses.iter().map(|r| ErrorCode(r.error_code)).collect();
        assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
        assert!(bench.cluster.topic("a").is_none());
    }
    let id = bench.cluster.create_topic("a", 1).expect("the topic is new");
    let state =
        |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(Into::into), topic_id, ..Default::default() };
    let topics = vec![state(None, id), state(Some("b"), id), state(None, Uuid::ZERO), state(Some("x"), Uuid::ZERO)];
    let responses = bench.ask(6, &DeleteTopicsRequest { topics, ..Default::default() }).responses;
    let codes: Vec<_> = responses.iter().map(|response| ErrorCode(response.error_code)).collect();
    let both_or_none = ErrorCode::INVALID_REQUEST;
    assert_eq!(codes, [ErrorCode::NONE, both_or_none, both_or_none, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(responses[0].name.as_deref(), Some("a"));
}

#[test]
fn topic_to_be_deleted_twice_stays_and_is_answered_once() {
    let mut bench = Bench::with_orders(1);
    let request = DeleteTopicsRequest { topic_names: vec!["orders".into(), "orders".into()], ..Default::default() };
    let codes: Vec<_> = bench.ask(5, &request).responses.iter().map(|r| ErrorCode(r.error_code)).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST]);
    assert!(bench.cluster.topic("orders").is_some());
}

#[test]
fn topic_made_again_has_another_id_and_an_empty_log() {
    let mut bench = Bench::with_orders(1);
    let old = bench.topic_id("orders");
    bench.produced(Batch::of(&["a"]));
    bench.cluster.delete_topic(bench.now, "orders").expect("memory deletes");
    bench.cluster.create_topic("orders", 1).expect("the name is free");
    assert_ne!(bench.topic_id("orders"), old);
    assert!(bench.values().is_empty());
}

#[test]
fn same_seed_gives_the_same_ids() {
    let id = |seed| {
        let mut bench = Bench::with(ClusterConfig { seed, ..config() });
        let id = bench.cluster.create_topic("a", 1).expect("the topic is new");
        (bench.cluster.cluster_id().to_owned(), id)
    };
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}
