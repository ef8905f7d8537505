//! Sending and retrying: stamps, the window, the head that goes first.

mod answers;
mod ending;
mod renewal;
mod rig;
mod squat;
mod theft;
mod withdrawal;

use std::sync::Arc;

use milena_wire::{ErrorCode, Uuid};

use super::ending::GIVE_UP_AGAIN;
use super::*;
use crate::producer::completion::Delivery;
use crate::producer::outcome::{Outcome, Settlement, Undetermined};
use crate::producer::testbed::{IDENTITY, at};
use crate::producer::verdict::{Answer, Row};
use rig::*;

#[test]
fn nothing_is_sent_without_an_identity() {
    let mut partition = Partition::without_identity();
    partition.add(1);
    assert!(partition.back.needs_identity());
    assert_eq!((partition.try_send(), partition.back.next_bytes(at(0))), (None, None));
    partition.back.grant(IDENTITY);
    assert!(!partition.back.needs_identity());
    assert_eq!(partition.send().sequence, 0);
}

/// Rule 4: without state a broker accepts any first sequence.
#[test]
fn the_first_batch_of_an_identity_flies_alone_until_it_is_acknowledged() {
    let mut partition = Partition::new();
    partition.add(3);
    assert_eq!(partition.send_all(), [0]);
    assert!(!partition.back.has_room(partition.now()));
    partition.refuse(0, TIMED_OUT);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [0], "an ambiguous answer does not open the window");
    partition.acknowledge(0, 10);
    assert_eq!(partition.send_all(), [1, 2]);
    assert!(partition.back.has_room(partition.now()));
}

/// Rule 5: brokers remember five batches.
#[test]
fn five_batches_are_unsettled_and_never_a_sixth() {
    let mut partition = Partition::anchored();
    partition.add(8);
    assert_eq!(partition.send_all(), [1, 2, 3, 4, 5]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [6]);
    partition.acknowledge(2, 4);
    partition.acknowledge(3, 6);
    assert_eq!(partition.send_all(), [7, 8]);
}

/// Rule 1: a stamp belongs to its bytes for ever.
#[test]
fn a_retry_sends_the_same_bytes_under_the_same_stamp() {
    let mut partition = Partition::anchored();
    partition.add(1);
    let first = partition.send();
    assert_eq!(first.sequence, 2, "after the two records before it");
    partition.back.pack_next();
    for failure in 0..6 {
        match failure % 3 {
            0 => partition.refuse(1, NOT_ENOUGH),
            1 => partition.lose(1, true),
            _ => partition.lose(1, false),
        };
        partition.wait(RETRY_MAX);
        assert_eq!(partition.send(), first);
    }
    // Released callers change nothing about the bytes.
    partition.release_everybody();
    partition.refuse(1, NOT_ENOUGH);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send(), first);
}

#[test]
fn after_a_failure_the_head_goes_first_and_alone_and_then_all_others_in_order() {
    let mut partition = Partition::anchored();
    partition.add(6);
    assert_eq!(partition.send_all(), [1, 2, 3, 4, 5]);
    assert!(partition.refuse(1, ErrorCode::NOT_LEADER_OR_FOLLOWER).refresh_metadata);
    assert_eq!(partition.send_all(), [], "four attempts are not answered");
    for ordinal in [2, 3, 4, 5] {
        assert_eq!(partition.refuse(ordinal, OUT_OF_ORDER).reached, Some((Row::GapBehind, BatchState::Behind)));
    }
    assert_eq!(partition.send_all(), [], "it waits out its back-off");
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    assert!(!partition.back.has_room(partition.now()));
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [2, 3, 4, 5, 6]);
    for ordinal in 2..=6 {
        partition.acknowledge(ordinal, 2 * ordinal as i64);
    }
    assert_eq!(partition.ends(), (1..=6).map(|ordinal| written(2 * ordinal)).collect::<Vec<_>>());
    assert!(partition.back.is_empty());
}

#[test]
fn attempts_of_a_lost_connection_are_sent_again_from_the_head_on() {
    let mut partition = Partition::anchored();
    partition.add(3);
    partition.send_all();
    assert!(partition.back.is_on_wire());
    for (ordinal, was_all_written) in [(1, true), (2, true), (3, false)] {
        assert!(partition.lose(ordinal, was_all_written).refresh_metadata);
    }
    assert!(!partition.back.is_on_wire());
    assert_eq!(partition.back.poll_timeout().map(|due| due > partition.now()), Some(true));
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [2, 3]);
}

