//! The cell of the coverage that a run aims at: a fault, a row of the table, and where the batch stands.

use super::Scenario;
use crate::dice::Dice;
use crate::faults::{Aim, Fault};
use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;

#[derive(Debug)]
pub(super) struct Target {
    pub(super) fault: Fault,
    row: Row,
    state: BatchState,
    rate: f64,
}

impl Target {
    /// Runs aim at the cells in turn; every fourth at none.
    pub(super) fn draw(seed: u64, dice: &mut Dice) -> Option<Self> {
        if seed.is_multiple_of(4) {
            return None;
        }
        let cells = (Fault::ALL.len() * Row::ALL.len() * BatchState::ALL.len()) as u64;
        // A stride that shares no factor with the number of cells visits each before any comes again.
        let number = ((seed - seed / 4).wrapping_mul(STRIDE) % cells) as usize;
        let (rest, state) = (number / BatchState::ALL.len(), number % BatchState::ALL.len());
        let (fault, row) = (rest / Row::ALL.len(), rest % Row::ALL.len());
        Some(Self {
            fault: Fault::ALL[fault],
            row: Row::ALL[row],
            state: BatchState::ALL[state],
            rate: dice.pick(&[0.1, 0.25, 0.5]),
        })
    }

    pub(super) fn aim(&self) -> Aim {
        Aim { row: self.row, state: self.state, rate: self.rate }
    }

    /// What must be asked of the brokers for the row to come at all, as [`Scenario::draw_promise`] numbers it.
    pub(super) fn promise(&self) -> Option<u64> {
        match self.row {
            Row::OnLeader => Some(5),
            // Rows of producers with stamps.
            Row::GapBehind
            | Row::GapBeforeCleanHead
            | Row::GapAtDoubtfulHead
            | Row::GapUnanchored
            | Row::ForeignEpoch
            | Row::SupersededEpoch => Some(99),
            _ => (self.state == BatchState::Probe).then_some(99),
        }
    }

    /// How many brokers the fault needs.
    pub(super) fn nodes(&self) -> Option<i32> {
        match self.fault {
            Fault::LeaderMoved | Fault::FollowerSlow | Fault::FollowerFrozen | Fault::ElectionMeanwhile => Some(3),
            _ => None,
        }
    }

    /// What makes the cell likely.
    pub(super) fn shape(&self, scenario: &mut Scenario, dice: &mut Dice) {
        if !matches!(self.state, BatchState::Alone) && dice.chance(0.8) {
            scenario.fill_windows(dice);
        }
        if self.fault == Fault::BufferFull {
            scenario.buffer_memory = dice.between(300, 800) as usize * 1024;
        }
        if self.nodes().is_some() {
            scenario.topics.iter_mut().for_each(|topic| topic.replicas = topic.replicas.max(2));
        }
    }
}

/// A prime, far from the round numbers that make up the table.
const STRIDE: u64 = 1_000_003;
