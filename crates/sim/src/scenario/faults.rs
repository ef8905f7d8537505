//! Which faults strike in a run, and how often.

use super::aim::Target;
use crate::dice::Dice;
use crate::faults::{FaultRates, Plan};

pub(super) fn draw(dice: &mut Dice, target: Option<&Target>) -> FaultRates {
    if dice.chance(0.03) {
        return FaultRates::NONE;
    }
    let mut rates = match target {
        Some(_) => FaultRates::few(dice),
        None => FaultRates::draw(dice),
    };
    if let Some(target) = target {
        rates.raise(target.fault, target.rate(dice));
    }
    rates
}

pub(super) fn draw_planted(dice: &mut Dice, target: Option<&Target>) -> Plan {
    let is_final = dice.pick(&[0.0, 0.0, 0.02, 0.1]);
    let gap = dice.pick(&[0.0, 0.0, 0.0, 0.1, 0.4]);
    let aims = target.map(|target| target.aims.clone()).unwrap_or_default();
    Plan::new(aims, is_final, gap)
}
