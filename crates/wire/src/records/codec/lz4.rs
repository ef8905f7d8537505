//! lz4 in its frame format, as Kafka's Java client writes it: blocks of 64 KiB, each on its own, no checksum but that of the
//! frame's header. The batch has its own checksum.
//!
//! The frame is read here and not by lz4_flex: that one takes a frame that is cut for one that ends, and allocates what a
//! header claims.

use lz4_flex::block::{self, CompressTable, get_maximum_output_size};
use twox_hash::XxHash32;

use super::UnpackError;
use super::blocks::Blocks;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 1, independent blocks.
const FLAGS: u8 = 0b0110_0000;
/// Blocks of 64 KiB.
const BLOCK_SIZE: u8 = 4 << 4;
/// A block with this bit in its length is stored as it was.
const IS_STORED: u32 = 1 << 31;
const LENGTH_BYTES: usize = 4;
const END: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];

pub(super) struct Encoder {
    table: CompressTable,
}

impl Default for Encoder {
    fn default() -> Self {
        // Full blocks are too long for the small one.
        Self { table: CompressTable::large() }
    }
}

impl Encoder {
    /// False where `room` is not enough.
    pub(super) fn encode<'a>(
        &mut self,
        chunks: impl Iterator<Item = &'a [u8]>,
        blocks: &mut Blocks,
        out: &mut Vec<u8>,
        room: usize,
    ) -> bool {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FLAGS, BLOCK_SIZE, header_checksum(&[FLAGS, BLOCK_SIZE])]);
        let fits = blocks.each(chunks, |block| {
            self.encode_block(block, out);
            out.len() <= room
        });
        out.extend_from_slice(&END);
        fits && out.len() <= room
    }

    fn encode_block(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        let content = begin + LENGTH_BYTES;
        out.resize(content + get_maximum_output_size(block.len()), 0);
        let written = block::compress_into_with_table(block, &mut out[content..], &mut self.table)
            .expect("the space is enough for any block");
        let length = if written < block.len() {
            out.truncate(content + written);
            written as u32
        } else {
            out.truncate(content);
            out.extend_from_slice(block);
            block.len() as u32 | IS_STORED
        };
        out[begin..content].copy_from_slice(&length.to_le_bytes());
    }
}

pub(super) fn decode(body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut frames = Frames { rest: body, out: Vec::new(), len: 0, limit };
    loop {
        frames.frame()?;
        if frames.rest.is_empty() {
            frames.out.truncate(frames.len);
            return Ok(frames.out);
        }
    }
}

/// Frames that are read one after the other.
struct Frames<'a> {
    rest: &'a [u8],
    /// Zeroes behind `len`, so that none are written twice.
    out: Vec<u8>,
    len: usize,
    limit: usize,
}

/// What a frame's header says of it.
struct FrameHeader {
    has_linked_blocks: bool,
    has_block_checksums: bool,
    has_content_checksum: bool,
    content_size: Option<u64>,
    block_bytes_max: usize,
}

impl<'a> Frames<'a> {
    fn frame(&mut self) -> Result<(), UnpackError> {
        let header = self.header()?;
        let begin = self.len;
        loop {
            let length = u32::from_le_bytes(*self.array()?);
            if length == 0 {
                break;
            }
            self.block(&header, length, begin)?;
        }
        let content = &self.out[begin..self.len];
        let (size, checksum) = (content.len() as u64, XxHash32::oneshot(0, content));
        if header.has_content_checksum && u32::from_le_bytes(*self.array()?) != checksum {
            return Err(UnpackError::Malformed);
        }
        match header.content_size {
            Some(claimed) if claimed != size => Err(UnpackError::Malformed),
            _ => Ok(()),
        }
    }

    fn header(&mut self) -> Result<FrameHeader, UnpackError> {
        if self.take(MAGIC.len())? != MAGIC {
            return Err(UnpackError::Malformed);
        }
        let described = self.rest;
        let [flags, block_size] = *self.array()?;
        let has = |bit: u8| flags & 1 << bit != 0;
        let content_size = if has(3) { Some(u64::from_le_bytes(*self.array()?)) } else { None };
        let described = &described[..described.len() - self.rest.len()];
        let [checksum] = *self.array()?;
        let size_class = block_size >> 4;
        // Version 1; no dictionary, which nobody could have told us; bits that are not given to anything.
        let is_known = flags >> 6 == 1 && !has(0) && !has(1) && block_size & 0x8f == 0 && size_class >= 4;
        if !is_known || checksum != header_checksum(described) {
            return Err(UnpackError::Malformed);
        }
        Ok(FrameHeader {
            has_linked_blocks: !has(5),
            has_block_checksums: has(4),
            has_content_checksum: has(2),
            content_size,
            block_bytes_max: 1 << (2 * size_class + 8),
        })
    }

    fn block(&mut self, header: &FrameHeader, length: u32, frame_begin: usize) -> Result<(), UnpackError> {
        let is_stored = length & IS_STORED != 0;
        let length = (length & !IS_STORED) as usize;
        if length > header.block_bytes_max {
            return Err(UnpackError::Malformed);
        }
        let block = self.take(length)?;
        if header.has_block_checksums && u32::from_le_bytes(*self.array()?) != XxHash32::oneshot(0, block) {
            return Err(UnpackError::Malformed);
        }
        let most = if is_stored { length } else { header.block_bytes_max.min(length.saturating_mul(EXPANSION_MAX)) };
        let written = self.len + most;
        if self.out.len() < written {
            self.out.resize(written, 0);
        }
        let (before, space) = self.out.split_at_mut(self.len);
        if is_stored {
            space[..length].copy_from_slice(block);
            self.len += length;
        } else {
            let seen = if header.has_linked_blocks {
                frame_begin.max(before.len().saturating_sub(WINDOW))
            } else {
                before.len()
            };
            let written = block::decompress_into_with_dict(block, &mut space[..most], &before[seen..]);
            self.len += written.map_err(|_| UnpackError::Malformed)?;
        }
        if self.len > self.limit { Err(UnpackError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], UnpackError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(UnpackError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], UnpackError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(UnpackError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn header_checksum(described: &[u8]) -> u8 {
    (XxHash32::oneshot(0, described) >> 8) as u8
}

/// A byte of a length stands for at most 255 bytes of the match.
const EXPANSION_MAX: usize = 255;
/// How far a linked block looks back.
const WINDOW: usize = 64 * 1024;
