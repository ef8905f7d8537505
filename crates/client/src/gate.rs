//! The wake-up between callers and a task of the driver: callers push work, the task takes all of it at once.
//!
//! Always holds: work that was pushed is taken in this turn or the next, or its time is not later than the task's next
//! wake-up. A task that is awake, or will wake early enough by itself, is not notified: with 12 partitions that saves
//! nine notifications in ten.
//!
//! Left out: what the work is.

use std::task::{Context, Poll, Waker};

use milena_core::sync::Mutex;
use milena_core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use milena_core::time::Moment;

#[derive(Debug)]
pub(crate) struct Gate<T> {
    ready: Mutex<Vec<T>>,
    /// Microseconds of the next wake-up the task has planned; 0 while it is awake.
    next_wake: AtomicU64,
    is_awake: AtomicBool,
    signal: Signal,
}

impl<T> Gate<T> {
    pub(crate) fn new() -> Self {
        Self {
            ready: Mutex::new(Vec::new()),
            next_wake: AtomicU64::new(0),
            is_awake: AtomicBool::new(true),
            signal: Signal::new(),
        }
    }

    /// Work that can wait until `due`.
    pub(crate) fn push_for(&self, work: T, due: Moment) {
        let mut ready = self.ready.lock();
        ready.push(work);
        let is_crowded = ready.len().is_multiple_of(CROWD);
        drop(ready);
        if is_crowded {
            self.wake();
        }
        if self.next_wake.fetch_min(due.as_micros(), Ordering::SeqCst) > due.as_micros() {
            self.signal.notify();
        }
    }

    /// Work to be done now.
    pub(crate) fn push_now(&self, work: T) {
        self.ready.lock().push(work);
        self.wake();
    }

    fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::SeqCst) {
            self.signal.notify();
        }
    }

    /// The task starts a turn: takes the work into an empty list, whose memory is kept for the next turn.
    pub(crate) fn begin_turn(&self, into: &mut Vec<T>) {
        self.is_awake.swap(true, Ordering::SeqCst);
        self.next_wake.swap(0, Ordering::SeqCst);
        std::mem::swap(into, &mut self.ready.lock());
    }

    /// The task has nothing more to do until `next`. Ready if work came meanwhile: then it must begin another turn.
    pub(crate) fn poll_end_turn(&self, next: Moment, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.poll_notified(cx).is_ready() {
            return Poll::Ready(());
        }
        // Swaps, not stores: whoever pushes later must read these values, not older ones.
        self.next_wake.swap(next.as_micros(), Ordering::SeqCst);
        self.is_awake.swap(false, Ordering::SeqCst);
        // Whoever pushed before these saw an awake task and did not notify: look once more.
        if self.ready.lock().is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// So much work is taken early, though none of it is due: what has ended meanwhile is let go.
const CROWD: usize = 1024;

/// Wakes one task; a notification without a listener is kept.
#[derive(Debug)]
struct Signal {
    is_set: AtomicBool,
    listener: Mutex<Option<Waker>>,
}

impl Signal {
    fn new() -> Self {
        Self { is_set: AtomicBool::new(false), listener: Mutex::new(None) }
    }

    fn notify(&self) {
        self.is_set.swap(true, Ordering::SeqCst);
        let listener = self.listener.lock().take();
        if let Some(waker) = listener {
            waker.wake();
        }
    }

    fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set.swap(false, Ordering::SeqCst) {
            return Poll::Ready(());
        }
        *self.listener.lock() = Some(cx.waker().clone());
        if self.is_set.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Batches whose deadlines are half a minute away piled up until the first of them: tens of thousands a second, most of
    /// them ended long ago.
    #[test]
    fn work_that_is_not_due_is_taken_early_when_there_is_much_of_it() {
        let gate = Gate::new();
        let wakes = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut taken = Vec::new();
        for _ in 0..2 {
            // As a task does when it was woken, until there is nothing more.
            gate.begin_turn(&mut taken);
            taken.clear();
            while gate.poll_end_turn(Moment::from_micros(10), &mut Context::from_waker(&waker)).is_ready() {
                gate.begin_turn(&mut taken);
                taken.clear();
            }
            (1..CROWD).for_each(|work| gate.push_for(work, Moment::from_micros(100)));
            let before = wakes.0.load(Ordering::SeqCst);
            gate.push_for(CROWD, Moment::from_micros(100));
            assert_eq!(wakes.0.load(Ordering::SeqCst), before + 1);
        }
        gate.begin_turn(&mut taken);
        assert_eq!(taken.len(), CROWD);
    }
}
