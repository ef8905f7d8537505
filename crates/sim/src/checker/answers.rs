//! What the brokers said by themselves needs a reason too: a client that sends what it must not is refused, and says so.

use milena_core::time::Moment;
use milena_wire::ErrorCode;

use super::Checker;
use crate::faults::{Fault, Scope};
use crate::history::{Attempt, AttemptState, Place};

impl Checker<'_> {
    /// A gap in the sequences is ordinary behind a batch that failed, and at the head where a broker has lost its memory.
    pub(super) fn check_gaps(&mut self) {
        let stage = self.stage;
        for attempt in stage.history.attempts.all() {
            // A late copy that nobody waits for any more may be of a batch that brokers have forgotten.
            let AttemptState::Told { code, .. } = attempt.state else { continue };
            if code != ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER || attempt.is_planted {
                continue;
            }
            let is_explained = self.has_older_open(attempt)
                || self.is_squat(attempt)
                || self.has_lost_memory(attempt.place, attempt.over_at);
            if !is_explained {
                self.wrong(format!(
                    "{:?}: a batch of {} records from {} was out of order though nothing before it was open",
                    attempt.place, attempt.records, attempt.first.0
                ));
            }
        }
    }

    /// A batch before this one was on its way or waited for another attempt when this one was handed over.
    fn has_older_open(&self, own: &Attempt) -> bool {
        let attempts = &self.stage.history.attempts;
        let mut older =
            attempts.all().iter().filter(|other| other.is_same_epoch(own) && other.stamp.sequence < own.stamp.sequence);
        older.any(|other| !attempts.of_batch(other.first).any(|sent| is_done(sent, own.handed_at)))
    }

    /// It took the place of what was given up and may be there (rule 20).
    fn is_squat(&self, own: &Attempt) -> bool {
        let mut attempts = self.stage.history.attempts.all().iter();
        attempts.any(|other| {
            other.is_same_epoch(own) && other.stamp.sequence == own.stamp.sequence && other.first < own.first
        })
    }

    /// Something happened after which brokers know less of a producer than they knew.
    fn has_lost_memory(&self, place: Place, until: Option<Moment>) -> bool {
        let until = until.unwrap_or(Moment::NEVER);
        self.stage.faults.strikes.all().iter().any(|strike| {
            let is_here = match strike.scope {
                Scope::Place(struck) => struck == place,
                Scope::Topic(topic) => topic == place.0,
                Scope::Node(_) | Scope::Everything => true,
                Scope::Link(_) => false,
            };
            is_here && strike.from <= until && is_forgetful(strike.fault)
        })
    }

    /// Whether a fault made brokers answer with this code on this partition.
    pub(super) fn is_forced_code(&self, place: Place, code: ErrorCode) -> bool {
        let struck = |faults: &[Fault]| {
            let mut strikes = self.stage.faults.strikes.all().iter();
            strikes.any(|strike| faults.contains(&strike.fault) && strike.concerns(place))
        };
        self.stage.faults.refused.contains(&(place, code))
            || match code.0 {
                10 | 18 => struck(&[Fault::TopicChanged]),
                32 | 87 => struck(&[Fault::TopicChanged, Fault::ClockStepped]),
                45 | 59 => self.has_lost_memory(place, None),
                47 => struck(&[Fault::IdentityStolen]),
                3 | 100 => struck(&[Fault::TopicRecreated]),
                _ => false,
            }
    }
}

/// After it a broker may not know batches that it has.
fn is_forgetful(fault: Fault) -> bool {
    fault.changes_leaders() || matches!(fault, Fault::IdentityStolen | Fault::StateExpired | Fault::TopicRecreated)
}

fn is_done(attempt: &Attempt, when: Moment) -> bool {
    matches!(attempt.state,
        AttemptState::Told { code: ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER, at, .. } if at <= when)
}
