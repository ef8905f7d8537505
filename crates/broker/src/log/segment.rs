//! One segment of a log: a row of batches, its indexes, and what is known of it without reading.
//!
//! The last segment of a log is active: its file is open and its indexes are in memory. The others never change; on a disk they are
//! opened, and their indexes read, when somebody looks into them. In memory they simply stay.

use std::cell::RefCell;

use milena_wire::records::BatchHeader;

use super::files::{self, SegmentNote};
use super::index::{Indexes, OffsetEntry, TimeEntry};
use super::scan::{Headers, LOOKUP_AHEAD, RECOVERY_AHEAD};
use crate::storage::{LogFolder, Segment, StorageError};

#[derive(Debug)]
pub(crate) struct LogSegment {
    pub(crate) base_offset: i64,
    pub(crate) bytes: u64,
    /// The largest timestamp, and the offset that has it; none while no record has one.
    pub(crate) newest: Option<(i64, i64)>,
    /// The largest timestamp of the first batch, once it is known: what `segment.ms` counts from.
    pub(crate) first_timestamp: Option<i64>,
    /// The wall clock of the last append, or of the opening: for records without a time of their own.
    pub(crate) modified: i64,
    /// Set while the segment is active, and always in memory.
    pub(crate) open: Option<OpenSegment>,
}

/// What it takes to read a segment.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) data: Box<dyn Segment>,
    /// Replaced by a reader that finds it wrong: what is read of a disk may have been damaged there.
    indexing: RefCell<Indexing>,
}

/// Indexes, and how far they reach.
#[derive(Clone, Debug, Default)]
struct Indexing {
    indexes: Indexes,
    /// Bytes since the last entry.
    unindexed: u64,
}

