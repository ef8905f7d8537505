//! How often each fault strikes in a run.

use super::Fault;
use crate::dice::Dice;

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Probability per request or per answer.
    Request,
    /// Probability per batch in a request.
    Attempt,
    /// Probability per Metadata answer.
    Metadata,
    /// Probability per InitProducerId answer.
    Identity,
    /// Mean number per second of virtual time.
    Second,
    /// Probability per run.
    Run,
}

/// One number per fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultRates([f64; Fault::ALL.len()]);

impl FaultRates {
    pub(crate) const NONE: Self = Self([0.0; Fault::ALL.len()]);

    /// Attempts are refused again and again after the append, and little else goes wrong.
    pub(crate) const SLOW_FOLLOWERS: Self = {
        let mut rates = Self::NONE;
        rates.0[Fault::Cut as usize] = 0.01;
        rates.0[Fault::AnswerLost as usize] = 0.01;
        rates.0[Fault::RefusedAfter as usize] = 0.4;
        rates
    };

    pub(crate) fn of(&self, fault: Fault) -> f64 {
        self.0[fault as usize]
    }

    pub(crate) fn set(&mut self, fault: Fault, rate: f64) {
        self.0[fault as usize] = rate;
    }

    pub(crate) fn raise(&mut self, fault: Fault, rate: f64) {
        self.set(fault, self.of(fault).max(rate));
    }

    /// Some faults now and then, and sometimes one so often that it meets itself while the last one is still being repaired.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut rates = Self::NONE;
        let share = dice.pick(&[0.1, 0.3, 0.6]);
        for fault in Fault::ALL {
            if fault.unit() != Unit::Run && dice.chance(share) {
                rates.set(fault, fault.unit().some(dice));
            }
        }
        if dice.chance(0.6) {
            let often = dice.pick(&Fault::ALL);
            rates.set(often, often.unit().often(dice));
        }
        if dice.chance(0.08) {
            rates.set(Fault::Closed, 1.0);
        }
        rates
    }

    /// One or two now and then, beside the one that the run is about.
    pub(crate) fn few(dice: &mut Dice) -> Self {
        let mut rates = Self::NONE;
        for _ in 0..dice.below(6) {
            let fault = dice.pick(&Fault::ALL);
            if fault.unit() != Unit::Run {
                rates.set(fault, fault.unit().some(dice));
            }
        }
        rates
    }
}

impl Unit {
    /// A rate at which a run meets the fault a few times.
    fn some(self, dice: &mut Dice) -> f64 {
        match self {
            Self::Request => dice.pick(&[0.005, 0.01, 0.02, 0.04]),
            Self::Attempt => dice.pick(&[0.01, 0.02, 0.05, 0.1]),
            Self::Metadata | Self::Identity => dice.pick(&[0.1, 0.3]),
            Self::Second => dice.pick(&[0.1, 0.3, 0.6]),
            Self::Run => 1.0,
        }
    }

    /// A rate at which it meets itself.
    pub(crate) fn often(self, dice: &mut Dice) -> f64 {
        match self {
            Self::Request => dice.pick(&[0.08, 0.15, 0.3]),
            Self::Attempt => dice.pick(&[0.15, 0.25, 0.4]),
            Self::Metadata | Self::Identity => dice.pick(&[0.5, 0.8]),
            Self::Second => dice.pick(&[1.0, 2.0, 4.0]),
            Self::Run => 1.0,
        }
    }
}
