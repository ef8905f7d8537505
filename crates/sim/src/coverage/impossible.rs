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
    /// Whether it excuses the cell.
    pub fn covers(&self, cell: Cell) -> bool {
        (self.faults.is_empty() || self.faults.contains(&cell.fault))
            && (self.rows.is_empty() || self.rows.contains(&cell.row))
            && (self.states.is_empty() || self.states.contains(&cell.state))
    }
}

const BEHIND: &[BatchState] = &[BatchState::Behind, BatchState::Probe];
const FIRST: &[BatchState] = &[BatchState::Alone, BatchState::Head, BatchState::Resent];

/// The list. A cell that is reached all the same fails the run, and so does an entry that excuses nothing.
pub static IMPOSSIBLE: &[Impossible] = &[
    Impossible { faults: &[Fault::Closed], rows: &[], states: &[], because: "a closed producer reads no answers" },
    Impossible {
        faults: &[],
        rows: &[Row::SupersededEpoch],
        states: &[],
        because: "an epoch is left only when nothing of it is unsettled; later answers to it are strays, which take no row",
    },
    Impossible {
        faults: &[],
        rows: &[Row::OnLeader],
        states: &[BatchState::Alone, BatchState::Probe],
        because: "acks=1 has no stamps, so no batch is the first of its stamps and none is asked about another",
    },
    Impossible {
        faults: &[Fault::IdentityRefused, Fault::IdentityStolen],
        rows: &[Row::OnLeader],
        states: &[],
        because: "acks=1 needs no producer id",
    },
    Impossible {
        faults: &[],
        rows: &[Row::TooLargeToSplit, Row::BadRecords, Row::RefusedForGood, Row::RefusedInDoubt],
        states: BEHIND,
        because: "behind another batch a refusal for good is RefusedBehind",
    },
    Impossible {
        faults: &[],
        rows: &[Row::RefusedBehind, Row::GapBehind],
        states: FIRST,
        because: "the head stands behind nothing",
    },
    Impossible {
        faults: &[],
        rows: &[Row::GapBeforeCleanHead, Row::GapAtDoubtfulHead, Row::GapUnanchored],
        states: BEHIND,
        because: "behind another batch a gap is GapBehind",
    },
    Impossible {
        faults: &[],
        rows: &[Row::GapAtDoubtfulHead],
        states: &[BatchState::Alone],
        because: "the first of its stamps has no anchor, so its gap is GapUnanchored",
    },
];

/// Cells that come only when several things go wrong in one order, whatever their fault is: they are neither asked for one by one nor
/// forbidden. An entry of which no cell is reached fails the run.
pub static SELDOM: &[Impossible] = &[Impossible {
    faults: &[],
    rows: &[Row::GapUnanchored],
    states: &[BatchState::Head],
    because: "a head that was sent once has an anchor, unless its own refusal tells an offset that shows a loss",
}];
