//! The memory of a producer: pooled chunks, counted against `buffer_memory`.
//!
//! Always holds: what is held never passes the limit (but for the moment of a rewrite); memory that is given back wakes
//! the first of those who wait for it.
//!
//! Left out: the appending itself, which the first in the queue tries again.

use milena_core::producer::batch::{CHUNK_BYTES_MAX, Chunk, ChunkSource};
use milena_core::sync::Mutex;
use milena_core::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::turns::TurnQueue;

#[derive(Debug)]
pub(crate) struct ChunkPool {
    limit: usize,
    held: AtomicUsize,
    /// One list of free chunks per class.
    free: [Mutex<Vec<Vec<u8>>>; CLASSES.len()],
    /// Those who wait for room.
    pub(crate) room: TurnQueue,
}

/// Thin partitions hold little, thick ones have few pieces; powers of four keep the waste of a batch's last chunk bounded.
const CLASSES: [usize; 4] = [1024, 4 * 1024, 16 * 1024, CHUNK_BYTES_MAX];

/// Free chunks kept of each class: 4 MiB of the largest, enough for the batches that are in flight at full speed.
const FREE_CHUNKS_MAX: usize = 64;

impl ChunkPool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0), free: CLASSES.map(|_| Mutex::new(Vec::new())), room: TurnQueue::new() }
    }

    /// Bytes that batches hold now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    fn refund(&self, bytes: usize) {
        let held = self.held.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        // An eighth of the buffer at once: waking for every chunk would cost more than the chunk is worth.
        let is_worth_it = held == 0 || held + self.limit / 8 <= self.limit;
        if is_worth_it {
            // Either the one who waits sees this refund in its next try, or this sees that it waits.
            fence(Ordering::SeqCst);
            self.room.wake_first();
        }
    }
}

impl ChunkSource for ChunkPool {
    fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let class = CLASSES.iter().position(|size| *size >= bytes)?;
        if !self.charge(CLASSES[class]) {
            return None;
        }
        let free = self.free[class].lock().pop();
        Some(free.unwrap_or_else(|| Vec::with_capacity(CLASSES[class])))
    }

    fn charge(&self, bytes: usize) -> bool {
        // Never above the limit, not even for a moment: `refund` would take that for memory in use and wake nobody.
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.limit);
        self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn charge_always(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    fn give(&self, chunk: Chunk) {
        let bytes = chunk.bytes_held();
        if let Chunk::Pooled(mut pooled) = chunk
            && let Some(class) = CLASSES.iter().position(|size| *size == bytes)
        {
            pooled.clear();
            let mut free = self.free[class].lock();
            if free.len() < FREE_CHUNKS_MAX {
                free.push(pooled);
            }
        }
        self.refund(bytes);
    }
}
