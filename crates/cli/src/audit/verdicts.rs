//! What follows for each outcome from what the log has at its offset, and from the records that are elsewhere.

use std::collections::HashMap;

use super::checker::{After, Checker, Cleaning, Late, Spot, Spots};
use super::explain::{Fact, explain, late_among_located};
use super::ledger::{AtOffset, Entry, Kind, Ledger, Place};

/// Everything that an audit has to say.
#[derive(Debug)]
pub struct Conclusion {
    pub ledger: Ledger,
    pub counts: Counts,
    /// What was refuted and what is undecided, in the order of the files.
    pub exceptions: Vec<(u32, Exception)>,
    /// The first outcome that nobody can prove, for each reason.
    pub unprovable: Vec<(u32, Why)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub written: u64,
    pub not_written: u64,
    pub unknown: u64,
    pub proved: u64,
    /// By [`Refutation`].
    pub refuted: [u64; 5],
    /// By [`Whether`].
    pub undecided: [u64; 3],
    /// By [`Why`].
    pub unprovable: [u64; 5],
    /// Records of the log that no outcome tells of.
    pub others: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    Refuted { how: Refutation, at_offset: AtOffset, found: Spots, after: Option<After> },
    Undecided { whether: Whether, found: Option<Spot> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refutation {
    /// Told to be written, and nowhere.
    Missing,
    /// In the log more than once.
    Duplicated,
    /// Told to be written, and in the log elsewhere, or another record is there.
    Misplaced,
    /// Told not to be written, and in the log.
    FalselyFailed,
    /// Behind one of its partition that was accepted after it.
    WrongOrder,
}

/// Whether an undecided record is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whether {
    InLog,
    NotInLog,
    /// What could tell is gone, or the outcome does not say what the record is.
    NotTold,
}

/// Why an outcome can be neither proved nor refuted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The log begins behind where it would be.
    LogStart,
    /// The topic is compacted.
    Compaction,
    /// The brokers do not tell whether the topic is compacted.
    CleanupUntold,
    TopicRecreated,
    /// The outcome does not say what the record is.
    NoChecksum,
}

impl Refutation {
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Missing, "missing"),
        (Self::Duplicated, "duplicated"),
        (Self::Misplaced, "misplaced"),
        (Self::FalselyFailed, "falsely_failed"),
        (Self::WrongOrder, "wrong_order"),
    ];
}

impl Whether {
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::InLog, "in_log"), (Self::NotInLog, "not_in_log"), (Self::NotTold, "not_told")];
}

impl Why {
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::LogStart, "log_start"),
        (Self::Compaction, "compaction"),
        (Self::CleanupUntold, "cleanup_policy_not_told"),
        (Self::TopicRecreated, "topic_recreated"),
        (Self::NoChecksum, "no_checksum"),
    ];
}

impl Counts {
    pub fn outcomes(&self) -> u64 {
        self.written + self.not_written + self.unknown
    }
}

/// What a single entry comes to, if nothing of it was found elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Proved,
    Refuted(Refutation),
    Undecided(Whether),
    Unprovable(Why),
}

pub(super) fn conclude(mut checker: Checker) -> Conclusion {
    let (mut facts, mut located) = (HashMap::new(), Vec::new());
    for (start, spots) in std::mem::take(&mut checker.spots) {
        explain(&checker, start as usize, spots, &mut facts, &mut located);
    }
    if checker.checks_order {
        let mut late = std::mem::take(&mut checker.late);
        late.extend(late_among_located(&checker, located));
        late.iter().for_each(|late| refute_order(&checker, *late, &mut facts));
    }
    count(checker, facts)
}

/// Of one that is refuted already nothing more is said.
fn refute_order(checker: &Checker, Late { entry, after }: Late, facts: &mut HashMap<u32, Fact>) {
    let found = match facts.get(&entry) {
        None => Spots::default(),
        Some(Fact::Located(spot) | Fact::Exception(Exception::Undecided { found: Some(spot), .. })) => {
            Spots { kept: vec![*spot], others: 0 }
        }
        Some(Fact::Exception(_)) => return,
    };
    let at_offset = checker.entry(entry).at_offset;
    let refuted = Exception::Refuted { how: Refutation::WrongOrder, at_offset, found, after: Some(after) };
    facts.insert(entry, Fact::Exception(refuted));
}

