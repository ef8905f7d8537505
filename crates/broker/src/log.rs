//! A partition's log: raw batches in a row, and an index of them in memory.
//!
//! Owns the offsets. Batches lie without a gap in positions and ascend in offsets; `next_offset` is one past the last record. A batch is
//! indexed only after storage took it whole. Opening reads what a segment holds, checks every batch, and cuts what follows the last
//! whole one.
//!
//! Leaves out what a batch may contain (`batch_check.rs`), who may append it (`producer_state.rs`), and how much of it is committed
//! (`replica.rs`).

use std::path::PathBuf;

use bytes::Bytes;
use milena_wire::records::{self, BATCH_HEADER_BYTES, BatchError, BatchHeader, BatchView, TimestampType};

use crate::storage::{Segment, StorageError};

/// A batch as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record.
    pub last_offset: i64,
    /// Where it starts in the segment.
    pub position: u64,
    /// Its bytes, header included.
    pub size: usize,
    /// Its largest record timestamp.
    pub max_timestamp: i64,
    /// The largest timestamp of this batch and all before it: ascending, so a timestamp is found by halving.
    max_timestamp_so_far: i64,
}

/// What a crash left at the end of a log, cut off when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file; none for a log in memory.
    pub file: Option<PathBuf>,
    /// The position from which it was cut.
    pub at: u64,
    /// How many bytes were cut.
    pub cut_bytes: u64,
    /// What was wrong with the first batch there.
    pub why: BatchError,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
}

/// Why a timestamp cannot be looked up.
#[derive(Debug)]
pub enum LookupError {
    /// The file cannot be read.
    Storage(StorageError),
    /// The batch cannot be read any more.
    Damaged(BatchError),
}

impl From<StorageError> for LookupError {
    fn from(error: StorageError) -> Self {
        LookupError::Storage(error)
    }
}

/// The batches of one partition, as consumers see them.
#[derive(Debug)]
pub struct PartitionLog {
    segment: Box<dyn Segment>,
    batches: Vec<BatchEntry>,
    /// First offset of each leader epoch, ascending in both.
    epochs: Vec<EpochStart>,
    next_offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EpochStart {
    epoch: i32,
    offset: i64,
}

impl PartitionLog {
    /// Reads a segment from its start. `on_batch` sees every header that is kept, in order.
    pub(crate) fn open(
        segment: Box<dyn Segment>,
        mut on_batch: impl FnMut(&BatchHeader),
    ) -> Result<(PartitionLog, Option<TornTail>), StorageError> {
        let mut log = PartitionLog { segment, batches: Vec::new(), epochs: Vec::new(), next_offset: 0 };
        let len = log.segment.len();
        let mut window = Window::default();
        while log.position() < len {
            match log.next_whole_batch(&mut window)? {
                Ok(header) => {
                    log.index(&header);
                    on_batch(&header);
                }
                Err(why) => {
                    log.refuse_damage(&mut window, &why)?;
                    let torn = log.cut(why)?;
                    return Ok((log, Some(torn)));
                }
            }
        }
        Ok((log, None))
    }

    /// From now on this node leads under `epoch`.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        let start = EpochStart { epoch, offset: self.next_offset };
        self.epochs.retain(|known| known.epoch < epoch && known.offset < start.offset);
        self.epochs.push(start);
    }

    /// Appends a batch whose header says where it belongs.
    pub(crate) fn append(&mut self, header: &BatchHeader, records: &Bytes) -> Result<(), StorageError> {
        assert_eq!(header.base_offset, self.next_offset, "a leader gives every batch the next offset");
        self.segment.append(&header.write(), records)?;
        self.index(header);
        Ok(())
    }

    /// Copies what another replica's log has after this one's end, up to `end`, epochs and all. `on_batch` sees every header.
    pub(crate) fn copy_from(
        &mut self,
        other: &PartitionLog,
        end: i64,
        mut on_batch: impl FnMut(&BatchHeader),
    ) -> Result<(), StorageError> {
        let missing = other.batches[other.batch_index(self.next_offset)..].iter();
        for entry in missing.take_while(|entry| entry.last_offset < end) {
            let batch = other.segment.read(entry.position, entry.size)?;
            let header = other.header_of(entry, &batch)?;
            self.segment.append_whole(batch)?;
            self.index(&header);
            on_batch(&header);
        }
        Ok(())
    }

