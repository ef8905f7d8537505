//! `cargo xtask test`: runs the groups in the order of the table and prints one line for each as it ends.
//!
//! The last line is always the sum, `N passed, N failed, N skipped`. What the steps print goes to one log file per group
//! below the target folder; it is shown only for a group that failed, except lines with `measured: `, which are always
//! shown. What a result means is decided in `judge.rs`.

use crate::groups::{GROUPS, Group, Need, Step};
use crate::judge::{GroupEnd, Skips, StepEnd, Verdict, judge};
use crate::tally::Tally;
use crate::{TaskError, TaskResult, workspace};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Lines of a failed group's log that are printed; the file has them all.
const LOG_LINES_MAX: usize = 300;

/// Of what a thread says that panics.
const PANIC_LINES_MAX: usize = 15;

pub fn run(arguments: &[String]) -> TaskResult {
    let request = Request::parse(arguments)?;
    let logs = workspace::logs("test").map_err(|error| TaskError::Failed(format!("log folder: {error}")))?;
    let mut sum = Tally::default();
    let mut failed = Vec::new();
    for group in &request.groups {
        let log = logs.join(group.name).with_extension("log");
        let end = run_group(group, request.skips, &log)
            .map_err(|error| TaskError::Failed(format!("group {}, log {}: {error}", group.name, log.display())))?;
        sum += end.tally;
        if let Verdict::Failed(_) = end.verdict {
            failed.push((group.name, log));
        }
    }
    for (group, log) in &failed {
        show_log(group, log);
    }
    // Last, where whoever looks at the end of a long output finds it.
    for (group, log) in &failed {
        for said in panics(&read(log)) {
            println!("\n---- {group}: {said}");
        }
    }
    println!("{sum}");
    if failed.is_empty() { Ok(()) } else { Err(TaskError::Told) }
}

/// What the command line asks for.
struct Request {
    groups: Vec<&'static Group>,
    skips: Skips,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self, TaskError> {
        let mut named = Vec::new();
        let mut skips = Skips::Allowed;
        for argument in arguments {
            match argument.as_str() {
                "--deny-skips" => skips = Skips::Denied,
                name if GROUPS.iter().any(|group| group.name == name) => named.push(name),
                other => return Err(TaskError::Usage(format!("there is no test group or option {other}"))),
            }
        }
        let groups = GROUPS.iter().filter(|group| named.is_empty() || named.contains(&group.name)).collect();
        Ok(Self { groups, skips })
    }
}

fn run_group(group: &Group, skips: Skips, log: &Path) -> io::Result<GroupEnd> {
    print!("{:<15} ", group.name);
    io::stdout().flush()?;
    let started = Instant::now();
    let mut log = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(log)?;
    let mut ends = Vec::new();
    let mut outputs = String::new();
    for step in group.steps {
        let end = match missing(group.needs) {
            Some(reason) => StepEnd::Skipped { reason },
            None => run_step(step, &mut log, &mut outputs)?,
        };
        ends.push((step.name(), end));
    }
    let end = judge(&ends, skips);
    let seconds = started.elapsed().as_secs_f64();
    match &end.verdict {
        Verdict::Passed => println!("passed  {seconds:7.1} s  {}", end.tally),
        Verdict::Skipped(reason) => println!("skipped {seconds:7.1} s  {}: {reason}", end.tally),
        Verdict::Failed(reason) => println!("FAILED  {seconds:7.1} s  {}: {reason}", end.tally),
    }
    for what in measured(&outputs) {
        println!("                {what}");
    }
    Ok(end)
}

/// Runs a step to its end, its output appended to the group's log and outputs; the counts are read from that part only.
fn run_step(step: &Step, log: &mut File, outputs: &mut String) -> io::Result<StepEnd> {
    writeln!(log, "$ {}", step.name())?;
    let before = log.stream_position()?;
    let status = step.command().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).status()?;
    log.seek(SeekFrom::Start(before))?;
    let mut output = Vec::new();
    log.read_to_end(&mut output)?;
    let output = String::from_utf8_lossy(&output);
    outputs.push_str(&output);
    Ok(StepEnd::Ended { success: status.success(), tally: Tally::of_output(&output) })
}

/// What tests say that they measured. Without capture, a test's first words share a line with its name.
fn measured(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| Some(line.split_once("measured: ")?.1))
}

/// Why a need is not met on this machine; `None` when it is.
fn missing(need: Need) -> Option<String> {
    match need {
        Need::Nothing => None,
        Need::Java => kafka_harness::java_available().err(),
        Need::Librdkafka => kafka_harness::librdkafka_available().err(),
        Need::JavaAndLibrdkafka => {
            kafka_harness::java_available().err().or_else(|| kafka_harness::librdkafka_available().err())
        }
        Need::Kcat => kafka_harness::kcat_available().err(),
        Need::Go => kafka_harness::go_available().err(),
    }
}

fn read(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// What each thread said that panicked, in an output: where, and its message.
fn panics(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().collect();
    let begins = |line: &str| line.starts_with("thread '") && line.contains("panicked at ");
    let ends = |line: &&&str| line.is_empty() || line.starts_with("stack backtrace:") || line.starts_with("note: ");
    let said = lines.iter().enumerate().filter(|(_, line)| begins(line)).map(|(number, line)| {
        let message = lines[number + 1..].iter().take_while(|line| !ends(line)).take(PANIC_LINES_MAX);
        std::iter::once(line).chain(message).copied().collect::<Vec<_>>().join("\n")
    });
    said.collect()
}

fn show_log(group: &str, log: &Path) {
    let text = read(log);
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
    if lines.is_empty() {
        return;
    }
    println!("\n---- {group}: the last {} of {} lines of {}", shown.len(), lines.len(), log.display());
    for line in shown {
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Request, TaskError> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Request::parse(&arguments)
    }

    #[test]
    fn without_names_all_groups_run() {
        let request = parsed(&["--deny-skips"]).unwrap();
        assert_eq!(request.groups.len(), GROUPS.len());
        assert_eq!(request.skips, Skips::Denied);
    }

    #[test]
    fn named_groups_run_in_the_order_of_the_table() {
        let request = parsed(&["core", "wire"]).unwrap();
        let names: Vec<&str> = request.groups.iter().map(|group| group.name).collect();
        assert_eq!(names, ["wire", "core"]);
        assert_eq!(request.skips, Skips::Allowed);
    }

    #[test]
    fn what_tests_measured_is_found_beside_their_names() {
        let output = "test a ... measured: 3 allocations a batch\nok\nmeasured: 100000 records compared\nunmeasured\n";
        assert_eq!(measured(output).collect::<Vec<_>>(), ["3 allocations a batch", "100000 records compared"]);
    }

    #[test]
    fn what_those_said_who_panicked_is_found() {
        let output = "running 1 test\nthread 'a' (7) panicked at a.rs:1:2:\nassertion failed\n  left: 1\nstack backtrace:\n   0: x\n\
                      thread 'b' panicked at b.rs:3:4:\nno\n\nfailures:\n";
        assert_eq!(
            panics(output),
            [
                "thread 'a' (7) panicked at a.rs:1:2:\nassertion failed\n  left: 1",
                "thread 'b' panicked at b.rs:3:4:\nno"
            ]
        );
        assert!(panics("test a ... ok\n").is_empty());
    }

    #[test]
    fn an_unknown_group_is_a_usage_error() {
        assert!(matches!(parsed(&["wires"]), Err(TaskError::Usage(message)) if message.contains("wires")));
    }
}
