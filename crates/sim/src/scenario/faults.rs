//! Which faults strike in a run, and how often.

use super::aim::Target;
use crate::dice::Dice;
use crate::faults::{Fault, FaultRates, Plan};
use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;

pub(super) fn draw(dice: &mut Dice, target: Option<&Target>) -> FaultRates {
    if dice.chance(0.03) {
        return FaultRates::NONE;
    }
    let mut rates = match target {
        Some(_) => FaultRates::few(dice),
        None => FaultRates::draw(dice),
    };
    if let Some(target) = target {
        rates.raise(target.fault, target.fault.unit().often(dice));
    }
    for fault in Fault::ALL.iter().filter(|fault| !READY.contains(fault)) {
        rates.set(*fault, 0.0);
    }
    rates
}

const ROWS_READY: [Row; 5] = [Row::Acknowledged, Row::NotCommitted, Row::Moved, Row::RefusedForNow, Row::DuplicateTold];

/// Those that the machines are ready for.
const READY: [Fault; 9] = [
    Fault::Cut,
    Fault::Delay,
    Fault::RequestLate,
    Fault::Stall,
    Fault::AnswerLost,
    Fault::DialRefused,
    Fault::RefusedBefore,
    Fault::RefusedAfter,
    Fault::Closed,
];

pub(super) fn draw_planted(dice: &mut Dice, target: Option<&Target>) -> Plan {
    let is_final = dice.pick(&[0.0, 0.0, 0.02, 0.1]);
    let aim = target.map(Target::aim).filter(|aim| ROWS_READY.contains(&aim.row) && aim.state != BatchState::Probe);
    Plan::new(aim, is_final, 0.0)
}
