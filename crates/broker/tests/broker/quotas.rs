//! Client quotas (KIP-546): kept, listed, and felt. What is expected here was seen on Kafka 4.3.1.

use std::time::Duration;

use milena_broker::{Directory, Event};
use milena_wire::ErrorCode;
use milena_wire::messages::alter_client_quotas::request::{AlterClientQuotasRequest, EntityData, EntryData, OpData};
use milena_wire::messages::describe_client_quotas::request::{ComponentData, DescribeClientQuotasRequest};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::produce::request::ProduceRequest;

use crate::client::{Batch, Bench, config, produce};
use crate::restart::Folder;

/// Kind, and name; none for the default.
type Part<'a> = (&'a str, Option<&'a str>);

fn entry(entity: &[Part<'_>], ops: &[(&str, f64, bool)]) -> EntryData {
    let part = |(kind, name): &Part<'_>| EntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(Into::into),
        ..Default::default()
    };
    let op = |(key, value, remove): &(&str, f64, bool)| OpData {
        key: (*key).into(),
        value: *value,
        remove: *remove,
        ..Default::default()
    };
    EntryData { entity: entity.iter().map(part).collect(), ops: ops.iter().map(op).collect(), ..Default::default() }
}

fn alter(bench: &mut Bench, version: i16, entries: Vec<EntryData>, validate_only: bool) -> Vec<ErrorCode> {
    let request = AlterClientQuotasRequest { entries, validate_only, ..Default::default() };
    bench.ask(version, &request).entries.iter().map(|entry| ErrorCode(entry.error_code)).collect()
}

