//! A partition's log: segments of raw batches in a row, and indexes into them.
//!
//! Owns the offsets. Batches lie without a gap in positions and ascend in offsets; `next_offset` is one past the last record, `start_offset`
//! the first that is still there. There is always a segment; the last one is active, and only it grows. A batch is noted only after
//! storage took it whole, and acknowledged only after it was fsynced, where that is wanted.
//!
//! Opening is in `log/open.rs`, reading in `log/read.rs`, what is fsynced when in `log/flush.rs`, what is deleted in `log/retention.rs`, what is compacted in
//! `log/cleaner.rs`. Leaves out what a batch may contain (`batch_check.rs`), who may append it (`producer_state.rs`), and how much of
//! it is committed (`replica.rs`).

mod cleaned_batch;
mod cleaner;
mod cleaning;
mod epochs;
mod files;
mod flush;
mod index;
mod open;
mod read;
mod retention;
mod scan;
mod segment;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use milena_wire::records::{BatchError, BatchHeader};

use crate::moment::Moment;
use crate::storage::{LogFolder, Segment, StorageError};
use crate::topic_config::TopicConfig;
use cleaner::Compaction;
use epochs::{EpochStart, Epochs};
use flush::FlushState;
use scan::{Headers, RECOVERY_AHEAD};
use segment::{Found, LogSegment, Looked, OpenSegment};

pub(crate) use cleaning::{CleaningStep, FinishedStep};
pub(crate) use files::is_log_file;
pub(crate) use flush::Flush;
pub use flush::FlushPolicy;
pub(crate) use retention::Discarded;

/// A batch as it lies in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The first offset of the segment that holds it.
    pub segment: i64,
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
}

/// What a crash left at the end of a log, cut off when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file; none for a log in memory.
    pub file: Option<PathBuf>,
    /// The position from which it was cut.
    pub at: u64,
    /// How many bytes were cut, those of later segments included.
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
    /// The leader epoch under which it was written.
    pub leader_epoch: i32,
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
    folder: Box<dyn LogFolder>,
    /// Ascending; never empty.
    segments: Vec<LogSegment>,
    epochs: Epochs,
    start_offset: i64,
    next_offset: i64,
    /// The last batch of the active segment, if it was appended since the opening: what most readers ask for.
    last_batch: Option<Found>,
    /// Everything before it was compacted.
    cleaned: i64,
    /// Set while a compaction is under way.
    cleaning: Option<Compaction>,
    flush: FlushState,
    /// Files that nobody reads any more, until somebody takes them.
    discarded: Vec<String>,
    /// The offsets that there are snapshots of.
    snapshots: BTreeSet<i64>,
    /// The segment that was read last, of those that are not kept open, by its base offset.
    looked_into: RefCell<Option<(i64, OpenSegment)>>,
}

/// What an append goes by, beside the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appending<'a> {
    pub(crate) config: &'a TopicConfig,
    pub(crate) flush: Flush,
    pub(crate) now: Moment,
}

