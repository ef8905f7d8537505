//! Releases by the clock alone.

use super::*;
use crate::producer::completion::{BatchEnd, Delivery, RecordState};
use crate::producer::front::{Due, Reply, WhenFull};
use crate::producer::outcome::{NotWritten, Undetermined};
use crate::producer::testbed::{CountedMemory, append, at, front, now, released, sealed, value};

const MEMORY: usize = usize::MAX;
const END: BatchEnd = BatchEnd::Undetermined(Undetermined::DriverLost);
const DEADLINE: RecordState = RecordState::NotWritten(NotWritten::DeadlinePassed);

#[test]
fn a_release_is_due_at_the_tick_after_the_deadline_and_at_no_other_time() {
    let memory = CountedMemory::new(MEMORY);
    let mut expiry = Expiry::new();
    let batch = sealed(&memory, 3, &[b"x"]);
    expiry.register("a", Arc::clone(&batch.completion));
    assert_eq!(expiry.poll_timeout(), Some(released(1_003)));
    assert!(expiry.expire(at(1_003)).is_empty());
    assert_eq!(batch.completion.state(0), RecordState::Waiting);
    let expired = expiry.expire(released(1_003));
    assert_eq!(expired.len(), 1);
    assert!(expired[0].is_dead && expired[0].place == "a");
    assert_eq!(batch.completion.state(0), DEADLINE);
    assert_eq!(expiry.poll_timeout(), None);
}

#[test]
fn a_batch_that_fills_is_released_first_and_sealed_then() {
    let memory = CountedMemory::new(MEMORY);
    let mut front = front();
    let mut expiry = Expiry::new();
    let early = append(&mut front, &memory, 0, value(b"early"));
    expiry.register((), Arc::clone(front.completions().next().expect("a batch fills")));
    let late = append(&mut front, &memory, 500, value(b"late"));
    let mut expired = expiry.expire(released(1_000));
    assert!(early.try_outcome().is_some() && late.try_outcome().is_none());
    assert!(expired[0].needs_seal && front.has_open());
    assert!(front.seal_batch(&expired[0].completion, super::super::batch::SealReason::Deadline));
    expired[0].sealed();
    assert!(!expired[0].needs_seal && !expired[0].is_dead, "some of it is still wanted");
    assert_eq!(expiry.poll_timeout(), Some(released(1_500)));
}

#[test]
fn posted_records_are_reported_run_by_run() {
    let memory = CountedMemory::new(MEMORY);
    let mut front = front();
    for (millis, tag) in [(0, 10), (1, 11), (50, 12)] {
        let record = front.append(now(millis), &memory, value(b"x"), Reply::Report(tag), WhenFull::OpenNext);
        record.expect("there is room");
    }
    let batch = front.drain().next().expect("one batch");
    batch.completion.claim();
    let mut expiry = Expiry::new();
    expiry.register((), Arc::clone(&batch.completion));
    let mut tags = |millis| -> Vec<u64> {
        let expired = expiry.expire(released(millis));
        assert!(expired.iter().all(|batch| !batch.is_dead), "it was sent");
        expired.iter().flat_map(|batch| &batch.posted).map(|posted| posted.tag).collect()
    };
    assert_eq!([tags(1_000), tags(1_008), tags(1_030), tags(1_050)], [vec![10], vec![11], vec![], vec![12]]);
}

#[test]
fn batches_are_released_in_the_order_of_their_deadlines_whatever_the_order_they_came_in() {
    let memory = CountedMemory::new(MEMORY);
    let mut expiry = Expiry::new();
    for millis in [300, 100, 200] {
        expiry.register(millis, sealed(&memory, millis, &[b"x"]).completion);
    }
    let places: Vec<_> = expiry.expire(at(2_000)).iter().map(|batch| batch.place).collect();
    assert_eq!(places, [100, 200, 300]);
}

#[test]
fn one_that_ended_is_not_released_and_not_live() {
    let memory = CountedMemory::new(MEMORY);
    let mut expiry = Expiry::new();
    let (ended, waiting) = (sealed(&memory, 0, &[b"x"]).completion, sealed(&memory, 0, &[b"x"]).completion);
    expiry.register("ended", Arc::clone(&ended));
    expiry.register("waiting", Arc::clone(&waiting));
    ended.settle(END);
    assert_eq!(expiry.live().map(|(place, _)| *place).collect::<Vec<_>>(), ["waiting"]);
    assert_eq!(expiry.expire(at(1_000)).len(), 1);
    assert_eq!(ended.state(0), RecordState::Unknown, "as its batch ended, not as its deadline");
}

