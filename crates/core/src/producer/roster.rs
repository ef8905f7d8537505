//! The records of one batch: when each is due, which have left, which must be reported. Plain data inside the
//! completion's lock.
//!
//! Records with the configured deadline are due in runs, one per tick in which they arrived, and leave as a prefix: one
//! number for all of them. Only a record that stands apart (a deadline of its own, a cancellation) costs an entry.
//!
//! Left out: locks, wakers, and what those who leave are told; see `completion.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::completion::{Dropped, Posted};
use super::outcome::Cause;
use crate::time::{Moment, Tick};

#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Known once the batch is sealed.
    count: Option<u32>,
    /// One entry per tick in which records with the configured deadline arrived, ascending.
    runs: VecDeque<DeadlineRun>,
    /// Records with a deadline of their own, by it.
    own: BTreeSet<(Tick, u32)>,
    /// Records that do not leave with the prefix.
    apart: BTreeMap<u32, Standing>,
    /// All below have left, but for those who stand apart.
    below: u32,
    /// The last run has left while the batch fills: `below` is only known when the next one starts, or at the seal.
    is_open_ended: bool,
    /// How many have left, of those whose number is known.
    left: u32,
    /// Why those below this index have left first; those who follow left for another cause.
    first_cause: Option<(u32, Cause)>,
    /// Why those below these indexes have left, ascending. A new entry only where the cause has changed, and a first one only
    /// then: who leaves shall not wait for memory.
    causes: Vec<(u32, Cause)>,
    /// Why those have left who stand apart.
    own_causes: BTreeMap<u32, Cause>,
    /// Set when the batch is sealed; those who have left are taken out.
    posted: Vec<Posted>,
    /// Have left by a deadline of their own and are to be reported, if they were posted.
    owed: BTreeSet<u32>,
    /// The tick for which the clock was told to watch the batch.
    watched: Option<Tick>,
}

#[derive(Clone, Copy, Debug)]
struct DeadlineRun {
    first_index: u32,
    due: Tick,
}

/// A record that does not leave with the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// For its own deadline.
    Waits,
    /// Its own deadline ended before the claim.
    Expired,
    /// Withdrawn by its caller before the claim.
    Cancelled,
    /// Left after the claim.
    Unknown,
    /// Its part of the batch ended before its own deadline.
    Ended,
}

/// Those who left in one call.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// All below, but for those who stand apart; none if the prefix did not grow. The largest number while the batch
    /// fills and nobody waits for a later run.
    pub(super) below: Option<u32>,
    /// By a deadline of their own.
    pub(super) own: Vec<u32>,
}

impl Leaving {
    pub(super) fn is_nobody(&self) -> bool {
        self.below.is_none() && self.own.is_empty()
    }
}

impl Roster {
    pub(super) fn count(&self) -> Option<u32> {
        self.count
    }

    /// When the next record is due.
    pub(super) fn next_due(&self) -> Option<Tick> {
        let run = self.runs.front().map(|run| run.due);
        run.into_iter().chain(self.own.first().map(|(due, _)| *due)).min()
    }

    /// The tick for which the clock was told to watch the batch.
    pub(super) fn watched(&self) -> Option<Tick> {
        self.watched
    }

    /// From `first_index` on, records are due at `due`, later than all runs before. Says whether the clock must be told.
    pub(super) fn start_run(&mut self, first_index: u32, due: Tick) -> bool {
        self.close_prefix(first_index);
        self.runs.push_back(DeadlineRun { first_index, due });
        self.watch(due)
    }

    /// This record has a deadline of its own. Says whether the clock must be told.
    pub(super) fn add_own(&mut self, index: u32, due: Tick) -> bool {
        self.apart.insert(index, Standing::Waits);
        self.own.insert((due, index));
        self.watch(due)
    }

    fn watch(&mut self, due: Tick) -> bool {
        let is_earlier = self.watched.is_none_or(|watched| due < watched);
        if is_earlier {
            self.watched = Some(due);
        }
        is_earlier
    }

    /// Where the prefix ends, if it was open; what `below` is now.
    fn close_prefix(&mut self, end: u32) {
        if std::mem::take(&mut self.is_open_ended) {
            self.grow_prefix(end);
        }
    }

    fn grow_prefix(&mut self, below: u32) {
        let apart = self.apart.range(self.below..below).count() as u32;
        self.left += below - self.below - apart;
        self.below = below;
        if let Some((last, _)) = self.last_cause().filter(|(last, _)| *last == u32::MAX) {
            *last = below;
        }
    }

    fn last_cause(&mut self) -> Option<&mut (u32, Cause)> {
        self.causes.last_mut().or(self.first_cause.as_mut())
    }

    /// No more records come. Gives where the prefix of those who left ends.
    pub(super) fn seal(&mut self, count: u32, posted: Vec<Posted>) -> u32 {
        self.count = Some(count);
        self.posted = posted;
        self.close_prefix(count);
        self.below
    }

    pub(super) fn below(&self) -> u32 {
        if self.is_open_ended { u32::MAX } else { self.below }
    }

