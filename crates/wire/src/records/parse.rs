//! The fields of one record as ranges of a body.
//!
//! The one place that reads a record's bytes: the reader, the rewriter and the broker's check stand on it. Every field
//! lies within the record and the fields use the record up. Copies nothing, allocates nothing.

use std::ops::Range;

use super::error::RecordFault;
use super::varint;

/// Length, attributes, two deltas, two lengths and the count of headers: one byte each.
pub(super) const RECORD_BYTES_MIN: usize = 7;

/// Where the fields of one record are.
#[derive(Debug, Clone)]
pub(super) struct RecordParts {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    pub(super) header_count: u32,
    pub(super) headers: Range<usize>,
    /// From the attributes to the end of the timestamp delta.
    pub(super) before_offset: Range<usize>,
    /// From the key's length to the end of the record.
    pub(super) after_offset: Range<usize>,
}

impl RecordParts {
    /// Reads the record that starts at `at`; the next one starts at the end of `after_offset`.
    pub(super) fn read(body: &[u8], at: usize) -> Result<Self, RecordFault> {
        let mut cursor = Cursor { bytes: body, at };
        let length = cursor.varint().map_err(|fault| match fault {
            RecordFault::Varint => RecordFault::LengthVarint,
            other => other,
        })?;
        let start = cursor.at;
        let record = cursor.span(usize::try_from(length).map_err(|_| RecordFault::Length(length))?)?;
        let mut cursor = Cursor { bytes: &body[..record.end], at: start };
        cursor.span(1)?;
        let timestamp_delta = cursor.varlong()?;
        let before_offset = start..cursor.at;
        let offset_delta = cursor.varint()?;
        let after_offset = cursor.at..record.end;
        let key = cursor.nullable()?;
        let value = cursor.nullable()?;
        let header_count = cursor.varint()?;
        let header_count = u32::try_from(header_count).map_err(|_| RecordFault::Length(header_count))?;
        let headers_start = cursor.at;
        // A claimed count costs no more steps than there are bytes: a header that is not there is a cut field.
        for _ in 0..header_count {
            cursor.header()?;
        }
        let headers = headers_start..cursor.at;
        if cursor.at != record.end {
            return Err(RecordFault::TrailingBytes(record.end - cursor.at));
        }
        Ok(Self { timestamp_delta, offset_delta, key, value, header_count, headers, before_offset, after_offset })
    }
}

/// A position in bytes that only moves past what is there.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Cursor<'_> {
    /// Key and value of one header.
    pub(super) fn header(&mut self) -> Result<(Range<usize>, Option<Range<usize>>), RecordFault> {
        let key_len = self.varint()?;
        let key = self.span(usize::try_from(key_len).map_err(|_| RecordFault::Length(key_len))?)?;
        Ok((key, self.nullable()?))
    }

    /// A length and that many bytes. Java's client reads every negative length as null, and so must whoever reads what
    /// it accepted.
    fn nullable(&mut self) -> Result<Option<Range<usize>>, RecordFault> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.span(len).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn span(&mut self, len: usize) -> Result<Range<usize>, RecordFault> {
        if len > self.bytes.len() - self.at {
            return Err(RecordFault::Cut);
        }
        let start = self.at;
        self.at += len;
        Ok(start..self.at)
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, RecordFault> {
        varint::unzigzag32(self.raw(VARINT_BYTES_MAX)?).ok_or(RecordFault::Varint)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordFault> {
        self.raw(VARLONG_BYTES_MAX).map(varint::unzigzag)
    }

    #[inline]
    fn raw(&mut self, bytes_max: usize) -> Result<u64, RecordFault> {
        // Nearly all numbers of a record take one byte or two.
        match self.bytes[self.at..] {
            [first, ..] if first < 0x80 => {
                self.at += 1;
                Ok(u64::from(first))
            }
            [first, second, ..] if second < 0x80 => {
                self.at += 2;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.raw_of_many(bytes_max),
        }
    }

    #[cold]
    fn raw_of_many(&mut self, bytes_max: usize) -> Result<u64, RecordFault> {
        let mut raw = 0;
        for (index, byte) in self.bytes[self.at..].iter().take(bytes_max).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if index == VARLONG_BYTES_MAX - 1 && bits > 1 {
                return Err(RecordFault::Varint);
            }
            raw |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(raw);
            }
        }
        let enough = self.bytes.len() - self.at >= bytes_max;
        Err(if enough { RecordFault::Varint } else { RecordFault::Cut })
    }
}

const VARINT_BYTES_MAX: usize = 5;
const VARLONG_BYTES_MAX: usize = 10;
