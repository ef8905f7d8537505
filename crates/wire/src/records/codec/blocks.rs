//! Bodies cut into blocks of one size, for codecs that work on blocks.

/// As much as snappy looks at together, and the smallest block that an lz4 frame can have.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;

/// The buffer in which pieces are put together; what is a whole block anyway is not copied.
#[derive(Default)]
pub(super) struct Blocks {
    begun: Vec<u8>,
}

impl Blocks {
    /// Calls `take` with block after block, all but the last of full size, for as long as it says yes.
    pub(super) fn each<'a>(
        &mut self,
        chunks: impl Iterator<Item = &'a [u8]>,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> bool {
        self.begun.clear();
        for mut chunk in chunks {
            while !chunk.is_empty() {
                let missing = BLOCK_BYTES - self.begun.len();
                if chunk.len() < missing {
                    self.begun.extend_from_slice(chunk);
                    break;
                }
                let (piece, rest) = chunk.split_at(missing);
                chunk = rest;
                let goes_on = if self.begun.is_empty() {
                    take(piece)
                } else {
                    self.begun.extend_from_slice(piece);
                    take(&self.begun)
                };
                self.begun.clear();
                if !goes_on {
                    return false;
                }
            }
        }
        self.begun.is_empty() || take(&self.begun)
    }
}
