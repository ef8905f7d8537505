//! One batch seen by its callers, from every side of the claim and of the end.

use std::future::Future;
use std::pin::Pin;

use super::*;
use crate::ids::NodeId;
use crate::producer::outcome::AttemptError;
use crate::producer::outcome::{Because, Outcome, Settlement, Tally};
use crate::producer::testbed::{Wakes, poll, ticks};
use milena_wire::ErrorCode;

/// A sealed batch of `count` records; each run starts at an index and is due after so many ticks.
fn sealed(runs: &[(u32, u32)], count: u32) -> Arc<BatchCompletion> {
    let batch = filling(runs);
    batch.seal(count, Vec::new());
    batch
}

fn filling(runs: &[(u32, u32)]) -> Arc<BatchCompletion> {
    let batch = BatchCompletion::new(PartitionIndex(3), Trouble::new());
    for (first_index, due) in runs {
        batch.start_deadline_run(*first_index, Tick::not_before(ticks(*due)));
    }
    batch
}

fn written(offset: i64) -> Written {
    Written { partition: 3, offset: Some(offset), timestamp: None }
}

fn end_at(offset: i64) -> BatchEnd {
    BatchEnd::Written { base_offset: Some(offset), log_append_time: None }
}

fn fate_of(batch: &Arc<BatchCompletion>, index: u32) -> Fate {
    match batch.outcome(index) {
        Some(Outcome::Unknown(fate)) => fate,
        other => panic!("record {index} is {other:?}"),
    }
}

/// A reason without a cause.
fn untold<R>(reason: R) -> Because<R> {
    Because { reason, cause: Cause::default() }
}

/// What the record's outcome or settlement says.
fn cause_of(batch: &Arc<BatchCompletion>, index: u32) -> Cause {
    match batch.outcome(index) {
        Some(Outcome::NotWritten(why)) => why.cause,
        Some(Outcome::Unknown(fate)) => fate.cause(),
        other => panic!("record {index} is {other:?}"),
    }
}

fn after(attempts: u32, last_error: Option<AttemptError>) -> Cause {
    Cause { attempts, node: Some(3), last_error }
}

const DEADLINE: RecordState = RecordState::NotWritten(NotWritten::DeadlinePassed);
const CANCELLED: RecordState = RecordState::NotWritten(NotWritten::Cancelled);

#[test]
fn a_record_released_before_the_claim_is_not_written_and_not_sent() {
    let batch = sealed(&[(0, 1), (2, 2)], 4);
    let release = batch.release_due(ticks(1));
    assert_eq!((release.next_due, release.is_dead), (Some(Tick::not_before(ticks(2))), false));
    let dropped = batch.claim();
    assert_eq!([0, 1, 2, 3].map(|index| dropped.contains(index)), [true, true, false, false]);
    batch.settle(end_at(100));
    assert_eq!([0, 1].map(|index| batch.state(index)), [DEADLINE; 2], "an outcome that was given stays");
    assert_eq!([2, 3].map(|index| batch.state(index)), [100, 101].map(|at| RecordState::Written(written(at))));
}

#[test]
fn a_record_released_after_the_claim_is_unknown_and_its_fate_learns_the_end() {
    let batch = sealed(&[(0, 1)], 2);
    assert!(batch.claim().is_empty());
    assert_eq!(
        batch.release_due(Moment::from_micros(ticks(1).as_micros() - 1)).next_due,
        Some(Tick::not_before(ticks(1)))
    );
    assert_eq!(batch.state(1), RecordState::Waiting);
    assert!(!batch.release_due(ticks(1)).is_dead, "it was sent, its memory is needed for the next attempt");
    let fate = fate_of(&batch, 1);
    assert_eq!(fate.try_settlement(), None);
    batch.settle(end_at(7));
    assert_eq!(batch.state(1), RecordState::Unknown, "an outcome that was given stays");
    assert_eq!(fate.try_settlement(), Some(Settlement::Written(written(8))));
}

