//! Every batch that somebody may wait for, by the tick in which its next record is due.
//!
//! Always holds: a caller's release depends on nothing but the clock: not on lanes, connections, a front's lock or what
//! its batch waits for. Costs one entry per batch and one turn per tick in which records of it are due.
//!
//! Left out: what a release means for the batch's bytes; the owner of a dead batch is told to look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::completion::{BatchCompletion, Posted};
use crate::time::{Moment, Tick};

/// `S` says where the batch belongs.
#[derive(Debug)]
pub struct Expiry<S> {
    due: BTreeMap<(Tick, u64), (S, Arc<BatchCompletion>)>,
    next_number: u64,
    /// Nobody waits for their outcomes any more, but their fates are open.
    unsettled: Vec<(S, Arc<BatchCompletion>)>,
    /// Ended batches are swept out when this many entries are held.
    sweep_at: usize,
}

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
        Self { due: BTreeMap::new(), next_number: 0, unsettled: Vec::new(), sweep_at: SWEEP_MIN }
    }

    /// Watches a batch, or watches it from an earlier tick on; to be called whenever an append says so.
    pub fn register(&mut self, place: S, completion: Arc<BatchCompletion>) {
        if let Some(tick) = completion.watched() {
            self.insert(tick, place, completion);
        }
        if self.due.len() + self.unsettled.len() >= self.sweep_at {
            self.due.retain(|_, (_, completion)| completion.end().is_none());
            self.unsettled.retain(|(_, completion)| completion.end().is_none());
            self.sweep_at = (2 * (self.due.len() + self.unsettled.len())).max(SWEEP_MIN);
        }
    }

    fn insert(&mut self, tick: Tick, place: S, completion: Arc<BatchCompletion>) {
        self.due.insert((tick, self.next_number), (place, completion));
        self.next_number += 1;
    }

    /// When [`Self::expire`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.due.first_key_value().map(|((tick, _), _)| tick.moment())
    }

    /// Releases who is due. Callers have left when this returns; what is given back is what their leaving leaves to do.
    pub fn expire(&mut self, now: Moment) -> Vec<Expired<S>> {
        let mut expired = Vec::new();
        while let Some(entry) = self.due.first_entry() {
            let tick = entry.key().0;
            if tick.moment() > now {
                break;
            }
            let (place, completion) = entry.remove();
            // It is watched from another tick on, and has an entry for that one.
            if completion.watched() != Some(tick) {
                continue;
            }
            let release = completion.release_due(now);
            match release.next_due {
                Some(tick) => self.insert(tick, place.clone(), Arc::clone(&completion)),
                // One that fills has nobody left, or is registered again by who joins it.
                None if completion.end().is_none() && !release.needs_seal => {
                    self.unsettled.push((place.clone(), Arc::clone(&completion)));
                }
                None => {}
            }
            if release.needs_seal || release.is_dead || !release.posted.is_empty() {
                let (posted, needs_seal, is_dead) = (release.posted, release.needs_seal, release.is_dead);
                expired.push(Expired { place, completion, posted, needs_seal, is_dead });
            }
        }
        expired
    }

    /// Every batch that has not ended, those first whose callers have all left.
    pub fn live(&self) -> impl Iterator<Item = (&S, &Arc<BatchCompletion>)> {
        let all = self.unsettled.iter().chain(self.due.values());
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

#[cfg(all(test, not(milena_model)))]
mod tests;
