//! Dropping records from a body that has no stamp yet.
//!
//! The records that stay keep their order, timestamps and bytes and are numbered anew from 0. Works on one copy of the
//! body, so the chunks it came from can go back at once.
//!
//! Does not choose the records and does not touch the header; whoever calls it has both.

use super::error::{BatchError, RecordFault};
use super::parse::RecordParts;
use super::varint;

/// What is left of a body.
///
/// ```
/// let nothing = milena_wire::records::retain([], |_| true)?;
/// assert_eq!((nothing.bytes, nothing.record_count, nothing.max_timestamp_delta), (vec![], 0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrittenBody {
    /// The records that stayed.
    pub bytes: Vec<u8>,
    /// How many.
    pub record_count: u32,
    /// The largest timestamp delta among them; 0 when none stayed.
    pub max_timestamp_delta: i64,
}

/// Drops from an uncompressed body every record for whose position `keep` says no. The body is given as its chunks in
/// order, split anywhere. An error means that the chunks do not hold whole records in ascending order.
///
/// ```
/// use milena_wire::records::{RecordLayout, retain};
///
/// let mut body = Vec::new();
/// for number in 0..3 {
///     RecordLayout::new(i64::from(number) * 10, number, None, Some(1), &[])?.write(Some(b"v"), &mut body);
/// }
/// let left = retain([&body[..]], |number| number != 2)?;
/// assert_eq!((left.record_count, left.max_timestamp_delta), (2, 10));
/// assert_eq!(left.bytes, body[..left.bytes.len()], "these two were numbered so before");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn retain<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    mut keep: impl FnMut(u32) -> bool,
) -> Result<RewrittenBody, BatchError> {
    let mut body = Body { bytes: concat(chunks), read_at: 0, write_at: 0 };
    let (mut index, mut record_count, mut last_delta, mut max_timestamp_delta) = (0, 0, -1, None);
    while body.read_at < body.bytes.len() {
        let fault = |fault| BatchError::Record { base_offset: 0, index, fault };
        let parts = RecordParts::read(&body.bytes, body.read_at).map_err(fault)?;
        if parts.offset_delta <= last_delta {
            return Err(fault(RecordFault::OffsetDelta(parts.offset_delta)));
        }
        last_delta = parts.offset_delta;
        body.read_at = parts.after_offset.end;
        if keep(index) {
            max_timestamp_delta = max_timestamp_delta.max(Some(parts.timestamp_delta));
            body.move_down(&parts, record_count);
            record_count += 1;
        }
        index += 1;
    }
    body.bytes.truncate(body.write_at);
    Ok(RewrittenBody { bytes: body.bytes, record_count, max_timestamp_delta: max_timestamp_delta.unwrap_or(0) })
}

/// A body that is rewritten in place: numbers ascend, so a record's new number is never larger than its old one, and
/// what is written never overtakes what is read.
struct Body {
    bytes: Vec<u8>,
    read_at: usize,
    write_at: usize,
}

impl Body {
    fn move_down(&mut self, parts: &RecordParts, offset_delta: u32) {
        let offset_delta = i64::from(offset_delta);
        let length = parts.before_offset.len() + varint::len(offset_delta) + parts.after_offset.len();
        self.write_at = varint::write(&mut self.bytes, self.write_at, length as i64);
        self.copy_down(parts.before_offset.clone());
        self.write_at = varint::write(&mut self.bytes, self.write_at, offset_delta);
        self.copy_down(parts.after_offset.clone());
    }

    fn copy_down(&mut self, range: std::ops::Range<usize>) {
        let len = range.len();
        self.bytes.copy_within(range, self.write_at);
        self.write_at += len;
    }
}

fn concat<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in chunks {
        bytes.extend_from_slice(chunk);
    }
    bytes
}
