//! The records of a batch as they go over the wire, and the memory that they lie in.

use std::sync::Arc;

use bytes::Bytes;
use milena_wire::crc32c;

use super::account::{Account, Full};

/// A piece of a batch's body.
#[derive(Debug)]
pub enum Chunk {
    /// From the pool; goes back there.
    Pooled(Vec<u8>),
    /// Made for one record that is larger than any pooled chunk.
    Large(Vec<u8>),
    /// The caller's own bytes, not copied.
    Linked(Bytes),
}

impl Chunk {
    /// The bytes of the piece.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Pooled(bytes) | Self::Large(bytes) => bytes,
            Self::Linked(bytes) => bytes,
        }
    }

    /// What the piece counts against `buffer_memory`.
    pub fn bytes_held(&self) -> usize {
        match self {
            Self::Pooled(bytes) | Self::Large(bytes) => bytes.capacity(),
            Self::Linked(bytes) => bytes.len(),
        }
    }
}

/// Where the memory of batches comes from and goes back to; what is held counts against `buffer_memory`.
pub trait ChunkSource {
    /// An empty pooled chunk with room for at least `bytes`, which is at most [`CHUNK_BYTES_MAX`], for this partition.
    fn take(&self, account: &Account, bytes: usize) -> Result<Vec<u8>, Full>;
    /// Counts memory that is not pooled: a large record, a linked value.
    fn charge(&self, account: &Account, bytes: usize) -> Result<(), Full>;
    /// Counts memory that replaces some that was just given back; may pass the limit for a moment.
    fn charge_always(&self, account: &Account, bytes: usize);
    /// Takes a chunk back from the partition that it was given to.
    fn give(&self, account: &Account, chunk: Chunk);
    /// As [`Self::give`], for many.
    fn give_all(&self, account: &Account, chunks: Vec<Chunk>) {
        chunks.into_iter().for_each(|chunk| self.give(account, chunk));
    }
}

/// The largest pooled chunk.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The records of a batch as they go over the wire.
#[derive(Debug)]
pub struct Body {
    chunks: Vec<Chunk>,
    len: usize,
    /// Of the partition that holds the memory.
    pub(super) account: Arc<Account>,
}

impl Body {
    pub(super) fn new(chunks: Vec<Chunk>, account: Arc<Account>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
        Self { chunks, len, account }
    }

    /// One piece instead, counted for the same partition.
    pub(super) fn replaced_by(&self, bytes: Vec<u8>, source: &(impl ChunkSource + ?Sized)) -> Self {
        let chunk = Chunk::Large(bytes);
        source.charge_always(&self.account, chunk.bytes_held());
        Self::new(vec![chunk], Arc::clone(&self.account))
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Chunk::as_slice)
    }

    #[cfg(all(test, not(milena_model)))]
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Ends the body and gives its memory back.
    pub fn give_back(self, source: &(impl ChunkSource + ?Sized)) {
        source.give_all(&self.account, self.chunks);
    }

    pub(super) fn checksum(&self) -> u32 {
        self.slices().fold(0, crc32c::append)
    }
}
