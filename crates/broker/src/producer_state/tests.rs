//! One test per row of Kafka's rules for producer state, and per line of what 4.3.1 was seen to do.

use super::*;

const PID: ProducerId = ProducerId(7);

/// A partition with a log position of its own, so that every test reads as a row of batches sent.
#[derive(Default)]
struct Partition {
    producers: Producers,
    next_offset: i64,
}

impl Partition {
    fn send(&mut self, epoch: i16, first: i32, count: i32) -> Verdict {
        self.send_stamp(stamp(epoch, first, count), count, 1_000)
    }

    fn send_stamp(&mut self, batch: Stamp, count: i32, timestamp: i64) -> Verdict {
        let verdict = validate(self.producers.entry(batch.producer_id), &batch);
        if verdict == Verdict::Append {
            let cached = CachedBatch {
                first: batch.first,
                last: batch.last,
                base_offset: self.next_offset,
                last_offset: self.next_offset + i64::from(count) - 1,
                timestamp,
            };
            self.next_offset += i64::from(count);
            self.producers.remember(batch.producer_id, batch.epoch, cached);
        }
        verdict
    }

    /// Sends `count` batches of one record each under epoch 0, from sequence 0.
    fn with_batches(count: i32) -> Partition {
        let mut partition = Partition::default();
        for sequence in 0..count {
            assert_eq!(partition.send(0, sequence, 1), Verdict::Append);
        }
        partition
    }
}

fn stamp(epoch: i16, first: i32, count: i32) -> Stamp {
    Stamp {
        producer_id: PID,
        epoch: Epoch(epoch),
        first: Sequence(first),
        last: Sequence(first).advance(count - 1),
        transactional: false,
    }
}

fn duplicate_at(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Duplicate(original) => original.base_offset,
        other => panic!("not a duplicate: {other:?}"),
    }
}

const OUT_OF_ORDER: Verdict = Verdict::Refuse(Refusal::OutOfOrder);
const STALE: Verdict = Verdict::Refuse(Refusal::StaleEpoch);

// The order of checks.

#[test]
fn exact_range_in_the_cache_is_a_duplicate_with_its_offset_and_timestamp() {
    let mut partition = Partition::default();
    partition.send(0, 0, 3);
    assert_eq!(
        partition.send(0, 0, 3),
        Verdict::Duplicate(CachedBatch {
            first: Sequence(0),
            last: Sequence(2),
            base_offset: 0,
            last_offset: 2,
            timestamp: 1_000,
        })
    );
}

#[test]
fn partial_overlap_is_never_a_duplicate() {
    let mut partition = Partition::default();
    partition.send(0, 0, 3);
    assert_eq!(partition.send(0, 0, 2), OUT_OF_ORDER);
    assert_eq!(partition.send(0, 1, 2), OUT_OF_ORDER);
    assert_eq!(partition.send(0, 2, 3), OUT_OF_ORDER);
}

#[test]
fn duplicate_is_looked_up_before_the_transaction_check() {
    let mut partition = Partition::with_batches(1);
    let batch = Stamp { transactional: true, ..stamp(0, 0, 1) };
    assert_eq!(duplicate_at(partition.send_stamp(batch, 1, 0)), 0);
}

#[test]
fn transactional_batch_of_an_older_epoch_is_stale_before_it_lacks_a_transaction() {
    let mut partition = Partition::default();
    partition.send(3, 0, 1);
    let old = Stamp { transactional: true, ..stamp(2, 0, 1) };
    let current = Stamp { transactional: true, ..stamp(3, 1, 1) };
    assert_eq!(partition.send_stamp(old, 1, 0), STALE);
    assert_eq!(partition.send_stamp(current, 1, 0), Verdict::Refuse(Refusal::NoTransaction));
}

#[test]
fn older_epoch_is_stale_before_its_sequence_is_looked_at() {
    let mut partition = Partition::default();
    partition.send(1, 0, 1);
    assert_eq!(partition.send(0, 1, 1), STALE);
    assert_eq!(partition.send(0, 99, 1), STALE);
}

#[test]
fn new_epoch_starts_at_zero_if_any_epoch_is_known() {
    let mut partition = Partition::with_batches(1);
    assert_eq!(partition.send(1, 1, 1), OUT_OF_ORDER);
    assert_eq!(partition.send(1, 0, 1), Verdict::Append);
}

#[test]
fn same_epoch_goes_on_with_the_next_sequence() {
    let mut partition = Partition::default();
    partition.send(0, 0, 5);
    assert_eq!(partition.send(0, 5, 1), Verdict::Append);
}

#[test]
fn same_epoch_without_cached_batches_starts_at_zero() {
    let entry = ProducerEntry { epoch: Epoch(4), batches: VecDeque::new(), last_timestamp: 0 };
    assert_eq!(validate(Some(&entry), &stamp(4, 0, 1)), Verdict::Append);
    assert_eq!(validate(Some(&entry), &stamp(4, 1, 1)), OUT_OF_ORDER);
}

// The table of cases.

