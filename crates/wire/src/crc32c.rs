//! CRC-32C (Castagnoli), the checksum of record batches.
//!
//! Owns the three operations the wire needs: over one slice, over the next chunk, and of two parts whose checksums are
//! known. Combining is what lets a stamp change the header of a sealed batch without reading its body again.

/// The checksum of `bytes`.
#[must_use]
#[inline]
pub fn checksum(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// The checksum of everything summed into `crc` so far, followed by `bytes`. Begin with 0.
#[must_use]
#[inline]
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

/// The checksum of A followed by B, from the checksums of both and the length of B. Costs O(log `len_b`).
#[must_use]
pub fn combine(crc_a: u32, crc_b: u32, len_b: usize) -> u32 {
    ::crc32c::crc32c_combine(crc_a, crc_b, len_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_vectors_of_rfc_3720_hold() {
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(checksum(&ascending), 0x46dd_794e);
        let descending: Vec<u8> = (0..32).rev().collect();
        assert_eq!(checksum(&descending), 0x113f_db5c);
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn combining_any_two_parts_gives_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let whole = checksum(&bytes);
        for cut in (0..bytes.len()).step_by(7).chain([bytes.len()]) {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(combine(checksum(a), checksum(b), b.len()), whole, "cut at {cut}");
            assert_eq!(append(checksum(a), b), whole, "cut at {cut}");
        }
    }
}
