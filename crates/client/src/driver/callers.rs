//! Callers who wait for room or metadata, by their deadlines.
//!
//! Always holds: who was served, or has left, keeps neither a waker here nor, after a while, an entry: under pressure
//! nearly every call waits for a moment, and its deadline is seconds away.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::Waker;

use milena_core::time::Moment;

use crate::slot::CallerWaker;

#[derive(Debug)]
pub(super) struct Callers {
    due: BTreeMap<(Moment, u64), Weak<CallerWaker>>,
    next_number: u64,
    /// Those who have left are swept out when this many entries are held.
    sweep_at: usize,
}

impl Callers {
    pub(super) fn new() -> Self {
        Self { due: BTreeMap::new(), next_number: 0, sweep_at: SWEEP_MIN }
    }

    pub(super) fn insert(&mut self, due: Moment, waker: Weak<CallerWaker>) {
        self.due.insert((due, self.next_number), waker);
        self.next_number += 1;
        if self.due.len() >= self.sweep_at {
            self.due.retain(|_, waker| waker.strong_count() > 0);
            self.sweep_at = (2 * self.due.len()).max(SWEEP_MIN);
        }
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn wake_due(&mut self, now: Moment) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let waiting: Option<Arc<CallerWaker>> = entry.remove().upgrade();
            let waker: Option<Waker> = waiting.map(|waiting| waiting.lock().clone());
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Below this many entries a sweep is not worth its walk.
const SWEEP_MIN: usize = 1024;

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use milena_core::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn those_who_left_are_forgotten_and_the_others_are_woken_at_their_deadline() {
        let mut callers = Callers::new();
        let count = Arc::new(Count::default());
        let waiting = || Arc::new(CallerWaker::new(Waker::from(Arc::clone(&count))));
        let due = Moment::from_micros(7);
        let stays: Arc<Mutex<Waker>> = waiting();
        callers.insert(due, Arc::downgrade(&stays));
        (0..100_000).for_each(|_| callers.insert(due, Arc::downgrade(&waiting())));
        assert!(callers.due.len() <= SWEEP_MIN, "{} entries are kept", callers.due.len());
        callers.wake_due(Moment::from_micros(6));
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        callers.wake_due(due);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(callers.next_due(), None);
    }
}