#[test]
fn sequences_count_records_and_start_over_after_the_largest() {
    let mut partition = Partition::anchored();
    partition.back.next_sequence = Sequence::new(i32::MAX).expect("not negative");
    partition.add(2);
    assert_eq!([partition.send().sequence, partition.send().sequence], [i32::MAX, 1]);
}

/// Rule 3: the last look at withdrawn records is the claim.
#[test]
fn withdrawn_records_are_not_sent_and_take_no_sequence() {
    let mut partition = Partition::anchored();
    partition.add(3);
    let batches: Vec<_> = partition.back.pending.iter().map(|batch| Arc::clone(&batch.completion)).collect();
    let cancel = |batch: usize, index| Delivery::new(Arc::clone(&batches[batch]), index).cancel();
    cancel(0, 1);
    cancel(1, 0);
    cancel(1, 1);
    assert_eq!([partition.send().sequence, partition.send().sequence], [2, 3]);
    assert_eq!(partition.ends(), [BatchEnd::NotWritten(NotWritten::DeadlinePassed)], "nothing was left of the second");
    assert_eq!(partition.try_send(), None);
    partition.acknowledge(1, 40);
    partition.acknowledge(2, 41);
    assert_eq!(partition.ends(), [written(40), written(41)]);
}

#[test]
fn a_partition_of_which_everything_was_withdrawn_sends_nothing() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.release_everybody();
    assert_eq!(partition.try_send(), None);
    assert_eq!((partition.ends().len(), partition.back.is_empty()), (2, true));
}

#[test]
fn an_identity_in_use_is_not_replaced() {
    let mut partition = Partition::anchored();
    partition.back.grant(FRESH);
    partition.add(1);
    assert_eq!(partition.send().sequence, 2);
    assert_eq!(partition.back.unsettled[0].stamp.identity, Some(IDENTITY));
}

#[test]
fn a_duplicate_told_by_an_old_broker_is_written_without_an_offset() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    partition.refuse(1, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert_eq!(partition.ends(), [BatchEnd::Written { base_offset: None, log_append_time: None }]);
}

/// Rule 18: everything that was sent, or nothing.
#[test]
fn sent_batches_are_given_up_together_once_the_youngest_is_past_its_time_and_nobody_waits() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.wait(3_000);
    partition.add(2);
    partition.send_all();
    partition.lose(1, true);
    partition.lose(2, true);
    partition.lose(3, false);
    partition.wait(2_500);
    partition.time_out();
    assert!(partition.ends().is_empty(), "the oldest is past its time, the youngest is not");
    partition.wait(3_000);
    partition.time_out();
    assert!(partition.ends().is_empty(), "everything is past its time, and somebody still waits");
    partition.release_everybody();
    partition.add(1);
    partition.time_out();
    partition.time_out();
    assert_eq!(partition.ends(), [BatchEnd::NotWritten(NotWritten::DeadlinePassed)], "its attempt was not executed");
    assert!(!partition.back.is_empty(), "what was not sent goes on, and keeps out what was");
    assert_eq!(partition.back.identity().map(|identity| identity.epoch), Some(crate::ids::Epoch(1)));
    partition.wait_for_no_fence();
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::NoFence); 2]);
    assert_eq!(partition.send().sequence, 0);
}

#[test]
fn nothing_is_given_up_while_an_answer_may_come() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    partition.release_everybody();
    partition.wait(60_000);
    partition.time_out();
    assert_eq!(partition.back.poll_timeout(), None, "the connection's own timer ends the wait");
    assert!(partition.ends().is_empty());
    partition.lose(1, true);
    assert!(partition.back.poll_timeout().is_some(), "it waits for a fence, and not for ever");
    partition.wait_for_no_fence();
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::NoFence)]);
}

