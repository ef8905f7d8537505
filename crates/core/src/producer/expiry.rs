//! Every batch that somebody may wait for, by the tick in which its next record is due.
//!
//! Always holds: a caller's release depends on nothing but the clock: not on lanes, connections, a front's lock or what
//! its batch waits for. Costs one entry per batch and one turn per tick in which records of it are due.
//!
//! Left out: what a release means for the batch's bytes; the owner of a dead batch is told to look.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::completion::{BatchCompletion, Posted, Release};
use crate::time::{Moment, Tick};

/// `S` says where the batch belongs.
#[derive(Debug)]
pub struct Expiry<S> {
    /// One entry per tick in which somebody is due: thousands of batches may be due in one.
    due: BTreeMap<Tick, Vec<Watched<S>>>,
    /// All together.
    due_count: usize,
    /// Nobody waits for their outcomes any more, but their fates are open.
    unsettled: Vec<Watched<S>>,
    /// See [`Self::take_ended`].
    ended: Vec<Watched<S>>,
    /// Where ended batches are looked for next: a tick, a place in it, a place among the unsettled ones.
    sweep: (Tick, usize, usize),
}

/// A batch, and where it belongs.
pub type Watched<S> = (S, Arc<BatchCompletion>);

/// Records of one batch that were released, with something left to do.
#[derive(Debug)]
pub struct Expired<S> {
    /// Where the batch belongs.
    pub place: S,
    /// Their batch.
    pub completion: Arc<BatchCompletion>,
    /// Those that were posted; their reports are due now.
    pub posted: Vec<Posted>,
    /// The batch still fills, and must not fill on with those who left: to be sealed, and then told by [`Self::sealed`].
    pub needs_seal: bool,
    /// Nothing of the batch is wanted, and nothing of it was sent.
    pub is_dead: bool,
}

impl<S> Expired<S> {
    /// The batch fills no more, and what could not be told before is told here.
    pub fn sealed(&mut self) {
        let release = self.completion.release_sealed();
        self.posted.extend(release.posted);
        self.is_dead = release.is_dead;
        self.needs_seal = false;
    }
}

impl<S: Clone> Expiry<S> {
    /// Watches nothing yet.
    pub fn new() -> Self {
        Self {
            due: BTreeMap::new(),
            due_count: 0,
            unsettled: Vec::new(),
            ended: Vec::new(),
            sweep: (Tick::FIRST, 0, 0),
        }
    }

    /// Watches a batch, or watches it from an earlier tick on; to be called whenever an append says so.
    pub fn register(&mut self, place: S, completion: Arc<BatchCompletion>) {
        if let Some(tick) = completion.watched() {
            self.insert(tick, (place, completion));
        }
        // A walk through all of them would be a pause, and somebody may be due meanwhile.
        for _ in 0..SWEEP_STEPS {
            let due = if self.due_count >= SWEEP_MIN { self.sweep_due() } else { None };
            let unsettled = if self.unsettled.len() >= SWEEP_MIN { self.sweep_unsettled() } else { None };
            self.ended.extend(due.into_iter().chain(unsettled));
        }
        if self.ended.len() >= ENDED_MAX {
            self.ended.clear();
        }
    }

    fn insert(&mut self, tick: Tick, watched: Watched<S>) {
        self.due.entry(tick).or_default().push(watched);
        self.due_count += 1;
    }

    /// Takes one out if it has ended; looks at another one next time.
    fn sweep_due(&mut self) -> Option<Watched<S>> {
        let (tick, place, _) = &mut self.sweep;
        if self.due.get(tick).is_none_or(|batches| *place >= batches.len()) {
            let later = self.due.range((Bound::Excluded(*tick), Bound::Unbounded)).next();
            (*tick, *place) = (*later.or_else(|| self.due.first_key_value())?.0, 0);
        }
        let batches = self.due.get_mut(tick)?;
        if batches[*place].1.end().is_none() {
            *place += 1;
            return None;
        }
        let ended = batches.swap_remove(*place);
        if batches.is_empty() {
            self.due.remove(tick);
        }
        self.due_count -= 1;
        Some(ended)
    }

    /// As [`Self::sweep_due`].
    fn sweep_unsettled(&mut self) -> Option<Watched<S>> {
        let place = &mut self.sweep.2;
        if *place >= self.unsettled.len() {
            *place = 0;
        }
        if self.unsettled.get(*place)?.1.end().is_none() {
            *place += 1;
            return None;
        }
        Some(self.unsettled.swap_remove(*place))
    }

    /// Batches that have ended and were let go since the last call. Where it matters what holds up the clock they are
    /// dropped elsewhere: their memory is that of other threads, whose allocators have locks. A few are kept otherwise.
    pub fn take_ended(&mut self) -> Vec<Watched<S>> {
        std::mem::take(&mut self.ended)
    }

    /// When [`Self::expire`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.due.first_key_value().map(|(tick, _)| tick.moment())
    }

    /// Releases who is due. Callers have left when this returns; what is given back is what their leaving leaves to do.
    pub fn expire(&mut self, now: Moment) -> Vec<Expired<S>> {
        let mut expired = Vec::new();
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().moment() <= now) {
            let (tick, batches) = entry.remove_entry();
            self.due_count -= batches.len();
            for watched in batches {
                if watched.1.end().is_some() {
                    self.ended.push(watched);
                // Of one that is watched from another tick on there is an entry for that one.
                } else if let Some(release) = watched.1.release_watched(tick, now) {
                    expired.extend(self.take_release(watched, release));
                }
            }
        }
        expired
    }

    fn take_release(&mut self, watched: Watched<S>, release: Release) -> Option<Expired<S>> {
        let Release { posted, next_due, needs_seal, is_dead } = release;
        let leaves_work = needs_seal || is_dead || !posted.is_empty();
        let expired = leaves_work.then(|| {
            let (place, completion) = watched.clone();
            Expired { place, completion, posted, needs_seal, is_dead }
        });
        match next_due {
            Some(tick) => self.insert(tick, watched),
            // One that fills has nobody left, or is registered again by who joins it.
            None if watched.1.end().is_none() && !needs_seal => self.unsettled.push(watched),
            None => {}
        }
        expired
    }

    /// Every batch that has not ended, those first whose callers have all left.
    pub fn live(&self) -> impl Iterator<Item = (&S, &Arc<BatchCompletion>)> {
        let all = self.unsettled.iter().chain(self.due.values().flatten());
        // One that was registered for an earlier tick has two entries.
        let mut seen = BTreeSet::new();
        let live = all.filter(move |(_, batch)| batch.end().is_none() && seen.insert(Arc::as_ptr(batch)));
        live.map(|(place, completion)| (place, completion))
    }
}

impl<S: Clone> Default for Expiry<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// Below this many entries a sweep is not worth its walk.
const SWEEP_MIN: usize = 1024;

/// Looks for ended batches with each new one. With two, no more than about as many are held that have ended as that have not.
const SWEEP_STEPS: u32 = 2;

/// So many ended ones wait at most for somebody who takes them; then they are dropped here.
const ENDED_MAX: usize = 16 * 1024;

#[cfg(all(test, not(milena_model)))]
mod tests;
