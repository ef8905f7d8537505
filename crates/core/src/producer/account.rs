//! What each partition holds of the producer's memory, and how much of it one partition may hold.
//!
//! A partition may hold at most a share of what the others leave (a dynamic threshold, as switches share their buffers):
//! with a share of one half, one dead partition holds at most a half, two a third each, `n` dead ones `1/(n+1)` each. So
//! however many partitions fill up, and nobody knows beforehand which, something is left for those that are healthy.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// What one partition holds: shared by its front and by every body whose memory must be given back.
#[derive(Debug, Default)]
pub struct Account(AtomicUsize);

impl Account {
    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// The partition holds more.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::SeqCst);
    }

    /// The partition holds less.
    pub fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// Which limit a request for memory has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All of the buffer is in use.
    Buffer,
    /// The partition holds its share.
    Share(Tight),
}

/// What a partition found that holds its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tight {
    /// Bytes that it wanted.
    pub wanted: usize,
    /// Bytes that it might have taken.
    pub room: usize,
    /// Bytes that were left for all.
    pub free: usize,
}

impl Tight {
    /// Of two partitions the one that is nearer to what is wanted of it; and the less that was seen to be left.
    #[must_use]
    pub fn looser(self, other: Self) -> Self {
        let missing = |tight: &Self| tight.wanted.saturating_sub(tight.room);
        let nearer = if missing(&other) < missing(&self) { other } else { self };
        Self { free: self.free.min(other.free), ..nearer }
    }
}

/// The part of what others leave that one partition may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// From just above nothing to 1, which limits nobody.
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self(share))
    }

    /// How many more bytes a partition may hold that holds `mine` of the `held` bytes, which are at most `limit`.
    pub fn room(self, limit: usize, held: usize, mine: usize) -> usize {
        // One that holds nothing may always begin: its first record may be larger than a share.
        if mine == 0 {
            return limit.saturating_sub(held);
        }
        let left = limit.saturating_sub(held.saturating_sub(mine));
        ((left as f64 * self.0) as usize).saturating_sub(mine)
    }
}

impl Default for Share {
    /// Half: one busy partition has most of what it needs to fill its window, and one dead one leaves as much as it takes.
    fn default() -> Self {
        Self(0.5)
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    /// Partitions that nobody empties, each filled as far as it goes, one after the other and again until none grows.
    fn filled(share: f64, partitions: usize) -> (Vec<usize>, usize) {
        let (share, limit, chunk) = (Share::new(share).expect("a share"), 1_000_000, 100);
        let mut held = vec![0; partitions];
        loop {
            let before: usize = held.iter().sum();
            for partition in 0..partitions {
                let all: usize = held.iter().sum();
                if share.room(limit, all, held[partition]) >= chunk {
                    held[partition] += chunk;
                }
            }
            if held.iter().sum::<usize>() == before {
                return (held, limit - before);
            }
        }
    }

    #[test]
    fn dead_partitions_leave_as_much_as_each_of_them_holds() {
        for partitions in [1, 2, 3, 9, 50] {
            let (held, left) = filled(0.5, partitions);
            let fair = 1_000_000 / (partitions + 1);
            assert!(held.iter().all(|held| held.abs_diff(fair) <= 1_000), "{partitions}: {held:?}");
            assert!(left + 1_000 >= fair, "{partitions}: {left}");
        }
    }

    #[test]
    fn a_share_of_all_limits_nobody() {
        let (held, left) = filled(1.0, 1);
        assert_eq!((held[0], left), (1_000_000, 0));
    }

    #[test]
    fn who_holds_nothing_may_begin_with_what_is_left() {
        let share = Share::new(0.01).expect("a share");
        assert_eq!(share.room(1_000, 600, 0), 400);
        assert_eq!(share.room(1_000, 600, 1), 3);
        assert_eq!(share.room(1_000, 1_200, 0), 0, "a rewrite may pass the limit for a moment");
    }

    #[test]
    fn a_share_lies_between_nothing_and_all() {
        assert_eq!([0.0, -1.0, 1.1, f64::NAN].map(Share::new), [None; 4]);
    }
}
