//! What is in the logs against what was told: once, where it was said to be, with its own bytes, in order.

use std::collections::BTreeMap;

use milena_broker::TimestampType;
use milena_wire::records::Record as LogRecord;

use super::{Checked, Checker, Final};
use crate::brokers::Brokers;
use crate::history::{Acceptance, Place, Record, RecordId};
use crate::workload::{identify, is_foreign};

/// Where each record is, and what each partition holds in order.
#[derive(Debug, Default)]
pub(super) struct Log {
    found: BTreeMap<RecordId, (Place, i64, i64)>,
    order: Vec<(Place, Vec<RecordId>)>,
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
                        order.extend(self.take(place, &record));
                    }
                    self.log.order.push((place, order));
                }
                Err(error) => self.wrong(format!("the log of {place:?} cannot be read: {error}")),
            }
        }
    }

    fn take(&mut self, place: Place, record: &LogRecord) -> Option<RecordId> {
        if is_foreign(record) {
            return None;
        }
        let stage = self.stage;
        let Some(id) = identify(record).filter(|id| (id.0 as usize) < stage.history.records.len()) else {
            self.wrong(format!("a record that nobody made is in the log of {place:?}"));
            return None;
        };
        if let Some((there, offset, _)) = self.log.found.insert(id, (place, record.offset, record.timestamp)) {
            self.wrong(format!(
                "record {} is in the log twice, at {offset} of {there:?} and {} of {place:?}",
                id.0, record.offset
            ));
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

    /// What was told against what is there.
    pub(super) fn check_log(&mut self, checked: &Checked<'_>) {
        let found = self.log.found.get(&checked.id).copied();
        let place = checked.acceptance.place;
        match (checked.last_word().map(|(_, word)| word), found) {
            (Some(Final::Written(_)), None) => self.blame(checked, "told to be written, and is not in the log"),
            (Some(Final::Written(at)), Some((there, offset, timestamp))) => {
                let is_right = at.offset.is_none_or(|told| told == offset);
                if there != place || at.partition != place.1 || !is_right {
                    self.blame(checked, format!("told to be at {at:?}, is at offset {offset} of {there:?}"));
                }
                self.check_broker_time(checked, at.timestamp, timestamp);
            }
            (Some(Final::NotWritten(why)), Some((_, offset, _))) => {
                self.blame(checked, format!("told not to be written ({}), is at offset {offset}", why.reason));
            }
            (_, Some((there, ..))) if there != place => self.blame(checked, format!("is in partition {there:?}")),
            _ => {}
        }
    }

    /// The broker's clock is told where the topic stamps with it. An answer to a batch that was sent before does not show
    /// which topic this is: brokers give a duplicate's timestamp on topics of either kind.
    fn check_broker_time(&mut self, checked: &Checked<'_>, told: Option<i64>, found: i64) {
        let topic = &self.stage.scenario.topics[checked.acceptance.place.0];
        let is_known = topic.config.timestamp_type == TimestampType::LogAppendTime;
        let is_right = match told {
            Some(told) => told == found || checked.record.attempts.len() > 1,
            None => !is_known || checked.record.attempts.len() > 1,
        };
        if !is_right {
            self.blame(checked, format!("told the broker's time {told:?}, the log has {found}"));
        }
    }

    /// Records that are certainly written stand in the order of their acceptance. Those in doubt may come late.
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
                if !matches!(checked.last_word(), Some((_, Final::Written(_)))) {
                    continue;
                }
                if let Some((number, before)) = last
                    && number > acceptance.number
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
