//! What the records mean that are not where an outcome says.
//!
//! Where several outcomes are about the same content, nobody can tell the records apart, so they are counted: a find
//! explains first one that was told to be written without an offset or at another one, then one that is undecided, then
//! one that was told not to be written. What is left are duplicates.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::checker::{After, Checker, Late, Spot, Spots};
use super::ledger::{AtOffset, Entry, Kind, Place};
use super::verdicts::{Exception, Refutation, Whether};

/// What becomes of an entry by what was found elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Told to be written without an offset, and found.
    Located(Spot),
    Exception(Exception),
}

/// One whose only find is certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    entry: u32,
    spot: Spot,
}

/// Explains the finds of one content, whose entries begin here in `by_content`.
pub(super) fn explain(
    checker: &Checker,
    start: usize,
    Spots { kept, others }: Spots,
    facts: &mut HashMap<u32, Fact>,
    located: &mut Vec<Located>,
) {
    let group = &checker.by_content[checker.group_at(start)];
    let mut left = Left::new(kept);
    for use_as in [Use::Located, Use::Misplaced, Use::Undecided, Use::FalselyFailed] {
        for index in group {
            let entry = checker.entry(*index);
            if facts.contains_key(index) || !use_as.is_for(entry) {
                continue;
            }
            let own = (use_as == Use::Located).then(|| checker.ledger().place_of(entry).partition);
            if let Some(spot) = left.take(own, |spot| may_be_of(checker, entry, spot)) {
                facts.insert(*index, use_as.fact(entry, spot));
                if group.len() == 1 && left.is_empty() && others == 0 && use_as.is_right() {
                    located.push(Located { entry: *index, spot });
                }
            }
        }
    }
    if !left.is_empty() || others > 0 {
        let kept = left.0.into_values().flatten().collect();
        duplicated(checker, group, Spots { kept, others }, facts);
    }
}

/// Finds that nothing explains so far, by partition, in the order of offsets.
struct Left(BTreeMap<i32, VecDeque<Spot>>);

impl Left {
    fn new(spots: Vec<Spot>) -> Self {
        let mut left = Self(BTreeMap::new());
        for spot in spots {
            left.0.entry(spot.partition).or_default().push_back(spot);
        }
        left
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One that fits, in this partition or in any. What fits is what lies behind some offset, so the ends tell.
    fn take(&mut self, partition: Option<i32>, fits: impl Fn(&Spot) -> bool) -> Option<Spot> {
        let mut queues = self.0.iter_mut().filter(|(own, _)| partition.is_none_or(|wanted| wanted == **own));
        let (own, spot) = queues.find_map(|(own, queue)| match (queue.front(), queue.back()) {
            (Some(first), _) if fits(first) => Some((*own, queue.pop_front()?)),
            (_, Some(last)) if fits(last) => Some((*own, queue.pop_back()?)),
            _ => None,
        })?;
        if self.0.get(&own).is_some_and(VecDeque::is_empty) {
            self.0.remove(&own);
        }
        Some(spot)
    }
}

fn may_be_of(checker: &Checker, entry: &Entry, spot: &Spot) -> bool {
    let place = Place { partition: spot.partition, ..checker.ledger().place_of(entry) };
    checker.may_be_of(entry.source, place, spot.record.offset)
}

/// What a find is used for, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Located,
    Misplaced,
    Undecided,
    FalselyFailed,
}

impl Use {
    fn is_for(self, entry: &Entry) -> bool {
        match (self, entry.told.kind()) {
            (Self::Located, Kind::Written) => entry.offset < 0,
            (Self::Misplaced, Kind::Written) => {
                !matches!(entry.at_offset, AtOffset::Proved | AtOffset::Unchecked | AtOffset::Gone)
            }
            (Self::Undecided, Kind::Unknown) => true,
            (Self::FalselyFailed, kind) => matches!(kind, Kind::NotWritten | Kind::NoRecord),
            _ => false,
        }
    }

