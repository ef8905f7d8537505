//! Reading batches out of what a broker sent or a log holds, without copying.
//!
//! A [`BatchView`] has passed every check of its header; a [`Record`] has passed every check of its bytes, headers
//! included. All of them are slices of the bytes that were given, or of what was unpacked from them. After the first error an iterator ends.
//!
//! Leaves to the caller: batches that start before the wanted offset, control batches, aborted transactions.

use std::borrow::Cow;
use std::iter::FusedIterator;

use bytes::Bytes;

use super::codec::{UNPACKED_BYTES_MAX, unpack};
use super::error::BatchError;
use super::header::{BATCH_HEADER_BYTES, BatchHeader, Compression, SUMMED_FROM, TimestampType};
use super::parse::{Cursor, RECORD_BYTES_MIN, RecordParts};
use crate::crc32c;

/// The batches in `bytes`, one after the other. A cut last one ends them with [`BatchError::Incomplete`].
///
/// ```
/// use milena_wire::crc32c;
/// use milena_wire::records::{BatchHeader, RecordLayout};
///
/// let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// let mut body = Vec::new();
/// RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
///
/// let torn = [&batch[..], &batch[..20]].concat();
/// let mut read = milena_wire::records::batches(torn.into());
/// let record = read.next().expect("there is one")?.records().next().expect("there is one")?;
/// assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(key), Some(value)));
/// assert!(read.next().is_some_and(|cut| cut.is_err()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn batches(bytes: Bytes) -> Batches {
    Batches { bytes, at: 0, checksums: true, ended: false }
}

/// Iterator over the batches of a fetch or a log; see [`batches`].
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::batches;
///
/// let log = [&batch[..], &batch[..20]].concat();
/// let mut read = batches(log.into()).without_checksums();
/// while let Some(Ok(_)) = read.next() {}
/// assert_eq!(read.consumed(), batch.len(), "where the log is cut");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    bytes: Bytes,
    at: usize,
    checksums: bool,
    ended: bool,
}

impl Batches {
    /// Does not compare checksums: for bytes that were summed before.
    #[must_use]
    pub fn without_checksums(mut self) -> Self {
        self.checksums = false;
        self
    }

    /// How many bytes the batches given so far take; where a torn log is cut.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }
}

impl Iterator for Batches {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.at == self.bytes.len() {
            return None;
        }
        let batch = BatchView::read(&self.bytes.slice(self.at..), self.checksums);
        match &batch {
            Ok(batch) => self.at += batch.bytes.len(),
            Err(_) => self.ended = true,
        }
        Some(batch)
    }
}

impl FusedIterator for Batches {}

/// One whole batch whose header has been checked against its bytes.
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::batches;
///
/// let view = batches(batch.clone().into()).next().expect("there is one")?;
/// assert_eq!((view.header.record_count, &view.bytes[..]), (1, &batch[..]));
/// assert_eq!(view.unpacked(1_000)?, view.body, "it is not compressed");
/// assert_eq!(view.records().count(), 1);
/// // Of a peer that is not trusted with more.
/// assert_eq!(view.records_within(1_000).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchView {
    /// The header.
    pub header: BatchHeader,
    /// The records, compressed as the header says.
    pub body: Bytes,
    /// The batch as it stands, header included.
    pub bytes: Bytes,
}

impl BatchView {
    /// Reads the batch at the start of `bytes`; more may follow it.
    fn read(bytes: &Bytes, checksums: bool) -> Result<Self, BatchError> {
        let header = check_batch(bytes, checksums)?;
        let bytes = bytes.slice(..header.total_bytes());
        Ok(Self { header, body: bytes.slice(BATCH_HEADER_BYTES..), bytes })
    }

    /// The records, unpacked first if they are compressed; more than [`UNPACKED_BYTES_MAX`] are not.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records_within(UNPACKED_BYTES_MAX)
    }

    /// The records, unpacked first if they are compressed, to no more than so many bytes. What cannot be unpacked gives one
    /// error that names its codec.
    #[must_use]
    pub fn records_within(&self, unpacked_bytes_max: usize) -> Records {
        let (body, fault) = match self.unpacked(unpacked_bytes_max) {
            Ok(body) => (body, None),
            Err(fault) => (Bytes::new(), Some(fault)),
        };
        Records { header: self.header, body, fault, at: 0, index: 0, last_delta: -1, ended: false }
    }

    /// The bytes of the records as they were before they were compressed, if they were.
    pub fn unpacked(&self, bytes_max: usize) -> Result<Bytes, BatchError> {
        let (codec, base_offset) = (self.header.attributes.compression(), self.header.base_offset);
        if codec == Compression::None {
            return Ok(self.body.clone());
        }
        let unpacked = unpack(codec, &self.body, bytes_max);
        let body = unpacked.map_err(|fault| BatchError::Compressed { base_offset, codec, fault })?;
        check_count(&self.header, body.len())?;
        Ok(body.into())
    }
}

