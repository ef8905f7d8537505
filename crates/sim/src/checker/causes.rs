//! The cause of an outcome: as many attempts as were made, and an error that really came.

use milena_core::producer::outcome::{AttemptError, Cause};
use milena_core::time::Moment;
use milena_wire::ErrorCode;

use super::{Checked, Checker, Final};
use crate::faults::Fault;
use crate::history::AttemptState;

impl Checker<'_> {
    pub(super) fn check_cause(&mut self, checked: &Checked<'_>) {
        let (at, cause) = match checked.last_word() {
            Some((at, Final::NotWritten(why))) => (at, why.cause),
            Some((at, Final::Undetermined(why))) => (at, why.cause),
            _ => return,
        };
        let made = self.attempts_of(checked).filter(|attempt| attempt.handed_at <= at).count();
        if cause.attempts as usize != made {
            self.blame(checked, format!("told of {} attempts, {made} were made", cause.attempts));
        }
        if let Some(error) = cause.last_error
            && !self.has_happened(checked, at, error, cause)
        {
            self.blame(checked, format!("told of the error \"{error}\", which did not happen"));
        }
    }

    fn has_happened(&self, checked: &Checked<'_>, at: Moment, error: AttemptError, cause: Cause) -> bool {
        let place = checked.acceptance.place;
        let strikes = &self.stage.faults.strikes;
        match error {
            AttemptError::Kafka(code) => self.stage.history.attempts.all().iter().any(|attempt| {
                let node = cause.node.is_none_or(|node| node == attempt.node.0);
                let told = matches!(attempt.state,
                    AttemptState::Told { code: told, at: when, .. } if told == ErrorCode(code.code()) && when <= at);
                attempt.place == place && node && told
            }),
            AttemptError::ProducerIdRefused(_) => strikes.has(Fault::IdentityRefused),
            AttemptError::InvalidAnswer => false,
            _ => true,
        }
    }
}