#[test]
fn each_end_reaches_the_fate_as_it_is() {
    let refused = NotWritten::Refused(ErrorCode::MESSAGE_TOO_LARGE.into());
    let ends = [
        (BatchEnd::NotWritten(refused), Settlement::NotWritten(untold(refused))),
        (BatchEnd::Undetermined(Undetermined::NoFence), Settlement::Undetermined(untold(Undetermined::NoFence))),
    ];
    for (end, settlement) in ends {
        let batch = sealed(&[(0, 1)], 1);
        batch.claim();
        batch.release_due(ticks(1));
        let fate = fate_of(&batch, 0);
        batch.settle(end);
        assert_eq!(fate.clone().try_settlement(), Some(settlement));
    }
}

#[test]
fn an_undetermined_end_releases_in_doubt_and_its_fate_is_settled_at_once() {
    let batch = sealed(&[(0, 1)], 1);
    batch.claim();
    batch.settle(BatchEnd::Undetermined(Undetermined::DriverLost));
    let settlement = fate_of(&batch, 0).try_settlement();
    assert_eq!(settlement, Some(Settlement::Undetermined(untold(Undetermined::DriverLost))));
}

#[test]
fn deadlines_release_run_by_run_as_a_prefix() {
    let batch = sealed(&[(0, 1), (3, 2), (4, 3)], 9);
    batch.claim();
    batch.release_due(ticks(2));
    let states: Vec<_> = (0..9).map(|index| batch.state(index) == RecordState::Unknown).collect();
    assert_eq!(states, [true, true, true, true, false, false, false, false, false]);
    let last = batch.release_due(ticks(3));
    assert_eq!((last.next_due, batch.state(8)), (None, RecordState::Unknown));
}

#[test]
fn a_batch_that_still_fills_releases_at_once_and_is_to_be_sealed_after_it() {
    let batch = filling(&[(0, 1)]);
    let release = batch.release_due(ticks(1));
    assert!(release.needs_seal && !release.is_dead);
    assert_eq!(batch.state(0), DEADLINE);
    let posted = Posted { index: 0, tag: 7 };
    batch.seal(1, vec![posted]);
    let release = batch.release_sealed();
    assert_eq!((release.posted, release.is_dead, release.needs_seal), (vec![posted], true, false));
    assert_eq!(batch.release_sealed().posted, [], "it is reported once");
}

/// Between the release and the seal, which needs the front's lock.
#[test]
fn a_record_that_joins_a_batch_after_a_release_waits_for_its_own_deadline() {
    let batch = filling(&[(0, 1)]);
    assert!(batch.release_due(ticks(1)).needs_seal);
    assert!(batch.start_deadline_run(3, Tick::not_before(ticks(2))), "the clock watched nobody any more");
    let states = [0, 2, 3].map(|index| batch.state(index));
    assert_eq!(states, [DEADLINE, DEADLINE, RecordState::Waiting]);
    let posted = [0, 3].map(|index| Posted { index, tag: 7 });
    batch.seal(4, posted.to_vec());
    let release = batch.release_sealed();
    assert_eq!((&release.posted[..], release.is_dead), (&posted[..1], false));
    assert_eq!(batch.claim().len(), 3);
    assert_eq!(batch.release_due(ticks(2)).posted, posted[1..]);
    assert_eq!([batch.state(2), batch.state(3)], [DEADLINE, RecordState::Unknown]);
    assert!(!batch.is_wanted());
}

