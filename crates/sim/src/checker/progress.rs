//! A client that gives everybody up at the deadline would be right and useless: with time enough and no fault felt, a
//! record is written.

use milena_core::producer::front::AfterDeadline;
use milena_core::producer::outcome::{Because, NotWritten, Settlement};

use super::{Checked, Checker};
use crate::history::{AttemptState, Told, Via};

impl Checker<'_> {
    pub(super) fn check_progress(&mut self, checked: &Checked<'_>) {
        let (record, acceptance) = (checked.record, checked.acceptance);
        self.check_patience(checked);
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

    /// Rule 18: nothing is given up while its caller waits, nor what shall be completed before `delivery_timeout`, unless its
    /// stamp says nothing any more.
    fn check_patience(&mut self, checked: &Checked<'_>) {
        let (record, acceptance) = (checked.record, checked.acceptance);
        let is_fenced = |why: Because<NotWritten>| why.reason == NotWritten::Fenced;
        let told = match (record.outcome, record.settlement) {
            (Some((at, Told::NotWritten(why))), _) if is_fenced(why) => at,
            (_, Some((at, Settlement::NotWritten(why)))) if is_fenced(why) => at,
            _ => return,
        };
        if self.was_stopped(checked) || record.cancelled_at.is_some() || record.via == Via::Look {
            return;
        }
        let scenario = &self.stage.scenario;
        let policy = record.content.after_deadline.unwrap_or(scenario.front.after_deadline);
        // The batch opened before the record came; linger and a full window may lie between.
        let completed = acceptance.at + scenario.delivery_timeout / 2;
        let due = if policy == AfterDeadline::Complete { acceptance.due.max(completed) } else { acceptance.due };
        if told < due {
            self.blame(checked, format!("given up and fenced off by {told}, though it was wanted until {due}"));
        }
    }

    /// An attempt is open, another one was refused for good or found a gap, and nothing was sent under a later epoch.
    fn needs_fence(&self, checked: &Checked<'_>) -> bool {
        let due = checked.acceptance.due;
        let is_unfenced =
            self.attempts_of(checked).any(|own| own.state.is_open() && self.fences(own, due).next().is_none());
        is_unfenced && self.was_stopped(checked)
    }

    /// A broker refused something of the partition for good, or did not know what came before it.
    fn was_stopped(&self, checked: &Checked<'_>) -> bool {
        let attempts = self.stage.history.attempts.all().iter();
        let mut told = attempts.filter(|attempt| attempt.place == checked.acceptance.place);
        told.any(|attempt| {
            matches!(attempt.state, AttemptState::Told { code, .. } if !code.is_none() && !code.is_retriable())
        })
    }
}
