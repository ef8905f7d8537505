//! gzip, by zlib-rs.

use flate2::bufread::MultiGzDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{UnpackError, read_all};

/// zlib's own default.
const LEVEL: i32 = 6;
/// The largest window, 32 KiB.
const WINDOW_BITS: u8 = 15;

#[derive(Default)]
pub(super) struct Encoder {
    /// With the level that it was made for.
    stream: Option<(i32, Compress)>,
}

impl Encoder {
    /// False where `room` is not enough.
    pub(super) fn encode<'a>(
        &mut self,
        level: Option<i32>,
        chunks: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
        room: usize,
    ) -> bool {
        let level = level.unwrap_or(LEVEL);
        let stream = match &mut self.stream {
            Some((made_for, stream)) if *made_for == level => {
                stream.reset();
                stream
            }
            other => &mut other.insert((level, Compress::new_gzip(Compression::new(level as u32), WINDOW_BITS))).1,
        };
        out.resize(room, 0);
        for chunk in chunks {
            let end = stream.total_in() + chunk.len() as u64;
            while stream.total_in() < end {
                let left = &chunk[chunk.len() - (end - stream.total_in()) as usize..];
                let before = (stream.total_in(), stream.total_out());
                let status = stream.compress(left, &mut out[before.1 as usize..], FlushCompress::None);
                if status.is_err() || (stream.total_in(), stream.total_out()) == before {
                    return false;
                }
            }
        }
        let status = stream.compress(&[], &mut out[stream.total_out() as usize..], FlushCompress::Finish);
        out.truncate(stream.total_out() as usize);
        matches!(status, Ok(Status::StreamEnd))
    }
}

pub(super) fn decode(body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    read_all(MultiGzDecoder::new(body), limit, body.len())
}
