//! The comparison of what was told with what the log says, and of when it was told with when it was due.
//!
//! Always holds: every record that was offered and every record in the log is looked at; what contradicts a promise is
//! a finding in words, with the record's number. A pure function of its inputs, tested with lies of every kind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_harness::DumpedRecord;

use crate::content::{Content, Id};
use crate::ledger::{Entry, Reason, Word};
use crate::punctual::GRACE;
use crate::rows::Row;

/// The result.
#[derive(Debug, Default)]
pub struct Audit {
    /// What must not be; none, if all is well.
    pub findings: Vec<String>,
    pub counts: Counts,
    /// How long after its deadline each record that was released then had its outcome, in ascending order.
    pub lateness: Vec<Duration>,
    /// The longest time in which threads were kept from running, all together, while one of those was late.
    pub stall_max: Duration,
    /// From the call to `Written`, by topic, in ascending order.
    pub latencies: Vec<Vec<Duration>>,
}

/// How many records were compared, by what was told of them.
#[derive(Debug, Default)]
pub struct Counts {
    pub offered: usize,
    pub refused: BTreeMap<String, usize>,
    pub written: usize,
    pub not_written: BTreeMap<String, usize>,
    pub unknown: usize,
    pub cancelled: usize,
    pub fate_written: usize,
    pub fate_not_written: BTreeMap<String, usize>,
    pub undetermined: BTreeMap<String, usize>,
    /// Undetermined ones that the log has.
    pub undetermined_found: usize,
    /// In the log.
    pub found: usize,
    /// Pairs of neighbours in a partition whose order was looked at.
    pub ordered: usize,
    /// Partitions that hold records.
    pub partitions: usize,
}

impl Counts {
    /// Records whose place, presence or absence in the log was checked.
    pub fn compared(&self) -> usize {
        let absent = |reasons: &BTreeMap<String, usize>| reasons.values().sum::<usize>();
        self.written
            + self.fate_written
            + absent(&self.not_written)
            + absent(&self.fate_not_written)
            + absent(&self.refused)
    }
}

/// Why a stretch of time took as long as it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stall {
    /// Kept from running, or busy with listening; excuses a late word.
    pub excused: Duration,
    /// Ran, all threads together; excuses nothing, but tells where to look.
    pub ran: Duration,
}

/// Compares. `logs` has the topics in the order in which entries number them; `stall` tells how long the process did not
/// run in a stretch of time.
pub fn audit(
    entries: &BTreeMap<Id, Entry>,
    logs: &[Vec<DumpedRecord>],
    stall: impl Fn(Instant, Instant) -> Stall,
) -> Audit {
    let mut audit = Audit { latencies: vec![Vec::new(); logs.len()], ..Audit::default() };
    let places = audit.find_all(entries, logs);
    for entry in entries.values() {
        audit.check_word(entry, places.get(&entry.offer.id).map_or(&[], Vec::as_slice));
        audit.check_time(entry, &stall);
    }
    for log in logs {
        audit.check_order(entries, log);
    }
    audit.lateness.sort_unstable();
    audit.latencies.iter_mut().for_each(|latencies| latencies.sort_unstable());
    audit
}

/// A record in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    topic: usize,
    partition: i32,
    offset: i64,
}

impl Audit {
    /// What was not compared at all, although it was there to be: records in so many partitions, and, where deadlines certainly
    /// ended before their records did, those.
    pub fn emptiness(&self, partitions: usize, releases: bool) -> Option<String> {
        let counts = &self.counts;
        let nothing = counts.written == 0 || counts.ordered == 0 || counts.partitions < partitions;
        let no_release = releases && self.lateness.is_empty();
        (nothing || no_release).then(|| format!("too little was compared: {counts:?}, {} late", self.lateness.len()))
    }

    /// The topics that their neighbours held up.
    pub fn held_up(&self, row: &Row) -> Vec<String> {
        let slowest = self.latencies.iter().map(|latencies| latencies.last().copied().unwrap_or_default());
        let held_up = (1..)
            .zip(row.topics)
            .zip(slowest)
            .filter(|((_, layout), slowest)| layout.is_neighbour && *slowest > NEIGHBOURS_MAX);
        held_up.map(|((topic, _), slowest)| format!("topic {topic} was held up for {slowest:?}")).collect()
    }

