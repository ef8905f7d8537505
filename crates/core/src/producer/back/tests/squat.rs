//! Clients that may write and not read (rule 20): the next batch takes the place of what was given up.

use super::rig::*;
use super::*;
use crate::ids::Epoch;
use crate::producer::testbed::IDENTITY;

const ABSENT: BatchEnd = BatchEnd::NotWritten(NotWritten::Fenced);
const NOT_PERMITTED: BatchEnd = BatchEnd::Undetermined(Undetermined::NotPermittedToRead);

/// One that was told before that it may not read; two batches of two records, sent behind one that was acknowledged, were given
/// up. The first of them has the sequence 2.
fn given_up() -> Partition {
    let (mut partition, _) = Partition::withdrawing();
    partition.back.questions.may_not_read = true;
    partition.add_withdrawn(2);
    assert_eq!(partition.send_all(), [1, 2]);
    partition.lose_all([1, 2]);
    partition.withdraw();
    assert_eq!(partition.ends(), []);
    partition
}

fn add(partition: &mut Partition, records: usize) {
    let values: Vec<&[u8]> = vec![b"x"; records];
    let batch = crate::producer::testbed::sealed(&partition.memory, partition.millis, &values);
    partition.back.add_sealed(batch);
}

fn epoch(partition: &Partition) -> Epoch {
    partition.back.identity().expect("it has one").epoch
}

fn refuse_reading(partition: &mut Partition) {
    assert!(matches!(partition.back.next_question(partition.now()), Some(Question::Log { .. })));
    let error = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    partition.tell_log(&LogAnswer { error, records: bytes::Bytes::new() });
}

#[test]
fn what_is_taken_in_their_place_proves_that_they_are_absent() {
    let mut partition = given_up();
    add(&mut partition, 3);
    add(&mut partition, 1);
    let squat = partition.send();
    assert_eq!((squat.sequence, epoch(&partition)), (2, IDENTITY.epoch));
    assert_eq!(partition.try_send(), None, "it flies alone");
    partition.acknowledge(squat.ordinal, 40);
    assert_eq!(partition.ends(), [written(40), ABSENT, ABSENT]);
    let next = partition.send();
    assert_eq!((next.sequence, epoch(&partition)), (0, Epoch(IDENTITY.epoch.0 + 1)), "a late copy could follow it");
}

/// A broker would take it for the first of them, or the second of them would be taken behind it.
#[test]
fn a_batch_after_whose_records_one_of_them_begins_or_ends_is_a_fence_instead() {
    for (records, takes_place) in [(1, true), (2, false), (3, true), (4, false), (5, true)] {
        let mut partition = given_up();
        add(&mut partition, records);
        let sent = partition.send();
        assert_eq!(sent.sequence == 2 && epoch(&partition) == IDENTITY.epoch, takes_place, "{records}");
        assert!(takes_place || sent.sequence == 0, "{records}");
    }
}

/// The first of them may be in the log of a leader that loses it yet.
#[test]
fn a_gap_proves_nothing_and_the_squat_goes_on_as_the_fence() {
    let mut partition = given_up();
    add(&mut partition, 3);
    let squat = partition.send();
    partition.refuse(squat.ordinal, OUT_OF_ORDER);
    let fence = partition.send();
    assert_eq!((fence.sequence, epoch(&partition)), (0, Epoch(IDENTITY.epoch.0 + 1)));
    partition.acknowledge(fence.ordinal, 6);
    refuse_reading(&mut partition);
    assert_eq!(partition.ends(), [written(6), NOT_PERMITTED, NOT_PERMITTED]);
}

#[test]
fn a_squat_that_goes_unanswered_is_asked_again_and_given_up_like_any_other() {
    let mut partition = given_up();
    add(&mut partition, 3);
    let squat = partition.send();
    partition.lose(squat.ordinal, true);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send(), squat);
    partition.lose(squat.ordinal, true);
    partition.withdraw();
    add(&mut partition, 1);
    let fence = partition.send();
    assert_eq!((fence.sequence, epoch(&partition)), (0, Epoch(IDENTITY.epoch.0 + 1)), "one squat in an epoch");
    partition.acknowledge(fence.ordinal, 9);
    refuse_reading(&mut partition);
    assert_eq!(partition.ends(), [written(9), NOT_PERMITTED, NOT_PERMITTED, NOT_PERMITTED]);
}

/// It would be cut into pieces, of which one could have the stamp of what was given up.
#[test]
fn a_squat_that_is_too_large_is_split_under_the_next_epoch() {
    let mut partition = given_up();
    add(&mut partition, 3);
    let squat = partition.send();
    partition.refuse(squat.ordinal, TOO_LARGE);
    let fence = partition.send();
    assert_eq!((fence.sequence, epoch(&partition)), (0, Epoch(IDENTITY.epoch.0 + 1)));
    assert_eq!(partition.back.unsettled[0].count(), 3);
}

/// Brokers that have lost their memory take any sequence: where it was appended shows that.
#[test]
fn an_append_before_what_was_acknowledged_proves_nothing() {
    let mut partition = given_up();
    add(&mut partition, 3);
    let squat = partition.send();
    partition.acknowledge(squat.ordinal, 1);
    assert_eq!(partition.ends(), [written(1)]);
    assert_eq!(epoch(&partition), Epoch(IDENTITY.epoch.0 + 1));
}

/// Who may read reads: that tells the offset of what is there, and sees lost data.
#[test]
fn nobody_squats_who_may_read_or_has_nothing_acknowledged() {
    let mut partition = given_up();
    partition.back.questions.may_not_read = false;
    add(&mut partition, 3);
    let squat = partition.send();
    partition.acknowledge(squat.ordinal, 40);
    partition.ends();
    add(&mut partition, 1);
    partition.send();
    partition.lose(squat.ordinal + 1, true);
    partition.withdraw();
    add(&mut partition, 3);
    assert_eq!((partition.send().sequence, epoch(&partition)), (0, Epoch(IDENTITY.epoch.0 + 2)));
}

/// The offsets say it without a look at the log.
#[test]
fn a_fence_right_behind_the_base_leaves_no_room() {
    for (offset, end) in [(2, ABSENT), (3, NOT_PERMITTED)] {
        let (mut partition, _) = Partition::withdrawing();
        partition.add_withdrawn(1);
        partition.send();
        partition.lose(1, true);
        partition.withdraw();
        partition.add(1);
        let fence = partition.send();
        partition.acknowledge(fence.ordinal, offset);
        refuse_reading(&mut partition);
        assert_eq!(partition.ends(), [written(offset), end]);
    }
}

#[test]
fn where_nothing_is_sent_a_record_is_asked_for_that_takes_the_place() {
    let mut partition = given_up();
    partition.back.config.has_fence = true;
    partition.time_out();
    partition.wait(1_000);
    partition.time_out();
    let now = partition.now();
    assert!(partition.back.ask_for_fence(now));
}
