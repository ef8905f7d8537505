//! What is given up, what it waits for, and what the log then says of it.

use super::rig::*;
use super::*;
use crate::ids::Epoch;
use crate::producer::testbed::{IDENTITY, at};
use crate::time::TICK;

const FENCED: BatchEnd = BatchEnd::NotWritten(NotWritten::Fenced);

fn undetermined(why: Undetermined) -> BatchEnd {
    BatchEnd::Undetermined(why)
}

/// The batch went unanswered, was withdrawn, and the next one is the fence.
fn fenced(was_appended: bool) -> (Partition, FakeLog) {
    let (mut partition, mut log) = Partition::withdrawing();
    partition.add_withdrawn(1);
    let sent = partition.send();
    if was_appended {
        log.append(&sent);
    }
    partition.lose(1, true);
    partition.withdraw();
    partition.add(1);
    let fence = partition.send();
    assert_eq!((fence.sequence, partition.back.identity().map(|identity| identity.epoch)), (0, Some(Epoch(1))));
    let offset = log.append(&fence);
    assert!(!partition.show(&log), "nothing is read before the fence stands");
    partition.acknowledge(fence.ordinal, offset);
    assert_eq!(partition.ends(), [written(offset)]);
    (partition, log)
}

#[test]
fn what_the_log_does_not_have_before_the_fence_is_not_written() {
    let (mut partition, log) = fenced(false);
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [FENCED]);
}

#[test]
fn what_the_log_has_before_the_fence_is_written_there() {
    let (mut partition, log) = fenced(true);
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [written(2)]);
}

/// Rule 18: what is on the wire is waited for, and nothing more goes out meanwhile.
#[test]
fn a_withdrawal_sends_nothing_and_awaits_the_answers_of_the_connection_that_lives() {
    let (mut partition, _) = Partition::withdrawing();
    partition.add_withdrawn(2);
    assert_eq!(partition.send_all(), [1, 2]);
    partition.withdraw();
    partition.add(1);
    assert_eq!(partition.send_all(), []);
    partition.acknowledge(1, 2);
    partition.lose(2, true);
    assert_eq!(partition.ends(), [written(2)]);
    let fence = partition.send();
    assert_eq!(fence.sequence, 0);
}

/// In the tick that is left to callers nothing goes out that would keep what nobody waits for any more: not itself, over a
/// connection that comes back, and nothing behind it.
#[test]
fn what_would_be_sent_after_its_time_is_withdrawn_instead() {
    for is_on_wire in [false, true] {
        let (mut partition, _) = Partition::withdrawing();
        partition.add_withdrawn(1);
        let sent = partition.send();
        if !is_on_wire {
            partition.lose(sent.ordinal, true);
        }
        let due = partition.back.gives_up_all_at().expect("it was sent");
        partition.release_everybody();
        let over = due.as_micros() - TICK.as_micros() as u64;
        partition.wait((over - partition.now().as_micros()) / 1_000);
        partition.add(1);
        let fence = partition.send_all();
        if is_on_wire {
            assert_eq!(fence, [], "the answer is awaited");
            partition.lose(sent.ordinal, true);
            partition.send_all();
        }
        assert_eq!(partition.back.identity().map(|identity| identity.epoch), Some(Epoch(1)), "{is_on_wire}");
    }
}

#[test]
fn nothing_is_withdrawn_while_a_record_sent_with_it_or_after_it_is_wanted() {
    let (mut partition, _) = Partition::withdrawing();
    partition.add_withdrawn(1);
    partition.add(1);
    partition.send_all();
    partition.lose_all([1, 2]);
    partition.release_everybody();
    partition.wait(2_000);
    partition.time_out();
    assert_eq!(partition.send().ordinal, 1, "the one behind it is to be completed, so both are");
}

/// Rule 23: each withdrawal costs an epoch.
#[test]
fn a_second_withdrawal_soon_after_the_first_completes_instead() {
    let (mut partition, mut log) = fenced(false);
    partition.show(&log);
    partition.ends();
    partition.add_withdrawn(1);
    let sent = partition.send();
    partition.lose(sent.ordinal, true);
    partition.release_everybody();
    partition.back.withdrawn_at = Some(partition.now());
    partition.wait(900);
    partition.time_out();
    let again = partition.send();
    assert_eq!(again, sent);
    let offset = log.append(&again);
    partition.acknowledge(again.ordinal, offset);
    assert_eq!(partition.ends(), [written(offset)]);
}