#[test]
fn each_record_has_its_own_deadline_among_those_of_a_batch() {
    let batch = filling(&[(0, 4), (4, 6)]);
    let own = |index, due| batch.add_own_deadline(index, Tick::not_before(ticks(due)));
    assert!(own(1, 2), "earlier than anybody");
    assert!(!own(2, 9));
    assert!(!own(5, 3));
    batch.seal(7, Vec::new());
    let released = |due| {
        let next = batch.release_due(ticks(due)).next_due;
        let left = (0..7).filter(|index| batch.state(*index) != RecordState::Waiting).collect::<Vec<_>>();
        (next.map(|tick| tick.moment()), left)
    };
    assert_eq!(batch.next_due().map(Tick::moment), Some(ticks(2)));
    assert_eq!(released(1), (Some(ticks(2)), vec![]));
    assert_eq!(released(2), (Some(ticks(3)), vec![1]));
    assert_eq!(released(3), (Some(ticks(4)), vec![1, 5]));
    let dropped = batch.claim();
    assert_eq!((0..7).filter(|index| dropped.contains(*index)).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(released(4), (Some(ticks(6)), vec![0, 1, 3, 5]));
    assert_eq!(released(6), (Some(ticks(9)), vec![0, 1, 3, 4, 5, 6]));
    assert!(batch.is_wanted());
    assert_eq!(
        [batch.state(1), batch.state(0), batch.state(6)],
        [DEADLINE, RecordState::Unknown, RecordState::Unknown]
    );
    batch.settle(end_at(100));
    assert_eq!(batch.state(2), RecordState::Written(written(101)), "0 and 2 are sent, 1 is not");
    assert_eq!(batch.tally(), Tally { written: 1, not_written: 2, unknown: 4 });
}

#[test]
fn a_claim_drops_exactly_those_who_left_though_some_in_between_wait_on() {
    let batch = filling(&[(0, 1)]);
    for (index, due) in [(1, 9), (3, 9), (4, 1), (6, 9)] {
        batch.add_own_deadline(index, Tick::not_before(ticks(due)));
    }
    batch.seal(8, Vec::new());
    Delivery::new(Arc::clone(&batch), 3).cancel();
    assert!(!batch.release_due(ticks(1)).is_dead);
    let dropped = batch.claim();
    assert_eq!((0..8).filter(|index| !dropped.contains(*index)).collect::<Vec<_>>(), [1, 6]);
    assert_eq!(dropped.len(), 6);
    batch.settle(end_at(100));
    assert_eq!([1, 6].map(|index| batch.state(index)), [100, 101].map(|at| RecordState::Written(written(at))));
}

#[test]
fn a_posted_record_with_a_deadline_of_its_own_is_reported_once_wherever_it_leaves() {
    let posted: Vec<Posted> = (0..6).map(|index| Posted { index, tag: u64::from(index) }).collect();
    let tags = |posted: Vec<Posted>| posted.iter().map(|posted| posted.tag).collect::<Vec<_>>();
    let batch = filling(&[(0, 3)]);
    for (index, due) in [(1, 1), (2, 2), (3, 9), (4, 9)] {
        batch.add_own_deadline(index, Tick::not_before(ticks(due)));
    }
    assert!(batch.release_due(ticks(1)).needs_seal, "1 leaves while the batch fills");
    batch.seal(6, posted);
    assert_eq!(tags(batch.release_due(ticks(2)).posted), [1, 2]);
    assert_eq!(tags(batch.release_due(ticks(3)).posted), [0, 5]);
    batch.claim();
    assert_eq!(tags(batch.settle(end_at(0))), [3, 4]);
}

/// The clock watches a batch from one tick on; whoever is due earlier must say so, everybody else need not.
#[test]
fn the_clock_is_told_only_of_an_earlier_deadline() {
    let batch = BatchCompletion::new(PartitionIndex(0), Trouble::new());
    let tick = |count| Tick::not_before(ticks(count));
    assert!(batch.start_deadline_run(0, tick(10)));
    assert!(!batch.start_deadline_run(1, tick(11)));
    assert!(!batch.add_own_deadline(2, tick(10)));
    assert!(batch.add_own_deadline(3, tick(5)));
    assert!(!batch.add_own_deadline(4, tick(7)));
    assert_eq!(batch.watched(), Some(tick(5)));
    batch.release_due(ticks(5));
    assert_eq!(batch.watched(), Some(tick(7)));
    assert!(batch.add_own_deadline(5, tick(6)));
}

#[test]
fn a_cancelled_record_is_withdrawn_before_the_claim_in_doubt_after_it_and_untouched_once_ended() {
    let batch = sealed(&[(0, 1)], 4);
    let cancel = |index| Delivery::new(Arc::clone(&batch), index).cancel();
    cancel(1);
    assert_eq!([batch.state(1), batch.state(2)], [CANCELLED, RecordState::Waiting]);
    let dropped = batch.claim();
    assert_eq!((0..4).filter(|index| dropped.contains(*index)).collect::<Vec<_>>(), [1]);
    cancel(2);
    cancel(1);
    assert_eq!([batch.state(1), batch.state(2)], [CANCELLED, RecordState::Unknown]);
    let fate = fate_of(&batch, 2);
    batch.settle(end_at(50));
    cancel(3);
    assert_eq!(batch.state(3), RecordState::Written(written(52)), "its place among those that were sent");
    assert_eq!(batch.state(2), RecordState::Unknown);
    assert_eq!(fate.try_settlement(), Some(Settlement::Written(written(51))));
}

#[test]
fn a_record_cancelled_before_its_deadline_stays_cancelled() {
    let batch = sealed(&[(0, 1)], 2);
    Delivery::new(Arc::clone(&batch), 0).cancel();
    batch.release_due(ticks(1));
    assert_eq!([batch.state(0), batch.state(1)], [CANCELLED, DEADLINE]);
    assert_eq!(batch.claim().len(), 2);
}

/// Half of a batch was written, then the deadline of all ended, and those who were told "written" were told "unknown".
#[test]
fn a_deadline_after_the_end_of_a_part_changes_nothing_for_that_part() {
    let batch = filling(&[(0, 1), (1, 3)]);
    for (index, due) in [(2, 2), (5, 9)] {
        batch.add_own_deadline(index, Tick::not_before(ticks(due)));
    }
    batch.seal(8, (0..8).map(|index| Posted { index, tag: u64::from(index) }).collect());
    let tags = |posted: Vec<Posted>| posted.iter().map(|posted| posted.tag).collect::<Vec<_>>();
    batch.claim();
    assert_eq!(tags(batch.release_due(ticks(1)).posted), [0]);
    assert_eq!(tags(batch.settle_part(0..4, end_at(100))), [1, 2, 3]);
    let refused = NotWritten::Refused(ErrorCode::INVALID_RECORD.into());
    assert_eq!(tags(batch.refuse(4..8, &[0, 1], refused)), [4, 5]);
    assert_eq!(tags(batch.release_due(ticks(2)).posted), [0; 0]);
    assert_eq!(tags(batch.release_due(ticks(3)).posted), [6, 7]);
    let states = [1, 2, 3].map(|index| batch.state(index));
    assert_eq!(states, [101, 102, 103].map(|at| RecordState::Written(written(at))));
    assert_eq!([4, 5].map(|index| batch.state(index)), [RecordState::NotWritten(refused); 2]);
    assert_eq!([0, 6].map(|index| batch.state(index)), [RecordState::Unknown; 2]);
    assert_eq!(fate_of(&batch, 0).try_settlement(), Some(Settlement::Written(written(100))));
    assert!(!batch.is_wanted());
    batch.settle_part(4..8, end_at(200));
    assert_eq!([0, 6].map(|index| batch.state(index)), [RecordState::Unknown; 2]);
    assert_eq!(fate_of(&batch, 7).try_settlement(), Some(Settlement::Written(written(201))));
}

/// Trouble comes and goes while a batch waits; each caller is told what it was when it left.
#[test]
fn an_outcome_keeps_the_cause_that_it_was_given_with() {
    let trouble = Trouble::new();
    let batch = BatchCompletion::new(PartitionIndex(0), Arc::clone(&trouble));
    for (first_index, due) in [(0, 1), (1, 2), (2, 3), (4, 9)] {
        batch.start_deadline_run(first_index, Tick::not_before(ticks(due)));
    }
    batch.seal(5, Vec::new());
    let node = Some(NodeId(3));
    trouble.led_by(NodeId(3));
    trouble.note(node, AttemptError::NotConnected);
    batch.release_due(ticks(1));
    batch.release_due(ticks(2));
    trouble.note(node, AttemptError::NoProducerId);
    batch.release_due(ticks(3));
    trouble.clear();
    Delivery::new(Arc::clone(&batch), 4).cancel();
    trouble.note(node, AttemptError::ConnectionLost);
    batch.settle(BatchEnd::NotWritten(NotWritten::Closed));
    let causes = [0, 1, 2, 3, 4].map(|index| cause_of(&batch, index));
    let gone = after(0, Some(AttemptError::NotConnected));
    let idle = after(0, Some(AttemptError::NoProducerId));
    assert_eq!(causes, [gone, gone, idle, idle, after(0, None)]);
}

#[test]
fn a_fate_tells_the_cause_as_it_is_and_from_the_end_on_as_it_was_then() {
    let trouble = Trouble::new();
    let batch = BatchCompletion::new(PartitionIndex(0), Arc::clone(&trouble));
    batch.start_deadline_run(0, Tick::not_before(ticks(1)));
    batch.seal(1, Vec::new());
    batch.claim();
    trouble.led_by(NodeId(3));
    batch.count_attempt();
    batch.release_due(ticks(1));
    let fate = fate_of(&batch, 0);
    assert_eq!(fate.cause(), after(1, None));
    trouble.note(None, AttemptError::RequestTimedOut);
    batch.count_attempt();
    assert_eq!(fate.cause(), after(2, Some(AttemptError::RequestTimedOut)));
    batch.settle(BatchEnd::Undetermined(Undetermined::NoFence));
    trouble.clear();
    let cause = after(2, Some(AttemptError::RequestTimedOut));
    assert_eq!(fate.cause(), cause);
    let reason = Undetermined::NoFence;
    assert_eq!(fate.try_settlement(), Some(Settlement::Undetermined(Because { reason, cause })));
}

#[test]
fn offsets_count_only_the_records_that_were_sent() {
    let batch = sealed(&[(0, 1), (2, 2)], 8);
    for index in [1, 4, 6] {
        Delivery::new(Arc::clone(&batch), index).cancel();
    }
    batch.release_due(ticks(1));
    let dropped = batch.claim();
    assert_eq!(dropped.len(), 4, "0 and 1 by their deadline, 4 and 6 by their callers");
    batch.settle(end_at(100));
    let offsets = [2, 3, 5, 7].map(|index| batch.state(index));
    assert_eq!(offsets, [100, 101, 102, 103].map(|at| RecordState::Written(written(at))));
}

/// A broker that answers with the largest number there is made the addition overflow.
#[test]
fn an_offset_past_the_largest_is_absent() {
    let batch = sealed(&[(0, 1)], 2);
    batch.claim();
    batch.settle(end_at(i64::MAX));
    assert_eq!(batch.state(0), RecordState::Written(written(i64::MAX)));
    assert_eq!(batch.state(1), RecordState::Written(Written { offset: None, ..written(0) }));
}

#[test]
fn the_first_end_stands() {
    let batch = sealed(&[(0, 1)], 1);
    batch.claim();
    batch.settle(end_at(1));
    assert!(batch.settle(BatchEnd::Undetermined(Undetermined::DriverLost)).is_empty());
    assert_eq!(batch.end(), Some(end_at(1)));
}

#[test]
fn the_end_wakes_everybody_who_waits_once_and_a_release_only_those_it_releases() {
    let batch = sealed(&[(0, 1), (1, 2)], 3);
    batch.claim();
    let wakes = [(); 4].map(|()| Arc::new(Wakes::default()));
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    let mut deliveries = [0, 1, 2].map(|index| Delivery::new(Arc::clone(&batch), index));
    for (delivery, wakes) in deliveries.iter_mut().zip(&wakes) {
        assert!(poll(delivery, wakes).is_pending());
    }
    batch.release_due(ticks(1));
    assert_eq!(counts(), [1, 0, 0, 0]);
    let Poll::Ready(Outcome::Unknown(mut fate)) = poll(&mut deliveries[0], &wakes[0]) else { panic!("released") };
    assert!(poll(&mut fate, &wakes[3]).is_pending());
    deliveries[1].cancel();
    assert_eq!(counts(), [1, 1, 0, 0]);
    batch.release_due(ticks(2));
    assert_eq!(counts(), [1, 1, 1, 0], "a fate is not released, it waits for the end");
    batch.settle(end_at(5));
    assert_eq!(counts(), [1, 1, 1, 1]);
    assert!(matches!(poll(&mut fate, &wakes[3]), Poll::Ready(Settlement::Written(at)) if at == written(5)));
}

#[test]
fn the_newest_waker_of_a_record_is_woken() {
    let batch = sealed(&[(0, 1)], 1);
    let (old, new) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let mut delivery = Delivery::new(Arc::clone(&batch), 0);
    assert!(poll(&mut delivery, &old).is_pending());
    assert!(poll(&mut delivery, &new).is_pending());
    batch.settle(end_at(5));
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn a_dropped_delivery_is_not_woken_and_disturbs_nobody() {
    let batch = sealed(&[(0, 1)], 3);
    let wakes = [(); 3].map(|()| Arc::new(Wakes::default()));
    let mut deliveries = [0, 1, 2].map(|index| Delivery::new(Arc::clone(&batch), index));
    for (delivery, wakes) in deliveries.iter_mut().zip(&wakes) {
        assert!(poll(delivery, wakes).is_pending());
    }
    let [first, second, third] = deliveries;
    drop(first);
    drop(third);
    let mut again = Delivery::new(Arc::clone(&batch), 2);
    assert!(poll(&mut again, &wakes[2]).is_pending());
    batch.settle(end_at(5));
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [0, 1, 1]);
    drop(second);
}

/// A task whose last waker is dropped may be dropped with it, and may hold another delivery of the same batch. The waker
/// was dropped under the batch's lock, which that delivery needs.
#[test]
fn a_waker_may_take_another_delivery_of_the_batch_along_when_it_is_dropped() {
    struct Task(Delivery);
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.cancel();
        }
    }
    let batch = sealed(&[(0, 1)], 3);
    let wakes = Arc::new(Wakes::default());
    let waker_of = |index| {
        let mut held = Delivery::new(Arc::clone(&batch), index);
        assert!(poll(&mut held, &wakes).is_pending());
        Waker::from(Arc::new(Task(held)))
    };
    let mut renewed = Delivery::new(Arc::clone(&batch), 0);
    assert!(Pin::new(&mut renewed).poll(&mut Context::from_waker(&waker_of(1))).is_pending());
    assert!(poll(&mut renewed, &wakes).is_pending());
    let mut dropped = Delivery::new(Arc::clone(&batch), 0);
    assert!(Pin::new(&mut dropped).poll(&mut Context::from_waker(&waker_of(2))).is_pending());
    drop(dropped);
    batch.settle(end_at(5));
    assert_eq!(wakes.count(), 1, "only the one that is left");
}

