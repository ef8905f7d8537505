//! Murmur2 as Kafka's Java client computes it, and the partition of a key that follows from it.
//!
//! Every client that wants equal keys in equal partitions must agree on these bits; the tests hold Java's own vectors.

use std::num::NonZeroU32;

/// Kafka's murmur2 of `data`, 32 bits, seed `0x9747b28c`, as Java's signed integer.
///
/// ```
/// use milena_wire::murmur2::murmur2;
/// assert_eq!(murmur2(b"foobar"), -790_332_482);
/// ```
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    let (words, tail) = data.as_chunks::<4>();
    // Java's lengths are 32 bits; longer keys cannot exist on the wire, so the cast loses nothing.
    let mut hash = SEED ^ data.len() as u32;
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0u32, |rest, byte| (rest << 8) | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition that Kafka's default partitioner gives to a record with this key: the hash without its sign bit,
/// modulo the number of partitions.
///
/// ```
/// use milena_wire::murmur2::partition_for_key;
/// use std::num::NonZeroU32;
///
/// let twelve = NonZeroU32::new(12).expect("not zero");
/// assert_eq!(partition_for_key(b"foobar", twelve), (790_332_482i64.wrapping_neg() as i32 & i32::MAX) % 12);
/// ```
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: NonZeroU32) -> i32 {
    let positive = murmur2(key).cast_unsigned() & 0x7fff_ffff;
    // Below 2^31 whatever the divisor, so it fits.
    (positive % partitions).cast_signed()
}

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    const JAVA: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];

    #[test]
    fn hashes_equal_those_of_the_java_client() {
        for (key, hash) in JAVA {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_key_lands_where_javas_partitioner_puts_it() {
        for (key, hash) in JAVA {
            for partitions in [1u32, 2, 3, 12, 1000] {
                let expected = (hash & 0x7fff_ffff) % partitions.cast_signed();
                let partitions = NonZeroU32::new(partitions).unwrap();
                assert_eq!(partition_for_key(key.as_bytes(), partitions), expected, "{key}");
            }
        }
    }

    #[test]
    fn every_key_has_a_partition_within_range_even_with_the_largest_count() {
        for length in 0..64 {
            let key = vec![0x80 | length; usize::from(length)];
            assert!(partition_for_key(&key, NonZeroU32::MAX) >= 0);
            assert_eq!(partition_for_key(&key, NonZeroU32::MIN), 0);
        }
    }
}
