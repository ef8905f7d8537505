//! Time that brokers do not remember, and what is sent without asking them to (rules 17 and 29).

use super::*;
use crate::producer::testbed::value;

const HORIZON: Duration = Duration::from_secs(60);

fn with_horizon(resends_stale: bool) -> Partition {
    let config = BackConfig { horizon: HORIZON, resends_stale, ..BackConfig::new(Duration::from_secs(50), RETRY) };
    let mut partition = Partition::with(config);
    partition.back.grant(IDENTITY);
    partition
}

fn anchored_with_horizon(resends_stale: bool) -> Partition {
    let mut partition = with_horizon(resends_stale);
    partition.add(1);
    partition.send();
    partition.acknowledge(0, 0);
    partition.ended.clear();
    partition
}

/// A batch of one record that is two minutes old.
fn add_stale(partition: &mut Partition) {
    add_stale_records(partition, 1);
}

fn add_stale_records(partition: &mut Partition, count: usize) {
    add_with_ages(partition, &vec![120_000; count]);
}

/// One batch; the ages of its records in milliseconds.
fn add_with_ages(partition: &mut Partition, ages: &[i64]) {
    use crate::producer::batch::SealReason;
    use crate::producer::testbed::{append, front};
    let mut front = front();
    for age in ages {
        let mut record = value(b"old");
        record.timestamp = Some(1_000_000 + partition.millis as i64 - age);
        drop(append(&mut front, &partition.memory, partition.millis, record));
    }
    front.seal(SealReason::Flush);
    front.take_sealed().for_each(|batch| partition.back.add_sealed(batch));
}

/// Without state a broker takes any sequence, so a new epoch says which one comes first.
#[test]
fn after_a_long_pause_one_batch_flies_alone_under_the_next_epoch() {
    let mut partition = anchored_with_horizon(false);
    partition.wait(60_000);
    assert!(partition.back.has_room(partition.now()));
    partition.add(3);
    let sent = partition.send();
    assert_eq!(
        (sent.sequence, partition.back.unsettled[0].stamp.identity.map(|identity| identity.epoch.0)),
        (0, Some(1))
    );
    assert_eq!(partition.try_send(), None);
    partition.acknowledge(sent.ordinal, 2);
    assert_eq!(partition.send_all().len(), 2);
}

#[test]
fn nothing_is_sent_again_once_brokers_may_have_forgotten_the_producer() {
    for is_anchored in [true, false] {
        let mut partition = if is_anchored { anchored_with_horizon(false) } else { with_horizon(false) };
        partition.add(1);
        let sent = partition.send();
        partition.lose(sent.ordinal, true);
        partition.wait(59_999);
        assert!(partition.back.next_bytes(partition.now()).is_some());
        partition.wait(1);
        assert_eq!(partition.try_send(), None);
        assert!(partition.back.poll_timeout().is_some_and(|due| due <= partition.now()));
        partition.time_out();
        assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::ProducerStateExpired)]);
        assert!(partition.back.needs_identity());
    }
}

/// Batches stamped two days back were duplicated by a plain resend (Kafka 4.3.1).
#[test]
fn a_batch_with_stale_timestamps_flies_alone_and_is_not_sent_again() {
    let mut partition = anchored_with_horizon(false);
    partition.add(1);
    add_stale(&mut partition);
    partition.add(1);
    assert_eq!(partition.send_all(), [1]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [2], "nothing goes along with it");
    partition.lose(2, true);
    assert_eq!(partition.ends(), [written(2), BatchEnd::Undetermined(Undetermined::StaleTimestamps)]);
    partition.back.grant(FRESH);
    assert_eq!(partition.send().sequence, 0);
}

