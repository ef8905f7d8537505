//! Exactly one outcome, on time, and every doubt resolved.

use milena_core::producer::outcome::NotWritten;

use super::{Checked, Checker};
use crate::history::{Told, Via};

impl Checker<'_> {
    pub(super) fn check_told(&mut self, checked: &Checked<'_>) {
        let record = checked.record;
        if record.via == Via::Nobody {
            return;
        }
        let Some((at, told)) = record.outcome else {
            return self.blame(checked, "nobody was told what became of it");
        };
        if record.via == Via::Post && record.reports != 1 {
            self.blame(checked, format!("reported {} times", record.reports));
        }
        let due = checked.acceptance.due;
        if record.via != Via::Look {
            if at > due {
                self.blame(checked, format!("told at {at}, due at {due}"));
            }
            if record.cancelled_at.is_some_and(|cancelled| cancelled != at) {
                self.blame(checked, format!("cancelled at {:?}, told at {at}", record.cancelled_at));
            }
            let is_passed = matches!(told, Told::NotWritten(why) if why.reason == NotWritten::DeadlinePassed);
            if is_passed && at < due {
                self.blame(checked, format!("told at {at} that its deadline has passed, which is at {due}"));
            }
        }
        if told == Told::Unknown && record.settlement.is_none() {
            self.blame(checked, "its fate is not settled");
        }
    }
}
