//! Models of the wake-ups: every interleaving that loom finds is run; a lost wake-up shows as a deadlock.

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use milena_core::ids::PartitionId;
use milena_core::producer::account::{Account, Full, Share};
use milena_core::producer::body::{Chunk, ChunkSource};
use milena_core::time::Moment;

use crate::gate::Gate;
use crate::pool::ChunkPool;
use crate::room::Target;
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

fn pool(limit: usize, share: f64) -> Arc<ChunkPool> {
    Arc::new(ChunkPool::new(limit, Share::new(share).expect("a share")))
}

/// Waits for its turn and takes a chunk for its partition, as a caller does.
fn take_in_turn(pool: &ChunkPool, target: &Target) -> Vec<u8> {
    let account = target.as_ref().map_or_else(std::sync::Arc::default, |(_, account)| std::sync::Arc::clone(account));
    let ticket = pool.room.enqueue(target.clone());
    let chunk = block_on(poll_fn(|cx| {
        while pool.room.has_turn(ticket, cx.waker(), pool) {
            match pool.take(&account, 1) {
                Ok(chunk) => return Poll::Ready(chunk),
                Err(Full::Share(tight)) if pool.room.found_tight(ticket, target.clone(), tight, pool) => {}
                Err(_) => break,
            }
        }
        Poll::Pending
    }));
    pool.room.leave(ticket, pool);
    chunk
}

/// The one who waits needs the chunk that the other gives back; whenever that happens, it is woken.
#[test]
fn memory_given_back_is_never_missed_by_the_one_who_waits() {
    model(|| {
        let pool = pool(1024, 1.0);
        let account = Account::default();
        let held = pool.take(&account, 1).expect("the pool is empty");
        let giver = Arc::clone(&pool);
        let giving = thread::spawn(move || giver.give(&account, Chunk::Pooled(held)));
        assert_eq!(take_in_turn(&pool, &None).capacity(), 1024);
        giving.join().expect("no panic");
        assert_eq!(pool.held(), 1024);
    });
}

/// One waits for a partition that holds its share, and must be woken when that partition holds less; one that came later
/// waits for another, and must not wait for it.
#[test]
fn a_partition_that_holds_its_share_holds_up_nobody_else_and_its_own_caller_is_not_forgotten() {
    model(|| {
        let pool = pool(4096, 0.5);
        let targets = [0, 1].map(|id| (PartitionId(id), std::sync::Arc::new(Account::default())));
        let full = std::sync::Arc::clone(&targets[0].1);
        let held = [pool.take(&full, 1).expect("room"), pool.take(&full, 1).expect("its share")];
        let waiters = targets.map(|target| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || take_in_turn(&pool, &Some(target)))
        });
        let [of_full, of_other] = waiters;
        of_other.join().expect("no panic");
        held.into_iter().for_each(|chunk| pool.give(&full, Chunk::Pooled(chunk)));
        of_full.join().expect("no panic");
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
        let pool = pool(2048, 1.0);
        let account = Account::default();
        let held = [(); 2].map(|()| pool.take(&account, 1).expect("room"));
        let giver = Arc::clone(&pool);
        let giving = thread::spawn(move || held.map(|chunk| giver.give(&account, Chunk::Pooled(chunk))));
        let waiters = [(); 2].map(|()| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || take_in_turn(&pool, &None))
        });
        giving.join().expect("no panic");
        waiters.into_iter().for_each(|waiter| drop(waiter.join().expect("no panic")));
    });
}
