//! `cargo xtask check`: everything that a machine can say about the text, without running tests.
//!
//! All checks run, whatever the ones before said; each prints one line, and what it has to say when it fails.

use crate::judge::Skips;
use crate::{TaskError, TaskResult, codegen, workspace};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many crates an adopter of the library compiles with default features, the three of ours included.
const LIBRARY_CRATES_MAX: usize = 60;

pub fn run(arguments: &[String]) -> TaskResult {
    let skips = parse(arguments)?;
    let mut failed = false;
    for check in CHECKS {
        let started = Instant::now();
        let end = (check.run)();
        let seconds = started.elapsed().as_secs_f64();
        let (word, reason) = match &end {
            End::Good(said) => ("good", said),
            End::Skipped(reason) if skips == Skips::Allowed => ("skipped", reason),
            End::Skipped(reason) | End::Bad(reason) => ("FAILED", reason),
        };
        println!("{:<10} {word:<8} {seconds:6.1} s  {reason}", check.name);
        failed |= word == "FAILED";
    }
    if failed { Err(TaskError::Told) } else { Ok(()) }
}

/// A row of the table.
struct Check {
    name: &'static str,
    run: fn() -> End,
}

/// What a check found, in words.
enum End {
    Good(String),
    Bad(String),
    Skipped(String),
}

const CHECKS: &[Check] = &[
    Check { name: "format", run: format },
    Check { name: "clippy", run: clippy },
    Check { name: "library", run: library },
    Check { name: "features", run: features },
    Check { name: "rustdoc", run: rustdoc },
    Check { name: "generated", run: generated },
    Check { name: "crates", run: crates },
];

fn parse(arguments: &[String]) -> Result<Skips, TaskError> {
    match arguments {
        [] => Ok(Skips::Allowed),
        [option] if option == "--deny-skips" => Ok(Skips::Denied),
        _ => Err(TaskError::Usage("check takes no argument but --deny-skips".to_owned())),
    }
}

fn format() -> End {
    quiet(&mut workspace::cargo(&["fmt", "--all", "--check"]))
}

/// `--test '*'` brings the tests that their manifests mark `test = false`; `--all-targets` would leave them out.
fn clippy() -> End {
    let targets = ["--lib", "--bins", "--examples", "--benches", "--tests", "--test", "*"];
    let call =
        [&["clippy", "--workspace", "--all-features"], targets.as_slice(), &["--", "--deny", "warnings"]].concat();
    quiet(&mut workspace::cargo(&call))
}

/// The library as an adopter gets it: default features only, so that code used by optional parts alone is found.
fn library() -> End {
    quiet(&mut workspace::cargo(&["clippy", "--package", "milena", "--", "--deny", "warnings"]))
}

/// The messages with each family alone and with none, as adopters choose them.
fn features() -> End {
    let mut families: Vec<&str> = codegen::features().collect();
    families.push("");
    for family in &families {
        let call = ["clippy", "--package", "milena-wire", "--features", family, "--", "--deny", "warnings"];
        if let End::Bad(said) = quiet(&mut workspace::cargo(&call)) {
            return End::Bad(format!("milena-wire with {family:?} alone: {said}"));
        }
    }
    End::Good(format!("milena-wire with each of {} families alone, and with none", families.len() - 1))
}

fn rustdoc() -> End {
    let mut call = workspace::cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
    quiet(call.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// The checked-in messages against what the generator makes of Kafka's definitions.
fn generated() -> End {
    if let Err(reason) = kafka_harness::java_available() {
        return End::Skipped(reason);
    }
    match codegen::run(&["--check".to_owned()]) {
        Ok(()) => End::Good(String::new()),
        Err(reason) => End::Bad(reason),
    }
}

fn crates() -> End {
    let tree = ["tree", "--package", "milena", "--edges", "normal", "--prefix", "none"];
    let output = match workspace::cargo(&tree).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => return End::Bad(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => return End::Bad(format!("cannot run cargo: {error}")),
    };
    let count = distinct_crates(&String::from_utf8_lossy(&output.stdout));
    let said = format!("{count} of at most {LIBRARY_CRATES_MAX} in the library with default features, ours included");
    if count == 0 || count > LIBRARY_CRATES_MAX { End::Bad(said) } else { End::Good(said) }
}

/// Crates by name and version; cargo marks those that it lists again.
fn distinct_crates(tree: &str) -> usize {
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty());
    lines.collect::<BTreeSet<_>>().len()
}

/// Runs a command that has nothing to say when all is well.
fn quiet(command: &mut Command) -> End {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => End::Good(String::new()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            End::Bad(format!("\n{}", String::from_utf8_lossy(&said)))
        }
        Err(error) => End::Bad(format!("cannot run cargo: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_is_listed_twice_counts_once_and_two_versions_count_twice() {
        let tree =
            "milena v0.1.0 (path)\nbytes v1.12.0\nmilena-core v0.1.0 (path)\nbytes v1.12.0 (*)\n\nbytes v0.4.0\n";
        assert_eq!(distinct_crates(tree), 4);
    }

    #[test]
    fn an_unknown_option_is_a_usage_error() {
        assert!(matches!(parse(&["--all".to_owned()]), Err(TaskError::Usage(_))));
        assert!(matches!(parse(&["--deny-skips".to_owned()]), Ok(Skips::Denied)));
    }
}