/// Every check of a batch that needs no record.
pub(super) fn check_batch(bytes: &[u8], checksums: bool) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::read(bytes)?;
    let base_offset = header.base_offset;
    let Some(batch) = bytes.get(..header.total_bytes()) else {
        return Err(BatchError::Incomplete { needed: header.total_bytes(), remaining: bytes.len() });
    };
    if checksums {
        let computed = crc32c::checksum(&batch[SUMMED_FROM..]);
        if computed != header.crc {
            return Err(BatchError::Checksum { base_offset, stored: header.crc, computed });
        }
    }
    let last_offset_delta = header.last_offset_delta;
    let last_offset = base_offset.checked_add(i64::from(last_offset_delta));
    if base_offset < 0 || last_offset_delta < 0 || last_offset.is_none() {
        return Err(BatchError::Offsets { base_offset, last_offset_delta });
    }
    let body_bytes = batch.len() - BATCH_HEADER_BYTES;
    // How many records a compressed body holds shows only when it is unpacked.
    match header.attributes.compression() {
        Compression::None => check_count(&header, body_bytes)?,
        _ if header.record_count >= 0 => {}
        _ => return Err(BatchError::RecordCount { base_offset, count: header.record_count, body_bytes }),
    }
    Ok(header)
}

/// No more records than fit into a body of so many bytes that is not compressed.
fn check_count(header: &BatchHeader, body_bytes: usize) -> Result<(), BatchError> {
    match usize::try_from(header.record_count) {
        Ok(count) if count <= body_bytes / RECORD_BYTES_MIN => Ok(()),
        _ => Err(BatchError::RecordCount { base_offset: header.base_offset, count: header.record_count, body_bytes }),
    }
}

/// Iterator over the records of a batch; see [`BatchView::records`].
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::batches;
///
/// let view = batches(batch.into()).next().expect("there is one")?;
/// let values: Result<Vec<_>, _> = view.records().map(|record| record.map(|record| record.value)).collect();
/// assert_eq!(values?, [Some("v".into())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    /// Not compressed.
    body: Bytes,
    /// Why there is no body; taken when it is told.
    fault: Option<BatchError>,
    at: usize,
    index: u32,
    last_delta: i32,
    ended: bool,
}

