//! What goes out, and what does not: rules of which a breach shows in an outcome too late, or only now and then.
//!
//! Left out: what was answered (`answers.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_core::time::Moment;
use milena_wire::{ErrorCode, Uuid};

use super::Checker;
use crate::faults::{Fault, Strike};
use crate::history::{Attempt, AttemptState, Place, Told};

impl Checker<'_> {
    /// Rule 5: brokers remember five batches of a producer, so never are more than that unsettled under one epoch.
    pub(super) fn check_window(&mut self) {
        let most = self.stage.scenario.in_flight_max as usize;
        let mut epochs: BTreeMap<(Place, i64, i16), Sent<'_>> = BTreeMap::new();
        for attempt in self.stage.history.attempts.all().iter().filter(|attempt| attempt.stamp.producer_id >= 0) {
            let now = attempt.handed_at;
            let epoch = (attempt.place, attempt.stamp.producer_id, attempt.stamp.epoch);
            let Sent { open, confirmed } = epochs.entry(epoch).or_default();
            let newly = open.iter().filter(|sent| is_confirmed(sent, now)).map(|sent| sent.stamp.sequence).max();
            *confirmed = newly.max(*confirmed);
            open.push(attempt);
            open.retain(|sent| Some(sent.stamp.sequence) > *confirmed && is_open(sent, now));
            let stamps: BTreeSet<i32> = open.iter().map(|sent| sent.stamp.sequence).collect();
            if stamps.len() > most {
                let (place, stamp) = (attempt.place, attempt.stamp);
                self.wrong(format!("{place:?}: {} unsettled batches at {now}, with {stamp:?}", stamps.len()));
            }
        }
    }
}

/// What was sent under an epoch.
#[derive(Default)]
struct Sent<'a> {
    open: Vec<&'a Attempt>,
    /// The last sequence that an answer settles, with everything before it.
    confirmed: Option<i32>,
}

impl Checker<'_> {
    /// Rule 7: once a newer leader is known and can be reached, what its predecessor leaves unanswered holds nothing up.
    pub(super) fn check_leaving(&mut self) {
        let history = &self.stage.history;
        let scenario = &self.stage.scenario;
        let patience = (scenario.request_timeout / 4).max(scenario.latency.1 * 8 + scenario.mail_max * 4);
        let mut known: BTreeMap<Place, (Uuid, i32)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (number, (at, leading)) in history.leaders_told.iter().enumerate() {
            let (at, place) = (*at, leading.place);
            // Epochs compare within one topic id, and old news is none.
            let newest = known.get(&place).filter(|(topic_id, _)| *topic_id == leading.topic_id);
            let is_newer = newest.is_some_and(|(_, epoch)| *epoch < leading.epoch);
            if newest.is_none() || is_newer {
                known.insert(place, (leading.topic_id, leading.epoch));
            }
            if !is_newer {
                continue;
            }
            let until = at + patience;
            let mut later = history.leaders_told[number + 1..].iter().take_while(|(when, _)| *when <= until);
            if later.any(|(_, other)| other.place == place && other.node != leading.node) {
                continue;
            }
            let meanwhile = |attempt: &&Attempt| attempt.handed_at >= at && attempt.handed_at <= until;
            let of_place = || history.attempts.all().iter().filter(|attempt| attempt.place == place);
            let is_held = |attempt: &Attempt| {
                let is_open = attempt.over_at.is_none_or(|over| over > until) && !self.has_ended(attempt, until);
                let is_left = attempt.node != leading.node && attempt.handed_at < at;
                is_left && is_open && !self.waits_for_answers(attempt, until)
            };
            let works = history
                .attempts
                .all()
                .iter()
                .filter(meanwhile)
                .any(|attempt| attempt.node == leading.node && attempt.over_at.is_some_and(|over| over <= until));
            if works && of_place().any(is_held) && !of_place().any(|attempt| meanwhile(&attempt)) {
                wrong.push(format!(
                    "{place:?}: held by its old leader, though broker {} is known at {at}",
                    leading.node
                ));
            }
        }
        self.wrong.extend(wrong);
    }

    /// Rules 14 and 15: new stamps need an answer for each of the old ones. Something of the producer id was refused for good.
    fn waits_for_answers(&self, own: &Attempt, until: Moment) -> bool {
        self.stage.history.attempts.all().iter().any(|other| {
            let is_refused =
                matches!(other.state, AttemptState::Told { code, at, .. } if at <= until && !code.is_retriable());
            is_refused && !is_confirmed(other, until) && other.stamp.producer_id == own.stamp.producer_id
        })
    }

    /// Whether the client had ended the attempt's batch by then, or did so at some time: then it is not sent again, and others go
    /// on under another identity. Who only looks now and then does not show when that was.
    fn has_ended(&self, attempt: &Attempt, until: Moment) -> bool {
        let attempts = &self.stage.history.attempts;
        let is_sent_again = attempts.of_batch(attempt.first).any(|other| other.handed_at > attempt.handed_at);
        let others_go_on = || {
            let mut others = attempts.all().iter().filter(|other| other.place == attempt.place);
            others.any(|other| other.handed_at > attempt.handed_at && !other.is_same_epoch(attempt))
        };
        let record = &self.stage.history.records[attempt.first.0 as usize];
        let end = match record.outcome {
            Some((_, Told::Unknown)) => record.settlement.map(|(at, _)| at),
            Some((at, _)) => Some(at),
            None => None,
        };
        end.is_some_and(|end| end <= until) || !is_sent_again && others_go_on()
    }
}

impl Checker<'_> {
    /// Rule 27: slow followers of one partition delay another one, that nothing has struck so far, by one TimeoutMs at most. What is
    /// shorter than the time after which a partition counts as slow is no delay, nor are five requests one after the other of
    /// which each is.
    pub(super) fn check_neighbours(&mut self) {
        let scenario = &self.stage.scenario;
        let strikes = self.stage.faults.strikes.all();
        let is_slow = |strike: &&Strike| matches!(strike.fault, Fault::FollowerSlow | Fault::FollowerFrozen);
        let prompt = scenario.latency.1 * 4 + scenario.service.1 * 16;
        let ordinary = Duration::from_millis(500).min(scenario.produce_timeout / 4) * 5;
        let most = scenario.produce_timeout * 3 / 2;
        let times: BTreeSet<(Moment, Moment)> =
            strikes.iter().filter(is_slow).map(|slow| (slow.from, slow.to)).collect();
        let places: BTreeSet<Place> = self.stage.history.attempts.all().iter().map(|attempt| attempt.place).collect();
        let mut wrong = Vec::new();
        for ((from, to), place) in times.iter().flat_map(|time| places.iter().map(move |place| (*time, *place))) {
            // One that was slow itself stays apart for a while.
            if strikes.iter().any(|strike| strike.concerns(place) && strike.from <= to) {
                continue;
            }
            let mut delayed = Duration::ZERO;
            let mut counted = from;
            // What was asked before has its own reasons to wait.
            let asked = self.stage.history.attempts.all().iter();
            for attempt in asked.filter(|attempt| attempt.place == place && attempt.handed_at >= from) {
                let waits_from = (attempt.handed_at + prompt).max(counted);
                let waits_to = attempt.over_at.unwrap_or(Moment::NEVER).min(to);
                if waits_from + ordinary < waits_to {
                    delayed += waits_to.since(waits_from);
                    counted = waits_to;
                }
            }
            if delayed > most {
                wrong.push(format!(
                    "{place:?}: delayed by {delayed:?} between {from} and {to}, by slow followers of others"
                ));
            }
        }
        self.wrong.extend(wrong);
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
