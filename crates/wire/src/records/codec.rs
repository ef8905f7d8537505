//! The codecs of record bodies: gzip, snappy, lz4, zstd, both ways.
//!
//! What is written is what Kafka's own Java client reads: gzip as one member, snappy in blocks with the Xerial header, lz4 as
//! a frame of independent blocks, zstd as one frame. What is read is all that clients write: gzip and zstd in several pieces,
//! snappy with and without the header, lz4 with linked blocks and every checksum.
//!
//! Always holds: reading takes no more memory than a small multiple of the limit that is given and a constant, whatever
//! the bytes claim; writing gives nothing where the records would not get smaller.
//!
//! Pure Rust, but for zstd with the feature of its name: without it zstd is written at one level only.

mod blocks;
mod gzip;
mod lz4;
mod snappy;
#[cfg(feature = "zstd")]
#[path = "codec/zstd_library.rs"]
mod zstd;
#[cfg(not(feature = "zstd"))]
#[path = "codec/zstd_pure.rs"]
mod zstd;
/// The two must read each other.
#[cfg(all(test, feature = "zstd"))]
#[allow(dead_code, reason = "its levels are those of the library here")]
mod zstd_pure;

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::ops::RangeInclusive;

use super::header::Compression;

/// A codec by which records can be written.
///
/// ```
/// use milena_wire::records::{Codec, Compression};
///
/// assert_eq!(Codec::Gzip.levels(), Some(1..=9));
/// assert_eq!(Codec::Snappy.levels(), None);
/// assert_eq!(Codec::Zstd.produce_version_min(), 7);
/// assert!(Codec::ALL.iter().all(|codec| Compression::from(*codec) != Compression::None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Small and slow.
    Gzip,
    /// Fast, somewhat larger than lz4.
    Snappy,
    /// Fast.
    Lz4,
    /// As small as gzip, several times as fast. Brokers take it from Produce version 7 on (KIP-110, Kafka 2.1).
    Zstd,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The levels that can be chosen here, where there are any. Higher ones are smaller and slower.
    #[must_use]
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::Gzip => Some(1..=9),
            Self::Snappy | Self::Lz4 => None,
            Self::Zstd => zstd::LEVELS,
        }
    }

    /// The first version of Produce in which brokers take it.
    #[must_use]
    pub const fn produce_version_min(self) -> i16 {
        match self {
            Self::Gzip | Self::Snappy | Self::Lz4 => 0,
            Self::Zstd => 7,
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Compression::from(*self).fmt(f)
    }
}

/// How records are written: a codec at a level that it has.
///
/// ```
/// use milena_wire::records::{Codec, Encoding};
///
/// let small = Encoding::with_level(Codec::Gzip, 9).expect("gzip has it");
/// assert_eq!((small.codec(), small.level()), (Codec::Gzip, Some(9)));
/// assert_eq!(Encoding::new(Codec::Lz4).level(), None);
/// assert_eq!(Encoding::with_level(Codec::Snappy, 1), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    codec: Codec,
    level: Option<i32>,
}

impl Encoding {
    /// At the codec's own default level: 6 for gzip, 3 for zstd.
    #[must_use]
    pub const fn new(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// At this level, if the codec has it.
    #[must_use]
    pub fn with_level(codec: Codec, level: i32) -> Option<Self> {
        let level = codec.levels()?.contains(&level).then_some(level)?;
        Some(Self { codec, level: Some(level) })
    }

    /// The codec.
    #[must_use]
    pub const fn codec(self) -> Codec {
        self.codec
    }

    /// The level that was chosen.
    #[must_use]
    pub const fn level(self) -> Option<i32> {
        self.level
    }
}

/// Writes bodies. Keeps the tables of the codecs and a buffer from one to the next, so each thread has its own.
///
/// ```
/// use milena_wire::records::{Codec, Encoding, Packer, unpack};
///
/// let text = "again and ".repeat(100);
/// let mut packer = Packer::new();
/// let packed = packer.pack(Encoding::new(Codec::Lz4), [text.as_bytes()]).expect("it shrinks");
/// assert_eq!(unpack(Codec::Lz4.into(), &packed, text.len())?, text.as_bytes());
/// assert_eq!(packer.pack(Encoding::new(Codec::Lz4), [b"no".as_slice()]), None, "it would grow");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Packer {
    out: Vec<u8>,
    blocks: blocks::Blocks,
    gzip: Option<gzip::Encoder>,
    snappy: Option<snap::raw::Encoder>,
    lz4: Option<lz4::Encoder>,
    zstd: Option<zstd::Encoder>,
}

impl Packer {
    /// One that has not packed anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The body in fewer bytes; nothing if they would not be fewer. It is given as its chunks in order, split anywhere.
    pub fn pack<'a, S>(&mut self, encoding: Encoding, chunks: S) -> Option<Vec<u8>>
    where
        S: IntoIterator<Item = &'a [u8]>,
        S::IntoIter: Clone,
    {
        let chunks = chunks.into_iter();
        let len: usize = chunks.clone().map(<[u8]>::len).sum();
        // One byte less than before at least.
        self.pack_within(len.checked_sub(1)?, encoding, chunks)
    }

