//! Bytes that nobody should send, offered to everything that reads record batches.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dice;
mod records_walk;

use dice::Dice;
use milena_wire::crc32c;
use milena_wire::records::{BatchHeader, RecordHeader, RecordLayout};
use records_walk::{Walked, walk};

fn random_batch(dice: &mut Dice) -> Vec<u8> {
    let count = 1 + dice.below(5) as i32;
    let mut body = Vec::new();
    for offset in 0..count {
        let (key, value) = (dice.bytes(20), dice.bytes(200));
        let headers = vec![RecordHeader { key: "header", value: Some(&key) }; dice.below(3)];
        let value = (dice.below(4) > 0).then_some(&value[..]);
        RecordLayout::new(dice.roll() as i16 as i64, offset, Some(&key), value.map(<[u8]>::len), &headers)
            .unwrap()
            .write(value, &mut body);
    }
    let header = BatchHeader { last_offset_delta: count - 1, record_count: count, ..BatchHeader::default() };
    [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat()
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len());
    match dice.below(6) {
        0 => bytes[at] = dice.roll() as u8,
        1 => bytes[at] ^= 1 << dice.below(8),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, dice.roll() as u8),
        4 => drop(bytes.remove(at)),
        _ => {
            let hostile = [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0; 4]][dice.below(4)];
            bytes.iter_mut().skip(at).zip(hostile).for_each(|(byte, new)| *byte = new);
        }
    }
}

#[test]
fn mutated_batches_are_read_or_refused_and_never_panic() {
    let (mut untouched, mut survivors) = (Walked::default(), Walked::default());
    for seed in 0..5_000 {
        let mut dice = Dice(seed);
        let mut bytes = random_batch(&mut dice);
        bytes.extend(random_batch(&mut dice));
        add(&mut untouched, walk(&bytes));
        for _ in 0..=dice.below(4) {
            mutate(&mut dice, &mut bytes);
            if bytes.is_empty() {
                break;
            }
        }
        add(&mut survivors, walk(&bytes));
    }
    // The mutations must reach the records, or the test looks at nothing but headers.
    assert_eq!(untouched.batches, 10_000);
    assert!(survivors.batches > 2_500 && survivors.batches < untouched.batches, "{survivors:?}");
    assert!(survivors.records > 7_500 && survivors.records < untouched.records, "{survivors:?}");
    assert!(survivors.headers > 2_500 && survivors.headers < untouched.headers, "{survivors:?}");
}

#[test]
fn random_fields_behind_a_right_header_never_panic() {
    let mut read = Walked::default();
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let mut body = dice.bytes(16);
        // Small bytes are plausible lengths and counts, and a right length of the record brings them to be looked at.
        body.iter_mut().for_each(|byte| *byte &= 0xff >> (seed % 8));
        body.insert(0, 2 * body.len() as u8);
        let count = 1.min(body.len() / 7) as i32;
        let header = BatchHeader { last_offset_delta: 1_000, record_count: count, ..BatchHeader::default() };
        let bytes = [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat();
        add(&mut read, walk(&bytes));
    }
    assert_eq!(read.batches, 20_000);
    assert!(read.records > 50 && read.headers > 10, "{read:?}");
}

#[test]
fn every_single_byte_of_a_batch_may_hold_every_value() {
    let mut dice = Dice(7);
    let good = random_batch(&mut dice);
    for at in 0..good.len() {
        for value in 0..=u8::MAX {
            let mut bytes = good.clone();
            bytes[at] = value;
            walk(&bytes);
        }
    }
}

fn add(sum: &mut Walked, walked: Walked) {
    sum.batches += walked.batches;
    sum.records += walked.records;
    sum.headers += walked.headers;
}
