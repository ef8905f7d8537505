//! `--outcomes`: a line for what became of each record, whatever became of it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Folder, PATIENCE, json_lines};
use crate::stubborn::Stubborn;

/// The lines of the records, behind that of the run.
fn told(folder: &Folder) -> Vec<Value> {
    of_records(json_lines(&fs::read(folder.path().join("told")).expect("is there")))
}

fn of_records(mut lines: Vec<Value>) -> Vec<Value> {
    assert!(lines[0]["from_offsets"].is_array(), "{}", lines[0]);
    lines.remove(0);
    lines
}

/// The fields with these names, of each line.
fn fields<const COUNT: usize>(lines: &[Value], names: [&str; COUNT]) -> Vec<[Value; COUNT]> {
    lines.iter().map(|line| names.map(|name| line[name].clone())).collect()
}

#[test]
fn a_written_record_is_told_with_its_place_and_found_in_the_log_by_its_tag() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    let input: String = (0..1000).map(|number| format!("key {}:{number}\n", number % 7)).collect();
    folder.run("produce orders -K : --tag id --outcomes told", input.as_bytes()).with_code(0);
    let mut lines = told(&folder);
    assert_eq!(lines.len(), 1000);
    lines.sort_by_key(|line| line["line"].as_u64());
    let records = folder.run("consume orders --json", b"").with_code(0).json();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!((&line["line"], &line["outcome"]), (&json!(number + 1), &json!("written")), "{line}");
        assert!(line["latency_us"].is_u64(), "{line}");
        let same_place =
            |record: &&Value| ["topic", "partition", "offset"].iter().all(|name| record[*name] == line[*name]);
        let record = records.iter().find(same_place).unwrap_or_else(|| panic!("{line} is not in the log"));
        assert_eq!(record["value"], json!(number.to_string()));
        assert_eq!(record["headers"], json!([{"key": "id", "value": line["tag"]}]));
    }
    // Another run has other tags.
    folder.run("produce orders --tag id --outcomes told", b"again\n").with_code(0);
    assert_ne!(told(&folder)[0]["tag"], lines[0]["tag"]);
}

#[test]
fn the_first_line_tells_where_the_run_begins_and_records_are_known_by_a_checksum() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    folder.run("produce orders -p 1", b"a\nb\n").with_code(0);
    folder.run("produce orders -p 1 -K : -H h=x -H n --outcomes told", b"k:c\nk:c\n").with_code(0);
    let lines = json_lines(&fs::read(folder.path().join("told")).expect("is there"));
    let described = folder.run("topics describe orders --json", b"").with_code(0).json();
    assert!(described[0]["id"].is_string(), "{}", described[0]);
    assert_eq!(lines[0], json!({"topic": "orders", "topic_id": described[0]["id"], "from_offsets": [0, 2, 0]}));
    // Computed by another program, from \0\0\0\x01k\0\0\0\x01c\0\0\0\x01h\0\0\0\x01x\0\0\0\x01n\xff\xff\xff\xff.
    assert_eq!(
        fields(&lines[1..], ["line", "offset", "checksum"]),
        [1, 2].map(|line| [json!(line), json!(line + 1), json!("aa4746d4cdd8d47b")])
    );
    // A run without records says nothing.
    folder.run("produce orders --outcomes told", b"").with_code(0);
    assert_eq!(fs::read(folder.path().join("told")).expect("is there"), b"");
}

#[test]
fn records_that_are_not_written_are_told_with_the_reason() {
    let folder = Folder::new();
    let input = [b"{\"value\":\"a\"}\nwrong\n{\"value\":\"".as_slice(), &[b'x'; 1_048_570], b"\"}\n"].concat();
    folder.run("produce orders --json --outcomes told", &input).with_code(1);
    let mut lines = told(&folder);
    lines.sort_by_key(|line| line["line"].as_u64());
    let expected = [
        [json!(1), json!("written"), Value::Null],
        [json!(2), json!("not_written"), json!("no_record")],
        [json!(3), json!("not_written"), json!("too_large")],
    ];
    assert_eq!(fields(&lines, ["line", "outcome", "reason"]), expected);
    let stubborn = Stubborn::refusing();
    folder
        .run(&format!("produce orders --outcomes told --bootstrap-server {}", stubborn.address()), b"a\nb\n")
        .with_code(1);
    for line in told(&folder) {
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("not_written"), &json!("refused")), "{line}");
        assert!(line["kafka_error"].is_i64() && line["message"].is_string(), "{line}");
        assert_eq!(line["cause"]["attempts"], json!(1), "{line}");
    }
}

