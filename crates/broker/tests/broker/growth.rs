//! Topics that grow, and topics described page by page. What is expected here was seen on Kafka 4.3.1.

use milena_wire::ErrorCode;
use milena_wire::messages::create_partitions::request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_wire::messages::describe_topic_partitions::request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use milena_wire::messages::describe_topic_partitions::response::DescribeTopicPartitionsResponse;

use crate::client::{Batch, Bench, config_of_nodes, produce};

fn wanted(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assigned = |nodes: &&[i32]| CreatePartitionsAssignment { broker_ids: nodes.to_vec(), ..Default::default() };
    CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assignments.map(|assignments| assignments.iter().map(assigned).collect()),
        ..Default::default()
    }
}

fn grow(bench: &mut Bench, version: i16, topics: Vec<CreatePartitionsTopic>, validate_only: bool) -> Vec<ErrorCode> {
    let request = CreatePartitionsRequest { topics, validate_only, timeout_ms: 1_000, ..Default::default() };
    bench.ask(version, &request).results.iter().map(|result| ErrorCode(result.error_code)).collect()
}

fn replicas(bench: &Bench, partition: usize) -> Vec<i32> {
    let topic = bench.cluster.topic("orders").expect("it is there");
    topic.partitions()[partition].replicas().map(|node| node.0).collect()
}

