//! Who waits for a batch: wakers by record, found again by a key that sits in the waiting future.
//!
//! A key is given once and never again, so it never names somebody else's waker. Those who are woken are taken out:
//! work proportional to their number. Awaiting records in order uses the one inline place and allocates nothing.

use std::collections::BTreeMap;
use std::task::Waker;

/// Names a waker of a record; kept by the future that registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterKey(u32);

impl WaiterKey {
    /// Nothing registered.
    pub(super) const NONE: Self = Self(0);
}

#[derive(Debug)]
struct Waiter {
    index: u32,
    key: WaiterKey,
    waker: Waker,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    inline: Option<Waiter>,
    others: BTreeMap<(u32, WaiterKey), Waker>,
    keys_given: u32,
    /// Those who wait until every record of the batch has its outcome.
    whole: Vec<Waker>,
}

impl Waiters {
    /// Registers or renews; gives the key to keep, and the waker that was renewed, to be dropped outside the lock.
    pub(super) fn register(&mut self, key: WaiterKey, index: u32, waker: &Waker) -> (WaiterKey, Option<Waker>) {
        if let Some(held) = self.held(key, index) {
            let renewed = (!held.will_wake(waker)).then(|| std::mem::replace(held, waker.clone()));
            return (key, renewed);
        }
        // A waker that was taken leaves its key behind, which is good for the next one.
        let key = if key == WaiterKey::NONE { self.next_key() } else { key };
        let waker = waker.clone();
        if self.inline.is_none() {
            self.inline = Some(Waiter { index, key, waker });
        } else {
            self.others.insert((index, key), waker);
        }
        (key, None)
    }

    fn next_key(&mut self) -> WaiterKey {
        self.keys_given = self.keys_given.checked_add(1).expect("fewer futures wait for a batch than there are keys");
        WaiterKey(self.keys_given)
    }

    fn held(&mut self, key: WaiterKey, index: u32) -> Option<&mut Waker> {
        match &mut self.inline {
            Some(inline) if inline.key == key => Some(&mut inline.waker),
            _ => self.others.get_mut(&(index, key)),
        }
    }

    /// Gives the waker, to be dropped outside the lock: the last waker of a task may take its future along, and with it
    /// another handle of the same batch.
    pub(super) fn remove(&mut self, key: WaiterKey, index: u32) -> Option<Waker> {
        match self.inline.take_if(|inline| inline.key == key) {
            Some(inline) => Some(inline.waker),
            None => self.others.remove(&(index, key)),
        }
    }

    pub(super) fn register_whole(&mut self, waker: &Waker) {
        if !self.whole.iter().any(|known| known.will_wake(waker)) {
            self.whole.push(waker.clone());
        }
    }

    /// Those who wait for the whole batch.
    pub(super) fn take_whole(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.whole)
    }

    /// The wakers of all records below `below`.
    pub(super) fn take_below(&mut self, below: u32, woken: &mut Vec<Waker>) {
        woken.extend(self.inline.take_if(|inline| inline.index < below).map(|inline| inline.waker));
        while let Some(first) = self.others.first_entry().filter(|first| first.key().0 < below) {
            woken.push(first.remove());
        }
    }

    /// The wakers of one record.
    pub(super) fn take_one(&mut self, index: u32, woken: &mut Vec<Waker>) {
        woken.extend(self.inline.take_if(|inline| inline.index == index).map(|inline| inline.waker));
        let (first, last) = ((index, WaiterKey::NONE), (index, WaiterKey(u32::MAX)));
        while let Some((found, _)) = self.others.range(first..=last).next() {
            let found = *found;
            woken.extend(self.others.remove(&found));
        }
    }

    /// The wakers of those records, and of those who wait for the whole batch.
    pub(super) fn take_those(&mut self, is_meant: impl Fn(u32) -> bool) -> Vec<Waker> {
        let mut woken = self.take_whole();
        woken.extend(self.inline.take_if(|inline| is_meant(inline.index)).map(|inline| inline.waker));
        let meant: Vec<_> = self.others.keys().filter(|(index, _)| is_meant(*index)).copied().collect();
        woken.extend(meant.iter().filter_map(|key| self.others.remove(key)));
        woken
    }

    /// Wakes everybody; outside the lock, so this takes the whole value.
    pub(super) fn wake_all(self) {
        let records = self.inline.into_iter().map(|inline| inline.waker).chain(self.others.into_values());
        records.chain(self.whole).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(waiters: &mut Waiters, below: u32) -> usize {
        let mut woken = Vec::new();
        waiters.take_below(below, &mut woken);
        woken.len()
    }

    fn one(waiters: &mut Waiters, index: u32) -> usize {
        let mut woken = Vec::new();
        waiters.take_one(index, &mut woken);
        woken.len()
    }

    #[test]
    fn the_first_needs_no_memory_and_nobody_is_woken_twice() {
        let mut waiters = Waiters::default();
        let keys = [3, 1, 2, 1].map(|index| waiters.register(WaiterKey::NONE, index, Waker::noop()).0);
        assert_eq!(waiters.others.len(), 3);
        assert_eq!(below(&mut waiters, 2), 2);
        assert_eq!(below(&mut waiters, 3), 1);
        assert_eq!((one(&mut waiters, 3), one(&mut waiters, 3)), (1, 0));
        assert!(keys.iter().zip([3, 1, 2, 1]).all(|(key, index)| waiters.remove(*key, index).is_none()));
    }

    #[test]
    fn a_key_names_its_own_waker_after_it_was_taken_too() {
        let mut waiters = Waiters::default();
        let (key, _) = waiters.register(WaiterKey::NONE, 0, Waker::noop());
        assert_eq!(below(&mut waiters, 1), 1);
        let (other, _) = waiters.register(WaiterKey::NONE, 0, Waker::noop());
        assert_ne!(key, other);
        assert!(waiters.remove(key, 0).is_none());
        assert_eq!(waiters.register(key, 0, Waker::noop()).0, key);
        assert_eq!(one(&mut waiters, 0), 2);
    }

    #[test]
    fn a_fate_waits_behind_all_records() {
        let mut waiters = Waiters::default();
        for index in [u32::MAX, u32::MAX, 7] {
            waiters.register(WaiterKey::NONE, index, Waker::noop());
        }
        assert_eq!((below(&mut waiters, u32::MAX), one(&mut waiters, u32::MAX)), (1, 2));
    }
}
