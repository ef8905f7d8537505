//! snappy, in the stream that Java's snappy library writes (Xerial's): a header, then blocks with their lengths. librdkafka and
//! others write one bare block; both are read.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::UnpackError;
use super::blocks::{BLOCK_BYTES, Blocks};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The magic, the version and the oldest version that can read it, both 1.
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// False where `room` is not enough.
pub(super) fn encode<'a>(
    encoder: &mut Encoder,
    chunks: impl Iterator<Item = &'a [u8]>,
    blocks: &mut Blocks,
    out: &mut Vec<u8>,
    room: usize,
) -> bool {
    out.extend_from_slice(&HEADER);
    let fits = blocks.each(chunks, |block| {
        let begin = out.len();
        out.resize(begin + LENGTH_BYTES + max_compress_len(block.len()), 0);
        let space = &mut out[begin + LENGTH_BYTES..];
        let written = encoder.compress(block, space).expect("a block is short and its space is enough");
        out[begin..begin + LENGTH_BYTES].copy_from_slice(&(written as i32).to_be_bytes());
        out.truncate(begin + LENGTH_BYTES + written);
        out.len() <= room
    });
    fits && out.len() <= room
}

pub(super) fn decode(body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    if !body.starts_with(&MAGIC) {
        decode_block(body, &mut out, limit)?;
        return Ok(out);
    }
    let mut rest = body;
    while !rest.is_empty() {
        // Streams may follow each other, each with its header.
        if rest.starts_with(&MAGIC) {
            rest = rest.get(HEADER.len()..).ok_or(UnpackError::Malformed)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or(UnpackError::Malformed)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| UnpackError::Malformed)?;
        let block = after.get(..length).ok_or(UnpackError::Malformed)?;
        decode_block(block, &mut out, limit)?;
        rest = &after[length..];
    }
    Ok(out)
}

fn decode_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), UnpackError> {
    let claimed = decompress_len(block).map_err(|_| UnpackError::Malformed)?;
    // What cannot be in these bytes is not believed: three of them copy at most 64.
    if claimed > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(UnpackError::Malformed);
    }
    let begin = out.len();
    if claimed > limit - begin {
        return Err(UnpackError::TooLarge { limit });
    }
    out.resize(begin + claimed, 0);
    let written = Decoder::new().decompress(block, &mut out[begin..]).map_err(|_| UnpackError::Malformed)?;
    if written == claimed { Ok(()) } else { Err(UnpackError::Malformed) }
}

const LENGTH_BYTES: usize = 4;
const EXPANSION_MAX: usize = 22;

const _: () = assert!(BLOCK_BYTES <= i32::MAX as usize);
