//! The memory of a producer: pooled chunks, counted against `buffer_memory` and against each partition's share of it.
//!
//! Always holds: what batches hold never passes the limit (but for the moment of a rewrite); memory that is given back
//! wakes the first of those who wait for it and can have it.
//!
//! Left out: the appending itself, which the one who has the turn tries again.

use milena_core::producer::account::{Account, Full, Share, Tight};
use milena_core::producer::body::{CHUNK_BYTES_MAX, Chunk, ChunkSource};
use milena_core::sync::Mutex;
use milena_core::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::room::{Gauge, RoomQueue};

#[derive(Debug)]
pub(crate) struct ChunkPool {
    limit: usize,
    share: Share,
    held: AtomicUsize,
    /// One list of free chunks per class.
    free: [Mutex<Vec<Vec<u8>>>; CLASSES.len()],
    /// Those who wait for room.
    pub(crate) room: RoomQueue,
}

/// Thin partitions hold little, thick ones have few pieces; powers of four keep the waste of a batch's last chunk bounded.
const CLASSES: [usize; 4] = [1024, 4 * 1024, 16 * 1024, CHUNK_BYTES_MAX];

/// Free chunks kept of each class: 4 MiB of the largest, enough for the batches that are in flight at full speed.
const FREE_CHUNKS_MAX: usize = 64;

impl ChunkPool {
    pub(crate) fn new(limit: usize, share: Share) -> Self {
        let free = CLASSES.map(|_| Mutex::new(Vec::new()));
        Self { limit, share, held: AtomicUsize::new(0), free, room: RoomQueue::new() }
    }

    /// Bytes that batches and reports hold now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Counts memory that is no batch's, and must be counted whatever the limit.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    /// It is held no more.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.wake_next();
    }

    /// What a chunk of at least so many bytes is charged with.
    pub(crate) fn class_of(bytes: usize) -> usize {
        let class = CLASSES.into_iter().find(|size| *size >= bytes);
        class.expect("nobody asks for more than the largest chunk")
    }

    /// A chunk that was charged before.
    pub(crate) fn charged_chunk(&self, class: usize) -> Vec<u8> {
        let list = CLASSES.iter().position(|size| *size == class).expect("it is a class");
        let free = self.free[list].lock().pop();
        free.unwrap_or_else(|| Vec::with_capacity(class))
    }

    /// What was charged and is not used.
    pub(crate) fn release(&self, account: &Account, bytes: usize) {
        if bytes > 0 {
            account.subtract(bytes);
            self.let_go(bytes);
        }
    }

    /// What was charged to one partition is charged to another, if that one's share lets it.
    pub(crate) fn move_charge(&self, from: &Account, to: &Account, bytes: usize) -> bool {
        let others = self.held().saturating_sub(bytes);
        if self.share.room(self.limit, others, to.held()) < bytes {
            return false;
        }
        to.add(bytes);
        from.subtract(bytes);
        true
    }

    fn wake_next(&self) {
        // Either the one who waits sees this refund in its next try, or this sees that it waits.
        fence(Ordering::SeqCst);
        self.room.wake_next(self);
    }

    /// Takes a chunk back, and tells nobody yet.
    fn put_back(&self, account: &Account, chunk: Chunk) {
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
        account.subtract(bytes);
        self.held.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Gauge for ChunkPool {
    fn room(&self, account: Option<&Account>) -> usize {
        let held = self.held();
        match account {
            Some(account) => self.share.room(self.limit, held, account.held()),
            None => self.limit.saturating_sub(held),
        }
    }
}

impl ChunkSource for ChunkPool {
    fn take(&self, account: &Account, bytes: usize) -> Result<Vec<u8>, Full> {
        let class = Self::class_of(bytes);
        self.charge(account, class)?;
        Ok(self.charged_chunk(class))
    }

    fn charge(&self, account: &Account, bytes: usize) -> Result<(), Full> {
        // A partition's takes come one after the other, under its front's lock.
        let held = self.held();
        let room = self.share.room(self.limit, held, account.held());
        let free = self.limit.saturating_sub(held);
        if bytes > room && bytes <= free {
            return Err(Full::Share(Tight { wanted: bytes, room, free }));
        }
        // Never above the limit, not even for a moment: whoever looks would take that for memory in use.
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.limit);
        let charged = self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        charged.map_err(|_| Full::Buffer)?;
        account.add(bytes);
        Ok(())
    }

    fn charge_always(&self, account: &Account, bytes: usize) {
        account.add(bytes);
        self.hold(bytes);
    }

    fn give(&self, account: &Account, chunk: Chunk) {
        self.put_back(account, chunk);
        self.wake_next();
    }

    fn give_all(&self, account: &Account, chunks: Vec<Chunk>) {
        chunks.into_iter().for_each(|chunk| self.put_back(account, chunk));
        self.wake_next();
    }
}
