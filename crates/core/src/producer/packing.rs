//! Work on a batch's bytes that takes time: compressing them, and cutting batches that are compressed. It is asked for by the
//! partition's lane, done off the write path by whoever drives the lane, on any thread, and told to the lane again.
//!
//! Always holds: a batch whose bytes are worked on is not sent; it can end meanwhile, and what comes of the work is then
//! nobody's. Work changes nothing by itself: what comes of it is taken over by the partition, or not. Whoever lets go of the
//! old bytes last gives their memory back.
//!
//! Left out: when a batch is packed, and what becomes of it; see `back/packing.rs`.

use std::sync::Arc;

use milena_wire::crc32c;
use milena_wire::records::{self, Compression, Encoding, Packer, RewrittenBody};

use super::body::{Body, ChunkSource};
use crate::ids::PartitionId;

/// How records are written: by the first of these that the broker takes, else as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encodings([Option<Encoding>; ENCODINGS_MAX]);

/// One of each codec.
const ENCODINGS_MAX: usize = 4;

impl Encodings {
    /// As they are.
    pub const NONE: Self = Self([None; ENCODINGS_MAX]);

    /// In this order; nothing if a codec comes twice.
    pub fn new(preferred: impl IntoIterator<Item = Encoding>) -> Option<Self> {
        let mut encodings = Self::NONE;
        for encoding in preferred {
            let is_new = |known: &Option<Encoding>| known.is_none_or(|known| known.codec() != encoding.codec());
            let free = encodings.0.iter().position(Option::is_none).filter(|_| encodings.0.iter().all(is_new))?;
            encodings.0[free] = Some(encoding);
        }
        Some(encodings)
    }

    /// Whether records are always written as they are.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The first that brokers take that speak this version of Produce.
    pub fn first_for(self, produce_version: i16) -> Option<Encoding> {
        self.0.into_iter().flatten().find(|encoding| encoding.codec().produce_version_min() <= produce_version)
    }
}

/// A partition's name for a piece of work; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackTicket(pub(super) u64);

/// For whom a piece of work is, and what shall come of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackOrder {
    pub(super) partition: PartitionId,
    pub(super) ticket: PackTicket,
    /// None leaves the records as they are.
    pub(super) encoding: Option<Encoding>,
}

/// A piece of work.
#[derive(Debug)]
pub struct PackJob {
    pub(super) order: PackOrder,
    pub(super) body: Arc<Body>,
    /// What `body` is compressed with.
    pub(super) codec: Compression,
    /// Bytes of its records.
    pub(super) raw_len: usize,
    pub(super) cut: Cut,
}

/// What happens to the records first. Places count those that are in the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Nothing,
    /// These leave; ascending.
    Drop(Vec<u32>),
    /// Before this one.
    Split(u32),
}

/// Work that is done.
#[derive(Debug)]
pub struct PackDone {
    pub(super) order: PackOrder,
    /// The body before.
    pub(super) source: Arc<Body>,
    pub(super) packed: Packed,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Packed {
    /// It would not get smaller, and stays as it is.
    Same {
        crc: u32,
    },
    One(PackedBody),
    Two(PackedBody, PackedBody),
}

/// A body in one piece, compressed or not.
#[derive(Debug)]
pub(super) struct PackedBody {
    pub(super) bytes: Vec<u8>,
    pub(super) codec: Compression,
    pub(super) crc: u32,
    pub(super) raw_len: usize,
    /// Of the records that are left; absent if none have left.
    pub(super) cut: Option<CutFacts>,
}

/// What a header needs to know anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutFacts {
    pub(super) record_count: u32,
    pub(super) max_timestamp_delta: i64,
}

impl PackedBody {
    /// What is left of a body, as it is.
    pub(super) fn raw(left: RewrittenBody) -> Self {
        Self {
            cut: Some(CutFacts { record_count: left.record_count, max_timestamp_delta: left.max_timestamp_delta }),
            codec: Compression::None,
            crc: crc32c::checksum(&left.bytes),
            raw_len: left.bytes.len(),
            bytes: left.bytes,
        }
    }
}

impl PackJob {
    /// Does the work: a few milliseconds for a megabyte by a fast codec, many for gzip.
    pub fn run(self, packer: &mut Packer) -> PackDone {
        let packed = match &self.cut {
            Cut::Nothing => self.whole(packer),
            Cut::Drop(places) => Packed::One(self.part(packer, |place| places.binary_search(&place).is_err())),
            Cut::Split(middle) => {
                Packed::Two(self.part(packer, |place| place < *middle), self.part(packer, |place| place >= *middle))
            }
        };
        PackDone { order: self.order, source: self.body, packed }
    }

    fn whole(&self, packer: &mut Packer) -> Packed {
        let unpacked = unpacked(&self.body, self.codec, self.raw_len);
        let packed = self.order.encoding.and_then(|encoding| {
            let bytes = match &unpacked {
                None => packer.pack(encoding, self.body.slices().collect::<Vec<_>>()),
                Some(raw) => packer.pack(encoding, [&raw[..]]),
            };
            bytes.map(|bytes| (bytes, Compression::from(encoding.codec())))
        });
        match packed.or(unpacked.map(|raw| (raw, Compression::None))) {
            Some((bytes, codec)) => Packed::One(PackedBody {
                crc: crc32c::checksum(&bytes),
                bytes,
                codec,
                raw_len: self.raw_len,
                cut: None,
            }),
            None => Packed::Same { crc: self.body.checksum() },
        }
    }

    fn part(&self, packer: &mut Packer, keep: impl FnMut(u32) -> bool) -> PackedBody {
        let left = PackedBody::raw(retained(&self.body, self.codec, self.raw_len, keep));
        let Some(encoding) = self.order.encoding else { return left };
        match packer.pack(encoding, [&left.bytes[..]]) {
            Some(bytes) => PackedBody { crc: crc32c::checksum(&bytes), codec: encoding.codec().into(), bytes, ..left },
            None => left,
        }
    }

    /// Ends work that nobody does.
    pub fn give_back(self, chunks: &(impl ChunkSource + ?Sized)) {
        give_back(self.body, chunks);
    }
}

impl PackDone {
    /// Ends work that nobody wants any more.
    pub fn give_back(self, chunks: &(impl ChunkSource + ?Sized)) {
        give_back(self.source, chunks);
    }
}

/// For whoever may be the last to hold a body.
pub(super) fn give_back(body: Arc<Body>, chunks: &(impl ChunkSource + ?Sized)) {
    if let Some(body) = Arc::into_inner(body) {
        body.give_back(chunks);
    }
}

/// The records of a body, numbered anew, without those that `keep` says no to.
pub(super) fn retained(
    body: &Body,
    codec: Compression,
    raw_len: usize,
    keep: impl FnMut(u32) -> bool,
) -> RewrittenBody {
    let retained = match unpacked(body, codec, raw_len) {
        None => records::retain(body.slices(), keep),
        Some(raw) => records::retain([&raw[..]], keep),
    };
    retained.expect("the body was encoded by this client")
}

/// Nothing if it is not compressed.
fn unpacked(body: &Body, codec: Compression, raw_len: usize) -> Option<Vec<u8>> {
    if codec == Compression::None {
        return None;
    }
    let bytes = body.slices().collect::<Vec<_>>().concat();
    Some(records::unpack(codec, &bytes, raw_len).expect("the body was packed by this client"))
}
