//! `milena audit`: what was told of records, held against the log of a broker.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::process::{Ended, Folder, json_lines};
use crate::steering::Steered;
use crate::stubborn::Stubborn;

/// Number, what it is told to be, and where else it is.
type Told = (u64, String, Vec<[i64; 2]>);

/// Each outcome that is refuted or undecided, and the counts.
fn audit(folder: &Folder, arguments: &str, code: i32) -> (Vec<Told>, Value) {
    let mut lines = folder.run(&format!("audit --json {arguments}"), b"").with_code(code).json();
    let summary = lines.pop().expect("the last line has the counts");
    let told = lines.iter().map(|line| {
        let what = line["refuted"].as_str().or(line["undecided"].as_str()).expect("it is one of them");
        let found = line["found"].as_array().expect("a list").iter();
        let places = found.map(|spot| ["partition", "offset"].map(|name| spot[name].as_i64().expect("a number")));
        (line["line"].as_u64().expect("a number"), what.to_owned(), places.collect())
    });
    (told.collect(), summary)
}

fn told(number: u64, what: &str, found: &[[i64; 2]]) -> Told {
    (number, what.to_owned(), found.to_vec())
}

fn lines(folder: &Folder, name: &str) -> Vec<Value> {
    json_lines(&fs::read(folder.path().join(name)).expect("is there"))
}

#[test]
fn what_produce_tells_is_proved_run_after_run() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    let input: String = (0..5_000).map(|number| format!("key {}:{number}\n", number % 11)).collect();
    for (name, options) in [("first", ""), ("second", "-z lz4"), ("tagged", "--tag id -H h=x -H n")] {
        folder.run(&format!("produce orders -K : {options} --outcomes {name}"), input.as_bytes()).with_code(0);
    }
    // The same records before are no copies, because every run tells where it began.
    for name in ["second", "tagged"] {
        let (said, summary) = audit(&folder, name, 0);
        assert_eq!(said, []);
        assert_eq!((&summary["verdict"], &summary["proved"]), (&json!("proved"), &json!(5_000)), "{summary}");
    }
    // Behind it they are, unless the run that wrote them is told of, too.
    assert_eq!(audit(&folder, "first", 4).1["refuted"]["duplicated"], json!(5_000));
    let (said, summary) = audit(&folder, "first second tagged", 0);
    assert_eq!(said, []);
    assert_eq!((&summary["proved"], &summary["records"]), (&json!(15_000), &json!(15_000)), "{summary}");
    assert_eq!(summary["records_of_others"], json!(0), "{summary}");
    let text = folder.run("audit first second tagged", b"").with_code(0).stdout;
    assert_eq!(
        String::from_utf8_lossy(&text),
        "15000 outcomes: 15000 proved, 0 refuted, 0 undecided, 0 unprovable\n\
         15000 records of the log read, 0 of them told of by no outcome\n"
    );
    // All in one, as cat makes it, and from stdin.
    let all = ["first", "second", "tagged"].map(|name| fs::read(folder.path().join(name)).expect("is there")).concat();
    folder.run("audit -", &all).with_code(0);
}

#[test]
fn lost_answers_leave_nothing_to_refute() {
    let folder = Folder::new();
    let broker = Steered::start(&["--topic", "orders:2"]);
    for effect in ["lose_answer", "refuse_after"] {
        let mut fault = json!({ "effect": effect, "api": "Produce", "topic": "orders", "times": 3 });
        if effect == "refuse_after" {
            fault["code"] = json!("NOT_ENOUGH_REPLICAS_AFTER_APPEND");
        }
        let (status, answer) = broker.ask("POST", "/faults", &fault);
        assert_eq!(status, 201, "{answer}");
    }
    let input: String = (0..2_000).map(|number| format!("{number}\n")).collect();
    let options = "--deadline 300ms -X request.timeout.ms=400 -X batch.size=1000 --outcomes told";
    // Some of them may run out of time before they can be sent.
    let code = broker.run(&folder, &format!("produce orders {options}"), input.as_bytes()).code;
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    let unknown = lines(&folder, "told").iter().filter(|line| line["outcome"] == "unknown").count();
    let (said, summary) = audit(&folder, &format!("told -b {}", broker.bootstrap), 0);
    assert_eq!(said, []);
    assert_eq!((&summary["proved"], &summary["records"]), (&json!(2_000), &summary["written"]), "{summary}");
    assert!(unknown > 0, "no answer was lost");
}

