//! Who waits for a batch: wakers by record, found again by a key that sits in the waiting future.
//!
//! A slot belongs to its future until that future removes it, even after its waker was taken, so a key never names
//! somebody else's slot. Awaiting records in order uses the one inline slot and allocates nothing.

use std::task::Waker;

/// Names a slot; kept by the future that registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaiterKey(u32);

impl WaiterKey {
    /// Nothing registered.
    pub(super) const NONE: Self = Self(u32::MAX);
    const INLINE: Self = Self(u32::MAX - 1);
}

#[derive(Debug)]
struct Waiter {
    index: u32,
    /// Taken when the record is released; the slot stays with its future.
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    inline: Option<Waiter>,
    slots: Vec<Option<Waiter>>,
    free: Vec<u32>,
    /// Those who wait until every record of the batch has its outcome.
    whole: Vec<Waker>,
}

impl Waiters {
    /// Registers or renews; gives the key to keep, and the waker that was renewed, to be dropped outside the lock.
    pub(super) fn register(&mut self, key: WaiterKey, index: u32, waker: &Waker) -> (WaiterKey, Option<Waker>) {
        if let Some(held) = self.slot(key) {
            let is_same = held.waker.as_ref().is_some_and(|held| held.will_wake(waker));
            let renewed = if is_same { None } else { held.waker.replace(waker.clone()) };
            return (key, renewed);
        }
        (self.add(Waiter { index, waker: Some(waker.clone()) }), None)
    }

    fn add(&mut self, waiter: Waiter) -> WaiterKey {
        if self.inline.is_none() {
            self.inline = Some(waiter);
            return WaiterKey::INLINE;
        }
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(waiter);
            return WaiterKey(slot);
        }
        self.slots.push(Some(waiter));
        WaiterKey(self.slots.len() as u32 - 1)
    }

    /// Gives the waker, to be dropped outside the lock: the last waker of a task may take its future along, and with it
    /// another handle of the same batch.
    pub(super) fn remove(&mut self, key: WaiterKey) -> Option<Waker> {
        let held = match key {
            WaiterKey::NONE => None,
            WaiterKey::INLINE => self.inline.take(),
            WaiterKey(slot) => {
                let held = self.slots.get_mut(slot as usize)?.take();
                self.free.push(slot);
                held
            }
        };
        held?.waker
    }

    pub(super) fn register_whole(&mut self, waker: &Waker) {
        if !self.whole.iter().any(|known| known.will_wake(waker)) {
            self.whole.push(waker.clone());
        }
    }

    /// The wakers of all records below `below`, and of those who wait for the whole batch.
    pub(super) fn take_below(&mut self, below: u32) -> Vec<Waker> {
        self.take_those(|index| index < below)
    }

    /// The wakers of one record, and of those who wait for the whole batch.
    pub(super) fn take_one(&mut self, index: u32) -> Vec<Waker> {
        self.take_those(|waiting| waiting == index)
    }

    /// The wakers of those records, and of those who wait for the whole batch.
    pub(super) fn take_those(&mut self, is_meant: impl Fn(u32) -> bool) -> Vec<Waker> {
        let mut woken = std::mem::take(&mut self.whole);
        let due = self.inline.iter_mut().chain(self.slots.iter_mut().flatten()).filter(|waiter| is_meant(waiter.index));
        woken.extend(due.filter_map(|waiter| waiter.waker.take()));
        woken
    }

    fn slot(&mut self, key: WaiterKey) -> Option<&mut Waiter> {
        match key {
            WaiterKey::NONE => None,
            WaiterKey::INLINE => self.inline.as_mut(),
            WaiterKey(slot) => self.slots.get_mut(slot as usize).and_then(Option::as_mut),
        }
    }

    /// Wakes everybody; outside the lock, so this takes the whole value.
    pub(super) fn wake_all(self) {
        let records = self.inline.into_iter().chain(self.slots.into_iter().flatten());
        records.filter_map(|waiter| waiter.waker).chain(self.whole).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_slot_is_used_again_and_the_first_needs_no_memory() {
        let mut waiters = Waiters::default();
        let mut register = |index| waiters.register(WaiterKey::NONE, index, Waker::noop()).0;
        let keys = [register(0), register(1), register(2)];
        assert_eq!(keys, [WaiterKey::INLINE, WaiterKey(0), WaiterKey(1)]);
        waiters.remove(keys[1]);
        assert_eq!(waiters.register(WaiterKey::NONE, 7, Waker::noop()).0, keys[1]);
        waiters.remove(keys[0]);
        assert_eq!(waiters.register(WaiterKey::NONE, 8, Waker::noop()).0, WaiterKey::INLINE);
        assert_eq!(waiters.slots.len(), 2);
    }

    #[test]
    fn a_slot_stays_with_its_future_after_its_waker_was_taken() {
        let mut waiters = Waiters::default();
        let (key, _) = waiters.register(WaiterKey::NONE, 0, Waker::noop());
        assert_eq!(waiters.take_below(1).len(), 1);
        assert_eq!(waiters.take_below(1).len(), 0);
        let (other, _) = waiters.register(WaiterKey::NONE, 1, Waker::noop());
        assert_ne!(key, other);
        assert_eq!(waiters.register(key, 0, Waker::noop()).0, key);
        assert_eq!(waiters.take_one(0).len(), 1);
        assert_eq!(waiters.take_one(1).len(), 1);
    }
}
