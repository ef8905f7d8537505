//! The hashes by which clients turn a key into a partition. Clients that write to one topic must agree on them, or equal keys
//! are in different partitions.
//!
//! Left out: what is done with records without a key.

use std::num::NonZeroU32;

use flate2::Crc;

use crate::murmur2;

/// One of them.
///
/// ```
/// use milena_wire::key_hash::KeyHash;
/// use std::num::NonZeroU32;
///
/// let twelve = NonZeroU32::new(12).expect("not zero");
/// let partitions = [KeyHash::Murmur2, KeyHash::Crc32, KeyHash::Fnv1a].map(|hash| hash.partition(b"order-17", twelve));
/// assert!(partitions.iter().all(|partition| (0..12).contains(partition)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHash {
    /// Java's, and librdkafka's `murmur2`.
    Murmur2,
    /// librdkafka's `consistent`: CRC-32 as in gzip.
    Crc32,
    /// librdkafka's `fnv1a`, and Sarama's.
    Fnv1a,
}

impl KeyHash {
    /// The partition of a key.
    #[must_use]
    pub fn partition(self, key: &[u8], partitions: NonZeroU32) -> i32 {
        let hash = match self {
            Self::Murmur2 => return murmur2::partition_for_key(key, partitions),
            Self::Crc32 => crc32(key),
            Self::Fnv1a => fnv1a(key),
        };
        // Kafka's partitions are numbered by signed numbers, so there are never more.
        (hash % partitions).cast_signed()
    }
}

fn crc32(key: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(key);
    crc.sum()
}

/// FNV-1a of 32 bits, as a signed number and without its sign: Sarama began it, and librdkafka follows.
fn fnv1a(key: &[u8]) -> u32 {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_have_known_hashes() {
        // CRC-32 and FNV-1a as their own specifications give them.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(fnv1a(b"a"), 0xe40c_292c_u32.cast_signed().unsigned_abs());
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968_u32.cast_signed().unsigned_abs());
    }
}
