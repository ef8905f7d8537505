//! What answers prove, and what is done while they prove nothing (rules 7, 9, 10, 11 and 13).

use super::*;

/// Rule 9: brokers append in order, so what is behind a committed batch of an anchored producer is committed too.
#[test]
fn a_later_acknowledgement_proves_the_earlier_batches_and_where_they_are() {
    let mut partition = Partition::anchored();
    partition.add(4);
    assert_eq!(partition.send_all(), [1, 2, 3, 4]);
    partition.refuse(1, TIMED_OUT);
    partition.lose(2, true);
    partition.acknowledge(3, 6);
    assert_eq!(partition.ends(), [written(2), written(4), written(6)], "two records each, after the first two");
    partition.acknowledge(4, 8);
    assert_eq!(partition.ends(), [written(8)]);
    partition.add(1);
    assert_eq!(partition.send_all(), [5], "nothing is left to wait for");
}

#[test]
fn offsets_of_proven_batches_are_not_guessed_where_somebody_else_wrote_between_them() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.refuse(1, TIMED_OUT);
    partition.acknowledge(2, 5);
    assert_eq!(partition.ends(), [BatchEnd::Written { base_offset: None, log_append_time: None }, written(5)]);
}

/// A base offset below the last acknowledged one says that the broker lost what it had.
#[test]
fn nothing_is_implied_once_the_broker_shows_that_it_lost_its_memory() {
    for sign in [Answer { base_offset: 1, ..ANSWER }, Answer { base_offset: 40, log_start_offset: 30, ..ANSWER }] {
        let mut partition = Partition::anchored();
        partition.add(2);
        partition.send_all();
        partition.refuse(1, TIMED_OUT);
        partition.take(2, &sign);
        assert_eq!(partition.ends(), [written(sign.base_offset)], "it speaks for itself alone");
        partition.wait(RETRY_MAX);
        assert_eq!(partition.send_all(), [1]);
        partition.refuse(1, OUT_OF_ORDER);
        partition.wait_for_no_fence();
        assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::StateLost)]);
    }
}

/// Also where the sign comes beside an error: the batch was appended where another one had been acknowledged.
#[test]
fn an_offset_beside_an_error_shows_a_lost_memory_too() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.refuse(1, TIMED_OUT);
    partition.answer(2, TIMED_OUT, 1);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    partition.refuse(1, OUT_OF_ORDER);
    partition.wait_for_no_fence();
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::StateLost); 2]);
}

/// Nothing would show that the broker lost what was before it.
#[test]
fn a_duplicate_without_its_offset_speaks_for_itself_alone() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.refuse(1, TIMED_OUT);
    partition.refuse(2, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert_eq!(partition.ends(), [BatchEnd::Written { base_offset: None, log_append_time: None }]);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.ends(), [written(2)]);
}

/// Nor is there a sign where the anchor's own offset is not known.
#[test]
fn an_anchor_without_its_offset_proves_nothing() {
    let mut partition = Partition::anchored();
    partition.add(3);
    partition.send_all();
    partition.refuse(1, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    partition.refuse(2, TIMED_OUT);
    partition.acknowledge(3, 6);
    let anchor = BatchEnd::Written { base_offset: None, log_append_time: None };
    assert_eq!(partition.ends(), [anchor, written(6)]);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [2]);
}

#[test]
fn without_an_implied_end_the_window_counts_from_the_oldest_unsettled_batch() {
    let mut partition = Partition::anchored();
    partition.add(7);
    assert_eq!(partition.send_all(), [1, 2, 3, 4, 5]);
    partition.refuse(1, TIMED_OUT);
    for (ordinal, sign) in [(2, 1), (3, 1), (4, 3), (5, 5)] {
        partition.take(ordinal, &Answer { base_offset: sign, ..ANSWER });
    }
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1], "four places are free, and yet none may be used");
}

