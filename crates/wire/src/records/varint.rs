//! Zigzag variable-length integers, as records use them.

/// Bytes that `value` takes.
#[inline(always)]
pub(super) const fn len(value: i64) -> usize {
    unsigned_len(zigzag(value))
}

/// Bytes that the length of so many bytes takes, or that of none at all, which is written as -1.
#[inline(always)]
pub(super) const fn nullable_len(bytes: Option<usize>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => unsigned_len((bytes as u64) << 1),
    }
}

/// Seven bits a byte, and zero takes one. A multiplication by 9/64 stands for the division by 7; up to 64 bits they are the
/// same.
#[inline(always)]
const fn unsigned_len(raw: u64) -> usize {
    ((raw | 1).ilog2() as usize * 9 + 73) / 64
}

/// Writes `value` at `at` and tells where the next field goes.
#[inline(always)]
pub(super) fn write(out: &mut [u8], mut at: usize, value: i64) -> usize {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out[at] = rest as u8 | 0x80;
        at += 1;
        rest >>= 7;
    }
    out[at] = rest as u8;
    at + 1
}

/// Up to eight bytes on their way into a buffer. Held in a register: written one by one into memory, they could not be read
/// back together before each of them has arrived there.
#[derive(Clone, Copy)]
pub(super) struct Word {
    bytes: u64,
    bits: u32,
}

impl Word {
    pub(super) const EMPTY: Self = Self { bytes: 0, bits: 0 };

    /// Whether both together take up to eight bytes.
    #[inline(always)]
    pub(super) const fn holds(one: i64, other: i64) -> bool {
        (zigzag(one) | zigzag(other)) >> (4 * 7) == 0
    }

    /// Another number; its caller sees that there is room.
    #[inline(always)]
    pub(super) const fn varint(mut self, value: i64) -> Self {
        let mut rest = zigzag(value);
        while rest >= 0x80 {
            self.bytes |= (rest & 0x7f | 0x80) << self.bits;
            self.bits += 8;
            rest >>= 7;
        }
        self.bytes |= rest << self.bits;
        self.bits += 8;
        self
    }

    /// Behind what is there. Takes room for eight bytes for a moment.
    #[inline(always)]
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        let end = out.len() + (self.bits / 8) as usize;
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }
}

/// A varint of 32 bits; `None` for a number that does not fit.
#[inline(always)]
pub(super) const fn unzigzag32(raw: u64) -> Option<i32> {
    if raw > u32::MAX as u64 {
        return None;
    }
    Some(unzigzag(raw) as i32)
}

#[inline(always)]
pub(super) const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[inline(always)]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_bytes_written() {
        let edges = (0..64).flat_map(|bit| [1i64 << bit, (1i64 << bit).wrapping_sub(1), -(1i64 << (bit % 63))]);
        for value in edges.chain([0, -1, i64::MIN, i64::MAX]) {
            let mut out = [0; 10];
            assert_eq!(write(&mut out, 0, value), len(value), "{value}");
        }
    }

    #[test]
    fn known_numbers_have_known_bytes() {
        let table: [(i64, &[u8]); 7] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (64, &[0x80, 1]),
            (-65, &[0x81, 1]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, bytes) in table {
            let mut out = [0; 10];
            let end = write(&mut out, 0, value);
            assert_eq!(&out[..end], bytes, "{value}");
        }
    }
}
