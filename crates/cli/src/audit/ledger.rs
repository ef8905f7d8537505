//! All that was told, in 32 bytes a record.
//!
//! Always holds: a record has one entry, with its last fate; what its outcome and its settlement said is put together when
//! its run ends. Names of files and topics stand once.

use std::collections::HashMap;

use super::line::{self, Fate};
use crate::checksum::Checksum;

#[derive(Debug, Default)]
pub struct Ledger {
    pub entries: Vec<Entry>,
    pub sources: Vec<Source>,
    pub places: Vec<Place>,
    pub topics: Vec<String>,
    files: Vec<String>,
    place_numbers: HashMap<Place, u32>,
}

/// A run that told outcomes.
#[derive(Debug, Default)]
pub struct Source {
    file: usize,
    /// None: the file does not say.
    pub run: Option<Run>,
    /// Where its entries begin.
    first: usize,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub topic: u32,
    pub topic_id: Option<String>,
    pub from_offsets: Vec<i64>,
}

/// A partition of a topic, or the topic alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub topic: u32,
    /// −1: none was told.
    pub partition: i32,
}

/// A record that an outcome tells of.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Meaningless where the line has none.
    checksum: Checksum,
    /// −1: none was told.
    pub offset: i64,
    /// Its number in its run.
    pub number: u64,
    /// Its [`Place`].
    pub place: u32,
    /// Its [`Source`].
    pub source: u16,
    pub told: What,
    /// What the log had at its offset; `Open` where nothing was compared.
    pub at_offset: AtOffset,
}

/// What was told of a record, and whether by an outcome or by a settlement, with a checksum or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What(u8);

/// What the log has at an offset that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AtOffset {
    Open,
    /// The record.
    Proved,
    /// A record, and the outcome does not say what it is.
    Unchecked,
    /// Another one.
    Other,
    /// One that another outcome tells of.
    Taken,
    /// No record, with some behind it.
    Nothing,
    /// The log ends before it.
    PastEnd,
    /// The log begins behind it.
    Gone,
}

/// The kinds of fates without their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Written,
    NotWritten,
    NoRecord,
    Unknown,
}

impl What {
    fn new(fate: &Fate, is_settlement: bool, has_checksum: bool) -> Self {
        let kind = match fate {
            Fate::Written { .. } => 0,
            Fate::NotWritten => 1,
            Fate::NoRecord => 2,
            Fate::Unknown => 3,
        };
        Self(kind | u8::from(is_settlement) << 2 | u8::from(has_checksum) << 3)
    }

    pub fn kind(self) -> Kind {
        match self.0 & 3 {
            0 => Kind::Written,
            1 => Kind::NotWritten,
            2 => Kind::NoRecord,
            _ => Kind::Unknown,
        }
    }

    fn is_settlement(self) -> bool {
        self.0 & 4 != 0
    }

    fn has_checksum(self) -> bool {
        self.0 & 8 != 0
    }
}

impl Entry {
    pub fn checksum(&self) -> Option<Checksum> {
        self.told.has_checksum().then_some(self.checksum)
    }
}

impl Ledger {
    /// The lines that follow are of this file.
    pub fn begin_file(&mut self, name: &str) {
        self.files.push(name.to_owned());
        self.sources.push(Source { file: self.files.len() - 1, run: None, first: self.entries.len() });
    }

    /// A run begins. The run before it, if it has told anything, ends; what is wrong with it is the error.
    pub fn begin_run(&mut self, run: line::Run<'_>) -> Result<(), Vec<String>> {
        let wrong = self.end_run();
        let topic = self.topic(&run.topic);
        let run = Run { topic, topic_id: run.topic_id.map(Into::into), from_offsets: run.from_offsets };
        let first = self.entries.len();
        match self.sources.last_mut() {
            Some(source) if source.run.is_none() && source.first == first => source.run = Some(run),
            Some(source) => {
                let file = source.file;
                self.sources.push(Source { file, run: Some(run), first });
            }
            None => panic!("a line stands in a file"),
        }
        wrong
    }

