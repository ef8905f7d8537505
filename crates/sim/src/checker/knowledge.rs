//! What the client could know and when: nobody is told less than an answer said, nobody more than can be known.

use milena_core::producer::outcome::{NotWritten, Settlement};
use milena_core::time::Moment;
use milena_wire::ErrorCode;

use super::{Checked, Checker, Final};
use crate::faults::leaves_open;
use crate::history::{Attempt, AttemptId, AttemptState, Told, Via};

impl Checker<'_> {
    pub(super) fn check_knowledge(&mut self, checked: &Checked<'_>) {
        self.check_proof(checked);
        let record = checked.record;
        let Some((at, told)) = record.outcome.filter(|_| record.via != Via::Look) else { return };
        let first_handed = self.attempts_of(checked).next().map(|attempt| attempt.handed_at);
        if told == Told::Unknown {
            if first_handed.is_none_or(|handed| handed > at) {
                self.blame(checked, "unknown though no connection had claimed it");
            }
            let is_due = at >= checked.acceptance.due || record.cancelled_at == Some(at);
            let is_settled = record.settlement.is_some_and(|(settled, _)| settled == at);
            if !is_due && !is_settled {
                self.blame(checked, format!("unknown at {at}, before its deadline"));
            }
        }
        let is_withdrawn = matches!(told, Told::NotWritten(why)
            if matches!(why.reason, NotWritten::Cancelled | NotWritten::DeadlinePassed) && why.cause.attempts == 0);
        if is_withdrawn && first_handed.is_some() {
            self.blame(checked, "withdrawn, and handed to a connection all the same");
        }
        self.check_confirmed(checked, at, told);
    }

    /// An answer that says "written" reached the client: it is passed on at once.
    fn check_confirmed(&mut self, checked: &Checked<'_>, at: Moment, told: Told) {
        let confirmed = checked.record.attempts.iter().filter_map(|id| {
            let confirmed = confirmed_at(self.stage.history.attempts.get(*id))?;
            Some((confirmed, *id))
        });
        let Some((confirmed, attempt)) = confirmed.min() else { return };
        // One that took no row came in on a connection that the partition had left: it travels on inside the client, and the
        // partition with it, perhaps to yet another connection.
        let ways = if self.rows.contains(&attempt) { 0 } else { 4 };
        let passed_on = confirmed + self.stage.scenario.mail_max * ways;
        let is_known = match (told, checked.record.settlement) {
            (Told::Written(_), _) => at <= passed_on,
            (Told::Unknown, Some((settled, Settlement::Written(_)))) => settled <= passed_on,
            (Told::Unknown, Some((settled, _))) => settled < passed_on,
            (Told::Unknown, None) => false,
            (Told::NotWritten(_), _) => at < confirmed,
        };
        if !is_known {
            self.blame(checked, format!("confirmed by an answer at {confirmed}, told {told:?} at {at}"));
        }
    }

    /// "Written" and "not written" need a proof that was on the wire.
    fn check_proof(&mut self, checked: &Checked<'_>) {
        match checked.last_word() {
            Some((at, Final::Written(place))) => {
                let own: Vec<AttemptId> = checked.record.attempts.clone();
                let attempt = |id: &AttemptId| self.stage.history.attempts.get(*id);
                let is_told = own.iter().map(attempt).any(|own| is_told_by(own, at) && confirmed_at(own).is_some());
                // Without a fence what is there is there all the same (rule 14).
                let is_read = self.is_fenced(checked, at) || self.used_elsewhere_at(checked, at).is_some();
                if !is_told && !self.is_implied(checked, at) && !is_read {
                    self.blame(checked, "told to be written, which no answer says or implies");
                }
                // One that came when the partition had gone may find the batch settled by a later one.
                let tells_offset =
                    own.iter().filter(|id| self.rows.contains(id)).map(attempt).any(|own| {
                        matches!(own.state, AttemptState::Told { code: ErrorCode::NONE, base_offset: 0.., .. })
                    });
                if place.offset.is_none() && tells_offset {
                    self.blame(checked, "told to be written without its offset, which an answer says");
                }
            }
            Some((at, Final::NotWritten(why))) if self.is_open(checked, at) => {
                let why = why.reason;
                self.blame(checked, format!("{why}, though an attempt may have been appended for all anyone knows"));
            }
            _ => {}
        }
    }

    /// Whether an attempt may have been appended, for all that can be known then.
    fn is_open(&self, checked: &Checked<'_>, at: Moment) -> bool {
        let is_open = |own: &Attempt| own.state.is_open() && !self.is_void(own, at);
        let is_excluded = |own| self.fences(own, at).next().is_some() || self.squats(own, at).next().is_some();
        self.attempts_of(checked).any(|own| is_open(own) && !is_excluded(own))
    }

    /// Whether the log could be read for the record, because copies of all its attempts were kept out.
    fn is_fenced(&self, checked: &Checked<'_>, at: Moment) -> bool {
        self.attempts_of(checked).any(|own| self.fences(own, at).next().is_some())
    }

    /// What was acknowledged under a later epoch of the same producer id (rule 19).
    pub(super) fn fences<'s>(&'s self, own: &'s Attempt, at: Moment) -> impl Iterator<Item = &'s Attempt> {
        let attempts = self.stage.history.attempts.all().iter();
        attempts.filter(move |other| {
            let is_later = other.stamp.producer_id == own.stamp.producer_id && other.stamp.epoch > own.stamp.epoch;
            other.place == own.place && is_later && is_told_by(other, at) && confirmed_at(other).is_some()
        })
    }

    /// What was acknowledged of the same epoch at its place or before it, and sent after it: other bytes under its sequence, so
    /// that it can never be taken (rule 20).
    pub(super) fn squats<'s>(&'s self, own: &'s Attempt, at: Moment) -> impl Iterator<Item = &'s Attempt> {
        let attempts = self.stage.history.attempts.all().iter();
        attempts.filter(move |other| {
            let is_there = other.is_same_epoch(own) && other.stamp.sequence <= own.stamp.sequence;
            let is_later = other.first > own.first && other.handed_at > own.handed_at;
            is_there && is_later && is_told_by(other, at) && confirmed_at(other).is_some()
        })
    }

    /// Rule 2: a batch before it was refused for good, so its sequence can never come.
    fn is_void(&self, own: &Attempt, at: Moment) -> bool {
        self.stage.history.attempts.all().iter().any(|other| {
            let is_refused = matches!(other.state, AttemptState::Told { code, .. } if is_final(code));
            let is_before = other.stamp.sequence < own.stamp.sequence && other.is_same_epoch(own);
            is_refused && is_before && is_told_by(other, at)
        })
    }

    /// Rule 9: a later batch of the same epoch was acknowledged.
    fn is_implied(&self, checked: &Checked<'_>, at: Moment) -> bool {
        self.attempts_of(checked).any(|own| self.implied_by(own, at).next().is_some())
    }

    /// What was acknowledged of the same epoch behind it.
    fn implied_by(&self, own: &Attempt, at: Moment) -> impl Iterator<Item = &Attempt> {
        let behind = self.stage.history.attempts.all().iter().filter(move |other| {
            other.is_same_epoch(own) && other.stamp.sequence > own.stamp.sequence && is_told_by(other, at)
        });
        behind.filter(|other| confirmed_at(other).is_some())
    }

    /// The attempts whose answers say or imply until then that the record is written.
    pub(super) fn proofs(&self, checked: &Checked<'_>, at: Moment) -> impl Iterator<Item = &Attempt> {
        let own = checked.record.attempts.iter().map(|id| self.stage.history.attempts.get(*id));
        own.flat_map(move |own| {
            let says = is_told_by(own, at) && confirmed_at(own).is_some();
            says.then_some(own).into_iter().chain(self.implied_by(own, at))
        })
    }
}

fn is_told_by(attempt: &Attempt, when: Moment) -> bool {
    matches!(attempt.state, AttemptState::Told { at, .. } if at <= when)
}

/// Refused before the append, and it will not pass.
fn is_final(code: ErrorCode) -> bool {
    !code.is_none() && !code.is_retriable() && !leaves_open(code, -1)
}

/// When an answer that says "written" reached the client.
fn confirmed_at(attempt: &Attempt) -> Option<Moment> {
    match attempt.state {
        AttemptState::Told { code: ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER, at, .. } => Some(at),
        _ => None,
    }
}