/// A batch in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl LogSegment {
    /// A new one without a batch.
    pub(crate) fn create(
        folder: &mut dyn LogFolder,
        base_offset: i64,
        modified: i64,
    ) -> Result<LogSegment, StorageError> {
        let data = folder.create(&files::name(base_offset, files::LOG))?;
        Ok(LogSegment {
            base_offset,
            bytes: 0,
            newest: None,
            first_timestamp: None,
            modified,
            open: Some(OpenSegment::empty(data)),
        })
    }

    /// One that nobody has to open to know of.
    pub(crate) fn noted(note: &SegmentNote, modified: i64) -> LogSegment {
        let SegmentNote { base_offset, bytes, newest } = *note;
        LogSegment { base_offset, bytes, newest, first_timestamp: None, modified, open: None }
    }

    /// Looks for the largest timestamp again, after its batch was cut off.
    pub(crate) fn recount_newest(&mut self) -> Result<(), StorageError> {
        let open = self.open.as_ref().expect("only open segments are cut");
        let mut headers = Headers::from(&*open.data, 0, RECOVERY_AHEAD);
        self.newest = None;
        while let Some((_, header)) = headers.next()? {
            self.newest = newer(self.newest, &header);
        }
        Ok(())
    }

    /// Looks up when the first batch was made, for an active segment that was just opened.
    pub(crate) fn read_first_timestamp(&mut self) -> Result<(), StorageError> {
        let open = self.open.as_ref().expect("the active segment is open");
        self.first_timestamp = Headers::from(&*open.data, 0, 0).next()?.map(|(_, header)| header.max_timestamp);
        Ok(())
    }

    pub(crate) fn note(&self) -> SegmentNote {
        SegmentNote { base_offset: self.base_offset, bytes: self.bytes, newest: self.newest }
    }

    /// Takes note of a batch that is at the end of its bytes now.
    pub(crate) fn take_note(&mut self, header: &BatchHeader, index_interval: u64) {
        self.newest = newer(self.newest, header);
        self.first_timestamp.get_or_insert(header.max_timestamp);
        let newest = self.newest_entry();
        let open = self.open.as_mut().expect("batches are noted in open segments");
        open.indexing.get_mut().note(
            self.base_offset,
            Found { position: self.bytes, header: *header },
            newest,
            index_interval,
        );
        self.bytes += header.total_bytes() as u64;
    }

    fn newest_entry(&self) -> TimeEntry {
        newest_entry(self.base_offset, self.newest)
    }

    /// Nothing more will be appended, or the process ends: the indexes go to their files.
    pub(crate) fn finish(&mut self, folder: &mut dyn LogFolder) -> Result<(), StorageError> {
        let newest = self.newest_entry();
        let Some(open) = &mut self.open else { return Ok(()) };
        let indexes = &mut open.indexing.get_mut().indexes;
        indexes.finish(newest);
        if folder.is_lasting() { write_indexes(folder, self.base_offset, indexes) } else { Ok(()) }
    }

    /// Lets go of the file and the indexes, where both can be had again.
    pub(crate) fn shut(&mut self, folder: &dyn LogFolder) {
        if folder.is_lasting() {
            self.open = None;
        }
    }

    /// Gives its files names that nobody reads, and notes these. It is gone once the batches are: indexes that stay are removed by whoever opens
    /// the log next. What does not last has no files.
    pub(crate) fn discard(&self, folder: &mut dyn LogFolder, discarded: &mut Vec<String>) -> Result<(), StorageError> {
        if !folder.is_lasting() {
            return Ok(());
        }
        for kind in [files::LOG, files::INDEX, files::TIME_INDEX] {
            let name = files::name(self.base_offset, kind);
            let aside = format!("{name}{}", files::DELETED);
            match folder.rename(&name, &aside) {
                Ok(()) => discarded.push(aside),
                Err(error) if kind == files::LOG => return Err(error),
                Err(_left_for_the_next_start) => {}
            }
        }
        Ok(())
    }

    /// Reads the file and its indexes; makes those anew that are missing or damaged.
    pub(crate) fn reopen(&self, folder: &dyn LogFolder) -> Result<OpenSegment, StorageError> {
        let data = folder.open(&files::name(self.base_offset, files::LOG))?;
        let offsets = folder.read(&files::name(self.base_offset, files::INDEX))?;
        let times = folder.read(&files::name(self.base_offset, files::TIME_INDEX))?;
        let read = offsets.zip(times).and_then(|(offsets, times)| Indexes::read(&offsets, &times, self.bytes));
        match read {
            Some(indexes) => Ok(OpenSegment { data, indexing: RefCell::new(Indexing { indexes, unindexed: 0 }) }),
            None => {
                let open = OpenSegment::empty(data);
                open.index_anew(self.base_offset)?;
                Ok(open)
            }
        }
    }
}

impl Indexing {
    fn note(&mut self, base_offset: i64, batch: Found, newest: TimeEntry, interval: u64) {
        if self.unindexed > interval {
            let offset = relative(batch.header.last_offset(), base_offset);
            let position = u32::try_from(batch.position).expect("a segment is smaller than 4 GiB");
            self.indexes.note(OffsetEntry { offset, position }, newest);
            self.unindexed = 0;
        }
        self.unindexed += batch.header.total_bytes() as u64;
    }
}

impl OpenSegment {
    pub(crate) fn empty(data: Box<dyn Segment>) -> OpenSegment {
        OpenSegment { data, indexing: RefCell::default() }
    }

    /// Cuts the segment, and forgets what was known of the rest.
    pub(crate) fn truncate(&mut self, base_offset: i64, position: u64, offset: i64) -> Result<(), StorageError> {
        self.data.truncate(position)?;
        self.indexing.get_mut().indexes.truncate(position, relative(offset, base_offset));
        Ok(())
    }

    /// Reads every header, as if each batch was appended again.
    pub(crate) fn index_anew(&self, base_offset: i64) -> Result<(), StorageError> {
        let mut indexing = Indexing::default();
        let mut newest = None;
        let mut headers = Headers::from(&*self.data, 0, RECOVERY_AHEAD);
        while let Some((position, header)) = headers.next()? {
            newest = newer(newest, &header);
            indexing.note(base_offset, Found { position, header }, newest_entry(base_offset, newest), REINDEX_INTERVAL);
        }
        indexing.indexes.finish(newest_entry(base_offset, newest));
        self.indexing.replace(indexing);
        Ok(())
    }

