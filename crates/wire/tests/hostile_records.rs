//! Bytes that nobody should send, offered to everything that reads record batches and unpacks their bodies.
//!
//! Nothing panics; memory is bounded by the input, and by the limit that is given where something is unpacked. Each test
//! here is also a fuzz target (`cargo xtask fuzz`), so each makes all it does out of the bytes that it is given.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod mutate;
#[path = "random/source.rs"]
mod random;
mod records_walk;

use std::sync::Mutex;

use bytes::Bytes;
use memory::{within_limit, within_memory};
use milena_wire::crc32c;
use milena_wire::records::{
    Attributes, BatchHeader, BatchView, Codec, Compression, Encoding, Packer, RecordHeader, RecordLayout, batches,
    retain, unpack,
};
use mutate::mutate;
use random::Random;

/// As much as a body is unpacked to here.
const UNPACKED_BYTES_MAX: usize = 64 * 1024;

#[test]
fn hostile_record_batches_are_refused_or_read() {
    let read = Mutex::new([0u64; 3]);
    bolero::check!().with_iterations(10_000).with_max_len(512).for_each(|bytes: &[u8]| {
        let (mut damage, mut content) = Random::damage_and_content(bytes, false);
        let mut input = match damage.below(4) {
            0 => bytes.to_vec(),
            _ => record_batch(&mut content),
        };
        for _ in 0..damage.below(4) {
            mutate(&mut damage, &mut input);
        }
        let input = Bytes::from(input);
        let [whole_batches, unpacked, records] = &mut *read.lock().unwrap();
        let packed = |batch: &BatchView| batch.header.attributes.compression() != Compression::None;
        let mut any_packed = false;
        for batch in batches(input.clone()).without_checksums().map_while(Result::ok) {
            *whole_batches += 1;
            any_packed |= packed(&batch);
            within_memory(batch.bytes.len(), || retain(batch.body.chunks(3), |index| index % 2 == 0).is_ok());
            let body = within_limit(UNPACKED_BYTES_MAX, || batch.unpacked(UNPACKED_BYTES_MAX));
            *unpacked += u64::from(packed(&batch) && body.is_ok());
            let count = || -> u64 {
                let records = batch.records_within(UNPACKED_BYTES_MAX).map_while(Result::ok);
                records.map(|record| 1 + record.headers().count() as u64).sum()
            };
            *records += match packed(&batch) {
                true => within_limit(16 * UNPACKED_BYTES_MAX, count),
                false => within_memory(batch.bytes.len(), count),
            };
        }
        // It unpacks to the default limit, far beyond what a run of a test should take.
        if !any_packed {
            records_walk::walk(&input);
        }
    });
    let [whole_batches, unpacked, records] = read.into_inner().unwrap();
    assert!(whole_batches > 1_000 && unpacked > 100 && records > 1_000, "{whole_batches} {unpacked} {records}");
}

/// A batch of a few records, half of the time compressed.
fn record_batch(random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    let count = 1 + random.below(4) as i32;
    for offset in 0..count {
        let (key, value) = (random.nullable_bytes(), random.nullable_bytes());
        let headers = vec![RecordHeader { key: "header", value: key.as_deref() }; random.below(3)];
        let value_length = value.as_ref().map(Bytes::len);
        let layout = RecordLayout::new(0, offset, key.as_deref(), value_length, &headers).unwrap();
        layout.write(value.as_deref(), &mut body);
    }
    let mut attributes = Attributes::default();
    if let Some(codec) = Codec::ALL.get(random.below(8))
        && let Some(packed) = Packer::new().pack(Encoding::new(*codec), [&body[..]])
    {
        attributes = attributes.with_compression((*codec).into());
        body = packed;
    }
    let header =
        BatchHeader { attributes, last_offset_delta: count - 1, record_count: count, ..BatchHeader::default() };
    [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat()
}

/// Bodies as each codec writes them, damaged, and bytes that no codec wrote.
#[test]
fn hostile_bodies_are_refused_or_unpacked_up_to_the_limit() {
    let ends = Mutex::new([[0u64; 2]; 4]);
    let mut packer = Packer::new();
    let seeds = Codec::ALL.map(|codec| {
        let text: Vec<u8> = (0..800u32).flat_map(|number| format!("{{\"id\":{number}}}").into_bytes()).collect();
        packer.pack(Encoding::new(codec), text.chunks(1_000)).unwrap()
    });
    bolero::check!().with_iterations(20_000).with_max_len(2_048).for_each(|bytes: &[u8]| {
        let Some((&choice, rest)) = bytes.split_first() else { return };
        let number = usize::from(choice) % Codec::ALL.len();
        let body = match choice < 128 {
            true => rest.to_vec(),
            false => {
                let mut random = Random::steered(rest, false);
                let mut body = seeds[number].clone();
                for _ in 0..random.below(4) {
                    mutate(&mut random, &mut body);
                }
                body
            }
        };
        // Small limits are reached in the middle of a body.
        let limit = if choice % 16 < 8 { UNPACKED_BYTES_MAX } else { rest.len() };
        let unpacked = within_limit(limit, || unpack(Codec::ALL[number].into(), &body, limit));
        let is_unpacked = unpacked.is_ok();
        assert!(unpacked.is_ok_and(|unpacked| unpacked.len() <= limit) == is_unpacked, "more than {limit}");
        ends.lock().unwrap()[number][usize::from(is_unpacked)] += 1;
    });
    let ends = ends.into_inner().unwrap();
    assert!(ends.iter().flatten().all(|count| *count > 100), "{ends:?}");
}