impl Records {
    /// The same records without what is in them: for whoever checks all of them and keeps none. Reads every byte that [`Records`] reads, and
    /// costs a third of it, because nothing keeps the batch alive.
    ///
    /// ```
    /// # use milena_wire::crc32c;
    /// # use milena_wire::records::{BatchHeader, RecordLayout};
    /// #
    /// # let (key, value) = (b"k".as_slice(), b"value".as_slice());
    /// # let mut body = Vec::new();
    /// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
    /// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
    /// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
    /// use milena_wire::records::{RecordOutline, batches};
    ///
    /// let view = batches(batch.into()).next().expect("there is one")?;
    /// let outlines: Result<Vec<RecordOutline>, _> = view.records().outlines().collect();
    /// assert_eq!((outlines?[0].key_bytes, view.records().outlines().count()), (Some(1), 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn outlines(self) -> RecordOutlines {
        RecordOutlines(self)
    }

    fn next_parts(&mut self) -> Option<Result<RecordParts, BatchError>> {
        if self.ended {
            return None;
        }
        if let Some(fault) = self.fault.take() {
            self.ended = true;
            return Some(Err(fault));
        }
        let step = next_record(&self.header, &self.body, self.at, self.index, self.last_delta);
        match step {
            Ok(Some(parts)) => {
                self.at = parts.after_offset.end;
                self.index += 1;
                self.last_delta = parts.offset_delta;
                Some(Ok(parts))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let parts = self.next_parts()?;
        Some(parts.map(|parts| Record::new(&self.header, &self.body, parts)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Bounded by the length of the body before any of this is reached; one more for an error at the end.
        let left = usize::try_from(self.header.record_count).unwrap_or(0).saturating_sub(self.index as usize);
        (0, Some(left + 1))
    }
}

impl FusedIterator for Records {}

/// What a record is, without what is in it; see [`Records::outlines`].
///
/// ```
/// use milena_wire::records::RecordOutline;
/// let tombstone = RecordOutline { offset: 7, timestamp: 1_767_225_600_000, key_bytes: Some(2), value_bytes: None };
/// assert!(tombstone.value_bytes.is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOutline {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970: the record's own, or the time of the append where the batch says so.
    pub timestamp: i64,
    /// How long its key is, if it has one.
    pub key_bytes: Option<usize>,
    /// How long its value is, if it has one.
    pub value_bytes: Option<usize>,
}

/// Iterator over what the records of a batch are; see [`Records::outlines`].
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::BatchHeader;
/// #
/// # let batch = BatchHeader { base_timestamp: 1_767_225_600_000, ..BatchHeader::default() }.seal(0, crc32c::checksum(&[]));
/// let view = milena_wire::records::batches(batch.to_vec().into()).next().expect("there is one")?;
/// assert_eq!(view.records().outlines().next(), None, "compaction left nothing of it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RecordOutlines(Records);

impl Iterator for RecordOutlines {
    type Item = Result<RecordOutline, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let parts = self.0.next_parts()?;
        let header = &self.0.header;
        Some(parts.map(|parts| RecordOutline {
            offset: offset_of(header, &parts),
            timestamp: timestamp_of(header, &parts),
            key_bytes: parts.key.map(|range| range.len()),
            value_bytes: parts.value.map(|range| range.len()),
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl FusedIterator for RecordOutlines {}

/// The next record of a body that is not compressed, `None` after the last of the count, which must be the end of the body.
pub(super) fn next_record(
    header: &BatchHeader,
    body: &[u8],
    at: usize,
    index: u32,
    last_delta: i32,
) -> Result<Option<RecordParts>, BatchError> {
    let base_offset = header.base_offset;
    if i64::from(index) >= i64::from(header.record_count) {
        return match body.len() - at {
            0 => Ok(None),
            bytes => Err(BatchError::TrailingBytes { base_offset, bytes }),
        };
    }
    let fault = |fault| BatchError::Record { base_offset, index, fault };
    let parts = RecordParts::read(body, at).map_err(fault)?;
    // Compaction leaves gaps between the deltas, but nothing turns them around.
    if parts.offset_delta <= last_delta || parts.offset_delta > header.last_offset_delta {
        return Err(fault(super::RecordFault::OffsetDelta(parts.offset_delta)));
    }
    Ok(Some(parts))
}

/// One record; key, value and headers are slices of the bytes it was read from and keep these alive.
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::batches;
///
/// let record = batches(batch.into()).next().expect("there is one")?.records().next().expect("there is one")?;
/// assert_eq!((record.offset, record.timestamp, record.sequence), (0, 1_767_225_600_000, None));
/// assert_eq!(record.headers().count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970: the record's own, or the time of the append where the batch says so.
    pub timestamp: i64,
    /// The key, which may be null.
    pub key: Option<Bytes>,
    /// The value, which may be null.
    pub value: Option<Bytes>,
    /// Its sequence, where the producer gave one.
    pub sequence: Option<i32>,
    headers: Headers,
}

impl Record {
    fn new(header: &BatchHeader, body: &Bytes, parts: RecordParts) -> Self {
        Self {
            offset: offset_of(header, &parts),
            timestamp: timestamp_of(header, &parts),
            key: parts.key.map(|range| body.slice(range)),
            value: parts.value.map(|range| body.slice(range)),
            sequence: header.sequence_at(parts.offset_delta),
            headers: Headers { bytes: body.slice(parts.headers), at: 0, left: parts.header_count },
        }
    }

    /// The headers in the order they were written, equal keys included.
    #[must_use]
    pub fn headers(&self) -> Headers {
        self.headers.clone()
    }
}

fn offset_of(header: &BatchHeader, parts: &RecordParts) -> i64 {
    header.base_offset + i64::from(parts.offset_delta)
}

fn timestamp_of(header: &BatchHeader, parts: &RecordParts) -> i64 {
    match header.attributes.timestamp_type() {
        // Wraps as in Java, where a nonsensical delta costs the timestamp and not the record.
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(parts.timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp,
    }
}

/// Iterator over the headers of a record; see [`Record::headers`].
///
/// ```
/// # use milena_wire::crc32c;
/// # use milena_wire::records::{BatchHeader, RecordHeader, RecordLayout};
/// #
/// # let (key, value) = (b"k".as_slice(), b"v".as_slice());
/// # let mut body = Vec::new();
/// # RecordLayout::new(0, 0, Some(key), Some(value.len()), &[RecordHeader { key: "shop", value: Some(b"berlin") }])?.write(Some(value), &mut body);
/// # let header = BatchHeader { record_count: 1, base_timestamp: 1_767_225_600_000, ..BatchHeader::default() };
/// # let batch = [header.seal(body.len(), crc32c::checksum(&body)).as_slice(), &body].concat();
/// use milena_wire::records::batches;
///
/// let record = batches(batch.into()).next().expect("there is one")?.records().next().expect("there is one")?;
/// let shop = record.headers().find(|header| &header.key[..] == b"shop");
/// assert_eq!(shop.and_then(|header| header.value), Some("berlin".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    bytes: Bytes,
    at: usize,
    left: u32,
}

impl Iterator for Headers {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        self.left = self.left.checked_sub(1)?;
        let mut cursor = Cursor { bytes: &self.bytes, at: self.at };
        let (key, value) = cursor.header().expect("the headers were walked when their record was read");
        self.at = cursor.at;
        Some(Header { key: self.bytes.slice(key), value: value.map(|range| self.bytes.slice(range)) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Headers {}
impl FusedIterator for Headers {}

/// A header as it was read.
///
/// ```
/// use milena_wire::records::Header;
/// let header = Header { key: b"sh\xffp".as_slice().into(), value: None };
/// assert_eq!(header.key_text(), "sh\u{fffd}p");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The key. Writers give UTF-8, but nothing on the way enforces it, and one bad key must not stop a partition.
    pub key: Bytes,
    /// The value, which may be null.
    pub value: Option<Bytes>,
}

impl Header {
    /// The key as text; what is not UTF-8 is replaced, as Java's client does.
    #[must_use]
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}