/// Rule 10: a refusal speaks for its attempt.
#[test]
fn a_refusal_after_an_ambiguous_attempt_leaves_doubt() {
    for first in [TIMED_OUT, ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode(30_000)] {
        let mut partition = Partition::anchored();
        partition.add(1);
        partition.send();
        partition.refuse(1, first);
        partition.wait(RETRY_MAX);
        partition.send();
        partition.refuse(1, TOO_LARGE);
        let next = partition.back.identity().expect("the next epoch keeps late copies out");
        assert_eq!((next.producer_id, next.epoch), (IDENTITY.producer_id, crate::ids::Epoch(1)));
        partition.wait_for_no_fence();
        assert_eq!(partition.ends(), [in_doubt(TOO_LARGE)]);
    }
}

#[test]
fn a_base_offset_beside_an_error_leaves_doubt() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    partition.answer(1, TOO_LARGE, 17);
    partition.wait_for_no_fence();
    assert_eq!(partition.ends(), [in_doubt(TOO_LARGE)]);
}

/// Rule 12: what the kernel never got in full is never executed.
#[test]
fn an_attempt_that_was_not_all_written_leaves_no_doubt_and_one_that_was_does() {
    for (was_all_written, end) in
        [(false, refused(ErrorCode::POLICY_VIOLATION)), (true, in_doubt(ErrorCode::POLICY_VIOLATION))]
    {
        let mut partition = Partition::anchored();
        partition.add(1);
        partition.send();
        partition.lose(1, was_all_written);
        partition.wait(RETRY_MAX);
        partition.send();
        partition.refuse(1, ErrorCode::POLICY_VIOLATION);
        partition.wait_for_no_fence();
        assert_eq!(partition.ends(), [end]);
    }
}

/// The older batch was ended with a code that was never an answer to it, though it only had to be sent again.
#[test]
fn a_final_refusal_behind_an_unsettled_batch_waits_for_that_one() {
    let code = ErrorCode::POLICY_VIOLATION;
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.refuse(1, TIMED_OUT);
    partition.refuse(2, code);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [2]);
    partition.refuse(2, code);
    assert_eq!(partition.ends(), [written(2), refused(code)]);
}

/// Five appended, restart: sequences 0 to 3 are answered OUT_OF_ORDER, 4 NONE (Kafka 4.3.1).
#[test]
fn a_gap_at_a_doubtful_head_asks_the_next_ones_alone_until_one_is_there() {
    let mut partition = Partition::anchored();
    partition.add(5);
    assert_eq!(partition.send_all(), [1, 2, 3, 4, 5]);
    for ordinal in 1..=5 {
        partition.lose(ordinal, true);
    }
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    for (asked, next) in [(1, 2), (2, 3), (3, 4)] {
        partition.refuse(asked, OUT_OF_ORDER);
        assert_eq!(partition.send_all(), [next], "at once and alone");
    }
    assert_eq!(partition.refuse(4, OUT_OF_ORDER).reached, Some((Row::GapBehind, BatchState::Probe)));
    assert_eq!(partition.send_all(), [5]);
    partition.acknowledge(5, 10);
    assert_eq!(partition.ends(), [2, 4, 6, 8, 10].map(written));
    assert!(partition.back.is_empty() && !partition.back.needs_identity());
}

/// None of the last two was appended: the gap ends where the broker goes on.
#[test]
fn what_was_never_appended_is_sent_on_after_a_probe_found_those_before_it() {
    let mut partition = Partition::anchored();
    partition.add(3);
    partition.send_all();
    partition.lose_all([1, 2, 3]);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, OUT_OF_ORDER);
    partition.send();
    partition.acknowledge(2, 4);
    assert_eq!(partition.ends(), [written(2), written(4)]);
    assert_eq!(partition.send_all(), [3]);
    partition.acknowledge(3, 6);
    assert_eq!(partition.ends(), [written(6)]);
}