#[test]
fn a_posted_record_is_reported_once_at_its_release_or_at_the_end() {
    let batch = filling(&[(0, 1), (2, 2)]);
    let posted = [0, 1, 3].map(|index| Posted { index, tag: 100 + u64::from(index) });
    batch.seal(4, posted.to_vec());
    batch.claim();
    assert_eq!(batch.release_due(ticks(1)).posted, posted[..2]);
    assert_eq!(batch.release_due(ticks(1)).posted, []);
    assert_eq!(batch.settle(end_at(1)), posted[2..]);
    assert_eq!(batch.settle(end_at(1)), []);
    assert_eq!(batch.release_due(ticks(2)), Release::default(), "nothing is left to release once it ended");
}

#[test]
fn the_tally_counts_outcomes_and_leaves_out_those_who_wait() {
    let batch = sealed(&[(0, 1), (1, 100)], 5);
    Delivery::new(Arc::clone(&batch), 3).cancel();
    batch.release_due(ticks(1));
    batch.claim();
    Delivery::new(Arc::clone(&batch), 4).cancel();
    assert_eq!(batch.tally(), Tally { written: 0, not_written: 2, unknown: 1 });
    batch.settle(end_at(0));
    assert_eq!(batch.tally(), Tally { written: 2, not_written: 2, unknown: 1 });
}

