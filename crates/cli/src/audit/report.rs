//! What an audit prints: a line for each outcome that is refuted or undecided, and then the counts.

use std::fmt;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::checker::{Spot, Spots};
use super::ledger::{AtOffset, Entry, Kind, Place};
use super::verdicts::{Conclusion, Exception, Refutation, Whether, Why};
use crate::exit::{Exit, Failure};
use crate::json;
use crate::results::Count;

#[derive(Debug)]
pub struct Report {
    pub conclusion: Conclusion,
    /// Lines that make no sense.
    pub bad: u64,
    /// Last lines that were cut off.
    pub unfinished: u64,
    /// Of the log.
    pub records: u64,
}

impl Report {
    /// To stdout. Whoever reads it may have seen enough; the exit code is the same then.
    pub fn print(&self, is_json: bool) -> Result<Exit, Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut line = Vec::new();
        let lines = self.conclusion.exceptions.iter().map(Some).chain([None]);
        for exception in lines {
            line.clear();
            match (exception, is_json) {
                (Some((entry, exception)), true) => json::line(&self.told(*entry, exception), &mut line),
                (Some((entry, exception)), false) => {
                    writeln!(line, "{}", Sentence { report: self, entry: *entry, exception }).expect("memory takes it")
                }
                (None, true) => json::line(&self.summary(), &mut line),
                (None, false) => write!(line, "{self}").expect("memory takes it"),
            }
            match out.write_all(&line) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(self.exit()),
                written => written.map_err(unwritten)?,
            }
        }
        match out.flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(error)),
            _ => Ok(self.exit()),
        }
    }

    pub fn exit(&self) -> Exit {
        let counts = &self.conclusion.counts;
        match () {
            () if sum(&counts.refuted) > 0 => Exit::Refuted,
            () if self.bad > 0 => Exit::Failed,
            () if sum(&counts.unprovable) > 0 => Exit::Unprovable,
            () => Exit::Done,
        }
    }

    fn entry(&self, index: u32) -> &Entry {
        &self.conclusion.ledger.entries[index as usize]
    }

    fn told<'a>(&'a self, index: u32, exception: &'a Exception) -> Told<'a> {
        let (ledger, entry) = (&self.conclusion.ledger, self.entry(index));
        let Place { topic, partition } = ledger.place_of(entry);
        let (verdict, refuted, undecided, found, after) = match exception {
            Exception::Refuted { how, found, after, .. } => {
                let after = after.map(|after| ToldAfter { line: after.number, offset: after.offset });
                ("refuted", Some(name(&Refutation::ALL, *how)), None, found.kept.iter().collect::<Vec<_>>(), after)
            }
            Exception::Undecided { whether, found } => {
                ("undecided", None, Some(name(&Whether::ALL, *whether)), found.iter().collect(), None)
            }
        };
        let (at_offset, more_found) = match exception {
            Exception::Refuted { at_offset, found, .. } => (what_is_there(*at_offset), found.others),
            Exception::Undecided { .. } => (None, 0),
        };
        Told {
            verdict,
            refuted,
            undecided,
            file: ledger.file_of(entry),
            line: entry.number,
            topic: &ledger.topics[topic as usize],
            outcome: match entry.told.kind() {
                Kind::Written => "written",
                Kind::NotWritten | Kind::NoRecord => "not_written",
                Kind::Unknown => "unknown",
            },
            partition: (partition >= 0).then_some(partition),
            offset: (entry.offset >= 0).then_some(entry.offset),
            checksum: entry.checksum().map(|checksum| checksum.to_string()),
            at_offset,
            found: found.into_iter().map(ToldSpot::from).collect(),
            more_found,
            after,
        }
    }

    fn summary(&self) -> Summary {
        let counts = &self.conclusion.counts;
        Summary {
            verdict: match self.exit() {
                Exit::Refuted => "refuted",
                Exit::Failed => "unreadable",
                Exit::Unprovable => "unprovable",
                _ => "proved",
            },
            outcomes: counts.outcomes(),
            written: counts.written,
            not_written: counts.not_written,
            unknown: counts.unknown,
            proved: counts.proved,
            refuted: Named(pairs(&Refutation::ALL, &counts.refuted)),
            undecided: Named(pairs(&Whether::ALL, &counts.undecided)),
            unprovable: Named(pairs(&Why::ALL, &counts.unprovable)),
            bad_lines: self.bad,
            unfinished_lines: self.unfinished,
            records: self.records,
            records_of_others: counts.others,
        }
    }
}

