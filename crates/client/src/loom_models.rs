//! Models of the wake-ups: every interleaving that loom finds is run; a lost wake-up shows as a deadlock.

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use milena_core::producer::batch::{Chunk, ChunkSource};
use milena_core::time::Moment;

use crate::gate::Gate;
use crate::pool::ChunkPool;
use crate::turns::TurnQueue;

/// Up to three preemptions in a run: nearly every known bug needs two at most, and without a bound these models run for
/// hours.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// Takes turns, as the driver's tasks do, until `count` pieces of work were taken.
fn take_all(gate: &Gate<u32>, count: usize, next_wake: Moment) -> Vec<u32> {
    let (mut taken, mut turn) = (Vec::new(), Vec::new());
    block_on(poll_fn(|cx| {
        loop {
            gate.begin_turn(&mut turn);
            taken.append(&mut turn);
            if taken.len() == count {
                return Poll::Ready(());
            }
            if gate.poll_end_turn(next_wake, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }));
    taken
}

#[test]
fn work_for_now_is_never_left_behind() {
    model(|| {
        let gate = Arc::new(Gate::new());
        let pushers = [1, 2].map(|work| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.push_now(work))
        });
        let mut taken = take_all(&gate, 2, Moment::NEVER);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        pushers.into_iter().for_each(|pusher| pusher.join().expect("no panic"));
    });
}

#[test]
fn work_with_a_time_before_the_next_wake_up_is_never_left_behind() {
    model(|| {
        let gate = Arc::new(Gate::new());
        let pushers = [(1, 50), (2, 20)].map(|(work, due)| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.push_for(work, Moment::from_micros(due)))
        });
        let mut taken = take_all(&gate, 2, Moment::from_micros(100));
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        pushers.into_iter().for_each(|pusher| pusher.join().expect("no panic"));
    });
}

/// The one who waits needs the chunk that the other gives back; whenever that happens, it is woken.
#[test]
fn memory_given_back_is_never_missed_by_the_one_who_waits() {
    model(|| {
        let pool = Arc::new(ChunkPool::new(1024));
        let held = pool.take(1).expect("the pool is empty");
        let giver = Arc::clone(&pool);
        let giving = thread::spawn(move || giver.give(Chunk::Pooled(held)));
        let ticket = pool.room.enqueue();
        let chunk = block_on(poll_fn(|cx| {
            assert!(pool.room.is_first(ticket, cx.waker()));
            pool.take(1).map_or(Poll::Pending, Poll::Ready)
        }));
        pool.room.leave(ticket);
        assert_eq!(chunk.capacity(), 1024);
        giving.join().expect("no panic");
        assert_eq!(pool.held(), 1024);
    });
}

/// The second in the queue gets its turn when the first leaves, served or given up.
#[test]
fn whoever_leaves_lets_the_next_one_try() {
    model(|| {
        let queue = Arc::new(TurnQueue::new());
        let (first, second) = (queue.enqueue(), queue.enqueue());
        let leaver = Arc::clone(&queue);
        let leaving = thread::spawn(move || leaver.leave(first));
        block_on(poll_fn(|cx| if queue.is_first(second, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }));
        queue.leave(second);
        assert!(!queue.has_waiters());
        leaving.join().expect("no panic");
    });
}

/// Two waiters and two chunks given back one after the other: both are served, though each refund wakes only the first.
#[test]
fn one_who_is_served_passes_the_wake_up_on() {
    model(|| {
        let pool = Arc::new(ChunkPool::new(2048));
        let held = [pool.take(1).expect("room"), pool.take(1).expect("room")];
        let tickets = [pool.room.enqueue(), pool.room.enqueue()];
        let giver = Arc::clone(&pool);
        let giving = thread::spawn(move || held.map(|chunk| giver.give(Chunk::Pooled(chunk))));
        let waiters = tickets.map(|ticket| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                block_on(poll_fn(|cx| {
                    let is_first = pool.room.is_first(ticket, cx.waker());
                    if is_first { pool.take(1).map_or(Poll::Pending, |_| Poll::Ready(())) } else { Poll::Pending }
                }));
                pool.room.leave(ticket);
            })
        });
        giving.join().expect("no panic");
        waiters.into_iter().for_each(|waiter| waiter.join().expect("no panic"));
    });
}
