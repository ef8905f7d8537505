//! Models of the completion under every interleaving of its threads, weak memory included.

use loom::sync::Arc as Shared;
use loom::sync::atomic::AtomicBool as Flag;
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::task::Wake;

use super::*;
use crate::producer::outcome::{Because, Outcome};
use crate::time::{Moment, TICK};

struct Woken(Flag);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Two records due at the first tick, one far later.
fn sealed() -> Arc<BatchCompletion> {
    let batch = BatchCompletion::new(PartitionIndex(0), Trouble::new());
    batch.start_deadline_run(0, Tick::not_before(DUE));
    batch.start_deadline_run(2, Tick::not_before(Moment::from_micros(1_000_000_000)));
    batch.seal(3, Vec::new());
    batch
}

const DUE: Moment = Moment::from_micros(TICK.as_micros() as u64);
const END: BatchEnd = BatchEnd::Written { base_offset: Some(100), log_append_time: None };

fn poll_once(delivery: &mut Delivery, woken: &Arc<Woken>) -> Poll<Outcome> {
    let waker = Waker::from(Arc::clone(woken));
    Pin::new(delivery).poll(&mut Context::from_waker(&waker))
}

#[test]
fn loom_a_caller_that_waits_is_woken_by_the_end() {
    loom::model(|| {
        let batch = sealed();
        batch.claim();
        let settler = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || drop(batch.settle(END)))
        };
        let woken = Arc::new(Woken(Flag::new(false)));
        let mut delivery = Delivery::new(batch, 1);
        let first = poll_once(&mut delivery, &woken);
        settler.join().expect("settling does not panic");
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                assert!(woken.0.load(Ordering::SeqCst), "whoever was told to wait is woken");
                match poll_once(&mut delivery, &woken) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => panic!("the batch has ended"),
                }
            }
        };
        assert!(matches!(outcome, Outcome::Written(Written { offset: Some(101), .. })), "{outcome:?}");
    });
}

#[test]
fn loom_a_dropped_delivery_leaves_no_waker_behind_and_takes_nobody_elses() {
    loom::model(|| {
        let batch = sealed();
        batch.claim();
        let (mine, other) = (Arc::new(Woken(Flag::new(false))), Arc::new(Woken(Flag::new(false))));
        let mut dropped = Delivery::new(Arc::clone(&batch), 0);
        let mut kept = Delivery::new(Arc::clone(&batch), 1);
        assert!(poll_once(&mut dropped, &mine).is_pending());
        assert!(poll_once(&mut kept, &other).is_pending());
        let settler = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || drop(batch.settle(END)))
        };
        drop(dropped);
        settler.join().expect("settling does not panic");
        assert!(other.0.load(Ordering::SeqCst));
        assert!(poll_once(&mut kept, &other).is_ready());
    });
}

/// The release comes before or after the claim, the end before or after the release, the caller looks at any moment.
#[test]
fn loom_an_outcome_once_given_never_changes() {
    loom::model(|| {
        let batch = sealed();
        let lane = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || {
                let dropped = batch.claim();
                batch.settle(END);
                dropped
            })
        };
        let clock = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || drop(batch.release_due(DUE)))
        };
        let seen = [batch.state(1), batch.state(1)];
        let dropped = lane.join().expect("the lane does not panic");
        clock.join().expect("the clock does not panic");
        let last = batch.state(1);
        let mut earlier = RecordState::Waiting;
        for state in [seen[0], seen[1], last] {
            assert!(earlier == RecordState::Waiting || state == earlier, "{seen:?} {last:?}");
            earlier = state;
        }
        assert_ne!(last, RecordState::Waiting);
        assert_eq!(dropped.contains(1), matches!(last, RecordState::NotWritten(_)), "{last:?}");
    });
}

/// A caller that reads while releases fall on both sides of the claim: the case in which two words must be read in order.
#[test]
fn loom_releases_before_and_after_the_claim_are_not_confused() {
    loom::model(|| {
        let batch = sealed();
        let driver = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || {
                batch.release_due(DUE);
                batch.claim();
                batch.release_due(Moment::NEVER);
            })
        };
        let seen = batch.state(1);
        driver.join().expect("the driver does not panic");
        let last = batch.state(1);
        assert_eq!(last, RecordState::NotWritten(NotWritten::DeadlinePassed));
        assert!(seen == RecordState::Waiting || seen == last, "{seen:?}");
    });
}

#[test]
fn loom_a_record_that_was_told_to_be_cancelled_is_never_sent() {
    loom::model(|| {
        let batch = sealed();
        let lane = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || {
                let dropped = batch.claim();
                batch.settle(END);
                dropped
            })
        };
        let told = Shared::new(Flag::new(false));
        let caller = {
            let (batch, told) = (Arc::clone(&batch), Shared::clone(&told));
            thread::spawn(move || {
                let delivery = Delivery::new(batch, 0);
                delivery.cancel();
                let cancelled = matches!(
                    delivery.try_outcome(),
                    Some(Outcome::NotWritten(Because { reason: NotWritten::Cancelled, .. }))
                );
                told.store(cancelled, Ordering::SeqCst);
            })
        };
        let dropped = lane.join().expect("the lane does not panic");
        caller.join().expect("the caller does not panic");
        assert_eq!(dropped.contains(0), told.load(Ordering::SeqCst));
        let offset = 100 + i64::from(!dropped.contains(0));
        assert!(matches!(batch.state(1), RecordState::Written(Written { offset: Some(at), .. }) if at == offset));
        match batch.state(0) {
            RecordState::NotWritten(why) => assert_eq!((why, dropped.contains(0)), (NotWritten::Cancelled, true)),
            RecordState::Unknown | RecordState::Written(_) => assert!(!dropped.contains(0)),
            RecordState::Waiting => panic!("the batch has ended"),
        }
    });
}

/// A batch fills while its first records are released: by then nobody knows where they end. The front goes on with the
/// next run, and a lane with the claim.
#[test]
fn loom_a_release_while_the_batch_fills_takes_nobody_along_who_joins_it() {
    loom::model(|| {
        let batch = BatchCompletion::new(PartitionIndex(0), Trouble::new());
        batch.start_deadline_run(0, Tick::not_before(DUE));
        let clock = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || drop(batch.release_due(DUE)))
        };
        let front = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || {
                batch.start_deadline_run(2, Tick::not_before(Moment::from_micros(1_000_000_000)));
                let joined = batch.state(2);
                batch.seal(3, Vec::new());
                (joined, batch.claim())
            })
        };
        let seen = batch.state(1);
        clock.join().expect("the clock does not panic");
        let (joined, dropped) = front.join().expect("the front does not panic");
        assert_eq!((joined, batch.state(2)), (RecordState::Waiting, RecordState::Waiting));
        let last = batch.state(1);
        assert!(seen == RecordState::Waiting || seen == last, "{seen:?} {last:?}");
        assert_eq!(dropped.contains(1), matches!(last, RecordState::NotWritten(_)), "{last:?}");
        assert!(!dropped.contains(2));
    });
}
