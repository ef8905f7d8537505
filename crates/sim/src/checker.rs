//! What must hold of a finished run, whatever the faults: no loss, no duplicate, no reorder, right offsets, nobody left
//! waiting, no doubt without need. The log is read from the broker's own store; nothing here asks the client.

use std::collections::BTreeMap;

use milena_broker::{Cluster, PartitionIndex};
use milena_core::producer::outcome::{NotWritten, Settlement, Undetermined, Written};
use milena_core::time::{Moment, TICK};
use milena_wire::ErrorCode;
use milena_wire::records::Record as LogRecord;

use crate::faults::leaves_open;
use crate::history::{Acceptance, AttemptState, Place, Record, RecordId, Told, Via};
use crate::stage::Stage;
use crate::workload::identify;

/// Everything that is wrong with the run, in words.
pub(crate) fn check(stage: &Stage, cluster: &Cluster, bytes_held: usize) -> Vec<String> {
    let mut checker = Checker { stage, log: Log::default(), wrong: stage.history.faults_seen.clone() };
    checker.log = checker.read_log(cluster);
    for (number, record) in stage.history.records.iter().enumerate() {
        if let Some(acceptance) = &record.acceptance {
            let checked = Checked { id: RecordId(number as u32), record, acceptance };
            checker.check_told(&checked);
            checker.check_log(&checked);
            checker.check_knowledge(&checked);
            checker.check_progress(&checked);
        }
    }
    checker.check_order();
    if bytes_held != 0 {
        checker.wrong(format!("{bytes_held} bytes are held though everything has ended"));
    }
    checker.wrong
}

/// Where each record is, and what each partition holds in order.
#[derive(Debug, Default)]
struct Log {
    found: BTreeMap<RecordId, (Place, i64)>,
    order: BTreeMap<Place, Vec<RecordId>>,
}

struct Checker<'a> {
    stage: &'a Stage,
    log: Log,
    wrong: Vec<String>,
}

/// A record that was accepted.
struct Checked<'a> {
    id: RecordId,
    record: &'a Record,
    acceptance: &'a Acceptance,
}

/// What is finally known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Final {
    Written(Written),
    NotWritten(NotWritten),
    Undetermined(Undetermined),
}

impl Checked<'_> {
    fn last_word(&self) -> Option<Final> {
        match (self.record.outcome?.1, self.record.settlement) {
            (Told::Written(at), _) => Some(Final::Written(at)),
            (Told::NotWritten(why), _) => Some(Final::NotWritten(why)),
            (Told::Unknown, Some((_, Settlement::Written(at)))) => Some(Final::Written(at)),
            (Told::Unknown, Some((_, Settlement::NotWritten(why)))) => Some(Final::NotWritten(why.reason)),
            (Told::Unknown, Some((_, Settlement::Undetermined(why)))) => Some(Final::Undetermined(why.reason)),
            (Told::Unknown, None) => None,
        }
    }
}