/// Records are sent all the same.
#[test]
fn outcomes_without_the_begin_of_their_run_prove_less() {
    let folder = Folder::new();
    let broker = Steered::start(&["--topic", "orders"]);
    broker.run(&folder, "produce orders", b"a\n").with_code(0);
    let refuse = json!({ "effect": "refuse", "code": "TOPIC_AUTHORIZATION_FAILED", "api": "ListOffsets", "topic": "orders", "times": 1 });
    let (status, answer) = broker.ask("POST", "/faults", &refuse);
    assert_eq!(status, 201, "{answer}");
    let ended = broker.run(&folder, "produce orders --outcomes told", b"a\n").with_code(0);
    assert!(ended.says("the outcomes do not tell where the partitions ended before"), "{}", ended.stderr);
    assert!(ended.says("TOPIC_AUTHORIZATION_FAILED"), "{}", ended.stderr);
    // Whose the older one is cannot be known.
    let (said, _) = audit(&folder, &format!("told -b {}", broker.bootstrap), 4);
    assert_eq!(said, [told(1, "duplicated", &[[0, 0]])]);
}

#[test]
fn records_that_somebody_writes_again_are_duplicated_or_failed_falsely() {
    let folder = Folder::new();
    let broker = Steered::start(&["--topic", "orders:2"]);
    let refuse =
        json!({ "effect": "refuse", "code": "MESSAGE_TOO_LARGE", "api": "Produce", "topic": "orders", "times": 1 });
    let (status, answer) = broker.ask("POST", "/faults", &refuse);
    assert_eq!(status, 201, "{answer}");
    broker.run(&folder, "produce orders -p 0 --outcomes failed", b"a\n").with_code(1);
    broker.run(&folder, "produce orders -p 0 --outcomes written", b"b\nc\n").with_code(0);
    let at = format!("-b {}", broker.bootstrap);
    let (said, summary) = audit(&folder, &format!("failed written {at}"), 0);
    assert_eq!((said, &summary["proved"]), (vec![], &json!(3)), "{summary}");
    broker.run(&folder, "produce orders -p 1", b"a\nc\n").with_code(0);
    let (said, summary) = audit(&folder, &format!("failed written {at}"), 4);
    assert_eq!(said, [told(1, "falsely_failed", &[[1, 0]]), told(2, "duplicated", &[[1, 1]])]);
    assert_eq!((&summary["verdict"], &summary["proved"]), (&json!("refuted"), &json!(1)), "{summary}");
    let text = broker.run(&folder, "audit failed written", b"").with_code(4).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    for sentence in [
        "failed, record 1 of topic orders: falsely failed; told not to be written; it is at offset 0 of partition 1 (producer ",
        "written, record 2 of topic orders: duplicated; told to be written at offset 1 of partition 0; it is there, and again at offset 1 of partition 1 (producer ",
        "refuted: 1 duplicated, 1 falsely failed\n",
    ] {
        assert!(text.contains(sentence), "{text}");
    }
}

/// A disk that lost the end of a log, as it was and then as it is written on.
#[test]
fn records_that_the_log_has_lost_are_missing_and_then_others_are_in_their_place() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 1", b"").with_code(0);
    folder.run("produce orders --outcomes first", b"a\n").with_code(0);
    let kept = fs::metadata(segment(&folder)).expect("is there").len();
    folder.run("produce orders --outcomes second", b"b\nc\n").with_code(0);
    assert_eq!(audit(&folder, "first second", 0).0, []);

    let log = fs::OpenOptions::new().write(true).open(segment(&folder)).expect("is there");
    log.set_len(kept).expect("is cut");
    drop(log);
    let (said, _) = audit(&folder, "first second", 4);
    assert_eq!(said, [told(1, "missing", &[]), told(2, "missing", &[])]);
    folder.run("produce orders", b"other\nb\n").with_code(0);
    let (said, _) = audit(&folder, "first second", 4);
    assert_eq!(said, [told(1, "misplaced", &[[0, 2]]), told(2, "misplaced", &[])]);
}