#[test]
fn every_batch_of_the_last_five_is_a_duplicate_with_its_own_offset() {
    let mut partition = Partition::with_batches(8);
    for sequence in 3..8 {
        assert_eq!(duplicate_at(partition.send(0, sequence, 1)), i64::from(sequence));
    }
}

#[test]
fn batch_older_than_the_five_cached_is_out_of_order() {
    let mut partition = Partition::with_batches(6);
    assert_eq!(duplicate_at(partition.send(0, 1, 1)), 1);
    assert_eq!(partition.send(0, 0, 1), OUT_OF_ORDER);
}

#[test]
fn gap_is_out_of_order() {
    let mut partition = Partition::with_batches(1);
    assert_eq!(partition.send(0, 2, 1), OUT_OF_ORDER);
}

#[test]
fn unknown_producer_starts_at_any_sequence() {
    assert_eq!(Partition::default().send(0, 4711, 1), Verdict::Append);
}

#[test]
fn higher_epoch_at_zero_is_accepted_by_any_jump() {
    let mut partition = Partition::with_batches(3);
    assert_eq!(partition.send(30_000, 0, 1), Verdict::Append);
    assert_eq!(partition.send(32_767, 0, 1), Verdict::Append);
}

// Seen on 4.3.1.

#[test]
fn same_base_with_another_count_is_out_of_order() {
    let mut partition = Partition::default();
    partition.send(0, 0, 2);
    assert_eq!(partition.send(0, 0, 1), OUT_OF_ORDER);
    assert_eq!(partition.send(0, 0, 3), OUT_OF_ORDER);
}

#[test]
fn after_the_epoch_moved_every_batch_of_the_old_one_is_stale_in_the_log_or_not() {
    let mut partition = Partition::with_batches(2);
    partition.send(1, 0, 1);
    assert_eq!(partition.send(0, 1, 1), STALE);
    assert_eq!(partition.send(0, 2, 1), STALE);
}

#[test]
fn other_partition_stays_on_its_epoch() {
    let (mut left, mut right) = (Partition::with_batches(1), Partition::with_batches(1));
    assert_eq!(left.send(1, 0, 1), Verdict::Append);
    assert_eq!(right.send(0, 1, 1), Verdict::Append);
}

#[test]
fn fresh_producer_may_start_at_sequence_seven_or_at_epoch_five_sequence_nine() {
    assert_eq!(Partition::default().send(0, 7, 1), Verdict::Append);
    assert_eq!(Partition::default().send(5, 9, 1), Verdict::Append);
}

#[test]
fn batch_from_the_largest_sequence_wraps_through_zero() {
    let mut partition = Partition::default();
    assert_eq!(partition.send(0, i32::MAX, 3), Verdict::Append);
    assert_eq!(duplicate_at(partition.send(0, i32::MAX, 3)), 0);
    assert_eq!(partition.send(0, 2, 1), Verdict::Append);
}

#[test]
fn zero_follows_the_largest_sequence() {
    let mut partition = Partition::default();
    partition.send(0, i32::MAX - 1, 2);
    assert_eq!(partition.send(0, 1, 1), OUT_OF_ORDER);
    assert_eq!(partition.send(0, 0, 1), Verdict::Append);
}

#[test]
fn entry_shows_the_newest_epoch_only() {
    let mut partition = Partition::with_batches(4);
    partition.send(2, 0, 6);
    let entry = partition.producers.entry(PID).expect("the producer wrote");
    assert_eq!((entry.epoch(), entry.last_sequence()), (Epoch(2), Some(Sequence(5))));
    assert_eq!(entry.cached().count(), 1);
}

#[test]
fn restart_leaves_the_last_batch_only() {
    let mut partition = Partition::with_batches(5);
    partition.producers.keep_last_batches();
    for sequence in 0..4 {
        assert_eq!(partition.send(0, sequence, 1), OUT_OF_ORDER);
    }
    assert_eq!(duplicate_at(partition.send(0, 4, 1)), 4);
    assert_eq!(partition.send(0, 5, 1), Verdict::Append);
}

// Expiry.

fn at(timestamp: u64) -> Moment {
    Moment { elapsed: Duration::ZERO, wall: Duration::from_millis(timestamp) }
}

#[test]
fn state_expires_by_the_record_timestamp_of_the_last_batch() {
    let day = Duration::from_secs(86_400);
    let mut partition = Partition::default();
    partition.send_stamp(stamp(0, 0, 1), 1, 5_000);
    partition.producers.expire(at(86_400_000 + 4_999), day);
    assert_eq!(partition.send(0, 9, 1), OUT_OF_ORDER);
    partition.producers.expire(at(86_400_000 + 5_000), day);
    assert_eq!(partition.send(0, 9, 1), Verdict::Append, "an expired producer starts anywhere");
}

#[test]
fn batch_stamped_in_the_past_shortens_its_producers_life() {
    let mut partition = Partition::default();
    partition.send_stamp(stamp(0, 0, 1), 1, 100_000);
    partition.send_stamp(stamp(0, 1, 1), 1, 10);
    partition.producers.expire(at(60_010), Duration::from_secs(60));
    assert!(partition.producers.entry(PID).is_none());
}
