//! Every exit code that a command's help names, each of them seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use crate::process::Folder;
use crate::round_trip::broker;
use crate::stubborn::Stubborn;

/// Command, exit code, the rest of the command line, stdin, what is said on stderr.
type Row = (&'static str, i32, &'static str, &'static [u8], &'static str);

/// ADDRESS is a cluster that has the topic `orders`, REFUSING and SILENT are clusters that do so when they are asked to
/// write, CLOSED is a port where nobody listens.
const ROWS: &[Row] = &[
    ("produce", 0, "orders -b ADDRESS", b"a\n", "1 written"),
    ("produce", 0, "orders -b ADDRESS", b"", "0 records"),
    ("produce", 1, "orders -b REFUSING", b"a\n", "1 not written"),
    ("produce", 1, "orders -b ADDRESS -J", b"{\"value\":1}\nx\n", "1 written, 1 not written"),
    ("produce", 1, "orders -b ADDRESS --outcomes /dev/full", b"a\n", "1 written"),
    ("produce", 2, "orders --linger soon", b"", "a whole number and ms, s, m, h or d"),
    ("produce", 2, "orders -b ADDRESS -X linger.msec=1", b"", "the nearest is linger.ms"),
    ("produce", 2, "orders -b CLOSED", b"a\n", "no broker can be reached"),
    ("produce", 2, "nope -b ADDRESS", b"a\n", "topic nope does not exist"),
    ("produce", 2, "orders -b ADDRESS -p 7", b"a\n", "has no partition 7"),
    ("produce", 2, "orders -b ADDRESS nowhere", b"", "nowhere cannot be read"),
    ("produce", 3, "orders -b SILENT --deadline 1s --close-timeout 0s", b"a\n", "1 unknown"),
    // A line that no record can hold beside it.
    (
        "produce",
        3,
        "orders -J -b SILENT --deadline 1s --close-timeout 0s",
        b"x\n{\"value\":1}\n",
        "1 not written, 1 unknown",
    ),
    ("consume", 0, "orders -b ADDRESS", b"", ""),
    ("consume", 0, "orders -b ADDRESS --from 2 --to 1", b"", "nothing is printed"),
    ("consume", 1, "orders -b ADDRESS -f %v{unpack[qq]}", b"", "q takes 8 bytes"),
    ("consume", 2, "orders -f %q", b"", "%q is no field"),
    ("consume", 2, "orders -b CLOSED", b"", "no broker can be reached"),
    ("consume", 2, "nope -b ADDRESS", b"", "topic nope does not exist"),
    ("consume", 2, "orders -b ADDRESS -p 7", b"", "has no partition 7"),
    ("audit", 0, "told -b ADDRESS", b"", ""),
    ("audit", 0, "- -b ADDRESS", b"", ""),
    ("audit", 1, "wrong -b ADDRESS", b"", "wrong:1: it has to have either outcome or settlement"),
    ("audit", 2, "-b ADDRESS", b"", "required arguments"),
    ("audit", 2, "told -b CLOSED", b"", "no broker can be reached"),
    ("audit", 2, "nowhere -b ADDRESS", b"", "nowhere cannot be read"),
    ("audit", 2, "told told -b ADDRESS", b"", "told is named twice"),
    ("audit", 2, "elsewhere -b ADDRESS", b"", "topic nope does not exist"),
    ("audit", 4, "refuted -b ADDRESS", b"", ""),
    ("audit", 4, "refuted wrong anew -b ADDRESS", b"", "wrong:1: "),
    ("audit", 5, "anew -b ADDRESS", b"", ""),
    ("settle", 0, "settled -b CLOSED", b"", ""),
    ("settle", 1, "damaged -b CLOSED", b"", "damaged:2: it is not what was written; what it says is lost"),
    ("settle", 2, "-b ADDRESS", b"", "required arguments"),
    ("settle", 2, "nowhere -b ADDRESS", b"", "the fate journal nowhere cannot be used"),
    ("settle", 2, "told -b ADDRESS", b"", "told is not a fate journal"),
    ("settle", 2, "doubtful -b CLOSED", b"", "no broker can be reached"),
    ("settle", 3, "doubtful -b ADDRESS", b"", ""),
    ("topics", 0, "list -b ADDRESS", b"", ""),
    ("topics", 0, "describe orders -b ADDRESS", b"", ""),
    ("topics", 0, "create new -b ADDRESS", b"", "topic new is made"),
    ("topics", 0, "delete new -b ADDRESS", b"", "topic new is deleted"),
    ("topics", 1, "create orders -b ADDRESS", b"", "topic orders exists already"),
    ("topics", 1, "create other -b ADDRESS --replication-factor 3", b"", "refuses topic"),
    ("topics", 2, "describe nope -b ADDRESS", b"", "topic nope does not exist"),
    ("topics", 2, "delete nope -b ADDRESS", b"", "topic nope does not exist"),
    ("topics", 2, "list -b CLOSED", b"", "no broker can be reached"),
    ("topics", 2, "list --replication-factor", b"", "unexpected argument"),
    ("topics", 2, "list -X linger.ms=5", b"", "linger.ms means nothing here"),
    ("bench produce", 0, "-b ADDRESS --topic orders --partitions 1 --records 10", b"", ""),
    (
        "bench produce",
        1,
        "-b REFUSING --topic orders --partitions 1 --records 2",
        b"",
        "not all records are acknowledged",
    ),
    ("bench produce", 2, "-b CLOSED", b"", "no broker can be reached"),
    ("bench produce", 2, "-b ADDRESS --topic nope", b"", "topic nope does not exist; make it with --create"),
    ("bench produce", 2, "-b ADDRESS --topic orders --partitions 2", b"", "fewer than --partitions 2"),
    (
        "bench produce",
        3,
        "-b SILENT --topic orders --partitions 1 --records 2 -X milena.deadline.ms=1000",
        b"",
        "not all records are acknowledged",
    ),
    ("verifiable-producer", 0, "--topic orders --max-messages 2 -b ADDRESS", b"", ""),
    // What became of the records is in the events.
    ("verifiable-producer", 0, "--topic orders --max-messages 1 -b REFUSING", b"", ""),
    ("verifiable-producer", 2, "--max-messages 1 -b ADDRESS", b"", "--topic <TOPIC>"),
    ("verifiable-producer", 2, "--topic orders --max-messages -2 -b ADDRESS", b"", "-2 is not in -1.."),
    ("verifiable-producer", 2, "--topic a/b -b ADDRESS", b"", "a/b"),
    ("verifiable-producer", 2, "--topic orders -X linger.msec=1 -b ADDRESS", b"", "the nearest is linger.ms"),
    ("broker", 2, "--memory --listen 127.0.0.1:x", b"", "127.0.0.1:x"),
    ("completion", 0, "bash", b"", ""),
    ("completion", 2, "tcsh", b"", "invalid value"),
];

