//! Reading a log: what lies where, by offset and by time, and the bytes.
//!
//! Every way in goes by the indexes of one segment and reads on from there. An index that leads astray is made anew.

use bytes::Bytes;
use milena_wire::records::{self, BatchError, BatchView, TimestampType};

use super::scan::{Headers, RECOVERY_AHEAD, damaged};
use super::segment::{Found, LogSegment, Looked, OpenSegment};
use super::{BatchEntry, LookupError, PartitionLog, TimestampedOffset};
use crate::storage::StorageError;

impl PartitionLog {
    /// The offset of the first record that is still there.
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// One past the last record.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// How many bytes of batches it holds.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The first offset of each segment, ascending. The last segment is the one that grows.
    pub fn segments(&self) -> Vec<i64> {
        self.segments.iter().map(|segment| segment.base_offset).collect()
    }

    /// The batches that are still there, ascending. Reads every header of the log.
    pub fn batches(&self) -> Result<Vec<BatchEntry>, StorageError> {
        let mut entries = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            self.look(at, |open| {
                let mut headers = Headers::from(&*open.data, 0, RECOVERY_AHEAD);
                while let Some((position, header)) = headers.next()? {
                    if header.last_offset() >= self.start_offset {
                        entries.push(entry_of(segment, Found { position, header }));
                    }
                }
                Ok(Looked::There(()))
            })?;
        }
        Ok(entries)
    }

    /// Reads one batch, checksum included.
    pub fn read_batch(&self, entry: &BatchEntry) -> Result<BatchView, LookupError> {
        let at = self.segments.partition_point(|segment| segment.base_offset < entry.segment);
        let read = |open: &OpenSegment| open.data.read(entry.position, entry.size).map(Looked::There);
        let is_there = self.segments.get(at).is_some_and(|segment| segment.base_offset == entry.segment);
        let bytes = if is_there { self.look(at, read)? } else { Bytes::new() };
        match records::batches(bytes).next() {
            Some(batch) => batch.map_err(LookupError::Damaged),
            None => Err(LookupError::Damaged(BatchError::Empty)),
        }
    }

    /// How many bytes the batches from the one at `offset` to the one before `end` have.
    pub(crate) fn bytes_between(&self, offset: i64, end: i64) -> Result<u64, StorageError> {
        let (from, to) = (self.place_of(offset)?, self.place_of(end)?);
        let whole: u64 = self.segments[from.0.min(to.0)..to.0].iter().map(|segment| segment.bytes).sum();
        Ok((whole + to.1).saturating_sub(from.1))
    }

    /// Reads batches from the one that holds `offset` on, those before `end`, at most `bytes_max`. As Kafka does, the last batch may be cut,
    /// and the first one is given whole whatever its size if `whole_first` is set; otherwise a first batch that does not fit gives nothing.
    /// One read ends where its segment does.
    pub fn read(&self, offset: i64, end: i64, bytes_max: usize, whole_first: bool) -> Result<Bytes, StorageError> {
        let Some((at, found)) = self.find(offset)?.filter(|(_, found)| found.header.base_offset < end) else {
            return Ok(Bytes::new());
        };
        let (last, position) = self.place_of(end)?;
        let limit = if last == at { position } else { self.segments[at].bytes };
        let available = usize::try_from(limit.saturating_sub(found.position)).unwrap_or(usize::MAX);
        let first = found.header.total_bytes();
        let size = match first <= bytes_max {
            true => bytes_max.min(available),
            false if whole_first => first.min(available),
            false => 0,
        };
        self.look(at, |open| open.data.read(found.position, size).map(Looked::There))
    }

    /// Where an epoch ended: the newest known epoch not above `epoch`, and one past its last offset. None if `epoch` is newer than all, or
    /// none at all; one older than all ended where the first one began.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_of(epoch, self.next_offset)
    }

    /// The leader epoch under which the record at `offset`, or the next one, was or will be written.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        self.epochs.at(offset)
    }

    /// The first record at or after a time.
    pub fn first_since(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, LookupError> {
        self.first_from(self.start_offset, timestamp)
    }

    /// Only the first segment that has a batch as new is looked into, as in Kafka: where its records of that time were deleted, there are none.
    fn first_from(&self, start: i64, timestamp: i64) -> Result<Option<TimestampedOffset>, LookupError> {
        let may_have = |segment: &LogSegment| segment.newest.is_some_and(|(newest, _)| newest >= timestamp);
        let Some(at) = self.segments.iter().position(may_have) else { return Ok(None) };
        let segment = &self.segments[at];
        let mut from = start.max(segment.base_offset);
        while let Some(found) = self.look(at, |open| open.find_since(segment.base_offset, timestamp, from))? {
            let entry = entry_of(segment, found);
            if let Some(record) = self.first_in_batch(&entry, start, timestamp)? {
                return Ok(Some(record));
            }
            from = entry.last_offset + 1;
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of all. It may be one that was deleted, whose segment is still there: Kafka does not
    /// look where the log begins (seen on 4.3.1).
    pub fn newest(&self) -> Result<Option<TimestampedOffset>, LookupError> {
        match self.segments.iter().filter_map(|segment| segment.newest).map(|(timestamp, _)| timestamp).max() {
            Some(newest) => self.first_from(self.segments[0].base_offset, newest),
            None => self.first_without_time(),
        }
    }

    /// Where no record has a time, Kafka tells of the first one.
    fn first_without_time(&self) -> Result<Option<TimestampedOffset>, LookupError> {
        let base_offset = self.segments[0].base_offset;
        let found = self.look(0, |open| open.find(base_offset, base_offset))?;
        Ok(found.map(|found| TimestampedOffset {
            offset: found.header.base_offset,
            timestamp: found.header.max_timestamp,
            leader_epoch: found.header.partition_leader_epoch,
        }))
    }

    /// None where the batch's record of that time was deleted.
    fn first_in_batch(
        &self,
        entry: &BatchEntry,
        start: i64,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, LookupError> {
        let batch = self.read_batch(entry)?;
        let (attributes, leader_epoch) = (batch.header.attributes, batch.header.partition_leader_epoch);
        if attributes.timestamp_type() == TimestampType::LogAppendTime {
            let offset = entry.base_offset.max(start);
            return Ok(Some(TimestampedOffset { offset, timestamp: entry.max_timestamp, leader_epoch }));
        }
        for record in batch.records() {
            let record = record.map_err(LookupError::Damaged)?;
            if record.timestamp >= timestamp && record.offset >= start {
                return Ok(Some(TimestampedOffset {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    leader_epoch,
                }));
            }
        }
        Ok(None)
    }

    /// The batch that holds `offset`, or the next one, and the place of its segment; none at the end.
    pub(super) fn find(&self, offset: i64) -> Result<Option<(usize, Found)>, StorageError> {
        let last = self.segments.len() - 1;
        if offset >= self.next_offset {
            return Ok(None);
        }
        if let Some(found) = self.last_batch.filter(|found| offset >= found.header.base_offset) {
            return Ok(Some((last, found)));
        }
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        for at in after.saturating_sub(1)..=last {
            let base_offset = self.segments[at].base_offset;
            if let Some(found) = self.look(at, |open| open.find(base_offset, offset))? {
                return Ok(Some((at, found)));
            }
        }
        Ok(None)
    }

    /// Where the batch that holds `offset`, or the next one, starts: place of the segment, position in it.
    fn place_of(&self, offset: i64) -> Result<(usize, u64), StorageError> {
        let end = || (self.segments.len() - 1, self.active().bytes);
        Ok(self.find(offset)?.map_or_else(end, |(at, found)| (at, found.position)))
    }

    pub(super) fn active(&self) -> &LogSegment {
        self.segments.last().expect("a log has a segment")
    }

    /// Looks into a segment. Indexes that do not fit its batches are made anew.
    pub(super) fn look<T>(
        &self,
        at: usize,
        mut look: impl FnMut(&OpenSegment) -> Result<Looked<T>, StorageError>,
    ) -> Result<T, StorageError> {
        let segment = &self.segments[at];
        let mut looked_into = self.looked_into.borrow_mut();
        let open = match &segment.open {
            Some(open) => open,
            None => {
                if looked_into.as_ref().is_none_or(|(base_offset, _)| *base_offset != segment.base_offset) {
                    *looked_into = Some((segment.base_offset, segment.reopen(&*self.folder)?));
                }
                &looked_into.as_ref().expect("it was just opened").1
            }
        };
        if let Looked::There(found) = look(open)? {
            return Ok(found);
        }
        open.index_anew(segment.base_offset)?;
        match look(open)? {
            Looked::There(found) => Ok(found),
            Looked::WrongIndex => Err(damaged(&*open.data, 0, &BatchError::Empty)),
        }
    }
}

fn entry_of(segment: &LogSegment, found: Found) -> BatchEntry {
    BatchEntry {
        segment: segment.base_offset,
        base_offset: found.header.base_offset,
        last_offset: found.header.last_offset(),
        position: found.position,
        size: found.header.total_bytes(),
        max_timestamp: found.header.max_timestamp,
    }
}