#[test]
fn ended_batches_are_swept_out_before_their_deadline() {
    let memory = CountedMemory::new(MEMORY);
    let mut expiry = Expiry::new();
    for _ in 0..10 * SWEEP_MIN {
        let batch = sealed(&memory, 0, &[b"x"]);
        expiry.register((), Arc::clone(&batch.completion));
        batch.completion.settle(END);
        // The newest may have been looked at before it ended.
        assert!(expiry.due_count <= SWEEP_MIN + 1);
    }
}

/// All were walked through at once, now and then; whoever was due in that moment waited.
#[test]
fn a_sweep_keeps_no_more_of_those_that_ended_than_of_those_that_have_not_whatever_they_wait_for() {
    let memory = CountedMemory::new(MEMORY);
    let mut expiry = Expiry::new();
    let mut live = Vec::new();
    for number in 0..20 * SWEEP_MIN {
        let batch = sealed(&memory, number as u64 / 10, &[b"x"]);
        batch.completion.claim();
        expiry.register((), Arc::clone(&batch.completion));
        // Some in every ten go on without anybody who waits.
        if number % 10 < 3 {
            live.push(batch.completion)
        } else {
            drop(batch.completion.settle(END))
        }
        let held = expiry.due_count + expiry.unsettled.len();
        assert!(held <= 2 * live.len() + 2 * SWEEP_MIN, "{held} are held, {} live", live.len());
        assert_eq!(expiry.due_count, expiry.due.values().map(Vec::len).sum::<usize>());
        expiry.expire(at(number as u64 / 10));
    }
    live.drain(..).for_each(|batch| drop(batch.settle(END)));
    for _ in 0..20 * SWEEP_MIN {
        let batch = sealed(&memory, 100_000, &[b"x"]);
        expiry.register((), Arc::clone(&batch.completion));
        batch.completion.settle(END);
    }
    let held = (expiry.due_count, expiry.unsettled.len());
    assert!(held.0 <= 2 * SWEEP_MIN && held.1 <= SWEEP_MIN, "{held:?}");
}

/// Whatever comes in whatever order: nobody is released early, nobody more than a tick late, and what is due is done.
#[test]
fn every_record_is_released_within_a_tick_of_its_deadline() {
    let mut chance = crate::backoff::Chance::new(1);
    for _ in 0..200 {
        let memory = CountedMemory::new(MEMORY);
        let mut front = front();
        let mut expiry = Expiry::new();
        let mut waiting: Vec<(Delivery, Moment)> = Vec::new();
        let mut micros = 0;
        while micros < 3_000_000 {
            micros += chance.bits() % 30_000;
            let clock = crate::time::Now { moment: Moment::from_micros(micros), wall_millis: 0 };
            if micros < 1_500_000 {
                let mut record = value(&[0; 700]);
                let deadline =
                    std::time::Duration::from_millis([0, 1, 300, 1_000, 1_000, 1_200][chance.bits() as usize % 6]);
                // What is read before the lock may be older than what was read before it.
                let due = Moment::from_micros(micros.saturating_sub(chance.bits() % 20_000)) + deadline;
                record.due = if deadline.as_millis() == 1_000 { Due::Waited(due) } else { Due::Own(due) };
                let appended = front.append(clock, &memory, record, Reply::Handle, WhenFull::OpenNext);
                let appended = appended.expect("there is room");
                if appended.must_watch {
                    expiry.register((), Arc::clone(appended.completion));
                }
                waiting.push((appended.delivery(), due));
            }
            while let Some(due) = expiry.poll_timeout().filter(|due| *due <= clock.moment) {
                for expired in expiry.expire(due) {
                    // Somebody else may have the front's lock.
                    if expired.needs_seal && chance.bits().is_multiple_of(2) {
                        front.seal_batch(&expired.completion, super::super::batch::SealReason::Deadline);
                    }
                }
                assert!(expiry.poll_timeout().is_none_or(|next| next > due));
                waiting.retain(|(delivery, deadline)| {
                    let is_released = delivery.try_outcome().is_some();
                    assert!(!is_released || *deadline <= due, "released {due}, due {deadline}");
                    assert!(
                        is_released || Tick::not_before(*deadline).moment() > due,
                        "waits at {due}, due {deadline}"
                    );
                    !is_released
                });
            }
        }
        assert!(waiting.is_empty());
    }
}
