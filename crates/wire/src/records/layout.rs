//! One record on its way into a batch's body.
//!
//! Owns the arithmetic of lengths, done once, and the bytes around the value. The value itself is the caller's to copy
//! or, when large, to link: the layout writes what stands before it and what stands after it. A record's length field
//! always equals the bytes its fields take, and never exceeds [`RECORD_BYTES_MAX`].
//!
//! This is the hottest code of a producer. It is inlined by force because the layout then lives in registers: left to
//! the compiler it went through memory, which cost a 100-byte record 2 to 4 of its 10 to 17 ns.

use std::error::Error;
use std::fmt;

use super::header::BODY_BYTES_MAX;
use super::varint::{self, Word};

/// Longest record, its length field included: one that fills a batch alone.
///
/// ```
/// use milena_wire::records::{RECORD_BYTES_MAX, RecordLayout};
/// assert!(RecordLayout::new(0, 0, None, Some(RECORD_BYTES_MAX), &[]).is_err());
/// ```
pub const RECORD_BYTES_MAX: usize = BODY_BYTES_MAX;

/// A header of a record. Keys may repeat; order is kept.
///
/// ```
/// use milena_wire::records::{RecordHeader, RecordLayout};
///
/// let headers = [RecordHeader { key: "shop", value: Some(b"berlin") }, RecordHeader { key: "flag", value: None }];
/// let layout = RecordLayout::new(0, 0, None, None, &headers)?;
/// # let _ = layout;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The key.
    pub key: &'a str,
    /// The value, which may be null.
    pub value: Option<&'a [u8]>,
}

/// The lengths and fields of one record, ready to be written.
///
/// ```
/// use milena_wire::records::RecordLayout;
///
/// let value = b"large";
/// let layout = RecordLayout::new(15, 1, Some(b"key"), Some(value.len()), &[])?;
/// let mut whole = Vec::new();
/// layout.write(Some(value), &mut whole);
/// assert_eq!(whole.len(), layout.total_len());
/// assert!(layout.body_len() < layout.total_len(), "the length itself is a record's first field");
///
/// // The same where the value stays in a buffer of its own.
/// let (mut before, mut after) = (Vec::new(), Vec::new());
/// layout.write_up_to_value(&mut before);
/// layout.write_after_value(&mut after);
/// assert_eq!([before.as_slice(), value, &after].concat(), whole);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RecordLayout<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value_len: Option<usize>,
    headers: &'a [RecordHeader<'a>],
    body_len: usize,
}

impl<'a> RecordLayout<'a> {
    /// Lays out a record; `value` is the length of its value. The deltas are relative to the batch's base timestamp and
    /// base offset.
    #[inline(always)]
    pub fn new(
        timestamp_delta: i64,
        offset_delta: i32,
        key: Option<&'a [u8]>,
        value: Option<usize>,
        headers: &'a [RecordHeader<'a>],
    ) -> Result<Self, RecordTooLarge> {
        // Attributes take one byte, as does the count of no headers.
        let fixed = 1 + varint::len(timestamp_delta) + varint::len(i64::from(offset_delta));
        let headers_len = if headers.is_empty() { 1 } else { headers_len(headers) };
        // Saturating, so that no sum of absurd lengths passes for a small one.
        let body_len = (fixed + varint::nullable_len(key.map(<[u8]>::len)) + varint::nullable_len(value))
            .saturating_add(key.map_or(0, <[u8]>::len))
            .saturating_add(value.unwrap_or(0))
            .saturating_add(headers_len);
        if body_len > RECORD_BYTES_MAX - LENGTH_FIELD_MAX {
            return Err(RecordTooLarge { bytes: body_len });
        }
        Ok(Self { timestamp_delta, offset_delta, key, value_len: value, headers, body_len })
    }

    /// Bytes after the length field.
    #[must_use]
    #[inline(always)]
    pub fn body_len(&self) -> usize {
        self.body_len
    }

    /// Bytes of the whole record, value included.
    #[must_use]
    #[inline(always)]
    pub fn total_len(&self) -> usize {
        varint::len(self.body_len as i64) + self.body_len
    }

    /// Writes everything that stands before the value.
    #[inline(always)]
    pub fn write_up_to_value(&self, out: &mut Vec<u8>) {
        let room = out.capacity() - out.len();
        match self.key {
            Some(key)
                if room >= key.len().saturating_add(WORDS_BYTES)
                    && Word::holds(self.timestamp_delta, i64::from(self.offset_delta)) =>
            {
                self.write_words(key, out);
            }
            _ => self.write_bytes(out),
        }
    }

    /// With a key there are two short copies more, which cost a call each; so it is written in words: 15 ns a record where it
    /// took 20. Deltas of less than 37 hours and 134 million records, as nearly all are.
    #[inline(always)]
    fn write_words(&self, key: &[u8], out: &mut Vec<u8>) {
        // The record's attributes, which no version uses, stay 0.
        Word::EMPTY.varint(self.body_len as i64).varint(0).append_to(out);
        Word::EMPTY.varint(self.timestamp_delta).varint(i64::from(self.offset_delta)).append_to(out);
        Word::EMPTY.varint(key.len() as i64).append_to(out);
        out.extend_from_slice(key);
        Word::EMPTY.varint(nullable_len(self.value_len)).append_to(out);
    }

    #[inline(always)]
    fn write_bytes(&self, out: &mut Vec<u8>) {
        let mut head = [0; HEAD_BYTES_MAX];
        let mut at = varint::write(&mut head, 0, self.body_len as i64);
        // The attributes.
        at += 1;
        at = varint::write(&mut head, at, self.timestamp_delta);
        at = varint::write(&mut head, at, i64::from(self.offset_delta));
        at = varint::write(&mut head, at, nullable_len(self.key.map(<[u8]>::len)));
        if let Some(key) = self.key {
            out.extend_from_slice(&head[..at]);
            out.extend_from_slice(key);
            at = 0;
        }
        at = varint::write(&mut head, at, nullable_len(self.value_len));
        out.extend_from_slice(&head[..at]);
    }

    /// Writes everything that stands after the value.
    #[inline(always)]
    pub fn write_after_value(&self, out: &mut Vec<u8>) {
        if self.headers.is_empty() {
            out.push(0);
        } else {
            write_headers(self.headers, out);
        }
    }

    /// Writes the whole record around a copy of `value`.
    ///
    /// # Panics
    ///
    /// When `value` is not of the length that was laid out.
    #[inline(always)]
    pub fn write(&self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        assert!(value.map(<[u8]>::len) == self.value_len, "a record is written with the value it was laid out for");
        self.write_up_to_value(out);
        if let Some(value) = value {
            out.extend_from_slice(value);
        }
        self.write_after_value(out);
    }
}

