//! New stamps: which batches get them, and which end instead (rules 2, 14 and 15).

use super::*;
use crate::producer::testbed::sealed;

fn doubt(why: Undetermined) -> BatchEnd {
    BatchEnd::Undetermined(why)
}

/// Rule 15: one bad batch ends alone.
#[test]
fn what_was_sent_behind_a_refused_batch_goes_again_under_the_next_epoch_in_order() {
    let code = ErrorCode::POLICY_VIOLATION;
    let mut partition = Partition::anchored();
    partition.add(5);
    assert_eq!([1, 2, 3].map(|_| partition.send().ordinal), [1, 2, 3]);
    partition.refuse(1, code);
    assert_eq!(partition.ends(), [refused(code)]);
    assert_eq!(partition.send_all(), [], "answers of the others are awaited");
    partition.refuse(2, OUT_OF_ORDER);
    partition.lose(3, true);
    assert!(partition.ends().is_empty(), "without the first neither of them can be appended");
    assert!(!partition.back.needs_identity());
    let sent = partition.send();
    assert_eq!((sent.ordinal, sent.sequence), (4, 0), "the two that were sent, and then the pending ones");
    assert_eq!(partition.back.unsettled[0].stamp.identity.map(|identity| identity.epoch.0), Some(1));
    assert_eq!(partition.try_send(), None, "the first batch of an epoch flies alone");
    partition.acknowledge(sent.ordinal, 2);
    assert_eq!(partition.send_all().len(), 3);
    let sequences: Vec<i32> = partition.back.unsettled.iter().map(|batch| batch.stamp.sequence.value()).collect();
    assert_eq!(sequences, [2, 4, 6]);
}

#[test]
fn the_last_epoch_but_the_ones_kept_for_fences_is_followed_by_another_producer_id() {
    let mut partition = Partition::without_identity();
    let last = Identity { epoch: crate::ids::Epoch(32_765), ..IDENTITY };
    partition.back.grant(last);
    partition.add(2);
    partition.send();
    partition.refuse(0, ErrorCode::POLICY_VIOLATION);
    assert!(partition.back.needs_identity());
    assert_eq!(partition.back.abandoned(), Some(IDENTITY.producer_id));
}

/// Rule 14: never bump, because the other one may.
#[test]
fn a_foreign_epoch_abandons_the_producer_id_and_ends_what_is_in_doubt() {
    let mut partition = Partition::anchored();
    partition.add(4);
    partition.send_all();
    partition.refuse(1, NOT_ENOUGH);
    partition.lose(2, true);
    partition.refuse(3, OUT_OF_ORDER);
    let effects = partition.refuse(4, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(effects.used_elsewhere, Some(IDENTITY.producer_id));
    partition.tell_end(2);
    assert_eq!(partition.ends(), [doubt(Undetermined::ProducerIdUsedElsewhere)]);
    partition.back.grant(IDENTITY);
    assert_eq!(partition.try_send(), None, "the abandoned id is never used again");
    partition.back.grant(FRESH);
    assert_eq!(partition.send().sequence, 0);
    assert_eq!(partition.back.unsettled[0].stamp.identity, Some(FRESH));
}

#[test]
fn an_id_that_another_partition_found_in_use_is_abandoned_here_too() {
    let mut partition = Partition::anchored();
    partition.add(2);
    partition.send_all();
    partition.back.abandon(ProducerId(99), &mut partition.ended);
    partition.back.abandon(IDENTITY.producer_id, &mut partition.ended);
    assert_eq!(partition.send_all(), [], "the answers to what was sent are awaited");
    partition.acknowledge(1, 2);
    partition.lose(2, true);
    partition.tell_end(4);
    assert_eq!(partition.ends(), [written(2), doubt(Undetermined::ProducerIdUsedElsewhere)]);
    assert!(partition.back.needs_identity());
}

/// The broker lost what came before a batch that was surely never appended: it needs another stamp and nothing else.
#[test]
fn a_gap_before_a_clean_head_gives_it_the_next_epoch() {
    let mut partition = Partition::anchored();
    partition.add(1);
    let first = partition.send();
    partition.refuse(1, OUT_OF_ORDER);
    assert!(partition.ends().is_empty());
    let again = partition.send();
    assert_eq!((first.sequence, again.sequence), (2, 0));
    partition.acknowledge(again.ordinal, 7);
    assert_eq!(partition.ends(), [written(7)]);
}

/// Rule 15: a split keeps the sequences, so what was sent behind it keeps its stamps.
#[test]
fn a_batch_that_is_too_large_goes_in_two_pieces_under_the_same_sequences() {
    let mut partition = Partition::anchored();
    let values: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
    partition.back.add_sealed(sealed(&partition.memory, partition.millis, &values));
    partition.add(1);
    let completion = Arc::clone(&partition.back.pending[0].completion);
    assert_eq!(partition.send_all(), [1, 2]);
    partition.refuse(1, TOO_LARGE);
    partition.refuse(2, OUT_OF_ORDER);
    let first = partition.send();
    assert_eq!(first.sequence, 2);
    assert_eq!(partition.send_all(), [], "the head goes alone");
    partition.acknowledge(first.ordinal, 2);
    let rest = [partition.send(), partition.send()];
    assert_eq!(rest.each_ref().map(|sent| sent.sequence), [4, 7]);
    partition.acknowledge(rest[0].ordinal, 40);
    partition.ended.drain(..).for_each(|ended| drop(ended.conclude()));
    let offset = |index| match completion.outcome(index) {
        Some(Outcome::Written(at)) => at.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2, 3, 4].map(offset), [2, 3, 40, 41, 42].map(Some));
}