/// The first segment of the only partition.
fn segment(folder: &Folder) -> PathBuf {
    fn find(place: PathBuf, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(place).expect("a folder").map(|entry| entry.expect("is there").path()) {
            match entry.is_dir() {
                true => find(entry, found),
                false if entry.file_name().is_some_and(|name| name == "00000000000000000000.log") => found.push(entry),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    find(folder.data(), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn records_in_another_order_than_they_were_accepted_in_are_told() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 1", b"").with_code(0);
    folder.run("produce orders --outcomes told", b"a\nb\nc\n").with_code(0);
    let swapped = lines(&folder, "told").into_iter().map(|mut line| {
        match line["line"].as_u64() {
            Some(1) => line["line"] = json!(2),
            Some(2) => line["line"] = json!(1),
            _ => {}
        }
        line.to_string() + "\n"
    });
    let swapped: String = swapped.collect();
    fs::write(folder.path().join("swapped"), swapped).expect("is written");
    let (said, _) = audit(&folder, "swapped", 4);
    assert_eq!(said, [told(1, "wrong_order", &[])]);
    audit(&folder, "swapped --any-order", 0);
}

#[test]
fn what_stays_unknown_is_looked_for() {
    let folder = Folder::new();
    let silent = Stubborn::silent();
    let arguments = "produce orders --deadline 1s --close-timeout 0s --outcomes told";
    folder.run(&format!("{arguments} --bootstrap-server {}", silent.address()), b"a\nb\n").with_code(3);
    // The same outcomes of a cluster that knows the first of them.
    folder.run("topics create orders --partitions 1", b"").with_code(0);
    folder.run("produce orders", b"a\n").with_code(0);
    let here = lines(&folder, "told").iter().skip(1).map(|line| line.to_string() + "\n").collect::<String>();
    fs::write(folder.path().join("here"), here).expect("is written");
    let (said, summary) = audit(&folder, "here", 0);
    assert_eq!(said, [told(1, "in_log", &[[0, 0]]), told(2, "not_in_log", &[])]);
    assert_eq!(summary["undecided"], json!({"in_log": 1, "not_in_log": 1, "not_told": 0}), "{summary}");
}

#[test]
fn a_topic_that_is_made_anew_or_compacted_leaves_outcomes_unprovable() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 1 -c cleanup.policy=compact", b"").with_code(0);
    folder.run("produce orders -k k --outcomes told", b"a\n").with_code(0);
    assert_eq!(audit(&folder, "told", 0).1["proved"], json!(1));
    let not_written = r#"{"line":2,"topic":"orders","outcome":"not_written","checksum":"0123456789abcdef"}"#;
    let mut all = fs::read(folder.path().join("told")).expect("is there");
    all.extend_from_slice(not_written.as_bytes());
    fs::write(folder.path().join("told"), &all).expect("is written");
    assert_eq!(audit(&folder, "told", 5).1["unprovable"]["compaction"], json!(1));
    folder.run("topics delete orders", b"").with_code(0);
    let gone = folder.run("audit told", b"").with_code(2);
    assert!(gone.says("topic orders does not exist"), "{}", gone.stderr);
    folder.run("topics create orders --partitions 1", b"").with_code(0);
    folder.run("produce orders -k k", b"a\n").with_code(0);
    let (said, summary) = audit(&folder, "told", 5);
    assert_eq!((said, &summary["unprovable"]["topic_recreated"]), (vec![], &json!(2)), "{summary}");
    let text: Ended = folder.run("audit told", b"").with_code(5);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("2 unprovable, because the topic was deleted and made anew since"), "{text}");
}

#[test]
fn half_a_last_line_is_left_out_and_any_other_wrong_line_is_told() {
    let folder = Folder::new();
    folder.run("produce orders --outcomes told", b"a\nb\n").with_code(0);
    let whole = fs::read(folder.path().join("told")).expect("is there");
    fs::write(folder.path().join("cut"), &whole[..whole.len() - 10]).expect("is written");
    let ended = folder.run("audit cut --json", b"").with_code(0);
    assert!(ended.says("cut:3: the last line is unfinished; it is left out"), "{}", ended.stderr);
    let summary = &ended.json()[0];
    assert_eq!((&summary["proved"], &summary["unfinished_lines"]), (&json!(1), &json!(1)), "{summary}");
    assert_eq!(summary["records_of_others"], json!(1), "{summary}");
    // All of it but its LF.
    fs::write(folder.path().join("cut"), &whole[..whole.len() - 1]).expect("is written");
    assert_eq!(audit(&folder, "cut", 0).1["proved"], json!(2));
    fs::write(folder.path().join("wrong"), [b"what?\n", &whole[..], b"{\"line\":1}\n"].concat()).expect("is written");
    let ended = folder.run("audit wrong --json", b"").with_code(1);
    for said in ["wrong:1: expected value", "wrong:5: it has to have either outcome or settlement"] {
        assert!(ended.says(said), "{}", ended.stderr);
    }
    let summary = &ended.json()[0];
    assert_eq!((&summary["verdict"], &summary["bad_lines"]), (&json!("unreadable"), &json!(2)), "{summary}");
}
