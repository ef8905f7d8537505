//! A run from the outside: a seed goes in, a verdict and figures come out.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use milena_core::plant::Plant;
use milena_core::producer::outcome::Settlement;

use crate::checker;
use crate::coverage::{self, Coverage};
use crate::faults::Fault;
use crate::history::Told;
use crate::scenario::Scenario;
use crate::stage::Stage;
use crate::trace::Trace;
use crate::world::World;

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Everything that was wrong, in words; empty for a good run.
    pub violations: Vec<String>,
    /// Records that the producer accepted.
    pub records: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Outcomes by name.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// How unknown records were settled; doubts by their reason.
    pub settlements: BTreeMap<String, u64>,
    /// Times that the buffer had no room for a record.
    pub refused_by_buffer: u64,
    /// Batches that were handed to a connection, each time they were.
    pub attempts: u64,
    /// The most batches of one partition that were on the wire at once.
    pub deepest: u64,
    /// The cells of the coverage that were reached.
    pub coverage: Coverage,
    /// Virtual time from start to rest.
    pub lasted: Duration,
    /// The same seed gives the same number.
    pub trace_hash: u64,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
}

impl Report {
    /// Faults of all kinds.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Runs a seed to its end. A panic of the machines is a violation too.
pub fn run(seed: u64, plant: Plant, keep_trace: bool) -> Report {
    let world = World::new(Stage::new(Scenario::draw(seed, plant), Trace::new(keep_trace)));
    // A world that panicked is looked at for its trace only.
    let mut world = world;
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let mut report = Report { seed, ..Report::default() };
    match ended {
        Ok(()) => report.violations = checker::check(&world.stage, &world.brokers, world.client.memory().held()),
        Err(panic) => report.violations.push(format!("panic: {}", words_of(&*panic))),
    }
    report.count(&world.stage);
    report.trace_hash = world.stage.trace.hash();
    report.trace = world.stage.trace.into_lines();
    report
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

impl Report {
    fn count(&mut self, stage: &Stage) {
        let history = &stage.history;
        self.records = history.records.iter().filter(|record| record.acceptance.is_some()).count() as u64;
        self.refused_by_buffer = history.refused_by_buffer;
        self.attempts = history.attempts.all().len() as u64;
        self.deepest = history.attempts.deepest as u64;
        self.coverage = coverage::of_run(stage);
        self.lasted = Duration::from_micros(stage.now.as_micros());
        for fault in Fault::ALL {
            self.faults.insert(fault, stage.faults.strikes.count(fault));
        }
        for record in &history.records {
            if let Some((_, told)) = record.outcome {
                *self.outcomes.entry(name_of(told)).or_default() += 1;
            }
            if let Some((_, settlement)) = record.settlement {
                let name = match settlement {
                    Settlement::Written(_) => "written".to_owned(),
                    Settlement::NotWritten(_) => "not written".to_owned(),
                    Settlement::Undetermined(why) => why.reason.to_string(),
                };
                *self.settlements.entry(name).or_default() += 1;
            }
        }
    }
}

fn name_of(told: Told) -> &'static str {
    match told {
        Told::Written(_) => "written",
        Told::NotWritten(_) => "not written",
        Told::Unknown => "unknown",
    }
}