fn unwritten(error: io::Error) -> Failure {
    Failure::midway(format!("stdout cannot be written: {error}"))
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().sum()
}

fn name<T: Copy + PartialEq>(all: &[(T, &'static str)], one: T) -> &'static str {
    all.iter().find(|(each, _)| *each == one).map_or("", |(_, name)| name)
}

fn pairs<T>(all: &[(T, &'static str)], counts: &[u64]) -> Vec<(&'static str, u64)> {
    all.iter().zip(counts).map(|((_, name), count)| (*name, *count)).collect()
}

/// What the log has at the offset that was told, where that says something.
fn what_is_there(at_offset: AtOffset) -> Option<&'static str> {
    match at_offset {
        AtOffset::Open | AtOffset::Unchecked => None,
        AtOffset::Proved => Some("the_record"),
        AtOffset::Other => Some("another_record"),
        AtOffset::Taken => Some("a_record_of_another_outcome"),
        AtOffset::Nothing => Some("nothing"),
        AtOffset::PastEnd => Some("past_the_end"),
        AtOffset::Gone => Some("gone"),
    }
}

#[derive(Serialize)]
struct Told<'a> {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refuted: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undecided: Option<&'static str>,
    file: &'a str,
    line: u64,
    topic: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_offset: Option<&'static str>,
    found: Vec<ToldSpot>,
    #[serde(skip_serializing_if = "is_zero")]
    more_found: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<ToldAfter>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct ToldSpot {
    partition: i32,
    offset: i64,
    producer_id: i64,
    producer_epoch: i16,
}

impl From<&Spot> for ToldSpot {
    fn from(Spot { partition, record }: &Spot) -> Self {
        let (producer_id, producer_epoch) = (record.producer_id, record.producer_epoch);
        Self { partition: *partition, offset: record.offset, producer_id, producer_epoch }
    }
}

#[derive(Serialize)]
struct ToldAfter {
    line: u64,
    offset: i64,
}

#[derive(Serialize)]
struct Summary {
    verdict: &'static str,
    outcomes: u64,
    written: u64,
    not_written: u64,
    unknown: u64,
    proved: u64,
    refuted: Named,
    undecided: Named,
    unprovable: Named,
    bad_lines: u64,
    unfinished_lines: u64,
    records: u64,
    records_of_others: u64,
}

/// An object with a number for each name.
struct Named(Vec<(&'static str, u64)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in &self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

/// The line about one outcome.
struct Sentence<'a> {
    report: &'a Report,
    entry: u32,
    exception: &'a Exception,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ledger, entry) = (&self.report.conclusion.ledger, self.report.entry(self.entry));
        let Place { topic, partition } = ledger.place_of(entry);
        let topic = &ledger.topics[topic as usize];
        write!(f, "{}, record {} of topic {topic}: ", ledger.file_of(entry), entry.number)?;
        match self.exception {
            Exception::Undecided { whether, found } => {
                f.write_str(match whether {
                    Whether::InLog => "undecided; it is in the log",
                    Whether::NotInLog => "undecided; it is not in the log",
                    Whether::NotTold => "undecided; whether it is in the log cannot be told",
                })?;
                found.iter().try_for_each(|spot| write!(f, ", {}", At(spot)))
            }
            Exception::Refuted { how, at_offset, found, after } => {
                write!(f, "{}; ", name(&Refutation::ALL, *how).replace('_', " "))?;
                match entry.told.kind() {
                    Kind::Written if entry.offset >= 0 => {
                        write!(f, "told to be written at offset {} of partition {partition}", entry.offset)?;
                    }
                    Kind::Written => write!(f, "told to be written to partition {partition}")?,
                    Kind::NotWritten | Kind::NoRecord => f.write_str("told not to be written")?,
                    Kind::Unknown => f.write_str("told to be unknown")?,
                }
                f.write_str(match at_offset {
                    AtOffset::Other => ", where another record is",
                    AtOffset::Taken => ", where the record of another outcome is",
                    AtOffset::Nothing => ", where no record is",
                    AtOffset::PastEnd => ", where the log does not reach",
                    AtOffset::Gone => ", where the log does not begin yet",
                    AtOffset::Open | AtOffset::Proved | AtOffset::Unchecked => "",
                })?;
                self.tell_found(f, *how, *at_offset, found)?;
                let after = after.iter();
                after.into_iter().try_for_each(|after| {
                    write!(
                        f,
                        "; before it, at offset {}, is record {}, which was accepted after it",
                        after.offset, after.number
                    )
                })
            }
        }
    }
}

impl Sentence<'_> {
    fn tell_found(
        &self,
        f: &mut fmt::Formatter<'_>,
        how: Refutation,
        at_offset: AtOffset,
        Spots { kept, others }: &Spots,
    ) -> fmt::Result {
        let is_copy = how == Refutation::Duplicated && at_offset == AtOffset::Proved;
        for (place, spot) in kept.iter().enumerate() {
            let begin = match (place, is_copy) {
                (0, true) => "; it is there, and again ",
                (0, false) => "; it is ",
                _ => ", and ",
            };
            write!(f, "{begin}{}", At(spot))?;
        }
        match (kept.is_empty(), how) {
            (true, Refutation::Missing | Refutation::Misplaced) => f.write_str("; it is nowhere else")?,
            _ if *others > 0 => write!(f, ", and {} more", Count(*others, ["time", "times"]))?,
            _ => {}
        }
        Ok(())
    }
}

/// A place in the log, with who wrote there.
struct At<'a>(&'a Spot);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spot { partition, record } = self.0;
        write!(f, "at offset {} of partition {partition}", record.offset)?;
        match record.producer_id {
            ..0 => Ok(()),
            id => write!(f, " (producer {id}, epoch {})", record.producer_epoch),
        }
    }
}

