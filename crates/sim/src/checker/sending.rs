//! What goes out, and what does not: rules of which a breach shows in an outcome too late, or only now and then.
//!
//! Left out: what was answered (`answers.rs`).

use std::collections::{BTreeMap, BTreeSet};

use milena_core::time::Moment;
use milena_wire::ErrorCode;

use super::Checker;
use crate::history::{Attempt, AttemptState, Place};

impl Checker<'_> {
    /// Rule 5: brokers remember five batches of a producer, so never are more than that unsettled under one epoch.
    pub(super) fn check_window(&mut self) {
        let most = self.stage.scenario.in_flight_max as usize;
        let mut epochs: BTreeMap<(Place, i64, i16), Vec<&Attempt>> = BTreeMap::new();
        for attempt in self.stage.history.attempts.all().iter().filter(|attempt| attempt.stamp.producer_id >= 0) {
            let now = attempt.handed_at;
            let epoch = (attempt.place, attempt.stamp.producer_id, attempt.stamp.epoch);
            let sent = epochs.entry(epoch).or_default();
            let confirmed = sent.iter().filter(|sent| is_confirmed(sent, now)).map(|sent| sent.stamp.sequence).max();
            sent.retain(|sent| confirmed.is_none_or(|confirmed| sent.stamp.sequence > confirmed) && is_open(sent, now));
            sent.push(attempt);
            let stamps: BTreeSet<i32> = sent.iter().map(|sent| sent.stamp.sequence).collect();
            if stamps.len() > most {
                let (place, stamp) = (attempt.place, attempt.stamp);
                self.wrong(format!("{place:?}: {} unsettled batches at {now}, with {stamp:?}", stamps.len()));
            }
        }
    }
}

fn is_confirmed(attempt: &Attempt, now: Moment) -> bool {
    matches!(attempt.state,
        AttemptState::Told { code: ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER, at, .. } if at <= now)
}

/// Whether it may have been appended, for all the client knows then.
fn is_open(attempt: &Attempt, now: Moment) -> bool {
    let is_over = attempt.over_at.is_some_and(|over| over <= now);
    !is_over || attempt.state.is_open() || is_confirmed(attempt, now)
}