    /// Drops every batch that reaches `end`, and the epochs that began there or later.
    pub(crate) fn truncate(&mut self, end: i64) -> Result<(), StorageError> {
        let kept = self.batch_index(end);
        if let Some(first_dropped) = self.batches.get(kept) {
            self.segment.truncate(first_dropped.position)?;
            self.batches.truncate(kept);
            self.next_offset = self.batches.last().map_or(self.start_offset(), |entry| entry.last_offset + 1);
        }
        self.epochs.retain(|known| known.offset < self.next_offset);
        Ok(())
    }

    /// The newest leader epoch that this log knows of.
    pub(crate) fn latest_epoch(&self) -> Option<i32> {
        self.epochs.last().map(|known| known.epoch)
    }

    /// Shows the headers of all batches from `offset` on.
    pub(crate) fn replay(&self, offset: i64, mut on_batch: impl FnMut(&BatchHeader)) -> Result<(), StorageError> {
        for entry in &self.batches[self.batch_index(offset)..] {
            let bytes = self.segment.read(entry.position, BATCH_HEADER_BYTES)?;
            on_batch(&self.header_of(entry, &bytes)?);
        }
        Ok(())
    }

    /// The header of a batch that was whole when it was indexed.
    fn header_of(&self, entry: &BatchEntry, bytes: &[u8]) -> Result<BatchHeader, StorageError> {
        BatchHeader::read(bytes).map_err(|why| StorageError::Damaged {
            path: self.segment.path().map(PathBuf::from).unwrap_or_default(),
            at: entry.position,
            why: why.to_string(),
        })
    }

    /// The offset of the first record that is still there.
    pub fn start_offset(&self) -> i64 {
        0
    }

    /// One past the last record.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The batches, ascending.
    pub fn batches(&self) -> &[BatchEntry] {
        &self.batches
    }

    /// Reads one batch, checksum included.
    pub fn read_batch(&self, entry: &BatchEntry) -> Result<BatchView, LookupError> {
        let bytes = self.segment.read(entry.position, entry.size)?;
        match records::batches(bytes).next() {
            Some(batch) => batch.map_err(LookupError::Damaged),
            None => Err(LookupError::Damaged(BatchError::Empty)),
        }
    }

    /// How many bytes a reader could get of what lies between two offsets.
    pub fn bytes_between(&self, offset: i64, end: i64) -> u64 {
        self.position_of(end).saturating_sub(self.position_of(offset))
    }

    /// Reads from the batch that holds `offset`, of what lies before `end`, at most `bytes_max`. As Kafka does, the last batch may be cut,
    /// and the first one is given whole whatever its size if `whole_first` is set; otherwise a first batch that does not fit gives nothing.
    pub fn read(&self, offset: i64, end: i64, bytes_max: usize, whole_first: bool) -> Result<Bytes, StorageError> {
        let Some(entry) = self.batches.get(self.batch_index(offset)) else {
            return Ok(Bytes::new());
        };
        let available = usize::try_from(self.bytes_between(offset, end)).unwrap_or(usize::MAX);
        let size = match entry.size <= bytes_max {
            true => bytes_max.min(available),
            false if whole_first => entry.size.min(available),
            false => 0,
        };
        self.segment.read(entry.position, size)
    }