/// One with nothing in doubt, one that is damaged, and one of a topic that is not there.
fn journals(folder: &Folder) {
    let sent = "sent 0 - nope 00000000000000000000000000000000 0 7 0 0 1 99 - 1 1 - ";
    for (name, line) in [
        ("settled", String::new()),
        ("damaged", format!("{sent}00000000\n")),
        ("doubtful", format!("{sent}8601d42b\n")),
    ] {
        let written = std::fs::write(folder.path().join(name), format!("milena-fate-journal 1 0\n{line}"));
        written.expect("the folder can be written");
    }
}

#[test]
fn every_exit_code_that_is_documented_is_given() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    folder.run(&format!("topics create orders --partitions 1 -b {address}"), b"").with_code(0);
    let (refusing, silent) = (Stubborn::refusing(), Stubborn::silent());
    outcomes(&folder, &address);
    journals(&folder);
    let mut seen: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for (command, code, rest, stdin, said) in ROWS {
        if rest.contains("/dev/full") && !cfg!(target_os = "linux") {
            continue;
        }
        let line = format!("{command} {rest}")
            .replace("ADDRESS", &address)
            .replace("REFUSING", &refusing.address().to_string())
            .replace("SILENT", &silent.address().to_string())
            .replace("CLOSED", "127.0.0.1:1");
        let ended = folder.run(&line, stdin);
        assert_eq!(ended.code, Some(*code), "{line}: {}", ended.stderr);
        assert!(ended.says(said), "{line}: {}", ended.stderr);
        seen.entry(command).or_default().insert(*code);
    }
    for (command, code) in [
        ("produce", interrupted_before_the_first_record(&folder, &address)),
        ("consume", interrupted_before_an_answer(&folder, "consume orders")),
        ("audit", interrupted_before_an_answer(&folder, "audit told")),
        ("settle", interrupted_before_an_answer(&folder, "settle doubtful")),
        ("topics", interrupted_before_an_answer(&folder, "topics list")),
        ("bench produce", interrupted_before_an_answer(&folder, "bench produce")),
        ("verifiable-producer", interrupted_before_an_answer(&folder, "verifiable-producer --topic orders")),
        ("broker", interrupted_broker(&folder)),
    ] {
        seen.entry(command).or_default().insert(code);
    }
    if cfg!(target_os = "linux") {
        let verifiable = format!("verifiable-producer --topic orders --max-messages 1 -b {address}");
        for (command, line) in [("completion", "completion bash"), ("verifiable-producer", &verifiable)] {
            seen.entry(command).or_default().insert(nobody_can_write(&folder, line));
        }
    }
    for (command, codes) in &seen {
        let help = folder.run(&format!("{command} --help"), b"").with_code(0).stdout;
        let documented = documented(&String::from_utf8(help).expect("is text"));
        assert_eq!(&documented, codes, "milena {command}");
    }
    let everywhere: BTreeSet<i32> = seen.into_values().flatten().collect();
    assert_eq!(documented(&String::from_utf8(folder.run("--help", b"").stdout).expect("is text")), everywhere);
    let page = include_str!("../../../../docs/cli.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    assert_eq!(rows.collect::<BTreeSet<i32>>(), everywhere, "docs/cli.md");
}

