//! The reasons for "not written" and "undetermined": each needs what forces it, and nothing else counts.
//!
//! | reason | forced by |
//! |---|---|
//! | refused after an ambiguous attempt | an open attempt, and the code that was told to another |
//! | no fence | an open attempt, and no acknowledgement under a later epoch; where it was to be completed, `delivery_timeout` and a fault on the way to this partition that was felt to the end |
//! | no base | an open attempt, and no acknowledgement before; the rest as with no fence |
//! | data loss seen | an open attempt, and that committed records were lost |
//! | not permitted to read | an open attempt, and a client that may not read; not where other bytes were acknowledged in its place |
//! | scan too long, log truncated, offset gap | nothing that happens here |
//! | state lost | an open attempt, and a gap that was told |
//! | stale timestamps | an unanswered attempt, and timestamps older than the horizon |
//! | producer state expired | an open attempt, and no acknowledgement within the horizon |
//! | topic recreated | an open attempt, and that the topic was deleted |
//! | producer id used elsewhere | an open attempt, and that an answer says so of the same producer id; not what was in the log by then, where the client knew from where to read |
//! | no acknowledgement asked | `acks=0` |
//! | leader only | an open attempt without idempotence |
//! | closed before proof | an open attempt, and that the producer was closed |
//!
//! An attempt is open if it went unanswered once its last byte was handed over, or was answered with a code that may follow an append.

use milena_core::producer::front::AfterDeadline;
use milena_core::producer::outcome::{NotWritten, Undetermined};
use milena_core::time::{Moment, TICK};
use milena_wire::ErrorCode;

use super::{Checked, Checker, Final};
use crate::faults::{Fault, Scope, Strike};
use crate::history::{AttemptState, Place, Via};

