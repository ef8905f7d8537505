//! What a record is known by where only its outcome is told: a checksum of key, value and headers as they are sent.
//!
//! XXH64 with seed 0, because every language has it. The bytes are key, value, and of each header its key and value, in
//! their order; each has its length before it, four bytes in network order, −1 for null. So different records give
//! different bytes. Not the timestamp, which the broker may replace. It tells records apart, it does not withstand forgers.

use std::fmt;
use std::hash::Hasher;

use milena::unstable::ReadRecord;
use twox_hash::XxHash64;

/// Of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checksum(pub u64);

/// Takes the parts of a record one after the other.
pub struct Summing(XxHash64);

impl Summing {
    pub fn new(key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let mut summing = Self(XxHash64::with_seed(0));
        summing.add(key);
        summing.add(value);
        summing
    }

    pub fn header(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.add(Some(key));
        self.add(value);
    }

    pub fn end(self) -> Checksum {
        Checksum(self.0.finish())
    }

    fn add(&mut self, bytes: Option<&[u8]>) {
        // No part of a record is longer than Kafka's lengths, which are of four bytes.
        let length = bytes.map_or(-1, |bytes| bytes.len() as i32);
        self.0.write(&length.to_be_bytes());
        self.0.write(bytes.unwrap_or_default());
    }
}

impl Checksum {
    /// Of a record of the log.
    pub fn of(record: &ReadRecord) -> Self {
        let mut summing = Summing::new(record.key.as_deref(), record.value.as_deref());
        for header in record.headers() {
            summing.header(&header.key, header.value.as_deref());
        }
        summing.end()
    }

    /// From the 16 digits that it is written as.
    pub fn parse(text: &str) -> Option<Self> {
        let is_written_so = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_written_so.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Header<'a> = (&'a [u8], Option<&'a [u8]>);

    fn sum(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> Checksum {
        let mut summing = Summing::new(key, value);
        headers.iter().for_each(|(key, value)| summing.header(key, *value));
        summing.end()
    }

    /// As xxhsum gives it for the bytes in the head of this file.
    #[test]
    fn it_is_what_others_compute() {
        assert_eq!(XxHash64::oneshot(0, b""), 0xef46_db37_51d8_e999);
        let bytes = b"\0\0\0\x01k\0\0\0\x02va\0\0\0\x01h\xff\xff\xff\xff";
        let checksum = sum(Some(b"k"), Some(b"va"), &[(b"h", None)]);
        assert_eq!(checksum.0, XxHash64::oneshot(0, bytes));
        assert_eq!(Checksum::parse(&checksum.to_string()), Some(checksum));
        for wrong in ["", "+123456789abcdef", "0123456789abcdeg", "0123456789abcdef0"] {
            assert_eq!(Checksum::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn records_that_differ_in_any_part_have_others() {
        let all = [
            sum(None, None, &[]),
            sum(Some(b""), None, &[]),
            sum(None, Some(b""), &[]),
            sum(Some(b"ab"), Some(b"c"), &[]),
            sum(Some(b"a"), Some(b"bc"), &[]),
            sum(Some(b"a"), Some(b"b"), &[(b"c", None)]),
            sum(Some(b"a"), Some(b"b"), &[(b"c", Some(b""))]),
            sum(Some(b"a"), Some(b"b"), &[(b"c", None), (b"d", None)]),
            sum(Some(b"a"), Some(b"b"), &[(b"d", None), (b"c", None)]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one), "{place}");
        }
    }
}