    /// The body in the codec, though it takes more bytes than before: what a broker does for a topic that asks for the codec.
    ///
    /// ```
    /// use milena_wire::records::{Codec, Encoding, Packer, unpack};
    ///
    /// let packed = Packer::new().pack_even_if_larger(Encoding::new(Codec::Lz4), b"no");
    /// assert!(packed.len() > 2);
    /// assert_eq!(unpack(Codec::Lz4.into(), &packed, 2)?, b"no");
    /// # Ok::<(), milena_wire::records::UnpackError>(())
    /// ```
    pub fn pack_even_if_larger(&mut self, encoding: Encoding, body: &[u8]) -> Vec<u8> {
        // Snappy's worst case is a sixth more; frames and their blocks have headers.
        let room = body.len() + body.len() / 4 + 1024;
        self.pack_within(room, encoding, std::iter::once(body)).expect("no codec needs that much more")
    }

    /// Encoders stop where they would need more room.
    fn pack_within<'a>(
        &mut self,
        room: usize,
        encoding: Encoding,
        chunks: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<Vec<u8>> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.reserve_exact(room);
        let fits = match encoding.codec {
            Codec::Gzip => self.gzip.get_or_insert_default().encode(encoding.level, chunks, &mut out, room),
            Codec::Snappy => {
                let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                snappy::encode(encoder, chunks, &mut self.blocks, &mut out, room)
            }
            Codec::Lz4 => self.lz4.get_or_insert_default().encode(chunks, &mut self.blocks, &mut out, room),
            Codec::Zstd => self.zstd.get_or_insert_default().encode(encoding.level, chunks, &mut out, room),
        };
        let packed = fits.then(|| out.as_slice().to_vec());
        if out.capacity() <= BUFFER_KEPT_MAX {
            self.out = out;
        }
        packed
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// A batch of ordinary size leaves its buffer to the next one.
const BUFFER_KEPT_MAX: usize = 2 * 1024 * 1024;

/// As many bytes as a reader of batches unpacks at most by default: far more than brokers take in one batch
/// (`max.message.bytes`, 1 MiB by default) compressed ten times, and what a bomb may cost.
///
/// ```
/// use milena_wire::records::{Compression, UNPACKED_BYTES_MAX, unpack};
/// assert!(unpack(Compression::None, b"records", UNPACKED_BYTES_MAX).is_ok());
/// ```
pub const UNPACKED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Reads a body that is compressed with `codec`, up to `limit` bytes of records. Takes at most three times the limit and a
/// constant of memory for it, and never more than what the bytes really hold asks for.
///
/// ```
/// use milena_wire::records::{Codec, Encoding, Packer, UnpackError, unpack};
///
/// let bomb = Packer::new().pack(Encoding::new(Codec::Zstd), [[0; 1_000_000].as_slice()]).expect("it shrinks");
/// assert_eq!(unpack(Codec::Zstd.into(), &bomb, 1_000), Err(UnpackError::TooLarge { limit: 1_000 }));
/// ```
pub fn unpack(codec: Compression, body: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    match codec {
        Compression::None if body.len() > limit => Err(UnpackError::TooLarge { limit }),
        Compression::None => Ok(body.to_vec()),
        Compression::Gzip => gzip::decode(body, limit),
        Compression::Snappy => snappy::decode(body, limit),
        Compression::Lz4 => lz4::decode(body, limit),
        Compression::Zstd => zstd::decode(body, limit),
        Compression::Unknown(id) => Err(UnpackError::NoCodec(id)),
    }
}

/// Why a compressed body was not read.
///
/// ```
/// use milena_wire::records::{Compression, UnpackError, unpack};
///
/// assert_eq!(unpack(Compression::Gzip, b"no gzip", 1_000), Err(UnpackError::Malformed));
/// assert_eq!(unpack(Compression::Unknown(7), b"", 1_000), Err(UnpackError::NoCodec(7)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnpackError {
    /// It holds more bytes than were asked for.
    TooLarge {
        /// Bytes that were allowed.
        limit: usize,
    },
    /// It is not what its codec writes.
    Malformed,
    /// A number that Kafka has given to no codec yet.
    NoCodec(u8),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "its records take more than {limit} bytes"),
            Self::Malformed => write!(f, "its bytes are not what the codec writes"),
            Self::NoCodec(id) => write!(f, "there is no codec {id}"),
        }
    }
}

impl Error for UnpackError {}

/// Everything that a decoder gives, up to the limit.
fn read_all(decoder: impl Read, limit: usize, compressed: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::with_capacity(limit.min(compressed.saturating_mul(FIRST_GUESS)));
    // One more than allowed tells what is too large from what is just large enough.
    let mut bounded = decoder.take(limit as u64 + 1);
    bounded.read_to_end(&mut out).map_err(|_| UnpackError::Malformed)?;
    if out.len() > limit { Err(UnpackError::TooLarge { limit }) } else { Ok(out) }
}

/// Records often shrink to a quarter.
const FIRST_GUESS: usize = 4;

#[cfg(test)]
mod tests;