impl Checker<'_> {
    pub(super) fn check_reason(&mut self, checked: &Checked<'_>) {
        match checked.last_word() {
            Some((_, Final::NotWritten(why))) => self.check_not_written(checked, why.reason),
            Some((at, Final::Undetermined(why))) => self.check_undetermined(checked, at, why.reason),
            _ => {}
        }
    }

    fn check_not_written(&mut self, checked: &Checked<'_>, why: NotWritten) {
        match why {
            NotWritten::Refused(code) => {
                self.check_refused(checked, ErrorCode(code.code()));
            }
            NotWritten::Closed if !self.has_struck(Fault::Closed) => self.blame(checked, "nobody closed"),
            NotWritten::DriverLost => self.blame(checked, format!("{why}, which did not happen")),
            _ => {}
        }
    }

    fn check_undetermined(&mut self, checked: &Checked<'_>, at: Moment, why: Undetermined) {
        let needs_open = why != Undetermined::NoAcknowledgementAsked && checked.record.via != Via::Look;
        if needs_open && !self.was_open(checked, at) {
            let states: Vec<_> = self.attempts_of(checked).map(|attempt| attempt.state).collect();
            self.blame(checked, format!("{why} at {at}, though nothing was open: {states:?}"));
        }
        let is_forced = match why {
            Undetermined::RefusedAfterAmbiguousAttempt(code) => {
                return self.check_refused(checked, ErrorCode(code.code()));
            }
            Undetermined::NoFence => {
                let settle = self.stage.scenario.settle_timeout;
                let given_up = Moment::from_micros(at.as_micros().saturating_sub(settle.as_micros() as u64));
                let is_unfenced = self.attempts_of(checked).any(|own| self.fences(own, at).next().is_none());
                return self.check_given_up(checked, at, given_up, is_unfenced);
            }
            Undetermined::NoBase => {
                let has_none = !self.was_acknowledged(checked, at);
                return self.check_given_up(checked, at, at, has_none);
            }
            Undetermined::DataLossSeen => self.has_lost(checked.acceptance.place, at),
            Undetermined::StateLost => self.was_gap_told(checked, at),
            Undetermined::StaleTimestamps => self.is_stale(checked),
            // Who only looks now and then does not know since when.
            Undetermined::ProducerStateExpired => {
                checked.record.via == Via::Look || self.is_forgotten(checked.acceptance.place, at)
            }
            Undetermined::TopicRecreated => self.has_struck_topic(checked.acceptance.place),
            Undetermined::ProducerIdUsedElsewhere => {
                if self.could_be_found(checked, at) {
                    self.blame(checked, format!("{why} at {at}, though it was in the log before anybody said so"));
                }
                self.used_elsewhere_at(checked, at).is_some()
            }
            Undetermined::NotPermittedToRead => {
                if self.could_be_excluded(checked, at) {
                    self.blame(checked, format!("{why} at {at}, though other bytes have its place"));
                }
                !self.stage.scenario.may_read
            }
            Undetermined::NoAcknowledgementAsked => self.attempts_of(checked).any(|attempt| attempt.acks == 0),
            Undetermined::LeaderOnly => self.attempts_of(checked).any(|attempt| attempt.stamp.producer_id < 0),
            Undetermined::ClosedBeforeProof => self.has_struck(Fault::Closed),
            _ => false,
        };
        if !is_forced {
            self.blame(checked, format!("{why}, which nothing forced until {at}"));
        }
    }

    /// Whether an attempt may have been appended, for all that was known then. An answer that was on its way is waited for,
    /// unless the partition left its leader or the producer was closed.
    fn was_open(&self, checked: &Checked<'_>, at: Moment) -> bool {
        let place = checked.acceptance.place;
        let mut strikes = self.stage.faults.strikes.all().iter();
        let may_leave = |fault: Fault| {
            fault.changes_leaders() || matches!(fault, Fault::Closed | Fault::StaleMetadata | Fault::TopicRecreated)
        };
        let has_left = strikes.any(|strike| may_leave(strike.fault) && strike.concerns(place) && strike.from <= at);
        checked.record.attempts.iter().any(|id| {
            let attempt = self.stage.history.attempts.get(*id);
            // An answer that took no row came when the partition had gone.
            let is_stray = match attempt.state {
                AttemptState::Told { at: told, .. } => told > at || !self.rows.contains(id),
                AttemptState::CutShort => true,
                AttemptState::Sent | AttemptState::Answered { .. } => false,
            };
            attempt.state.is_open() || has_left && is_stray
        })
    }

    fn has_struck(&self, fault: Fault) -> bool {
        self.stage.faults.strikes.has(fault)
    }

    fn has_struck_topic(&self, place: Place) -> bool {
        let mut strikes = self.stage.faults.strikes.all().iter();
        strikes.any(|strike| strike.fault == Fault::TopicRecreated && strike.scope == Scope::Topic(place.0))
    }

    /// Some batch of the same stamps was answered with a gap.
    fn was_gap_told(&self, checked: &Checked<'_>, at: Moment) -> bool {
        self.attempts_of(checked).any(|own| {
            self.stage.history.attempts.all().iter().any(|other| {
                let is_told =
                    matches!(other.state, AttemptState::Told { code: ErrorCode(45 | 59), at: told, .. } if told <= at);
                is_told && other.is_same_epoch(own)
            })
        })
    }

    fn check_refused(&mut self, checked: &Checked<'_>, code: ErrorCode) {
        let place = checked.acceptance.place;
        let mut of_place = self.stage.history.attempts.all().iter().filter(|attempt| attempt.place == place);
        if !of_place.any(|attempt| matches!(attempt.state, AttemptState::Told { code: told, .. } if told == code)) {
            self.blame(checked, format!("ended with {code}, which no attempt was answered with"));
        }
        if !self.is_forced_code(place, code) {
            self.blame(checked, format!("ended with {code}, which no fault made a broker answer"));
        }
        if code.is_retriable() {
            self.blame(checked, format!("ended with {code}, which passes"));
        }
    }

    /// A record of the batch bears a timestamp older than the horizon, or bore it before the end.
    fn is_stale(&self, checked: &Checked<'_>) -> bool {
        let horizon = self.stage.scenario.horizon.as_millis() as i64;
        let now = self.stage.wall();
        self.attempts_of(checked).any(|attempt| {
            let of_batch = self.stage.history.records.iter().filter(|record| {
                record.attempts.iter().any(|id| std::ptr::eq(self.stage.history.attempts.get(*id), attempt))
            });
            let newest = of_batch.filter_map(|record| Some(record.acceptance?.timestamp)).max();
            newest.is_some_and(|newest| newest < now - horizon)
        })
    }

    /// What was acknowledged last on the partition was not sent within the horizon: brokers go by the timestamps of what they
    /// appended last, however old the answers are.
    fn is_forgotten(&self, place: Place, at: Moment) -> bool {
        let attempts = &self.stage.history.attempts;
        let acknowledged = attempts.all().iter().filter_map(|attempt| match attempt.state {
            AttemptState::Told { code, at: told, .. } if code.is_none() && told <= at && attempt.place == place => {
                Some((told, attempt.stamp.sequence, attempt))
            }
            _ => None,
        });
        let last = acknowledged.max_by_key(|(told, sequence, _)| (*told, *sequence));
        let sent = last.and_then(|(.., last)| attempts.of_batch(last.first).map(|sent| sent.handed_at).next());
        sent.is_none_or(|sent| sent + self.stage.scenario.horizon <= at)
    }

    /// When some partition was told so of the producer id of one of the record's attempts.
    pub(super) fn used_elsewhere_at(&self, checked: &Checked<'_>, at: Moment) -> Option<Moment> {
        let ids: Vec<i64> = self.attempts_of(checked).map(|own| own.stamp.producer_id).collect();
        let told = self.stage.history.attempts.all().iter().filter_map(|other| match other.state {
            AttemptState::Told { code: ErrorCode(47 | 49 | 52 | 90), at: told, .. } => {
                (told <= at && ids.contains(&other.stamp.producer_id)).then_some(told)
            }
            _ => None,
        });
        told.min()
    }

    /// Rule 14: a broker had committed it when the client heard of somebody else, the client knew from where to read and had
    /// time, and no committed data was lost meanwhile.
    fn could_be_found(&self, checked: &Checked<'_>, at: Moment) -> bool {
        let Some(heard) = self.used_elsewhere_at(checked, at) else { return false };
        let place = checked.acceptance.place;
        let had_time = at < heard + self.stage.scenario.settle_timeout;
        let is_whole = !self.has_lost(place, at) && !self.has_struck_topic(place);
        let mut own = self.attempts_of(checked);
        let is_there = own.any(|own| {
            own.state.is_confirmed() && own.answered_at.is_some_and(|answered| answered <= heard) && !own.is_planted
        });
        let may_read = self.stage.scenario.may_read;
        is_there && may_read && had_time && is_whole && self.was_acknowledged(checked, heard)
    }

    /// Rule 20: other bytes were taken where it would have to be, by brokers that lost nothing.
    fn could_be_excluded(&self, checked: &Checked<'_>, at: Moment) -> bool {
        let place = checked.acceptance.place;
        let is_whole =
            !self.has_lost(place, at) && !self.has_struck_topic(place) && !self.has_struck(Fault::StateExpired);
        let mut own = self.attempts_of(checked).filter(|own| own.state.is_open());
        let is_excluded = own.next().is_some_and(|own| {
            let mut squats = self.squats(own, at);
            squats.any(|squat| !squat.is_planted && matches!(squat.state, AttemptState::Told { base_offset: 0.., .. }))
        });
        is_excluded && is_whole
    }

    fn check_given_up(&mut self, checked: &Checked<'_>, at: Moment, given_up: Moment, is_forced: bool) {
        // Who only looks now and then does not know since when.
        if checked.record.via == Via::Look {
            return;
        }
        if !is_forced {
            self.blame(checked, format!("could not be looked for until {at}, though it could"));
        }
        let policy = checked.record.content.after_deadline.unwrap_or(self.stage.scenario.front.after_deadline);
        if policy == AfterDeadline::Complete {
            self.check_outage(checked, given_up);
        }
    }

    /// Something of the partition was acknowledged by then: of any identity, or of the record's own if the topic may have
    /// been taken for another one meanwhile.
    fn was_acknowledged(&self, checked: &Checked<'_>, at: Moment) -> bool {
        let place = checked.acceptance.place;
        let strikes = self.stage.faults.strikes.all().iter();
        let recreated = strikes.filter(|strike| strike.fault == Fault::TopicRecreated && strike.concerns(place));
        let recreated = recreated.map(|strike| strike.from).filter(|from| *from <= at).max();
        let own: Vec<i64> = self.attempts_of(checked).map(|attempt| attempt.stamp.producer_id).collect();
        // One that took no row came when the partition had gone on under another identity.
        let mut taken = self.rows.iter().map(|id| self.stage.history.attempts.get(*id));
        taken.any(|attempt| {
            let is_of_log = recreated
                .is_none_or(|recreated| attempt.handed_at >= recreated && own.contains(&attempt.stamp.producer_id));
            let is_told = matches!(attempt.state,
                AttemptState::Told { code: ErrorCode::NONE, base_offset: 0.., at: told } if told < at);
            attempt.place == place && is_of_log && is_told
        })
    }

    pub(super) fn has_lost(&self, place: Place, at: Moment) -> bool {
        self.stage.faults.losses.iter().any(|(lost, when)| *lost == place && *when <= at)
    }

    /// Giving up after `delivery_timeout` needs a fault that was still felt: without one the resend would have come through.
    fn check_outage(&mut self, checked: &Checked<'_>, settled: Moment) {
        if checked.record.via == Via::Look {
            return;
        }
        let since_acceptance = settled.since(checked.acceptance.at);
        // The batch opened before the record came; linger and a full window may lie between.
        if since_acceptance + TICK < self.stage.scenario.delivery_timeout / 2 {
            self.blame(checked, format!("given up after {since_acceptance:?}"));
        }
        let felt = self.stage.scenario.recovery_max();
        let place = checked.acceptance.place;
        let is_felt =
            |strike: &&Strike| strike.concerns(place) && strike.from <= settled && strike.to + felt >= settled;
        if !self.stage.faults.strikes.all().iter().any(|strike| is_felt(&strike)) {
            self.blame(checked, format!("given up at {settled} though no fault was felt since {felt:?}"));
        }
    }
}
