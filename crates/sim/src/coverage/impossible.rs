//! The cells that no run can reach, each with its reason. An entry names what it covers; what it leaves out is anything.

use super::Cell;
use crate::faults::Fault;
use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;

/// Cells that cannot be reached.
#[derive(Debug)]
pub struct Impossible {
    /// Any fault if none.
    pub faults: &'static [Fault],
    /// Any row if none.
    pub rows: &'static [Row],
    /// Any state if none.
    pub states: &'static [BatchState],
    /// Why.
    pub because: &'static str,
}

impl Impossible {
    pub(super) fn covers(&self, cell: Cell) -> bool {
        (self.faults.is_empty() || self.faults.contains(&cell.fault))
            && (self.rows.is_empty() || self.rows.contains(&cell.row))
            && (self.states.is_empty() || self.states.contains(&cell.state))
    }
}

/// The list. A cell that is reached all the same fails the run, and so does an entry that excuses nothing.
pub static IMPOSSIBLE: &[Impossible] =
    &[Impossible { faults: &[Fault::Closed], rows: &[], states: &[], because: "a closed producer reads no answers" }];