/// The counts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conclusion { counts, unprovable, ledger, .. } = &self.conclusion;
        let [refuted, undecided, not_proved] = [&counts.refuted[..], &counts.undecided, &counts.unprovable].map(sum);
        writeln!(
            f,
            "{}: {} proved, {} refuted, {} undecided, {} unprovable",
            Count(counts.outcomes(), ["outcome", "outcomes"]),
            counts.proved,
            refuted,
            undecided,
            not_proved
        )?;
        tell_kinds(f, "refuted", &pairs(&Refutation::ALL, &counts.refuted))?;
        tell_kinds(f, "undecided", &pairs(&Whether::ALL, &counts.undecided))?;
        for (entry, why) in unprovable {
            let entry = self.entry(*entry);
            let (count, file) = (counts.unprovable[*why as usize], ledger.file_of(entry));
            let topic = &ledger.topics[ledger.place_of(entry).topic as usize];
            writeln!(
                f,
                "{} unprovable, because {}; the first is record {} of {file}, of topic {topic}",
                count,
                because(*why),
                entry.number
            )?;
        }
        if self.bad > 0 {
            writeln!(
                f,
                "{} of the outcomes make no sense, so what they are about is not audited",
                Count(self.bad, ["line", "lines"])
            )?;
        }
        let others = counts.others;
        writeln!(
            f,
            "{} of the log read, {others} of them told of by no outcome",
            Count(self.records, ["record", "records"])
        )
    }
}

fn tell_kinds(f: &mut fmt::Formatter<'_>, what: &str, kinds: &[(&str, u64)]) -> fmt::Result {
    let mut kinds = kinds.iter().filter(|(_, count)| *count > 0).peekable();
    if kinds.peek().is_none() {
        return Ok(());
    }
    write!(f, "{what}:")?;
    for (place, (name, count)) in kinds.enumerate() {
        write!(f, "{} {} {}", if place == 0 { "" } else { "," }, count, name.replace('_', " "))?;
    }
    writeln!(f)
}

fn because(why: Why) -> &'static str {
    match why {
        Why::LogStart => "the log begins behind where they may be (retention, or deleted records)",
        Why::Compaction => "the topic is compacted",
        Why::CleanupUntold => {
            "the brokers do not tell whether the topic is compacted (DescribeConfigs on it is needed)"
        }
        Why::TopicRecreated => "the topic was deleted and made anew since",
        Why::NoChecksum => "the outcomes do not say what the records are",
    }
}