#[test]
fn a_batch_that_is_released_at_its_deadline_is_still_sent_until_it_is_answered() {
    let mut partition = Partition::anchored();
    partition.add(1);
    let completion = Arc::clone(&partition.back.pending[0].completion);
    partition.send();
    completion.release_due(at(10_000));
    let Some(Outcome::Unknown(fate)) = completion.outcome(0) else { panic!("released in doubt") };
    partition.lose(1, true);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.acknowledge(1, 9);
    for ended in partition.ended.drain(..) {
        assert!(matches!(&ended, Ended::Stamped(..)));
        ended.conclude();
    }
    assert!(matches!(fate.try_settlement(), Some(Settlement::Written(at)) if at.offset == Some(9)));
}

#[test]
fn batches_that_nobody_wants_leave_the_queue_before_they_are_sent() {
    let mut partition = Partition::without_identity();
    partition.add(2);
    partition.release_everybody();
    partition.add(1);
    partition.time_out();
    assert_eq!(partition.ends(), [BatchEnd::NotWritten(NotWritten::DeadlinePassed); 2]);
    assert_eq!(partition.back.pending.len(), 1);
}

/// Rule 25: old stamps are never sent to a new topic.
#[test]
fn a_recreated_topic_gets_what_was_surely_not_in_the_old_one() {
    let mut partition = Partition::anchored();
    partition.add(5);
    assert_eq!([1, 2, 3, 4].map(|_| partition.send().ordinal), [1, 2, 3, 4]);
    partition.refuse(1, NOT_ENOUGH);
    partition.lose(2, true);
    partition.back.handle_topic_recreated(Uuid([2; 16]), &mut partition.ended);
    assert_eq!(partition.back.topic().id, Uuid([2; 16]));
    assert_eq!((partition.ends(), partition.try_send()), (vec![], None), "two answers are on their way");
    partition.refuse(4, ErrorCode::UNKNOWN_TOPIC_ID);
    partition.lose(3, true);
    let doubt = BatchEnd::Undetermined(Undetermined::TopicRecreated);
    assert_eq!(partition.ends(), [doubt, doubt], "both went unanswered");
    assert!(partition.back.needs_identity());
    partition.back.grant(FRESH);
    let sent = partition.send();
    assert_eq!((sent.ordinal, sent.sequence), (5, 0));
    assert_eq!(partition.try_send(), None);
    partition.acknowledge(5, 0);
    assert_eq!(partition.send_all().len(), 2, "the two that were refused, and the one that was not sent");
}

#[test]
fn what_the_old_topic_acknowledged_was_written_there() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    partition.back.handle_topic_recreated(Uuid([2; 16]), &mut partition.ended);
    partition.acknowledge(1, 2);
    assert_eq!(partition.ends(), [written(2)]);
    assert!(partition.back.needs_identity());
}

#[test]
fn the_end_of_the_producer_tells_sent_and_unsent_apart_and_nothing_is_sent_after_it() {
    let (unclaimed, doubt) = (NotWritten::Closed, Undetermined::ClosedBeforeProof);
    let mut partition = Partition::anchored();
    partition.add(3);
    partition.send_all();
    partition.refuse(1, NOT_ENOUGH);
    partition.lose(2, true);
    partition.add(1);
    partition.back.end_all(unclaimed, doubt, &mut partition.ended);
    let ends = [
        BatchEnd::NotWritten(unclaimed),
        BatchEnd::Undetermined(doubt),
        BatchEnd::Undetermined(doubt),
        BatchEnd::NotWritten(unclaimed),
    ];
    assert_eq!(partition.ends(), ends);
    assert!(partition.back.is_empty());
    partition.wait(60_000);
    assert_eq!(partition.send_all(), [] as [u64; 0]);
    assert_eq!(partition.back.poll_timeout(), None);
}

#[test]
fn what_is_due_is_looked_at_once_and_then_later() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    partition.lose(1, true);
    let retry = partition.back.poll_timeout().expect("a retry waits");
    assert!(retry > partition.now());
    assert_eq!(partition.back.poll_timeout_after(partition.now()), Some(retry));
    let after = partition.back.poll_timeout_after(retry).expect("it is to be given up one day");
    assert_eq!(after, at(1_000) + DELIVERY_TIMEOUT);
    let late = at(100_000);
    assert_eq!(partition.back.poll_timeout_after(late), Some(late + GIVE_UP_AGAIN));
}
