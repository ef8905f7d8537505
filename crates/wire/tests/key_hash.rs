//! Partitions of keys against those that a real librdkafka gave; `librdkafka/partitions.py` says how.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;

use milena_wire::key_hash::KeyHash;

const TOLD: &str = include_str!("librdkafka/partitions.txt");

fn key(told: &str) -> Vec<u8> {
    match told {
        // librdkafka hashes no bytes for a key that is null.
        "null" | "-" => Vec::new(),
        hex => (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect(),
    }
}

#[test]
fn keys_have_the_partitions_that_librdkafka_gives_them() {
    let mut compared = 0;
    for line in TOLD.lines().filter(|line| !line.starts_with('#')) {
        let [name, told, count, partition] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let hash = match name {
            "consistent" => KeyHash::Crc32,
            "murmur2" => KeyHash::Murmur2,
            "fnv1a" => KeyHash::Fnv1a,
            other => panic!("{other}"),
        };
        let count = NonZeroU32::new(count.parse().unwrap()).unwrap();
        assert_eq!(hash.partition(&key(told), count), partition.parse().unwrap(), "{line}");
        compared += 1;
    }
    assert_eq!(compared, 71 * 3 * 6);
}
