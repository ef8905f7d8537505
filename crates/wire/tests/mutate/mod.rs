//! Damage to bytes that were sound.

use crate::random::Random;

/// Damage of the kinds that reach far: lengths and counts, cuts, repeats.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    match random.below(9) {
        0 if !bytes.is_empty() => bytes[at] = random.roll() as u8,
        1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.roll() as u8),
        4 => {
            let tail = bytes[at..].to_vec();
            (0..random.below(20)).for_each(|_| bytes.extend_from_slice(&tail));
        }
        5 => {
            // Far beyond the constant part of the allowance, or only that part would be tested.
            let length_max = if random.below(8) == 0 { 64 * 1024 } else { 256 };
            bytes.extend(std::iter::repeat_n(random.below(3) as u8, random.below(length_max)));
        }
        6 => nested_claims(random, bytes, at),
        _ => {
            let hostile: [&[u8]; 8] = [
                &[0xff; 4],
                &[0x7f, 0xff, 0xff, 0xff],
                &[0x00, 0x00, 0x40, 0x00],
                &[0x00, 0x00, 0x10, 0x00],
                &[0x80, 0x80, 0x01],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0xff, 0x7f],
                &[0x7f, 0xff],
            ];
            let hostile = hostile[random.below(hostile.len())];
            bytes.iter_mut().skip(at).zip(hostile).for_each(|(byte, new)| *byte = *new);
        }
    }
}

/// Counts that the rest of the bytes could just hold, one in the elements of another, before many of the smallest elements:
/// each is possible alone, and together they ask for too much.
fn nested_claims(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    const FILLER_BYTES: usize = 16 * 1024;
    bytes.truncate(at);
    for _ in 0..1 + random.below(3) {
        let count = FILLER_BYTES / (1 + random.below(16));
        match random.bool() {
            // Of two or three bytes, as a compact length.
            true => bytes.extend([count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8]),
            false => bytes.extend((count as u32).to_be_bytes()),
        }
        bytes.extend(std::iter::repeat_n(1, random.below(8)));
    }
    bytes.extend(std::iter::repeat_n(1, FILLER_BYTES));
}
