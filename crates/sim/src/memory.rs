//! The producer's memory with its limit, as the client's pool counts it.

use std::cell::{Cell, RefCell};

use milena_core::producer::batch::{CHUNK_BYTES_MAX, Chunk, ChunkSource};

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
    fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let class = CLASSES.iter().position(|size| *size >= bytes)?;
        if !self.charge(CLASSES[class]) {
            return None;
        }
        let pooled = self.free.borrow_mut()[class].pop();
        Some(pooled.unwrap_or_else(|| Vec::with_capacity(CLASSES[class])))
    }

    fn charge(&self, bytes: usize) -> bool {
        let held = self.held.get() + bytes;
        let fits = held <= self.limit;
        if fits {
            self.held.set(held);
        }
        fits
    }

    fn charge_always(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
    }

    fn give(&self, chunk: Chunk) {
        let bytes = chunk.bytes_held();
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
