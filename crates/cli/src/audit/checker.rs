//! Compares what was told with the log, which it is given record by record, partition by partition, in the order of offsets.
//!
//! Always holds: a record of the log proves at most one outcome. One at the offset that an outcome names is compared with
//! it; every other one is looked up by its content, and kept if an outcome tells of that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::ledger::{AtOffset, Entry, Ledger, Place};
use super::verdicts::{Conclusion, conclude};
use crate::checksum::Checksum;

/// What is known of a topic beside its records.
#[derive(Clone, Debug, Default)]
pub struct TopicFacts {
    pub id: Option<String>,
    pub cleaning: Cleaning,
    /// The first offset of each partition that is left.
    pub log_starts: Vec<i64>,
}

/// What may remove records in the middle of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleaning {
    #[default]
    Deletes,
    Compacts,
    /// The brokers do not tell.
    Untold,
}

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    pub offset: i64,
    pub checksum: Checksum,
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// A record of the log that is not where an outcome says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub partition: i32,
    pub record: Logged,
}

/// Those of one content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spots {
    /// As many as can explain something, and a few more.
    pub kept: Vec<Spot>,
    pub others: u64,
}

/// A record that lies behind one that was accepted after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    pub entry: u32,
    pub after: After,
}

/// The one it lies behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    pub number: u64,
    pub offset: i64,
}

#[derive(Debug)]
pub struct Checker {
    pub(super) ledger: Ledger,
    /// By topic.
    pub(super) facts: Vec<TopicFacts>,
    /// Entries with a checksum, by content.
    pub(super) by_content: Vec<u32>,
    /// By the place of the first entry in `by_content`.
    pub(super) spots: BTreeMap<u32, Spots>,
    pub(super) late: Vec<Late>,
    /// Records of the log that no outcome tells of.
    pub(super) others: u64,
    pub(super) checks_order: bool,
    /// The entries of each place, in the order of offsets.
    ranges: HashMap<Place, Range<usize>>,
    partition: Cursor,
}

/// Where it is in a partition.
#[derive(Debug, Default)]
struct Cursor {
    place: Place,
    entries: Range<usize>,
    /// The last accepted one of each run that was proved so far.
    last: HashMap<u16, After>,
}

impl Default for Place {
    fn default() -> Self {
        Self { topic: 0, partition: -1 }
    }
}