    /// Where each number is. Everything in the log must have been offered and hold what was offered.
    fn find_all(&mut self, entries: &BTreeMap<Id, Entry>, logs: &[Vec<DumpedRecord>]) -> BTreeMap<Id, Vec<Place>> {
        let mut places: BTreeMap<Id, Vec<Place>> = BTreeMap::new();
        for (topic, log) in logs.iter().enumerate() {
            for record in log {
                let place = Place { topic, partition: record.partition, offset: record.offset };
                let Some(id) = id_of(record).filter(|id| entries.contains_key(id)) else {
                    self.findings.push(format!("{place:?} holds a record that was never offered"));
                    continue;
                };
                let content = Content::of(id);
                if (&content.key, Some(&content.value)) != (&record.key, record.value.as_ref()) {
                    self.findings.push(format!("record {id:x}: {place:?} holds other bytes"));
                }
                self.counts.found += 1;
                places.entry(id).or_default().push(place);
            }
        }
        let partitions: std::collections::BTreeSet<(usize, i32)> =
            places.values().flatten().map(|place| (place.topic, place.partition)).collect();
        self.counts.partitions = partitions.len();
        places
    }

    /// Exactly one outcome, a fate where it is unknown, and both true.
    fn check_word(&mut self, entry: &Entry, places: &[Place]) {
        let offer = &entry.offer;
        self.counts.offered += 1;
        self.counts.cancelled += usize::from(entry.was_cancelled);
        if places.iter().any(|place| place.topic != offer.topic) {
            self.find(entry, &format!("in another topic's log: {places:?}"));
        }
        if places.len() > 1 {
            self.find(entry, &format!("in the log {} times: {places:?}", places.len()));
        }
        if let Some(reason) = &offer.refused {
            count(&mut self.counts.refused, reason);
            if !entry.outcomes.is_empty() || !places.is_empty() {
                self.find(entry, &format!("refused with {reason}, yet told {:?}, found {places:?}", entry.outcomes));
            }
            return;
        }
        match entry.outcomes.as_slice() {
            [] => self.find(entry, "no outcome"),
            [_] => {}
            many => self.find(entry, &format!("{} outcomes: {many:?}", many.len())),
        }
        match entry.outcomes.first().map(|(word, _)| word) {
            None => {}
            Some(Word::Written { partition, offset }) => {
                self.counts.written += 1;
                self.check_place(entry, *partition, *offset, places);
            }
            Some(Word::NotWritten(reason)) => {
                count(&mut self.counts.not_written, &reason.name);
                self.check_absence(entry, reason, places);
            }
            Some(Word::Undetermined(reason)) => self.find(entry, &format!("undetermined as outcome: {}", reason.whole)),
            Some(Word::Unknown) => {
                self.counts.unknown += 1;
                self.check_fate(entry, places);
            }
        }
    }

    fn check_fate(&mut self, entry: &Entry, places: &[Place]) {
        match &entry.fate {
            None => self.find(entry, "unknown, and its fate was never settled"),
            Some(Word::Written { partition, offset }) => {
                self.counts.fate_written += 1;
                self.check_place(entry, *partition, *offset, places);
            }
            Some(Word::NotWritten(reason)) => {
                count(&mut self.counts.fate_not_written, &reason.name);
                self.check_absence(entry, reason, places);
            }
            Some(Word::Undetermined(reason)) => {
                count(&mut self.counts.undetermined, &reason.name);
                if reason.attempts == 0 {
                    self.find(entry, "in doubt without an attempt");
                }
                self.counts.undetermined_found += places.len().min(1);
            }
            Some(Word::Unknown) => self.find(entry, "unknown as fate"),
        }
    }