#[test]
fn topic_grows_and_its_new_partitions_take_batches() {
    let mut bench = Bench::with(config_of_nodes(3));
    bench.cluster.create_topic("orders", 1).expect("the topic is new");
    for (version, count) in (0..=3).zip(2..) {
        assert_eq!(grow(&mut bench, version, vec![wanted("orders", count, None)], true), [ErrorCode::NONE]);
        assert_eq!(bench.cluster.topic("orders").expect("it is there").partitions().len() as i32, count - 1);
        assert_eq!(grow(&mut bench, version, vec![wanted("orders", count, None)], false), [ErrorCode::NONE]);
    }
    assert_eq!(replicas(&bench, 4), [2, 3, 1]);
    assert_eq!(grow(&mut bench, 3, vec![wanted("orders", 6, Some(&[&[3, 1, 2]]))], false), [ErrorCode::NONE]);
    assert_eq!(replicas(&bench, 5), [3, 1, 2]);
    let response = bench.ask_node(3, 9, &produce("orders", 5, Batch::of(&["a"])));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn growth_is_refused_with_kafkas_codes() {
    let mut bench = Bench::with(config_of_nodes(3));
    for name in ["orders", "others"] {
        bench.cluster.create_topic(name, 2).expect("the topic is new");
    }
    type Placed<'a> = Option<&'a [&'a [i32]]>;
    let rows: [(i32, Placed<'_>, ErrorCode); 12] = [
        (2, None, ErrorCode::INVALID_PARTITIONS),
        (1, None, ErrorCode::INVALID_PARTITIONS),
        (0, None, ErrorCode::INVALID_PARTITIONS),
        (-1, None, ErrorCode::INVALID_PARTITIONS),
        (i32::MIN, None, ErrorCode::INVALID_PARTITIONS),
        (i32::MAX, None, ErrorCode::UNKNOWN_SERVER_ERROR),
        (3, Some(&[]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (3, Some(&[&[1, 2, 3], &[1, 2, 3]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (3, Some(&[&[1, 2]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (3, Some(&[&[1, 1, 2]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (3, Some(&[&[1, 2, 9]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (3, Some(&[&[]]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
    ];
    for (count, assignments, code) in rows {
        assert_eq!(
            grow(&mut bench, 3, vec![wanted("orders", count, assignments)], false),
            [code],
            "{count} {assignments:?}"
        );
    }
    for name in ["nope", "", "a/b"] {
        let refused = grow(&mut bench, 3, vec![wanted(name, 3, None)], false);
        assert_eq!(refused, [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "{name:?}");
    }
    let twice = vec![wanted("orders", 3, None), wanted("orders", 4, None), wanted("others", 3, None)];
    assert_eq!(grow(&mut bench, 3, twice, false), [ErrorCode::INVALID_REQUEST, ErrorCode::NONE]);
    assert_eq!(bench.cluster.topic("orders").expect("it is there").partitions().len(), 2);
}

/// The controller writes a record for each new partition, and 10,000 for a request; Kafka has no words for more.
#[test]
fn a_topic_grows_by_ten_thousand_at_once_and_beyond_by_steps() {
    let partitions = |bench: &Bench| bench.cluster.topic("orders").expect("it is there").partitions().len();
    let (none, too_many) = (ErrorCode::NONE, ErrorCode::UNKNOWN_SERVER_ERROR);
    let mut bench = Bench::new();
    for name in ["orders", "others"] {
        bench.cluster.create_topic(name, 1).expect("the topic is new");
    }
    for validate_only in [true, false] {
        assert_eq!(grow(&mut bench, 3, vec![wanted("orders", 10_002, None)], validate_only), [too_many]);
        let nodes: Vec<&[i32]> = vec![&[1]; 10_001];
        assert_eq!(grow(&mut bench, 3, vec![wanted("orders", 10_002, Some(&nodes))], validate_only), [too_many]);
    }
    let both = vec![wanted("orders", 9_002, None), wanted("others", 1_001, None)];
    assert_eq!(grow(&mut bench, 3, both, true), [none, too_many]);
    assert_eq!(partitions(&bench), 1);
    for count in [10_001, 10_003] {
        assert_eq!(grow(&mut bench, 3, vec![wanted("orders", count, None)], false), [none]);
    }
    assert_eq!(partitions(&bench), 10_003);
}

fn page(bench: &mut Bench, names: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsResponse {
    let asked = |name: &&str| TopicRequest { name: (*name).into(), ..Default::default() };
    let cursor =
        cursor.map(|(name, index)| Cursor { topic_name: name.into(), partition_index: index, ..Default::default() });
    let request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(asked).collect(),
        response_partition_limit: limit,
        cursor,
        ..Default::default()
    };
    bench.ask(0, &request)
}

type Told<'a> = (Vec<(ErrorCode, &'a str, usize)>, Option<(&'a str, i32)>);

fn told(page: &DescribeTopicPartitionsResponse) -> Told<'_> {
    let topics = page
        .topics
        .iter()
        .map(|topic| (ErrorCode(topic.error_code), topic.name.as_deref().expect("it has one"), topic.partitions.len()));
    (topics.collect(), page.next_cursor.as_ref().map(|cursor| (&*cursor.topic_name, cursor.partition_index)))
}

#[test]
fn topics_are_described_page_by_page() {
    let mut bench = Bench::with(config_of_nodes(2));
    for (name, partitions) in [("alpha", 1), ("parts", 5), ("zeta", 5)] {
        bench.cluster.create_topic(name, partitions).expect("the topic is new");
    }
    let (none, missing) = (ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let all = page(&mut bench, &[], 2_000, None);
    assert_eq!(told(&all), (vec![(none, "alpha", 1), (none, "parts", 5), (none, "zeta", 5)], None));
    let partition = &all.topics[1].partitions[1];
    assert_eq!((partition.leader_id, partition.leader_epoch, &*partition.isr_nodes), (2, 0, &[2, 1][..]));
    assert_eq!(
        (partition.eligible_leader_replicas.as_deref(), partition.last_known_elr.as_deref()),
        (Some(&[][..]), Some(&[][..]))
    );
    assert_eq!(all.topics[1].topic_authorized_operations, 3_576);
    let named = page(&mut bench, &["zeta", "parts", "nope", "zeta"], 2_000, None);
    assert_eq!(told(&named), (vec![(missing, "nope", 0), (none, "parts", 5), (none, "zeta", 5)], None));
    let first = page(&mut bench, &["zeta", "parts"], 3, None);
    assert_eq!(told(&first), (vec![(none, "parts", 3)], Some(("parts", 3))));
    let second = page(&mut bench, &["zeta", "parts"], 3, Some(("parts", 3)));
    assert_eq!(told(&second), (vec![(none, "parts", 2), (none, "zeta", 1)], Some(("zeta", 1))));
    assert_eq!(second.topics[0].partitions[0].partition_index, 3);
    let from_a_gap = page(&mut bench, &[], 3, Some(("b", 0)));
    assert_eq!(told(&from_a_gap), (vec![(none, "parts", 3)], Some(("parts", 3))));
    let behind = page(&mut bench, &["parts"], 2, Some(("parts", i32::MAX)));
    assert_eq!(told(&behind), (vec![(none, "parts", 0)], None));
}

#[test]
fn pages_take_any_limit_and_refuse_cursors_that_lead_nowhere() {
    let mut bench = Bench::with_orders(3);
    for limit in [0, -1, i32::MIN] {
        let one = page(&mut bench, &["orders"], limit, None);
        assert_eq!(told(&one), (vec![(ErrorCode::NONE, "orders", 1)], Some(("orders", 1))), "limit {limit}");
    }
    for (names, cursor) in [(&["orders"][..], ("orders", -1)), (&["orders"], ("other", 0)), (&[], ("orders", i32::MIN))]
    {
        let refused = page(&mut bench, names, 10, Some(cursor));
        assert!(refused.topics.iter().all(|topic| ErrorCode(topic.error_code) == ErrorCode::INVALID_REQUEST));
        assert_eq!(refused.topics.len(), names.len());
    }
    let unnameable = page(&mut bench, &["a/b"], 10, None);
    assert_eq!(told(&unnameable), (vec![(ErrorCode::INVALID_TOPIC_EXCEPTION, "a/b", 0)], None));
    let nameless = page(&mut bench, &["a/b", ""], 10, None);
    assert!(nameless.topics.iter().all(|topic| ErrorCode(topic.error_code) == ErrorCode::UNKNOWN_SERVER_ERROR));
    let names: Vec<String> = (0..20_000).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(page(&mut bench, &names, 10, None).topics.len(), 20_000);
}
