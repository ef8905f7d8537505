//! Producer state as Kafka keeps it on disk: the last batch of each producer, in the format of its `.snapshot` files.

use bytes::{Buf, BufMut};
use milena_wire::crc32c;

use super::{CachedBatch, Producers};
use crate::ids::{Epoch, ProducerId, Sequence};

impl Producers {
    /// The content of a snapshot file. Of each producer only the last batch goes into it.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.entries.len() * ENTRY_BYTES);
        out.put_i16(VERSION);
        out.put_u32(0);
        out.put_i32(i32::try_from(self.entries.len()).unwrap_or(i32::MAX));
        for (id, entry) in &self.entries {
            let last = entry.batches.back();
            out.put_i64(id.0);
            out.put_i16(entry.epoch.0);
            out.put_i32(last.map_or(-1, |batch| batch.last.0));
            out.put_i64(last.map_or(-1, |batch| batch.last_offset));
            out.put_i32(last.map_or(0, |batch| (batch.last_offset - batch.base_offset) as i32));
            out.put_i64(entry.last_timestamp);
            out.put_i32(NO_COORDINATOR);
            out.put_i64(NO_TRANSACTION);
        }
        let crc = crc32c::checksum(&out[SUMMED_FROM..]);
        out[CRC_AT].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads what [`Producers::snapshot`] wrote; none if it is damaged.
    pub(crate) fn of_snapshot(content: &[u8]) -> Option<Producers> {
        let mut rest = content;
        if rest.len() < HEAD_BYTES || rest.get_i16() != VERSION {
            return None;
        }
        let crc = rest.get_u32();
        let count = usize::try_from(rest.get_i32()).ok()?;
        if crc != crc32c::checksum(&content[SUMMED_FROM..]) || rest.len() != count.checked_mul(ENTRY_BYTES)? {
            return None;
        }
        let mut producers = Producers::default();
        for _ in 0..count {
            let (id, epoch) = (ProducerId(rest.get_i64()), Epoch(rest.get_i16()));
            let (last, last_offset, delta) = (rest.get_i32(), rest.get_i64(), rest.get_i32());
            let timestamp = rest.get_i64();
            rest.advance(size_of::<i32>() + size_of::<i64>());
            let batch = CachedBatch {
                first: Sequence(last.wrapping_sub(delta) & i32::MAX),
                last: Sequence(last),
                base_offset: last_offset - i64::from(delta),
                last_offset,
                timestamp,
            };
            producers.remember(id, epoch, batch);
            if let (true, Some(entry)) = (last < 0, producers.entries.get_mut(&id)) {
                entry.batches.clear();
            }
        }
        Some(producers)
    }
}

const VERSION: i16 = 1;
const CRC_AT: std::ops::Range<usize> = 2..6;
/// Kafka sums everything behind the checksum.
const SUMMED_FROM: usize = 6;
const HEAD_BYTES: usize = 10;
/// Id, epoch, last sequence, last offset, offset delta, timestamp, coordinator epoch, first offset of an open transaction.
const ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;
/// No marker was written: there are no transactions here.
const NO_COORDINATOR: i32 = -1;
const NO_TRANSACTION: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: i32, last: i32, base_offset: i64) -> CachedBatch {
        let last_offset = base_offset + i64::from(last.wrapping_sub(first) & i32::MAX);
        CachedBatch { first: Sequence(first), last: Sequence(last), base_offset, last_offset, timestamp: 7 }
    }

    #[test]
    fn last_batch_of_each_producer_reads_back() {
        let mut producers = Producers::default();
        for (id, first, last, base) in [(1, 0, 4, 10), (1, 5, 9, 15), (2, i32::MAX, 1, 20)] {
            producers.remember(ProducerId(id), Epoch(3), batch(first, last, base));
        }
        let content = producers.snapshot();
        producers.keep_last_batches();
        let read = Producers::of_snapshot(&content).expect("it is whole");
        assert!(read.iter().eq(producers.iter()));
    }

    #[test]
    fn damage_is_noticed() {
        let mut producers = Producers::default();
        producers.remember(ProducerId(1), Epoch(0), batch(0, 4, 10));
        let content = producers.snapshot();
        for end in 0..content.len() {
            assert!(Producers::of_snapshot(&content[..end]).is_none());
        }
        for at in 0..content.len() {
            let mut damaged = content.clone();
            damaged[at] ^= 1;
            assert!(Producers::of_snapshot(&damaged).is_none(), "byte {at}");
        }
    }
}
