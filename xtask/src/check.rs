//! `cargo xtask check`: everything that a machine can say about the text, without running tests.
//!
//! All checks run, whatever the ones before said; each prints one line, and what it has to say when it fails.

use crate::judge::Skips;
use crate::{TaskError, TaskResult, codegen, examples, groups, workspace};
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
    Check { name: "pure", run: pure },
    Check { name: "rustdoc", run: rustdoc },
    Check { name: "examples", run: examples },
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

/// Every target. Tests that their manifests mark `test = false` are brought by their names alone, and `--tests` makes cargo forget names: so there are
/// two calls. The groups have all of those names, which `coverage.rs` proves.
fn clippy() -> End {
    let all = ["--all-targets"].to_vec();
    let named = groups::targets_by_name().into_iter().flat_map(|target| ["--test", target]).collect();
    for targets in [all, named] {
        let call = [&["clippy", "--workspace", "--all-features"], targets.as_slice(), &["--", "--deny", "warnings"]];
        if let End::Bad(said) = quiet(&mut workspace::cargo(&call.concat())) {
            return End::Bad(said);
        }
    }
    End::Good(String::new())
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

/// The library without default features: in Rust alone, so nothing of it asks for a compiler of C.
fn pure() -> End {
    let tree = ["tree", "--package", "milena", "--no-default-features", "--edges", "normal,build", "--prefix", "none"];
    match distinct_crates_of(&tree) {
        Err(reason) => End::Bad(reason),
        Ok(crates) => match crates.iter().find(|name| needs_c(name)) {
            Some(found) => End::Bad(format!("{found} is in the library without default features")),
            None => {
                let call = ["clippy", "--package", "milena", "--no-default-features", "--", "--deny", "warnings"];
                quiet(&mut workspace::cargo(&call))
            }
        },
    }
}

/// Of a line of cargo's tree.
fn needs_c(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    matches!(name, "cc" | "cmake" | "pkg-config" | "bindgen") || name.ends_with("-sys") && name != "windows-sys"
}

fn rustdoc() -> End {
    let mut call = workspace::cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
    quiet(call.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Documentation of the library and of the wire format: an example for every public item.
fn examples() -> End {
    match examples::missing() {
        Ok(missing) if missing.is_empty() => End::Good(String::new()),
        Ok(missing) => End::Bad(format!("items without an example:\n{}", missing.join("\n"))),
        Err(error) => End::Bad(format!("the sources of the library cannot be read: {error}")),
    }
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
    let count = match distinct_crates_of(&["tree", "--package", "milena", "--edges", "normal", "--prefix", "none"]) {
        Ok(crates) => crates.len(),
        Err(reason) => return End::Bad(reason),
    };
    let said = format!("{count} of at most {LIBRARY_CRATES_MAX} in the library with default features, ours included");
    if count == 0 || count > LIBRARY_CRATES_MAX { End::Bad(said) } else { End::Good(said) }
}

fn distinct_crates_of(tree: &[&str]) -> Result<BTreeSet<String>, String> {
    match workspace::cargo(tree).output() {
        Ok(output) if output.status.success() => Ok(distinct_crates(&String::from_utf8_lossy(&output.stdout))),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}

/// Crates by name and version; cargo marks those that it lists again.
fn distinct_crates(tree: &str) -> BTreeSet<String> {
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
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
        assert_eq!(distinct_crates(tree).len(), 4);
    }

    #[test]
    fn what_compiles_c_is_known_by_its_name() {
        assert!(["cc v1.2.3", "zstd-sys v2.1.2+zstd.1.5.7", "cmake v0.1.0"].iter().all(|line| needs_c(line)));
        assert!(!["crc32c v0.6.8", "ruzstd v0.9.1", "windows-sys v0.61.0"].iter().any(|line| needs_c(line)));
    }

    #[test]
    fn an_unknown_option_is_a_usage_error() {
        assert!(matches!(parse(&["--all".to_owned()]), Err(TaskError::Usage(_))));
        assert!(matches!(parse(&["--deny-skips".to_owned()]), Ok(Skips::Denied)));
    }
}
