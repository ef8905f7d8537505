//! `cargo xtask fuzz [--minutes N] [NAME]`: the harnesses over hostile bytes under libFuzzer, which bolero brings.
//!
//! Every test of the targets below is a harness: with `cargo test` it runs on some thousands of random inputs, here on what
//! libFuzzer finds out by coverage. They share the time and run one after the other, on one core at the lowest priority.
//! What was found interesting stays below `target/fuzz` and is where the next run begins; an input that fails is kept in
//! `target/fuzz/findings` and tried first by every later run, and the run goes on with the next harness and ends as failed.

use crate::{TaskError, TaskResult, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Package and integration test.
const TARGETS: &[(&str, &str)] =
    &[("milena-wire", "hostile"), ("milena-wire", "hostile_records"), ("milena-broker", "hostile_requests")];

const MINUTES: f64 = 10.0;

/// What cargo-bolero gives the compiler for libFuzzer; cargo-bolero itself cannot build one test target alone, and the
/// unit tests beside it do not link with these.
const RUSTFLAGS: &str = "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Bytes of the longest input; harnesses repeat parts of it to get longer messages.
const INPUT_BYTES_MAX: u32 = 2_048;

/// Beyond it an input counts as a hang.
const SECONDS_PER_INPUT_MAX: u32 = 10;

pub fn run(arguments: &[String]) -> TaskResult {
    let request = Request::parse(arguments)?;
    let folder = workspace::target().join("fuzz");
    let mut harnesses = Vec::new();
    for (package, target) in TARGETS {
        let program = build(&folder, package, target)?;
        let names = names(&program)?;
        let wanted = |name: &String| request.name.as_ref().is_none_or(|part| name.contains(part.as_str()));
        harnesses.extend(names.into_iter().filter(wanted).map(|name| Harness { program: program.clone(), name }));
    }
    if harnesses.is_empty() {
        return Err(TaskError::Usage("no harness has that in its name".to_owned()));
    }
    let seconds = (request.minutes * 60.0 / harnesses.len() as f64).max(1.0) as u64;
    let mut failed = false;
    for harness in &harnesses {
        failed |= !harness.fuzz(&folder, seconds)?;
    }
    if failed { Err(TaskError::Told) } else { Ok(()) }
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    minutes: f64,
    /// Part of the names of the harnesses to run.
    name: Option<String>,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self, TaskError> {
        let mut request = Self { minutes: MINUTES, name: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--minutes" => {
                    let minutes = arguments.next().and_then(|minutes| minutes.parse().ok());
                    let minutes = minutes.filter(|minutes: &f64| *minutes > 0.0 && minutes.is_finite());
                    request.minutes = minutes.ok_or_else(|| TaskError::Usage("--minutes needs a number".to_owned()))?;
                }
                name if request.name.is_none() && !name.starts_with('-') => request.name = Some(name.to_owned()),
                other => return Err(TaskError::Usage(format!("fuzz does not know {other}"))),
            }
        }
        Ok(request)
    }
}

/// One test of a target.
struct Harness {
    program: PathBuf,
    name: String,
}

impl Harness {
    /// Runs it and prints a line; whether nothing was found.
    fn fuzz(&self, folder: &Path, seconds: u64) -> Result<bool, TaskError> {
        let corpus = folder.join("corpus").join(&self.name);
        let findings = folder.join("findings").join(&self.name);
        for folder in [&corpus, &findings] {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        let options = format!(
            "{0} {1} -artifact_prefix={1}/ -max_total_time={seconds} -max_len={INPUT_BYTES_MAX} \
             -timeout={SECONDS_PER_INPUT_MAX} -len_control=0 -print_final_stats=1",
            corpus.display(),
            findings.display()
        );
        let output = Command::new("sh")
            .args(["-c", TIMED])
            .arg(&self.program)
            .args([self.name.as_str(), "--exact", "--nocapture", "--quiet", "--test-threads", "1"])
            .env("BOLERO_LIBFUZZER_ARGS", options)
            // The input and the failed assertion shall be among the last lines.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(&self.program, &error))?;
        let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        let figures = Figures::of(&said);
        // Without executed units libFuzzer has not run at all, whatever the exit status says.
        let is_clean = output.status.success() && figures.inputs > 0;
        println!("{:<70} {} {figures}", self.name, if is_clean { "clean " } else { "FOUND " });
        if !is_clean {
            let lines: Vec<&str> = said.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(LINES_SHOWN_MAX)..].join("\n"));
        }
        Ok(is_clean)
    }
}

const LINES_SHOWN_MAX: usize = 60;

/// At the lowest priority; at the end the shell tells what processor time it took, because on a busy machine the clock says
/// little about how much was done.
const TIMED: &str = "nice -n 19 \"$0\" \"$@\"; status=$?; times; exit $status";

