//! Reading batches of a segment one after the other: headers only where they are known to be whole, everything where they are not.

use std::path::PathBuf;

use bytes::Bytes;
use milena_wire::records::{self, BATCH_HEADER_BYTES, BatchError, BatchHeader};

use crate::storage::{Segment, StorageError};

/// The headers of batches that were whole when they were appended, from a position on.
pub(crate) struct Headers<'a> {
    segment: &'a dyn Segment,
    position: u64,
    /// How far a read goes where batches are small; large ones are skipped.
    ahead: usize,
    window: Window,
}

impl<'a> Headers<'a> {
    pub(crate) fn from(segment: &'a dyn Segment, position: u64, ahead: usize) -> Headers<'a> {
        Headers { segment, position, ahead, window: Window::ahead(ahead) }
    }

    /// The next one and where its batch starts; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, StorageError> {
        let position = self.position;
        if position >= self.segment.len() {
            return Ok(None);
        }
        let bytes = self.window.at(self.segment, position, BATCH_HEADER_BYTES)?;
        let header = BatchHeader::read(&bytes).map_err(|why| damaged(self.segment, position, &why))?;
        let size = header.total_bytes();
        self.position += size as u64;
        self.window.ahead = if size > SKIPPED_FROM { 0 } else { self.ahead };
        Ok(Some((position, header)))
    }
}

/// A batch that was whole when it was appended is not any more.
pub(crate) fn damaged(segment: &dyn Segment, at: u64, why: &BatchError) -> StorageError {
    StorageError::Damaged { path: segment.path().map(PathBuf::from).unwrap_or_default(), at, why: why.to_string() }
}

/// Reads a segment that a crash may have torn, from its start. Ends at the first batch that is not whole, undamaged and in its place.
pub(crate) struct Recovery<'a> {
    segment: &'a dyn Segment,
    /// Where the whole batches end so far.
    pub(crate) position: u64,
    /// The least offset that the next batch may have.
    pub(crate) next_offset: i64,
    window: Window,
}

impl<'a> Recovery<'a> {
    pub(crate) fn of(segment: &'a dyn Segment, base_offset: i64) -> Recovery<'a> {
        Recovery { segment, position: 0, next_offset: base_offset, window: Window::ahead(RECOVERY_AHEAD) }
    }

    /// The next whole batch; none at the end. What comes after one that is not whole must be cut; unless a crash cannot have left it so.
    pub(crate) fn next(&mut self) -> Result<Result<Option<BatchHeader>, BatchError>, StorageError> {
        if self.position >= self.segment.len() {
            return Ok(Ok(None));
        }
        match self.next_whole()? {
            Ok(header) => {
                self.position += header.total_bytes() as u64;
                // The base offset is not covered by the checksum, so it may be anything.
                self.next_offset = header.last_offset().saturating_add(1);
                Ok(Ok(Some(header)))
            }
            Err(why) => {
                self.refuse_damage(&why)?;
                Ok(Err(why))
            }
        }
    }

    /// The batch at the position, if it is whole, undamaged and belongs there.
    fn next_whole(&mut self) -> Result<Result<BatchHeader, BatchError>, StorageError> {
        let header = self.window.at(self.segment, self.position, BATCH_HEADER_BYTES)?;
        let size = match BatchHeader::read(&header) {
            Ok(header) => header.total_bytes(),
            Err(why) => return Ok(Err(why)),
        };
        let bytes = self.window.at(self.segment, self.position, size)?;
        let batch = match records::batches(bytes).next() {
            Some(Ok(batch)) => batch.header,
            Some(Err(why)) => return Ok(Err(why)),
            None => return Ok(Err(BatchError::Incomplete { needed: BATCH_HEADER_BYTES, remaining: 0 })),
        };
        if batch.base_offset < self.next_offset {
            let BatchHeader { base_offset, last_offset_delta, .. } = batch;
            return Ok(Err(BatchError::Offsets { base_offset, last_offset_delta }));
        }
        Ok(Ok(batch))
    }

    /// A crash of the process leaves nothing whole behind the batch that it interrupted, and one of the machine leaves holes of zeros,
    /// sector by sector. Where a whole batch follows one that is damaged in another way, something else has damaged the file, and cutting
    /// would throw away what can still be read.
    fn refuse_damage(&mut self, why: &BatchError) -> Result<(), StorageError> {
        let header = self.window.at(self.segment, self.position, BATCH_HEADER_BYTES)?;
        let Ok(header) = BatchHeader::read(&header) else { return Ok(()) };
        let next = self.position + header.total_bytes() as u64;
        if next >= self.segment.len() {
            return Ok(());
        }
        let batch = self.window.at(self.segment, self.position, header.total_bytes())?;
        if has_hole(&batch, self.position) {
            return Ok(());
        }
        let rest = self.window.at(self.segment, next, BATCH_HEADER_BYTES)?;
        let Ok(following) = BatchHeader::read(&rest) else { return Ok(()) };
        let bytes = self.window.at(self.segment, next, following.total_bytes())?;
        let is_whole = matches!(records::batches(bytes).next(), Some(Ok(_)));
        if is_whole && self.segment.path().is_some() { Err(damaged(self.segment, self.position, why)) } else { Ok(()) }
    }
}

/// Whether a sector in the middle of a batch, or the part of one at its ends, is zeros: what a machine leaves that lost power before it wrote
/// that sector. A batch is never so long without anything else, unless its records are zeros; then a damaged one may be cut too.
fn has_hole(batch: &[u8], position: u64) -> bool {
    let into_sector = (position % SECTOR_BYTES) as usize;
    let first = (SECTOR_BYTES as usize - into_sector).min(batch.len());
    let (head, rest) = batch.split_at(first);
    let is_zero = |piece: &[u8]| piece.len() >= HOLE_BYTES_MIN && piece.iter().all(|byte| *byte == 0);
    is_zero(head) || rest.chunks(SECTOR_BYTES as usize).any(is_zero)
}

/// A piece of a segment read ahead, so that small batches do not cost a read each.
struct Window {
    ahead: usize,
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn ahead(ahead: usize) -> Window {
        Window { ahead, start: 0, bytes: Bytes::new() }
    }

    /// `size` bytes at `position`, or what the segment has of them.
    fn at(&mut self, segment: &dyn Segment, position: u64, size: usize) -> Result<Bytes, StorageError> {
        let available = usize::try_from(segment.len() - position).unwrap_or(usize::MAX);
        let size = size.min(available);
        let held = position.checked_sub(self.start).and_then(|skipped| self.bytes.len().checked_sub(skipped as usize));
        if held.is_none_or(|held| held < size) {
            // In memory batches are handed out as they are; a longer piece would have to be joined.
            let ahead = if segment.path().is_some() { self.ahead } else { 0 };
            self.bytes = segment.read(position, size.max(ahead).min(available))?;
            self.start = position;
        }
        let skipped = (position - self.start) as usize;
        Ok(self.bytes.slice(skipped..skipped + size))
    }
}

/// One read for many small batches, and small enough to stay in the processor's cache until they are summed.
pub(crate) const RECOVERY_AHEAD: usize = 256 << 10;
/// A read for a header alone costs less than copying a batch of this size.
const SKIPPED_FROM: usize = 8 << 10;
/// A lookup reads on for as long as an index interval.
pub(crate) const LOOKUP_AHEAD: usize = 4 * 1024;
/// What disks write wholly or not at all.
const SECTOR_BYTES: u64 = 512;
/// A shorter piece of zeros may be anything.
const HOLE_BYTES_MIN: usize = 64;
