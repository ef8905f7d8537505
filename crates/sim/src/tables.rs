//! The figures of many runs, as text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;
use milena_sim::coverage::{Cell, Coverage, Gaps, REACHED_MIN, is_possible};
use milena_sim::{Campaign, Fault, Report};

pub fn list<K: Display>(figures: &BTreeMap<K, u64>) -> String {
    let named: Vec<String> = figures.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(", ") }
}

pub fn tell_figures(campaign: &Campaign) {
    println!(
        "measured: {} seeds, median {} records and {} faults a seed",
        campaign.reports.len(),
        campaign.median(|report| report.records),
        campaign.median(Report::fault_count),
    );
    let deep = campaign.reports.iter().filter(|report| report.deepest >= 5).count();
    println!("measured: five batches of a partition were on the wire at once in {deep} seeds");
    println!("measured: faults: {}", list(&campaign.sum(|report| &report.faults)));
    tell_shares("outcomes", &campaign.sum(|report| &report.outcomes));
    tell_shares("unknown ones settled", &campaign.sum(|report| &report.settlements));
}

fn tell_shares<K: Display>(what: &str, figures: &BTreeMap<K, u64>) {
    let all = figures.values().sum::<u64>().max(1) as f64;
    println!("measured: {what}:");
    for (name, count) in figures {
        println!("  {:6.2} %  {count:8}  {name}", *count as f64 * 100.0 / all);
    }
}

/// One line per row: in how many states each fault met it, or the least of the counts where one is thin.
pub fn tell_coverage(coverage: &Coverage, gaps: &Gaps) {
    println!(
        "measured: coverage: {} of {} possible cells reached {REACHED_MIN} times, {} impossible; least and median per row and state:",
        gaps.possible - gaps.thin.len(),
        gaps.possible,
        gaps.impossible,
    );
    let states: Vec<String> = BatchState::ALL.iter().map(|state| format!("{state:?}")).collect();
    println!("  {:20} {}", "", states.iter().map(|state| format!("{state:>16}")).collect::<String>());
    for row in Row::ALL {
        let mut line = format!("  {:20} ", format!("{row:?}"));
        for state in BatchState::ALL {
            write!(line, "{:>16}", summary(coverage, row, state)).expect("a string takes everything");
        }
        println!("{line}");
    }
}

/// Of the faults for which the cell is possible.
fn summary(coverage: &Coverage, row: Row, state: BatchState) -> String {
    let cells = Fault::ALL.into_iter().map(|fault| Cell { fault, row, state });
    let possible = cells.filter(|cell| is_possible(*cell));
    let mut counts: Vec<u64> = possible.map(|cell| coverage.get(&cell).copied().unwrap_or(0)).collect();
    counts.sort_unstable();
    match counts.first() {
        None => "-".to_owned(),
        Some(least) => format!("{least} / {}", counts[counts.len() / 2]),
    }
}