/// A batch of four records, and four more behind it that went unanswered: cut twice, and the first piece is on its way.
fn three_pieces_before_four_batches() -> (Partition, Sent) {
    let mut partition = Partition::anchored();
    let values: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    partition.back.add_sealed(sealed(&partition.memory, partition.millis, &values));
    partition.add(4);
    assert_eq!(partition.send_all(), [1, 2, 3, 4, 5]);
    partition.refuse(1, TOO_LARGE);
    partition.lose_all([2, 3, 4, 5]);
    partition.wait(RETRY_MAX);
    let half = partition.send();
    partition.refuse(half.ordinal, TOO_LARGE);
    let first = partition.send();
    assert_eq!((first.sequence, partition.back.unsettled.len()), (2, 7));
    (partition, first)
}

/// Late copies of what was sent behind them count: brokers remember five.
#[test]
fn pieces_fly_alone_until_no_more_than_five_are_unsettled() {
    let (mut partition, first) = three_pieces_before_four_batches();
    assert_eq!(partition.send_all(), []);
    partition.acknowledge(first.ordinal, 2);
    let second = partition.send();
    assert_eq!((second.sequence, partition.send_all()), (3, vec![]), "six are unsettled");
    partition.acknowledge(second.ordinal, 3);
    assert_eq!(partition.send_all().len(), 5);
}

/// It can show nothing that one that was sent cannot, and would be the sixth.
#[test]
fn a_piece_that_was_never_sent_is_not_asked_about_others_while_more_than_five_are_unsettled() {
    let (mut partition, first) = three_pieces_before_four_batches();
    partition.refuse(first.ordinal, TIMED_OUT);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.refuse(first.ordinal, OUT_OF_ORDER);
    assert_eq!(partition.send().sequence, 6, "the first one behind the pieces");
}

#[test]
fn pieces_are_cut_again_until_a_single_record_is_refused() {
    let mut partition = Partition::anchored();
    let values: [&[u8]; 3] = [b"a", b"b", b"c"];
    partition.back.add_sealed(sealed(&partition.memory, partition.millis, &values));
    let completion = Arc::clone(&partition.back.pending[0].completion);
    partition.send();
    partition.refuse(1, TOO_LARGE);
    let single = partition.send();
    partition.refuse(single.ordinal, TOO_LARGE);
    let pair = partition.send();
    assert_eq!(pair.sequence, 0, "the refused record leaves a gap, so the others go under the next epoch");
    partition.acknowledge(pair.ordinal, 9);
    partition.ended.drain(..).for_each(|ended| drop(ended.conclude()));
    let outcomes = [0, 1, 2].map(|index| completion.outcome(index).expect("all ended"));
    assert!(matches!(&outcomes[0], Outcome::NotWritten(why) if why.reason == NotWritten::Refused(TOO_LARGE.into())));
    assert!(matches!(&outcomes[1], Outcome::Written(at) if at.offset == Some(9)));
    assert!(matches!(&outcomes[2], Outcome::Written(at) if at.offset == Some(10)));
}

