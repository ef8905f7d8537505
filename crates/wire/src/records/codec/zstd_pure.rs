//! zstd in Rust alone: reads everything, writes at one level.

use std::ops::RangeInclusive;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress};

use super::UnpackError;

/// Only one can be written.
pub(super) const LEVELS: Option<RangeInclusive<i32>> = None;

#[derive(Default)]
pub(super) struct Encoder;

impl Encoder {
    /// False where `room` is not enough.
    pub(super) fn encode<'a>(
        &mut self,
        _only: Option<i32>,
        chunks: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
        room: usize,
    ) -> bool {
        compress(Chunks { chunks, begun: &[] }, &mut *out, CompressionLevel::Fastest);
        out.len() <= room
    }
}

/// Chunks that are read one after the other.
struct Chunks<'a, I> {
    chunks: I,
    begun: &'a [u8],
}

impl<'a, I: Iterator<Item = &'a [u8]>> std::io::Read for Chunks<'a, I> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.begun.is_empty() {
            match self.chunks.next() {
                Some(next) => self.begun = next,
                None => return Ok(0),
            }
        }
        self.begun.read(into)
    }
}

pub(super) fn decode(body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let window_max = limit.clamp(WINDOW_MIN, WINDOW_MAX) as u64;
    let (mut rest, mut out) = (body, Vec::new());
    // Frames may follow each other, and an empty body has none.
    loop {
        let decoder = StreamingDecoder::new_with_max_window_size(&mut rest, window_max);
        let decoder = decoder.map_err(|_| UnpackError::Malformed)?;
        let left = limit - out.len();
        let frame = super::read_all(decoder, left, body.len());
        let frame = frame.map_err(|error| {
            if let UnpackError::TooLarge { .. } = error { UnpackError::TooLarge { limit } } else { error }
        })?;
        if out.is_empty() {
            out = frame
        } else {
            out.extend_from_slice(&frame)
        }
        if rest.is_empty() {
            return Ok(out);
        }
    }
}

/// 8 MiB, as the higher levels write whatever the size of the batch.
const WINDOW_MIN: usize = 1 << 23;
/// 128 MiB, as the highest level asks for.
const WINDOW_MAX: usize = 1 << 27;