impl Checker {
    /// `facts` by topic.
    pub fn new(mut ledger: Ledger, facts: Vec<TopicFacts>, checks_order: bool) -> Self {
        ledger.entries.sort_unstable_by_key(|entry| (entry.place, entry.offset, entry.source, entry.number));
        let mut ranges: HashMap<Place, Range<usize>> = HashMap::new();
        for (index, entry) in ledger.entries.iter().enumerate().filter(|(_, entry)| entry.offset >= 0) {
            ranges.entry(ledger.place_of(entry)).or_insert(index..index).end = index + 1;
        }
        let mut checker = Self {
            ledger,
            facts,
            by_content: Vec::new(),
            spots: BTreeMap::new(),
            late: Vec::new(),
            others: 0,
            checks_order,
            ranges,
            partition: Cursor::default(),
        };
        let known = (0..checker.ledger.entries.len() as u32).filter(|entry| checker.entry(*entry).checksum().is_some());
        let mut by_content: Vec<u32> = known.collect();
        by_content.sort_unstable_by_key(|entry| {
            let entry = checker.entry(*entry);
            (checker.content(entry), entry.source, entry.number)
        });
        checker.by_content = by_content;
        checker
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The first offset of a partition that may concern the outcomes.
    pub fn first_offset(&self, place: Place) -> i64 {
        let told = self.ranges.get(&place).map(|range| self.ledger.entries[range.start].offset);
        let is_concerned = |source: &u16| {
            let run = self.ledger.sources[usize::from(*source)].run.as_ref();
            run.is_none_or(|run| run.topic == place.topic)
        };
        let sources = (0..self.ledger.sources.len() as u16).filter(is_concerned);
        let runs = sources.map(|source| self.ledger.first_offset(source, place));
        runs.chain(told).min().unwrap_or(0)
    }

    /// The records that come are of this partition, whose log begins here.
    pub fn begin(&mut self, place: Place, log_start: i64) {
        let entries = self.ranges.get(&place).cloned().unwrap_or(0..0);
        self.partition = Cursor { place, entries, last: HashMap::new() };
        self.log_starts_at(log_start);
    }

    /// What lies before this offset is gone; what was read before still counts.
    pub fn log_starts_at(&mut self, offset: i64) {
        let Place { topic, partition } = self.partition.place;
        if let Some(start) = self.facts[topic as usize].log_starts.get_mut(partition as usize) {
            *start = offset;
        }
        self.pass(offset, AtOffset::Gone);
    }

    /// The next record of the partition.
    pub fn take(&mut self, record: Logged) {
        self.pass(record.offset, AtOffset::Nothing);
        let first = self.partition.entries.start;
        while self.next_before(record.offset + 1).is_some() {}
        let here = first..self.partition.entries.start;
        let proved = here.clone().find(|index| self.ledger.entries[*index].checksum() == Some(record.checksum));
        let mut is_told = proved.is_some();
        for index in here {
            let entry = &mut self.ledger.entries[index];
            entry.at_offset = match (proved, entry.checksum()) {
                (Some(proved), _) if proved == index => AtOffset::Proved,
                (Some(_), _) => AtOffset::Taken,
                (None, Some(_)) => AtOffset::Other,
                (None, None) if is_told => AtOffset::Taken,
                (None, None) => AtOffset::Unchecked,
            };
            is_told |= entry.at_offset == AtOffset::Unchecked;
        }
        match proved {
            Some(index) => self.look_at_order(index, record.offset),
            None if is_told => {}
            None => self.look_up(record),
        }
    }

    /// The partition has no more before this offset, its end.
    pub fn end(&mut self, log_end: i64) {
        self.pass(log_end, AtOffset::Nothing);
        self.pass(i64::MAX, AtOffset::PastEnd);
    }

    /// All partitions were read.
    pub fn conclude(self) -> Conclusion {
        conclude(self)
    }

    fn pass(&mut self, offset: i64, had: AtOffset) {
        while let Some(index) = self.next_before(offset) {
            self.ledger.entries[index].at_offset = had;
        }
    }

    /// The next entry of the partition, if its offset lies before this one.
    fn next_before(&mut self, offset: i64) -> Option<usize> {
        let index = self.partition.entries.start;
        let is_next = index < self.partition.entries.end && self.ledger.entries[index].offset < offset;
        is_next.then(|| {
            self.partition.entries.start += 1;
            index
        })
    }

    fn look_at_order(&mut self, index: usize, offset: i64) {
        let entry = &self.ledger.entries[index];
        let this = After { number: entry.number, offset };
        let last = self.partition.last.entry(entry.source).or_insert(this);
        if last.number > this.number {
            self.late.push(Late { entry: index as u32, after: *last });
        } else {
            *last = this;
        }
    }

    fn look_up(&mut self, record: Logged) {
        let Place { topic, partition } = self.partition.place;
        let content = (record.checksum, topic);
        let start = self.by_content.partition_point(|entry| self.content(self.entry(*entry)) < content);
        let group = self.group_at(start);
        let of_content = self.by_content.get(start).is_some_and(|first| self.content(self.entry(*first)) == content);
        let is_of_a_run = of_content
            && self.sources_of(group.clone()).any(|source| self.may_be_of(source, self.partition.place, record.offset));
        if !is_of_a_run {
            self.others += 1;
            return;
        }
        let spots = self.spots.entry(start as u32).or_default();
        match spots.kept.len() < group.len() + MORE_SPOTS {
            true => spots.kept.push(Spot { partition, record }),
            false => spots.others += 1,
        }
    }

    /// Whether a record here may have been written by the run.
    pub(super) fn may_be_of(&self, source: u16, place: Place, offset: i64) -> bool {
        !self.is_void(source) && self.ledger.first_offset(source, place) <= offset
    }

    /// Whether the run's offsets mean nothing any more, because its topic is another one now.
    pub(super) fn is_void(&self, source: u16) -> bool {
        let run = self.ledger.sources[usize::from(source)].run.as_ref();
        run.is_some_and(|run| run.topic_id.is_some() && run.topic_id != self.facts[run.topic as usize].id)
    }

    pub(super) fn entry(&self, index: u32) -> &Entry {
        &self.ledger.entries[index as usize]
    }

    /// Equal for records that nobody can tell apart.
    fn content(&self, entry: &Entry) -> (Checksum, u32) {
        (entry.checksum().unwrap_or(Checksum(0)), self.ledger.place_of(entry).topic)
    }

    /// Those in `by_content` that are alike, from their first.
    pub(super) fn group_at(&self, start: usize) -> Range<usize> {
        let Some(first) = self.by_content.get(start) else { return start..start };
        let content = self.content(self.entry(*first));
        let alike = self.by_content[start..].partition_point(|entry| self.content(self.entry(*entry)) <= content);
        start..start + alike
    }

    /// The runs that tell of something in a part of `by_content` that is alike, each once, however much it tells.
    fn sources_of(&self, Range { mut start, end }: Range<usize>) -> impl Iterator<Item = u16> + '_ {
        std::iter::from_fn(move || {
            let group = &self.by_content[start..end];
            let source = self.entry(*group.first()?).source;
            start += group.partition_point(|entry| self.entry(*entry).source <= source);
            Some(source)
        })
    }

    /// The nearest proved ones of the same run before and behind a record of it.
    pub(super) fn proved_beside(&self, entry: &Entry, spot: Spot) -> [Option<(u32, After)>; 2] {
        let place = Place { partition: spot.partition, ..self.ledger.place_of(entry) };
        let range = self.ranges.get(&place).cloned().unwrap_or(0..0);
        let entries = &self.ledger.entries[range.clone()];
        let middle = entries.partition_point(|other| other.offset < spot.record.offset);
        let is_proved = |at: &usize| entries[*at].source == entry.source && entries[*at].at_offset == AtOffset::Proved;
        let told = |at: usize| {
            let Entry { number, offset, .. } = entries[at];
            ((range.start + at) as u32, After { number, offset })
        };
        let before = (0..middle).rev().find(is_proved).map(told);
        [before, (middle..entries.len()).find(is_proved).map(told)]
    }
}

/// Of a content that is there more often than it was told.
const MORE_SPOTS: usize = 8;
