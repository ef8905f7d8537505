//! Callers who wait, first come, first served.
//!
//! Always holds: only the first may try; whoever leaves lets the next one try; a wake-up between a failed try and the
//! wait is not missed, because the waker is stored before the try.

use std::collections::VecDeque;
use std::task::Waker;

use milena_core::sync::Mutex;
use milena_core::sync::atomic::{AtomicUsize, Ordering, fence};

#[derive(Debug)]
pub(crate) struct TurnQueue {
    inner: Mutex<Inner>,
    /// Entries of the queue; read by callers that do not wait.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Waiter>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    waker: Option<Waker>,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl TurnQueue {
    pub(crate) fn new() -> Self {
        let inner = Inner { queue: VecDeque::new(), next_ticket: 0 };
        Self { inner: Mutex::new(inner), waiting: AtomicUsize::new(0) }
    }

    /// Whether somebody waits; whoever does not wait must not overtake.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Joins at the end.
    pub(crate) fn enqueue(&self) -> Ticket {
        let mut inner = self.inner.lock();
        let ticket = Ticket(inner.next_ticket);
        inner.next_ticket += 1;
        inner.queue.push_back(Waiter { ticket, waker: None });
        self.waiting.store(inner.queue.len(), Ordering::SeqCst);
        ticket
    }

    /// Whether it is this one's turn; then it must try, and is woken when another try makes sense.
    pub(crate) fn is_first(&self, ticket: Ticket, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        let place = inner.queue.iter().position(|waiter| waiter.ticket == ticket);
        let place = place.expect("a ticket stays in the queue until its owner leaves");
        inner.queue[place].waker = Some(waker.clone());
        drop(inner);
        // What the caller tries next must see everything from before a wake-up that missed this waker.
        fence(Ordering::SeqCst);
        place == 0
    }

    /// Leaves the queue, served or not; the next one may try.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut inner = self.inner.lock();
        inner.queue.retain(|waiter| waiter.ticket != ticket);
        self.waiting.store(inner.queue.len(), Ordering::SeqCst);
        let next = inner.queue.front_mut().and_then(|waiter| waiter.waker.take());
        drop(inner);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// What everybody must know has changed.
    pub(crate) fn wake_all(&self) {
        let woken: Vec<Waker> = self.inner.lock().queue.iter_mut().filter_map(|waiter| waiter.waker.take()).collect();
        woken.into_iter().for_each(Waker::wake);
    }
}