#[test]
fn a_batch_is_wanted_until_the_last_record_has_its_outcome_and_then_it_is_concluded() {
    let batch = filling(&[(0, 1), (2, 100)]);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    assert!(batch.is_wanted(), "more records may come");
    batch.seal(4, Vec::new());
    assert!(batch.poll_concluded(&mut cx).is_pending());
    batch.release_due(ticks(1));
    assert!(batch.is_wanted() && batch.poll_concluded(&mut cx).is_pending());
    Delivery::new(Arc::clone(&batch), 3).cancel();
    assert!(batch.is_wanted() && batch.poll_concluded(&mut cx).is_pending());
    Delivery::new(Arc::clone(&batch), 2).cancel();
    assert!(!batch.is_wanted() && batch.poll_concluded(&mut cx).is_ready());
    assert_eq!(wakes.count(), 3, "once per step: it cannot know which step is the last");
}

#[test]
fn the_end_concludes_a_batch() {
    let batch = sealed(&[(0, 1)], 1);
    batch.claim();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    assert!(batch.poll_concluded(&mut cx).is_pending() && batch.poll_ended(&mut cx).is_pending());
    batch.settle(end_at(1));
    assert_eq!(wakes.count(), 1, "the same task waits once");
    assert!(batch.poll_concluded(&mut cx).is_ready() && batch.poll_ended(&mut cx).is_ready());
    assert!(!batch.is_wanted());
}

