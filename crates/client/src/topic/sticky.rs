//! Where records go that may go anywhere: one partition for a while, then another one.
//!
//! Always holds: how long a visit lasts does not depend on what the partition does with the records: a slow one gets no more
//! than others (KIP-794). What ends it early is only that there is no room.
//!
//! Left out: which one is next by its load; see `core/producer/partitioning.rs`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use milena_core::producer::partitioning;
use milena_core::time::Moment;

use super::thread_number;
use crate::slot::PartitionSlot;

/// A visit lasts so long at least, so that batches without linger are not of one record each.
const VISIT_MIN: Duration = Duration::from_millis(5);

/// Of more partitions than these, some neighbours by chance are looked at: a look at ten thousand takes longer than the records
/// of a visit.
const LOOKED_AT_MAX: usize = 64;

/// As many threads have visits of their own; of more, some share one. 2 KiB for each topic that has such records.
const THREADS: usize = 32;

/// The visits of a topic: each thread that sends has its own, whatever handle it uses, so that threads fill batches of their
/// own instead of taking turns at the lock of one partition.
#[derive(Debug, Default)]
pub(crate) struct Visits(OnceLock<Box<[Sticky; THREADS]>>);

impl Visits {
    /// Of this thread.
    #[inline]
    pub(super) fn here(&self) -> &Sticky {
        &self.0.get_or_init(Self::begin)[thread_number::here() % THREADS]
    }

    /// Threads start at partitions side by side, and each topic somewhere else.
    #[cold]
    fn begin() -> Box<[Sticky; THREADS]> {
        let first = RandomState::new().hash_one(()) as u32;
        Box::new(std::array::from_fn(|number| Sticky::new(first.wrapping_add(number as u32))))
    }
}

/// Of one thread, on a cache line of its own. Threads that share it may count a record twice or not at all; they only go on a
/// little sooner or later.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Sticky {
    place: AtomicU32,
    /// In microseconds; 0 before the first record of a visit.
    ends: AtomicU64,
    /// Bytes that the visit may still bring.
    left: AtomicU64,
    /// Numbers by chance, one after the other.
    draws: AtomicU64,
}

impl Sticky {
    pub(super) fn new(start: u32) -> Self {
        Self {
            place: AtomicU32::new(start),
            ends: AtomicU64::new(0),
            left: AtomicU64::new(0),
            draws: AtomicU64::new(mixed(u64::from(start) + 1)),
        }
    }

    /// Where records go now, of so many partitions.
    #[inline]
    pub(super) fn place(&self, count: usize) -> usize {
        self.place.load(Ordering::Relaxed) as usize % count
    }

    /// Whether the next record begins a visit.
    #[inline]
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.left.load(Ordering::Relaxed) == 0 || self.ends.load(Ordering::Relaxed) <= now.as_micros()
    }

    /// A record of so many bytes went there.
    #[inline]
    pub(super) fn count(&self, bytes: usize) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(bytes as u64), Ordering::Relaxed);
    }

    /// Whether any visit was begun: the first one goes where the thread starts.
    #[cold]
    pub(super) fn has_begun(&self) -> bool {
        self.ends.load(Ordering::Relaxed) != 0
    }

    /// A visit begins there.
    #[cold]
    pub(super) fn begin(&self, place: usize, now: Moment, linger: Duration, batch_size: usize) {
        self.place.store(place as u32, Ordering::Relaxed);
        self.left.store(batch_size as u64, Ordering::Relaxed);
        self.ends.store((now + linger.max(VISIT_MIN)).as_micros().max(1), Ordering::Relaxed);
    }

    /// Where the next visit goes, by chance and by how many batches' worth of memory each partition holds.
    #[cold]
    pub(super) fn next(&self, partitions: &[Arc<PartitionSlot>], batch_size: usize) -> usize {
        let draw = mixed(self.draws.fetch_add(STEP, Ordering::Relaxed));
        let count = partitions.len();
        let (first, looked_at) =
            if count <= LOOKED_AT_MAX { (0, count) } else { ((draw >> 32) as usize % count, LOOKED_AT_MAX) };
        let place = |step: usize| (first + step) % count;
        // Looked at once: they grow and shrink meanwhile, and what is picked is picked from one state.
        let mut queues = [0; LOOKED_AT_MAX];
        for (step, queue) in queues[..looked_at].iter_mut().enumerate() {
            *queue = (partitions[place(step)].account().held() / batch_size) as u64;
        }
        place(partitioning::pick(queues[..looked_at].iter().copied(), draw & u64::from(u32::MAX)))
    }
}