    /// Written: once, there. An offset that was not told may be any.
    fn check_place(&mut self, entry: &Entry, partition: i32, offset: Option<i64>, places: &[Place]) {
        let is_there = places
            .iter()
            .any(|place| place.partition == partition && offset.is_none_or(|offset| place.offset == offset));
        if !is_there {
            self.find(entry, &format!("told written to {partition} at {offset:?}, found {places:?}"));
        }
    }

    fn check_absence(&mut self, entry: &Entry, reason: &Reason, places: &[Place]) {
        if !places.is_empty() {
            self.find(entry, &format!("told {}, found {places:?}", reason.whole));
        }
    }

    /// On time is: at the deadline, 10 ms, and the time in which the process did not run, be it then or while the call
    /// was entered, and what no count shows of that. And nobody is withdrawn before the deadline.
    fn check_time(&mut self, entry: &Entry, stall: impl Fn(Instant, Instant) -> Stall) {
        let offer = &entry.offer;
        let (told, word) = match (&offer.refused, entry.outcomes.first()) {
            (Some(_), _) => (offer.returned, None),
            (None, Some((word, at))) => (*at, Some(word)),
            (None, None) => return,
        };
        let is_withdrawn = matches!(word, Some(Word::NotWritten(reason)) if reason.name == "DeadlinePassed");
        if is_withdrawn && told < entry.due() {
            self.find(entry, &format!("withdrawn {:?} before its deadline", entry.due() - told));
        }
        if let Some(Word::Written { .. }) = word {
            self.latencies[offer.topic].push(told - offer.began);
        }
        let late = told.saturating_duration_since(entry.due());
        let is_release = is_withdrawn || (word == Some(&Word::Unknown) && told >= entry.due());
        if is_release && !entry.was_cancelled {
            self.lateness.push(late);
        }
        if late <= GRACE {
            return;
        }
        let entered = offer.returned.min(offer.began + GRACE);
        let Stall { excused, ran } = stall(entry.due(), told);
        let excuse = excused + stall(offer.began, entered).excused;
        self.stall_max = self.stall_max.max(excuse);
        if late > GRACE + excuse + UNSEEN {
            self.find(entry, &format!("told {late:?} after its deadline, {excuse:?} excused, {ran:?} run"));
        }
    }

    /// Of two records that are known to be written, the one whose call had returned before the other's began comes
    /// first.
    fn check_order(&mut self, entries: &BTreeMap<Id, Entry>, log: &[DumpedRecord]) {
        // By partition, the call that began last so far.
        let mut latest: BTreeMap<i32, &Entry> = BTreeMap::new();
        for record in log {
            let Some(entry) = id_of(record).and_then(|id| entries.get(&id)) else { continue };
            if !matches!(entry.last_word(), Some(Word::Written { .. })) {
                continue;
            }
            let Some(before) = latest.get_mut(&record.partition) else {
                latest.insert(record.partition, entry);
                continue;
            };
            self.counts.ordered += 1;
            if before.offer.began > entry.offer.returned {
                let early = before.offer.id;
                self.find(entry, &format!("accepted before record {early:x}, and behind it in {}", record.partition));
            }
            if entry.offer.began > before.offer.began {
                *before = entry;
            }
        }
    }

    fn find(&mut self, entry: &Entry, what: &str) {
        let offer = &entry.offer;
        let fate = &entry.fate;
        let outcomes: Vec<&Word> = entry.outcomes.iter().map(|(word, _)| word).collect();
        self.findings.push(format!(
            "record {:x} ({:?}, deadline {:?}, told {outcomes:?}, fate {fate:?}): {what}",
            offer.id, offer.call, offer.deadline
        ));
    }
}

fn id_of(record: &DumpedRecord) -> Option<Id> {
    Content::id(record.value.as_deref()?)
}

fn count(reasons: &mut BTreeMap<String, usize>, reason: &str) {
    *reasons.entry(reason.to_owned()).or_default() += 1;
}

/// Three brokers, and whoever else has the machine below them, take processors from threads that count as running. What is
/// lazy by less is seen where nothing else runs, by the tests of the client and by the benchmark of lateness.
const UNSEEN: Duration = Duration::from_millis(250);

/// The 2 s that a broker may wait for followers, and what a busy machine needs.
const NEIGHBOURS_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