#[test]
fn an_unknown_record_gets_a_second_line_when_it_is_settled() {
    let folder = Folder::new();
    let late = Stubborn::late(Duration::from_secs(2));
    folder
        .run(&format!("produce orders --deadline 1s --outcomes told --bootstrap-server {}", late.address()), b"a\n")
        .with_code(0);
    let lines = told(&folder);
    assert_eq!(
        fields(&lines, ["line", "outcome", "settlement"]),
        [[json!(1), json!("unknown"), Value::Null], [json!(1), Value::Null, json!("written")]]
    );
    assert!(lines[1]["offset"].is_i64(), "{}", lines[1]);
    let silent = Stubborn::silent();
    let arguments = "produce orders --deadline 1s --close-timeout 0s --outcomes told";
    folder.run(&format!("{arguments} --bootstrap-server {}", silent.address()), b"a\nb\n").with_code(3);
    let mut lines = told(&folder);
    lines.sort_by_key(|line| (line["line"].as_u64(), line["settlement"].is_string()));
    let settled = |line: i32| [json!(line), Value::Null, json!("undetermined"), json!("closed_before_proof")];
    let unknown = |line: i32| [json!(line), json!("unknown"), Value::Null, Value::Null];
    assert_eq!(
        fields(&lines, ["line", "outcome", "settlement", "reason"]),
        [unknown(1), settled(1), unknown(2), settled(2)]
    );
}

#[test]
fn a_second_ctrl_c_leaves_a_line_for_every_record_that_was_sent() {
    let folder = Folder::new();
    let stubborn = Stubborn::silent();
    let arguments = "produce orders --close-timeout 10m --outcomes told";
    let mut produce = folder.start(&format!("{arguments} --bootstrap-server {}", stubborn.address()));
    produce.write(b"a\nb\n");
    stubborn.await_produce();
    produce.interrupt();
    produce.await_line("Ctrl-C: what was read has");
    produce.interrupt();
    produce.end().with_code(3);
    let lines = told(&folder);
    assert_eq!(
        fields(&lines, ["line", "outcome", "reason"]),
        [1, 2].map(|line| [json!(line), json!("unknown"), json!("command_ended")])
    );
}

#[test]
fn what_was_told_is_in_the_file_while_the_command_runs_and_after_it_was_killed() {
    let folder = Folder::new();
    let mut produce = folder.start("produce orders --outcomes told");
    produce.write(b"a\nb\nhalf a line");
    let begun = Instant::now();
    let path = folder.path().join("told");
    while fs::read(&path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count()) < 3 {
        assert!(begun.elapsed() < PATIENCE, "no outcome reaches the file");
        std::thread::yield_now();
    }
    produce.kill();
    drop(produce);
    let lines = told(&folder);
    assert_eq!(fields(&lines, ["line", "outcome"]), [1, 2].map(|line| [json!(line), json!("written")]));
}

#[test]
fn outcomes_may_go_to_stdout_and_a_file_that_cannot_be_made_is_told() {
    let folder = Folder::new();
    let produced = folder.run("produce orders --outcomes -", b"a\nb\n").with_code(0);
    assert_eq!(
        fields(&of_records(produced.json()), ["line", "outcome"]),
        [1, 2].map(|line| [json!(line), json!("written")])
    );
    let refused = folder.run("produce orders --outcomes no/such/folder", b"a\n").with_code(2);
    assert!(refused.says("--outcomes no/such/folder cannot be written: "), "{}", refused.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_outcomes_is_told_and_no_success() {
    let folder = Folder::new();
    let produced = folder.run("produce orders --outcomes /dev/full", b"a\n").with_code(1);
    assert!(produced.says("--outcomes /dev/full cannot be written any more"), "{}", produced.stderr);
    assert!(produced.says("1 written, 0 not written, 0 unknown"), "{}", produced.stderr);
}

/// It takes them longer than a report takes its way: none of them may be given up.
#[cfg(unix)]
#[test]
fn outcomes_that_are_read_slowly_are_waited_for() {
    use std::io::Read;
    let folder = Folder::new();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("is there").success());
    let reader = std::thread::spawn(move || {
        let mut pipe = fs::File::open(path).expect("is there");
        let (mut lines, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let bytes = pipe.read(&mut piece).expect("a pipe can be read");
            lines.extend_from_slice(&piece[..bytes]);
            if bytes == 0 {
                return lines;
            }
            // A slow reader is what this is about.
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let ended = folder.run("produce orders --outcomes pipe", &b"a record\n".repeat(8_000)).with_code(0);
    assert!(ended.says("8000 written, 0 not written, 0 unknown"), "{}", ended.stderr);
    let lines = of_records(json_lines(&reader.join().expect("it reads to the end")));
    assert_eq!(lines.len(), 8_000);
    assert!(lines.iter().all(|line| line["outcome"] == "written"));
}

/// Whoever reads them may have stopped without hanging up.
#[cfg(unix)]
#[test]
fn outcomes_that_nobody_reads_do_not_keep_it_from_ending_by_ctrl_c() {
    let folder = Folder::new();
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("is there").success());
    let path = folder.path().join("pipe");
    let opened = std::thread::spawn(move || fs::File::open(path).expect("is there"));
    let mut produce = folder.start("produce orders --close-timeout 200ms --outcomes pipe");
    let _never_read = opened.join().expect("it is opened on both sides");
    produce.write(&b"a record\n".repeat(8_000));
    // More outcomes than a pipe holds are to be told then.
    let begun = Instant::now();
    while folder.run("consume orders -c 8000", b"").stdout.len() < 8_000 * 9 {
        assert!(begun.elapsed() < PATIENCE, "not all records are written");
    }
    produce.interrupt();
    produce.await_line("Ctrl-C: what was read has");
    produce.interrupt();
    let ended = produce.end_by_itself();
    assert!(ended.says("the last outcomes were not read"), "{}", ended.stderr);
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
}