/// What reports are made of says of each record what its caller is told, or nothing.
#[test]
fn a_look_at_a_written_batch_tells_what_a_look_at_each_record_does() {
    let told = |batch: &Arc<BatchCompletion>| {
        let written = batch.written_batch();
        (0..4).map(|index| written.and_then(|written| written.outcome(index)).is_some()).collect::<Vec<_>>()
    };
    let agrees = |batch: &Arc<BatchCompletion>| {
        let written = batch.written_batch();
        for index in 0..4 {
            let Some(outcome) = written.and_then(|written| written.outcome(index)) else { continue };
            let (Outcome::Written(one), Some(Outcome::Written(other))) = (&outcome, &batch.outcome(index)) else {
                panic!("{outcome:?} {:?}", batch.outcome(index))
            };
            assert_eq!(one, other);
        }
    };
    let runs = [(0, 10), (2, 20)];
    let whole = sealed(&runs, 4);
    assert_eq!(told(&whole), [false; 4], "it has not ended");
    whole.claim();
    whole.settle(end_at(i64::MAX - 2));
    assert_eq!(told(&whole), [true; 4]);
    agrees(&whole);
    let left_in_doubt = sealed(&runs, 4);
    left_in_doubt.claim();
    left_in_doubt.release_due(ticks(15));
    left_in_doubt.settle(end_at(7));
    assert_eq!(told(&left_in_doubt), [false, false, true, true]);
    agrees(&left_in_doubt);
    let withdrawn = sealed(&runs, 4);
    withdrawn.release_due(ticks(15));
    withdrawn.claim();
    withdrawn.settle(end_at(7));
    assert_eq!(told(&withdrawn), [false; 4], "offsets are found by rank");
    let not_written = sealed(&runs, 4);
    not_written.claim();
    not_written.settle(BatchEnd::NotWritten(NotWritten::DeadlinePassed));
    assert_eq!(told(&not_written), [false; 4]);
}