    pub fn take(&mut self, told: &line::Told<'_>) -> Result<(), String> {
        let (partition, offset) = match told.fate {
            Fate::Written { partition, offset } => (partition, offset.unwrap_or(-1)),
            _ => (-1, -1),
        };
        let place = Place { topic: self.topic(&told.topic), partition };
        let run = self.sources.last().and_then(|source| source.run.as_ref());
        if let Some(run) = run.filter(|run| run.topic != place.topic) {
            let own = &self.topics[run.topic as usize];
            return Err(format!("it is about topic {}, and its run about {own}", told.topic));
        }
        let source = u16::try_from(self.sources.len() - 1).map_err(|_| "more than 65536 runs are told of")?;
        if self.entries.len() >= ENTRIES_MAX {
            return Err("more than four thousand million outcomes are told of".to_owned());
        }
        let entry = Entry {
            checksum: told.checksum.unwrap_or(Checksum(0)),
            offset,
            number: told.number,
            place: self.place(place),
            source,
            told: What::new(&told.fate, told.is_settlement, told.checksum.is_some()),
            at_offset: AtOffset::Open,
        };
        self.entries.push(entry);
        Ok(())
    }

    /// Puts outcomes and settlements of the last run together. What is left out of it is the error.
    pub fn end_run(&mut self) -> Result<(), Vec<String>> {
        let Some(source) = self.sources.last() else { return Ok(()) };
        let entries = &mut self.entries[source.first..];
        let mut wrong = Vec::new();
        entries.sort_unstable_by_key(|entry| (entry.number, entry.told.is_settlement()));
        let (mut kept, mut at) = (0, 0);
        while at < entries.len() {
            let number = entries[at].number;
            let lines = entries[at..].iter().take_while(|entry| entry.number == number).count();
            match together(&entries[at..at + lines]) {
                Ok(entry) => {
                    entries[kept] = entry;
                    kept += 1;
                }
                Err(why) => wrong.push(format!("record {number} {why}")),
            }
            at += lines;
        }
        let first = source.first;
        self.entries.truncate(first + kept);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    pub fn place_of(&self, entry: &Entry) -> Place {
        self.places[entry.place as usize]
    }

    pub fn file_of(&self, entry: &Entry) -> &str {
        &self.files[self.sources[usize::from(entry.source)].file]
    }

    /// Before this offset of a partition lies nothing of the run. 0 where that is not known.
    pub fn first_offset(&self, source: u16, Place { topic, partition }: Place) -> i64 {
        let run = self.sources[usize::from(source)].run.as_ref().filter(|run| run.topic == topic);
        let offset = run.and_then(|run| run.from_offsets.get(usize::try_from(partition).ok()?));
        offset.copied().unwrap_or(0)
    }

    fn topic(&mut self, name: &str) -> u32 {
        // There are few.
        let known = self.topics.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.topics.push(name.to_owned());
            self.topics.len() - 1
        });
        number as u32
    }

    pub fn place(&mut self, place: Place) -> u32 {
        *self.place_numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.places.len() as u32 - 1
        })
    }
}

/// What the lines of one record say: one outcome, and behind it a settlement if it was unknown.
fn together(lines: &[Entry]) -> Result<Entry, &'static str> {
    match lines {
        [outcome] if !outcome.told.is_settlement() => Ok(*outcome),
        [outcome, settlement] if !outcome.told.is_settlement() && settlement.told.is_settlement() => {
            if outcome.told.kind() != Kind::Unknown {
                return Err("was not unknown, and is settled");
            }
            let has_checksum = outcome.told.has_checksum() || settlement.told.has_checksum();
            let told = What(settlement.told.0 & 3 | u8::from(has_checksum) << 3);
            let checksum = outcome.checksum().unwrap_or(settlement.checksum);
            Ok(Entry { told, checksum, ..*settlement })
        }
        [settlement] if settlement.told.is_settlement() => Err("is settled, and has no outcome"),
        [first, second, ..] if !first.told.is_settlement() && !second.told.is_settlement() => Err("has two outcomes"),
        _ => Err("is settled twice"),
    }
}