impl PartitionLog {
    /// From now on this node leads under `epoch`.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.begin(EpochStart { epoch, offset: self.next_offset });
    }

    /// Whether a batch begins a new segment: by size, by the time between its records and the first ones, or because its offset is too
    /// far from the segment's first for the indexes.
    pub(crate) fn must_roll(&self, header: &BatchHeader, how: &Appending<'_>) -> bool {
        let active = self.active();
        let fits = self.has_room_for(header, how);
        let is_near = header.last_offset() - active.base_offset <= i64::from(i32::MAX);
        if active.bytes == 0 {
            return !is_near;
        }
        // Kafka counts from the records' own time; only those without one by the clock.
        let waited = match active.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp.saturating_sub(first),
            _ => how.now.timestamp().saturating_sub(active.modified),
        };
        // A record of a compacted topic must come out of the active segment to be compacted in time.
        let span_max = match how.config.cleanup.compacts() {
            true => how.config.segment_ms.min(how.config.compaction_lag_max),
            false => how.config.segment_ms,
        };
        !fits || !is_near || waited > span_max
    }

    /// Whether a batch fits into the active segment.
    pub(crate) fn has_room_for(&self, header: &BatchHeader, how: &Appending<'_>) -> bool {
        self.active().bytes + header.total_bytes() as u64 <= how.config.segment_size()
    }

    /// Whether it outlives this value, in files.
    pub(crate) fn is_lasting(&self) -> bool {
        self.folder.is_lasting()
    }

    /// Begins a new segment, at the end or where the next batch is to lie. The snapshot is of the producers up to here.
    pub(crate) fn roll(&mut self, base_offset: i64, snapshot: &[u8], now: Moment) -> Result<(), StorageError> {
        self.check_unbroken()?;
        self.keep_snapshot(self.next_offset, snapshot)?;
        let finished = self.segments.last_mut().expect("a log has a segment");
        finished.finish(&mut *self.folder)?;
        let next = LogSegment::create(&mut *self.folder, base_offset, now.timestamp())?;
        self.segments.push(next);
        self.last_batch = None;
        self.begin_sync_of_finished()
    }

    /// Appends a batch whose header says where it belongs.
    pub(crate) fn append(
        &mut self,
        header: &BatchHeader,
        records: &Bytes,
        how: &Appending<'_>,
    ) -> Result<(), StorageError> {
        assert_eq!(header.base_offset, self.next_offset, "a leader gives every batch the next offset");
        self.check_unbroken()?;
        self.active_data().append(&header.write(), records)?;
        self.flush_as_wanted(header, how)?;
        self.note(header, how);
        Ok(())
    }

    /// Appends a batch as another replica has it.
    pub(crate) fn append_copy(
        &mut self,
        header: &BatchHeader,
        batch: Bytes,
        how: &Appending<'_>,
    ) -> Result<(), StorageError> {
        self.check_unbroken()?;
        self.active_data().append_whole(batch)?;
        self.flush_as_wanted(header, how)?;
        self.note(header, how);
        Ok(())
    }

    fn active_data(&mut self) -> &mut dyn Segment {
        let active = self.segments.last_mut().expect("a log has a segment");
        &mut *active.open.as_mut().expect("the active segment is open").data
    }

    fn note(&mut self, header: &BatchHeader, how: &Appending<'_>) {
        let active = self.segments.last_mut().expect("a log has a segment");
        let position = active.bytes;
        active.take_note(header, u64::try_from(how.config.index_interval).unwrap_or(0));
        active.modified = how.now.timestamp();
        self.last_batch = Some(Found { position, header: *header });
        self.epochs.note(EpochStart { epoch: header.partition_leader_epoch, offset: header.base_offset });
        self.next_offset = header.last_offset() + 1;
    }

    /// Shows what another replica needs that ends at `from`: whole batches up to `end`, in order.
    pub(crate) fn each_batch(
        &self,
        from: i64,
        end: i64,
        mut take: impl FnMut(&BatchHeader, Bytes) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut next = from;
        while let Some((at, found)) = self.find(next)?.filter(|(_, found)| found.header.last_offset() < end) {
            let batch =
                self.look(at, |open| open.data.read(found.position, found.header.total_bytes()).map(Looked::There))?;
            take(&found.header, batch)?;
            next = found.header.last_offset() + 1;
        }
        Ok(())
    }

    /// Drops every batch that reaches `end`, and the epochs that began there or later.
    pub(crate) fn truncate(&mut self, end: i64) -> Result<(), StorageError> {
        if end < self.start_offset {
            return self.restart_at(end);
        }
        if let Some((at, found)) = self.find(end)? {
            self.cut(at, found)?;
            self.next_offset = end.min(found.header.base_offset);
            self.flush.cut(self.next_offset);
        }
        self.epochs.cut(self.next_offset);
        self.cut_cleaning(self.next_offset);
        self.forget_snapshots_after(self.next_offset)
    }

    /// Cuts a segment before a batch, after those behind it are gone: whatever is interrupted leaves a log without a hole.
    fn cut(&mut self, at: usize, found: Found) -> Result<(), StorageError> {
        self.looked_into.take();
        while self.segments.len() > at + 1 {
            let last = self.segments.last().expect("there are more than one");
            last.discard(&mut *self.folder, &mut self.discarded)?;
            self.segments.pop();
        }
        let segment = &mut self.segments[at];
        if segment.open.is_none() {
            segment.open = Some(segment.reopen(&*self.folder)?);
        }
        let open = segment.open.as_mut().expect("it was just opened");
        open.truncate(segment.base_offset, found.position, found.header.base_offset)?;
        segment.bytes = found.position;
        if found.position == 0 {
            segment.first_timestamp = None;
        }
        if segment.newest.is_some_and(|(_, offset)| offset >= found.header.base_offset) {
            segment.recount_newest()?;
        }
        self.last_batch = None;
        Ok(())
    }

    /// Drops everything; the next record goes to `offset`.
    pub(crate) fn restart_at(&mut self, offset: i64) -> Result<(), StorageError> {
        self.looked_into.take();
        // Made first, so that a log has a segment whatever fails afterwards.
        let fresh = LogSegment::create(&mut *self.folder, offset, 0)?;
        for old in self.segments.iter().rev().filter(|old| old.base_offset != offset) {
            old.discard(&mut *self.folder, &mut self.discarded)?;
        }
        self.segments = vec![fresh];
        self.forget_snapshots_after(-1)?;
        self.epochs = Epochs::default();
        (self.start_offset, self.next_offset, self.cleaned) = (offset, offset, offset);
        self.cleaning = None;
        self.last_batch = None;
        self.flush.restart_at(offset);
        self.write_checkpoint(None)
    }

    /// The newest leader epoch that this log knows of.
    pub(crate) fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest()
    }

    /// Shows the headers of all batches that reach `offset`.
    pub(crate) fn replay(&self, offset: i64, mut on_batch: impl FnMut(&BatchHeader)) -> Result<(), StorageError> {
        let Some((first, found)) = self.find(offset)? else { return Ok(()) };
        for at in first..self.segments.len() {
            let from = if at == first { found.position } else { 0 };
            self.look(at, |open| {
                let mut headers = Headers::from(&*open.data, from, RECOVERY_AHEAD);
                while let Some((_, header)) = headers.next()? {
                    on_batch(&header);
                }
                Ok(Looked::There(()))
            })?;
        }
        Ok(())
    }

    // Producer snapshots, in the files that Kafka has for them.

    /// Keeps what is known of producers at an offset.
    pub(crate) fn keep_snapshot(&mut self, offset: i64, content: &[u8]) -> Result<(), StorageError> {
        self.folder.replace(&files::name(offset, files::SNAPSHOT), content, false)?;
        self.snapshots.insert(offset);
        Ok(())
    }

    pub(crate) fn has_snapshot(&self, offset: i64) -> bool {
        self.snapshots.contains(&offset)
    }

    /// The offsets of the snapshots that are there, newest first.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = i64> {
        self.snapshots.iter().rev().copied()
    }

    /// The content of a snapshot.
    pub(crate) fn snapshot(&self, offset: i64) -> Result<Option<Bytes>, StorageError> {
        self.folder.read(&files::name(offset, files::SNAPSHOT))
    }

    fn forget_snapshots_after(&mut self, end: i64) -> Result<(), StorageError> {
        while let Some(last) = self.snapshots.last().copied().filter(|last| *last > end) {
            self.folder.remove(&files::name(last, files::SNAPSHOT))?;
            self.snapshots.remove(&last);
        }
        Ok(())
    }
}
