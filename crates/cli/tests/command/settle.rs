//! `milena settle`: a producer is killed while its answers are lost, and another process tells what became of what it had sent.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{Folder, PATIENCE, Running};
use crate::steering::Steered;

/// A producer whose last batch is sent and not answered: its journal says so.
fn crashed(folder: &Folder, broker: &Steered, effect: &str) {
    let mut produce = unanswered(folder, broker, effect);
    produce.kill();
    drop(produce);
}

fn unanswered(folder: &Folder, broker: &Steered, effect: &str) -> Running {
    let mut produce = folder.start(&format!("produce orders -b {} -X milena.fate.journal=fates", broker.bootstrap));
    produce.write(b"before\n");
    await_log(broker, 1);
    await_journal(folder, |lines| lines.last().is_some_and(|line| line.starts_with("done ")));
    let fault = json!({ "effect": effect, "api": "Produce", "topic": "orders", "client": "milena-cli" });
    let (status, answer) = broker.ask("POST", "/faults", &fault);
    assert_eq!(status, 201, "{answer}");
    produce.write(b"late\n");
    let id = answer["id"].as_u64().expect("a number");
    let (_, fault) = broker.ask("GET", &format!("/faults/{id}?hits=1&timeout_ms=60000"), &Value::Null);
    assert!(fault["hits"].as_u64() >= Some(1), "{fault}");
    produce
}

fn await_log(broker: &Steered, records: usize) {
    let until = Instant::now() + PATIENCE;
    while log(broker).len() < records {
        assert!(Instant::now() < until, "it is not written");
    }
}

fn await_journal(folder: &Folder, is_so: impl Fn(&[&str]) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(folder.path().join("fates")).unwrap_or_default();
        if is_so(&text.lines().collect::<Vec<_>>()) {
            return;
        }
        assert!(Instant::now() < until, "{text}");
    }
}

fn log(broker: &Steered) -> Vec<String> {
    let (_, log) = broker.ask("GET", "/topics/orders/partitions/0/log", &Value::Null);
    let records = log["records"].as_array().expect("a list").iter();
    records.map(|record| record["value"].as_str().expect("text").to_owned()).collect()
}

fn clear_faults(broker: &Steered) {
    let (_, faults) = broker.ask("GET", "/faults", &Value::Null);
    for fault in faults.as_array().expect("a list") {
        broker.ask("DELETE", &format!("/faults/{}", fault["id"]), &Value::Null);
    }
}

#[test]
fn what_a_killed_producer_had_written_is_found() {
    let (folder, broker) = (Folder::new(), Steered::start(&["--topic", "orders:1"]));
    crashed(&folder, &broker, "lose_answer");
    clear_faults(&broker);
    for _ in 0..2 {
        let ended = broker.run(&folder, "settle fates --json", b"").with_code(0);
        let lines = ended.json();
        let [batch, summary] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(
            (&batch["fate"], &batch["offset"], &batch["topic"]),
            (&json!("written"), &json!(1), &json!("orders"))
        );
        assert_eq!(
            (&batch["sequence"], &batch["records"], &batch["base_offset_before"]),
            (&json!(1), &json!(1), &json!(0))
        );
        assert_eq!(
            summary,
            &json!({ "batches": 1, "written": 1, "not_written": 0, "undetermined": 0, "bad_lines": 0 })
        );
    }
    assert_eq!(log(&broker), ["before", "late"], "nothing is changed");
    let ended = broker.run(&folder, "settle fates", b"").with_code(0);
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(text.ends_with("1 batches in doubt: 1 written, 0 not written, 0 undetermined\n"), "{text}");
    assert!(text.contains("topic orders, partition 0: 1 record accepted from 20"), "{text}");
}

#[test]
fn what_it_had_not_written_is_told_with_a_fence_only_and_the_same_by_every_run() {
    let (folder, broker) = (Folder::new(), Steered::start(&["--topic", "orders:1"]));
    crashed(&folder, &broker, "close_before");
    clear_faults(&broker);
    let ended = broker.run(&folder, "settle fates --json", b"").with_code(3);
    assert_eq!((&ended.json()[0]["fate"], &ended.json()[0]["reason"]), (&json!("undetermined"), &json!("no_fence")));
    fs::copy(folder.path().join("fates"), folder.path().join("copy")).expect("is copied");
    for journal in ["fates", "fates", "copy"] {
        let run = format!("settle {journal} --json --fence-with settled --fence-key k");
        let ended = broker.run(&folder, &run, b"").with_code(0);
        assert_eq!(ended.json()[0]["fate"], json!("not_written"));
        assert_eq!(log(&broker), ["before", "settled"], "brokers recognise the fence");
    }
}

#[test]
fn the_journal_of_a_producer_that_is_alive_is_left_alone() {
    let (folder, broker) = (Folder::new(), Steered::start(&["--topic", "orders:1"]));
    let produce = unanswered(&folder, &broker, "lose_answer");
    let ended = broker.run(&folder, "settle fates --fence-with settled", b"").with_code(2);
    assert!(ended.says("the fate journal fates is in use: its producer is alive"), "{}", ended.stderr);
    let second = broker.run(&folder, "produce orders -X milena.fate.journal=fates", b"x\n").with_code(2);
    assert!(second.says("the fate journal fates is in use"), "{}", second.stderr);
    clear_faults(&broker);
    produce.end().with_code(0);
    let ended = broker.run(&folder, "settle fates", b"").with_code(0);
    assert_eq!(ended.stdout, b"0 batches in doubt: 0 written, 0 not written, 0 undetermined\n");
}