    /// The files of its indexes.
    pub(crate) fn write_indexes(&self, folder: &mut dyn LogFolder, base_offset: i64) -> Result<(), StorageError> {
        write_indexes(folder, base_offset, &self.indexing.borrow().indexes)
    }

    /// The batch that holds an offset, or the next one in this segment. None if the indexes are wrong: they were damaged on the disk.
    pub(crate) fn find(&self, base_offset: i64, offset: i64) -> Result<Looked<Option<Found>>, StorageError> {
        let entry = self.indexing.borrow().indexes.before_offset(relative(offset, base_offset));
        let mut headers = Headers::from(&*self.data, entry.map_or(0, |entry| entry.position.into()), LOOKUP_AHEAD);
        let mut expected = entry.map(|entry| base_offset + i64::from(entry.offset));
        loop {
            let next = match headers.next() {
                // A wrong index leads into the middle of a batch.
                Err(StorageError::Damaged { .. }) if expected.is_some() => return Ok(Looked::WrongIndex),
                next => next?,
            };
            let Some((position, header)) = next else { return Ok(Looked::There(None)) };
            if expected.take().is_some_and(|expected| header.last_offset() != expected) {
                return Ok(Looked::WrongIndex);
            }
            if header.last_offset() >= offset {
                return Ok(Looked::There(Some(Found { position, header })));
            }
        }
    }

    /// The first batch that has a record at or after a time, from an offset on.
    pub(crate) fn find_since(
        &self,
        base_offset: i64,
        timestamp: i64,
        from: i64,
    ) -> Result<Looked<Option<Found>>, StorageError> {
        let entry = self.indexing.borrow().indexes.before_time(timestamp);
        let noted = entry.map(|entry| base_offset + i64::from(entry.offset));
        let start = match self.find(base_offset, noted.unwrap_or(from).max(from))? {
            Looked::WrongIndex => return Ok(Looked::WrongIndex),
            Looked::There(None) => return Ok(Looked::There(None)),
            Looked::There(Some(found)) => found,
        };
        let is_wrong = entry.zip(noted).is_some_and(|(entry, noted)| {
            noted >= from && (start.header.max_timestamp != entry.timestamp || start.header.last_offset() != noted)
        });
        if is_wrong {
            return Ok(Looked::WrongIndex);
        }
        let mut headers = Headers::from(&*self.data, start.position, LOOKUP_AHEAD);
        while let Some((position, header)) = headers.next()? {
            if header.max_timestamp >= timestamp {
                return Ok(Looked::There(Some(Found { position, header })));
            }
        }
        Ok(Looked::There(None))
    }
}

/// What came of a look by way of the indexes.
#[derive(Debug)]
pub(crate) enum Looked<T> {
    There(T),
    /// The indexes do not fit the batches.
    WrongIndex,
}

fn write_indexes(folder: &mut dyn LogFolder, base_offset: i64, indexes: &Indexes) -> Result<(), StorageError> {
    let (offsets, times) = indexes.write();
    folder.replace(&files::name(base_offset, files::INDEX), &offsets, false)?;
    folder.replace(&files::name(base_offset, files::TIME_INDEX), &times, false)
}

/// The largest timestamp so far, and the last offset of the first batch that has it.
fn newer(newest: Option<(i64, i64)>, header: &BatchHeader) -> Option<(i64, i64)> {
    let this = (header.max_timestamp, header.last_offset());
    if header.max_timestamp >= 0 && newest.is_none_or(|(newest, _)| newest < this.0) { Some(this) } else { newest }
}

fn newest_entry(base_offset: i64, newest: Option<(i64, i64)>) -> TimeEntry {
    let (timestamp, offset) = newest.unwrap_or((-1, base_offset));
    TimeEntry { timestamp, offset: relative(offset, base_offset) }
}

/// An offset as indexes have it. Those before the segment are as far before everything as its first.
fn relative(offset: i64, base_offset: i64) -> u32 {
    u32::try_from(offset.saturating_sub(base_offset).max(0)).unwrap_or(u32::MAX)
}

/// Kafka's `index.interval.bytes`, for indexes that are made anew.
const REINDEX_INTERVAL: u64 = 4_096;