/// Files of outcomes, and one that is none.
fn outcomes(folder: &Folder, address: &str) {
    folder.run(&format!("produce orders -b {address} --outcomes told"), b"told\n").with_code(0);
    let written =
        r#"{"line":1,"topic":"TOPIC","outcome":"written","checksum":"0123456789abcdef","partition":0,"offset":0}"#;
    let refuted = written.replace("TOPIC", "orders");
    let anew = format!("{{\"topic\":\"orders\",\"topic_id\":\"another\",\"from_offsets\":[0]}}\n{refuted}");
    let (elsewhere, wrong) = (written.replace("TOPIC", "nope"), r#"{"line":1,"topic":"orders"}"#.to_owned());
    for (name, text) in [("refuted", refuted), ("anew", anew), ("elsewhere", elsewhere), ("wrong", wrong)] {
        std::fs::write(folder.path().join(name), text + "\n").expect("is written");
    }
}

/// The numbers with which the parts of a help text's sentence begin.
fn documented(help: &str) -> BTreeSet<i32> {
    let (_, codes) = help.split_once("Exit codes: ").unwrap_or_else(|| panic!("no exit codes in {help}"));
    let sentence = codes.split(".\n").next().unwrap_or_default();
    sentence.split("; ").filter_map(|part| part.split_whitespace().next()?.parse().ok()).collect()
}

/// A command that waits for its input tells nobody so. It is left more and more time, until it was seen to.
fn interrupted_before_the_first_record(folder: &Folder, address: &str) -> i32 {
    for patience in 0..50 {
        let mut produce = folder.start(&format!("produce orders -b {address}"));
        produce.write(b"half a line");
        for _ in 0..patience {
            folder.run(&format!("topics list -b {address}"), b"").with_code(0);
        }
        #[cfg(target_os = "linux")]
        produce.await_handler();
        produce.interrupt();
        let ended = produce.end_by_itself();
        if ended.says("the input after 0 records is not sent") {
            return ended.code.expect("it ends by itself");
        }
        // Before its handler of the signal was there, the signal has ended it.
        assert!(ended.code.is_none_or(|code| code == 130), "{}", ended.stderr);
    }
    panic!("it never waited for its input");
}

fn interrupted_before_an_answer(folder: &Folder, arguments: &str) -> i32 {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let running = folder.start(&format!("{arguments} -b {}", silent.local_addr().expect("bound")));
    let _asking = silent.accept().expect("it connects");
    running.interrupt();
    let ended = running.end();
    assert!(ended.says("interrupted before"), "{}", ended.stderr);
    ended.code.expect("it ends by itself")
}

/// Its ordinary end.
fn interrupted_broker(folder: &Folder) -> i32 {
    let (running, _) = broker(folder, "--memory");
    running.interrupt();
    running.end().code.expect("it ends by itself")
}

fn nobody_can_write(folder: &Folder, line: &str) -> i32 {
    let shell = format!("{} {line} > /dev/full", env!("CARGO_BIN_EXE_milena"));
    let ended = std::process::Command::new("sh").args(["-c", &shell]).current_dir(folder.path()).output();
    let ended = ended.expect("there is a shell");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("stdout cannot be written"));
    ended.status.code().expect("it ends by itself")
}