/// What libFuzzer counts.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    inputs: u64,
    /// Of processor time.
    seconds: u64,
    /// Edges of the program that were reached.
    edges: u64,
    /// Inputs that reached something new, those of earlier runs included.
    corpus: u64,
    /// Megabytes at the most.
    memory: u64,
}

impl Figures {
    fn of(said: &str) -> Self {
        let statistic = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line.and_then(|line| line.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
        };
        // The last line of progress: `#4096 pulse  cov: 512 ft: 800 corp: 70/4000b lim: 40 exec/s: 2048 rss: 60Mb`.
        let progress = said.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: ")).unwrap_or("");
        let mut words = progress.split([' ', '/', '\t']).filter(|word| !word.is_empty());
        let edges = words.by_ref().skip_while(|word| *word != "cov:").nth(1);
        let corpus = words.skip_while(|word| *word != "corp:").nth(1);
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        Self {
            inputs: statistic("number_of_executed_units"),
            seconds: processor_seconds(said),
            edges: number(edges),
            corpus: number(corpus),
            memory: statistic("peak_rss_mb"),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inputs, seconds, edges, corpus, memory } = self;
        write!(f, "{inputs} inputs in {seconds} s of processor time, {edges} edges, corpus {corpus}, {memory} MB")
    }
}

/// User and system time of the shell's children: the last line of `times`, `1m2.34s 0m5.67s`.
fn processor_seconds(said: &str) -> u64 {
    let time = |text: &str| -> Option<f64> {
        let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let sum = |line: &str| line.split_once(' ').and_then(|(user, system)| Some(time(user)? + time(system)?));
    said.lines().filter_map(sum).next_back().map_or(0, |seconds| seconds as u64)
}

/// Builds a test target with what libFuzzer needs, and gives its program.
fn build(folder: &Path, package: &str, target: &str) -> Result<PathBuf, TaskError> {
    let host = host()?;
    let call = ["test", "--no-run", "--profile", "fuzz", "--target", &host, "--package", package, "--test", target];
    let mut cargo = workspace::cargo(&call);
    let output = cargo
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(folder.join("build"))
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("BOLERO_FUZZER", "libfuzzer")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| TaskError::Failed(format!("cannot run cargo: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    executable(&said, target)
        .filter(|_| output.status.success())
        .ok_or_else(|| TaskError::Failed(format!("{package}: {target} is not built")))
}

/// Cargo tells of each program that it built, as a line of JSON.
fn executable(said: &str, target: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == target);
    programs.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

fn host() -> Result<String, TaskError> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| TaskError::Failed(format!("cannot run rustc: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| TaskError::Failed("rustc does not tell its host".to_owned()))
}

/// The tests of a program.
fn names(program: &Path) -> Result<Vec<String>, TaskError> {
    let output = Command::new(program).args(["--list", "--format", "terse"]).output();
    let output = output.map_err(|error| failed(program, &error))?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn failed(path: &Path, error: &std::io::Error) -> TaskError {
    TaskError::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_figures_are_read() {
        let said = "INFO: Seed: 1\n#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #4096\tpulse  cov: 512 ft: 800 corp: 70/4000b lim: 40 exec/s: 2048 rss: 60Mb\n\
            Done 5000 runs in 2 second(s)\nstat::number_of_executed_units: 5000\nstat::peak_rss_mb:              61\n\
            0m0.00s 0m0.01s\n1m2.70s 0m1.60s\n";
        let expected = Figures { inputs: 5_000, seconds: 64, edges: 512, corpus: 70, memory: 61 };
        assert_eq!(Figures::of(said), expected);
        assert_eq!(Figures::of("test x ... ok"), Figures::default());
    }

    #[test]
    fn the_command_line_names_minutes_and_a_harness() {
        let parse = |arguments: &[&str]| Request::parse(&arguments.iter().map(|&one| one.into()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), Request { minutes: 10.0, name: None });
        assert_eq!(
            parse(&["--minutes", "0.5", "frames"]).unwrap(),
            Request { minutes: 0.5, name: Some("frames".into()) }
        );
        for wrong in [&["--minutes"][..], &["--minutes", "-1"], &["--minutes", "NaN"], &["a", "b"], &["--runs"]] {
            assert!(matches!(parse(wrong), Err(TaskError::Usage(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_program_is_found_among_what_cargo_tells() {
        let said = "{\"target\":{\"name\":\"bytes\"},\"executable\":null}\nnoise\n\
            {\"target\":{\"name\":\"hostile\"},\"executable\":\"/t/hostile-1\"}\n";
        assert_eq!(executable(said, "hostile"), Some(PathBuf::from("/t/hostile-1")));
        assert_eq!(executable(said, "other"), None);
    }
}