    /// Where an epoch ended: the newest known epoch not above `epoch`, and one past its last offset. None if `epoch` is newer than all, or
    /// none at all.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        let after = self.epochs.partition_point(|known| known.epoch <= epoch);
        let known = after.checked_sub(1).map(|index| self.epochs[index].epoch);
        match self.epochs.get(after) {
            Some(next) => Some((known.unwrap_or(epoch), next.offset)),
            None => known.filter(|known| *known == epoch).map(|known| (known, self.next_offset)),
        }
    }

    /// The leader epoch under which the record at `offset`, or the next one, was or will be written.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        let after = self.epochs.partition_point(|known| known.offset <= offset);
        after.checked_sub(1).map_or(-1, |index| self.epochs[index].epoch)
    }

    /// The first record at or after a time.
    pub fn first_since(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, LookupError> {
        let index = self.batches.partition_point(|entry| entry.max_timestamp_so_far < timestamp);
        match self.batches.get(index) {
            Some(entry) => self.first_in_batch(entry, timestamp).map(Some),
            None => Ok(None),
        }
    }

    /// The first record that has the largest timestamp of all.
    pub fn newest(&self) -> Result<Option<TimestampedOffset>, LookupError> {
        match self.batches.last() {
            Some(last) => self.first_since(last.max_timestamp_so_far),
            None => Ok(None),
        }
    }

    fn first_in_batch(&self, entry: &BatchEntry, timestamp: i64) -> Result<TimestampedOffset, LookupError> {
        let batch = self.read_batch(entry)?;
        let attributes = batch.header.attributes;
        if attributes.timestamp_type() == TimestampType::LogAppendTime {
            return Ok(TimestampedOffset { offset: entry.base_offset, timestamp: entry.max_timestamp });
        }
        for record in batch.records() {
            let record = record.map_err(LookupError::Damaged)?;
            if record.timestamp >= timestamp {
                return Ok(TimestampedOffset { offset: record.offset, timestamp: record.timestamp });
            }
        }
        Ok(TimestampedOffset { offset: entry.last_offset, timestamp: entry.max_timestamp })
    }

    /// The index of the batch that holds `offset`, or of the next one.
    fn batch_index(&self, offset: i64) -> usize {
        self.batches.partition_point(|entry| entry.last_offset < offset)
    }

    /// Where the batch that holds `offset`, or the next one, starts.
    fn position_of(&self, offset: i64) -> u64 {
        self.batches.get(self.batch_index(offset)).map_or(self.segment.len(), |entry| entry.position)
    }

    fn position(&self) -> u64 {
        self.batches.last().map_or(0, |entry| entry.position + entry.size as u64)
    }

    fn index(&mut self, header: &BatchHeader) {
        let so_far = self.batches.last().map_or(i64::MIN, |entry| entry.max_timestamp_so_far);
        self.batches.push(BatchEntry {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            position: self.position(),
            size: header.total_bytes(),
            max_timestamp: header.max_timestamp,
            max_timestamp_so_far: so_far.max(header.max_timestamp),
        });
        let epoch = header.partition_leader_epoch;
        if self.epochs.last().is_none_or(|known| known.epoch < epoch) {
            self.epochs.push(EpochStart { epoch, offset: header.base_offset });
        }
        self.next_offset = header.last_offset() + 1;
    }

    /// The batch at the end of what is indexed, if it is whole, undamaged and belongs there.
    fn next_whole_batch(&self, window: &mut Window) -> Result<Result<BatchHeader, BatchError>, StorageError> {
        let position = self.position();
        let header = window.at(&*self.segment, position, BATCH_HEADER_BYTES)?;
        let size = match BatchHeader::read(&header) {
            Ok(header) => header.total_bytes(),
            Err(why) => return Ok(Err(why)),
        };
        let bytes = window.at(&*self.segment, position, size)?;
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

    /// A crash leaves nothing whole behind the batch that it interrupted. Where a whole batch follows, the file was damaged
    /// by something else, and cutting would throw away what can still be read.
    fn refuse_damage(&self, window: &mut Window, why: &BatchError) -> Result<(), StorageError> {
        let at = self.position();
        let header = window.at(&*self.segment, at, BATCH_HEADER_BYTES)?;
        let Ok(header) = BatchHeader::read(&header) else { return Ok(()) };
        let next = at + header.total_bytes() as u64;
        if next >= self.segment.len() {
            return Ok(());
        }
        let rest = window.at(&*self.segment, next, BATCH_HEADER_BYTES)?;
        let Ok(following) = BatchHeader::read(&rest) else { return Ok(()) };
        let bytes = window.at(&*self.segment, next, following.total_bytes())?;
        let is_whole = matches!(records::batches(bytes).next(), Some(Ok(_)));
        match self.segment.path().filter(|_| is_whole) {
            Some(path) => Err(StorageError::Damaged { path: PathBuf::from(path), at, why: why.to_string() }),
            None => Ok(()),
        }
    }

    fn cut(&mut self, why: BatchError) -> Result<TornTail, StorageError> {
        let at = self.position();
        let cut_bytes = self.segment.len() - at;
        self.segment.truncate(at)?;
        Ok(TornTail { file: self.segment.path().map(PathBuf::from), at, cut_bytes, why })
    }
}

/// A piece of a segment read ahead, so that small batches do not cost a read each.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// `size` bytes at `position`, or what the segment has of them.
    fn at(&mut self, segment: &dyn Segment, position: u64, size: usize) -> Result<Bytes, StorageError> {
        let available = usize::try_from(segment.len() - position).unwrap_or(usize::MAX);
        let size = size.min(available);
        let skipped = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        if self.bytes.len().checked_sub(skipped).is_none_or(|held| held < size) {
            self.bytes = segment.read(position, size.max(WINDOW_BYTES).min(available))?;
            self.start = position;
        }
        let skipped = (position - self.start) as usize;
        Ok(self.bytes.slice(skipped..skipped + size))
    }
}

/// One read for the batches of a megabyte.
const WINDOW_BYTES: usize = 1 << 20;
