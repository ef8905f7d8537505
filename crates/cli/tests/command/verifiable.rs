//! `milena verifiable-producer`: the events of Kafka's system tests, and those that they lack.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Folder, Running, json_lines};
use crate::round_trip::broker;
use crate::stubborn::Stubborn;

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["name"].as_str().expect("every event has a name")).collect()
}

/// Without the time, which ascends.
fn without_times(mut events: Vec<Value>) -> Vec<Value> {
    let mut last = 0;
    for event in &mut events {
        let timestamp = event.as_object_mut().expect("an event").remove("timestamp").expect("every event has a time");
        let timestamp = timestamp.as_u64().expect("a number");
        assert!(timestamp >= last.max(1_700_000_000_000), "{event}");
        last = timestamp;
    }
    events
}

#[test]
fn increasing_numbers_are_sent_and_told_and_an_audit_proves_it() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 1", b"").with_code(0);
    folder.run("produce orders", b"before\n").with_code(0);
    let arguments = "verifiable-producer --topic orders --max-messages 3 --value-prefix 7 --repeating-keys 2";
    let events = folder.run(&format!("{arguments} --message-create-time 5000 --throughput 1000"), b"").with_code(0);
    let mut events = without_times(events.json());
    let data = events.pop().expect("the last event");
    let id = events[0]["topic_id"].clone();
    assert!(id.is_string(), "{}", events[0]);
    let success = |key: &str, value: &str, offset: i64| json!({"name": "producer_send_success", "key": key, "value": value, "topic": "orders", "partition": 0, "offset": offset});
    let expected = [
        json!({"name": "startup_complete", "topic": "orders", "topic_id": id, "from_offsets": [1]}),
        success("0", "7.0", 1),
        success("1", "7.1", 2),
        success("0", "7.2", 3),
        json!({"name": "shutdown_complete"}),
    ];
    assert_eq!(events, expected);
    for (field, expected) in
        [("sent", 3), ("acked", 3), ("target_throughput", 1000), ("not_written", 0), ("unknown", 0)]
    {
        assert_eq!(data[field], json!(expected), "{data}");
    }
    assert!(data["avg_throughput"].as_f64().is_some_and(|rate| rate > 0.0), "{data}");
    let printed = folder.run("consume orders -o 1 --json", b"").with_code(0).json();
    let times: Vec<i64> = printed.iter().map(|record| record["timestamp"].as_i64().expect("a number")).collect();
    assert!((5000..65_000).contains(&times[0]) && times.is_sorted(), "{times:?}");

    let more = folder.run("verifiable-producer --topic orders --max-messages 2000", b"").with_code(0).stdout;
    fs::write(folder.path().join("events"), &more).expect("is written");
    let events = json_lines(&more);
    assert_eq!((events.len(), &events[1]["key"]), (2003, &Value::Null));
    let summary = folder.run("audit events --json", b"").with_code(0).json().remove(0);
    assert_eq!((&summary["proved"], &summary["records"]), (&json!(2000), &json!(2000)), "{summary}");
    folder.run("produce orders", b"1999\n").with_code(0);
    let refuted = folder.run("audit events --json", b"").with_code(4).json();
    assert_eq!((&refuted[0]["refuted"], &refuted[0]["line"]), (&json!("duplicated"), &json!(2000)), "{}", refuted[0]);
}

#[test]
fn both_signals_end_it_with_the_last_events() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    folder.run(&format!("topics create orders --partitions 1 -b {address}"), b"").with_code(0);
    for signal in ["-TERM", "-INT"] {
        let arguments = format!("verifiable-producer --topic orders -b {address}");
        let running = folder.start(&arguments);
        let begun = std::time::Instant::now();
        while folder.run(&format!("consume orders -c 1 -b {address}"), b"").stdout.is_empty() {
            assert!(begun.elapsed() < crate::process::PATIENCE, "nothing is written");
        }
        send(signal, &running);
        let ended = running.end_by_itself().with_code(0);
        assert!(ended.says("a second signal ends at once"), "{}", ended.stderr);
        let events = ended.json();
        let written = events.iter().filter(|event| event["name"] == "producer_send_success").count();
        let (last, data) = (&names(&events)[events.len() - 2..], &events[events.len() - 1]);
        assert_eq!(last, ["shutdown_complete", "tool_data"]);
        assert_eq!((&data["sent"], &data["acked"]), (&json!(written), &json!(written)), "{data}");
        folder.run(&format!("topics delete orders -b {address}"), b"").with_code(0);
        folder.run(&format!("topics create orders --partitions 1 -b {address}"), b"").with_code(0);
    }
}

fn send(signal: &str, running: &Running) {
    let sent = Command::new("kill").args([signal, &running.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

#[test]
fn a_record_in_doubt_is_unknown_and_then_settled() {
    let folder = Folder::new();
    let late = Stubborn::late(Duration::from_secs(2));
    let arguments = "verifiable-producer --topic orders --max-messages 1 --deadline 1s";
    let ended = folder.run(&format!("{arguments} -b {}", late.address()), b"").with_code(0);
    let events = ended.json();
    let expected =
        ["startup_complete", "producer_send_unknown", "producer_send_settled", "shutdown_complete", "tool_data"];
    assert_eq!(names(&events), expected);
    assert_eq!((&events[1]["key"], &events[1]["value"]), (&Value::Null, &json!("0")), "{}", events[1]);
    assert_eq!((&events[2]["settlement"], &events[2]["offset"]), (&json!("written"), &json!(0)), "{}", events[2]);
    assert_eq!((&events[4]["acked"], &events[4]["unknown"]), (&json!(1), &json!(0)), "{}", events[4]);

    let silent = Stubborn::silent();
    let ended = folder.run(&format!("{arguments} --close-timeout 0s -b {}", silent.address()), b"").with_code(0);
    let events = ended.json();
    assert_eq!(names(&events), expected);
    let settled = &events[2];
    assert_eq!((&settled["settlement"], &settled["reason"]), (&json!("undetermined"), &json!("closed_before_proof")));
    assert_eq!((&events[4]["acked"], &events[4]["unknown"]), (&json!(0), &json!(1)), "{}", events[4]);
}

#[test]
fn an_error_is_certain_and_named_as_java_names_it() {
    let folder = Folder::new();
    let refusing = Stubborn::refusing();
    let arguments = "verifiable-producer --topic orders --max-messages 1";
    let events = folder.run(&format!("{arguments} -b {}", refusing.address()), b"").with_code(0).json();
    let failed = &events[1];
    assert_eq!(failed["exception"], json!("class org.apache.kafka.common.errors.TopicAuthorizationException"));
    assert_eq!((&failed["outcome"], &failed["kafka_error"]), (&json!("not_written"), &json!(29)), "{failed}");
    assert!(failed["message"].is_string() && failed["value"] == "0", "{failed}");

    // Brokers that are away are told of by the records, with the settings of a file.
    fs::write(folder.path().join("settings"), "bootstrap.servers=127.0.0.1:1\nmilena.deadline.ms=100\n")
        .expect("is written");
    for option in ["--command-config", "--producer.config"] {
        let events = folder.run(&format!("{arguments} {option} settings"), b"").with_code(0).json();
        assert_eq!(names(&events), ["startup_complete", "producer_send_error", "shutdown_complete", "tool_data"]);
        assert_eq!(events[0].as_object().expect("an event").len(), 2, "{}", events[0]);
        assert_eq!(events[1]["exception"], json!("class org.apache.kafka.common.errors.TimeoutException"));
        assert_eq!((&events[3]["sent"], &events[3]["not_written"]), (&json!(1), &json!(1)), "{}", events[3]);
    }
}
