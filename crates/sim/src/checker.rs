//! What must hold of a finished run, whatever the faults: no loss, no duplicate, no reorder, right offsets, nobody left
//! waiting, no doubt without need. The logs are read from the brokers' own store, and what was told on the wire from its
//! bytes; nothing here asks the client.

mod answers;
mod causes;
mod doubts;
mod knowledge;
mod log;
mod progress;
mod sending;
mod told;

use std::collections::BTreeSet;

use milena_core::producer::outcome::{Because, NotWritten, Settlement, Undetermined, Written};
use milena_core::time::Moment;

use crate::brokers::Brokers;
use crate::history::{Acceptance, Attempt, AttemptId, Record, RecordId, Told};
use crate::stage::Stage;
use log::Log;

/// Everything that is wrong with the run, in words.
pub(crate) fn check(stage: &Stage, brokers: &Brokers, bytes_held: usize) -> Vec<String> {
    let rows = stage.history.taken.iter().map(|taken| taken.attempt).collect();
    let mut checker = Checker { stage, rows, log: Log::default(), wrong: stage.history.wrong.clone() };
    checker.read_logs(brokers);
    for (number, record) in stage.history.records.iter().enumerate() {
        if let Some(acceptance) = &record.acceptance {
            let checked = Checked { id: RecordId(number as u32), record, acceptance };
            checker.check_told(&checked);
            checker.check_log(&checked);
            checker.check_knowledge(&checked);
            checker.check_reason(&checked);
            checker.check_cause(&checked);
            checker.check_progress(&checked);
        }
    }
    checker.check_order();
    checker.check_gaps();
    checker.check_window();
    checker.check_leaving();
    checker.check_neighbours();
    if bytes_held != 0 {
        checker.wrong(format!("{bytes_held} bytes are held though everything has ended"));
    }
    checker.wrong
}

struct Checker<'a> {
    stage: &'a Stage,
    /// Attempts whose answers took a row of the table.
    rows: BTreeSet<AttemptId>,
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
    NotWritten(Because<NotWritten>),
    Undetermined(Because<Undetermined>),
}

impl Checked<'_> {
    /// When it was told, and what.
    fn last_word(&self) -> Option<(Moment, Final)> {
        let (at, told) = self.record.outcome?;
        match told {
            Told::Written(place) => Some((at, Final::Written(place))),
            Told::NotWritten(why) => Some((at, Final::NotWritten(why))),
            Told::Unknown => {
                let (at, settlement) = self.record.settlement?;
                Some((
                    at,
                    match settlement {
                        Settlement::Written(place) => Final::Written(place),
                        Settlement::NotWritten(why) => Final::NotWritten(why),
                        Settlement::Undetermined(why) => Final::Undetermined(why),
                    },
                ))
            }
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

    /// Every attempt that carried the record.
    fn attempts_of<'s>(&'s self, checked: &'s Checked<'_>) -> impl Iterator<Item = &'s Attempt> {
        let stage = self.stage;
        checked.record.attempts.iter().map(|id| stage.history.attempts.get(*id))
    }
}