/// The golden ratio of 2⁶⁴: with [`mixed`] this is SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use milena_core::ids::{PartitionId, PartitionIndex};
    use milena_core::producer::body::ChunkSource;
    use milena_core::producer::front::{FrontConfig, PartitionFront};
    use milena_core::producer::trouble::Trouble;

    use super::*;
    use crate::gate::Gate;
    use crate::pool::ChunkPool;

    const BATCH: usize = 1000;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(1_000_000 + 1000 * millis)
    }

    #[test]
    fn a_visit_ends_with_a_batch_of_bytes_or_with_the_linger() {
        let sticky = Sticky::new(7);
        assert!(!sticky.has_begun() && sticky.is_over(at(0)) && sticky.place(4) == 3);
        sticky.begin(2, at(0), Duration::from_millis(20), BATCH);
        assert_eq!(sticky.place(4), 2);
        sticky.count(BATCH - 1);
        assert!(sticky.has_begun() && !sticky.is_over(at(19)) && sticky.is_over(at(20)));
        sticky.count(1);
        assert!(sticky.is_over(at(0)));
        // Without linger too, or each record would be alone in its batch.
        sticky.begin(1, at(0), Duration::ZERO, BATCH);
        assert!(!sticky.is_over(at(4)) && sticky.is_over(at(5)));
    }

    fn slots(count: u32) -> Vec<Arc<PartitionSlot>> {
        let front = FrontConfig {
            batch_size: BATCH,
            max_request_size: BATCH,
            linger: Duration::ZERO,
            deadline: Duration::from_secs(1),
            after_deadline: milena_core::producer::front::AfterDeadline::Complete,
            may_withdraw: true,
        };
        let slot = |number: u32| {
            let front = PartitionFront::new(PartitionIndex(number as i32), Trouble::new(), front);
            Arc::new(PartitionSlot::new(
                PartitionId(number),
                "orders".into(),
                front,
                Arc::new(Gate::new()),
                Arc::new(Gate::new()),
            ))
        };
        (0..count).map(slot).collect()
    }

    fn visits(sticky: &Sticky, slots: &[Arc<PartitionSlot>], visits: usize) -> Vec<usize> {
        let mut counts = vec![0; slots.len()];
        (0..visits).for_each(|_| counts[sticky.next(slots, BATCH)] += 1);
        counts
    }

    #[test]
    fn partitions_are_visited_alike_and_those_that_are_behind_less_often() {
        let slots = slots(4);
        let alike = visits(&Sticky::new(1), &slots, 40_000);
        assert!(alike.iter().all(|count| (9_500..10_500).contains(count)), "{alike:?}");
        let pool = ChunkPool::new(1 << 20, milena_core::producer::account::Share::new(1.0).expect("a share"));
        pool.charge_always(slots[1].account(), 3 * BATCH + BATCH / 2);
        // Three batches wait at one: it has the weight 1, the others have 4.
        let weighed = visits(&Sticky::new(1), &slots, 39_000);
        let expected = [12_000, 3_000, 12_000, 12_000];
        assert!(weighed.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) < 600), "{weighed:?}");
    }

    #[test]
    fn every_one_of_many_partitions_is_visited() {
        let slots = slots(500);
        let counts = visits(&Sticky::new(1), &slots, 50_000);
        assert!(counts.iter().all(|count| (40..200).contains(count)), "{counts:?}");
    }

    /// What waits was looked at three times for one choice; the sums did not match, and a caller panicked.
    #[test]
    fn a_choice_is_made_while_memory_comes_and_goes() {
        let slots: [_; 3] = slots(3).try_into().expect("three");
        let pool = ChunkPool::new(1 << 30, milena_core::producer::account::Share::new(1.0).expect("a share"));
        std::thread::scope(|scope| {
            let busy = slots.each_ref().map(|slot| {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        (0..50).for_each(|_| pool.charge_always(slot.account(), BATCH));
                        slot.account().subtract(50 * BATCH);
                    }
                })
            });
            let sticky = Sticky::new(1);
            while busy.iter().any(|busy| !busy.is_finished()) {
                assert!(sticky.next(&slots, BATCH) < 3);
            }
        });
    }

    #[test]
    fn each_thread_has_visits_of_its_own() {
        let visits = Visits::default();
        let place_of_another = || {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    visits.here().begin(7, at(0), Duration::from_secs(1), BATCH);
                    visits.here().place(12)
                });
                other.join().expect("no panic")
            })
        };
        visits.here().begin(5, at(0), Duration::from_secs(1), BATCH);
        assert_eq!((place_of_another(), visits.here().place(12)), (7, 5));
        let starts: Vec<_> = Visits::begin().iter().map(|sticky| sticky.place(12)).collect();
        assert!(starts.windows(2).all(|pair| pair[0] != pair[1]), "{starts:?}");
    }

    #[test]
    fn threads_start_at_different_partitions_and_go_different_ways() {
        let slots = slots(12);
        let way = |start| {
            let sticky = Sticky::new(start);
            std::iter::once(sticky.place(12)).chain((0..5).map(|_| sticky.next(&slots, BATCH))).collect::<Vec<_>>()
        };
        assert_ne!(way(3)[0], way(4)[0]);
        assert_ne!(way(3)[1..], way(4)[1..]);
    }
}