#[test]
fn a_stale_batch_that_was_refused_or_that_may_be_sent_again_is() {
    for resends_stale in [false, true] {
        let mut partition = anchored_with_horizon(resends_stale);
        add_stale(&mut partition);
        let sent = partition.send();
        match resends_stale {
            false => partition.refuse(1, NOT_ENOUGH),
            true => partition.lose(1, true),
        };
        partition.wait(RETRY_MAX);
        assert_eq!(partition.send(), sent);
        partition.acknowledge(1, 2);
        assert_eq!(partition.ends(), [written(2)]);
    }
}

/// After its acknowledgement the broker measures the producer's age by those timestamps.
#[test]
fn after_a_stale_batch_the_next_one_flies_alone() {
    let mut partition = anchored_with_horizon(false);
    add_stale(&mut partition);
    partition.add(2);
    assert_eq!(partition.send_all(), [1]);
    partition.acknowledge(1, 2);
    assert_eq!(partition.send_all(), [2]);
    partition.acknowledge(2, 3);
    assert_eq!(partition.send_all(), [3]);
}

/// The broker's own clock stamps the records there: theirs do not matter.
#[test]
fn on_a_topic_with_log_append_time_no_batch_is_stale() {
    let mut partition = with_horizon(false);
    partition.add(1);
    partition.send();
    partition.take(0, &Answer { base_offset: 0, log_append_time: 77, ..ANSWER });
    add_stale(&mut partition);
    partition.add(1);
    assert_eq!(partition.send_all(), [1, 2]);
}

/// An answer from the broker's cache carries the original's timestamp on topics of either type.
#[test]
fn the_topics_type_is_learned_from_first_attempts_only() {
    let mut partition = with_horizon(false);
    partition.add(1);
    partition.send();
    partition.lose(0, true);
    partition.wait(RETRY_MAX);
    partition.send();
    partition.take(0, &Answer { base_offset: 0, log_append_time: 77, ..ANSWER });
    add_stale(&mut partition);
    partition.add(1);
    assert_eq!(partition.send_all(), [1]);
}

fn without_idempotence(acks: Acks, in_flight_max: u64) -> Partition {
    let config = BackConfig { acks, is_idempotent: false, in_flight_max, ..BackConfig::new(DELIVERY_TIMEOUT, RETRY) };
    Partition::with(config)
}

/// Rule 29.
#[test]
fn without_idempotence_no_identity_is_needed_and_one_batch_is_in_flight() {
    let mut partition = without_idempotence(Acks::Leader, 1);
    assert!(!partition.back.needs_identity());
    partition.add(2);
    assert_eq!(partition.send().sequence, 0);
    let (header, _) = crate::producer::testbed::read(&partition.back.unsettled[0]);
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (-1, -1, -1));
    assert_eq!(partition.try_send(), None);
    assert_eq!(partition.answer(0, ErrorCode::NONE, 5).reached, Some((Row::OnLeader, BatchState::Head)));
    assert_eq!(partition.ends(), [written(5)]);
    assert_eq!(partition.send_all(), [1]);
    partition.refuse(1, ErrorCode::POLICY_VIOLATION);
    assert_eq!(partition.ends(), [refused(ErrorCode::POLICY_VIOLATION)]);
}

#[test]
fn more_batches_are_in_flight_where_the_user_asks() {
    let mut partition = without_idempotence(Acks::All, 3);
    partition.add(5);
    assert_eq!(partition.send_all(), [0, 1, 2]);
    partition.acknowledge(1, 5);
    assert_eq!(partition.ends(), [written(5)], "and none proves another");
    partition.acknowledge(0, 9);
    assert_eq!(partition.send_all(), [3, 4]);
}

#[test]
fn what_was_not_answered_without_idempotence_is_given_up_as_on_the_leader_only() {
    let mut partition = without_idempotence(Acks::Leader, 1);
    partition.add(1);
    partition.send();
    partition.lose(0, true);
    partition.release_everybody();
    partition.wait(60_000);
    partition.time_out();
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::LeaderOnly)]);
}

