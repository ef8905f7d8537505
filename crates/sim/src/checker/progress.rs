//! A client that gives everybody up at the deadline would be right and useless: with time enough and no fault felt, a
//! record is written.

use milena_core::producer::outcome::NotWritten;

use super::{Checked, Checker};
use crate::history::{Told, Via};

impl Checker<'_> {
    pub(super) fn check_progress(&mut self, checked: &Checked<'_>) {
        let (record, acceptance) = (checked.record, checked.acceptance);
        let is_given_up = match record.outcome {
            Some((at, Told::Unknown)) => at >= acceptance.due && record.via != Via::Look,
            Some((_, Told::NotWritten(why))) => why.reason == NotWritten::DeadlinePassed,
            _ => false,
        };
        if !is_given_up || record.cancelled_at.is_some() {
            return;
        }
        let strikes = self.stage.faults.strikes.all().iter();
        let felt = strikes.filter(|strike| strike.from < acceptance.due && strike.concerns(acceptance.place));
        let quiet_since = felt.map(|strike| strike.to).max().map_or(acceptance.at, |end| end.max(acceptance.at));
        let needed = self.stage.scenario.recovery_max() + self.stage.scenario.backlog_max();
        if quiet_since + needed <= acceptance.due {
            self.blame(checked, format!("not written by its deadline though no fault was felt since {quiet_since}"));
        }
    }
}