#[test]
fn if_every_one_is_answered_with_a_gap_the_brokers_memory_is_lost() {
    let mut partition = Partition::anchored();
    partition.add(4);
    assert_eq!([1, 2, 3].map(|_| partition.send().ordinal), [1, 2, 3]);
    partition.lose(1, true);
    partition.lose(2, true);
    partition.lose(3, false);
    partition.wait(RETRY_MAX);
    for ordinal in [1, 2, 3] {
        assert_eq!(partition.send_all(), [ordinal]);
        partition.refuse(ordinal, OUT_OF_ORDER);
    }
    partition.wait_for_no_fence();
    let lost = BatchEnd::Undetermined(Undetermined::StateLost);
    assert_eq!(partition.ends(), [lost, lost], "the third was never handed over");
    assert_eq!(partition.back.identity().map(|identity| identity.epoch), Some(crate::ids::Epoch(1)));
    let sent = partition.send();
    assert_eq!((sent.sequence, sent.bytes.len() > 61), (0, true), "it goes on under the next epoch");
    partition.acknowledge(sent.ordinal, 50);
    assert_eq!(partition.send().sequence, 2);
}

#[test]
fn a_probe_that_goes_unanswered_begins_again_with_the_head() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.lose_all([1, 2]);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, OUT_OF_ORDER);
    partition.send();
    partition.lose(2, true);
    assert_eq!(partition.send_all(), [], "after its back-off");
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
}

/// A doubtful batch that is refused for good may be in the log: one behind it can show that.
#[test]
fn a_batch_behind_one_that_was_refused_in_doubt_can_prove_it() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.lose_all([1, 2]);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, ErrorCode::INVALID_TIMESTAMP);
    assert_eq!(partition.send_all(), [2]);
    partition.acknowledge(2, 4);
    assert_eq!(partition.ends(), [written(2), written(4)]);
}

/// Nobody said that the broker's memory is lost.
#[test]
fn doubt_about_a_refused_batch_keeps_its_reason_if_the_one_behind_it_proves_nothing() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.lose_all([1, 2]);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, ErrorCode::INVALID_TIMESTAMP);
    partition.send();
    partition.refuse(2, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    partition.wait_for_no_fence();
    let refused = Undetermined::RefusedAfterAmbiguousAttempt(ErrorCode::INVALID_TIMESTAMP.into());
    assert_eq!(
        partition.ends(),
        [BatchEnd::Written { base_offset: None, log_append_time: None }, BatchEnd::Undetermined(refused)]
    );
}

/// Rule 7: a frozen old leader must not hold the partition.
#[test]
fn a_new_leader_gets_the_head_at_once_alone_and_under_its_old_stamp() {
    let mut partition = Partition::anchored();
    partition.add(3);
    let first = partition.send();
    assert_eq!(partition.send_all(), [2, 3]);
    let now = partition.now();
    partition.back.leave_leader(now, &mut partition.ended);
    assert!(!partition.back.is_on_wire() && partition.ends().is_empty());
    assert_eq!(partition.send(), first);
    assert_eq!(partition.send_all(), []);
    partition.hear(1, Word::Unanswered);
    partition.refuse(1, TOO_LARGE);
    assert_eq!(partition.send_all(), [2], "its first attempt may have been appended, and the next one can tell");
}

#[test]
fn a_success_on_the_old_connection_counts_and_a_refusal_there_does_not() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    let now = partition.now();
    partition.back.leave_leader(now, &mut partition.ended);
    partition.send();
    let refusal = Answer { error: ErrorCode::NOT_LEADER_OR_FOLLOWER, ..ANSWER };
    partition.hear(1, Word::Answer(refusal));
    assert!(partition.ends().is_empty() && partition.back.is_on_wire());
    partition.hear(2, Word::Answer(Answer { base_offset: 4, ..ANSWER }));
    assert_eq!(partition.ends(), [written(2), written(4)]);
    partition.acknowledge(1, 2);
    assert!(partition.ends().is_empty(), "the answer of the new leader comes too late");
}

/// Two attempts of one batch may be on their way, when a partition leaves a leader and comes back.
#[test]
fn an_answer_to_an_older_attempt_is_not_taken_for_one_to_the_newest() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    let now = partition.now();
    partition.back.leave_leader(now, &mut partition.ended);
    partition.send();
    let key = AttemptKey { ordinal: 1, number: 1 };
    let effects = partition.back.handle_answer(
        now,
        key,
        &Answer { error: NOT_ENOUGH, ..ANSWER },
        &mut partition.chance,
        &mut partition.ended,
    );
    assert_eq!(effects, Effects::default());
    assert!(partition.back.is_on_wire());
}

