//! What the runs have reached: each fault × each row of the table × each place where a batch may stand.
//!
//! A cell counts when the fault was in force at the broker, the connection or the partition while the batch was under
//! way whose answer took that row: from its first attempt to this answer, because what struck an earlier attempt is why
//! this one was made.
//!
//! Left out: which cells cannot be reached (`coverage/impossible.rs`).

mod impossible;

use std::collections::BTreeMap;

use milena_core::time::Moment;

use crate::faults::Fault;
use crate::history::{Attempt, AttemptId, AttemptState};
use crate::stage::Stage;
use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;

pub use impossible::{IMPOSSIBLE, Impossible, SELDOM};

/// A fault, a row, and where the batch stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What was in force.
    pub fault: Fault,
    /// What the answer was in its context.
    pub row: Row,
    /// Where the batch stood.
    pub state: BatchState,
}

/// How often each cell was reached; those never reached are absent.
pub type Coverage = BTreeMap<Cell, u64>;

/// So often every possible cell must be reached.
pub const REACHED_MIN: u64 = 20;

/// An answer that took a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) attempt: AttemptId,
    pub(crate) row: Row,
    pub(crate) state: BatchState,
}

/// The cells that a run has reached.
pub(crate) fn of_run(stage: &Stage) -> Coverage {
    let mut coverage = Coverage::new();
    for taken in &stage.history.taken {
        for fault in in_force(stage, taken.attempt) {
            *coverage.entry(Cell { fault, row: taken.row, state: taken.state }).or_default() += 1;
        }
    }
    coverage
}

/// Each fault once.
fn in_force(stage: &Stage, id: AttemptId) -> impl Iterator<Item = Fault> {
    let attempts = &stage.history.attempts;
    let answered = attempts.get(id);
    let until = answered_at(answered);
    let so_far: Vec<&Attempt> =
        attempts.of_batch(answered.first).filter(|attempt| attempt.handed_at <= answered.handed_at).collect();
    let mut is_in_force = [false; Fault::ALL.len()];
    for strike in stage.faults.strikes.all() {
        let place = strike.fault as usize;
        is_in_force[place] = is_in_force[place] || so_far.iter().any(|attempt| strike.touches(attempt, until));
    }
    Fault::ALL.into_iter().filter(move |fault| is_in_force[*fault as usize])
}

fn answered_at(attempt: &Attempt) -> Moment {
    match attempt.state {
        AttemptState::Told { at, .. } => at,
        _ => attempt.over_at.unwrap_or(Moment::NEVER),
    }
}

/// What the coverage of many runs lacks, and what is wrong with the list of impossible cells.
#[derive(Debug, Default)]
pub struct Gaps {
    /// Possible cells that were reached less than [`REACHED_MIN`] times.
    pub thin: Vec<(Cell, u64)>,
    /// Cells that are listed as impossible, and were reached.
    pub reached: Vec<(Cell, u64)>,
    /// Entries of the list that excuse no cell, and seldom ones of which no cell was reached.
    pub idle: Vec<&'static Impossible>,
    /// Possible cells in all.
    pub possible: usize,
    /// Cells that are listed as impossible.
    pub impossible: usize,
}

/// Holds a coverage against the list of impossible cells.
pub fn gaps(coverage: &Coverage) -> Gaps {
    let mut gaps = Gaps::default();
    let mut excused: Vec<u64> = vec![0; IMPOSSIBLE.len()];
    for cell in cells().filter(|cell| !is_seldom(*cell)) {
        let count = coverage.get(&cell).copied().unwrap_or(0);
        let entries: Vec<usize> = (0..IMPOSSIBLE.len()).filter(|entry| IMPOSSIBLE[*entry].covers(cell)).collect();
        entries.iter().for_each(|entry| excused[*entry] += u64::from(count == 0));
        match (entries.is_empty(), count) {
            (true, count) => {
                gaps.possible += 1;
                if count < REACHED_MIN {
                    gaps.thin.push((cell, count));
                }
            }
            (false, 0) => gaps.impossible += 1,
            (false, count) => {
                gaps.impossible += 1;
                gaps.reached.push((cell, count));
            }
        }
    }
    gaps.idle = IMPOSSIBLE.iter().zip(excused).filter(|(_, cells)| *cells == 0).map(|(entry, _)| entry).collect();
    gaps.idle.extend(SELDOM.iter().filter(|entry| !coverage.keys().any(|cell| entry.covers(*cell))));
    gaps
}

/// Whether nothing that a run aims at makes it likely.
fn is_seldom(cell: Cell) -> bool {
    SELDOM.iter().any(|entry| entry.covers(cell))
}

/// Whether every run of its fault may aim at it.
pub fn is_possible(cell: Cell) -> bool {
    !is_seldom(cell) && !IMPOSSIBLE.iter().any(|entry| entry.covers(cell))
}

/// Every cell there is.
pub fn cells() -> impl Iterator<Item = Cell> {
    Fault::ALL.into_iter().flat_map(|fault| {
        Row::ALL
            .into_iter()
            .flat_map(move |row| BatchState::ALL.into_iter().map(move |state| Cell { fault, row, state }))
    })
}