#[test]
fn without_acknowledgements_a_batch_ends_when_it_is_handed_over() {
    let mut partition = without_idempotence(Acks::None, 5);
    partition.add(2);
    assert_eq!(partition.send_all(), [0, 1]);
    let key = AttemptKey { ordinal: 0, number: 1 };
    partition.back.handle_handed_over(key, &mut partition.ended);
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::NoAcknowledgementAsked)]);
    partition.lose(1, false);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [1], "what was not handed over whole goes again");
}

/// Without state a broker takes any first sequence, so pieces of a batch that makes it forget must not fly together.
#[test]
fn pieces_of_a_stale_batch_fly_one_by_one() {
    let mut partition = anchored_with_horizon(false);
    add_stale_records(&mut partition, 4);
    let whole = partition.send();
    partition.refuse(whole.ordinal, TOO_LARGE);
    let half = partition.send();
    partition.refuse(half.ordinal, TOO_LARGE);
    let quarter = partition.send();
    partition.acknowledge(quarter.ordinal, 2);
    assert_eq!(partition.send_all().len(), 1);
}

/// What kept the whole young is in one of its pieces only.
#[test]
fn a_piece_may_be_stale_though_its_batch_was_not() {
    for (ages, stale) in [([120_000, 120_000, 0, 0], 0), ([0, 0, 120_000, 120_000], 1)] {
        let mut partition = anchored_with_horizon(false);
        add_with_ages(&mut partition, &ages);
        let whole = partition.send();
        partition.refuse(whole.ordinal, TOO_LARGE);
        let mut piece = partition.send();
        for _ in 0..stale {
            assert_eq!(partition.try_send(), None, "the stale piece flies alone");
            partition.acknowledge(piece.ordinal, 2);
            piece = partition.send();
        }
        partition.ended.clear();
        partition.lose(piece.ordinal, true);
        assert!(
            partition.ends().contains(&BatchEnd::Undetermined(Undetermined::StaleTimestamps)),
            "{ages:?}: one that brokers may have forgotten is not sent again"
        );
    }
}

/// The youngest record may be withdrawn at the claim, and then it is too late to wait.
#[test]
fn a_batch_with_one_stale_record_waits_for_those_before_it() {
    let mut partition = anchored_with_horizon(false);
    partition.add(1);
    add_with_ages(&mut partition, &[120_000, 0]);
    let first = partition.send();
    assert_eq!(partition.try_send(), None);
    partition.back.pending[0].completion.cancel(1);
    partition.acknowledge(first.ordinal, 2);
    let stale = partition.send();
    partition.add(1);
    assert_eq!(partition.try_send(), None, "nothing goes along with it");
    partition.ended.clear();
    partition.lose(stale.ordinal, true);
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::StaleTimestamps)]);
}

/// The answer of the old leader may be on its way, and a resend is what must not be.
#[test]
fn a_stale_batch_waits_for_its_answer_when_the_leader_changes() {
    let mut partition = anchored_with_horizon(false);
    assert!(partition.back.may_leave_answers());
    add_stale(&mut partition);
    partition.send();
    assert!(!partition.back.may_leave_answers());
    partition.acknowledge(1, 4);
    assert!(partition.back.may_leave_answers());
}

/// It was sent to the other cluster at once, and then might have been in both.
#[test]
fn without_idempotence_what_is_in_doubt_does_not_go_to_another_cluster() {
    let mut partition = without_idempotence(Acks::Leader, 1);
    partition.add(2);
    partition.send();
    partition.back.handle_cluster_changed(&mut partition.ended);
    assert_eq!(partition.ends(), [BatchEnd::Undetermined(Undetermined::ClusterChanged)]);
    assert_eq!(partition.send_all(), [1], "what was not sent goes there");
}

/// It went again at once, in a loop.
#[test]
fn an_answer_about_epochs_without_idempotence_is_waited_out() {
    let mut partition = without_idempotence(Acks::Leader, 1);
    partition.add(1);
    partition.send();
    partition.refuse(0, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(partition.try_send(), None);
    partition.wait(RETRY_MAX);
    assert_eq!(partition.send_all(), [0]);
}