/// Rule 19: a fence that is given up is fenced in its turn, and both are looked for from the oldest base on.
#[test]
fn fences_stack() {
    let (mut partition, mut log) = Partition::withdrawing();
    partition.add_withdrawn(1);
    partition.send();
    partition.lose(1, true);
    partition.withdraw();
    partition.add_withdrawn(1);
    let fence = partition.send();
    log.append(&fence);
    partition.lose(fence.ordinal, true);
    partition.withdraw();
    partition.add(1);
    let second = partition.send();
    assert_eq!(partition.back.identity().map(|identity| identity.epoch), Some(Epoch(2)));
    let offset = log.append(&second);
    partition.acknowledge(second.ordinal, offset);
    partition.ends();
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [FENCED, written(2)]);
}

/// Rule 24: the last epoch but one is for a fence alone, and after it the partition takes another producer id.
#[test]
fn the_last_fence_of_a_producer_id_must_stand_before_the_next_id_is_taken() {
    let (mut partition, mut log) = Partition::withdrawing();
    let last = Identity { epoch: Epoch(32_765), ..IDENTITY };
    partition.back.identity = Some(last);
    partition.add_withdrawn(1);
    partition.send();
    partition.lose(1, true);
    partition.withdraw();
    partition.add(2);
    let fence = partition.send();
    assert_eq!(partition.back.identity(), Some(Identity { epoch: Epoch(32_766), ..IDENTITY }));
    let offset = log.append(&fence);
    partition.acknowledge(fence.ordinal, offset);
    assert!(partition.back.needs_identity());
    assert_eq!(partition.back.abandoned(), Some(IDENTITY.producer_id));
    assert!(partition.show(&log));
    partition.back.grant(FRESH);
    assert_eq!(partition.send().sequence, 0);
    assert_eq!(partition.ends(), [written(offset), FENCED]);
}

#[test]
fn without_a_base_nothing_can_be_looked_for() {
    let mut partition = Partition::new();
    partition.add(1);
    partition.send();
    partition.lose(0, true);
    partition.withdraw();
    assert_eq!(partition.ends(), [undetermined(Undetermined::NoBase)]);
}

/// Rule 21: the end is asked for before the first batch goes out, unless nobody may ask.
#[test]
fn the_first_batch_waits_for_the_end_of_the_log() {
    for (error, base) in [(ErrorCode::NONE, true), (ErrorCode::TOPIC_AUTHORIZATION_FAILED, false)] {
        let mut partition = Partition::new();
        partition.add_withdrawn(1);
        assert_eq!(partition.send_all(), []);
        assert_eq!(partition.back.next_question(partition.now()), Some(Question::End));
        let (now, ticket) = (partition.now(), partition.back.ask());
        assert_eq!(partition.back.next_question(now), None, "once");
        let answer = OffsetAnswer { error: ErrorCode::NOT_LEADER_OR_FOLLOWER, end_offset: -1, leader_epoch: -1 };
        assert!(
            partition.back.handle_end(now, ticket, &answer, &mut partition.chance, &mut partition.ended),
            "somebody else may lead"
        );
        assert_eq!(partition.back.next_question(now), None, "after a pause");
        partition.wait(RETRY_MAX);
        let ticket = partition.back.ask();
        let answer = OffsetAnswer { error, end_offset: 7, leader_epoch: 1 };
        partition.back.handle_end(now, ticket, &answer, &mut partition.chance, &mut partition.ended);
        assert_eq!((partition.send().ordinal, partition.back.base.is_some()), (0, base));
    }
}

/// Where nothing is to be read, the end of the log tells whether it was deleted or lost.
#[test]
fn what_keeps_the_log_from_being_read_is_the_reason() {
    let refuse = |partition: &mut Partition, error| {
        assert!(matches!(partition.back.next_question(partition.now()), Some(Question::Log { .. })));
        partition.tell_log(&LogAnswer { error, records: bytes::Bytes::new() });
    };
    let (mut partition, _) = fenced(true);
    refuse(&mut partition, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(partition.ends(), [undetermined(Undetermined::NotPermittedToRead)]);
    for (end_offset, why) in [(9, Undetermined::LogTruncated), (1, Undetermined::DataLossSeen)] {
        let (mut partition, _) = fenced(true);
        // The batch before the doubt may be gone, what is behind it may not.
        refuse(&mut partition, ErrorCode::OFFSET_OUT_OF_RANGE);
        refuse(&mut partition, ErrorCode::OFFSET_OUT_OF_RANGE);
        partition.tell_end(end_offset);
        assert_eq!(partition.ends(), [undetermined(why)]);
    }
}

/// A leader that was just elected may not know yet that the fence is committed.
#[test]
fn a_log_that_does_not_show_the_fence_yet_is_read_again() {
    let (mut partition, log) = fenced(true);
    let nothing = FakeLog::default();
    assert!(partition.show(&nothing));
    assert!(!partition.show(&log), "after a pause");
    partition.wait(RETRY_MAX);
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [written(2)]);
}

