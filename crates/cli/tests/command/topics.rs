//! `milena topics`.

use serde_json::json;

use crate::process::Folder;
use crate::round_trip::broker;

#[test]
fn topics_are_listed_by_name_as_text_and_as_json() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    folder.run("topics create accounts --partitions 1", b"").with_code(0);
    let listed = folder.run("topics list", b"").with_code(0).stdout;
    assert_eq!(String::from_utf8_lossy(&listed), "accounts\t1\t1\norders\t3\t1\n");
    let listed = folder.run("topics list --json", b"").with_code(0).json();
    for (line, (topic, partitions)) in listed.iter().zip([("accounts", 1), ("orders", 3)]) {
        assert_eq!((&line["topic"], &line["partitions"]), (&json!(topic), &json!(partitions)), "{line}");
        assert_eq!((&line["replication_factor"], &line["internal"]), (&json!(1), &json!(false)), "{line}");
        assert!(line["id"].as_str().is_some_and(|id| id.len() == 22), "{line}");
    }
    assert_eq!(listed.len(), 2);
}

#[test]
fn no_topics_are_no_lines() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    for options in ["", "--json", "--internal"] {
        let listed = folder.run(&format!("topics list {options} --bootstrap {address}"), b"").with_code(0);
        assert!(listed.stdout.is_empty());
    }
    let missing = folder.run(&format!("topics describe orders --bootstrap {address}"), b"").with_code(2);
    assert!(missing.says("topic orders does not exist; milena topics list has those that do"), "{}", missing.stderr);
    assert!(missing.stdout.is_empty());
}

#[test]
fn a_topic_is_described_with_leaders_replicas_and_offsets() {
    let folder = Folder::new();
    let mut brokers = folder.start("broker --listen 127.0.0.1:0 --nodes 3 --memory");
    let line = brokers.await_line("3 brokers run at ");
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("it is told");
    let server = format!("-b {}", address.trim_end_matches(','));
    folder.run(&format!("topics create orders --partitions 2 --replication-factor 3 {server}"), b"").with_code(0);
    folder.run(&format!("produce orders -p 1 {server}"), b"a\nb\n").with_code(0);
    let described = folder.run(&format!("topics describe orders --json {server}"), b"").with_code(0).json();
    let [described] = &described[..] else { panic!("one line: {described:?}") };
    assert_eq!(described["topic"], json!("orders"));
    let partitions = described["partitions"].as_array().expect("is a list");
    for (number, (partition, end)) in partitions.iter().zip([0, 2]).enumerate() {
        assert_eq!(partition["partition"], json!(number));
        assert!(partition["leader"].is_i64() && partition["leader_epoch"].is_i64(), "{partition}");
        assert_eq!(partition["replicas"].as_array().map(Vec::len), Some(3), "{partition}");
        assert_eq!(partition["isr"].as_array().map(Vec::len), Some(3), "{partition}");
        assert_eq!(partition["replicas"][0], partition["leader"], "{partition}");
        assert_eq!((&partition["offline"], &partition["first_offset"]), (&json!([]), &json!(0)), "{partition}");
        assert_eq!(partition["end_offset"], json!(end), "{partition}");
    }
    assert_eq!(partitions.len(), 2);
    let text = String::from_utf8(folder.run(&format!("topics describe orders {server}"), b"").with_code(0).stdout);
    let text = text.expect("is text");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert!(rows[0][0].starts_with("topic orders, id ") && rows[0][0].ends_with(", partitions: 2"), "{text}");
    assert_eq!(rows[1], ["partition", "leader", "epoch", "replicas", "isr", "offline", "first offset", "end offset"]);
    assert_eq!((rows[3][0], rows[3][5], rows[3][6], rows[3][7]), ("1", "-", "0", "2"), "{text}");
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_topic_gets_the_settings_that_were_asked_for_or_is_refused() {
    let folder = Folder::new();
    folder
        .run("topics create orders -c max.message.bytes=1000 -c message.timestamp.type=LogAppendTime", b"")
        .with_code(0);
    let long = folder.run("produce orders", &[b'x'; 2000]).with_code(1);
    assert!(long.says("MESSAGE_TOO_LARGE"), "{}", long.stderr);
    folder.run("produce orders --outcomes told", b"a\n").with_code(0);
    let told = std::fs::read_to_string(folder.path().join("told")).expect("is there");
    assert!(told.contains("\"timestamp\":"), "the broker's clock is told: {told}");
    let refused = folder.run("topics create other -c max.message.size=1000", b"").with_code(1);
    assert!(refused.says("max.message.size"), "{}", refused.stderr);
    let wrong = folder.run("topics create other -c cleanup.policy", b"").with_code(2);
    assert!(wrong.says("a name, = and a value"), "{}", wrong.stderr);
}

#[test]
fn what_was_made_or_removed_is_a_line_of_json() {
    let folder = Folder::new();
    let made = folder.run("topics create orders --partitions 3 --json", b"").with_code(0);
    assert!(made.says("topic orders is made, partitions: 3"), "{}", made.stderr);
    let [made] = &made.json()[..] else { panic!("one line") };
    assert_eq!((&made["topic"], &made["partitions"]), (&json!("orders"), &json!(3)));
    let described = folder.run("topics describe orders --json", b"").with_code(0).json();
    assert_eq!(made["id"], described[0]["id"]);
    assert!(folder.run("topics create orders --json", b"").with_code(1).stdout.is_empty());
    let removed = folder.run("topics delete orders -J", b"").with_code(0).json();
    assert_eq!(removed, [json!({"topic": "orders"})]);
    assert!(folder.run("topics delete orders -J", b"").with_code(2).stdout.is_empty());
}

#[test]
fn settings_are_shown_and_which_are_the_topics_own() {
    let folder = Folder::new();
    folder.run("topics create orders -c max.message.bytes=1000", b"").with_code(0);
    let described = folder.run("topics describe orders --json", b"").with_code(0).json();
    let configs = &described[0]["configs"];
    assert_eq!(configs["max.message.bytes"], json!({"value": "1000", "own": true}));
    assert_eq!(configs["cleanup.policy"], json!({"value": "delete", "own": false}));
    let text = folder.run("topics describe orders", b"").with_code(0).stdout;
    let text = String::from_utf8(text).expect("is text");
    let own: Vec<&str> = text.lines().filter(|line| line.starts_with("config\t")).collect();
    assert_eq!(own, ["config\tmax.message.bytes\t1000"]);
}