    /// Those whose deadlines are due leave, for this cause.
    pub(super) fn leave_due(&mut self, now: Moment, is_claimed: bool, cause: Cause) -> Leaving {
        let leaving = Leaving { below: self.leave_runs(now, cause), own: self.leave_own(now, is_claimed, cause) };
        self.watched = self.next_due();
        leaving
    }

    fn leave_runs(&mut self, now: Moment, cause: Cause) -> Option<u32> {
        let due = self.runs.iter().take_while(|run| run.due.moment() <= now).count();
        if due == 0 {
            return None;
        }
        self.runs.drain(..due);
        let below = self.runs.front().map(|run| run.first_index).or(self.count);
        let end = below.unwrap_or(u32::MAX);
        match self.last_cause() {
            Some((last, known)) if *known == cause => *last = end,
            Some(_) => self.causes.push((end, cause)),
            None => self.first_cause = Some((end, cause)),
        }
        match below {
            Some(below) => self.grow_prefix(below),
            None => self.is_open_ended = true,
        }
        Some(self.below())
    }

    fn leave_own(&mut self, now: Moment, is_claimed: bool, cause: Cause) -> Vec<u32> {
        let mut left = Vec::new();
        while let Some((_, index)) = self.own.first().copied().filter(|(due, _)| due.moment() <= now) {
            self.own.pop_first();
            // It may have been cancelled meanwhile.
            if self.apart.get(&index) == Some(&Standing::Waits) {
                let standing = if is_claimed { Standing::Unknown } else { Standing::Expired };
                self.set_apart(index, standing, cause);
                self.owed.insert(index);
                left.push(index);
            }
        }
        left
    }

    /// A record leaves by itself, and was not gone before.
    pub(super) fn set_apart(&mut self, index: u32, standing: Standing, cause: Cause) {
        self.left += 1;
        self.apart.insert(index, standing);
        self.own_causes.insert(index, cause);
    }

    pub(super) fn standing(&self, index: u32) -> Option<Standing> {
        self.apart.get(&index).copied()
    }

    /// Why a record has left, if it has.
    pub(super) fn cause_of(&self, index: u32) -> Option<Cause> {
        if self.apart.contains_key(&index) {
            return self.own_causes.get(&index).copied();
        }
        let place = self.causes.partition_point(|(below, _)| *below <= index);
        let first = self.first_cause.filter(|(below, _)| index < *below);
        first.or_else(|| self.causes.get(place).copied()).map(|(_, cause)| cause)
    }

    /// These have ended before the batch: their own deadlines mean nothing any more.
    pub(super) fn end(&mut self, records: Range<u32>) {
        let waiting = self.apart.range_mut(records).filter(|(_, standing)| **standing == Standing::Waits);
        waiting.for_each(|(_, standing)| *standing = Standing::Ended);
    }

    /// Whether nobody waits any more and nobody can come.
    pub(super) fn is_empty(&self) -> bool {
        self.count.is_some_and(|count| self.left >= count)
    }

    /// Who has left, as a claim sees it.
    pub(super) fn dropped(&self) -> Dropped {
        let mut waiting = self.apart.range(..self.below).filter(|(_, standing)| **standing == Standing::Waits);
        let below = waiting.next().map_or(self.below, |(index, _)| *index);
        let is_gone = |index: &u32| match self.apart.get(index) {
            None => *index < self.below,
            Some(standing) => !matches!(standing, Standing::Waits | Standing::Ended),
        };
        let apart = self.apart.range(self.below..).map(|(index, _)| *index);
        Dropped::new(below, (below..self.below).chain(apart).filter(is_gone).collect())
    }

    /// Posted records that have left and were not reported; nobody before the seal.
    pub(super) fn take_left_posted(&mut self) -> Vec<Posted> {
        if self.count.is_none() {
            return Vec::new();
        }
        let owed = std::mem::take(&mut self.owed);
        let prefix = self.posted.partition_point(|posted| posted.index < self.below);
        let looked_at = if owed.is_empty() { prefix } else { self.posted.len() };
        let (mut left, mut kept) = (Vec::new(), Vec::new());
        for posted in self.posted.drain(..looked_at) {
            let waits = self.apart.get(&posted.index) == Some(&Standing::Waits);
            let is_gone = (posted.index < self.below && !waits) || owed.contains(&posted.index);
            if is_gone { left.push(posted) } else { kept.push(posted) }
        }
        self.posted.splice(..0, kept);
        left
    }

    /// Every posted record that was not reported: the batch has ended.
    pub(super) fn take_posted(&mut self) -> Vec<Posted> {
        std::mem::take(&mut self.posted)
    }

    /// Those of them that are meant.
    pub(super) fn take_posted_of(&mut self, is_meant: impl Fn(u32) -> bool) -> Vec<Posted> {
        let (meant, rest) = std::mem::take(&mut self.posted).into_iter().partition(|posted| is_meant(posted.index));
        self.posted = rest;
        meant
    }
}
