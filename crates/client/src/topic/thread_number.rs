//! Small numbers of threads, so that each can have its place in an array.
//!
//! Always holds: no two threads have the same number at a time; the smallest that is free is given, and it is free again
//! when its thread ends.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

thread_local! {
    /// Apart from what gives it back, so that looking costs a load.
    static NUMBER: Cell<usize> = const { Cell::new(NONE) };
    static HELD: OnceCell<Held> = const { OnceCell::new() };
}

/// Of a thread that has not asked.
const NONE: usize = usize::MAX;

/// Those that are taken.
static TAKEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// Of this thread.
#[inline]
pub(super) fn here() -> usize {
    match NUMBER.get() {
        NONE => take(),
        number => number,
    }
}

#[cold]
fn take() -> usize {
    let held = Held::smallest();
    let number = held.0;
    // A thread that ends is gone before it could need it again; what it holds here goes back at once.
    if HELD.try_with(|holder| holder.set(held)).is_ok() {
        NUMBER.set(number);
    }
    number
}

/// Given back when its thread ends.
struct Held(usize);

impl Held {
    fn smallest() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..).find(|number| !taken.contains(number)).expect("numbers do not end");
        taken.insert(number);
        Self(number)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What is destroyed after this asks anew.
        NUMBER.set(NONE);
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::*;

    #[test]
    fn threads_have_different_numbers_and_give_them_back() {
        let round = || {
            let all_ask = Arc::new(Barrier::new(8));
            let ask = || {
                let all_ask = Arc::clone(&all_ask);
                thread::spawn(move || {
                    let number = here();
                    all_ask.wait();
                    (number, here())
                })
            };
            let threads: Vec<_> = (0..8).map(|_| ask()).collect();
            let numbers: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
            assert!(numbers.iter().all(|(first, again)| first == again), "{numbers:?}");
            numbers.into_iter().map(|(number, _)| number).collect::<BTreeSet<_>>()
        };
        for _ in 0..50 {
            let numbers = round();
            assert_eq!(numbers.len(), 8, "{numbers:?}");
            // Beside the threads of other tests; if none came back, the last round would begin with 392.
            assert!(numbers.iter().all(|number| *number < 300), "{numbers:?}");
        }
    }
}