/// KIP-467: the broker names the records that it refuses; their siblings are sent again.
#[test]
fn refused_records_end_and_their_siblings_go_again() {
    let code = ErrorCode::INVALID_RECORD;
    let mut partition = Partition::anchored();
    let values: [&[u8]; 4] = [b"a", b"bad", b"c", b"d"];
    partition.back.add_sealed(sealed(&partition.memory, partition.millis, &values));
    let completion = Arc::clone(&partition.back.pending[0].completion);
    partition.add(1);
    assert_eq!(partition.send_all(), [1, 2]);
    partition.take(1, &Answer { error: code, bad_records: vec![1], ..ANSWER });
    assert!(
        matches!(completion.outcome(1), Some(Outcome::NotWritten(why)) if why.reason == NotWritten::Refused(code.into()))
    );
    assert!(completion.outcome(0).is_none() && completion.outcome(2).is_none());
    partition.refuse(2, OUT_OF_ORDER);
    let again = partition.send();
    assert_eq!(again.sequence, 0);
    assert_eq!(partition.back.unsettled[0].count(), 3);
    partition.acknowledge(again.ordinal, 20);
    partition.ended.drain(..).for_each(|ended| drop(ended.conclude()));
    let offset = |index| match completion.outcome(index) {
        Some(Outcome::Written(at)) => at.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 2, 3].map(offset), [20, 21, 22].map(Some));
    assert_eq!(partition.send().sequence, 3, "and what was behind them follows");
}

#[test]
fn a_record_that_was_released_before_it_was_refused_stays_unknown_and_its_fate_is_not_written() {
    let code = ErrorCode::INVALID_RECORD;
    let mut partition = Partition::anchored();
    partition.add(1);
    let completion = Arc::clone(&partition.back.pending[0].completion);
    partition.send();
    completion.release_due(Moment::NEVER);
    partition.take(1, &Answer { error: code, bad_records: vec![0], ..ANSWER });
    let Some(Outcome::Unknown(fate)) = completion.outcome(0) else { panic!("it was released in doubt") };
    assert!(
        matches!(fate.try_settlement(), Some(Settlement::NotWritten(why)) if why.reason == NotWritten::Refused(code.into()))
    );
}

/// What waits for a stamp was never appended, so time ends it as what was never sent.
#[test]
fn a_batch_that_waits_for_its_new_stamp_too_long_is_not_written() {
    let mut partition = Partition::anchored();
    partition.add(1);
    partition.send();
    partition.refuse(1, ErrorCode::INVALID_PRODUCER_EPOCH);
    partition.release_everybody();
    let due = partition.back.poll_timeout().expect("it ends one day");
    assert_eq!(due, at(1_000) + DELIVERY_TIMEOUT);
    partition.wait(6_000);
    partition.time_out();
    assert_eq!(partition.ends(), [BatchEnd::NotWritten(NotWritten::DeadlinePassed)]);
}

/// Each epoch was refused at its first sequence, and the next one was tried at once, until there were no more.
#[test]
fn a_gap_at_the_first_sequence_asks_for_another_producer_id_instead_of_another_epoch() {
    let mut partition = Partition::anchored();
    partition.add(1);
    for _ in 0..2 {
        let sent = partition.send();
        partition.refuse(sent.ordinal, OUT_OF_ORDER);
    }
    assert_eq!(partition.try_send(), None);
    assert!(partition.back.needs_identity() && partition.ends().is_empty());
}

/// A batch that waited for its new stamp for hours may have grown stale meanwhile.
#[test]
fn a_batch_that_was_fresh_when_it_was_claimed_may_be_stale_under_its_next_stamp() {
    let config = BackConfig { horizon: Duration::from_secs(60), ..BackConfig::new(Duration::from_secs(5_000), RETRY) };
    let mut partition = Partition::with(config);
    partition.back.grant(IDENTITY);
    partition.add(1);
    partition.send();
    partition.refuse(0, NOT_ENOUGH);
    partition.wait(61_000);
    partition.time_out();
    partition.back.grant(FRESH);
    partition.send();
    assert!(partition.back.unsettled[0].is_stale);
}

/// The followers of a refused batch were certain; then somebody else's use of the producer id took the proof away, and the
/// reason named was one that nothing had forced.
#[test]
fn the_reason_for_doubt_is_the_one_that_took_the_proof_away() {
    let mut partition = Partition::anchored();
    partition.add(3);
    assert_eq!(partition.send_all(), [1, 2, 3]);
    partition.refuse(1, ErrorCode::POLICY_VIOLATION);
    partition.lose(3, true);
    partition.ended.clear();
    partition.refuse(2, ErrorCode::INVALID_PRODUCER_EPOCH);
    partition.tell_end(2);
    assert_eq!(partition.ends(), [doubt(Undetermined::ProducerIdUsedElsewhere)]);
}
