//! The simulation's command line; see `USAGE`.

mod tables;

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use milena_sim::coverage::{REACHED_MIN, gaps};
use milena_sim::rules::RULES;
use milena_sim::{Campaign, Plant, Report, find_plant, run, run_all};
use tables::{list, tell_coverage, tell_figures};

const USAGE: &str = "\
usage: cargo xtask sim --seed N [--plant NAME] [-v]   one run; -v prints what happened
       cargo xtask sim --seeds A..B [--plant NAME]     many runs
       cargo xtask sim --ci                            5000 runs, every cell reached, every plant found
plants: see `milena_core::plant`";

/// How many seeds the check in CI runs.
const CI_SEEDS: Range<u64> = 0..5000;
/// So many of them run twice, and must do the same.
const CI_REPEATED: u64 = 10;
/// Every plant must be found within these seeds.
const PLANT_SEEDS: Range<u64> = 0..2000;
/// Less would not be a simulation of anything.
const RECORDS_MEDIAN_MIN: u64 = 200;
const FAULTS_MEDIAN_MIN: u64 = 3;

enum Task {
    One(u64),
    Many(Range<u64>),
    Ci,
}

struct Arguments {
    task: Task,
    plant: Plant,
    is_verbose: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let is_good = match arguments.task {
        Task::One(seed) => one(seed, arguments.plant, arguments.is_verbose),
        Task::Many(seeds) => many(seeds, arguments.plant),
        Task::Ci => ci(),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut task, mut plant, mut is_verbose) = (None, Plant::Clean, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => task = Some(Task::One(words.next()?.parse().ok()?)),
            "--seeds" => {
                let range = words.next()?;
                let (from, to) = range.split_once("..")?;
                task = Some(Task::Many(from.parse().ok()?..to.parse().ok()?));
            }
            "--ci" => task = Some(Task::Ci),
            "--plant" => {
                let name = words.next()?;
                plant = Plant::ALL.iter().find(|(known, _)| *known == name)?.1;
            }
            "-v" => is_verbose = true,
            _ => return None,
        }
    }
    Some(Arguments { task: task?, plant, is_verbose })
}

fn one(seed: u64, plant: Plant, is_verbose: bool) -> bool {
    let report = run(seed, plant, is_verbose);
    report.trace.iter().for_each(|line| println!("{line}"));
    println!(
        "seed {seed}: {} records in {:?} of virtual time, {} attempts",
        report.records, report.lasted, report.attempts
    );
    println!("faults: {}", list(&report.faults));
    println!("outcomes: {}", list(&report.outcomes));
    println!("unknown ones settled: {}", list(&report.settlements));
    println!("trace hash: {:016x}", report.trace_hash);
    report.violations.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    println!("{}", if report.violations.is_empty() { "good" } else { "violated" });
    report.violations.is_empty()
}

fn many(seeds: Range<u64>, plant: Plant) -> bool {
    let start = Instant::now();
    let campaign = run_all(seeds, plant);
    campaign.failed().for_each(|report| tell_failure(report, plant));
    tell_figures(&campaign);
    let coverage = campaign.coverage();
    let gaps = gaps(&coverage);
    tell_coverage(&coverage, &gaps);
    for (cell, count) in &gaps.reached {
        println!("IMPOSSIBLE, and reached {count} times: {cell:?}");
    }
    for (cell, count) in &gaps.thin {
        println!("THIN {count} {cell:?}");
    }
    println!(
        "{:.1} s, {} of {} runs violated",
        start.elapsed().as_secs_f64(),
        campaign.failed().count(),
        campaign.reports.len()
    );
    campaign.failed().next().is_none()
}

fn tell_failure(report: &Report, plant: Plant) {
    const SHOWN: usize = 5;
    for wrong in report.violations.iter().take(SHOWN) {
        println!("  WRONG: {wrong}");
    }
    if report.violations.len() > SHOWN {
        println!("  … and {} more", report.violations.len() - SHOWN);
    }
    println!("{}", replay_line(report.seed, plant));
}

/// What replays a run.
fn replay_line(seed: u64, plant: Plant) -> String {
    match Plant::ALL.iter().find(|(_, known)| *known == plant) {
        Some((name, _)) => format!("cargo xtask sim --seed {seed} --plant {name}"),
        None => format!("cargo xtask sim --seed {seed}"),
    }
}

/// Checks of the whole, each passed or failed.
#[derive(Default)]
struct Checks {
    passed: usize,
    failed: usize,
}

impl Checks {
    fn check(&mut self, is_good: bool, what: &str) {
        if is_good {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("FAILED: {what}");
        }
    }
}

/// Each cell is a check of its own.
fn check_coverage(checks: &mut Checks, campaign: &Campaign) {
    let coverage = campaign.coverage();
    let gaps = gaps(&coverage);
    tell_coverage(&coverage, &gaps);
    checks.passed += gaps.possible - gaps.thin.len() + gaps.impossible - gaps.reached.len();
    for (cell, count) in &gaps.thin {
        checks.check(false, &format!("{cell:?} was reached {count} times, not {REACHED_MIN}"));
    }
    for (cell, count) in &gaps.reached {
        checks.check(false, &format!("{cell:?} is listed as impossible, and was reached {count} times"));
    }
    for idle in &gaps.idle {
        checks.check(false, &format!("{idle:?} excuses nothing, or was never reached"));
    }
}

fn ci() -> bool {
    let start = Instant::now();
    let mut checks = Checks::default();
    let campaign = run_all(CI_SEEDS, Plant::Clean);
    for report in &campaign.reports {
        if !report.violations.is_empty() {
            tell_failure(report, Plant::Clean);
        }
        checks.check(report.violations.is_empty(), "a clean run was violated; the line above replays it");
    }
    tell_figures(&campaign);
    checks.check(campaign.median(|report| report.records) >= RECORDS_MEDIAN_MIN, "too few records a seed");
    checks.check(campaign.median(Report::fault_count) >= FAULTS_MEDIAN_MIN, "too few faults a seed");
    check_coverage(&mut checks, &campaign);
    for report in campaign.reports.iter().take(CI_REPEATED as usize) {
        let again = run(report.seed, Plant::Clean, false);
        let what = format!("seed {} does something else the second time", report.seed);
        checks.check(again.trace_hash == report.trace_hash, &what);
    }
    for rule in RULES.iter().filter(|rule| rule.plants.is_empty()) {
        println!("measured: rule {}, {}: no plant: {}", rule.number, rule.says, rule.why_none);
    }
    for (name, plant) in Plant::ALL {
        let found = find_plant(PLANT_SEEDS, plant);
        match &found {
            Some(report) => println!("measured: plant {name} found: {}", replay_line(report.seed, plant)),
            None => println!("plant {name} was not found in the seeds {PLANT_SEEDS:?}"),
        }
        checks.check(found.is_some(), "a plant was not found");
    }
    println!("measured: {:.1} s in all", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed, 0 skipped", checks.passed, checks.failed);
    checks.failed == 0
}
