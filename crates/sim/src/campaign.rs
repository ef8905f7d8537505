//! Many seeds on several threads, and the search for a planted bug.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use milena_core::plant::Plant;

use crate::coverage::Coverage;
use crate::report::{Report, run};

/// What many runs showed, in the order of their seeds.
#[derive(Debug, Default)]
pub struct Campaign {
    /// One per seed.
    pub reports: Vec<Report>,
}

/// Runs every seed, on as many threads as the machine has cores.
pub fn run_all(seeds: Range<u64>, plant: Plant) -> Campaign {
    Campaign { reports: run_until(seeds, plant, |_| false) }
}

/// The first seed that shows the planted bug.
pub fn find_plant(seeds: Range<u64>, plant: Plant) -> Option<Report> {
    // A seed that is violated without the plant says nothing about it.
    let shows =
        |report: &Report| !report.violations.is_empty() && run(report.seed, Plant::Clean, false).violations.is_empty();
    run_until(seeds, plant, shows).into_iter().find(shows)
}

/// Every seed below the first for which `is_enough` is reported.
fn run_until(seeds: Range<u64>, plant: Plant, is_enough: impl Fn(&Report) -> bool + Sync) -> Vec<Report> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = run(seed, plant, false);
            if is_enough(&report) {
                is_over.store(true, Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, report);
        }
    };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

impl Campaign {
    /// The runs in which something was wrong.
    pub fn failed(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| !report.violations.is_empty())
    }

    /// The middle of a figure over all runs.
    pub fn median(&self, figure: impl Fn(&Report) -> u64) -> u64 {
        let mut figures: Vec<u64> = self.reports.iter().map(figure).collect();
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied().unwrap_or(0)
    }

    /// The cells that were reached, by all runs together.
    pub fn coverage(&self) -> Coverage {
        self.sum(|report| &report.coverage)
    }

    /// A figure by name, added up over all runs.
    pub fn sum<'a, K: Ord + Clone + 'a>(
        &'a self,
        figures: impl Fn(&'a Report) -> &'a BTreeMap<K, u64>,
    ) -> BTreeMap<K, u64> {
        let mut sum = BTreeMap::new();
        for (name, count) in self.reports.iter().flat_map(figures) {
            *sum.entry(name.clone()).or_default() += count;
        }
        sum
    }
}