impl Checker<'_> {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    fn blame(&mut self, checked: &Checked<'_>, what: impl AsRef<str>) {
        let (id, place) = (checked.id.0, checked.acceptance.place);
        self.wrong(format!("record {id} of topic {} partition {}: {}", place.0, place.1, what.as_ref()));
    }

    /// Also finds what is there twice, and what nobody made.
    fn read_log(&mut self, cluster: &Cluster) -> Log {
        let mut log = Log::default();
        for (number, topic) in self.stage.scenario.topics.iter().enumerate() {
            for index in 0..topic.partitions {
                let Some(partition) = cluster.log(&topic.name, PartitionIndex(index)) else { continue };
                for entry in partition.batches() {
                    match partition.read_batch(entry) {
                        Ok(batch) => {
                            batch.records().for_each(|record| self.take(&mut log, (number, index), record.ok()));
                        }
                        Err(error) => self.wrong(format!("the log of {} cannot be read: {error:?}", topic.name)),
                    }
                }
            }
        }
        log
    }

    fn take(&mut self, log: &mut Log, place: Place, record: Option<LogRecord>) {
        let known = |id: &RecordId| (id.0 as usize) < self.stage.history.records.len();
        let Some((record, id)) = record.and_then(|record| identify(&record).filter(known).map(|id| (record, id)))
        else {
            return self.wrong(format!("a record that nobody made is in the log of {place:?}"));
        };
        log.order.entry(place).or_default().push(id);
        if let Some((_, offset)) = log.found.insert(id, (place, record.offset)) {
            self.wrong(format!("record {} is in the log twice, at {offset} and {} of {place:?}", id.0, record.offset));
        }
        let made = &self.stage.history.records[id.0 as usize];
        match &made.acceptance {
            Some(acceptance) if is_same(made, acceptance, &record) => {}
            Some(_) => self.wrong(format!("record {} has other bytes in the log than were sent", id.0)),
            None => self.wrong(format!("record {} is in the log but was refused", id.0)),
        }
    }

    /// Exactly one outcome, on time, and every doubt resolved.
    fn check_told(&mut self, checked: &Checked<'_>) {
        let record = checked.record;
        if record.via == Via::Nobody {
            return;
        }
        let Some((at, told)) = record.outcome else {
            return self.blame(checked, "nobody was told what became of it");
        };
        if record.via == Via::Post && record.reports != 1 {
            self.blame(checked, format!("reported {} times", record.reports));
        }
        let due = checked.acceptance.due;
        if record.via != Via::Look {
            if at > due {
                self.blame(checked, format!("told at {at}, due at {due}"));
            }
            if record.cancelled_at.is_some_and(|cancelled| cancelled != at) {
                self.blame(checked, format!("cancelled at {:?}, told at {at}", record.cancelled_at));
            }
            let is_early = told == Told::NotWritten(NotWritten::DeadlinePassed) && at < due;
            if is_early {
                self.blame(checked, format!("told at {at} that its deadline has passed, which is at {due}"));
            }
        }
        if told == Told::Unknown && record.settlement.is_none() {
            self.blame(checked, "its fate is not settled");
        }
    }

    /// What was told against what is there.
    fn check_log(&mut self, checked: &Checked<'_>) {
        let found = self.log.found.get(&checked.id).copied();
        let place = checked.acceptance.place;
        match (checked.last_word(), found) {
            (Some(Final::Written(_)), None) => self.blame(checked, "told to be written, and is not in the log"),
            (Some(Final::Written(at)), Some((there, offset)))
                if there != place || at.partition != place.1 || at.offset != Some(offset) =>
            {
                self.blame(checked, format!("told to be at {at:?}, is at offset {offset} of {there:?}"));
            }
            (Some(Final::NotWritten(why)), Some((_, offset))) => {
                self.blame(checked, format!("told not to be written ({why}), is at offset {offset}"));
            }
            (_, Some((there, _))) if there != place => self.blame(checked, format!("is in partition {there:?}")),
            _ => {}
        }
    }

    /// Nobody is left in doubt without need, and nobody is told what cannot be known.
    fn check_knowledge(&mut self, checked: &Checked<'_>) {
        let record = checked.record;
        let Some((at, told)) = record.outcome.filter(|_| record.via != Via::Look) else {
            return self.check_final(checked);
        };
        let first_handed = record.attempts.first().map(|id| self.stage.history.attempts[id.0 as usize].handed_at);
        let was_handed = first_handed.is_some_and(|handed| handed <= at);
        if told == Told::Unknown {
            if !was_handed {
                self.blame(checked, "unknown though no connection had claimed it");
            }
            let is_due = at >= checked.acceptance.due || record.cancelled_at == Some(at);
            let is_settled = record.settlement.is_some_and(|(settled, _)| settled == at);
            if !is_due && !is_settled {
                self.blame(checked, format!("unknown at {at}, before its deadline"));
            }
        }
        let is_withdrawn = matches!(told, Told::NotWritten(NotWritten::Cancelled | NotWritten::DeadlinePassed));
        if is_withdrawn && first_handed.is_some() {
            self.blame(checked, "withdrawn, and handed to a connection all the same");
        }
        if let Some(confirmed) = self.confirmed_at(record) {
            let known = match (told, record.settlement) {
                (Told::Written(_), _) => at <= confirmed,
                (_, Some((settled, Settlement::Written(_)))) => settled <= confirmed && told == Told::Unknown,
                (_, settled) => settled.map_or(at, |(settled, _)| settled) < confirmed,
            };
            if !known {
                self.blame(checked, format!("confirmed by an answer at {confirmed}, told {told:?} at {at}"));
            }
        }
        self.check_final(checked);
    }

    /// When an answer that says "written" reached the client.
    fn confirmed_at(&self, record: &Record) -> Option<Moment> {
        let told = record.attempts.iter().map(|id| self.stage.history.attempts[id.0 as usize].state);
        let confirmed = told.filter_map(|state| match state {
            AttemptState::Told { code, at, .. } if code.is_none() => Some(at),
            _ => None,
        });
        confirmed.min()
    }

    /// A client that gives everybody up at the deadline would be right and useless: with time enough and no fault felt,
    /// a record is written.
    fn check_progress(&mut self, checked: &Checked<'_>) {
        let (record, acceptance) = (checked.record, checked.acceptance);
        let is_given_up = match record.outcome {
            Some((at, Told::Unknown)) => at >= acceptance.due && record.via != Via::Look,
            Some((_, told)) => told == Told::NotWritten(NotWritten::DeadlinePassed),
            None => false,
        };
        if !is_given_up || record.cancelled_at.is_some() {
            return;
        }
        let strikes = self.stage.faults.strikes().iter().filter(|strike| strike.from < acceptance.due);
        let quiet_since = strikes.map(|strike| strike.to).max().map_or(acceptance.at, |end| end.max(acceptance.at));
        let needed = self.stage.scenario.recovery_max() + self.stage.scenario.backlog_max();
        if quiet_since + needed <= acceptance.due {
            self.blame(checked, format!("not written by its deadline though no fault was felt since {quiet_since}"));
        }
    }

    fn check_final(&mut self, checked: &Checked<'_>) {
        let place = checked.acceptance.place;
        let is_closed = self.stage.scenario.close_at.is_some();
        match checked.last_word() {
            Some(Final::NotWritten(NotWritten::Refused(code))) => {
                self.check_refused(checked, ErrorCode(code.code()));
            }
            Some(Final::NotWritten(NotWritten::Closed)) if !is_closed => self.blame(checked, "nobody closed"),
            Some(Final::NotWritten(why @ (NotWritten::TopicRecreated | NotWritten::DriverLost))) => {
                self.blame(checked, format!("{why}, which did not happen"));
            }
            Some(Final::Undetermined(why)) => {
                let is_open = checked
                    .record
                    .attempts
                    .iter()
                    .any(|id| self.is_open(self.stage.history.attempts[id.0 as usize].state));
                if !is_open {
                    self.blame(checked, format!("{why}, though every attempt was answered or cut short"));
                }
                match why {
                    Undetermined::RefusedAfterAmbiguousAttempt(code) => {
                        self.check_refused(checked, ErrorCode(code.code()))
                    }
                    Undetermined::NoFence => self.check_outage(checked),
                    Undetermined::ClosedBeforeProof if is_closed => {}
                    _ => self.blame(checked, format!("{why} at {place:?}, which did not happen")),
                }
            }
            _ => {}
        }
    }

    /// An attempt that may have been appended for all the client can know.
    fn is_open(&self, state: AttemptState) -> bool {
        match state {
            AttemptState::Sent | AttemptState::Answered { .. } => true,
            AttemptState::CutShort => false,
            AttemptState::Told { code, base_offset, .. } => leaves_open(code, base_offset),
        }
    }

    /// The simulated broker refuses for good only where a fault says so.
    fn check_refused(&mut self, checked: &Checked<'_>, code: ErrorCode) {
        let place = checked.acceptance.place;
        if !self.stage.faults.refused(place, code) || code.is_retriable() {
            self.blame(checked, format!("ended with {code}, which no fault answered on this partition"));
        }
    }

    /// Giving up after `delivery_timeout` needs a fault that was still felt: without one the resend would have come through.
    fn check_outage(&mut self, checked: &Checked<'_>) {
        let Some((settled, _)) = checked.record.settlement.filter(|_| checked.record.via != Via::Look) else { return };
        let since_acceptance = settled.since(checked.acceptance.at);
        // The batch opened before the record came; linger and a full window may lie between.
        if since_acceptance + TICK < self.stage.scenario.delivery_timeout / 2 {
            self.blame(checked, format!("given up after {since_acceptance:?}"));
        }
        let felt = self.stage.scenario.recovery_max();
        let is_forced = self.stage.faults.strikes().iter().any(|s| s.from <= settled && s.to + felt >= settled);
        if !is_forced {
            self.blame(checked, format!("given up at {settled} though no fault was felt since {felt:?}"));
        }
    }

    /// Records that are certainly written stand in the order of their acceptance. Those in doubt may come late.
    fn check_order(&mut self) {
        let order = std::mem::take(&mut self.log.order);
        for (place, ids) in &order {
            let mut last: Option<(u64, RecordId)> = None;
            for id in ids {
                let record = &self.stage.history.records[id.0 as usize];
                let Some(acceptance) = &record.acceptance else { continue };
                let checked = Checked { id: *id, record, acceptance };
                if !matches!(checked.last_word(), Some(Final::Written(_))) {
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
        self.log.order = order;
    }
}

fn is_same(made: &Record, acceptance: &Acceptance, found: &LogRecord) -> bool {
    let headers: Vec<_> = found.headers().map(|header| (header.key, header.value)).collect();
    let same_headers = headers.len() == made.content.headers.len()
        && headers.iter().zip(&made.content.headers).all(|(found, made)| found.0 == made.0 && found.1 == made.1);
    found.key == made.content.key
        && found.value == made.content.value
        && found.timestamp == acceptance.timestamp
        && same_headers
}