/// A record that no batch can hold.
///
/// ```
/// use milena_wire::records::RecordLayout;
///
/// let refused = RecordLayout::new(0, 0, None, Some(3_000_000_000), &[]).unwrap_err();
/// assert!(refused.bytes > 3_000_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordTooLarge {
    /// Its length, or `usize::MAX` when even that is exceeded.
    pub bytes: usize,
}

impl fmt::Display for RecordTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record of {} bytes exceeds the {RECORD_BYTES_MAX} bytes that Kafka's format can hold; split it",
            self.bytes
        )
    }
}

impl Error for RecordTooLarge {}

/// Length, attributes, timestamp delta, offset delta, key length and value length at their longest.
const HEAD_BYTES_MAX: usize = LENGTH_FIELD_MAX + 1 + 10 + 5 + 5 + 5;
const LENGTH_FIELD_MAX: usize = 5;

#[inline(always)]
fn nullable_len(len: Option<usize>) -> i64 {
    len.map_or(-1, |len| len as i64)
}

/// Room for four words, each of which may take eight bytes for a moment.
const WORDS_BYTES: usize = 4 * 8;

fn headers_len(headers: &[RecordHeader<'_>]) -> usize {
    headers.iter().fold(varint::len(headers.len() as i64), |sum, header| {
        let value_len = header.value.map(<[u8]>::len);
        sum.saturating_add(varint::nullable_len(Some(header.key.len())) + varint::nullable_len(value_len))
            .saturating_add(header.key.len())
            .saturating_add(value_len.unwrap_or(0))
    })
}

fn write_headers(headers: &[RecordHeader<'_>], out: &mut Vec<u8>) {
    write_varint(headers.len() as i64, out);
    for header in headers {
        write_varint(header.key.len() as i64, out);
        out.extend_from_slice(header.key.as_bytes());
        write_varint(nullable_len(header.value.map(<[u8]>::len)), out);
        if let Some(value) = header.value {
            out.extend_from_slice(value);
        }
    }
}

fn write_varint(value: i64, out: &mut Vec<u8>) {
    let mut bytes = [0; 10];
    let end = varint::write(&mut bytes, 0, value);
    out.extend_from_slice(&bytes[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where there is room to spare a record is written in another way than where there is none.
    #[test]
    fn a_record_is_written_alike_wherever_it_is_written() {
        let edges = [0, 1, 63, 64, 8191, 8192, (1 << 27) - 1, 1 << 27, i64::from(i32::MAX)];
        let more = [-1, -64, -65, -(1 << 27), -(1 << 27) - 1, i64::MAX, i64::MIN];
        let bytes = vec![b'b'; 20_000];
        let texts = [None, Some(0), Some(1), Some(63), Some(64), Some(8191), Some(8192)];
        let texts = || texts.into_iter().map(|len: Option<usize>| len.map(|len| &bytes[..len]));
        for timestamp_delta in edges.into_iter().chain(more) {
            for offset_delta in edges {
                for (key, value) in texts().flat_map(|key| texts().map(move |value| (key, value))) {
                    let len = value.map(<[u8]>::len);
                    let layout = RecordLayout::new(timestamp_delta, offset_delta as i32, key, len, &[]).expect("small");
                    let mut exact = Vec::with_capacity(layout.total_len());
                    layout.write_bytes(&mut exact);
                    exact.extend_from_slice(value.unwrap_or_default());
                    layout.write_after_value(&mut exact);
                    assert_eq!(exact.len(), layout.total_len());
                    for spare in [0, 1, 31, 32, 100] {
                        let mut out = Vec::with_capacity(layout.total_len() + spare);
                        let held = out.capacity();
                        layout.write(value, &mut out);
                        assert!(out == exact, "{layout:?} {spare}");
                        assert_eq!(out.capacity(), held, "a chunk never grows");
                    }
                }
            }
        }
    }
}
