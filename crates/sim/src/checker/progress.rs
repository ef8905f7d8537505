//! A client that gives everybody up at the deadline would be right and useless: with time enough and no fault felt, a
//! record is written.

use milena_core::producer::outcome::NotWritten;

use super::{Checked, Checker};
use crate::history::{AttemptState, Told, Via};

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
        // What brokers will not say of its stamp is read in the log, once the partition has something else to send.
        if self.needs_fence(checked) {
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

    /// An attempt is open, another one was refused for good or found a gap, and nothing was sent under a later epoch.
    fn needs_fence(&self, checked: &Checked<'_>) -> bool {
        let due = checked.acceptance.due;
        let is_unfenced =
            self.attempts_of(checked).any(|own| own.state.is_open() && self.fences(own, due).next().is_none());
        let attempts = self.stage.history.attempts.all().iter();
        let mut told = attempts.filter(|attempt| attempt.place == checked.acceptance.place);
        is_unfenced
            && told.any(|attempt| {
                matches!(attempt.state, AttemptState::Told { code, .. } if !code.is_none() && !code.is_retriable())
            })
    }
}
