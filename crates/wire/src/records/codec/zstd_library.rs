//! zstd by its own library, which is C: four times as fast as what there is in Rust, and with levels.

use std::ops::RangeInclusive;

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::UnpackError;

/// All of the library, as Java has them. Negative ones are faster than 1 and larger; 0 is the default.
pub(super) const LEVELS: Option<RangeInclusive<i32>> = Some(-131_072..=22);
/// The library's own default, and Java's.
const LEVEL: i32 = 3;

pub(super) struct Encoder {
    context: CCtx<'static>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { context: CCtx::create() }
    }
}

impl Encoder {
    /// False where `room` is not enough.
    pub(super) fn encode<'a>(
        &mut self,
        level: Option<i32>,
        chunks: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
        room: usize,
    ) -> bool {
        self.try_encode(level.unwrap_or(LEVEL), chunks, out, room).unwrap_or(false)
    }

    fn try_encode<'a>(
        &mut self,
        level: i32,
        chunks: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
        room: usize,
    ) -> Result<bool, zstd_safe::ErrorCode> {
        let len: usize = chunks.clone().map(<[u8]>::len).sum();
        self.context.reset(ResetDirective::SessionOnly)?;
        self.context.set_parameter(CParameter::CompressionLevel(level))?;
        self.context.set_pledged_src_size(Some(len as u64))?;
        out.resize(room, 0);
        let mut output = OutBuffer::around(out.as_mut_slice());
        for chunk in chunks {
            let mut input = InBuffer::around(chunk);
            while input.pos() < chunk.len() {
                let before = (input.pos(), output.pos());
                self.context.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_continue)?;
                if (input.pos(), output.pos()) == before {
                    return Ok(false);
                }
            }
        }
        let mut input = InBuffer::around(&[]);
        let left = self.context.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_end)?;
        let written = output.pos();
        out.truncate(written);
        Ok(left == 0)
    }
}

pub(super) fn decode(body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut context = DCtx::create();
    // What a frame claims to look back to is allocated: no more than the limit, nor than the highest level asks for.
    let window_log = limit.max(1).ilog2().clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX);
    let malformed = |_| UnpackError::Malformed;
    context.set_parameter(DParameter::WindowLogMax(window_log)).map_err(malformed)?;
    let mut out = vec![0; limit.min(body.len().saturating_mul(super::FIRST_GUESS)).max(1)];
    let (mut input, mut len) = (InBuffer::around(body), 0);
    loop {
        let mut output = OutBuffer::around(&mut out[len..]);
        let before = input.pos();
        let left = context.decompress_stream(&mut output, &mut input).map_err(malformed)?;
        let (written, is_full) = (output.pos(), output.pos() == output.capacity());
        len += written;
        if len > limit {
            return Err(UnpackError::TooLarge { limit });
        }
        match (left, input.pos() == body.len()) {
            (0, true) => break,
            (_, true) if !is_full => return Err(UnpackError::Malformed),
            _ if written == 0 && input.pos() == before && !is_full => return Err(UnpackError::Malformed),
            _ => {}
        }
        if len == out.len() {
            // One more than allowed tells what is too large.
            out.resize((2 * len).min(limit.saturating_add(1)), 0);
        }
    }
    out.truncate(len);
    Ok(out)
}

/// 8 MiB, as the higher levels write whatever the size of the batch.
const WINDOW_LOG_MIN: u32 = 23;
/// 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