fn count(checker: Checker, mut facts: HashMap<u32, Fact>) -> Conclusion {
    let mut counts = Counts { others: checker.others, ..Counts::default() };
    let (mut exceptions, mut unprovable) = (Vec::new(), [None::<u32>; 5]);
    let order = |index: u32| (checker.entry(index).source, checker.entry(index).number);
    for (index, entry) in checker.ledger.entries.iter().enumerate() {
        let index = index as u32;
        match entry.told.kind() {
            Kind::Written => counts.written += 1,
            Kind::NotWritten | Kind::NoRecord => counts.not_written += 1,
            Kind::Unknown => counts.unknown += 1,
        }
        let exception = match facts.remove(&index) {
            Some(Fact::Exception(exception)) => exception,
            Some(Fact::Located(_)) => {
                counts.proved += 1;
                continue;
            }
            None => match judge(&checker, entry) {
                Verdict::Proved => {
                    counts.proved += 1;
                    continue;
                }
                Verdict::Unprovable(why) => {
                    counts.unprovable[why as usize] += 1;
                    let first = &mut unprovable[why as usize];
                    *first = first.filter(|first| order(*first) < order(index)).or(Some(index));
                    continue;
                }
                Verdict::Refuted(how) => {
                    let (at_offset, found) = (entry.at_offset, Spots::default());
                    Exception::Refuted { how, at_offset, found, after: None }
                }
                Verdict::Undecided(whether) => Exception::Undecided { whether, found: None },
            },
        };
        match &exception {
            Exception::Refuted { how, .. } => counts.refuted[*how as usize] += 1,
            Exception::Undecided { whether, .. } => counts.undecided[*whether as usize] += 1,
        }
        exceptions.push((index, exception));
    }
    exceptions.sort_unstable_by_key(|(index, _)| order(*index));
    let unprovable = Why::ALL.into_iter().zip(unprovable).filter_map(|((why, _), index)| Some((index?, why)));
    let unprovable = unprovable.collect();
    Conclusion { counts, exceptions, unprovable, ledger: checker.ledger }
}

fn judge(checker: &Checker, entry: &Entry) -> Verdict {
    let has_checksum = entry.checksum().is_some();
    let absence = || absence_unprovable(checker, entry);
    match entry.told.kind() {
        Kind::NoRecord => Verdict::Proved,
        Kind::Written => judge_written(checker, entry),
        Kind::NotWritten if !has_checksum => Verdict::Unprovable(Why::NoChecksum),
        Kind::NotWritten => absence().map_or(Verdict::Proved, Verdict::Unprovable),
        Kind::Unknown if !has_checksum || absence().is_some() => Verdict::Undecided(Whether::NotTold),
        Kind::Unknown => Verdict::Undecided(Whether::NotInLog),
    }
}

fn judge_written(checker: &Checker, entry: &Entry) -> Verdict {
    if checker.is_void(entry.source) {
        return Verdict::Unprovable(Why::TopicRecreated);
    }
    let missing = Verdict::Refuted(Refutation::Missing);
    match entry.at_offset {
        AtOffset::Proved => Verdict::Proved,
        AtOffset::Unchecked => Verdict::Unprovable(Why::NoChecksum),
        AtOffset::Gone => Verdict::Unprovable(Why::LogStart),
        AtOffset::Other => Verdict::Refuted(Refutation::Misplaced),
        AtOffset::Nothing => cleaned(checker, entry).map_or(missing, Verdict::Unprovable),
        // Of a partition that the topic does not have, too.
        AtOffset::Taken | AtOffset::PastEnd => missing,
        AtOffset::Open if entry.offset >= 0 => missing,
        AtOffset::Open if entry.checksum().is_none() => Verdict::Unprovable(Why::NoChecksum),
        AtOffset::Open => absence_unprovable(checker, entry).map_or(missing, Verdict::Unprovable),
    }
}

/// Why a record may be gone from the middle of the log.
fn cleaned(checker: &Checker, entry: &Entry) -> Option<Why> {
    match checker.facts[checker.ledger().place_of(entry).topic as usize].cleaning {
        Cleaning::Deletes => None,
        Cleaning::Compacts => Some(Why::Compaction),
        Cleaning::Untold => Some(Why::CleanupUntold),
    }
}

/// Why nobody can say of a record that it was never in the log.
fn absence_unprovable(checker: &Checker, entry: &Entry) -> Option<Why> {
    if checker.is_void(entry.source) {
        return Some(Why::TopicRecreated);
    }
    let Place { topic, partition } = checker.ledger().place_of(entry);
    // Of one that was told to be written the partition is known.
    let concerns = |place: Place| entry.told.kind() != Kind::Written || place.partition == partition;
    let mut starts = checker.facts[topic as usize].log_starts.iter().zip(0..);
    let has_gone = starts.any(|(start, partition)| {
        let place = Place { topic, partition };
        concerns(place) && *start > checker.ledger().first_offset(entry.source, place)
    });
    cleaned(checker, entry).or(has_gone.then_some(Why::LogStart))
}