#[test]
fn an_answer_on_a_connection_that_was_left_settles_a_doubt() {
    let (mut partition, _) = Partition::withdrawing();
    partition.add_withdrawn(1);
    partition.send();
    partition.withdraw();
    let now = partition.now();
    assert!(partition.back.may_leave_answers());
    partition.back.leave_leader(now, &mut partition.ended);
    assert!(partition.ends().is_empty(), "it waits for its fence");
    partition.hear(1, Word::Answer(Answer { base_offset: 2, ..ANSWER }));
    assert_eq!(partition.ends(), [written(2)]);
}

/// Brokers that say so know the batch, and not where it is.
#[test]
fn an_old_connection_that_calls_it_a_duplicate_settles_it_without_an_offset() {
    let (mut partition, _) = Partition::withdrawing();
    partition.add_withdrawn(1);
    partition.send();
    partition.lose(1, true);
    partition.withdraw();
    partition.hear(1, Word::Answer(Answer { error: ErrorCode::DUPLICATE_SEQUENCE_NUMBER, ..ANSWER }));
    assert_eq!(partition.ends(), [BatchEnd::Written { base_offset: None, log_append_time: None }]);
}

/// Rule 17: such a batch is neither looked for nor a fence.
#[test]
fn a_batch_with_stale_timestamps_is_no_fence() {
    let (mut partition, mut log) = Partition::withdrawing();
    partition.add_withdrawn(1);
    partition.send();
    partition.lose(1, true);
    partition.withdraw();
    partition.add(2);
    let stale = partition.send();
    partition.back.unsettled[0].is_stale = true;
    let offset = log.append(&stale);
    partition.acknowledge(stale.ordinal, offset);
    partition.ends();
    assert!(!partition.show(&log));
    let fence = partition.send();
    let offset = log.append(&fence);
    partition.acknowledge(fence.ordinal, offset);
    partition.ends();
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [FENCED]);
}

#[test]
fn whatever_ends_the_log_ends_what_waits_for_it() {
    let (mut partition, _) = fenced(true);
    partition.back.handle_topic_recreated(Uuid([9; 16]), &mut partition.ended);
    assert_eq!(partition.ends(), [undetermined(Undetermined::TopicRecreated)]);
    let (mut partition, _) = fenced(true);
    partition.back.end_all(NotWritten::Closed, Undetermined::ClosedBeforeProof, &mut partition.ended);
    assert_eq!(partition.ends(), [undetermined(Undetermined::ClosedBeforeProof)]);
}

/// Rule 23: where nothing else is sent, a fence is asked for, and less and less often where that comes to nothing.
#[test]
fn a_doubt_without_traffic_asks_for_a_fence() {
    let (mut partition, mut log) = Partition::withdrawing();
    partition.back.config.has_fence = true;
    partition.add_withdrawn(1);
    partition.send();
    partition.lose(1, true);
    partition.withdraw();
    let asks = |partition: &mut Partition| {
        partition.time_out();
        let now = partition.now();
        partition.back.ask_for_fence(now)
    };
    assert!(!asks(&mut partition));
    for patience in [1_000, 2_000, 4_000] {
        assert_eq!(partition.back.poll_timeout(), Some(at(partition.millis + patience)));
        partition.wait(patience - 1);
        assert!(!asks(&mut partition));
        partition.wait(1);
        assert!(asks(&mut partition));
        assert!(!asks(&mut partition));
    }
    partition.add(1);
    partition.wait(60_000);
    assert!(!asks(&mut partition), "what waits will be the fence");
    let fence = partition.send();
    assert!(!asks(&mut partition), "what is on its way is the fence");
    let offset = log.append(&fence);
    partition.acknowledge(fence.ordinal, offset);
    assert!(!asks(&mut partition));
    assert!(partition.show(&log));
    assert_eq!(partition.ends(), [written(offset), FENCED]);
}

/// Another producer id fences nothing, however many records are sent under it.
#[test]
fn no_fence_is_asked_for_that_would_prove_nothing() {
    for (identity, has_fence) in [(FRESH, true), (IDENTITY, false)] {
        let (mut partition, _) = Partition::withdrawing();
        partition.back.config.has_fence = has_fence;
        partition.add_withdrawn(1);
        partition.send();
        partition.lose(1, true);
        partition.withdraw();
        partition.back.identity = Some(identity);
        partition.time_out();
        partition.wait(60_000);
        let now = partition.now();
        assert!(!partition.back.ask_for_fence(now), "{identity:?}");
    }
}
