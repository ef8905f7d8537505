//! What is in the logs against what was told: once, where it was said to be, with its own bytes, in order.

use std::collections::BTreeMap;

use milena_broker::TimestampType;
use milena_core::producer::outcome::{NotWritten, Written};
use milena_core::time::Moment;
use milena_wire::ErrorCode;
use milena_wire::records::Record as LogRecord;

use super::{Checked, Checker, Final};
use crate::brokers::Brokers;
use crate::history::{Acceptance, AttemptState, Place, Record, RecordId};
use crate::workload::{identify, is_foreign, wall_at};

/// Where each record is, and what each partition holds in order.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// More than one copy only where that is not promised otherwise.
    found: BTreeMap<RecordId, Vec<Copy>>,
    order: Vec<(Place, Vec<RecordId>)>,
}

/// A record in a log.
#[derive(Clone, Copy, Debug)]
struct Copy {
    place: Place,
    offset: i64,
    timestamp: i64,
    is_committed: bool,
}

impl Checker<'_> {
    /// Also finds what is there twice, and what nobody made.
    pub(super) fn read_logs(&mut self, brokers: &Brokers) {
        for lying in brokers.logs(self.stage) {
            let place = lying.place;
            match lying.records {
                Ok(records) => {
                    let mut order = Vec::new();
                    for record in records {
                        let id = self.take(place, &record, lying.committed, &order);
                        order.extend(id);
                    }
                    self.log.order.push((place, order));
                }
                Err(error) => self.wrong(format!("the log of {place:?} cannot be read: {error}")),
            }
        }
    }

    fn take(&mut self, place: Place, record: &LogRecord, committed: i64, before: &[RecordId]) -> Option<RecordId> {
        if is_foreign(record) {
            return None;
        }
        let stage = self.stage;
        let Some(id) = identify(record).filter(|id| (id.0 as usize) < stage.history.records.len()) else {
            self.wrong(format!("a record that nobody made is in the log of {place:?}"));
            return None;
        };
        let (offset, timestamp) = (record.offset, record.timestamp);
        let copies = self.log.found.entry(id).or_default();
        copies.push(Copy { place, offset, timestamp, is_committed: offset < committed });
        let (count, first) = (copies.len(), copies[0].offset);
        if count > 1 && !self.may_be_there_again(id, count) && !self.came_late_after_stale_ones(id, before) {
            self.wrong(format!("record {} is in the log of {place:?} {count} times, at {first} and {offset}", id.0));
        }
        let made = &stage.history.records[id.0 as usize];
        let stamps = stage.scenario.topics[place.0].config.timestamp_type;
        match &made.acceptance {
            Some(acceptance) if is_same(made, acceptance, record, stamps) => {}
            Some(_) => self.wrong(format!("record {} has other bytes in the log than were sent", id.0)),
            None => self.wrong(format!("record {} is in the log but was refused", id.0)),
        }
        Some(id)
    }

    /// Without idempotence every attempt may leave a copy, and so where the user wants stale ones sent again.
    fn may_be_there_again(&self, id: RecordId, copies: usize) -> bool {
        let record = &self.stage.history.records[id.0 as usize];
        let scenario = &self.stage.scenario;
        let is_promised = scenario.is_idempotent && !scenario.resends_stale;
        !is_promised && copies <= record.attempts.len()
    }

    /// Brokers forget a producer whose last batch has old timestamps, and then take a copy of any earlier batch that comes
    /// late (rule 17). The client sends what is stale once everything before it is settled, and cannot call back what
    /// still travels. Before the copy stand records that are stale, and were sent after the last copy was.
    fn came_late_after_stale_ones(&self, id: RecordId, before: &[RecordId]) -> bool {
        let attempts = &self.stage.history.attempts;
        let records = &self.stage.history.records;
        let Some(last) = records[id.0 as usize].attempts.last() else { return false };
        let sent_last = attempts.get(*last).handed_at;
        // Clocks may have stepped by two fifths of it.
        let horizon = self.stage.scenario.horizon.as_millis() as i64 * 3 / 5;
        before.iter().map(|other| &records[other.0 as usize]).any(|other| {
            let (Some(acceptance), Some(first)) = (other.acceptance, other.attempts.first()) else { return false };
            let sent = attempts.get(*first).handed_at;
            sent > sent_last && acceptance.timestamp < wall_at(sent) - horizon
        })
    }

    /// What was told against what is there.
    pub(super) fn check_log(&mut self, checked: &Checked<'_>) {
        let copies = self.log.found.get(&checked.id).cloned().unwrap_or_default();
        let place = checked.acceptance.place;
        if copies.iter().any(|copy| copy.place != place) {
            self.blame(checked, format!("is in the wrong partition: {copies:?}"));
        }
        match checked.last_word() {
            Some((_, Final::Written(at))) => self.check_written(checked, at, &copies),
            // Who may not read does not see that committed data was lost.
            Some((told, Final::NotWritten(why)))
                if !copies.is_empty()
                    && why.reason == NotWritten::Fenced
                    && !self.stage.scenario.may_read
                    && self.has_lost(place, told) => {}
            Some((_, Final::NotWritten(why))) if !copies.is_empty() => {
                self.blame(checked, format!("told not to be written ({}), is there: {copies:?}", why.reason));
            }
            _ => {}
        }
    }

    fn check_written(&mut self, checked: &Checked<'_>, at: Written, copies: &[Copy]) {
        let is_told = |copy: &&Copy| at.offset.is_none_or(|told| told == copy.offset);
        let Some(copy) = copies.iter().find(is_told) else {
            // With acks=1 the leader's word is worth what the leader is.
            let is_lost = !self.stage.scenario.is_committed() && self.has_lost_leader(checked);
            if !is_lost && !self.was_lost_after(checked) {
                self.blame(checked, format!("told to be written at {at:?}, is there: {copies:?}"));
            }
            return;
        };
        if at.partition != checked.acceptance.place.1 {
            self.blame(checked, format!("told to be written at {at:?}, is there: {copies:?}"));
        }
        if !copy.is_committed && self.stage.scenario.is_committed() {
            self.blame(checked, format!("told to be written, and is not committed: {copy:?}"));
        }
        self.check_broker_time(checked, at.timestamp, copy.timestamp);
    }

    /// Committed records were lost after somebody knew that this one was written. A verdict that rests on what was sent later
    /// must be right.
    fn was_lost_after(&self, checked: &Checked<'_>) -> bool {
        let Some((told, _)) = checked.last_word() else { return false };
        // What an answer says that is still on its way, the next one says again.
        let given = self.attempts_of(checked).filter(|attempt| attempt.state.is_confirmed());
        let said = self.proofs(checked, told).chain(given).map(|attempt| attempt.handed_at);
        // What is read in the log is read once the fence has been acknowledged, from a leader that learns a moment later that it
        // leads no more.
        let fences = self.attempts_of(checked).flat_map(|own| self.fences(own, told));
        let scenario = &self.stage.scenario;
        let moment = (scenario.latency.1 * 2 + scenario.service.1 * 2 + scenario.mail_max).as_micros() as u64;
        let read = fences.filter_map(|fence| match fence.state {
            AttemptState::Told { at, .. } => Some(Moment::from_micros(at.as_micros().saturating_sub(moment))),
            _ => None,
        });
        let proof = said.chain(read).chain(self.used_elsewhere_at(checked, told)).min();
        let mut losses = self.stage.faults.losses.iter().filter(|(place, _)| *place == checked.acceptance.place);
        losses.any(|(_, lost)| proof.is_some_and(|proof| proof < *lost))
    }

    /// Nothing says that it is written but the log, read where somebody else uses the producer id.
    fn was_only_found(&self, checked: &Checked<'_>) -> bool {
        let Some((told, _)) = checked.last_word() else { return false };
        self.proofs(checked, told).next().is_none() && self.used_elsewhere_at(checked, told).is_some()
    }

    /// Committed records were lost while this one was on its way: brokers that know nothing of a producer take what was sent
    /// behind it first.
    fn was_lost_meanwhile(&self, checked: &Checked<'_>) -> bool {
        let sent = self.attempts_of(checked).next().map(|attempt| attempt.handed_at);
        let told = checked.last_word().map(|(at, _)| at);
        let mut losses = self.stage.faults.losses.iter().filter(|(place, _)| *place == checked.acceptance.place);
        losses.any(|(_, lost)| sent.is_some_and(|sent| sent <= *lost) && told.is_some_and(|told| *lost <= told))
    }

    /// Another broker came to lead the partition after the record was handed over.
    fn has_lost_leader(&self, checked: &Checked<'_>) -> bool {
        let Some(handed_at) = self.attempts_of(checked).next().map(|attempt| attempt.handed_at) else { return false };
        self.stage.faults.strikes.all().iter().any(|strike| {
            strike.fault.changes_leaders() && strike.concerns(checked.acceptance.place) && strike.to >= handed_at
        })
    }

    /// The broker's clock is told where the topic stamps with it. An answer to a batch that was sent before does not show
    /// which topic this is: brokers give a duplicate's timestamp on topics of either kind.
    fn check_broker_time(&mut self, checked: &Checked<'_>, told: Option<i64>, found: i64) {
        let topic = &self.stage.scenario.topics[checked.acceptance.place.0];
        let is_known = topic.config.timestamp_type == TimestampType::LogAppendTime;
        let is_right = match told {
            Some(told) => told == found || checked.record.attempts.len() > 1,
            None => !is_known || !self.was_told_first(checked),
        };
        if !is_right {
            self.blame(checked, format!("told the broker's time {told:?}, the log has {found}"));
        }
    }

    /// The record's only attempt was answered with success, and the answer found the batch where it was sent from: another
    /// one may imply it sooner.
    fn was_told_first(&self, checked: &Checked<'_>) -> bool {
        let [only] = &checked.record.attempts[..] else { return false };
        let state = self.stage.history.attempts.get(*only).state;
        matches!(state, AttemptState::Told { code: ErrorCode::NONE, .. }) && self.rows.contains(only)
    }

    /// Records that are certainly written stand in the order of their acceptance. Those in doubt may come late, and where no fence
    /// can stand they may be found so (rule 14).
    pub(super) fn check_order(&mut self) {
        if !self.stage.scenario.is_ordered() {
            return;
        }
        let order = std::mem::take(&mut self.log.order);
        for (place, ids) in &order {
            let mut last: Option<(u64, RecordId)> = None;
            for id in ids {
                let record = &self.stage.history.records[id.0 as usize];
                let Some(acceptance) = &record.acceptance else { continue };
                let checked = Checked { id: *id, record, acceptance };
                let is_once = self.log.found.get(id).is_some_and(|copies| copies.len() == 1);
                if !is_once
                    || self.was_only_found(&checked)
                    || !matches!(checked.last_word(), Some((_, Final::Written(_))))
                {
                    continue;
                }
                if let Some((number, before)) = last
                    && number > acceptance.number
                    && !self.was_lost_meanwhile(&checked)
                {
                    self.wrong(format!(
                        "record {} stands before {} in {place:?}, but was accepted after it",
                        before.0, id.0
                    ));
                }
                last = Some((acceptance.number, *id));
            }
        }
    }
}

fn is_same(made: &Record, acceptance: &Acceptance, found: &LogRecord, stamps: TimestampType) -> bool {
    let headers: Vec<_> = found.headers().map(|header| (header.key, header.value)).collect();
    let same_headers = headers.len() == made.content.headers.len()
        && headers.iter().zip(&made.content.headers).all(|(found, made)| found.0 == made.0 && found.1 == made.1);
    let same_time = stamps == TimestampType::LogAppendTime || found.timestamp == acceptance.timestamp;
    found.key == made.content.key && found.value == made.content.value && same_time && same_headers
}