#[test]
fn a_slow_answer_is_told_and_so_is_a_foreign_epoch() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    assert!(partition.refuse(1, TIMED_OUT).is_slow);
    let effects = partition.refuse(2, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(effects.used_elsewhere, Some(IDENTITY.producer_id));
}

/// Rules 10 and 12: what the old connection still says about an attempt takes the doubt away that leaving it has made.
#[test]
fn attempts_left_behind_are_in_doubt_only_until_they_are_heard_of() {
    let code = ErrorCode::POLICY_VIOLATION;
    let refusal = || Word::Answer(Answer { error: code, ..ANSWER });
    for (word, end) in [
        (refusal(), refused(code)),
        (Word::NotExecuted, refused(code)),
        (Word::Unanswered, in_doubt(code)),
        (Word::Answer(Answer { error: TIMED_OUT, ..ANSWER }), in_doubt(code)),
    ] {
        let mut partition = Partition::anchored();
        partition.add(1);
        partition.send();
        let now = partition.now();
        partition.back.leave_leader(now, &mut partition.ended);
        partition.hear(1, word);
        partition.send();
        partition.refuse(1, code);
        partition.wait_for_no_fence();
        assert_eq!(partition.ends(), [end]);
    }
}

#[test]
fn a_refusal_by_the_new_leader_waits_for_the_word_of_the_old_one() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    let now = partition.now();
    partition.back.leave_leader(now, &mut partition.ended);
    partition.send();
    partition.refuse(1, TOO_LARGE);
    assert!(partition.ends().is_empty());
    partition.hear(1, Word::NotExecuted);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, TOO_LARGE);
    assert!(partition.ends().is_empty(), "it is surely not there, so it can be split");
    assert_eq!(partition.send().sequence, 2);
    assert_eq!(partition.back.unsettled.len(), 2);
}

/// A batch that was surely never appended, and one behind it that therefore was not either.
#[test]
fn a_proof_in_hand_is_not_given_up_for_a_refusal_in_doubt() {
    let code = ErrorCode::POLICY_VIOLATION;
    let mut partition = Partition::anchored();
    partition.add(3);
    assert_eq!(partition.send_all(), [1, 2, 3]);
    partition.refuse(1, NOT_ENOUGH);
    partition.refuse(2, OUT_OF_ORDER);
    partition.lose(3, true);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [2, 3]);
    partition.ended.clear();
    partition.refuse(2, code);
    partition.refuse(3, code);
    assert_eq!(partition.ends(), [refused(code)], "the third goes again under a fresh stamp");
    let again = partition.send();
    partition.refuse(again.ordinal, code);
    assert_eq!(partition.ends(), [refused(code)]);
}

/// Validation comes before the duplicate check, so such an answer does not say that the batch is missing.
#[test]
fn a_probe_that_is_refused_by_validation_does_not_count_as_a_gap() {
    let code = ErrorCode::POLICY_VIOLATION;
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.lose_all([1, 2]);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(1, OUT_OF_ORDER);
    partition.send();
    partition.refuse(2, code);
    partition.wait_for_no_fence();
    assert_eq!(partition.ends(), [in_doubt(code), in_doubt(code)]);
}

/// The offset was forgotten with the answer, and the next refusal counted as the first.
#[test]
fn an_offset_beside_an_error_is_remembered_whatever_the_code() {
    for code in [OUT_OF_ORDER, ErrorCode::POLICY_VIOLATION, NOT_ENOUGH] {
        let mut partition = Partition::anchored();
        partition.add(2);
        partition.send_all();
        partition.refuse(1, NOT_ENOUGH);
        partition.answer(2, code, 40);
        partition.wait(RETRY_MAX);
        assert_eq!(partition.send_all(), [1]);
        partition.acknowledge(1, 2);
        assert_eq!(partition.send_all(), [2]);
        partition.ended.clear();
        partition.refuse(2, ErrorCode::INVALID_RECORD);
        partition.wait_for_no_fence();
        assert_eq!(partition.ends(), [in_doubt(ErrorCode::INVALID_RECORD)], "{code}");
    }
}
