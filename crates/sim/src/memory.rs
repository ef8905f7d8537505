//! The producer's memory with its limit, as the client's pool counts it.

use std::cell::{Cell, RefCell};

use milena_core::producer::account::{Account, Full, Share, Tight};
use milena_core::producer::body::{CHUNK_BYTES_MAX, Chunk, ChunkSource};

#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    held: Cell<usize>,
    free: RefCell<[Vec<Vec<u8>>; CLASSES.len()]>,
}

const CLASSES: [usize; 4] = [1024, 4 * 1024, 16 * 1024, CHUNK_BYTES_MAX];

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Cell::new(0), free: RefCell::default() }
    }

    /// What batches hold now.
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }
}

impl ChunkSource for Memory {
    fn take(&self, account: &Account, bytes: usize) -> Result<Vec<u8>, Full> {
        let class = CLASSES.iter().position(|size| *size >= bytes).ok_or(Full::Buffer)?;
        self.charge(account, CLASSES[class])?;
        let pooled = self.free.borrow_mut()[class].pop();
        Ok(pooled.unwrap_or_else(|| Vec::with_capacity(CLASSES[class])))
    }

    fn charge(&self, account: &Account, bytes: usize) -> Result<(), Full> {
        if self.held.get() + bytes > self.limit {
            return Err(Full::Buffer);
        }
        let room = Share::default().room(self.limit, self.held.get(), account.held());
        if bytes > room {
            return Err(Full::Share(Tight { wanted: bytes, room, free: self.limit - self.held.get() }));
        }
        self.charge_always(account, bytes);
        Ok(())
    }

    fn charge_always(&self, account: &Account, bytes: usize) {
        account.add(bytes);
        self.held.set(self.held.get() + bytes);
    }

    fn give(&self, account: &Account, chunk: Chunk) {
        let bytes = chunk.bytes_held();
        account.subtract(bytes);
        let held = self.held.get().checked_sub(bytes).expect("no more is given back than was taken");
        self.held.set(held);
        if let Chunk::Pooled(mut pooled) = chunk
            && let Some(class) = CLASSES.iter().position(|size| *size == bytes)
        {
            pooled.clear();
            self.free.borrow_mut()[class].push(pooled);
        }
    }
}