fn set(bench: &mut Bench, entity: &[Part<'_>], ops: &[(&str, f64, bool)]) -> ErrorCode {
    alter(bench, 1, vec![entry(entity, ops)], false)[0]
}

type Condition<'a> = (&'a str, i8, Option<&'a str>);

fn describe(bench: &mut Bench, version: i16, conditions: &[Condition<'_>], strict: bool) -> (ErrorCode, Vec<String>) {
    let component = |(kind, match_type, name): &Condition<'_>| ComponentData {
        entity_type: (*kind).into(),
        match_type: *match_type,
        match_: name.map(Into::into),
        ..Default::default()
    };
    let request = DescribeClientQuotasRequest {
        components: conditions.iter().map(component).collect(),
        strict,
        ..Default::default()
    };
    let response = bench.ask(version, &request);
    let line = |entry: &milena_wire::messages::describe_client_quotas::response::EntryData| {
        let parts =
            entry.entity.iter().map(|it| format!("{}={}", it.entity_type, it.entity_name.as_deref().unwrap_or("*")));
        let values = entry.values.iter().map(|it| format!("{}={}", it.key, it.value));
        parts.chain(values).collect::<Vec<_>>().join(" ")
    };
    (ErrorCode(response.error_code), response.entries.iter().flatten().map(line).collect())
}

fn with_some() -> Bench {
    let mut bench = Bench::with_orders(1);
    let entries = vec![
        entry(&[("client-id", Some("a"))], &[("producer_byte_rate", 1_000.0, false)]),
        entry(&[("client-id", None)], &[("consumer_byte_rate", 500.0, false), ("request_percentage", 50.5, false)]),
        entry(&[("user", Some("u")), ("client-id", Some("a"))], &[("producer_byte_rate", 10.0, false)]),
        entry(&[("user", None)], &[("producer_byte_rate", 7.0, false)]),
    ];
    assert_eq!(alter(&mut bench, 1, entries, false), [ErrorCode::NONE; 4]);
    bench
}

#[test]
fn quotas_are_listed_by_whom_they_are_for() {
    let mut bench = with_some();
    let a = "client-id=a producer_byte_rate=1000";
    let of_u = "client-id=a user=u producer_byte_rate=10";
    let any = "client-id=* consumer_byte_rate=500 request_percentage=50.5";
    let users = "user=* producer_byte_rate=7";
    let rows: [(&[Condition<'_>], bool, &[&str]); 9] = [
        (&[], false, &[a, any, of_u, users]),
        (&[], true, &[]),
        (&[("client-id", 0, Some("a"))], false, &[a, of_u]),
        (&[("client-id", 0, Some("a"))], true, &[a]),
        (&[("client-id", 1, None)], false, &[any]),
        (&[("client-id", 2, None)], true, &[a, any]),
        (&[("user", 2, None), ("client-id", 2, None)], true, &[of_u]),
        (&[("user", 2, None)], true, &[users]),
        (&[("ip", 2, None)], true, &[]),
    ];
    for (conditions, strict, expected) in rows {
        for version in [0, 1] {
            let (code, mut told) = describe(&mut bench, version, conditions, strict);
            told.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(
                (code, told),
                (ErrorCode::NONE, expected.iter().map(|it| (*it).to_owned()).collect()),
                "{conditions:?}"
            );
        }
    }
    let refused: [(&[Condition<'_>], ErrorCode); 8] = [
        (&[("foo", 2, None)], ErrorCode::UNSUPPORTED_VERSION),
        (&[("", 2, None)], ErrorCode::INVALID_REQUEST),
        (&[("client-id", 7, None)], ErrorCode::INVALID_REQUEST),
        (&[("client-id", 0, None)], ErrorCode::INVALID_REQUEST),
        (&[("client-id", 1, Some("a"))], ErrorCode::INVALID_REQUEST),
        (&[("client-id", 2, Some("a"))], ErrorCode::INVALID_REQUEST),
        (&[("client-id", 2, None), ("client-id", 2, None)], ErrorCode::INVALID_REQUEST),
        (&[("ip", 2, None), ("user", 2, None)], ErrorCode::INVALID_REQUEST),
    ];
    for (conditions, code) in refused {
        assert_eq!(describe(&mut bench, 1, conditions, true), (code, vec![]), "{conditions:?}");
    }
}

#[test]
fn quotas_are_refused_with_kafkas_codes() {
    let mut bench = Bench::with_orders(1);
    let client: &[Part<'_>] = &[("client-id", Some("a"))];
    let address: &[Part<'_>] = &[("ip", Some("127.0.0.1"))];
    let rows: [(&[Part<'_>], &str, f64); 15] = [
        (client, "producer_byte_rate", 1000.5),
        (client, "producer_byte_rate", 0.0),
        (client, "producer_byte_rate", -1.0),
        (client, "producer_byte_rate", f64::NAN),
        (client, "producer_byte_rate", f64::INFINITY),
        (client, "consumer_byte_rate", 1e30),
        (client, "foo", 10.0),
        (client, "connection_creation_rate", 10.0),
        (client, "controller_mutation_rate", 10.0),
        (address, "producer_byte_rate", 10.0),
        (address, "connection_creation_rate", 10.0),
        (&[("ip", Some("bad host!"))], "connection_creation_rate", 10.0),
        (&[("ip", Some("1.1.1.1")), ("user", Some("a"))], "connection_creation_rate", 1.0),
        (&[], "producer_byte_rate", 1.0),
        (&[("client-id", Some(""))], "producer_byte_rate", 1.0),
    ];
    for (entity, key, value) in rows {
        assert_eq!(
            set(&mut bench, entity, &[(key, value, false)]),
            ErrorCode::INVALID_REQUEST,
            "{entity:?} {key}={value}"
        );
    }
    assert_eq!(set(&mut bench, &[("foo", Some("a"))], &[]), ErrorCode::INVALID_REQUEST);
    let twice = [("producer_byte_rate", 1.0, false), ("producer_byte_rate", 2.0, false)];
    assert_eq!(set(&mut bench, client, &twice), ErrorCode::INVALID_REQUEST);
    let good = || entry(client, &[("producer_byte_rate", 1.0, false)]);
    assert_eq!(alter(&mut bench, 1, vec![good(), good()], false), [ErrorCode::INVALID_REQUEST], "it is answered once");
    for version in [0, 1] {
        assert_eq!(alter(&mut bench, version, vec![good()], true), [ErrorCode::NONE]);
    }
    assert_eq!(describe(&mut bench, 1, &[], false).1, Vec::<String>::new(), "nothing was taken");
    assert_eq!(set(&mut bench, client, &[("producer_byte_rate", 1.0, true), ("foo", 1.0, true)]), ErrorCode::NONE);
    assert_eq!(set(&mut bench, client, &[]), ErrorCode::NONE);
}

#[test]
fn writer_of_too_much_is_told_so_and_not_read_meanwhile() {
    let mut bench = Bench::with_orders(1);
    // A request has some two hundred bytes: ten seconds' worth are a hundred.
    assert_eq!(
        set(&mut bench, &[("client-id", Some("test"))], &[("producer_byte_rate", 10.0, false)]),
        ErrorCode::NONE
    );
    let writer = bench.connect();
    for value in ["a", "b"] {
        bench.send(writer, 12, &produce("orders", 0, Batch::of(&[value])));
    }
    let first = bench.response::<ProduceRequest>(writer, 12);
    assert_eq!((first.responses[0].partition_responses[0].error_code, bench.values()), (0, vec!["a".to_owned()]));
    let wait = first.throttle_time_ms;
    assert!((100..60_000).contains(&wait), "{wait}");
    assert!(bench.cluster.is_muted(writer));
    bench.advance(Duration::from_millis(wait as u64 - 1));
    assert_eq!(bench.event(), None);
    bench.advance(Duration::from_millis(2));
    assert!(matches!(bench.event(), Some(Event::Response { .. })));
    assert_eq!(bench.values(), ["a", "b"]);
    // Others are not measured with it, and other requests not by it.
    assert_eq!(bench.ask(12, &MetadataRequest { topics: None, ..Default::default() }).throttle_time_ms, 0);
    let removed = set(&mut bench, &[("client-id", Some("test"))], &[("producer_byte_rate", 0.0, true)]);
    assert_eq!(
        (removed, bench.ask(12, &produce("orders", 0, Batch::of(&["c"]))).throttle_time_ms),
        (ErrorCode::NONE, 0)
    );
}

fn fetch(session: (i32, i32)) -> FetchRequest {
    let asked = FetchPartition { partition_max_bytes: 1_000_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![asked], ..Default::default() };
    FetchRequest {
        max_bytes: 1_000_000,
        min_bytes: 1,
        session_id: session.0,
        session_epoch: session.1,
        topics: vec![topic],
        ..Default::default()
    }
}

#[test]
fn reader_of_too_much_gets_nothing_until_it_has_waited() {
    let mut bench = Bench::with_orders(1);
    let size = Batch::of(&["a"]).bytes().len();
    for _ in 0..20 {
        bench.produced(Batch::of(&["a"]));
    }
    let id = bench.ask(12, &fetch((0, 0))).session_id;
    assert!(id > 0);
    // Some two batches a second.
    let rate = (2 * size) as f64;
    assert_eq!(set(&mut bench, &[("user", None)], &[("consumer_byte_rate", rate, false)]), ErrorCode::NONE);
    let reader = bench.connect();
    bench.send(reader, 12, &fetch((id, 1)));
    let first = bench.response::<FetchRequest>(reader, 12);
    let bytes = first.responses[0].partitions[0].records.as_ref().map_or(0, |records| records.len());
    assert_eq!(first.throttle_time_ms, 0, "ten seconds' worth are not too much");
    assert!(bytes <= 20 * size && bytes >= 10 * size, "{bytes}");
    bench.send(reader, 12, &fetch((id, 2)));
    let second = bench.response::<FetchRequest>(reader, 12);
    assert_eq!((second.error_code, second.session_id, second.responses.len()), (0, id, 0));
    assert!(second.throttle_time_ms > 0);
    assert!(bench.cluster.is_muted(reader));
    // Eleven seconds later it has all forgotten.
    bench.advance(Duration::from_secs(11));
    bench.send(reader, 12, &fetch((id, 3)));
    assert_eq!(bench.response::<FetchRequest>(reader, 12).responses.len(), 1);
}

#[test]
fn waiting_reader_is_measured_when_it_is_answered() {
    let mut bench = Bench::with_orders(1);
    assert_eq!(set(&mut bench, &[("client-id", None)], &[("consumer_byte_rate", 1.0, false)]), ErrorCode::NONE);
    let reader = bench.connect();
    bench.send(reader, 12, &FetchRequest { max_wait_ms: 60_000, ..fetch((0, -1)) });
    assert_eq!(bench.event(), None);
    let writer = bench.connect();
    bench.send(writer, 12, &produce("orders", 0, Batch::of(&["a"])));
    let answer = bench.response::<FetchRequest>(reader, 12);
    assert!(answer.throttle_time_ms > 0 && answer.responses.is_empty());
    assert!(bench.cluster.is_muted(reader));
}

#[test]
fn requests_of_any_kind_take_time() {
    let mut bench = Bench::with_orders(1);
    // A ten thousandth of a second each: ten seconds' worth of a thousandth of a percent is one of them.
    assert_eq!(
        set(&mut bench, &[("client-id", Some("test"))], &[("request_percentage", 0.001, false)]),
        ErrorCode::NONE
    );
    let mut waits = || bench.ask(12, &MetadataRequest { topics: None, ..Default::default() }).throttle_time_ms;
    let waits: Vec<i32> = (0..5).map(|_| waits()).collect();
    assert_eq!(waits.last(), Some(&1_000), "no more than a second: {waits:?}");
}

#[test]
fn quotas_outlive_a_restart() {
    let folder = Folder::new();
    let open = || Bench::open(config(), Box::new(Directory::open(folder.path()).expect("it is ours")));
    let mut bench = open();
    assert_eq!(
        set(&mut bench, &[("client-id", Some("a b=c\n%"))], &[("request_percentage", 0.5, false)]),
        ErrorCode::NONE
    );
    assert_eq!(
        set(&mut bench, &[("user", None), ("client-id", None)], &[("producer_byte_rate", 5.0, false)]),
        ErrorCode::NONE
    );
    let before = describe(&mut bench, 1, &[], false).1;
    drop(bench);
    assert_eq!(describe(&mut open(), 1, &[], false).1, before);
    assert_eq!(before.len(), 2);
}
