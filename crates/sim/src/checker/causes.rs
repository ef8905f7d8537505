//! The cause of an outcome: as many attempts as were made, and an error that really came.

use std::collections::BTreeSet;

use milena_core::producer::outcome::{AttemptError, Cause};
use milena_core::time::Moment;
use milena_wire::ErrorCode;

use super::{Checked, Checker, Final};
use crate::faults::Fault;
use crate::history::{AttemptId, AttemptState};

impl Checker<'_> {
    pub(super) fn check_cause(&mut self, checked: &Checked<'_>) {
        let (at, cause) = match checked.last_word() {
            Some((at, Final::NotWritten(why))) => (at, why.cause),
            Some((at, Final::Undetermined(why))) => (at, why.cause),
            _ => return,
        };
        // A batch may go on without the record, or in pieces; who is told of its attempts is told of some of these.
        let own = self.attempts_of(checked).filter(|attempt| attempt.handed_at <= at).count();
        let made = self.attempts_of_batch(checked, at);
        if !(own..=made).contains(&(cause.attempts as usize)) {
            self.blame(checked, format!("told of {} attempts, {own} to {made} were made", cause.attempts));
        }
        if let Some(error) = cause.last_error
            && !self.has_happened(checked, at, error, cause)
        {
            self.blame(checked, format!("told of the error \"{error}\", which did not happen"));
        }
    }

    /// How often the batch was handed over, in one piece or in several.
    fn attempts_of_batch(&self, checked: &Checked<'_>, at: Moment) -> usize {
        let Some(first) = checked.record.attempts.first() else { return 0 };
        let history = &self.stage.history;
        let batch = history.records.iter().filter(|record| record.attempts.first() == Some(first));
        let attempts: BTreeSet<AttemptId> = batch.flat_map(|record| record.attempts.iter().copied()).collect();
        attempts.into_iter().filter(|id| history.attempts.get(*id).handed_at <= at).count()
    }

    fn has_happened(&self, checked: &Checked<'_>, at: Moment, error: AttemptError, cause: Cause) -> bool {
        let place = checked.acceptance.place;
        let strikes = &self.stage.faults.strikes;
        match error {
            AttemptError::Kafka(code) => {
                let code = ErrorCode(code.code());
                let by_attempt = self.stage.history.attempts.all().iter().any(|attempt| {
                    let node = cause.node.is_none_or(|node| node == attempt.node.0);
                    let told = matches!(attempt.state,
                        AttemptState::Told { code: told, at: when, .. } if told == code && when <= at);
                    attempt.place == place && node && told
                });
                by_attempt || self.stage.told_of_topics.contains(&(place.0, code))
            }
            AttemptError::ProducerIdRefused(_) => strikes.has(Fault::IdentityRefused),
            AttemptError::InvalidAnswer => false,
            _ => true,
        }
    }
}