    /// Whether such a find is where it may be.
    fn is_right(self) -> bool {
        matches!(self, Self::Located | Self::Undecided)
    }

    fn fact(self, entry: &Entry, spot: Spot) -> Fact {
        let how = match self {
            Self::Located => return Fact::Located(spot),
            Self::Undecided => {
                let found = Some(spot);
                return Fact::Exception(Exception::Undecided { whether: Whether::InLog, found });
            }
            Self::Misplaced => Refutation::Misplaced,
            Self::FalselyFailed => Refutation::FalselyFailed,
        };
        Fact::Exception(refuted(how, entry, Spots { kept: vec![spot], others: 0 }))
    }
}

fn refuted(how: Refutation, entry: &Entry, found: Spots) -> Exception {
    Exception::Refuted { how, at_offset: entry.at_offset, found, after: None }
}

/// What is left belongs to the first that is in the log, or else to the first that should not be.
fn duplicated(checker: &Checker, group: &[u32], left: Spots, facts: &mut HashMap<u32, Fact>) {
    let rank = |index: &&u32| match checker.entry(**index).told.kind() {
        Kind::Written => 0,
        Kind::Unknown => 1,
        Kind::NotWritten | Kind::NoRecord => 2,
    };
    // They are sorted by run, and what may be of one of a run may be of all.
    let mut known: Option<(u16, bool)> = None;
    let may_be = |index: &&u32| {
        let entry = checker.entry(**index);
        let (_, may_be) = known.filter(|(source, _)| *source == entry.source).unwrap_or_else(|| {
            let may_be = left.kept.iter().all(|spot| may_be_of(checker, entry, spot));
            (entry.source, !checker.is_void(entry.source) && may_be)
        });
        known = Some((entry.source, may_be));
        may_be
    };
    let Some(index) = group.iter().filter(may_be).min_by_key(rank) else { return };
    let entry = checker.entry(*index);
    let (how, mut found) = match facts.remove(index) {
        None => (Refutation::Duplicated, Spots::default()),
        Some(Fact::Located(spot) | Fact::Exception(Exception::Undecided { found: Some(spot), .. })) => {
            (Refutation::Duplicated, Spots { kept: vec![spot], others: 0 })
        }
        Some(Fact::Exception(Exception::Refuted { how, found, .. })) => (how, found),
        Some(Fact::Exception(Exception::Undecided { found: None, .. })) => (Refutation::Duplicated, Spots::default()),
    };
    found.kept.extend(left.kept);
    found.others += left.others;
    facts.insert(*index, Fact::Exception(refuted(how, entry, found)));
}

/// Records without an offset of their own, among those of their run and partition.
pub(super) fn late_among_located(checker: &Checker, mut located: Vec<Located>) -> Vec<Late> {
    let mut late = Vec::new();
    for Located { entry: index, spot } in &located {
        let entry = checker.entry(*index);
        let this = After { number: entry.number, offset: spot.record.offset };
        let [before, behind] = checker.proved_beside(entry, *spot);
        if let Some((_, after)) = before.filter(|(_, before)| before.number > this.number) {
            late.push(Late { entry: *index, after });
        }
        if let Some((behind, _)) = behind.filter(|(_, behind)| behind.number < this.number) {
            late.push(Late { entry: behind, after: this });
        }
    }
    let order = |located: &Located| {
        let entry = checker.entry(located.entry);
        (entry.source, checker.ledger().place_of(entry).topic, located.spot.partition, located.spot.record.offset)
    };
    located.sort_unstable_by_key(order);
    for pair in located.windows(2) {
        let (first, second) = (checker.entry(pair[0].entry), checker.entry(pair[1].entry));
        let (begin, end) = (order(&pair[0]), order(&pair[1]));
        let is_one_partition = (begin.0, begin.1, begin.2) == (end.0, end.1, end.2);
        if is_one_partition && first.number > second.number {
            let after = After { number: first.number, offset: pair[0].spot.record.offset };
            late.push(Late { entry: pair[1].entry, after });
        }
    }
    late
}