/// Their index takes four bytes each.
const ENTRIES_MAX: usize = u32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(lines: &[&str]) -> (Ledger, Vec<String>) {
        let (mut ledger, mut wrong) = (Ledger::default(), Vec::new());
        ledger.begin_file("told");
        for line in lines {
            match line::parse(line.as_bytes()).expect(line) {
                line::Line::Run(run) => wrong.extend(ledger.begin_run(run).err().unwrap_or_default()),
                line::Line::Told(told) => ledger.take(&told).expect("few"),
                line::Line::Nothing => {}
            }
        }
        wrong.extend(ledger.end_run().err().unwrap_or_default());
        (ledger, wrong)
    }

    #[test]
    fn an_entry_takes_32_bytes() {
        assert_eq!(size_of::<Entry>(), 32);
    }

    #[test]
    fn outcome_and_settlement_are_one_record_in_whatever_order_they_come() {
        let (ledger, wrong) = ledger(&[
            r#"{"line":2,"topic":"t","outcome":"written","checksum":"0000000000000002","partition":0,"offset":0}"#,
            r#"{"line":1,"topic":"t","outcome":"unknown","checksum":"0000000000000001"}"#,
            r#"{"line":3,"topic":"t","outcome":"unknown","checksum":"0000000000000003"}"#,
            r#"{"line":1,"topic":"t","settlement":"written","partition":1,"offset":4}"#,
            r#"{"line":3,"topic":"t","settlement":"undetermined","reason":"no_fence"}"#,
        ]);
        assert_eq!(wrong, [""; 0]);
        let told: Vec<_> = ledger
            .entries
            .iter()
            .map(|entry| {
                (entry.number, entry.told.kind(), entry.checksum(), ledger.place_of(entry).partition, entry.offset)
            })
            .collect();
        let expected = [
            (1, Kind::Written, Some(Checksum(1)), 1, 4),
            (2, Kind::Written, Some(Checksum(2)), 0, 0),
            (3, Kind::Unknown, Some(Checksum(3)), -1, -1),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn two_runs_in_one_file_number_their_records_apart() {
        let run = |from: i64| format!(r#"{{"topic":"t","from_offsets":[{from}]}}"#);
        let line = r#"{"line":1,"topic":"t","outcome":"unknown"}"#;
        let (ledger, wrong) = ledger(&[&run(0), line, &run(7), line]);
        assert_eq!(wrong, [""; 0]);
        let place = Place { topic: 0, partition: 0 };
        let from = ledger.entries.iter().map(|entry| (entry.source, ledger.first_offset(entry.source, place)));
        assert_eq!(from.collect::<Vec<_>>(), [(0, 0), (1, 7)]);
        assert_eq!(ledger.first_offset(1, Place { topic: 0, partition: 1 }), 0, "a partition that came later");
    }

    #[test]
    fn records_whose_lines_do_not_go_together_are_told_and_left_out() {
        let line = |number: u64, rest: &str| format!(r#"{{"line":{number},"topic":"t",{rest}}}"#);
        let (unknown, settled) = (r#""outcome":"unknown""#, r#""settlement":"not_written""#);
        let lines = [
            line(1, unknown),
            line(1, unknown),
            line(2, settled),
            line(3, unknown),
            line(3, settled),
            line(3, settled),
            line(4, r#""outcome":"not_written""#),
            line(4, settled),
            line(5, unknown),
        ];
        let (ledger, wrong) = ledger(&lines.each_ref().map(String::as_str));
        assert_eq!(
            wrong,
            [
                "record 1 has two outcomes",
                "record 2 is settled, and has no outcome",
                "record 3 is settled twice",
                "record 4 was not unknown, and is settled"
            ]
        );
        assert_eq!(ledger.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [5]);
    }
}
